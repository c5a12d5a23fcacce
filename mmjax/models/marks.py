"""Hashes of what decides a training beside its options: functions, labels, ids.

A function is known by its name, its code and what it closes over; mmjax's own by its name and what
it closes over alone, so that a new version goes on with what an older one began.
"""

import functools
import hashlib
import types
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mmjax.data.dataset import Dataset
from mmjax.data.hashes import data_hash, further_hashes
from mmjax.errors import InvalidInput

_PLAIN = (bool, int, float, complex, str, bytes, type(None))


def mark_of(value: Any) -> str:
    """A hash of a function or a value, the same in every process."""
    digest = hashlib.sha256()
    write = lambda text: digest.update(text.encode("utf-8", "surrogatepass") + b"\n")
    _note(value, write, frozenset())
    return digest.hexdigest()[:16]


def rows_mark(data: Dataset, label: str, hashes: Mapping[str, np.ndarray] | None = None) -> str:
    """A hash of rows as training sees them: further texts, ids, the loss's label, and contents
    where their hashes (see hashes_of) are given."""
    parts = ["" if hashes is None else data_hash(hashes), data_hash(further_hashes(data))]
    columns = [data.ids, *(data.present[name] for name in sorted(data.present))]
    columns += [data.labels[label]] if label else []
    return mark_of([*parts, *(np.unique(v, return_inverse=True)[1] for v in columns)])


def check_marks(workdir: str, before: Any, now: Mapping[str, str]) -> None:
    """Raises InvalidInput where a folder's training had others; one of before marks had none."""
    if isinstance(before, Mapping) and (
        others := sorted(k for k in now if before.get(k, now[k]) != now[k])
    ):
        raise InvalidInput(
            f"workdir: {workdir!r} holds another training: its {' and '.join(others)} had other "
            "options or values; use another folder"
        )


def _note(value: Any, write: Callable[[str], None], inside: frozenset[int]) -> None:
    if isinstance(value, _PLAIN):
        write(repr(value))
        return
    if id(value) in inside:  # a function that calls itself; what is not around it may share its id
        write("itself")
        return
    again = lambda one: _note(one, write, inside | {id(value)})
    write(type(value).__qualname__)
    if isinstance(value, Mapping):
        for name in sorted(value, key=str):
            write(str(name))
            again(value[name])
    elif isinstance(value, tuple | list):
        for one in value:
            again(one)
    elif isinstance(value, set | frozenset):
        write(repr(sorted(map(repr, value))))
    elif isinstance(value, functools.partial):
        again((value.func, value.args, value.keywords))
    elif isinstance(value, types.FunctionType):
        _note_function(value, write, again)
    elif isinstance(value, types.CodeType):
        again((value.co_code.hex(), value.co_names, value.co_consts))
    elif isinstance(value, types.MethodType):
        again((value.__func__, value.__self__))
    elif hasattr(value, "__wrapped__"):
        again(value.__wrapped__)
    elif hasattr(value, "dtype") and hasattr(value, "shape"):
        numbers = np.asarray(value)
        write(f"{numbers.dtype} {numbers.shape} {hashlib.sha256(numbers.tobytes()).hexdigest()}")
    else:
        write(getattr(value, "__qualname__", ""))
        held = getattr(value, "__dict__", {})
        again({k: v for k, v in held.items() if isinstance(v, _PLAIN) and k[:1] != "_"})


def _note_function(
    value: types.FunctionType, write: Callable[[str], None], again: Callable[[Any], None]
) -> None:
    write(f"{value.__module__}.{value.__qualname__}")
    again((value.__defaults__, value.__kwdefaults__))
    for cell in value.__closure__ or ():
        try:
            again(cell.cell_contents)
        except ValueError:  # not set yet
            write("-")
    if not (value.__module__ or "").startswith("mmjax."):  # None of what exec defines
        again(value.__code__)
        for name in value.__code__.co_names:  # what it reads of its module
            held = value.__globals__.get(name)
            ours = getattr(held, "__module__", None) == value.__module__
            if isinstance(held, _PLAIN) or (isinstance(held, types.FunctionType) and ours):
                again((name, held))

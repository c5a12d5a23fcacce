"""Pickles of arrays and plain containers, read without running what stands in them.

A pickle is a program for a small stack machine, and one of its instructions calls any function by
name: whoever wrote the file decides what Python's own reader runs. The machine here is Python's,
with nothing to import from: the few names of pickle_arrays stand for functions there, every other
one is refused, and so are the instructions that make objects.

It is the machine in Python (`pickle._Unpickler`), not the faster one in C behind the same class.
What only the former lets a reader replace are the instructions themselves, and a file can hurt by
these alone: C's memo is an array, so that five bytes claim 32 GB; keys are hashed where they stand,
and a deep tuple ends the process; numpy's own `__setstate__` takes a dtype's flags from the file,
and then bytes for addresses of objects. Here a key is checked before it is hashed, arrays are
made by pickle_arrays, and no instruction makes a value much larger than the file.
"""

import os
import pickle
import struct
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, NoReturn

import numpy as np

from mmjax.data.files.pickle_arrays import (
    NAMES,
    PLACES,
    PLAIN,
    Broken,
    Dtype,
    Name,
    Refused,
    Spend,
    Unfilled,
    filled_array,
    key_of,
    object_array,
    shown,
)
from mmjax.errors import InvalidInput, require

_LARGER = 16  # how much larger than the file its contents may become


def read_pickle(path: str) -> Any:
    """Reads a pickle of any protocol, also of Python 2, whose strings are taken as latin-1.

    What it may hold: numpy arrays and scalars of numbers, booleans or text; arrays of objects that
    are themselves of this list; numbers, str, bytes, None, lists, tuples, dicts and sets of these.
    Arrays are read-only views of what was read; an OrderedDict becomes a dict, a bytearray bytes.

    Raises InvalidInput, one line that names the file, where it is missing, is no whole pickle or
    holds anything else; nothing that it names is imported or called.
    """
    require(bool(path) and os.path.isfile(path), "pickle", path, "the path of an existing file")
    try:
        with open(path, "rb") as file:
            value = Reader(Whole(file, os.path.getsize(path))).load()
        check_plain(value)
        return value
    except ERRORS as error:
        raise told_in_one_line(path, "pickle", error) from None


def told_in_one_line(path: str, what: str, error: Exception) -> InvalidInput:
    """One of ERRORS as a line that names the file and what it should have been."""
    if isinstance(error, Refused):
        return InvalidInput(
            f"{path}: {error}; refused, for only arrays, numbers, text and plain containers are "
            f"read from a {what}"
        )
    message = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
    message = "a value or a mark is missing" if isinstance(error, IndexError) else message
    return InvalidInput(f"{path}: not a whole {what} ({message})")


ERRORS = (
    *(Refused, IndexError),
    *(Broken, pickle.UnpicklingError, struct.error, EOFError),
    *(ValueError, TypeError, AttributeError, OverflowError, MemoryError),
)


class Whole:
    """A file whose every read is whole, or Broken before memory is taken for it."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file, self.size, self.left = file, size, size

    def read(self, n: int) -> bytes:
        if not 0 <= n <= self.left:
            raise Broken("the end is missing")
        self.left -= n
        return self.file.read(n)

    def readline(self) -> bytes:
        line = self.file.readline()
        self.left -= len(line)
        if not line.endswith(b"\n"):
            raise Broken("the end is missing")
        return line


class _Memo(dict):
    """Tells an array without contents where it is kept, to be replaced when it is made."""

    def __setitem__(self, key: int, value: Any) -> None:
        if isinstance(value, Unfilled):
            value.keys.append(key)
        super().__setitem__(key, value)


class _Instructions(dict):
    def __missing__(self, op: int) -> NoReturn:
        raise Broken(f"no instruction is {bytes([op])!r}")


def _refusing(what: str) -> Callable[["Reader"], None]:
    def load(reader: "Reader") -> None:
        raise Refused(what)

    return load


def _pairs(values: list) -> dict:
    return {key_of(k): v for k, v in zip(values[::2], values[1::2], strict=True)}


class Reader(pickle._Unpickler):  # type: ignore[name-defined, misc]  # typeshed leaves it out
    """Python's machine, with these instructions of its own.

    Args:
      whole: the file.
      names: what it may call, by module and name.
      outside: `(spend, reference) -> value` of what lies outside the pickle; None refuses that.
      size: of which its contents may be some times as large; default the file's.
    """

    # What the machine has.
    stack: list[Any]
    read: Callable[[int], bytes]
    append: Callable[[Any], None]
    pop_mark: Callable[[], list[Any]]
    load_binbytes8: Callable[["Reader"], None]

    def __init__(
        self,
        whole: Whole,
        names: Mapping[tuple[str, str], Callable] = NAMES,
        outside: Callable[[Spend, Any], Any] | None = None,
        size: int | None = None,
    ) -> None:
        super().__init__(whole, encoding="latin1")
        self.memo, self.names, self.outside = _Memo(), names, outside
        self.allowance = _LARGER * (whole.size if size is None else size) + 4096

    def spend(self, n: int) -> None:
        self.allowance -= n
        if self.allowance < 0:
            raise Refused(f"unpacks to more than {_LARGER} times its size")

    def find_class(self, module: str, name: str) -> Name:
        call = self.names.get((PLACES.get(module, module), name))
        if call is None:
            raise Refused(f"names {shown(f'{module}.{name}')}")
        return Name(f"{module}.{name}", call)

    def load_reduce(self) -> None:
        arguments, name = self.stack.pop(), self.stack[-1]
        if not isinstance(name, Name) or not isinstance(arguments, tuple):
            raise Broken("calls what is no name")
        self.stack[-1] = name.call(self.spend, *arguments)

    def load_build(self) -> None:
        """Contents for an array, byte order for a dtype; anything else has no state."""
        state, target = self.stack.pop(), self.stack[-1]
        if not isinstance(target, (Dtype, Unfilled)) or not isinstance(state, tuple):
            raise Refused(f"sets attributes of a {type(target).__name__.strip('_')}")
        if isinstance(target, Dtype):
            if len(state) != 8 or state[1] not in ("<", ">", "=", "|") or any(state[2:5]):
                raise Refused("an array has a structured dtype")
            target.order = state[1]
            return
        if len(state) != 5 or not isinstance(state[2], Dtype):
            raise Broken("an array has no valid state")
        _, shape, dtype, fortran, data = state
        if dtype.dtype().hasobject:
            array = object_array(self.spend, shape, fortran, data)
        else:
            array = filled_array(self.spend, shape, dtype.dtype(), fortran, data)
        self.memo.update(dict.fromkeys(target.keys, array))
        self.stack[-1] = array

    def target(self, kind: type) -> Any:
        target = self.stack[-1]
        if type(target) is not kind:
            message = type(target).__name__.strip("_")
            raise Refused(f"fills a {message} as if it were a {kind.__name__}")
        return target

    def load_append(self) -> None:
        value = self.stack.pop()
        self.target(list).append(value)

    def load_appends(self) -> None:
        values = self.pop_mark()
        self.target(list).extend(values)

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.target(dict)[key_of(key)] = value

    def load_setitems(self) -> None:
        values = self.pop_mark()
        self.target(dict).update(_pairs(values))

    def load_additems(self) -> None:
        values = self.pop_mark()
        self.target(set).update(map(key_of, values))

    def load_dict(self) -> None:
        values = self.pop_mark()  # first: it changes which stack is appended to
        self.append(_pairs(values))

    def load_frozenset(self) -> None:
        values = self.pop_mark()
        self.append(frozenset(map(key_of, values)))

    def load_binpersid(self) -> None:
        if self.outside is None:
            raise Refused("refers to something outside the file")
        self.append(self.outside(self.spend, self.stack.pop()))

    def load_frame(self) -> None:
        self.read(8)  # its length, for readers that read ahead


_REFUSED = {
    "makes an object": (pickle.INST, pickle.OBJ, pickle.NEWOBJ, pickle.NEWOBJ_EX),
    "refers to something outside the file": (
        *(pickle.PERSID, pickle.NEXT_BUFFER, pickle.READONLY_BUFFER),
    ),
    "uses a registered extension": (pickle.EXT1, pickle.EXT2, pickle.EXT4),
}
_OWN = {
    pickle.REDUCE: Reader.load_reduce,
    pickle.BUILD: Reader.load_build,
    pickle.APPEND: Reader.load_append,
    pickle.APPENDS: Reader.load_appends,
    pickle.SETITEM: Reader.load_setitem,
    pickle.SETITEMS: Reader.load_setitems,
    pickle.ADDITEMS: Reader.load_additems,
    pickle.DICT: Reader.load_dict,
    pickle.FROZENSET: Reader.load_frozenset,
    pickle.BINPERSID: Reader.load_binpersid,
    pickle.FRAME: Reader.load_frame,
    pickle.BYTEARRAY8: Reader.load_binbytes8,
    **{op: _refusing(what) for what, ops in _REFUSED.items() for op in ops},
}
Reader.dispatch = _Instructions(Reader.dispatch | {op[0]: load for op, load in _OWN.items()})


def check_plain(value: Any) -> None:
    """Raises Refused or Broken for a value that is no plain one.

    Without recursion, and every container once: they may be deep, shared and cyclic.
    """
    seen, todo = set(), [value]
    while todo:
        value = todo.pop()
        if isinstance(value, PLAIN) or id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, dict):
            todo.extend(value.values())
        elif isinstance(value, (list, tuple, set, frozenset)):
            todo.extend(value)
        elif isinstance(value, np.ndarray):
            todo.extend(value.flat if value.dtype.hasobject else ())
        elif isinstance(value, Unfilled):
            raise Broken("an array has no contents")
        else:
            what = value.name if isinstance(value, Name) else f"a {type(value).__name__.lower()}"
            raise Refused(f"holds {what} itself")

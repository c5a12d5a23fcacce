"""Folders of cached CLIP features that Tip-Adapter, and what is built upon it (CCA), write."""

import os
import re
from collections.abc import Callable
from functools import cache, partial

import numpy as np

from mmjax.data.features import Arrays
from mmjax.data.files.checks import plain
from mmjax.data.files.torch_files import read_torch
from mmjax.errors import InvalidInput

_KEYS = re.compile(r"keys_(\d+)shots\.pt")
_VALUES = re.compile(r"values_\d+shots\.pt")


def is_cache(path: str) -> bool:
    """Whether a path is a folder of `.pt` files."""
    return os.path.isdir(path) and any(name.endswith(".pt") for name in os.listdir(path))


def open_cache(path: str) -> Arrays:
    """A folder's arrays as few_shot_files names them, each read when it is asked for.

    `keys_Kshots.pt` `[dim, n]` with `values_Kshots.pt`, one-hot `[n, classes]`, are `train_K`
    `[n, dim]` and its labels; `val_f.pt`, `val_l.pt`, `test_f.pt`, `test_l.pt` the other parts;
    `text*.pt` and `clip_weights*.pt`, `[dim, classes]`, the texts.

    Raises InvalidInput, one line, where it holds no shots, or an array that is read misfits.
    """
    names, result = set(os.listdir(path)), dict[str, Callable[[], np.ndarray]]()
    shots = sorted(int(m[1]) for n in names if (m := _KEYS.fullmatch(n)))
    for k in shots:
        result[f"train_{k}"] = cache(partial(_keys, path, k))
        result[f"train_{k}_labels"] = cache(partial(_labels, path, k))
    if not shots:
        raise InvalidInput(
            f"{path}: it holds {', '.join(sorted(names)[:5])}; use keys_Kshots.pt, "
            "values_Kshots.pt, test_f.pt and test_l.pt, as Tip-Adapter writes them"
        )
    pairs = [(f"{name}_l.pt", f"{name}_f.pt") for name in ("val", "test")]
    pairs += [(n, n.replace("values", "keys")) for n in sorted(names) if _VALUES.fullmatch(n)]
    for one, other in pairs:
        if one in names and other not in names:
            message = f"{path}: {one} is there without {other}"
            raise InvalidInput(f"{message}; use both or neither")
    for name in ("val", "test"):
        if f"{name}_f.pt" in names:
            result[name] = cache(partial(_one, path, f"{name}_f.pt", 2))
            result[f"{name}_labels"] = cache(partial(_one, path, f"{name}_l.pt", 1))
    for name in sorted(names):
        if name.endswith(".pt") and name.startswith(("text", "clip_weights")):
            shown = name.removesuffix(".pt")
            shown = shown if shown.startswith("text") else f"text_{shown}"
            result[shown] = cache(partial(_texts, path, name, shots[0]))
    return result


def _one(path: str, name: str, axes: int) -> np.ndarray:
    """The tensor of a file."""
    file = os.path.join(path, name)
    array = read_torch(file)
    if not isinstance(array, np.ndarray) or array.ndim != axes or 0 in array.shape:
        message = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array)
        raise InvalidInput(f"{file}: it holds {message}; use one tensor of {axes} axes")
    return plain(array, name, path)


def _values(path: str, k: int) -> np.ndarray:
    values = _one(path, f"values_{k}shots.pt", 2)
    if not (np.isin(values, (0, 1)).all() and (values.sum(1, dtype=np.float32) == 1).all()):
        file = os.path.join(path, f"values_{k}shots.pt")
        raise InvalidInput(f"{file}: its rows are not one-hot; use one 1 a row, at its class")
    return values


def _labels(path: str, k: int) -> np.ndarray:
    return np.argmax(_values(path, k), 1)


def _keys(path: str, k: int) -> np.ndarray:
    keys, values = _one(path, f"keys_{k}shots.pt", 2), _values(path, k)
    if keys.shape[1] != len(values):
        raise InvalidInput(
            f"{os.path.join(path, f'keys_{k}shots.pt')}: shape {keys.shape}; values_{k}shots.pt "
            f"has {len(values)} rows, use [dim, {len(values)}]"
        )
    return keys.T


def _texts(path: str, name: str, k: int) -> np.ndarray:
    texts, classes = _one(path, name, 2), _values(path, k).shape[1]
    if texts.shape[1] != classes:
        file = os.path.join(path, name)
        raise InvalidInput(f"{file}: shape {texts.shape}; use [dim, {classes}], a column a class")
    return texts.T

"""Values of rows: arrays in memory, or Lazy ones that stay in their files; padded sequences."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from mmjax.data.files.checks import plain
from mmjax.errors import InvalidInput, require


class Lazy(NamedTuple):
    """Values that stay in their files until rows of them are asked for.

    Attributes:
      shape: `(n, ...)`, as if they were an array.
      dtype: of what is read.
      read: `[rows]` int64 row numbers, in any order and repeated, -> `[rows, ...]`; raises
        InvalidInput where a file is broken.
      tell: row number -> what names the row for good, such as its file's name; None: nothing does,
        and what it holds is read where rows are to be known again.
      same: `[n]` int, equal where rows are of one place in the files; None: each has its own.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[np.ndarray], np.ndarray]
    tell: Callable[[int], str] | None = None
    same: np.ndarray | None = None


Values = np.ndarray | Lazy


def taken(values: Lazy, chosen: np.ndarray) -> Lazy:
    """The rows `[k]` of these numbers, still in their files."""
    tell = values.tell
    return Lazy(
        (len(chosen), *values.shape[1:]),
        values.dtype,
        lambda rows: values.read(chosen[rows]),
        None if tell is None else (lambda row: tell(int(chosen[row]))),
        None if values.same is None else values.same[chosen],
    )


def joined(parts: Sequence[Lazy]) -> Lazy:
    """Rows of several files `[n_i, ...]` after each other, still in their files."""
    ends = np.cumsum([part.shape[0] for part in parts])
    starts = ends - [part.shape[0] for part in parts]

    def read(rows):
        rows = np.asarray(rows)
        owner = np.searchsorted(ends, rows, side="right")
        out = np.empty((len(rows), *parts[0].shape[1:]), parts[0].dtype)
        for number in np.unique(owner):
            chosen = owner == number
            out[chosen] = parts[number].read(rows[chosen] - starts[number])
        return out

    tells = [part.tell for part in parts if part.tell is not None]

    def tell(row):
        number = int(np.searchsorted(ends, row, side="right"))
        return tells[number](int(row - starts[number]))

    tell_rows = tell if len(tells) == len(parts) else None
    return Lazy((int(ends[-1]), *parts[0].shape[1:]), parts[0].dtype, read, tell_rows)


def padded(rows: Sequence[np.ndarray], length: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Sequences of different lengths as one array, zeros behind their ends.

    Args:
      rows: n arrays `[steps, ...]` of numbers, the other axes alike.
      length: of all; default the longest.

    Returns:
      values `[n, length, ...]`, of a dtype that holds all of them, and mask `[n, length]` bool.

    Raises InvalidInput where a sequence is longer than length: nothing is cut off silently.
    """
    steps = np.array([len(row) for row in rows])
    longest = max(1, int(steps.max()))
    length = longest if length is None else length
    require(length >= longest, "length", length, f">= {longest}, the longest sequence")
    values = np.zeros((len(rows), length, *rows[0].shape[1:]), np.result_type(*rows))
    for row, into in zip(rows, values, strict=True):
        into[: len(row)] = row
    return values, np.arange(length) < steps[:, None]


def as_array(where: str, values: Any) -> np.ndarray:
    """What a file holds, as an array: `plain`, but for bytes and Python's objects (ids).

    Raises InvalidInput where it is of lists of different lengths, or of no numbers or text.
    """
    try:
        array = np.asarray(values)
    except ValueError:
        raise InvalidInput(f"{where} is no array: its lists have different lengths") from None
    path, _, name = where.rpartition(": ")
    return array if array.dtype.kind in "OS" else plain(array, name, path)

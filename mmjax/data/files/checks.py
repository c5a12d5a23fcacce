"""Arrays as they come out of files: their values count, never how they are stored.

Every reader passes what it read through `plain`, then `finite` (or `finite_float32`), and labels
through `label_column`: one rule for all formats.
"""

from collections.abc import Sequence

import ml_dtypes
import numpy as np

from mmjax.errors import InvalidInput

_CHECKED = 2**22  # values looked at together: a map of a large file never lies whole in memory
_LARGEST = float(np.finfo(np.float32).max)


def plain(array: np.ndarray, name: str, path: str) -> np.ndarray:
    """The same values as NumPy's own numbers, bools or strings, in this machine's byte order.

    bfloat16 becomes float32 (an .npy stores it as two raw bytes a value, which nothing else is),
    other small floats float32, small ints int8, longer floats float64, bytes UTF-8 strings. What
    needs no change is not copied.

    Args:
      array: `[...]`.
      name: of the array in its file.
      path: the file.

    Raises InvalidInput for Python objects, raw bytes, complex numbers, dates and structures, and
    bytes that are no UTF-8.
    """
    dtype = array.dtype
    if dtype == np.dtype("V2") and dtype.names is None:
        return array.view(ml_dtypes.bfloat16).astype(np.float32)
    if dtype.kind == "V" and dtype.type is not np.void:  # ml_dtypes' own
        return array.astype(np.int8 if "int" in dtype.name else np.float32)
    if dtype.kind == "O":
        message = f"{_told(path, name)} holds Python objects, which are never loaded"
        raise InvalidInput(f"{message}; save it as a numeric array")
    if dtype.kind not in "biufUS":
        raise InvalidInput(f"{_told(path, name)} has dtype {dtype}; use numbers or strings")
    if dtype.kind == "S":
        try:
            return np.char.decode(array, "utf-8")
        except UnicodeDecodeError as error:
            message = f"{_told(path, name)} holds bytes {error.object[:40]!r}"
            raise InvalidInput(f"{message}; use UTF-8 text") from error
    if dtype.kind == "f" and dtype.itemsize > 8:
        return array.astype(np.float64)
    return array if dtype.isnative else array.astype(dtype.newbyteorder("="))


def varied(array: np.ndarray, name: str, path: str) -> np.ndarray:
    """The array itself, `[n, ...]`, if its rows are not all alike; a single row may be.

    Raises InvalidInput that names array and file.
    """
    if len(array) > 1 and all(np.array_equal(row, array[0]) for row in array):
        told = f"{path}: all rows of {name!r} are alike"
        raise InvalidInput(f"{told}; nothing can be told from them")
    return array


def finite(array: np.ndarray, name: str, path: str, *, first_row: int = 0) -> np.ndarray:
    """The array itself, `[...]`, if each of its numbers is finite and float32 can hold it.

    Args:
      array: of any dtype; only floats are looked at.
      name: of the array in its file.
      path: the file.
      first_row: number in the file of the first row here.

    Raises InvalidInput that names file, array, row and column (from 0) of the first bad value.
    """
    check_finite(
        _told(path, name),
        array,
        rows=range(first_row, first_row + len(array)) if array.ndim else None,
    )
    return array


def check_finite(
    where: str, array: np.ndarray, *, rows: Sequence[int] | np.ndarray | None = None
) -> None:
    """Raises InvalidInput `where has NaN or infinity, first in row 3, column 2`, as `finite` does.

    Args:
      where: file and array.
      array: `[...]`.
      rows: numbers in the file of the rows here; default from 0.
    """
    if array.dtype.kind != "f" or not array.size:
        return
    step = max(1, _CHECKED // max(1, array[:1].size)) if array.ndim else 1
    for start in range(0, len(array) if array.ndim else 1, step):
        part = array[start : start + step] if array.ndim else array
        bad = ~np.isfinite(part)
        if part.dtype.itemsize > 4:
            bad |= np.abs(part) > _LARGEST
        if bad.any():
            place = np.argwhere(bad)[0].tolist()
            fault = _fault(part[tuple(place)])
            if place:
                place[0] += start
                place[0] = place[0] if rows is None else int(rows[place[0]])
            raise InvalidInput(f"{where} has {fault}, first {_place(place)}")


def finite_float32(array: np.ndarray, name: str, path: str, *, first_row: int = 0) -> np.ndarray:
    """The values as float32, `[...]`.

    Whole numbers of a large offset lose their last digits in float32: what subtracts a mean does so
    in float64, of `plain` and `finite` values, before it rounds.

    Args, errors: those of `plain` and `finite`; strings are refused too.
    """
    array = plain(np.asarray(array), name, path)
    if array.dtype.kind == "U":
        raise InvalidInput(f"{_told(path, name)} holds text; use numbers")
    return finite(array, name, path, first_row=first_row).astype(np.float32, copy=False)


def within_int32(array: np.ndarray, name: str, path: str) -> np.ndarray:
    """Whole numbers of more than 32 bits as int32, which is what devices compute with; else itself.

    Raises InvalidInput for one that int32 can't hold: a device would cut it short without a word.
    """
    if array.dtype.kind not in "iu" or array.dtype.itemsize < 4 or array.dtype == np.int32:
        return array
    limits = np.iinfo(np.int32)
    bad = (array < limits.min) | (array > limits.max)
    if bad.any():
        place = np.argwhere(bad)[0].tolist()
        message = (
            f"{_told(path, name)} has {array[tuple(place)]}, beyond int32, first {_place(place)}"
        )
        raise InvalidInput(f"{message}; store floats, or standardise it")
    return array.astype(np.int32)


def whole_numbers(array: np.ndarray, largest: int, where: str) -> np.ndarray:
    """Numbers that are whole and from 0 to largest, of any dtype, as they are: pixels, classes.

    Raises InvalidInput that names the row and column of another one.
    """
    good = (array >= 0) & (array <= largest)
    good &= array == np.round(array) if array.dtype.kind == "f" else True
    if not good.all():
        place = np.argwhere(~good)[0].tolist()
        message = f"{where} holds {array[tuple(place)]!s}, first {_place(place)}"
        raise InvalidInput(f"{message}; use whole numbers from 0 to {largest}")
    return array


def label_column(array: np.ndarray, name: str, path: str) -> np.ndarray:
    """Labels or ids `[n]` as int64 (uint64 where they need it) or strings: 1, 1.0 and True alike,
    and texts whatever the space around them, which arrays of one width are filled up with.

    What is equal across two columns is for encode_labels to say (mmjax.labels).

    Raises InvalidInput for another number of axes, and, naming the row, NaN and fractions.
    """
    column = plain(np.asarray(array), name, path)
    if column.ndim != 1:
        raise InvalidInput(f"{_told(path, name)} has shape {column.shape}; use one label a row")
    if column.dtype.kind == "f":
        column = column.astype(np.float64)
        whole = (column == np.round(column)) & (np.abs(column) < 2.0**63)
        if not whole.all():
            row = int(np.argmin(whole))
            message = f"{_told(path, name)} has {float(column[row])!r} in row {row}"
            raise InvalidInput(f"{message}; use whole numbers or strings")
    if column.dtype == np.uint64 and (column > np.iinfo(np.int64).max).any():
        return column
    return stripped(column) if column.dtype.kind == "U" else column.astype(np.int64)


def stripped(column: np.ndarray) -> np.ndarray:
    """Text `[...]` without the space around it, which arrays of one width are filled up with; what
    is no text as it is. For labels and ids, wherever they are read."""
    return np.char.strip(column) if column.dtype.kind in "US" else column


def _told(path: str, name: str) -> str:
    return f"{path}: array {name!r}" if path else f"array {name!r}"


def _fault(value) -> str:
    if np.isfinite(value):
        return f"{float(value):.6g}, beyond float32 (use values up to {_LARGEST:.2g} in size)"
    return f"NaN or infinity ({float(value)})"


def _place(where: list[int]) -> str:
    row = f"in row {where[0]}" if where else "as its only value"
    return row + (f", column {', '.join(map(str, where[1:]))}" if len(where) > 1 else "")

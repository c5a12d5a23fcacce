"""Columns of a table as what they stand for: files by their paths, numbers, vectors, text."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from mmjax.data.formats.table import (
    Files,
    Table,
    at,
    check_numbers,
    check_text,
    ending_kind,
    is_empty,
)
from mmjax.data.scaling import narrowed
from mmjax.errors import InvalidInput

Values = np.ndarray | list[Any] | Files


def interpreted(table: Table, name: str, cells: Sequence[Any], root: str, kind: str = "") -> Values:
    """A column of cells as a modality.

    Args:
      table, name: for messages.
      cells: `[n]` str, numbers, lists of numbers, or None where a row has nothing.
      root: folder that paths start from.
      kind: text, where text that looks like numbers or paths is text.

    Returns:
      Files where all cells are names of pictures, or of sounds; else lists `[n]` of arrays or of
      str, None where a row has nothing.

    Raises InvalidInput, naming the row, for a file that is missing, for pictures beside sounds or
    other files, for NaN, and for cells of several sorts.
    """
    full = [row for row, cell in enumerate(cells) if not is_empty(cell)]
    if not full:
        raise InvalidInput(f"{table.path}: column {name!r} is empty in all rows")
    first = cells[full[0]]
    same = str if isinstance(first, str) else (list if isinstance(first, list) else (int, float))
    for row in full:
        if not isinstance(cells[row], same):
            message = (
                f"{table.path}: column {name!r} holds {_short(first)} and {_short(cells[row])}"
            )
            raise InvalidInput(f"{message} {at(table, row)}; use one sort of values")
    if same is list:
        vector = lambda row: _vector(table, name, row, cells[row])
        return _in_one_type(
            [None if is_empty(cell) else vector(row) for row, cell in enumerate(cells)]
        )
    if same is not str:
        check_numbers(table, name, cells)
        if kind == "text":
            return [None if c is None else str(c) for c in cells]
        return _in_one_type([None if c is None else np.array([c], np.float64) for c in cells])
    result = "" if kind == "text" else files_kind(table, name, cells)
    if result:
        return _paths(table, name, cells, root, result)
    if kind != "text":
        check_text(table, name, cells)
    return [None if is_empty(c) else c for c in cells]


def first_texts(cells: Sequence[Any]) -> tuple[Sequence[Any], int]:
    """Of lists of texts the first of each, and the most that a list has; 0 of other cells."""
    full = [cell for cell in cells if not is_empty(cell)]
    several = [isinstance(c, list) and c and all(isinstance(t, str) for t in c) for c in full]
    if not full or not all(several):
        return cells, 0
    return [None if is_empty(cell) else cell[0] for cell in cells], max(map(len, full))


def files_kind(table: Table, name: str, cells: Sequence[Any]) -> str:
    """image or sound where most cells name such files; empty otherwise.

    Raises InvalidInput that names the row of a cell that is no such file where most are.
    """
    kinds = [ending_kind(c.strip()) for c in cells if isinstance(c, str) and not is_empty(c)]
    most = max(("image", "sound"), key=kinds.count)
    if 2 * kinds.count(most) <= len(kinds):
        return ""
    for row, cell in enumerate(cells):
        if not is_empty(cell) and (not isinstance(cell, str) or ending_kind(cell.strip()) != most):
            message = f"{table.path}: column {name!r} holds {_short(cell)} {at(table, row)}"
            raise InvalidInput(f"{message}, where others are {most} files; use one kind")
    return most


def is_free_text(cells: Sequence[Any]) -> bool:
    """Whether a column is sentences rather than names: most cells hold a space or other scripts."""
    full = [cell for cell in cells if not is_empty(cell)]
    if not full or not all(isinstance(cell, str) for cell in full):
        return False
    sentences = sum(" " in cell.strip() or not cell.isascii() for cell in full)
    return 2 * sentences > len(full)


def _vector(table: Table, name: str, row: int, cell: list[Any]) -> np.ndarray:
    try:
        array = np.array(cell)
    except ValueError:
        array = np.empty(0, object)
    if array.dtype.kind not in "biuf" or not array.size:
        message = f"{table.path}: column {name!r} holds {_short(cell)} {at(table, row)}"
        raise InvalidInput(f"{message}; use lists of numbers")
    if not np.isfinite(array).all():
        bad = array[~np.isfinite(array)][0]
        raise InvalidInput(f"{table.path}: column {name!r} has {bad} {at(table, row)}")
    return array.astype(np.float64)


def _in_one_type(rows: list[np.ndarray | None]) -> list[Any]:
    """Rows of numbers as float32, or all of float64 where float32 would lose what they tell."""
    full = [row for row in rows if row is not None]
    alike = len({row.shape[1:] for row in full}) == 1
    table = len({row.shape for row in full}) == 1
    every = np.stack(full) if table else np.concatenate(full) if alike else np.zeros(0)
    dtype = narrowed(every).dtype
    return [None if row is None else row.astype(dtype) for row in rows]


def _paths(table: Table, name: str, cells: Sequence[Any], root: str, kind: str) -> Files:
    names = ["" if is_empty(cell) else cell.strip() for cell in cells]
    paths = [cell and os.path.join(root, cell) for cell in names]
    for row, path in enumerate(paths):
        if path and not os.path.isfile(path):
            message = f"{table.path}: column {name!r} names {path} {at(table, row)}"
            folder = "root is the folder that paths begin from"
            raise InvalidInput(f"{message}, and there is no such file; {folder}")
    return Files(kind, paths, lambda row: read_file(paths[row]))


def read_file(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise InvalidInput(f"{path}: can't be read ({error.strerror})") from error


def _short(cell: Any) -> str:
    text = repr(cell)
    return text if len(text) <= 40 else text[:37] + "..."

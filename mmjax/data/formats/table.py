"""What every format hands over: named columns, read when they are asked for."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from mmjax.data.files.pictures import ENDINGS as PICTURES
from mmjax.data.formats.numbers import stray
from mmjax.data.values import Lazy
from mmjax.errors import InvalidInput

# What libsndfile decodes everywhere.
SOUNDS = (".wav", ".flac", ".ogg", ".oga", ".aif", ".aiff")


class Files(NamedTuple):
    """Encoded pictures or sounds, one a row, wherever they lie.

    Attributes:
      kind: image or sound.
      names: `[n]` str for messages, and what names the row for good; empty where a row has none.
      read: row number -> the bytes of its file.
    """

    kind: str
    names: Sequence[str]
    read: Callable[[int], bytes]


def for_good(name: str) -> str:
    """What names a file, or a row of one (`a.tar: 1.jpg`), however its path is written: absolute,
    without links.

    Example:
      >>> for_good("/../usr/./bin: 1.jpg")
      '/usr/bin: 1.jpg'
    """
    path, colon, row = (name, "", "") if os.path.lexists(name) else name.partition(": ")
    return os.path.realpath(path) + colon + row if os.path.lexists(path) else name


# Numbers or text `[n, ...]`, such that stays in its file, cells of a table (None: empty), or files.
Raw = np.ndarray | Lazy | list[Any] | Files


class Table(NamedTuple):
    """A file or folder before anybody chose from it.

    Attributes:
      path: of it.
      columns: name -> what reads the column.
      usual: modality -> column, where nobody names modalities; None: whatever looks like one.
      labels: columns that are labels though nobody names them.
      place: row number -> ` (line 5)`, for messages.
      remarks: sentences on what was left out.
      written: column -> its cells as they are written, where numbers are written as text.
      twice: column -> the column of what else is called so.
    """

    path: str
    columns: Mapping[str, Callable[[], Raw]]
    usual: Mapping[str, str] | None = None
    labels: Sequence[str] = ()
    place: Callable[[int], str] = lambda row: ""
    remarks: Sequence[str] = ()
    written: Mapping[str, Sequence[str]] = MappingProxyType({})
    twice: Mapping[str, str] = MappingProxyType({})


def column(table: Table, name: str) -> Raw:
    """A column by its name; InvalidInput that lists the names where there is none such."""
    if name not in table.columns:
        there = ", ".join(table.columns) or "none"
        form = "; columns are told as modality:column" if "=" in name else ""
        raise InvalidInput(f"{table.path}: no column {name!r}; it has {there}{form}")
    return table.columns[name]()


def check_once(table: Table, names: Iterable[str]) -> None:
    """Raises InvalidInput for a name, of what is no modality, that stands for two columns which
    differ: a caption, and a field of that name."""
    for name, other in ((name, table.twice[name]) for name in names if name in table.twice):
        one, two = column(table, name), column(table, other)
        listed = not isinstance(one, Files | Lazy) and not isinstance(two, Files | Lazy)
        if not listed or list(map(str, one)) != list(map(str, two)):
            message = f"{table.path}: column {name!r} may be two, of which the other is {other!r}"
            raise InvalidInput(f"{message}; name that, or rename one of them")


def row_count(values: Raw) -> int:
    if isinstance(values, Files):
        return len(values.names)
    return len(values) if isinstance(values, list) else (values.shape or (0,))[0]


@contextmanager
def naming_file(path: str) -> Iterator[None]:
    """InvalidInput of what is inside names the file, once."""
    try:
        yield
    except InvalidInput as error:
        if path in str(error):
            raise
        raise InvalidInput(f"{path}: {error}") from error


def is_empty(cell: Any) -> bool:
    """Whether a row has nothing there."""
    return cell is None or (isinstance(cell, str) and not cell.strip())


def label_values(table: Table, name: str, values: Raw, *, checked: bool = False) -> np.ndarray:
    """Labels, groups, ids or a split `[n]`, as numbers or text; checked: text that numbers were
    meant by is refused.

    Raises InvalidInput, naming the row, for an empty cell, and for files, lists, and text beside
    numbers.
    """
    if isinstance(values, Files | Lazy):
        raise InvalidInput(f"{table.path}: column {name!r} is {_sort(values)}; use one label a row")
    if isinstance(values, np.ndarray):
        if checked and values.dtype.kind == "U" and values.ndim == 1:
            check_text(table, name, values.tolist())
        return values
    for row, cell in enumerate(values):
        if is_empty(cell):
            message = f"{table.path}: column {name!r} is empty {at(table, row)}"
            raise InvalidInput(f"{message}; leave such rows out")
        if not isinstance(cell, str | bool | int | float):
            message = f"{table.path}: column {name!r} holds {type(cell).__name__} {at(table, row)}"
            raise InvalidInput(f"{message}; use one number or text a row")
    check_numbers(table, name, values)
    if checked:
        check_text(table, name, values)
    texts = [isinstance(cell, str) for cell in values]
    if any(texts) and not all(texts):
        row = texts.index(not texts[0])
        message = f"{table.path}: column {name!r} holds {values[0]!r} and {values[row]!r}"
        raise InvalidInput(f"{message} {at(table, row)}; use numbers or text, not both")
    values = [cell.strip() if isinstance(cell, str) else cell for cell in values]
    array = np.array(values)
    lost = array.dtype.kind == "f" and any(isinstance(v, int) and float(v) != v for v in values)
    return np.array(list(map(str, values))) if lost or array.dtype.kind == "O" else array


def check_numbers(table: Table, name: str, cells: Sequence[Any]) -> None:
    """Raises InvalidInput that names file, column and row of a cell that is NaN or infinite."""
    for row, cell in enumerate(cells):
        if isinstance(cell, float) and not np.isfinite(cell):
            message = f"{table.path}: column {name!r} has {cell} {at(table, row)}"
            raise InvalidInput(f"{message}; leave such rows out")


def check_text(table: Table, name: str, cells: Sequence[Any]) -> None:
    """Raises InvalidInput that names file, column and row of text that numbers were meant by."""
    if all(isinstance(cell, str) or cell is None for cell in cells):
        found = stray(["" if cell is None else cell for cell in cells])
        if found:
            row, advice = found
            message = f"{table.path}: column {name!r} holds {cells[row]!r} {at(table, row)}"
            raise InvalidInput(f"{message}; {advice}, or kinds {name}:text for names of classes")


def at(table: Table, row: int) -> str:
    return f"in row {row}{table.place(row)}"


def _sort(values: Files | Lazy) -> str:
    return f"{values.kind} files" if isinstance(values, Files) else f"of shape {values.shape}"


def ending_kind(name: str) -> str:
    """image or sound by the ending of a file's name, in upper or lower case, or empty."""
    lower = name.lower()
    if lower.endswith(PICTURES):
        return "image"
    return "sound" if lower.endswith(SOUNDS) else ""

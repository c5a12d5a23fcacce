"""Columns that by their names say something of another: where its rows end, which rows have it."""

from collections.abc import Callable, Container, Iterable, Sequence

import numpy as np

from mmjax.data.formats.table import Table
from mmjax.data.values import Lazy
from mmjax.errors import InvalidInput

LENGTHS = "{}_mask", "{}_lengths"
PRESENT = "present_{}", "{}_present"


def beside_of(names: Iterable[str]) -> set[str]:
    """What columns that say lengths or presence of these may be called."""
    return {form.format(name) for name in names for form in (*LENGTHS, *PRESENT)}


def beside(table: Table, forms: Sequence[str], *names: str) -> str:
    """The column that says a modality's lengths or presence, by its name or its column's; empty:
    none."""
    tried = (form.format(name) for name in names for form in forms)
    return next((result for result in tried if result in table.columns), "")


def shown_by(table: Table, named: Container[str], *names: str) -> str:
    """The column that says which rows have a modality of these names; empty: none.

    Raises InvalidInput where the user names it as something else, too.
    """
    result = beside(table, PRESENT, *names)
    if result in named:
        raise _read_twice(table, result, f"which rows have {names[0]}")
    return result


def lengths_by(
    table: Table,
    named: Container[str],
    name: str,
    column: str,
    values: np.ndarray | Lazy,
    read: Callable[[str], np.ndarray],
) -> str:
    """The column that says where the sequences of a modality end; empty: none.

    One that can't is left to be what the user names it as, and a mask of pictures is none.

    Args:
      table: it comes from.
      named: columns that the user names as something.
      name, column: of the modality.
      values: `[n, ...]` numbers of it, or Lazy ones.
      read: column -> its values.

    Raises InvalidInput for a mask that the user names as something else, too, and for lengths of
    values that are no sequences.
    """
    result = beside(table, LENGTHS, name, column)
    if not result:
        return ""
    axes, shape = read(result).ndim, tuple(values.shape)
    if len(shape) == 3 and axes < 3:
        # A mask is 0 and 1: a label might be, by chance.
        if result in named and result in {LENGTHS[0].format(n) for n in (name, column)}:
            raise _read_twice(table, result, f"where sequences of {name} end")
        return result
    pictures = len(shape) == 4 or (len(shape) == 3 and values.dtype == np.uint8)
    if result in named or (axes > 2 and pictures):
        return ""
    message = f"{table.path}: {result!r} is read as where sequences of {name} end, but"
    if len(shape) != 3:
        message = f"{message} {column!r} has shape {shape}, no [n, length, f]"
    else:
        message = f"{message} has shape {read(result).shape}, no [n] and no [n, length]"
    raise InvalidInput(f"{message}; rename it, or name it as a modality of its own")


def _read_twice(table: Table, column: str, what: str) -> InvalidInput:
    message = f"{table.path}: column {column!r} is read as {what}, and named as something else"
    return InvalidInput(f"{message}; rename it, or a copy of it")

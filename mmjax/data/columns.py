"""One modality of a data set, from whatever arrays or lists a user has."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mmjax.data.files.checks import check_finite, plain
from mmjax.data.values import Lazy, padded
from mmjax.errors import InvalidInput, counted, require

KINDS = ("features", "sequence", "image", "text")


class Column(NamedTuple):
    """One modality.

    Attributes:
      values: `[n, ...]`: numbers `[n, f]` (features), `[n, length, f]` (sequence), `[n, h, w, c]`
        (image, uint8 or floats), or `[n]` objects that are str (text). Lazy stays in its files.
      kind: one of KINDS.
      seen: `[n, length]` bool, False where a sequence is padding; None: it has none.
      others: `[n]` tuples of str, further texts of a row beside the one in values (five captions of
        an image): training draws one of all of them a step, evaluation takes the first. None: no
        row has any.
    """

    values: np.ndarray | Lazy
    kind: str
    seen: np.ndarray | None = None
    others: np.ndarray | None = None


def all_texts(column: Column, rows: np.ndarray) -> list[str]:
    """Every text of these rows, further ones too."""
    first: Any = column.values
    others = [] if column.others is None else column.others[rows]
    return [*first[rows], *(text for several in others for text in several)]


def rows_of(name: str, rows: Any) -> int:
    try:
        if isinstance(rows, Mapping | str | bytes | set):
            raise TypeError
        return int(rows.shape[0]) if hasattr(rows, "shape") else len(rows)
    except (TypeError, IndexError):
        text = "; use a list of texts" if isinstance(rows, str) else "; use an array [rows, ...]"
        raise InvalidInput(
            f"{name}: {type(rows).__name__} is no array or list of rows{text}"
        ) from None


def of_length(name: str, values: Any, n: int) -> np.ndarray:
    _unmasked(name, values)
    _no_mixture(name, values)
    values = _exact(values) if isinstance(values, list | tuple) else np.asarray(values)
    require(values.shape[:1] == (n,), f"rows of {name}", values.shape[:1], f"({n},)")
    return values


def _exact(values: Sequence[Any]) -> np.ndarray:
    """As NumPy has it, but for whole numbers that its dtype does not hold: names of the numbers."""
    array = np.asarray(values)
    sorts = int | float | np.integer | np.floating
    may_lose = array.ndim == 1 and array.dtype.kind in "fO"
    if not may_lose or not all(isinstance(v, sorts) for v in values):
        return array
    whole = [v for v in values if isinstance(v, int | np.integer)]
    finite = all(np.isfinite(v) for v in values if not isinstance(v, int))
    if all(abs(int(v)) <= 2**53 for v in whole) or not finite:
        return array
    name = lambda v: repr(float(v)) if isinstance(v, float) and v % 1 else str(int(v))
    return np.array(list(map(name, values)))


def _unmasked(name: str, values: Any) -> None:
    """NumPy forgets a mask silently, and what is behind it is anything."""
    if isinstance(values, list | tuple):
        values = next((row for row in values if np.ma.is_masked(row)), None)
    if np.ma.is_masked(values):
        hidden = int(np.ma.count_masked(values))
        raise InvalidInput(f"{name}: {hidden} values are masked; fill them, or see present=")


def _no_mixture(name: str, values: Any) -> None:
    """NumPy makes text of NaN and of numbers beside text, silently: a class named 'nan'."""
    if isinstance(values, list | tuple) and any(isinstance(v, str | bytes) for v in values):
        rows = np.empty(len(values), object)
        rows[:] = values
        of_objects(name, rows)


def of_objects(name: str, values: np.ndarray) -> np.ndarray:
    """Names as a table in memory holds them, objects that are all text or all numbers, as NumPy's;
    name: what they are. Raises InvalidInput for one that is lacking and for a mixture."""
    if values.dtype != np.dtype(object) or values.ndim != 1:
        return values
    rows = [v.item() if isinstance(v, np.generic) else v for v in values]
    if rows and all(isinstance(v, bytes) for v in rows):
        return np.array(rows)
    if all(isinstance(v, str | bytes) for v in rows):
        text = lambda v: v if isinstance(v, str) else v.decode("utf-8", "surrogateescape")
        return np.array(list(map(text, rows)))
    if all(isinstance(v, bool | int | float) for v in rows):
        return _exact(rows)
    lacking = [row for row, v in enumerate(rows) if v is None or v != v]
    if lacking:
        message = f"{name}: row {lacking[0]} has {rows[lacking[0]]}, which names nothing"
        raise InvalidInput(f"{message}; leave such rows out")
    strange = sorted({type(v).__name__ for v in rows})
    raise InvalidInput(f"{name}: {', '.join(strange)} together; use text or numbers")


def presence(name: str, rows: Any, given: Any, n: int) -> np.ndarray:
    """`[n]` bool."""
    mask = np.ones(n, bool) if given is None else of_length(f"present {name}", given, n)
    require(mask.ndim == 1, f"present {name}", mask, "[n] of True and False")
    _each(f"present {name}", mask, np.isin(mask, (0, 1)), "True and False")
    mask = mask.astype(bool)
    listed = isinstance(rows, list | tuple) and not isinstance(rows, Lazy)
    if listed or getattr(rows, "dtype", None) == np.dtype(object):
        mask &= np.array([row is not None for row in rows], bool)
    require(bool(mask.any()), f"present {name}", "none", "a modality that some row has")
    return mask


def some_present(absent: Mapping[str, np.ndarray], columns: Mapping[str, Column], n: int) -> None:
    here = np.zeros(n, bool)
    for name in columns:
        here |= absent.get(name, np.ones(n, bool))
    if not here.all():
        raise InvalidInput(
            f"present: row {int(np.argmin(here))} lacks every modality; leave it out"
        )


def column_of(name: str, rows: Any, kind: str | None, lengths: Any, mask: np.ndarray) -> Column:
    if kind is not None:
        require(kind in KINDS, f"kind of {name}", kind, ", ".join(KINDS))
    if isinstance(rows, Lazy):
        seen = None if lengths is None else _seen(name, lengths, rows)
        kind = kind or _kind_of(name, rows, seen is not None)
        return Column(_shaped(rows, kind, seen), kind, seen)
    _unmasked(name, rows)
    first = rows[int(np.argmax(mask))]
    if _is_texts(first):
        return _several_texts(name, rows, mask)
    seen = None
    if isinstance(rows, list | tuple) or getattr(rows, "dtype", None) == np.dtype(object):
        _no_text(name, rows, mask)
        empty = np.zeros_like(_row(name, int(np.argmax(mask)), first))
        every = [empty if row is None else _row(name, k, row) for k, row in enumerate(rows)]
        if len({row.shape for row in every}) > 1:
            every = [row[:0] if not here else row for row, here in zip(every, mask, strict=True)]
            _alike(name, every)
            if every[0].ndim < 2:
                few, most = min(map(len, every)), max(map(len, every))
                message = f"{name}: rows of {few} to {most} numbers"
                raise InvalidInput(f"{message}; use as many in all, or sequences [length, f] a row")
            values, seen = padded(every)
        else:
            values = np.stack(every)
    else:
        values = np.asarray(rows)
    if lengths is not None:
        seen = _seen(name, lengths, values)
    values = _numbers(name, values, mask, seen)
    kind = kind or _kind_of(name, values, seen is not None)
    if kind == "image" and values.ndim == 3:
        values = values[..., None]
    wanted = {"features": 2, "sequence": 3, "image": 4}
    if kind == "features" and seen is None:  # said to be no sequence and no image
        values = values.reshape(len(values), -1)
    require(0 not in values.shape[1:], f"shape of {name}", values.shape, "one or more columns")
    fits = values.ndim == wanted.get(kind)
    require(fits, f"shape of {name}", values.shape, f"one with {wanted.get(kind)} axes, for {kind}")
    if kind == "image" and values.shape[1] in (1, 3):
        last = "1 or 3 of them last: np.moveaxis(pictures, 1, -1)"
        require(values.shape[3] in (1, 3), f"channels of {name}", values.shape[3], last)
    return Column(values, kind, seen)


def _shaped(rows: Lazy, kind: str, seen: np.ndarray | None) -> Lazy:
    """Rows in files with the axes of their kind, as those in memory have."""
    if kind == "features" and seen is None and len(rows.shape) != 2:
        row_shape: tuple[int, ...] = (int(np.prod(rows.shape[1:])),)
    elif kind == "image" and len(rows.shape) == 3:
        row_shape = (*rows.shape[1:], 1)
    else:
        return rows
    read = lambda chosen: rows.read(chosen).reshape(len(chosen), *row_shape)
    return rows._replace(shape=(rows.shape[0], *row_shape), read=read)


def _no_text(name: str, rows: Any, mask: np.ndarray) -> None:
    """Raises InvalidInput for text among rows of which the first is none: it lacks, or is not."""
    if any(_is_text(row) for row in rows):
        row = int(np.argmax(mask))
        message = f"{name}: row {row} is {rows[row]!r}, others are text"
        raise InvalidInput(f"{message}; use None where a row lacks it")


def _row(name: str, number: int, row: Any) -> np.ndarray:
    try:
        return np.asarray(row)
    except ValueError:
        message = f"{name}: row {number} is of lists of different lengths"
        of = ", or an argument a modality" if isinstance(row, tuple) else ""
        raise InvalidInput(f"{message}; use as many numbers in each{of}") from None


def _alike(name: str, rows: Sequence[np.ndarray]) -> None:
    sort = lambda row: "numbers" if row.dtype.kind in "biuf" else row.dtype.kind
    tails = {(row.shape[1:], sort(row)) for row in rows if row.ndim}
    fits = len(tails) == 1 and all(row.ndim for row in rows)
    shapes = sorted({row.shape for row in rows})[:2]
    require(fits, f"rows of {name}", shapes, "sequences [length_i, f] of one f")


def _kind_of(name: str, values: np.ndarray | Lazy, is_sequence: bool) -> str:
    axes = len(values.shape)
    if is_sequence or (axes == 3 and values.dtype != np.uint8):
        return "sequence"
    kind = {1: "features", 2: "features", 3: "image", 4: "image"}.get(axes)
    if kind is None:
        raise InvalidInput(
            f"{name}: shape {tuple(values.shape)} is not allowed; use [n, f], "
            "[n, length, f] or [n, h, w, c]"
        )
    return kind


def _is_text(value: Any) -> bool:
    return isinstance(value, str | bytes | np.str_ | np.bytes_)


def _is_texts(row: Any) -> bool:
    """Whether it is a text, or several."""
    several = isinstance(row, list | tuple) or (isinstance(row, np.ndarray) and row.ndim == 1)
    return _is_text(row) or bool(several and len(row) and all(map(_is_text, row)))


def _several_texts(name: str, rows: Any, mask: np.ndarray) -> Column:
    """A column of texts, of rows that are a text each or a list of several."""
    lists = [
        [""] if not here or _is_text(row) else row for row, here in zip(rows, mask, strict=True)
    ]
    for number, row in enumerate(lists):
        if not _is_texts(row):
            raise InvalidInput(f"{name}: row {number} is {type(row).__name__}, others are text")
    first = [row if _is_text(row) else several[0] for row, several in zip(rows, lists, strict=True)]
    values = _texts(name, first, mask)
    if max(map(len, lists)) == 1:
        return Column(values, "text")
    others = np.empty(len(lists), object)
    for number, row in enumerate(lists):
        every = np.ones(len(row) - 1, bool)
        others[number] = tuple(_texts(f"{name}, row {number}", row[1:], every))
    return Column(values, "text", None, others)


def _texts(name: str, rows: Any, mask: np.ndarray) -> np.ndarray:
    out = np.empty(len(rows), object)
    for number, row in enumerate(rows):
        if not mask[number]:
            out[number] = ""
            continue
        if isinstance(row, bytes):
            row = row.decode("utf-8", "surrogateescape")
        if not isinstance(row, str):
            raise InvalidInput(f"{name}: row {number} is {type(row).__name__}, others are text")
        out[number] = str(row)
    return out


def _seen(name: str, lengths: Any, values: np.ndarray | Lazy) -> np.ndarray:
    require(len(values.shape) > 1, f"shape of {name}", values.shape, "[n, length, f], for lengths")
    n, most = values.shape[:2]
    lengths = of_length(f"lengths {name}", lengths, n)
    if lengths.ndim == 2:
        good = lengths.shape == (n, most)
        require(good, f"lengths {name}", lengths.shape, f"[{n}, {most}] of True and False")
        _each(f"lengths {name}", lengths, np.isin(lengths, (0, 1)), "True and False")
        return lengths.astype(bool)
    require(lengths.ndim == 1, f"lengths {name}", lengths.shape, f"[{n}] or [{n}, {most}]")
    good = np.isin(lengths, np.arange(most + 1))
    _each(f"lengths {name}", lengths, good, f"whole numbers from 0 to {most}")
    return np.arange(most) < lengths[:, None]


def _each(name: str, values: np.ndarray, good: np.ndarray, allowed: str) -> None:
    """Raises InvalidInput that tells the first value that is not good and its row."""
    good = good & (values.dtype.kind in "biuf")  # '1' is none
    if not good.all():
        row = int(np.argwhere(~good)[0, 0])
        value = values[tuple(np.argwhere(~good)[0])]
        value = value.item() if isinstance(value, np.generic) else value
        raise InvalidInput(f"{name}: {value!r} in row {row} is not allowed; use {allowed}")


def _numbers(
    name: str, values: np.ndarray, mask: np.ndarray, seen: np.ndarray | None
) -> np.ndarray:
    """Numbers of the machine's byte order; NaN and infinity only where nothing is."""
    values = plain(values, name, "data")
    if values.dtype.kind not in "biuf":
        raise InvalidInput(f"{name}: dtype {values.dtype} is not allowed; use numbers or text")
    ignored = ~mask.reshape(-1, *[1] * (values.ndim - 1))
    if seen is not None:
        ignored = ignored | ~seen.reshape(*seen.shape, *[1] * (values.ndim - 2))
    if ignored.any():  # what is behind the end is no content of a row
        values = np.where(ignored, values.dtype.type(0), values)
    if values.dtype.kind == "f":
        try:
            check_finite(name, values)
        except InvalidInput as error:
            empty = np.isnan(values).reshape(len(values), -1).all(1)
            if values.ndim < 2 or not empty.any():
                raise
            whole = f"{counted(int(empty.sum()), 'row')} of it NaN throughout"
            how = f"present={{{name!r}: mask}} tells which rows have it"
            raise InvalidInput(f"{error}; {whole}: {how}") from None
    return values

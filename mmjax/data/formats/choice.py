"""Which columns are the modalities, and their values as Dataset.from_arrays takes them."""

from collections.abc import Container, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from mmjax.data.columns import presence
from mmjax.data.files.checks import check_finite
from mmjax.data.formats.beside import beside_of, lengths_by, shown_by
from mmjax.data.formats.cells import files_kind, first_texts, interpreted, is_free_text
from mmjax.data.formats.numbers import is_number
from mmjax.data.formats.pictures import picture_values
from mmjax.data.formats.sounds import MelOptions, sound_values
from mmjax.data.formats.table import Files, Raw, Table, at, column, is_empty, row_count
from mmjax.data.pair_ids import ids_in_parts
from mmjax.data.scaling import narrowed
from mmjax.data.values import Lazy
from mmjax.errors import InvalidInput, require

_AT_ONCE = 1024  # rows of files that are read together
_MANY = 30  # modalities beyond which nobody meant so many


class Options(NamedTuple):
    """How columns are read, see mmjax.data.formats.read; named: those that the user says are a
    modality, a label or such."""

    image_size: int | None
    sound: MelOptions
    stream: bool | None
    limit: int
    root: str
    kinds: Mapping[str, str]
    named: Container[str] = ()


class Modality(NamedTuple):
    """Arguments of Dataset.from_arrays for one modality, a remark or an empty one, names of files,
    and columns that were read beside its own."""

    rows: Any
    lengths: np.ndarray | None = None
    present: np.ndarray | None = None
    kind: str | None = None
    remark: str = ""
    files: Sequence[str] | None = None
    beside: Sequence[str] = ()


def parse_modalities(text: str) -> dict[str, str | list[str]] | None:
    """`image:photo,text:caption` as {"image": "photo", "text": "caption"}; None of an empty text.

    A name alone is the column of that name; `person:age+height` joins columns of numbers.

    Raises InvalidInput for an empty name or column, and a name that stands twice.
    """
    if not text.strip():
        return None
    results: dict[str, str | list[str]] = {}
    for part in text.split(","):
        name, colon, column = (piece.strip() for piece in part.partition(":"))
        columns = [piece.strip() for piece in (column if colon else name).split("+")]
        good = bool(name) and all(columns) and name not in results
        require(good, "modalities", text, "name:column,name:column of different names")
        results[name] = columns if len(columns) > 1 else columns[0]
    return results


def usual_modalities(table: Table, used: Sequence[str], known: Mapping[str, int]) -> dict[str, str]:
    """Columns that look like modalities: name -> column.

    Args:
      table: it comes from.
      used: columns that are something else.
      known: those that say how many rows there are, labels and groups -> their rows; the first
        counts. Small tables beside them (means of classes) are left out.

    Raises InvalidInput where there are none, or they have unequal rows.
    """
    if table.usual is not None:
        usual = {name: of for name, of in table.usual.items() if of not in used}
        return _not_many(table, usual)
    beside = beside_of(table.columns)
    rows = {}
    for name in table.columns:
        if name in used or name in beside:
            continue
        try:
            values = column(table, name)
        except InvalidInput:  # of what nobody asked for
            continue
        if _looks_like_one(table, name, values):
            rows[name] = row_count(values)
    first, n = next(iter(known.items()), ("", 0))
    fits = {name: count for name, count in rows.items() if not first or count == n}
    off = [name for name in rows if name not in fits and (len(fits) < 2 or 2 * rows[name] > n)]
    if off:
        said = f"{first} has {n} rows, {off[0]} has {rows[off[0]]}"
        raise InvalidInput(f"{table.path}: {said}; name the modalities, or give each as many rows")
    rows, there = fits, ", ".join(table.columns)
    if not rows:
        message = f"which columns are modalities? It has {there}; name them by modalities="
        raise InvalidInput(f"{table.path}: {message}")
    check_as_many(table, rows)
    return _not_many(table, {name: name for name in rows})


def _not_many(table: Table, names: dict[str, str]) -> dict[str, str]:
    if len(names) > _MANY:  # files of a row each, say
        few = ", ".join(list(names)[:3])
        message = f"{len(names)} columns or arrays ({few}, ...) might be a modality each"
        raise InvalidInput(f"{table.path}: {message}; name those that are by modalities=")
    return names


def check_as_many(table: Table, rows: Mapping[str, int]) -> None:
    """Raises InvalidInput, which tells of modalities= and index=, where numbers of rows differ.

    Args:
      table: they come from.
      rows: modality -> how many it has.
    """
    if len(set(rows.values())) < 2:
        return
    counts = ", ".join(f"{name} has {count} rows" for name, count in rows.items())
    advice = "name those of as many rows by modalities=, or row numbers that choose by index="
    links = [link for name in table.columns for link in _chooses(table, name, rows)]
    advice += f" ({', '.join(links)})" if links else ""
    raise InvalidInput(f"{table.path}: modalities need equally many rows: {counts}; {advice}")


def _chooses(table: Table, name: str, rows: Mapping[str, int]) -> list[str]:
    """`name may choose rows of ..`, of a column that is called an index and fits that modality."""
    if "index" not in name.lower() and "idx" not in name.lower():
        return []
    try:
        values = _array(table, name)
    except InvalidInput:  # of what nobody asked for
        return []
    if values.ndim != 1 or values.dtype.kind not in "iu" or len(values) not in rows.values():
        return []
    most = int(values.max(initial=-1))
    chosen = [one for one, count in rows.items() if count != len(values) and most < count]
    chosen = [one for one in chosen if one in name] or chosen
    return [f"{name} may choose rows of {chosen[0]}"] if chosen else []


def _looks_like_one(table: Table, name: str, values: Raw) -> bool:
    if isinstance(values, Files):
        return True
    if isinstance(values, list):
        full = [cell for cell in values if not is_empty(cell)]
        if full and isinstance(full[0], list) and not first_texts(values)[1]:
            return all(isinstance(cell, list) and _numeric(cell) for cell in full)
        cells, _ = first_texts(values)
        full = [cell for cell in cells if not is_empty(cell)]
        return bool(full and isinstance(full[0], str) and files_kind(table, name, cells)) or (
            is_free_text(cells)
        )
    if values.dtype.kind in "biuf":
        return len(values.shape) >= 2 and 0 not in values.shape
    return isinstance(values, np.ndarray) and values.ndim == 1 and is_free_text(values.tolist())


def _numeric(cell: Any) -> bool:
    return all(map(_numeric, cell)) if isinstance(cell, list) else isinstance(cell, int | float)


def modality(
    table: Table, name: str, columns: str | Sequence[str], rows: np.ndarray | None, options: Options
) -> Modality:
    """One modality.

    Args:
      table: it comes from.
      name: of it.
      columns: of the table; several are joined, which must be numbers.
      rows: `[n]` row numbers of the columns; None: as they are.
      options: how.

    Raises InvalidInput for whatever the kind of column does.
    """
    if not isinstance(columns, str) and len(columns) > 1:
        return _together(table, name, columns, rows, options)
    columns = columns if isinstance(columns, str) else columns[0]
    shown = shown_by(table, options.named, name, columns)
    found = _one(table, name, columns, shown, rows, options)
    return found._replace(beside=[*found.beside, *filter(None, [shown])])


def _one(
    table: Table, name: str, columns: str, shown: str, rows: np.ndarray | None, options: Options
) -> Modality:
    """A modality of one column; shown: the column that says which rows have it, or empty."""
    values, message = column(table, columns), ""
    if isinstance(values, list):
        cells, kind, (firsts, texts) = values, options.kinds.get(name, ""), first_texts(values)
        if kind == "text":
            firsts = table.written.get(columns, firsts)
        values = interpreted(table, columns, firsts, options.root, kind)
        if texts > 1 and isinstance(values, list):
            values = [None if is_empty(cell) else cell for cell in cells]
            message = (
                f"{name}: up to {texts} texts a row; training draws one, evaluation sees the first"
            )
    picked = lambda v: v if rows is None else v[_fits(v, rows, columns)]
    present = picked(_array(table, shown)) if shown else None
    if isinstance(values, Files):
        return _of_files(name, _some(values, rows), present, options)
    if isinstance(values, list):
        values = values if rows is None else [values[k] for k in _fits(values, rows, columns)]
        return Modality(values, None, present, None, message)
    if values.dtype.kind == "U":
        if isinstance(values, Lazy):
            values = values.read(np.arange(values.shape[0]))
        cells = [None if is_empty(cell) else cell for cell in picked(values).tolist()]
        return Modality(cells, None, present, options.kinds.get(name))
    length = lengths_by(table, options.named, name, columns, values, partial(_array, table))
    lengths = picked(_array(table, length)) if length else None
    found = _of_numbers(table, name, values, rows, lengths, present, options)
    return found._replace(beside=[length] if length else [])


def _together(
    table: Table, name: str, columns: Sequence[str], rows: np.ndarray | None, options: Options
) -> Modality:
    found = [modality(table, each, each, rows, options) for each in columns]
    parts = [one.rows for one in found]
    counts = {row_count(part) for part in parts}
    require(len(counts) == 1, f"rows of {name}", sorted(counts), "columns of as many rows")
    here = [
        presence(each, one.rows, one.present, row_count(one.rows))
        for each, one in zip(columns, found, strict=True)
    ]
    some, every = np.any(here, 0), np.all(here, 0)
    if (some != every).any():
        row = int(np.argmax(some != every))
        k = next(k for k, there in enumerate(here) if not there[row])
        missing, listed = columns[k], isinstance(parts[k], list)
        lacks = "empty" if listed and parts[k][row] is None else "not present"
        place = at(table, row if rows is None else int(rows[row]))
        message = f"{table.path}: column {missing!r} of {name} is {lacks} {place}"
        raise InvalidInput(f"{message}; fill it, or leave all of {', '.join(columns)} empty there")
    beside = [column for one in found for column in one.beside]
    if shown := shown_by(table, options.named, name):
        shows = _array(table, shown)
        shows = shows if rows is None else shows[_fits(shows, rows, shown)]
        every = every & presence(name, parts[0], shows, len(every))
        beside.append(shown)
    joined = []
    for missing, part in zip(columns, parts, strict=True):
        part = _filled(part) if isinstance(part, list) else part
        if part is None or isinstance(part, Lazy) or part.dtype.kind not in "biuf" or part.ndim > 2:
            message = (
                f"{table.path}: column {missing!r} of {name} has no numbers, one or a list a row"
            )
            raise InvalidInput(f"{message}{_first_word(table, missing)}")
        joined.append(part.reshape(len(part), -1))
    values = np.concatenate([narrowed(part) for part in joined], axis=1)
    return Modality(values, None, None if every.all() else every, beside=beside)


def _first_word(table: Table, name: str) -> str:
    """Which cell is no number, where others are: `NA` beside numbers makes text of all."""
    cells = table.written.get(name, ())
    known = [cell.strip() for cell in cells]
    words = [row for row, cell in enumerate(known) if cell and not is_number(cell)]
    if not words or len(words) > len(known) / 2:
        return "; columns that are joined have"
    return f" but {known[words[0]]!r} {at(table, words[0])}; leave empty what a row lacks"


def _filled(part: list[Any]) -> np.ndarray | None:
    """Rows of one shape as an array, zeros where there are none; None for other rows."""
    full = [row for row in part if row is not None]
    if not full or any(not isinstance(r, np.ndarray) or r.shape != full[0].shape for r in full):
        return None
    return np.stack([np.zeros_like(full[0]) if row is None else row for row in part])


def _array(table: Table, name: str) -> np.ndarray:
    values = column(table, name)
    if isinstance(values, Lazy):
        return values.read(np.arange(values.shape[0]))
    return np.array(values) if isinstance(values, list) else np.asarray(values)


def _fits(values: Any, rows: np.ndarray, name: str) -> np.ndarray:
    good = rows.ndim == 1 and rows.dtype.kind in "iu" and rows.size and rows.min() >= 0
    good = bool(good) and rows.max() < row_count(values)
    require(good, f"index of {name}", f"{rows.dtype} {rows.shape}", "whole numbers of its rows")
    return rows


def picked_rows(values: Raw, rows: np.ndarray | None, name: str) -> Raw:
    """Rows of a column of labels."""
    if rows is None or isinstance(values, Files | Lazy):
        return values
    rows = _fits(values, rows, name)
    return [values[k] for k in rows.tolist()] if isinstance(values, list) else values[rows]


def _some(files: Files, rows: np.ndarray | None) -> Files:
    if rows is None:
        return files
    rows = _fits(files, rows, files.kind)
    names = [files.names[k] for k in rows.tolist()]
    return files._replace(names=names, read=lambda row: files.read(int(rows[row])))


def _of_files(name: str, files: Files, shown: np.ndarray | None, options: Options) -> Modality:
    present = np.array([bool(written) for written in files.names])
    if shown is not None:
        present &= presence(name, present, shown, len(present))
    require(bool(present.any()), name, "no files", "a modality that some row has")
    stream, limit = options.stream, options.limit
    if files.kind == "image":
        pictures = picture_values(files, size=options.image_size, stream=stream, limit=limit)
        return Modality(pictures, None, present, "image", files=files.names)
    values, steps, cut = sound_values(files, options.sound, stream=stream, limit=limit)
    message = f"{name}: {cut} sounds cut to {options.sound.seconds} seconds" if cut else ""
    return Modality(values, steps, present, "sequence", message, files.names)


def _of_numbers(
    table: Table,
    name: str,
    values: np.ndarray | Lazy,
    rows: np.ndarray | None,
    lengths: np.ndarray | None,
    present: np.ndarray | None,
    options: Options,
) -> Modality:
    """An array, in memory where it takes no more than the limit, else in its file."""
    kind = options.kinds.get(name)
    n = values.shape[0] if rows is None else len(_fits(values, rows, name))
    size = n * int(np.prod(values.shape[1:])) * values.dtype.itemsize
    in_files = size > options.limit if options.stream is None else options.stream
    if not in_files or len(values.shape) < 2:
        chosen = np.arange(n) if rows is None else rows
        if isinstance(values, Lazy):
            return Modality(values.read(chosen), lengths, present, kind)
        return Modality(values if rows is None else values[rows], lengths, present, kind)
    values = _lazy(table.path, name, values, rows, n, lengths, present)
    return Modality(values, lengths, present, kind)


def _lazy(
    path: str,
    name: str,
    values: np.ndarray | Lazy,
    rows: np.ndarray | None,
    n: int,
    lengths: np.ndarray | None,
    present: np.ndarray | None,
) -> Lazy:
    """Rows of an array, read and looked at when they are asked for."""
    grey = len(values.shape) == 3 and values.dtype == np.uint8 and lengths is None
    shape = (n, *values.shape[1:], *([1] if grey else []))
    if lengths is not None and np.ndim(lengths) == 1:
        lengths = np.arange(shape[1]) < np.asarray(lengths)[:, None]

    def read(chosen):
        taken = chosen if rows is None else rows[chosen]
        part = values.read(taken) if isinstance(values, Lazy) else np.asarray(values[taken])
        part = part.reshape(len(chosen), *shape[1:])
        if lengths is not None or present is not None:
            part = part.copy()
        if lengths is not None:
            part[~lengths[chosen].astype(bool)] = 0
        if present is not None:
            part[~np.asarray(present)[chosen].astype(bool)] = 0
        if part.dtype.kind == "f":
            check_finite(f"{path}: {name}", part, rows=taken)
        return part

    # One pass, in which NaN is told too: rows that hold the same stay on one side of a split.
    places = np.arange(n) if rows is None else rows
    _, first, place = np.unique(places, return_index=True, return_inverse=True)
    starts = range(0, len(first), _AT_ONCE)
    codes = ids_in_parts(read(first[start : start + _AT_ONCE]) for start in starts)
    return Lazy(shape, values.dtype, read, same=codes[place.reshape(-1)])

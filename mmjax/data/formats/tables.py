"""Tables: csv, tsv, jsonl and parquet."""

import json
import os
from functools import cache
from typing import Any

import numpy as np

from mmjax.data.files.optional import needed
from mmjax.data.files.tables import read_table, read_text
from mmjax.data.formats.numbers import typed
from mmjax.data.formats.table import Files, Raw, Table, ending_kind
from mmjax.errors import InvalidInput


def open_delimited(path: str) -> Table:
    """A table with a header; see mmjax.data.files.tables for what is understood.

    Raises InvalidInput that names the line at fault.
    """
    result = read_table(path)
    column = lambda name: cache(lambda: typed(result.values[name]))
    return Table(
        path,
        {name: column(name) for name in result.values},
        place=lambda row: f" (line {result.lines[row]})",
        written=result.values,
    )


def open_jsonl(path: str) -> Table:
    """A JSON object a line; what a line leaves out is empty. Blank lines are no rows.

    Raises InvalidInput that names the line at fault.
    """
    lines, rows = [], []
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            message = str(error).splitlines()[0]
            raise InvalidInput(f"{path}: line {number} is no JSON ({message})") from error
        if not isinstance(row, dict):
            raise InvalidInput(f"{path}: line {number} is no JSON object, {{...}}")
        lines.append(number)
        rows.append(row)
    if not rows:
        raise InvalidInput(f"{path}: no rows")
    keys = dict.fromkeys(key for row in rows for key in row)
    columns = {key: lambda key=key: [row.get(key) for row in rows] for key in keys}
    return Table(path, columns, place=lambda row: f" (line {lines[row]})")


def open_parquet(path: str) -> Table:
    """A parquet file; binary columns, alone or as `{bytes, path}`, are pictures or sounds.

    Raises InvalidInput where it is broken or pyarrow is missing.
    """
    needed("pyarrow", path)
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path, memory_map=True)
    except (pyarrow.ArrowException, OSError) as error:
        message = str(error).splitlines()[0]
        raise InvalidInput(f"{path}: not a whole .parquet file ({message})") from error
    if not table.num_rows:
        raise InvalidInput(f"{path}: no rows")
    column = lambda name: cache(lambda: _arrow(path, name, table.column(name)))
    return Table(path, {name: column(name) for name in table.column_names})


def _arrow(path: str, name: str, column: Any) -> Raw:
    import pyarrow.types as is_

    kind = column.type
    if is_.is_dictionary(kind):
        return _arrow(path, name, column.cast(kind.value_type))
    if is_.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        return _embedded(path, name, column, column.combine_chunks().field("bytes"))
    if is_.is_binary(kind) or is_.is_large_binary(kind):
        return _embedded(path, name, None, column.combine_chunks())
    if is_.is_list(kind) or is_.is_large_list(kind) or is_.is_fixed_size_list(kind):
        return _lists(column)
    if not (is_.is_integer(kind) or is_.is_floating(kind) or is_.is_boolean(kind)):
        if not (is_.is_string(kind) or is_.is_large_string(kind)):
            raise InvalidInput(f"{path}: column {name!r} has type {kind}; use numbers or text")
    return column.to_pylist()


def _lists(column: Any) -> Raw:
    """Lists of numbers of one length as one array, without a Python object a number."""
    flat = column.combine_chunks()
    values = flat.flatten()
    lengths = np.diff(np.asarray(flat.offsets)) if hasattr(flat, "offsets") else None
    same = lengths is None or (lengths == lengths[0]).all()
    if column.null_count or values.null_count or not same:
        return column.to_pylist()
    numbers = values.to_numpy(zero_copy_only=False)
    return column.to_pylist() if numbers.dtype.kind == "O" else numbers.reshape(len(flat), -1)


_STARTS = {b"RIFF": "sound", b"fLaC": "sound", b"OggS": "sound", b"FORM": "sound"}


def _embedded(path: str, name: str, column: Any, content: Any) -> Files:
    place = None if column is None else column.type.get_field_index("path")
    named = None if place in (None, -1) else column.combine_chunks().field("path")
    if named is not None and not content.is_valid().to_numpy(zero_copy_only=False).any():
        raise InvalidInput(f"{path}: column {name!r} holds no bytes of its files")
    read = lambda row: content[row].as_py()
    names, kind = [], ""
    for row in range(len(content)):
        there = content[row].is_valid
        file_name = named[row].as_py() if named is not None and there else ""
        names.append(f"{path}: {file_name or f'{name} of row {row}'}" if there else "")
        if there and not kind:
            start = read(row)[:12]
            riff = "image" if start[8:12] == b"WEBP" else _STARTS.get(start[:4])
            kind = ending_kind(file_name or "") or riff or "image"
    return Files(kind, names, read)


OPENERS = {
    ".csv": open_delimited,
    ".tsv": open_delimited,
    ".jsonl": open_jsonl,
    ".ndjson": open_jsonl,
    ".parquet": open_parquet,
}
is_table = lambda name: os.path.splitext(name)[1].lower() in OPENERS

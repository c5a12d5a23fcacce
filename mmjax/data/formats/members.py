"""Files that share a name but for their endings, a row a name: in folders and in tar shards."""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from mmjax.data.files.pictures import ENDINGS as PICTURES
from mmjax.data.files.pictures import left_out
from mmjax.data.files.tables import decode_text
from mmjax.data.formats.table import SOUNDS, Files, Table, is_empty, typed
from mmjax.errors import InvalidInput

TEXTS = (".txt", ".text", ".caption")
CLASS = ".cls"
_CAPTIONS = ("caption", "captions", "text")  # fields that are the texts where there are no files
_FIRST = 1000  # rows whose .json files say which fields there are
_SORTS = {"image": PICTURES, "text": TEXTS, "audio": SOUNDS}


class Members(NamedTuple):
    """Files of rows.

    Attributes:
      path: of the folder or shards.
      keys: `[n]` name of each row.
      where: ending -> `[n]` number of the file, -1 where the row has none.
      name: number of a file -> its name.
      read: number of a file -> its bytes.
      labels: name -> `[n]` what the layout says of the rows.
      remarks: on what was left out.
    """

    path: str
    keys: Sequence[str]
    where: Mapping[str, np.ndarray]
    name: Callable[[int], str]
    read: Callable[[int], bytes]
    labels: Mapping[str, np.ndarray]
    remarks: Sequence[str]


def members_table(found: Members) -> Table:
    """Columns: `image`, `text`, `audio`; each ending by itself; each field that the first
    thousand .json files have, of which a caption is the text where there are no text files.

    Rows that have none of the three are left out, which the remarks say, as they do where a row
    lacks one.

    Raises InvalidInput for a row with two pictures, texts or sounds of one name, and where no row
    is left or no two files belong together.
    """
    joined = {sort: _joined(found, sort) for sort in _SORTS}
    sorts = {sort: where for sort, where in joined.items() if where is not None}
    if not sorts:
        raise InvalidInput(
            f"{found.path}: holds no pictures, sounds, texts, .npy or .tar files; name the file in "
            "it that you mean"
        )
    kept = np.max(list(sorts.values()), axis=0) >= 0
    there = np.sum([where >= 0 for where in sorts.values()], axis=0)
    if len(sorts) > 1 and there.max() < 2:
        raise InvalidInput(
            f"{found.path}: no {' and '.join(sorts)} share a name; lay them beside each other, as "
            "a.jpg and a.txt"
        )
    alone = left_out(found.path, _names(found, ~kept), "no picture, text or sound of that name")
    remarks = [*found.remarks, alone]
    for sort, where in sorts.items():
        remarks.append(_lacking(found, sort, kept & (where < 0)))
    columns: dict[str, Callable] = {name: (lambda v=v: v[kept]) for name, v in found.labels.items()}
    for sort, where in sorts.items():
        columns[sort] = cache(lambda sort=sort, where=where: _read(found, sort, where[kept]))
    for ending, where in found.where.items():
        name = ending.lstrip(".")
        reader = cache(lambda ending=ending, where=where: _by_ending(found, ending, where[kept]))
        columns.setdefault(name, reader)
    labels = [name for name in found.labels if name != "split"]
    if CLASS in found.where and (found.where[CLASS][kept] >= 0).all():
        labels.append(CLASS.lstrip("."))
    if ".json" in found.where:
        rows = cache(lambda: _json_rows(found, found.where[".json"][kept]))
        first = _json_rows(found, found.where[".json"][kept][:_FIRST])
        for name in dict.fromkeys(name for row in first for name in row):
            columns.setdefault(name, lambda name=name: [row.get(name) for row in rows()])
    usual = {sort: sort for sort in sorts}
    captions = [name for name in _CAPTIONS if name in columns]
    if captions and "text" not in usual:
        usual["text"] = captions[0]
    return Table(
        found.path,
        columns,
        usual=usual,
        labels=labels,
        place=lambda row: f" ({_names(found, kept)[row]})",
        remarks=[remark for remark in remarks if remark],
    )


def _joined(found: Members, sort: str) -> np.ndarray | None:
    """`[n]` number of each row's file of a sort; None where there is none."""
    own = {ending: where for ending, where in found.where.items() if ending in _SORTS[sort]}
    joined = None
    for where in own.values():
        if joined is None:
            joined = where.copy()
            continue
        twice = (joined >= 0) & (where >= 0)
        if twice.any():
            row = int(np.argmax(twice))
            pair = found.name(joined[row]), found.name(where[row])
            raise InvalidInput(f"{found.path}: {pair[0]} and {pair[1]} share a name; use one")
        joined = np.maximum(joined, where)
    return joined


def _names(found: Members, rows: np.ndarray) -> list[str]:
    return [found.keys[row] for row in np.flatnonzero(rows).tolist()]


def _lacking(found: Members, sort: str, rows: np.ndarray) -> str:
    told = left_out(found.path, _names(found, rows), "")
    return told.replace("left out ()", f"without {sort}")


def _read(found: Members, sort: str, where: np.ndarray) -> Files | list[str | None]:
    if sort == "text":
        return _texts(found, where)
    names = [found.name(k) if k >= 0 else "" for k in where.tolist()]
    kind = "sound" if sort == "audio" else sort
    return Files(kind, names, lambda row: found.read(int(where[row])))


def _texts(found: Members, where: np.ndarray) -> list[str | None]:
    texts = [decode_text(found.read(k), found.name(k)) if k >= 0 else "" for k in where.tolist()]
    return [None if is_empty(text) else text.strip() for text in texts]


def _by_ending(found: Members, ending: str, where: np.ndarray) -> Any:
    last = "." + ending.rpartition(".")[2]
    for sort, endings in _SORTS.items():
        if last in endings:
            return _read(found, sort, where)
    if last == ".npy":
        return [_array(found, k) if k >= 0 else None for k in where.tolist()]
    texts = _texts(found, where)
    return typed([text or "" for text in texts]) if ending == CLASS else texts


def _array(found: Members, number: int) -> list:
    try:
        return np.load(io.BytesIO(found.read(number)), allow_pickle=False).tolist()
    except (ValueError, EOFError, OSError) as error:
        told = str(error).splitlines()[0]
        raise InvalidInput(f"{found.name(number)}: no numeric .npy ({told})") from error


def _json_rows(found: Members, where: np.ndarray) -> list[dict[str, Any]]:
    return [_fields(found, k) if k >= 0 else {} for k in where.tolist()]


def _fields(found: Members, number: int) -> dict[str, Any]:
    name = found.name(number)
    try:
        fields = json.loads(decode_text(found.read(number), name))
    except (ValueError, RecursionError) as error:
        if isinstance(error, InvalidInput):
            raise
        raise InvalidInput(f"{name}: no JSON file ({str(error).splitlines()[0]})") from error
    if not isinstance(fields, dict):
        raise InvalidInput(f"{name}: no JSON object, {{...}}")
    return fields

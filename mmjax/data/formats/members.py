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
from mmjax.data.formats.numbers import typed
from mmjax.data.formats.table import SOUNDS, Files, Table, is_empty
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


def members_table(members: Members) -> Table:
    """Columns: `image`, `text`, `audio`; each ending by itself; each field that the first
    thousand .json files have, of which a caption is the text where there are no text files. A
    field that is called as another column is `json.` and its name, which a remark says.

    Rows that have none of the three are left out, which the remarks say, as they do where a row
    lacks one.

    Raises InvalidInput for a row with two pictures, texts or sounds of one name, and where no row
    is left or no two files belong together.
    """
    joined = {sort: _joined(members, sort) for sort in _SORTS}
    sorts = {sort: where for sort, where in joined.items() if where is not None}
    if not sorts:
        held = "no pictures, sounds, texts, .npy or .tar files"
        told = "".join(f" ({remark})" for remark in members.remarks if remark)
        raise InvalidInput(f"{members.path}: holds {held}; name the file in it that you mean{told}")
    kept = np.max(list(sorts.values()), axis=0) >= 0
    there = np.sum([where >= 0 for where in sorts.values()], axis=0)
    if len(sorts) > 1 and there.max() < 2:
        apart = f"no {' and '.join(sorts)} share a name"
        advice = "lay them beside each other, as a.jpg and a.txt"
        raise InvalidInput(f"{members.path}: {apart}; {advice}")
    alone = left_out(members.path, _names(members, ~kept), "no picture, text or sound of that name")
    remarks = [*members.remarks, alone]
    for sort, where in sorts.items():
        remarks.append(_lacking(members, sort, kept & (where < 0)))
    twice: dict[str, str] = {}
    columns: dict[str, Callable] = {
        name: (lambda v=v: v[kept]) for name, v in members.labels.items()
    }
    for sort, where in sorts.items():
        columns[sort] = cache(lambda sort=sort, where=where: _read(members, sort, where[kept]))
    for ending, where in members.where.items():
        name = ending.lstrip(".")
        reader = cache(lambda ending=ending, where=where: _by_ending(members, ending, where[kept]))
        if name in columns and ending not in _SORTS.get(name, ()):
            twice[name] = ending
            remarks.append(f"files that end in {ending} are column {ending!r}")
            columns[ending] = reader
        else:
            columns.setdefault(name, reader)
    labels = [name for name in members.labels if name != "split"]
    if CLASS in members.where:
        unnamed = kept & (members.where[CLASS] < 0)
        if unnamed.any():
            remarks.append(_lacking(members, CLASS, unnamed) + ", so that it is no label")
        else:
            labels.append(CLASS.lstrip("."))
    if ".json" in members.where:
        rows = cache(lambda: _json_rows(members, members.where[".json"][kept]))
        first = _json_rows(members, members.where[".json"][kept][:_FIRST])
        for name in dict.fromkeys(name for row in first for name in row):
            free = name if name not in columns else f"json.{name}"
            columns[free] = lambda name=name: [row.get(name) for row in rows()]
            if free != name:
                twice[name] = free
                remarks.append(f"field {name!r} of the .json files is column {free!r}")
    usual = {sort: sort for sort in sorts}
    captions = [name for name in _CAPTIONS if name in columns]
    if captions and "text" not in usual:
        usual["text"] = captions[0]
    return Table(
        members.path,
        columns,
        usual=usual,
        labels=labels,
        place=lambda row: f" ({_names(members, kept)[row]})",
        remarks=[remark for remark in remarks if remark],
        twice=twice,
    )


def _joined(members: Members, sort: str) -> np.ndarray | None:
    """`[n]` number of each row's file of a sort; None where there is none."""
    places = {ending: where for ending, where in members.where.items() if ending in _SORTS[sort]}
    joined = None
    for where in places.values():
        if joined is None:
            joined = where.copy()
            continue
        twice = (joined >= 0) & (where >= 0)
        if twice.any():
            row = int(np.argmax(twice))
            pair = members.name(joined[row]), members.name(where[row])
            raise InvalidInput(f"{members.path}: {pair[0]} and {pair[1]} share a name; use one")
        joined = np.maximum(joined, where)
    return joined


def _names(members: Members, rows: np.ndarray) -> list[str]:
    return [members.keys[row] for row in np.flatnonzero(rows).tolist()]


def _lacking(members: Members, sort: str, rows: np.ndarray) -> str:
    skipped = left_out(members.path, _names(members, rows), "")
    return skipped.replace("left out ()", f"without {sort}")


def _read(members: Members, sort: str, where: np.ndarray) -> Files | list[str | None]:
    if sort == "text":
        return _texts(members, where)
    names = [members.name(k) if k >= 0 else "" for k in where.tolist()]
    kind = "sound" if sort == "audio" else sort
    return Files(kind, names, lambda row: members.read(int(where[row])))


def _texts(members: Members, where: np.ndarray) -> list[str | None]:
    texts = [
        decode_text(members.read(k), members.name(k)) if k >= 0 else "" for k in where.tolist()
    ]
    return [None if is_empty(text) else text.strip() for text in texts]


def _by_ending(members: Members, ending: str, where: np.ndarray) -> Any:
    last = "." + ending.rpartition(".")[2]
    for sort, endings in _SORTS.items():
        if last in endings:
            return _read(members, sort, where)
    if last == ".npy":
        return [_array(members, k) if k >= 0 else None for k in where.tolist()]
    texts = _texts(members, where)
    return typed([text or "" for text in texts]) if ending == CLASS else texts


def _array(members: Members, number: int) -> list:
    try:
        return np.load(io.BytesIO(members.read(number)), allow_pickle=False).tolist()
    except (ValueError, EOFError, OSError) as error:
        message = str(error).splitlines()[0]
        raise InvalidInput(f"{members.name(number)}: no numeric .npy ({message})") from error


def _json_rows(members: Members, where: np.ndarray) -> list[dict[str, Any]]:
    return [_fields(members, k) if k >= 0 else {} for k in where.tolist()]


def _fields(members: Members, number: int) -> dict[str, Any]:
    name = members.name(number)
    try:
        fields = json.loads(decode_text(members.read(number), name))
    except (ValueError, RecursionError) as error:
        if isinstance(error, InvalidInput):
            raise
        raise InvalidInput(f"{name}: no JSON file ({str(error).splitlines()[0]})") from error
    if not isinstance(fields, dict):
        raise InvalidInput(f"{name}: no JSON object, {{...}}")
    return fields

"""Folders of files that belong together by their names: `a/1.jpg` beside `a/1.txt`."""

import os

import numpy as np

from mmjax.data.features import PARTS
from mmjax.data.files.pictures import ENDINGS as PICTURES
from mmjax.data.files.pictures import find_files, left_out, printable
from mmjax.data.formats.cells import read_file
from mmjax.data.formats.members import CLASS, TEXTS, Members, members_table
from mmjax.data.formats.table import SOUNDS, Table
from mmjax.data.formats.tables import is_table
from mmjax.errors import InvalidInput

_ENDINGS = (*PICTURES, *SOUNDS, *TEXTS, CLASS, ".json", ".npy")
_ABOUT = ("readme", "license", "licence")  # texts about a folder, of no picture in it
_PARTS = {*PARTS, "val", "valid", "dev"}
_SPOKEN = {"training": "train", "testing": "test"}


def open_stems(root: str) -> Table:
    """A folder and the folders in it; the files of one name in one folder are a row.

    Folders of the first level are a label, `folder`, where all rows lie in one of them; where they
    are train, validation (val, valid, dev) and test they are a column `split`, and those below the
    label. Shards of img2dataset are neither.

    Raises InvalidInput for whatever members_table does, for a folder that can't be searched, and a
    table beside the files, which one might mean instead.
    """
    names, others = find_files(root, _ENDINGS)
    about = {name for name in names if os.path.splitext(name)[0].lower() in _ABOUT}
    names = [name for name in names if name not in about]
    shards = {name for name in os.listdir(root) if os.path.isdir(os.path.join(root, name))}
    stem = lambda name: os.path.splitext(name)[0]
    tables = [n for n in others if is_table(n) and "/" not in n and stem(n) not in shards]
    if tables:
        raise InvalidInput(
            f"{root}: holds the table {tables[0]} beside other files; read {root}/{tables[0]}, "
            "or take it away"
        )
    rows: dict[str, int] = {}
    for name in names:
        rows.setdefault(stem(name), len(rows))
    where: dict[str, np.ndarray] = {}
    for number, name in enumerate(names):
        key, ending = os.path.splitext(name)
        numbers = where.setdefault(ending.lower(), np.full(len(rows), -1))
        if numbers[rows[key]] >= 0:
            raise InvalidInput(
                f"{root}: {names[numbers[rows[key]]]} and {name} share a name; use one"
            )
        numbers[rows[key]] = number
    paths = [os.path.join(root, name) for name in names]
    skipped = left_out(root, sorted([*others, *about]), "no picture, text, sound or their notes")
    ours = any(is_table(name) and stem(name) in shards for name in others)
    labels = {} if ours else _layout(root, list(rows))
    read = lambda k: read_file(paths[k])
    return members_table(
        Members(root, list(rows), where, paths.__getitem__, read, labels, [skipped])
    )


def _layout(root: str, keys: list[str]) -> dict[str, np.ndarray]:
    """What the folders say of rows. Raises InvalidInput for a row beside folders of a split."""
    parts, labels = [key.split("/")[:-1] for key in keys], {}
    named = [_SPOKEN.get(part[0].lower(), part[0].lower()) if part else "" for part in parts]
    first = {name for name in named if name}
    if first <= _PARTS and "train" in first:
        if len(first) > 1 and "" in named:
            raise InvalidInput(
                f"{root}: {printable(keys[named.index('')])} is in none of the folders "
                f"{', '.join(sorted(first))}, which are a split; put it into one, or take it away"
            )
        if "" not in named:
            labels["split"] = np.array(named)
    if "split" in labels:
        parts = [part[1:] for part in parts]
    if parts and all(len(part) == 1 for part in parts):
        labels["folder"] = np.array([part[0] for part in parts])
    return labels

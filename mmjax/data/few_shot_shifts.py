"""Rows of other domains beside a few-shot data set, from files of their own or one by one left out.

They are judged, and never fitted or chosen on.
"""

from collections.abc import Sequence

import numpy as np

from mmjax.data.features import Arrays, open_arrays
from mmjax.data.few_shot_files import FewShotSet, assembled, repeated
from mmjax.data.few_shot_parts import (
    LabelledRows,
    class_names,
    classes_of,
    labels_of,
    listed_rows,
    rows_of,
    split_column,
    split_name,
    stem,
    texts_of,
    unit_rows,
)
from mmjax.data.files.checks import label_column
from mmjax.data.torch_caches import is_cache, open_cache
from mmjax.errors import InvalidInput, require


def with_shifts(few: FewShotSet, paths: Sequence[str], *, same: float = 0.99) -> FewShotSet:
    """The set with rows of other domains, which are judged and never fitted or chosen on.

    A file has `test` and `test_labels`, or `features` and `labels`, of which a `split` leaves the
    test rows. Labels are names of the set's classes, or codes: of its own `class_names`, without
    them the set's. Rows of some classes will do; they are judged among all of the set's.

    Args:
      few: the set.
      paths: files, or folders of .pt caches.
      same: rows whose cosine with a training row is larger are told.

    Raises InvalidInput, one line, for another width, an unknown class or two files of one name.
    """
    shifts, told = dict(few.shifts), list(few.remarks)
    for path in paths:
        name = stem(path)
        require(name not in (*shifts, "test", "validation"), "shift", name, "files of other names")
        shifts[name] = _shifted(few, path, told)
        told += _odd_shift(few, name, shifts[name], same)
    return few._replace(shifts=shifts, remarks=tuple(told))


def _odd_shift(few: FewShotSet, name: str, rows: LabelledRows, same: float) -> list[str]:
    """What is odd about the rows of another domain, a line each."""
    told, kinds = [], len(np.unique(rows.labels))
    if kinds < len(few.classes):
        told.append(f"{name} has rows of {kinds} of {len(few.classes)} classes")
    if count := repeated(few.pool, rows, same):
        told.append(
            f"{count} of {len(rows.x)} {name} rows repeat a training row (cosine above {same})"
        )
    return told


def read_domains(path: str, column: str, *, same: float = 0.99) -> list[FewShotSet]:
    """Leave one domain out: for each domain of a file the set of all others, and it as a shift.

    The file has `features`, `labels` and an array of domains, of names or of codes (which
    `domain_names` may name); rows without a `split` are all train. Of the domain that is left out
    the rows of its test split are judged, where it has one, else all; none of its rows is in the
    set's pool, val or test.

    Args:
      path: of the file.
      column: name of the array of domains.
      same: see read_few_shot.

    Raises InvalidInput, one line, for one domain only, or where the others lack a class.
    """
    arrays = open_arrays(path)
    part, rows = listed_rows(path, arrays)
    domains, split = _domains(path, arrays, column), split_name(arrays)
    parts_in = split_column(path, arrays, split) if split else np.full(len(rows.x), "train")
    for name, values in ((column, domains), (split or "split", parts_in), ("labels", rows.labels)):
        if len(values) != len(rows.x):
            raise InvalidInput(f"{path}: {len(rows.x)} {part} rows, {len(values)} of {name}")
    every = {"all": [rows]}
    classes = classes_of(path, every, class_names(path, arrays))
    kinds, texts = np.unique(domains), texts_of(path, arrays, classes)
    require(len(kinds) >= 2, "domains", f"{column} of one value", "an array of two or more domains")
    found, some = [], lambda kept: LabelledRows(*(v[kept] for v in every["all"][0]))
    for kind in kinds.tolist():
        away, where = domains == kind, f"{path} without {kind}"
        own = {"train": "train", "val": "validation", "test": "test"}
        kept = {part: ~away & (parts_in == word) for part, word in own.items()}
        require(kept["train"].any(), split, where, "a file with training rows in it")
        parts = {part: [some(rows)] for part, rows in kept.items() if rows.any()}
        name = f"{stem(path)}-without-{kind}"
        few = assembled(name, where, parts, classes, texts, [], same)
        judged = away & (parts_in == "test")
        judged, told = judged if judged.any() else away, list(few.remarks)
        target = unit_rows(path, str(kind), some(judged), few.pool.x.shape[1], told)
        told += _odd_shift(few, str(kind), target, same)
        found.append(few._replace(shifts={str(kind): target}, remarks=tuple(told)))
    return found


def _domains(path: str, arrays: Arrays, column: str) -> np.ndarray:
    """`[rows]` names of domains, or codes without a name."""
    domains = labels_of(path, arrays, column)
    if domains.dtype.kind not in "iu" or "domain_names" not in arrays:
        return domains
    names = label_column(arrays["domain_names"](), "domain_names", path)
    good = domains.min() >= 0 and domains.max() < len(names)
    require(good, column, f"{domains.min()} to {domains.max()}", f"0 to {len(names) - 1}")
    return np.asarray(names)[domains]


def _shifted(few: FewShotSet, path: str, told: list[str]) -> LabelledRows:
    arrays = open_cache(path) if is_cache(path) else open_arrays(path)
    if "test" in arrays:
        part, rows = "test", rows_of(path, arrays, "test", "test_labels")
    else:
        part, rows = listed_rows(path, arrays)
        if split := split_name(arrays):
            kept = split_column(path, arrays, split) == "test"
            require(bool(kept.any()), "shift", path, f"a file with test rows in its {split}")
            rows = LabelledRows(rows.x[kept], rows.labels[kept])
    rows = unit_rows(path, part, rows, few.pool.x.shape[1], told)
    labels = rows.labels
    if labels.dtype.kind in "iu":
        names = class_names(path, arrays)
        own = few.classes if names is None else names
        if labels.min() < 0 or labels.max() >= len(own):
            raise InvalidInput(f"{path}: labels reach {labels.max()}; use 0 to {len(own) - 1}")
        labels = np.asarray(own)[labels]
    code = {name: k for k, name in enumerate(few.classes.tolist())}
    kinds, places = np.unique(labels.astype(str), return_inverse=True)
    if strange := [kind for kind in kinds.tolist() if kind not in code]:
        raise InvalidInput(f"{path}: {strange[0]!r} is no class of {few.name}; use its class names")
    return rows._replace(labels=np.array([code[k] for k in kinds.tolist()], np.int32)[places])

"""Rows of other domains beside a few-shot data set, from files of their own or one by one left out.

They are judged, and never fitted or chosen on.
"""

from collections.abc import Sequence

import numpy as np

from mmjax.data.features import APART, Arrays, open_arrays
from mmjax.data.few_shot_files import FewShotSet, assembled, copies_told
from mmjax.data.few_shot_left import left_aside, left_beside, whole_pairs
from mmjax.data.few_shot_parts import (
    LabelledRows,
    class_names,
    classes_of,
    codes_by_name,
    codes_by_number,
    codes_within,
    labels_name,
    labels_of,
    listed_rows,
    no_unit_vectors,
    plain_codes,
    rows_of,
    same_rows,
    same_width,
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
    them the set's; of a set whose labels are names without an order of theirs, the names that are
    these numbers. Rows of some classes will do; they are judged among all of the set's and, beside
    it, among their own.

    Args:
      few: the set.
      paths: files, or folders of .pt caches.
      same: rows whose cosine with a training row is larger are told.

    Raises InvalidInput, one line, for another width, an unknown class or two files of one name.
    """
    shifts, remarks, far = dict(few.shifts), list(few.remarks), {}
    for path in paths:
        name = stem(path)
        require(name not in (*shifts, "test", "validation"), "shift", name, "files of other names")
        rows, left = _shifted(few, path)
        shifts[name], far[name] = unit_rows(rows)
        remarks += [f"{name}: {line}" for line in left]
        remarks += _odd_shift(few, name, shifts[name], same)
    return few._replace(shifts=shifts, remarks=(*remarks, *no_unit_vectors(far)))


def _odd_shift(few: FewShotSet, name: str, rows: LabelledRows, same: float) -> list[str]:
    """What is odd about the rows of another domain, a line each."""
    remarks, kinds = [], len(np.unique(rows.labels))
    if kinds < len(few.classes):
        remarks.append(f"{name} has rows of {kinds} of {len(few.classes)} classes")
    return remarks + copies_told(few.pool, few.val, name, rows, same)


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
    arrays = open_arrays(path, flag="data", apart=(*APART, (column,)))
    whole_pairs(path, arrays)
    part, rows = listed_rows(path, arrays)
    domains, split = _domains(path, arrays, column), split_name(arrays)
    parts_in = split_column(path, arrays, split) if split else np.full(len(rows.x), "train")
    for name, values in ((column, domains), (split, parts_in)):
        same_rows(path, part, len(rows.x), name, len(values))
    every = {"all": [rows]}
    classes, named = classes_of(path, every, class_names(path, arrays))
    kinds, texts = np.unique(domains), texts_of(path, arrays, classes, named)
    for kind in {"test", "validation"} & {str(kind) for kind in kinds}:
        message = f"{path}: array {column!r} has a domain called {kind!r}, as our tables call parts"
        raise InvalidInput(f"{message}; rename it")
    if len(kinds) < 2:
        message = f"{path}: array {column!r} holds one domain, {kinds[0].item()!r}"
        raise InvalidInput(f"{message}; use an array of two or more domains")
    left = left_aside(arrays, listed=True, known=(column,))
    results, some = [], lambda kept: LabelledRows(*(v[kept] for v in every["all"][0]))
    for kind in kinds.tolist():
        away, where = domains == kind, f"{path} without {kind}"
        words = {"train": "train", "val": "validation", "test": "test"}
        kept = {part: ~away & (parts_in == word) for part, word in words.items()}
        if not kept["train"].any():
            raise InvalidInput(f"{where}: no row of split train; use a file with training rows")
        parts = {part: [some(rows)] for part, rows in kept.items() if rows.any()}
        name = f"{stem(path)}-without-{kind}"
        few = assembled(name, where, parts, classes, texts, same)._replace(named=named)
        judged = away & (parts_in == "test")
        target, far = unit_rows(some(judged if judged.any() else away))
        remarks = (*few.remarks, *left, *_odd_shift(few, str(kind), target, same))
        remarks += tuple(no_unit_vectors({str(kind): far}))
        results.append(few._replace(shifts={str(kind): target}, remarks=remarks))
    return results


def _domains(path: str, arrays: Arrays, column: str) -> np.ndarray:
    """`[rows]` names of domains, or codes without a name."""
    domains = labels_of(path, arrays, column)
    if domains.dtype.kind not in "iu" or "domain_names" not in arrays:
        return domains
    names = label_column(arrays["domain_names"](), "domain_names", path)
    twice = sorted({str(name) for name in names if list(names).count(name) > 1})
    require(not twice, f"{path}: domain_names", twice, "each name once")
    codes_within(path, column, domains, len(names))
    return np.asarray(names)[domains]


def _shifted(few: FewShotSet, path: str) -> tuple[LabelledRows, list[str]]:
    """The rows of a file that are judged, with the set's codes, as long as they are; and lines."""
    arrays = open_cache(path) if is_cache(path) else open_arrays(path, flag="shift")
    whole_pairs(path, arrays)
    split = ""
    if "test" in arrays:
        part, labelled, rows = "test", "test_labels", rows_of(path, arrays, "test", "test_labels")
    else:
        part, rows = listed_rows(path, arrays)
        labelled, split = labels_name(arrays), split_name(arrays)
    same_width(path, part, rows.x, few.pool.x.shape[1], few.name)
    rows = rows._replace(labels=_codes_of(few, path, arrays, labelled, rows.labels))
    told = left_beside(arrays, (), listed="test" not in arrays)
    if not split:
        return rows, told
    kept = split_column(path, arrays, split) == "test"
    same_rows(path, part, len(rows.x), split, len(kept))
    if not kept.any():
        raise InvalidInput(f"{path}: array {split!r} has no row of test; use a file with some")
    return LabelledRows(rows.x[kept], rows.labels[kept]), told


def _codes_of(
    few: FewShotSet, path: str, arrays: Arrays, name: str, labels: np.ndarray
) -> np.ndarray:
    """`[rows]` codes of the set's classes."""
    names, of = class_names(path, arrays), f" of {few.name}"
    if labels.dtype.kind in "iu" and names is None:
        if few.named:
            return codes_by_number(path, f"array {name!r}", labels, few.classes, of)
        codes_within(path, name, labels, len(few.classes))
        return labels.astype(np.int32)
    if labels.dtype.kind in "iu":
        labels = np.asarray(names)[labels]
    elif few.classes.tolist() == list(map(str, range(len(few.classes)))):
        labels = plain_codes(labels, len(few.classes))
    return codes_by_name(path, f"array {name!r}", labels, few.classes, of=of)

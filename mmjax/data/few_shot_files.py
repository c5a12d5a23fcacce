"""Few-shot data sets of cached features: training pool, validation, test, texts of the classes."""

import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mmjax.data.features import Arrays, open_arrays
from mmjax.data.few_shot_left import SHOTS, files_left_aside, left_aside, whole_pairs
from mmjax.data.few_shot_parts import (
    VALUES,
    LabelledRows,
    class_names,
    classes_of,
    listed_rows,
    no_unit_vectors,
    rows_of,
    same_rows,
    same_width,
    split_column,
    split_name,
    stem,
    texts_of,
    unit_rows,
)
from mmjax.data.torch_caches import is_cache, open_cache
from mmjax.errors import InvalidInput


class FewShotSet(NamedTuple):
    """A data set that few shots are drawn from.

    Attributes:
      name: as shown.
      classes: `[classes]` names, in order of the codes.
      pool: rows that training shots are drawn from, different pictures.
      val, test: the other rows, or None where a file has none: they then come from the pool.
      texts: name -> `[classes, d]` unit text features; NaN rows where a class has none.
      shifts: name -> rows of another domain, judged and never fitted on.
      remarks: a line each about what is odd.
      repeats: training rows that repeated another and are not in the pool.
      named: whether the order of the classes is ours, so that codes of other files are not theirs.
    """

    name: str
    classes: np.ndarray
    pool: LabelledRows
    val: LabelledRows | None
    test: LabelledRows | None
    texts: Mapping[str, np.ndarray]
    shifts: Mapping[str, LabelledRows]
    remarks: tuple[str, ...]
    repeats: int = 0
    named: bool = False


def read_few_shot(path: str, *, same: float = 0.99) -> FewShotSet:
    """Reads a file of features and labels; nothing in it is executed.

    A file (.npz, .safetensors, .parquet, .pt of a dict) has either `train_K` and `train_K_labels`
    (draws of K shots, which are pooled) or `train` and `train_labels`, also val and test; or
    `features`, `labels` and a `split` or `splits`. Texts: arrays whose name begins with `text`,
    `[classes, d]`, or with `<name>labels_of` beside them. `class_names` are optional. A folder of
    .pt files is a cache of Tip-Adapter's or CCA's: see torch_caches.

    Args:
      path: of it.
      same: rows of a class whose cosine is larger are one picture, which is kept once.

    Raises InvalidInput, one line, for whatever can't be used.
    """
    name = stem(path)
    cached = is_cache(path)
    arrays = open_cache(path) if cached else open_arrays(path, flag="data")
    whole_pairs(path, arrays)
    parts = _parts(path, arrays)
    classes, named = classes_of(path, parts, class_names(path, arrays))
    texts = texts_of(path, arrays, classes, named)
    few = assembled(name, path, parts, classes, texts, same)
    told = left_aside(arrays, listed=not any(n == "train" or SHOTS.fullmatch(n) for n in arrays))
    told += files_left_aside(os.listdir(path)) if cached else []
    return few._replace(remarks=(*few.remarks, *told), named=named)


def assembled(
    name: str,
    path: str,
    parts: Mapping[str, Sequence[LabelledRows]],
    classes: np.ndarray,
    texts: Mapping[str, np.ndarray],
    same: float,
) -> FewShotSet:
    """The checked set of its parts: `train` (draws, the first kept whole), `val`, `test`.

    Raises InvalidInput where a part lacks a class, or texts have another width.
    """
    checked, far = {}, {}
    for part, rows in parts.items():
        made = [unit_rows(r) for r in rows]
        checked[part], far[part] = [r for r, _ in made], sum(count for _, count in made)
        _no_class_missing(path, part, checked[part], classes)
    for text, values in texts.items():
        same_width(path, text, values, parts["train"][0].x.shape[1], "what is trained on")
    remarks = no_unit_vectors(far)
    pool = _pooled(checked["train"], same, remarks)
    one = lambda part: checked[part][0] if part in checked else None
    gone = sum(len(rows.labels) for rows in checked["train"]) - len(pool.labels)
    result = FewShotSet(name, classes, pool, one("val"), one("test"), texts, {}, (), gone)
    for part in ("val", "test"):
        if (judged := one(part)) is not None:
            remarks += copies_told(pool, None if part == "val" else one("val"), part, judged, same)
    return result._replace(remarks=tuple(remarks))


def _parts(path: str, arrays: Arrays) -> dict[str, list[LabelledRows]]:
    draws = sorted((int(m[1]) for n in arrays if (m := SHOTS.fullmatch(n))), reverse=True)
    names = {"train": [f"train_{k}" for k in draws]}
    if not draws and "train" in arrays:
        names["train"] = ["train"]
    if not names["train"]:
        return _split_parts(path, arrays)
    names |= {part: [part] for part in ("val", "test") if part in arrays}
    every = [n for listed in names.values() for n in listed]
    labels = [f"{n}_labels" for n in every]
    results = {n: rows_of(path, arrays, n, f"{n}_labels", labels) for n in every}
    first = names["train"][0]
    for name, rows in results.items():
        same_width(path, name, rows.x, results[first].x.shape[1], f"array {first!r}")
    return {part: [results[n] for n in listed] for part, listed in names.items()}


def _split_parts(path: str, arrays: Arrays) -> dict[str, list[LabelledRows]]:
    split = split_name(arrays)
    if not split or not set(VALUES) & set(arrays):
        held = ", ".join(sorted(arrays))
        raise InvalidInput(
            f"{path}: it holds {held}; use train_K with train_K_labels (K shots a class), train "
            "with train_labels, or features with labels and split"
        )
    values, rows = listed_rows(path, arrays)
    column = split_column(path, arrays, split)
    same_rows(path, values, len(rows.x), split, len(column))
    words = {"train": "train", "val": "validation", "test": "test"}
    results = {
        part: [LabelledRows(rows.x[column == kind], rows.labels[column == kind])]
        for part, kind in words.items()
        if (column == kind).any()
    }
    if "train" not in results:
        held = ", ".join(sorted(set(column.tolist())))
        raise InvalidInput(f"{path}: array {split!r} holds {held}; use rows of train among others")
    return results


def _no_class_missing(path, part, rows, classes) -> None:
    labels = np.concatenate([r.labels for r in rows])
    missing = np.flatnonzero(np.bincount(labels, minlength=len(classes)) == 0)
    if len(missing):
        shown = ", ".join(map(str, classes[missing[:3]])) + (", ..." if len(missing) > 3 else "")
        raise InvalidInput(
            f"{path}: no {part} row of {len(missing)} of {len(classes)} classes ({shown}); use "
            "rows of every class"
        )


def _pooled(rows: Sequence[LabelledRows], same: float, remarks: list[str]) -> LabelledRows:
    """All draws together, each picture once."""
    x, labels = (np.concatenate(v) for v in zip(*rows, strict=True))
    order = np.argsort(labels, kind="stable")
    kept = []
    for group in np.split(order, np.flatnonzero(np.diff(labels[order])) + 1):
        chosen: list[int] = []
        alike = x[group] @ x[group].T
        for k in range(len(group)):
            if not (alike[k, chosen] > same).any():
                chosen.append(k)
        kept.append(group[chosen])
    keep = np.concatenate(kept)
    if gone := len(labels) - len(keep):
        remarks.append(
            f"{gone} of {len(labels)} training rows repeat another (cosine above {same})"
        )
    return LabelledRows(x[keep], labels[keep])


def copies_told(
    pool: LabelledRows, val: LabelledRows | None, name: str, rows: LabelledRows, same: float
) -> list[str]:
    """How many rows of a part are copies of what is trained or chosen on, a line each."""
    others = {"training": pool} | ({} if val is None else {"validation": val})
    return [
        f"{count} of {len(rows.x)} {name} rows repeat a {kind} row (cosine above {same})"
        for kind, seen in others.items()
        if (count := repeated(seen, rows, same))
    ]


def repeated(pool: LabelledRows, rows: LabelledRows, same: float) -> int:
    """How many rows have a cosine above `same` with a row of the pool."""
    parts = np.array_split(rows.x, 1 + len(rows.x) // 1024)
    return sum(int(((part @ pool.x.T).max(1) > same).sum()) for part in parts)


def restricted(few: FewShotSet, classes: np.ndarray) -> FewShotSet:
    """The same with some of the classes, by code, ascending; without shifts of none of them."""
    code = np.full(len(few.classes), -1, np.int32)
    code[classes] = np.arange(len(classes))

    def some(rows):
        if rows is None:
            return None
        kept = code[rows.labels] >= 0
        return LabelledRows(rows.x[kept], code[rows.labels[kept]])

    shifts = {name: some(rows) for name, rows in few.shifts.items()}
    gone = [name for name, rows in shifts.items() if not len(rows.x)]
    told = [f"of all {len(few.classes)} classes: {line}" for line in few.remarks]
    told += [f"{name} has no row of these classes: it is left out" for name in gone]
    return few._replace(
        name=f"{few.name}[{len(classes)}]",
        classes=few.classes[classes],
        pool=some(few.pool),
        val=some(few.val),
        test=some(few.test),
        texts={name: v[classes] for name, v in few.texts.items()},
        shifts={name: rows for name, rows in shifts.items() if name not in gone},
        remarks=tuple(told),
    )


def with_texts(few: FewShotSet) -> FewShotSet | None:
    """The set of the classes that have texts, or None where fewer than two have any."""
    if not few.texts:
        return None
    known = np.all([np.isfinite(v).all(1) for v in few.texts.values()], 0)
    if known.all():
        return few
    return restricted(few, np.flatnonzero(known)) if known.sum() >= 2 else None

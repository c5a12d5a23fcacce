"""Few-shot data sets of cached features: training pool, validation, test, texts of the classes."""

import os
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mmjax.data.features import Arrays, open_arrays, parts_of
from mmjax.data.files.checks import label_column
from mmjax.data.torch_caches import is_cache, open_cache
from mmjax.errors import InvalidInput, require

_SHOTS = re.compile(r"train_(\d+)")
_VALUES = ("features", "feature_list", "embeddings")
_LABELS = ("labels", "label_list")
_SPLITS = ("split", "splits")
_CODES = {0: "train", 1: "validation", 2: "test"}


class LabelledRows(NamedTuple):
    """Unit features `[n, d]` float32 and class codes `[n]` int32."""

    x: np.ndarray
    labels: np.ndarray


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
    """

    name: str
    classes: np.ndarray
    pool: LabelledRows
    val: LabelledRows | None
    test: LabelledRows | None
    texts: Mapping[str, np.ndarray]
    shifts: Mapping[str, LabelledRows]
    remarks: tuple[str, ...]


def read_few_shot(path: str, *, same: float = 0.99) -> FewShotSet:
    """Reads a file of features and labels; nothing in it is executed.

    A file (.npz, .safetensors, .parquet, .pt of a dict) has either `train_K` and `train_K_labels`
    (draws of K shots, which are pooled) or `train` and `train_labels`, also val and test; or
    `features`, `labels` and a `split` or `splits`. Texts: arrays whose name begins with `text`,
    `[classes, d]`, or with `<name>_labels` beside them. `class_names` are optional. A folder of
    .pt files is a cache of Tip-Adapter's or CCA's: see torch_caches.

    Args:
      path: of it.
      same: rows of a class whose cosine is larger are one picture, which is kept once.

    Raises InvalidInput, one line, for whatever can't be used.
    """
    name = os.path.splitext(os.path.basename(os.path.normpath(path)))[0]
    arrays = open_cache(path) if is_cache(path) else open_arrays(path)
    parts, remarks = _parts(path, arrays)
    names = label_column(arrays["class_names"](), "class_names", path) if _named(arrays) else None
    classes = _classes(path, parts, names)
    return assembled(name, path, parts, classes, _texts(path, arrays, classes), remarks, same)


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
        name = os.path.splitext(os.path.basename(os.path.normpath(path)))[0]
        require(name not in (*shifts, "test", "validation"), "shift", name, "files of other names")
        shifts[name] = _shifted(few, path, told)
        kinds = len(np.unique(shifts[name].labels))
        if kinds < len(few.classes):
            told.append(f"{name} has rows of {kinds} of {len(few.classes)} classes")
        if count := _repeated(few.pool, shifts[name], same):
            rows = len(shifts[name].x)
            told.append(
                f"{count} of {rows} {name} rows repeat a training row (cosine above {same})"
            )
    return few._replace(shifts=shifts, remarks=tuple(told))


def _shifted(few: FewShotSet, path: str, told: list[str]) -> LabelledRows:
    arrays = open_cache(path) if is_cache(path) else open_arrays(path)
    if "test" in arrays:
        part, rows = "test", _rows(path, arrays, "test", "test_labels")
    else:
        part = next((n for n in _VALUES if n in arrays), _VALUES[0])
        rows = _rows(path, arrays, part, next((n for n in _LABELS if n in arrays), _LABELS[0]))
        if split := next((n for n in _SPLITS if n in arrays), ""):
            kept = _split_column(path, arrays, split) == "test"
            require(bool(kept.any()), "shift", path, f"a file with test rows in its {split}")
            rows = LabelledRows(rows.x[kept], rows.labels[kept])
    rows = _unit(path, part, rows, few.pool.x.shape[1], len(few.classes), told)
    labels = rows.labels
    if labels.dtype.kind in "iu":
        own = few.classes
        if _named(arrays):
            own = label_column(arrays["class_names"](), "class_names", path)
        if labels.min() < 0 or labels.max() >= len(own):
            raise InvalidInput(f"{path}: labels reach {labels.max()}; use 0 to {len(own) - 1}")
        labels = np.asarray(own)[labels]
    code = {name: k for k, name in enumerate(few.classes.tolist())}
    kinds, places = np.unique(labels.astype(str), return_inverse=True)
    if strange := [kind for kind in kinds.tolist() if kind not in code]:
        raise InvalidInput(f"{path}: {strange[0]!r} is no class of {few.name}; use its class names")
    return rows._replace(labels=np.array([code[k] for k in kinds.tolist()], np.int32)[places])


def _rows(path: str, arrays: Arrays, values: str, labels: str) -> LabelledRows:
    return LabelledRows(_matrix(path, arrays, values), _labels(path, arrays, labels))


def _named(arrays: Arrays) -> bool:
    return "class_names" in arrays


def assembled(
    name: str,
    path: str,
    parts: Mapping[str, Sequence[LabelledRows]],
    classes: np.ndarray,
    texts: Mapping[str, np.ndarray],
    remarks: Sequence[str],
    same: float,
) -> FewShotSet:
    """The checked set of its parts: `train` (draws, the first kept whole), `val`, `test`.

    Raises InvalidInput where a part lacks a class, has another width or a row of zeros.
    """
    told, checked = list(remarks), {}
    width = parts["train"][0].x.shape[1]
    for part, rows in parts.items():
        checked[part] = [_unit(path, part, r, width, len(classes), told) for r in rows]
        _no_class_missing(path, part, checked[part], classes)
    for text, values in texts.items():
        if values.shape[1] != width:
            raise InvalidInput(f"{path}: {text} has {values.shape[1]} features, train has {width}")
    pool = _pooled(checked["train"], same, told)
    one = lambda part: checked[part][0] if part in checked else None
    found = FewShotSet(name, classes, pool, one("val"), one("test"), texts, {}, ())
    for part in ("val", "test"):
        if (rows := one(part)) is not None and (count := _repeated(pool, rows, same)):
            told.append(
                f"{count} of {len(rows.x)} {part} rows repeat a training row (cosine above {same})"
            )
    return found._replace(remarks=tuple(told))


def _parts(path: str, arrays: Arrays) -> tuple[dict[str, list[LabelledRows]], list[str]]:
    draws = sorted((int(m[1]) for n in arrays if (m := _SHOTS.fullmatch(n))), reverse=True)
    names = {"train": [f"train_{k}" for k in draws]}
    if not draws and "train" in arrays:
        names["train"] = ["train"]
    if not names["train"]:
        return _split_parts(path, arrays), []
    names |= {part: [part] for part in ("val", "test") if part in arrays}
    read = lambda n: _rows(path, arrays, n, f"{n}_labels")
    return {part: [read(n) for n in own] for part, own in names.items()}, []


def _split_parts(path: str, arrays: Arrays) -> dict[str, list[LabelledRows]]:
    split = next((n for n in _SPLITS if n in arrays), "")
    values = next((n for n in _VALUES if n in arrays), "")
    if not split or not values:
        held = ", ".join(sorted(arrays))
        raise InvalidInput(
            f"{path}: it holds {held}; use train_K with train_K_labels (K shots a class), train "
            "with train_labels, or features with labels and split"
        )
    rows = _rows(path, arrays, values, next((n for n in _LABELS if n in arrays), _LABELS[0]))
    column = _split_column(path, arrays, split)
    own = {"train": "train", "val": "validation", "test": "test"}
    found = {
        part: [LabelledRows(rows.x[column == kind], rows.labels[column == kind])]
        for part, kind in own.items()
        if (column == kind).any()
    }
    require("train" in found, split, sorted(set(column.tolist())), "rows of train among others")
    return found


def _split_column(path: str, arrays: Arrays, split: str) -> np.ndarray:
    """`[n]` train, validation or test."""
    column = label_column(arrays[split](), split, path)
    if column.dtype.kind in "iu" and set(np.unique(column).tolist()) <= set(_CODES):
        column = np.array([_CODES[int(v)] for v in column])
    return parts_of(column, split, path)


def _matrix(path: str, arrays: Arrays, name: str) -> np.ndarray:
    if name not in arrays:
        raise InvalidInput(f"{path}: no array {name!r}; it holds {', '.join(sorted(arrays))}")
    matrix = np.asarray(arrays[name]())
    if matrix.ndim != 2 or matrix.dtype.kind not in "fiu" or 0 in matrix.shape:
        told = f"{matrix.dtype} {matrix.shape}"
        raise InvalidInput(f"{path}: array {name!r} is {told}; use numbers [rows, features]")
    matrix = matrix.astype(np.float32)
    if not np.isfinite(matrix).all():
        raise InvalidInput(f"{path}: array {name!r} has NaN or infinite values")
    return matrix


def _labels(path: str, arrays: Arrays, name: str) -> np.ndarray:
    if name not in arrays:
        raise InvalidInput(f"{path}: no array {name!r}; it holds {', '.join(sorted(arrays))}")
    return label_column(arrays[name](), name, path)


def _classes(path: str, parts, names: np.ndarray | None) -> np.ndarray:
    """Class names; labels in parts become codes."""
    every = np.concatenate([r.labels for rows in parts.values() for r in rows])
    kinds = np.unique(every)
    if every.dtype.kind in "iu":
        classes = names if names is not None else np.arange(int(kinds[-1]) + 1).astype(str)
        if kinds[0] < 0 or kinds[-1] >= len(classes):
            raise InvalidInput(f"{path}: labels reach {kinds[-1]}; use 0 to {len(classes) - 1}")
        code = lambda labels: labels.astype(np.int32)
    else:
        classes = kinds
        code = lambda labels: np.searchsorted(kinds, labels).astype(np.int32)
    for rows in parts.values():
        rows[:] = [r._replace(labels=code(r.labels)) for r in rows]
    require(len(classes) >= 2, "labels", len(classes), "two classes or more")
    return np.asarray(classes).astype(str)


def _unit(path, part, rows: LabelledRows, width, num_classes, told) -> LabelledRows:
    """Unit vectors."""
    if rows.x.shape[1] != width:
        raise InvalidInput(f"{path}: {part} has {rows.x.shape[1]} features, train has {width}")
    if len(rows.x) != len(rows.labels):
        raise InvalidInput(f"{path}: {part} has {len(rows.x)} rows and {len(rows.labels)} labels")
    lengths = np.linalg.norm(rows.x, axis=1)
    if not lengths.all():
        raise InvalidInput(f"{path}: row {int(np.argmin(lengths))} of {part} is all zeros")
    if (far := int((np.abs(lengths - 1) > 0.01).sum())) and f"{part} rows" not in str(told):
        told.append(f"{far} {part} rows are no unit vectors, and are made so")
    return rows._replace(x=rows.x / lengths[:, None])


def _no_class_missing(path, part, rows, classes) -> None:
    labels = np.concatenate([r.labels for r in rows])
    missing = np.flatnonzero(np.bincount(labels, minlength=len(classes)) == 0)
    if len(missing):
        shown = ", ".join(map(str, classes[missing[:3]])) + (", ..." if len(missing) > 3 else "")
        raise InvalidInput(
            f"{path}: no {part} row of {len(missing)} of {len(classes)} classes ({shown}); use "
            "rows of every class"
        )


def _pooled(rows: Sequence[LabelledRows], same: float, told: list[str]) -> LabelledRows:
    """All draws together, each picture once."""
    x, labels = (np.concatenate(v) for v in zip(*rows, strict=True))
    order = np.argsort(labels, kind="stable")
    kept = []
    for own in np.split(order, np.flatnonzero(np.diff(labels[order])) + 1):
        chosen: list[int] = []
        alike = x[own] @ x[own].T
        for k in range(len(own)):
            if not (alike[k, chosen] > same).any():
                chosen.append(k)
        kept.append(own[chosen])
    keep = np.concatenate(kept)
    if gone := len(labels) - len(keep):
        told.append(f"{gone} of {len(labels)} training rows repeat another (cosine above {same})")
    return LabelledRows(x[keep], labels[keep])


def _repeated(pool: LabelledRows, rows: LabelledRows, same: float) -> int:
    nearest = [float((part @ pool.x.T).max()) for part in rows.x[:, None]]
    return int((np.asarray(nearest) > same).sum())


def _texts(path: str, arrays: Arrays, classes: np.ndarray) -> dict[str, np.ndarray]:
    found = {}
    for name in arrays:
        if not name.startswith("text") or name.endswith(("_labels", "_source")):
            continue
        values = _matrix(path, arrays, name)
        codes = np.arange(len(values))
        if f"{name}_labels" in arrays:
            codes = _labels(path, arrays, f"{name}_labels").astype(int)
        fits = len(codes) == len(values) and codes.max() < len(classes) and codes.min() >= 0
        if not fits or (f"{name}_labels" not in arrays and len(values) != len(classes)):
            raise InvalidInput(
                f"{path}: {name} has {len(values)} rows for {len(classes)} classes; add "
                f"{name}_labels, the class of each"
            )
        found[name] = mean_texts(values, codes, len(classes))
    return found


def mean_texts(values: np.ndarray, codes: np.ndarray, num_classes: int) -> np.ndarray:
    """`[classes, d]` the normalised mean of a class's normalised texts; NaN where there is none."""
    sums = np.zeros((num_classes, values.shape[1]), np.float64)
    np.add.at(sums, codes, values / np.linalg.norm(values, axis=1, keepdims=True))
    with np.errstate(invalid="ignore"):
        return (sums / np.linalg.norm(sums, axis=1, keepdims=True)).astype(np.float32)


def restricted(few: FewShotSet, classes: np.ndarray) -> FewShotSet:
    """The same with some of the classes, by code, ascending."""
    code = np.full(len(few.classes), -1, np.int32)
    code[classes] = np.arange(len(classes))

    def some(rows):
        if rows is None:
            return None
        kept = code[rows.labels] >= 0
        return LabelledRows(rows.x[kept], code[rows.labels[kept]])

    return few._replace(
        name=f"{few.name}[{len(classes)}]",
        classes=few.classes[classes],
        pool=some(few.pool),
        val=some(few.val),
        test=some(few.test),
        texts={name: v[classes] for name, v in few.texts.items()},
        shifts={name: some(rows) for name, rows in few.shifts.items()},
    )


def with_texts(few: FewShotSet) -> FewShotSet | None:
    """The set of the classes that have texts, or None where fewer than two have any."""
    if not few.texts:
        return None
    known = np.all([np.isfinite(v).all(1) for v in few.texts.values()], 0)
    if known.all():
        return few
    return restricted(few, np.flatnonzero(known)) if known.sum() >= 2 else None

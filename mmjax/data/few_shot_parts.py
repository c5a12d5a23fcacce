"""Arrays of a few-shot file as checked rows: features, labels, splits, class names, texts."""

import os
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from mmjax.data.features import Arrays, parts_of
from mmjax.data.files.checks import label_column
from mmjax.errors import InvalidInput, require

VALUES = ("features", "feature_list", "embeddings")
LABELS = ("labels", "label_list")
SPLITS = ("split", "splits")
_CODES = {0: "train", 1: "validation", 2: "test"}


class LabelledRows(NamedTuple):
    """Unit features `[n, d]` float32 and class codes `[n]` int32."""

    x: np.ndarray
    labels: np.ndarray


def rows_of(path: str, arrays: Arrays, values: str, labels: str) -> LabelledRows:
    """Two arrays of a file, as they are."""
    return LabelledRows(matrix_of(path, arrays, values), labels_of(path, arrays, labels))


def listed_rows(path: str, arrays: Arrays) -> tuple[str, LabelledRows]:
    """The name of a file's one array of features, and the rows with their labels."""
    values = next((n for n in VALUES if n in arrays), VALUES[0])
    labels = next((n for n in LABELS if n in arrays), LABELS[0])
    return values, rows_of(path, arrays, values, labels)


def class_names(path: str, arrays: Arrays) -> np.ndarray | None:
    """Those that a file gives."""
    if "class_names" not in arrays:
        return None
    return label_column(arrays["class_names"](), "class_names", path)


def split_name(arrays: Arrays) -> str:
    """The array that tells which split a row is of; empty without."""
    return next((n for n in SPLITS if n in arrays), "")


def split_column(path: str, arrays: Arrays, split: str) -> np.ndarray:
    """`[n]` train, validation or test."""
    column = label_column(arrays[split](), split, path)
    if column.dtype.kind in "iu" and set(np.unique(column).tolist()) <= set(_CODES):
        column = np.array([_CODES[int(v)] for v in column])
    return parts_of(column, split, path)


def matrix_of(path: str, arrays: Arrays, name: str) -> np.ndarray:
    """`[rows, features]` finite float32."""
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


def labels_of(path: str, arrays: Arrays, name: str) -> np.ndarray:
    """`[rows]` codes or names."""
    if name not in arrays:
        raise InvalidInput(f"{path}: no array {name!r}; it holds {', '.join(sorted(arrays))}")
    return label_column(arrays[name](), name, path)


def classes_of(
    path: str, parts: Mapping[str, list[LabelledRows]], names: np.ndarray | None
) -> np.ndarray:
    """Class names; labels in parts become codes."""
    every = np.concatenate([r.labels for rows in parts.values() for r in rows])
    kinds = np.unique(every)
    if every.dtype.kind in "iu":
        classes = names if names is not None else np.arange(int(kinds[-1]) + 1).astype(str)
        if kinds[0] < 0 or kinds[-1] >= len(classes):
            odd = kinds[0] if kinds[0] < 0 else kinds[-1]
            by = "" if names is None else f", the {len(names)} class_names"
            raise InvalidInput(f"{path}: use labels 0 to {len(classes) - 1}{by} ({odd} is one)")
        code = lambda labels: labels.astype(np.int32)
    else:
        classes = kinds
        code = lambda labels: np.searchsorted(kinds, labels).astype(np.int32)
    for rows in parts.values():
        rows[:] = [r._replace(labels=code(r.labels)) for r in rows]
    require(len(classes) >= 2, "labels", len(classes), "two classes or more")
    return np.asarray(classes).astype(str)


def unit_rows(
    path: str, part: str, rows: LabelledRows, width: int, told: list[str]
) -> LabelledRows:
    """Unit vectors; adds a line to what is told where they were none."""
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


def texts_of(path: str, arrays: Arrays, classes: np.ndarray) -> dict[str, np.ndarray]:
    """Arrays whose name begins with `text`, a row a class."""
    found = {}
    for name in arrays:
        if not name.startswith("text") or name.endswith(("_labels", "_source")):
            continue
        values = matrix_of(path, arrays, name)
        codes = np.arange(len(values))
        if f"{name}_labels" in arrays:
            codes = labels_of(path, arrays, f"{name}_labels").astype(int)
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


def stem(path: str) -> str:
    """A file's or folder's name without its ending."""
    return os.path.splitext(os.path.basename(os.path.normpath(path)))[0]

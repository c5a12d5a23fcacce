"""Arrays of a few-shot file as checked rows: features, labels, splits, class names, texts."""

import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mmjax.data.features import Arrays, parts_of
from mmjax.data.files.checks import finite, label_column, whole_numbers
from mmjax.errors import InvalidInput, counted, did_you_mean
from mmjax.labels import encode_labels

VALUES = ("features", "feature_list", "embeddings")
LABELS = ("labels", "label_list")
SPLITS = ("split", "splits")
_CODES = {0: "train", 1: "validation", 2: "test"}


class LabelledRows(NamedTuple):
    """Unit features `[n, d]` float32 and class codes `[n]` int32."""

    x: np.ndarray
    labels: np.ndarray


def rows_of(
    path: str, arrays: Arrays, values: str, labels: str, beside: Sequence[str] = ()
) -> LabelledRows:
    """Two arrays of a file, as they are; codes are of its `class_names`, where it has them, or of
    as many classes as `beside` tells of, further arrays of labels."""
    x, codes = matrix_of(path, arrays, values), labels_of(path, arrays, labels)
    same_rows(path, values, len(x), labels, len(codes))
    names = class_names(path, arrays)
    codes_within(path, labels, codes, _classes_told(path, arrays, (labels, *beside), names))
    return LabelledRows(x, codes)


def _classes_told(
    path: str, arrays: Arrays, labels: Sequence[str], names: np.ndarray | None
) -> int | None:
    if names is not None:
        return len(names)
    columns = [labels_of(path, arrays, name) for name in labels]
    tops = [int(c.max(initial=0)) for c in columns if c.dtype.kind in "iu"]
    return 1 + max(tops) if tops else None


def codes_within(path: str, name: str, codes: np.ndarray, classes: int | None) -> None:
    """Raises InvalidInput that names the row of a code that is of no class; None: of any number."""
    if codes.dtype.kind in "iu":
        largest = int(codes.max(initial=0)) if classes is None else classes - 1
        whole_numbers(codes, largest, f"{path}: array {name!r}")


def listed_rows(path: str, arrays: Arrays) -> tuple[str, LabelledRows]:
    """The name of a file's one array of features, and the rows with their labels."""
    values = next((n for n in VALUES if n in arrays), VALUES[0])
    return values, rows_of(path, arrays, values, labels_name(arrays))


def labels_name(arrays: Arrays) -> str:
    """The array of the labels of listed rows."""
    return next((n for n in LABELS if n in arrays), LABELS[0])


def class_names(path: str, arrays: Arrays) -> np.ndarray | None:
    """Those that a file gives."""
    if "class_names" not in arrays:
        return None
    names = label_column(arrays["class_names"](), "class_names", path)
    blank = [row for row, name in enumerate(names.tolist()) if not str(name).strip()]
    if blank:
        message = f"{path}: array 'class_names' is empty in row {blank[0]}"
        raise InvalidInput(f"{message}; use a name of each class")
    return names


def codes_by_name(
    path: str, where: str, labels: np.ndarray, names: np.ndarray, of: str = ""
) -> np.ndarray:
    """`[rows]` int32, the places of labels in the names of the classes; where they stand, and of
    which set, is for messages.

    Raises InvalidInput that names the row of a label that is no name, or that of two classes (two
    of ImageNet's are called missile): codes tell them apart.
    """
    places: dict[str, list[int]] = {}
    for place, name in enumerate(np.asarray(names).astype(str).tolist()):
        places.setdefault(name, []).append(place)
    kinds, first, inverse = np.unique(labels.astype(str), return_index=True, return_inverse=True)
    for kind, row in zip(kinds.tolist(), first.tolist(), strict=True):
        if len(places.get(kind, ())) == 1:
            continue
        told = f"{path}: {kind!r} in row {row} of {where} is "
        if kind in places:
            two = " and ".join(map(str, places[kind]))
            raise InvalidInput(f"{told}the name of classes {two}; use their codes")
        near = did_you_mean(kind, places)
        raise InvalidInput(f"{told}no class{of}; use its class names{near}")
    return np.array([places[kind][0] for kind in kinds.tolist()], np.int32)[inverse]


def codes_by_number(
    path: str, where: str, codes: np.ndarray, names: np.ndarray, of: str = ""
) -> np.ndarray:
    """`[rows]` int32, the places of the names that are the numbers of codes, as 007 is 7: of names
    whose order is ours a code tells nothing else.

    Raises InvalidInput, one line, where names are no numbers, or one of no or of two names.
    """
    keys, numbers = encode_labels(names, codes)
    known = np.isin(numbers, keys)
    if not known.any():
        message = f"{path}: {where} has codes where labels{of} are names"
        raise InvalidInput(f"{message}; use names, or add class_names, in the order of the codes")
    alone = known & ~np.isin(numbers, [key for key in keys if (keys == key).sum() > 1])
    if not alone.all():
        row = int(np.argmin(alone))
        told = f"{path}: {where} holds {codes[row]}, first in row {row}"
        if not known[row]:
            raise InvalidInput(f"{told}; labels{of} are names, none of which is it; use names")
        both = " and ".join(map(repr, np.asarray(names)[keys == numbers[row]].tolist()))
        raise InvalidInput(f"{told}, which {both} are; use names")
    return _places(keys, numbers)


def _places(keys: np.ndarray, values: np.ndarray) -> np.ndarray:
    """`[rows]` int32 places of values in keys, each of which is there once."""
    order = np.argsort(keys)
    return order[np.searchsorted(keys, values, sorter=order)].astype(np.int32)


def plain_codes(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Texts that are codes, 007 of 7, as these are called, `[rows]`; others as they are."""
    keys, numbers = encode_labels(np.arange(num_classes), labels)
    if not np.isin(numbers, keys).all():
        return labels
    return _places(keys, numbers).astype(str)


def split_name(arrays: Arrays) -> str:
    """The array that tells which split a row is of; empty without."""
    return next((n for n in SPLITS if n in arrays), "")


def split_column(path: str, arrays: Arrays, split: str) -> np.ndarray:
    """`[n]` train, validation or test."""
    given = np.asarray(arrays[split]())
    if given.dtype.kind == "b":  # as every other reader here has it
        return np.where(given, "test", "train")
    column = label_column(given, split, path)
    if column.dtype.kind in "iu" and set(np.unique(column).tolist()) == {0, 1}:
        raise InvalidInput(
            f"{path}: array {split!r} has 0 and 1 alone, which may be validation or test; use "
            "train, validation and test, codes 0, 1 and 2 of all three, or True for test rows"
        )
    if column.dtype.kind in "iu" and set(np.unique(column).tolist()) <= set(_CODES):
        column = np.array([_CODES[int(v)] for v in column])
    return parts_of(column, split, path)


def matrix_of(path: str, arrays: Arrays, name: str) -> np.ndarray:
    """`[rows, features]` finite float32, no row of which is all zeros: it has a direction."""
    if name not in arrays:
        raise InvalidInput(f"{path}: no array {name!r}; it holds {', '.join(sorted(arrays))}")
    matrix = np.asarray(arrays[name]())
    if matrix.ndim != 2 or matrix.dtype.kind not in "fiu" or 0 in matrix.shape:
        message = f"{matrix.dtype} {matrix.shape}"
        raise InvalidInput(f"{path}: array {name!r} is {message}; use numbers [rows, features]")
    given = finite(matrix, name, path)
    # Row by row, so that sums do not depend on how the file lies in memory.
    matrix = np.ascontiguousarray(given, np.float32)
    if not (some := matrix.any(1)).all():
        row = int(np.argmin(some))
        if np.any(given[row]):
            message = f"{path}: array {name!r} is smaller than float32 holds in row {row}"
            raise InvalidInput(f"{message}; scale its features, whose length does not matter")
        message = f"{path}: array {name!r} is all zeros in row {row}"
        raise InvalidInput(f"{message}; leave the row out, for it has no direction")
    return matrix


def labels_of(path: str, arrays: Arrays, name: str) -> np.ndarray:
    """`[rows]` codes or names."""
    if name not in arrays:
        raise InvalidInput(f"{path}: no array {name!r}; it holds {', '.join(sorted(arrays))}")
    return label_column(arrays[name](), name, path)


def classes_of(
    path: str, parts: Mapping[str, list[LabelledRows]], names: np.ndarray | None
) -> tuple[np.ndarray, bool]:
    """Class names, and whether their order is ours; labels in parts become codes.

    They are the file's names in their order where it has some. Labels that are names without are
    sorted: nothing else of the file is in that order but by chance.
    """
    every = [r.labels for rows in parts.values() for r in rows]
    texts = [labels for labels in every if labels.dtype.kind not in "iu"]
    kinds = np.unique(np.concatenate(texts or every))
    named = names is None and bool(texts)
    if names is not None:
        classes = names
    elif named:
        classes = kinds
    else:
        count = sum(map(len, every))
        if kinds[-1] >= count:
            message = f"{path}: labels go up to {kinds[-1]}, and there are {count} rows"
            raise InvalidInput(f"{message}; use 0, 1, 2, ... without gaps, or names of classes")
        classes = np.arange(int(kinds[-1]) + 1).astype(str)

    def code(part: str, labels: np.ndarray) -> np.ndarray:
        where = f"the column of {part} labels"
        if labels.dtype.kind in "iu":
            if named:
                return codes_by_number(path, where, labels, classes)
            if texts:
                _one_meaning(path, where, labels, classes)
            return labels.astype(np.int32)
        if not named:
            return codes_by_name(path, "the labels", labels, classes)
        return np.searchsorted(kinds, labels).astype(np.int32)

    for part, rows in parts.items():
        rows[:] = [r._replace(labels=code(part, r.labels)) for r in rows]
    if len(classes) < 2:
        message = f"{path}: all of the labels are of class {str(classes[0])!r}"
        raise InvalidInput(f"{message}; use rows of two classes or more")
    return np.asarray(classes).astype(str), named


def _one_meaning(path: str, where: str, codes: np.ndarray, names: np.ndarray) -> None:
    """Raises InvalidInput where codes beside names may be places in class_names, or names there."""
    keys, numbers = encode_labels(names, codes)
    if np.isin(numbers, keys).all() and (keys[codes] != numbers).any():
        row = int(np.argmax(keys[codes] != numbers))
        raise InvalidInput(
            f"{path}: {where} holds {codes[row]}, first in row {row}, a place in class_names and a "
            "name there, of another class; use names"
        )


def same_rows(path: str, name: str, rows: int, other: str, count: int) -> None:
    """Raises InvalidInput that names two arrays of unequal numbers of rows."""
    if rows != count:
        message = f"array {name!r} has {counted(rows, 'row')}, array {other!r} {count}"
        raise InvalidInput(f"{path}: {message}; use one of each row")


def same_width(path: str, name: str, x: np.ndarray, width: int, beside: str) -> None:
    """Raises InvalidInput that names both widths, of an array and of what it stands beside."""
    if x.shape[1] != width:
        message = f"{path}: array {name!r} has {x.shape[1]} features a row, {beside} has {width}"
        raise InvalidInput(f"{message}; use features of one model")


def unit_rows(rows: LabelledRows) -> tuple[LabelledRows, int]:
    """Unit vectors, and how many of them were none."""
    with np.errstate(over="ignore"):
        lengths = np.linalg.norm(rows.x, axis=1)
    far = int((np.abs(lengths - 1) > 0.01).sum())
    return rows._replace(x=directions(rows.x)), far


def directions(x: np.ndarray) -> np.ndarray:
    """`[n, d]` unit rows of the dtype of x, whose rows are finite and not all zeros."""
    with np.errstate(over="ignore"):
        lengths = np.linalg.norm(x, axis=1, keepdims=True)
    # Squares of what float32 holds are beyond it, at both ends.
    odd = ((lengths < 1e-15) | ~np.isfinite(lengths))[:, 0]
    if odd.any():
        x = np.where(odd[:, None], x / np.abs(x).max(1, keepdims=True), x)
        lengths = np.linalg.norm(x, axis=1, keepdims=True)
    return x / lengths


def no_unit_vectors(counts: Mapping[str, int]) -> list[str]:
    """The one line about them, by array or part; nothing where all were."""
    some = {name: count for name, count in counts.items() if count}
    if not some:
        return []
    listed = ", ".join(f"{count} of {name}" for name, count in some.items())
    return [f"{listed}: rows that are no unit vectors, and are made so"]


def texts_of(path: str, arrays: Arrays, classes: np.ndarray, named: bool) -> dict[str, np.ndarray]:
    """Arrays whose name begins with `text`, a row a class.

    Args:
      path: of the file.
      arrays: its.
      classes: names of the classes, in order of the codes.
      named: whether nothing tells in which order the file has them; see classes_of.
    """
    results = {}
    for name in arrays:
        if not name.startswith("text") or name.endswith(("_labels", "_source")):
            continue
        values = matrix_of(path, arrays, name)
        labelled = f"{name}_labels" if f"{name}_labels" in arrays else ""
        if labelled:
            codes = _codes_of_texts(path, arrays, labelled, classes, named)
            same_rows(path, name, len(values), labelled, len(codes))
        elif len(classes) != len(values):
            raise InvalidInput(
                f"{path}: array {name!r} has {counted(len(values), 'row')} for {len(classes)} "
                f"classes; use one a class, or add {name}_labels, the class of each"
            )
        elif named:
            raise InvalidInput(
                f"{path}: labels are names, and nothing says of which class a row of array "
                f"{name!r} is; add {name}_labels, the name of each, or class_names, in their order"
            )
        else:
            codes = np.arange(len(classes))
        results[name] = mean_texts(values, codes, len(classes))
        gone = np.setdiff1d(codes, np.flatnonzero(np.isfinite(results[name]).all(1)))
        if len(gone):
            message = f"{path}: the rows of array {name!r} that are of class"
            raise InvalidInput(f"{message} {classes[gone[0]].item()!r} sum to 0; use others")
    return results


def _codes_of_texts(
    path: str, arrays: Arrays, name: str, classes: np.ndarray, named: bool
) -> np.ndarray:
    labels = labels_of(path, arrays, name)
    if labels.dtype.kind not in "iu":
        return codes_by_name(path, f"array {name!r}", labels, classes)
    if named:
        return codes_by_number(path, f"array {name!r}", labels, classes)
    codes_within(path, name, labels, len(classes))
    return labels.astype(int)


def mean_texts(values: np.ndarray, codes: np.ndarray, num_classes: int) -> np.ndarray:
    """`[classes, d]` the normalised mean of a class's normalised texts; NaN where there is none."""
    sums = np.zeros((num_classes, values.shape[1]), np.float64)
    np.add.at(sums, codes, directions(values))
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    # What opposite texts leave is rounding, which has no direction.
    lengths = np.where(lengths > 1e-5, lengths, np.nan)
    return (sums / lengths).astype(np.float32)


def stem(path: str) -> str:
    """A file's or folder's name without its ending."""
    return os.path.splitext(os.path.basename(os.path.normpath(path)))[0]

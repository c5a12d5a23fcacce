"""A user's own data of k modalities: named arrays of an .npz file."""

import os
from collections.abc import Mapping, Sequence

import numpy as np

from mmjax.data.files.checks import label_column, within_int32
from mmjax.data.files.npz import read_arrays
from mmjax.data.multimodal import (
    KINDS,
    MultimodalData,
    MultimodalSplit,
    map_splits,
    standardised_by_train,
    take_rows,
)
from mmjax.data.pair_ids import random_split
from mmjax.errors import InvalidInput, require
from mmjax.labels import encode_labels


def load_multimodal(
    path: str,
    names: Sequence[str],
    *,
    masks: Mapping[str, str] | None = None,
    labels: str = "",
    kind: str = "",
    ids: str = "",
    is_validation: str = "",
    is_test: str = "",
    test_share: float = 0.2,
    standardise: Sequence[str] = (),
) -> MultimodalData:
    """Reads k arrays of one file; row i of each belongs together. Nothing in it is executed.

    Args:
      path: the .npz.
      names: of the modalities' arrays, `[n, ...]` numbers, one or more, in the order of batches.
      masks: modality -> name of its mask, `[n, length]` bool or 0/1, 1 at steps that are no
        padding.
      labels: of an array `[n]` (classes: whole numbers or strings; or one target) or `[n, k]`;
        empty: none.
      kind: classification, multilabel or regression; default by the labels: `[n]` of whole
        numbers or strings, `[n, k]` of whole numbers, floats.
      ids: of an array `[n]`; empty: none.
      is_validation, is_test: of arrays `[n]`, bool or 0/1; without is_test a share of the other
        rows, drawn always alike and no id on both sides, is the test split; without is_validation
        there is no validation split.
      test_share: that share.
      standardise: modalities that training rows bring to mean 0 and variance 1.

    Returns:
      Floats as float32, whole numbers as they are or, of 64 bits, as int32. Classes are all that
      the file's labels name, sorted.

    Raises InvalidInput for whatever read_arrays does, for unequal rows, masks of another shape,
    labels that do not fit the kind, and a split that is empty or not disjoint.
    """
    masks = dict(masks or {})
    distinct = len(names) > 0 and len(set(names)) == len(names)
    require(distinct, "names", tuple(names), "one or more different arrays")
    unknown = sorted(set(masks) - set(names))
    require(not unknown, "masks", unknown, "modalities that are named: " + ", ".join(names))
    known = kind in ("", *KINDS) and (bool(labels) or not kind)
    require(known, "kind", kind, f"{', '.join(KINDS)}, where labels are named")
    others = [name for name in (labels, ids, is_validation, is_test) if name]
    arrays = read_arrays(path, [*names, *masks.values(), *others])
    n = len(arrays[names[0]])
    for name, array in arrays.items():
        if len(array) != n:
            raise InvalidInput(f"{path}: {name!r} has {len(array)} rows, {names[0]!r} has {n}")
    found, label_names = None, ()
    if labels:
        kind = kind or _usual_kind(arrays[labels])
        found, label_names = _LABELS[kind](f"{path}: labels {labels!r}", arrays[labels])
    whole = MultimodalSplit(
        {name: _values(path, name, arrays[name]) for name in names},
        {name: _mask(path, mask, arrays[mask], name, arrays[name]) for name, mask in masks.items()},
        found,
        label_column(arrays[ids], ids, path).astype(str) if ids else None,
    )
    validation, test = (
        _flags(f"{path}: {name!r}", arrays[name], (n,)) if name else None
        for name in (is_validation, is_test)
    )
    groups = np.arange(n) if whole.ids is None else encode_labels(whole.ids)[0]
    parts = _parts(path, groups, validation, test, test_share)
    splits = {
        part: None if rows is None else take_rows(whole, rows) for part, rows in parts.items()
    }
    data = MultimodalData(os.path.basename(path), kind, label_names, **splits)
    data = standardised_by_train(data, standardise)
    devices = lambda split: split._replace(
        modalities={name: _for_devices(path, name, v) for name, v in split.modalities.items()}
    )
    return map_splits(devices, data)


def _values(path: str, name: str, array: np.ndarray) -> np.ndarray:
    if array.dtype.kind not in "biuf" or array.ndim < 2 or 0 in array.shape:
        raise InvalidInput(
            f"{path}: array {name!r} is {array.dtype} {array.shape}; use numbers [n, ...]"
        )
    return array


def _for_devices(path: str, name: str, values: np.ndarray) -> np.ndarray:
    """Floats as float32, whole numbers in 32 bits: what is standardised has been so before."""
    if values.dtype.kind == "f":
        return values.astype(np.float32, copy=False)
    return within_int32(values, name, path)


def _flags(where: str, array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if array.shape != shape or array.dtype.kind not in "biuf" or not np.isin(array, (0, 1)).all():
        raise InvalidInput(f"{where} is {array.dtype} {array.shape}; use 0 and 1 of shape {shape}")
    return array.astype(bool)


def _mask(path: str, name: str, array: np.ndarray, modality: str, values: np.ndarray) -> np.ndarray:
    if array.shape != values.shape[:2]:
        told = f"{path}: {name!r} is {array.dtype} {array.shape}, {modality!r} {values.shape}"
        raise InvalidInput(f"{told}; use one flag a step")
    mask = _flags(f"{path}: {name!r}", array, array.shape)
    if not mask.any(1).all():
        row = int(np.argmin(mask.any(1)))
        raise InvalidInput(f"{path}: {name!r} leaves nothing of row {row}; use one step or more")
    return mask


def _usual_kind(labels: np.ndarray) -> str:
    if labels.dtype.kind == "f":
        return "regression"
    return "classification" if labels.ndim == 1 else "multilabel"


def _classes(where: str, labels: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    whole = labels.dtype.kind != "f" or (labels == np.round(labels)).all()
    if labels.ndim != 1 or not whole:
        raise InvalidInput(f"{where} are {labels.dtype} {labels.shape}; use whole numbers, [n]")
    labels = label_column(labels, "labels", where)
    names, codes = np.unique(labels, return_inverse=True)
    return codes.astype(np.int32), tuple(str(name) for name in names)


def _multi_hot(where: str, labels: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    if labels.ndim != 2:
        raise InvalidInput(f"{where} have shape {labels.shape}; use [n, classes]")
    return _flags(where, labels, labels.shape).astype(np.int32), _numbered(labels.shape[1])


def _targets(where: str, labels: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    if labels.dtype.kind not in "biuf" or labels.ndim > 2:
        raise InvalidInput(f"{where} are {labels.dtype} {labels.shape}; use numbers [n] or [n, k]")
    labels = labels.reshape(len(labels), -1).astype(np.float32)
    return labels, _numbered(labels.shape[1])


def _numbered(n: int) -> tuple[str, ...]:
    return tuple(str(k) for k in range(n))


_LABELS = {"classification": _classes, "multilabel": _multi_hot, "regression": _targets}


def _parts(path, groups, validation, test, test_share) -> dict[str, np.ndarray | None]:
    """Rows of each split, in order; one that is drawn keeps groups whole."""
    if test is None:
        free = np.ones(len(groups), bool) if validation is None else ~validation
        test = np.zeros(len(groups), bool)
        own = np.unique(groups[free], return_inverse=True)[1]
        test[free] = random_split(own, test_share)
    train = ~test if validation is None else ~(test | validation)
    if validation is not None and (test & validation).any():
        row = int(np.argmax(test & validation))
        raise InvalidInput(f"{path}: row {row} is of the validation and of the test split")
    parts = {"train": train, "validation": validation, "test": test}
    for part, rows in parts.items():
        if rows is not None and not rows.any():
            raise InvalidInput(f"{path}: the {part} split has no rows")
    return {part: None if rows is None else np.flatnonzero(rows) for part, rows in parts.items()}

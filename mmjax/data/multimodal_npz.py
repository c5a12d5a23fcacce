"""A user's own data of k modalities: named arrays of an .npz file."""

import os
from collections.abc import Mapping, Sequence

import numpy as np

from mmjax.data.dataset import Dataset
from mmjax.data.files.checks import label_column, within_int32
from mmjax.data.files.npz import read_arrays
from mmjax.data.pair_ids import random_split
from mmjax.data.scaling import lost_in_float32, standardised_by
from mmjax.errors import InvalidInput, naming, require
from mmjax.labels import encode_labels

_LEVELS = 1e-2  # of a column's range: rounding beyond it makes rows of many one
KINDS = ("classification", "multilabel", "regression")


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
) -> Dataset:
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
      Modalities, floats as float32, whole numbers as they are or, of 64 bits, as int32. Labels
      under the array's name, of `[n, k]` with 0 to k - 1 behind it; those of regression are
      quantities, also where they are whole. Rows are in the file's order.

    Raises InvalidInput for whatever read_arrays does, for unequal rows, masks of another shape,
    labels that do not fit the kind, floats that float32 can't tell apart, and a split that is
    empty, not disjoint or parts rows of an id.
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
    results = {}
    if labels:
        kind = kind or _usual_kind(arrays[labels])
        results = _LABELS[kind](f"{path}: labels {labels!r}", labels, arrays[labels])
    values = {name: _values(path, name, arrays[name]) for name in names}
    seen = {
        name: _mask(path, mask, arrays[mask], name, values[name]) for name, mask in masks.items()
    }
    row_ids = label_column(arrays[ids], ids, path).astype(str) if ids else None
    validation, test = (
        _flags(f"{path}: {name!r}", arrays[name], (n,)) if name else None
        for name in (is_validation, is_test)
    )
    groups = np.arange(n) if row_ids is None else encode_labels(row_ids)[0]
    split = _split(path, groups, validation, test, test_share)
    if row_ids is not None:
        _check_whole(path, ids, row_ids, groups, split)
    for name in standardise:
        fits = name in values and values[name].ndim in (2, 3)
        shapes = f"a modality [n, features] or [n, length, features] of {path}"
        require(fits, "standardise", name, shapes)
        values[name] = standardised_by(values[name], split == "train", seen.get(name))
    values = {name: _for_devices(path, name, v) for name, v in values.items()}
    with naming(path):
        data = Dataset.from_arrays(values, lengths=seen, split=split, name=os.path.basename(path))
    data = data._replace(labels=results)
    return data if row_ids is None else data.also_by(row_ids)


def _values(path: str, name: str, array: np.ndarray) -> np.ndarray:
    if array.dtype.kind not in "biuf" or array.ndim < 2 or 0 in array.shape:
        raise InvalidInput(
            f"{path}: array {name!r} is {array.dtype} {array.shape}; use numbers [n, ...]"
        )
    return array


def _for_devices(path: str, name: str, values: np.ndarray) -> np.ndarray:
    """Floats as float32, whole numbers in 32 bits: what is standardised has been so before."""
    if values.dtype.kind == "f":
        if (lost := lost_in_float32(values, _LEVELS)).any():
            column = np.argwhere(lost)[0].tolist()
            some = values[(slice(None), *column)]
            raise InvalidInput(
                f"{path}: array {name!r} has {some.min():.10g} to {some.max():.10g} in column "
                f"{', '.join(map(str, column))}, which float32 can't tell apart; take its offset "
                "off, or standardise it"
            )
        return values.astype(np.float32, copy=False)
    return within_int32(values, name, path)


def _flags(where: str, array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if array.shape != shape or array.dtype.kind not in "biuf" or not np.isin(array, (0, 1)).all():
        raise InvalidInput(f"{where} is {array.dtype} {array.shape}; use 0 and 1 of shape {shape}")
    return array.astype(bool)


def _mask(path: str, name: str, array: np.ndarray, modality: str, values: np.ndarray) -> np.ndarray:
    if array.shape != values.shape[:2]:
        message = f"{path}: {name!r} is {array.dtype} {array.shape}, {modality!r} {values.shape}"
        raise InvalidInput(f"{message}; use one flag a step")
    mask = _flags(f"{path}: {name!r}", array, array.shape)
    if not mask.any(1).all():
        row = int(np.argmin(mask.any(1)))
        raise InvalidInput(f"{path}: {name!r} leaves nothing of row {row}; use one step or more")
    return mask


def _usual_kind(labels: np.ndarray) -> str:
    if labels.dtype.kind == "f":
        return "regression"
    return "classification" if labels.ndim == 1 else "multilabel"


def _classes(where: str, name: str, labels: np.ndarray) -> dict[str, np.ndarray]:
    whole = labels.dtype.kind != "f" or (labels == np.round(labels)).all()
    if labels.ndim != 1 or not whole:
        raise InvalidInput(f"{where} are {labels.dtype} {labels.shape}; use whole numbers, [n]")
    return {name: label_column(labels, "labels", where)}


def _multi_hot(where: str, name: str, labels: np.ndarray) -> dict[str, np.ndarray]:
    if labels.ndim != 2:
        raise InvalidInput(f"{where} have shape {labels.shape}; use [n, classes]")
    return _numbered(name, _flags(where, labels, labels.shape).astype(np.int64))


def _targets(where: str, name: str, labels: np.ndarray) -> dict[str, np.ndarray]:
    if labels.dtype.kind not in "biuf" or labels.ndim > 2:
        raise InvalidInput(f"{where} are {labels.dtype} {labels.shape}; use numbers [n] or [n, k]")
    labels = labels.astype(np.float64)
    return {name: labels} if labels.ndim == 1 else _numbered(name, labels)


def _numbered(name: str, labels: np.ndarray) -> dict[str, np.ndarray]:
    return {f"{name} {k}": column for k, column in enumerate(labels.T)}


_LABELS = {"classification": _classes, "multilabel": _multi_hot, "regression": _targets}


def _split(path, groups, validation, test, test_share) -> np.ndarray:
    """`[n]` names of splits; one that is drawn keeps groups whole."""
    if test is None:
        free = np.ones(len(groups), bool) if validation is None else ~validation
        test = np.zeros(len(groups), bool)
        free_groups = np.unique(groups[free], return_inverse=True)[1]
        test[free] = random_split(free_groups, test_share)
    split = np.where(test, "test", "train").astype("U10")
    if validation is not None:
        if (test & validation).any():
            row = int(np.argmax(test & validation))
            raise InvalidInput(f"{path}: row {row} is of the validation and of the test split")
        split[validation] = "validation"
    for part in ("train", "test", *["validation"] * (validation is not None)):
        if not (split == part).any():
            raise InvalidInput(f"{path}: the {part} split has no rows")
    return split


def _check_whole(
    path: str, name: str, ids: np.ndarray, groups: np.ndarray, split: np.ndarray
) -> None:
    """Raises InvalidInput, which names rows, for rows of one id in two parts of a split."""
    first = np.unique(groups, return_index=True)[1][groups]  # of each row's id
    torn = np.flatnonzero(split != split[first])
    if torn.size:
        row, other = torn[0], first[torn[0]]
        count = len(np.unique(groups[torn]))
        raise InvalidInput(
            f"{path}: the split parts rows of one id, {count} times: {name!r} is "
            f"{str(ids[row])!r} in row {other} ({split[other]}) and row {row} ({split[row]}); keep "
            "them together, or name no ids"
        )

"""MultiBench's affect sets: MOSI, MOSEI, UR-FUNNY and MUsTARD, of vision, audio and text features.

    {"train", "valid", "test"} -> {"vision", "audio", "text", "labels", "id"}

in a pickle of numpy arrays, `[n, steps, features]` each, with zeros before the first word. What is
done, in this order, is what MultiBench does (Liang et al. 2021); its releases differ in the number
of features, which is taken from the file.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mmjax.data.dataset import LABEL, Dataset, parted
from mmjax.data.files.checks import check_finite
from mmjax.data.files.pickles import read_pickle
from mmjax.data.values import as_array, padded
from mmjax.errors import InvalidInput, choose, require

MODALITIES = ("vision", "audio", "text")
_KEYS = {"train": "train", "validation": "valid", "test": "test"}
# What a label y is made into; FactorCL takes 0 as positive.
LABEL_RULES = {
    "positive": lambda y: (y > 0).astype(np.int32),
    "not_negative": lambda y: (y >= 0).astype(np.int32),
    "value": lambda y: y.astype(np.float32),
}


def load_affect(
    path: str,
    *,
    label: str = "positive",
    modalities: Sequence[str] = MODALITIES,
    align: bool = True,
    z_norm: bool = False,
    length: int | None = None,
) -> Dataset:
    """Reads a pickle of MOSI, MOSEI, UR-FUNNY or MUsTARD.

    Samples whose text sums to 0 are dropped; -inf in audio becomes 0; all three start at the first
    step of text that is not 0; z-norm; labels; zeros behind the end. Remarks count those that were
    dropped, and test samples that hold what training ones do.

    Args:
      path: the .pkl file; nothing in it is run (`read_pickle`).
      label: positive (y > 0) or not_negative (y >= 0), classes 0 and 1 of label `label`; value: y
        itself, label `y`. Of several labels a sample y is the first.
      modalities: those wanted, in this order; text is read in any case.
      align: False leaves the zeros before the first word where they are.
      z_norm: each sample's features at mean 0 and (unbiased) variance 1 over its steps, 0 where
        that is not defined.
      length: steps of all samples; default the longest.

    Returns:
      sequences `[n, length, features]` float32; the samples' ids are ids, where all have one.

    Raises InvalidInput, naming the file, split and array, for missing or oddly shaped arrays, NaN
    or infinity that is left, samples longer than length, and a rule that leaves training one class.
    """
    rule = choose(LABEL_RULES, "label", label)
    known = bool(modalities) and set(modalities) <= set(MODALITIES)
    require(known, "modalities", tuple(modalities), "some of " + ", ".join(MODALITIES))
    result = read_pickle(path)
    if not isinstance(result, Mapping) or not set(_KEYS.values()) <= set(result):
        raise InvalidInput(f"{path}: not a dict of train, valid and test")
    parts = {
        name: _part(f"{path}: {key}", result[key], rule, modalities, align, z_norm)
        for name, key in _KEYS.items()
    }
    _check_widths(path, parts, modalities)
    if label != "value" and len(np.unique(parts["train"].labels)) < 2:
        raise InvalidInput(f"{path}: label rule {label!r} leaves the training split one class")
    y = "y" if label == "value" else LABEL
    values, masks = {}, {}
    for name in modalities:
        rows = [row for part in parts.values() for row in part.modalities[name]]
        values[name], masks[name] = padded(rows, length)
    dropped = {name: part.dropped for name, part in parts.items() if part.dropped}
    counts = ", ".join(f"{count} of {name}" for name, count in dropped.items())
    data = Dataset.from_arrays(
        values,
        labels={y: np.concatenate([part.labels for part in parts.values()])},
        lengths=masks,
        split=np.repeat(list(parts), [len(part.labels) for part in parts.values()]),
        name=os.path.basename(path),
        remarks=[f"samples dropped, whose text sums to 0: {counts}"] if dropped else [],
    )
    ids = [part.ids for part in parts.values() if part.ids is not None]
    data = data.also_by(np.concatenate(ids)) if len(ids) == len(parts) else data
    return data._replace(remarks=(*data.remarks, *parted(data)))


class _Part(NamedTuple):
    """Samples of a split: modality -> n sequences `[length_i, features]`, labels and ids `[n]`, and
    how many were dropped."""

    modalities: Mapping[str, Sequence[np.ndarray]]
    labels: np.ndarray
    ids: np.ndarray | None
    dropped: int


def _check_widths(path, parts: Mapping[str, _Part], modalities: Sequence[str]) -> None:
    for name in modalities:
        width = parts["train"].modalities[name][0].shape[-1]
        for split, key in _KEYS.items():
            result = parts[split].modalities[name][0].shape[-1]
            if result != width:
                message = f"{path}: {key}: {name} has {result} features, train: {name} has {width}"
                raise InvalidInput(f"{message}; use one number")


def _part(where, stored, rule, modalities, align, z_norm) -> _Part:
    arrays = _arrays(where, stored)
    kept = np.array([row.sum(dtype=np.float64) != 0 for row in arrays["text"]])
    if not kept.any():
        raise InvalidInput(f"{where}: every sample's text sums to 0; none is left")
    audio = arrays["audio"]
    arrays["audio"] = np.where(np.isneginf(audio), audio.dtype.type(0), audio)
    text = arrays["text"][kept]
    starts = np.argmax((text != 0).any(-1), axis=1) if align else np.zeros(len(text), int)
    before = np.arange(text.shape[1]) < starts[:, None]  # steps that are cut off
    values = {}
    for name in modalities:
        used = np.where(before[..., None], arrays[name].dtype.type(0), arrays[name][kept])
        check_finite(f"{where}: {name}", used, rows=np.flatnonzero(kept).tolist())
        rows = [row[start:] for row, start in zip(arrays[name][kept], starts, strict=True)]
        rows = [_z_normed(row) for row in rows] if z_norm else rows
        values[name] = [row.astype(np.float32) for row in rows]
    labels = _labels(where, stored["labels"], len(kept))
    return _Part(values, rule(labels[kept]), _ids(where, stored, kept), int(np.sum(~kept)))


def _arrays(where: str, stored: Any) -> dict[str, np.ndarray]:
    wanted = (*MODALITIES, "labels")
    missing = [name for name in wanted if not isinstance(stored, Mapping) or name not in stored]
    if missing:
        raise InvalidInput(f"{where}: no {', '.join(missing)}")
    arrays = {name: as_array(f"{where}: {name}", stored[name]) for name in MODALITIES}
    for name, array in arrays.items():
        if array.dtype.kind not in "biuf" or array.ndim != 3 or 0 in array.shape:
            raise InvalidInput(
                f"{where}: {name} is {array.dtype} {array.shape}; use numbers [n, steps, features]"
            )
        if array.shape[:2] != arrays["text"].shape[:2]:
            raise InvalidInput(f"{where}: {name} has shape {array.shape}; use text's n and steps")
    return arrays


def _z_normed(row: np.ndarray) -> np.ndarray:
    """`[steps, features]`; a single step, or a feature that is constant, has no variance: 0."""
    row = row.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = row.std(0, ddof=1) if len(row) > 1 else np.nan
        scaled = np.nan_to_num((row - row.mean(0)) / spread)
    # A constant's own mean may differ from it by rounding, which would be scaled up.
    return np.where((row == row[:1]).all(0), 0, scaled)


def _labels(where: str, labels: Any, n: int) -> np.ndarray:
    """The first label of each sample, `[n]`, of `[n]`, `[n, 1]`, `[n, 1, k]` or the like."""
    labels = as_array(f"{where}: labels", labels)
    if labels.dtype.kind not in "biuf" or labels.shape[:1] != (n,) or not labels.size:
        raise InvalidInput(f"{where}: labels are {labels.dtype} {labels.shape}; use {n} numbers")
    first = labels.reshape(n, -1)[:, 0]
    check_finite(f"{where}: labels", first)
    return first


def _ids(where: str, stored: Mapping, kept: np.ndarray) -> np.ndarray | None:
    if "id" not in stored:
        return None
    ids = as_array(f"{where}: id", stored["id"])
    if ids.shape[:1] != kept.shape:
        raise InvalidInput(f"{where}: id has shape {ids.shape}; use {len(kept)} rows")
    text = lambda v: v.decode("latin1") if isinstance(v, bytes) else str(v)
    return np.array([" ".join(map(text, row)) for row in ids.reshape(len(ids), -1)])[kept]

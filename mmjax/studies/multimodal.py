"""Fusions of recorded data of any modalities: rows are drawn at random, each is augmented twice.

Row i of all modalities belongs together, or modalities pair by label, each with rows of its own.
What is in memory lies on the device; what stays in files (Lazy) is read by the step that needs it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.data import (
    Lazy,
    MultimodalData,
    MultimodalSplit,
    content_ids,
    encode_labels,
    split_size,
)
from mmjax.errors import InvalidInput, require
from mmjax.studies.fused import FusedTask
from mmjax.studies.recorded import Observation, Recorded, observed
from mmjax.types import Array, Key


class ByLabel(NamedTuple):
    """Rows in order of their labels.

    Attributes:
      rows: `[n]` int32.
      start, count: `[classes]` int32, where a label's rows are in `rows`.
    """

    rows: Array
    start: Array
    count: Array


def _labels(data: MultimodalData) -> np.ndarray:
    """`[n]` int32 of the training rows; 0 where there are no classes."""
    if data.kind == "classification":
        return data.train.labels.astype(np.int32)
    return np.zeros(split_size(data.train), np.int32)


def _by_label(first: MultimodalData, other: MultimodalData) -> ByLabel:
    alike = first.label_names == other.label_names
    require(alike, f"labels of {other.name}", other.label_names, f"those of {first.name}")
    for side in (first, other):
        require(side.kind == "classification", side.name, side.kind, "classes, to pair by label")
    labels, classes = _labels(other), len(other.label_names)
    count = np.bincount(labels, minlength=classes)
    missing = np.flatnonzero(count[_labels(first)] == 0)
    if missing.size:
        raise InvalidInput(
            f"{first.name}: training row {missing[0]} has a label that no training row of "
            f"{other.name} has; they can't be paired by label"
        )
    start = np.concatenate([[0], np.cumsum(count)[:-1]])
    order = np.argsort(labels, kind="stable")
    return ByLabel(*(jnp.asarray(v, jnp.int32) for v in (order, start, count)))


def _drawn(labels: Array, partners: Sequence[ByLabel], key: Key, n: int) -> Array:
    """`[n, 1 + partners]` int32: rows of every side, uniform; of further sides, of one label."""
    first_key, *keys = jax.random.split(key, 1 + len(partners))
    rows = [jax.random.randint(first_key, (n,), 0, len(labels))]
    own = labels[rows[0]]
    for partner_key, by in zip(keys, partners, strict=True):
        place = jax.random.randint(partner_key, (n,), 0, by.count[own])
        rows.append(by.rows[by.start[own] + place])
    return jnp.stack(rows, 1)


def _ids(split: MultimodalSplit) -> np.ndarray:
    """`[n, k]` int32 of rows: what holds equal values is one recording, a modality a column, and
    what the data names alike. What stays in files is not compared."""
    columns = [
        np.arange(values.shape[0]) if isinstance(values, Lazy) else content_ids(values)
        for values in split.modalities.values()
    ]
    columns += [] if split.ids is None else encode_labels(split.ids)
    return np.stack(columns, 1).astype(np.int32)


def _streamed(values: Lazy, rows: Array) -> Array:
    """Rows from their files, in a compiled step: `[n, ...]`."""
    dtype = jax.dtypes.canonicalize_dtype(values.dtype)
    shape = jax.ShapeDtypeStruct((len(rows), *values.shape[1:]), dtype)
    read = lambda rows: np.asarray(values.read(np.asarray(rows)), dtype)
    return jax.pure_callback(read, shape, rows, vmap_method="sequential")


def _augmented(augment: Callable, keys: Key, seen: Observation) -> Observation:
    """Every row by a key of its own, so that it doesn't matter which rows a device has."""

    def one(key, row):
        alone = jax.tree.map(lambda v: v[None], row)
        return jax.tree.map(lambda v: v[0], augment(key, alone))

    return jax.vmap(one)(keys, seen)


def multimodal_task(
    data: MultimodalData | Sequence[MultimodalData], recorded: Mapping[str, Recorded]
) -> FusedTask:
    """The task of fusing training rows.

    Args:
      data: one data set, whose rows pair as they are; or several, which pair by label: to a row of
        the first one belong rows of the others that are drawn anew each time among all training
        rows of its label. In the order of the fusion.
      recorded: name of a modality -> what is done with it, of all modalities of all data sets.

    Returns:
      The task, of the same constants for all seeds. Only training rows are in it.

    Raises InvalidInput where modalities are missing or doubled, and where data sets to be paired by
    label have other classes, or one lacks training rows of a class.
    """
    sides = [data] if isinstance(data, MultimodalData) else list(data)
    places = [(k, name) for k, side in enumerate(sides) for name in side.train.modalities]
    names = [name for _, name in places]
    good = len(set(names)) == len(names) and set(names) == set(recorded)
    require(good, "modalities", tuple(recorded), "each of " + ", ".join(names) + " once")
    chosen = [recorded[name] for name in names]
    every = [sides[k].train.modalities[name] for k, name in places]
    masks = [sides[k].train.masks.get(name) for k, name in places]
    stored = [None if isinstance(v, Lazy) else v for v in every]
    partners = [_by_label(sides[0], other) for other in sides[1:]]

    def init_constants(key):
        on_device = lambda arrays: [v if v is None else jnp.asarray(v) for v in arrays]
        held = {"values": on_device(stored), "seen": on_device(masks)}
        held |= {"ids": [jnp.asarray(_ids(side.train)) for side in sides]}
        return held | {"labels": jnp.asarray(_labels(sides[0])), "partners": partners}

    def source(constants, key, n):
        row_key, view_key = jax.random.split(key)
        rows = _drawn(constants["labels"], constants["partners"], row_key, n)
        pick = lambda arrays: [
            v if v is None else v[rows[:, side]]
            for v, (side, _) in zip(arrays, places, strict=True)
        ]
        batch = {"values": pick(constants["values"]), "seen": pick(constants["seen"])}
        own = [ids[rows[:, side]] for side, ids in enumerate(constants["ids"])]
        batch |= {"ids": jnp.concatenate(own, axis=1)}
        keys = jax.random.split(view_key, n)
        return batch | {"labels": constants["labels"][rows[:, 0]], "rows": rows, "keys": keys}

    def observe(batch):
        seen = []
        for number, (side, _) in enumerate(places):
            values = batch["values"][number]
            if values is None:
                values = _streamed(every[number], batch["rows"][:, side])
            seen.append(observed(values, batch["seen"][number]))
        keys = jax.vmap(lambda key: jax.random.split(key, (2, len(places))))(batch["keys"])
        views = tuple(
            tuple(_augmented(r.augment, keys[:, v, k], seen[k]) for k, r in enumerate(chosen))
            for v in range(2)
        )
        return {"views": views, "labels": batch["labels"], "ids": batch["ids"]}

    like = lambda v: v if v is None else jax.ShapeDtypeStruct((1, *v.shape[1:]), v.dtype)
    example = tuple(
        jax.eval_shape(observed, like(values), like(mask))
        for values, mask in zip(every, masks, strict=True)
    )
    classes = len(sides[0].label_names) if sides[0].kind == "classification" else 1
    modalities = [r.modality for r in chosen]
    return FusedTask(
        modalities, example, init_constants, source, max(1, classes), True, observe, names
    )

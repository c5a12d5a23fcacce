"""From a column of a data set to what a network sees: scaled, or tokenised."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.data.columns import Column
from mmjax.data.dataset import Dataset
from mmjax.data.scaling import Scaling, scaled, scaling_of
from mmjax.data.values import Lazy
from mmjax.encoders import Padded
from mmjax.errors import require
from mmjax.nets.base import Observed
from mmjax.nets.tokens import Tokenizer
from mmjax.types import Array

_AT_ONCE = 1024  # rows read together
_UNSCALED = Scaling(np.zeros(1), np.ones(1))

Observation = Array | Padded


class Preparation(NamedTuple):
    """What is done to a modality's values before a network sees them.

    Attributes:
      kind: features, sequence, image or text.
      shape: `[...]` of one row of the column; of sequences the longest that was trained on.
      scaling: of features and steps of sequences, `[f]`; of images that are floats, `[1]`: their
        lowest value and range. Empty for uint8 images and text.
      padded: whether the sequences have masks.
      tokenizer: of text, else None.
      grey: whether grey images keep their one channel; else networks see three alike.
    """

    kind: str
    shape: tuple[int, ...]
    scaling: Scaling
    padded: bool = False
    tokenizer: Tokenizer | None = None
    grey: bool = False


def fit_preparation(
    name: str,
    column: Column,
    present: np.ndarray,
    tokenizer: Tokenizer | None = None,
    *,
    floor: float | None = 0.1,
) -> Preparation:
    """Fits what is to be fitted, on these rows.

    Args:
      name: of the modality, for messages.
      column: its training rows.
      present: `[n]` bool, the rows that have it.
      tokenizer: of text.
      floor: see scaling_of; None takes values as they are (uint8 images in [0, 1] all the same).

    Raises InvalidInput for an image of another number of channels than 1 or 3.
    """
    shape, none = tuple(column.values.shape[1:]), Scaling(np.zeros(0), np.ones(0))
    if column.kind == "text":
        return Preparation("text", (), none, tokenizer=tokenizer)
    if column.kind == "image":
        first = "; they come last here: np.moveaxis(pictures, 1, -1)" if shape[0] in (1, 3) else ""
        require(shape[-1] in (1, 3), f"channels of {name}", shape[-1], f"1 or 3{first}")
        if column.values.dtype == np.uint8:
            return Preparation("image", shape, none)
        if floor is None:
            return Preparation("image", shape, _UNSCALED)
        low, high = np.inf, -np.inf
        for part, _ in _parts(column, present):
            low, high = min(low, float(part.min())), max(high, float(part.max()))
        span = high - low if high > low else 1.0
        scaling = Scaling(np.array([low]), np.array([span]))
        return Preparation("image", shape, scaling)
    scaling = _UNSCALED
    if floor is not None:
        steps = lambda: (_steps(part, seen) for part, seen in _parts(column, present))
        scaling = scaling_of(steps, floor)
    return Preparation(column.kind, shape, scaling, column.seen is not None)


def preparations_of(
    rows: Dataset, *, floor: float = 0.1, unscaled: Collection[str] = ()
) -> dict[str, Preparation]:
    """Of all modalities but texts, fitted on these rows.

    Args:
      rows: training rows.
      floor: see scaling_of.
      unscaled: names of modalities that are taken as they are.

    Grey images keep their one channel.
    """
    every = np.ones(rows.num_rows, bool)

    def one(name, column):
        least = None if name in unscaled else floor
        here = rows.present.get(name, every)
        return fit_preparation(name, column, here, floor=least)._replace(grey=True)

    return {name: one(name, column) for name, column in rows.columns.items()}


def _parts(column: Column, present: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Rows that have the modality, some at a time, and which of their steps are there."""
    rows = np.flatnonzero(present)
    for start in range(0, len(rows), _AT_ONCE):
        chosen = rows[start : start + _AT_ONCE]
        yield values_of(column, chosen), None if column.seen is None else column.seen[chosen]


def _steps(values: np.ndarray, seen: np.ndarray | None) -> np.ndarray:
    return values.reshape(-1, values.shape[-1]) if seen is None else values[seen]


def values_of(column: Column, rows: np.ndarray) -> np.ndarray:
    """Rows of a column, from memory or from its files."""
    return column.values.read(rows) if isinstance(column.values, Lazy) else column.values[rows]


def check_column(name: str, column: Column, preparation: Preparation) -> None:
    """Raises InvalidInput where a column is not of the kind and width that were trained on."""
    p, shape = preparation, tuple(column.values.shape[1:])
    require(column.kind == p.kind, f"kind of {name}", column.kind, f"{p.kind}, as in training")
    if p.kind in ("features", "image"):
        allowed = f"rows of {list(p.shape)}, as trained; the first axis is that of rows"
        if p.kind == "image" and len(set(p.shape[:2])) == 1:
            allowed += f", and pictures are read at image_size {p.shape[0]}"
        require(shape == p.shape, f"shape of {name}", list(shape), allowed)
    if p.kind == "image":
        _check_range(name, column.values, p.scaling)
    if p.kind == "sequence":
        same = shape[1:] == p.shape[1:]
        require(same, f"shape of {name}", list(shape), f"[length, {p.shape[1]}], as trained")
        whole = p.padded or column.seen is None or bool(np.all(column.seen))
        allowed = "one length a call: all rows of training had one"
        require(whole, f"lengths of {name}", "different ones", allowed)


def _check_range(name: str, values: np.ndarray | Lazy, scaling: Scaling) -> None:
    """Pixels of 0 to 1, to 255 and to 65535 are never taken for each other."""
    dtype = values.dtype
    if not scaling.mean.size:
        good, allowed = dtype.kind in "iu", "whole numbers from 0 to 255, as in training"
        most = 255.0
    else:
        top = float(scaling.mean[0] + scaling.scale[0])
        most = next((m for m in (1.0, 255.0, 65535.0) if top <= m), np.inf)
        allowed = f"values up to {top:.3g}, as in training"
        good = dtype != np.uint8 or most == 255
    require(good, f"dtype of {name}", str(dtype), allowed)
    if isinstance(values, np.ndarray) and dtype != np.uint8 and values.size:
        high = float(values.max())  # a little more is an edge that scaling a picture leaves
        require(high <= 1.1 * most, f"largest value of {name}", high, allowed)


def check_data(data: Dataset, preparations: Mapping[str, Preparation]) -> list[str]:
    """Names of the modalities that the data shares with what was trained on.

    Raises InvalidInput where there is none, or one is not of the kind and width trained on.
    """
    named = [name for name in preparations if name in data.columns]
    require(
        bool(named), "modalities", ", ".join(data.columns), "some of " + ", ".join(preparations)
    )
    for name in named:
        check_column(name, data.columns[name], preparations[name])
    return named


def prepare(preparation: Preparation, values: np.ndarray, seen: np.ndarray | None) -> dict:
    """Rows on the host as they go to a device: `{"values": ..., "seen": ...}`.

    Args:
      preparation: of the modality.
      values: `[n, ...]` as in the column.
      seen: `[n, length]` bool or None.
    """
    p = preparation
    if p.tokenizer:
        return {"values": p.tokenizer.encode(list(values))}
    if p.kind == "image":
        if not p.scaling.mean.size:
            return {"values": values}
        return {"values": scaled(values, p.scaling)}
    out = {"values": scaled(values, p.scaling)}
    if p.padded:
        seen = np.ones(values.shape[:2], bool) if seen is None else seen
        out["values"][~seen] = 0
        out["seen"] = seen
    return out


def observe(preparation: Preparation, batch: Mapping[str, Any]) -> Observation:
    """What `prepare` gave, on the device, as encoders take it: images float32 in [0, 1] of three
    channels, masked sequences as Padded."""
    values = batch["values"]
    if preparation.kind == "image":
        values = values.astype(jnp.float32)
        values = values if preparation.scaling.mean.size else values / 255
        return jnp.repeat(values, 3, -1) if _becomes_colour(preparation) else values
    return Padded(values, batch["seen"]) if "seen" in batch else values


def _becomes_colour(preparation: Preparation) -> bool:
    p = preparation
    return p.kind == "image" and p.shape[-1] == 1 and not p.grey


def raw_of(preparation: Preparation, observation: Observation) -> Array:
    """An observation as plain features `[n, f]`, what probes of embeddings are compared with: of a
    padded sequence the mean of what is seen, of a grey image one channel."""
    if isinstance(observation, Padded):
        seen = observation.seen[..., None]
        total = jnp.sum(jnp.where(seen, observation.values, 0), 1)
        return total / jnp.maximum(jnp.sum(seen, 1), 1)
    if _becomes_colour(preparation):
        observation = observation[..., :1]
    return observation.reshape(len(observation), -1)


def observed_of(preparation: Preparation) -> Observed:
    """What a net may know of the modality before it is made."""
    p = preparation
    if p.tokenizer:
        return Observed((p.tokenizer.length,), p.tokenizer.vocabulary_size)
    if p.kind == "image":
        return Observed((*p.shape[:2], 3) if _becomes_colour(p) else p.shape)
    return Observed(p.shape)


def example_of(preparation: Preparation) -> Observation:
    """Shape and dtype of one observation, `[1, ...]`."""
    shape = (1, *observed_of(preparation).shape)
    dtype = jnp.int32 if preparation.kind == "text" else jnp.float32
    values: Any = jax.ShapeDtypeStruct(shape, dtype)
    if preparation.padded:
        seen: Any = jax.ShapeDtypeStruct(shape[:2], bool)
        return Padded(values, seen)
    return values


def observations_of(
    data: Dataset, preparations: Mapping[str, Preparation], rows: np.ndarray
) -> dict[str, Observation]:
    """Rows of all modalities as encoders take them, not augmented."""
    prepared = prepared_rows(data, preparations, rows)
    return {name: observe(preparations[name], values) for name, values in prepared.items()}


def prepared_rows(
    data: Dataset, preparations: Mapping[str, Preparation], rows: np.ndarray
) -> dict[str, dict[str, np.ndarray]]:
    """Rows of all modalities that the preparations name, on the host.

    Raises InvalidInput where there is none, or one is not of the kind and width trained on.
    """
    named = check_data(data, preparations)
    return {
        name: prepare(
            p,
            values_of(data.columns[name], rows),
            None if (seen := data.columns[name].seen) is None else seen[rows],
        )
        for name, p in preparations.items()
        if name in named
    }

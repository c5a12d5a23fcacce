"""Paired recordings on disk: two modalities, their labels and private factors, and how they pair.

The modalities may have different numbers of rows: pairs are given row by row, by an index, or drawn
anew at every step among rows with the same label. Training takes them as Datasets, see as_dataset.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.data.pair_ids import content_ids, linked_groups
from mmjax.data.scaling import Scaling, scaled, scaling_of
from mmjax.labels import encode_labels
from mmjax.types import Array, Pair


class Modality(NamedTuple):
    """One side of paired data, on the host.

    Attributes:
      name: its array's name.
      values: `[n, ...]` numeric.
      label: `[n]` int codes of what both sides share, or None.
      private: name -> `[n]` int codes of factors of this side alone.
      is_test: `[n]` bool.
      ids: `[n]` labels of any sort; rows with one id are the same recording, an image with five
        captions. None: rows that hold the same values are (ids_of).
    """

    name: str
    values: np.ndarray
    label: np.ndarray | None
    private: Mapping[str, np.ndarray]
    is_test: np.ndarray
    ids: np.ndarray | None = None


class PairedData(NamedTuple):
    """Two modalities and their pairing.

    Attributes:
      x, t: the sides.
      partner: `[n_x]` int, the row of t that belongs to each row of x; None: pairs are drawn by
        label.
      name: of the data set.
      remarks: sentences on how it was read that a report should have.
    """

    x: Modality
    t: Modality
    partner: np.ndarray | None
    name: str
    remarks: tuple[str, ...] = ()


def ids_of(modality: Modality) -> np.ndarray:
    """`[n]` int32 from 0 without gaps, equal where rows are the same recording."""
    if modality.ids is None:
        return content_ids(modality.values)
    return encode_labels(modality.ids)[0]


def groups_of(data: PairedData) -> Pair:
    """Groups of rows of x and of t that are one recording or belong to one, int64 each: what a
    split or a probe must not part (see linked_groups)."""
    return Pair(*linked_groups(ids_of(data.x), ids_of(data.t), data.partner))


_AT_ONCE = 4096  # rows widened to float64 together


def _flat(values: np.ndarray) -> np.ndarray:
    return values.reshape(len(values), -1)


def fit_scaling(modality: Modality) -> Scaling:
    """Fits the scaling on the training rows: offsets and units of any size are no matter, whatever
    the values' dtype."""
    train = np.flatnonzero(~modality.is_test)
    parts = [train[k : k + _AT_ONCE] for k in range(0, len(train), _AT_ONCE)]
    return scaling_of(lambda: (_flat(modality.values[rows]) for rows in parts))


def standardised(values: Array | np.ndarray, scaling: Scaling) -> Array:
    """`[n, ...]` of any numeric dtype -> `[n, features]` float32.

    Arrays on the host are scaled in float64 before they become float32, which int64, float64 and
    large offsets need; those on a device in float32.
    """
    if isinstance(values, jax.Array):
        flat = values.reshape(values.shape[0], -1).astype(jnp.float32)
        mean, scale = (jnp.asarray(v, jnp.float32) for v in scaling)
        return (flat - mean) / scale
    values = np.asarray(values)
    out = np.empty((len(values), scaling.mean.size), np.float32)
    for start in range(0, len(values), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        out[part] = scaled(_flat(values[part]), scaling)
    return jnp.asarray(out)


__all__ = [
    "Modality",
    "PairedData",
    "Scaling",
    "encode_labels",
    "fit_scaling",
    "groups_of",
    "ids_of",
    "standardised",
]

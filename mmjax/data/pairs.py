"""Paired recordings on disk: two modalities, their labels and private factors, and how they pair.

The modalities may have different numbers of rows: pairs are given row by row, by an index, or drawn
anew at every step among rows with the same label.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.data.pair_ids import content_ids, linked_groups
from mmjax.data.scaling import Scaling, scaled, scaling_of
from mmjax.errors import InvalidInput
from mmjax.labels import encode_labels
from mmjax.types import Array, Key, Pair, Tree


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


class Drawn(NamedTuple):
    """A batch of pairs.

    Attributes:
      x, t: `[batch, features]` float32, standardised.
      ids: `[batch, 2]` int32, of the row of x and of that of t: pairs that agree in either are no
        negatives of each other.
    """

    x: Array
    t: Array
    ids: Array


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


def _held(values: np.ndarray, scaling: Scaling) -> tuple[Array, Scaling]:
    """Rows as a device holds them, and the scaling that is left to do: small dtypes as they are,
    which float32 holds exactly, others standardised."""
    if values.dtype.itemsize <= 2 and values.dtype.isnative:
        return jnp.asarray(values), scaling
    left = Scaling(np.zeros_like(scaling.mean), np.ones_like(scaling.scale))
    return standardised(values, scaling), left


def pair_source(data: PairedData, batch_size: int) -> tuple[Tree, Callable[[Tree, Key], Drawn]]:
    """The training rows on device, in at most 4 bytes a value, and a source of standardised pairs.

    Returns:
      (constants, source): `source(constants, key)` draws a Drawn of batch_size pairs, rows of x
      uniformly with replacement; t is the partner, or uniform among training rows of the label. A
      row drawn twice, a repeated image or caption are told by their ids.

    Raises InvalidInput where a label of x has no training row of t.
    """
    x_rows = np.flatnonzero(~data.x.is_test)
    if data.partner is not None:
        t_rows, index, draw = data.partner[x_rows], {}, _draw_row
    else:
        t_rows, index = _by_label(data, x_rows)
        draw = _draw_by_label
    held = [
        _held(side.values[rows], fit_scaling(side))
        for side, rows in ((data.x, x_rows), (data.t, t_rows))
    ]
    constants = index | {
        "x": held[0][0],
        "t": held[1][0],
        "scaling": Pair(*(jax.tree.map(np.float32, left) for _, left in held)),
        "ids": Pair(jnp.asarray(ids_of(data.x)[x_rows]), jnp.asarray(ids_of(data.t)[t_rows])),
    }

    def source(constants, key):
        drawn = Pair(*draw(constants, key, batch_size))
        see = lambda side: standardised(
            constants[side][getattr(drawn, side)], getattr(constants["scaling"], side)
        )
        ids = [own[row] for own, row in zip(constants["ids"], drawn, strict=True)]
        return Drawn(see("x"), see("t"), jnp.stack(ids, axis=1))

    return constants, source


def _draw_row(constants, key, count):
    rows = jax.random.randint(key, (count,), 0, constants["x"].shape[0])
    return rows, rows


def _by_label(data: PairedData, x_rows: np.ndarray) -> tuple[np.ndarray, dict[str, Array]]:
    """Training rows of t sorted by label, and where those of each row of x lie among them."""
    t_rows = np.flatnonzero(~data.t.is_test)
    t_rows = t_rows[np.argsort(data.t.label[t_rows], kind="stable")]
    counts = np.bincount(data.t.label[t_rows], minlength=int(data.x.label.max()) + 1)
    missing = np.flatnonzero(counts[data.x.label[x_rows]] == 0)
    if missing.size:
        raise InvalidInput(
            f"labels: row {x_rows[missing[0]]} of {data.x.name} has a label that no training "
            f"row of {data.t.name} has; pairs can't be drawn by label"
        )
    return t_rows, {
        "label": jnp.asarray(data.x.label[x_rows]),
        "count": jnp.asarray(counts),
        "start": jnp.asarray(np.concatenate([[0], np.cumsum(counts)[:-1]])),
    }


def _draw_by_label(constants, key, count):
    x_key, t_key = jax.random.split(key)
    rows = jax.random.randint(x_key, (count,), 0, constants["x"].shape[0])
    label = constants["label"][rows]
    within = jax.random.randint(t_key, (count,), 0, constants["count"][label])
    return rows, constants["start"][label] + within


__all__ = [
    "Drawn",
    "Modality",
    "PairedData",
    "Scaling",
    "encode_labels",
    "fit_scaling",
    "groups_of",
    "ids_of",
    "pair_source",
    "standardised",
]

"""Paired recordings on disk: two modalities, their labels and private factors, and how they pair.

The modalities may have different numbers of rows: pairs are given row by row, by an index, or drawn
anew at every step among rows with the same label.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.errors import InvalidInput
from mmjax.types import Array, Key, Pair, Tree


class Modality(NamedTuple):
    """One side of paired data, on the host.

    Attributes:
      name: its array's name.
      values: `[n, ...]` numeric.
      label: `[n]` int codes of what both sides share, or None.
      private: name -> `[n]` int codes of factors of this side alone.
      is_test: `[n]` bool.
    """

    name: str
    values: np.ndarray
    label: np.ndarray | None
    private: Mapping[str, np.ndarray]
    is_test: np.ndarray


class PairedData(NamedTuple):
    """Two modalities and their pairing.

    Attributes:
      x, t: the sides.
      partner: `[n_x]` int, the row of t that belongs to each row of x; None: pairs are drawn by
        label.
      name: of the data set.
    """

    x: Modality
    t: Modality
    partner: np.ndarray | None
    name: str


def encode_labels(*columns: np.ndarray) -> list[np.ndarray]:
    """Labels of any sort as int codes that agree across columns: equal labels, equal codes."""
    _, codes = np.unique(np.concatenate([c.astype(str) for c in columns]), return_inverse=True)
    return np.split(codes.reshape(-1).astype(np.int32), np.cumsum([len(c) for c in columns])[:-1])


class Scaling(NamedTuple):
    """Standardisation fitted on the training rows: `(values - mean) / scale`, flattened.

    Attributes:
      mean: `[features]` float32.
      scale: `[features]` float32, at least a tenth of the root mean variance, so that nearly
        constant features (the rim of an image) stay small.
    """

    mean: np.ndarray
    scale: np.ndarray


def fit_scaling(modality: Modality) -> Scaling:
    """Fits the scaling on the training rows."""
    train = modality.values[~modality.is_test]
    train = train.reshape(len(train), -1).astype(np.float32)
    spread = train.std(0)
    floor = max(0.1 * float(np.sqrt(np.mean(spread**2))), 1e-6)
    return Scaling(train.mean(0), np.maximum(spread, floor))


def standardised(values: Array, scaling: Scaling) -> Array:
    """`[n, ...]` of any numeric dtype -> `[n, features]` float32."""
    flat = values.reshape(values.shape[0], -1).astype(jnp.float32)
    return (flat - scaling.mean) / scaling.scale


def pair_source(data: PairedData, batch_size: int) -> tuple[Tree, Callable[[Tree, Key], Pair]]:
    """The training rows on device, in their own dtype, and a source of standardised pairs.

    Returns:
      (env, source): `source(env, key)` draws a Pair of `[batch_size, features]` float32, rows of x
      uniformly with replacement; t is the partner, or uniform among training rows of the label.

    Raises InvalidInput where a label of x has no training row of t.
    """
    x_rows = np.flatnonzero(~data.x.is_test)
    env = {
        "x": jnp.asarray(data.x.values[x_rows]),
        "scaling": Pair(fit_scaling(data.x), fit_scaling(data.t)),
    }
    if data.partner is not None:
        env |= {"t": jnp.asarray(data.t.values[data.partner[x_rows]])}

        def draw(env, key):
            rows = jax.random.randint(key, (batch_size,), 0, env["x"].shape[0])
            return rows, rows

    else:
        t_rows = np.flatnonzero(~data.t.is_test)
        t_rows = t_rows[np.argsort(data.t.label[t_rows], kind="stable")]
        counts = np.bincount(data.t.label[t_rows], minlength=int(data.x.label.max()) + 1)
        missing = np.flatnonzero(counts[data.x.label[x_rows]] == 0)
        if missing.size:
            raise InvalidInput(
                f"labels: row {x_rows[missing[0]]} of {data.x.name} has a label that no training "
                f"row of {data.t.name} has; pairs can't be drawn by label"
            )
        env |= {
            "t": jnp.asarray(data.t.values[t_rows]),
            "label": jnp.asarray(data.x.label[x_rows]),
            "count": jnp.asarray(counts),
            "start": jnp.asarray(np.concatenate([[0], np.cumsum(counts)[:-1]])),
        }

        def draw(env, key):
            x_key, t_key = jax.random.split(key)
            rows = jax.random.randint(x_key, (batch_size,), 0, env["x"].shape[0])
            label = env["label"][rows]
            within = jax.random.randint(t_key, (batch_size,), 0, env["count"][label])
            return rows, env["start"][label] + within

    def source(env, key):
        x_drawn, t_drawn = draw(env, key)
        return Pair(
            standardised(env["x"][x_drawn], env["scaling"].x),
            standardised(env["t"][t_drawn], env["scaling"].t),
        )

    return env, source

"""Change one component of an embedding: which attribute moves?"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.disentangle import Affine, components
from mmjax.errors import require
from mmjax.evaluate.logistic import fit_logistic
from mmjax.evaluate.splits import shuffled_rows
from mmjax.numerics import centred, conditioned, floating, normalise, require_finite
from mmjax.types import Array, Key, Tracked, untracked


class Response(NamedTuple):
    """How far attributes move when one component goes from its low to its high end.

    Attributes:
      probe: `[k, attributes]` in [0, 1]: of what probes of the embedding say.
      neighbours: `[k, attributes]` in [0, 1]: of the nearest rows of the data.
    """

    probe: np.ndarray
    neighbours: np.ndarray


def traversed(affine: Affine, x: Array, component: int | Array, levels: Array) -> Array:
    """Rows of x with one component set to each level, everything else as it was.

    Args:
      affine: components of the features.
      x: `[n, f]`.
      component: 0 to k - 1.
      levels: `[levels]`.

    Returns:
      `[n, levels, f]`. What the components do not span is kept too.
    """
    x = floating(x)
    now = components(affine, x)[:, component]
    return x[:, None] + (levels[None] - now[:, None])[..., None] * affine.back[component]


def nearest_rows(queries: Array, x: Array) -> Array:
    """The row of x `[n, f]` of the largest cosine, for every query `[..., f]`: `[...]` int32."""
    flat = normalise(queries).reshape(-1, queries.shape[-1])
    unit = normalise(x)
    result = jax.lax.map(lambda q: jnp.argmax(unit @ q), flat, batch_size=256)
    return result.reshape(queries.shape[:-1]).astype(jnp.int32)


def attribute_response(
    affine: Affine,
    x: Array,
    attributes: Mapping[str, np.ndarray],
    *,
    anchors: int = 256,
    anchor_key: Key | None = None,
    ends: tuple[float, float] = (0.05, 0.95),
    held: np.ndarray | None = None,
    tracked: Tracked = untracked,
) -> Response:
    """Sets each component of some rows to its low and its high quantile and looks what changes.

    A change of a discrete attribute is the total variation between the probe's class
    probabilities (logistic regression), or the share of rows whose neighbours' classes differ. One
    of a continuous attribute is the difference of the linear probe's values (or the neighbours'),
    in units of the attribute's range from its 5th to its 95th percentile, at most 1.

    Args:
      affine: components of the features.
      x: `[n, f]` of any real type, finite.
      attributes: name -> `[n]`; integers, booleans or text are classes, floats continuous.
      anchors: rows that are changed, at most.
      anchor_key: which these are; None is key 0.
      ends: quantiles of a component.
      held: rows that are moved, and looked at as neighbours; probes are fitted on the others. None:
        all rows are both.
      tracked: shows how many attributes are done.

    Raises InvalidInput for an attribute of another length, and what is not finite.
    """
    require_finite(x, "x")
    x, rows = floating(x), np.arange(len(x))
    fit, held = (rows, rows) if held is None else (np.setdiff1d(rows, held), np.asarray(held))
    start = x[held[np.asarray(shuffled_rows(anchor_key, len(held)))[:anchors]]]
    moved, near = _moved(affine, x[held], jnp.asarray(ends, x.dtype), start)
    # What probes see: one unit for all columns, since a scale of each would turn directions.
    fitted = x[fit]
    mean, scale = jnp.mean(fitted, 0), jnp.max(conditioned(fitted, together=True)[2], initial=0)
    seen = (fitted - mean) / scale, (moved - mean) / scale
    near = np.asarray(near)
    probe, neighbours = [], []
    for name, values in tracked(attributes.items(), "attributes"):
        values = np.asarray(values)
        require(values.shape == (len(x),), name, values.shape, f"[{len(x)}], one a row")
        if values.dtype.kind in "biuSU":
            by_probe, by_neighbours = _discrete(*seen, values, fit, held[near])
        else:
            require_finite(values, name)
            by_probe, by_neighbours = _continuous(*seen, values, fit, held[near])
        probe.append(np.asarray(by_probe))
        neighbours.append(by_neighbours)
    return Response(np.stack(probe, 1), np.stack(neighbours, 1))


@jax.jit
def _moved(affine, x, ends, start):
    low, high = jnp.quantile(components(affine, x), ends, axis=0)
    move = lambda c: traversed(affine, start, c, jnp.stack([low[c], high[c]]))
    moved = jax.vmap(move)(jnp.arange(len(low)))
    return moved, nearest_rows(moved, x)


def _discrete(x, moved, values, fit, near):
    codes = np.unique(values, return_inverse=True)[1]
    scale = jnp.sqrt(jnp.mean(jnp.var(x, 0))) + 1e-12
    model = fit_logistic(x / scale, jnp.asarray(codes[fit]), max(2, int(codes.max()) + 1))
    probabilities = jax.nn.softmax(moved / scale @ model.weights + model.bias)
    apart = 0.5 * jnp.sum(jnp.abs(probabilities[:, :, 1] - probabilities[:, :, 0]), -1)
    return jnp.mean(apart, 1), np.mean(codes[near[:, :, 1]] != codes[near[:, :, 0]], 1)


def _continuous(x, moved, values, fit, near):
    values = np.asarray(centred(values)[0])
    spread = np.subtract(*np.quantile(values[fit], [0.95, 0.05]))
    spread = spread if spread > 0 else 1.0
    design = jnp.concatenate([x, jnp.ones((len(x), 1), x.dtype)], 1)
    weights = jnp.linalg.lstsq(design, jnp.asarray(values[fit], x.dtype))[0][:-1]
    moves = jnp.abs((moved[:, :, 1] - moved[:, :, 0]) @ weights) / spread
    seen = np.abs(values[near[:, :, 1]] - values[near[:, :, 0]]) / spread
    return jnp.mean(jnp.minimum(moves, 1), 1), np.mean(np.minimum(seen, 1), 1)

"""Change one component of an embedding: which attribute moves?"""

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.disentangle import Affine, components
from mmjax.errors import require
from mmjax.evaluate.logistic import fit_logistic
from mmjax.numerics import normalise
from mmjax.types import Array, Tracked, untracked


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
    now = components(affine, x)[:, component]
    return x[:, None] + (levels[None] - now[:, None])[..., None] * affine.back[component]


def nearest_rows(queries: Array, x: Array) -> Array:
    """The row of x `[n, f]` of the largest cosine, for every query `[..., f]`: `[...]` int32."""
    flat = normalise(queries).reshape(-1, queries.shape[-1])
    unit = normalise(x)
    found = jax.lax.map(lambda q: jnp.argmax(unit @ q), flat, batch_size=256)
    return found.reshape(queries.shape[:-1]).astype(jnp.int32)


def attribute_response(
    affine: Affine,
    x: Array,
    attributes: Mapping[str, np.ndarray],
    *,
    anchors: int = 256,
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
      x: `[n, f]` float32.
      attributes: name -> `[n]`; integers (booleans, strings) are classes, floats
        continuous.
      anchors: rows that are changed, the first ones.
      ends: quantiles of a component.
      held: rows that are moved, and looked at as neighbours; probes are fitted on the others. None:
        all rows are both.
      tracked: shows how many attributes are done.

    Raises InvalidInput for an attribute of another length.
    """
    rows = np.arange(len(x))
    fit, held = (rows, rows) if held is None else (np.setdiff1d(rows, held), held)
    moved, near = _moved(affine, x[held], jnp.asarray(ends), anchors)
    near = np.asarray(near)
    probe, neighbours = [], []
    for name, values in tracked(attributes.items(), "attributes"):
        values = np.asarray(values)
        require(values.shape == (len(x),), name, values.shape, f"[{len(x)}], one a row")
        told_of = _discrete if values.dtype.kind in "biuUS" else _continuous
        told, seen = told_of(x, values, fit, held, moved, near)
        probe.append(np.asarray(told))
        neighbours.append(seen)
    return Response(np.stack(probe, 1), np.stack(neighbours, 1))


@partial(jax.jit, static_argnums=3)
def _moved(affine, x, ends, anchors):
    low, high = jnp.quantile(components(affine, x), ends, axis=0)
    start = x[:anchors]
    move = lambda c: traversed(affine, start, c, jnp.stack([low[c], high[c]]))
    moved = jax.vmap(move)(jnp.arange(len(low)))
    return moved, nearest_rows(moved, x)


def _discrete(x, values, fit, held, moved, near):
    codes = np.unique(values, return_inverse=True)[1]
    seen = x[fit]
    mean, scale = jnp.mean(seen, 0), jnp.sqrt(jnp.mean(jnp.var(seen, 0))) + 1e-12
    count = max(2, int(codes.max()) + 1)
    model = fit_logistic((seen - mean) / scale, jnp.asarray(codes[fit]), count)
    told = jax.nn.softmax((moved - mean) / scale @ model.weights + model.bias)
    apart = 0.5 * jnp.sum(jnp.abs(told[:, :, 1] - told[:, :, 0]), -1)
    own = codes[held]
    return jnp.mean(apart, 1), np.mean(own[near[:, :, 1]] != own[near[:, :, 0]], 1)


def _continuous(x, values, fit, held, moved, near):
    values = values.astype(np.float32)
    spread = np.subtract(*np.quantile(values[fit], [0.95, 0.05]))
    spread = spread if spread > 0 else 1.0
    design = jnp.concatenate([x[fit], jnp.ones((len(fit), 1))], 1)
    weights = jnp.linalg.lstsq(design, jnp.asarray(values[fit]))[0][:-1]
    told = jnp.abs((moved[:, :, 1] - moved[:, :, 0]) @ weights) / spread
    own = values[held]
    seen = np.abs(own[near[:, :, 1]] - own[near[:, :, 0]]) / spread
    return jnp.mean(jnp.minimum(told, 1), 1), np.mean(np.minimum(seen, 1), 1)

"""Canonical correlation analysis of paired embeddings."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mmjax.numerics import conditioned
from mmjax.types import Array


class Canonical(NamedTuple):
    """Canonical directions, strongest correlation first.

    Attributes:
      x: `[f, k]`; the columns of `centred x @ this` have unit variance and are uncorrelated.
      t: `[g, k]`, likewise for t; column i correlates with column i of the other side.
      correlations: `[k]` in [0, 1], descending.
    """

    x: Array
    t: Array
    correlations: Array


def _inverse_root(covariance: Array, floor: float) -> Array:
    values, vectors = jnp.linalg.eigh(covariance)
    return (vectors * jax.lax.rsqrt(jnp.maximum(values, floor * values[-1]))) @ vectors.T


def canonical_directions(x: Array, t: Array, *, floor: float = 1e-6) -> Canonical:
    """The directions of two paired samples that correlate most with each other.

    Args:
      x: `[n, f]` of any real type, unit and offset.
      t: `[n, g]`, rows paired with x.
      floor: smallest eigenvalue of a covariance counted, relative to its largest, of columns that
        are in units of about their own spread.

    Returns:
      Canonical with k = min(f, g); NaN where something is not finite.

    Example:
      >>> import jax
      >>> z, noise = jax.random.normal(jax.random.key(0), (2, 5000, 2))
      >>> found = canonical_directions(z, z + 0.1 * noise)
      >>> bool((found.correlations > 0.99).all())
      True
    """
    ((x,), _, unit_x), ((t,), _, unit_t) = conditioned(x), conditioned(t)
    with jax.default_matmul_precision("highest"):
        root_x = _inverse_root(x.T @ x / x.shape[0], floor)
        root_t = _inverse_root(t.T @ t / t.shape[0], floor)
        left, correlations, right = jnp.linalg.svd(
            root_x @ (x.T @ t / x.shape[0]) @ root_t, full_matrices=False
        )
        directions = (root_x @ left) / unit_x[:, None], (root_t @ right.T) / unit_t[:, None]
        return Canonical(*directions, jnp.clip(correlations, 0, 1))

"""What components of frozen features look like, one by one."""

import jax
import jax.numpy as jnp

from mmjax.types import Array


def excess_kurtosis(y: Array) -> Array:
    """Of every column of `[n, k]`: `[k]`; 0 for a Normal, 3 for a Laplace, -1.2 for a uniform law.

    A constant column has 0.

    Example:
      >>> excess_kurtosis(jnp.array([[1.0], [-1.0], [1.0], [-1.0]])).tolist()
      [-2.0]
    """
    centred = y - jnp.mean(y, 0)
    variance = jnp.mean(centred**2, 0)
    safe = jnp.where(variance > 0, variance, 1)
    return jnp.where(variance > 0, jnp.mean((centred**2 / safe) ** 2, 0) - 3, 0)


def sparsity(y: Array) -> Array:
    """Hoyer's measure of every column of `[n, k]` (Hoyer 2004): `[k]` in [0, 1].

    1 where a single row is not zero, 0 where all are of one size; about .20 for a Normal, .29 for a
    Laplace law. A column of zeros has 0.
    """
    root = len(y) ** 0.5
    largest = jnp.max(jnp.abs(y), 0)
    y = y / jnp.where(largest > 0, largest, 1)
    l1, l2 = jnp.sum(jnp.abs(y), 0), jnp.sqrt(jnp.sum(y * y, 0))
    ratio = l1 / jnp.where(l2 > 0, l2, 1)
    return jnp.where(l2 > 0, (root - ratio) / max(root - 1, 1e-6), 0)


def top_rows(y: Array, count: int) -> Array:
    """Rows of the largest entries of every column of `[n, k]`, `[k, count]` int32, in order."""
    return jax.lax.top_k(y.T, min(count, len(y)))[1].astype(jnp.int32)

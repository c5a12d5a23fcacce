"""What components of frozen features look like, one by one."""

import jax
import jax.numpy as jnp

from mmjax.numerics import centred, floating, power_of_two, require_finite
from mmjax.types import Array


def excess_kurtosis(y: Array) -> Array:
    """Of every column of `[n, k]`: `[k]`; 0 for a Normal, 3 for a Laplace, -1.2 for a uniform law.

    Float32 at least, of y of any real type. A constant column has 0, one that is not finite
    throughout NaN, as has every column of fewer than four rows: of two it is -2, of three -1.5,
    whatever they are.

    Example:
      >>> excess_kurtosis(jnp.array([[1.0], [-1.0], [1.0], [-1.0]])).tolist()
      [-2.0]
    """
    (y,) = centred(y)
    if len(y) < 4:
        return jnp.full(y.shape[1], jnp.nan, y.dtype)
    variance = jnp.mean(y**2, 0)
    constant = variance == 0
    return jnp.where(constant, 0, jnp.mean((y**2 / jnp.where(constant, 1, variance)) ** 2, 0) - 3)


def sparsity(y: Array) -> Array:
    """Hoyer's measure of every column of `[n, k]` (Hoyer 2004): `[k]` in [0, 1].

    1 where a single row is not zero, 0 where all are of one size; about .20 for a Normal, .29 for a
    Laplace law. A column of zeros has 0, one that is not finite throughout NaN, as has every column
    of a single row.
    """
    root = len(y) ** 0.5
    y = floating(y)
    if len(y) < 2:
        return jnp.full(y.shape[1], jnp.nan, y.dtype)
    y = y / power_of_two(jnp.max(jnp.abs(y), 0))
    l1, l2 = jnp.sum(jnp.abs(y), 0), jnp.sqrt(jnp.sum(y * y, 0))
    ratio = l1 / jnp.where(l2 == 0, 1, l2)
    return jnp.where(l2 == 0, 0, (root - ratio) / max(root - 1, 1e-6))


def top_rows(y: Array, count: int) -> Array:
    """Rows of the largest entries of every column of `[n, k]`, `[k, count]` int32, in order.

    Raises InvalidInput for entries that are not finite, unless traced.
    """
    require_finite(y, "y")
    (y,) = centred(y)
    return jax.lax.top_k(y.T, min(count, len(y)))[1].astype(jnp.int32)

"""Numerics that stay finite, with finite gradients, at zero distance and in the tails."""

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.types import Array


def safe_norm(x: Array, *, axis: int = -1, keepdims: bool = False) -> Array:
    """Euclidean norm along an axis; its gradient at 0 is 0 (that of jnp.linalg.norm is NaN)."""
    squares = jnp.sum(x * x, axis=axis, keepdims=keepdims)
    zero = squares == 0
    return jnp.where(zero, 0.0, jnp.sqrt(jnp.where(zero, 1.0, squares)))


def normalise(x: Array, *, axis: int = -1) -> Array:
    """Unit vectors along an axis; the zero vector stays zero, with gradient zero."""
    norm = safe_norm(x, axis=axis, keepdims=True)
    return jnp.where(norm == 0, 0.0, x / jnp.where(norm == 0, 1.0, norm))


def log_mean_exp(x: Array, *, axis: int = -1) -> Array:
    """`log(mean(exp(x)))` along an axis, without overflow."""
    return jax.nn.logsumexp(x, axis=axis) - jnp.log(x.shape[axis])


def log_trapezoid(log_values: np.ndarray, grid: np.ndarray) -> float:
    """Log of the integral of `exp(log_values)` over a grid, float64 on the host."""
    top = log_values.max()
    return float(top + np.log(np.trapezoid(np.exp(log_values - top), grid)))

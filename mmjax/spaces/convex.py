"""Convex bodies: the hyper-rectangle with equal sides, and the Euclidean ball."""

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.errors import require
from mmjax.numerics import normalise, safe_norm
from mmjax.spaces.base import Space


def box(dim: int, *, low: float = 0.0, high: float = 1.0) -> Space:
    """The hyper-rectangle [low, high]^dim.

    Example:
      >>> import jax
      >>> from mmjax.spaces import box
      >>> float(box(2).project(jax.numpy.array([0.5, 3.0]))[1])
      1.0
    """
    require(dim >= 1, "dim", dim, "a whole number >= 1")
    require(low < high, "low", low, f"a number below high ({high})")

    def uniform(key, n):
        return jax.random.uniform(key, (n, dim), minval=low, maxval=high)

    def project(points):
        return jnp.clip(points, low, high)

    def contains(points):
        return jnp.all((points >= low - 1e-5) & (points <= high + 1e-5), axis=-1)

    log_volume = dim * np.log(high - low)
    return Space("box", dim, low, high, float(log_volume), uniform, project, contains)


def ball(dim: int) -> Space:
    """The unit Euclidean ball of R^dim: a convex body whose faces don't follow the axes."""
    require(dim >= 1, "dim", dim, "a whole number >= 1")

    def uniform(key, n):
        direction_key, radius_key = jax.random.split(key)
        direction = normalise(jax.random.normal(direction_key, (n, dim)))
        return direction * jax.random.uniform(radius_key, (n, 1)) ** (1 / dim)

    def project(points):
        return points / jnp.maximum(safe_norm(points, keepdims=True), 1)

    def contains(points):
        return safe_norm(points) <= 1 + 1e-5

    from scipy import special

    log_volume = 0.5 * dim * np.log(np.pi) - special.gammaln(0.5 * dim + 1)
    return Space("ball", dim, -1.0, 1.0, float(log_volume), uniform, project, contains)

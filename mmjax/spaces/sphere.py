"""The unit hypersphere S^(d-1) in R^d."""

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.errors import require
from mmjax.numerics import normalise, safe_norm
from mmjax.spaces.base import Space


def sphere(dim: int) -> Space:
    """Unit vectors of R^dim, dim >= 2.

    Example:
      >>> import jax
      >>> from mmjax.spaces import sphere
      >>> points = sphere(3).uniform(jax.random.key(0), 100)
      >>> points.shape, bool(sphere(3).contains(points).all())
      ((100, 3), True)
    """
    require(dim >= 2, "dim", dim, "a whole number >= 2 on the sphere")

    def uniform(key, n):
        return normalise(jax.random.normal(key, (n, dim)))

    def project(points):
        # The zero vector has no nearest point; the first axis stands in for it.
        norm = safe_norm(points, keepdims=True)
        axis = jnp.zeros(dim, points.dtype).at[0].set(1)
        return jnp.where(norm == 0, axis, normalise(points))

    def contains(points):
        return jnp.abs(safe_norm(points) - 1) < 1e-4

    from scipy import special

    log_area = np.log(2) + 0.5 * dim * np.log(np.pi) - special.gammaln(0.5 * dim)
    return Space("sphere", dim, -1.0, 1.0, float(log_area), uniform, project, contains)

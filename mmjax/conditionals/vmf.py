"""The von Mises-Fisher conditional: p(z_to | z_from) = C_d(kappa) exp(kappa z_to . z_from).

The angle between the two has density proportional to exp(kappa cos) sin^(d-2), whose inverse CDF is
tabulated once in float64. No rejection loop: every draw costs one table look-up.
"""

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.conditionals.base import Conditional
from mmjax.errors import require
from mmjax.numerics import log_trapezoid, normalise
from mmjax.spaces import Space, sphere

_GRID = 200_001
_KNOTS = 65_536  # equi-probable: the table's law is within 1/_KNOTS of the true one


def _angle_grid(dim: int, kappa: float) -> tuple[np.ndarray, np.ndarray]:
    """Angles that carry all mass but 1e-17 of it, and their unnormalised log density."""
    # exp(kappa cos) ~ exp(-kappa angle^2 / 2) against angle^(dim-2): 1 degree of freedom an axis.
    reach = np.pi if kappa == 0 else min(np.pi, (np.sqrt(dim) + 9) * np.sqrt(2.5 / kappa))
    angle = np.linspace(0, reach, _GRID)
    # kappa (cos - 1), written without cancellation
    log_density = -2 * kappa * np.sin(angle / 2) ** 2
    if dim > 2:
        with np.errstate(divide="ignore"):
            log_density = log_density + (dim - 2) * np.log(np.sin(angle))
    log_density[~np.isfinite(log_density)] = -np.inf
    return angle, log_density


def _angle_table(dim: int, kappa: float) -> np.ndarray:
    angle, log_density = _angle_grid(dim, kappa)
    density = np.exp(log_density - log_density.max())
    mass = np.concatenate([[0], np.cumsum(0.5 * (density[1:] + density[:-1]))])
    knots = np.linspace(0, mass[-1], _KNOTS + 1)
    return np.interp(knots, mass, angle)


def log_normaliser(dim: int, kappa: float) -> float:
    """log C_d(kappa), by quadrature of the angle: good for any d >= 2 and kappa >= 0."""
    angle, log_density = _angle_grid(dim, kappa)
    equator = sphere(dim - 1).log_volume if dim > 2 else float(np.log(2))
    return -(kappa + equator + log_trapezoid(log_density, angle))


def von_mises_fisher(space: Space, *, kappa: float) -> Conditional:
    """vMF of concentration kappa in [0, 1e4] (0: uniform) around z_from on the unit sphere.

    Raises InvalidInput on another space or for kappa out of range.

    Example:
      >>> import jax
      >>> from mmjax.spaces import sphere
      >>> vmf = von_mises_fisher(sphere(3), kappa=100.0)
      >>> z = sphere(3).uniform(jax.random.key(0), 1000)
      >>> z_t = vmf.sample(jax.random.key(1), z)
      >>> round(float((z * z_t).sum(-1).mean()), 2)
      0.99
    """
    require(space.kind == "sphere", "conditional", "vmf", f"it on the sphere, not {space.kind}")
    require(0 <= kappa <= 1e4, "kappa", kappa, "a number from 0 to 10000")
    dim = space.dim
    table = _angle_table(dim, kappa).astype(np.float32)
    log_c = log_normaliser(dim, kappa)

    def sample(key, z):
        angle_key, knot_key, tangent_key = jax.random.split(key, 3)
        batch = z.shape[0]
        # An integer knot and a fraction, not one float: 2^16 cells leave float32 too few bits.
        knot = jax.random.randint(knot_key, (batch,), 0, _KNOTS)
        fraction = jax.random.uniform(angle_key, (batch,), z.dtype)
        cells = jnp.asarray(table, z.dtype)
        angle = (cells[knot] * (1 - fraction) + cells[knot + 1] * fraction)[:, None]
        normal = jax.random.normal(tangent_key, z.shape, z.dtype)
        tangent = normalise(normal - jnp.sum(normal * z, axis=-1, keepdims=True) * z)
        return space.project(jnp.cos(angle) * z + jnp.sin(angle) * tangent)

    def log_density(z_to, z):
        return log_c + kappa * jnp.sum(z_to * z, axis=-1)

    return Conditional(sample, log_density)

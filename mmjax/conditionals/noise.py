"""One-dimensional symmetric noise with density proportional to exp(-|x / scale|^p).

p = 1 is Laplace, p = 2 Normal with standard deviation scale / sqrt(2), p -> infinity uniform on
[-scale, scale]. It is the building block of every distance-based conditional (Theorem 4.3, Liu et
al. 2026): a product of it over coordinates is exp(-||x||_p^p / scale^p).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.errors import require
from mmjax.types import Array, Key

_KNOTS = 8192


class Noise(NamedTuple):
    """Symmetric one-dimensional noise, every function elementwise.

    Attributes:
      log_pdf: normalised log density.
      centred_cdf: P(X <= x) - 1/2, odd in x. Centred, because float32 resolves it near 0 where a
        wide density truncated to a small box needs it.
      centred_icdf: its inverse, from (-1/2, 1/2).
      sample: `(key, shape) -> [*shape]`.
      p, scale: the parameters it was made with.
    """

    log_pdf: Callable[[Array], Array]
    centred_cdf: Callable[[Array], Array]
    centred_icdf: Callable[[Array], Array]
    sample: Callable[[Key, tuple[int, ...]], Array]
    p: float
    scale: float


def _unit_laplace():
    def cdf(x):
        return -0.5 * jnp.sign(x) * jnp.expm1(-jnp.abs(x))

    def icdf(g):
        return -jnp.sign(g) * jnp.log1p(-2 * jnp.abs(g))

    return cdf, icdf


def _unit_normal():
    return lambda x: 0.5 * jax.lax.erf(x), lambda g: jax.lax.erf_inv(2 * g)


def _unit_table(p: float):
    """Both functions by interpolation in one float64 table, so that they invert each other."""
    from scipy import special

    end = special.gammainccinv(1 / p, 1e-8) ** (1 / p)
    # Knots equal in x resolve the bulk; the square root of gammaincc's argument near 0 is smooth.
    knots = np.linspace(0, end, _KNOTS)
    mass = special.gammainc(1 / p, knots**p)
    mass /= mass[-1]

    def cdf(x):
        return 0.5 * jnp.sign(x) * jnp.interp(jnp.abs(x), jnp.asarray(knots), jnp.asarray(mass))

    def icdf(g):
        return jnp.sign(g) * jnp.interp(2 * jnp.abs(g), jnp.asarray(mass), jnp.asarray(knots))

    return cdf, icdf


def make_noise(*, p: float, scale: float) -> Noise:
    """Noise with density p / (2 scale Gamma(1/p)) exp(-|x / scale|^p).

    Raises InvalidInput for p < 1 (the distance would not be a metric) or scale <= 0.

    Example:
      >>> noise = make_noise(p=1.0, scale=0.1)
      >>> bool(abs(noise.centred_icdf(noise.centred_cdf(0.3)) - 0.3) < 1e-6)
      True
    """
    from scipy import special

    require(np.isfinite(p) and p >= 1, "p", p, "a finite number >= 1")
    require(np.isfinite(scale) and scale > 0, "scale", scale, "a finite number > 0")
    known = {1.0: _unit_laplace, 2.0: _unit_normal}
    unit_cdf, unit_icdf = known[p]() if p in known else _unit_table(p)
    log_norm = float(np.log(p) - np.log(2 * scale) - special.gammaln(1 / p))

    def log_pdf(x):
        return log_norm - jnp.abs(x / scale) ** p

    def sample(key, shape):
        if p == 1:
            return scale * jax.random.laplace(key, shape)
        if p == 2:
            return scale * jax.random.normal(key, shape) / np.sqrt(2)
        return scale * jax.random.generalized_normal(key, p, shape)  # a rejection loop: slower

    return Noise(
        log_pdf=log_pdf,
        centred_cdf=lambda x: unit_cdf(x / scale),
        centred_icdf=lambda g: scale * unit_icdf(g),
        sample=sample,
        p=p,
        scale=scale,
    )

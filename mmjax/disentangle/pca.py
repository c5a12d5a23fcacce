"""Principal components, and whitening that stays white in float32."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mmjax.errors import require
from mmjax.numerics import conditioned
from mmjax.types import Array


class PCA(NamedTuple):
    """Principal components of a sample.

    Attributes:
      mean: `[f]`.
      directions: `[f, k]`, orthonormal columns, largest variance first.
      variances: `[k]`, of the sample along them (biased), >= 0, descending; at most the type's
        largest number.
      whiten: `[f, k]`; `(x - mean) @ whiten` has unit covariance, up to floored directions.
      colour: `[k, f]`, back: the right inverse of whitening on the span of the directions.
      rank: int32 scalar, directions whose variance is above the floor.
    """

    mean: Array
    directions: Array
    variances: Array
    whiten: Array
    colour: Array
    rank: Array


def pca(x: Array, num_components: int | None = None, *, floor: float | None = None) -> PCA:
    """PCA by the covariance's eigenvectors, in float32, or in float64 where x is so.

    Args:
      x: `[n, f]` of any real type, unit and offset, n >= 2. Where it is not finite all is NaN.
      num_components: k, 1 to f; None for f.
      floor: variances below this share of the largest count as zero: such a direction is scaled as
        if it had the floor's variance, so that rounding is not blown up into a component. Without,
        eight roundings of the type; those of a float32 covariance were seen to reach five.

    Whitening from a float32 covariance is off by its condition number times 1e-7, so it is
    corrected by the covariance of the whitened sample.

    Raises InvalidInput for a value out of range.

    Example:
      >>> x = jax.random.normal(jax.random.key(0), (500, 3)) * jnp.array([5.0, 1.0, 0.1])
      >>> found = pca(x, 2)
      >>> white = (x - found.mean) @ found.whiten
      >>> bool(jnp.allclose(white.T @ white / 500, jnp.eye(2), atol=1e-5))
      True
    """
    require(x.ndim == 2 and len(x) >= 2, "x", x.shape, "two axes, [rows >= 2, features]")
    k = x.shape[1] if num_components is None else num_components
    require(1 <= k <= x.shape[1], "num_components", k, f"1 to {x.shape[1]}, the features")
    (centred,), mean, units = conditioned(x, together=True)
    unit = units[0]
    floor = 8 * float(jnp.finfo(centred.dtype).eps) if floor is None else floor
    # Wide rows: all that varies is in their span, so that the problem is one of [n, n].
    wide = k <= len(x) < x.shape[1]
    basis = jnp.linalg.qr(centred.T)[0] if wide else None
    result = _pca(centred if basis is None else _along(centred, basis), k, floor)
    if basis is not None:
        result = result._replace(
            directions=_along(basis, result.directions),
            whiten=_along(basis, result.whiten),
            colour=_along(result.colour, basis.T),
        )
    most = jnp.finfo(centred.dtype).max
    return result._replace(
        # The sample is centred twice: what is left of its mean is its rounding.
        mean=mean,
        variances=jnp.minimum(jnp.sqrt(result.variances) * unit, most**0.5 * 0.999) ** 2,
        whiten=result.whiten / unit,
        colour=result.colour * unit,
    )


def _along(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision="highest")


def _pca(centred: Array, k: int, floor: float) -> PCA:
    """Of a sample around 0 in a unit of its size."""
    with jax.default_matmul_precision("highest"):
        values, vectors = jnp.linalg.eigh(centred.T @ centred / len(centred))
        directions, variances = vectors[:, ::-1][:, :k], jnp.maximum(values[::-1][:k], 0)
        least = jnp.maximum(floor * variances[0], jnp.finfo(centred.dtype).tiny)
        kept = variances > least
        deviations = jnp.sqrt(jnp.maximum(variances, least))
        whiten = directions / deviations
        white = centred @ whiten
        # The sample's own covariance, near the identity where nothing was floored.
        near = white.T @ white / len(white)
        both = kept[:, None] & kept[None, :]
        values, vectors = jnp.linalg.eigh(jnp.where(both, near, jnp.eye(k, dtype=white.dtype)))
        values = jnp.clip(values, 0.25, 4.0)  # further off is no rounding: a degenerate sample
        turn = lambda power: (vectors * values**power) @ vectors.T
        whiten = whiten @ turn(-0.5)
        colour = turn(0.5) @ (directions * deviations).T
    rank = jnp.sum(kept).astype(jnp.int32)
    mean = jnp.zeros(centred.shape[1], centred.dtype)
    return PCA(mean, directions, variances, whiten, colour, rank)

"""How much of a target a linear map of the features explains."""

import jax
import jax.numpy as jnp

from mmjax.types import Array

_HIGH = jax.lax.Precision.HIGHEST


def _centred(features: Array, mean: Array, scale: Array) -> Array:
    return (features - mean) / scale


def linear_r2(features: Array, targets: Array) -> Array:
    """R2 of ordinary least squares with intercept, fitted on the first half, scored on the second.

    Args:
      features: `[n, f]` float.
      targets: `[n, k]` float; constant targets count as R2 0.

    Returns:
      Scalar: coefficient of determination on the second half, averaged over the k targets. At most
      1; negative where the fit is worse than the mean. k = 0 gives NaN.
    """
    half = features.shape[0] // 2
    mean, scale = features[:half].mean(0), features[:half].std(0)
    scale = jnp.where(scale > 0, scale, 1)
    train, test = (_centred(f, mean, scale) for f in (features[:half], features[half:]))
    target_mean = targets[:half].mean(0)
    # The default cut-off grows with n: 20,000 rows would lose directions 400 times below the top.
    cutoff = 10 * train.shape[1] * jnp.finfo(train.dtype).eps
    weights = jnp.linalg.lstsq(train, targets[:half] - target_mean, rcond=cutoff)[0]
    residual = targets[half:] - target_mean - jnp.matmul(test, weights, precision=_HIGH)
    # By comparison: a constant minus its mean may be rounding error, which is not 0.
    constant = jnp.all(targets[half:] == targets[half : half + 1], axis=0)
    total = jnp.sum((targets[half:] - targets[half:].mean(0)) ** 2, axis=0)
    explained = 1 - jnp.sum(residual**2, axis=0) / jnp.where(constant, 1, total)
    return jnp.mean(jnp.where(constant, 0.0, explained))

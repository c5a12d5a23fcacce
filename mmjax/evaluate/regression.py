"""How much of a target a linear map of the features explains."""

import jax
import jax.numpy as jnp

from mmjax.errors import require
from mmjax.types import Array

_HIGH = jax.lax.Precision.HIGHEST


def halves(values: Array) -> tuple[Array, Array]:
    """First and second half of the rows; the second has the odd one."""
    half = values.shape[0] // 2
    return values[:half], values[half:]


def standardise(fit: Array, score: Array) -> tuple[Array, Array]:
    """Both arrays minus the mean and over the deviation of the first.

    Args:
      fit, score: `[n, f]`, `[m, f]` float.

    Returns:
      `[n, f]`, `[m, f]`; a column that is constant in `fit` is 0 there, and keeps its own scale in
      `score`.
    """
    # By comparison: the deviation of a constant may be rounding error, which is not 0.
    constant = jnp.all(fit == fit[:1], axis=0)
    mean = jnp.where(constant, fit[0], fit.mean(0))
    scale = fit.std(0)
    scale = jnp.where(constant | (scale == 0), 1, scale)
    return (fit - mean) / scale, (score - mean) / scale


def explained(targets: Array, residual: Array) -> Array:
    """Coefficient of determination of every target, given what a prediction leaves of it.

    Args:
      targets: `[n, k]` float.
      residual: `[..., n, k]` float, targets minus predictions.

    Returns:
      `[..., k]`, at most 1: one minus the sum of squares of the residual over that of the targets
      around their mean; 0 for constant targets.
    """
    # By comparison: a constant minus its mean may be rounding error, which is not 0.
    constant = jnp.all(targets == targets[:1], axis=0)
    total = jnp.sum((targets - targets.mean(0)) ** 2, axis=0)
    share = 1 - jnp.sum(residual**2, axis=-2) / jnp.where(constant, 1, total)
    return jnp.where(constant, 0.0, share)


def check_split(fit_x: Array, fit_y: Array, score_x: Array, score_y: Array) -> None:
    """Raises InvalidInput unless rows of features and targets, and both sets' columns, agree."""
    require(fit_x.ndim == 2, "fit_x", fit_x.shape, "two axes, [rows, features]")
    for x, y, name in ((fit_x, fit_y, "fit"), (score_x, score_y, "score")):
        rows = f"as many rows as {name}_x, 1 or more: {x.shape}"
        require(y.shape[:1] == x.shape[:1] and len(y) > 0, f"{name}_y", y.shape, rows)
    for fit, score, name in ((fit_x, score_x, "score_x"), (fit_y, score_y, "score_y")):
        require(score.shape[1:] == fit.shape[1:], name, score.shape, f"columns of {fit.shape}")


def linear_r2_between(fit_x: Array, fit_y: Array, score_x: Array, score_y: Array) -> Array:
    """R2 of ordinary least squares with intercept, fitted on some rows and scored on others.

    Args:
      fit_x, score_x: `[n, f]`, `[m, f]` float features, n and m >= 1.
      fit_y, score_y: `[n, k]`, `[m, k]` float targets; constant targets count as R2 0.

    Returns:
      Scalar: coefficient of determination on the scoring rows, averaged over the k targets. At most
      1; negative where the fit is worse than the mean. k = 0 gives NaN.

    Raises:
      InvalidInput: features and targets differ in rows, the sets in columns, or there are no rows.

    Example:
      >>> import jax
      >>> z = jax.random.normal(jax.random.key(0), (300, 3))
      >>> f = z[:, ::-1] * 4 + 1
      >>> round(float(linear_r2_between(f[:200], z[:200], f[200:], z[200:])), 3)
      1.0
    """
    check_split(fit_x, fit_y, score_x, score_y)
    mean, scale = fit_x.mean(0), fit_x.std(0)
    scale = jnp.where(scale > 0, scale, 1)
    train, test = (fit_x - mean) / scale, (score_x - mean) / scale
    target_mean = fit_y.mean(0)
    # The default cut-off grows with n: 20,000 rows would lose directions 400 times below the top.
    cutoff = 10 * train.shape[1] * jnp.finfo(train.dtype).eps
    weights = jnp.linalg.lstsq(train, fit_y - target_mean, rcond=cutoff)[0]
    residual = score_y - target_mean - jnp.matmul(test, weights, precision=_HIGH)
    return jnp.mean(explained(score_y, residual))


def linear_r2(features: Array, targets: Array) -> Array:
    """R2 of ordinary least squares with intercept, fitted on the first half, scored on the second.

    Args:
      features: `[n, f]` float, n >= 2.
      targets: `[n, k]` float; constant targets count as R2 0.

    Returns:
      Scalar: coefficient of determination on the second half, averaged over the k targets. At most
      1; negative where the fit is worse than the mean. k = 0 gives NaN.
    """
    (fit_x, score_x), (fit_y, score_y) = halves(features), halves(targets)
    return linear_r2_between(fit_x, fit_y, score_x, score_y)

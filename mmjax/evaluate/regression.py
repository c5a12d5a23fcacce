"""How much of a target a linear map of the features explains."""

import jax
import jax.numpy as jnp

from mmjax.errors import require
from mmjax.evaluate.splits import halves
from mmjax.numerics import centred, columns_of, without
from mmjax.types import AnyArray, Array, Key

_HIGH = jax.lax.Precision.HIGHEST


def standardise(fit: AnyArray, score: AnyArray) -> tuple[Array, Array]:
    """Both arrays minus the mean and over the deviation of the first.

    Args:
      fit, score: `[n, f]`, `[m, f]` of any real type.

    Returns:
      `[n, f]`, `[m, f]` float32 (float64 where one is so); a column that is constant in `fit` is 0
      there, and keeps its own scale in `score`; one that is not finite in `fit` is NaN.
    """
    x, others = centred(fit, score)
    scale = jnp.sqrt(jnp.mean(x * x, 0))
    scale = jnp.where(scale == 0, 1, scale)
    return x / scale, others / scale


def explained(targets: Array, residual: Array) -> Array:
    """Coefficient of determination of every target, given what a prediction leaves of it.

    Args:
      targets: `[n, k]` float.
      residual: `[..., n, k]` float, targets minus predictions.

    Returns:
      `[..., k]`, at most 1: one minus the sum of squares of the residual over that of the targets
      around their mean; 0 for constant targets, NaN where something is not finite, and of fewer
      rows than two, which have no mean to be compared with.
    """
    if len(targets) < 2:
        return jnp.full((*residual.shape[:-2], residual.shape[-1]), jnp.nan, residual.dtype)
    columns = columns_of(targets)
    total = jnp.sum(without(columns, targets) ** 2, axis=0)
    left = jnp.sum((residual / columns.unit / columns.spread) ** 2, axis=-2)
    share = 1 - left / jnp.where(total == 0, 1, total)
    share = jnp.where(total == 0, 0.0, share)
    return jnp.where(jnp.isfinite(left), share, jnp.nan)


def check_split(fit_x: AnyArray, fit_y: AnyArray, score_x: AnyArray, score_y: AnyArray) -> None:
    """Raises InvalidInput unless rows of features and targets, and both sets' columns, agree."""
    require(fit_x.ndim == 2, "fit_x", fit_x.shape, "two axes, [rows, features]")
    for x, y, name in ((fit_x, fit_y, "fit"), (score_x, score_y, "score")):
        rows = f"as many rows as {name}_x, 1 or more: {x.shape}"
        require(y.shape[:1] == x.shape[:1] and len(y) > 0, f"{name}_y", y.shape, rows)
    for fit, score, name in ((fit_x, score_x, "score_x"), (fit_y, score_y, "score_y")):
        require(score.shape[1:] == fit.shape[1:], name, score.shape, f"columns of {fit.shape}")


def linear_r2_between(
    fit_x: AnyArray, fit_y: AnyArray, score_x: AnyArray, score_y: AnyArray
) -> Array:
    """R2 of ordinary least squares with intercept, fitted on some rows and scored on others.

    Args:
      fit_x, score_x: `[n, f]`, `[m, f]` features of any real type, n and m >= 1.
      fit_y, score_y: `[n, k]`, `[m, k]` targets; constant targets count as R2 0.

    Returns:
      Scalar: coefficient of determination on the scoring rows, averaged over the k targets. At most
      1; negative where the fit is worse than the mean. k = 0 gives NaN, and so does m = 1.

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
    (train, test), (y, truth) = standardise(fit_x, score_x), centred(fit_y, score_y)
    # The default cut-off grows with n: 20,000 rows would lose directions 400 times below the top.
    cutoff = 10 * train.shape[1] * float(jnp.finfo(train.dtype).eps)
    weights = jnp.linalg.lstsq(train, y, rcond=cutoff)[0]
    residual = truth - jnp.matmul(test, weights, precision=_HIGH)
    return jnp.mean(explained(truth, residual))


def linear_r2(features: AnyArray, targets: AnyArray, split_key: Key | None = None) -> Array:
    """R2 of ordinary least squares with intercept, fitted on half of the rows, scored on the rest.

    Args:
      features: `[n, f]` of any real type, n >= 2.
      targets: `[n, k]`; constant targets count as R2 0.
      split_key: of the halves, see half_rows.

    Returns:
      Scalar: coefficient of determination on the second half, averaged over the k targets. At most
      1; negative where the fit is worse than the mean. k = 0 gives NaN, and so does n = 2, of
      which one row is scored.
    """
    (fit_x, fit_y), (score_x, score_y) = halves((features, targets), split_key)
    return linear_r2_between(fit_x, fit_y, score_x, score_y)

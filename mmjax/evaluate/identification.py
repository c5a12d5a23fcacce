"""Component-wise identification: correlations, matching, mean correlation coefficient."""

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.errors import require
from mmjax.numerics import centred, products_over_rows
from mmjax.types import AnyArray, Array


def spearman_ranks(x: Array) -> Array:
    """`[n, k] -> [n, k]` float ranks along the first axis, from 0; ties get their mean rank.

    Float32 whatever the type of x (float64 where x is so and x64 is on), exact to 2^24 rows. A
    column that is not finite throughout is NaN.
    """
    (x,) = centred(x)  # keeps the order, and apart what float32 would round to one value

    def one(column):
        ordered = jnp.sort(column)
        below = jnp.searchsorted(ordered, column, side="left")
        upto = jnp.searchsorted(ordered, column, side="right")
        # Their sum may be odd, and above what the type holds exactly; each of them is not.
        ranks = below.astype(x.dtype) + 0.5 * (upto - 1 - below).astype(x.dtype)
        return jnp.where(jnp.isnan(column).any(), jnp.nan, ranks)

    return jax.vmap(one, in_axes=1, out_axes=1)(x)


def correlations(latents: Array, features: Array, *, kind: str = "pearson") -> Array:
    """Absolute correlation of every latent with every feature.

    Args:
      latents: `[n, d]` of any real type.
      features: `[n, f]` of any real type.
      kind: pearson or spearman.

    Returns:
      `[d, f]` float32 (float64 where one is so) in [0, 1]; 0 where a column is constant, NaN where
      one is not finite.
    """
    require(kind in ("pearson", "spearman"), "kind", kind, "pearson or spearman")
    if kind == "spearman":
        latents, features = spearman_ranks(latents), spearman_ranks(features)

    def unit(x):
        (x,) = centred(x)
        norm = jnp.sqrt(jnp.sum(x * x, axis=0))
        return x / jnp.where(norm == 0, 1, norm)

    return jnp.clip(jnp.abs(products_over_rows(unit(latents), unit(features))), 0, 1)


def match(correlation: AnyArray) -> tuple[np.ndarray, np.ndarray]:
    """The Hungarian assignment of features to latents that maximises the summed correlation.

    Args:
      correlation: `[d, f]`.

    Returns:
      (latent indices, feature indices), `[min(d, f)]` int each, latents ascending.
    """
    from scipy.optimize import linear_sum_assignment

    finite = np.nan_to_num(np.asarray(correlation, np.float64))
    return linear_sum_assignment(finite, maximize=True)


def rows_lost(correlations: int) -> float:
    """Rows below which the largest of so many correlations of independent variables may be 1."""
    return 2 * np.log(20 * correlations)


def least_mcc_rows(num_latents: int, num_features: int) -> int:
    """Rows below which `mcc` tells nothing: correlations by chance are as large as any.

    Example:
      >>> least_mcc_rows(2, 2)
      9
    """
    return int(rows_lost(num_latents * num_features)) + 1


def mcc(latents: Array, features: Array, *, kind: str = "pearson") -> float:
    """Mean correlation coefficient: 1 where features are latents up to permutation and scale.

    The mean over latents of the absolute correlation with the matched feature; a latent without a
    match (fewer features than latents) counts as 0. NaN where any column is not finite, and of
    fewer rows than three, any two of which correlate by 1; see least_mcc_rows.

    Example:
      >>> import jax
      >>> z = jax.random.normal(jax.random.key(0), (500, 3))
      >>> round(mcc(z, -2 * z[:, ::-1]), 4)
      1.0
    """
    correlation = np.asarray(correlations(latents, features, kind=kind))
    # Matched or not: what is left of a broken run is no score.
    if len(latents) < 3 or np.isnan(correlation).any():
        return float("nan")
    rows, columns = match(correlation)
    return float(correlation[rows, columns].sum() / latents.shape[1])

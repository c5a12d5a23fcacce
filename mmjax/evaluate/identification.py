"""Component-wise identification: correlations, matching, mean correlation coefficient."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy import optimize

from mmjax.errors import require
from mmjax.types import Array


def spearman_ranks(x: Array) -> Array:
    """`[n, k] -> [n, k]` ranks along the first axis, from 0; ties get their mean rank."""

    def one(column):
        ordered = jnp.sort(column)
        below = jnp.searchsorted(ordered, column, side="left")
        upto = jnp.searchsorted(ordered, column, side="right")
        return 0.5 * (below + upto - 1).astype(x.dtype)

    return jax.vmap(one, in_axes=1, out_axes=1)(x)


def correlations(latents: Array, features: Array, *, kind: str = "pearson") -> Array:
    """Absolute correlation of every latent with every feature.

    Args:
      latents: `[n, d]` float.
      features: `[n, f]` float.
      kind: pearson or spearman.

    Returns:
      `[d, f]` in [0, 1]; 0 where a column is constant.
    """
    require(kind in ("pearson", "spearman"), "kind", kind, "pearson or spearman")
    if kind == "spearman":
        latents, features = spearman_ranks(latents), spearman_ranks(features)

    def unit(x):
        # A constant column minus its mean is rounding error, which would correlate with another's.
        constant = jnp.all(x == x[:1], axis=0)
        x = jnp.where(constant, 0, x - x.mean(0))
        norm = jnp.sqrt(jnp.sum(x * x, axis=0))
        return x / jnp.where(norm > 0, norm, 1)

    products = jnp.matmul(unit(latents).T, unit(features), precision=jax.lax.Precision.HIGHEST)
    return jnp.clip(jnp.abs(products), 0, 1)


def match(correlation: Array) -> tuple[np.ndarray, np.ndarray]:
    """The Hungarian assignment of features to latents that maximises the summed correlation.

    Args:
      correlation: `[d, f]`.

    Returns:
      (latent indices, feature indices), `[min(d, f)]` int each, latents ascending.
    """
    finite = np.nan_to_num(np.asarray(correlation, np.float64))
    return optimize.linear_sum_assignment(finite, maximize=True)


def mcc(latents: Array, features: Array, *, kind: str = "pearson") -> float:
    """Mean correlation coefficient: 1 where features are latents up to permutation and scale.

    The mean over latents of the absolute correlation with the matched feature; a latent without a
    match (fewer features than latents) counts as 0.

    Example:
      >>> import jax
      >>> z = jax.random.normal(jax.random.key(0), (500, 3))
      >>> round(mcc(z, -2 * z[:, ::-1]), 4)
      1.0
    """
    correlation = np.asarray(correlations(latents, features, kind=kind))
    rows, columns = match(correlation)
    return float(correlation[rows, columns].sum() / latents.shape[1])

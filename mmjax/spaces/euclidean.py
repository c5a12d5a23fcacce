"""Unbounded Euclidean space."""

import jax.numpy as jnp

from mmjax.errors import require
from mmjax.spaces.base import Space


def euclidean(dim: int) -> Space:
    """R^dim. It has no uniform law: `uniform` is None."""
    require(dim >= 1, "dim", dim, "a whole number >= 1")
    inf = float("inf")
    return Space(
        "euclidean",
        dim,
        -inf,
        inf,
        inf,
        uniform=None,
        project=lambda points: points,
        contains=lambda points: jnp.all(jnp.isfinite(points), axis=-1),
    )

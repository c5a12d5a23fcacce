"""Invertible mixing networks g, with their exact inverse.

As published: square layers with an invertible activation between them (none after the last);
weights uniform in [-1, 1] with unit-norm columns, kept only where the condition number is among the
best 0.1 % of 25,000 draws.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mmjax.errors import choose, require
from mmjax.types import Array, Key, Tree


class Activation(NamedTuple):
    """A strictly increasing function of the reals, and its inverse."""

    forward: Callable[[Array], Array]
    inverse: Callable[[Array], Array]


def _leaky(slope: float) -> Activation:
    return Activation(
        lambda x: jnp.where(x >= 0, x, slope * x), lambda y: jnp.where(y >= 0, y, y / slope)
    )


def _smooth_leaky(slope: float) -> Activation:
    """slope x + (1 - slope) softplus(x): the leaky ReLU with a rounded corner."""

    def forward(x):
        return slope * x + (1 - slope) * jax.nn.softplus(x)

    def inverse(y):
        # Convex and increasing: Newton's steps from a point right of the root go down to it. A
        # line's value is below the function's, so max(y, y / slope) is right of the root.
        def step(_, x):
            return x - (forward(x) - y) / (slope + (1 - slope) * jax.nn.sigmoid(x))

        return jax.lax.fori_loop(0, 25, step, jnp.maximum(y, y / slope))

    return Activation(forward, inverse)


def _identity(slope: float) -> Activation:
    return Activation(lambda x: x, lambda y: y)


ACTIVATIONS = {"leaky_relu": _leaky, "smooth_leaky_relu": _smooth_leaky, "identity": _identity}


class Mixing(NamedTuple):
    """An invertible network as pure functions of its weights.

    Attributes:
      init: `key -> weights [depth, dim, dim]`.
      apply: `(weights, latents [batch, dim]) -> observations [batch, dim]`.
      inverse: `(weights, observations [batch, dim]) -> latents [batch, dim]`.
    """

    init: Callable[[Key], Tree]
    apply: Callable[[Tree, Array], Array]
    inverse: Callable[[Tree, Array], Array]


def well_conditioned(key: Key, dim: int, *, candidates: int, keep: float) -> Array:
    """One `[dim, dim]` matrix with unit columns, drawn among the best conditioned candidates.

    Uniform over the best `max(1, keep * candidates)` of the candidates, which is the published
    acceptance below the empirical quantile of the condition number without its second round of
    draws.
    """
    draw_key, pick_key = jax.random.split(key)
    weights = jax.random.uniform(draw_key, (candidates, dim, dim), minval=-1.0, maxval=1.0)
    weights = weights / jnp.linalg.norm(weights, axis=1, keepdims=True)
    # eigvalsh of W'W orders like the SVD and costs a fraction of it, on every backend.
    squares = jnp.linalg.eigvalsh(jnp.einsum("nij,nik->njk", weights, weights))
    condition = squares[:, -1] / jnp.maximum(squares[:, 0], 1e-12)
    best = max(1, int(keep * candidates))
    chosen = jax.random.randint(pick_key, (), 0, best)
    return weights[jnp.argsort(condition)[chosen]]


def invertible_mlp(
    dim: int,
    *,
    depth: int = 3,
    activation: str = "leaky_relu",
    slope: float = 0.2,
    candidates: int = 25_000,
    keep: float = 1e-3,
) -> Mixing:
    """The published mixing network on dim coordinates.

    Args:
      dim: dimension of latents and of observations, >= 1.
      depth: number of linear layers, >= 1.
      activation: leaky_relu (published), smooth_leaky_relu or identity (a linear mixing).
      slope: slope on the left of the activation, in (0, 1].
      candidates, keep: a layer is drawn among the best `keep * candidates` by condition number.

    Raises InvalidInput for a value out of range.

    Example:
      >>> import jax
      >>> g = invertible_mlp(4, candidates=100)
      >>> weights = g.init(jax.random.key(0))
      >>> z = jax.random.normal(jax.random.key(1), (8, 4))
      >>> bool(abs(g.inverse(weights, g.apply(weights, z)) - z).max() < 1e-4)
      True
    """
    require(dim >= 1, "dim", dim, "a whole number >= 1")
    require(depth >= 1, "mixing_depth", depth, "a whole number >= 1")
    require(0 < slope <= 1, "slope", slope, "a number in (0, 1]")
    require(candidates >= 1, "mixing_candidates", candidates, "a whole number >= 1")
    require(0 < keep <= 1, "keep", keep, "a number in (0, 1]")
    act = choose(ACTIVATIONS, "mixing_activation", activation)(slope)
    high = jax.lax.Precision.HIGHEST

    def init(key):
        # One layer at a time: all the candidates of all layers at once would fill the memory.
        keys = jax.random.split(key, depth)
        draw = lambda k: well_conditioned(k, dim, candidates=candidates, keep=keep)
        return jax.lax.map(draw, keys)

    def apply(weights, latents):
        y = latents
        for k in range(depth):
            y = jnp.matmul(act.forward(y) if k else y, weights[k], precision=high)
        return y

    def inverse(weights, observations):
        y = observations
        for k in reversed(range(depth)):
            y = jnp.linalg.solve(weights[k].T, y.T).T
            y = act.inverse(y) if k else y
        return y

    return Mixing(init, apply, inverse)

"""The latent partial causal model (Liu et al. 2026, Section 3): latents only.

    m_x    z_x --- z_t    m_t          x = g_x(z_x, m_x),  t = g_t(z_t, m_t)

The edge between the coupled latents is undirected. Whatever mechanism stands behind it, each is
one function here: one causes the other, a latent confounder causes both, or every pair has its own.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mmjax.conditionals import Conditional, Marginal
from mmjax.errors import choose, require
from mmjax.types import Key, Latents


def _x_to_t(key: Key, n: int, marginal: Marginal, conditional: Conditional):
    cause_key, effect_key = jax.random.split(key)
    z_x = marginal.sample(cause_key, n)
    return z_x, conditional.sample(effect_key, z_x)


def _t_to_x(key: Key, n: int, marginal: Marginal, conditional: Conditional):
    z_t, z_x = _x_to_t(key, n, marginal, conditional)
    return z_x, z_t


def _confounder(key: Key, n: int, marginal: Marginal, conditional: Conditional):
    confounder_key, x_key, t_key = jax.random.split(key, 3)
    c = marginal.sample(confounder_key, n)
    return conditional.sample(x_key, c), conditional.sample(t_key, c)


def _mixture(key: Key, n: int, marginal: Marginal, conditional: Conditional):
    """Each pair comes from one of the three mechanisms, with equal probability."""
    which_key, *mechanism_keys = jax.random.split(key, 4)
    which = jax.random.randint(which_key, (n, 1), 0, 3)
    draws = [
        edge(mechanism_key, n, marginal, conditional)
        for edge, mechanism_key in zip((_x_to_t, _t_to_x, _confounder), mechanism_keys, strict=True)
    ]
    return tuple(
        jnp.select([which == k for k in range(3)], side) for side in zip(*draws, strict=True)
    )


EDGES = {"x_to_t": _x_to_t, "t_to_x": _t_to_x, "confounder": _confounder, "mixture": _mixture}


class PartialCausalModel(NamedTuple):
    """A latent partial causal model.

    Attributes:
      sample: `(key, n) -> Latents` of n independent pairs.
      dim: dimension of z_x and of z_t.
      private_dim: dimension of m_x and of m_t.
    """

    sample: Callable[[Key, int], Latents]
    dim: int
    private_dim: int


def partial_causal_model(
    marginal: Marginal,
    conditional: Conditional,
    *,
    dim: int,
    private_dim: int,
    edge: str = "x_to_t",
) -> PartialCausalModel:
    """The model with p(z) = marginal, coupled by the conditional; m_x, m_t ~ N(0, I).

    Args:
      marginal: law of the cause (of the confounder, where the edge is one).
      conditional: law of an effect given its cause.
      dim: dimension of the coupled latents, >= 1.
      private_dim: dimension of each private block, >= 0.
      edge: x_to_t, t_to_x, confounder or mixture (each pair one of the three).

    Raises InvalidInput for an unknown edge or a dimension out of range.

    Example:
      >>> import jax
      >>> from mmjax.conditionals import make_conditional, make_marginal
      >>> from mmjax.spaces import sphere
      >>> coupling = make_conditional("vmf", sphere(3), kappa=10.0, scale=0.1)
      >>> prior = make_marginal("uniform", sphere(3), scale=0.1)
      >>> model = partial_causal_model(prior, coupling, dim=3, private_dim=2)
      >>> [block.shape for block in model.sample(jax.random.key(0), 5)]
      [(5, 3), (5, 3), (5, 2), (5, 2)]
    """
    couple = choose(EDGES, "edge", edge)
    require(dim >= 1, "dim", dim, "a whole number >= 1")
    require(private_dim >= 0, "private_dim", private_dim, "a whole number >= 0")

    def sample(key: Key, n: int) -> Latents:
        coupled_key, m_x_key, m_t_key = jax.random.split(key, 3)
        z_x, z_t = couple(coupled_key, n, marginal, conditional)
        return Latents(
            z_x=z_x,
            z_t=z_t,
            m_x=jax.random.normal(m_x_key, (n, private_dim), z_x.dtype),
            m_t=jax.random.normal(m_t_key, (n, private_dim), z_t.dtype),
        )

    return PartialCausalModel(sample, dim, private_dim)


__all__ = ["EDGES", "PartialCausalModel", "partial_causal_model"]

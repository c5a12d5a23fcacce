"""The values that travel between layers."""

from typing import Any, NamedTuple

import jax

Array = jax.Array
Key = jax.Array  # a typed PRNG key, from jax.random.key; consumed once
Tree = Any  # a pytree of arrays: parameters, optimiser states


class Latents(NamedTuple):
    """Ground-truth latents of a batch of pairs (Liu et al. 2026, Section 3).

    Attributes:
      z_x: `[batch, dim]` coupled latents of the first modality.
      z_t: `[batch, dim]` coupled latents of the second modality.
      m_x: `[batch, private]` private latents of the first modality (private may be 0).
      m_t: `[batch, private]` private latents of the second modality.
    """

    z_x: Array
    z_t: Array
    m_x: Array
    m_t: Array


class Pair(NamedTuple):
    """Two aligned arrays, `[batch, ...]` each: observations, embeddings or parameters."""

    x: Array
    t: Array

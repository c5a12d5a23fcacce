"""Critics: networks that score pairs."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp

from mmjax.errors import require
from mmjax.types import Array, Key, Tree


class PairCritic(NamedTuple):
    """A network of pairs as pure functions of its parameters.

    Attributes:
      init: `(key, dim_a, dim_b) -> params`.
      score: `(params, a [n, dim_a], b [m, dim_b]) -> [n, m]`, the scores of all pairs.
    """

    init: Callable[[Key, int, int], Tree]
    score: Callable[[Tree, Array, Array], Array]


class _Concatenated(nn.Module):
    hidden: int
    layers: int

    @nn.compact
    def __call__(self, a, b):
        # A linear map of [a, b] side by side is the sum of one of a and one of b: the n m pairs
        # are first made after it.
        first = nn.Dense(self.hidden, name="of_first")(a)
        second = nn.Dense(self.hidden, use_bias=False, name="of_second")(b)
        pairs = nn.relu(first[:, None] + second[None])
        for k in range(self.layers - 1):
            pairs = nn.relu(nn.Dense(self.hidden, name=f"linear_{k}")(pairs))
        return nn.Dense(1, name="score")(pairs)[..., 0]


def concatenated_critic(hidden: int = 512, layers: int = 1) -> PairCritic:
    """An MLP of the two side by side, as FactorCL's (Liang et al. 2023); O(n m hidden) memory.

    Args:
      hidden: width.
      layers: hidden ones.

    Raises InvalidInput for a value below 1.

    Example:
      >>> import jax
      >>> critic = concatenated_critic(8)
      >>> params = critic.init(jax.random.key(0), 3, 4)
      >>> critic.score(params, jnp.ones((5, 3)), jnp.ones((6, 4))).shape
      (5, 6)
    """
    require(hidden >= 1, "hidden", hidden, "a whole number >= 1")
    require(layers >= 1, "layers", layers, "a whole number >= 1")
    net = _Concatenated(hidden, layers)

    def init(key, dim_a, dim_b):
        return net.init(key, jnp.zeros((1, dim_a)), jnp.zeros((1, dim_b)))["params"]

    def score(params: Tree, a: Array, b: Array) -> Any:  # linen may return a state beside it
        return net.apply({"params": params}, a, b)

    return PairCritic(init, score)

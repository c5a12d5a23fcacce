"""What an encoder is."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from mmjax.types import Array, Key, Tree


class Encoder(NamedTuple):
    """A network as pure functions of its parameters.

    Statistics are what a network keeps without learning it by gradients: running moments of batch
    norm. Networks that keep none have an empty dict.

    Attributes:
      init: `(key, shape of one observation) -> (parameters, statistics)`.
      apply: `(parameters, statistics, observations [batch, ...]) -> [batch, out]`, evaluation.
      forward: `(parameters, statistics, observations, key, gather) -> ([batch, out], statistics)`,
        training: dropout is drawn from the key, batch moments are taken over all devices (`gather`
        concatenates over them, see mmjax.losses.info_nce) and the statistics move towards them.
    """

    init: Callable[[Key, Sequence[int]], tuple[Tree, Tree]]
    apply: Callable[[Tree, Tree, Array], Array]
    forward: Callable[[Tree, Tree, Array, Key, Callable], tuple[Array, Tree]]


def from_module(net: nn.Module, dtype: DTypeLike = jnp.float32) -> Encoder:
    """The encoder of a linen module `net(x, train=..., gather=...)`.

    Collection `params` is trained, `batch_stats` are the statistics; random numbers are drawn from
    `dropout`. The parameters are made on zeros of that dtype: int32 for a network of tokens.
    """

    def init(key, shape):
        variables = net.init(key, jnp.zeros((1, *shape), dtype), train=False)
        return variables["params"], variables.get("batch_stats", {})

    def apply(params, statistics, observations):
        return net.apply({"params": params, "batch_stats": statistics}, observations, train=False)

    def forward(params, statistics, observations, key, gather):
        out, changed = net.apply(
            {"params": params, "batch_stats": statistics},
            observations,
            train=True,
            gather=gather,
            rngs={"dropout": key},
            mutable=["batch_stats"],
        )
        return out, changed.get("batch_stats", {})

    return Encoder(init, apply, forward)

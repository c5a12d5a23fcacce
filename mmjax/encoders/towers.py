"""Two encoders side by side, each with a selection of dimensions and a head."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mmjax.encoders.base import Encoder
from mmjax.encoders.heads import Head
from mmjax.errors import require
from mmjax.types import Array, Key, Pair, Tree


class Towers(NamedTuple):
    """A pair of encoders as pure functions of shared parameters.

    Attributes:
      init: `(key, Pair of observation dims) -> params`, a dict of Pairs (encoders, select, heads)
        and, where it is learned, log_temperature.
      raw: `(params, Pair of [batch, observation_dim], key) -> Pair of [batch, width]`, before
        selection and head. With a key the encoders train (dropout).
      embed: the same with selection and head: `Pair of [batch, embedding_dim]`.
      embed_side: `(params, side, [batch, observation_dim], key)`, one side (x or t) of embed.
      temperature: `params -> scalar`.
    """

    init: Callable[[Key, Pair], Tree]
    raw: Callable[[Tree, Pair, Key | None], Pair]
    embed: Callable[[Tree, Pair, Key | None], Pair]
    embed_side: Callable[[Tree, str, Array, Key | None], Array]
    temperature: Callable[[Tree], Array | float]


def two_towers(
    encoder: Encoder,
    head: Head,
    *,
    embedding_dim: int,
    spare_dims: int = 0,
    temperature: float,
    learn_temperature: bool = False,
) -> Towers:
    """Towers of one kind of encoder and head for either modality, with parameters of their own.

    Args:
      encoder: its output has embedding_dim + spare_dims dimensions.
      head: space of the embeddings.
      embedding_dim: dimension of the embeddings.
      spare_dims: further dimensions of the encoders, which a linear selection maps away; with 0
        there is no selection.
      temperature: of the loss, > 0; its start where it is learned.
      learn_temperature: whether parameters include its logarithm.
    """
    require(spare_dims >= 0, "spare_dims", spare_dims, "a whole number >= 0")
    width = embedding_dim + spare_dims

    def init(key, dims):
        keys = Pair(*jax.random.split(key))
        both = lambda make: Pair(make(), make())
        params = {
            "encoders": Pair(*(encoder.init(k, n) for k, n in zip(keys, dims, strict=True))),
            "heads": both(lambda: head.init(embedding_dim)),
        }
        if spare_dims:
            first = lambda: {
                "kernel": jnp.eye(width, embedding_dim),
                "bias": jnp.zeros(embedding_dim),
            }
            params["select"] = both(first)
        if learn_temperature:
            params["log_temperature"] = jnp.log(jnp.float32(temperature))
        return params

    def raw_side(params, side, observations, key=None):
        return encoder.apply(getattr(params["encoders"], side), observations, key)

    def embed_side(params, side, observations, key=None):
        e = raw_side(params, side, observations, key)
        if spare_dims:
            # Chosen once, not trained: the encoder's last layer can undo any of it, and a large
            # step on these few weights would throw away what was chosen.
            select = jax.lax.stop_gradient(getattr(params["select"], side))
            e = e @ select["kernel"] + select["bias"]
        return head.apply(getattr(params["heads"], side), e)

    def on_both(one):
        def both(params, pair, key=None):
            keys = (None, None) if key is None else jax.random.split(key)
            return Pair(one(params, "x", pair.x, keys[0]), one(params, "t", pair.t, keys[1]))

        return both

    def current_temperature(params):
        return jnp.exp(params["log_temperature"]) if learn_temperature else temperature

    return Towers(init, on_both(raw_side), on_both(embed_side), embed_side, current_temperature)

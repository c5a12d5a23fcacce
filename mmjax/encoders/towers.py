"""Two encoders side by side, each with a selection of dimensions and a head."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mmjax.encoders.base import Encoder
from mmjax.encoders.heads import Head
from mmjax.errors import require
from mmjax.types import Array, Key, Pair, Tree


class Towers(NamedTuple):
    """A pair of encoders as pure functions of one dict of parameters.

    Attributes:
      init: `(key, Pair of observation shapes) -> params`, a dict of Pairs (encoders, statistics,
        select, heads).
      raw: `(params, Pair of observations [batch, ...]) -> Pair of [batch, width]`, before selection
        and head.
      embed: the same with selection and head: `Pair of [batch, embedding_dim]`.
      embed_side: `(params, side, observations)`, one side (x or t) of embed.
      forward: `(params, Pair, key, gather) -> (Pair of embeddings, {"statistics": ...})`, embed in
        training (dropout, batch moments; see Encoder), and what replaces entries of params.
    """

    init: Callable[[Key, Pair], Tree]
    raw: Callable[[Tree, Pair], Pair]
    embed: Callable[[Tree, Pair], Pair]
    embed_side: Callable[[Tree, str, Array], Array]
    forward: Callable[[Tree, Pair, Key, Callable], tuple[Pair, Tree]]


def two_towers(
    encoders: tuple[Encoder, Encoder],
    head: Head,
    *,
    embedding_dim: int,
    spare_dims: int = 0,
    shared: bool = False,
) -> Towers:
    """Towers with parameters of their own, or shared ones.

    Args:
      encoders: of x and t; their outputs have embedding_dim + spare_dims dimensions.
      head: space of the embeddings.
      embedding_dim: dimension of the embeddings.
      spare_dims: further dimensions of the encoders, which a linear selection maps away; with 0
        there is no selection.
      shared: one encoder (that of x) with one head sees both modalities, as two views.

    Raises InvalidInput for a negative number of spare_dims.
    """
    require(spare_dims >= 0, "spare_dims", spare_dims, "a whole number >= 0")
    width = embedding_dim + spare_dims
    side_of = (lambda side: "x") if shared else (lambda side: side)
    networks = dict(zip("xt", encoders, strict=True))

    def init(key, shapes):
        keys = Pair(*jax.random.split(key))
        made = [e.init(k, s) for e, k, s in zip(encoders, keys, shapes, strict=True)]
        both = lambda make: Pair[Any](make(), None if shared else make())
        if shared:
            made[1] = (None, None)
        params = {
            "encoders": Pair(*(network for network, _ in made)),
            "statistics": Pair(*(statistics for _, statistics in made)),
            "heads": both(lambda: head.init(embedding_dim)),
        }
        if spare_dims:
            first = lambda: {
                "kernel": jnp.eye(width, embedding_dim),
                "bias": jnp.zeros(embedding_dim),
            }
            params["select"] = both(first)
        return params

    def of(params, part, side):
        return getattr(params[part], side_of(side))

    def finish(params, side, e):
        if spare_dims:
            # Chosen once, not trained: the encoder's last layer can undo any of it, and a large
            # step on these few weights would throw away what was chosen.
            select = jax.lax.stop_gradient(of(params, "select", side))
            e = e @ select["kernel"] + select["bias"]
        return head.apply(of(params, "heads", side), e)

    def raw_side(params, side, observations):
        return networks[side_of(side)].apply(
            of(params, "encoders", side), of(params, "statistics", side), observations
        )

    def raw(params, pair):
        return Pair(raw_side(params, "x", pair.x), raw_side(params, "t", pair.t))

    def embed_side(params, side, observations):
        return finish(params, side, raw_side(params, side, observations))

    def embed(params, pair):
        return Pair(embed_side(params, "x", pair.x), embed_side(params, "t", pair.t))

    def forward(params, pair, key, gather):
        seen, statistics = [], params["statistics"]
        for side, side_key in zip(("x", "t"), jax.random.split(key), strict=True):
            e, changed = networks[side_of(side)].forward(
                of(params, "encoders", side),
                getattr(statistics, side_of(side)),  # of shared ones, as the first view left them
                getattr(pair, side),
                side_key,
                gather,
            )
            statistics = statistics._replace(**{side_of(side): changed})
            seen.append(finish(params, side, e))
        return Pair(*seen), {"statistics": jax.lax.stop_gradient(statistics)}

    return Towers(init, raw, embed, embed_side, forward)

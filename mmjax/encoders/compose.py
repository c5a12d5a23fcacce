"""Encoders made of encoders: one behind another, behind a fixed map, over the mean of tokens."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from mmjax.encoders.base import Encoder
from mmjax.types import Array


def before(change: Callable[[Array], Array], encoder: Encoder) -> Encoder:
    """The encoder of `change(observations)`, where change is pure: `[n, ...] -> [n, ...]`."""

    def init(key, shape):
        seen = jax.eval_shape(change, jax.ShapeDtypeStruct((1, *shape), jnp.float32))
        return encoder.init(key, seen.shape[1:])

    return Encoder(
        init,
        lambda params, statistics, seen: encoder.apply(params, statistics, change(seen)),
        lambda params, statistics, seen, *options: encoder.forward(
            params, statistics, change(seen), *options
        ),
    )


def chained(
    body: Encoder, head: Encoder, *, frozen: bool = False, dtype: Any = jnp.float32
) -> Encoder:
    """The head of the body's embeddings: `{"body": .., "head": ..}` of parameters and statistics.

    Args:
      body: observations `[batch, ...]` -> `[batch, ...]`.
      head: `[batch, ...] -> [batch, out]`.
      frozen: the body is used in evaluation, and no gradient reaches its parameters.
      dtype: of the observations: int32 for tokens.
    """

    def init(key, shape):
        body_key, head_key = jax.random.split(key)
        params, statistics = body.init(body_key, shape)
        seen = jax.ShapeDtypeStruct((1, *shape), dtype)
        middle = jax.eval_shape(body.apply, params, statistics, seen).shape[1:]
        head_params, head_statistics = head.init(head_key, middle)
        both = lambda first, last: {"body": first, "head": last}
        return both(params, head_params), both(statistics, head_statistics)

    def apply(params, statistics, seen):
        middle = body.apply(params["body"], statistics["body"], seen)
        return head.apply(params["head"], statistics["head"], middle)

    def forward(params, statistics, seen, key, gather):
        body_key, head_key = jax.random.split(key)
        if frozen:
            still = jax.lax.stop_gradient(params["body"])
            middle, changed = body.apply(still, statistics["body"], seen), statistics["body"]
        else:
            middle, changed = body.forward(
                params["body"], statistics["body"], seen, body_key, gather
            )
        out, head_changed = head.forward(
            params["head"], statistics["head"], middle, head_key, gather
        )
        return out, {"body": changed, "head": head_changed}

    return Encoder(init, apply, forward)


def averaged(encoder: Encoder) -> Encoder:
    """The mean of the tokens that are seen, `[batch, width]`; 0 where none is.

    Args:
      encoder: its embeddings are Padded.
    """

    def mean(tokens: Any) -> Array:
        seen = tokens.seen[..., None].astype(tokens.values.dtype)
        return jnp.sum(tokens.values * seen, 1) / jnp.maximum(jnp.sum(seen, 1), 1)

    def forward(*inputs):
        tokens, statistics = encoder.forward(*inputs)
        return mean(tokens), statistics

    return Encoder(encoder.init, lambda *options: mean(encoder.apply(*options)), forward)

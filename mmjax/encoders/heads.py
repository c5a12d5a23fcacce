"""Heads: where the embedding lives. The last map of an encoder, with its own parameters."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mmjax.errors import choose
from mmjax.numerics import normalise
from mmjax.types import Array, Tree


class Head(NamedTuple):
    """A map onto the space of the embeddings.

    Attributes:
      init: `dim -> parameters` (an empty tuple where there are none).
      apply: `(parameters, [batch, dim]) -> [batch, dim]`.
    """

    init: Callable[[int], Tree]
    apply: Callable[[Tree, Array], Array]


def no_head() -> Head:
    """Unbounded embeddings."""
    return Head(lambda dim: (), lambda params, e: e)


def sphere_head() -> Head:
    """Unit vectors; the zero vector stays zero."""
    return Head(lambda dim: (), lambda params, e: normalise(e))


def box_head() -> Head:
    """A hyper-rectangle with learned sides: centre_i + exp(log_side_i) (sigmoid(e_i) - 1/2)."""

    def init(dim):
        return {"centre": jnp.zeros(dim), "log_side": jnp.zeros(dim)}

    def apply(params, e):
        return params["centre"] + jnp.exp(params["log_side"]) * (jax.nn.sigmoid(e) - 0.5)

    return Head(init, apply)


HEADS = {"none": no_head, "sphere": sphere_head, "box": box_head}


def make_head(name: str) -> Head:
    """The head of that name; raises InvalidInput for an unknown one."""
    return choose(HEADS, "head", name)()

"""What an encoder is."""

from collections.abc import Callable
from typing import NamedTuple

from mmjax.types import Array, Key, Tree


class Encoder(NamedTuple):
    """A network as pure functions of its parameters.

    Attributes:
      init: `(key, observation_dim) -> parameters`.
      apply: `(parameters, observations [batch, observation_dim], key) -> [batch, out]`. With a key
        the network trains (dropout is drawn from it); with None it evaluates.
    """

    init: Callable[[Key, int], Tree]
    apply: Callable[[Tree, Array, Key | None], Array]

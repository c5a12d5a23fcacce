"""What a net is: a recipe of an encoder, that can be written down."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

from mmjax.encoders import Encoder
from mmjax.errors import InvalidInput, require
from mmjax.types import Tree


class Observed(NamedTuple):
    """What is known of a modality before its net is made.

    Attributes:
      shape: of one observation: (features,), (length, features), (height, width, channels), or
        (length,) of tokens.
      vocabulary_size: number of tokens, padding included; 0 where there are none.
    """

    shape: tuple[int, ...]
    vocabulary_size: int = 0

    @property
    def length(self) -> int:
        """Steps of a sequence, tokens of a text."""
        return self.shape[0]


def all_trained(params: Tree) -> Tree:
    """True for every parameter."""
    return jax.tree.map(lambda _: True, params)


class Net(NamedTuple):
    """A recipe of an encoder.

    Encoders see float32: images in [0, 1], features and sequences standardised; or int32 tokens.

    Attributes:
      name: in mmjax.nets.NETS; empty for a user's own function.
      options: that make it again: `net_from_json(name, options)`; of JSON's types alone. Of a
        user's own: {"function": its qualified name}.
      make: `(out, observed) -> Encoder` with embeddings `[batch, out]`.
      trained: `params of the encoder -> tree of bool`, False for what stays as it was read.
      parts: `(out, observed) -> (frozen encoder, head)`, of a net whose encoder is
        `chained(frozen encoder, head)`: the frozen embeddings can be computed once. Else None.
      tokenizer: the Tokenizer that a net of text came with (see mmjax.nets.tokens), else None. It
        is no part of the options.
    """

    name: str
    options: Mapping[str, Any]
    make: Callable[[int, Observed], Encoder]
    trained: Callable[[Tree], Tree] = all_trained
    parts: Callable[[int, Observed], tuple[Encoder, Encoder]] | None = None
    tokenizer: Any = None

    def __reduce__(self) -> tuple:
        """Pickled and copied as its recipe; a user's own as its function, if that can be."""
        if not self.name:
            return Net, tuple(self)
        from mmjax.nets.table import unpickled  # it makes nets of this room

        tokens = self.tokenizer.to_json() if self.tokenizer else None
        return unpickled, (self.name, dict(self.options), tokens)


Given = Net | Encoder | Callable[..., Encoder]  # what a user may give as a net


def of_function(make: Callable[..., Encoder], name: str = "") -> Net:
    """The net of a user's own function. It can't be saved: to load a model it is given again.

    Args:
      make: `out -> Encoder`, or `(out, observed) -> Encoder`.
      name: how errors and saved models call it; empty: its module and qualified name.

    Example:
      >>> from mmjax.encoders import mlp
      >>> net = of_function(lambda out: mlp((32,), out), "small")
      >>> net.name, net.options
      ('', {'function': 'small'})
    """
    shown = name or _qualified(make)
    more = _takes_observed(make)

    def made(out: int, observed: Observed) -> Encoder:
        encoder = make(out, observed) if more else make(out)
        good = isinstance(encoder, Encoder)
        require(good, f"net {shown}", type(encoder).__name__, "a function that returns an Encoder")
        return encoder

    return Net("", {"function": shown}, made)


def as_net(value: Given, modality: str) -> Net:
    """A net of whatever a user gives for a modality.

    Args:
      value: a Net; a function `out -> Encoder` or `(out, observed) -> Encoder`; or an Encoder,
        whose output must then have the dimension that is asked for.
      modality: its name, for errors.

    Raises InvalidInput for anything else.
    """
    if isinstance(value, Net):
        return value
    if isinstance(value, Encoder):
        return of_function(lambda out: value, _qualified(value.init))
    if not callable(value):
        raise InvalidInput(
            f"net of {modality}: {type(value).__name__} is not allowed; use a Net, an Encoder or a "
            "function out -> Encoder"
        )
    return of_function(value)


def _qualified(function: Callable) -> str:
    inner = getattr(function, "func", function)  # of a partial
    name = getattr(inner, "__qualname__", type(inner).__qualname__)
    return f"{getattr(inner, '__module__', '')}.{name}"


def _takes_observed(function: Callable) -> bool:
    """Whether it wants a second argument: two places without a default."""
    try:
        places = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    wanted = [
        p
        for p in places
        if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    return len(wanted) >= 2

"""Nets of features, sequences, images and texts."""

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp

from mmjax import encoders
from mmjax.encoders import Encoder
from mmjax.errors import choose, require
from mmjax.nets.base import Net, Observed
from mmjax.types import Array

_GREY = 0.5, 0.25  # mean and deviation that pixels are standardised by
_SMALL = 24  # side of images below which patches have 2 pixels


def _flat(values: Array) -> Array:
    return values.reshape(len(values), -1)


def mlp(hidden: Sequence[int] = (512, 256), dropout: float = 0.2, input_noise: float = 0.3) -> Net:
    """A multi-layer perceptron of all values of an observation; see mmjax.encoders.mlp.

    Args:
      hidden: widths of the hidden layers.
      dropout: share of hidden units dropped in training, in [0, 1).
      input_noise: standard deviation of noise added in training, in units of the features'.

    Raises InvalidInput for a value out of range.
    """
    options: dict[str, Any] = dict(dropout=dropout, input_noise=input_noise)
    encoders.mlp(hidden, 1, **options)  # checks
    make = lambda out, observed: encoders.before(_flat, encoders.mlp(hidden, out, **options))
    return Net("mlp", {"hidden": list(hidden), **options}, make)


def linear() -> Net:
    """A linear map of all values of an observation, with a bias."""
    make = lambda out, observed: encoders.before(_flat, encoders.mlp((), out))
    return Net("linear", {}, make)


def as_is() -> Net:
    """Features that are embeddings already: nothing is learned.

    The encoder can only be made for as many dimensions as there are features; InvalidInput else.
    """

    def make(out: int, observed: Observed) -> Encoder:
        allowed = f"({out},), for an embedding of {out} dimensions as it is"
        require(observed.shape == (out,), "shape of the features", observed.shape, allowed)
        return encoders.as_is()

    return Net("as_is", {}, make)


def transformer(
    width: int = 64,
    layers: int = 2,
    heads: int = 4,
    dropout: float = 0.0,
    positions: bool = True,
) -> Net:
    """A transformer over the steps of a sequence, the mean over those that are seen, a linear map.

    Observations are `[batch, length, features]` or mmjax.encoders.Padded; padding has no influence.

    Args:
      width, layers, heads, dropout: see mmjax.encoders.transformer_sequence.
      positions: whether steps have a learned vector each; else they are a set.

    Raises InvalidInput for a value out of range, and with positions in use for sequences longer
    than the net was made for.
    """
    options: dict[str, Any] = dict(hidden=4 * width, dropout=dropout)
    encoders.transformer_sequence(width, layers, heads, **options)  # checks

    def make(out: int, observed: Observed) -> Encoder:
        places = observed.length if positions else 0
        steps = encoders.transformer_sequence(width, layers, heads, places, **options)
        return encoders.chained(encoders.averaged(steps), encoders.mlp((), out))

    sizes = dict(width=width, layers=layers, heads=heads, dropout=dropout, positions=positions)
    return Net("transformer", sizes, make)


def _of_images(net: Callable[..., Encoder], shape: Sequence[int], patch: int) -> Encoder:
    """Grey standardisation of any number of channels; sides filled up to multiples of a patch."""
    height, width, channels = shape
    grey = {k: (v,) * channels for k, v in zip(("mean", "std"), _GREY, strict=True)}
    made = net(**grey)
    more = [(0, -side % patch) for side in (height, width)]
    if not any(end for _, end in more):
        return made
    return encoders.before(lambda x: jnp.pad(x, ((0, 0), *more, (0, 0)), mode="edge"), made)


def _patch(shape: Sequence[int]) -> int:
    return 4 if min(shape[:2]) >= _SMALL else 2


def convnet(stem_width: int = 32, widths: Sequence[int] = (64, 128), hidden: int = 100) -> Net:
    """A plain convolutional network for small images; see mmjax.encoders.small_convnet.

    Images are float `[batch, h, w, c]` in [0, 1] of one size, any number of channels. Patches have
    4 pixels a side, 2 where a side has fewer than 24; edges are repeated up to whole patches.

    Args:
      stem_width: channels of the patches.
      widths: channels of the stages, each of stride 2.
      hidden: width of the layer before the last.

    Raises InvalidInput for a value out of range.
    """
    options: dict[str, Any] = dict(stem_width=stem_width, widths=tuple(widths), hidden=hidden)
    encoders.small_convnet(1, **options)  # checks

    def make(out: int, observed: Observed) -> Encoder:
        patch = _patch(observed.shape)
        net = lambda **grey: encoders.small_convnet(out, patch=patch, **options, **grey)
        return _of_images(net, observed.shape, patch)

    return Net("convnet", {**options, "widths": list(widths)}, make)


def resnet(kind: str = "narrow", hidden: int = 100) -> Net:
    """A residual network of images `[batch, h, w, c]` in [0, 1], any number of channels.

    Args:
      kind: narrow, one that trains on a CPU (see mmjax.encoders.narrow_resnet; patches as in
        convnet); or 18, ResNet-18, with the stem for small images up to 64 pixels.
      hidden: width of the layer before the last.

    Raises InvalidInput for a value out of range.
    """
    choose(_RESNETS, "kind", kind)
    encoders.narrow_resnet(1, hidden=hidden)  # checks
    make = lambda out, observed: _RESNETS[kind](out, observed.shape, hidden)
    return Net("resnet", {"kind": kind, "hidden": hidden}, make)


def _narrow(out: int, shape: Sequence[int], hidden: int) -> Encoder:
    patch = _patch(shape)
    net = lambda **grey: encoders.narrow_resnet(out, patch=patch, hidden=hidden, **grey)
    return _of_images(net, shape, patch)


def _resnet18(out: int, shape: Sequence[int], hidden: int) -> Encoder:
    stem = "imagenet" if min(shape[:2]) > 64 else "small"
    net = lambda **grey: encoders.resnet18(out, stem=stem, hidden=hidden, **grey)
    return _of_images(net, shape, 1)


_RESNETS = {"narrow": _narrow, "18": _resnet18}


def text_transformer(
    width: int = 128, layers: int = 2, heads: int = 4, dropout: float = 0.0
) -> Net:
    """A transformer over the tokens of a text, and their mean; see mmjax.encoders.text_transformer.

    Token 0 is padding. Vocabulary and length are those of the tokenizer (see Observed).

    Args:
      width, layers, heads, dropout: see mmjax.encoders.text_transformer.

    Raises InvalidInput for a value out of range, and where the observed are no tokens.
    """
    options: dict[str, Any] = dict(width=width, layers=layers, heads=heads, dropout=dropout)
    encoders.text_transformer(1, 1, 1, **options)  # checks

    def make(out: int, observed: Observed) -> Encoder:
        size = observed.vocabulary_size
        require(size >= 1, "text_transformer of a vocabulary of", size, "it for text alone")
        return encoders.text_transformer(out, size, observed.length, **options)

    return Net("text_transformer", options, make)

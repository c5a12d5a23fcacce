"""Networks of sentences: the published convolutions and a transformer."""

import flax.linen as nn
import jax.numpy as jnp

from mmjax.encoders.base import Encoder, from_module
from mmjax.encoders.convolution import convolved
from mmjax.encoders.norm import BatchNorm
from mmjax.errors import require
from mmjax.types import Array

PAD = 0  # the token behind a sentence's end


def _check_tokens(tokens: Array, longest: int | None = None) -> None:
    require(tokens.ndim == 2, "tokens", tokens.shape, "[batch, length]")
    whole = jnp.issubdtype(tokens.dtype, jnp.integer)
    require(whole, "tokens", str(tokens.dtype), "whole numbers, 0 is padding")
    if longest is not None:
        require(tokens.shape[1] <= longest, "tokens", tokens.shape, f"a length of 1 to {longest}")


def _check_sizes(out: int, vocabulary_size: int, **sizes: int) -> None:
    require(out >= 1, "embedding_dim", out, "a whole number >= 1")
    require(vocabulary_size >= 1, "vocabulary_size", vocabulary_size, "a whole number >= 1")
    for name, value in sizes.items():
        require(value >= 1, name, value, "a whole number >= 1")


class _TextConvnet(nn.Module):
    out: int
    vocabulary_size: int
    width: int
    channels: int

    @nn.compact
    def __call__(self, tokens, *, train: bool, gather=None):
        _check_tokens(tokens)
        require(tokens.shape[1] >= 8, "tokens", tokens.shape, "a length >= 8")
        # A table of rows is the linear map of one-hot tokens; its bias would be in every row.
        x = nn.Embed(self.vocabulary_size, self.width)(tokens)[..., None]
        he = nn.initializers.he_normal()
        for k in range(3):
            width = self.channels * 2**k
            # No bias: the batch norm would take it away.
            x = nn.Conv(
                width,
                (4, 4),
                2,
                padding=1,
                use_bias=False,
                kernel_init=he,
                conv_general_dilated=convolved,
            )(x)
            x = nn.relu(BatchNorm()(x, train=train, gather=gather))
        return nn.Dense(self.out)(x.reshape(x.shape[0], -1))


def text_convnet(
    out: int, vocabulary_size: int, *, width: int = 128, channels: int = 25
) -> Encoder:
    """The text network of Daunhawer et al. 2023: a sentence as an image of one channel.

    Tokens -> linear, an image `[length, width]` -> three 4x4 convolutions of stride 2 and padding 1
    with channels, 2 channels and 4 channels, each with batch norm over all devices and ReLU ->
    flattened -> linear. Published are width 128, 25 channels and lengths of 24 to 31; here any
    length >= 8 that init and use share. Padding is a token like any other.

    Tokens are int32 `[batch, length]` in 0 to vocabulary_size - 1; a larger one gives NaN. Two
    biases that change nothing are left out: of the first linear map (it's in every row) and of the
    convolutions (batch norm subtracts it).

    Args:
      out: dimension of the embedding.
      vocabulary_size: number of tokens, padding included.
      width: of the vectors of tokens, >= 8.
      channels: of the first convolution.

    Raises InvalidInput for a value out of range, and in use for tokens of another shape or type.

    Example:
      >>> import jax
      >>> encoder = text_convnet(4, 100)
      >>> make = lambda key: encoder.init(key, (26,))
      >>> params, statistics = jax.eval_shape(make, jax.random.key(0))  # traced, not run
      >>> tokens = jax.ShapeDtypeStruct((2, 26), "int32")
      >>> jax.eval_shape(encoder.apply, params, statistics, tokens).shape
      (2, 4)
    """
    _check_sizes(out, vocabulary_size, channels=channels)
    require(width >= 8, "width", width, "a whole number >= 8")
    return from_module(_TextConvnet(out, vocabulary_size, width, channels), jnp.int32)


class _Layer(nn.Module):
    """Attention and an MLP of four times the width, each behind a layer norm (pre-norm)."""

    heads: int
    dropout: float

    @nn.compact
    def __call__(self, x, seen, *, train: bool):
        drop = lambda x: nn.Dropout(self.dropout, deterministic=not train)(x)
        attend = nn.MultiHeadDotProductAttention(self.heads)
        x = x + drop(attend(nn.LayerNorm()(x), mask=seen[:, None, None, :]))
        hidden = nn.gelu(nn.Dense(4 * x.shape[-1])(nn.LayerNorm()(x)))
        return x + drop(nn.Dense(x.shape[-1])(hidden))


class _TextTransformer(nn.Module):
    out: int
    vocabulary_size: int
    length: int
    width: int
    layers: int
    heads: int
    dropout: float

    @nn.compact
    def __call__(self, tokens, *, train: bool, gather=None):
        _check_tokens(tokens, self.length)
        seen = tokens != PAD
        small = nn.initializers.normal(0.02)
        places = self.param("positions", small, (self.length, self.width))
        x = nn.Embed(self.vocabulary_size, self.width, embedding_init=small)(tokens)
        x = nn.Dropout(self.dropout, deterministic=not train)(x + places[: tokens.shape[1]])
        for _ in range(self.layers):
            x = _Layer(self.heads, self.dropout)(x, seen, train=train)
        x = nn.LayerNorm()(x) * seen[..., None]
        x = jnp.sum(x, 1) / jnp.maximum(jnp.sum(seen, 1), 1)[:, None]
        return nn.Dense(self.out)(x)


def text_transformer(
    out: int,
    vocabulary_size: int,
    length: int,
    *,
    width: int = 128,
    layers: int = 2,
    heads: int = 4,
    dropout: float = 0.0,
) -> Encoder:
    """A pre-norm transformer (Vaswani et al. 2017; Xiong et al. 2020) with a mean over the words.

    Tokens and places are learned vectors; padding (token 0) is neither attended nor averaged, so
    that more or less of it behind a sentence changes nothing. Statistics are empty.

    Tokens are int32 `[batch, up to length]` in 0 to vocabulary_size - 1; a larger one gives NaN. A
    sentence of padding alone is embedded as the output layer's bias.

    Args:
      out: dimension of the embedding.
      vocabulary_size: number of tokens, padding included.
      length: of the longest sentence.
      width: of the vectors, a multiple of heads.
      layers: number of layers, may be 0 (a bag of words).
      heads: of the attention.
      dropout: share of units dropped in training, in [0, 1), of the embedded tokens and of what
        each layer adds.

    Raises InvalidInput for a value out of range, and in use for tokens of another shape or type.

    Example:
      >>> import jax
      >>> encoder = text_transformer(4, 100, 26)
      >>> make = lambda key: encoder.init(key, (26,))
      >>> params, statistics = jax.eval_shape(make, jax.random.key(0))  # traced, not run
      >>> tokens = jax.ShapeDtypeStruct((2, 20), "int32")
      >>> jax.eval_shape(encoder.apply, params, statistics, tokens).shape
      (2, 4)
    """
    _check_sizes(out, vocabulary_size, length=length, heads=heads)
    require(width >= 1 and width % heads == 0, "width", width, f"a multiple of {heads} heads")
    require(layers >= 0, "layers", layers, "a whole number >= 0")
    require(0 <= dropout < 1, "dropout", dropout, "a number in [0, 1)")
    net = _TextTransformer(out, vocabulary_size, length, width, layers, heads, dropout)
    return from_module(net, jnp.int32)

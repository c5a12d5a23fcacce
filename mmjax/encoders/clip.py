"""CLIP's networks: a vision transformer and a causal text transformer (Radford et al. 2021)."""

from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from mmjax.data.clip.config import ClipConfig, ClipTower
from mmjax.encoders.base import Encoder, from_module
from mmjax.errors import choose, require
from mmjax.types import Array

ACTIVATIONS: dict[str, Any] = {
    "quick_gelu": lambda x: x * nn.sigmoid(1.702 * x),
    "gelu": partial(nn.gelu, approximate=False),
}


class Clip(NamedTuple):
    """Both encoders; their statistics are empty, their parameters those of mmjax.data.read_clip.

    Attributes:
      image: of standardised pixels `[batch, size, size, 3]` float.
      text: of tokens `[batch, length]` int32.
    """

    image: Encoder
    text: Encoder


def _attention(queries: Array, keys: Array, values: Array, causal: bool) -> Array:
    """`[batch, length, heads, d]` each; causal: no place sees one behind it."""
    length, _, d = queries.shape[1:]
    scores = jnp.einsum("bqhd,bkhd->bhqk", queries * d**-0.5, keys)
    if causal:
        scores = jnp.where(jnp.tri(length, dtype=bool), scores, -jnp.inf)
    return jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(scores), values)


class _Layer(nn.Module):
    tower: ClipTower
    causal: bool

    @nn.compact
    def __call__(self, x):
        width, _, heads, hidden, activation, epsilon = self.tower
        # The mean of squares minus the squared mean loses digits that PyTorch keeps.
        norm = partial(nn.LayerNorm, epsilon, use_fast_variance=False)
        mixed = nn.Dense(3 * width, name="qkv")(norm(name="attention_norm")(x))
        parts = mixed.reshape(*x.shape[:2], 3 * heads, width // heads)
        queries, keys, values = jnp.split(parts, 3, axis=2)
        seen = _attention(queries, keys, values, self.causal).reshape(x.shape)
        x = x + nn.Dense(width, name="attention_out")(seen)
        y = nn.Dense(hidden, name="mlp_hidden")(norm(name="mlp_norm")(x))
        return x + nn.Dense(width, name="mlp_out")(ACTIVATIONS[activation](y))


class _ImageTower(nn.Module):
    config: ClipConfig

    @nn.compact
    def __call__(self, x, *, train: bool, gather=None):
        size, patch, tower = self.config.image_size, self.config.patch_size, self.config.image
        good = x.ndim == 4 and x.shape[1:] == (size, size, 3)
        require(good, "images", x.shape, f"[batch, {size}, {size}, 3]")
        floats = jnp.issubdtype(x.dtype, jnp.floating)
        require(floats, "images", str(x.dtype), "standardised floats, see standardise_pixels")
        norm = partial(nn.LayerNorm, tower.epsilon, use_fast_variance=False)
        small = nn.initializers.normal(tower.width**-0.5)
        # A convolution whose stride is its size is a linear map of the patches.
        x = x.reshape(-1, size // patch, patch, size // patch, patch, 3).swapaxes(2, 3)
        x = x.reshape(x.shape[0], -1, 3 * patch**2)
        x = nn.Dense(tower.width, use_bias=False, name="patches")(x)
        first = self.param("class_token", small, (tower.width,))
        x = jnp.concatenate([jnp.broadcast_to(first, (x.shape[0], 1, tower.width)), x], 1)
        x = norm(name="before")(x + self.param("positions", small, x.shape[1:]))
        for k in range(tower.layers):
            x = _Layer(tower, causal=False, name=f"layer_{k}")(x)
        x = norm(name="after")(x[:, 0])
        return nn.Dense(self.config.embedding_dim, use_bias=False, name="projection")(x)


class _TextTower(nn.Module):
    config: ClipConfig

    @nn.compact
    def __call__(self, tokens, *, train: bool, gather=None):
        longest, tower, eos = self.config.context_length, self.config.text, self.config.eos
        good = tokens.ndim == 2 and 1 <= tokens.shape[1] <= longest
        require(good, "tokens", tokens.shape, f"[batch, 1 to {longest}]")
        whole = jnp.issubdtype(tokens.dtype, jnp.integer)
        require(whole, "tokens", str(tokens.dtype), "whole numbers")
        small = nn.initializers.normal(0.02)
        places = self.param("positions", small, (longest, tower.width))
        words = nn.Embed(
            self.config.vocabulary_size, tower.width, embedding_init=small, name="words"
        )
        x = words(tokens) + places[: tokens.shape[1]]
        for k in range(tower.layers):
            x = _Layer(tower, causal=True, name=f"layer_{k}")(x)
        end = jnp.argmax(tokens if eos is None else tokens == eos, axis=1)
        x = x[jnp.arange(len(tokens)), end]
        x = nn.LayerNorm(tower.epsilon, use_fast_variance=False, name="after")(x)
        return nn.Dense(self.config.embedding_dim, use_bias=False, name="projection")(x)


def clip_encoders(config: ClipConfig) -> Clip:
    """The image and the text encoder of a CLIP with a vision transformer.

    Features are `[batch, embedding_dim]`, not normalised, those of `get_image_features` and
    `get_text_features` in transformers and of `encode_image` and `encode_text` in OpenCLIP. What
    stands behind a text's end (`config.eos`) changes nothing, so that padding needs no mask; a text
    without one is read at its first place. A token out of range gives NaN.

    On a GPU matrix products have jax's default precision; for all digits of float32 set
    `jax_default_matmul_precision` to `highest`.

    Args:
      config: sizes, from mmjax.data.read_clip or of one's own.

    Raises InvalidInput for an unknown activation or sizes that don't divide, and in use for images
    or tokens of another shape or type.

    Example:
      >>> import jax
      >>> from mmjax.data import ClipConfig, ClipTower
      >>> tower = ClipTower(64, 2, 4, 128, "gelu", 1e-5)
      >>> clip = clip_encoders(ClipConfig(tower, tower, 32, 16, 8, 100, 12, None))
      >>> make = lambda key: clip.image.init(key, (16, 16, 3))
      >>> params, statistics = jax.eval_shape(make, jax.random.key(0))  # traced, not run
      >>> pixels = jax.ShapeDtypeStruct((2, 16, 16, 3), "float32")
      >>> jax.eval_shape(clip.image.apply, params, statistics, pixels).shape
      (2, 32)
    """
    for tower in (config.image, config.text):
        choose(ACTIVATIONS, "activation", tower.activation)
        require(
            tower.width % tower.heads == 0,
            "width",
            tower.width,
            f"a multiple of {tower.heads} heads",
        )
    size, patch = config.image_size, config.patch_size
    require(size % patch == 0, "image_size", size, f"a multiple of patch_size {patch}")
    return Clip(from_module(_ImageTower(config)), from_module(_TextTower(config), jnp.int32))

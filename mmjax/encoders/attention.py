"""Attention over the tokens of several modalities, for many choices of modalities at once."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from mmjax.types import Array

EPSILON = 1e-5  # of layer norms, as in PyTorch


def quick_gelu(x: Array) -> Array:
    """x sigmoid(1.702 x), elementwise (Hendrycks and Gimpel 2016; Radford et al. 2021)."""
    return x * jax.nn.sigmoid(1.702 * x)


class FusionLayer(nn.Module):
    """Pre-norm attention and a QuickGELU MLP of four times the width.

    Attributes:
      heads: of the attention, a divisor of the width.
    """

    heads: int

    @nn.compact
    def __call__(self, x: Array, allowed: Array, queries: int) -> Array:
        """The first `queries` tokens after one layer, `[batch, views, queries, width]`.

        Args:
          x: `[batch, views or 1, tokens, width]`; 1 where all views have the same tokens, whose
            keys and values are then computed once.
          allowed: `[batch or 1, views, queries or 1, tokens]` bool, which token sees which. One
            that is not seen has weight 0 and gradient 0; what sees nothing gets the output bias.
          queries: how many tokens are wanted.
        """
        width = x.shape[-1]
        size = width // self.heads
        split = lambda name: nn.DenseGeneral((self.heads, size), name=name)
        normed = nn.LayerNorm(EPSILON, name="attention_norm")(x)
        query = split("query")(normed[:, :, :queries]) * size**-0.5
        key, value = split("key")(normed), split("value")(normed)
        if x.shape[1] == 1:
            scores = jnp.einsum("bqhd,bkhd->bhqk", query[:, 0], key[:, 0])[:, None]
            summed = lambda weights: jnp.einsum("bvhqk,bkhd->bvqhd", weights, value[:, 0])
        else:
            scores = jnp.einsum("bvqhd,bvkhd->bvhqk", query, key)
            summed = lambda weights: jnp.einsum("bvhqk,bvkhd->bvqhd", weights, value)
        allowed = allowed[:, :, None]
        weights = jax.nn.softmax(jnp.where(allowed, scores, jnp.finfo(scores.dtype).min))
        # Where nothing is allowed the softmax is even, hence once more:
        seen = summed(jnp.where(allowed, weights, 0))
        x = x[:, :, :queries] + nn.DenseGeneral(width, axis=(-2, -1), name="out")(seen)
        normed = nn.LayerNorm(EPSILON, name="mlp_norm")(x)
        hidden = quick_gelu(nn.Dense(4 * width, name="mlp_in")(normed))
        return x + nn.Dense(width, name="mlp_out")(hidden)


class FusionTrunk(nn.Module):
    """Tokens of all modalities -> one vector a view.

    Attributes:
      layers, heads: of the transformer; layers >= 1.
      pool: class (a learned token that sees all) or mean (over the tokens that a view sees).
      attention: joint (every token sees all tokens of the view) or cross (a modality's tokens see
        those of the other modalities and the class token).
      shared: whether what views have in common is computed once. False computes each view apart.
    """

    layers: int
    heads: int
    pool: str
    attention: str
    shared: bool

    @nn.compact
    def __call__(self, tokens: Array, seen: Array, owner: np.ndarray, masks: Array) -> Array:
        """`[batch, views, width]`.

        Args:
          tokens: `[batch, tokens, width]` float.
          seen: `[batch, tokens]` bool, False for padding.
          owner: `[tokens]` int, the modality of each token.
          masks: `[views, modalities]` or `[batch, views, modalities]` bool, what each view sees.
        """
        masks = jnp.asarray(masks)
        masks = masks if masks.ndim == 3 else masks[None]
        visible = masks[..., owner] & seen[:, None]
        has_class = self.pool == "class"
        if has_class:
            width = tokens.shape[-1]
            start = self.param("class_token", nn.initializers.normal(width**-0.5), (width,))
            start = jnp.broadcast_to(start.astype(tokens.dtype), (len(tokens), 1, width))
            tokens = jnp.concatenate([start, tokens], 1)
            visible = jnp.pad(visible, ((0, 0), (0, 0), (1, 0)), constant_values=True)
            owner = np.concatenate([[-1], owner])
        allowed = visible[:, :, None, :]
        if self.attention == "cross":
            apart = (owner[:, None] != owner) | (owner == -1)
            allowed = allowed & jnp.asarray(apart)
        x = tokens[:, None]
        if not self.shared:
            x = jnp.broadcast_to(x, (len(x), visible.shape[1], *x.shape[2:]))
        for k in range(self.layers):
            # Nobody reads the other tokens of the last layer.
            few = self.shared and has_class and k == self.layers - 1
            queries = 1 if few else x.shape[2]
            x = FusionLayer(self.heads, name=f"layer_{k}")(x, allowed[:, :, :queries], queries)
        x = nn.LayerNorm(EPSILON, name="norm")(x)
        if has_class:
            return x[:, :, 0]
        weights = visible[..., None].astype(x.dtype)
        return jnp.sum(x * weights, 2) / jnp.maximum(jnp.sum(weights, 2), 1)

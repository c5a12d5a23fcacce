"""The content/style model (Daunhawer et al. 2023, Section 3), for two or more modalities.

    x_k = f_k(c, s_k, m_k)

Content c is shared by all modalities, the private block m_k belongs to one. A style block belongs
to a pair of modalities: the first sees s, the second s~, where every coordinate has changed with
probability change_prob. Two modalities make one pair, which is the published model; with more,
modality k sees a block for every other modality.
"""

from collections.abc import Callable
from itertools import combinations
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mmjax.errors import require
from mmjax.types import Array, Key

DEPENDENCES = ("independent", "statistical", "causal", "both")


class Blocks(NamedTuple):
    """What one modality sees, `[n, dim]` each.

    Attributes:
      content: c, the same in all modalities.
      style: the style blocks of the pairs that the modality belongs to, side by side.
      private: m_k.
    """

    content: Array
    style: Array
    private: Array


class Mechanisms(NamedTuple):
    """Constants of one world: factors L of the covariances L L', and the causal map of style.

    Attributes:
      content: `[content_dim, content_dim]`.
      style, change: `[pairs, style_dim, style_dim]`, of s and of the changes s~ - s.
      private: `[modalities, private_dim, private_dim]`.
      offset, slope: a `[pairs, style_dim]` and B `[pairs, style_dim, content_dim]`; a + B c is
        added to s. Zero where style doesn't depend on content causally.
    """

    content: Array
    style: Array
    change: Array
    private: Array
    offset: Array
    slope: Array


class ContentStyleModel(NamedTuple):
    """A content/style model as pure functions.

    Attributes:
      init: `key -> Mechanisms`.
      sample: `(mechanisms, key, n) -> tuple of Blocks`, one a modality.
      dims: dimensions (content, style, private) of what one modality sees.
    """

    init: Callable[[Key], Mechanisms]
    sample: Callable[[Mechanisms, Key, int], tuple[Blocks, ...]]
    dims: tuple[int, int, int]


def _wishart_factor(key: Key, shape: tuple[int, ...]) -> Array:
    """L with L L' ~ Wishart(dim, I): a Gaussian matrix, by the definition of that law."""
    return jax.random.normal(key, shape)


def _identities(shape: tuple[int, ...]) -> Array:
    return jnp.broadcast_to(jnp.eye(shape[-1]), shape)


def content_style_model(
    *,
    content_dim: int,
    style_dim: int,
    private_dim: int,
    change_prob: float = 1.0,
    dependence: str = "independent",
    modalities: int = 2,
) -> ContentStyleModel:
    """The model with Gaussian blocks.

    Args:
      content_dim: dimension of c, >= 1.
      style_dim: dimension of the style block of a pair, >= 0.
      private_dim: dimension of each m_k, >= 0.
      change_prob: probability pi that a coordinate of style changes between its two modalities.
      dependence: independent (covariances I), statistical (every block its own covariance, drawn
        from Wishart(dim, I); the official code reuses one draw for blocks of equal size), causal
        (style gets a + B c with standard normal a and B) or both.
      modalities: number of modalities, >= 2.

    Raises InvalidInput for a value out of range.

    Example:
      >>> import jax
      >>> model = content_style_model(content_dim=3, style_dim=2, private_dim=1)
      >>> world_key, data_key = jax.random.split(jax.random.key(0))
      >>> x, t = model.sample(model.init(world_key), data_key, 5)
      >>> bool((x.content == t.content).all()), x.style.shape, t.private.shape
      (True, (5, 2), (5, 1))
    """
    require(content_dim >= 1, "content_dim", content_dim, "a whole number >= 1")
    require(style_dim >= 0, "style_dim", style_dim, "a whole number >= 0")
    require(private_dim >= 0, "private_dim", private_dim, "a whole number >= 0")
    require(0 <= change_prob <= 1, "change_prob", change_prob, "a number in [0, 1]")
    require(dependence in DEPENDENCES, "dependence", dependence, ", ".join(DEPENDENCES))
    require(modalities >= 2, "modalities", modalities, "a whole number >= 2")
    statistical, causal = dependence in ("statistical", "both"), dependence in ("causal", "both")
    pairs = list(combinations(range(modalities), 2))

    def init(key: Key) -> Mechanisms:
        content_key, style_key, change_key, private_key, offset_key, slope_key = jax.random.split(
            key, 6
        )
        factor = _wishart_factor if statistical else lambda _, shape: _identities(shape)
        linear = jax.random.normal if causal else lambda _, shape: jnp.zeros(shape)
        return Mechanisms(
            content=factor(content_key, (content_dim, content_dim)),
            style=factor(style_key, (len(pairs), style_dim, style_dim)),
            change=factor(change_key, (len(pairs), style_dim, style_dim)),
            private=factor(private_key, (modalities, private_dim, private_dim)),
            offset=linear(offset_key, (len(pairs), style_dim)),
            slope=linear(slope_key, (len(pairs), style_dim, content_dim)),
        )

    def sample(mechanisms: Mechanisms, key: Key, n: int) -> tuple[Blocks, ...]:
        content_key, style_key, change_key, mask_key, private_key = jax.random.split(key, 5)

        def gaussian(noise_key, factors):
            """`[blocks, n, dim]`, a Gaussian of covariance L L' a block."""
            noise = jax.random.normal(noise_key, (factors.shape[0], n, factors.shape[-1]))
            return noise @ jnp.swapaxes(factors, 1, 2)

        c = gaussian(content_key, mechanisms.content[None])[0]
        caused = mechanisms.offset[:, None] + c @ jnp.swapaxes(mechanisms.slope, 1, 2)
        style = gaussian(style_key, mechanisms.style) + caused
        changes = jax.random.bernoulli(mask_key, change_prob, style.shape)
        changed = style + changes * gaussian(change_key, mechanisms.change)
        private = gaussian(private_key, mechanisms.private)
        seen: list[list[Array]] = [[] for _ in range(modalities)]
        for number, (first, second) in enumerate(pairs):
            seen[first].append(style[number])
            seen[second].append(changed[number])
        return tuple(
            Blocks(c, jnp.concatenate(parts, axis=1), m)
            for parts, m in zip(seen, private, strict=True)
        )

    return ContentStyleModel(init, sample, (content_dim, (modalities - 1) * style_dim, private_dim))


def permute_content(latents: tuple[Blocks, ...], key: Key) -> tuple[Blocks, ...]:
    """The same rows with the content of other rows: independent of style, whatever the model.

    What an encoder tells of style on these is style that it encodes, not style inferred from
    content (the published evaluation with permuted content).
    """
    order = jax.random.permutation(key, latents[0].content.shape[0])
    return tuple(blocks._replace(content=blocks.content[order]) for blocks in latents)


def joined(blocks: Blocks) -> Array:
    """`[n, content + style + private]`: what a mixing takes."""
    return jnp.concatenate(blocks, axis=1)


__all__ = [
    "DEPENDENCES",
    "Blocks",
    "ContentStyleModel",
    "Mechanisms",
    "content_style_model",
    "joined",
    "permute_content",
]

"""The values that travel between layers."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, NamedTuple, TypeVar

import jax
import numpy as np

Array = jax.Array
AnyArray = jax.Array | np.ndarray  # on a device, or on the host
Key = jax.Array  # a typed PRNG key, from jax.random.key; consumed once
Side = TypeVar("Side")
Tree = Any  # a pytree of arrays: parameters, optimiser states
# Goes through the items of a long job and shows how far it is: `(items, label) -> iterator`.
Tracked = Callable[[Iterable, str], Iterator]


def untracked(items: Iterable, label: str) -> Iterator:
    """Goes through the items and shows nothing."""
    return iter(items)


class Latents(NamedTuple):
    """Ground-truth latents of a batch of pairs (Liu et al. 2026, Section 3).

    Attributes:
      z_x: `[batch, dim]` coupled latents of the first modality.
      z_t: `[batch, dim]` coupled latents of the second modality.
      m_x: `[batch, private]` private latents of the first modality (private may be 0).
      m_t: `[batch, private]` private latents of the second modality.
    """

    z_x: Array
    z_t: Array
    m_x: Array
    m_t: Array


class Pair(NamedTuple, Generic[Side]):
    """Two of one sort, of x and of t: arrays `[batch, ...]` of observations or embeddings, trees of
    parameters, shapes."""

    x: Side
    t: Side


class SceneFactors(NamedTuple):
    """Latent factors of rendered scenes, named as the columns of Multimodal3DIdent.

    Attributes:
      object_shape: `[batch]` int32 0-6: teapot, hare, dragon, cow, armadillo, horse, head.
      object_xpos, object_ypos: `[batch]` int32 0-2: left to right and top to bottom.
      object_zpos: `[batch]` float32, 0 in the data set; towards the camera.
      object_alpharot, object_betarot, object_gammarot: `[batch]` float32 in [0, 1), turns by
        -pi/2 to pi/2 about the vertical, the horizontal and the line of sight.
      object_color: `[batch]` float32 hue in [0, 1).
      spotlight_pos, spotlight_color, background_color: `[batch]` float32 in [0, 1).
    """

    object_shape: AnyArray
    object_xpos: AnyArray
    object_ypos: AnyArray
    object_zpos: AnyArray
    object_alpharot: AnyArray
    object_betarot: AnyArray
    object_gammarot: AnyArray
    object_color: AnyArray
    spotlight_pos: AnyArray
    spotlight_color: AnyArray
    background_color: AnyArray


class TextFactors(NamedTuple):
    """What a caption says (Multimodal3DIdent), `[n]` each.

    Attributes:
      object_shape, object_xpos, object_ypos, object_zpos: those of the image.
      object_color_index: int32 in 0-1106, rank of the colour's name among all names.
      text_phrasing: int32 in 0-4.
    """

    object_shape: AnyArray
    object_xpos: AnyArray
    object_ypos: AnyArray
    object_zpos: AnyArray
    object_color_index: AnyArray
    text_phrasing: AnyArray


class ScenePairs(NamedTuple):
    """Factors of images and of their captions, row by row."""

    image: SceneFactors
    text: TextFactors

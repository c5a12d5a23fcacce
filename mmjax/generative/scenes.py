"""Factors of an image and its caption, as in Multimodal3DIdent (Daunhawer et al. 2023, App. B).

Shape and position are shared; the caption names the colour after one of three palettes; rotations,
light and background are the image's own, the phrasing is the caption's own.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mmjax.generative.colours import PALETTES, hue_names
from mmjax.types import Array, Key, SceneFactors, ScenePairs, TextFactors

SHAPES = 7
POSITIONS = 3
PHRASINGS = 5

_CONTINUOUS = (
    "object_alpharot",
    "object_betarot",
    "object_gammarot",
    "object_color",
    "spotlight_pos",
    "spotlight_color",
    "background_color",
)


class SceneModel(NamedTuple):
    """A law of scenes and captions.

    Attributes:
      sample: `(key, n) -> ScenePairs` of n independent pairs.
      position_dependent_color: whether the hue depends on the x position.
    """

    sample: Callable[[Key, int], ScenePairs]
    position_dependent_color: bool


def name_hue(hue: Array, palette: Array) -> Array:
    """The name of the palette's colour that is nearest to `hsv(hue, 1, 1)` in RGB.

    Args:
      hue: `[n]` float32 in [0, 1].
      palette: `[n]` int32: 0 TABLEAU, 1 CSS4, 2 XKCD.

    Returns:
      `[n]` int32 in 0-1106, ranks in colour_names(); exact.
    """
    table = hue_names()
    starts, names = jnp.asarray(table.starts)[palette], jnp.asarray(table.names)
    piece = jnp.sum(starts <= hue[:, None], axis=1) - 1
    return names[palette, piece]


def scene_model(*, position_dependent_color: bool = False) -> SceneModel:
    """The law of Multimodal3DIdent: whole-numbered factors and palettes uniform, others U[0, 1).

    Args:
      position_dependent_color: the hue is (xpos + U) / 3 instead, caused by the x position.

    Example:
      >>> import jax
      >>> pairs = scene_model().sample(jax.random.key(0), 4)
      >>> pairs.image.object_shape.shape, pairs.text.object_color_index.dtype
      ((4,), dtype('int32'))
    """

    def sample(key: Key, n: int) -> ScenePairs:
        shape_key, x_key, y_key, own_key, palette_key, phrasing_key = jax.random.split(key, 6)
        uniform = jax.random.uniform(own_key, (len(_CONTINUOUS), n), jnp.float32)
        whole = lambda key, count: jax.random.randint(key, (n,), 0, count, jnp.int32)
        values = dict(zip(_CONTINUOUS, uniform, strict=True))
        shared = dict(
            object_shape=whole(shape_key, SHAPES),
            object_xpos=whole(x_key, POSITIONS),
            object_ypos=whole(y_key, POSITIONS),
            object_zpos=jnp.zeros(n, jnp.float32),
        )
        if position_dependent_color:
            # 22 bits of U: then xpos + U is exact and the hue stays below (xpos + 1) / 3.
            within = jnp.floor(values["object_color"] * 2**22) / 2**22
            values["object_color"] = (shared["object_xpos"] + within) / 3
        colour = name_hue(values["object_color"], whole(palette_key, len(PALETTES)))
        return ScenePairs(
            SceneFactors(**shared, **values),
            TextFactors(
                **shared,
                object_color_index=colour,
                text_phrasing=whole(phrasing_key, PHRASINGS),
            ),
        )

    return SceneModel(sample, position_dependent_color)

"""Pairs of images and captions: rendered or read from disk, held in memory or streamed."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.data import (
    SceneSplit,
    caption,
    caption_encoder,
    caption_ids,
    content_ids,
    scene_vocabulary,
)
from mmjax.generative import SceneModel
from mmjax.observations import render
from mmjax.types import Array, Key, Pair, SceneFactors, ScenePairs, Tree

AT_ONCE = 256  # images rendered or encoded at a time outside of training


class SceneData(NamedTuple):
    """Pairs in memory.

    Attributes:
      images: `[n, r, r, 3]` uint8.
      tokens: `[n, length]` int32.
      texts: n captions.
      factors: ScenePairs of `[n]` arrays, numpy.
    """

    images: np.ndarray
    tokens: np.ndarray
    texts: list[str]
    factors: ScenePairs


def rendered_scenes(
    model: SceneModel, key: Key, n: int, resolution: int, progress: Callable = lambda done: None
) -> SceneData:
    """n pairs of the model, drawn, rendered and captioned; a function of its arguments alone.

    Args:
      model: law of the factors.
      key: of all draws.
      n: pairs, >= 1.
      resolution: side of the images in pixels.
      progress: called with the number of images done, now and then.
    """
    factors = jax.device_get(jax.jit(model.sample, static_argnums=1)(key, n))
    draw = jax.jit(lambda scenes: render(scenes, resolution))
    images = np.empty((n, resolution, resolution, 3), np.uint8)
    for start in range(0, n, AT_ONCE):
        # The last batch is filled up with its last row: one shape, one compilation.
        rows = np.minimum(np.arange(start, start + AT_ONCE), n - 1)
        stop = min(start + AT_ONCE, n)
        images[start:stop] = draw(jax.tree.map(lambda v, r=rows: v[r], factors.image))[
            : stop - start
        ]
        progress(stop)
    tokens, _ = caption_encoder(scene_vocabulary())
    return SceneData(images, np.asarray(tokens(factors.text)), caption(factors.text), factors)


# One factor at a time, from a scene at rest in the middle: what a row of the sample sheet varies.
SHEET: dict[str, dict[str, int | Sequence[int]]] = {
    "shape": dict(object_shape=range(7)),
    "rotation about x": dict(object_alpharot=7),
    "rotation about y": dict(object_betarot=7),
    "rotation about z": dict(object_gammarot=7),
    "x position": dict(object_xpos=(0, 1, 2)),
    "y position": dict(object_ypos=(0, 1, 2)),
    "object colour": dict(object_color=7),
    "spotlight position": dict(spotlight_pos=7),
    "spotlight colour": dict(spotlight_color=7),
    "background colour": dict(background_color=7),
}


def sample_sheet(resolution: int = 64) -> dict[str, np.ndarray]:
    """Factor -> images `[n, r, r, 3]` uint8 in which that factor alone changes."""
    rest = dict(object_shape=1, object_xpos=1, object_ypos=1, object_zpos=0.0, object_color=0.35)
    rows = {}
    for title, change in SHEET.items():
        ((name, levels),) = change.items()
        column = np.linspace(0, 0.95, levels) if isinstance(levels, int) else np.array(levels)
        still = {k: np.full(len(column), rest.get(k, 0.5)) for k in SceneFactors._fields}
        rows[title] = np.asarray(
            render(SceneFactors(**{**still, name: column}), resolution, supersample=2)
        )
    return rows


def loaded_scenes(split: SceneSplit) -> SceneData:
    """A split read from disk."""
    factors = ScenePairs(split.image_factors, split.text_factors)
    return SceneData(split.images, split.tokens, split.texts, factors)


class Source(NamedTuple):
    """Where training pairs come from.

    Attributes:
      constants: on device, shared by all seeds.
      draw: `(constants, key) -> (batch, ids [n, k] int32)`; cheap, for every device draws the whole
        batch. Rows that agree in an id are one image, or have one caption.
      observe: `batch rows -> Pair(images, tokens)`; a device calls it for its rows only.
      shape: of an image.
      vocabulary_size, length: of the tokens.
    """

    constants: Tree
    draw: Callable[[Tree, Key], tuple[Tree, Array]]
    observe: Callable[[Tree], Pair]
    shape: tuple[int, int, int]
    vocabulary_size: int
    length: int


def held_source(data: SceneData, vocabulary_size: int, batch_size: int) -> Source:
    """Rows of the data, drawn with replacement."""
    constants = {"images": jnp.asarray(data.images), "tokens": jnp.asarray(data.tokens)}
    ids = np.stack([content_ids(data.images), content_ids(data.tokens)], axis=1)
    constants |= {"ids": jnp.asarray(ids)}

    def draw(constants, key):
        rows = jax.random.randint(key, (batch_size,), 0, len(constants["tokens"]))
        return Pair(constants["images"][rows], constants["tokens"][rows]), constants["ids"][rows]

    shape, length = data.images.shape[1:], data.tokens.shape[1]
    return Source(constants, draw, lambda pair: pair, shape, vocabulary_size, length)


def streamed_source(model: SceneModel, resolution: int, batch_size: int) -> Source:
    """Endless fresh scenes, rendered on device in the training step."""
    vocabulary = scene_vocabulary()
    tokens, length = caption_encoder(vocabulary)

    def observe(factors):
        return Pair(render(factors.image, resolution), tokens(factors.text))

    def draw(constants, key):
        factors = model.sample(key, batch_size)
        return factors, caption_ids(factors.text)[:, None]

    shape = (resolution, resolution, 3)
    return Source((), draw, observe, shape, len(vocabulary.words), length)

"""Bimodal Trifeature in images (Dufumier et al. 2025): the task, and probes of held-out triples."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.config import option
from mmjax.data import (
    Gallery,
    PairPool,
    fixed_pairs,
    make_gallery,
    pair_pool,
    redrawn,
    sample_pairs,
    split_triples,
)
from mmjax.encoders import Modality, image_maps
from mmjax.errors import choose, require
from mmjax.generative import TriFactors, draw_mapping
from mmjax.observations import draw_trifeature
from mmjax.observations.augment import IMAGE_AUGMENTATIONS, augment_images
from mmjax.observations.trifeature import PERIOD
from mmjax.studies.fused import FusedOptions, FusedTask
from mmjax.studies.trifactors import balancing_bias, factor_figures
from mmjax.train import OPTIMISER_HELP, OPTIMISERS
from mmjax.types import Array, Key

MODALITIES, CLASSES = 2, 10
POSES = ("kept", "redrawn")
AT_ONCE = 256  # images encoded at a time outside of training


@dataclasses.dataclass(frozen=True)
class TrifeatureOptions(FusedOptions):
    """The images and how fusions are trained on them."""

    resolution: int = option(48, "side of the images in pixels, 32 to 224")
    texture_period: float = option(PERIOD, "of the textures, in sides of the image")
    texture_gaps: float = option(0.15, "share of the colour in a texture's gaps, published 0")
    shape_scale: float = option(0.7, "a shape's square in sides of the image, published 0.571")
    renderings: int = option(20, "images of each triple of shape, texture and colour, published 3")
    data_seed: int = option(0, "of images, splits and mapping, the same for all seeds")
    train_pairs: int = option(0, "different training pairs, published 10000; 0 for any of them")
    poses: str = option("redrawn", "of two views: of the image, or each of any rendering", POSES)
    augmentation: str = option("gentle", "of images in training", tuple(IMAGE_AUGMENTATIONS))
    widths: tuple[int, ...] = option((32, 64, 128), "channels of the encoders' stages")
    width: int = option(64, "of a token and of Z")
    head_hidden: int = option(128, "width of the projection head")
    head_out: int = option(64, "dimension of what the loss compares")
    batch_size: int = option(64, "pairs a step, over all devices")
    steps: int = option(2000, "training steps")
    optimiser: str = option("muon", OPTIMISER_HELP, tuple(OPTIMISERS))
    learning_rate: float = option(0.03, "peak of the learning rate")
    weight_decay: float = option(
        0.3, "decoupled, of kernels: makes it general beyond the triples seen"
    )


class TrifeatureData(NamedTuple):
    """Images, their split, and the mapping M of textures to colours.

    Attributes:
      gallery: all images.
      train, test: PairPool of either side; the test side has the held-out triples.
      mapping: `[10]` int32.
    """

    gallery: Gallery
    train: PairPool
    test: PairPool
    mapping: Array


def check_options(options: TrifeatureOptions) -> None:
    """Raises InvalidInput for an option out of range, before anything is rendered."""
    o = options
    require(32 <= o.resolution <= 224, "resolution", o.resolution, "32 to 224")
    require(o.texture_period > 0, "texture_period", o.texture_period, "a number > 0")
    require(0 <= o.texture_gaps <= 1, "texture_gaps", o.texture_gaps, "a number from 0 to 1")
    require(0 < o.shape_scale <= 0.5**0.5, "shape_scale", o.shape_scale, "a number in (0, 0.707]")
    require(o.renderings >= 1, "renderings", o.renderings, "a whole number >= 1")
    require(o.train_pairs >= 0, "train_pairs", o.train_pairs, "a whole number >= 0")
    choose(IMAGE_AUGMENTATIONS, "augmentation", o.augmentation)
    require(o.poses in POSES, "poses", o.poses, " or ".join(POSES))


def trifeature_data(
    options: TrifeatureOptions, progress: Callable[[int], None] = lambda done: None
) -> TrifeatureData:
    """Renders the images and splits the triples; a function of the options alone.

    Raises InvalidInput for an option out of range.
    """
    o, root = options, jax.random.key(options.data_seed)
    check_options(o)
    image_key, split_key, mapping_key = (jax.random.fold_in(root, n) for n in range(3))
    draw = partial(
        draw_trifeature,
        size=o.resolution,
        scale=o.shape_scale,
        period=o.texture_period,
        gaps=o.texture_gaps,
    )
    gallery = make_gallery(draw, image_key, renderings=o.renderings, progress=progress)
    train, test = split_triples(gallery, split_key)
    mapping = draw_mapping(mapping_key, classes=CLASSES)[0]
    return TrifeatureData(gallery, pair_pool(gallery, train), pair_pool(gallery, test), mapping)


def trifeature_task(
    options: TrifeatureOptions, data: TrifeatureData, bias: float, fixed_key: Key
) -> FusedTask:
    """The task of fusing two images of one shape.

    Args:
      options: of the task.
      data: of `trifeature_data`.
      bias: share of training pairs that respect the mapping; with a fixed set of pairs 0 or 1.
      fixed_key: of the choice of that set.

    Raises InvalidInput for an option out of range.
    """
    o = options
    look = augment_images(IMAGE_AUGMENTATIONS[o.augmentation])
    constants = {
        "images": jnp.asarray(data.gallery.images),
        "pool": data.train,
        "mapping": data.mapping,
    }
    if o.train_pairs:
        require(bias in (0, 1), "bias", bias, "0 or 1 with a fixed set of training pairs")
        factors, rows = fixed_pairs(
            data.train, data.mapping, fixed_key, o.train_pairs, biased=bias == 1
        )
        constants |= {"shape": factors.shape, "rows": rows}

    def source(constants, key, n):
        pair_key, pose_key, *view_keys = jax.random.split(key, 2 + 2 * MODALITIES)
        if o.train_pairs:
            chosen = jax.random.randint(pair_key, (n,), 0, o.train_pairs)
            shape, rows = constants["shape"][chosen], constants["rows"][chosen]
        else:
            factors, rows = sample_pairs(constants["pool"], constants["mapping"], pair_key, n, bias)
            shape = factors.shape
        # Known to match: one image, or where poses are augmentation all those of its triple.
        ids = rows // o.renderings if o.poses == "redrawn" else rows
        rows = jnp.tile(rows, 2)  # of both views, [n, 4]
        if o.poses == "redrawn":
            rows = redrawn(pose_key, rows, o.renderings)
        images = constants["images"][rows].astype(jnp.float32) / 255  # [n, 4, size, size, 3]
        views = [look(own_key, images[:, k]) for k, own_key in enumerate(view_keys)]
        return {"labels": shape, "views": (tuple(views[:2]), tuple(views[2:])), "ids": ids}

    side = -(-o.resolution // 2 ** len(o.widths))
    modality = Modality(image_maps(o.widths), positions=side * side)
    image = jax.ShapeDtypeStruct((1, o.resolution, o.resolution, 3), jnp.float32)
    return FusedTask(
        [modality] * MODALITIES, (image,) * MODALITIES, lambda key: constants, source, CLASSES, True
    )


def _features(represent: Callable[[tuple], Array], images: np.ndarray, rows: Array) -> Array:
    """Of pairs of rows `[n, 2]`, some at a time."""
    parts = []
    for start in range(0, len(rows), AT_ONCE):
        # The last batch is filled up: one shape, one compilation.
        chosen = np.asarray(rows)[np.minimum(np.arange(start, start + AT_ONCE), len(rows) - 1)]
        seen = images[chosen].astype(np.float32) / 255
        parts.append(represent((seen[:, 0], seen[:, 1])))
    return jnp.concatenate(parts)[: len(rows)]


def trifeature_figures(
    data: TrifeatureData, represent: Callable[[tuple], Array], key: Key, *, rows: int
) -> dict[tuple[str, str], float]:
    """(target, metric) -> mean recall of linear probes on pairs of held-out triples, unbiased.

    Probes are fitted on pairs of the training images, their penalty is chosen on others of these.
    The test has all pairs that the held-out images make, about 4,000; `accuracy_balanced` draws
    them so that half have synergy, in fitting and testing.

    Args:
      data: of `trifeature_data`.
      represent: `(two images [n, size, size, 3] in [0, 1]) -> [n, f]`.
      key: of the pairs.
      rows: of pairs to fit on; as many again to choose on.
    """
    figures: dict[tuple[str, str], float] = {}
    draw = partial(sample_pairs, mapping=data.mapping)
    for balanced in (False, True):
        key, *keys = jax.random.split(key, 4)
        bias = balancing_bias(CLASSES) if balanced else 0.0
        drawn = [draw(data.train, key=draw_key, n=rows, bias=bias) for draw_key in keys[:2]]
        if balanced:
            drawn.append(draw(data.test, key=keys[2], n=2 * rows, bias=bias))
        else:
            drawn.append(fixed_pairs(data.test, data.mapping, keys[2], None, biased=False))
        features = [_features(represent, data.gallery.images, pairs) for _, pairs in drawn]
        factors: list[TriFactors] = [shown for shown, _ in drawn]
        figures |= factor_figures(factors, features, CLASSES, balanced=balanced)
    return figures


def raw_pixels(images: tuple) -> Array:
    """Both images side by side at a quarter of the resolution, `[n, f]`: what probes start from."""
    small = [
        jax.image.resize(seen, (len(seen), seen.shape[1] // 4, seen.shape[2] // 4, 3), "linear")
        for seen in images
    ]
    return jnp.concatenate([seen.reshape(len(seen), -1) for seen in small], 1)

"""Augmentations of images on the device: each image has its own crop, flip, blur and colours."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.errors import require
from mmjax.observations.augment.colour import apply_colours, draw_colours
from mmjax.observations.augment.geometry import (
    Boxes,
    apply_matrices,
    blur_matrix,
    draw_boxes,
    resize_matrix,
)
from mmjax.types import Array, Key


class ImageAugmentation(NamedTuple):
    """What may happen to an image; the defaults change nothing.

    Attributes:
      crop_scale: lowest and highest share of the area that a crop keeps, in (0, 1]; (1, 1) crops
        nothing.
      crop_ratio: lowest and highest width / height of a crop.
      size: height and width of the result, pixels; None for those of the images.
      flip: probability of a horizontal flip.
      blur: probability of a Gaussian blur.
      blur_sigma: its lowest and highest sigma, pixels of the result.
      brightness, contrast, saturation: how far a factor may be from 1, >= 0.
      hue: how far colours may turn, in turns, 0 to 0.5.
      jitter_probability: of brightness, contrast, saturation and hue together.
      grey: probability of greyscale.
    """

    crop_scale: tuple[float, float] = (1.0, 1.0)
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    size: tuple[int, int] | None = None
    flip: float = 0.0
    blur: float = 0.0
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    jitter_probability: float = 0.8
    grey: float = 0.0


# Chen et al. 2020 with the jitter of MoCo v2, half as strong, which is what Dufumier et al. 2025
# use. The blur is meant for 224 pixels: at 32, a sigma of 2 leaves little of a texture.
SIMCLR = ImageAugmentation(
    crop_scale=(0.08, 1.0),
    flip=0.5,
    blur=0.5,
    brightness=0.4,
    contrast=0.4,
    saturation=0.4,
    hue=0.1,
    grey=0.2,
)
# For images of 32 to 48 pixels whose shape, texture and colour are all to be learned: a strong
# crop, blur, turned hues or greyscale would take one of them away.
GENTLE = ImageAugmentation(
    crop_scale=(0.6, 1.0), flip=0.5, brightness=0.2, contrast=0.2, saturation=0.2
)
IMAGE_AUGMENTATIONS = {"none": ImageAugmentation(), "gentle": GENTLE, "simclr": SIMCLR}


def augment_images(options: ImageAugmentation) -> Callable[[Key, Array], Array]:
    """A random view of each image: crop, resize, flip, blur, then colours.

    Geometry comes first, colours are clipped last (see `colour` for their order). Published
    pipelines blur after the colours; the two commute, but for the clipping and for the mean that
    contrast leaves in place. What can't happen by the options costs nothing, and doesn't change
    the draws of the rest.

    Args:
      options: see ImageAugmentation.

    Returns:
      `(key, images [n, height, width, 3] float in [0, 1]) -> images`, of the same dtype and range,
      and of the same size unless options.size is given. Pure; to be compiled by the caller.

    Raises InvalidInput for an option out of range, and in use for images of another shape or dtype.

    Example:
      >>> import jax
      >>> views = jax.vmap(augment_images(GENTLE), (0, None))  # of the same images, two keys
      >>> keys = jax.random.split(jax.random.key(0), 2)
      >>> images = jax.ShapeDtypeStruct((8, 32, 32, 3), "float32")
      >>> jax.eval_shape(views, keys, images).shape  # traced, not run
      (2, 8, 32, 32, 3)
    """
    _check(options)
    ranges = (options.brightness, options.contrast, options.saturation, options.hue)
    jitters = options.jitter_probability > 0 and any(ranges)

    def augment(key, images):
        is_float = jnp.issubdtype(images.dtype, jnp.floating)
        require(
            images.ndim == 4 and images.shape[-1] == 3 and is_float,
            "images",
            (images.shape, str(images.dtype)),
            "[n, height, width, 3] float in [0, 1]",
        )
        geometry_key, colour_key = jax.random.split(key)
        images = _moved(geometry_key, images, options)
        if not jitters and options.grey == 0:
            return images
        factors = draw_colours(
            colour_key,
            len(images),
            brightness=options.brightness,
            contrast=options.contrast,
            saturation=options.saturation,
            hue=options.hue,
            probability=options.jitter_probability,
            grey=options.grey,
        )
        return apply_colours(factors, images)

    return augment


class Geometry(NamedTuple):
    """How images move.

    Attributes:
      boxes: what is cut out of each.
      flip: `[n]` bool, whether it is then mirrored left to right.
      sigma: `[n]` float32, of its blur in pixels of the result; 0 for none.
    """

    boxes: Boxes
    flip: Array
    sigma: Array


def draw_geometry(
    key: Key, n: int, *, height: int, width: int, options: ImageAugmentation
) -> Geometry:
    """Moves of n images of height x width pixels."""
    crop_key, rest_key = jax.random.split(key)
    nothing = jnp.zeros(n, jnp.int32)
    boxes = Boxes(nothing, nothing, nothing + height, nothing + width)
    if _crops(options):
        scale, ratio = options.crop_scale, options.crop_ratio
        boxes = draw_boxes(crop_key, n, height=height, width=width, scale=scale, ratio=ratio)
    flip, blur, sigma = jax.random.uniform(rest_key, (3, n))
    low, high = options.blur_sigma
    sigma = jnp.where(blur < options.blur, low + (high - low) * sigma, 0)
    return Geometry(boxes, flip < options.flip, sigma)


def geometry_matrices(
    geometry: Geometry, *, height: int, width: int, options: ImageAugmentation
) -> tuple[Array, Array]:
    """The moves of images of height x width pixels as matrices for `apply_matrices`.

    Returns:
      rows `[n, out_height, height]` and columns `[n, out_width, width]`, float32, whose rows are
      >= 0 and sum to 1.
    """
    out_height, out_width = options.size or (height, width)
    top, left, box_height, box_width = geometry.boxes
    upright = jnp.zeros_like(geometry.flip)
    rows = resize_matrix(top, box_height, upright, size=height, out=out_height)
    columns = resize_matrix(left, box_width, geometry.flip, size=width, out=out_width)
    if options.blur > 0:
        rows, columns = (
            jnp.matmul(
                blur_matrix(geometry.sigma, size=size, largest=options.blur_sigma[1]),
                resized,
                precision=jax.lax.Precision.HIGHEST,
            )
            for size, resized in ((out_height, rows), (out_width, columns))
        )
    return rows, columns


def _crops(options: ImageAugmentation) -> bool:
    return tuple(options.crop_scale) != (1, 1)


def _moved(key: Key, images: Array, options: ImageAugmentation) -> Array:
    n, height, width, _ = images.shape
    resizes = tuple(options.size or (height, width)) != (height, width)
    mixes_pixels = _crops(options) or resizes or options.blur > 0
    if not mixes_pixels and options.flip == 0:
        return images
    geometry = draw_geometry(key, n, height=height, width=width, options=options)
    if not mixes_pixels:
        return jnp.where(geometry.flip[:, None, None, None], images[:, :, ::-1], images)
    matrices = geometry_matrices(geometry, height=height, width=width, options=options)
    return apply_matrices(*matrices, images)


def _check(options: ImageAugmentation) -> None:
    for name, most, allowed in (
        ("crop_scale", 1.0, "two numbers, 0 < low <= high <= 1"),
        ("crop_ratio", np.inf, "two numbers, 0 < low <= high"),
        ("blur_sigma", np.inf, "two numbers, 0 < low <= high"),
    ):
        value = getattr(options, name)
        good = np.shape(value) == (2,) and 0 < value[0] <= value[1] <= most
        require(good and np.isfinite(value[1]), name, value, allowed)
    for name in ("flip", "blur", "jitter_probability", "grey"):
        value = getattr(options, name)
        require(0 <= value <= 1, name, value, "a probability, 0 to 1")
    for name in ("brightness", "contrast", "saturation"):
        value = getattr(options, name)
        require(0 <= value < np.inf, name, value, "a number >= 0")
    require(0 <= options.hue <= 0.5, "hue", options.hue, "a number of turns, 0 to 0.5")
    size = options.size
    whole = size is None or (np.shape(size) == (2,) and all(v >= 1 and v == int(v) for v in size))
    require(whole, "size", size, "None, or height and width, whole numbers >= 1")

"""Crop, resize, flip and blur of an image as two small matrices: of its rows and of its columns.

Each of the four is linear and separable, so for a channel `out = R_y image R_x'` exactly, with
weights that are never negative and sum to 1 along each row: a constant image stays what it is, and
no value leaves the image's range.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.types import Array, Key

TRIES = 10  # candidates of a box, as in torchvision's RandomResizedCrop
TRUNCATE = 4.0  # blur reaches so many sigma, as in scipy.ndimage


class Boxes(NamedTuple):
    """What is cut out of images, in whole pixels, `[n]` int32 each; always inside the image."""

    top: Array
    left: Array
    height: Array
    width: Array


def draw_boxes(
    key: Key,
    n: int,
    *,
    height: int,
    width: int,
    scale: tuple[float, float],
    ratio: tuple[float, float],
) -> Boxes:
    """Boxes of torchvision's RandomResizedCrop, in distribution.

    Share of the area uniform in scale, width / height log-uniform in ratio, sides rounded, the
    first of ten candidates that fits, at any place alike. Where none fits: the largest centred box
    whose width / height is in ratio.

    Args:
      n: how many.
      height, width: of the image, pixels.
      scale, ratio: lowest and highest.
    """
    # One draw for all: candidates, and last where the box lies.
    drawn = jax.random.uniform(key, (n, TRIES + 1, 2))
    area = height * width * (scale[0] + (scale[1] - scale[0]) * drawn[:, :TRIES, 0])
    low, high = math.log(ratio[0]), math.log(ratio[1])
    shape = jnp.exp(low + (high - low) * drawn[:, :TRIES, 1])
    sides = jnp.stack([jnp.sqrt(area / shape), jnp.sqrt(area * shape)], -1)
    sides = jnp.round(sides)
    image = np.array([height, width])
    fits = jnp.all((sides >= 1) & (sides <= image), -1)
    result = jnp.any(fits, 1)[:, None]
    first = jnp.take_along_axis(sides, jnp.argmax(fits, 1)[:, None, None], 1)[:, 0].astype(
        jnp.int32
    )
    sides = jnp.where(result, first, np.array(_largest_centred(height, width, ratio)))
    free = image - sides
    # The product may round up to free + 1.
    anywhere = jnp.minimum((drawn[:, TRIES] * (free + 1)).astype(jnp.int32), free)
    starts = jnp.where(result, anywhere, free // 2)
    return Boxes(*starts.T, *sides.T)


def _largest_centred(height: int, width: int, ratio: tuple[float, float]) -> tuple[int, int]:
    if width / height < ratio[0]:
        return max(1, round(width / ratio[0])), width
    if width / height > ratio[1]:
        return height, max(1, round(height * ratio[1]))
    return height, width


def resize_matrix(start: Array, length: Array, flip: Array, *, size: int, out: int) -> Array:
    """Crop, then antialiased bilinear resize, then flip, along one axis.

    Weights are those of Pillow's BILINEAR, and of torchvision's with antialias, on the cropped
    image: a triangle one output or one input pixel wide to each side, whichever is wider, cut at
    the edges of the crop.

    Args:
      start, length: `[n]` int32, pixels cut out, inside `[0, size]`.
      flip: `[n]` bool, whether the result runs backwards.
      size: pixels of the image.
      out: pixels of the result.

    Returns:
      `[n, out, size]` float32.
    """
    step = length / out
    place = jnp.arange(out)
    place = jnp.where(flip[:, None], out - 1 - place, place)
    centre = (place + 0.5) * step[:, None]
    pixel = jnp.arange(size) - start[:, None]
    distance = jnp.abs(pixel[:, None, :] + 0.5 - centre[:, :, None])
    weights = jnp.maximum(0, 1 - distance / jnp.maximum(step, 1)[:, None, None])
    inside = (pixel >= 0) & (pixel < length[:, None])
    weights = jnp.where(inside[:, None, :], weights, 0)
    return weights / jnp.sum(weights, -1, keepdims=True)


def blur_matrix(sigma: Array, *, size: int, largest: float) -> Array:
    """Gaussian blur along one axis, mirrored at the edge pixels (which are not repeated).

    The kernel is sampled at whole pixels up to 4 sigma and sums to 1, as in scipy.ndimage.

    Args:
      sigma: `[n]` float32, pixels, in `[0, largest]`; 0 is no blur, exactly.
      size: pixels.
      largest: bound of sigma, which sets the cost.

    Returns:
      `[n, size, size]` float32.
    """
    reach = int(TRUNCATE * largest + 0.5)
    taps = np.arange(reach + 1)
    within = taps <= jnp.floor(TRUNCATE * sigma + 0.5)[:, None]
    safe = jnp.where(sigma > 0, sigma, 1.0)[:, None]
    kernel = jnp.where(within, jnp.exp(-0.5 * (taps / safe) ** 2), 0)
    kernel = kernel / (2 * jnp.sum(kernel, 1, keepdims=True) - kernel[:, :1])
    landing = _landing(size, reach)
    return jnp.einsum("nt,tij->nij", kernel, landing, precision=jax.lax.Precision.HIGHEST)


def _landing(size: int, reach: int) -> np.ndarray:
    """How often a step of t either way from pixel i ends at j, `[reach + 1, size, size]`."""
    taps, pixels = np.arange(reach + 1)[:, None], np.arange(size)
    period = max(1, 2 * (size - 1))
    counts = np.zeros((reach + 1, size, size), np.float32)
    for sign in (1, -1):
        place = (pixels + sign * taps) % period
        place = np.minimum(place, period - place) if size > 1 else 0 * place
        counts[taps, pixels, place] += 1
    counts[0] /= 2  # a step of 0 is one step, not two
    return counts


def apply_matrices(rows: Array, columns: Array, images: Array) -> Array:
    """`R_y image R_x'` for each channel.

    Args:
      rows: `[n, out_height, height]`.
      columns: `[n, out_width, width]`.
      images: `[n, height, width, channels]`.

    Returns:
      `[n, out_height, out_width, channels]`, of the images' dtype.
    """
    high = jax.lax.Precision.HIGHEST
    rows, columns = rows.astype(images.dtype), columns.astype(images.dtype)
    images = jnp.einsum("nyh,nhwc->nywc", rows, images, precision=high)
    return jnp.einsum("nxw,nywc->nyxc", columns, images, precision=high)

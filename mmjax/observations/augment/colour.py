"""Colour jitter and greyscale of an image, as one 3 x 3 matrix and one grey offset.

The order is fixed: brightness, contrast, saturation, hue, greyscale (torchvision draws the order of
the first four), and values are clipped to [0, 1] once, after all of them (torchvision clips after
each). With luma Y = 0.299 r + 0.587 g + 0.114 b:

- brightness b: b x;
- contrast c: c x + (1 - c) m, with m the mean luma of the image as it is then;
- saturation s: s x + (1 - s) Y(x);
- hue h, in turns: a rotation of the chroma plane of YIQ. It leaves greys and every pixel's luma as
  they are. torchvision shifts the hue of HSV instead, which is not linear; the two agree in
  direction (red turns to yellow and green), not in value;
- greyscale: Y(x) in all three channels.

All but contrast are linear and keep greys grey, so what contrast adds is never changed again.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.types import Array, Key

LUMA = np.array([0.299, 0.587, 0.114])
_TO_YIQ = np.array([LUMA, [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])


def _in_rgb(yiq: list) -> np.ndarray:
    return (np.linalg.inv(_TO_YIQ) @ np.array(yiq, float) @ _TO_YIQ).astype(np.float32)


_CHROMA = _in_rgb([[0, 0, 0], [0, 1, 0], [0, 0, 1]])
_QUARTER_TURN = _in_rgb([[0, 0, 0], [0, 0, 1], [0, -1, 0]])  # from red towards green
_GREY = np.tile(LUMA, (3, 1)).astype(np.float32)


class ColourFactors(NamedTuple):
    """One image's colour change, `[n]` each.

    Attributes:
      brightness, contrast, saturation: float32 factors >= 0; 1 changes nothing.
      hue: float32, turns; 0 changes nothing.
      grey: bool.
    """

    brightness: Array
    contrast: Array
    saturation: Array
    hue: Array
    grey: Array


def draw_colours(
    key: Key,
    n: int,
    *,
    brightness: float,
    contrast: float,
    saturation: float,
    hue: float,
    probability: float,
    grey: float,
) -> ColourFactors:
    """Factors uniform in [max(0, 1 - range), 1 + range] and hue in [-hue, hue], by image.

    Args:
      n: how many.
      brightness, contrast, saturation, hue: ranges >= 0.
      probability: of a jitter, all four together; otherwise an image keeps its colours.
      grey: probability of greyscale.
    """
    drawn = jax.random.uniform(key, (6, n))
    ranges = np.array([brightness, contrast, saturation])[:, None]
    low, high = np.maximum(0, 1 - ranges), 1 + ranges
    applied = drawn[4] < probability
    factors = jnp.where(applied, low + (high - low) * drawn[:3], 1)
    turns = jnp.where(applied, hue * (2 * drawn[3] - 1), 0)
    return ColourFactors(factors[0], factors[1], factors[2], turns, drawn[5] < grey)


def hue_matrix(turns: Array) -> Array:
    """Rotations of the chroma plane, `[n] -> [n, 3, 3]` float32; exactly the identity at 0."""
    angle = 2 * jnp.pi * turns[:, None, None]
    # cos(a) - 1, without its cancellation.
    return jnp.eye(3) - 2 * jnp.sin(angle / 2) ** 2 * _CHROMA + jnp.sin(angle) * _QUARTER_TURN


def colour_matrix(factors: ColourFactors) -> Array:
    """All that is linear in one matrix, `[n, 3, 3]` float32: a colour x becomes `matrix @ x`."""
    high = jax.lax.Precision.HIGHEST
    row = lambda v: v[:, None, None]
    saturation = row(factors.saturation) * jnp.eye(3) + row(1 - factors.saturation) * _GREY
    matrix = jnp.matmul(hue_matrix(factors.hue), saturation, precision=high)
    greyed = jnp.matmul(_GREY, matrix, precision=high)
    matrix = jnp.where(row(factors.grey), greyed, matrix)
    return row(factors.brightness * factors.contrast) * matrix


def apply_colours(factors: ColourFactors, images: Array) -> Array:
    """Images `[n, height, width, 3]` in other colours, clipped to [0, 1], of the same dtype."""
    luma = jnp.sum(jnp.mean(images, (1, 2), dtype=jnp.float32) * LUMA, -1)
    offset = (1 - factors.contrast) * factors.brightness * luma
    place = lambda v: v[:, None, None].astype(images.dtype)
    matrix = colour_matrix(factors)
    # Three products a value: a dot with three columns is slower on every backend.
    mixed = sum(images[..., c, None] * place(matrix[:, :, c]) for c in range(3))
    return jnp.clip(mixed + place(offset[:, None]), 0, 1)

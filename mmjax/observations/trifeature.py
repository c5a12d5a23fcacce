"""Images of Trifeature: a shape filled with a texture in a colour, on grey.

After Trifeature (Hermann & Lampinen 2020) as rendered for the pairs of Dufumier et al. 2025: a
shape whose square has 128 of 224 pixels a side, turned by up to 45 degrees and placed anywhere
inside the image; a texture turned on its own and shifted; ten colours, grey 0.5 behind. By default,
unlike there, textures have longer periods, so that images of 48 pixels show them; gaps may be given
a share of the colour, which shows the outlines of shapes.
"""

import functools
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from mmjax.errors import require
from mmjax.observations.trifeature_masks import shape_cover, texture_cover
from mmjax.types import Array, Key

TRIFEATURE_COLOURS = {
    "red": (1.0, 0.0, 0.0),
    "green": (0.0, 1.0, 0.0),
    "blue": (0.0, 0.0, 1.0),
    "yellow": (1.0, 1.0, 0.0),
    "pink": (1.0, 0.4, 1.0),
    "cyan": (0.0, 1.0, 1.0),
    "purple": (0.3, 0.0, 0.5),
    "ocean": (0.1, 0.4, 0.5),
    "orange": (1.0, 0.6, 0.0),
    "white": (1.0, 1.0, 1.0),
}
BACKGROUND = 0.5
SCALE = 128 / 224  # published side of the shape's square
PUBLISHED_PERIOD = 10 / 224  # of the textures; needs some 200 pixels a side
PERIOD = 0.15  # 7 pixels of 48
GAPS = 0.0  # share of the colour in a texture's gaps, as published
MAX_ANGLE = np.pi / 4
_COLOURS = np.array(list(TRIFEATURE_COLOURS.values()), np.float32)
_SHIFTS = 256.0  # periods; random textures differ by where they are cut out
_PIXELS = 2**18  # rendered at a time, which bounds the memory


class TrifeaturePose(NamedTuple):
    """Nuisances of images.

    Attributes:
      centre: `[n, 2]` float32, row and column in [0, 1] of the image's side, of the shape's square.
      angle: `[n]` float32 radians, of the shape, counterclockwise as seen.
      texture_angle: `[n]` float32 radians.
      texture_shift: `[n, 2]` float32 periods; also which part of a random texture is seen.
    """

    centre: Array
    angle: Array
    texture_angle: Array
    texture_shift: Array


def canonical_pose(n: int) -> TrifeaturePose:
    """Poses at rest: upright in the middle."""
    return TrifeaturePose(jnp.full((n, 2), 0.5), jnp.zeros(n), jnp.zeros(n), jnp.zeros((n, 2)))


def draw_pose(key: Key, n: int, *, scale: float = SCALE) -> TrifeaturePose:
    """Published nuisances: angles uniform within 45 degrees, the turned square uniform inside.

    Args:
      key: of all draws.
      n: rows.
      scale: side of the shape's square, in (0, 0.707] of the image's.

    Raises InvalidInput for a scale out of range.
    """
    require(0 < scale <= 0.5**0.5, "scale", scale, "a number in (0, 0.707]")
    centre_key, angle_key, texture_key, shift_key = jax.random.split(key, 4)
    turns = [
        jax.random.uniform(own_key, (n,), minval=-MAX_ANGLE, maxval=MAX_ANGLE)
        for own_key in (angle_key, texture_key)
    ]
    # Published: the square that bounds the turned square is uniform inside the image.
    half = scale * (jnp.cos(turns[0]) + jnp.abs(jnp.sin(turns[0]))) / 2
    centre = half[:, None] + jax.random.uniform(centre_key, (n, 2)) * (1 - 2 * half[:, None])
    shift = jax.random.uniform(shift_key, (n, 2), maxval=_SHIFTS)
    return TrifeaturePose(centre, turns[0], turns[1], shift)


def _turned(row, column, angle):
    """Coordinates in axes turned counterclockwise, rows counted downwards."""
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    return cos * row + sin * column, cos * column - sin * row


def _image(shape, texture, colour, pose, *, size, scale, period, gaps):
    """`[size, size, 3]` float32 of one row."""
    at = (jnp.arange(size, dtype=jnp.float32) + 0.5) / size
    row, column = _turned(at[:, None] - pose.centre[0], at[None, :] - pose.centre[1], pose.angle)
    cover = shape_cover(shape, row / scale, column / scale, 1 / (size * scale))
    row, column = _turned(at[:, None] - 0.5, at[None, :] - 0.5, pose.texture_angle)
    row, column = (x / period + by for x, by in zip((row, column), pose.texture_shift, strict=True))
    cover *= gaps + (1 - gaps) * texture_cover(texture, row, column, 1 / (size * period))
    image = BACKGROUND + cover[..., None] * (jnp.asarray(_COLOURS)[colour] - BACKGROUND)
    return jnp.clip(image, 0.0, 1.0)  # compiled, the sum may round to less than 0


@functools.partial(jax.jit, static_argnames="size")
def _images(rows, size, options):
    one = lambda row: _image(*row, size=size, **options)
    # The fewest equal chunks within the bound, the last one filled up: one compiled body.
    n = rows[0].shape[0]
    chunks = -(-n // max(1, _PIXELS // size**2))
    chunk = -(-n // chunks)
    index = np.minimum(np.arange(chunks * chunk), n - 1).reshape(chunks, chunk)
    out = jax.lax.map(jax.vmap(one), jax.tree.map(lambda x: x[index], rows))
    return out.reshape(-1, size, size, 3)[:n]


def render_trifeature(
    shape: Array,
    texture: Array,
    colour: Array,
    pose: TrifeaturePose,
    size: int = 64,
    *,
    scale: float = SCALE,
    period: float = PERIOD,
    gaps: float = GAPS,
) -> Array:
    """Images of what is shown where; a function of each row alone.

    Args:
      shape, texture, colour: `[n]` whole numbers 0-9 in TRIFEATURE_SHAPES, TRIFEATURE_TEXTURES and
        TRIFEATURE_COLOURS. Not checked, since they may be traced.
      pose: of n rows.
      size: height and width in pixels, 16 to 512; below 48 textures blur.
      scale: side of the shape's square in sides of the image, > 0.
      period: of the textures in sides of the image, > 0; PUBLISHED_PERIOD for 224 pixels.
      gaps: share of the colour where the texture leaves gaps, 0 to 1; 0 is published.

    Returns:
      `[n, size, size, 3]` float32 in [0, 1], RGB; edges are smoothed over a pixel.

    Raises InvalidInput for a size, scale, period or gaps out of range or no row, AssertionError for
    unequal lengths.

    Example:
      >>> import jax.numpy as jnp
      >>> shapes, zeros = jnp.arange(10), jnp.zeros(10, int)
      >>> render_trifeature(shapes, zeros, zeros, canonical_pose(10), 32).shape
      (10, 32, 32, 3)
    """
    whole = isinstance(size, int) and not isinstance(size, bool) and 16 <= size <= 512
    require(whole, "size", size, "a whole number from 16 to 512")
    for name, value in {"scale": scale, "period": period}.items():
        require(value > 0, name, value, "a number > 0")
    require(0 <= gaps <= 1, "gaps", gaps, "a number from 0 to 1")
    require(jnp.size(shape) > 0, "rows", 0, "at least one")
    shown = [jnp.asarray(x, jnp.int32) for x in (shape, texture, colour)]
    pose = jax.tree.map(lambda v: jnp.asarray(v, jnp.float32), pose)
    chex.assert_equal_shape([*shown, pose.angle, pose.texture_angle])
    options = {"scale": scale, "period": period, "gaps": gaps}
    return _images((*shown, pose), size, options)


def draw_trifeature(
    key: Key,
    shape: Array,
    texture: Array,
    colour: Array,
    size: int = 64,
    *,
    scale: float = SCALE,
    period: float = PERIOD,
    gaps: float = GAPS,
) -> Array:
    """`render_trifeature` in poses of `draw_pose`: `[n, size, size, 3]` float32 in [0, 1].

    Arguments and errors are those of both: the scale is at most 0.707.
    """
    pose = draw_pose(key, jnp.shape(shape)[0], scale=scale)
    options = {"scale": scale, "period": period, "gaps": gaps}
    return render_trifeature(shape, texture, colour, pose, size, **options)

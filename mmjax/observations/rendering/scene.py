"""Camera, placement, light and colours of a scene.

World axes as in the data set: the object lies at (3 ypos - 3, 3 xpos - 3, zpos), x points down the
image, y to its right and z at the camera, which looks straight down the z axis.
"""

from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.observations.rendering.primitives import ShapeTable
from mmjax.observations.rendering.trace import Parts
from mmjax.types import AnyArray, Array, SceneFactors

A = TypeVar("A", float, Array)
RADIUS = 2.7  # of the object's bounding ball; neighbouring positions are 3 apart
FLOOR = -3.3  # z of the background plane
CAMERA = 18.0  # z of the camera


def extent(offset: A, distance: A) -> tuple[A, A]:
    """Middle and half the range of slopes at which rays meet a ball RADIUS big.

    The ball lies at `distance` along the line of sight and `offset` beside it; numbers or arrays.
    """
    scale = distance**2 - RADIUS**2
    return offset * distance / scale, RADIUS * (offset**2 + scale) ** 0.5 / scale


REACH = 1.02 * sum(extent(3.0, CAMERA))  # slope at the image's edge: a ball in a corner, and 2 %
SPAN = 1.02 * extent(3.0, CAMERA)[1] / REACH  # share of the image's side that such a ball covers
# A body's x points right in the image and its y up, which are the world's y and -x.
UPRIGHT = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], np.float32)


def hsv_to_rgb(hue: AnyArray, saturation: Array | float = 1.0, value: Array | float = 1.0) -> Array:
    """Colours `[..., 3]` in [0, 1] of hues of period 1, as colorsys.hsv_to_rgb gives them.

    Args:
      hue: `[...]` any real; 0 red, 1/3 green, 2/3 blue.
      saturation, value: broadcast against hue, in [0, 1].
    """
    hue, saturation, value = jnp.broadcast_arrays(hue, saturation, value)
    sector = jnp.array([5.0, 3.0, 1.0])  # red, green and blue peak that far from the hue's start
    k = jnp.mod(sector + 6 * hue[..., None], 6)
    dip = jnp.clip(jnp.minimum(k, 4 - k), 0, 1)
    return value[..., None] * (1 - saturation[..., None] * dip)


def rotation(alpha: AnyArray, beta: AnyArray, gamma: AnyArray) -> Array:
    """`[..., 3, 3]` turns by pi v - pi / 2 about x, then y, then z, v `[...]` in [0, 1]."""
    (a, b, c), (d, e, f) = zip(*(_cos_sin(v) for v in (alpha, beta, gamma)), strict=True)
    rows = (
        (b * c, d * e * c - a * f, a * e * c + d * f),
        (b * f, d * e * f + a * c, a * e * f - d * c),
        (-e, d * b, a * b),
    )
    return jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2)


def _cos_sin(v):
    angle = jnp.pi * (v - 0.5)
    return jnp.cos(angle), jnp.sin(angle)


def place(shapes: ShapeTable, factors: SceneFactors) -> tuple[Array, Parts]:
    """Centre `[3]` and parts of the object in the world; factors of one scene, without a batch."""
    table = Parts(*(jnp.asarray(column)[factors.object_shape] for column in shapes))
    down, right = 3.0 * factors.object_ypos - 3, 3.0 * factors.object_xpos - 3
    centre = jnp.stack([down, right, factors.object_zpos])
    high = jax.lax.Precision.HIGHEST
    turn = rotation(factors.object_alpharot, factors.object_betarot, factors.object_gammarot)
    turn = RADIUS * jnp.matmul(turn, UPRIGHT, precision=high)
    return centre, table._replace(
        to_local=jnp.matmul(table.to_local, turn.T / RADIUS**2, precision=high),
        to_world=jnp.matmul(turn, table.to_world, precision=high),
        start=centre + jnp.matmul(table.start, turn.T, precision=high),
    )


def spotlight(factors: SceneFactors) -> tuple[Array, Array]:
    """Position `[3]` and colour `[3]` of one scene's spotlight."""
    angle = jnp.pi * (factors.spotlight_pos - 0.5)
    height = jnp.full_like(angle, 6 + 2 * RADIUS)
    position = jnp.stack([4 * jnp.sin(angle), 4 * jnp.cos(angle), height])
    return position, hsv_to_rgb((factors.spotlight_color - 0.5) / 2, 0.8)


def background(factors: SceneFactors) -> Array:
    """Colour `[3]` of one scene's background plane."""
    return hsv_to_rgb((factors.background_color - 0.5) / 2, 0.6)

"""Images of scenes: one object in front of a plane, both under a coloured spotlight.

After generate_images.py of Multimodal3DIdent (Daunhawer et al. 2023), whose Blender scene this
replaces: its placement, rotations, hues and path of the light, which points at the object; bodies
made of round cones instead of meshes, and light computed surface by surface: a spotlight that
casts the object's shadow on the plane, and white light around the camera.
"""

import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

from mmjax.errors import require
from mmjax.observations.rendering.primitives import ShapeTable
from mmjax.observations.rendering.scene import (
    CAMERA,
    FLOOR,
    REACH,
    SPAN,
    background,
    extent,
    hsv_to_rgb,
    place,
    spotlight,
)
from mmjax.observations.rendering.shadow import shadow
from mmjax.observations.rendering.shapes import scene_shapes
from mmjax.observations.rendering.trace import MISS, blended_normal, dot, first_entry
from mmjax.types import Array, SceneFactors

_BLEND = 0.25  # width of the rounding between an object's parts
_PENUMBRA = 0.7  # width of the edge of its shadow
_CONE = np.cos(np.radians([24.0, 12.0]))  # the spotlight's edge, and where it is full
_PIXELS = 2**18  # rendered at a time, which bounds the memory
_WHOLE = ("object_shape", "object_xpos", "object_ypos")


def _slopes(start: Array | int, count: int, resolution: int) -> Array:
    """`[count]` slopes of the rays through the centres of the pixels from start on."""
    return (2 * (start + jnp.arange(count, dtype=jnp.float32) + 0.5) / resolution - 1) * REACH


def _spot(point, centre, light):
    """Unit vectors from points to the light, and the brightness of its cone there."""
    to_light = tuple(light[i] - point[i] for i in range(3))
    scale = jax.lax.rsqrt(dot(to_light, to_light))
    axis = light - centre
    along = scale * dot(to_light, axis) * jax.lax.rsqrt(jnp.sum(axis**2))
    step = jnp.clip((along - _CONE[0]) / (_CONE[1] - _CONE[0]), 0.0, 1.0)
    return tuple(x * scale for x in to_light), step * step * (3 - 2 * step)


def _floor_image(factors, centre, parts, resolution):
    """`[resolution, resolution, 3]` the plane with the object's shadow, without the object."""
    slopes = _slopes(0, resolution, resolution) * (CAMERA - FLOOR)
    x, y = slopes[:, None], slopes[None, :]
    light, colour = spotlight(factors)
    to_light, cone = _spot((x, y, FLOOR), centre, light)
    lit = shadow(parts, light, x, y, floor=FLOOR, penumbra=_PENUMBRA)
    diffuse = lit * cone * to_light[2]
    return background(factors) * (0.35 + 0.5 * diffuse[..., None] * colour)


def _object_image(factors, centre, parts, point):
    """`[side, side, 3]` the object's colours at its points."""
    normal = blended_normal(parts, point, width=_BLEND)
    light, colour = spotlight(factors)
    to_light, cone = _spot(point, centre, light)
    diffuse = cone * jnp.maximum(dot(normal, to_light), 0.0)
    # White light from the camera shows hue and shape under any spotlight, and no direction.
    white = 0.25 + 0.4 * jnp.square(normal[2])
    return hsv_to_rgb(factors.object_color) * (
        white[..., None] + 0.55 * diffuse[..., None] * colour
    )


def _meet(centre, parts, resolution):
    """Traces the rays of a square window of pixels that holds the object.

    Returns:
      The window's corner (two whole numbers), three `[side, side]` coordinates of the first points
      on the object, and `[side, side]` bool whether there is one.
    """
    side = int(np.ceil(SPAN * resolution)) + 2
    distance = CAMERA - centre[2]
    middle, _ = extent(centre[:2], distance)
    corner = jnp.round((middle / REACH + 1) * resolution / 2 - side / 2).astype(jnp.int32)
    corner = jnp.clip(corner, 0, resolution - side)
    rows, columns = (_slopes(corner[i], side, resolution) for i in range(2))
    across = rows[:, None], columns[None, :]
    direction: Any = (*across, -1.0)
    # Rays start beside the object rather than at the camera, which spares float32 digits.
    origin = (across[0] * distance, across[1] * distance, centre[2])
    depth = first_entry(parts, origin, direction)
    met = depth < MISS
    depth = jnp.where(met, depth, 0.0)
    point = tuple(o + depth * d for o, d in zip(origin, direction, strict=True))
    return (corner[0], corner[1]), point, met


def _image(shapes, factors, resolution):
    """`[resolution, resolution, 3]` float32 in [0, 1] of one scene."""
    centre, parts = place(shapes, factors)
    corner, point, met = _meet(centre, parts, resolution)
    image = _floor_image(factors, centre, parts, resolution)
    zero = jnp.zeros((), jnp.int32)
    behind = jax.lax.dynamic_slice(image, (*corner, zero), (*met.shape, 3))
    patch = jnp.where(met[..., None], _object_image(factors, centre, parts, point), behind)
    return jnp.clip(jax.lax.dynamic_update_slice(image, patch, (*corner, zero)), 0.0, 1.0)


def _mask(shapes, factors, resolution):
    """`[resolution, resolution]` bool of one scene."""
    corner, _, met = _meet(*place(shapes, factors), resolution)
    return jax.lax.dynamic_update_slice(jnp.zeros((resolution, resolution), bool), met, corner)


def _in_chunks(one, factors, pixels):
    """`one` of each scene; the fewest equal chunks within the bound, the last one filled up."""
    batch = factors.object_shape.shape[0]
    chunks = -(-batch // max(1, _PIXELS // pixels))
    chunk = -(-batch // chunks)
    rows = np.minimum(np.arange(chunks * chunk), batch - 1).reshape(chunks, chunk)
    out = jax.lax.map(jax.vmap(one), jax.tree.map(lambda x: x[rows], factors))
    return out.reshape(chunks * chunk, *out.shape[2:])[:batch]


@functools.partial(jax.jit, static_argnames=("resolution", "supersample", "quantise"))
def _images(shapes, factors, *, resolution, supersample, quantise):
    fine = resolution * supersample

    def one(factors):
        image = _image(shapes, factors, fine)
        image = image.reshape(resolution, supersample, resolution, supersample, 3).mean((1, 3))
        return jnp.round(255 * image).astype(jnp.uint8) if quantise else image.astype(jnp.float32)

    return _in_chunks(one, factors, fine**2)


@functools.partial(jax.jit, static_argnames="resolution")
def _masks(shapes, factors, *, resolution):
    return _in_chunks(lambda f: _mask(shapes, f, resolution), factors, resolution**2)


def _checked(factors: SceneFactors, resolution: int) -> SceneFactors:
    """The factors as `[batch]` int32 and float32, or an error."""
    size = isinstance(resolution, int) and 32 <= resolution <= 224
    require(size, "resolution", resolution, "a whole number from 32 to 224")
    dtypes = (jnp.int32 if name in _WHOLE else jnp.float32 for name in SceneFactors._fields)
    factors = SceneFactors(*(jnp.asarray(x, d) for x, d in zip(factors, dtypes, strict=True)))
    chex.assert_rank(factors, 1)
    chex.assert_equal_shape(factors)
    require(factors.object_shape.size > 0, "batch", 0, "at least one scene")
    return factors


def render_float(
    factors: SceneFactors,
    resolution: int = 64,
    *,
    supersample: int = 1,
    shapes: ShapeTable | None = None,
) -> Array:
    """Images of scenes; a function of each scene alone, up to rounding.

    Args:
      factors: `[batch]` each, batch >= 1. Values aren't checked, since they may be traced;
        object_zpos is 0 in the data set, and an object much nearer is cropped.
      resolution: height and width in pixels, 32 to 224.
      supersample: rays per pixel along each side, 1 to 4; above 1 smooths the outlines.
      shapes: what object_shape numbers; by default scene_shapes(), SPHERE makes every one a ball.

    Returns:
      `[batch, resolution, resolution, 3]` float32 in [0, 1], RGB.

    Raises InvalidInput for a resolution, a supersample or a batch out of range, AssertionError for
    factors of unequal shapes.
    """
    return _render(factors, resolution, supersample, shapes, quantise=False)


def render(
    factors: SceneFactors,
    resolution: int = 64,
    *,
    supersample: int = 1,
    shapes: ShapeTable | None = None,
) -> Array:
    """`render_float` rounded to `[batch, resolution, resolution, 3]` uint8 in 0-255.

    Example:
      >>> import jax.numpy as jnp
      >>> half, one, zero = jnp.full(7, 0.5), jnp.ones(7, jnp.int32), jnp.zeros(7)
      >>> middle = SceneFactors(jnp.arange(7), one, one, zero, *[half] * 7)
      >>> images = render(middle, 32)
      >>> images.shape, images.dtype
      ((7, 32, 32, 3), dtype('uint8'))
    """
    return _render(factors, resolution, supersample, shapes, quantise=True)


def _render(factors, resolution, supersample, shapes, *, quantise):
    factors = _checked(factors, resolution)
    rays = isinstance(supersample, int) and 1 <= supersample <= 4
    require(rays, "supersample", supersample, "a whole number from 1 to 4")
    shapes = shapes or scene_shapes()
    options = dict(resolution=resolution, supersample=supersample, quantise=quantise)
    return _images(shapes, factors, **options)


def scene_mask(
    factors: SceneFactors, resolution: int = 64, *, shapes: ShapeTable | None = None
) -> Array:
    """`[batch, resolution, resolution]` bool: the pixels whose central ray meets the object.

    Arguments and errors are those of `render`.
    """
    return _masks(shapes or scene_shapes(), _checked(factors, resolution), resolution=resolution)

"""The soft shadow of a body on a plane.

Seen from the light, a part's ball covers an ellipse of the plane to first order, and the whole part
a round cone in the plane's coordinates whitened by that ellipse.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mmjax.observations.rendering.trace import Parts
from mmjax.types import Array


class _Flat(NamedTuple):
    """Round cones in a plane.

    Attributes:
      whiten: `[parts, 2, 2]` lower triangular, from offsets from start to local coordinates.
      start: `[parts, 2]` centre of the first disc in the plane.
      axis: `[parts, 2]` local, from there to the last disc's centre.
      first, last: `[parts]` local radii.
    """

    whiten: Array
    start: Array
    axis: Array
    first: Array
    last: Array


def _flatten(parts: Parts, light: Array, floor: float) -> _Flat:
    """The parts' shadows on the plane z = floor."""

    def project(point):
        scale = (light[2] - floor) / (light[2] - point[:, 2:])
        return light[:2] + (point[:, :2] - light[:2]) * scale, scale

    start, scale = project(parts.start)
    end, _ = project(parts.start + parts.length[:, None] * parts.to_world[:, :, 2])
    # Derivative of the projection, times the unit ball's semi-axes in the world.
    lean = (parts.start[:, :2] - light[:2]) / (light[2] - parts.start[:, 2:])
    axes = parts.to_world[:, :2] + lean[:, :, None] * parts.to_world[:, 2:]
    axes = axes * scale[:, :, None]
    # The inverse of the ellipse's Cholesky factor [[a, 0], [b, c]].
    xx, xy, yy = (jnp.sum(axes[:, i] * axes[:, j], axis=1) for i, j in ((0, 0), (0, 1), (1, 1)))
    a = jnp.sqrt(xx)
    b = xy / a
    c = jnp.sqrt(jnp.maximum(yy - b * b, 1e-8))
    whiten = jnp.stack([1 / a, jnp.zeros_like(a), -b / (a * c), 1 / c], axis=1).reshape(-1, 2, 2)
    axis = jnp.sum(whiten * (end - start)[:, None, :], axis=2)
    return _Flat(whiten, start, axis, parts.first, parts.last)


def shadow(
    parts: Parts, light: Array, x: Array, y: Array, *, floor: float, penumbra: float
) -> Array:
    """Share of the light that reaches points of the plane z = floor.

    Args:
      parts: of one body, between the plane and the light.
      light: `[3]` position of the light.
      x, y: coordinates of the points, broadcasting to `[...points]`.
      floor: z of the plane.
      penumbra: width of the shadow's edge, > 0.

    Returns:
      `[...points]` in [0, 1], 0 in the shadow's core.
    """

    def nearer(gap, part):
        dx, dy = x - part.start[0], y - part.start[1]
        u = part.whiten[0, 0] * dx
        v = part.whiten[1, 0] * dx + part.whiten[1, 1] * dy
        length = jnp.sqrt(jnp.sum(part.axis**2) + 1e-12)
        e = part.axis / length
        # A ball may cover the other, which the bound on the slope settles.
        slope = jnp.clip((part.first - part.last) / length, -0.99, 0.99)
        along, across = e[0] * u + e[1] * v, jnp.abs(e[0] * v - e[1] * u)
        nearest = along - across * slope * jax.lax.rsqrt(1 - slope**2)
        nearest = jnp.clip(nearest, 0.0, length)
        u, v = u - nearest * e[0], v - nearest * e[1]
        size = jnp.sqrt(u * u + v * v + 1e-12)
        radius = part.first + (part.last - part.first) * nearest / length
        steep_x = part.whiten[0, 0] * u + part.whiten[1, 0] * v
        steep = jnp.sqrt(steep_x**2 + (part.whiten[1, 1] * v) ** 2 + 1e-12)
        return jnp.minimum(gap, (size - radius) * size / steep), None

    far = jnp.full(jnp.broadcast_shapes(jnp.shape(x), jnp.shape(y)), penumbra, parts.start.dtype)
    gap = jax.lax.scan(nearer, far, _flatten(parts, light, floor))[0]
    step = jnp.clip(gap / penumbra + 0.5, 0.0, 1.0)
    return step * step * (3 - 2 * step)

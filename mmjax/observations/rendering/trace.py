"""Rays against round cones: the entry depth in closed form, and blended normals."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mmjax.types import Array

MISS = 1e9  # the depth of a ray that meets nothing


class Parts(NamedTuple):
    """The primitives of one placed body; see primitives.Part.

    Attributes:
      to_local, to_world: `[parts, 3, 3]`, each other's inverses.
      start: `[parts, 3]` in the world.
      length, first, last: `[parts]`.
    """

    to_local: Array
    to_world: Array
    start: Array
    length: Array
    first: Array
    last: Array


def dot(a: Sequence[Array | float], b: Sequence[Array | float]) -> Array | float:
    """Inner product of vectors given as three arrays, or numbers, each."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _apply(matrix, vector):
    return tuple(dot(matrix[i], vector) for i in range(3))


def _slope(part):
    """Sine of the angle between a cone's side and its axis; 0 for a sphere."""
    return (part.first - part.last) / jnp.where(part.length > 0, part.length, 1.0)


def _smaller_root(a, b, c):
    """The first root of a t^2 + 2 b t + c, or MISS; a ray enters a surface there."""
    inside = b * b - a * c
    root = (-b - jnp.sqrt(jnp.maximum(inside, 0.0))) / a
    return jnp.where(inside > 0, root, MISS)


def _entry(part, origin, direction):
    """Depth t at which origin + t direction enters a round cone, MISS where it passes by.

    The round cone is the union of its two balls and of the cone that touches both along circles.
    """
    o = _apply(part.to_local, [origin[i] - part.start[i] for i in range(3)])
    d = _apply(part.to_local, direction)
    dd, od, oo = dot(d, d), dot(o, d), dot(o, o)
    h, slope = part.length, _slope(part)
    start = _smaller_root(dd, od, oo - part.first**2)
    end = _smaller_root(dd, od - h * d[2], oo - h * (2 * o[2] - h) - part.last**2)
    # Points of the cone: cos^2 (|q|^2 - first^2) = (q_z - slope first)^2, between the circles.
    cos2 = 1 - slope**2
    y = o[2] - slope * part.first
    side = _smaller_root(
        cos2 * dd - d[2] ** 2, cos2 * od - d[2] * y, cos2 * (oo - part.first**2) - y * y
    )
    at = y + side * d[2]
    side = jnp.where((at > 0) & (at < cos2 * h), side, MISS)
    return jnp.minimum(jnp.minimum(start, end), side)


def first_entry(parts: Parts, origin: tuple, direction: tuple) -> Array:
    """Depth of the first surface along rays, or MISS.

    Args:
      parts: of one body.
      origin, direction: three arrays each that broadcast to `[...rays]`, outside the body.

    Returns:
      `[...rays]` t of origin + t direction.
    """
    shape = jnp.broadcast_shapes(*(jnp.shape(x) for x in (*origin, *direction)))

    def nearer(depth, part):
        return jnp.minimum(depth, _entry(part, origin, direction)), None

    return jax.lax.scan(nearer, jnp.full(shape, MISS, parts.start.dtype), parts)[0]


def blended_normal(parts: Parts, point: tuple, *, width: float) -> tuple:
    """Unit normals at surface points, blended between the parts that meet there.

    A part at distance s counts with weight max(0, 1 - s / width)^2, which rounds the creases.

    Args:
      parts: of one body.
      point: three arrays `[...rays]`.
      width: distance from a part's surface over which it bends its neighbours' normals, > 0.

    Returns:
      Three arrays `[...rays]`.
    """

    def add(total, part):
        q = _apply(part.to_local, [point[i] - part.start[i] for i in range(3)])
        slope = _slope(part)
        ring = jnp.sqrt(q[0] ** 2 + q[1] ** 2)
        # The ball of the sweep that is nearest to q.
        nearest = q[2] - ring * slope * jax.lax.rsqrt(1 - slope**2)
        nearest = jnp.clip(nearest, 0.0, part.length)
        g = (q[0], q[1], q[2] - nearest)
        size = jnp.sqrt(dot(g, g) + 1e-12)
        # Distances and gradients of the local coordinates, to first order in the world's.
        w = _apply(part.to_local.T, g)
        steep = jnp.sqrt(dot(w, w) + 1e-12)
        distance = (size - (part.first - slope * nearest)) * size / steep
        weight = jnp.square(jnp.maximum(1 - distance / width, 0.0)) / steep
        return tuple(t + weight * x for t, x in zip(total, w, strict=True)), None

    zero = tuple(jnp.zeros_like(point[0]) for _ in range(3))
    total = jax.lax.scan(add, zero, parts)[0]
    scale = jax.lax.rsqrt(dot(total, total) + 1e-12)
    return tuple(x * scale for x in total)

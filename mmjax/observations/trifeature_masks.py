"""Which points a shape covers, and which a texture: signed distances of Trifeature's ten of each.

The shapes and the textures are those of Trifeature (Hermann & Lampinen 2020, appendix) as rendered
by Dufumier et al. 2025; textures are drawn at other proportions, so that each stays legible at a
few pixels a period. Distances are negative inside and exact near the edges, which one evaluation a
pixel then smooths. Points are (row, column), rows counted downwards.
"""

import jax.numpy as jnp
import numpy as np

from mmjax.types import Array


def _star() -> list[tuple[float, float]]:
    """Five points that fill the unit square's width; the inner radius is 0.42 of the outer."""
    turn = np.arange(10) * np.pi / 5
    radius = np.where(np.arange(10) % 2, 0.42, 1.0) / (2 * np.sin(2 * np.pi / 5))
    rows = -radius * np.cos(turn)
    rows += -(rows.max() + rows.min()) / 2
    return list(zip(rows + 0.5, radius * np.sin(turn) + 0.5, strict=True))


_A, _B = 1 / 3, 2 / 3
# Corners in the unit square, (row, column); two shapes are no polygons.
_OUTLINES: dict[str, list[tuple[float, float]]] = {
    "triangle": [(0, 0.5), (1, 1), (1, 0)],
    "square": [(0, 0), (0, 1), (1, 1), (1, 0)],
    "plus": [(0, _A), (0, _B), (_A, _B), (_A, 1), (_B, 1), (_B, _B)]
    + [(1, _B), (1, _A), (_B, _A), (_B, 0), (_A, 0), (_A, _A)],
    "circle": [],
    "tee": [(0, 0), (0, 1), (_A, 1), (_A, _B), (1, _B), (1, _A), (_A, _A), (_A, 0)],
    "rhombus": [(0, 0.5), (0, 1), (1, 0.5), (1, 0)],
    "pentagon": [(0, 0.5), (0.4, 1), (1, 0.806), (1, 0.194), (0.4, 0)],
    "star": _star(),
    "fivesquare": [],
    "trapezoid": [(0, 0), (0, 1), (1, 0.677), (1, 0.323)],
}
TRIFEATURE_SHAPES = tuple(_OUTLINES)


def _edges() -> np.ndarray:
    """`[shapes, edges, 2, 2]` float32: start and end of each edge, about the middle."""
    longest = max(map(len, _OUTLINES.values()))
    # Filled up with the last corner: edges of length 0, which nothing is nearer to or crosses.
    loops = [p + [(p or [(0, 0)])[-1]] * (longest - len(p)) for p in _OUTLINES.values()]
    corners = np.array(loops, np.float32) - 0.5
    return np.stack([corners, np.roll(corners, -1, 1)], 2)


_EDGES = _edges()


def _fivesquare(row, column):
    """The middle and the corners of three by three squares."""
    distances = []
    for middle in (0, _A):
        r, c = jnp.abs(jnp.abs(row) - middle) - _A / 2, jnp.abs(jnp.abs(column) - middle) - _A / 2
        away = jnp.sqrt(jnp.maximum(r, 0.0) ** 2 + jnp.maximum(c, 0.0) ** 2)
        distances.append(away + jnp.minimum(jnp.maximum(r, c), 0.0))
    return jnp.minimum(*distances)


def shape_distance(shape: Array, row: Array, column: Array) -> Array:
    """Signed distance of points to a shape that fills the square of side 1 about 0.

    Args:
      shape: int32 scalar, a number in TRIFEATURE_SHAPES.
      row, column: of the points, any shape.

    Returns:
      Float32 of the points' shape, negative inside.
    """
    edges = jnp.asarray(_EDGES)[shape]
    nearest, inside = jnp.array(jnp.inf), jnp.array(False)
    for k in range(_EDGES.shape[1]):
        (r0, c0), (r1, c1) = edges[k]
        dr, dc, r, c = r1 - r0, c1 - c0, row - r0, column - c0
        along = jnp.clip((r * dr + c * dc) / jnp.maximum(dr * dr + dc * dc, 1e-9), 0.0, 1.0)
        nearest = jnp.minimum(nearest, (r - along * dr) ** 2 + (c - along * dc) ** 2)
        # Does a ray from the point, along its row, cross the edge?
        straddles = (row < r0) != (row < r1)
        inside ^= straddles & ((c * dr < r * dc) == (dr > 0))
    polygon = jnp.where(inside, -1.0, 1.0) * jnp.sqrt(nearest)
    distances = {
        "circle": jnp.sqrt(row**2 + column**2) - 0.5,
        "fivesquare": _fivesquare(row, column),
    }
    for name, distance in distances.items():
        polygon = jnp.where(shape == TRIFEATURE_SHAPES.index(name), distance, polygon)
    return polygon


def _off(x: Array) -> Array:
    """Signed distance along one axis to the nearest whole number, in [-0.5, 0.5]."""
    return x - jnp.round(x)


def _near(x: Array) -> Array:
    return jnp.abs(_off(x))


def _chance(*cell: Array) -> Array:
    """A number in [0, 1) for each cell of whole coordinates, as good as random."""
    bits = jnp.uint32(0)
    for x, odd in zip(cell, (0x9E3779B1, 0x85EBCA77), strict=True):
        bits = (bits ^ x.astype(jnp.int32).astype(jnp.uint32)) * jnp.uint32(odd)
        bits = bits ^ (bits >> 15)
    bits = bits * jnp.uint32(0x2C1B3C6D)
    return (bits >> 8).astype(jnp.float32) / 2**24


def _solid(row, column, width):
    return jnp.ones_like(row)


def _cover(distance: Array, width: Array | float) -> Array:
    """Share of a pixel of that width that lies inside."""
    return jnp.clip(0.5 - distance / width, 0.0, 1.0)


def _stripes(row, column, width):
    return _cover(_near(row) - 0.24, width)


def _grid(row, column, width):
    return _cover(jnp.minimum(_near(row), _near(column)) - 0.16, width)


def _hexgrid(row, column, width):
    """Three sets of lines at 60 degrees to each other, every two of which meet on the third."""
    row, column = row / 1.3, column / 1.3
    slant = 3**0.5 / 2 * column
    lines = [_near(row), _near(row / 2 + slant), _near(row / 2 - slant)]
    return _cover(1.3 * (jnp.minimum(jnp.minimum(*lines[:2]), lines[2]) - 0.09), width)


def _dots(row, column, width):
    return _cover(jnp.sqrt(_off(row) ** 2 + _off(column) ** 2) - 0.37, width)


def _noise(row, column, width):
    """Small squares, each covered or not with equal chances."""
    side = 0.4
    row, column, width = row / side, column / side, width / side
    total = jnp.zeros(())
    for i in (0, 1):
        for j in (0, 1):
            # The share of the pixel in this one of the four squares around the nearest corner.
            corner = jnp.round(row), jnp.round(column)
            parts = [
                jnp.clip(0.5 + (x - at) / width, 0.0, 1.0)
                for x, at in zip((row, column), corner, strict=True)
            ]
            share = (parts[0] if i else 1 - parts[0]) * (parts[1] if j else 1 - parts[1])
            total += share * (_chance(corner[0] + i, corner[1] + j) < 0.5)
    return total


def _triangles(row, column, width):
    row, column = _off(row / 1.3), _off(column / 1.3)
    sides = (2 * jnp.abs(column) - (row + 0.42)) / 5**0.5
    return _cover(1.3 * jnp.maximum(sides, row - 0.42), width)


def _zigzags(row, column, width):
    row, column, slope = row / 1.4, column / 1.4, 1.6
    band = _near(row + slope * _near(column)) - 0.25
    return _cover(1.4 * band / (1 + slope**2) ** 0.5, width)


def _rain(row, column, width):
    """Short strokes in columns, each with its own start; some are missing."""
    apart, pitch, length = 0.6, 1.9, 1.1
    lane = jnp.round(column / apart)
    row = row / pitch + _chance(lane, lane)
    drop = jnp.round(row)
    box = jnp.maximum(
        jnp.abs(row - drop) * pitch - length / 2, _near(column / apart) * apart - 0.13
    )
    return _cover(box, width) * (_chance(lane, drop) < 0.85)


def _pluses(row, column, width):
    row, column = row / 1.2, column / 1.2
    line = jnp.round(row)
    across, down = jnp.abs(_off(column + line / 2)), jnp.abs(row - line)
    arms = [jnp.maximum(a - 0.42, b - 0.14) for a, b in ((across, down), (down, across))]
    return _cover(1.2 * jnp.minimum(*arms), width)


_TEXTURES = {
    "solid": _solid,
    "stripes": _stripes,
    "grid": _grid,
    "hexgrid": _hexgrid,
    "dots": _dots,
    "noise": _noise,
    "triangles": _triangles,
    "zigzags": _zigzags,
    "rain": _rain,
    "pluses": _pluses,
}
TRIFEATURE_TEXTURES = tuple(_TEXTURES)


def shape_cover(shape: Array, row: Array, column: Array, width: Array | float) -> Array:
    """Share of each pixel that a shape covers; `width` is a pixel's, in the shape's sides."""
    return _cover(shape_distance(shape, row, column), width)


def texture_cover(texture: Array, row: Array, column: Array, width: Array | float) -> Array:
    """Share of each pixel that a texture covers.

    Args:
      texture: int32 scalar, a number in TRIFEATURE_TEXTURES.
      row, column: of the pixels' centres in periods of the texture, any shape.
      width: of a pixel in periods.

    Returns:
      Float32 in [0, 1] of the pixels' shape.
    """
    out = jnp.ones_like(row)
    for k, cover in enumerate(_TEXTURES.values()):
        out = jnp.where(texture == k, cover(row, column, width), out)
    return out

"""The one primitive of every body, and tables of bodies.

A primitive is a round cone (a sphere swept along a segment while its radius changes linearly) in
coordinates of its own, which an affine map takes from the body's. A sphere has length 0; an
ellipsoid is a sphere under a map that stretches; a wing is a round cone under one that flattens. A
ray meets all of them in closed form (see trace.py), so that every shape runs the same code on its
own numbers and nothing is marched.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

Point = tuple[float, float, float]


class Part(NamedTuple):
    """A round cone in local coordinates q = to_local (p - start), its axis the third of them.

    Attributes:
      to_local: `[3, 3]` invertible.
      start: `[3]` centre of the first ball, in the body's coordinates.
      length: local distance of the second ball's centre from the first, >= 0.
      first, last: local radii of the balls, > 0, their difference below length unless that is 0.
    """

    to_local: np.ndarray
    start: np.ndarray
    length: float
    first: float
    last: float


class ShapeTable(NamedTuple):
    """Bodies as equally many primitives each, inside the unit ball about the origin.

    Attributes:
      to_local, to_body: `[shapes, parts, 3, 3]`, each other's inverses.
      start: `[shapes, parts, 3]`.
      length, first, last: `[shapes, parts]`.

    All are float32; see Part.
    """

    to_local: np.ndarray
    to_body: np.ndarray
    start: np.ndarray
    length: np.ndarray
    first: np.ndarray
    last: np.ndarray


def bone(
    a: Point, b: Point, first: float, last: float | None = None, *, flat: tuple | None = None
) -> Part:
    """A round cone from a to b with radii first and last (the same if None).

    `flat = (direction, factor)` multiplies the thickness along the direction by the factor.
    """
    last = first if last is None else last
    stretch = np.eye(3)
    if flat is not None:
        normal = np.asarray(flat[0], float) / np.linalg.norm(flat[0])
        stretch += (1 / flat[1] - 1) * np.outer(normal, normal)
    axis = stretch @ np.subtract(b, a)
    length = float(np.linalg.norm(axis))
    # Orthonormal rows that end with the axis: QR completes it, up to sign.
    rows = np.linalg.qr(np.column_stack([axis / length, np.eye(3)[:, np.argsort(abs(axis))[:2]]]))
    basis = rows[0].T * np.sign(rows[1][0, 0])
    return Part(basis[[1, 2, 0]] @ stretch, np.asarray(a, float), length, first, last)


def ellipsoid(centre: Point, radii: Point, *, tilt: float = 0.0) -> Part:
    """An ellipsoid; tilt turns it in degrees from x towards y."""
    c, s = np.cos(np.radians(tilt)), np.sin(np.radians(tilt))
    turn = np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
    return Part(turn / np.asarray(radii)[:, None], np.asarray(centre, float), 0.0, 1.0, 1.0)


def both(*parts: Part) -> list[Part]:
    """The parts and their mirror images in the plane z = 0."""
    mirror = np.array([1.0, 1.0, -1.0])
    return [
        *parts,
        *(p._replace(to_local=p.to_local * mirror, start=p.start * mirror) for p in parts),
    ]


def surface_points(part: Part, count: int = 200) -> np.ndarray:
    """`[2 * count, 3]` points on the two balls of a part; their hull is the part's."""
    k = np.arange(count) + 0.5
    height, angle = 1 - 2 * k / count, np.pi * (1 + 5**0.5) * k  # a Fibonacci lattice
    ring = np.sqrt(1 - height**2)
    sphere = np.stack([ring * np.cos(angle), ring * np.sin(angle), height], axis=1)
    balls = [sphere * part.first, sphere * part.last + [0, 0, part.length]]
    return np.concatenate(balls) @ np.linalg.inv(part.to_local).T + part.start


def enclosing_ball(points: np.ndarray, steps: int = 100) -> tuple[np.ndarray, float]:
    """Centre and radius of a nearly smallest ball around `[n, 3]` points (Badoiu and Clarkson)."""
    centre = points.mean(axis=0)
    for k in range(steps):
        farthest = points[np.argmax(np.sum((points - centre) ** 2, axis=1))]
        centre = centre + (farthest - centre) / (k + 2)
    return centre, float(np.sqrt(np.max(np.sum((points - centre) ** 2, axis=1))))


def normalised(parts: Sequence[Part], *, yaw: float = 0.0, pitch: float = 0.0) -> list[Part]:
    """The body turned to its canonical pose, then moved and scaled to fill the unit ball.

    Args:
      parts: facing x, up y.
      yaw: degrees by which the face turns to the camera (z).
      pitch: degrees by which the top then leans to the camera.
    """
    y, p = np.radians(yaw), np.radians(pitch)
    about_y = np.array([[np.cos(y), 0, -np.sin(y)], [0, 1, 0], [np.sin(y), 0, np.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    turn = about_x @ about_y
    centre, radius = enclosing_ball(np.concatenate([surface_points(part) for part in parts]))
    # The lattice misses the farthest point of a surface by less than 1 %.
    radius *= 1.01
    return [
        p._replace(to_local=radius * p.to_local @ turn.T, start=turn @ (p.start - centre) / radius)
        for p in parts
    ]


def shape_table(bodies: Sequence[Sequence[Part]]) -> ShapeTable:
    """Stacks bodies that lie in the unit ball, filling up with specks hidden in the first part."""
    parts = max(len(body) for body in bodies)

    def fill(body):
        speck = Part(np.eye(3) * 100, body[0].start, 0.0, 1.0, 1.0)
        return [*body, *[speck] * (parts - len(body))]

    rows = [[np.stack(column) for column in zip(*fill(body), strict=True)] for body in bodies]
    to_local, *others = (np.stack(column) for column in zip(*rows, strict=True))
    columns = (to_local, np.linalg.inv(to_local), *others)
    return ShapeTable(*(column.astype(np.float32) for column in columns))

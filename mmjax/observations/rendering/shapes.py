"""The seven bodies of Multimodal3DIdent, modelled from round cones and ellipsoids.

Each faces x with its top along y and is symmetric in z, in whatever unit is handy; `normalised`
then turns it to a canonical pose seen from the front right and scales it to the unit ball.
"""

import functools

from mmjax.observations.rendering.primitives import (
    Part,
    ShapeTable,
    bone,
    both,
    ellipsoid,
    normalised,
    shape_table,
)

SIDE = (0.0, 0.0, 1.0)


def teapot() -> list[Part]:
    """Round body with a foot, a lid with its knob, a spout in front and a handle behind."""
    handle = [(-0.8, 0.42), (-1.3, 0.5), (-1.62, 0.2), (-1.42, -0.25), (-0.85, -0.45)]
    return [
        ellipsoid((0, 0, 0), (1.0, 0.78, 1.0)),
        ellipsoid((0, -0.68, 0), (0.62, 0.16, 0.62)),
        ellipsoid((0, 0.56, 0), (0.72, 0.09, 0.72)),
        ellipsoid((0, 0.62, 0), (0.6, 0.24, 0.6)),
        ellipsoid((0, 1.02, 0), (0.2, 0.17, 0.2)),
        bone((0.7, -0.25, 0), (1.3, 0.05, 0), 0.34, 0.2),
        bone((1.3, 0.05, 0), (1.62, 0.6, 0), 0.2, 0.13),
        *(bone((*a, 0), (*b, 0), 0.11) for a, b in zip(handle, handle[1:], strict=False)),
    ]


def hare() -> list[Part]:
    """Sitting: two long ears, haunches, a round tail."""
    return [
        ellipsoid((-0.35, -0.1, 0), (0.86, 0.78, 0.64), tilt=20),
        bone((0.1, 0.0, 0), (0.5, 0.42, 0), 0.52, 0.4),
        ellipsoid((0.74, 0.8, 0), (0.46, 0.4, 0.37), tilt=-15),
        ellipsoid((1.06, 0.68, 0), (0.23, 0.2, 0.22)),
        ellipsoid((-1.18, -0.4, 0), (0.26, 0.26, 0.26)),
        *both(
            bone((0.62, 1.05, 0.14), (0.38, 1.55, 0.26), 0.13, 0.24, flat=(SIDE, 0.5)),
            bone((0.38, 1.55, 0.26), (0.14, 2.15, 0.34), 0.24, 0.08, flat=(SIDE, 0.5)),
            ellipsoid((-0.45, -0.4, 0.44), (0.56, 0.48, 0.28)),
            bone((-0.3, -0.85, 0.47), (0.32, -0.9, 0.47), 0.16, 0.14),
            bone((0.45, 0.1, 0.22), (0.6, -0.85, 0.22), 0.21, 0.12),
            bone((0.6, -0.9, 0.22), (0.8, -0.92, 0.22), 0.13, 0.11),
        ),
    ]


def dragon() -> list[Part]:
    """Long neck and tail, horns, four legs and wings on three fingers."""
    wing = (0.18, -0.72, 1.44)  # the direction across it
    return [
        bone((-0.6, 0, 0), (0.45, 0.1, 0), 0.43, 0.45, flat=(SIDE, 0.85)),
        bone((0.5, 0.2, 0), (0.95, 0.72, 0), 0.35, 0.25),
        bone((0.95, 0.72, 0), (1.15, 1.2, 0), 0.25, 0.22),
        bone((1.2, 1.28, 0), (1.75, 1.12, 0), 0.27, 0.15),
        bone((1.25, 1.12, 0), (1.65, 0.88, 0), 0.14, 0.08),
        bone((-0.8, 0, 0), (-1.4, -0.35, 0), 0.36, 0.23),
        bone((-1.4, -0.35, 0), (-1.95, -0.15, 0), 0.23, 0.14),
        bone((-1.95, -0.15, 0), (-2.15, 0.4, 0), 0.14, 0.07),
        ellipsoid((-2.18, 0.55, 0), (0.16, 0.28, 0.08), tilt=10),
        *both(
            bone((1.08, 1.42, 0.13), (0.7, 1.78, 0.28), 0.11, 0.03),
            bone((0.1, 0.4, 0.25), (-0.08, 1.2, 0.66), 0.2, 0.42, flat=(wing, 0.12)),
            bone((0.1, 0.4, 0.25), (-0.6, 0.95, 0.6), 0.2, 0.45, flat=(wing, 0.12)),
            bone((0.15, 0.4, 0.25), (0.25, 1.72, 0.93), 0.13, 0.05),
            bone((0.1, 0.4, 0.25), (-0.55, 1.6, 0.93), 0.1, 0.04),
            bone((0.1, 0.4, 0.25), (-1.25, 1.05, 0.75), 0.1, 0.04),
            bone((0.45, -0.05, 0.28), (0.7, -0.5, 0.42), 0.26, 0.16),
            bone((0.7, -0.5, 0.42), (0.7, -0.95, 0.42), 0.15, 0.16),
            bone((-0.6, -0.05, 0.28), (-0.42, -0.5, 0.45), 0.32, 0.18),
            bone((-0.42, -0.5, 0.45), (-0.58, -0.95, 0.45), 0.17, 0.16),
        ),
    ]


def cow() -> list[Part]:
    """Heavy trunk on four short legs, a broad muzzle, horns, an udder and a tufted tail."""
    return [
        bone((-0.8, 0.0, 0), (0.75, 0.02, 0), 0.68, 0.64, flat=(SIDE, 0.85)),
        ellipsoid((0.0, -0.25, 0), (0.9, 0.55, 0.54)),
        ellipsoid((0.8, 0.35, 0), (0.45, 0.42, 0.4)),
        bone((0.95, 0.3, 0), (1.4, 0.5, 0), 0.45, 0.34),
        bone((1.45, 0.55, 0), (1.86, 0.12, 0), 0.34, 0.24),
        ellipsoid((1.94, 0.02, 0), (0.27, 0.25, 0.31)),
        ellipsoid((-0.42, -0.76, 0), (0.34, 0.3, 0.34)),
        bone((-1.44, 0.4, 0), (-1.6, -0.4, 0), 0.08, 0.06),
        ellipsoid((-1.61, -0.6, 0), (0.15, 0.28, 0.15)),
        *both(
            bone((1.34, 0.78, 0.2), (1.38, 1.0, 0.56), 0.12, 0.1),
            bone((1.38, 1.0, 0.56), (1.52, 1.4, 0.5), 0.1, 0.03),
            bone((1.26, 0.6, 0.3), (1.16, 0.54, 0.7), 0.14, 0.12, flat=((1, 0, 0), 0.5)),
            bone((0.78, -0.3, 0.34), (0.78, -0.9, 0.34), 0.28, 0.17),
            bone((0.78, -0.9, 0.34), (0.8, -1.3, 0.34), 0.16, 0.19),
            bone((-0.88, -0.2, 0.34), (-0.8, -0.85, 0.34), 0.34, 0.19),
            bone((-0.8, -0.85, 0.34), (-0.88, -1.3, 0.34), 0.16, 0.19),
            bone((-0.42, -0.98, 0.14), (-0.42, -1.14, 0.14), 0.09, 0.06),
        ),
    ]


def armadillo() -> list[Part]:
    """Upright with raised arms: a back of bands, a long snout, tall ears and a thick tail."""
    bands = [(-0.66, 0.52), (-0.34, 0.66), (0.0, 0.72), (0.34, 0.66), (0.66, 0.52)]
    return [
        ellipsoid((0.1, 0, 0), (0.5, 0.82, 0.52)),
        *(ellipsoid((-0.16, y, 0), (r, 0.16, r * 0.95), tilt=-12) for y, r in bands),
        ellipsoid((0.25, 1.06, 0), (0.4, 0.34, 0.35)),
        bone((0.45, 1.0, 0), (1.05, 0.8, 0), 0.24, 0.11),
        bone((-0.45, -0.6, 0), (-1.0, -1.1, 0), 0.34, 0.21),
        bone((-1.0, -1.1, 0), (-1.5, -1.15, 0), 0.21, 0.07),
        *both(
            bone((0.12, 1.28, 0.22), (-0.05, 1.66, 0.36), 0.12, 0.18, flat=((1, 0.4, 0), 0.4)),
            bone((0.25, 0.5, 0.48), (0.5, 0.45, 0.92), 0.2, 0.17),
            bone((0.5, 0.45, 0.92), (0.9, 0.85, 1.05), 0.17, 0.18),
            bone((0.05, -0.55, 0.32), (0.25, -0.98, 0.52), 0.36, 0.27),
            bone((0.25, -0.98, 0.52), (0.1, -1.36, 0.52), 0.26, 0.2),
            bone((0.1, -1.42, 0.52), (0.58, -1.46, 0.58), 0.19, 0.16),
        ),
    ]


def horse() -> list[Part]:
    """Slender on four long legs: an arched long neck with a mane, a long head, a hanging tail."""
    return [
        bone((-0.7, 0.02, 0), (0.62, 0.0, 0), 0.46, 0.5, flat=(SIDE, 0.8)),
        ellipsoid((-0.75, 0.08, 0), (0.48, 0.5, 0.4)),
        bone((0.72, 0.2, 0), (1.34, 1.2, 0), 0.46, 0.24, flat=(SIDE, 0.7)),
        bone((1.38, 1.3, 0), (1.95, 0.82, 0), 0.26, 0.16, flat=(SIDE, 0.8)),
        bone((0.5, 0.78, 0), (1.12, 1.5, 0), 0.2, 0.17, flat=(SIDE, 0.45)),
        bone((-1.14, 0.35, 0), (-1.5, 0.0, 0), 0.14, 0.2),
        bone((-1.5, 0.0, 0), (-1.58, -0.95, 0), 0.2, 0.06),
        *both(
            bone((1.28, 1.45, 0.12), (1.3, 1.76, 0.16), 0.1, 0.04),
            bone((0.75, -0.2, 0.24), (0.8, -0.9, 0.24), 0.24, 0.14),
            bone((0.8, -0.9, 0.24), (0.78, -1.45, 0.24), 0.13, 0.12),
            bone((0.8, -1.52, 0.24), (0.88, -1.56, 0.24), 0.15, 0.14),
            bone((-0.8, -0.05, 0.24), (-0.68, -0.7, 0.26), 0.34, 0.18),
            bone((-0.68, -0.7, 0.26), (-0.96, -1.05, 0.26), 0.17, 0.13),
            bone((-0.96, -1.05, 0.26), (-0.92, -1.48, 0.26), 0.13, 0.12),
            bone((-0.92, -1.52, 0.26), (-0.84, -1.56, 0.26), 0.15, 0.14),
        ),
    ]


def head() -> list[Part]:
    """A human bust: nose, brow, eyes, lips, chin, ears, neck and shoulders."""
    return [
        ellipsoid((-0.1, 0.45, 0), (0.85, 0.78, 0.66)),
        bone((0.32, 0.15, 0), (0.4, -0.5, 0), 0.5, 0.34),
        ellipsoid((0.56, -0.72, 0), (0.24, 0.2, 0.26)),
        bone((0.82, 0.28, 0), (1.06, -0.1, 0), 0.08, 0.15),
        ellipsoid((0.78, -0.34, 0), (0.1, 0.07, 0.2)),
        ellipsoid((0.75, -0.48, 0), (0.1, 0.08, 0.18)),
        bone((-0.25, -0.4, 0), (-0.35, -1.3, 0), 0.45, 0.48),
        ellipsoid((-0.35, -1.55, 0), (0.5, 0.3, 0.95)),
        *both(
            bone((0.76, 0.42, 0.1), (0.6, 0.4, 0.42), 0.11, 0.09),
            ellipsoid((0.74, 0.2, 0.25), (0.1, 0.1, 0.13)),
            ellipsoid((0.58, -0.1, 0.34), (0.2, 0.2, 0.14)),
            ellipsoid((-0.1, 0.1, 0.68), (0.18, 0.28, 0.09), tilt=15),
            ellipsoid((0.95, -0.14, 0.12), (0.11, 0.09, 0.09)),
        ),
    ]


# In the order of the data set's object_shape 0 to 6; the last two are the yaw and the pitch.
_BODIES = {
    "teapot": (teapot, 20.0, 18.0),
    "hare": (hare, 30.0, 8.0),
    "dragon": (dragon, 20.0, 15.0),
    "cow": (cow, 30.0, 10.0),
    "armadillo": (armadillo, 45.0, 8.0),
    "horse": (horse, 25.0, 8.0),
    "head": (head, 55.0, 0.0),
}
SHAPE_NAMES = tuple(_BODIES)
SPHERE: ShapeTable = shape_table([[ellipsoid((0, 0, 0), (1, 1, 1))]])


@functools.cache
def scene_shapes() -> ShapeTable:
    """The bodies in the order of SHAPE_NAMES, made once: it takes a fifth of a second."""
    return shape_table(
        [normalised(body(), yaw=yaw, pitch=pitch) for body, yaw, pitch in _BODIES.values()]
    )

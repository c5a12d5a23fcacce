"""Rows of the robustness table: each breaks one assumption, and says what follows and why.

The sentences were written beside the figures of the committed run (README, "Results").
"""

from typing import Any, NamedTuple


class Violation(NamedTuple):
    """A change of assumptions.

    Attributes:
      geometry: sphere, box, or empty for both.
      changes: fields of Assumptions.
      why: why the result holds or breaks.
    """

    geometry: str
    changes: dict[str, Any]
    why: str


VIOLATIONS = [
    Violation(
        "",
        {},
        "assumptions met: the theorem's own case",
    ),
    Violation(
        "sphere",
        dict(conditional="laplace", scale=0.3),
        "holds: projected to the sphere the noise falls off nearly alike in all "
        "directions, so the closest pairs are still the likeliest",
    ),
    Violation(
        "sphere",
        dict(conditional="normal", scale=0.3),
        "holds: a projected isotropic Normal depends on the angle alone, like the vMF",
    ),
    Violation(
        "sphere",
        dict(conditional="generalised_normal", p=3.0, scale=0.4),
        "holds: at this width the projected law is nearly a function of the angle",
    ),
    Violation(
        "sphere",
        dict(marginal="laplace"),
        "holds: the projected Laplace is only mildly uneven, and negatives follow it too, "
        "so little of it is left for the embedding to even out",
    ),
    Violation(
        "sphere",
        dict(space="box", conditional="laplace"),
        "breaks: a cosine sees directions only, two of three coordinates' worth (R2 near 2/3)",
    ),
    Violation(
        "sphere",
        dict(space="euclidean", marginal="normal", conditional="normal", scale=0.3),
        "breaks: the radius of z has no place on a sphere; two thirds of the variance are left",
    ),
    Violation(
        "sphere",
        dict(similarity="l1"),
        "breaks in part: the L1 distance prefers the axes, so a sphere compared by it is "
        "bent, not only rotated",
    ),
    Violation(
        "sphere",
        dict(edge="t_to_x"),
        "holds: with a uniform marginal the vMF is symmetric, so the joint law is the same",
    ),
    Violation(
        "sphere",
        dict(edge="confounder"),
        "holds: two draws around a common cause couple z_x and z_t by a wider law of the "
        "same angle",
    ),
    Violation(
        "sphere",
        dict(edge="mixture"),
        "holds: each mechanism couples by the angle alone, hence so does any mixture of them",
    ),
    Violation(
        "box",
        dict(conditional="normal", scale=0.14),
        "breaks in part: round noise does not mark the axes, only the walls and the L1 "
        "critic do; the latents stay linearly readable",
    ),
    Violation(
        "box",
        dict(conditional="generalised_normal", p=3.0, scale=0.2),
        "breaks, rotated: level sets bulge towards the corners, which the diamonds of L1 "
        "fit best when turned; linear recovery stays",
    ),
    Violation(
        "box",
        dict(marginal="normal"),
        "holds: the body and the Laplace coupling are untouched, and a mildly uneven "
        "density only shifts the critic",
    ),
    Violation(
        "box",
        dict(space="ball"),
        "holds: a ball is a convex body too; the Laplace coupling alone marks the axes",
    ),
    Violation(
        "box",
        dict(space="euclidean", marginal="normal", conditional="normal", scale=0.14),
        "breaks: the joint law is rotation-invariant, so no method could name the axes; "
        "linear recovery stays",
    ),
    Violation(
        "box",
        dict(similarity="squared_l2"),
        "breaks: alpha = 2 is what the theorem excludes; a round distance leaves the rotation free",
    ),
    Violation(
        "box",
        dict(similarity="cosine", head="sphere"),
        "breaks: three dimensions do not lie on a two-dimensional sphere without folding, and a "
        "cosine marks no axes",
    ),
    Violation(
        "box",
        dict(edge="t_to_x"),
        "holds: reversing the arrow changes the joint law at the walls only",
    ),
    Violation(
        "box",
        dict(edge="confounder"),
        "holds: two Laplace draws around a common cause couple coordinate by coordinate, with "
        "longer tails along the axes than round noise has",
    ),
    Violation(
        "box",
        dict(edge="mixture"),
        "holds: every mechanism in the mixture couples coordinate by coordinate",
    ),
]

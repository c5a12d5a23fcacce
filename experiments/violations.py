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
    Violation("", {}, "assumptions met"),
    Violation("sphere", dict(conditional="laplace", scale=0.3), "WHY"),
    Violation("sphere", dict(conditional="normal", scale=0.3), "WHY"),
    Violation("sphere", dict(conditional="generalised_normal", p=3.0, scale=0.4), "WHY"),
    Violation("sphere", dict(marginal="laplace"), "WHY"),
    Violation("sphere", dict(space="box", conditional="laplace"), "WHY"),
    Violation(
        "sphere", dict(space="euclidean", marginal="normal", conditional="normal", scale=0.3), "WHY"
    ),
    Violation("sphere", dict(similarity="l1"), "WHY"),
    Violation("sphere", dict(edge="t_to_x"), "WHY"),
    Violation("sphere", dict(edge="confounder"), "WHY"),
    Violation("sphere", dict(edge="mixture"), "WHY"),
    Violation("box", dict(conditional="normal", scale=0.14), "WHY"),
    Violation("box", dict(conditional="generalised_normal", p=3.0, scale=0.2), "WHY"),
    Violation("box", dict(marginal="normal"), "WHY"),
    Violation("box", dict(space="ball"), "WHY"),
    Violation(
        "box", dict(space="euclidean", marginal="normal", conditional="normal", scale=0.14), "WHY"
    ),
    Violation("box", dict(similarity="squared_l2"), "WHY"),
    Violation("box", dict(similarity="cosine", head="sphere"), "WHY"),
    Violation("box", dict(edge="t_to_x"), "WHY"),
    Violation("box", dict(edge="confounder"), "WHY"),
    Violation("box", dict(edge="mixture"), "WHY"),
]

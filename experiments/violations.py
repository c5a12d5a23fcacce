"""Rows of the robustness table: each breaks one assumption, and says what should follow."""

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
    Violation("", {}, ""),
]

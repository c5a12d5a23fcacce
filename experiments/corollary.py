"""Rows of the corollary's table (Liu et al. 2026, Section 4): when FastICA undoes the rotation."""

from experiments.violations import Violation


def corollary(dim: int) -> list[Violation]:
    """Latents more and less independent, through encoders that know a rotation or none."""
    return [
        Violation("sphere", {}, ""),
        Violation("sphere", dict(marginal="laplace"), ""),
        Violation("sphere", dict(space="box", conditional="laplace"), ""),
        Violation(
            "sphere",
            dict(space="box", conditional="laplace", embedding_dim=dim + 1),
            "",
        ),
        Violation("box", {}, ""),
    ]

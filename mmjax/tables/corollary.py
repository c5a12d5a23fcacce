"""Rows of the corollary's table (Liu et al. 2026, Section 4): when FastICA undoes the rotation."""

from mmjax.tables.violations import Violation


def corollary(dim: int) -> list[Violation]:
    """Latents more and less independent, through encoders that know a rotation or none."""
    return [
        Violation(
            "sphere",
            {},
            "coordinates of a point on the sphere share its length: not independent, so that ICA "
            "of the true latents finds the axes in part only, too",
        ),
        Violation(
            "sphere",
            dict(marginal="laplace"),
            "one length too: ICA turns away from the axes, of the "
            "true latents as of the learned ones",
        ),
        Violation(
            "sphere",
            dict(space="box", conditional="laplace"),
            "independent latents, but a sphere of two dimensions cannot hold three: what is "
            "missing from the embedding ICA cannot find",
        ),
        Violation(
            "sphere",
            dict(space="box", conditional="laplace", embedding_dim=dim + 1),
            "the corollary's case: independent latents and room for them on the sphere, so the "
            "embedding is linear in them and FastICA undoes the rotation",
        ),
        Violation("box", {}, "one by one already: no ICA needed"),
    ]

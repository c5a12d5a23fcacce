"""Latent spaces: NamedTuples of pure functions. A new geometry is one file and one row here."""

from mmjax.errors import choose
from mmjax.spaces.base import Space
from mmjax.spaces.convex import ball, box
from mmjax.spaces.euclidean import euclidean
from mmjax.spaces.sphere import sphere

SPACES = {"sphere": sphere, "box": box, "ball": ball, "euclidean": euclidean}


def make_space(name: str, dim: int) -> Space:
    """The space of that name; raises InvalidInput for an unknown name or a bad dimension."""
    return choose(SPACES, "space", name)(dim)


__all__ = ["SPACES", "Space", "ball", "box", "euclidean", "make_space", "sphere"]

"""What a latent space is."""

from collections.abc import Callable
from typing import NamedTuple

from mmjax.types import Array, Key


class Space(NamedTuple):
    """A latent space: a few pure functions on points stored as `[..., dim]` float arrays.

    Attributes:
      kind: which space; conditionals look up how noise is restricted to it.
      dim: number of coordinates of a stored point (a sphere S^(d-1) is stored in d coordinates).
      low, high: bounds of every coordinate (infinite for Euclidean space).
      log_volume: log of the volume (of the sphere's surface); infinite for Euclidean space.
      uniform: `(key, n) -> [n, dim]`, independent uniform points; None if there is no such law.
      project: `[..., dim] -> [..., dim]`, the nearest point of the space.
      contains: `[..., dim] -> [...]` bool, membership up to float32 rounding.
    """

    kind: str
    dim: int
    low: float
    high: float
    log_volume: float
    uniform: Callable[[Key, int], Array] | None
    project: Callable[[Array], Array]
    contains: Callable[[Array], Array]

    @property
    def centre(self) -> float:
        """The coordinate, the same along every axis, of the centre of the space."""
        return 0.5 * (self.low + self.high) if abs(self.low) != float("inf") else 0.0

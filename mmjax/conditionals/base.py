"""What a conditional and a marginal are."""

from collections.abc import Callable
from typing import NamedTuple

from mmjax.types import Array, Key


class Conditional(NamedTuple):
    """p(z_to | z_from) on a space.

    Attributes:
      sample: `(key, z_from [batch, dim]) -> z_to [batch, dim]`, one independent draw a row.
      log_density: `(z_to [batch, dim], z_from [batch, dim]) -> [batch]`, natural log, with respect
        to Lebesgue measure (surface measure on the sphere); -inf outside a bounded space.
    """

    sample: Callable[[Key, Array], Array]
    log_density: Callable[[Array, Array], Array]


class Marginal(NamedTuple):
    """p(z) on a space.

    Attributes:
      sample: `(key, n) -> z [n, dim]`, independent draws.
      log_density: `z [batch, dim] -> [batch]`, same measure as for a Conditional.
    """

    sample: Callable[[Key, int], Array]
    log_density: Callable[[Array], Array]

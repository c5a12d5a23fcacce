"""Move one component, look at what was decoded: which factor moves, and which others with it?"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.disentangle import Affine, components
from mmjax.errors import require
from mmjax.evaluate.identification import match
from mmjax.evaluate.traversal import traversed
from mmjax.types import Array

TINY = float(np.finfo(np.float32).tiny)  # a range of 0 is divided by it


class Moves(NamedTuple):
    """What moves when one component goes from its low to its high end.

    Attributes:
      factors: their names, in order of what follows.
      moves: `[k, factors]` in [0, 1].
      matched: `[factors]` how far each moves with the component matched to it.
      own: their mean.
      others: of all that moves with the matched components, the share that is other factors:
        0 where each moves one factor, 1 - 1 / factors where all move alike.
      component: `[factors]` int, the matched one; -1 where there are fewer components.
    """

    factors: tuple[str, ...]
    moves: np.ndarray
    matched: np.ndarray
    own: float
    others: float
    component: np.ndarray


def decoded_moves(
    affine: Affine,
    x: Array,
    read: Callable[[Array], Mapping[str, Array]],
    *,
    anchors: int = 64,
    ends: tuple[float, float] = (0.05, 0.95),
) -> Moves:
    """Sets each component of some rows to its low and its high quantile and reads all factors.

    A discrete factor moves by the total variation between the class probabilities at both ends, a
    quantity by the difference in units of its range, from the 5th to the 95th percentile of what is
    read of x, at most 1. Means over anchors. Factors and components are matched one to one so that
    the matched moves sum to most (Hungarian).

    Args:
      affine: components of the features.
      x: `[n, f]` rows, of which the first anchors are moved.
      read: features `[m, f]` -> name -> `[m]` or `[m, classes]`, such as a judge of
        decoded pictures.
      anchors: rows that are moved, >= 1.
      ends: quantiles of a component.

    Raises InvalidInput for anchors or ends out of range.
    """
    require(anchors >= 1, "anchors", anchors, "1 or more")
    require(0 <= ends[0] < ends[1] <= 1, "ends", ends, "two shares, ascending")
    start = jnp.asarray(x)[:anchors]
    low, high = jnp.quantile(components(affine, x), jnp.asarray(ends), axis=0)
    seen = read(jnp.asarray(x))
    spread = {
        name: max(float(np.subtract(*np.quantile(np.asarray(v), [0.95, 0.05]))), TINY)
        for name, v in seen.items()
        if v.ndim == 1
    }
    names, lines = tuple(seen), []
    for k in range(affine.matrix.shape[1]):
        moved = _ends(affine, start, k, jnp.stack([low[k], high[k]]))
        readings = read(moved.reshape(-1, moved.shape[-1]))
        both = {n: np.asarray(readings[n]).reshape(len(start), 2, -1) for n in names}
        lines.append([_apart(v, spread.get(n)) for n, v in both.items()])
    return scored(np.asarray(lines), names)


_ends = jax.jit(traversed)


def _apart(values: np.ndarray, spread: float | None) -> float:
    """Of `[anchors, 2, classes | 1]`."""
    gap = np.abs(values[:, 1] - values[:, 0])
    if spread is None:
        return float(np.mean(gap.sum(1) / 2))
    return float(np.mean(np.minimum(gap[:, 0] / spread, 1)))


def scored(moves: np.ndarray, names: Sequence[str]) -> Moves:
    """Moves of their table `[k, factors]`, whose columns have names."""
    rows, columns = match(jnp.asarray(moves.T))
    matched = np.zeros(moves.shape[1])
    component = np.full(moves.shape[1], -1)
    matched[rows], component[rows] = moves[columns, rows], columns
    whole = moves[columns].sum()
    others = 1 - matched.sum() / whole if whole > 0 else 0.0
    return Moves(tuple(names), moves, matched, float(matched.mean()), float(others), component)

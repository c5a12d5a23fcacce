"""Which rows a score is fitted on: drawn by a key, in strata where there are classes."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.errors import require
from mmjax.types import AnyArray, Array, Key, Tree


def shuffled_rows(key: Key | None, rows: int) -> Array:
    """`[rows]` int32, the row numbers in an order drawn by the key.

    Files are sorted, by class or by recording, so that no score may take rows by their position.

    Args:
      key: of the order; None is key 0. A split needs chance, not a new one each time: the same
        rows then have the same score.
      rows: >= 0.
    """
    return jax.random.permutation(_drawn(key), rows).astype(jnp.int32)


def half_rows(key: Key | None, rows: int, strata: Sequence[AnyArray] = ()) -> tuple[Array, Array]:
    """Two random halves of the row numbers; the second has the odd one.

    Args:
      key: of the split; None is key 0.
      rows: >= 0.
      strata: int arrays `[rows]`. Both halves have half the rows of every class of the first, to
        one row; within its classes of those of the second, and so on.

    Returns:
      `[rows // 2]`, `[rows - rows // 2]` int32, in random order.
    """
    split_key, fit_key, score_key = jax.random.split(_drawn(key), 3)
    # Sorted by class and, within, at random: every other row is then half of every class.
    # Float32, so that x64 draws the same.
    chance = jax.random.uniform(split_key, (rows,), jnp.float32)
    order = jnp.lexsort((chance, *reversed(list(strata))))
    halves = (fit_key, order[1::2]), (score_key, order[::2])
    fit, score = (jax.random.permutation(k, half).astype(jnp.int32) for k, half in halves)
    return fit, score


def halves(values: Tree, key: Key | None, strata: Sequence[AnyArray] = ()) -> tuple[Tree, Tree]:
    """The rows of all arrays `[rows, ...]` of a tree, in two halves; see half_rows.

    Raises InvalidInput where they differ in rows.
    """
    rows = sorted({len(v) for v in jax.tree.leaves(values)})
    require(len(rows) == 1, "rows", rows, "as many of all arrays")
    parts = half_rows(key, rows[0], strata)
    if isinstance(parts[0], jax.core.Tracer):
        return tuple(jax.tree.map(lambda v, p=p: jnp.asarray(v)[p], values) for p in parts)
    # An array of the host stays there, in its own type.
    fit, score = (np.asarray(part) for part in parts)
    return jax.tree.map(lambda v: v[fit], values), jax.tree.map(lambda v: v[score], values)


def _drawn(key: Key | None) -> Key:
    return jax.random.key(0) if key is None else key

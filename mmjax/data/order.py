"""In which order rows are trained on: a function of the step alone, so that a resume is exact."""

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from mmjax.errors import require


def epoch_rows(n: int, batch_size: int, seed: int) -> Callable[[int], np.ndarray]:
    """`step -> rows [batch_size]` int64: each epoch visits every row once, in an order of its own.

    Batches run on across epochs, so that none is small.

    Args:
      n: rows, >= 1.
      batch_size: >= 1.
      seed: of all orders.

    Example:
      >>> order = epoch_rows(4, 2, seed=0)
      >>> sorted([*order(0), *order(1)])
      [0, 1, 2, 3]
    """
    require(n >= 1, "rows", n, "1 or more")
    require(batch_size >= 1, "batch_size", batch_size, "a whole number >= 1")

    @lru_cache(maxsize=2)
    def order(epoch: int) -> np.ndarray:
        return np.random.default_rng([seed, epoch]).permutation(n)

    def rows(step: int) -> np.ndarray:
        places = step * batch_size + np.arange(batch_size)
        epochs = places // n
        parts = [order(int(e))[places[epochs == e] % n] for e in np.unique(epochs)]
        return np.concatenate(parts)

    return rows

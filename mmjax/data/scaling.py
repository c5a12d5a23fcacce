"""Standardisation, fitted in float64 whatever the values' dtype."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np


class Scaling(NamedTuple):
    """Standardisation fitted on the training rows: `(values - mean) / scale`, flattened.

    Attributes:
      mean: `[features]` float64.
      scale: `[features]` float64, at least a share (a tenth, see scaling_of) of the root mean
        variance, so that nearly constant features (the rim of an image) stay small; 1 where
        nothing varies.
    """

    mean: np.ndarray
    scale: np.ndarray


def scaling_of(parts: Callable[[], Iterable[np.ndarray]], floor: float = 0.1) -> Scaling:
    """The scaling of rows that come in parts, in float64 and two passes.

    Args:
      parts: returns the same `[rows, features]` numbers of any dtype each time; one part at a time
        is widened.
      floor: the least scale, as a share of the root mean variance. A feature that does not vary is
        divided by 1 where it is 0.
    """
    wide = lambda: (part.astype(np.float64) for part in parts())
    total: Any = 0.0
    count = 0
    for part in wide():
        total, count = total + part.sum(0), count + len(part)
    mean = total / max(count, 1)
    # A sum's rounding, relative to the offset, is taken off again.
    mean = np.asarray(mean + sum((part - mean).sum(0) for part in wide()) / max(count, 1))
    spread = np.sqrt(sum(np.square(part - mean).sum(0) for part in wide()) / max(count, 1))
    top = np.max(spread, initial=0.0)
    if top == 0:
        return Scaling(mean, np.ones_like(mean))
    spread = np.maximum(spread, floor * top * np.sqrt(np.mean((spread / top) ** 2)))
    if floor > 0:
        return Scaling(mean, spread)
    # Of what is constant a sum leaves its rounding, against the offset's own size.
    return Scaling(mean, np.where(spread > 1e-12 * np.abs(mean), spread, 1.0))


def scaled(values: np.ndarray, scaling: Scaling) -> np.ndarray:
    """`[..., features]` of any dtype -> float32; the difference is taken in float64."""
    return ((values.astype(np.float64) - scaling.mean) / scaling.scale).astype(np.float32)


def standardised_by(
    values: np.ndarray, fitted: np.ndarray, seen: np.ndarray | None = None
) -> np.ndarray:
    """Features at mean 0 and variance 1 over some rows (and steps), exactly, whatever their offset.

    Args:
      values: `[n, features]` or `[n, length, features]` numbers of any dtype.
      fitted: `[n]` bool, the rows that mean and variance are of.
      seen: `[n, length]` bool; padding, where it is False, neither counts nor changes.

    Returns:
      `[n, ...]` float32. A feature that is constant in the fitted rows is only centred.
    """
    rows = values[fitted]
    steps = rows.reshape(-1, values.shape[-1]) if seen is None else rows[seen[fitted]]
    # The first step is taken off before any sum, so that an offset costs no digits.
    first = steps[0]
    steps = _less(steps, first)
    mean, spread = steps.mean(0), steps.std(0)
    # Against its own size, not 1: small units are no constants. Whole numbers are exact.
    size = np.abs(first.astype(np.float64)) if first.dtype.kind == "f" else 0.0
    constant = ~(spread > 1e-12 * size)
    mean, spread = np.where(constant, 0, mean), np.where(constant, 1, spread)
    out = ((_less(values, first) - mean) / spread).astype(np.float32)
    if seen is not None:
        out[~seen] = 0
    return out


def _less(values: np.ndarray, first: np.ndarray) -> np.ndarray:
    """`values - first` in float64; of whole numbers exactly so, however large they are."""
    if values.dtype.kind == "f":
        return values.astype(np.float64) - first
    # 64 bits wrap around, and back again where the difference fits.
    return (values.astype(np.uint64) - first.astype(np.uint64)).view(np.int64).astype(np.float64)

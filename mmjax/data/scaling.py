"""Standardisation, fitted in float64 whatever the values' dtype, and what float32 would lose."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

_SMALL = 1e-18  # size of differences whose squares float32 holds, and so those of its inverse
_KEPT = 1e-4  # of a column's range: rounding beyond it changes what is told of the rows
_LEAST = float(np.finfo(np.float32).tiny) / _KEPT  # a range whose parts devices take for 0
_AT_ONCE = 2**22  # values looked at together


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
    if top == 0 or not np.isfinite(top):
        # Squares of very small or large units are no float64; in a unit of their own they are.
        far = max((float(np.abs(part - mean).max(initial=0.0)) for part in wide()), default=0.0)
        if far == 0 or not np.isfinite(far) or 1e-100 < far < 1e100:
            return Scaling(mean, np.ones_like(mean))
        own = scaling_of(lambda: ((part - mean) / far for part in wide()), floor)
        return Scaling(mean + own.mean * far, own.scale * far)
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
    far = np.abs(steps).max(0, initial=0.0)
    odd = ((far > 1e100) | ((far > 0) & (far < 1e-100))) & np.isfinite(far)
    if odd.any():  # squares would be no float64
        units = np.where(odd, far, 1).astype(values.dtype)
        return standardised_by(values / units, fitted, seen)
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


def lost_in_float32(values: np.ndarray, share: float = _KEPT) -> np.ndarray:
    """`[n, ...] -> [...]` bool: columns of finite numbers whose differences float32 would round
    away, as those of time stamps, or of units below its smallest number.

    share: of a column's range, which rounding may be.
    """
    whole, dtype = values.dtype.kind != "f", values.dtype
    if dtype.itemsize <= (2 if whole else 4) or not len(values):
        return np.zeros(values.shape[1:], bool)
    first, error, low, high = values[0], *np.zeros((3, *values.shape[1:]))
    step = max(1, _AT_ONCE // max(1, first.size))
    for start in range(0, len(values), step):
        part = values[start : start + step]
        apart = _less(part, first)
        with np.errstate(over="ignore", invalid="ignore"):
            kept = _less(part.astype(np.float32), first.astype(np.float32))
        off = np.abs(apart - kept)
        error = np.maximum(error, np.where(np.isnan(off), np.inf, off).max(0))
        low, high = np.minimum(low, apart.min(0)), np.maximum(high, apart.max(0))
    apart = high - low
    return (error > share * apart) | (apart > 0) & (apart < _LEAST)


def narrowed(values: np.ndarray) -> np.ndarray:
    """Numbers `[n, ...]` as float32, or as float64 where that would lose what tells rows apart."""
    return values.astype(np.float64 if lost_in_float32(values).any() else np.float32)


class Offsets(NamedTuple):
    """What is taken off columns that float32 would lose, and their unit: of the rows of one file,
    so that rows of others beside it are moved alike.

    Attributes:
      lost: `[f]` bool; all other columns stay as they are.
      first, mean: `[lost columns]`, a row and what it lacks to the mean.
      unit: `[lost columns]` float64, 1 where float32 holds the differences themselves.
    """

    lost: np.ndarray
    first: np.ndarray
    mean: np.ndarray
    unit: np.ndarray


def offsets_of(values: np.ndarray) -> Offsets:
    """The offsets of finite numbers `[n, f]`."""
    lost = lost_in_float32(values)
    if not lost.any():
        none = np.zeros(0)
        return Offsets(lost, none, none, none)
    first = values[0, lost]
    rest = _less(values[:, lost], first)
    mean = rest.mean(0)
    rest = rest - mean
    far = np.abs(rest)
    near = ((rest == 0) | (far > _SMALL) & (far < 1 / _SMALL)).all(0)
    top = far.max(0, initial=0.0)  # squares of small or large units would be no float64
    spread = (rest / np.where(top > 0, top, 1)).std(0) * top
    return Offsets(lost, first, mean, np.where(near | (spread == 0), 1, spread))


def features_in_float32(values: np.ndarray, offsets: Offsets | None = None) -> np.ndarray:
    """Finite numbers `[n, f]` as float32, for what depends on no offset: columns that would lose
    their differences are centred, and in units of their spread where float32 does not hold theirs.

    Args:
      values: of any dtype.
      offsets: of the rows that these lie beside, whatever the rows here would lose themselves;
        None: of these.
    """
    own = offsets_of(values) if offsets is None else offsets
    with np.errstate(over="ignore"):
        out = values.astype(np.float32)
        if own.lost.any():
            part, first = values[:, own.lost], own.first
            if part.dtype.kind != first.dtype.kind:  # whole numbers beside floats
                part, first = part.astype(np.float64), first.astype(np.float64)
            out[:, own.lost] = (_less(part, first) - own.mean) / own.unit
    return out

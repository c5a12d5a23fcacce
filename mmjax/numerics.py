"""Numerics that stay finite, whatever the units, the offset and the type that an array is kept in.

What every metric does first: `floating` (a type in which sums are right), or `centred` (columns
without their offset and unit, for scores that depend on neither).
"""

from functools import partial
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.errors import require
from mmjax.types import AnyArray, Array

A = TypeVar("A", bound=AnyArray)

_REAL = "biufV"  # V: the small floats that NumPy itself does not know, such as bfloat16
_ROWS_OF_A_SUM = 128
_HELD = (np.dtype("float32"), np.dtype("float16"), np.dtype("int16"), np.dtype("bool"))


def floating(x: AnyArray, name: str = "x") -> Array:
    """The values as float32; as float64 where they are so and x64 is on.

    Args:
      x: array of any real type: halves, integers and booleans, of either byte order, too.
      name: for the error.

    Raises InvalidInput for text, objects, complex numbers and dates.
    """
    x = _native(x, name)
    dtype = _float_type(x.dtype)
    with np.errstate(over="ignore"):  # beyond float32: infinite, as on devices
        return jnp.asarray(x.astype(dtype) if isinstance(x, np.ndarray) else x).astype(dtype)


def _float_type(dtype: np.dtype) -> jnp.dtype:
    wide = jnp.float64 if dtype.kind == "f" and dtype.itemsize >= 8 else jnp.float32
    return jax.dtypes.canonicalize_dtype(wide)


def _native(x: AnyArray, name: str) -> AnyArray:
    """x itself if it is JAX's; else a NumPy array in this machine's byte order."""
    if isinstance(x, jax.Array):
        kind = "f" if jnp.issubdtype(x.dtype, jnp.floating) else x.dtype.kind
        require(kind in _REAL, name, str(x.dtype), "real numbers")
        return x
    x = np.asarray(x)
    known = x.dtype.kind in _REAL and (x.dtype.kind != "V" or x.dtype.names is None)
    require(known, name, str(x.dtype), "real numbers")
    return x.astype(x.dtype.newbyteorder("=")) if not x.dtype.isnative else x


def is_wide(x: AnyArray) -> bool:
    """Whether float32 may lose digits of x, and it is on the host, where float64 has them."""
    return not isinstance(x, jax.Array) and np.asarray(x).dtype not in _HELD


def difference(x: AnyArray, y: AnyArray, name: str = "x") -> Array:
    """x - y, floating: of wide arrays on the host taken in float64, before anything is rounded."""
    x, y = _native(x, name), _native(y, name)
    if isinstance(x, jax.Array) or isinstance(y, jax.Array) or not (is_wide(x) or is_wide(y)):
        return floating(x, name) - floating(y, name)
    return floating(x.astype(np.float64) - y.astype(np.float64), name)


def require_finite(x: AnyArray, name: str) -> None:
    """Raises InvalidInput that names the first place of a NaN or an infinity; not under tracing."""
    if isinstance(x, jax.core.Tracer):
        return
    bad = ~np.isfinite(np.asarray(floating(x, name)))
    if bad.any():
        place = [int(i) for i in np.argwhere(bad)[0]]
        where = "".join(f", {axis} {i}" for axis, i in zip(("row", "column"), place, strict=False))
        count = f"{int(bad.sum())} NaN or infinite values (the first: {where[2:]})"
        require(False, name, count, "finite numbers")


def require_strength(name: str, values: object, *, zero: bool = True) -> None:
    """Raises InvalidInput unless all are finite and >= 0, or > 0 where zero is False; not under
    tracing. Of penalties, rates and widths: what is none of these gives a result all the same."""
    if isinstance(values, jax.core.Tracer):
        return
    try:
        array = np.asarray(values)
        good = bool(np.all(np.isfinite(array) & ((array >= 0) if zero else (array > 0))))
    except (TypeError, ValueError):  # text, None
        good = False
    kind = "finite numbers" if isinstance(values, list | tuple) else "a finite number"
    require(good, name, values, f"{kind} {'>=' if zero else '>'} 0")


class Columns(NamedTuple):
    """Offset and unit of columns; see columns_of.

    Attributes:
      unit: `[...]`, a power of 2 near the largest absolute value; 1 for constant columns, NaN for
        those that are not finite throughout.
      mean, rest: `[...]` in that unit; their sum is the mean, to twice the precision of the type.
      spread: `[...]` in that unit, a power of 2 near the largest distance from the mean.
    """

    unit: AnyArray
    mean: AnyArray
    rest: AnyArray
    spread: AnyArray


def power_of_two(size: A) -> A:
    """The power of 2 at or below sizes >= 0; 1 below about 1e-33, NaN for NaN and infinity.

    Division by it is exact, so that nothing is changed but what would overflow or vanish.
    """
    xp = np if isinstance(size, (np.ndarray, np.generic)) else jnp
    least = np.finfo(size.dtype).tiny * 2.0**16
    known = xp.isfinite(size) & (size > least)
    exponent = xp.frexp(xp.where(known, size, 1))[1] - 1
    unit = xp.ldexp(xp.ones_like(size), exponent)
    return xp.where(xp.isfinite(size), xp.where(known, unit, 1), np.nan).astype(size.dtype)


def columns_of(x: AnyArray, *, together: bool = False) -> Columns:
    """Offset and unit of the columns of x `[n, ...]` float, n >= 1.

    Args:
      together: one unit for all columns, which keeps their ratios (of principal components).
    """
    xp = np if isinstance(x, np.ndarray) else jnp
    # By comparison: a constant minus its mean may be rounding error, which is not 0.
    constant = xp.all(x == x[:1], axis=0)
    largest = xp.max(xp.abs(x), axis=0, initial=0)
    # With one unit for all: a column that is not finite spoils all, as it does their products.
    top = xp.broadcast_to(xp.max(largest, initial=0), largest.shape) if together else largest
    unit = power_of_two(top) if together else xp.where(constant, 1, power_of_two(top))
    unit = xp.where(xp.isfinite(largest), unit, np.nan).astype(x.dtype)
    scaled = x / unit
    mean = xp.where(constant, scaled[0], xp.mean(scaled, axis=0)).astype(x.dtype)
    # Of a large offset the first mean is off by more than its last digit.
    rest = xp.where(constant, 0, xp.mean(scaled - mean, axis=0)).astype(x.dtype)
    widest = xp.max(xp.abs((scaled - mean) - rest), axis=0)
    spread = power_of_two(xp.max(widest, initial=0, keepdims=True) if together else widest)
    return Columns(unit, mean, rest, xp.broadcast_to(spread, unit.shape))


def without(columns: Columns, x: A) -> A:
    """x minus the columns' mean, in units of their spread; 0 for a constant column.

    NaN where x is not finite: an infinity would give infinite scores, which can be ranked.
    """
    xp = np if isinstance(x, np.ndarray) else jnp
    result = ((x / columns.unit - columns.mean) - columns.rest) / columns.spread
    return xp.where(xp.isfinite(x), result, np.nan).astype(x.dtype)


def offset_and_unit(columns: Columns) -> tuple[AnyArray, AnyArray]:
    """`[...]` each: `without(columns, x) * unit + offset` is x."""
    return (columns.mean + columns.rest) * columns.unit, columns.unit * columns.spread


def conditioned(
    fit: AnyArray, *others: AnyArray, together: bool = False, name: str = "x"
) -> tuple[list[Array], Array, Array]:
    """Arrays `[., ...]` as `centred`, and the offset and the unit that were taken away.

    Args:
      together: one unit for all columns, see columns_of.
    """
    given = [_native(x, name) for x in (fit, *others)]
    dtype = jnp.result_type(*(_float_type(x.dtype) for x in given))
    wide = any(x.dtype not in _HELD for x in given)
    if not (wide and all(isinstance(x, np.ndarray) for x in given)):
        given = [jnp.asarray(x).astype(dtype) for x in given]
        return _conditioned_on_device(given, together)
    given = [x.astype(np.float64) for x in given]
    with np.errstate(invalid="ignore", over="ignore"):
        columns = columns_of(given[0], together=together)
        results = [without(columns, x) for x in given]
        offset, unit = (jnp.asarray(v.astype(dtype)) for v in offset_and_unit(columns))
        return [jnp.asarray(v.astype(dtype)) for v in results], offset, unit


# One program, not thirty: each costs its compilation at every new shape.
@partial(jax.jit, static_argnums=1, inline=True)
def _conditioned_on_device(given, together):
    columns = columns_of(given[0], together=together)
    return [without(columns, x) for x in given], *offset_and_unit(columns)


def centred(fit: AnyArray, *others: AnyArray, name: str = "x") -> list[Array]:
    """All arrays `[., ...]` minus the first's mean over rows, and in units of its spread.

    Squares of the result neither overflow nor vanish, whatever the units, and an offset cancels
    before anything is rounded: float64 and integers on the host are centred there, and only then
    become float32. A column that is not finite throughout in `fit` is NaN, as is every value of the
    others that is not finite; a column that is constant there is 0, and keeps its unit in the
    others.

    Returns:
      Arrays of float32; of float64 where one is so and x64 is on.
    """
    return conditioned(fit, *others, name=name)[0]


@partial(jax.jit, inline=True)
def products_over_rows(x: Array, y: Array) -> Array:
    """`[n, d], [n, f] -> [d, f]` x'y of float arrays, right to about 1e-6 of its terms for any n.

    A plain product of narrow arrays sums one row after another, whose rounding grows with n: to
    1e-3 at a million rows. So blocks of rows are summed, and of their sum the rounding is kept.
    """
    rows = _ROWS_OF_A_SUM
    blocks = lambda v: jnp.pad(v, ((0, -len(v) % rows), (0, 0))).reshape(-1, rows, v.shape[1])

    def add(state, pair):
        total, lost = state
        term = jnp.matmul(pair[0].T, pair[1], precision=jax.lax.Precision.HIGHEST) - lost
        new = total + term
        return (new, (new - total) - term), None

    none = jnp.zeros((x.shape[1], y.shape[1]), jnp.result_type(x, y))
    return jax.lax.scan(add, (none, none), (blocks(x), blocks(y)))[0][0]


def safe_norm(x: AnyArray, *, axis: int = -1, keepdims: bool = False) -> Array:
    """Euclidean norm along an axis, float32 at least; right where squares overflow or vanish.

    Its gradient at 0 is 0 (that of jnp.linalg.norm is NaN). Below about 1e-33 all is 0.
    """
    norm = _safe_norm(floating(x), axis)
    return norm if keepdims else jnp.squeeze(norm, axis)


@partial(jax.jit, static_argnums=1, inline=True)
def _safe_norm(x, axis):
    scaled, unit = _in_unit(x, axis)
    return _norm(scaled, axis) * unit


def normalise(x: AnyArray, *, axis: int = -1) -> Array:
    """Unit vectors along an axis, float32 at least; the zero vector stays zero, with gradient zero.

    Of vectors as short as 1e-33 and as long as the type can hold.
    """
    return _normalised(floating(x), axis)


@partial(jax.jit, static_argnums=1, inline=True)
def _normalised(x, axis):
    scaled, _ = _in_unit(x, axis)
    norm = _norm(scaled, axis)
    return jnp.where(norm == 0, 0.0, scaled / jnp.where(norm == 0, 1.0, norm))


def _in_unit(x: Array, axis: int) -> tuple[Array, Array]:
    top = jnp.max(jnp.abs(jax.lax.stop_gradient(x)), axis=axis, keepdims=True, initial=0)
    unit = power_of_two(top)
    return x / unit, unit


def _norm(x: Array, axis: int) -> Array:
    squares = jnp.sum(x * x, axis=axis, keepdims=True)
    zero = squares == 0
    return jnp.where(zero, 0.0, jnp.sqrt(jnp.where(zero, 1.0, squares)))


def log_mean_exp(x: AnyArray, *, axis: int = -1) -> Array:
    """`log(mean(exp(x)))` along an axis, without overflow; float32 at least."""
    return _log_mean_exp(floating(x), axis)


@partial(jax.jit, static_argnums=1, inline=True)
def _log_mean_exp(x, axis):
    return jax.nn.logsumexp(x, axis=axis) - jnp.log(x.shape[axis])


def log_trapezoid(log_values: np.ndarray, grid: np.ndarray) -> float:
    """Log of the integral of `exp(log_values)` over a grid, float64 on the host."""
    top = log_values.max()
    return float(top + np.log(np.trapezoid(np.exp(log_values - top), grid)))

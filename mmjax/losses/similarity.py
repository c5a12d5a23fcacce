"""Similarities of embeddings: what the contrastive kernel compares pairs with."""

from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.errors import choose, require
from mmjax.numerics import normalise
from mmjax.types import Array

_HIGH = jax.lax.Precision.HIGHEST  # bfloat16 products (the default on TPUs) would cost 3 digits
_UNROLL = 16


def at_least_float32(*arrays: Array) -> list[Array]:
    """The arrays in one dtype: float32, or float64 where one of them is.

    Squares of float16 overflow beyond 255, and a sum of bfloat16 keeps two digits.
    """
    dtype = jnp.result_type(jnp.float32, *(jnp.asarray(v).dtype for v in arrays))
    return [jnp.asarray(v, dtype) for v in arrays]


class Similarity(NamedTuple):
    """A similarity s(a, b) of embeddings, as pure functions.

    Attributes:
      prepare: `[n, dim] -> [n, dim]`, applied to either side once (cosine normalises here).
      pairwise: `(a [n, dim], b [m, dim]) -> [n, m]`, all s(a_i, b_j).
      pull: `(a, b, w [n, m]) -> (da [n, dim], db [m, dim])`, the gradients of
        `sum(w * pairwise(a, b))`. Subgradients are 0 at ties.
      paired: `(a [n, dim], b [n, dim]) -> [n]`, s(a_i, b_i), differentiable.
      shift_invariant: whether s(a + c, b + c) = s(a, b).
    """

    prepare: Callable[[Array], Array]
    pairwise: Callable[[Array, Array], Array]
    pull: Callable[[Array, Array, Array], tuple[Array, Array]]
    paired: Callable[[Array, Array], Array]
    shift_invariant: bool


def similarity_from(pairwise: Callable[[Array, Array], Array]) -> Similarity:
    """A similarity from its pairwise function alone; gradients come from jax.

    Example:
      >>> import jax.numpy as jnp
      >>> quadratic = similarity_from(lambda a, b: jnp.square(a @ b.T))
      >>> quadratic.paired(jnp.ones((2, 3)), jnp.ones((2, 3))).tolist()
      [9.0, 9.0]
    """

    def paired(a, b):
        return jax.vmap(lambda x, y: pairwise(x[None], y[None])[0, 0])(a, b)

    def pull(a, b, w):
        return jax.vjp(pairwise, a, b)[1](w)

    return Similarity(lambda x: x, pairwise, pull, paired, shift_invariant=False)


def _matmul(a, b):
    return jnp.matmul(a, b, precision=_HIGH)


def _pull_dot(a, b, w):
    return _matmul(w, b), _matmul(a.T, w).T  # faster than w.T @ a on CPU, if .T is undone outside


_DOT = Similarity(
    prepare=lambda x: x,
    pairwise=lambda a, b: _matmul(a, b.T),
    pull=_pull_dot,
    paired=lambda a, b: jnp.sum(a * b, axis=-1),
    shift_invariant=False,
)


def dot() -> Similarity:
    """s(a, b) = a . b."""
    return _DOT


_COSINE = _DOT._replace(prepare=normalise)


def cosine() -> Similarity:
    """s(a, b) = a . b / (|a| |b|); 0 for a zero vector."""
    return _COSINE


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def _abs_power(delta: Array, p: float) -> Array:
    """|delta|^p elementwise; its derivative at 0 is 0 (that of jnp.abs is 1)."""
    size = jnp.abs(delta)
    return size if p == 1 else size ** (int(p) if p == int(p) else p)


def _abs_power_slope(delta: Array, p: float) -> Array:
    return jnp.sign(delta) if p == 1 else p * jnp.sign(delta) * _abs_power(delta, p - 1)


@_abs_power.defjvp
def _abs_power_jvp(p, primals, tangents):
    return _abs_power(primals[0], p), _abs_power_slope(primals[0], p) * tangents[0]


def _root(powers: Array, p: float) -> Array:
    """powers^(1/p), with derivative 0 at 0."""
    zero = powers == 0
    return jnp.where(zero, 0.0, jnp.where(zero, 1.0, powers) ** (1 / p))


def _root_slope(powers: Array, p: float) -> Array:
    zero = powers == 0
    return jnp.where(zero, 0.0, jnp.where(zero, 1.0, powers) ** (1 / p - 1) / p)


def _sum_of_powers(a, b, p):
    """sum_k |a_ik - b_jk|^p as [n, m], an axis at a time: no [n, m, dim] array ever exists."""

    def add_axis(total, axis):
        a_k, b_k = axis
        return total + _abs_power(a_k[:, None] - b_k[None, :], p), None

    start = jnp.zeros((a.shape[0], b.shape[0]), a.dtype)
    return jax.lax.scan(add_axis, start, (a.T, b.T), unroll=min(a.shape[1], _UNROLL))[0]


def _sums(w):
    """Row and column sums, by products with ones: with two reductions of w in an unrolled loop the
    whole L1 loss took twice as long on CPU."""
    n, m = w.shape
    return _matmul(w, jnp.ones(m, w.dtype)), _matmul(jnp.ones(n, w.dtype), w)


def _pull_powers(a, b, w, p):
    def pull_axis(_, axis):
        a_k, b_k = axis
        rows, columns = _sums(w * _abs_power_slope(a_k[:, None] - b_k[None, :], p))
        return None, (rows, -columns)

    _, (da, db) = jax.lax.scan(pull_axis, None, (a.T, b.T))
    return da.T, db.T


def _squared_euclidean() -> Similarity:
    """-|a - b|^2 by matrix products. The kernel centres the embeddings first, so the expansion
    loses no digits to a common offset."""

    def pairwise(a, b):
        norms = jnp.sum(a * a, axis=1)[:, None] + jnp.sum(b * b, axis=1)[None, :]
        return jnp.minimum(2 * _matmul(a, b.T) - norms, 0.0)

    def pull(a, b, w):
        rows, columns = _sums(w)
        da = 2 * (_matmul(w, b) - rows[:, None] * a)
        db_t = 2 * (_matmul(a.T, w) - columns[None, :] * b.T)
        return da, db_t.T

    def paired(a, b):
        return -jnp.sum((a - b) ** 2, axis=-1)

    return Similarity(lambda x: x, pairwise, pull, paired, shift_invariant=True)


@cache
def negative_distance(p: float, *, root: bool = False) -> Similarity:
    """s(a, b) = -sum_k |a_k - b_k|^p, or with root its p-th root -|a - b|_p.

    Cached: equal arguments return the same functions, so that nothing is compiled twice.

    Args:
      p: exponent, a finite number >= 1. p = 1 is the Laplace's, p = 2 the Normal's.
      root: the norm itself, not its p-th power.

    Raises InvalidInput for p < 1.
    """
    require(bool(np.isfinite(p)) and p >= 1, "p", p, "a finite number >= 1")
    if p == 2 and not root:
        return _squared_euclidean()
    outer = (lambda d: _root(d, p)) if root else (lambda d: d)

    def pairwise(a, b):
        return -outer(_sum_of_powers(a, b, p))

    def pull(a, b, w):
        if root:
            w = w * _root_slope(_sum_of_powers(a, b, p), p)
        return _pull_powers(a, b, -w, p)

    def paired(a, b):
        return -outer(jnp.sum(_abs_power(a - b, p), axis=-1))

    return Similarity(lambda x: x, pairwise, pull, paired, shift_invariant=True)


SIMILARITIES = {
    "dot": lambda p: dot(),
    "cosine": lambda p: cosine(),
    "l1": lambda p: negative_distance(1.0),
    "l2": lambda p: negative_distance(2.0, root=True),
    "squared_l2": lambda p: negative_distance(2.0),
    "lp": lambda p: negative_distance(p),
    "lp_norm": lambda p: negative_distance(p, root=True),
}


def make_similarity(name: str, *, p: float = 3.0) -> Similarity:
    """The similarity of that name: dot, cosine, l1, l2, squared_l2, lp (powers), lp_norm.

    Raises InvalidInput for an unknown name, or p < 1.
    """
    return choose(SIMILARITIES, "similarity", name)(p)

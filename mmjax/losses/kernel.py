"""The contrastive kernel: log partition functions of all pairs, in O(N) memory.

For embeddings a [n, dim], b [m, dim] and logits l_ij = s(a_i, b_j) / temperature it returns

    rows_i = log sum_j exp l_ij        columns_j = log sum_i exp l_ij

in one pass over square tiles of the logits; the backward pass computes the tiles again. Every
contrastive loss is a composition of these two vectors and the positives: a union of candidate sets
is a logaddexp.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mmjax.losses.ids import differ
from mmjax.losses.similarity import Similarity, at_least_float32
from mmjax.types import Array


def default_chunk() -> int:
    """Side of a tile: 1 MiB of float32 logits stay in a CPU core's cache; on accelerators a tile
    must outweigh the launch of its kernels."""
    return 512 if jax.default_backend() == "cpu" else 4096


def log_partitions(
    a: Array,
    b: Array,
    *,
    similarity: Similarity,
    temperature: Array | float,
    a_ids: Array | None = None,
    b_ids: Array | None = None,
    keep: Callable[[Array, Array], Array] = differ,
    columns: bool = True,
    chunk: int | None = None,
) -> tuple[Array, Array | None]:
    """Row-wise and column-wise log-sum-exp of all pairwise logits.

    Args:
      a: `[n, dim]` float embeddings, already passed through `similarity.prepare`.
      b: `[m, dim]`, likewise.
      similarity: what pairs are compared with.
      temperature: positive scalar; may be traced, gradients flow into it.
      a_ids, b_ids: `[n]`, `[m]` int, or `[n, k]`, `[m, k]`; pairs that keep says no to are left
        out: by default those with an equal id in any column (an anchor and itself).
      keep: `(a_ids [n, k], b_ids [m, k]) -> [n, m]` bool. A function of a module, not made anew at
        every call: a new one is compiled again.
      columns: whether columns are wanted; without them the work on exponentials halves.
      chunk: at most so many rows and columns at a time; None chooses for speed. The result doesn't
        depend on it.

    Returns:
      rows `[n]` and columns `[m]` (None unless asked for), -inf where all pairs of a row are left
      out; float32, or float64 where the embeddings are. Sums of half precision are float32 too.
    """
    a, b = at_least_float32(a, b)
    if a_ids is not None and b_ids is not None:
        a_ids, b_ids = (v.reshape(v.shape[0], -1) for v in (a_ids, b_ids))
    if similarity.shift_invariant:
        centre = jax.lax.stop_gradient(jnp.mean(b, axis=0))
        a, b = a - centre, b - centre
    beta = jnp.asarray(1 / jnp.asarray(temperature, a.dtype), a.dtype)
    rows, cols = _log_partitions(
        similarity, chunk or default_chunk(), columns, keep, a, b, beta, a_ids, b_ids
    )
    return rows, (cols if columns else None)


def _chunks(x: Array | None, most: int) -> Array | None:
    """`[n, ...] -> [chunks, size, ...]` with even sizes <= most, the last filled up with zeros."""
    if x is None:
        return None
    count = max(-(-x.shape[0] // most), 1)
    size = -(-x.shape[0] // count)
    pad = [(0, count * size - x.shape[0])] + [(0, 0)] * (x.ndim - 1)
    return jnp.pad(x, pad).reshape(count, size, *x.shape[1:])


def _joined(chunks: Array, n: int) -> Array:
    """The inverse of _chunks."""
    return chunks.reshape(-1, *chunks.shape[2:])[:n]


class _Side(NamedTuple):
    """One side of the pairs: embeddings, whether they are there (not padding), ids or None."""

    points: Array
    valid: Array
    ids: Array | None


def _side(points, ids, chunk):
    valid = jnp.ones(points.shape[0], bool)
    cut: Any = lambda x: _chunks(x, chunk)
    return _Side(cut(points), cut(valid), cut(ids))


def _scores(similarity, keep, beta, left, right):
    """Similarities of a tile and its logits, -inf where a pair doesn't count."""
    scores = similarity.pairwise(left.points, right.points)
    counts = left.valid[:, None] & right.valid[None, :]
    if left.ids is not None:
        counts &= keep(left.ids, right.ids)
    return scores, jnp.where(counts, beta * scores, -jnp.inf)


def _finite(x: Array, otherwise: float) -> Array:
    return jnp.where(jnp.isfinite(x), x, otherwise)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2, 3))
def _log_partitions(similarity, chunk, columns, keep, a, b, beta, a_ids, b_ids):
    return _forward(similarity, chunk, columns, keep, a, b, beta, a_ids, b_ids)[0]


def _forward(similarity, chunk, columns, keep, a, b, beta, a_ids, b_ids):
    lefts, rights = _side(a, a_ids, chunk), _side(b, b_ids, chunk)
    empty = lambda shape: jnp.full(shape, -jnp.inf, a.dtype)

    def visit_column(rows, right):
        def visit_tile(carry, piece):
            left, rows_c = piece
            _, logits = _scores(similarity, keep, beta, left, right)
            rows_c = jnp.logaddexp(rows_c, jax.nn.logsumexp(logits, axis=1))
            return _running_sum(carry, logits) if columns else carry, rows_c

        start = empty(right.valid.shape), jnp.zeros(right.valid.shape, a.dtype)
        (top, total), rows = jax.lax.scan(visit_tile, start, (lefts, rows))
        return rows, _finite(top, 0.0) + jnp.log(total)

    rows, cols = jax.lax.scan(visit_column, empty(lefts.valid.shape), rights)
    rows, cols = _joined(rows, a.shape[0]), _joined(cols, b.shape[0])
    return (rows, cols), (a, b, beta, a_ids, b_ids, rows, cols)


def _running_sum(carry, logits):
    """Running maximum of columns, and running sum of exponentials relative to it."""
    top, total = carry
    new_top = jnp.maximum(top, jnp.max(logits, axis=0))
    shift = _finite(new_top, 0.0)
    return new_top, total * jnp.exp(top - shift) + jnp.sum(jnp.exp(logits - shift), axis=0)


def _backward(similarity, chunk, columns, keep, residuals, cotangents):
    a, b, beta, a_ids, b_ids, *partitions = residuals
    # exp(-inf - inf) = 0: an empty row or column has no gradient
    rows, cols = (_finite(x, jnp.inf) for x in partitions)
    d_rows, d_cols = cotangents
    lefts = _side(a, a_ids, chunk), _chunks(rows, chunk), _chunks(d_rows, chunk)
    rights = _side(b, b_ids, chunk), _chunks(cols, chunk), _chunks(d_cols, chunk)

    def visit_column(carry, column):
        da, d_beta = carry
        right, cols_c, d_cols_c = column

        def visit_tile(carry, piece):
            db_t, d_beta = carry
            (left, rows_c, d_rows_c), da_c = piece
            scores, logits = _scores(similarity, keep, beta, left, right)
            d_logits = d_rows_c[:, None] * jnp.exp(logits - rows_c[:, None])
            if columns:
                d_logits += d_cols_c[None, :] * jnp.exp(logits - cols_c[None, :])
            more_a, more_b = similarity.pull(left.points, right.points, beta * d_logits)
            return (db_t + more_b.T, d_beta + jnp.sum(d_logits * scores)), da_c + more_a

        # b's gradient is summed transposed: a.T @ w is several times faster than w.T @ a on CPU.
        start = jnp.zeros_like(right.points.T), d_beta
        (db_t, d_beta), da = jax.lax.scan(visit_tile, start, (lefts, da))
        return (da, d_beta), db_t.T

    start = jnp.zeros_like(lefts[0].points), jnp.zeros_like(beta)
    (da, d_beta), db = jax.lax.scan(visit_column, start, rights)
    return _joined(da, a.shape[0]), _joined(db, b.shape[0]), d_beta, None, None


_log_partitions.defvjp(_forward, _backward)

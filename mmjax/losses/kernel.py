"""The contrastive kernel: log partition functions of all pairs, in O(N x chunk) memory.

For embeddings a [n, dim], b [m, dim] and logits l_ij = s(a_i, b_j) / temperature it returns

    rows_i = log sum_j exp l_ij        columns_j = log sum_i exp l_ij

in one pass over chunks of rows; the backward pass computes the logits again. Every contrastive loss
is a composition of these two vectors and the positives: a union of candidate sets is a logaddexp.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.losses.similarity import Similarity
from mmjax.types import Array

_CHUNK_ELEMENTS = 2**20  # logits that live at a time: 4 MiB in float32, a CPU core's cache


def default_chunk(n: int, m: int) -> int:
    """Rows a chunk so that a chunk's logits fit a budget of 2^20 elements."""
    return int(np.clip(_CHUNK_ELEMENTS // max(m, 1), 8, max(n, 8)))


def log_partitions(
    a: Array,
    b: Array,
    *,
    similarity: Similarity,
    temperature: Array | float,
    a_ids: Array | None = None,
    b_ids: Array | None = None,
    columns: bool = True,
    chunk: int | None = None,
) -> tuple[Array, Array | None]:
    """Row-wise and column-wise log-sum-exp of all pairwise logits.

    Args:
      a: `[n, dim]` float embeddings, already passed through `similarity.prepare`.
      b: `[m, dim]`, likewise.
      similarity: what pairs are compared with.
      temperature: positive scalar; may be traced, gradients flow into it.
      a_ids, b_ids: `[n]`, `[m]` int; pairs with equal ids are left out (an anchor and itself).
      columns: whether columns are wanted; without them the work on exponentials halves.
      chunk: rows at a time; None chooses by memory. The result doesn't depend on it.

    Returns:
      rows `[n]` and columns `[m]` (None unless asked for), of a's dtype; -inf where all pairs of a
      row are left out.
    """
    n, m = a.shape[0], b.shape[0]
    if similarity.shift_invariant:
        centre = jax.lax.stop_gradient(jnp.mean(b, axis=0))
        a, b = a - centre, b - centre
    size = min(chunk or default_chunk(n, m), n)
    beta = jnp.asarray(1 / jnp.asarray(temperature, a.dtype), a.dtype)
    rows, cols = _log_partitions(similarity, size, columns, a, b, beta, a_ids, b_ids)
    return rows, (cols if columns else None)


def _chunks(x: Array | None, size: int) -> Array | None:
    """`[n, ...] -> [chunks, size, ...]`, the last chunk filled up with zeros."""
    if x is None:
        return None
    count = -(-x.shape[0] // size)
    pad = [(0, count * size - x.shape[0])] + [(0, 0)] * (x.ndim - 1)
    return jnp.pad(x, pad).reshape(count, size, *x.shape[1:])


def _valid(size: int, n: int) -> Array:
    return _chunks(jnp.ones(n, bool), size)


def _scores(similarity, beta, a, b, valid, a_ids, b_ids):
    """Similarities of a chunk and its logits, -inf where a pair doesn't count."""
    scores = similarity.pairwise(a, b)
    counts = jnp.broadcast_to(valid[:, None], scores.shape)
    if a_ids is not None:
        counts &= a_ids[:, None] != b_ids[None, :]
    return scores, jnp.where(counts, beta * scores, -jnp.inf)


def _finite(x: Array, otherwise: float) -> Array:
    return jnp.where(jnp.isfinite(x), x, otherwise)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _log_partitions(similarity, size, columns, a, b, beta, a_ids, b_ids):
    return _forward(similarity, size, columns, a, b, beta, a_ids, b_ids)[0]


def _forward(similarity, size, columns, a, b, beta, a_ids, b_ids):
    n, m = a.shape[0], b.shape[0]

    def visit(carry, chunk):
        top, total = carry
        a_c, valid, ids = chunk
        _, logits = _scores(similarity, beta, a_c, b, valid, ids, b_ids)
        rows = jax.nn.logsumexp(logits, axis=1)
        if columns:
            # Running maximum and running sum relative to it.
            new_top = jnp.maximum(top, jnp.max(logits, axis=0))
            shift = _finite(new_top, 0.0)
            total = total * jnp.exp(top - shift) + jnp.sum(jnp.exp(logits - shift), axis=0)
            top = new_top
        return (top, total), rows

    start = (jnp.full(m, -jnp.inf, a.dtype), jnp.zeros(m, a.dtype))
    chunks = (_chunks(a, size), _valid(size, n), _chunks(a_ids, size))
    (top, total), rows = jax.lax.scan(visit, start, chunks)
    rows = rows.reshape(-1)[:n]
    cols = _finite(top, 0.0) + jnp.log(total)
    return (rows, cols), (a, b, beta, a_ids, b_ids, rows, cols)


def _backward(similarity, size, columns, residuals, cotangents):
    a, b, beta, a_ids, b_ids, rows, cols = residuals
    d_rows, d_cols = cotangents
    n = a.shape[0]
    cols = _finite(cols, jnp.inf)  # exp(-inf - inf) = 0: an empty column has no gradient

    def visit(carry, chunk):
        db, d_beta = carry
        a_c, valid, ids, rows_c, d_rows_c = chunk
        scores, logits = _scores(similarity, beta, a_c, b, valid, ids, b_ids)
        d_logits = d_rows_c[:, None] * jnp.exp(logits - rows_c[:, None])
        if columns:
            d_logits += d_cols[None, :] * jnp.exp(logits - cols[None, :])
        da_c, db_c = similarity.pull(a_c, b, beta * d_logits)
        return (db + db_c, d_beta + jnp.sum(d_logits * scores)), da_c

    start = (jnp.zeros_like(b), jnp.zeros_like(beta))
    pieces = (a, a_ids, _finite(rows, jnp.inf), d_rows)
    a_chunks, id_chunks, row_chunks, d_row_chunks = (_chunks(x, size) for x in pieces)
    chunks = (a_chunks, _valid(size, n), id_chunks, row_chunks, d_row_chunks)
    (db, d_beta), da = jax.lax.scan(visit, start, chunks)
    return da.reshape(-1, a.shape[1])[:n], db, d_beta, None, None


_log_partitions.defvjp(_forward, _backward)

"""Cross-modal retrieval."""

import jax
import jax.numpy as jnp

from mmjax.types import Array


def recall_at(
    similarities: Array, k: int, query_labels: Array | None = None, labels: Array | None = None
) -> Array:
    """Share of queries with a right answer among their k most similar candidates.

    Args:
      similarities: `[queries, candidates]` float, larger is closer.
      k: >= 1; more than there are candidates means all.
      query_labels, labels: `[queries]`, `[candidates]` int; a candidate with the query's label is
        a right answer. Without them candidate i is the only right answer to query i.

    Returns:
      Scalar in [0, 1]. Ties count against the query: a wrong candidate as close as the best right
      one ranks before it, so that constant embeddings score nothing.
    """
    queries, candidates = similarities.shape
    if labels is None:
        right = jnp.eye(queries, candidates, dtype=bool)
    else:
        right = query_labels[:, None] == labels[None, :]
    best_right = jnp.max(jnp.where(right, similarities, -jnp.inf), axis=1, keepdims=True)
    # Not `>=`: a comparison with NaN is false, and NaN embeddings must score nothing either.
    before = jnp.sum((~right) & ~(similarities < best_right), axis=1)
    return jnp.mean((jnp.any(right, axis=1) & (before < k)).astype(jnp.float32))


recall_at = jax.jit(recall_at, static_argnums=1)

"""Cross-modal retrieval."""

from functools import partial

import jax
import jax.numpy as jnp

from mmjax.errors import require
from mmjax.labels import encode_labels
from mmjax.types import AnyArray, Array


def recall_at(
    similarities: Array,
    k: int,
    query_labels: AnyArray | None = None,
    labels: AnyArray | None = None,
    *,
    right: AnyArray | None = None,
) -> Array:
    """Share of queries with a right answer among their k most similar candidates.

    Args:
      similarities: `[queries, candidates]` float, larger is closer.
      k: >= 1; more than there are candidates means all.
      query_labels, labels: `[queries]`, `[candidates]` ids or labels: ints, or on the host whatever
        encode_labels takes. A candidate with the query's is a right answer: any caption of the
        image. Without them candidate i is the only right answer to query i.
      right: `[queries, candidates]` bool, instead of labels, where answers are many to many.

    Returns:
      Scalar in [0, 1]; NaN where a similarity is. Ties count against the query: a wrong candidate
      as close as the best right one ranks before it, so that constant embeddings score nothing. A
      query without a right answer counts as missed.

    Raises InvalidInput for one kind of labels without the other, or beside `right`.
    """
    both = (query_labels is None) == (labels is None) and (labels is None or right is None)
    require(both, "labels", "one of query_labels, labels, right", "both labels, or right, or none")
    if query_labels is not None and labels is not None:
        if not any(isinstance(v, jax.core.Tracer) for v in (query_labels, labels)):
            query_labels, labels = encode_labels(query_labels, labels)
        right = jnp.asarray(query_labels)[:, None] == jnp.asarray(labels)[None, :]
    if right is None:
        right = jnp.eye(len(similarities), similarities.shape[1], dtype=bool)
    return _recall(jnp.asarray(similarities), jnp.asarray(right, bool), k)


@partial(jax.jit, static_argnums=2)
def _recall(similarities: Array, right: Array, k: int) -> Array:
    best_right = jnp.max(jnp.where(right, similarities, -jnp.inf), axis=1, keepdims=True)
    before = jnp.sum(~right & (similarities >= best_right), axis=1)
    hits = (jnp.any(right, axis=1) & (before < k)).astype(jnp.float32)
    return jnp.where(jnp.any(jnp.isnan(similarities)), jnp.nan, jnp.mean(hits))

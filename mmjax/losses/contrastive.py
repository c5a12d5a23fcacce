"""Contrastive losses: compositions of the kernel."""

from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp

from mmjax.losses.kernel import log_partitions
from mmjax.losses.similarity import Similarity
from mmjax.types import Array, Pair

Gather = Callable[[Array], Array]


def no_gather(x: Array) -> Array:
    """The single-device `gather`: the local batch is the whole batch."""
    return x


def info_nce(
    x: Array,
    t: Array,
    *,
    similarity: Similarity,
    temperature: Array | float,
    gather: Gather = no_gather,
    negatives: Pair | None = None,
    in_batch: bool = True,
    within: Array | None = None,
    log_mean: bool = False,
    chunk: int | None = None,
) -> Array:
    """Symmetric InfoNCE of aligned embeddings: the loss of Eq. (2), Liu et al. 2026, halved.

    1/2 (mean_i [-l_ii + log sum_j exp l_ij] + mean_i [-l_ii + log sum_j exp l_ji]) with logits
    l_ij = similarity(x_i, t_j) / temperature; every t is a candidate for every x and vice versa.

    Args:
      x, t: `[batch, dim]` float; row i of x and row i of t are a positive pair. On several devices
        each holds its own rows.
      similarity: see mmjax.losses.similarity.
      temperature: positive scalar, fixed or traced (learned).
      gather: `[local, ...] -> [global, ...]`, concatenates over devices; with it the negatives are
        global, and the mean over devices of the returned value is the single-device loss.
      negatives: further negatives: `negatives.t` for anchors x, `negatives.x` for anchors t.
      in_batch: whether the other rows of the batch are negatives. False leaves the positive and
        `negatives` (Daunhawer et al. 2023).
      within: `[batch]` int, different for every row of all devices. With it the other rows of an
        anchor's own modality are negatives too (NT-Xent: Daunhawer et al. 2023 on images and text).
      log_mean: log-mean-exp instead of log-sum-exp over the candidates, a constant offset.
      chunk: see log_partitions.

    Returns:
      The local loss, a scalar of x's dtype, in nats a direction.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from mmjax.losses import info_nce, make_similarity
      >>> e = jnp.eye(4)
      >>> loss = info_nce(e, e, similarity=make_similarity("cosine"), temperature=0.1)
      >>> bool(loss < 1e-3)
      True
    """
    chex.assert_rank([x, t], 2)
    chex.assert_equal_shape([x, t])
    if not in_batch and negatives is None:
        raise ValueError("in_batch=False leaves no negatives: pass some")
    options = dict(similarity=similarity, temperature=temperature, chunk=chunk)
    x, t = similarity.prepare(x), similarity.prepare(t)
    positives = similarity.paired(x, t) / temperature
    count = 0
    if in_batch:
        candidates = gather(t)
        rows, partial_columns = log_partitions(x, candidates, **options)
        # Each device saw its own anchors x; a column's sum runs over all devices.
        columns = jax.nn.logsumexp(gather(partial_columns[None]), axis=0)
        count += candidates.shape[0]
    else:
        rows, columns = positives, gather(positives)
        count += 1

    def joined_by(for_x, for_t, **ids):
        from_x, _ = log_partitions(x, for_x, columns=False, **ids, **options)
        from_t, _ = log_partitions(t, for_t, columns=False, **ids, **options)
        return jnp.logaddexp(rows, from_x), jnp.logaddexp(columns, gather(from_t))

    if negatives is not None:
        further = Pair(*(gather(similarity.prepare(side)) for side in negatives))
        rows, columns = joined_by(further.t, further.x)
        count += further.t.shape[0]
    if within is not None:
        all_ids = gather(within)
        rows, columns = joined_by(gather(x), gather(t), a_ids=within, b_ids=all_ids)
        count += all_ids.shape[0] - 1
    loss = 0.5 * (jnp.mean(rows) + jnp.mean(columns)) - jnp.mean(positives)
    return loss - jnp.log(jnp.asarray(count, loss.dtype)) if log_mean else loss

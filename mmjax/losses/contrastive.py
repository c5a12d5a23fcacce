"""Contrastive losses: compositions of the kernel."""

from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp

from mmjax.losses.ids import Gather, Ids, differ, id_columns, no_gather
from mmjax.losses.kernel import log_partitions
from mmjax.losses.presence import (
    both_present_and_differ,
    mean_of_rows,
    present_only,
    with_presence,
)
from mmjax.losses.similarity import Similarity, at_least_float32, dot
from mmjax.types import Array, Pair


def info_nce(
    x: Array,
    t: Array,
    *,
    similarity: Similarity,
    temperature: Array | float,
    gather: Gather = no_gather,
    ids: Ids | None = None,
    negatives: Pair | None = None,
    in_batch: bool = True,
    within: Array | bool | None = None,
    log_mean: bool = False,
    present: Array | None = None,
    chunk: int | None = None,
) -> Array:
    """Symmetric InfoNCE of aligned embeddings: the loss of Eq. (2), Liu et al. 2026, halved.

    1/2 (mean_i [-l_ii + log sum_j exp l_ij] + mean_i [-l_ii + log sum_j exp l_ji]) with logits
    l_ij = similarity(x_i, t_j) / temperature; every t is a candidate for every x and vice versa.

    Args:
      x, t: `[batch, dim]` numbers; row i of x and row i of t are a positive pair. On several
        devices each holds its own rows. Half precision and ints are taken as float32.
      similarity: see mmjax.losses.similarity.
      temperature: positive scalar, fixed or traced (learned).
      gather: `[local, ...] -> [global, ...]`, concatenates over devices; with it the negatives are
        global, and the mean over devices of the returned value is the single-device loss.
      ids: which rows are the same recording: `[batch]` int, or a Pair of them, of x and of t (an
        image with five captions is five rows with one id of x). Rows i and j that agree in an id
        are no negatives of each other. None: every row is its own.
      negatives: further negatives: `negatives.t` for anchors x, `negatives.x` for anchors t. They
        have no ids: all of them count.
      in_batch: whether the other rows of the batch are negatives. False leaves the positive and
        `negatives` (Daunhawer et al. 2023).
      within: True, or `[batch]` int different for every row of all devices. With it the other rows
        of an anchor's own modality are negatives too, but those with an equal id (NT-Xent:
        Daunhawer et al. 2023 on images and text).
      log_mean: log-mean-exp instead of log-sum-exp over an anchor's candidates, an offset that
        doesn't depend on the embeddings.
      present: `[batch]` bool, rows that have both sides. The others are left out as if they were
        not in the batch, whatever x and t hold there; the mean is over what is left on all devices,
        0 where that is nothing. Rows of `negatives` count all the same. None: all are there.
      chunk: see log_partitions.

    Returns:
      The local loss, a scalar >= 0 (without log_mean), in nats a direction; float32, or float64
      where x or t is.

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
    own_modality = within is not None and within is not False
    if ids is None and own_modality and not isinstance(within, bool):
        ids = within
    x, t = (present_only(side, present) for side in at_least_float32(x, t))
    x, t = similarity.prepare(x), similarity.prepare(t)
    known = mine = id_columns(ids, x.shape[0], gather)
    keep: Callable[[Array, Array], Array] = differ
    if present is not None:
        mine, keep = with_presence(known, present), both_present_and_differ
    options: dict[str, Any] = dict(
        similarity=similarity, temperature=temperature, keep=keep, chunk=chunk
    )
    all_ids = gather(mine)
    rows, columns = [], []  # log-sums over sets of negatives, [1, local] and [k, global]

    def meet(for_x, for_t, **with_ids):
        """Negatives of anchors x and of anchors t, all devices'."""
        rows.append(log_partitions(x, for_x, columns=False, **with_ids, **options)[0][None])
        from_t, _ = log_partitions(t, for_t, columns=False, **with_ids, **options)
        columns.append(gather(from_t)[None])

    if in_batch:
        both: Any = log_partitions(x, gather(t), a_ids=mine, b_ids=all_ids, **options)
        from_x, from_t = both
        rows.append(from_x[None])
        columns.append(gather(from_t[None]))  # each device saw its own anchors x
    if negatives is not None:
        further = Pair(*(gather(similarity.prepare(v)) for v in at_least_float32(*negatives)))
        meet(further.t, further.x)
    if own_modality:
        meet(gather(x), gather(t), a_ids=mine, b_ids=all_ids)
    positives = similarity.paired(x, t) / jnp.asarray(temperature, x.dtype)
    from_x, from_t = _surprise(positives, rows), _surprise(gather(positives), columns)
    everywhere = None if present is None else all_ids[:, -1] > 0
    loss = 0.5 * (
        mean_of_rows(from_x, present, gather) + mean_of_rows(from_t, everywhere, no_gather)
    )
    if not log_mean:
        return loss
    # The loss of logits that are all 0 is the mean logarithm of the number of candidates.
    nothing = lambda v: jnp.zeros((v.shape[0], 1), loss.dtype)
    return loss - info_nce(
        *map(nothing, (x, t)),
        similarity=dot(),
        temperature=1.0,
        gather=gather,
        ids=known,
        negatives=None if negatives is None else Pair(*map(nothing, negatives)),
        in_batch=in_batch,
        within=own_modality,
        present=present,
        chunk=chunk,
    )


def _surprise(positives: Array, sums: list[Array]) -> Array:
    """-log of the positive's share, log(1 + exp(negatives - positive)), `[n]`: exact near 0.

    No negatives is a finite lowest sum: the difference of two infinite ones has no gradient.
    """
    lowest = jnp.finfo(positives.dtype).min / 4
    negatives = jax.nn.logsumexp(jnp.maximum(jnp.concatenate(sums), lowest), axis=0)
    return jax.nn.softplus(negatives - positives)

"""Losses of aligned embeddings: within one modality, across modalities, and by label.

Embeddings are `[batch, dim]`, compared by cosine in float32 at least. On several devices each holds
its own rows, `gather` concatenates over the devices, and the mean over devices of what is returned
is the single-device loss. Rows that agree in an id are no negatives of each other (see info_nce).
"""

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

import chex
import jax
import jax.numpy as jnp

from mmjax.errors import require
from mmjax.labels import device_codes
from mmjax.losses.contrastive import info_nce
from mmjax.losses.ids import Gather, Ids, differ, id_columns, no_gather, row_ids
from mmjax.losses.kernel import default_chunk, log_partitions
from mmjax.losses.presence import (
    both_present,
    both_present_and_differ,
    mean_of_rows,
    present_only,
    row_weight,
    with_presence,
)
from mmjax.losses.similarity import at_least_float32, cosine
from mmjax.types import Array


def nt_xent(
    first: Array,
    second: Array,
    *,
    temperature: Array | float,
    gather: Gather = no_gather,
    ids: Ids | None = None,
    present: Array | None = None,
    chunk: int | None = None,
) -> Array:
    """NT-Xent (Chen et al. 2020, Eq. 1): two views of each row, 2 batch - 2 negatives an anchor.

    Negatives of an anchor are all rows of both views but itself and its partner. It's the loss of
    SimCLR, and CoMM's InfoNCE.

    Args:
      first, second: `[batch, dim]`, row by row a positive pair.
      temperature: positive scalar.
      gather, ids, present: see info_nce; an id is of a row, both its views have it.
      chunk: see log_partitions.

    Returns:
      The mean over 2 batch anchors, a scalar.
    """
    return info_nce(
        first,
        second,
        similarity=cosine(),
        temperature=temperature,
        gather=gather,
        ids=ids,
        within=True,
        present=present,
        chunk=chunk,
    )


simclr = nt_xent


def _pairs(count: int, pairs: str) -> list[tuple[int, int]]:
    require(pairs in ("all", "first"), "pairs", pairs, "all, first")
    require(count >= 2, "embeddings", count, "two modalities or more")
    return [(a, b) for a, b in combinations(range(count), 2) if pairs == "all" or a == 0]


def cross(
    embeddings: Sequence[Array],
    *,
    temperature: Array | float,
    pairs: str = "all",
    gather: Gather = no_gather,
    ids: Ids | None = None,
    chunk: int | None = None,
) -> Array:
    """Alignment across modalities: CLIP's loss (Radford et al. 2021), the mean over pairs.

    Args:
      embeddings: one `[batch, dim]` a modality, two or more.
      temperature: positive scalar, may be traced (learned).
      pairs: all pairs of modalities, or those with the first.
      gather, chunk: see info_nce.
      ids: likewise, one array a modality at most; rows that agree in any of them are no negatives
        in any pair of modalities.

    Raises InvalidInput for one modality, or another name of pairs.
    """
    chosen = _pairs(len(embeddings), pairs)
    settings: dict[str, Any] = dict(
        similarity=cosine(), temperature=temperature, gather=gather, chunk=chunk
    )
    options = settings | dict(
        ids=ids if ids is None else id_columns(ids, len(embeddings[0]), gather)
    )
    terms = [info_nce(embeddings[a], embeddings[b], **options) for a, b in chosen]
    return jnp.asarray(sum(terms) / len(chosen))


def cmc(
    embeddings: Sequence[Array],
    *,
    temperature: Array | float,
    pairs: str = "all",
    gather: Gather = no_gather,
    ids: Ids | None = None,
    chunk: int | None = None,
) -> Array:
    """Contrastive multiview coding (Tian et al. 2020) with in-batch negatives.

    The sum over pairs of both directions: the full graph, or with pairs="first" the core view,
    where the first modality is the core. Directions are summed, as published, not
    averaged: for two modalities it's twice `cross`.

    Arguments and errors are those of cross.
    """
    count = len(_pairs(len(embeddings), pairs))
    options: dict[str, Any] = dict(
        temperature=temperature, pairs=pairs, gather=gather, ids=ids, chunk=chunk
    )
    return 2 * count * cross(embeddings, **options)


def cross_self(
    aligned: Sequence[Array],
    first: Sequence[Array],
    second: Sequence[Array],
    *,
    temperature: Array | float,
    self_temperature: Array | float | None = None,
    self_weight: float = 1.0,
    pairs: str = "all",
    gather: Gather = no_gather,
    ids: Ids | None = None,
    chunk: int | None = None,
) -> Array:
    """Alignment across modalities plus self-supervision within each.

    cross(aligned) + self_weight sum_k nt_xent(first_k, second_k): the baseline Cross+Self of
    Dufumier et al. 2025. The modalities of either part need not be the same ones.

    Args:
      aligned: one `[batch, dim]` a modality, for the part across; two or more.
      first, second: embeddings of two views of each modality with self-supervision, `[batch, dim]`;
        dimensions may differ between modalities.
      temperature: of the part across.
      self_temperature: of the parts within; None takes the same.
      self_weight: of the parts within, >= 0.
      pairs, gather, ids, chunk: see cross; ids hold within modalities too.

    Raises InvalidInput as cross does, for a negative weight, and for unequal numbers of views.
    """
    require(len(first) == len(second), "second", len(second), f"{len(first)} views, as of first")
    require(self_weight >= 0, "self_weight", self_weight, "a number >= 0")
    within_temperature = temperature if self_temperature is None else self_temperature
    options: dict[str, Any] = dict(gather=gather, ids=ids, chunk=chunk)
    across = cross(aligned, temperature=temperature, pairs=pairs, **options)
    within = [
        nt_xent(a, b, temperature=within_temperature, **options)
        for a, b in zip(first, second, strict=True)
    ]
    return across + self_weight * sum(within)


def slip(
    image: Array,
    text: Array,
    first: Array,
    second: Array,
    *,
    temperature: Array | float,
    self_temperature: Array | float = 0.1,
    self_weight: float = 1.0,
    gather: Gather = no_gather,
    ids: Ids | None = None,
    chunk: int | None = None,
) -> Array:
    """SLIP (Mu et al. 2022): CLIP's loss plus SimCLR's of two further views of the image.

    Args:
      image, text: `[batch, dim]`, aligned.
      first, second: `[batch, own_dim]`, two views of the image, usually from a head of their own.
      temperature: of CLIP's part, may be traced (learned).
      self_temperature: of SimCLR's part, published 0.1.
      self_weight: of SimCLR's part, published 1.
      gather, ids, chunk: see cross.
    """
    return cross_self(
        (image, text),
        (first,),
        (second,),
        temperature=temperature,
        self_temperature=self_temperature,
        self_weight=self_weight,
        gather=gather,
        ids=ids,
        chunk=chunk,
    )


def _apart_or_alike(a: Array, b: Array) -> Array:
    """Which rows count in supcon, of columns row, label, ids: a known match of another label is no
    negative, one of the same label is a positive."""
    rows, labels = (differ(a[:, k : k + 1], b[:, k : k + 1]) for k in (0, 1))
    return rows & (~labels | differ(a[:, 2:], b[:, 2:]))


def _present_apart_or_alike(a: Array, b: Array) -> Array:
    return both_present(a, b) & _apart_or_alike(a[:, :-1], b[:, :-1])


def supcon(
    embeddings: Array,
    labels: Array,
    *,
    temperature: Array | float,
    gather: Gather = no_gather,
    ids: Ids | None = None,
    present: Array | None = None,
    chunk: int | None = None,
) -> Array:
    """Supervised contrastive loss (Khosla et al. 2020, Eq. 2, L_out).

    mean_i [ -1/|P(i)| sum_{p in P(i)} l_ip + log sum_{a != i} exp l_ia ], where P(i) are the other
    rows with i's label. Several views of a row are further rows with its label. A row whose label
    no other has counts as 0, as in the published code, whose constant factor temperature / 0.07
    is left out.

    Args:
      embeddings: `[batch, dim]`.
      labels: `[batch]` ints on a device; on the host of any dtype that encode_labels takes, also
        int64 beyond 2^31.
      gather, present, chunk: see info_nce.
      ids: likewise; a row with an equal id and another label is no negative (one with the same
        label stays a positive).
      temperature: positive scalar.
    """
    chex.assert_rank([embeddings, labels], [2, 1])
    chex.assert_equal_shape_prefix([embeddings, labels], 1)
    similarity = cosine()
    z = similarity.prepare(present_only(at_least_float32(embeddings)[0], present))
    every, all_labels = gather(z), gather(device_codes(labels))
    # Mean over positives of a product is the product with their mean: no [batch, batch] array.
    total = len(all_labels)
    _, group = jnp.unique(all_labels, size=total, return_inverse=True)
    sums = jax.ops.segment_sum(every, group, total)
    counted = jnp.ones(total, z.dtype) if present is None else gather(present.astype(z.dtype))
    sizes = jax.ops.segment_sum(counted, group, total)
    place = row_ids(len(z), gather)
    mine = group[place]  # a row's number is its place among all
    others = sizes[mine] - 1
    positives = similarity.paired(z, sums[mine] - z) / jnp.asarray(temperature, z.dtype)
    columns: Array = place[:, None]
    keep: Callable[[Array, Array], Array] = differ
    if ids is not None:
        known = id_columns(ids, len(z), gather)
        columns = jnp.concatenate([jnp.stack([place, mine], 1), known], axis=1)
        keep = _apart_or_alike
    if present is not None:
        columns = with_presence(columns, present)
        keep = both_present_and_differ if ids is None else _present_apart_or_alike
    rows, _ = log_partitions(
        z,
        every,
        similarity=similarity,
        temperature=temperature,
        a_ids=columns,
        b_ids=gather(columns),
        keep=keep,
        columns=False,
        chunk=chunk,
    )
    each = jnp.where(others > 0, rows - positives / jnp.maximum(others, 1), 0)
    return mean_of_rows(each, present, gather)


def siglip(
    x: Array,
    t: Array,
    *,
    temperature: Array | float,
    bias: Array | float,
    gather: Gather = no_gather,
    ids: Ids | None = None,
    present: Array | None = None,
    chunk: int | None = None,
) -> Array:
    """The sigmoid loss (Zhai et al. 2023): every pair is a question of its own.

    -1/batch sum_ij log sigmoid(y_ij (cos(x_i, t_j) / temperature + bias)) with y = 1 for partners
    and -1 otherwise; pairs that agree in an id are left out, but for partners. Memory is
    O(batch chunk).

    Args:
      x, t: `[batch, dim]`, row by row a positive pair.
      temperature: positive scalar, may be traced; the published t' starts at log 10, which is 0.1.
      bias: scalar, may be traced; the published start is -10.
      gather, ids, present: see info_nce.
      chunk: candidates at a time; None chooses for speed.
    """
    chex.assert_rank([x, t], 2)
    chex.assert_equal_shape([x, t])
    similarity = cosine()
    x, t = (similarity.prepare(present_only(v, present)) for v in at_least_float32(x, t))
    temperature, bias = (jnp.asarray(v, x.dtype) for v in (temperature, bias))
    keep: Callable[[Array, Array], Array] = differ
    mine = id_columns(ids, x.shape[0], gather)
    if present is not None:
        mine, keep = with_presence(mine, present), both_present_and_differ

    @jax.checkpoint
    def against_all(candidate):
        point, columns = (v[None] for v in candidate)
        logits = similarity.pairwise(x, point) / temperature + bias
        return jnp.sum(jnp.where(keep(mine, columns), jax.nn.softplus(logits), 0))

    candidates = gather(t), gather(mine)
    negatives = jax.lax.map(against_all, candidates, batch_size=chunk or default_chunk())
    positives = similarity.paired(x, t) / temperature + bias
    # Each term -log sigmoid(l) = softplus(-l) by itself: never a difference, so never below 0.
    near = mean_of_rows(jax.nn.softplus(-positives), present, gather)
    if present is None:
        return jnp.sum(negatives) / x.shape[0] + near
    return jnp.sum(negatives) * row_weight(x.shape[0], present, gather) + near

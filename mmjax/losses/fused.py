"""CoMM: contrasting fused representations (Dufumier et al. 2025).

Projections of fused views, compared in float32 at least. `gather` concatenates over devices; the
mean over devices of what is returned is the single-device loss (see info_nce).
"""

from collections.abc import Sequence
from typing import Any

import chex
import jax.numpy as jnp

from mmjax.errors import require
from mmjax.losses.alignment import nt_xent
from mmjax.losses.ids import Gather, Ids, no_gather
from mmjax.types import Array


def _weights(weights: Sequence[float] | None, count: int) -> Sequence[float]:
    weights = (1.0,) * count if weights is None else tuple(weights)
    require(len(weights) == count, "weights", weights, f"{count} numbers, a term each")
    return weights


def comm_terms(
    first: Array,
    second: Array,
    *,
    temperature: Array | float,
    gather: Gather = no_gather,
    ids: Ids | None = None,
    present: Array | None = None,
    chunk: int | None = None,
) -> Array:
    """The terms of the official code, `[views]`: each view against all modalities.

    Term i < n is 1/2 [InfoNCE(Z'_i, Z'') + InfoNCE(Z''_i, Z')], where Z_i is the view of modality i
    alone, of the same augmented input; term n is InfoNCE(Z', Z''). InfoNCE is nt_xent.

    Args:
      first, second: `[batch, views, dim]`, the views of two augmentations; the last sees all
        modalities (mmjax.encoders.single_and_joint_masks).
      temperature: positive scalar, published 0.1.
      gather, ids, chunk: see info_nce.
      present: `[batch, views]` bool, of which views rows have the modalities: a term counts rows
        that have both its views. None: all.
    """
    chex.assert_rank([first, second], 3)
    chex.assert_equal_shape([first, second])
    options: dict[str, Any] = dict(temperature=temperature, gather=gather, ids=ids, chunk=chunk)
    there = lambda view: None if present is None else present[:, view] & present[:, -1]
    pair = lambda view, a, b: nt_xent(a, b, present=there(view), **options)
    all_first, all_second = first[:, -1], second[:, -1]
    alone = [
        0.5 * (pair(view, first[:, view], all_second) + pair(view, second[:, view], all_first))
        for view in range(first.shape[1] - 1)
    ]
    return jnp.stack([*alone, pair(-1, all_first, all_second)])


def mean_of_terms(terms: Array, weights: Sequence[float] | None = None) -> Array:
    """The mean of weight times term, `[views]` each.

    Raises InvalidInput for another number of weights.
    """
    weights = _weights(weights, len(terms))
    return jnp.mean(jnp.asarray(weights, terms.dtype) * terms)


def comm(
    first: Array,
    second: Array,
    *,
    temperature: Array | float,
    weights: Sequence[float] | None = None,
    gather: Gather = no_gather,
    ids: Ids | None = None,
    present: Array | None = None,
    chunk: int | None = None,
) -> Array:
    """CoMM's loss as the official code has it: the mean of weight times term (see comm_terms).

    Args:
      first, second, temperature, gather, ids, present, chunk: see comm_terms.
      weights: of the terms, `views` numbers, the last is that of L; None: all 1. Zeros leave terms
        out, and the mean still divides by the number of views.

    Raises InvalidInput for another number of weights.
    """
    options: dict[str, Any] = dict(gather=gather, ids=ids, present=present, chunk=chunk)
    return mean_of_terms(comm_terms(first, second, temperature=temperature, **options), weights)


def comm_of_paper(
    first: Array,
    second: Array,
    alone: Array,
    *,
    temperature: Array | float,
    weights: Sequence[float] | None = None,
    gather: Gather = no_gather,
    ids: Ids | None = None,
    present: Array | None = None,
    chunk: int | None = None,
) -> Array:
    """CoMM's loss as the paper has it: L + sum_i L_i; single modalities are seen once.

    L = InfoNCE(Z', Z''); L_i = 1/2 [InfoNCE(Z_i, Z') + InfoNCE(Z_i, Z'')]. InfoNCE is nt_xent.

    Args:
      first, second: `[batch, dim]`, Z' and Z'', of all modalities.
      alone: `[batch, modalities, dim]`, Z_i of modality i alone.
      temperature: positive scalar, published 0.1.
      weights: of the terms L_1, ..., L_n, L; None: all 1.
      gather, ids, chunk: see info_nce.
      present: `[batch, modalities + 1]` bool, of the modalities and, last, of Z' and Z''.

    Raises InvalidInput for another number of weights.
    """
    chex.assert_rank([first, second, alone], [2, 2, 3])
    count = alone.shape[1]
    *singles, joint = _weights(weights, count + 1)
    options: dict[str, Any] = dict(temperature=temperature, gather=gather, ids=ids, chunk=chunk)
    there = lambda k: None if present is None else present[:, k] & present[:, -1]
    pair = lambda k, a, b: nt_xent(a, b, present=there(k), **options)
    total = joint * pair(-1, first, second)
    for k, weight in enumerate(singles):
        z = alone[:, k]
        total += 0.5 * weight * (pair(k, z, first) + pair(k, z, second))
    return total

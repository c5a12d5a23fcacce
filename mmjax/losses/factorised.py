"""FactorCL (Liang et al. 2023): shared and unique information by bounds with learned critics.

A critic is a function `(a [n, dim_a], b [m, dim_b]) -> [n, m]` of scores, with its parameters
bound; gradients flow into them. All pairs are scored, so memory is O(n m).
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp

from mmjax.losses.ids import Gather, Ids, differ, id_columns, no_gather, row_ids
from mmjax.losses.presence import both_present, mean_of_rows, present_only
from mmjax.losses.similarity import at_least_float32
from mmjax.types import Array, Pair

Critic = Callable[[Array, Array], Array]


def _scores(
    critic: Critic, pair: Pair, gather: Gather, ids: Ids | None, present: Array | None
) -> tuple[Array, Array, Array]:
    """Scores of aligned rows `[n]`, of x against all devices' t `[n, m]`, and which of these count:
    a row's own partner, and what agrees with it in no id. An absent row has but its partner."""
    chex.assert_equal_shape_prefix([pair.x, pair.t], 1)
    x, t = (present_only(at_least_float32(side)[0], present) for side in pair)
    place = row_ids(x.shape[0], gather)
    diagonal = ~differ(place[:, None], gather(place)[:, None])
    if ids is None:
        counts = jnp.ones_like(diagonal)
    else:
        mine = id_columns(ids, x.shape[0], gather)
        counts = diagonal | differ(mine, gather(mine))
    if present is not None:
        there = present[:, None].astype(jnp.int32)
        counts = diagonal | (counts & both_present(there, gather(there)))
    aligned = jax.vmap(lambda a, b: critic(a[None], b[None])[0, 0])(x, t)
    aligned, scores = at_least_float32(aligned, critic(x, gather(t)))
    return aligned, scores, counts


def infonce_bound(
    critic: Critic,
    pair: Pair,
    *,
    gather: Gather = no_gather,
    ids: Ids | None = None,
    present: Array | None = None,
) -> Array:
    """A lower bound on I(x; t), in nats (van den Oord et al. 2018).

    mean_i [ f(x_i, t_i) - log mean_j exp f(x_i, t_j) ], at most log of the global batch.

    Args:
      critic: see the module.
      pair: `[batch, dim_x]` and `[batch, dim_t]`, row by row from the joint law.
      gather: see info_nce; the mean over devices is the single-device bound.
      ids, present: see info_nce; the means over j are over what is left.
    """
    aligned, every, counts = _scores(critic, pair, gather, ids, present)
    means = jax.nn.logsumexp(every, axis=1, where=counts) - jnp.log(jnp.sum(counts, axis=1))
    mean = partial(mean_of_rows, present=present, gather=gather)
    return mean(aligned) - mean(means)


def club_bound(
    critic: Critic,
    pair: Pair,
    *,
    gather: Gather = no_gather,
    ids: Ids | None = None,
    present: Array | None = None,
) -> Array:
    """mean_i f(x_i, t_i) - mean_ij f(x_i, t_j): an upper bound on I(x; t) for the best critic of
    infonce_bound (NCE-CLUB; Liang et al. 2023). For a poor critic it bounds nothing, so the critic
    is trained with infonce_bound beside it (see critic_loss).

    Arguments are those of infonce_bound.
    """
    aligned, every, counts = _scores(critic, pair, gather, ids, present)
    mean = partial(mean_of_rows, present=present, gather=gather)
    return mean(aligned) - mean(jnp.mean(every, axis=1, where=counts))


class Factors(NamedTuple):
    """Something for each of FactorCL's six bounds: a Pair of arrays, or a critic.

    y is what modalities are conditioned on: augmentations, or labels.

    Attributes:
      shared: (x1; x2), lower, maximised.
      shared_given: (x1 y1; x2 y2), upper, minimised: takes from `shared` what isn't about y.
      unique_first: (x1; y1), lower, maximised.
      unique_second: (x2; y2), lower, maximised.
      not_shared: (x1; x2), upper, minimised: takes what is shared from the unique parts.
      unique_given: (x1 y1; x2 y2), lower, maximised: gives back what is shared and about y.
    """

    shared: Any
    shared_given: Any
    unique_first: Any
    unique_second: Any
    not_shared: Any
    unique_given: Any


def _side_by_side(*parts: Array) -> Array:
    return jnp.concatenate(parts, axis=-1)


def self_supervised_factors(x: Factors, t: Factors, augmented: Pair) -> Factors:
    """The pairs of the self-supervised objective: an augmentation stands for the label.

    Every bound reads projections of its own (linear heads on one backbone a modality).

    Args:
      x, t: Factors of `[batch, dim]`, projections of either modality for each bound. Of x's
        unique_second and t's unique_first nothing is read (None will do).
      augmented: Pair of Factors, the same of augmented observations; nothing is read of shared and
        not_shared. The official code repeats the clean embeddings in shared_given, the paper has
        augmented ones: pass what is wanted.

    Returns:
      Factors of Pair.
    """
    sides: Any = augmented
    of_x, of_t = sides
    given = lambda name: Pair(
        _side_by_side(getattr(x, name), getattr(of_x, name)),
        _side_by_side(getattr(t, name), getattr(of_t, name)),
    )
    return Factors(
        shared=Pair(x.shared, t.shared),
        shared_given=given("shared_given"),
        unique_first=Pair(x.unique_first, of_x.unique_first),
        unique_second=Pair(t.unique_second, of_t.unique_second),
        not_shared=Pair(x.not_shared, t.not_shared),
        unique_given=given("unique_given"),
    )


def supervised_factors(x: Factors, t: Factors, labels: Array) -> Factors:
    """The pairs of the supervised objective.

    Args:
      x, t: see self_supervised_factors.
      labels: `[batch, classes]` float, one-hot.

    Returns:
      Factors of Pair.
    """
    given = lambda name: Pair(
        _side_by_side(getattr(x, name), labels), _side_by_side(getattr(t, name), labels)
    )
    return Factors(
        shared=Pair(x.shared, t.shared),
        shared_given=given("shared_given"),
        unique_first=Pair(x.unique_first, labels),
        unique_second=Pair(t.unique_second, labels),
        not_shared=Pair(x.not_shared, t.not_shared),
        unique_given=given("unique_given"),
    )


_MINIMISED = ("shared_given", "not_shared")


def factor_cl(
    pairs: Factors,
    critics: Factors,
    *,
    gather: Gather = no_gather,
    ids: Ids | None = None,
    present: Factors | None = None,
) -> Array:
    """FactorCL's loss (Liang et al. 2023): upper bounds less lower bounds.

    Encoders, projections and the critics of the lower bounds learn from it. The critics of the two
    upper bounds don't (their gradients here are those of a bound that they should not tighten):
    train them on critic_loss, published 5 steps a step of the rest.

    Args:
      pairs: Factors of Pair, `[batch, dims]`.
      critics: Factors of Critic.
      gather, ids: see info_nce.
      present: Factors of `[batch]` bool or None, rows that have both sides of a bound's pair.
    """
    total: Any = 0.0
    present = present or Factors(*[None] * len(pairs))
    for name, pair, critic, rows in zip(Factors._fields, pairs, critics, present, strict=True):
        options: dict[str, Any] = dict(gather=gather, ids=ids, present=rows)
        if name in _MINIMISED:
            total += club_bound(critic, pair, **options)
        else:
            total -= infonce_bound(critic, pair, **options)
    return total


def critic_loss(
    pairs: Factors,
    critics: Factors,
    *,
    gather: Gather = no_gather,
    ids: Ids | None = None,
    present: Factors | None = None,
) -> Array:
    """What the critics of the upper bounds minimise: less their InfoNCE bounds.

    No gradient flows into the pairs. Arguments are those of factor_cl.
    """
    total: Any = 0.0
    for name in _MINIMISED:
        pair = jax.lax.stop_gradient(getattr(pairs, name))
        options: dict[str, Any] = dict(
            gather=gather, ids=ids, present=present and getattr(present, name)
        )
        total -= infonce_bound(getattr(critics, name), pair, **options)
    return total

"""A loss of two embeddings, made one of any number of modalities and of fusions."""

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import jax

from mmjax.losses.loss import Context, Embeddings, Loss
from mmjax.losses.parts import JOINT, modalities_of, present_in, two_or_more, views_of
from mmjax.losses.told import check_is_loss, loss_name
from mmjax.types import Array


def in_pairs(loss: Loss) -> Loss:
    """A loss of two embeddings as one of all that z has: the mean over pairs.

    Of towers these are all pairs of modalities, by their names. Of a fusion they are CoMM's (see
    comm_terms), with the loss in InfoNCE's place: a term 1/2 [loss(Z'_i, Z'') + loss(Z''_i, Z')]
    for each view i of a part of the modalities, and loss(Z', Z'') of the joint ones; the two are
    called `first` and `second`. Of two towers it is the loss itself.

    Args:
      loss: of any two names, `[batch, dim]` each. Its context has of `present` and `views` what the
        two have. Metrics are means over the pairs.

    Raises InvalidInput for what is no Loss; the Loss, for fewer than two modalities, and of a
    fusion without two views.

    Example:
      >>> import jax.numpy as jnp
      >>> far = Loss(lambda key, dim: {}, lambda p, z, c: (jnp.ptp(jnp.stack([*z.values()])), {}))
      >>> z = {"a": jnp.zeros((4, 2)), "b": jnp.ones((4, 2)), "c": jnp.ones((4, 2))}
      >>> round(float(in_pairs(far).value({}, z, Context())[0]), 4)
      0.6667
    """
    check_is_loss(loss)

    def value(params, z, context):
        pairs = _of_fusion(z, context) if JOINT in z else _of_towers(z, context)
        total: Any = 0.0
        metrics: dict[str, Any] = {}
        shares: dict[str, float] = {}
        for number, (weight, views, present) in enumerate(pairs):
            key = None if context.key is None else jax.random.fold_in(context.key, number)
            asked = views if context.views else ()
            own = context._replace(views=asked, present=present, key=key)
            term, figures = loss.value(params, views[0], own)
            total += weight * term
            metrics |= {k: metrics.get(k, 0.0) + weight * v for k, v in figures.items()}
            shares |= {k: shares.get(k, 0.0) + weight for k in figures}
        every = sum(weight for weight, *_ in pairs)  # some metrics are of some pairs
        return total, {k: v * (every / shares[k]) for k, v in metrics.items()}

    value.__qualname__ = loss_name(loss)  # by which runs and messages call it
    return Loss(loss.init, value)


_Pair = tuple[float, tuple[Embeddings, ...], Mapping[str, Array]]  # weight, views, present


def _of_towers(z: Embeddings, context: Context) -> list[_Pair]:
    pairs = list(combinations(two_or_more(z), 2))
    views = context.views or (z,)
    return [
        (
            1 / len(pairs),
            tuple({name: view[name] for name in pair} for view in views),
            {name: context.present[name] for name in pair if name in context.present},
        )
        for pair in pairs
    ]


def _of_fusion(z: Embeddings, context: Context) -> list[_Pair]:
    views = views_of(context)[:2]
    names = modalities_of(z)
    whole = present_in(context, z, JOINT)

    def pair(weight: float, name: str, turned: bool) -> _Pair:
        one, other = views[::-1] if turned else views
        here = {"first": present_in(context, z, name), "second": whole}
        of = lambda a, b: {"first": a[name], "second": b[JOINT]}
        present = {side: rows for side, rows in here.items() if rows is not None}
        return weight, (of(one, other), of(other, one)), present

    each = 1 / (len(names) + 1)
    halves = [pair(each / 2, name, turned) for name in names for turned in (False, True)]
    return [*halves, pair(each, JOINT, False)]

"""Losses of fused representations, as Loss values: CoMM and FactorCL.

See mmjax.losses.aligning for what ids, presence and names mean.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from mmjax.encoders.critics import concatenated_critic
from mmjax.errors import InvalidInput, require
from mmjax.losses import factorised, fused
from mmjax.losses.factorised import (
    Factors,
    critic_loss,
    self_supervised_factors,
    supervised_factors,
)
from mmjax.losses.loss import Context, Embeddings, Loss
from mmjax.losses.parts import JOINT, asked, loss_of, modalities_of, present_in, views_of
from mmjax.losses.presence import present_only
from mmjax.losses.similarity import at_least_float32
from mmjax.types import Array, Pair


def _names_and_joint(z: Embeddings) -> list[str]:
    """Modalities, then the joint one. Raises InvalidInput where z lacks that."""
    message = f"{JOINT} among them, the embedding that sees all modalities"
    require(JOINT in z, "embeddings", ", ".join(z), message)
    return [*modalities_of(z), JOINT]


def _side_by_side(z: Embeddings, names: list[str]) -> Array:
    return jnp.stack([z[name] for name in names], axis=1)


def _present(context: Context, z: Embeddings, names: list[str]) -> Array | None:
    """`[batch, names]` bool, or None where all rows have all."""
    every = [present_in(context, z, name) for name in names]
    if all(one is None for one in every):
        return None
    whole = jnp.ones(z[JOINT].shape[0], bool)
    return jnp.stack([whole if one is None else one for one in every], axis=1)


def comm(
    *,
    temperature: float = 0.1,
    learn_temperature: bool = False,
    joint: float = 1.0,
    alone: float = 1.0,
) -> Loss:
    """CoMM (Dufumier et al. 2025) as the official code has it: the mean of weight times term.

    Every other name of z is a view of its own (a modality, or any subset of them), which meets the
    joint one of the other augmentation (see comm_terms). Metrics: the joint term, and the mean of
    the others.

    Args:
      temperature: > 0, published 0.1; its start where it is learned, 0.01 to 1e4.
      learn_temperature: whether it is a parameter.
      joint, alone: weights of the joint term, and of each of the others.

    Raises InvalidInput for a temperature out of range; the Loss, without two views or the joint
    embedding.
    """

    def value(temperature, z, context):
        names = _names_and_joint(z)
        first, second = (_side_by_side(view, names) for view in views_of(context)[:2])
        options = asked(context) | dict(
            temperature=temperature, present=_present(context, z, names)
        )
        terms = fused.comm_terms(first, second, **options)
        figures = {"joint": terms[-1]} | ({"alone": jnp.mean(terms[:-1])} if len(names) > 1 else {})
        return fused.mean_of_terms(terms, (alone,) * (len(names) - 1) + (joint,)), figures

    return loss_of(value, temperature, learn_temperature)


def comm_of_paper(
    *,
    temperature: float = 0.1,
    learn_temperature: bool = False,
    joint: float = 1.0,
    alone: float = 1.0,
) -> Loss:
    """CoMM as the paper has it: L + sum_i L_i; modalities alone are those of z, the first view.

    Arguments and errors are those of comm.
    """

    def value(temperature, z, context):
        *names, last = _names_and_joint(z)
        require(bool(names), "embeddings", last, "modalities beside the joint one")
        first, second = (view[JOINT] for view in views_of(context)[:2])
        weights = (alone,) * len(names) + (joint,)
        present = _present(context, z, [*names, last])
        options = asked(context) | dict(temperature=temperature, weights=weights, present=present)
        return fused.comm_of_paper(first, second, _side_by_side(z, names), **options), {}

    return loss_of(value, temperature, learn_temperature)


def _init_factors(key, dim, label, projected, critic):
    head_key, critic_key = jax.random.split(key)
    count, one = len(Factors._fields), projected
    heads = jax.random.normal(head_key, (2, count, dim, projected)) / dim**0.5
    sizes = Factors(
        shared=(one, one),
        shared_given=(one + label, one + label),
        unique_first=(one, label),
        unique_second=(one, label),
        not_shared=(one, one),
        unique_given=(one + label, one + label),
    )
    keys = jax.random.split(critic_key, count)
    made = [critic.init(own_key, *dims) for own_key, dims in zip(keys, sizes, strict=True)]
    return {"heads": heads, "critics": Factors(*made)}


_TWO = "2 for FactorCL"


def _two_of(z: Embeddings, modalities: tuple[str, str] | None) -> tuple[str, str]:
    names = modalities_of(z)
    require(len(names) == 2, "modalities", len(names), _TWO)
    message = " and ".join(names)
    require(modalities is None or set(modalities) == set(names), "modalities", modalities, message)
    first, second = sorted(names)
    return modalities or (first, second)


def factor_cl(
    *,
    classes: int | None = None,
    projected: int = 32,
    hidden: int = 64,
    modalities: tuple[str, str] | None = None,
) -> Loss:
    """FactorCL (Liang et al. 2023) of two modalities; heads and critics are parameters of its own.

    Critics of the upper bounds learn in the same step, where the published code takes five.

    Args:
      classes: None: self-supervised, of two views of each row. Else of context.labels, 0 to
        classes - 1.
      projected: dimension that each bound reads, by a linear head of its own.
      hidden: width of the critics.
      modalities: names of the first and second; None: in alphabetical order.

    Raises InvalidInput for an option out of range; the Loss, for other than two modalities, and
    without two views or labels.
    """
    require(projected >= 1, "projected", projected, "a whole number >= 1")
    if modalities is not None:
        require(len(modalities) == 2, "modalities", len(modalities), _TWO)
    require(classes is None or classes >= 1, "classes", classes, "a whole number >= 1")
    critic = concatenated_critic(hidden=hidden)

    def init(key, dim):
        return _init_factors(key, dim, classes or projected, projected, critic)

    def value(params, z, context):
        first, second = _two_of(z, modalities)
        read = lambda side, e: Factors(*jnp.einsum("nd,kdp->knp", e, params["heads"][side]))
        there = [present_in(context, z, name) for name in (first, second)]
        # Zeros before the heads: a NaN that no bound reads would still reach the heads' gradient.
        clean = lambda view: [
            present_only(at_least_float32(view[n])[0], here)
            for n, here in zip((first, second), there, strict=True)
        ]
        x, t = map(read, (0, 1), clean(z))
        if classes is None:
            other = views_of(context)[1]
            pairs = self_supervised_factors(x, t, Pair(*map(read, (0, 1), clean(other))))
        elif context.labels is None:
            raise InvalidInput("labels: None is not allowed; use one a row for this loss")
        else:
            pairs = supervised_factors(x, t, jax.nn.one_hot(context.labels, classes))
        both = present_in(context, z, first, second)
        first_there, second_there = there
        present = Factors(both, both, first_there, second_there, both, both)
        scores: Any = [partial(critic.score, critic_params) for critic_params in params["critics"]]
        critics = Factors(*scores)
        still = jax.lax.stop_gradient(params["critics"])
        frozen = critics._replace(
            shared_given=partial(critic.score, still.shared_given),
            not_shared=partial(critic.score, still.not_shared),
        )
        options = dict(gather=context.gather, ids=context.ids, present=present)
        bounds = factorised.factor_cl(pairs, frozen, **options)
        learning = critic_loss(pairs, critics, **options)
        return bounds + learning, {"bounds": bounds, "critics": learning}

    return Loss(init, value)


def factor_cl_supervised(
    *,
    classes: int,
    projected: int = 32,
    hidden: int = 64,
    modalities: tuple[str, str] | None = None,
) -> Loss:
    """FactorCL of labels, `classes` of them. Other arguments and errors are those of factor_cl."""
    return factor_cl(classes=classes, projected=projected, hidden=hidden, modalities=modalities)

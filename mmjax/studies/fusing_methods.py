"""Ways of training a fusion without labels: what is seen of a row, what the loss is, what is read.

Two augmentations of a row of modalities are encoded to views, each a subset of the modalities; a
method contrasts them. Methods that align modalities see each alone, CoMM sees all together too.
"""

from collections.abc import Callable
from functools import partial
from itertools import combinations
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mmjax.encoders import (
    Fused,
    concatenated_critic,
    single_and_joint_masks,
    subset_masks,
    temperature_from,
)
from mmjax.errors import require
from mmjax.losses import (
    Factors,
    cmc,
    comm,
    critic_loss,
    cross,
    cross_self,
    factor_cl,
    nt_xent,
    self_supervised_factors,
    siglip,
    supcon,
    supervised_factors,
)
from mmjax.types import Array, Key, Pair, Tree


class Method(NamedTuple):
    """A way of training.

    Attributes:
      loss: `(own, first, second, labels, *, temperature, gather, ids=None) -> scalar`: own
        parameters, the Fused of either augmentation, `[n]` int labels (of supervised methods), ids
        of rows as in info_nce.
      fused: whether Z of all modalities together is read, or those of each side by side.
      masks: `(key, rows, modalities) -> [views, modalities]` or `[rows, views, modalities]` bool,
        what the views see; the first ones see one modality each, or the last one all of them.
      init: `(key, modalities, width, classes) -> own parameters`, width is that of Z.
      projects: whether the loss compares what the network's head makes of Z.
      learns_temperature: whether own parameters have its logarithm, as a deviation from the start.
    """

    loss: Callable[..., Array]
    fused: bool
    masks: Callable[[Key, int, int], Array]
    init: Callable[[Key, int, int, int], Tree] = lambda key, modalities, width, classes: {}
    projects: bool = True
    learns_temperature: bool = False


def _singles(key, rows, modalities):
    return single_and_joint_masks(modalities)[:-1]


def _singles_and_joint(key, rows, modalities):
    return single_and_joint_masks(modalities)


def _subsets(key, rows, modalities):
    return subset_masks(modalities)


_RANDOM_VIEWS = 6


def _random_subsets(key, rows, modalities):
    """Random subsets of each row, none empty, then all modalities (after InfMasking)."""
    number = jax.random.randint(key, (rows, _RANDOM_VIEWS), 0, 2**modalities - 1)
    drawn = jnp.asarray(subset_masks(modalities))[number]
    return jnp.concatenate([drawn, jnp.ones((rows, 1, modalities), bool)], 1)


def _each(fused: Fused) -> list[Array]:
    return list(jnp.moveaxis(fused.projected, 1, 0))


def _comm(joint: float = 1.0, alone: float = 1.0):
    def loss(own, first, second, labels, **options):
        weights = (alone,) * (first.projected.shape[1] - 1) + (joint,)
        return comm(first.projected, second.projected, weights=weights, **options)

    return loss


def _cross(own, first, second, labels, **options):
    return cross(_each(first), **options)


def _cmc(own, first, second, labels, **options):
    return cmc(_each(first), **options)


def _cross_self(own, first, second, labels, **options):
    return cross_self(_each(first), _each(first), _each(second), **options)


def _slip(own, first, second, labels, **options):
    return cross_self(_each(first), _each(first)[:1], _each(second)[:1], **options)


def _simclr(own, first, second, labels, **options):
    pairs = zip(_each(first), _each(second), strict=True)
    return sum(nt_xent(a, b, **options) for a, b in pairs)


def _supcon(own, first, second, labels, **options):
    rows = jnp.concatenate([first.projected[:, -1], second.projected[:, -1]])
    if options.get("ids") is not None:  # of a row, and so of both its views
        options |= dict(ids=jnp.concatenate([options["ids"]] * 2))
    return supcon(rows, jnp.tile(labels, 2), **options)


_SIGLIP_BIAS = -10.0  # the published start


def _siglip(own, first, second, labels, *, temperature, **options):
    # As deviations from the start: a decay of weights then pulls towards it, not towards 0.
    bias = _SIGLIP_BIAS + own["bias"]
    warmth = temperature_from(jnp.log(temperature) + own["log_temperature"])
    pairs = list(combinations(_each(first), 2))
    options |= dict(temperature=warmth, bias=bias)
    return sum(siglip(a, b, **options) for a, b in pairs) / len(pairs)


_PROJECTED = 32  # dimension that each of FactorCL's bounds reads
_CRITIC = concatenated_critic(hidden=64)


def _init_factor_cl(supervised: bool, key, modalities, width, classes):
    require(modalities == 2, "modalities", modalities, "2 for FactorCL")
    head_key, critic_key = jax.random.split(key)
    count = len(Factors._fields)
    heads = jax.random.normal(head_key, (2, count, width, _PROJECTED)) / width**0.5
    one, label = _PROJECTED, classes if supervised else _PROJECTED
    sizes = Factors(
        shared=(one, one),
        shared_given=(one + label, one + label),
        unique_first=(one, label),
        unique_second=(one, label),
        not_shared=(one, one),
        unique_given=(one + label, one + label),
    )
    keys = jax.random.split(critic_key, count)
    made = [_CRITIC.init(own_key, *dims) for own_key, dims in zip(keys, sizes, strict=True)]
    return {"heads": heads, "critics": Factors(*made)}


def _factor_cl(supervised: bool, own, first, second, labels, *, temperature, **options):
    """Critics of the upper bounds learn in the same step, where the published code takes five."""
    read = lambda side, fused: Factors(
        *jnp.einsum("nd,kdp->knp", fused.z[:, side], own["heads"][side])
    )
    x, t = read(0, first), read(1, first)
    if supervised:
        classes = own["critics"].unique_first["of_second"]["kernel"].shape[0]
        pairs = supervised_factors(x, t, jax.nn.one_hot(labels, classes))
    else:
        pairs = self_supervised_factors(x, t, Pair(read(0, second), read(1, second)))
    critics = Factors(*[partial(_CRITIC.score, params) for params in own["critics"]])
    still = jax.lax.stop_gradient(own["critics"])
    frozen = critics._replace(
        shared_given=partial(_CRITIC.score, still.shared_given),
        not_shared=partial(_CRITIC.score, still.not_shared),
    )
    return factor_cl(pairs, frozen, **options) + critic_loss(pairs, critics, **options)


METHODS = {
    "comm": Method(_comm(), True, _singles_and_joint),
    "comm_joint_term": Method(_comm(alone=0.0), True, _singles_and_joint),
    "comm_single_terms": Method(_comm(joint=0.0), True, _singles_and_joint),
    "comm_subsets": Method(_comm(), True, _subsets),
    "inf_masking": Method(_comm(), True, _random_subsets),
    "cross": Method(_cross, False, _singles),
    "cross_self": Method(_cross_self, False, _singles),
    "cmc": Method(_cmc, False, _singles),
    "simclr": Method(_simclr, False, _singles),
    "slip": Method(_slip, False, _singles),
    "siglip": Method(
        _siglip,
        False,
        _singles,
        lambda *sizes: {"bias": jnp.zeros(()), "log_temperature": jnp.zeros(())},
        learns_temperature=True,
    ),
    "factor_cl": Method(
        partial(_factor_cl, False), False, _singles, partial(_init_factor_cl, False), projects=False
    ),
    "factor_cl_supervised": Method(
        partial(_factor_cl, True), False, _singles, partial(_init_factor_cl, True), projects=False
    ),
    "supcon": Method(_supcon, True, _singles_and_joint),
}

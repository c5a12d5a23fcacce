"""Ways of training a fusion without labels: what is seen of a row, what the loss is, what is read.

Two augmentations of a row of modalities are encoded to views, each a subset of the modalities; a
Loss contrasts them. Methods that align modalities see each alone, CoMM sees all together too.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mmjax.encoders import single_and_joint_masks, subset_masks
from mmjax.losses import LOSSES, Loss
from mmjax.types import Array, Key

JOINT = "joint"


class Method(NamedTuple):
    """A way of training.

    Attributes:
      loss: of the views by name. Of views that see one modality each it is the modality's name, the
        view that sees all of them is `joint`, others are numbered; both augmentations are in
        context.views, the first is z. Its parameters are trained with the network.
      fused: whether Z of all modalities together is read, or those of each side by side.
      masks: `(key, rows, modalities) -> [views, modalities]` or `[rows, views, modalities]` bool,
        what the views see; the first ones see one modality each, or the last one all of them.
      projects: whether the loss compares what the network's head makes of Z, or Z itself.
    """

    loss: Loss
    fused: bool
    masks: Callable[[Key, int, int], Array]
    projects: bool = True


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


def side_by_side(loss: Loss, *, projects: bool = True) -> Method:
    """The loss sees each modality alone; what is kept of these is read side by side."""
    return Method(loss, False, _singles, projects)


def together(loss: Loss, *, projects: bool = True) -> Method:
    """The loss sees each modality alone and `joint`, all of them; that one is read."""
    return Method(loss, True, _singles_and_joint, projects)


def view_names(count: int, modalities: Sequence[str], fused: bool) -> list[str]:
    """A name for every view of a method, in order (see Method.loss)."""
    alone = count - fused
    names = list(modalities) if alone == len(modalities) else [f"view{k}" for k in range(alone)]
    return names + [JOINT] * fused


def _plain(
    name: str, make_method: Callable[[Loss], Method] = side_by_side
) -> Callable[..., Method]:
    def make(temperature, modalities, classes):
        return make_method(LOSSES[name](temperature=temperature))

    return make


def _comm(masks: Callable, joint: float = 1.0, alone: float = 1.0) -> Callable[..., Method]:
    def make(temperature, modalities, classes):
        loss = LOSSES["comm"](temperature=temperature, joint=joint, alone=alone)
        return Method(loss, True, masks)

    return make


def _slip(temperature, modalities, classes):
    first = modalities[0]
    options = dict(temperature=temperature, self_temperature=None, modality=first)
    return side_by_side(LOSSES["slip"](**options))


def _factor_cl(supervised: bool) -> Callable[..., Method]:
    def make(temperature, modalities, classes):
        names = tuple(modalities)
        loss = LOSSES["factor_cl"](classes=classes if supervised else None, modalities=names)
        return side_by_side(loss, projects=False)

    return make


# Name -> `(temperature, modalities, classes) -> Method`: of the loss, names, and how many classes
# labels have.
METHODS: dict[str, Callable[[float, Sequence[str], int], Method]] = {
    "comm": _comm(_singles_and_joint),
    "comm_joint_term": _comm(_singles_and_joint, alone=0.0),
    "comm_single_terms": _comm(_singles_and_joint, joint=0.0),
    "comm_subsets": _comm(_subsets),
    "inf_masking": _comm(_random_subsets),
    "cross": _plain("cross"),
    "cross_self": _plain("cross_self"),
    "cmc": _plain("cmc"),
    "simclr": _plain("simclr"),
    "slip": _slip,
    "siglip": _plain("siglip"),
    "factor_cl": _factor_cl(False),
    "factor_cl_supervised": _factor_cl(True),
    "supcon": _plain("supcon", together),
}

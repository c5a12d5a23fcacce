"""Shared, unique and synergistic factors without images: the task, and probes of what is kept."""

import dataclasses
import re
from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.config import option
from mmjax.encoders import Modality, mlp, subset_masks
from mmjax.errors import require
from mmjax.evaluate.linear_probes import Labelled, probe
from mmjax.generative import TriFactors, TriModel, trifactor_model
from mmjax.studies.fused import FusedOptions, FusedTask
from mmjax.types import AnyArray, Array, Key, Tree


@dataclasses.dataclass(frozen=True)
class TriFactorOptions(FusedOptions):
    """The task and how fusions are trained on it."""

    modalities: int = option(2, "how many, >= 2")
    classes: int = option(10, "shapes, textures and colours")
    synergies: str = option(
        "", "tuples of modalities from 1, such as 1-2,2-3: a synergy each; empty: one of all"
    )
    hidden: tuple[int, ...] = option((96,), "hidden widths of the modalities' encoders")


def read_synergies(text: str) -> list[tuple[int, ...]] | None:
    """`1-2,2-3` as tuples of modalities from 0; None where it is empty.

    Raises InvalidInput for anything else.
    """
    parts = [part for part in text.replace(" ", "").split(",") if part]
    good = all(re.fullmatch(r"[0-9]+(-[0-9]+)+", part) for part in parts)
    require(good, "synergies", text, "tuples of modalities from 1, such as 1-2,2-3")
    return [tuple(int(v) - 1 for v in part.split("-")) for part in parts] or None


def trifactor_task(options: TriFactorOptions, bias: float) -> tuple[TriModel, FusedTask]:
    """The law of the data, and the task of fusing it.

    Args:
      options: of the task.
      bias: share of training pairs that are made to respect the mapping, 0 to 1.

    Raises InvalidInput for an option out of range.
    """
    o = options
    model = trifactor_model(
        modalities=o.modalities, classes=o.classes, synergies=read_synergies(o.synergies)
    )

    def source(world, key, n):
        factor_key, first_key, second_key = jax.random.split(key, 3)
        factors = model.sample(world, factor_key, n, bias)
        look = partial(model.view, world, factors)
        return {"labels": factors.shape, "views": (look(first_key), look(second_key))}

    return model, FusedTask(
        [Modality(mlp(o.hidden, o.tokens * o.width), tokens=o.tokens)] * o.modalities,
        (jax.ShapeDtypeStruct((1, model.features), jnp.float32),) * o.modalities,
        lambda key: model.init(*jax.random.split(key)),
        source,
        o.classes,
    )


def targets_of(factors: TriFactors) -> dict[str, Array]:
    """What is probed, `[n]` int labels: shared, unique1, unique2, ..., synergy (synergy1, ...)."""
    textures, synergies = factors.texture.T, factors.synergy.T
    names = ["synergy"] if len(synergies) == 1 else [f"synergy{k + 1}" for k in range(99)]
    return (
        {"shared": factors.shape}
        | {f"unique{k + 1}": texture for k, texture in enumerate(textures)}
        | dict(zip(names, synergies, strict=False))
    )


STRENGTHS = (1e3, 1e2, 1e1, 1.0, 1e-1, 1e-2)  # of probes' L2 penalty; 1 / C of scikit-learn
PROBE_STEPS = 100


def factor_figures(
    factors: Sequence[TriFactors],
    features: Sequence[Array],
    classes: int,
    *,
    balanced: bool,
) -> dict[tuple[str, str], float]:
    """(target, metric) -> mean recall of a linear probe of every factor.

    Args:
      factors: of the rows to fit, to choose the penalty, and to score.
      features: `[n, f]` of each.
      classes: of shapes and textures.
      balanced: whether rows are as likely to have synergy as not: then it alone is probed, for
        metric accuracy_balanced.
    """
    targets, figures = [targets_of(part) for part in factors], {}
    for target in targets[0]:
        is_synergy = target.startswith("synergy")
        if balanced and not is_synergy:
            continue
        rows = [Labelled(x, codes[target]) for x, codes in zip(features, targets, strict=True)]
        result = probe(
            "classification",
            *rows,
            num_classes=2 if is_synergy else classes,
            strengths=STRENGTHS,
            refit=False,
            max_steps=PROBE_STEPS,
        )
        metric = "accuracy_balanced" if balanced else "accuracy"
        figures[target, metric] = float(result["mean_recall"])
    return figures


def balancing_bias(classes: int) -> float:
    """The share of rows made to respect the mapping with which half of all rows have synergy.

    Rows that are made so are as likely as rows that are so by chance, one in `classes`.
    """
    return (0.5 - 1 / classes) / (1 - 1 / classes)


def _draws(model: TriModel, world: Tree, key: Key, rows: int):
    """(metric, factors, observations without noise) of unbiased pairs, and of balanced ones."""
    even = balancing_bias(model.classes)
    for metric, bias in (("accuracy", 0.0), ("accuracy_balanced", even)):
        key, factor_key, look_key = jax.random.split(key, 3)
        factors = model.sample(world, factor_key, rows, bias)
        yield metric, factors, model.observe(world, factors, look_key)


def _probed(model: TriModel, metric: str, factors: TriFactors, features: Array):
    third = len(features) // 3
    parts = [slice(k * third, (k + 1) * third) for k in range(3)]
    cut = lambda tree, rows: jax.tree.map(lambda leaf: leaf[rows], tree)
    return factor_figures(
        [cut(factors, rows) for rows in parts],
        [features[rows] for rows in parts],
        model.classes,
        balanced=metric != "accuracy",
    )


def probe_figures(
    model: TriModel,
    world: Tree,
    represent: Callable[[tuple], Array],
    key: Key,
    *,
    rows: int,
) -> dict[tuple[str, str], float]:
    """(target, metric) -> figure of linear probes, on observations without noise.

    `accuracy` is mean recall on unbiased pairs, where one pair in `classes` has synergy: a probe
    that always says no gets 1/2. `accuracy_balanced` (of synergy) has as many pairs with synergy as
    without it, in fitting and in testing. Chance is 1/classes, and 1/2 of synergy.

    Args:
      model, world: the task.
      represent: `tuple of observations -> [n, f]`.
      key: of the pairs.
      rows: of pairs, a third each for fitting, choosing C and testing.
    """
    figures: dict[tuple[str, str], float] = {}
    for metric, factors, observations in _draws(model, world, key, rows):
        figures |= _probed(model, metric, factors, represent(observations))
    return figures


def subset_figures(
    model: TriModel,
    world: Tree,
    read: Callable[[tuple, AnyArray], Array],
    key: Key,
    *,
    rows: int,
) -> dict[tuple[str, str, str], float]:
    """(modalities seen such as x1+x3, target, metric) -> figure, as probe_figures has them.

    Args:
      model, world, key, rows: see there.
      read: `(observations, subsets [s, modalities] bool) -> [s, n, f]`, such as a study's.
    """
    figures: dict[tuple[str, str, str], float] = {}
    masks = subset_masks(model.modalities)[:-1]
    names = ["+".join(f"x{k + 1}" for k in np.flatnonzero(mask)) for mask in masks]
    for metric, factors, observations in _draws(model, world, key, rows):
        for name, features in zip(names, read(observations, masks), strict=True):
            cells = _probed(model, metric, factors, features)
            figures |= {(name, *cell): value for cell, value in cells.items()}
    return figures


def raw_features(observations: tuple) -> Array:
    """The observations side by side, `[n, modalities features]`: what probes are compared with."""
    return jnp.concatenate(observations, 1)


def chance_of(target: str, classes: int) -> float:
    """What guessing scores."""
    return 0.5 if target.startswith("synergy") else float(np.divide(1, classes))

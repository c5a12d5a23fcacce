"""Shared, unique and synergistic information: what fused and aligned representations keep of it.

One network for all methods, a fusion: those that align modalities see each alone, CoMM sees them
together too. What differs is the loss, and what is read: the fused Z, or those of the modalities
side by side.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.config import option
from mmjax.encoders import Modality, fusion, mlp, single_and_joint_masks
from mmjax.errors import choose, require
from mmjax.evaluate.logistic import fit_logistic
from mmjax.evaluate.regression import standardise
from mmjax.generative import TriFactors, TriModel, trifactor_model
from mmjax.losses import cmc, comm, cross, cross_self, nt_xent, supcon
from mmjax.train import OPTIMISERS, OptimiserOptions, Phase, Plan, optimiser_of
from mmjax.types import Array, Key, Tree


@dataclasses.dataclass(frozen=True)
class FusedOptions(OptimiserOptions):
    """The task and how a representation of it is trained."""

    modalities: int = option(2, "how many, >= 2")
    classes: int = option(10, "shapes, textures and colours")
    hidden: tuple[int, ...] = option((96,), "hidden widths of the modalities' encoders")
    tokens: int = option(4, "tokens of a modality")
    width: int = option(48, "of a token and of Z")
    layers: int = option(1, "of the fusion")
    heads: int = option(8, "of its attention")
    head_hidden: int = option(96, "width of the projection head")
    head_out: int = option(48, "dimension of what the loss compares")
    temperature: float = option(0.1, "of the loss, > 0")
    batch_size: int = option(64, "rows a step, over all devices")
    steps: int = option(600, "training steps")
    optimiser: str = option("adamw", "for the weights", tuple(OPTIMISERS))
    learning_rate: float = option(3e-3, "its peak")
    warmup: int = option(50, "steps of linear warm-up")
    weight_decay: float = option(3.0, "decoupled: makes it general beyond the triples seen")


class Method(NamedTuple):
    """A way of training.

    Attributes:
      fused: whether Z of all modalities together is trained, and read.
      loss: `(first, second [batch, views, dim], factors, temperature, gather) -> scalar`; the views
        are the modalities, each alone, and with `fused` all together behind them.
    """

    fused: bool
    loss: Callable[..., Array]


def _each(embeddings: Array) -> list[Array]:
    return list(jnp.moveaxis(embeddings, 1, 0))


def _comm(joint: float, alone: float):
    def loss(first, second, factors, **options):
        weights = (alone,) * (first.shape[1] - 1) + (joint,)
        return comm(first, second, weights=weights, **options)

    return loss


def _self_only(first, second, factors, **options):
    pairs = zip(_each(first), _each(second), strict=True)
    return sum(nt_xent(a, b, **options) for a, b in pairs)


def _cross_self(first, second, factors, **options):
    return cross_self(_each(first), _each(first), _each(second), **options)


def _slip(first, second, factors, **options):
    return cross_self(_each(first), _each(first)[:1], _each(second)[:1], **options)


def _supcon(first, second, factors, **options):
    rows = jnp.concatenate([first[:, -1], second[:, -1]])
    return supcon(rows, jnp.tile(factors.shape, 2), **options)


METHODS = {
    "comm": Method(True, _comm(1.0, 1.0)),
    "comm_joint_term": Method(True, _comm(1.0, 0.0)),
    "comm_single_terms": Method(True, _comm(0.0, 1.0)),
    "cross": Method(False, lambda first, second, factors, **o: cross(_each(first), **o)),
    "cross_self": Method(False, _cross_self),
    "cmc": Method(False, lambda first, second, factors, **o: cmc(_each(first), **o)),
    "simclr": Method(False, _self_only),
    "slip": Method(False, _slip),
    "supcon": Method(True, _supcon),
}


class FusedStudy(NamedTuple):
    """One method on one law of pairs, as pure functions.

    Attributes:
      model: the task.
      init_env: `key -> TriWorld`.
      init_params: `key -> params`.
      plan: what `train` takes.
      represent: `(params, tuple of observations) -> [n, features]`, what is probed.
    """

    model: TriModel
    init_env: Callable[[Key], Tree]
    init_params: Callable[[Key], Tree]
    plan: Plan
    represent: Callable[[Tree, tuple], Array]


def make_fused_study(
    options: FusedOptions, method: str, bias: float, *, chunk_steps: int, save_every: int
) -> FusedStudy:
    """The study of that method; bias is the share of training pairs made to respect the mapping.

    Raises InvalidInput for an option out of range.
    """
    o, chosen = options, choose(METHODS, "method", method)
    require(o.temperature > 0, "temperature", o.temperature, "a number > 0")
    require(o.batch_size >= 2, "batch_size", o.batch_size, "a whole number >= 2")
    model = trifactor_model(modalities=o.modalities, classes=o.classes)
    encoder = mlp(o.hidden, o.tokens * o.width)
    net = fusion(
        [Modality(encoder, tokens=o.tokens)] * o.modalities,
        width=o.width,
        layers=o.layers,
        heads=o.heads,
        head_hidden=o.head_hidden,
        head_out=o.head_out,
    )
    views = single_and_joint_masks(o.modalities)
    masks = views if chosen.fused else views[:-1]

    def source(world, key):
        factor_key, first_key, second_key = jax.random.split(key, 3)
        factors = model.sample(world, factor_key, o.batch_size, bias)
        look = partial(model.view, world, factors)
        return {"factors": factors, "views": (look(first_key), look(second_key))}

    def init_params(key):
        one = (jax.ShapeDtypeStruct((1, model.features), jnp.float32),) * o.modalities
        params, statistics = net.init(key, one)
        return {"net": params, "statistics": statistics}

    def objective(params, batch, key, gather):
        statistics, projected = params["statistics"], []
        for seen, own_key in zip(batch["views"], jax.random.split(key), strict=True):
            out, statistics = net.forward(params["net"], statistics, seen, masks, own_key, gather)
            projected.append(out.projected)
        how = dict(temperature=o.temperature, gather=gather)
        loss = chosen.loss(*projected, batch["factors"], **how)
        return loss, {"statistics": jax.lax.stop_gradient(statistics)}

    def represent(params, observations):
        read = views[-1:] if chosen.fused else views[:-1]
        z = net.apply(params["net"], params["statistics"], observations, read)
        return z.reshape(len(z), -1)

    plan = Plan(source, [Phase(objective, o.steps)], optimiser_of(o), chunk_steps, save_every)
    init_env = lambda key: model.init(*jax.random.split(key))
    return FusedStudy(model, init_env, init_params, plan, represent)


def targets_of(factors: TriFactors) -> dict[str, Array]:
    """What is probed, `[n]` int labels: shared, unique1, unique2, ..., synergy (synergy1, ...)."""
    textures, synergies = factors.texture.T, factors.synergy.T
    names = ["synergy"] if len(synergies) == 1 else [f"synergy{k + 1}" for k in range(99)]
    return (
        {"shared": factors.shape}
        | {f"unique{k + 1}": texture for k, texture in enumerate(textures)}
        | dict(zip(names, synergies, strict=False))
    )


STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2)  # C of scikit-learn


def mean_recall(predicted: Array, labels: Array, num_classes: int) -> Array:
    """Accuracy where all classes count alike, those without a row not at all; a scalar."""
    rows = jax.nn.one_hot(labels, num_classes)
    hits = jnp.sum(rows * (predicted == labels)[:, None], 0)
    present = jnp.sum(rows, 0) > 0
    return jnp.sum(hits / jnp.maximum(jnp.sum(rows, 0), 1)) / jnp.sum(present)


@partial(jax.jit, static_argnums=(2,))
def searched_probe(features: Array, labels: Array, num_classes: int) -> Array:
    """Mean recall of a linear probe on the last third of the rows.

    Fitted on the first third for each of STRENGTHS, chosen by mean recall on the second.

    Args:
      features: `[n, f]`.
      labels: `[n]` int in 0..num_classes-1.
      num_classes: >= 2.
    """
    third = len(features) // 3
    cut = lambda v: (v[:third], v[third : 2 * third], v[2 * third :])
    (fit, check, test), (fit_y, check_y, test_y) = cut(features), cut(labels)
    _, rest = standardise(fit, jnp.concatenate([fit, check, test]))
    fit, check, test = cut(rest)

    def score(c):
        found = fit_logistic(fit, fit_y, num_classes, 1 / c)
        recall = lambda x, y: mean_recall(
            jnp.argmax(x @ found.weights + found.bias, 1), y, num_classes
        )
        return recall(check, check_y), recall(test, test_y)

    checks, tests = jax.lax.map(score, jnp.asarray(STRENGTHS, features.dtype))
    return tests[jnp.argmax(checks)]


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
    figures = {}
    # Rows that are made to respect the mapping are as likely as rows that do so by chance.
    even = (0.5 - 1 / model.classes) / (1 - 1 / model.classes)
    for metric, bias in (("accuracy", 0.0), ("accuracy_balanced", even)):
        key, factor_key, look_key = jax.random.split(key, 3)
        factors = model.sample(world, factor_key, rows, bias)
        features = represent(model.observe(world, factors, look_key))
        for target, labels in targets_of(factors).items():
            is_synergy = target.startswith("synergy")
            if metric == "accuracy" or is_synergy:
                classes = 2 if is_synergy else model.classes
                figures[target, metric] = float(searched_probe(features, labels, classes))
    return figures


def raw_features(observations: tuple) -> Array:
    """The observations side by side, `[n, modalities features]`: what probes are compared with."""
    return jnp.concatenate(observations, 1)


def chance_of(target: str, classes: int) -> float:
    """What guessing scores."""
    return 0.5 if target.startswith("synergy") else float(np.divide(1, classes))

"""Fusions trained without labels, on any task: one network for all methods.

What differs between methods is the loss, and what is read of the network: the fused Z, or those of
the modalities side by side (mmjax.studies.fusing_methods).
"""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.config import option
from mmjax.encoders import Fusion, Modality, check_temperature, fusion
from mmjax.errors import choose, require
from mmjax.losses import Loss
from mmjax.losses.told import told
from mmjax.nets.embedders import of_fusion
from mmjax.numerics import normalise
from mmjax.studies.fusing_methods import JOINT, METHODS, Method, side_by_side, view_names
from mmjax.train import (
    OPTIMISER_HELP,
    OPTIMISERS,
    OptimiserOptions,
    Recipe,
    Stage,
    former,
    optimiser_of,
)
from mmjax.train.objective import objective_of
from mmjax.train.rows import Seen
from mmjax.types import AnyArray, Array, Key, Tree


@dataclasses.dataclass(frozen=True)
class FusedOptions(OptimiserOptions):
    """How a fusion is trained."""

    tokens: int = option(4, "tokens of a vector")
    width: int = option(48, "of a token and of Z")
    layers: int = option(1, "of the fusion")
    heads: int = option(8, "of the fusion's attention")
    head_hidden: int = option(96, "width of the projection head")
    head_out: int = option(48, "dimension of what the loss compares")
    temperature: float = option(0.1, "of the loss, > 0")
    batch_size: int = option(64, "rows a step, over all devices")
    steps: int = option(600, "training steps")
    optimiser: str = option("adamw", OPTIMISER_HELP, tuple(OPTIMISERS))
    learning_rate: float = option(3e-3, "peak of the learning rate")
    warmup: int = option(50, "steps of linear warm-up")
    weight_decay: float = option(
        3.0, "decoupled, of kernels: makes it general beyond the rows seen"
    )


class FusedTask(NamedTuple):
    """What is fused, and where it comes from.

    Attributes:
      modalities: their encoders and tokens.
      example: a tuple of arrays or Padded, `[1, ...]` each; shapes and dtypes alone are used.
      init_constants: `key -> constants` of one seed, which source sees.
      source: `(constants, key, n) -> batch` of n rows, `[n, ...]` each; of a task that is fed, what
        was fed to the step is a fourth argument.
      classes: of the labels, for supervised methods.
      shared_constants: whether all seeds have the same; init_constants's key is then ignored.
      observe: `batch -> {"views": (first, second), "labels": [n] int32}`, all modalities augmented
        twice, and where rows are drawn from a data set their "ids" `[n, k]` int32 and, name ->
        `[n]` bool, "present", of modalities that rows lack. Labels that nobody has are left out. A
        device calls it for its own rows alone: what is costly belongs here. By default the source
        gives that itself.
      names: of the modalities, for the loss; () numbers them.
      feed: `(batch_size, steps) -> feed of a Recipe`; None: the source needs nothing.
    """

    modalities: Sequence[Modality]
    example: tuple
    init_constants: Callable[[Key], Tree]
    source: Callable[..., dict[str, Any]]
    classes: int
    shared_constants: bool = False
    observe: Callable[[dict[str, Any]], dict[str, Any]] = lambda batch: batch
    names: Sequence[str] = ()
    feed: Callable[[int, int], Callable[[int, Key], Any]] | None = None


class FusedStudy(NamedTuple):
    """One method on one task, as pure functions.

    Attributes:
      init_params: `key -> params`.
      recipe: what `train` takes.
      embed: `(params, observations, masks) -> [n, views, width]`, Z of any subsets.
      read: `(params, observations, subsets) -> [subsets, n, f]`, what is probed of any subsets.
      represent: `(params, observations) -> [n, f]`, the same of all modalities.
      project: the same behind the head and as unit vectors, which is all that the loss compares;
        None for a method that has no use for the head.
    """

    init_params: Callable[[Key], Tree]
    recipe: Recipe
    embed: Callable[[Tree, tuple, AnyArray], Array]
    read: Callable[[Tree, tuple, AnyArray], Array]
    represent: Callable[[Tree, tuple], Array]
    project: Callable[[Tree, tuple], Array] | None

    @property
    def plan(self) -> former.Plan:
        return former.Plan(*self.recipe)


def subset_features(
    embed: Callable[[tuple, Array], Array], observations: tuple, subsets: Array, *, fused: bool
) -> Array:
    """What a method keeps of each subset of the modalities, `[subsets, n, f]`.

    Args:
      embed: `(observations, masks [views, modalities] bool) -> [n, views, width]`.
      observations: `[n, ...]` each.
      subsets: `[subsets, modalities]` bool.
      fused: whether it is the Z that sees the subset (then f = width); or those of the modalities,
        each seen alone, side by side, 0 for those that aren't in it (f = modalities width).
    """
    subsets = jnp.asarray(subsets)
    z = embed(observations, subsets if fused else jnp.eye(subsets.shape[1], dtype=bool))
    if fused:
        return jnp.moveaxis(z, 1, 0)
    side_by_side = jnp.where(subsets[:, None, :, None], z, 0)
    return side_by_side.reshape(*side_by_side.shape[:2], -1)


def _network(options: FusedOptions, task: FusedTask, **changes) -> Fusion:
    o = options
    known = dict(width=o.width, layers=o.layers, heads=o.heads)
    return fusion(
        task.modalities, **(known | dict(head_hidden=o.head_hidden, head_out=o.head_out) | changes)
    )


def _named(task: FusedTask) -> list[str]:
    """A name for each modality; raises InvalidInput for that of all of them."""
    message = "another name of a modality: it is that of all of them"
    require(JOINT not in task.names or len(task.names) == 1, "modality", JOINT, message)
    return list(task.names) or [f"modality{k}" for k in range(len(task.modalities))]


def _method_of(method: str | Method | Loss, options: FusedOptions, task: FusedTask) -> Method:
    if isinstance(method, Method):
        return method._replace(loss=told(method.loss))
    if isinstance(method, Loss):
        return side_by_side(told(method))
    make = choose(METHODS, "method", method)
    check_temperature(options.temperature)
    return make(options.temperature, _named(task), task.classes)


def make_objective(net: Fusion, method: Method, task: FusedTask, dim: int) -> Callable:
    """The method's loss of two augmentations, as training wants it (mmjax.train.step); `dim` is
    that of what the loss compares."""
    names = _named(task)
    named = partial(view_names, modalities=names, fused=method.fused)
    embedder = of_fusion(net, names, method.masks, named, dim, projects=method.projects)

    def look(batch):
        # A row drawn twice is no negative of itself; fresh samples have no ids.
        result = task.observe(batch)
        views = [dict(zip(names, view, strict=True)) for view in result["views"]]
        return Seen(views, result.get("present", {}), result.get("ids"), result.get("labels"))

    return objective_of(embedder, method.loss, look)


def make_fused_study(
    options: FusedOptions,
    task: FusedTask,
    method: str | Method | Loss,
    *,
    chunk_steps: int,
    save_every: int,
    unrolled: bool = False,
    **network: Any,
) -> FusedStudy:
    """The study of that method on that task.

    Args:
      options: of the network and its training.
      task: what is fused.
      method: a name in METHODS, or your own. A Loss sees each modality alone and is read side by
        side; one that reads `joint` too is given as `together(loss)`. Options' temperature is that
        of methods by name.
      chunk_steps, save_every, unrolled: see Recipe.
      network: further options of mmjax.encoders.fusion.

    Raises InvalidInput for an option out of range.
    """
    o, count = options, len(task.modalities)
    chosen = _method_of(method, o, task)
    require(o.batch_size >= 2, "batch_size", o.batch_size, "a whole number >= 2")
    net = _network(o, task, **network)

    sizes = dict(width=o.width, head_out=o.head_out) | network
    dim = sizes["head_out" if chosen.projects else "width"]

    def init_params(key):
        net_key, own_key = jax.random.split(key)
        params, statistics = net.init(net_key, task.example)
        loss_params = chosen.loss.init(own_key, dim)
        return {"nets": params, "statistics": statistics, "loss": loss_params}

    def embed(params, observations, masks):
        return net.apply(params["nets"], params["statistics"], observations, masks)

    def read(params, observations, subsets):
        embed_rows = partial(embed, params)
        return subset_features(embed_rows, observations, subsets, fused=chosen.fused)

    everything: Any = np.ones((1, count), bool)

    def represent(params, observations):
        return read(params, observations, everything)[0]

    def project(params, observations):
        def projected(seen, masks):
            z = embed(params, seen, masks)
            return normalise(net.project(params["nets"], params["statistics"], z))

        return subset_features(projected, observations, everything, fused=chosen.fused)[0]

    recipe = Recipe(
        lambda constants, key, *fed: task.source(constants, key, o.batch_size, *fed),
        [Stage(make_objective(net, chosen, task, dim), o.steps)],
        optimiser_of(o),
        chunk_steps,
        save_every,
        task.shared_constants,
        unrolled,
        task.feed and task.feed(o.batch_size, o.steps),
    )
    behind = project if chosen.projects else None
    return FusedStudy(init_params, recipe, embed, read, represent, behind)

"""The training loop: stages of compiled chunks, with checkpoints, resume and signals between."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mmjax.train.checkpoints import Checkpoints
from mmjax.train.fingerprint import fingerprint
from mmjax.train.parallel import Layout, make_layout
from mmjax.train.signals import Interrupted, checked_signal
from mmjax.train.step import Objective, Source, State, make_chunk, mean_of_steps
from mmjax.types import Array, Key, Tree


class NotFinite(ArithmeticError):
    """A loss, a gradient or a parameter became NaN or infinite: training has stopped.

    Attributes:
      step: the first step at which it did, counted from 1: a checkpoint of step 10 holds 10 steps.
      rows: the seeds, counted from 0, that did so in the same chunk.
      saved: where the last checkpoint lies, all finite; None for none.
    """

    def __init__(
        self, step: int, rows: Sequence[int], saved: str | None, what: str = "training"
    ) -> None:
        last = f"the last finite checkpoint is {saved}" if saved else "there is no checkpoint"
        super().__init__(
            f"{what}: loss, gradient or parameters are not finite at step {step} (seed "
            f"{', '.join(map(str, rows))}); {last}"
        )
        self.step, self.rows, self.saved = step, rows, saved


class Stage(NamedTuple):
    """A stretch of training with one objective.

    Attributes:
      objective: see mmjax.train.step.
      until: the step (exclusive) at which it ends.
      enter: `(params, constants, key) -> params` of one seed, applied once before its first step;
        None changes nothing.
    """

    objective: Objective
    until: int
    enter: Callable[[Tree, Tree, Key], Tree] | None = None


class Recipe(NamedTuple):
    """What is trained and how, the same for all seeds.

    Attributes:
      source: draws batches.
      stages: objectives in order; the last one's `until` is the number of steps.
      optimiser: from optax.
      chunk_steps: steps a compiled call; logs and checkpoints lie between calls.
      save_every: steps between checkpoints (rounded up to whole chunks).
      shared_constants: whether all seeds have the same (a data set) or each its own (a world).
      unrolled: on a CPU, compile no loop over steps or seeds: there XLA runs a convolution inside a
        loop some thirty times slower than outside of one.
      feed: `(first step, root key of a seed's training) -> iterator` of what the host gives each
        step of the seed from there on (rows to take, batches read from files), trees of arrays of
        one shape; None: the source needs nothing.
    """

    source: Source
    stages: Sequence[Stage]
    optimiser: optax.GradientTransformation
    chunk_steps: int
    save_every: int
    shared_constants: bool = False
    unrolled: bool = False
    feed: Callable[[int, Key], Iterator[Tree]] | None = None


def _compiled_chunk(recipe: Recipe, stage: Stage, size: int, layout: Layout) -> Callable:
    """`(states, constants, keys, first, fed) -> (states, Progress of [seeds])`, `size` steps."""
    unrolled = recipe.unrolled and jax.default_backend() == "cpu"
    chunk = make_chunk(
        recipe.source,
        stage.objective,
        recipe.optimiser,
        1 if unrolled else size,
        layout.collectives,
    )
    run = layout.compile(chunk, recipe.shared_constants, unrolled)
    if not unrolled:
        return run

    def one_by_one(states, constants, keys, first, fed=None):
        steps = []
        for step in range(first, first + size):
            fed_now = jax.tree.map(lambda leaf, k=step - first: leaf[:, k : k + 1], fed)
            states, progress = run(states, constants, keys, np.int32(step), fed_now)
            steps.append(progress)
        return states, mean_of_steps(jax.tree.map(lambda *leaves: jnp.stack(leaves), *steps))

    return one_by_one


def init_states(recipe: Recipe, init: Callable[[Key], Tree], keys: Key) -> State:
    """States of all seeds, `[seeds, ...]`, from `init: key -> params` and keys `[seeds]`."""

    def one(key):
        params = init(key)
        return State(params, recipe.optimiser.init(params))

    return jax.jit(jax.vmap(one))(keys)


def _entered(
    recipe: Recipe, stage: Stage, states: State, constants: Tree, keys: Key, step: int
) -> State:
    enter = stage.enter
    if enter is None:
        return states

    def one(params, constants, key):
        # 2^32 - 1 is no step of training: a key of entering's own.
        own_key = jax.random.fold_in(jax.random.fold_in(key, 2**32 - 1), step)
        return enter(params, constants, own_key)

    over_seeds = jax.vmap(one, in_axes=(0, None if recipe.shared_constants else 0, 0))
    return states._replace(params=jax.jit(over_seeds)(states.params, constants, keys))


def _stacked(feeds: Sequence[Iterator[Tree]], size: int) -> Tree:
    """What is fed to the next steps of every seed, `[seeds, size, ...]`; None without feeds."""
    stack = lambda *leaves: np.stack(leaves)
    seeds = [jax.tree.map(stack, *islice(feed, size)) for feed in feeds]
    return jax.tree.map(stack, *seeds) if seeds else None


def train(
    recipe: Recipe,
    states: State,
    constants: Tree,
    keys: Key,
    *,
    layout: Layout,
    checkpoints: Checkpoints | None = None,
    on_resume: Callable[[int], None] = lambda step: None,
    on_chunk: Callable[[int, Array], None] = lambda step, losses: None,
    on_metrics: Callable[[int, Mapping[str, Array]], None] = lambda step, metrics: None,
    stop: Callable[[], int | None] = lambda: None,
    watch: Callable[[int, Callable[[], State]], bool] = lambda step, states: False,
) -> State:
    """Trains all seeds to the end of the recipe, or until it is watched enough.

    Args:
      recipe: what to train.
      states: `[seeds, ...]`, the initial states; donated.
      constants: of the source: `[seeds, ...]`, or those of all seeds (recipe.shared_constants).
      keys: `[seeds]`, root of each seed's randomness in training.
      layout: how seeds and batches lie on devices.
      checkpoints: where to save and resume; None keeps nothing.
      on_resume: called once with the first step to come (0 in a fresh run).
      on_chunk: called with (steps done, mean loss of the chunk `[seeds]`).
      on_metrics: called after on_chunk with (steps done, name -> mean of the chunk `[seeds]`) of
        what the objective tells beside its loss.
      stop: returns a signal number when training should stop.
      watch: called after each chunk with (steps done, function that returns the states); True ends
        the training there.

    Returns:
      The final states `[seeds, ...]`.

    Raises Interrupted after saving, where stop said so; NotFinite after the chunk in which a loss,
    gradient or parameter was not; InvalidInput for checkpoints of another training.
    """
    recipe = Recipe(*recipe)  # or a Plan
    about: dict[str, Any] = {}
    if checkpoints:
        about["until"] = [stage.until for stage in recipe.stages]
        about["data"] = fingerprint((constants, keys))
    restored = checkpoints.restore(states, about) if checkpoints else None
    saved = checkpoints.path(restored[0]) if checkpoints and restored else None
    step, states = restored or (0, states)
    on_resume(step)
    states = layout.put(states)
    compiled, over = {}, step > 0 and watch(step, lambda: states)
    feeds = [recipe.feed(step, key) for key in keys] if recipe.feed else []
    with ExitStack() as stack:
        for feed in feeds:
            if close := getattr(feed, "close", None):
                stack.callback(close)
        for number, stage in enumerate(recipe.stages):
            if stage.enter and step == (recipe.stages[number - 1].until if number else 0):
                # A checkpoint at this very step was taken before entering: a resume enters again.
                states = layout.put(
                    _entered(recipe, stage, layout.take(states), constants, keys, step)
                )
            while step < stage.until and not over:
                size = min(recipe.chunk_steps, stage.until - step)
                if (number, size) not in compiled:
                    compiled[number, size] = _compiled_chunk(recipe, stage, size, layout)
                fed = _stacked(feeds, size)
                states, progress = compiled[number, size](states, constants, keys, step, fed)
                losses, broken, metrics = jax.tree.map(np.asarray, progress)  # waits
                if np.any(broken >= 0):  # before anything is saved
                    seeds = np.flatnonzero(broken >= 0).tolist()
                    raise NotFinite(min(broken[broken >= 0]) + 1, seeds, saved)
                due = (step + size) // recipe.save_every > step // recipe.save_every
                step += size
                on_chunk(step, losses)
                on_metrics(step, metrics)
                over = watch(step, partial(layout.take, states))
                signum = checked_signal(stop())
                done = over or step == recipe.stages[-1].until
                if checkpoints and (due or done or signum):
                    checkpoints.save(step, layout.take(states), about)
                    saved = checkpoints.path(step)
                if signum:
                    raise Interrupted(signum)
    return layout.take(states)


def train_one(
    recipe: Recipe,
    init: Callable[[Key], Tree],
    constants: Tree,
    key: Key,
    *,
    on_chunk: Callable[[int, Array], None] = lambda step, loss: None,
) -> Tree:
    """Trains one seed in memory: no folder, no checkpoints. For notebooks and tests.

    Args:
      recipe: what to train.
      init: `key -> params`.
      constants: of the source, without an axis of seeds.
      key: root of initial weights and data.
      on_chunk: called with (steps done, mean loss of the chunk, a scalar).

    Returns:
      The trained parameters.
    """
    recipe = Recipe(*recipe)  # or a Plan
    init_key, train_key = jax.random.split(key)
    states = train(
        recipe,
        init_states(recipe, init, init_key[None]),
        constants if recipe.shared_constants else jax.tree.map(lambda leaf: leaf[None], constants),
        train_key[None],
        layout=make_layout("single", num_seeds=1, batch_size=1),
        on_chunk=lambda step, losses: on_chunk(step, losses[0]),
    )
    return jax.tree.map(lambda leaf: leaf[0], states.params)

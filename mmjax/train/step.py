"""The training step: a pure function of (state, constants, key). It knows nothing of devices."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from mmjax.errors import require
from mmjax.losses import no_gather
from mmjax.types import Array, Key, Tree

Batch = Any  # what a source yields and an objective takes: usually a Pair, [batch, ...] each


class State(NamedTuple):
    """What training changes.

    Attributes:
      params: parameters of encoders, heads and temperature.
      opt_state: state of the optimiser.
    """

    params: Tree
    opt_state: Tree


class Collectives(NamedTuple):
    """How a step sees the other devices; the defaults are those of a single one.

    Attributes:
      shard: batch of all devices -> this device's rows.
      gather: `[local, ...] -> [global, ...]`.
      mean: tree of arrays -> its mean over devices.
      fold: key -> a key of this device's own.
    """

    shard: Callable[[Batch], Batch] = lambda batch: batch
    gather: Callable[[Array], Array] = no_gather
    mean: Callable[[Tree], Tree] = lambda tree: tree
    fold: Callable[[Key], Key] = lambda key: key


SINGLE = Collectives()

# (constants, key) -> batch. Constants are a seed's own, such as mixing weights, or a data set; a
# recipe that is fed (see Recipe.feed) gives what was fed to the step as a third argument.
Source = Callable[..., Batch]


class Aside(NamedTuple):
    """What an objective gives beside its loss.

    Attributes:
      changes: entries of the parameters that a step replaces instead of learning them, such as the
        running moments of batch norm.
      metrics: name -> scalar, for the logs.
    """

    changes: Mapping[str, Tree] = {}
    metrics: Mapping[str, Array] = {}


# (parameters, local batch, key, gather) -> (local loss, Aside), or its changes alone. The loss is
# the devices' mean, and so is what is aside.
Objective = Callable[[Tree, Batch, Key, Callable], tuple[Array, Any]]


class Progress(NamedTuple):
    """What a chunk of steps says of itself.

    Attributes:
      loss: scalar float, its mean.
      broken: scalar int32, the first step (from 0) whose loss, gradient or new parameters are
        not finite; -1 for none.
      metrics: name -> scalar float32, the means of the objective's.
    """

    loss: Array
    broken: Array
    metrics: Mapping[str, Array] = {}


# (state, constants, key, first step, fed or None) -> (state, progress)
Chunk = Callable[[State, Tree, Key, Array, Tree], tuple[State, Progress]]


def _floats(tree: Tree) -> list[Array]:
    return [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.floating)]


def _finite(loss: Array, grads: Tree, params: Tree) -> Array:
    """Scalar bool. Adam sums a gradient's squares: one that overflows there freezes its weight."""
    squares = [jnp.sum(jnp.square(x.astype(jnp.float32))) for x in _floats(grads)]
    results = [jnp.isfinite(x) for x in (loss, *squares)]
    return jnp.all(jnp.stack(results + [jnp.all(jnp.isfinite(x)) for x in _floats(params)]))


def _scalars(metrics: Mapping[str, Any]) -> dict[str, Array]:
    """Raises InvalidInput for a metric that is none."""
    results = {name: jnp.asarray(value, jnp.float32) for name, value in metrics.items()}
    for name, value in results.items():
        require(value.ndim == 0, f"metric {name}", value.shape, "a scalar")
    return results


def first_broken(broken: Array) -> Array:
    """The smallest step of those that are not -1, else -1; over the first axis."""
    never = jnp.iinfo(jnp.int32).max
    first = jnp.min(jnp.where(broken < 0, never, broken), axis=0)
    return jnp.where(first == never, -1, first)


def mean_of_steps(steps: Progress) -> Progress:
    """One Progress of those of several steps, `[steps, ...]`."""
    mean = lambda x: jnp.mean(x, axis=0)
    return Progress(mean(steps.loss), first_broken(steps.broken), jax.tree.map(mean, steps.metrics))


def make_chunk(
    source: Source,
    objective: Objective,
    optimiser: optax.GradientTransformation,
    num_steps: int,
    collectives: Collectives = SINGLE,
) -> Chunk:
    """Several steps of one seed as one function: sample, encode, loss, update, all on device.

    The randomness of step s is `fold_in(key, s)`, so a resumed run repeats an uninterrupted one.
    Every device draws the whole batch and keeps its rows: drawing costs little beside encoding,
    and the run doesn't depend on the number of devices. What is fed is `[num_steps, ...]`.
    """

    def step(state, constants, key, number, fed):
        batch_key, noise_key = jax.random.split(key)
        batch = collectives.shard(source(constants, batch_key, *fed))
        noise_key = collectives.fold(noise_key)

        def value(params):
            loss, aside = objective(params, batch, noise_key, collectives.gather)
            aside = aside if isinstance(aside, Aside) else Aside(aside)
            return loss, (dict(aside.changes), _scalars(aside.metrics))

        (loss, aside), grads = jax.value_and_grad(value, has_aux=True)(state.params)
        loss, (changes, metrics), grads = collectives.mean((loss, aside, grads))
        updates, opt_state = optimiser.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        params = params | changes if changes else params
        broken = jnp.where(_finite(loss, grads, params), -1, number)
        return State(params, opt_state), Progress(loss, broken.astype(jnp.int32), metrics)

    def chunk(state, constants, key, first, fed=None):
        fed = () if fed is None else (fed,)

        def body(state, place):
            number = first + place[0]
            return step(state, constants, jax.random.fold_in(key, number), number, place[1])

        if num_steps == 1:  # a loop of one is still a loop, see Recipe.unrolled
            return body(state, (0, jax.tree.map(lambda leaf: leaf[0], fed)))
        state, steps = jax.lax.scan(body, state, (jnp.arange(num_steps), fed))
        return state, mean_of_steps(steps)

    return chunk

"""L-BFGS for smooth convex functions, one look at the function a step."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from mmjax.types import Array, Tree

_SUFFICIENT = 1e-4  # share of the slope's promise that a step must keep (Armijo 1966)
_SHORTEST = 1e-6


class Minimum(NamedTuple):
    """Where a minimisation ended.

    Attributes:
      params: there.
      steps: int32 scalar, looks at the function.
      left: scalar, largest entry of the gradient there.
    """

    params: Tree
    steps: Array
    left: Array


class _State(NamedTuple):
    params: Tree
    value: Array
    grad: Tree
    direction: Tree
    memory: Tree
    scale: Array
    steps: Array


def _largest(tree: Tree) -> Array:
    return jnp.max(jnp.stack([jnp.max(jnp.abs(leaf)) for leaf in jax.tree.leaves(tree)]))


def minimise(
    loss: Callable[[Tree], Array], start: Tree, *, max_steps: int, tolerance: float
) -> Minimum:
    """Minimises a smooth convex function by L-BFGS (Nocedal 1980; optax's memory).

    A step that does not lower the function enough is taken back and halved; none is searched for
    along the line, since under `jax.vmap`, where all wait for the slowest, that costs many looks at
    the function a step and a minute of compilation a shape.

    Args:
      loss: `params -> scalar`.
      start: where to start.
      max_steps: looks at the function, at most.
      tolerance: of the gradient's largest entry.
    """
    look = jax.value_and_grad(loss)
    solver = optax.scale_by_lbfgs(memory_size=10)
    away = lambda tree: jax.tree.map(jnp.negative, tree)

    def step(state):
        trial = jax.tree.map(lambda p, d: p + state.scale * d, state.params, state.direction)
        value, grad = look(trial)
        slope = optax.tree.vdot(state.grad, state.direction)
        rounding = 4 * jnp.finfo(value.dtype).eps * jnp.abs(state.value)
        lower = value <= state.value + _SUFFICIENT * state.scale * slope + rounding
        direction, memory = solver.update(grad, state.memory, trial)
        moved = _State(
            trial, value, grad, away(direction), memory, jnp.ones_like(state.scale), state.steps
        )
        stayed = state._replace(scale=state.scale / 2)
        state = jax.tree.map(lambda new, old: jnp.where(lower, new, old), moved, stayed)
        return state._replace(steps=state.steps + 1)

    def going(state):
        left = (_largest(state.grad) > tolerance) & (state.scale > _SHORTEST)
        return left & (state.steps < max_steps)

    value, grad = look(start)
    direction, memory = solver.update(grad, solver.init(start), start)
    scale = jnp.ones((), value.dtype)
    first = _State(start, value, grad, away(direction), memory, scale, jnp.int32(1))
    end = jax.lax.while_loop(going, step, first)
    return Minimum(end.params, end.steps, _largest(end.grad))

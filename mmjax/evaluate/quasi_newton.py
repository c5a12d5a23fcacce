"""L-BFGS for smooth convex functions, one look at the function a step, stopped by distance."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from mmjax.numerics import safe_norm
from mmjax.types import Array, Tree

_SUFFICIENT = 1e-4  # share of the slope's promise that a step must keep (Armijo 1966)
_SHORTEST = 1e-6
_PATIENCE = 30  # looks without progress after which rounding is all that is left
_PROGRESS = 0.9  # a smaller gradient is progress below this share of the smallest seen


class Minimum(NamedTuple):
    """Where a minimisation ended.

    Attributes:
      params: there, of the smallest gradient seen; NaN where the function was not finite at the
        start.
      steps: int32 scalar, looks at the function.
      distance: scalar, bound on the Euclidean distance to the optimum, the gradient's norm over the
        curvature; inf without curvature.
      converged: bool scalar: the distance is within the tolerance, or as small as rounding lets it
        be (which it then says); False where the looks ran out.
    """

    params: Tree
    steps: Array
    distance: Array
    converged: Array


class _State(NamedTuple):
    """Here (params, value, grad), where to go, and the best point (least, its distance)."""

    params: Tree
    value: Array
    grad: Tree
    direction: Tree
    memory: Tree
    scale: Array
    steps: Array
    best: Tree
    least: Array
    marks: tuple[Array, Array]
    idle: Array


def minimise(
    loss: Callable[[Tree], Array],
    start: Tree,
    *,
    units: Tree,
    curvature: Tree,
    size: Callable[[Tree], Array],
    max_steps: int,
    tolerance: float,
    flatness: float = 0.0,
) -> Minimum:
    """Minimises a smooth, strongly convex function by L-BFGS (Nocedal 1980; optax's memory).

    A gradient tells how far the optimum is only beside the curvature: where the second derivative
    is at least c in every direction, the optimum is within |gradient| / c. So that is what stops
    the steps, or that rounding leaves no progress.

    A step that does not lower the function enough is taken back and halved; none is searched for
    along the line, since under `jax.vmap`, where all wait for the slowest, that costs many looks at
    the function a step and a minute of compilation a shape.

    Args:
      loss: `params -> scalar`.
      start: where to start.
      units: tree of start, > 0, broadcast to its leaves: about how far a step may go in each, best
        one over the root of the second derivative.
      curvature: tree of start, >= 0, broadcast to its leaves: about the least second derivative
        by them.
      size: `params -> ` the scalar that the distance is compared to.
      max_steps: looks at the function, at most.
      tolerance: of the distance to the optimum, as a share of the size.
      flatness: the steps also end where no entry of the gradient is larger.
    """
    norm_of = lambda tree: safe_norm(jnp.concatenate([v.ravel() for v in jax.tree.leaves(tree)]))
    scaled = lambda tree: jax.tree.map(jnp.multiply, tree, units)
    unscaled = lambda tree: jax.tree.map(jnp.divide, tree, units)
    curved = jnp.all(jnp.stack([jnp.all(c > 0) for c in jax.tree.leaves(curvature)]))
    # Without curvature the gradient alone still tells whether there is progress.
    least_of = jax.tree.map(lambda c: jnp.where(curved, c, 1), curvature)
    distance_of = lambda grad: norm_of(jax.tree.map(jnp.divide, unscaled(grad), least_of))
    look = jax.value_and_grad(lambda params: loss(scaled(params)))
    solver = optax.scale_by_lbfgs(memory_size=10)
    away = lambda tree: jax.tree.map(jnp.negative, tree)

    def step(state):
        trial = jax.tree.map(lambda p, d: p + state.scale * d, state.params, state.direction)
        value, grad = look(trial)
        slope, then = (optax.tree.vdot(g, state.direction) for g in (state.grad, grad))
        # Where values differ by rounding alone, slopes tell what is lower (Hager and Zhang 2005).
        rounding = 100 * jnp.finfo(value.dtype).eps * jnp.abs(state.value)
        flat = (value <= state.value + rounding) & (then <= (2 * _SUFFICIENT - 1) * slope)
        lower = flat | (value <= state.value + _SUFFICIENT * state.scale * slope)
        direction, memory = solver.update(grad, state.memory, trial)
        norm = distance_of(grad)
        nearer = lower & (norm < state.least)
        # Against what the last progress reached: many small steps are progress too.
        low, short = state.marks
        gained = lower & ((value < low - rounding / 25) | (norm < _PROGRESS * short))
        marks = jnp.minimum(value, low), jnp.minimum(norm, short)
        moved = state._replace(
            params=trial,
            value=value,
            grad=grad,
            direction=away(direction),
            memory=memory,
            scale=jnp.ones_like(state.scale),
            best=jax.tree.map(lambda new, old: jnp.where(nearer, new, old), trial, state.best),
            least=jnp.where(nearer, norm, state.least),
        )
        stayed = state._replace(scale=state.scale / 2)
        new = jax.tree.map(lambda new, old: jnp.where(lower, new, old), moved, stayed)
        marks = jax.tree.map(lambda new, old: jnp.where(gained, new, old), marks, state.marks)
        idle = jnp.where(gained, 0, state.idle + 1)
        return new._replace(steps=state.steps + 1, idle=idle, marks=marks)

    def near(state):
        close = curved & (state.least <= tolerance * size(scaled(state.best)))
        tops = [jnp.max(jnp.abs(g)) for g in jax.tree.leaves(unscaled(state.grad))]
        return close | (jnp.max(jnp.stack(tops)) <= flatness)

    def stuck(state):
        return (state.idle >= _PATIENCE) | (state.scale <= _SHORTEST)

    going = lambda state: ~near(state) & ~stuck(state) & (state.steps < max_steps)
    start = unscaled(start)
    value, grad = look(start)
    direction, memory = solver.update(grad, solver.init(start), start)
    norm = distance_of(grad)
    first = _State(
        start,
        value,
        grad,
        away(direction),
        memory,
        scale=jnp.ones((), value.dtype),
        steps=jnp.int32(1),
        best=start,
        least=norm,
        marks=(value, norm),
        idle=jnp.int32(0),
    )
    end = jax.lax.while_loop(going, step, first)
    finite = jnp.isfinite(value)
    params = jax.tree.map(lambda v: jnp.where(finite, v, jnp.nan), scaled(end.best))
    distance = jnp.where(curved, end.least, jnp.inf)
    return Minimum(params, end.steps, distance, finite & (near(end) | stuck(end)))

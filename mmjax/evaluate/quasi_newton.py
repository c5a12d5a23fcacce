"""L-BFGS for smooth convex functions, one look at the function a step, stopped by distance."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.flatten_util
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
    """Here (params, value, grad), where to go, and the best point (least, its distance).

    Points are one vector, in units.
    """

    params: Array
    value: Array
    grad: Array
    direction: Array
    memory: Tree
    scale: Array
    steps: Array
    best: Array
    least: Array
    marks: tuple[Array, Array]
    idle: Array
    finite: Array


_Look = Callable[[Array], tuple[Array, Array]]  # value and gradient


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
    memory: int = 10,
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
      memory: steps that are remembered; each costs some passes over the parameters.
    """
    # Of one vector: operations on every leaf apart took half of the compilation.
    start, tree_of = jax.flatten_util.ravel_pytree(start)
    leaves = tree_of(start)
    flat = lambda tree: jax.flatten_util.ravel_pytree(jax.tree.map(_broadcast, tree, leaves))[0]
    units, curvature = flat(units), flat(curvature)
    curved = jnp.all(curvature > 0)
    # Without curvature the gradient alone still tells whether there is progress.
    least_of = units * jnp.where(curved, curvature, 1)
    look = jax.value_and_grad(lambda params: loss(tree_of(params * units)))
    solver = optax.scale_by_lbfgs(memory_size=memory)

    def near(state):
        close = curved & (state.least <= tolerance * size(tree_of(state.best * units)))
        return close | (jnp.max(jnp.abs(state.grad / units)) <= flatness)

    def stuck(state):
        return (state.idle >= _PATIENCE) | (state.scale <= _SHORTEST)

    going = lambda state: ~near(state) & ~stuck(state) & (state.steps < max_steps)
    start = start / units
    first = _begin(look, solver, start)
    step = lambda state: _step(look, solver, least_of, state)
    end = jax.lax.while_loop(going, step, first)
    params = tree_of(jnp.where(end.finite, end.best * units, jnp.nan))
    distance = jnp.where(curved, end.least, jnp.inf)
    return Minimum(params, end.steps, distance, end.finite & (near(end) | stuck(end)))


def _begin(look: _Look, solver: optax.GradientTransformation, start: Array) -> _State:
    """The first step stays where it is and looks: the loop has the only copy of the function."""
    far = jnp.asarray(jnp.inf, jax.eval_shape(look, start)[0].dtype)
    return _State(
        start,
        value=far,
        grad=jnp.full_like(start, jnp.inf),
        direction=jnp.zeros_like(start),
        memory=solver.init(start),
        scale=jnp.ones_like(far),
        steps=jnp.int32(0),
        best=start,
        least=jnp.full_like(far, jnp.inf),
        marks=(far, far),
        idle=jnp.int32(0),
        finite=jnp.bool_(True),
    )


def _lower(state: _State, value: Array, grad: Array, rounding: Array) -> Array:
    """Whether the function is lower enough there; the first look is, whatever it sees."""
    slope, then = (jnp.vdot(g, state.direction) for g in (state.grad, grad))
    # Where values differ by rounding alone, slopes tell what is lower (Hager and Zhang 2005).
    level = (value <= state.value + rounding) & (then <= (2 * _SUFFICIENT - 1) * slope)
    enough = value <= state.value + _SUFFICIENT * state.scale * slope
    return level | enough | (state.steps == 0)


def _step(
    look: _Look, solver: optax.GradientTransformation, least_of: Array, state: _State
) -> _State:
    """A look at where the state points: there where it is lower, else half as far from here."""
    trial = state.params + state.scale * state.direction
    value, grad = look(trial)
    rounding = 100 * jnp.finfo(value.dtype).eps * jnp.abs(state.value)
    begun, lower = state.steps > 0, _lower(state, value, grad, rounding)
    direction, memory = solver.update(grad, state.memory, trial)
    norm = safe_norm(grad / least_of)
    nearer = lower & (norm < state.least)
    # Against what the last progress reached: many small steps are progress too.
    low, short = state.marks
    gained = lower & ((value < low - rounding / 25) | (norm < _PROGRESS * short)) | ~begun
    moved = state._replace(
        params=trial,
        value=value,
        grad=grad,
        direction=-direction,
        memory=memory,
        scale=jnp.ones_like(state.scale),
        best=jnp.where(nearer, trial, state.best),
        least=jnp.where(nearer, norm, state.least),
    )
    stayed = state._replace(scale=state.scale / 2)
    new = jax.tree.map(lambda new, old: jnp.where(lower, new, old), moved, stayed)
    return new._replace(
        steps=state.steps + 1,
        idle=jnp.where(gained, 0, state.idle + 1),
        marks=tuple(
            jnp.where(gained, jnp.minimum(new, old), old)
            for new, old in ((value, low), (norm, short))
        ),
        finite=state.finite & (begun | jnp.isfinite(value)),
    )


def _broadcast(value, leaf):
    return jnp.broadcast_to(jnp.asarray(value, leaf.dtype), leaf.shape)

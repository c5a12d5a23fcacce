"""Logistic regression with an L1 penalty: a probe that sees axes, where L2 sees none."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mmjax.evaluate.logistic import Logistic, cross_entropies, fitted_rows, zeros_for
from mmjax.types import Array

_PATIENCE = 100  # steps without progress after which rounding is all that is left
_PROGRESS = 0.9
_SMALL = 1e-3  # largest feature below which, or above its inverse, the unit is changed
_GROWTH = 1.1  # of a step's length after one that did not overshoot


class _State(NamedTuple):
    """Weights with the bias below `[f + 1, classes]`, theirs outputs `[n, classes]`, those ahead.

    The outputs ahead are a sum of known ones: a step costs two products with the features.
    """

    w: Array
    outputs: Array
    ahead: Array
    outputs_ahead: Array
    momentum: Array
    length: Array
    steps: Array
    missed: Array
    marks: tuple[Array, Array]
    idle: Array


def fit_sparse_logistic(
    x: Array,
    labels: Array,
    num_classes: int,
    l1: float | Array = 1.0,
    *,
    max_steps: int = 500,
    tolerance: float = 1e-2,
    flatness: float = 0.0,
    start: tuple[Array, Array] | None = None,
) -> Logistic:
    """Minimises the sum of cross-entropies + l1 |W|_1, the objective of scikit-learn's L1.

    Any rotation of the features leaves an L2-penalised probe's predictions as they are; this one's
    depend on the axes. Accelerated proximal steps (Beck and Teboulle 2009) in each feature's own
    unit, of a length that is halved where it overshoots and grows where not, that restart where the
    momentum points uphill (O'Donoghue and Candes 2015). Pure, so that `jax.vmap` fits many at once.

    Args:
      x: `[n, f]` features of any real type, best of unit variance.
      labels: `[n]` int in 0..num_classes-1; or of another type, of at most num_classes values.
      num_classes: >= 2.
      l1: 1 / C, >= 0.
      max_steps: at most.
      tolerance: share of l1 by which the conditions of the optimum (the gradient is -l1 sign(w),
        or within l1 where w is 0) may be missed.
      flatness: by which they may be missed in any case, of the mean loss's gradient.
      start: weights `[f, classes]` and bias `[classes]`, such as those of another l1; None for 0.

    Returns:
      Logistic; its distance is inf, since this penalty gives no curvature. It has converged too
      where rounding leaves no progress.

    Raises InvalidInput as fit_logistic does.

    Example:
      >>> x = jnp.array([[-1.0, 0.1], [-2.0, -0.1], [1.0, 0.0], [3.0, 0.1]])
      >>> found = fit_sparse_logistic(x, jnp.array([0, 0, 1, 1]), 2)
      >>> jnp.argmax(x @ found.weights + found.bias, 1).tolist()
      [0, 0, 1, 1]
      >>> bool((found.weights[1] == 0).all())
      True
    """
    x, labels = fitted_rows(x, labels, num_classes, l1=l1)
    return _fit(x, labels, num_classes, l1, max_steps, tolerance, flatness, start)


@partial(jax.jit, static_argnums=(2, 4))
def _fit(x, labels, num_classes, l1, max_steps, tolerance, flatness, start) -> Logistic:
    count, width = x.shape
    # Features far larger or smaller than the intercept's 1 are fitted in a unit of their own, where
    # its steps and their squares are right: a power of two, by which nothing is rounded.
    largest = jnp.max(jnp.abs(x), initial=0)
    usual = (largest > _SMALL) & (largest < 1 / _SMALL) | (largest == 0)
    unit = jnp.where(usual, 1, jnp.exp2(jnp.round(jnp.log2(largest)))).astype(x.dtype)
    x, l1, flatness = x / unit, l1 / unit, flatness / unit
    # The intercept is a column of ones, not penalised.
    design = jnp.concatenate([x, jnp.ones((count, 1), x.dtype)], 1)
    # Written out once: on CPUs a product with rows that lie across takes half as long again.
    across = jax.lax.optimization_barrier(design.T)
    squares = jnp.mean(design**2, 0)
    units = (1 / jnp.maximum(squares, 1e-6 * jnp.max(squares)))[:, None]
    penalty = jnp.asarray(l1 / count, x.dtype)
    shrink = penalty * jnp.ones((width + 1, 1), x.dtype).at[-1].set(0)
    rounding = 4 * jnp.finfo(x.dtype).eps

    def loss(outputs):
        return jnp.mean(cross_entropies(outputs, labels))

    def step(state):
        value, slopes = jax.value_and_grad(loss)(state.outputs_ahead)
        grad = across @ slopes
        rate = state.length * units
        moved = state.ahead - rate * grad
        w = jnp.sign(moved) * jnp.maximum(jnp.abs(moved) - rate * shrink, 0)
        outputs, change = design @ w, w - state.ahead
        bound = value + jnp.vdot(grad, change) + 0.5 * jnp.sum(change**2 / rate)
        reached = loss(outputs)
        short = reached <= bound + rounding * jnp.abs(value)
        uphill = jnp.vdot(change / units, w - state.w) < 0
        momentum = jnp.where(uphill, 1.0, state.momentum)
        following = (1 + jnp.sqrt(1 + 4 * momentum**2)) / 2
        push = jnp.where(uphill, 0, (momentum - 1) / following)
        missed = jnp.max(jnp.abs(change) / rate)
        # Against what the last progress reached: many small steps are progress too.
        total, (low, least) = reached + jnp.sum(shrink * jnp.abs(w)), state.marks
        gained = (total < low - rounding * jnp.abs(total)) | (missed < _PROGRESS * least)
        marks = jnp.minimum(total, low), jnp.minimum(missed, least)
        taken = _State(
            w,
            outputs,
            w + push * (w - state.w),
            outputs + push * (outputs - state.outputs),
            following,
            _GROWTH * state.length,
            state.steps + 1,
            missed,
            jax.tree.map(lambda new, old: jnp.where(gained, new, old), marks, state.marks),
            jnp.where(gained, 0, state.idle + 1),
        )
        halved = state._replace(length=state.length / 2, steps=state.steps + 1, idle=state.idle + 1)
        return jax.tree.map(lambda a, b: jnp.where(short, a, b), taken, halved)

    near = lambda state: state.missed <= jnp.maximum(tolerance * penalty, flatness)
    ended = lambda state: near(state) | (state.idle >= _PATIENCE)
    going = lambda state: ~ended(state) & (state.steps < max_steps)
    weights, bias = zeros_for(x, num_classes) if start is None else start
    weights = weights * unit
    first, far = jnp.concatenate([weights, bias[None]]), jnp.array(jnp.inf, x.dtype)
    one, none, outputs = jnp.ones((), x.dtype), jnp.int32(0), design @ first
    begun = _State(first, outputs, first, outputs, one, one, none, far, (far, far), none)
    end = jax.lax.while_loop(going, step, begun)
    # What is no number lowers nothing, as what is at its optimum.
    finite = jnp.isfinite(loss(end.outputs)) & jnp.all(jnp.isfinite(end.w))
    w = jnp.where(finite, end.w, jnp.nan)
    return Logistic(w[:-1] / unit, w[-1], end.steps, ended(end) & finite, far)

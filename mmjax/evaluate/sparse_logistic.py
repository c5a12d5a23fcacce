"""Logistic regression with an L1 penalty: a probe that sees axes, where L2 sees none."""

from functools import partial

import jax
import jax.numpy as jnp

from mmjax.evaluate.labels import as_codes
from mmjax.evaluate.logistic import Logistic, cross_entropies
from mmjax.numerics import floating
from mmjax.types import Array

_PATIENCE = 100  # steps without progress after which rounding is all that is left
_PROGRESS = 0.9


def fit_sparse_logistic(
    x: Array,
    labels: Array,
    num_classes: int,
    l1: float | Array = 1.0,
    *,
    max_steps: int = 500,
    tolerance: float = 1e-2,
) -> Logistic:
    """Minimises the sum of cross-entropies + l1 |W|_1, the objective of scikit-learn's L1.

    Any rotation of the features leaves an L2-penalised probe's predictions as they are; this one's
    depend on the axes. Accelerated proximal steps (Beck and Teboulle 2009) that restart where the
    momentum points uphill (O'Donoghue and Candes 2015). Pure, so that `jax.vmap` fits many at once.

    Args:
      x: `[n, f]` features of any real type, best of unit variance.
      labels: `[n]` int in 0..num_classes-1; or of another type, of at most num_classes values.
      num_classes: >= 2.
      l1: 1 / C, >= 0.
      max_steps: at most.
      tolerance: share of l1 by which the conditions of the optimum (the gradient is -l1 sign(w),
        or within l1 where w is 0) may be missed.

    Returns:
      Logistic; its distance is inf, since this penalty gives no curvature. It has converged too
      where rounding leaves no progress.

    Raises InvalidInput for labels out of range, unless traced.

    Example:
      >>> x = jnp.array([[-1.0, 0.1], [-2.0, -0.1], [1.0, 0.0], [3.0, 0.1]])
      >>> found = fit_sparse_logistic(x, jnp.array([0, 0, 1, 1]), 2)
      >>> jnp.argmax(x @ found.weights + found.bias, 1).tolist()
      [0, 0, 1, 1]
      >>> bool((found.weights[1] == 0).all())
      True
    """
    (labels,) = as_codes(labels, num_classes=num_classes)
    return _fit(floating(x), labels, num_classes, l1, max_steps, tolerance)


@partial(jax.jit, static_argnums=(2, 4))
def _fit(x, labels, num_classes, l1, max_steps, tolerance) -> Logistic:
    count, width = x.shape
    # The intercept is a column of ones, not penalised.
    design = jnp.concatenate([x, jnp.ones((count, 1), x.dtype)], 1)
    gram = design @ design.T if count < width else design.T @ design
    # The softmax's Hessian is at most 1/2: this step never overshoots.
    rate = 2 * count / jnp.maximum(jnp.linalg.eigvalsh(gram)[-1], 1e-12)
    penalty = jnp.asarray(l1 / count, x.dtype)
    shrink = (rate * penalty) * jnp.ones((width + 1, 1), x.dtype).at[-1].set(0)

    def step(carry):
        w, ahead, momentum, number, _, (low, short), idle = carry
        value, grad = jax.value_and_grad(loss)(ahead)
        value += penalty * jnp.sum(jnp.abs(ahead[:-1]))
        moved = ahead - rate * grad
        new = jnp.sign(moved) * jnp.maximum(jnp.abs(moved) - shrink, 0)
        uphill = jnp.vdot(ahead - new, new - w) > 0
        momentum = jnp.where(uphill, 1.0, momentum)
        following = (1 + jnp.sqrt(1 + 4 * momentum**2)) / 2
        missed = jnp.max(jnp.abs(new - ahead)) / rate
        # Against what the last progress reached: many small steps are progress too.
        lower = low - 4 * jnp.finfo(value.dtype).eps * jnp.abs(value)
        gained = (value < lower) | (missed < _PROGRESS * short)
        reached = jnp.minimum(value, low), jnp.minimum(missed, short)
        marks = jax.tree.map(lambda new, old: jnp.where(gained, new, old), reached, (low, short))
        idle = jnp.where(gained, 0, idle + 1)
        ahead = new + jnp.where(uphill, 0, (momentum - 1) / following) * (new - w)
        return new, ahead, following, number + 1, missed, marks, idle

    def loss(w):
        return jnp.mean(cross_entropies(design @ w, labels))

    ended = lambda carry: (carry[4] <= tolerance * penalty) | (carry[6] >= _PATIENCE)
    going = lambda carry: ~ended(carry) & (carry[3] < max_steps)
    zero, far = jnp.zeros((width + 1, num_classes), x.dtype), jnp.array(jnp.inf, x.dtype)
    start = (zero, zero, jnp.ones((), x.dtype), jnp.int32(0), far, (far, far), jnp.int32(0))
    end = jax.lax.while_loop(going, step, start)
    return Logistic(end[0][:-1], end[0][-1], end[3], ended(end), far)

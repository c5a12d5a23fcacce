"""Logistic regression with an L1 penalty: a probe that sees axes, where L2 sees none."""

from functools import partial

import jax
import jax.numpy as jnp
import optax

from mmjax.evaluate.logistic import Logistic
from mmjax.types import Array


@partial(jax.jit, static_argnames=("num_classes", "max_steps"))
def fit_sparse_logistic(
    x: Array,
    labels: Array,
    num_classes: int,
    l1: float | Array = 1.0,
    *,
    max_steps: int = 500,
    tolerance: float = 1e-5,
) -> Logistic:
    """Minimises the sum of cross-entropies + l1 |W|_1, the objective of scikit-learn's L1.

    Any rotation of the features leaves an L2-penalised probe's predictions as they are; this one's
    depend on the axes. Accelerated proximal steps (Beck and Teboulle 2009) that restart where the
    momentum points uphill (O'Donoghue and Candes 2015). Pure, so that `jax.vmap` fits many at once.

    Args:
      x: `[n, f]` float features, best of unit variance.
      labels: `[n]` int in 0..num_classes-1.
      num_classes: >= 2.
      l1: 1 / C, >= 0.
      max_steps: at most.
      tolerance: of the largest change of a parameter in a step.

    Example:
      >>> x = jnp.array([[-1.0, 0.1], [-2.0, -0.1], [1.0, 0.0], [3.0, 0.1]])
      >>> found = fit_sparse_logistic(x, jnp.array([0, 0, 1, 1]), 2)
      >>> jnp.argmax(x @ found.weights + found.bias, 1).tolist()
      [0, 0, 1, 1]
      >>> bool((found.weights[1] == 0).all())
      True
    """
    count, width = x.shape
    # The intercept is a column of ones, not penalised.
    design = jnp.concatenate([x, jnp.ones((count, 1), x.dtype)], 1)
    gram = design @ design.T if count < width else design.T @ design
    # The softmax's Hessian is at most 1/2: this step never overshoots.
    rate = 2 * count / jnp.maximum(jnp.linalg.eigvalsh(gram)[-1], 1e-12)
    shrink = (rate * l1 / count) * jnp.ones((width + 1, 1), x.dtype).at[-1].set(0)

    def loss(w):
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(design @ w, labels))

    def step(carry):
        w, ahead, momentum, number, _ = carry
        moved = ahead - rate * jax.grad(loss)(ahead)
        new = jnp.sign(moved) * jnp.maximum(jnp.abs(moved) - shrink, 0)
        uphill = jnp.vdot(ahead - new, new - w) > 0
        momentum = jnp.where(uphill, 1.0, momentum)
        following = (1 + jnp.sqrt(1 + 4 * momentum**2)) / 2
        ahead = new + jnp.where(uphill, 0, (momentum - 1) / following) * (new - w)
        return new, ahead, following, number + 1, jnp.max(jnp.abs(new - w))

    going = lambda carry: (carry[3] < max_steps) & (carry[4] > tolerance)
    zero = jnp.zeros((width + 1, num_classes), x.dtype)
    start = (zero, zero, jnp.ones((), x.dtype), jnp.int32(0), jnp.array(jnp.inf, x.dtype))
    w, _, _, steps, left = jax.lax.while_loop(going, step, start)
    return Logistic(w[:-1], w[-1], steps, left <= tolerance)

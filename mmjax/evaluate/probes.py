"""Linear classifiers on frozen features."""

from functools import partial

import jax
import jax.numpy as jnp
import optax

from mmjax.types import Array

_STEPS = 200


@partial(jax.jit, static_argnums=(4,))
def linear_probe_accuracy(
    train: Array,
    train_labels: Array,
    test: Array,
    test_labels: Array,
    num_classes: int,
    l2: float = 1.0,
) -> Array:
    """Test accuracy of multinomial logistic regression, the objective of scikit-learn's.

    Minimises sum of cross-entropies + l2 / 2 |W|^2 (intercept free) by L-BFGS, on features
    standardised with the training set's mean and deviation.

    Args:
      train, test: `[n, f]`, `[m, f]` float features.
      train_labels, test_labels: `[n]`, `[m]` int in 0..num_classes-1.
      num_classes: >= 2.
      l2: inverse of scikit-learn's C.

    Returns:
      Scalar in [0, 1].
    """
    mean, scale = train.mean(0), train.std(0)
    scale = jnp.where(scale > 1e-7, scale, 1)
    train, test = (train - mean) / scale, (test - mean) / scale
    count = train.shape[0]

    def loss(params):
        weights, bias = params
        entropies = optax.softmax_cross_entropy_with_integer_labels(
            train @ weights + bias, train_labels
        )
        return jnp.mean(entropies) + 0.5 * l2 / count * jnp.sum(weights**2)

    solver = optax.lbfgs()
    value_and_grad = optax.value_and_grad_from_state(loss)

    def step(carry, _):
        params, state = carry
        value, grad = value_and_grad(params, state=state)
        updates, state = solver.update(grad, state, params, value=value, grad=grad, value_fn=loss)
        return (optax.apply_updates(params, updates), state), None

    params = (jnp.zeros((train.shape[1], num_classes)), jnp.zeros(num_classes))
    (params, _), _ = jax.lax.scan(step, (params, solver.init(params)), length=_STEPS)
    predicted = jnp.argmax(test @ params[0] + params[1], axis=1)
    return jnp.mean((predicted == test_labels).astype(jnp.float32))

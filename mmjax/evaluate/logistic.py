"""Classifiers of frozen features: logistic regression, many at once; votes; zero-shot."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from mmjax.evaluate.quasi_newton import minimise
from mmjax.numerics import normalise
from mmjax.types import Array


class Logistic(NamedTuple):
    """A multinomial logistic regression.

    Attributes:
      weights: `[f, classes]`.
      bias: `[classes]`.
      steps: int32 scalar, steps that the solver made.
      converged: bool scalar, whether the gradient fell below the tolerance.
    """

    weights: Array
    bias: Array
    steps: Array
    converged: Array


@partial(jax.jit, static_argnames=("num_classes", "max_steps"))
def fit_logistic(
    x: Array,
    labels: Array,
    num_classes: int,
    l2: float | Array = 1.0,
    *,
    max_steps: int = 200,
    tolerance: float = 1e-5,
) -> Logistic:
    """Minimises the sum of cross-entropies + l2 / 2 |W|^2, the objective of scikit-learn's.

    L-BFGS from zero; the intercept is free. Both of two classes have a vector here, where
    scikit-learn's binary objective has one: its l2 is half of this one. Pure, so that `jax.vmap`
    fits many strengths of regularisation or many few-shot draws at once.

    Args:
      x: `[n, f]` float features, best standardised.
      labels: `[n]` int in 0..num_classes-1.
      num_classes: >= 2.
      l2: 1 / C, >= 0.
      max_steps: at most.
      tolerance: of the largest entry of the gradient, per row of x.

    Example:
      >>> x = jnp.array([[-1.0], [-2.0], [1.0], [3.0]])
      >>> found = fit_logistic(x, jnp.array([0, 0, 1, 1]), 2)
      >>> jnp.argmax(x @ found.weights + found.bias, 1).tolist()
      [0, 0, 1, 1]
    """
    count = x.shape[0]

    def loss(params):
        weights, bias = params
        entropies = optax.softmax_cross_entropy_with_integer_labels(x @ weights + bias, labels)
        return jnp.mean(entropies) + 0.5 * l2 / count * jnp.sum(weights**2)

    start = (jnp.zeros((x.shape[1], num_classes), x.dtype), jnp.zeros(num_classes, x.dtype))
    found = minimise(loss, start, max_steps=max_steps, tolerance=tolerance)
    return Logistic(*found.params, found.steps, found.left <= tolerance)


def logistic_accuracy(model: Logistic, x: Array, labels: Array) -> Array:
    """Share of the rows `[n, f]` whose likeliest class is their label `[n]`; a scalar."""
    predicted = jnp.argmax(x @ model.weights + model.bias, axis=1)
    return jnp.mean((predicted == labels).astype(jnp.float32))


@partial(jax.jit, static_argnames=("num_classes", "neighbours", "chunk"))
def knn_accuracy(
    x: Array,
    labels: Array,
    test: Array,
    test_labels: Array,
    num_classes: int,
    *,
    neighbours: int = 5,
    chunk: int = 1024,
) -> Array:
    """Accuracy of a vote among the nearest rows by cosine, the nearer class among equals.

    Args:
      x, labels: `[n, f]`, `[n]`; neighbours is at most n.
      test, test_labels: `[m, f]`, `[m]`.
      num_classes: >= 1.
      neighbours: votes.
      chunk: test rows compared at a time, so that memory is O(chunk n).
    """
    x, test = normalise(x), normalise(test)

    def predict(row):
        near, rows = jax.lax.top_k(x @ row, neighbours)
        # Votes count; similarity only breaks ties between them.
        votes = jax.nn.one_hot(labels[rows], num_classes) * (1 + 1e-3 * near[:, None])
        return jnp.argmax(jnp.sum(votes, 0))

    predicted = jax.lax.map(predict, test, batch_size=chunk)
    return jnp.mean((predicted == test_labels).astype(jnp.float32))


def zero_shot_accuracy(images: Array, labels: Array, prompts: Array, prompt_labels: Array) -> Array:
    """Accuracy of the class whose mean text embedding has the largest cosine with the image's.

    Args:
      images, labels: `[n, f]`, `[n]` int.
      prompts, prompt_labels: `[p, f]`, `[p]` int: texts of each class, one or more, which are
        normalised, averaged and normalised again (Radford et al. 2021).
    """
    classes = int(jnp.max(jnp.asarray(prompt_labels))) + 1
    sums = jax.ops.segment_sum(normalise(jnp.asarray(prompts)), jnp.asarray(prompt_labels), classes)
    predicted = jnp.argmax(normalise(jnp.asarray(images)) @ normalise(sums).T, axis=1)
    return jnp.mean((predicted == labels).astype(jnp.float32))

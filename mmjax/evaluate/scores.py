"""Scores of predictions: of classes, of several classes at once, of numbers."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mmjax.errors import require
from mmjax.types import Array


class F1Scores(NamedTuple):
    """F1 scores of several classes, scalars in [0, 1].

    Attributes:
      macro: the mean of the classes'.
      weighted: their mean, weighted by how many rows have the class.
      micro: that of all classes' decisions together.
    """

    macro: Array
    weighted: Array
    micro: Array


def _alike(true: Array, predicted: Array) -> tuple[Array, Array]:
    true, predicted = jnp.asarray(true), jnp.asarray(predicted)
    fits = true.shape == predicted.shape and true.size > 0  # or they would be broadcast
    require(fits, "predicted", predicted.shape, f"the true shape, {true.shape}, not empty")
    return true, predicted


def accuracy(labels: Array, predicted: Array) -> Array:
    """Share of the rows `[n]` int that are predicted; a scalar in [0, 1]."""
    labels, predicted = _alike(labels, predicted)
    return jnp.mean((labels == predicted).astype(jnp.float32))


def mean_recall(labels: Array, predicted: Array, num_classes: int) -> Array:
    """Accuracy where all classes count alike, those without a row not at all (balanced accuracy).

    Args:
      labels, predicted: `[n]` int in 0..num_classes-1, n >= 1.
      num_classes: >= 1.

    Returns:
      Scalar in [0, 1].
    """
    labels, predicted = _alike(labels, predicted)
    rows = jax.nn.one_hot(labels, num_classes)
    hits = jnp.sum(rows * (labels == predicted)[:, None], 0)
    counts = jnp.sum(rows, 0)
    return jnp.sum(hits / jnp.maximum(counts, 1)) / jnp.sum(counts > 0)


def f1_scores(labels: Array, predicted: Array) -> F1Scores:
    """F1 of the positive decisions of several classes, 2 hits / (positive rows + decisions).

    A class without either counts as 0, and weighted is 0 where no row has a class: scikit-learn's
    `f1_score` with `zero_division=0`.

    Args:
      labels, predicted: `[n, classes]` of 0 and 1, or bool.

    Example:
      >>> scores = f1_scores(jnp.array([[1, 0], [1, 1]]), jnp.array([[1, 0], [0, 1]]))
      >>> [round(float(score), 3) for score in scores]
      [0.833, 0.778, 0.8]
    """
    true, claimed = (v.astype(bool) for v in _alike(labels, predicted))
    count = lambda v: jnp.sum(v, 0, dtype=jnp.int32)
    hits, support, decisions = count(true & claimed), count(true), count(claimed)
    ratio = lambda above, below: above / jnp.maximum(below, 1)
    each = ratio(2 * hits, support + decisions)
    return F1Scores(
        jnp.mean(each),
        ratio(jnp.sum(each * support), jnp.sum(support)),
        ratio(2 * jnp.sum(hits), jnp.sum(support + decisions)),
    )


def mean_squared_error(targets: Array, predicted: Array) -> Array:
    """Mean over rows and targets of the squared difference of `[n, targets]`; a scalar."""
    targets, predicted = _alike(targets, predicted)
    return jnp.mean((targets - predicted) ** 2)

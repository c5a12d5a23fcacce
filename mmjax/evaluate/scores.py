"""Scores of predictions: of classes, of several classes at once, of numbers."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mmjax.errors import require
from mmjax.evaluate.labels import as_codes
from mmjax.numerics import difference
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


def _alike(true: Array, predicted: Array) -> None:
    shapes = jnp.shape(true), jnp.shape(predicted)
    fits = shapes[0] == shapes[1] and 0 not in shapes[0]  # or they would be broadcast
    require(fits, "predicted", shapes[1], f"the true shape, {shapes[0]}, not empty")


def accuracy(labels: Array, predicted: Array) -> Array:
    """Share of the rows `[n]` that are predicted; a scalar in [0, 1].

    Labels may be of any type, see as_codes.
    """
    _alike(labels, predicted)
    labels, predicted = as_codes(labels, predicted)
    return jnp.mean((labels == predicted).astype(jnp.float32))


def accuracy_of_largest(outputs: Array, codes: Array, among: Array | None = None) -> Array:
    """Share of the rows whose largest output is their class's; a scalar in [0, 1].

    Args:
      outputs: `[n, classes]` float. NaN among them, which has no largest, makes the share NaN.
      codes: `[n]` int.
      among: `[classes]` bool, of which the largest is taken; None: all.
    """
    asked = outputs if among is None else jnp.where(among, outputs, -jnp.inf)
    right = jnp.mean((jnp.argmax(asked, axis=1) == codes).astype(jnp.float32))
    return jnp.where(jnp.all(jnp.isfinite(outputs)), right, jnp.nan)


def mean_recall(labels: Array, predicted: Array, num_classes: int) -> Array:
    """Accuracy where all classes count alike, those without a row not at all (balanced accuracy).

    Args:
      labels, predicted: `[n]` int in 0..num_classes-1, n >= 1; or labels of another type, of at
        most num_classes values (see as_codes).
      num_classes: >= 1.

    Returns:
      Scalar in [0, 1].
    """
    _alike(labels, predicted)
    labels, predicted = as_codes(labels, predicted, num_classes=num_classes)
    rows = jax.nn.one_hot(labels, num_classes, dtype=jnp.float32)
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
    _alike(labels, predicted)
    true, claimed = (as_codes(v, num_classes=2)[0] == 1 for v in (labels, predicted))
    count = lambda v: jnp.sum(v, 0, dtype=jnp.int32)
    hits, support, decisions = count(true & claimed), count(true), count(claimed)
    ratio = lambda above, below: above.astype(jnp.float32) / jnp.maximum(below, 1)
    each = ratio(2 * hits, support + decisions)
    return F1Scores(
        jnp.mean(each),
        ratio(jnp.sum(each * support), jnp.sum(support)),
        ratio(2 * jnp.sum(hits), jnp.sum(support + decisions)),
    )


def mean_squared_error(targets: Array, predicted: Array) -> Array:
    """Mean over rows and targets of the squared difference of `[n, targets]`; a float scalar.

    Of float64 and whole numbers on the host the difference is taken before it is rounded.
    """
    _alike(targets, predicted)
    return jnp.mean(difference(targets, predicted, "targets") ** 2)

"""Classifiers of frozen features: logistic regression, many at once; votes; zero-shot."""

from functools import partial
from itertools import islice
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.errors import require
from mmjax.evaluate.labels import as_codes
from mmjax.evaluate.quasi_newton import minimise
from mmjax.evaluate.scores import accuracy_of_largest
from mmjax.numerics import floating, normalise, require_strength, safe_norm
from mmjax.types import AnyArray, Array

_HIGH = jax.lax.Precision.HIGHEST


class Logistic(NamedTuple):
    """A multinomial logistic regression.

    Attributes:
      weights: `[f, classes]`; NaN, as the bias, where features or labels were no numbers.
      bias: `[classes]`.
      steps: int32 scalar, steps that the solver made.
      converged: bool scalar, whether it ended by itself: within the tolerance of the optimum, or
        as near as rounding lets it come; False where the steps ran out.
      distance: scalar, bound on the Euclidean distance of the weights from the optimum's, the
        gradient over the curvature that the penalty gives; inf without one.
    """

    weights: Array
    bias: Array
    steps: Array
    converged: Array
    distance: Array


def cross_entropies(outputs: Array, labels: Array) -> Array:
    """`[n, classes]` float and `[n]` int -> `[n]`: -log softmax at the label.

    To the type's relative precision also near 0, where a difference of logarithms would be
    rounding: the optimum of a weak penalty on separable classes lies there.
    """
    apart = outputs - jnp.take_along_axis(outputs, labels[:, None], 1)
    top = jax.lax.stop_gradient(jnp.maximum(jnp.max(apart, 1), 0))
    right = jnp.arange(outputs.shape[1]) == labels[:, None]
    others = jnp.sum(jnp.where(right, 0, jnp.exp(apart - top[:, None])), 1)
    return top + jnp.log1p(others + jnp.expm1(-top))


def units_of(x: Array, spread: float, penalty: Array) -> tuple[Array, Array]:
    """How far the weights `[f]` and the intercept of a logistic loss may step; see minimise.

    Args:
      x: `[n, f]`.
      spread: second derivative of a row's loss by an output.
      penalty: of the penalty by a weight.
    """
    sizes = spread**0.5 * safe_norm(x, axis=0) / len(x) ** 0.5
    curvature = jnp.hypot(sizes, jnp.sqrt(penalty))
    weights = 1 / jnp.where(curvature > 0, curvature, 1)
    return weights, jnp.asarray(spread**-0.5, x.dtype)


def fit_logistic(
    x: AnyArray,
    labels: AnyArray,
    num_classes: int,
    l2: float | Array = 1.0,
    *,
    max_steps: int = 200,
    tolerance: float = 1e-3,
    flatness: float = 0.0,
    memory: int = 10,
    start: tuple[Array, Array] | None = None,
) -> Logistic:
    """Minimises the sum of cross-entropies + l2 / 2 |W|^2, the objective of scikit-learn's.

    L-BFGS from zero or a given start; the intercept is free. Both of two classes have a vector
    here, where scikit-learn's binary objective has one: its l2 is half of this one. Pure, so that
    `jax.vmap` fits many strengths of regularisation or many few-shot draws at once.

    Args:
      x: `[n, f]` features of any real type, best standardised.
      labels: `[n]` int in 0..num_classes-1; or of another type, of at most num_classes values.
      num_classes: >= 2.
      l2: 1 / C, >= 0, finite.
      max_steps: at most.
      tolerance: of the distance of the weights from the optimum's, as a share of their norm. See
        `Logistic.distance` for what was reached.
      flatness: where no entry of the mean loss's gradient is larger the steps end too, as they do
        in scikit-learn, whose `tol` is 1e-4; 0 for the optimum itself.
      memory: steps that L-BFGS remembers.
      start: weights `[f, classes]` and bias `[classes]`, such as those of another l2; None for 0.

    Raises InvalidInput for rows and labels that do not fit, fewer than two classes, and, unless
    traced, for labels out of range and an l2 that is negative or not finite.

    Example:
      >>> x = jnp.array([[-1.0], [-2.0], [1.0], [3.0]])
      >>> found = fit_logistic(x, jnp.array([0, 0, 1, 1]), 2)
      >>> jnp.argmax(x @ found.weights + found.bias, 1).tolist()
      [0, 0, 1, 1]
    """
    x, labels = fitted_rows(x, labels, num_classes, l2=l2)
    options = max_steps, tolerance, flatness
    return _fit_logistic(x, labels, num_classes, l2, *options, memory, start)


def fitted_rows(
    x: AnyArray, labels: AnyArray, num_classes: int, **penalties: float | Array
) -> tuple[Array, Array]:
    """Features `[n, f]` and int32 codes `[n]` that a classifier can be fitted on.

    Raises InvalidInput as fit_logistic does; penalties are told by their names.
    """
    x = floating(x)
    require(x.ndim == 2 and len(x) > 0, "x", x.shape, "[rows, features], a row or more")
    require(num_classes >= 2, "num_classes", num_classes, "2 or more")
    (codes,) = as_codes(labels, num_classes=num_classes)
    require(codes.shape == x.shape[:1], "labels", codes.shape, f"[{len(x)}], one of each row")
    for name, value in penalties.items():
        require_strength(name, value)
    return x, codes


def zeros_for(x: Array, num_classes: int) -> tuple[Array, Array]:
    """Weights and bias of 0 for features `[n, f]`."""
    return jnp.zeros((x.shape[1], num_classes), x.dtype), jnp.zeros(num_classes, x.dtype)


@partial(jax.jit, static_argnums=(2, 4, 7))
def _fit_logistic(
    x, labels, num_classes, l2, max_steps, tolerance, flatness, memory, start
) -> Logistic:
    penalty = jnp.asarray(l2 / x.shape[0], x.dtype)

    def loss(params):
        weights, bias = params
        entropies = cross_entropies(x @ weights + bias, labels)
        return jnp.mean(entropies) + 0.5 * penalty * jnp.sum(weights**2)

    start = zeros_for(x, num_classes) if start is None else start
    spread = (1 - 1 / num_classes) / num_classes
    by_weight, by_bias = units_of(x, spread, penalty)
    result = minimise(
        loss,
        start,
        units=(by_weight[:, None], by_bias),
        curvature=(penalty, jnp.minimum(penalty, spread)),
        size=lambda params: safe_norm(params[0].ravel()),
        max_steps=max_steps,
        tolerance=tolerance,
        flatness=flatness,
        memory=memory,
    )
    weights, bias = result.params
    return Logistic(weights, bias, result.steps, result.converged, result.distance)


def logistic_accuracy(model: Logistic, x: AnyArray, labels: AnyArray) -> Array:
    """Share of the rows `[n, f]` whose likeliest class is their label `[n]`; a scalar.

    NaN where a row or the model is not finite. Labels are those that the model was fitted on, int.
    """
    (labels,) = as_codes(labels)
    return accuracy_of_largest(floating(x) @ model.weights + model.bias, labels)


def knn_accuracy(
    x: AnyArray,
    labels: AnyArray,
    test: AnyArray,
    test_labels: AnyArray,
    num_classes: int,
    *,
    neighbours: int = 5,
    chunk: int = 1024,
) -> Array:
    """Accuracy of a vote among the nearest rows by cosine, the nearer class among equals.

    Args:
      x, labels: `[n, f]`, `[n]`; neighbours is at most n.
      test, test_labels: `[m, f]`, `[m]`.
      num_classes: >= 1; labels are in 0..num_classes-1, or of another type (see as_codes).
      neighbours: votes.
      chunk: test rows compared at a time, so that memory is O(chunk n).

    Returns:
      Scalar in [0, 1]; NaN where a feature is not finite.
    """
    require(1 <= neighbours <= len(x), "neighbours", neighbours, f"1 to {len(x)}, the rows")
    codes = as_codes(labels, test_labels, num_classes=num_classes)
    return _knn_accuracy(
        floating(x), codes[0], floating(test), codes[1], num_classes, neighbours, chunk
    )


@partial(jax.jit, static_argnums=(4, 5, 6))
def _knn_accuracy(x, labels, test, test_labels, num_classes, neighbours, chunk) -> Array:
    x, test = normalise(x), normalise(test)

    def votes(row):
        near, rows = jax.lax.top_k(jnp.matmul(x, row, precision=_HIGH), neighbours)
        # Votes count; similarity only breaks ties between them.
        cast = jax.nn.one_hot(labels[rows], num_classes) * (1 + 1e-3 * near[:, None])
        return jnp.sum(cast, 0)

    result = accuracy_of_largest(jax.lax.map(votes, test, batch_size=chunk), test_labels)
    return jnp.where(jnp.all(jnp.isfinite(x)), result, jnp.nan)


def zero_shot_accuracy(
    images: AnyArray, labels: AnyArray, prompts: AnyArray, prompt_labels: AnyArray
) -> Array:
    """Accuracy of the class whose mean text embedding has the largest cosine with the image's.

    Args:
      images, labels: `[n, f]`, `[n]` int from 0, or of another type (see as_codes).
      prompts, prompt_labels: `[p, f]`, `[p]`: texts of each class, one or more, which are
        normalised, averaged and normalised again (Radford et al. 2021).

    Returns:
      Scalar in [0, 1]; NaN where a feature is not finite.

    Raises InvalidInput for a class that no prompt has: images would be told against a text that
    does not exist.
    """
    codes, prompt_codes = as_codes(labels, prompt_labels)
    classes = _prompted(labels, prompt_labels, codes, prompt_codes)
    sums = jax.ops.segment_sum(normalise(prompts), prompt_codes, classes)
    outputs = jnp.matmul(normalise(images), normalise(sums).T, precision=_HIGH)
    return accuracy_of_largest(outputs, codes)


def _prompted(labels: AnyArray, prompt_labels: AnyArray, codes: Array, prompt_codes: Array) -> int:
    """How many classes there are; raises InvalidInput that names those without a prompt."""
    pairs = [(labels, codes), (prompt_labels, prompt_codes)]
    known = [(v, np.asarray(c)) for v, c in pairs if not isinstance(c, jax.core.Tracer)]
    least = min(int(c.min()) for _, c in known)
    require(least >= 0, "labels", least, "classes from 0")
    classes, prompted = 1 + max(int(c.max()) for _, c in known), set(known[-1][1].tolist())
    missing = list(islice((k for k in range(classes) if k not in prompted), 5))
    # Text and large numbers by their own name, not by their code.
    names = {k: str(np.asarray(v)[c == k][0]) for v, c in known for k in missing if k in c}
    message = ", ".join(names.get(k, str(k)) for k in missing)
    allowed = f"a prompt or more of every class: there is none of {message}"
    require(not missing, "prompt_labels", f"{len(prompted)} of {classes} classes", allowed)
    return classes

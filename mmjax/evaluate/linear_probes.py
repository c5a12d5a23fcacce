"""Linear probes of frozen features, with a penalty that is chosen on validation rows.

A probe is fitted on some rows for each strength of an L2 penalty, the strength is chosen on
others, and what is reported comes from test rows. All of it is one compiled function, and
`jax.vmap` probes many targets or many features at once.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.errors import choose, require
from mmjax.evaluate.labels import as_codes
from mmjax.evaluate.logistic import Logistic, fit_logistic, units_of
from mmjax.evaluate.quasi_newton import minimise
from mmjax.evaluate.regression import explained, standardise
from mmjax.evaluate.scores import accuracy, f1_scores, mean_recall, mean_squared_error
from mmjax.numerics import (
    centred,
    conditioned,
    floating,
    require_finite,
    require_strength,
    safe_norm,
)
from mmjax.types import AnyArray, Array

# Strong first: of equals the strongest is chosen.
STRENGTHS = tuple(10.0**k for k in range(6, -7, -1))


class Labelled(NamedTuple):
    """Rows of a split.

    Attributes:
      features: `[n, f]` of any real type, finite.
      labels: `[n]` int from 0, or text (classification), `[n, classes]` of 0 and 1 (multilabel) or
        `[n, targets]` float (regression).
    """

    features: AnyArray
    labels: AnyArray


class Linear(NamedTuple):
    """A linear map of features: x @ weights + bias, `[n, outputs]`.

    Attributes:
      weights: `[f, outputs]`.
      bias: `[outputs]`.
    """

    weights: Array
    bias: Array


class ProbeTask(NamedTuple):
    """What a probe predicts, as pure functions.

    Attributes:
      fitter: `(features [n, f], labels, num_classes, max_steps) -> (l2 -> Linear)`; what doesn't
        depend on l2 is computed once.
      score: `(outputs, labels, num_classes) -> scalar`, by which l2 is chosen; more is better.
      figures: `(outputs, labels, num_classes) -> dict of scalars`, what is reported.
    """

    fitter: Callable[[Array, Array, int, int], Callable[[Array], Linear]]
    score: Callable[[Array, Array, int], Array]
    figures: Callable[[Array, Array, int], dict[str, Array]]


def fit_multilabel(
    x: Array,
    labels: Array,
    l2: float | Array = 1.0,
    *,
    max_steps: int = 200,
    tolerance: float = 1e-3,
) -> Logistic:
    """A logistic regression for each class apart, the objective of scikit-learn's with C = 1 / l2.

    The sum of cross-entropies + l2 / 2 |w|^2 of every class by L-BFGS, all at once; the intercept
    is free. A class that no row has, or every row, has no minimum: its weights are 0 and its
    intercept the log odds with half a row more on both sides, so that the prediction is constant.

    Args:
      x: `[n, f]` features of any real type, best standardised.
      labels: `[n, classes]` of 0 and 1.
      l2: >= 0.
      max_steps: at most.
      tolerance: of the distance of a class's weights from the optimum's, as a share of their norm.

    Returns:
      Logistic with weights `[f, classes]`, bias, steps, converged and distance `[classes]`; a
      probability is the sigmoid of x @ weights + bias.

    Raises InvalidInput for labels that are not 0 or 1 and an l2 that is negative or not finite,
    unless traced.
    """
    require_strength("l2", l2)
    (labels,) = as_codes(labels, num_classes=2)
    return _fit_multilabel(floating(x), labels, l2, max_steps, tolerance)


@partial(jax.jit, static_argnums=(3,))
def _fit_multilabel(x, labels, l2, max_steps, tolerance) -> Logistic:
    count = x.shape[0]
    penalty = jnp.asarray(l2 / count, x.dtype)
    units = units_of(x, 0.25, penalty)

    def fit(of_class):
        positive = jnp.sum(of_class)
        varies = (positive > 0) & (positive < count)
        sign = jnp.where(of_class, -1, 1).astype(x.dtype)

        def loss(params):
            weights, bias = params
            entropies = jax.nn.softplus(sign * (x @ weights + bias))
            total = jnp.mean(entropies) + 0.5 * penalty * jnp.sum(weights**2)
            return jnp.where(varies, total, 0)

        odds = jnp.log((positive + 0.5) / (count - positive + 0.5)).astype(x.dtype)
        start = (jnp.zeros(x.shape[1], x.dtype), odds)
        outcome = minimise(
            loss,
            start,
            units=units,
            curvature=(penalty, jnp.minimum(penalty, 0.25)),
            size=lambda params: safe_norm(params[0]),
            max_steps=max_steps,
            tolerance=tolerance,
        )
        weights, bias = outcome.params
        return Logistic(weights, bias, outcome.steps, outcome.converged, outcome.distance)

    result = jax.vmap(fit, in_axes=1)(labels)
    return result._replace(weights=result.weights.T)


def _mean(x: Array) -> Array:
    """Of the columns; of a large offset a first one is off by more than its last digit."""
    first = x.mean(0)
    return first + (x - first).mean(0)


def ridge_fitter(x: Array, targets: Array) -> Callable[[Array], Linear]:
    """`l2 -> ` the linear map that minimises |targets - outputs|^2 + l2 |weights|^2.

    The intercept is free: scikit-learn's `Ridge` with alpha = l2. One singular value decomposition
    serves every l2; directions within rounding of 0 get no weight, so that l2 may be 0.

    Args:
      x: `[n, f]` float features.
      targets: `[n, targets]` float.

    The function raises InvalidInput for an l2 that is negative or not finite, unless traced.
    """
    mean, target_mean = _mean(x), _mean(targets)
    x, targets = x - mean, targets - target_mean
    if len(x) > x.shape[1]:  # the decomposition is then of a square
        rotation, x = jnp.linalg.qr(x)
        targets = rotation.T @ targets
    left, values, right = jnp.linalg.svd(x, full_matrices=False)
    parts = left.T @ targets
    rounding = max(x.shape) * jnp.finfo(x.dtype).eps * values[0]
    gone = values <= rounding

    def fit(l2):
        require_strength("l2", l2)
        shrink = jnp.where(gone, 0, values / jnp.where(gone, 1, values**2 + l2))
        weights = right.T @ (shrink[:, None] * parts)
        return Linear(weights, target_mean - mean @ weights)

    return fit


def _logistic_fitter(x, labels, num_classes, max_steps):
    # Of two classes scikit-learn penalises one vector w; here there are two, w / 2 and -w / 2.
    share = 2 if num_classes == 2 else 1
    fit = partial(fit_logistic, x, labels, num_classes, max_steps=max_steps)
    return lambda l2: Linear(*fit(share * l2)[:2])


def _multilabel_fitter(x, labels, num_classes, max_steps):
    return lambda l2: Linear(*fit_multilabel(x, labels, l2, max_steps=max_steps)[:2])


def _regression_fitter(x, targets, num_classes, max_steps):
    return ridge_fitter(x, targets)


def _likeliest(outputs):
    return jnp.argmax(outputs, 1)


def _class_figures(outputs, labels, num_classes):
    predicted = _likeliest(outputs)
    return {
        "accuracy": accuracy(labels, predicted),
        "mean_recall": mean_recall(labels, predicted, num_classes),
    }


def _label_figures(outputs, labels, num_classes):
    result = f1_scores(labels, outputs > 0)._asdict()
    return {f"f1_{name}": score for name, score in result.items()}


def _target_figures(outputs, targets, num_classes):
    r2 = jnp.mean(explained(targets, targets - outputs))
    return {"mse": mean_squared_error(targets, outputs), "r2": r2}


PROBE_TASKS = {
    "classification": ProbeTask(
        _logistic_fitter,
        lambda outputs, labels, classes: mean_recall(labels, _likeliest(outputs), classes),
        _class_figures,
    ),
    "multilabel": ProbeTask(
        _multilabel_fitter,
        lambda outputs, labels, classes: f1_scores(labels, outputs > 0).macro,
        _label_figures,
    ),
    "regression": ProbeTask(
        _regression_fitter,
        lambda outputs, targets, classes: -mean_squared_error(targets, outputs),
        _target_figures,
    ),
}


@partial(jax.jit, static_argnames=("task", "num_classes", "refit", "max_steps"))
def _probe(task, fit, validation, test, num_classes, strengths, refit, max_steps):
    _, check = standardise(fit.features, validation.features)
    x, test_x = standardise(fit.features, test.features)
    # A column without a scale of its own would drown all others where both parts are fitted.
    check = jnp.where(jnp.any(x != 0, 0), check, 0)
    at = lambda model, x: jnp.matmul(x, model.weights) + model.bias
    fitted = task.fitter(x, fit.labels, num_classes, max_steps)

    def look(best, l2):
        model = fitted(l2)
        score = task.score(at(model, check), validation.labels, num_classes)
        better = lambda new, old: jnp.where(score > best[0], new, old)
        return jax.tree.map(better, (score, l2, model), best), None

    # One strength after another, and only the best is kept: memory is that of a single fit.
    shapes = jax.eval_shape(fitted, strengths[0])
    blank = jax.tree.map(lambda v: jnp.zeros(v.shape, v.dtype), shapes)
    start = (jnp.array(-jnp.inf, x.dtype), strengths[0], blank)
    (_, l2, model), _ = jax.lax.scan(look, start, strengths)
    if refit:
        rows = (x, fit.labels), (check, validation.labels)
        every = (jnp.concatenate(parts) for parts in zip(*rows, strict=True))
        model = task.fitter(*every, num_classes, max_steps)(l2)
    figures = task.figures(at(model, test_x), test.labels, num_classes) | {"l2": l2}
    # Where values are not checked: what is no number has no largest class, and no score.
    finite = jnp.isfinite(sum(jnp.sum(v) for v in (x, check, test_x)))
    return {name: jnp.where(finite, value, jnp.nan) for name, value in figures.items()}


def _check_shapes(name: str, task: str, split: Labelled, like: Labelled) -> None:
    x, labels = split
    columns = "[rows, features], 1 row or more, as many features as in fit"
    fits = x.ndim == 2 and len(x) > 0 and x.shape[1:] == like.features.shape[1:]
    require(fits, f"features of {name}", x.shape, columns)
    axes = 1 if task == "classification" else 2
    fits = labels.ndim == axes and labels.shape[1:] == like.labels.shape[1:]
    columns = "[rows]" if axes == 1 else "[rows, columns], the same columns as in fit"
    fits = fits and len(labels) == len(x)
    require(fits, f"labels of {name}", labels.shape, f"{columns}, {len(x)} rows")
    if task != "regression":
        whole = jnp.issubdtype(labels.dtype, jnp.integer) or labels.dtype.kind in "bSUO"
        require(whole, f"labels of {name}", str(labels.dtype), "whole numbers")


def _check_values(name: str, task: str, split: Labelled, num_classes: int) -> None:
    require_finite(split.features, f"features of {name}")
    if task == "regression":
        require_finite(split.labels, f"labels of {name}")
        return
    most = 1 if task == "multilabel" else num_classes - 1
    span = (int(jnp.min(split.labels)), int(jnp.max(split.labels)))
    require(0 <= span[0] and span[1] <= most, f"labels of {name}", span, f"0 to {most}")


def _checked(
    task: str, splits: Sequence[Labelled], num_classes: int | None
) -> tuple[list[Labelled], int, Array]:
    """Splits of floats, centred, and int32 labels or centred targets; classes; targets' unit."""
    array = lambda v: v if isinstance(v, jax.Array) else np.asarray(v)
    splits = [Labelled(array(x), array(labels)) for x, labels in splits]
    names = ("fit", "validation", "test")
    for name, split in zip(names, splits, strict=True):
        _check_shapes(name, task, split, splits[0])
    features = [split.features for split in splits]
    labels: Sequence[AnyArray] = [split.labels for split in splits]
    unit = jnp.ones(())
    if task != "regression":
        labels = as_codes(*labels)
    traced = any(isinstance(v, jax.core.Tracer) for v in (*features, *labels))
    if task != "classification":
        num_classes = 2
    elif num_classes is None:
        require(not traced, "num_classes", None, "a number where labels are traced (vmap, jit)")
        num_classes = max(2, 1 + max(int(jnp.max(codes)) for codes in labels))
    require(num_classes >= 2, "num_classes", num_classes, "a whole number >= 2")
    if not traced:
        for name, x, codes in zip(names, features, labels, strict=True):
            _check_values(name, task, Labelled(x, codes), num_classes)
    if task == "regression":
        labels, _, units = conditioned(*labels, together=True)
        unit = units.max(initial=0)
    return list(map(Labelled, centred(*features), labels)), num_classes, unit


def probe(
    task: str,
    fit: Labelled,
    validation: Labelled,
    test: Labelled,
    *,
    num_classes: int | None = None,
    strengths: Sequence[float] = STRENGTHS,
    refit: bool = True,
    max_steps: int = 200,
) -> dict[str, Array]:
    """Figures of a linear probe on the test rows, l2 chosen on the validation rows.

    Features are standardised with the mean and deviation of the fitting rows alone, also where
    validation rows are fitted on too. l2 is chosen by mean recall (classification), macro F1
    (multilabel) or squared error (regression): the first of equals.

    Under `jax.vmap`, with num_classes given, it probes many targets or many features at once;
    values are not checked then.

    Args:
      task: classification (multinomial logistic regression), multilabel (a logistic regression for
        each class, positive where the probability is above 1/2) or regression (ridge).
      fit, validation, test: (features, labels) of each; see Labelled.
      num_classes: of classification, >= 2; default one more than the largest label.
      strengths: the l2 to try, 1 / C of scikit-learn's LogisticRegression and alpha of its Ridge,
        >= 0 each.
      refit: whether the chosen l2 is fitted once more, on fitting and validation rows together
        (Dufumier et al. 2025).
      max_steps: of each logistic fit.

    Returns:
      Scalars: l2, and accuracy and mean_recall; or f1_macro, f1_weighted and f1_micro; or mse (in
      squared units of the targets) and r2, averaged over targets.

    Raises InvalidInput for an unknown task, shapes that don't agree, labels out of range, or
    features that are not finite.

    Example:
      >>> x = jnp.linspace(-1, 1, 8)[:, None]
      >>> rows = Labelled(x, (x[:, 0] > 0).astype(int))
      >>> float(probe("classification", rows, rows, rows)["accuracy"])
      1.0
    """
    chosen = choose(PROBE_TASKS, "task", task)
    require(max_steps >= 1, "max_steps", max_steps, "a whole number >= 1")
    require(len(strengths) > 0, "strengths", (), "one or more numbers >= 0")
    require_strength("strengths", strengths)
    splits, num_classes, unit = _checked(task, (fit, validation, test), num_classes)
    tried = jnp.asarray(strengths, splits[0].features.dtype)
    with jax.default_matmul_precision("highest"):
        result = _probe(chosen, *splits, num_classes, tried, refit, max_steps)
    # In a unit of their own targets neither overflow nor vanish where l2 is chosen.
    return result | {"mse": result["mse"] * unit**2} if task == "regression" else result

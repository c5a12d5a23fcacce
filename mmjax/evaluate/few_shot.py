"""Few-shot probes of frozen features: balanced draws, the search over C, a table of probes."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.errors import InvalidInput, choose, require
from mmjax.evaluate.labels import as_codes
from mmjax.evaluate.logistic import (
    Logistic,
    fit_logistic,
    knn_accuracy,
    logistic_accuracy,
    zeros_for,
)
from mmjax.evaluate.sparse_logistic import fit_sparse_logistic
from mmjax.numerics import floating, require_strength
from mmjax.types import AnyArray, Array, Key

COARSE = (1e-6, 1e-4, 1e-2, 1.0, 1e2, 1e4, 1e6)
# Of a search: half the memory takes as many steps, each of them a fifth cheaper.
PENALTIES = {"l2": partial(fit_logistic, memory=5), "l1": fit_sparse_logistic}


class Choice(NamedTuple):
    """The regularisation that a search settled on.

    Attributes:
      c: scikit-learn's C, 1 / l2 or 1 / l1.
      accuracy: on the validation rows, with it.
      model: fitted with it.
    """

    c: Array
    accuracy: Array
    model: Logistic


def search_c(
    x: Array,
    labels: Array,
    validation: Array,
    validation_labels: Array,
    num_classes: int,
    *,
    penalty: str = "l2",
    coarse: Array | tuple = COARSE,
    halvings: int = 4,
    max_steps: int = 200,
    **options: float,
) -> Choice:
    """The published search over C: a coarse grid, then bisection of its decades.

    The grid's best by validation accuracy (the first of equals); then both neighbours at a distance
    of half the grid's, a quarter and so on, the best of the three each time, the middle among
    equals (Radford et al. 2021; used for frozen features by Liu et al. 2026).

    Args:
      x, labels: `[n, f]`, `[n]`, fitted on.
      validation, validation_labels: `[m, f]`, `[m]`, chosen on.
      num_classes: >= 2.
      penalty: l2 or l1.
      coarse: ascending C, > 0, equal factors apart.
      halvings: bisections, >= 0; 4 end at an eighth of a decade for the default grid.
      max_steps: of each fit.
      options: further ones of the fit, numbers.

    Returns:
      Choice; its accuracy is NaN where features are not finite.
    """
    codes = as_codes(labels, validation_labels, num_classes=num_classes)
    choose(PENALTIES, "penalty", penalty)
    given = floating(x), codes[0], floating(validation), codes[1]
    require_strength("coarse", coarse, zero=False)
    coarse = jnp.asarray(coarse, given[0].dtype)
    return _search_c(*given, num_classes, penalty, coarse, halvings, max_steps, options)


@partial(jax.jit, static_argnums=(4, 5, 7, 8))
def _search_c(
    x, labels, validation, validation_labels, num_classes, penalty, coarse, halvings, steps, options
) -> Choice:
    fit: Any = PENALTIES[penalty]
    count = len(coarse)
    # Two at a time all the way, so that one copy of the solver is compiled; on CPUs one after the
    # other, where none waits for the slower.
    alone = jax.default_backend() == "cpu"
    pairs = jnp.pad(coarse, (0, count % 2), mode="edge").reshape(-1, 2)
    apart = jnp.log(coarse[-1] / coarse[0]) / max(count - 1, 1)
    factors = jnp.exp(apart * 0.5 ** jnp.arange(1, halvings + 1, dtype=x.dtype))
    around = jnp.stack([1 / factors, factors], 1)
    rounds = jnp.concatenate([pairs, around]), jnp.arange(len(pairs) + halvings) < len(pairs)

    def score(c, start):
        model = fit(x, labels, num_classes, 1 / c, max_steps=steps, start=start, **options)
        return Choice(c, logistic_accuracy(model, validation, validation_labels), model)

    def look(carry, round_):
        best, last = carry
        values, absolute = round_
        # From the fit of the next smaller C, later of the best: near, and so a few steps away.
        begun = best.model.weights, best.model.bias
        start = jax.tree.map(lambda old, new: jnp.where(absolute, old, new), last, begun)
        values = jnp.where(absolute, values, values * best.c)
        near = lambda c: score(c, start)
        result = jax.lax.map(near, values) if alone else jax.vmap(near)(values)
        last = result.model.weights[-1], result.model.bias[-1]
        better = jnp.argmax(result.accuracy)
        # NaN, of features that are not finite, is taken too: it is then the result.
        take = ~(result.accuracy[better] <= best.accuracy)
        best = jax.tree.map(lambda new, old: jnp.where(take, new[better], old), result, best)
        return (best, last), None

    zeros = zeros_for(x, num_classes)
    shapes = jax.eval_shape(score, coarse[0], zeros)
    blank = jax.tree.map(lambda v: jnp.zeros(v.shape, v.dtype), shapes)
    begun = blank._replace(accuracy=blank.accuracy - 1), zeros
    return jax.lax.scan(look, begun, rounds)[0][0]


def few_shot_rows(key: Key, labels: Array, shots: int, num_classes: int) -> Array:
    """Rows of a balanced draw without replacement: `[num_classes * shots]` int32, class by class.

    Args:
      key: of the draw; `jax.vmap` over keys makes many.
      labels: `[n]` int in 0..num_classes-1, with at least `shots` rows of every class (of a class
        with fewer, rows of others would follow: see check_shots).
      shots: rows of each class, >= 1.
      num_classes: >= 1.
    """
    (labels,) = as_codes(labels, num_classes=num_classes)
    return _few_shot_rows(key, labels, shots, num_classes)


@partial(jax.jit, static_argnums=(2, 3))
def _few_shot_rows(key, labels, shots, num_classes) -> Array:
    order = jnp.lexsort((jax.random.uniform(key, labels.shape, jnp.float32), labels))
    starts = jnp.searchsorted(labels[order], jnp.arange(num_classes))
    rows = starts[:, None] + jnp.arange(shots)
    return order[jnp.minimum(rows, len(labels) - 1).ravel()].astype(jnp.int32)


def check_shots(
    labels: AnyArray,
    shots: int,
    num_classes: int,
    *,
    flag: str = "shots",
    where: str = "",
    names: Sequence[Any] | np.ndarray | None = None,
) -> None:
    """Raises InvalidInput where a class has fewer rows than shots.

    Args:
      labels: `[n]` int codes.
      shots: rows of each class.
      num_classes: >= 1.
      flag: what the user set.
      where: which rows these are, for the message.
      names: of the classes, by code.
    """
    (labels,) = as_codes(labels, num_classes=num_classes)
    counts = jnp.bincount(labels, length=num_classes)
    least = int(jnp.argmin(counts))
    name = least if names is None else repr(np.asarray(names)[least].item())
    result = int(counts[least])
    of = f" in {where}" if where else ""
    if result == 0:
        raise InvalidInput(f"{where or 'labels'}: no row of class {name}; use rows of every class")
    require(1 <= shots <= result, flag, shots, f"1 to {result}, the rows of class {name}{of}")


def in_span(x: Array, others: Sequence[Array]) -> list[Array]:
    """The rows of x, and what others have of their span, in coordinates of it: `[., min(n, f)]`.

    An L2 penalty keeps the weights in the span of the training rows, so that nothing is lost and
    few shots of many features cost as much as few features.
    """
    x, *others = map(floating, (x, *others))
    if len(x) >= x.shape[1]:
        return [x, *others]
    basis = axes_of_rows(x, jnp.linalg.qr(x.T)[0])
    return [v @ basis for v in (x, *others)]


def axes_of_rows(x: Array, axes: Array) -> Array:
    """Axes `[f, k]`, 0 in place of those along which rows `[n, f]` have their rounding alone.

    A weak penalty would make weights of it, and other rows are far from 0 there: they would be
    classified by how one machine rounds.
    """
    sizes = jnp.linalg.norm(x @ axes, axis=0)
    rounding = max(x.shape) * jnp.finfo(x.dtype).eps * jnp.max(sizes, initial=0)
    return jnp.where(sizes > rounding, axes, 0)


def _linear(penalty, x, labels, validation, validation_labels, tests, num_classes):
    if penalty == "l2":
        x, validation, *scored = in_span(x, [validation, *(v for v, _ in tests)])
        tests = [(v, l) for v, (_, l) in zip(scored, tests, strict=True)]
    result = search_c(x, labels, validation, validation_labels, num_classes, penalty=penalty)
    return jnp.stack([logistic_accuracy(result.model, v, l) for v, l in tests])


def _nearest(x, labels, validation, validation_labels, tests, num_classes):
    vote = partial(knn_accuracy, x, labels, num_classes=num_classes, neighbours=min(5, len(x)))
    return jnp.stack([vote(test=v, test_labels=l) for v, l in tests])


# name -> `(x, labels, validation, validation_labels, tests, num_classes) -> [tests] accuracies`;
# tests are pairs `([m, f], [m])`. Those with a C choose it on the validation rows.
PROBES: dict[str, Callable[..., Array]] = {
    "l2": partial(_linear, "l2"),
    "l1": partial(_linear, "l1"),
    "knn": _nearest,
}

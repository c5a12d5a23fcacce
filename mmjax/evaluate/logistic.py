"""Few-shot classifiers of frozen features, many at once: logistic regression, C, votes."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from mmjax.errors import require
from mmjax.numerics import normalise
from mmjax.types import Array, Key

COARSE = (1e-6, 1e-4, 1e-2, 1.0, 1e2, 1e4, 1e6)


class Logistic(NamedTuple):
    """A multinomial logistic regression.

    Attributes:
      weights: `[f, classes]`.
      bias: `[classes]`.
      steps: int32 scalar, steps of L-BFGS made.
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

    L-BFGS from zero with a zoom line search; the intercept is free. Pure, so that `jax.vmap` fits
    many strengths of regularisation or many few-shot draws at once.

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

    solver = optax.lbfgs()
    value_and_grad = optax.value_and_grad_from_state(loss)
    size = lambda grad: jnp.max(jnp.stack([jnp.max(jnp.abs(g)) for g in grad]))

    def step(carry):
        params, state, number, _ = carry
        value, grad = value_and_grad(params, state=state)
        updates, state = solver.update(grad, state, params, value=value, grad=grad, value_fn=loss)
        return optax.apply_updates(params, updates), state, number + 1, size(grad)

    going = lambda carry: (carry[2] < max_steps) & (carry[3] > tolerance)
    params = (jnp.zeros((x.shape[1], num_classes), x.dtype), jnp.zeros(num_classes, x.dtype))
    start = (params, solver.init(params), jnp.int32(0), jnp.array(jnp.inf, x.dtype))
    (weights, bias), _, steps, left = jax.lax.while_loop(going, step, start)
    return Logistic(weights, bias, steps, left <= tolerance)


def logistic_accuracy(model: Logistic, x: Array, labels: Array) -> Array:
    """Share of the rows `[n, f]` whose likeliest class is their label `[n]`; a scalar."""
    predicted = jnp.argmax(x @ model.weights + model.bias, axis=1)
    return jnp.mean((predicted == labels).astype(jnp.float32))


class Choice(NamedTuple):
    """The regularisation that a search settled on.

    Attributes:
      c: scikit-learn's C, 1 / l2.
      accuracy: on the validation rows, with it.
    """

    c: Array
    accuracy: Array


@partial(jax.jit, static_argnames=("num_classes", "halvings", "max_steps"))
def search_c(
    x: Array,
    labels: Array,
    validation: Array,
    validation_labels: Array,
    num_classes: int,
    *,
    coarse: Array | tuple = COARSE,
    halvings: int = 4,
    max_steps: int = 200,
) -> Choice:
    """The published search over C: a coarse grid, then bisection of its decades.

    The grid's best by validation accuracy (the first of equals); then both neighbours at a distance
    of half the grid's, a quarter and so on, the best of the three each time, the middle among
    equals (Radford et al. 2021; used for frozen features by Liu et al. 2026).

    Args:
      x, labels: `[n, f]`, `[n]`, fitted on.
      validation, validation_labels: `[m, f]`, `[m]`, chosen on.
      num_classes: >= 2.
      coarse: ascending C, equal factors apart.
      halvings: bisections, >= 0; 4 end at an eighth of a decade for the default grid.
      max_steps: of each fit.
    """
    coarse = jnp.asarray(coarse, x.dtype)

    def score(c):
        model = fit_logistic(x, labels, num_classes, 1 / c, max_steps=max_steps)
        return logistic_accuracy(model, validation, validation_labels)

    scores = jax.vmap(score)(coarse)
    best = jnp.argmax(scores)
    apart = jnp.log(coarse[-1] / coarse[0]) / max(len(coarse) - 1, 1)

    def bisect(choice, number):
        factor = jnp.exp(apart * 0.5 ** (number + 1))
        around = jnp.stack([choice.c / factor, choice.c * factor])
        found = jax.vmap(score)(around)
        better = jnp.argmax(found)
        take = found[better] > choice.accuracy
        take_either = lambda new, old: jnp.where(take, new, old)
        return Choice(
            take_either(around[better], choice.c), take_either(found[better], choice.accuracy)
        ), None

    start = Choice(coarse[best], scores[best])
    return jax.lax.scan(bisect, start, jnp.arange(halvings, dtype=x.dtype))[0]


@partial(jax.jit, static_argnames=("shots", "num_classes"))
def few_shot_rows(key: Key, labels: Array, shots: int, num_classes: int) -> Array:
    """Rows of a balanced draw without replacement: `[num_classes * shots]` int32, class by class.

    Args:
      key: of the draw; `jax.vmap` over keys makes many.
      labels: `[n]` int in 0..num_classes-1, with at least `shots` rows of every class (of a class
        with fewer, rows of others would follow: see check_shots).
      shots: rows of each class, >= 1.
      num_classes: >= 1.
    """
    order = jnp.lexsort((jax.random.uniform(key, labels.shape), labels))
    starts = jnp.searchsorted(labels[order], jnp.arange(num_classes))
    rows = starts[:, None] + jnp.arange(shots)
    return order[jnp.minimum(rows, len(labels) - 1).ravel()].astype(jnp.int32)


def check_shots(labels: Array, shots: int, num_classes: int) -> None:
    """Raises InvalidInput where a class has fewer rows than shots."""
    counts = jnp.bincount(jnp.asarray(labels), length=num_classes)
    least = int(jnp.argmin(counts))
    allowed = f"1 to {int(counts[least])}, the rows of class {least}"
    require(1 <= shots <= int(counts[least]), "shots", shots, allowed)


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

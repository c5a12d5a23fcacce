"""How much of a target a small network can find in the features."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from mmjax.errors import require
from mmjax.evaluate.labels import as_codes
from mmjax.evaluate.logistic import cross_entropies
from mmjax.evaluate.regression import check_split, explained, standardise
from mmjax.evaluate.scores import accuracy_of_largest
from mmjax.evaluate.splits import halves
from mmjax.numerics import centred, require_strength
from mmjax.types import AnyArray, Array, Key

_CHECKPOINTS = 20


def mlp_r2(features: Array, targets: Array, key: Key, **options: Any) -> Array:
    """R2 of a multilayer perceptron, fitted on half of the rows, scored on the rest.

    Args:
      features: `[n, f]` of any real type, n >= 4.
      targets: `[n, k]`; constant targets count as R2 0.
      key: of the halves (see half_rows), and of what `mlp_r2_between` draws.
      **options: those of `mlp_r2_between`.

    Returns:
      Scalar R2, as `mlp_r2_between`.

    Raises:
      InvalidInput: as `mlp_r2_between`.
    """
    split_key, fit_key = jax.random.split(key)
    (fit_x, fit_y), (score_x, score_y) = halves((features, targets), split_key)
    return mlp_r2_between(fit_x, fit_y, score_x, score_y, fit_key, **options)


def mlp_r2_between(
    fit_x: Array,
    fit_y: Array,
    score_x: Array,
    score_y: Array,
    key: Key,
    *,
    width: int = 256,
    layers: int = 2,
    steps: int = 2000,
    batch: int = 256,
    learning_rate: float = 1e-3,
    weight_decay: float = 1e-4,
) -> Array:
    """R2 of a multilayer perceptron, fitted on some rows and scored on others.

    One network predicts all k targets. Features and targets are standardised by the fitting rows.
    A fifth of these, drawn by the key, is kept for choice: training is looked at 21 times, the
    first before any step, where the prediction is the mean, and every target takes the prediction
    that had the least squared error on that fifth. So targets that cannot be predicted score about
    0, not far below.

    Args:
      fit_x, score_x: `[n, f]`, `[m, f]` features of any real type, n >= 2, m >= 1.
      fit_y, score_y: `[n, k]`, `[m, k]` targets; constant targets count as R2 0.
      key: weights, choice rows and batches.
      width: units of a hidden layer (GELU), >= 1.
      layers: hidden layers, >= 0; 0 is linear.
      steps: of AdamW, >= 20, rounded down to a multiple of 20; the learning rate falls to 0 along
        a half cosine.
      batch: rows drawn per step, with replacement, >= 1.
      learning_rate: of the first step, >= 0.
      weight_decay: of AdamW, >= 0.

    Returns:
      Scalar: coefficient of determination on the scoring rows, averaged over the k targets. At most
      1. k = 0 gives NaN, and so does m = 1.

    Raises:
      InvalidInput: rows or columns do not agree, or a value is outside these ranges.

    Example:
      >>> import jax
      >>> z = jax.random.uniform(jax.random.key(0), (600, 2), minval=-1)
      >>> bool(mlp_r2(z, z**2, jax.random.key(1), width=64, steps=400) > 0.9)
      True
    """
    check_split(fit_x, fit_y, score_x, score_y)
    require(fit_y.ndim == 2, "fit_y", fit_y.shape, "two axes, [rows, targets]")
    _check_options(len(fit_x), width, layers, steps, batch, learning_rate, weight_decay)
    (fit_x, score_x), (fit_y, score_y) = centred(fit_x, score_x), centred(fit_y, score_y)
    return _r2(
        fit_x, fit_y, score_x, score_y, key, learning_rate, weight_decay,
        width=width, layers=layers, steps=steps, batch=batch,
    )  # fmt: skip


def mlp_accuracy(
    fit_x: AnyArray,
    fit_labels: AnyArray,
    score_x: AnyArray,
    score_labels: AnyArray,
    num_classes: int,
    key: Key,
    *,
    width: int = 256,
    layers: int = 2,
    steps: int = 2000,
    batch: int = 256,
    learning_rate: float = 1e-3,
    weight_decay: float = 1e-4,
) -> Array:
    """Accuracy of a multilayer perceptron, fitted on some rows and scored on others.

    As `mlp_r2_between`, with the cross-entropy for loss and for choice. Before any step the network
    predicts the frequencies of the classes.

    Args:
      fit_x, score_x: `[n, f]`, `[m, f]` features of any real type, n >= 2, m >= 1.
      fit_labels, score_labels: `[n]`, `[m]` int in 0..num_classes-1, or of another type, of at
        most num_classes values (see as_codes).
      num_classes: >= 2.
      key, width, layers, steps, batch, learning_rate, weight_decay: as in `mlp_r2_between`.

    Returns:
      Scalar in [0, 1]; NaN where a feature is not finite.

    Raises:
      InvalidInput: rows or columns do not agree, or a value is outside these ranges.
    """
    check_split(fit_x, fit_labels, score_x, score_labels)
    require(fit_labels.ndim == 1, "fit_labels", fit_labels.shape, "one axis, [rows]")
    require(num_classes >= 2, "num_classes", num_classes, "2 or more")
    _check_options(len(fit_x), width, layers, steps, batch, learning_rate, weight_decay)
    codes = as_codes(fit_labels, score_labels, num_classes=num_classes)
    fit_x, score_x = centred(fit_x, score_x)
    return _accuracy(
        fit_x, codes[0], score_x, codes[1], key, learning_rate, weight_decay,
        num_classes=num_classes, width=width, layers=layers, steps=steps, batch=batch,
    )  # fmt: skip


def _check_options(
    rows: int, width: int, layers: int, steps: int, batch: int, rate: float, decay: float
) -> None:
    require(rows >= 2, "fit_x", rows, "2 or more rows: one is kept for choice")
    require(width >= 1, "width", width, "1 or more")
    require(layers >= 0, "layers", layers, "0 or more")
    require(steps >= _CHECKPOINTS, "steps", steps, f"{_CHECKPOINTS} or more")
    require(batch >= 1, "batch", batch, "1 or more")
    require_strength("learning_rate", rate)
    require_strength("weight_decay", decay)


_SIZES = ("width", "layers", "steps", "batch")


@partial(jax.jit, static_argnames=_SIZES)
def _r2(fit_x, fit_y, score_x, score_y, key, learning_rate, weight_decay, **sizes) -> Array:
    dtype = jnp.result_type(fit_x, fit_y)
    fit_x, score_x, fit_y, score_y = (v.astype(dtype) for v in (fit_x, score_x, fit_y, score_y))
    fit_y, score_y = standardise(fit_y, score_y)
    errors = lambda outputs, rows: (outputs - fit_y[rows]) ** 2
    bias = jnp.zeros(fit_y.shape[1], fit_y.dtype)
    outputs = _chosen_outputs(
        fit_x, score_x, errors, bias, key, learning_rate, weight_decay, **sizes
    )
    return jnp.mean(explained(score_y, score_y - outputs))


@partial(jax.jit, static_argnames=(*_SIZES, "num_classes"))
def _accuracy(
    fit_x, fit_labels, score_x, score_labels, key, learning_rate, weight_decay, *, num_classes,
    **sizes,
) -> Array:  # fmt: skip
    def errors(outputs, rows):
        return cross_entropies(outputs, fit_labels[rows])[:, None]

    counts = jnp.sum(jax.nn.one_hot(fit_labels, num_classes, dtype=fit_x.dtype), axis=0)
    bias = jnp.log((counts + 1) / (len(fit_x) + num_classes))
    outputs = _chosen_outputs(
        fit_x, score_x, errors, bias, key, learning_rate, weight_decay, **sizes
    )
    finite = jnp.all(jnp.isfinite(fit_x))  # or the outputs of no training at all are judged
    return jnp.where(finite, accuracy_of_largest(outputs, score_labels), jnp.nan)


def _chosen_outputs(
    fit_x: Array,
    score_x: Array,
    errors: Callable[[Array, Array], Array],
    bias: Array,
    key: Key,
    learning_rate: float,
    weight_decay: float,
    *,
    width: int,
    layers: int,
    steps: int,
    batch: int,
) -> Array:
    """Trains, and returns the outputs for the scoring rows at the best of the checkpoints.

    Args:
      errors: of outputs `[b, k]` for the fitting rows of given indices `[b]`, to `[b, heads]`;
        heads is k, where every output chooses for itself, or 1.
      bias: `[k]` outputs before any step.

    Returns:
      `[m, k]`.
    """
    init_key, split_key, batch_key = jax.random.split(key, 3)
    fit_x, score_x = standardise(fit_x, score_x)
    order = jax.random.permutation(split_key, len(fit_x))
    choice, train = jnp.split(order, [max(1, len(order) // 5)])
    every = steps // _CHECKPOINTS
    optimiser = optax.adamw(
        optax.cosine_decay_schedule(learning_rate, every * _CHECKPOINTS),
        weight_decay=weight_decay,
    )
    loss = lambda params, rows: jnp.mean(errors(_outputs(params, fit_x[rows]), rows))

    def step(carry, key):
        params, state = carry
        rows = train[jax.random.randint(key, (min(batch, len(train)),), 0, len(train))]
        updates, state = optimiser.update(jax.grad(loss)(params, rows), state, params)
        return (optax.apply_updates(params, updates), state), None

    def look(params):
        return jnp.mean(errors(_outputs(params, fit_x[choice]), choice), 0), _outputs(
            params, score_x
        )

    def until_next_look(carry, keys):
        trained, least, kept = carry
        trained, _ = jax.lax.scan(step, trained, keys)
        error, outputs = look(trained[0])
        carry = trained, jnp.minimum(error, least), jnp.where(error < least, outputs, kept)
        return carry, None

    params = _init(init_key, [fit_x.shape[1], *[width] * layers], bias)
    keys = jax.random.split(batch_key, (_CHECKPOINTS, every))
    start = ((params, optimiser.init(params)), *look(params))
    (_, _, kept), _ = jax.lax.scan(until_next_look, start, keys)
    return kept


def _init(key: Key, sizes: list[int], bias: Array) -> list[tuple[Array, Array]]:
    """Weights and biases of every layer; the outputs are `bias`, whatever the features."""
    keys = jax.random.split(key, len(sizes))
    hidden = [
        (
            jax.random.normal(k, (inputs, outputs), bias.dtype) * (2 / max(inputs, 1)) ** 0.5,
            jnp.zeros(outputs, bias.dtype),
        )
        for k, inputs, outputs in zip(keys, sizes[:-1], sizes[1:], strict=False)
    ]
    return [*hidden, (jnp.zeros((sizes[-1], len(bias)), bias.dtype), bias)]


def _outputs(params: list[tuple[Array, Array]], x: Array) -> Array:
    *hidden, (weights, bias) = params
    for layer_weights, layer_bias in hidden:
        x = jax.nn.gelu(x @ layer_weights + layer_bias)
    return x @ weights + bias

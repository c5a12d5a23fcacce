"""Adapters with trained parameters: Tip-Adapter-F, CCA-FT, TaskRes, CLIP-Adapter, LP++ and more.

The published ones train on augmented pictures anew each epoch; here there are cached features.
"""

import jax
import jax.numpy as jnp

from mmjax.evaluate.logistic import cross_entropies
from mmjax.few_shot.base import SCALE, Draws, Fitted, class_means, filled, over_draws
from mmjax.few_shot.caches import cached, cca_terms, fit_tip, search_cca, zero_shot
from mmjax.few_shot.training import train
from mmjax.numerics import normalise
from mmjax.types import Array, Tree

RATIO = 0.2  # of CLIP-Adapter: how much of the feature is the adapter's
LP_STEPS = 300  # of LP++, full batches
RESIDUAL = 0.5  # alpha of TaskRes


@over_draws
def _tip_keys(x, labels, val, val_labels, texts, key, num_classes):
    def scores(keys, rows):
        return zero_shot(rows, texts) + cached(rows @ keys.T, jnp.ones(()), num_classes)

    return train(scores, x, 1e-3, (x, labels), (val, val_labels), key)[0]


def fit_tip_f(draws: Draws, num_classes: int) -> Fitted:
    """Tip-Adapter-F (Zhang et al. 2022): keys trained at alpha = beta = 1, then searched."""
    given = draws.x, draws.labels, draws.val, draws.val_labels, draws.texts, draws.keys
    return fit_tip(draws, num_classes, _tip_keys(*given, num_classes))


def distinct(rows: int, copies: Array) -> tuple[Array, Array]:
    """Of rows that are there `copies` times: `[rows]` places, first one of each; how many."""
    copies = copies.astype(jnp.int32)
    return jnp.minimum(jnp.arange(rows) * copies, rows - 1), rows // copies


def _sizes(turn):
    """Sum of absolute values, flat at 0, where jnp.abs climbs and all but the diagonal starts."""
    return jnp.sum(jax.lax.stop_gradient(jnp.sign(turn)) * turn)


@over_draws
def _cca_trained(x, z, labels, copies, val, val_z, val_labels, texts, key, num_classes):
    width = x.shape[1]
    places, count = distinct(len(x), copies)

    def scores(params, rows):
        plain, unmixed = rows[:, :width], rows[:, width:] @ params["turn"]
        terms = cca_terms(plain, unmixed, x, z, params["texts"])
        base, attended, by_text, affinity = terms
        cache = cached(affinity, jnp.ones(()), num_classes) / copies
        return base + 1e-6 * attended + 0.1 * by_text + cache

    start = {"turn": jnp.eye(z.shape[1], dtype=x.dtype), "texts": texts}
    both = lambda a, b: jnp.concatenate([a, b], 1)
    return train(
        scores,
        start,
        {"turn": 1e-3, "texts": 1e-4},
        (both(x, z), labels),
        (both(val, val_z), val_labels),
        key,
        places=places,
        count=count,
        penalty=lambda params: 1e-5 * _sizes(params["turn"]),
    )[0]


@over_draws
def _turned(z, turn):
    return z @ turn


def fit_cca_ft(draws: Draws, num_classes: int) -> Fitted:
    """CCA-FT (Jiang et al. 2025): a linear map of the unmixed rows and the texts are trained."""
    full, copies = filled(draws, num_classes)
    given = full.x, full.z, full.labels, copies, full.val, full.val_z, full.val_labels
    trained = _cca_trained(*given, full.texts, full.keys, num_classes)
    val_z = _turned(full.val_z, trained["turn"])
    searched = full.x, full.z, copies, trained["texts"], full.val, val_z, full.val_labels
    first, eta, gamma, accuracy = search_cca(*searched, num_classes)
    chosen = {"beta": first.outer, "alpha": first.inner, "eta": eta, "gamma": gamma}
    params = chosen | trained | {"keys": full.x, "z_keys": full.z, "alpha": first.inner / copies}
    return Fitted(params, chosen, accuracy)


def cca_ft_scores(params: Tree, x: Array, z: Array) -> Array:
    """CCA's of the trained map and texts."""
    p = params
    terms = cca_terms(x, z @ p["turn"], p["keys"], p["z_keys"], p["texts"])
    base, attended, by_text, affinity = terms
    added = cached(affinity, p["beta"], len(p["texts"]))
    return base + p["gamma"] * attended + p["eta"] * by_text + p["alpha"] * added


def _trained(name, start, scores, rates, epochs, with_texts=False):
    """A fit of params that `start(x, texts, key)` begins and `scores(params, x, None)` judges."""

    @over_draws
    def every(x, labels, copies, val, val_labels, texts, key, num_classes):
        start_key, train_key = jax.random.split(key)
        params = start(texts, start_key)
        frozen = {k: v for k, v in params.items() if k not in rates}
        moved = {k: v for k, v in params.items() if k in rates}
        places, count = distinct(len(x), copies)
        if with_texts:  # as one more shot of each class, the first rows
            x = jnp.concatenate([texts, x])
            labels = jnp.concatenate([jnp.arange(num_classes), labels])
            places = jnp.concatenate([jnp.arange(num_classes), num_classes + places])
            count = count + num_classes
        of = lambda moved, rows: scores(moved | frozen, rows, rows)
        rows = (x, labels), (val, val_labels)
        options = dict(places=places, count=count, epochs=epochs)
        best, accuracy = train(of, moved, rates, *rows, train_key, **options)
        return best | frozen, accuracy

    def fit(draws: Draws, num_classes: int) -> Fitted:
        full, copies = filled(draws, num_classes)
        given = full.x, full.labels, copies, full.val, full.val_labels, full.texts, full.keys
        params, accuracy = every(*given, num_classes)
        return Fitted(params, {}, accuracy)

    fit.__name__, fit.__doc__ = f"fit_{name}", scores.__doc__
    return fit


def task_scores(params: Tree, x: Array, z: Array) -> Array:
    """TaskRes (Yu et al. 2023): texts W + alpha R, R trained from 0."""
    return zero_shot(x, normalise(params["texts"] + RESIDUAL * params["residual"]))


def adapter_scores(params: Tree, x: Array, z: Array) -> Array:
    """CLIP-Adapter (Gao et al. 2024): a bottleneck of two layers beside the feature."""
    adapted = jax.nn.relu(jax.nn.relu(x @ params["down"]) @ params["up"])
    return zero_shot(normalise(RATIO * adapted + (1 - RATIO) * x), params["texts"])


def cross_scores(params: Tree, x: Array, z: Array) -> Array:
    """Cross-modal probe (Lin et al. 2023): begun at the texts, which are one more shot each."""
    return SCALE * x @ params["weights"].T


def _adapter_start(texts, key):
    d = texts.shape[1]
    down_key, up_key = jax.random.split(key)
    down = jax.random.normal(down_key, (d, d // 4)) / d**0.5
    up = jax.random.normal(up_key, (d // 4, d)) / (d // 4) ** 0.5
    return {"texts": texts, "down": down, "up": up}


fit_task = _trained(
    "task",
    lambda texts, key: {"texts": texts, "residual": jnp.zeros_like(texts)},
    task_scores,
    {"residual": 2e-3},
    100,
)
fit_adapter = _trained("adapter", _adapter_start, adapter_scores, {"down": 1e-3, "up": 1e-3}, 50)
fit_cross = _trained(
    "cross", lambda texts, key: {"weights": texts}, cross_scores, {"weights": 1e-3}, 100, True
)


@over_draws
def _lp(x, labels, copies, val, val_labels, texts, num_classes):
    text_scores, val_told, count = x @ texts.T, val @ texts.T, len(x)
    rate = 4 * count / jnp.linalg.eigvalsh(x.T @ x)[-1]
    text_rate = count / (4 * jnp.max(jnp.sum(text_scores**2, 0)))
    right = jnp.mean(jnp.take_along_axis(text_scores, labels[:, None], 1))
    start = {
        "weights": class_means(x, num_classes) * (count // num_classes) / copies,
        "bias": jnp.zeros(num_classes),
        "alpha": jnp.full(num_classes, 250.0 * right),
    }
    outputs = lambda p, rows, scored: rows @ p["weights"].T + p["bias"] + p["alpha"] * scored

    def loss(moved):
        return jnp.mean(cross_entropies(outputs(moved, x, text_scores), labels))

    def step(carry, number):
        moved, speed, best, top = carry
        grad = jax.grad(loss)(moved)
        speed = {k: 0.9 * v + grad[k] for k, v in speed.items()}
        text_step = jnp.where(number % 10 == 9, text_rate, 0)
        new = {k: moved[k] - rate * speed[k] for k in speed}
        new["alpha"] = moved["alpha"] - text_step * grad["alpha"]
        scores = outputs(new, val, val_told)
        result = jnp.mean((jnp.argmax(scores, 1) == val_labels).astype(jnp.float32))
        better = result >= top
        best = jax.tree.map(lambda a, b: jnp.where(better, a, b), new, best)
        return (new, speed, best, jnp.maximum(result, top)), None

    speed = {k: jnp.zeros_like(start[k]) for k in ("weights", "bias")}
    begun = (start, speed, start, jnp.zeros(()))
    (_, _, best, top), _ = jax.lax.scan(step, begun, jnp.arange(LP_STEPS))
    return best | {"texts": texts}, top


def fit_lp(draws: Draws, num_classes: int) -> Fitted:
    """LP++ (Huang et al. 2024): f (w_c + alpha_c t_c), rates from the loss's Lipschitz bounds.

    Rates, momentum and the step of alpha every tenth time are the official ones; the step kept is
    the last of the best on validation rows.
    """
    full, copies = filled(draws, num_classes)
    given = full.x, full.labels, copies, full.val, full.val_labels, full.texts
    params, accuracy = _lp(*given, num_classes)
    return Fitted(params, {}, accuracy)


def lp_scores(params: Tree, x: Array, z: Array) -> Array:
    """`[m, classes]`, see fit_lp."""
    linear = x @ params["weights"].T + params["bias"]
    return linear + params["alpha"] * (x @ params["texts"].T)

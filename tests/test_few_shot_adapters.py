"""Trained adapters and APE against NumPy in float64: scores, the first step, the whole search."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.few_shot import Draws, tuned
from mmjax.few_shot.caches import ALPHAS, FINENESS, KEPT, ape_scores, fit_ape

CLASSES, SHOTS, WIDTH, WHITE = 3, 2, 8, 5
LABELS = np.repeat(np.arange(CLASSES), SHOTS)
ROWS = 15


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def unit(v):
    return v / np.linalg.norm(v, axis=-1, keepdims=True)


def softmax(v, axis=1):
    v = np.exp(v - v.max(axis, keepdims=True))
    return v / v.sum(axis, keepdims=True)


def loss_of(scores, labels):
    return -np.mean(np.log(softmax(scores))[np.arange(len(labels)), labels])


@pytest.fixture
def given():
    """Arrays of one draw, and the Draws of it."""
    rng = np.random.default_rng(3)
    near = lambda y: unit(np.eye(WIDTH)[y] + 0.9 * rng.normal(size=(len(y), WIDTH)))
    val_labels = np.arange(ROWS) % CLASSES
    own = dict(x=near(LABELS), labels=LABELS, val=near(val_labels), val_labels=val_labels)
    own |= dict(z=rng.normal(size=(len(LABELS), WHITE)), val_z=rng.normal(size=(ROWS, WHITE)))
    own["texts"] = near(np.arange(CLASSES))
    keys = jax.random.split(jax.random.key(0), 1)
    draws = Draws(**{k: jnp.asarray(v)[None] for k, v in own.items()}, keys=keys)
    return own, draws


@pytest.fixture
def first_step(monkeypatch):
    """Makes fits stop after one batch, whatever it did to the validation rows.

    Its validation rows are right once params have moved, so that the step is always kept.
    """
    real = tuned.train

    def once(scores, params, rates, rows, val, key, **how):
        def watched(now, rows):
            if len(rows) != ROWS:
                return scores(now, rows)
            same = [
                jnp.all(a == b) for a, b in zip(*map(jax.tree.leaves, (now, params)), strict=True)
            ]
            right = jax.nn.one_hot(val[1], CLASSES)
            return jnp.where(jnp.all(jnp.stack(same)), -right, right)

        return real(watched, params, rates, rows, val, key, **(how | {"epochs": 1}))

    monkeypatch.setattr(tuned, "train", once)


def stepped(loss, params, rates):
    """AdamW's first step, (1 - b1) g and (1 - b2) g^2 unbiased, of a slope by differences."""
    new = {}
    for name, value in params.items():
        slope = np.zeros_like(value)
        for place in np.ndindex(value.shape):
            ends = []
            for h in (1e-6, -1e-6):
                moved = value.copy()
                moved[place] += h
                ends.append(loss(params | {name: moved}))
            slope[place] = (ends[0] - ends[1]) / 2e-6
        decay = 0.01 * value
        new[name] = value - rates[name] * (slope / (np.abs(slope) + 1e-4) + decay)
    return new


def task(p, x):
    return 100 * x @ unit(p["texts"] + 0.5 * p["residual"]).T


def adapter(p, x):
    own = np.maximum(np.maximum(x @ p["down"], 0) @ p["up"], 0)
    return 100 * unit(0.2 * own + 0.8 * x) @ p["texts"].T


def cross(p, x):
    return 100 * x @ p["weights"].T


ADAPTERS = {
    "TaskRes": (task, tuned.task_scores, tuned.fit_task, {"residual": 2e-3}, ("texts",)),
    "CLIP-Adapter": (
        *(adapter, tuned.adapter_scores, tuned.fit_adapter),
        *({"down": 1e-3, "up": 1e-3}, ("texts",)),
    ),
    "cross-modal probe": (cross, tuned.cross_scores, tuned.fit_cross, {"weights": 1e-3}, ()),
}


@pytest.mark.parametrize("name", ADAPTERS)
def test_scores_are_their_formulas(name):
    theirs, scores, *_ = ADAPTERS[name]
    rng = np.random.default_rng(0)
    shapes = dict(texts=(CLASSES, WIDTH), residual=(CLASSES, WIDTH), weights=(CLASSES, WIDTH))
    shapes |= dict(down=(WIDTH, 2), up=(2, WIDTH))
    p = {k: rng.normal(size=shape) for k, shape in shapes.items()}
    x = unit(rng.normal(size=(9, WIDTH)))
    found = scores({k: jnp.asarray(v) for k, v in p.items()}, jnp.asarray(x), jnp.asarray(x))
    np.testing.assert_allclose(found, theirs(p, x), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", ADAPTERS)
def test_the_first_step_is_adamws(name, given, first_step):
    theirs, _, fit, rates, frozen = ADAPTERS[name]
    own, draws = given
    x, labels = own["x"], own["labels"]
    if name == "cross-modal probe":  # texts are one more shot of each class
        x = np.concatenate([x, own["texts"]])
        labels = np.concatenate([labels, np.arange(CLASSES)])
    found = {k: np.asarray(v[0]) for k, v in fit(draws, CLASSES).params.items()}
    key = jax.random.split(draws.keys[0])[0]
    begun = {k: np.asarray(v) for k, v in tuned._adapter_start(draws.texts[0], key).items()}
    begun |= {"residual": np.zeros((CLASSES, WIDTH)), "weights": own["texts"]}
    start = {k: begun[k] for k in rates}
    kept = {k: own[k] for k in frozen}
    right = stepped(lambda p: loss_of(theirs(p | kept, x), labels), start, rates)
    for moved, value in right.items():
        np.testing.assert_allclose(found[moved] - start[moved], value - start[moved], atol=2e-7)
        assert np.abs(found[moved] - start[moved]).max() > 0.5 * rates[moved]
    for still in frozen:
        np.testing.assert_array_equal(found[still], own[still])


def cca(p, x, z, own, beta, alpha, gamma, eta):
    k, w = own["x"], p["texts"]
    a = z @ p["turn"] @ own["z"].T
    a = (a - a.min(1, keepdims=True)) / np.ptp(a, axis=1)[:, None]
    return (
        100 * x @ w.T
        + gamma * 100 * x @ (k.T @ softmax(k @ w.T, 0))
        + eta * 100 * (softmax(x @ w.T) @ w) @ w.T
        + alpha * np.exp(-beta * (1 - a)) @ np.eye(CLASSES)[own["labels"]]
    )


def test_cca_ft_is_its_formula_and_its_first_step(given, first_step):
    own, draws = given
    fitted = tuned.fit_cca_ft(draws, CLASSES)
    found = {k: np.asarray(v[0]) for k, v in fitted.params.items()}
    begun = {"turn": np.eye(WHITE), "texts": own["texts"]}

    def loss(p):
        scores = cca(p, own["x"], own["z"], own, beta=1, alpha=1, gamma=1e-6, eta=0.1)
        return loss_of(scores, own["labels"]) + 1e-5 * np.abs(p["turn"]).sum()

    right = stepped(loss, begun, {"turn": 1e-3, "texts": 1e-4})
    for moved, value in right.items():
        np.testing.assert_allclose(found[moved] - begun[moved], value - begun[moved], atol=2e-7)
    numbers = {k: float(v[0]) for k, v in fitted.choices.items()}
    scores = cca(found, own["val"], own["val_z"], own, **numbers)
    params = {k: jnp.asarray(v) for k, v in found.items()}
    ours = tuned.cca_ft_scores(params, jnp.asarray(own["val"]), jnp.asarray(own["val_z"]))
    np.testing.assert_allclose(ours, scores, rtol=1e-10)
    accuracy = np.mean(scores.argmax(1) == own["val_labels"])
    assert float(fitted.validation[0]) == pytest.approx(accuracy)


def ape_terms(own, rows):
    """Zero-shot scores, affinities, divergences, as in the paper's loops."""
    hot = np.eye(CLASSES)[own["labels"]]
    groups = [
        np.concatenate([own["texts"][c : c + 1], own["x"][LABELS == c]]) for c in range(CLASSES)
    ]
    alike = [a * b for i, g in enumerate(groups) for h in groups[:i] for a in g for b in h]
    criterion = -0.7 * np.mean(alike, 0) + 0.3 * own["texts"].var(0, ddof=1)
    columns = np.argsort(-criterion)[: int(KEPT * WIDTH)]
    keys, texts = unit(own["x"][:, columns]), unit(own["texts"][:, columns])
    told = softmax(keys @ texts.T)
    divergence = (hot * np.log2((hot + 1e-6) / (told + 1e-6))).sum(1)
    return 100 * rows @ own["texts"].T, unit(rows[:, columns]) @ keys.T, divergence, hot


def test_ape_is_its_formula(given):
    own, draws = given
    params = {k: v[0] for k, v in fit_ape(draws, CLASSES).params.items()}
    base, affinity, divergence, hot = ape_terms(own, own["val"])
    for beta, gamma, alpha in ((2.1, 0.4, 1.3), (0.1, 0.0, 3.0), (6.0, 0.9, 0.2)):
        right = base + alpha * np.exp(-beta * (1 - affinity)) @ (
            hot * np.exp(gamma * divergence)[:, None]
        )
        copies = len(params["keys"]) // len(LABELS)  # of every shot, for one shape
        numbers = dict(beta=beta, gamma=gamma, alpha=alpha / copies)
        found = ape_scores(params | numbers, jnp.asarray(own["val"]), None)
        np.testing.assert_allclose(found, right, rtol=1e-10)


def test_apes_search_is_brute_force(given):
    own, draws = given
    noisy = own | {"val_labels": np.roll(own["val_labels"], 1) * (np.arange(ROWS) % 2)}
    draws = draws._replace(val_labels=jnp.asarray(noisy["val_labels"])[None])
    fitted = fit_ape(draws, CLASSES)
    base, affinity, divergence, hot = ape_terms(own, own["val"])
    best = (-1.0, None)
    for beta, gamma in np.asarray(FINENESS, np.float64).reshape(-1, 2):
        added = np.exp(-beta * (1 - affinity)) @ (hot * np.exp(gamma * divergence)[:, None])
        scores = base + np.asarray(ALPHAS, np.float64)[:, None, None] * added
        right = (scores.argmax(2) == noisy["val_labels"]).mean(1)
        if right.max() > best[0]:
            best = (right.max(), (beta, gamma, ALPHAS[right.argmax()]))
    assert float(fitted.validation[0]) == pytest.approx(best[0])
    found = [float(fitted.choices[name][0]) for name in ("beta", "gamma", "alpha")]
    np.testing.assert_allclose(found, best[1], rtol=1e-6)

"""Classifiers of frozen features against scikit-learn's, and the published search over C."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from mmjax.errors import InvalidInput
from mmjax.evaluate import (
    check_shots,
    few_shot_rows,
    fit_logistic,
    knn_accuracy,
    logistic_accuracy,
    search_c,
    zero_shot_accuracy,
)

DIGITS = load_digits()
X = jnp.asarray(DIGITS.data / 16, jnp.float32)
Y = jnp.asarray(DIGITS.target)


@pytest.mark.parametrize("l2", [0.01, 1.0, 100.0])
def test_fit_is_that_of_scikit_learn(l2):
    found = fit_logistic(X[:400], Y[:400], 10, l2, max_steps=2000, tolerance=1e-6)
    theirs = LogisticRegression(C=1 / l2, tol=1e-8, max_iter=5000).fit(
        np.asarray(X[:400], np.float64), Y[:400]
    )
    assert bool(found.converged)
    # The fit's own bound on its distance, and what float64 leaves of theirs.
    away = np.linalg.norm(found.weights.T - theirs.coef_)
    assert away <= 2 * float(found.distance) + 2e-3
    assert away <= 2e-3 * np.linalg.norm(theirs.coef_)
    ours = jax.nn.softmax(X[400:] @ found.weights + found.bias)
    np.testing.assert_allclose(ours, theirs.predict_proba(X[400:]), atol=2 * away)


@pytest.mark.parametrize("l2", [1e-4, 10.0, pytest.param(0.1, marks=pytest.mark.slow), 1e4])
def test_steps_stop_by_the_distance_to_the_optimum(l2):
    """A gradient tells nothing without the curvature, which is l2 / n."""
    with jax.enable_x64(True):
        double = np.asarray(X[:200], np.float64)
        exact = fit_logistic(double, Y[:200], 10, l2, max_steps=4000, tolerance=1e-7)
    size = np.linalg.norm(exact.weights)
    for tolerance in (1e-1, 1e-2, 1e-3):
        found = fit_logistic(X[:200], Y[:200], 10, l2, max_steps=2000, tolerance=tolerance)
        away = np.linalg.norm(found.weights - exact.weights)
        assert bool(found.converged) and away <= 2 * tolerance * size
    few = fit_logistic(X[:200], Y[:200], 10, l2, max_steps=2, tolerance=1e-3)
    assert not bool(few.converged) and float(few.distance) > 1e-3 * size


def test_features_and_labels_that_are_no_numbers_give_no_weights():
    bad = X[:20].at[3, 2].set(jnp.nan)
    assert np.isnan(fit_logistic(bad, Y[:20], 10).weights).all()
    assert np.isnan(jax.jit(lambda y: fit_logistic(X[:20], y, 10).weights)(Y[:20] + 90)).all()
    assert np.isnan(logistic_accuracy(fit_logistic(X[:20], Y[:20], 10), bad, Y[:20]))


def test_many_strengths_and_draws_at_once_equal_one_by_one():
    keys = jax.random.split(jax.random.key(0), 3)
    rows = jax.vmap(lambda key: few_shot_rows(key, Y, 4, 10))(keys)
    strengths = jnp.array([0.1, 10.0])
    one = lambda rows, l2: fit_logistic(X[rows], Y[rows], 10, l2, tolerance=1e-4).weights
    every = jax.vmap(jax.vmap(one, (None, 0)), (0, None))(rows, strengths)
    for k in range(3):
        for i, l2 in enumerate(strengths):
            np.testing.assert_allclose(every[k, i], one(rows[k], l2), atol=5e-3)


def test_float32_agrees_with_float64():
    with jax.enable_x64(True):
        double = fit_logistic(jnp.asarray(np.asarray(X[:200], np.float64)), Y[:200], 10)
        assert double.weights.dtype == jnp.float64
    single = fit_logistic(X[:200], Y[:200], 10)
    apart = np.linalg.norm(single.weights - double.weights)
    assert apart <= float(single.distance) + float(double.distance) + 1e-4


def test_separable_classes_without_regularisation_stay_finite():
    x, y = jnp.array([[-1.0], [1.0]]), jnp.array([0, 1])
    found = fit_logistic(x, y, 2, 0.0)
    assert np.isfinite(found.weights).all() and logistic_accuracy(found, x, y) == 1


@pytest.mark.parametrize("shots", [1, 3, 16])
def test_draws_are_balanced_without_replacement_and_uniform(shots):
    draw = lambda key: few_shot_rows(key, Y, shots, 10)
    rows = np.asarray(jax.vmap(draw)(jax.random.split(jax.random.key(0), 200)))
    assert rows.shape == (200, 10 * shots)
    np.testing.assert_array_equal(
        np.asarray(Y)[rows], np.tile(np.repeat(range(10), shots), (200, 1))
    )
    assert all(len(set(r)) == len(r) for r in rows)
    drawn = np.bincount(rows[:, :shots].ravel(), minlength=len(Y))[np.asarray(Y) == 0]
    expected = 200 * shots / len(drawn)
    assert abs(drawn.mean() - expected) < 1e-6 and drawn.max() < expected + 6 * expected**0.5 + 3


def test_too_many_shots_are_told():
    labels = np.array([0, 0, 1])
    check_shots(labels, 1, 2)
    with pytest.raises(InvalidInput, match="shots: 2.*1 to 1, the rows of class 1"):
        check_shots(labels, 2, 2)


def test_search_finds_what_a_fine_grid_finds():
    """On few noisy rows the best C is neither end of the grid."""
    noisy = X + 0.5 * jax.random.normal(jax.random.key(1), X.shape)
    fit, validation = slice(0, 60), slice(600, 1200)
    found = search_c(noisy[fit], Y[fit], noisy[validation], Y[validation], 10)

    def score(c):
        model = fit_logistic(noisy[fit], Y[fit], 10, 1 / c)
        return float(logistic_accuracy(model, noisy[validation], Y[validation]))

    fine = [score(c) for c in 10.0 ** np.arange(-6, 6.1, 0.5)]
    assert float(found.accuracy) >= max(fine) - 0.01
    assert score(float(found.c)) == pytest.approx(float(found.accuracy), abs=0.01)


@pytest.mark.slow
def test_search_without_halvings_is_the_grid():
    grid = (1e-3, 1.0, 1e3)
    split = X[:50], Y[:50], X[600:900], Y[600:900]
    found = search_c(*split, 10, coarse=grid, halvings=0)
    scores = [logistic_accuracy(fit_logistic(*split[:2], 10, 1 / c), *split[2:]) for c in grid]
    assert float(found.accuracy) == pytest.approx(float(max(scores)))
    assert float(found.c) == pytest.approx(grid[int(np.argmax(scores))])


@pytest.mark.parametrize("neighbours", [1, 5])
def test_votes_are_those_of_scikit_learn(neighbours):
    theirs = KNeighborsClassifier(neighbours, metric="cosine").fit(X[:800], Y[:800])
    ours = knn_accuracy(X[:800], Y[:800], X[800:], Y[800:], 10, neighbours=neighbours, chunk=100)
    assert float(ours) == pytest.approx(theirs.score(X[800:], Y[800:]), abs=0.004)


def test_zero_shot_by_hand():
    prompts = jnp.array([[2.0, 0], [0.9, 0.1], [0, 5.0]])
    images, labels = jnp.array([[1.0, 0.2], [0.1, 3.0], [1.0, 1.3]]), jnp.array([0, 1, 0])
    assert float(zero_shot_accuracy(images, labels, prompts, jnp.array([0, 0, 1]))) == (
        pytest.approx(2 / 3)
    )

"""Few-shot probes: what a rotation of the features can and can't change, and scikit-learn's L1."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from mmjax.errors import InvalidInput
from mmjax.evaluate import (
    PROBES,
    fit_logistic,
    fit_sparse_logistic,
    in_span,
    logistic_accuracy,
    search_c,
)
from mmjax.few_shot.probes import L1

DIGITS = load_digits()
X = jnp.asarray(DIGITS.data / 16 - 0.3, jnp.float32)
Y = jnp.asarray(DIGITS.target)
FIT, VALIDATION, TEST = slice(0, 100), slice(100, 200), slice(200, 900)


def _turned(x, seed=3):
    rotation = np.linalg.qr(np.random.default_rng(seed).normal(size=(64, 64)))[0]
    return x @ jnp.asarray(rotation, jnp.float32)


def _accuracy(probe, x):
    return float(
        PROBES[probe](x[FIT], Y[FIT], x[VALIDATION], Y[VALIDATION], [(x[TEST], Y[TEST])], 10)[0]
    )


@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1e-5, 1e5, 1e20, 1e30])
def test_an_l1_probe_does_not_know_units(scale):
    options = dict(max_steps=3000, tolerance=1e-3)
    x = np.asarray(X[FIT], np.float64)[:, :20]
    own = fit_sparse_logistic(x, Y[FIT], 10, 1.0, **options)
    scaled = fit_sparse_logistic((x * scale).astype(np.float32), Y[FIT], 10, scale, **options)
    assert bool(own.converged) and bool(scaled.converged)
    np.testing.assert_allclose(
        np.asarray(scaled.weights, np.float64) * scale, own.weights, atol=0.02
    )
    np.testing.assert_allclose(scaled.bias, own.bias, atol=0.02)


@pytest.mark.parametrize("fit", [fit_logistic, fit_sparse_logistic])
def test_what_is_no_number_never_converges(fit):
    for odd in (np.nan, np.inf):
        model = fit(X[FIT].at[3, 2].set(odd), Y[FIT], 10)
        assert not bool(model.converged) and np.isnan(model.weights).all()
    penalty = "l1" if fit is fit_sparse_logistic else "l2"
    given = X[FIT].at[3, 2].set(np.nan), Y[FIT], X[VALIDATION], Y[VALIDATION], 10
    assert np.isnan(search_c(*given, penalty=penalty, coarse=(0.1, 1.0)).accuracy)


@pytest.mark.parametrize("fit", [fit_logistic, fit_sparse_logistic])
def test_rows_that_no_classifier_fits_are_told(fit):
    x, y = X[FIT], Y[FIT]
    for given, told in (
        ((x, y[:5], 10), r"labels: \(5,\) is not allowed; use \[100\], one of each row"),
        ((x, y * 0, 1), "num_classes: 1 is not allowed; use 2 or more"),
        ((x[:, 0], y, 10), r"x: \(100,\) is not allowed; use \[rows, features\]"),
        ((x[:0], y[:0], 10), r"x: \(0, 64\) is not allowed"),
        ((x, y, 10, -1.0), "-1.0 is not allowed; use a finite number >= 0"),
    ):
        with pytest.raises(InvalidInput, match=told):
            fit(*given)


@pytest.mark.parametrize("probe", ["l2", "knn"])
def test_rotations_change_nothing(probe):
    """So that FastICA, a rotation of whitened features, gives these probes nothing."""
    assert _accuracy(probe, X) == pytest.approx(_accuracy(probe, _turned(X)), abs=0.006)


def test_l1_sees_axes_where_they_matter():
    """Classes that are one axis' sign each: few rows find it, until it is turned away."""
    key = jax.random.key(0)
    x = jax.random.laplace(key, (1000, 64))
    y = (x[:, 5] > 0).astype(jnp.int32)

    def accuracy(x):
        return float(PROBES["l1"](x[:60], y[:60], x[60:120], y[60:120], [(x[120:], y[120:])], 2)[0])

    assert accuracy(x) > 0.93
    assert accuracy(_turned(x)) < 0.85


@pytest.mark.parametrize("l1", [0.5, 3.0])
def test_l1_is_that_of_scikit_learn(l1):
    found = fit_sparse_logistic(X[:200], Y[:200], 10, l1, max_steps=4000, tolerance=1e-6)
    theirs = LogisticRegression(C=1 / l1, l1_ratio=1.0, solver="saga", tol=1e-6, max_iter=20_000)
    theirs.fit(np.asarray(X[:200], np.float64), Y[:200])

    def objective(weights, bias):
        scores = np.asarray(X[:200], np.float64) @ np.asarray(weights, np.float64) + bias
        own = scores[np.arange(200), np.asarray(Y[:200])]
        top = scores.max(1)
        sums = np.log(np.exp(scores - top[:, None]).sum(1)) + top
        return (sums - own).sum() + l1 * np.abs(weights).sum()

    ours = objective(np.asarray(found.weights), np.asarray(found.bias))
    assert ours <= objective(theirs.coef_.T, theirs.intercept_) * (1 + 1e-4)
    zero = np.abs(theirs.coef_.T) < 1e-6
    assert zero.mean() > 0.3 and (np.abs(np.asarray(found.weights)) < 1e-4)[zero].mean() > 0.97


def test_l1_of_any_strength_stays_finite_and_ends_at_zero():
    every = jax.vmap(lambda l1: fit_sparse_logistic(X[:40], Y[:40], 10, l1))
    found = every(jnp.array([1e-6, 1e-2, 1e2, 1e6]))
    assert np.isfinite(found.weights).all() and np.isfinite(found.bias).all()
    assert (found.weights[-2:] == 0).all() and (found.weights[0] != 0).any()


def test_l1_of_few_rows_ends_at_its_optimum_wherever_it_starts():
    """Not where its steps end: a hundred short ones from 0 stop a tenth above it."""
    rows, l1 = slice(0, 60), 0.3

    def objective(found):
        scores = X[rows] @ found.weights + found.bias
        own = jnp.take_along_axis(jax.nn.log_softmax(scores), Y[rows, None], 1)
        return float(-jnp.sum(own) + l1 * jnp.sum(jnp.abs(found.weights)))

    fit = lambda l1, **how: fit_sparse_logistic(X[rows], Y[rows], 10, l1, **how)
    least = objective(fit(l1, max_steps=5000, tolerance=1e-5))
    cold = fit(l1, max_steps=300, flatness=1e-4)
    other = fit(10 * l1, max_steps=300)
    near = fit(l1, max_steps=300, flatness=1e-4, start=(other.weights, other.bias))
    assert cold.converged and near.converged
    assert objective(cold) <= 1.002 * least and objective(near) <= 1.002 * least


def test_an_l2_probe_ends_where_it_does_whatever_it_starts_from():
    fit = lambda l2, **how: fit_logistic(X[FIT], Y[FIT], 10, l2, **how)
    cold, other = fit(0.1), fit(10.0)
    near = fit(0.1, start=(other.weights, other.bias))
    apart = np.linalg.norm(cold.weights - near.weights)
    assert apart <= float(cold.distance) + float(near.distance) + 1e-4
    assert int(fit(0.1, start=(cold.weights, cold.bias), flatness=1e-3).steps) == 1


def test_float32_l1_agrees_with_float64():
    with jax.enable_x64(True):
        double = fit_sparse_logistic(jnp.asarray(np.asarray(X[:99], np.float64)), Y[:99], 10, 2.0)
        assert double.weights.dtype == jnp.float64
    single = fit_sparse_logistic(X[:99], Y[:99], 10, 2.0)
    np.testing.assert_allclose(single.weights, double.weights, atol=2e-3)


@pytest.mark.parametrize("rows", [5, 30, 64, 200])
def test_within_the_span_an_l2_probe_loses_nothing(rows):
    x, test = X[:rows], X[300:500]
    small, small_test = in_span(x, [test])
    assert small.shape == (rows, min(rows, 64))
    wide, narrow = (fit_logistic(v, Y[:rows], 10, 0.1, tolerance=1e-6) for v in (x, small))
    told = lambda model, v: jax.nn.softmax(v @ model.weights + model.bias)
    np.testing.assert_allclose(told(wide, test), told(narrow, small_test), atol=2e-3)


def test_search_returns_the_model_of_its_c():
    found = search_c(X[FIT], Y[FIT], X[VALIDATION], Y[VALIDATION], 10)
    again = fit_logistic(X[FIT], Y[FIT], 10, 1 / found.c)
    apart = np.linalg.norm(found.model.weights - again.weights)
    assert apart <= float(found.model.distance) + float(again.distance) + 1e-4
    assert float(logistic_accuracy(found.model, X[VALIDATION], Y[VALIDATION])) == found.accuracy


@pytest.mark.parametrize("c", L1["coarse"])
def test_an_l1_probe_of_the_tables_is_at_its_optimum_at_every_c(c):
    """Ended by a small gradient, those of large C are the first step of none: all weights, larger
    accuracy. The unit rows and the many classes of frozen features make their gradients small."""
    classes = 60
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(classes, 24))
    y = np.repeat(np.arange(classes), 2)
    x = centres[y] + 0.7 * rng.normal(size=(len(y), 24))
    x = (x / np.linalg.norm(x, axis=1, keepdims=True) * 24**0.5).astype(np.float32)

    def fit(**how):
        return fit_sparse_logistic(x, y, classes, 1 / c, **how)

    def objective(found):
        weights = np.asarray(found.weights, np.float64)
        scores = x @ weights + np.asarray(found.bias)
        losses = logsumexp(scores, 1) - scores[np.arange(len(y)), y]
        return losses.sum() + np.abs(weights).sum() / c

    options = {k: v for k, v in L1.items() if k != "coarse"}
    found, best = fit(**options), fit(max_steps=20000, tolerance=1e-4)
    assert found.converged
    assert objective(found) <= 1.02 * objective(best)
    share = np.mean(found.weights != 0), np.mean(best.weights != 0)
    assert abs(share[0] - share[1]) < 0.1

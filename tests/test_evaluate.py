"""Metrics against independent implementations: SciPy, scikit-learn, plain NumPy loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.datasets import load_digits
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import r2_score
from sklearn.preprocessing import StandardScaler

from mmjax.evaluate import (
    correlations,
    linear_probe_accuracy,
    linear_r2,
    match,
    mcc,
    recall_at,
    spearman_ranks,
)
from mmjax.evaluate.splits import half_rows

SEEDS = st.integers(0, 2**31)


def _normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("n, noise", [(400, 0.0), (401, 0.5), (400, 20.0)])
def test_linear_r2_is_that_of_scikit_learn(n, noise):
    """Fitted on a half, scored on the other; targets of unequal scale count alike."""
    features = _normal(0, n, 6) * [1, 10, 0.1, 1, 1, 1] + 3
    targets = features[:, :3] @ _normal(1, 3, 3) * [1, 100, 0.01] + noise * _normal(2, n, 3)
    key = jax.random.key(n)
    fit, score = half_rows(key, n)
    fitted = LinearRegression().fit(features[fit], targets[fit])
    want = r2_score(targets[score], fitted.predict(features[score]))
    got = linear_r2(jnp.asarray(features, jnp.float32), jnp.asarray(targets, jnp.float32), key)
    np.testing.assert_allclose(got, want, atol=2e-4)


@settings(max_examples=15, deadline=None)
@given(SEEDS, st.floats(1, 100), st.floats(0.01, 100))
def test_linear_r2_is_one_under_affine_maps(seed, condition, scale):
    z = _normal(seed, 400, 4)
    left, right = stats.ortho_group(4, seed=seed).rvs(2)
    affine = left @ np.diag(np.geomspace(1, 1 / condition, 4)) @ right * scale
    features = jnp.asarray(z @ affine + scale, jnp.float32)
    np.testing.assert_allclose(linear_r2(features, jnp.asarray(z)), 1, atol=1e-4)


def test_linear_r2_does_not_lose_directions_in_large_samples():
    """An invertible map of condition number 1000 is one for 40,000 rows as for 400."""
    z = _normal(0, 40_000, 4)
    features = z * np.array([1, 0.1, 0.01, 0.001], np.float32)
    turned = features.astype(float) @ stats.ortho_group(4, seed=1).rvs()
    np.testing.assert_allclose(linear_r2(jnp.asarray(turned, jnp.float32), z), 1, atol=1e-3)


def test_linear_r2_of_constants_duplicates_and_noise():
    z, noise = jnp.asarray(_normal(0, 400, 4)), jnp.asarray(_normal(1, 400, 4))
    constant = jnp.full((400, 4), 0.1)
    np.testing.assert_allclose(linear_r2(constant, z), 0, atol=0.05)
    assert linear_r2(z, constant) == 0
    np.testing.assert_allclose(linear_r2(jnp.concatenate([z, z], axis=1), z), 1, atol=1e-4)
    mixed = jnp.concatenate([z, constant], axis=1)
    np.testing.assert_allclose(linear_r2(mixed, mixed), 0.5, atol=1e-4)
    assert linear_r2(noise, z) < 0.05
    np.testing.assert_allclose(linear_r2(z[:, :1], z), 0.25, atol=0.05)


def _with_ties(seed, n=200):
    return np.round(2 * _normal(seed, n, 3)) / 2


@pytest.mark.parametrize("draw", [_with_ties, lambda seed: _normal(seed, 200, 3)])
def test_correlations_are_those_of_scipy(draw):
    latents = draw(0)
    features = np.concatenate([latents[:, :2] ** 3 + 0.5 * draw(1)[:, :2], draw(2)], axis=1)
    for kind, one in (("pearson", stats.pearsonr), ("spearman", stats.spearmanr)):
        want = [[abs(one(z, f).statistic) for f in features.T] for z in latents.T]
        got = correlations(jnp.asarray(latents), jnp.asarray(features), kind=kind)
        np.testing.assert_allclose(got, want, atol=1e-5)


def test_ranks_are_those_of_scipy():
    x = _with_ties(3)
    np.testing.assert_array_equal(spearman_ranks(jnp.asarray(x)), stats.rankdata(x, axis=0) - 1)


@pytest.mark.parametrize("kind", ["pearson", "spearman"])
@pytest.mark.parametrize("value", [0.0, 0.1, -1234.567])
def test_constant_columns_correlate_with_nothing(kind, value):
    """Nor with one another, though a constant minus its mean may be rounding error."""
    constant, z = jnp.full((1000, 2), value), jnp.asarray(_normal(0, 1000, 2))
    for pair in ((constant, z), (z, constant), (constant, constant)):
        np.testing.assert_array_equal(correlations(*pair, kind=kind), 0)
    assert mcc(z, constant, kind=kind) == 0


@settings(max_examples=15, deadline=None)
@given(SEEDS, st.permutations(range(4)), st.sampled_from(["pearson", "spearman"]))
def test_mcc_is_one_under_permutation_scale_and_sign(seed, order, kind):
    rng = np.random.default_rng(seed)
    scale = rng.choice([-1, 1], 4) * 10 ** rng.uniform(-3, 3, 4)
    z = _normal(seed, 200, 4)
    features = z[:, order] * scale + rng.normal(size=4) * np.abs(scale)
    got = mcc(jnp.asarray(z), jnp.asarray(features, jnp.float32), kind=kind)
    np.testing.assert_allclose(got, 1, atol=1e-4)


def test_mcc_sees_monotone_maps_only_by_rank():
    z = jnp.asarray(_normal(0, 1000, 3))
    np.testing.assert_allclose(mcc(z, jnp.exp(3 * z), kind="spearman"), 1, atol=1e-6)
    assert mcc(z, jnp.exp(3 * z)) < 0.7


def test_mcc_is_below_one_for_a_rotation_and_counts_missing_features():
    z = jnp.asarray(_normal(0, 4000, 3))
    turned = z @ jnp.asarray(stats.ortho_group(3, seed=0).rvs(), jnp.float32)
    assert 0.3 < mcc(z, turned) < 0.95
    np.testing.assert_allclose(mcc(z, z[:, 1:]), 2 / 3, atol=1e-5)
    np.testing.assert_allclose(mcc(z[:, :2], z[:, ::-1]), 1, atol=1e-5)


def test_match_is_the_best_assignment_not_the_greedy_one():
    """Greedy takes 0.9 first and ends at 1.0; the best sum is 1.6. NaN counts as 0."""
    rows, columns = match(jnp.array([[0.9, 0.8], [0.8, 0.1]]))
    assert (list(rows), list(columns)) == ([0, 1], [1, 0])
    rows, columns = match(jnp.array([[jnp.nan, 0.1, 0.2]]))
    assert (list(rows), list(columns)) == ([0], [2])


def _recall_loop(similarities, k, query_labels, labels):
    """A query is a hit if fewer than k wrong candidates are at least as close as its best right."""
    hits = 0
    for row, query in zip(similarities, query_labels, strict=True):
        right = [s for s, label in zip(row, labels, strict=True) if label == query]
        wrong = [s for s, label in zip(row, labels, strict=True) if label != query]
        hits += bool(right) and sum(s >= max(right) for s in wrong) < k
    return hits / len(query_labels)


@pytest.mark.parametrize("k", [1, 3, 100])
@pytest.mark.parametrize("ties", [False, True])
def test_recall_is_that_of_the_loop(k, ties):
    rng = np.random.default_rng(k)
    similarities = rng.normal(size=(40, 30)) + 2 * np.eye(40, 30)
    similarities = np.round(similarities) if ties else similarities
    got = recall_at(jnp.asarray(similarities, jnp.float32), k)
    np.testing.assert_allclose(got, _recall_loop(similarities, k, range(40), range(30)))
    queries, labels = rng.integers(0, 8, 40), rng.integers(0, 7, 30)
    got = recall_at(jnp.asarray(similarities, jnp.float32), k, queries, labels)
    np.testing.assert_allclose(got, _recall_loop(similarities, k, queries, labels))


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_embeddings_without_information_recall_nothing(value):
    similarities = jnp.full((40, 30), value)
    for k in (1, 3):
        assert recall_at(similarities, k) == 0
    assert recall_at(jnp.eye(40, 30), 1) == 30 / 40


@pytest.mark.parametrize("l2", [1.0, 30.0])
def test_probe_is_the_logistic_regression_of_scikit_learn(l2):
    """On the handwritten digits, split in halves; some of their pixels never change."""
    images, labels = load_digits(return_X_y=True)
    half = len(images) // 2
    scaler = StandardScaler().fit(images[:half])
    train, test = scaler.transform(images[:half]), scaler.transform(images[half:])
    fitted = LogisticRegression(C=1 / l2, max_iter=1000).fit(train, labels[:half])
    want = fitted.score(test, labels[half:])
    x, y = jnp.asarray(images, jnp.float32), jnp.asarray(labels)
    got = linear_probe_accuracy(x[:half], y[:half], x[half:], y[half:], 10, l2)
    assert want > 0.85
    np.testing.assert_allclose(got, want, atol=0.01)


def test_probe_learns_the_labels_and_nothing_else():
    labels = np.random.default_rng(0).integers(0, 2, 400)
    signal = jnp.asarray(_normal(0, 400, 2) + 6 * labels[:, None])
    probe = lambda x: linear_probe_accuracy(x[:200], labels[:200], x[200:], labels[200:], 2)
    assert probe(signal) > 0.99
    assert 0.3 < probe(jnp.asarray(_normal(1, 400, 2))) < 0.7


def test_metrics_of_arrays_compile():
    z, f = jnp.asarray(_normal(0, 200, 3)), jnp.asarray(_normal(1, 200, 3))
    for metric in (linear_r2, correlations):
        np.testing.assert_allclose(jax.jit(metric)(z, f), metric(z, f), atol=1e-5)

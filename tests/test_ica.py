"""ICA finds independent components whatever the mixing, as scikit-learn's does, and never a NaN."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import sklearn.decomposition

from mmjax.disentangle import ALGORITHMS, CONTRASTS, fast_ica, inverse_transform, pca, transform
from mmjax.disentangle.rotations import _exponential
from mmjax.errors import InvalidInput
from mmjax.evaluate import mcc

KEY = jax.random.key(2)


def _mixed(d, n=5000, law=jax.random.laplace, seed=0):
    """(sources `[n, d]`, a linear mixture of them)."""
    sources = law(jax.random.key(seed), (n, d))
    mixing = jax.random.normal(jax.random.key(seed + 1), (d, d))
    return sources, sources @ mixing


def _uniform(key, shape):
    return jax.random.uniform(key, shape) - 0.5


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("contrast", CONTRASTS)
def test_independent_sources_are_recovered(algorithm, contrast):
    law = jax.random.laplace if contrast != "cube" else _uniform
    sources, x = _mixed(5, law=law)
    found = fast_ica(x, KEY, algorithm=algorithm, contrast=contrast)
    assert bool(found.converged) and int(found.rank) == 5
    # Deflation hands the errors of the first components on to the others.
    least = 0.98 if algorithm == "deflation" else 0.99
    assert float(mcc(sources, transform(found, x))) > least


@pytest.mark.parametrize("d", [16, 64])
def test_many_sources_are_recovered(d):
    sources, x = _mixed(d, n=20_000)
    found = fast_ica(x, KEY)
    assert bool(found.converged) and float(mcc(sources, transform(found, x))) > 0.99


def test_sources_of_both_kinds_of_tails_are_told_apart():
    parts = [
        law(jax.random.key(k), (5000, 3)) for k, law in enumerate((jax.random.laplace, _uniform))
    ]
    sources = jnp.concatenate(parts, 1)
    x = sources @ jax.random.normal(jax.random.key(5), (6, 6))
    assert float(mcc(sources, transform(fast_ica(x, KEY), x))) > 0.99


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_mixing_does_not_matter(algorithm):
    """Components of any invertible affine map of x are the same ones."""
    _, x = _mixed(4)
    other = x @ jax.random.normal(jax.random.key(7), (4, 4)) + 3.0
    own, moved = (transform(fast_ica(v, KEY, algorithm=algorithm), v) for v in (x, other))
    assert float(mcc(own, moved)) > (0.995 if algorithm == "deflation" else 0.9999)


def test_components_are_white_ordered_and_lead_back():
    _, x = _mixed(6)
    found = fast_ica(x, KEY)
    s = transform(found, x)
    np.testing.assert_allclose(s.T @ s / len(s), np.eye(6), atol=1e-4)
    assert np.all(np.diff(found.negentropy) <= 0) and np.all(np.mean(s**3, 0) >= 0)
    np.testing.assert_allclose(inverse_transform(found, s), x, atol=1e-3)
    some = fast_ica(x, KEY, num_components=3)
    assert some.unmixing.shape == (3, 6) and some.mixing.shape == (6, 3)
    np.testing.assert_allclose(some.unmixing @ some.mixing, np.eye(3), atol=1e-4)


@pytest.mark.parametrize("algorithm", ["picard", "parallel", "deflation"])
@pytest.mark.parametrize("contrast", CONTRASTS)
def test_unmixing_is_that_of_scikit_learn(algorithm, contrast):
    _, x = _mixed(8, n=20_000)
    theirs = sklearn.decomposition.FastICA(
        algorithm="deflation" if algorithm == "deflation" else "parallel",
        fun=contrast,
        whiten="unit-variance",
        max_iter=500,
        tol=1e-7,
        random_state=0,
    ).fit(np.asarray(x, np.float64))
    found = fast_ica(x, KEY, algorithm=algorithm, contrast=contrast, tolerance=1e-6, max_steps=500)
    unit = lambda w: np.asarray(w) / np.linalg.norm(w, axis=1, keepdims=True)
    if algorithm != "deflation":  # there the first errors depend on the order found
        alike = np.abs(unit(found.unmixing) @ unit(theirs.components_).T)
        assert np.all(alike.max(1) > 0.999), alike.max(1)
    least = 0.995 if algorithm == "deflation" else 0.999
    assert float(mcc(jnp.asarray(theirs.transform(x)), transform(found, x))) > least


def test_double_precision_agrees():
    _, x = _mixed(5)
    with jax.enable_x64(True):
        double = fast_ica(jnp.asarray(np.asarray(x, np.float64)), KEY, tolerance=1e-9)
        assert double.unmixing.dtype == jnp.float64 and bool(double.converged)
        s = np.asarray(transform(double, np.asarray(x, np.float64)))
    assert float(mcc(jnp.asarray(s, jnp.float32), transform(fast_ica(x, KEY), x))) > 0.9999


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("kind", ["normal", "constant", "repeated", "wide", "steep"])
def test_degenerate_data_stays_finite(algorithm, kind):
    """What can't be told is said by `converged` and `rank`, never by a NaN."""
    x = jax.random.normal(jax.random.key(3), (400, 6))
    x = {
        "normal": x,
        "constant": jnp.ones_like(x),
        "repeated": jnp.concatenate([x[:, :3]] * 2, 1),
        "wide": x[:4],
        "steep": x * 10.0 ** -jnp.arange(6),
    }[kind]
    found = fast_ica(x, KEY, algorithm=algorithm, max_steps=30, restarts=2)
    chex.assert_tree_all_finite(found._replace(converged=0.0))
    chex.assert_tree_all_finite(transform(found, x))
    ranks = {"normal": 6, "constant": 0, "repeated": 3, "wide": 3}
    assert kind not in ranks or int(found.rank) == ranks[kind]


@pytest.mark.parametrize("shape, copies, rank", [((50, 200), 1, 49), ((3000, 64), 8, 64)])
def test_rounding_is_no_direction(shape, copies, rank):
    """Fewer rows than columns, or columns that repeat: the rest of the spectrum is rounding."""
    x = jnp.tile(jax.random.normal(jax.random.key(4), shape), (1, copies))
    assert int(pca(x).rank) == rank
    with jax.enable_x64(True):
        assert int(pca(jnp.asarray(np.asarray(x, np.float64))).rank) == rank


def test_many_components_of_a_steep_spectrum_in_float32():
    """Variances over six orders of magnitude, as frozen features have them."""
    s = jax.random.laplace(jax.random.key(4), (4000, 96)) * jnp.logspace(0, -3, 96)
    x = s @ jnp.linalg.qr(jax.random.normal(jax.random.key(5), (96, 96)))[0]
    for algorithm in ("picard", "parallel"):
        found = fast_ica(x, KEY, algorithm=algorithm, floor=1e-9)
        chex.assert_tree_all_finite(found.unmixing)
        y = transform(found, x)
        np.testing.assert_allclose(y.T @ y / len(y), np.eye(96), atol=1e-2)


def test_restarts_tell_which_components_are_stable():
    sources, x = _mixed(3)
    blend = jnp.concatenate([x, jax.random.normal(jax.random.key(8), (5000, 3))], 1)
    found = fast_ica(blend, KEY, restarts=6, max_steps=100)
    assert np.all(found.stability[:3] > 0.97), "independent ones come first, and always"
    assert np.all(found.stability[3:] < 0.97), "directions of a Normal are any"
    assert fast_ica(x, KEY).stability is None


def test_same_key_same_components():
    _, x = _mixed(4)
    chex.assert_trees_all_equal(fast_ica(x, KEY), fast_ica(x, KEY))


def test_running_out_of_steps_is_told():
    _, x = _mixed(5)
    assert not bool(fast_ica(x, KEY, max_steps=2).converged)


def test_pca_is_that_of_scikit_learn():
    x = jax.random.normal(jax.random.key(0), (300, 5)) * jnp.array([4.0, 2, 1, 0.5, 0.1]) + 1
    found, theirs = pca(x, 3), sklearn.decomposition.PCA(3).fit(np.asarray(x))
    np.testing.assert_allclose(found.variances * 300 / 299, theirs.explained_variance_, rtol=1e-4)
    alike = np.abs(np.asarray(found.directions).T @ theirs.components_.T)
    np.testing.assert_allclose(alike, np.eye(3), atol=1e-3)
    np.testing.assert_allclose(found.mean, theirs.mean_, atol=1e-5)


@pytest.mark.parametrize("spread", [1.0, 1e2, 1e3])
def test_whitening_is_white_in_float32(spread):
    x = jax.random.normal(jax.random.key(0), (1000, 8)) * jnp.logspace(0, -np.log10(spread), 8)
    x = x @ jnp.linalg.qr(jax.random.normal(jax.random.key(1), (8, 8)))[0] + 2
    found = pca(x, floor=1e-12)
    white = np.asarray(x - found.mean, np.float64) @ np.asarray(found.whiten, np.float64)
    np.testing.assert_allclose(white.T @ white / 1000, np.eye(8), atol=1e-4)
    np.testing.assert_allclose(white @ found.colour, x - found.mean, atol=1e-4)


@pytest.mark.parametrize(
    "options, told",
    [
        ({"algorithm": "jade"}, "algorithm"),
        ({"contrast": "tanh"}, "contrast"),
        ({"num_components": 0}, "num_components"),
        ({"num_components": 6}, "num_components"),
        ({"max_steps": 0}, "max_steps"),
        ({"tolerance": 0.0}, "tolerance"),
        ({"restarts": 0}, "restarts"),
    ],
)
def test_bad_options_are_told(options, told):
    with pytest.raises(InvalidInput, match=told):
        fast_ica(jnp.ones((10, 5)), KEY, **options)


def test_pca_of_wide_rows_is_that_of_their_span():
    x = np.random.default_rng(0).normal(size=(12, 40)) * np.linspace(3, 0.1, 40)
    found = pca(jnp.asarray(x, jnp.float32), 11)
    centred = x - x.mean(0)
    _, sizes, axes = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(found.variances, sizes[:11] ** 2 / 12, rtol=1e-4)
    alike = np.abs(np.sum(np.asarray(found.directions) * axes[:11].T, 0))
    np.testing.assert_allclose(alike, 1, atol=1e-3)
    white = centred @ np.asarray(found.whiten)
    np.testing.assert_allclose(white.T @ white / 12, np.eye(11), atol=1e-4)
    np.testing.assert_allclose(white @ np.asarray(found.colour), centred, atol=1e-3)


@pytest.mark.parametrize("size", [1e-3, 0.3, 4.0])
def test_turns_are_those_of_scipy(size):
    step = np.random.default_rng(0).normal(size=(9, 9)) * size
    step = (step - step.T) / 2
    found = np.asarray(_exponential(jnp.asarray(step, jnp.float32)))
    np.testing.assert_allclose(found @ found.T, np.eye(9), atol=1e-2 * min(size, 1))
    np.testing.assert_allclose(found, scipy.linalg.expm(step), atol=2e-2 * min(size, 1))


def test_bad_data_are_told():
    with pytest.raises(InvalidInput, match="x"):
        fast_ica(jnp.ones(10), KEY)

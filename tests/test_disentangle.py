"""Canonical directions: invariances, then parity with NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmjax.disentangle import canonical_directions
from mmjax.observations import second_moment_whitening


def _paired(seed, n, f, g, shared):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, shared))
    x = np.concatenate([z + 0.3 * rng.normal(size=z.shape), rng.normal(size=(n, f - shared))], 1)
    t = np.concatenate([z + 0.3 * rng.normal(size=z.shape), rng.normal(size=(n, g - shared))], 1)
    return x @ rng.normal(size=(f, f)) + 3, t @ rng.normal(size=(g, g)) - 1


def _numpy_correlations(x, t):
    """Singular values of the product of orthonormal bases, another algorithm than ours."""
    q_x, q_t = (np.linalg.qr(v - v.mean(0))[0] for v in (x, t))
    return np.linalg.svd(q_x.T @ q_t, compute_uv=False)


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 1000))
def test_correlations_are_those_of_numpy_and_ignore_any_affine_map(seed):
    x, t = _paired(seed, 400, 5, 4, 3)
    ours = canonical_directions(jnp.float32(x), jnp.float32(t)).correlations
    np.testing.assert_allclose(ours, _numpy_correlations(x, t), atol=2e-3)


def test_directions_are_uncorrelated_and_paired():
    x, t = (jnp.float32(v) for v in _paired(1, 3000, 6, 5, 2))
    found = canonical_directions(x, t)
    u, v = (x - x.mean(0)) @ found.x, (t - t.mean(0)) @ found.t
    np.testing.assert_allclose(u.T @ u / 3000, np.eye(5), atol=5e-3)
    np.testing.assert_allclose(u.T @ v / 3000, np.diag(found.correlations), atol=5e-3)
    assert found.correlations[1] > 0.8 and found.correlations[2] < 0.2


def test_a_constant_feature_gives_no_nan():
    x, t = (jnp.float32(v) for v in _paired(2, 200, 3, 3, 2))
    found = canonical_directions(x.at[:, 0].set(0.0), t)
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in found)


@pytest.mark.parametrize("dim", [1, 3, 8])
def test_whitening_makes_second_moments_the_identity(dim):
    mix = jax.random.normal(jax.random.key(1), (dim, dim)) * jnp.logspace(-1, 1, dim)
    x = jax.random.normal(jax.random.key(0), (4000, dim)) @ mix + 0.5
    white = x @ second_moment_whitening(x)
    np.testing.assert_allclose(white.T @ white / 4000, np.eye(dim), atol=1e-2)
    assert jnp.allclose(second_moment_whitening(x), second_moment_whitening(x).T, atol=1e-4)

"""The mixing networks: exactly invertible, unit columns, chosen by condition number."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmjax.observations import ACTIVATIONS, invertible_mlp
from mmjax.observations.mixing import well_conditioned


def _unit_columns(rng, depth, dim):
    """Weights as init would draw them, without compiling its search for every dimension."""
    draws = rng.uniform(-1, 1, size=(depth, 300, dim, dim))
    draws /= np.linalg.norm(draws, axis=2, keepdims=True)
    best = np.argmin(np.linalg.cond(draws), axis=1)
    return draws[np.arange(depth), best]


def _round_trip_error(activation, depth, dim, seed, dtype):
    rng = np.random.default_rng(seed)
    g = invertible_mlp(dim, depth=depth, activation=activation)
    weights = jnp.asarray(_unit_columns(rng, depth, dim), dtype)
    z = jnp.asarray(rng.normal(size=(16, dim)), dtype)
    there_and_back = lambda w, z: (x := g.apply(w, z), g.inverse(w, x))
    x, back = jax.jit(there_and_back)(weights, z)
    assert x.dtype == dtype and x.shape == z.shape
    if dim > 1:
        assert np.max(np.abs(x - z)) > 1e-2
    # A layer magnifies rounding by its condition number, an activation by 1 / slope.
    condition = np.prod(np.linalg.cond(np.asarray(weights, np.float64))) * 5.0 ** (depth - 1)
    return np.max(np.abs(back - z)) / np.max(np.abs(z)), condition


@settings(max_examples=10, deadline=None)
@given(
    st.sampled_from(sorted(ACTIVATIONS)), st.integers(1, 4), st.integers(1, 15), st.integers(0, 99)
)
def test_inverse(activation, depth, dim, seed):
    error, condition = _round_trip_error(activation, depth, dim, seed, jnp.float32)
    assert error < 5 * np.finfo(np.float32).eps * condition
    assert depth > 3 or error < 1e-4, "the published depth, even with weights chosen among 300"


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_inverse_in_double_precision(activation):
    with jax.enable_x64(True):
        assert _round_trip_error(activation, 3, 10, 0, jnp.float64)[0] < 1e-10


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("slope", [0.05, 0.2, 1.0])
def test_activations_increase_and_invert(name, slope):
    act = ACTIVATIONS[name](slope)
    x = jnp.concatenate([jnp.linspace(-30, 30, 401), jnp.array([-1e4, 1e4])]).sort()
    y = act.forward(x)
    assert np.all(np.diff(y) > 0)
    np.testing.assert_allclose(act.inverse(y), x, rtol=1e-5, atol=3e-5)


def test_leaky_activations_have_their_slopes():
    for name in ("leaky_relu", "smooth_leaky_relu"):
        forward = ACTIVATIONS[name](0.2).forward
        np.testing.assert_allclose(forward(jnp.array([-50.0, 50.0])), [-10, 50], rtol=1e-5)
    np.testing.assert_allclose(ACTIVATIONS["leaky_relu"](0.2).forward(jnp.array(-1.0)), -0.2)


def test_published_weights():
    """Unit columns; every layer and every seed its own; a nonlinear map between linear layers."""
    g = invertible_mlp(5, candidates=500)
    init = jax.jit(g.init)
    weights, other = init(jax.random.key(0)), init(jax.random.key(1))
    assert weights.shape == (3, 5, 5) and weights.dtype == jnp.float32
    np.testing.assert_allclose(np.linalg.norm(weights, axis=1), 1, rtol=1e-5)
    layers = np.concatenate([weights, other])
    for i in range(6):
        for j in range(i):
            assert np.max(np.abs(layers[i] - layers[j])) > 0.1
    z = jnp.asarray(np.random.default_rng(0).normal(size=(2, 16, 5)), jnp.float32)
    apart = g.apply(weights, z[0]) + g.apply(weights, z[1])
    assert np.max(np.abs(g.apply(weights, z[0] + z[1]) - apart)) > 0.1
    np.testing.assert_allclose(g.inverse(weights, g.apply(weights, z[0])), z[0], atol=1e-4)


def test_identity_activation_is_linear():
    g = invertible_mlp(4, activation="identity")
    weights = _unit_columns(np.random.default_rng(1), 3, 4).astype(np.float32)
    z = np.random.default_rng(2).normal(size=(16, 4)).astype(np.float32)
    want = z @ weights[0] @ weights[1] @ weights[2]
    np.testing.assert_allclose(g.apply(jnp.asarray(weights), jnp.asarray(z)), want, atol=1e-5)


@pytest.mark.parametrize("candidates, keep", [(3000, 1e-3), (50, 1e-3)])
def test_condition_number_is_among_the_best(candidates, keep):
    """The same candidates, ranked by NumPy's SVD; at least one is always kept."""
    key, dim = jax.random.key(3), 6
    chosen = np.asarray(well_conditioned(key, dim, candidates=candidates, keep=keep))
    draw_key = jax.random.split(key)[0]
    draws = jax.random.uniform(draw_key, (candidates, dim, dim), minval=-1, maxval=1)
    draws = np.asarray(draws, np.float64)
    draws /= np.linalg.norm(draws, axis=1, keepdims=True)
    condition = np.linalg.cond(draws)
    (which,) = np.flatnonzero(np.max(np.abs(draws - chosen), axis=(1, 2)) < 1e-5)
    best = max(1, int(keep * candidates))
    # Neighbours in rank differ by less than float32 resolves; rounding may swap them.
    assert condition[which] <= np.sort(condition)[best - 1] * (1 + 1e-4)


def test_choice_among_the_best_is_random():
    draw = jax.jit(lambda key: well_conditioned(key, 3, candidates=100, keep=0.1))
    condition = [np.linalg.cond(draw(jax.random.key(seed))) for seed in range(8)]
    assert len(np.unique(np.round(condition, 5))) == 8

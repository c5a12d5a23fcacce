"""Multilayer-perceptron probes: what they must find, what they must not, and corner cases."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.errors import InvalidInput
from mmjax.evaluate import (
    linear_probe_accuracy,
    linear_r2,
    mlp_accuracy,
    mlp_r2,
    mlp_r2_between,
)
from mmjax.evaluate.splits import halves

N = 800  # rows of most tests, with 3 features and 2 targets: one compilation serves them
KEY = jax.random.key(0)
SMALL = {"width": 32, "steps": 300, "learning_rate": 0.01}


def _normal(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def _r2(x, y, key=KEY):
    return float(mlp_r2(x, y, key, **SMALL))


def test_it_finds_what_a_linear_map_cannot_and_nothing_in_noise():
    x = _normal(0, N, 3)
    even = jnp.stack([jnp.cos(2 * x[:, 0]), jnp.abs(x[:, 1])], axis=1)
    assert _r2(x, even) > 0.9
    assert linear_r2(x, even) < 0.05
    assert abs(_r2(x, _normal(1, N, 2))) < 0.05
    assert abs(_r2(_normal(2, N, 3), even)) < 0.05


def test_every_target_has_its_own_best_moment():
    """Noise beside it takes nothing from a target that needs all the steps, and gets about 0."""
    x = _normal(0, N, 3)
    target, noise = jnp.cos(2 * x[:, :1]), _normal(1, N, 1)
    alone, mixed = (jnp.concatenate([target, other], 1) for other in (target, noise))
    np.testing.assert_allclose(_r2(x, mixed), _r2(x, alone) / 2, atol=0.05)


def test_scales_and_shifts_change_nothing_and_constants_count_as_nothing():
    x, y = _normal(0, N, 3), jnp.sin(2 * _normal(0, N, 3)[:, :2])
    moved = y * jnp.array([1e-3, 1e3]) + 10, x * jnp.array([100, 1, -0.01]) + 5
    np.testing.assert_allclose(_r2(x, moved[0]), _r2(x, y), atol=0.02)
    np.testing.assert_allclose(_r2(moved[1], y), _r2(x, y), atol=0.05)
    half = _r2(x, jnp.stack([y[:, 0], jnp.full(N, 0.1, float)], axis=1))
    assert 0.4 < half <= 0.5
    assert _r2(x, jnp.full((N, 2), 0.1, float)) == 0
    assert abs(_r2(jnp.full((N, 3), 0.1, float), y)) < 0.05


def test_the_key_decides_and_halves_are_the_explicit_split():
    x, y = _normal(0, N, 3), jnp.sin(2 * _normal(0, N, 3)[:, :2])
    first = _r2(x, y)
    assert first == _r2(x, y)
    assert first != _r2(x, y, jax.random.key(1))
    split_key, fit_key = jax.random.split(KEY)
    (fit_x, fit_y), (score_x, score_y) = halves((x, y), split_key)
    assert first == mlp_r2_between(fit_x, fit_y, score_x, score_y, fit_key, **SMALL)


def test_without_hidden_layers_it_is_linear():
    x = _normal(0, N, 3)
    y = x @ _normal(1, 3, 2) + 0.5 * _normal(2, N, 2) + jnp.abs(x[:, :2])
    got = mlp_r2(x, y, KEY, layers=0, steps=600, learning_rate=0.03)
    same_halves = linear_r2(x, y, jax.random.split(KEY)[0])
    np.testing.assert_allclose(got, same_halves, atol=0.01)


def _split(x, labels):
    return x[: N // 2], labels[: N // 2], x[N // 2 :], labels[N // 2 :]


def test_accuracy_of_classes_that_no_line_separates():
    x = _normal(0, N, 3)
    split = _split(x, np.asarray(x[:, 0] * x[:, 1] > 0, int))
    assert mlp_accuracy(*split, 2, KEY, **SMALL) > 0.93
    assert linear_probe_accuracy(*split, 2) < 0.65


def test_accuracy_without_information_is_that_of_the_commonest_class():
    labels = np.asarray(_normal(1, N) < 0.8, int)
    commonest = float(np.mean(labels[N // 2 :] == 1))
    for x in (_normal(0, N, 3), jnp.full((N, 3), 0.1, float)):
        got = mlp_accuracy(*_split(x, labels), 2, KEY, **SMALL)
        np.testing.assert_allclose(got, commonest, atol=0.02)
    untrained = SMALL | {"learning_rate": 0.0}
    assert mlp_accuracy(*_split(_normal(0, N, 3), labels), 2, KEY, **untrained) == commonest
    assert mlp_accuracy(*_split(x, np.zeros(N, int)), 2, KEY, **SMALL) == 1


def test_tiny_samples_are_finite():
    x, y = _normal(0, 4, 3), _normal(1, 4, 2)
    for features in (x, jnp.zeros_like(x), jnp.stack([x[0]] * 4)):
        assert np.isfinite(mlp_r2(features, y, KEY, width=4, steps=20))


@pytest.mark.parametrize("options", [{"width": 0}, {"layers": -1}, {"steps": 19}, {"batch": 0}])
def test_bad_options_are_told(options):
    x, labels = jnp.ones((8, 3)), jnp.zeros(8, int)
    with pytest.raises(InvalidInput):
        mlp_r2(x, x, KEY, **options)
    with pytest.raises(InvalidInput):
        mlp_accuracy(x, labels, x, labels, 2, KEY, **options)


def test_bad_classes_and_shapes_are_told():
    x, labels = jnp.ones((8, 3)), jnp.zeros(8, int)
    for classes, fit_labels in ((1, labels), (2, labels[:, None]), (2, labels[1:])):
        with pytest.raises(InvalidInput):
            mlp_accuracy(x, fit_labels, x, labels, classes, KEY)
    for features, targets in ((x, labels), (x[:2], x[:2]), (x[:0], x[:0]), (x, x[:6])):
        with pytest.raises(InvalidInput):
            mlp_r2(features, targets, KEY)

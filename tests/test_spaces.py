"""Spaces: uniform laws by goodness of fit, volumes by closed form, projection and membership."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from mmjax.spaces import SPACES, ball, box, euclidean, make_space, sphere

DIMS = (2, 3, 5, 10)
N = 8192
# The keys are fixed, so a test that passes once passes always; a wrong law is off by far more.
ALPHA = 1e-4


def _uniform(space, seed=0):
    return np.asarray(space.uniform(jax.random.key(seed), N), np.float64)


def _coordinate_law(dim):
    """Law of one coordinate of a uniform point of the sphere."""
    return stats.beta((dim - 1) / 2, (dim - 1) / 2, loc=-1, scale=2)


@pytest.mark.parametrize("dim", DIMS)
def test_sphere_is_isotropic(dim):
    """Every direction sees the same marginal: the axes, and random ones."""
    points = _uniform(sphere(dim))
    rotation = stats.ortho_group(dim, seed=1).rvs()
    for column in np.concatenate([points, points @ rotation], axis=1).T:
        assert stats.kstest(column, _coordinate_law(dim).cdf).pvalue > ALPHA
    np.testing.assert_allclose(points.T @ points / N, np.eye(dim) / dim, atol=4.5 / dim / N**0.5)


@pytest.mark.parametrize("dim", (1, *DIMS))
def test_ball_is_uniform(dim):
    points = _uniform(ball(dim))
    radius = np.linalg.norm(points, axis=1)
    assert stats.kstest(radius**dim, "uniform").pvalue > ALPHA
    if dim > 1:
        for column in (points / radius[:, None]).T:
            assert stats.kstest(column, _coordinate_law(dim).cdf).pvalue > ALPHA


@pytest.mark.parametrize("low, high", [(0.0, 1.0), (-3.0, -1.0)])
def test_box_is_uniform(low, high):
    points = _uniform(box(3, low=low, high=high))
    for column in points.T:
        assert stats.kstest(column, stats.uniform(low, high - low).cdf).pvalue > ALPHA
    np.testing.assert_allclose(np.corrcoef(points.T), np.eye(3), atol=4.5 / N**0.5)


@pytest.mark.parametrize(
    "space, volume",
    [
        (sphere(2), 2 * np.pi),
        (sphere(3), 4 * np.pi),
        (sphere(4), 2 * np.pi**2),
        (sphere(5), 8 * np.pi**2 / 3),
        (ball(1), 2),
        (ball(2), np.pi),
        (ball(3), 4 * np.pi / 3),
        (ball(5), 8 * np.pi**2 / 15),
        (box(4), 1),
        (box(3, low=-1, high=2), 27),
        (euclidean(2), np.inf),
    ],
    ids=lambda value: getattr(value, "kind", None),
)
def test_volume(space, volume):
    np.testing.assert_allclose(space.log_volume, np.log(volume), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", SPACES)
def test_projection_is_the_nearest_point(name):
    space = make_space(name, 3)
    points = 3 * jax.random.normal(jax.random.key(0), (64, 3))
    nearest = np.asarray(space.project(points))
    assert np.all(space.contains(nearest))
    np.testing.assert_allclose(space.project(nearest), nearest, atol=1e-6)
    others = points if space.uniform is None else space.uniform(jax.random.key(1), 512)
    others, points = np.asarray(others), np.asarray(points)
    to_nearest = np.linalg.norm(points - nearest, axis=1)
    to_others = np.linalg.norm(points[:, None] - others[None], axis=2)
    assert np.all(to_nearest <= to_others.min(1) + 1e-5)


@pytest.mark.parametrize("name", SPACES)
def test_uniform_points_belong_and_are_left_alone(name):
    space = make_space(name, 3)
    if space.uniform is None:
        assert name == "euclidean"
        return
    points = space.uniform(jax.random.key(2), 512)
    assert np.all(space.contains(points))
    np.testing.assert_allclose(space.project(points), points, atol=1e-6)
    assert points.min() >= space.low and points.max() <= space.high


@pytest.mark.parametrize("name", SPACES)
def test_what_does_not_belong(name):
    space = make_space(name, 3)
    far = np.inf if name == "euclidean" else 1.01
    outside = jnp.array([[far, 0, 0], [jnp.nan, 0, 0]], jnp.float32)
    assert not np.any(space.contains(outside))


@pytest.mark.parametrize("name", SPACES)
def test_projecting_zero_is_finite_with_finite_gradient(name):
    space = make_space(name, 3)
    point, pull = jax.vjp(space.project, jnp.zeros((64, 3)))
    assert np.all(space.contains(point))
    assert np.all(np.isfinite(pull(jnp.ones((64, 3)))[0]))


@pytest.mark.parametrize("name", SPACES)
def test_centre(name):
    space = make_space(name, 2)
    assert space.centre == (0.5 if name == "box" else 0.0)
    assert box(2, low=-3, high=1).centre == -1


@pytest.mark.parametrize("name", [name for name in SPACES if name != "euclidean"])
def test_uniform_follows_the_precision(name):
    # Traced, not run: the dtype costs no compilation.
    dtype = lambda: jax.eval_shape(lambda k: make_space(name, 3).uniform(k, 4), key).dtype
    key = jax.random.key(0)
    assert dtype() == jnp.float32
    with jax.enable_x64(True):
        assert dtype() == jnp.float64

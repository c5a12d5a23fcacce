"""Components one by one: their shape, their ends, and what moves when one is changed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from mmjax.disentangle import UNMIXINGS, components, determined, features
from mmjax.errors import InvalidInput
from mmjax.evaluate import (
    attribute_response,
    excess_kurtosis,
    nearest_rows,
    sparsity,
    top_rows,
    traversed,
)

KEY = jax.random.key(0)
Z = jax.random.laplace(KEY, (3000, 4)) / 2**0.5
MIXING = jnp.asarray(np.linalg.qr(np.random.default_rng(0).normal(size=(9, 9)))[0][:4], jnp.float32)
X = Z @ MIXING + 2


@pytest.mark.parametrize("name", UNMIXINGS)
@pytest.mark.parametrize("k", [2, 4])
def test_back_is_the_right_inverse(name, k):
    affine = UNMIXINGS[name](X, KEY, k)
    y = components(affine, X)
    np.testing.assert_allclose(components(affine, features(affine, y)), y, atol=2e-4)
    if k == 4 or name == "none":
        np.testing.assert_allclose(features(affine, y), X, atol=2e-4)


@pytest.mark.parametrize("name", ["whitening", "ica"])
def test_white_is_white(name):
    y = components(UNMIXINGS[name](X, KEY, 4), X)
    np.testing.assert_allclose(jnp.cov(y.T, bias=True), np.eye(4), atol=1e-3)


def test_ica_is_a_rotation_of_whitening():
    white, ica = (components(UNMIXINGS[n](X, KEY, 4), X) for n in ("whitening", "ica"))
    np.testing.assert_allclose(white @ white[:50].T, ica @ ica[:50].T, atol=5e-3)


def test_only_determined_directions_are_counted():
    assert determined(X) == 4
    assert determined(X, 3) == 3
    assert determined(X[:3]) == 2
    assert determined(jnp.concatenate([Z, Z[:, :1], jnp.ones((3000, 1))], 1)) == 4


def test_kurtosis_is_that_of_scipy():
    np.testing.assert_allclose(excess_kurtosis(X), stats.kurtosis(np.asarray(X)), rtol=2e-3)
    assert excess_kurtosis(jnp.ones((5, 2))).tolist() == [0, 0]


def test_sparsity_by_hand():
    y = jnp.array([[1.0, 1.0, 0.0], [0.0, -1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 1.0, 0.0]])
    np.testing.assert_allclose(sparsity(y), [1, 0, 0], atol=1e-6)
    np.testing.assert_allclose(sparsity(1e-30 * y), [1, 0, 0], atol=1e-6)
    normal = jax.random.normal(KEY, (10_000, 1))
    assert float(sparsity(normal)[0]) == pytest.approx(1 - (2 / np.pi) ** 0.5, abs=0.02)


def test_top_rows_are_the_largest_in_order():
    y = jnp.array([[0.0, 3.0], [2.0, 1.0], [1.0, 2.0]])
    assert top_rows(y, 2).tolist() == [[1, 2], [0, 2]]
    assert top_rows(y, 9).shape == (2, 3)


def test_a_traversal_moves_its_component_alone_and_keeps_the_rest():
    affine = UNMIXINGS["ica"](X, KEY, 3)  # one direction is not spanned
    levels = jnp.array([-2.0, 0.0, 2.0])
    moved = traversed(affine, X[:5], 1, levels)
    assert moved.shape == (5, 3, 9)
    y, before = components(affine, moved), components(affine, X[:5])
    for level in range(3):
        np.testing.assert_allclose(y[:, level, 1], levels[level], atol=1e-3)
        np.testing.assert_allclose(y[:, level, [0, 2]], before[:, [0, 2]], atol=1e-3)
    gone = lambda v: v - features(affine, components(affine, v))
    np.testing.assert_allclose(gone(moved[:, 0]), gone(X[:5]), atol=1e-3)


def test_the_nearest_row_is_the_one_of_largest_cosine():
    queries = X[:20].reshape(4, 5, 9) * 3
    assert nearest_rows(queries, X).tolist() == np.arange(20).reshape(4, 5).tolist()


def test_attributes_move_with_their_own_component():
    affine = UNMIXINGS["ica"](X, KEY, 4)
    y = np.asarray(components(affine, X))
    given = {
        "continuous": y[:, 2].astype(np.float32),
        "class": np.digitize(y[:, 0], [-0.5, 0.5]),
        "noise": np.random.default_rng(0).integers(0, 3, 3000),
        "constant": np.zeros(3000, np.int64),
    }
    found = attribute_response(affine, X, given, anchors=100)
    assert found.probe.shape == found.neighbours.shape == (4, 4)
    assert found.probe.min() >= 0 and found.probe.max() <= 1
    assert found.probe[2, 0] > 0.95 and np.delete(found.probe[:, 0], 2).max() < 0.05
    assert found.probe[0, 1] > 0.8 and np.delete(found.probe[:, 1], 0).max() < 0.1
    assert found.neighbours[:, 0].argmax() == 2 and found.neighbours[:, 1].argmax() == 0
    assert found.probe[:, 2].max() < 0.15 and found.probe[:, 3].max() < 1e-5


def test_an_attribute_of_another_length_is_named():
    affine = UNMIXINGS["pca"](X, KEY, 2)
    with pytest.raises(InvalidInput, match="hue.*one a row"):
        attribute_response(affine, X, {"hue": np.zeros(7)})

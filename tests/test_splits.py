"""The order of rows tells nothing: sorted rows score what shuffled ones do; strata are kept."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmjax.errors import InvalidInput
from mmjax.evaluate import dci, kernel_r2, kernel_r2_between, linear_r2, mlp_r2, sap
from mmjax.evaluate.splits import half_rows, halves, shuffled_rows

ROWS = 600
KEY = jax.random.key(0)


def _data():
    """Classes that lie apart, and a target that bends: what halves by position get wrong.

    Of 300 scored rows an accuracy has an error of .03, and so has a gap of two.
    """
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, ROWS)
    z = rng.normal(size=(ROWS, 2)).astype(np.float32)
    z[:, 0] += 4 * labels
    bent = np.abs(z) ** 0.5 * np.sign(z) + 0.1 * rng.normal(size=z.shape)
    return bent.astype(np.float32), z, labels


ORDERS = {
    "as drawn": lambda z, labels: np.arange(ROWS),
    "by class": lambda z, labels: np.argsort(labels, kind="stable"),
    "by value": lambda z, labels: np.argsort(z[:, 0]),
    "by value, falling": lambda z, labels: np.argsort(-z[:, 0]),
    "shuffled": lambda z, labels: np.random.default_rng(1).permutation(ROWS),
}
SCORES = {
    "linear_r2": lambda f, z, labels, key: linear_r2(f, z[:, :1], key),
    "kernel_r2": lambda f, z, labels, key: (
        kernel_r2(f, z[:, :1], key, alphas=(0.1,), gammas=(0.1,), search_samples=90).r2
    ),
    "mlp_r2": lambda f, z, labels, key: mlp_r2(
        f, z[:, :1], KEY if key is None else key, width=16, steps=300, learning_rate=0.02
    ),
    "dci": lambda f, z, labels, key: np.array(
        [*dci(f, {"z": z[:, 0], "class": labels}, split_key=key).informativeness_of.values()]
    ),
    "sap": lambda f, z, labels, key: sap(f, {"class": labels}, split_key=key).mean,
}


@pytest.mark.parametrize("name", SCORES)
def test_the_order_of_rows_tells_nothing(name):
    f, z, labels = _data()
    orders = [order(z, labels) for order in ORDERS.values()]
    found = [SCORES[name](f[o], z[o], labels[o], None) for o in orders]
    np.testing.assert_allclose(found, np.broadcast_to(found[0], np.shape(found)), atol=0.1)
    assert np.min(found) > 0.5
    other = SCORES[name](f, z, labels, jax.random.key(7))
    np.testing.assert_allclose(other, found[0], atol=0.1)
    assert np.any(np.asarray(other) != np.asarray(found[0])), "another key, another split"


def test_folds_and_subsets_of_sorted_fitting_rows_tell_nothing():
    """Of rows that the caller has split, too."""
    f, z, _ = _data()
    fit, score = f[:400], f[400:]
    target, truth = z[:400, :1], z[400:, :1]
    options = dict(alphas=(0.1, 1e-3), gammas=(0.1, 4.0), max_samples=300, search_samples=90)
    found = []
    for order in (np.arange(400), np.argsort(target[:, 0]), np.argsort(-target[:, 0])):
        found.append(kernel_r2_between(fit[order], target[order], score, truth, **options))
    r2, cv = [s.r2 for s in found], [s.cv_r2 for s in found]
    np.testing.assert_allclose(r2, np.broadcast_to(r2[0], 3), atol=0.05)
    np.testing.assert_allclose(cv, np.broadcast_to(cv[0], 3), atol=0.05)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([0, 1, 9, 40]), st.integers(1, 4), st.booleans())
def test_halves_have_every_row_once_and_half_of_every_class(seed, rows, classes, sort):
    labels = np.random.default_rng(seed).integers(0, classes, rows)
    labels = np.sort(labels) if sort else labels
    fit, score = map(np.asarray, half_rows(jax.random.key(seed), rows, [labels]))
    assert (len(fit), len(score)) == (rows // 2, rows - rows // 2)
    np.testing.assert_array_equal(np.sort(np.concatenate([fit, score])), np.arange(rows))
    counts = [np.bincount(labels[part], minlength=classes) for part in (fit, score)]
    assert np.abs(np.subtract(*counts)).max(initial=0) <= 1


def test_halves_are_drawn_by_the_key_in_random_order():
    first, again, other = (half_rows(jax.random.key(k), 50)[0].tolist() for k in (0, 0, 1))
    assert first == again == half_rows(None, 50)[0].tolist() != other
    assert first != sorted(first)
    # Not only their order: which rows they are is of the key, and no matter of places.
    assert set(first) != set(other)
    assert 5 < sum(row % 2 == 0 for row in first) < 20
    with jax.enable_x64(True):
        assert half_rows(jax.random.key(0), 50)[0].tolist() == first
    assert sorted(shuffled_rows(None, 9).tolist()) == list(range(9))


def test_halves_keep_the_type_of_the_host_and_compile():
    values = {"a": np.arange(6, dtype=">f8"), "b": np.arange(12).reshape(6, 2)}
    fit, score = halves(values, KEY)
    assert fit["a"].dtype == values["a"].dtype and fit["b"].shape == (3, 2)
    np.testing.assert_array_equal(fit["a"], fit["b"][:, 0] / 2)
    x = jnp.arange(6.0)
    np.testing.assert_array_equal(jax.jit(halves)(x, KEY), halves(x, KEY))
    with pytest.raises(InvalidInput, match="rows"):
        halves((x, x[1:]), KEY)

"""Many to many: known positives are no negatives, in every loss; narrow inputs, small batches."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmjax.encoders import temperature_from
from mmjax.errors import InvalidInput
from mmjax.losses import (
    cosine,
    cross,
    dot,
    info_nce,
    make_similarity,
    nt_xent,
    siglip,
    supcon,
)
from mmjax.losses.ids import differ, id_columns
from mmjax.types import Pair
from tests.test_fused_losses import LOSSES, _arguments, _as, _reference, no_gather

N = 6
losses = pytest.mark.parametrize("name", LOSSES)
few = settings(max_examples=6, deadline=None, derandomize=True)
# supcon's labels go by place here: its rows can't be permuted alone.
MOVABLE = [name for name in LOSSES if name != "supcon"]


@cache
def _value(name, with_ids=True):
    run = lambda ids, *arguments: LOSSES[name][1](no_gather, ids, *arguments)
    return jax.jit(run if with_ids else lambda *arguments: run(None, *arguments))


def _permuted(name, arguments, order):
    of_batch = [len(s) > 0 and s != t for s, t in zip(*map(LOSSES[name][0], (2, 3)), strict=True)]
    return [a[order] if moves else a for a, moves in zip(arguments, of_batch, strict=True)]


@losses
@few
@given(seed=st.integers(0, 999), kinds=st.integers(1, 8))
def test_random_ids_equal_the_reference_in_any_order(name, seed, kinds):
    """`kinds` 1: all rows are one recording, and nothing is a negative."""
    rng = np.random.default_rng(seed)
    arguments, ids = _arguments(name, N, seed), rng.integers(0, kinds, (N, 2)).astype(np.int32)
    value = _value(name)(ids, *_as(arguments, jnp.float32))
    np.testing.assert_allclose(value, _reference(name, ids, *arguments), rtol=2e-5, atol=2e-5)
    if name in MOVABLE:
        order = rng.permutation(N)
        moved = _as(_permuted(name, arguments, order), jnp.float32)
        np.testing.assert_allclose(_value(name)(ids[order], *moved), value, rtol=2e-5, atol=2e-6)


@losses
def test_ids_of_their_own_are_no_ids(name):
    arguments = _as(_arguments(name, N), jnp.float32)
    ids = np.random.default_rng(0).permutation(1000)[: 2 * N].reshape(N, 2).astype(np.int32)
    alone = _value(name, with_ids=False)(*arguments)
    np.testing.assert_allclose(_value(name)(ids, *arguments), alone, rtol=1e-6)
    np.testing.assert_allclose(alone, _reference(name, None, *_arguments(name, N)), rtol=2e-5)


@losses
def test_float16_sums_as_float32(name):
    """Beyond 255 a square overflows float16; the loss is that of the rounded values in float32."""
    exact = _as(_arguments(name, N), jnp.float32)
    scaled = lambda v: 100 * v if v.ndim else v  # critics too: their tanh saturates
    half = [scaled(v).astype(jnp.float16) if v.ndim else v for v in exact]
    value = _value(name, with_ids=False)(*half)
    assert value.dtype == jnp.float32
    wide = _value(name, with_ids=False)(*(v.astype(jnp.float32) for v in half))
    np.testing.assert_allclose(value, wide, rtol=1e-4)


@pytest.mark.parametrize(
    "dtype, name", [("float16", "cosine"), ("bfloat16", "l1"), ("int8", "squared_l2")]
)
def test_info_nce_of_narrow_inputs_has_float32_values_and_slopes(dtype, name):
    rng = np.random.default_rng(0)
    x, t = (jnp.asarray(np.round(20 * rng.normal(size=(N, 3))), dtype) for _ in range(2))
    run = lambda x, t, tau: info_nce(x, t, similarity=make_similarity(name), temperature=tau)
    wanted = (0, 1, 2) if dtype != "int8" else 2
    both = jax.jit(jax.value_and_grad(run, wanted))
    wide = both(*(v.astype(jnp.float32) for v in (x, t)), 3.0)
    value, slopes = both(x, t, 3.0)
    assert value.dtype == jnp.float32
    np.testing.assert_allclose(value, wide[0], rtol=1e-6)
    for ours, theirs in zip(jax.tree.leaves(slopes), jax.tree.leaves(wide[1]), strict=True):
        assert ours.dtype == (dtype if ours.ndim else jnp.float32)
        top = float(jnp.abs(theirs).max())
        np.testing.assert_allclose(ours.astype(jnp.float32), theirs, rtol=1e-2, atol=1e-2 * top)


SMALL = {
    "info_nce": lambda x, t, tau: info_nce(x, t, similarity=cosine(), temperature=tau),
    "one recording": lambda x, t, tau: info_nce(
        x, t, similarity=dot(), temperature=tau, ids=jnp.zeros(len(x), int), within=True
    ),
    "nt_xent": lambda x, t, tau: nt_xent(x, t, temperature=tau),
    "supcon": lambda x, t, tau: supcon(x + t, jnp.zeros(len(x), int), temperature=tau),
    "siglip": lambda x, t, tau: siglip(x, t, temperature=tau, bias=-10.0),
}


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("rows", [1, 2])
def test_small_batches_at_small_temperatures_are_finite_and_never_negative(name, rows):
    run = jax.jit(jax.value_and_grad(SMALL[name], (0, 1, 2)))
    for seed in range(3):
        x, t = jnp.asarray(np.random.default_rng(seed).normal(size=(2, rows, 3)), jnp.float32)
        for other in (t, x, jnp.zeros_like(x)):
            found = run(x, other, 1e-3)
            assert all(bool(jnp.isfinite(v).all()) for v in jax.tree.leaves(found))
            assert found[0] >= 0 or name == "supcon"


def test_a_repeated_pair_is_left_out_of_the_negatives():
    """Five captions an image: of perfect embeddings the loss is 0 with ids, log 5 without."""
    image = np.repeat(np.arange(4), 5)
    x = jnp.eye(4)[image]
    run = jax.jit(lambda x, ids, tau: info_nce(x, x, similarity=cosine(), temperature=tau, ids=ids))
    assert run(x, Pair(image, np.arange(20)), 0.01) < 1e-6
    assert run(x, Pair(np.arange(20), np.arange(20)), 0.01) == pytest.approx(np.log(5), abs=1e-4)
    rest = run(x[::5], Pair(np.arange(4), np.arange(4)), 1.0)
    ours = run(x, Pair(image, np.arange(20)), 1.0)
    # exp of each share: five times as many negatives for every anchor.
    assert np.exp(ours) - 1 == pytest.approx(5 * (np.exp(float(rest)) - 1), rel=1e-5)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda ids: (ids % 2) * 2**40 + ids // 2,
        lambda ids: ids.astype(">i8") - 2**33,
        lambda ids: ids.astype(str),
        lambda ids: ids.astype("S"),
        lambda ids: ids / 7,
        lambda ids: ids.astype(np.uint64) + np.uint64(2**63),
    ],
)
def test_ids_are_their_values_whatever_their_storage(wrap):
    small = np.arange(12) % 5
    same = small[:, None] == small
    for ids in (wrap(small), (None, wrap(small)), np.stack([wrap(small)] * 2, 1)):
        columns = id_columns(ids, 12)
        assert columns.dtype == jnp.int32
        np.testing.assert_array_equal(~differ(columns, columns), same)


def test_labels_beyond_int32_are_labels():
    x, t = jnp.asarray(np.random.default_rng(0).normal(size=(2, 12, 3)), jnp.float32)
    small = np.arange(12) % 5
    big = (small % 2) * 2**40 + small // 2
    for loss in (
        lambda ids: supcon(x, ids, temperature=0.1),
        lambda ids: cross([x, t], temperature=0.1, ids=ids),
    ):
        np.testing.assert_allclose(loss(big), loss(small), rtol=1e-6)


def test_ids_that_are_not_one_a_row_or_objects_are_refused():
    x = jnp.ones((4, 2))
    loss = partial(info_nce, x, x, similarity=dot(), temperature=1.0)
    with pytest.raises(AssertionError):
        loss(ids=np.arange(3))
    with pytest.raises(InvalidInput, match="object"):
        loss(ids=np.array([None, 1, 2, 3]))


def test_log_mean_counts_each_anchors_candidates():
    """Of equal logits the mean is the positive: the loss is 0 whatever is left out."""
    x, ids = jnp.ones((6, 2)), jnp.array([0, 0, 0, 1, 2, 3])
    further = Pair(jnp.ones((4, 2)), jnp.ones((4, 2)))

    @jax.jit
    def loss(ids):
        how = dict(similarity=dot(), temperature=1.0, log_mean=True)
        return info_nce(x, x, ids=ids, negatives=further, within=True, **how)

    np.testing.assert_allclose([loss(ids), loss(jnp.arange(6))], 0, atol=1e-6)


def test_a_learned_temperature_stays_in_bounds_and_finds_back():
    slope = jax.value_and_grad(lambda log: 3.0 * temperature_from(log))
    value, inside = slope(jnp.log(0.5))
    assert value == pytest.approx(1.5) and inside == pytest.approx(1.5)
    for log in (-1e30, -100.0, 100.0, 1e30):
        value, out = slope(jnp.float32(log))
        assert 0.03 <= value <= 3.1e4 and np.isfinite(out)
    pull = jax.grad(lambda log, sign: sign * temperature_from(log))
    # Steps are against the gradient: up from below, down from above, and no further out.
    assert pull(-50.0, -1.0) < 0 and pull(-50.0, 1.0) == 0
    assert pull(50.0, 1.0) > 0 and pull(50.0, -1.0) == 0

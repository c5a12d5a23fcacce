"""The contrastive kernel against closed forms in float64 NumPy, its invariances, optima, memory."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmjax.errors import InvalidInput
from mmjax.losses import (
    SIMILARITIES,
    cosine,
    dot,
    info_nce,
    log_partitions,
    make_similarity,
    negative_distance,
    similarity_from,
)
from mmjax.types import Pair

# A new similarity is one more row here and one more closed form in `_closed_form`.
ROWS = [(name, 3.0) for name in SIMILARITIES] + [("lp", 1.5), ("lp_norm", 1.5)]
rows = pytest.mark.parametrize("name, p", ROWS, ids=lambda v: str(v))
# Where what is tested lies in the kernel, not in the similarity: compilations are what tests cost.
few_rows = pytest.mark.parametrize("name, p", [("dot", 3.0), ("l1", 3.0), ("lp_norm", 3.0)])
DISTANCES = [row for row in ROWS if row[0] not in ("dot", "cosine")]


def _cosine_slopes(a, b):
    norms_a, norms_b = (np.linalg.norm(v, axis=-1, keepdims=True) for v in (a, b))
    unit_a, unit_b = (a / norms_a)[:, None], (b / norms_b)[None]
    scores = np.sum(unit_a * unit_b, -1)
    of_a = (unit_b - scores[..., None] * unit_a) / norms_a[:, None]
    return scores, of_a, (unit_a - scores[..., None] * unit_b) / norms_b[None]


def _distance_slopes(a, b, p, root):
    delta = a[:, None] - b[None]
    size = np.abs(delta)
    total, slopes = np.sum(size**p, -1), p * np.sign(delta) * size ** (p - 1)
    if root:
        outer = np.where(total > 0, np.where(total > 0, total, 1) ** (1 / p - 1) / p, 0)
        total, slopes = total ** (1 / p), outer[..., None] * slopes
    return -total, -slopes, slopes


def _closed_form(name, p, a, b):
    """Scores [n, m] and their derivatives by a_i and by b_j, [n, m, dim] each."""
    if name == "dot":
        shape = (len(a), *b.shape)
        return a @ b.T, np.broadcast_to(b[None], shape), np.broadcast_to(a[:, None], shape)
    if name == "cosine":
        return _cosine_slopes(a, b)
    p, root = {"l1": (1, 0), "l2": (2, 1), "squared_l2": (2, 0), "lp": (p, 0)}.get(name, (p, 1))
    return _distance_slopes(a, b, p, root)


def _softmax(logits):
    """Row-wise log-sum-exp and its derivative."""
    top = logits.max(1, keepdims=True)
    weights = np.exp(logits - top)
    total = weights.sum(1, keepdims=True)
    return (top + np.log(total))[:, 0], weights / total


def _reference(name, p, x, t, temperature, *, negatives=None, in_batch=True, log_mean=False):
    """The loss and its gradients with respect to x, t and the temperature."""
    n, eye = len(x), np.eye(len(x))
    scores, of_x, of_t = _closed_form(name, p, x, t)
    kept = np.where(in_batch | (eye == 1), scores, -np.inf)
    sides = [(kept, np.zeros((n, 0)), None), (kept.T, np.zeros((n, 0)), None)]
    if negatives:
        sides = [
            (side, *_closed_form(name, p, anchor, further)[:2])
            for side, anchor, further in ((kept, x, negatives[1]), (kept.T, t, negatives[0]))
        ]
    value, weights, d_beta, grads = -np.mean(np.diag(scores)) / temperature, -eye / n, 0.0, []
    for side, more, slopes in sides:
        tops, shares = _softmax(np.concatenate([side, more], 1) / temperature)
        shares *= 0.5 / n
        value += 0.5 * np.mean(tops)
        weights = weights + (shares[:, :n] if side is kept else shares[:, :n].T)
        d_beta += np.sum(shares[:, n:] * more)
        grads.append(0 if slopes is None else np.einsum("nm,nmd->nd", shares[:, n:], slopes))
    d_beta += np.sum(weights * scores)
    dx = (np.einsum("nm,nmd->nd", weights, of_x) + grads[0]) / temperature
    dt = (np.einsum("nm,nmd->md", weights, of_t) + grads[1]) / temperature
    count = (n if in_batch else 1) + (len(negatives[0]) if negatives else 0)
    return value - np.log(count) * log_mean, dx, dt, -d_beta / temperature**2


def _data(n, dim, *, seed=0, count=2, dtype=np.float64):
    return np.random.default_rng(seed).normal(size=(count, n, dim)).astype(dtype)


def _loss(name, p, **options):
    similarity = make_similarity(name, p=p)
    return lambda x, t, temperature, negatives=None: info_nce(
        x, t, similarity=similarity, temperature=temperature, negatives=negatives, **options
    )


@cache
def _compiled(name, p, **options):
    """One function for tests of equal shapes."""
    return jax.jit(jax.value_and_grad(_loss(name, p, **options), (0, 1, 2)))


def _value_and_grads(name, p, x, t, temperature, negatives=None, **options):
    value, grads = _compiled(name, p, **options)(x, t, temperature, negatives)
    return value, *grads


def _assert_close(ours, theirs, tolerance):
    """To `tolerance`, relative to an array's largest entry (or to 1/N, what one pair weighs)."""
    scale = 1 / max(len(theirs[1]), 1)
    for name, a, b in zip(("value", "dx", "dt", "dtemperature"), ours, theirs, strict=True):
        error = np.max(np.abs(np.asarray(a, np.float64) - b))
        assert error <= tolerance * max(np.max(np.abs(b)), scale), (name, error)


def _check(name, p, n, dim, *, chunk=None, temperature=0.7, wide=False, negatives=0, **options):
    dtype, tolerance = (np.float64, 1e-12) if wide else (np.float32, 1e-5)
    with jax.enable_x64(wide):
        x, t = _data(n, dim, dtype=dtype)
        more = Pair(*_data(negatives, dim, seed=1, dtype=dtype)) if negatives else None
        how = options | ({"chunk": chunk} if chunk else {})
        ours = _value_and_grads(name, p, x, t, temperature, more, **how)
        assert all(g.dtype == dtype for g in ours[:3])
    as_wide = [np.asarray(v, np.float64) for v in (x, t)]
    more = [np.asarray(v, np.float64) for v in more] if negatives else None
    theirs = _reference(name, p, *as_wide, temperature, negatives=more, **options)
    _assert_close(ours, theirs, tolerance)


@rows
def test_equals_the_reference_in_float32(name, p):
    _check(name, p, 8, 3)


@rows
def test_equals_the_reference_in_float64(name, p):
    _check(name, p, 17, 16, chunk=7, wide=True)


@few_rows
@pytest.mark.parametrize("n, dim, chunk", [(1, 3, None), (2, 1, 1), (3, 5, 3), (256, 3, 64)])
def test_equals_the_reference_at_every_size(name, p, n, dim, chunk):
    _check(name, p, n, dim, chunk=chunk)


@pytest.mark.parametrize("name, p, dim", [("dot", 3.0, 4), ("l1", 3.0, 2), ("squared_l2", 3.0, 4)])
def test_equals_the_reference_over_several_default_tiles(name, p, dim):
    _check(name, p, 2048, dim)


@rows
def test_further_negatives_equal_the_reference(name, p):
    _check(name, p, 9, 3, chunk=7, wide=True, negatives=5, log_mean=True)


@few_rows
def test_content_and_style_equal_the_reference(name, p):
    """The loss of Daunhawer et al. 2023: the positive, and the negatives of a second batch."""
    _check(name, p, 9, 3, chunk=7, wide=True, negatives=9, in_batch=False, log_mean=True)


def test_in_batch_false_needs_negatives():
    x, t = _data(3, 2)
    with pytest.raises(ValueError, match="leaves no negatives"):
        info_nce(x, t, similarity=dot(), temperature=1.0, in_batch=False)


@few_rows
def test_partitions_of_different_sides_with_ids(name, p):
    (a, _), (b, _) = _data(9, 3), _data(14, 3, seed=1)
    a_ids, b_ids = np.arange(9) % 4, np.arange(14) % 5
    logits, *_ = _closed_form(name, p, a, b)
    logits = np.where(a_ids[:, None] == b_ids, -np.inf, logits / 0.3)
    with jax.enable_x64(True):
        similarity = make_similarity(name, p=p)
        options = dict(temperature=0.3, a_ids=a_ids, b_ids=b_ids, chunk=4, similarity=similarity)
        a, b = (similarity.prepare(jnp.asarray(v)) for v in (a, b))
        ours = log_partitions(a, b, **options)
        only_rows, nothing = log_partitions(a, b, columns=False, **options)
    assert nothing is None
    np.testing.assert_allclose(only_rows, ours[0], rtol=1e-13)
    np.testing.assert_allclose(ours[0], _softmax(logits)[0], rtol=1e-12)
    np.testing.assert_allclose(ours[1], _softmax(logits.T)[0], rtol=1e-12)


@few_rows
def test_rows_and_columns_left_out_have_no_gradient(name, p):
    a, b = jnp.asarray(_data(4, 2, dtype=np.float32))
    similarity = make_similarity(name, p=p)

    def total(a, b, b_ids):
        parts = log_partitions(
            a, b, similarity=similarity, temperature=1.0, a_ids=jnp.zeros(4, int), b_ids=b_ids
        )
        return sum(jnp.sum(jnp.where(jnp.isfinite(v), v, 0.0)) for v in parts), parts

    run = jax.jit(jax.value_and_grad(total, (0, 1), has_aux=True))
    (_, (rows, columns)), (da, db) = run(a, b, jnp.array([0, 0, 1, 0]))
    assert np.all(np.isfinite(rows)) and np.sum(np.isneginf(columns)) == 3
    assert np.all(np.isfinite(da)) and np.all(db[np.array([0, 1, 3])] == 0) and np.any(db[2] != 0)
    (_, (rows, columns)), (da, db) = run(a, b, jnp.zeros(4, int))
    assert np.all(np.isneginf(rows)) and np.all(np.isneginf(columns))
    assert not np.any(da) and not np.any(db)


def _orthogonal(dim, seed):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(dim, dim)))[0].astype(np.float32)


def _signed_permutation(dim, seed):
    rng = np.random.default_rng(seed)
    return (np.eye(dim)[rng.permutation(dim)] * rng.choice([-1, 1], dim)).astype(np.float32)


def _value(name, p, x, t, **options):
    return float(_value_and_grads(name, p, x, t, 0.5, **options)[0])


# Few shapes, as each is compiled; many values.
shapes = given(shape=st.sampled_from([(8, 3), (2, 1)]), seed=st.integers(0, 9999))
few = settings(max_examples=8, deadline=None, derandomize=True)
MAPS = [("dot", _orthogonal), ("cosine", _orthogonal), ("l2", _orthogonal)] + [
    (name, _signed_permutation) for name in ("l1", "lp", "lp_norm")
]


@pytest.mark.parametrize("name, draw", MAPS)
@few
@shapes
def test_unchanged_by_a_common_map(name, draw, shape, seed):
    (x, t), q = _data(*shape, seed=seed, dtype=np.float32), draw(shape[1], seed)
    assert _value(name, 3.0, x @ q, t @ q) == pytest.approx(_value(name, 3.0, x, t), abs=2e-5)


def test_l1_is_changed_by_a_rotation():
    (x, t), q = _data(8, 3, dtype=np.float32), _orthogonal(3, 0)
    assert abs(_value("l1", 3.0, x @ q, t @ q) - _value("l1", 3.0, x, t)) > 1e-2


@rows
@few
@given(seed=st.integers(0, 9999))
def test_symmetric_and_indifferent_to_order(name, p, seed):
    x, t = _data(8, 3, seed=seed, dtype=np.float32)
    order = np.random.default_rng(seed).permutation(8)
    value = _value(name, p, x, t)
    assert _value(name, p, t, x) == pytest.approx(value, abs=2e-5)
    assert _value(name, p, x[order], t[order]) == pytest.approx(value, abs=2e-5)


@pytest.mark.parametrize("name, p", DISTANCES, ids=str)
@pytest.mark.parametrize("shift", [1.0, 1024.0])
def test_distances_are_unchanged_by_a_common_shift(name, p, shift):
    # Multiples of 2^-12: the shift is exact, so what is lost, the kernel lost.
    x, t = np.round(_data(8, 3, dtype=np.float32) * 4096) / 4096
    shifted = _value_and_grads(name, p, x + shift, t + shift, 0.5)
    alone = [np.asarray(v) for v in _value_and_grads(name, p, x, t, 0.5)]
    _assert_close(shifted, alone, 2e-5)


@rows
def test_separated_pairs_give_zero(name, p):
    angles = np.arange(8) * np.pi / 4
    x = np.stack([np.cos(angles), np.sin(angles), 0 * angles], 1).astype(np.float32)
    value, dx, dt, _ = _value_and_grads(name, p, x, x, 1e-2)
    # Logits of 100 have an ulp of 8e-6, which the gradient divides by the temperature.
    assert abs(value) < 2e-5 and np.all(np.abs(dx) < 1e-3) and np.all(np.abs(dt) < 1e-3)


@rows
def test_equal_embeddings_give_log_n_and_no_gradient(name, p):
    x = np.tile(np.array([[0.5, -2.0, 1.0]], np.float32), (8, 1))
    value, *grads = _value_and_grads(name, p, x, x, 0.3)
    assert value == pytest.approx(np.log(8), abs=5e-6)  # logits of 17.5 have an ulp of 2e-6
    # Partitions of 19 have an ulp of 2e-6; the last gradient has it times logit / temperature, 58.
    for grad, tolerance in zip(grads, (5e-6, 5e-6, 1e-4), strict=True):
        np.testing.assert_allclose(grad, 0, atol=tolerance)


@rows
@pytest.mark.parametrize("temperature", [1e-3, 1e3])
def test_finite_with_duplicates_zeros_and_extreme_temperatures(name, p, temperature):
    x, t = _data(8, 3, dtype=np.float32)
    x[0], t[-1], t[:, 2] = 0, x[-1], x[:, 2]
    x[4], t[4] = x[0], t[0]
    ours = _value_and_grads(name, p, x, t, temperature)
    assert all(np.all(np.isfinite(v)) for v in ours)


def test_subgradient_of_l1_is_zero_at_ties():
    x, t = _data(8, 3, dtype=np.float32)
    x[:, 1] = t[:, 1] = 0.25
    _, dx, dt, _ = _value_and_grads("l1", 3.0, x, t, 0.5)
    assert not np.any(dx[:, 1]) and not np.any(dt[:, 1]) and np.any(dx[:, 0])


def test_similarity_from_a_pairwise_function():
    x, t = _data(8, 3, dtype=np.float32)
    own = similarity_from(lambda a, b: -jnp.sum(jnp.abs(a[:, None] - b[None]) ** 3, -1))
    loss = lambda x, t, temperature: info_nce(x, t, similarity=own, temperature=temperature)
    value, grads = jax.jit(jax.value_and_grad(loss, (0, 1, 2)))(x, t, 0.7)
    _assert_close([value, *grads], _reference("lp", 3.0, *np.float64([x, t]), 0.7), 1e-5)


@few_rows
def test_vmap_over_seeds_equals_a_loop(name, p):
    x, t = _data(8, 3, count=6, dtype=np.float32).reshape(2, 3, 8, 3)
    temperatures = np.array([0.2, 0.5, 1.0], np.float32)
    value, grads = jax.jit(jax.vmap(_compiled(name, p)))(x, t, temperatures)
    for seed in range(3):
        alone = _value_and_grads(name, p, x[seed], t[seed], float(temperatures[seed]))
        ours = [value[seed], *(g[seed] for g in grads)]
        _assert_close(ours, [np.asarray(v) for v in alone], 1e-5)


def test_compiled_once():
    traced = []

    @jax.jit
    def run(x, t, temperature):
        traced.append(1)
        return _loss("dot", 3.0)(x, t, temperature)

    for seed in range(3):
        run(*_data(5, 2, seed=seed, dtype=np.float32), jnp.float32(0.1 + seed))
    assert len(traced) == 1


def test_equal_similarities_are_one_object():
    assert negative_distance(3.0) is negative_distance(3.0)
    assert negative_distance(3.0) is not negative_distance(3.0, root=True)
    assert dot() is dot() and cosine() is cosine()
    for name, p in ROWS:
        assert make_similarity(name, p=p) is make_similarity(name, p=p)


@pytest.mark.parametrize("make", [lambda: make_similarity("l3"), lambda: negative_distance(0.5)])
def test_bad_input(make):
    with pytest.raises(InvalidInput):
        make()


def _compiled_bytes(loss, n, dim):
    side = jax.ShapeDtypeStruct((n, dim), np.float32)
    stats = jax.jit(jax.value_and_grad(loss, (0, 1))).lower(side, side).compile().memory_analysis()
    return stats.temp_size_in_bytes + stats.argument_size_in_bytes + stats.output_size_in_bytes


def _naive(x, t):
    logits = x @ t.T
    partitions = jax.nn.logsumexp(logits, 1) + jax.nn.logsumexp(logits, 0)
    return jnp.mean(0.5 * partitions - jnp.diag(logits))


@pytest.mark.parametrize("name", ["dot", "l1"])
def test_memory_is_linear_in_the_batch(name):
    loss = lambda x, t: _loss(name, 3.0)(x, t, 1.0)
    assert _compiled_bytes(loss, 65536, 16) < 300e6


def test_the_naive_loss_would_not_fit():
    assert _compiled_bytes(_naive, 65536, 16) > 10e9

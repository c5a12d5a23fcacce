"""Losses of fused and aligned embeddings: theorems, float64 NumPy row by row, devices, memory."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec

from mmjax.errors import InvalidInput
from mmjax.losses import no_gather
from mmjax.losses.alignment import (
    cmc,
    cross,
    cross_self,
    nt_xent,
    row_ids,
    siglip,
    simclr,
    slip,
    supcon,
)
from mmjax.losses.factorised import (
    Factors,
    club_bound,
    critic_loss,
    factor_cl,
    infonce_bound,
    self_supervised_factors,
    supervised_factors,
)
from mmjax.losses.fused import comm, comm_of_paper, comm_terms
from mmjax.train import collectives
from mmjax.types import Pair

DEVICES, AXIS = 8, "devices"
WEIGHTS = (0.5, 2.0, 3.0)


def _unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def _log_sum(values):
    top = np.max(values)
    return top + np.log(np.sum(np.exp(np.asarray(values) - top)))


def _known(ids, n):
    """[n, n] bool, which rows agree in an id; a row with itself."""
    same = np.eye(n, dtype=bool)
    return same if ids is None else same | (ids[:, None] == ids[None]).any(-1)


def _r_clip(x, t, temperature, ids=None):
    x, t, total, known = _unit(x), _unit(t), 0.0, _known(ids, len(x))
    for a, b in ((x, t), (t, x)):
        for i in range(len(a)):
            logits = b @ a[i] / temperature
            kept = [logits[j] for j in range(len(a)) if j == i or not known[i, j]]
            total += _log_sum(kept) - logits[i]
    return total / (2 * len(x))


def _r_nt_xent(x, t, temperature, ids=None):
    every, n, total = _unit(np.concatenate([x, t])), len(x), 0.0
    known = np.tile(_known(ids, n), (2, 2))
    for i in range(2 * n):
        logits, partner = every @ every[i] / temperature, (i + n) % (2 * n)
        kept = [logits[j] for j in range(2 * n) if j == partner or not known[i, j]]
        total += _log_sum(kept) - logits[partner]
    return total / (2 * n)


def _r_comm(first, second, temperature, weights, ids=None):
    last, total = first.shape[1] - 1, 0.0
    for view in range(last + 1):
        one = _r_nt_xent(first[:, view], second[:, last], temperature, ids)
        two = _r_nt_xent(second[:, view], first[:, last], temperature, ids)
        total += weights[view] * (one + two) / 2
    return total / (last + 1)


def _r_comm_of_paper(first, second, alone, temperature, weights, ids=None):
    total = weights[-1] * _r_nt_xent(first, second, temperature, ids)
    for k in range(alone.shape[1]):
        for other in (first, second):
            total += 0.5 * weights[k] * _r_nt_xent(alone[:, k], other, temperature, ids)
    return total


def _r_supcon(z, labels, temperature, ids=None):
    z, total, known = _unit(z), 0.0, _known(ids, len(z))
    for i in range(len(z)):
        logits = z @ z[i] / temperature
        alike = [labels[p] == labels[i] for p in range(len(z))]
        positives = [p for p in range(len(z)) if p != i and alike[p]]
        kept = [p for p in range(len(z)) if p != i and (alike[p] or not known[i, p])]
        bottom = _log_sum(logits[kept]) if kept else 0.0
        total += sum(bottom - logits[p] for p in positives) / max(len(positives), 1)
    return total / len(z)


def _r_siglip(x, t, temperature, bias, ids=None):
    x, t, total, known = _unit(x), _unit(t), 0.0, _known(ids, len(x))
    for i in range(len(x)):
        for j in range(len(t)):
            sign = 1 if i == j else -1
            if i == j or not known[i, j]:
                total += np.log1p(np.exp(-sign * (x[i] @ t[j] / temperature + bias)))
    return total / len(x)


def _critic(w):
    """A critic with parameters that is not symmetric in its sides."""
    bend = jnp.tanh if isinstance(w, jax.Array) else np.tanh
    return lambda a, b: bend(a @ w @ b.T) + (b**2 @ w[0] if b.shape[1] == w.shape[1] else 0)


def _r_bounds(w, x, t, ids=None):
    scores, known, n = _critic(w)(x, t), _known(ids, len(x)), len(x)
    kept = [[scores[i, j] for j in range(n) if j == i or not known[i, j]] for i in range(n)]
    lower = np.mean([scores[i, i] - _log_sum(kept[i]) + np.log(len(kept[i])) for i in range(n)])
    return lower, np.mean(np.diag(scores)) - np.mean([np.mean(own) for own in kept])


def _factors_of(array):
    """`[batch, 6, dim]` -> Factors of `[batch, dim]`."""
    return Factors(*jnp.moveaxis(array, 1, 0))


def _critics_of(w):
    """`[6, 2 dim, 2 dim]` -> critics; those of single embeddings use a quarter."""
    wide = ("shared_given", "unique_given")
    dim = w.shape[1] // 2
    return Factors(
        *(
            _critic(w[k] if name in wide else w[k, :dim, :dim])
            for k, name in enumerate(Factors._fields)
        )
    )


def _r_factor_cl(w, x, t, ax, at, ids=None):
    cat = lambda a, b: np.concatenate([a, b], 1)
    bounds = lambda k, a, b: _r_bounds(w[k, : a.shape[1], : b.shape[1]], a, b, ids)
    return (
        -bounds(0, x[:, 0], t[:, 0])[0]
        + bounds(1, cat(x[:, 1], ax[:, 1]), cat(t[:, 1], at[:, 1]))[1]
        - bounds(2, x[:, 2], ax[:, 2])[0]
        - bounds(3, t[:, 3], at[:, 3])[0]
        + bounds(4, x[:, 4], t[:, 4])[1]
        - bounds(5, cat(x[:, 5], ax[:, 5]), cat(t[:, 5], at[:, 5]))[0]
    )


def _factor_cl(gather, ids, w, x, t, ax, at):
    x, t, ax, at = map(_factors_of, (x, t, ax, at))
    pairs = self_supervised_factors(x, t, Pair(ax, at))
    return factor_cl(pairs, _critics_of(w), gather=gather, ids=ids)


def _labels(n):
    """Three classes, and one row alone with its label; as numbers with gaps."""
    return np.array([-7 if i == 3 else 5 * (i % 3) for i in range(n)], np.int32)


def _ids(n):
    """[n, 2]: ids of x and of t. Rows 0 and 2 are one image, 1 and n - 1 have one caption."""
    ids = np.stack([np.arange(n), 100 + np.arange(n)], 1).astype(np.int32)
    ids[2, 0], ids[n - 1, 1] = ids[0, 0], ids[1, 1]
    return ids


def _options(gather, ids, chunk=3):
    return dict(gather=gather, ids=ids, chunk=chunk)


def _two(n):
    return [(n, 3), (n, 3)]


def _every_pair(a, b, c, tau, ids):
    return [(*pair, tau, ids) for pair in ((a, b), (a, c), (b, c))]


# name -> (shapes by batch of what is differentiated, ours of (gather, ids, *rows, *scalars),
# reference of (*rows, *scalars, ids)).
# Arguments with a batch axis come first; a scalar is a temperature or a bias.
LOSSES = {
    "nt_xent": (
        lambda n: [*_two(n), ()],
        lambda g, i, x, t, tau: nt_xent(x, t, temperature=tau, **_options(g, i)),
        _r_nt_xent,
    ),
    "cross": (
        lambda n: [*_two(n), (n, 3), ()],
        lambda g, i, a, b, c, tau: cross([a, b, c], temperature=tau, **_options(g, i)),
        lambda *rows: sum(_r_clip(*pair) for pair in _every_pair(*rows)) / 3,
    ),
    "cross, first": (
        lambda n: [*_two(n), (n, 3), ()],
        lambda g, i, *rows: cross(rows[:-1], temperature=rows[-1], pairs="first", **_options(g, i)),
        lambda *rows: sum(_r_clip(*pair) for pair in _every_pair(*rows)[:2]) / 2,
    ),
    "cmc": (
        lambda n: [*_two(n), (n, 3), ()],
        lambda g, i, a, b, c, tau: cmc([a, b, c], temperature=tau, **_options(g, i)),
        lambda *rows: 2 * sum(_r_clip(*pair) for pair in _every_pair(*rows)),
    ),
    "cross_self": (
        lambda n: [*_two(n), *_two(n), (n, 2), (n, 2), ()],
        lambda g, i, x, t, x1, x2, t1, t2, tau: cross_self(
            [x, t], [x1, t1], [x2, t2], temperature=tau, self_weight=0.7, **_options(g, i)
        ),
        lambda x, t, x1, x2, t1, t2, tau, i: (
            _r_clip(x, t, tau, i) + 0.7 * (_r_nt_xent(x1, x2, tau, i) + _r_nt_xent(t1, t2, tau, i))
        ),
    ),
    "slip": (
        lambda n: [*_two(n), (n, 2), (n, 2), ()],
        lambda g, i, x, t, x1, x2, tau: slip(x, t, x1, x2, temperature=tau, **_options(g, i)),
        lambda x, t, x1, x2, tau, i: _r_clip(x, t, tau, i) + _r_nt_xent(x1, x2, 0.1, i),
    ),
    "supcon": (
        lambda n: [(n, 3), ()],
        lambda g, i, z, tau: supcon(z, _own_labels(z, g), temperature=tau, **_options(g, i)),
        lambda z, tau, i: _r_supcon(z, _labels(len(z)), tau, i),
    ),
    "siglip": (
        lambda n: [*_two(n), (), ()],
        lambda g, i, x, t, tau, bias: siglip(x, t, temperature=tau, bias=-bias, **_options(g, i)),
        lambda x, t, tau, bias, i: _r_siglip(x, t, tau, -bias, i),
    ),
    "comm": (
        lambda n: [(n, 3, 3), (n, 3, 3), ()],
        lambda g, i, a, b, tau: comm(a, b, temperature=tau, weights=WEIGHTS, **_options(g, i)),
        lambda a, b, tau, i: _r_comm(a, b, tau, WEIGHTS, i),
    ),
    "comm of the paper": (
        lambda n: [*_two(n), (n, 2, 3), ()],
        lambda g, i, a, b, z, tau: comm_of_paper(
            a, b, z, temperature=tau, weights=WEIGHTS, **_options(g, i)
        ),
        lambda a, b, z, tau, i: _r_comm_of_paper(a, b, z, tau, WEIGHTS, i),
    ),
    "infonce": (
        lambda n: [*_two(n), (3, 3)],
        lambda g, i, x, t, w: infonce_bound(_critic(w), Pair(x, t), gather=g, ids=i),
        lambda x, t, w, i: _r_bounds(w, x, t, i)[0],
    ),
    "club": (
        lambda n: [*_two(n), (3, 3)],
        lambda g, i, x, t, w: club_bound(_critic(w), Pair(x, t), gather=g, ids=i),
        lambda x, t, w, i: _r_bounds(w, x, t, i)[1],
    ),
    "factor_cl": (
        lambda n: [*[(n, 6, 2)] * 4, (6, 4, 4)],
        lambda g, i, x, t, ax, at, w: _factor_cl(g, i, w, x, t, ax, at),
        lambda x, t, ax, at, w, i: _r_factor_cl(w, x, t, ax, at, i),
    ),
}
losses = pytest.mark.parametrize("name", LOSSES)


def _own_labels(z, gather):
    """This device's labels, from its rows' places."""
    return jnp.asarray(_labels(16))[row_ids(len(z), gather)]


def _arguments(name, n, seed=0):
    """Rows are normal, scalars 0.4 and 0.9."""
    rng = np.random.default_rng(seed)
    shapes, scalars = LOSSES[name][0](n), iter((0.4, 0.9))
    return [rng.normal(size=s) if s else np.float64(next(scalars)) for s in shapes]


def _slopes(value, arguments, step=1e-5):
    """Central differences of all entries."""
    out = []
    for k, argument in enumerate(arguments):
        slope = np.zeros(np.shape(argument))
        for index in np.ndindex(slope.shape):
            ends = []
            for sign in (1, -1):
                moved = [np.array(a) for a in arguments]
                moved[k][index] += sign * step
                ends.append(value(*moved))
            slope[index] = (ends[0] - ends[1]) / (2 * step)
        out.append(slope)
    return out


def _with_slopes(name, gather, ids, arguments):
    run = partial(LOSSES[name][1], gather, ids)
    return jax.value_and_grad(run, tuple(range(len(arguments))))(*arguments)


def _compiled(name, ids=None, gather=no_gather):
    return jax.jit(lambda *arguments: _with_slopes(name, gather, ids, arguments))


def _as(arguments, dtype):
    return [jnp.asarray(a, dtype) for a in arguments]


@losses
def test_equals_the_reference_with_ids(name):
    _check(name, _ids(5), wide=True)


# Compilations are what tests cost; without ids every row is its own, see tests/test_ids.py.
@pytest.mark.parametrize("name", ["comm", "supcon", "siglip", "factor_cl"])
def test_equals_the_reference_in_float32(name):
    _check(name, None, wide=False)


def _check(name, ids, *, wide):
    """Values and all gradients; a batch of 5 in chunks of 3."""
    arguments, reference = _arguments(name, 5), partial(_reference, name, ids)
    with jax.enable_x64(wide):
        dtype, tolerance = (jnp.float64, 1e-8) if wide else (jnp.float32, 2e-5)
        value, grads = _compiled(name, ids)(*_as(arguments, dtype))
        assert value.dtype == dtype
    np.testing.assert_allclose(value, reference(*arguments), rtol=tolerance)
    for ours, theirs in zip(grads, _slopes(reference, arguments), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


def _reference(name, ids, *arguments):
    return LOSSES[name][2](*arguments, ids)


def _pieces(name, arguments, across):
    """What has a batch axis is divided, what hasn't is whole."""
    two, three = (LOSSES[name][0](n) for n in (2, 3))
    return [across.shard(a) if s != t else a for a, s, t in zip(arguments, two, three, strict=True)]


def _sharded(name, ids=None, gather=None):
    across = collectives(AXIS, DEVICES)

    def body(*arguments):
        pieces = lambda whole: _pieces(name, whole, across)
        own = None if ids is None else across.shard(jnp.asarray(ids))
        run = lambda *whole: LOSSES[name][1](gather or across.gather, own, *pieces(whole))
        return across.mean(jax.value_and_grad(run, tuple(range(len(arguments))))(*arguments))

    return body


def _pmapped(body, *arguments):
    run = jax.pmap(lambda _, *rest: body(*rest), AXIS, in_axes=(0, *[None] * len(arguments)))
    return jax.tree.map(lambda v: v[0], run(jnp.arange(DEVICES), *arguments))


def _same(ours, theirs, tolerance=1e-5):
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@losses
def test_eight_devices_equal_one_with_ids(name):
    assert jax.device_count() == DEVICES
    arguments, ids = _as(_arguments(name, 16), jnp.float32), _ids(16)
    _same(_pmapped(_sharded(name, ids), *arguments), _compiled(name, ids)(*arguments))


@pytest.mark.parametrize("name", ["comm", "supcon", "siglip", "club"])
def test_eight_devices_equal_one(name):
    arguments = _as(_arguments(name, 16), jnp.float32)
    alone = _compiled(name)(*arguments)
    _same(_pmapped(_sharded(name), *arguments), alone)
    if name in ("comm", "supcon"):
        without, _ = _pmapped(_sharded(name, gather=lambda v: v), *arguments)
        assert abs(without - alone[0]) > 1e-3


@pytest.mark.parametrize("name", ["supcon"])
def test_shard_map_over_seeds_equals_one_device(name):
    seeds = [_as(_arguments(name, 16, seed), jnp.float32) for seed in (0, 1)]
    arguments = jax.tree.map(lambda *v: jnp.stack(v), *seeds)
    mesh, whole = Mesh(np.array(jax.devices()), (AXIS,)), PartitionSpec()
    body = jax.vmap(_sharded(name))
    run = jax.shard_map(body, mesh=mesh, in_specs=whole, out_specs=whole, check_vma=False)
    _same(jax.jit(run)(*arguments), jax.jit(jax.vmap(_compiled(name)))(*arguments))


def test_row_ids_count_the_rows_of_all_devices():
    np.testing.assert_array_equal(row_ids(5), np.arange(5))
    ids = jax.pmap(lambda _: row_ids(3, collectives(AXIS, DEVICES).gather), AXIS)(
        jnp.arange(DEVICES)
    )
    np.testing.assert_array_equal(ids, np.arange(3 * DEVICES).reshape(DEVICES, 3))
    assert ids.dtype == jnp.int32


def _draw(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def test_comm_of_views_that_do_not_depend_on_the_augmentation_is_the_paper_s():
    """Then Z'_i = Z''_i = Z_i, and the official mean of terms is the paper's sum over n + 1."""
    first, second = _draw(6, 4, 3), _draw(6, 4, 3, seed=1)
    second = second.at[:, :-1].set(first[:, :-1])
    official = comm(first, second, temperature=0.3, weights=(1, 2, 3, 4))
    paper = comm_of_paper(
        first[:, -1], second[:, -1], first[:, :-1], temperature=0.3, weights=(1, 2, 3, 4)
    )
    np.testing.assert_allclose(4 * official, paper, rtol=1e-6)


def test_comm_is_symmetric_and_indifferent_to_the_order_of_modalities():
    first, second, weights = _draw(6, 4, 3), _draw(6, 4, 3, seed=1), np.array([1.0, 2, 3, 4])
    order = np.array([2, 0, 1, 3])
    loss = partial(comm, temperature=0.3)
    value = loss(first, second, weights=weights)
    np.testing.assert_allclose(loss(second, first, weights=weights), value, rtol=1e-6)
    turned = loss(first[:, order], second[:, order], weights=weights[order])
    np.testing.assert_allclose(turned, value, rtol=1e-6)
    assert abs(loss(first[:, order], second[:, order], weights=weights) - value) > 1e-3


def test_terms_of_comm():
    """One modality alone is told from all by the pairing; the last term is L."""
    first, second = _draw(6, 3, 3), _draw(6, 3, 3, seed=1)
    terms = comm_terms(first, second, temperature=0.3)
    joint = nt_xent(first[:, -1], second[:, -1], temperature=0.3)
    assert terms.shape == (3,) and abs(terms[-1] - joint) < 1e-6
    only = comm(first, second, temperature=0.3, weights=(0, 0, 1))
    np.testing.assert_allclose(3 * only, joint, rtol=1e-6)
    np.testing.assert_allclose(comm(first, second, temperature=0.3), terms.mean(), rtol=1e-6)


def test_cmc_of_two_is_twice_clip_and_simclr_is_nt_xent():
    x, t = _draw(6, 3), _draw(6, 3, seed=1)
    both = cmc([x, t], temperature=0.3), cross([x, t], temperature=0.3)
    np.testing.assert_allclose(both[0], 2 * both[1], rtol=1e-6)
    assert simclr is nt_xent


def test_supcon_with_a_label_a_row_is_nt_xent():
    x, t = _draw(6, 3), _draw(6, 3, seed=1)
    ours = supcon(jnp.concatenate([x, t]), jnp.tile(jnp.arange(6), 2), temperature=0.3)
    np.testing.assert_allclose(ours, nt_xent(x, t, temperature=0.3), rtol=1e-5)


def test_supcon_is_indifferent_to_the_names_of_labels():
    z, labels = _draw(9, 3), jnp.asarray(_labels(9))
    run = jax.jit(jax.value_and_grad(partial(supcon, temperature=0.3)))
    np.testing.assert_allclose(run(z, -3 * labels + 1)[0], run(z, labels)[0], rtol=1e-6)
    value, slopes = run(z, jnp.arange(9, dtype=jnp.int32))
    assert not np.any(slopes) and value == 0  # every row alone with its label


def test_separated_pairs_are_optimal():
    x = jnp.eye(6)
    views = jnp.tile(x[:, None], (1, 3, 1))
    assert comm(views, views, temperature=0.03) < 1e-6
    assert siglip(x, x, temperature=0.01, bias=-50.0) < 1e-6
    assert siglip(x, x, temperature=0.01, bias=50.0) > 100


def test_bounds_bracket_the_mutual_information_of_gaussians():
    """With the optimal critic log p(t|x)/p(t) the lower bound is below I, near it, CLUB above."""
    rho, n = 0.8, 2048
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 1))
    t = rho * x + np.sqrt(1 - rho**2) * rng.normal(size=(n, 1))

    def critic(a, b):
        return -((b.T - rho * a) ** 2) / (2 * (1 - rho**2)) + b.T**2 / 2

    truth, pair = -0.5 * np.log(1 - rho**2), Pair(jnp.asarray(x), jnp.asarray(t))
    lower, upper = infonce_bound(critic, pair), club_bound(critic, pair)
    # Four standard deviations: that of log p(t|x)/p(t) is rho, that of CLUB about 3.
    assert abs(lower - truth) < 4 * rho / n**0.5
    assert abs(upper - rho**2 / (1 - rho**2)) < 4 * 3 / n**0.5 and upper > truth
    assert infonce_bound(lambda a, b: 1e3 * critic(a, b), pair) <= np.log(n)


def test_critics_of_upper_bounds_learn_and_embeddings_do_not():
    x, t, ax, at = (_factors_of(_draw(5, 6, 2, seed=k)) for k in range(4))
    w = 0.3 * _draw(6, 4, 4)

    def loss(w, pairs):
        return critic_loss(pairs, _critics_of(w))

    pairs = self_supervised_factors(x, t, Pair(ax, at))
    value, (dw, d_pairs) = jax.jit(jax.value_and_grad(loss, (0, 1)))(w, pairs)
    assert not any(np.any(v) for v in jax.tree.leaves(d_pairs))
    moved = [bool(np.any(own)) for own in dw]
    upper = [name in ("shared_given", "not_shared") for name in Factors._fields]
    assert moved == upper
    want = -sum(
        infonce_bound(critic, pair)
        for critic, pair, is_upper in zip(_critics_of(w), pairs, upper, strict=True)
        if is_upper
    )
    np.testing.assert_allclose(value, want, rtol=1e-6)


def test_supervised_factors_condition_on_labels():
    x, t = (_factors_of(_draw(5, 6, 2, seed=k)) for k in range(2))
    labels = jnp.eye(3)[jnp.arange(5) % 3]
    pairs = supervised_factors(x, t, labels)
    assert pairs.shared_given.x.shape == (5, 5) and pairs.unique_given.t.shape == (5, 5)
    for pair, own in ((pairs.unique_first, x.unique_first), (pairs.unique_second, t.unique_second)):
        np.testing.assert_array_equal(pair.x, own)
        np.testing.assert_array_equal(pair.t, labels)
    np.testing.assert_array_equal(pairs.shared_given.t[:, :2], t.shared_given)
    np.testing.assert_array_equal(pairs.shared_given.t[:, 2:], labels)
    np.testing.assert_array_equal(pairs.unique_given.x[:, :2], x.unique_given)
    np.testing.assert_array_equal(pairs.not_shared.x, x.not_shared)
    np.testing.assert_array_equal(pairs.shared.t, t.shared)


BAD = {
    "one modality": lambda x: cross([x], temperature=1.0),
    "pairs": lambda x: cmc([x, x], temperature=1.0, pairs="last"),
    "unequal views": lambda x: cross_self([x, x], [x], [x, x], temperature=1.0),
    "negative weight": lambda x: cross_self([x, x], [x], [x], temperature=1.0, self_weight=-1.0),
    "weights": lambda x: comm(x[:, None], x[:, None], temperature=1.0, weights=(1, 1)),
    "weights of the paper": lambda x: comm_of_paper(
        x, x, x[:, None], temperature=1.0, weights=(1,)
    ),
}


@pytest.mark.parametrize("call", BAD.values(), ids=BAD)
def test_bad_input(call):
    with pytest.raises(InvalidInput):
        call(_draw(3, 2))


ROWS = 32768
LARGE = {
    "comm": lambda x, t: comm(x[:, None], t[:, None], temperature=0.1),
    "cross": lambda x, t: cross([x, t], temperature=0.1),
    "supcon": lambda x, t: supcon(x + t, jnp.arange(ROWS) % 1000, temperature=0.1),
    "siglip": lambda x, t: siglip(x, t, temperature=0.1, bias=-10.0),
}


@pytest.mark.parametrize("name", LARGE)
def test_memory_is_linear_in_the_batch(name):
    """All pairs would take 4 GiB."""
    side = jax.ShapeDtypeStruct((ROWS, 16), jnp.float32)
    run = jax.jit(jax.value_and_grad(LARGE[name], (0, 1))).lower(side, side).compile()
    assert run.memory_analysis().temp_size_in_bytes < 300e6

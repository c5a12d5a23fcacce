"""Restarts by the loss gap, optimisers under their schedule, layouts by name."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mmjax.errors import InvalidInput
from mmjax.train import (
    LAYOUTS,
    OPTIMISERS,
    collectives,
    make_layout,
    make_optimiser,
    train_with_restarts,
)

_NAN = float("nan")


def _restart(gaps, *, threshold=0.1, max_restarts=None):
    """Runs restarts where attempt k of seed s has gap gaps[k][s]; its parameters say (k, s)."""
    calls = []

    def attempt(number, seeds):
        calls.append((number, list(seeds)))
        return {"who": np.array([(number, s) for s in seeds]), "b": jnp.ones((len(seeds), 2, 3))}

    def gap(params, seeds):
        return np.array([gaps[number][s] for number, s in np.asarray(params["who"])])

    outcome = train_with_restarts(
        attempt,
        gap,
        num_seeds=len(gaps[0]),
        threshold=threshold,
        max_restarts=len(gaps) - 1 if max_restarts is None else max_restarts,
    )
    return outcome, calls


# (gaps of each attempt, attempts made a seed, attempt kept a seed, stuck)
RESTARTS = {
    "none stuck": ([(0.0, 0.05)], (1, 1), (0, 0), (False, False)),
    "at the threshold": ([(0.1, -1.0), (0.0, 0.0)], (1, 1), (0, 0), (False, False)),
    "one cured": ([(0.0, 0.5), (9.0, 0.05)], (1, 2), (0, 1), (False, False)),
    "never cured": ([(0.0, 0.5), (9.0, 0.4), (9.0, 0.45)], (1, 3), (0, 1), (False, True)),
    "got worse": ([(0.3, 0.5), (0.6, 0.0)], (2, 2), (0, 1), (True, False)),
    "NaN is stuck": ([(_NAN, 0.0), (0.05, 9.0)], (2, 1), (1, 0), (False, False)),
    "NaN replaced": ([(_NAN, 0.0), (0.7, 9.0), (0.9, 9.0)], (3, 1), (1, 0), (True, False)),
    "NaN is not better": ([(0.4, 0.0), (_NAN, 9.0)], (2, 1), (0, 0), (True, False)),
    "cured late": ([(0.5, _NAN), (0.4, 0.2), (0.0, 0.3), (9.0, 0.1)], (3, 4), (2, 3), (False,) * 2),
}


@pytest.mark.parametrize("name", RESTARTS)
def test_restarts(name):
    gaps, attempts, kept, stuck = RESTARTS[name]
    outcome, _ = _restart(gaps)
    np.testing.assert_array_equal(outcome.attempts, attempts)
    np.testing.assert_array_equal(outcome.stuck, stuck)
    np.testing.assert_array_equal(outcome.params["who"], [(k, s) for s, k in enumerate(kept)])
    np.testing.assert_array_equal(outcome.gap, [gaps[k][s] for s, k in enumerate(kept)])
    assert outcome.params["b"].shape == (2, 2, 3)


def test_only_stuck_seeds_are_retrained():
    _, calls = _restart([(0.0, 0.5, 0.6), (9, 0.0, 0.6), (9, 9, 0.6), (9, 9, 0.0), (9, 9, 9)])
    assert calls == [(0, [0, 1, 2]), (1, [1, 2]), (2, [2]), (3, [2])]


def test_no_restarts_when_none_are_allowed():
    outcome, calls = _restart([(0.5, _NAN)], max_restarts=0)
    assert len(calls) == 1
    assert outcome.stuck.all()


def test_the_gaps_of_the_caller_are_left_alone():
    measured = np.array([0.5, 0.0])
    answers = iter([measured, np.array([0.2])])
    outcome = train_with_restarts(
        lambda number, seeds: np.zeros(len(seeds)),
        lambda params, seeds: next(answers),
        num_seeds=2,
        threshold=0.1,
        max_restarts=1,
    )
    np.testing.assert_array_equal(outcome.gap, [0.2, 0.0])
    np.testing.assert_array_equal(measured, [0.5, 0.0])


def _rates(name, *, steps, warmup, learning_rate=0.5):
    """The learning rate at steps 0..steps, read off the updates under constant gradients."""
    optimiser = make_optimiser(name, learning_rate=learning_rate, steps=steps, warmup=warmup)
    params = {"bias": jnp.zeros(1)}
    state, rates = optimiser.init(params), []
    update = jax.jit(optimiser.update)
    for _ in range(steps + 1):
        updates, state = update({"bias": jnp.ones(1)}, state, params)
        rates.append(-float(updates["bias"][0]))
    return np.array(rates)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_schedule_warms_up_and_ends_at_zero(name):
    """Adam's update under constant gradients is the rate itself.

    Muon moves vectors at a tenth of it, by Adam with Nesterov's momentum, which is ahead at first.
    """
    peak, rtol = (0.05, 0.2) if name == "muon" else (0.5, 1e-3)
    rates = _rates(name, steps=20, warmup=4)
    np.testing.assert_allclose(rates[:5], peak * np.arange(5) / 4, rtol=rtol, atol=1e-6)
    assert np.all(np.diff(rates[4:]) < 0)
    np.testing.assert_allclose(rates[12], peak / 2, rtol=rtol)
    np.testing.assert_allclose(rates[20], 0, atol=1e-6)


@pytest.mark.parametrize("steps, warmup, peak_at", [(4, 0, 0), (4, 1000, 2), (1, 1000, 0)])
def test_short_runs_reach_their_peak(steps, warmup, peak_at):
    rates = _rates("adam", steps=steps, warmup=warmup)
    assert np.argmax(rates) == peak_at
    np.testing.assert_allclose(rates[peak_at], 0.5, rtol=1e-3)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_weights_move_towards_the_minimum(name):
    optimiser = make_optimiser(name, learning_rate=0.1, steps=40, warmup=2)
    goal = {"kernel": 0.5 * jnp.eye(3), "bias": jnp.array([0.1, -0.1, 0.1])}
    loss = lambda p: sum(jnp.sum((p[k] - goal[k]) ** 2) for k in goal)

    @jax.jit
    def step(params, state):
        updates, state = optimiser.update(jax.grad(loss)(params), state, params)
        return optax.apply_updates(params, updates), state

    params = jax.tree.map(jnp.zeros_like, goal)
    state, start = optimiser.init(params), loss(params)
    for _ in range(40):
        params, state = step(params, state)
    assert loss(params) < 0.1 * start
    assert all(np.all(np.isfinite(p)) and np.any(p != 0) for p in params.values())


@pytest.mark.parametrize("name, shrinks", [("adam", False), ("adamw", True), ("muon", True)])
def test_weight_decay(name, shrinks):
    options = {"learning_rate": 0.1, "steps": 4, "warmup": 0}
    optimiser = make_optimiser(name, weight_decay=0.5, **options)
    params = {"kernel": jnp.eye(2)}
    updates, _ = optimiser.update({"kernel": jnp.zeros((2, 2))}, optimiser.init(params), params)
    want = -0.05 * np.eye(2) if shrinks else np.zeros((2, 2))
    np.testing.assert_allclose(updates["kernel"], want, atol=1e-6)


# (asked for, seeds, batch size, what eight devices get)
ON_EIGHT = [
    ("single", 3, 5, "single"),
    ("data", 3, 16, "data"),
    ("seeds", 16, 5, "seeds"),
    ("auto", 8, 16, "seeds"),
    ("auto", 3, 16, "data"),
    ("auto", 3, 5, "single"),
]


@pytest.fixture
def _eight():
    if jax.local_device_count() != 8:
        pytest.skip("needs eight devices")


@pytest.mark.parametrize("asked, num_seeds, batch_size, name", ON_EIGHT)
def test_layout(_eight, asked, num_seeds, batch_size, name):
    assert asked in LAYOUTS
    layout = make_layout(asked, num_seeds=num_seeds, batch_size=batch_size)
    assert layout.name == name
    tree = {"a": jnp.arange(num_seeds * 2.0).reshape(num_seeds, 2)}
    device_form = layout.put(tree)
    lead = {"single": (num_seeds,), "data": (8, num_seeds), "seeds": (8, num_seeds // 8)}[name]
    assert device_form["a"].shape == (*lead, 2)
    np.testing.assert_array_equal(layout.take(device_form)["a"], tree["a"])


@pytest.mark.parametrize(
    "name, num_seeds, batch_size, told",
    [("data", 8, 12, "batch_size: 12"), ("seeds", 3, 16, "seeds: 3"), ("pods", 8, 8, "'pods'")],
)
def test_what_the_devices_cannot_share(_eight, name, num_seeds, batch_size, told):
    with pytest.raises(InvalidInput, match=told):
        make_layout(name, num_seeds=num_seeds, batch_size=batch_size)


def test_collectives_of_a_mapped_axis():
    """Under vmap as under pmap: rows are dealt out, gathered in order, averaged over devices."""
    over = collectives("devices", 4)
    batch = jnp.arange(8.0)

    def device(x):
        rows = over.shard(batch)
        own = jax.random.key_data(over.fold(jax.random.key(0)))
        return rows, over.gather(rows), over.mean({"r": rows})["r"], own

    rows, gathered, mean, keys = jax.vmap(device, axis_name="devices")(jnp.zeros(4))
    np.testing.assert_array_equal(rows, batch.reshape(4, 2))
    np.testing.assert_array_equal(gathered, np.tile(batch, (4, 1)))
    np.testing.assert_array_equal(mean, np.tile(batch.reshape(4, 2).mean(0), (4, 1)))
    assert len(np.unique(keys, axis=0)) == 4


@pytest.mark.parametrize(
    "names, shape, inputs",
    [
        (("Dense_0", "kernel"), (8, 6), 8),
        (("Conv_0", "kernel"), (2, 2, 3, 6), 12),
        (("query", "kernel"), (8, 2, 3), 8),
        (("out", "kernel"), (2, 3, 8), 6),
    ],
)
def test_muon_turns_every_linear_map_alike(names, shape, inputs):
    """Updates of the flattened map have nearly equal singular values, whatever the gradient's."""
    optimiser = make_optimiser("muon", learning_rate=1.0, steps=10, warmup=0)
    tree = lambda leaf: {names[0]: {names[1]: leaf}}
    gradient = jax.random.normal(jax.random.key(0), shape)
    params = tree(jnp.zeros(shape))
    updates, _ = optimiser.update(tree(gradient), optimiser.init(params), params)
    flat = lambda leaf: np.linalg.svd(np.asarray(leaf).reshape(inputs, -1), compute_uv=False)
    given, made = flat(gradient), flat(updates[names[0]][names[1]])
    assert made.max() / made.min() < 2 < given.max() / given.min()


def test_muon_leaves_tables_and_biases_to_adam():
    """Adam's first update has the same size everywhere, a tenth of Muon's rate before its lead."""
    optimiser = make_optimiser("muon", learning_rate=1.0, steps=10, warmup=0)
    params = {"Embed_0": {"embedding": jnp.zeros((4, 3))}, "query": {"bias": jnp.zeros((2, 3))}}
    gradients = jax.tree.map(lambda v: jax.random.normal(jax.random.key(1), v.shape), params)
    updates, _ = optimiser.update(gradients, optimiser.init(params), params)
    for value in jax.tree.leaves(updates):
        np.testing.assert_allclose(jnp.abs(value), jnp.abs(value).max(), rtol=1e-4)
        assert 0.1 <= jnp.abs(value).max() < 0.2

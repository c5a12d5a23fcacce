"""Restarts by the loss gap, optimisers under their schedule, layouts by name."""

import chex
import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import strategies as st

from mmjax import train as train_module
from mmjax.encoders import mlp, text_convnet, text_transformer
from mmjax.errors import InvalidInput
from mmjax.train import (
    LAYOUTS,
    OPTIMISERS,
    collectives,
    decayed,
    make_layout,
    make_optimiser,
    train_with_restarts,
)
from mmjax.types import Pair

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


def _against_the_lowest(above, **options):
    """Gaps above the lowest loss of any attempt so far: a reference that restarts move."""
    lowest = [np.inf]

    def attempt(number, seeds):
        return {"who": np.array([(number, s) for s in seeds])}

    def gap(params, seeds):
        found = np.array([above[n][s] for n, s in np.asarray(params["who"])], float)
        lowest[0] = min(lowest[0], np.nanmin(found))
        return found - lowest[0]

    return train_with_restarts(attempt, gap, num_seeds=len(above[0]), **options)


def test_a_restart_moves_the_reference_of_all():
    """Seed 0 keeps its better attempt; seed 2, never restarted, is stuck by what seed 1 reached."""
    above = [(0.5, 0.6, 0.0), (0.4, -0.3, _NAN)]
    outcome = _against_the_lowest(above, threshold=0.2, max_restarts=1)
    np.testing.assert_array_equal(outcome.params["who"], [(1, 0), (1, 1), (0, 2)])
    np.testing.assert_allclose(outcome.gap, [0.7, 0.0, 0.3], atol=1e-12)
    np.testing.assert_array_equal(outcome.stuck, [True, False, True])
    above.append((-0.2, 9.0, -0.25))
    outcome = _against_the_lowest(above, threshold=0.2, max_restarts=2)
    np.testing.assert_array_equal(outcome.attempts, [3, 2, 2])
    np.testing.assert_allclose(outcome.gap, [0.1, 0.0, 0.05], atol=1e-12)


@hypothesis.given(st.lists(st.tuples(*[st.floats(-1, 1)] * 3), min_size=2, max_size=4))
def test_the_order_of_attempts_decides_no_gap(above):
    """What is kept is each seed's lowest, and its gap the distance to the lowest of all."""
    outcome = _against_the_lowest(above, threshold=-1.0, max_restarts=len(above) - 1)
    lowest = np.min(above, axis=0)
    np.testing.assert_allclose(outcome.gap, lowest - lowest.min(), atol=1e-12)


def test_only_stuck_seeds_are_retrained():
    _, calls = _restart([(0.0, 0.5, 0.6), (9, 0.0, 0.6), (9, 9, 0.6), (9, 9, 0.0), (9, 9, 9)])
    assert calls == [(0, [0, 1, 2]), (1, [1, 2]), (2, [2]), (3, [2])]


def test_no_restarts_when_none_are_allowed():
    outcome, calls = _restart([(0.5, _NAN)], max_restarts=0)
    assert len(calls) == 1
    assert outcome.stuck.all()


def test_the_gaps_of_the_caller_are_left_alone():
    measured = np.array([0.5, 0.0])
    answers = iter([measured, np.array([0.2]), measured])
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


# A leaf's path -> (shape, whether it is a map that weight decay makes smaller).
LEAVES = {
    "Dense_0.kernel": ((3, 4), True),
    "Conv_0.kernel": ((5, 3, 4), True),
    "query.kernel": ((4, 2, 3), True),
    "critic.w": ((3, 3), True),
    "Dense_0.bias": ((4,), False),
    "query.bias": ((2, 3), False),
    "norm.scale": ((4,), False),
    "Embed_0.embedding": ((6, 4), False),
    "trunk.class_token": ((1, 1, 4), False),
    "trunk.positions": ((5, 4), False),
    "log_temperature": ((), False),
    "heads.log_side": ((4,), False),
    "select.kernel": ((6, 4), False),
}


def _tree_of(leaves):
    tree = {}
    for path, leaf in leaves.items():
        *parents, last = path.split(".")
        place = tree
        for name in parents:
            place = place.setdefault(name, {})
        place[last] = leaf
    return tree


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_weight_decay_touches_maps_only(name):
    """Without a gradient a map shrinks by rate x decay, and everything else stays, to the bit."""
    options = {"learning_rate": 0.1, "steps": 4, "warmup": 0}
    optimiser = make_optimiser(name, weight_decay=0.5, **options)
    params = _tree_of({path: jnp.ones(shape) for path, (shape, _) in LEAVES.items()})
    params["encoders"] = Pair({"kernel": jnp.ones((2, 2))}, None)  # shared encoders have no second
    zeros = jax.tree.map(jnp.zeros_like, params)
    updates, _ = jax.jit(optimiser.update)(zeros, jax.jit(optimiser.init)(params), params)
    want = _tree_of({p: np.full(shape, -0.05 * maps) for p, (shape, maps) in LEAVES.items()})
    want["encoders"] = Pair({"kernel": np.full((2, 2), -0.05)}, None)
    for made, meant in zip(jax.tree.leaves(updates), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(made, meant, atol=1e-6)
        assert np.any(meant) or not np.any(made)


def test_every_network_decays_kernels_and_nothing_else():
    """By the names that linen gives: what is called a kernel is one."""
    encoders = [
        (text_transformer(4, 10, 12, width=8, layers=1, heads=2), (12,)),
        (text_convnet(4, 10, width=8, channels=2), (24,)),
        (mlp((8,), 4), (3,)),
    ]
    for encoder, shape in encoders:
        params, _ = jax.eval_shape(
            lambda key, e=encoder, s=shape: e.init(key, s), jax.random.key(0)
        )
        flat, _ = jax.tree_util.tree_flatten_with_path(decayed(params))
        assert any(maps for _, maps in flat)
        for path, maps in flat:
            assert maps == (path[-1].key == "kernel"), path


def test_adam_has_no_weight_decay():
    with pytest.raises(InvalidInput, match="weight_decay: 0.01 is not allowed; use 0 with adam"):
        make_optimiser("adam", learning_rate=0.1, steps=4, warmup=0, weight_decay=0.01)


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
        (("Conv_0", "kernel"), (5, 3, 6), 15),
        (("Conv_0", "kernel"), (2, 2, 2, 2, 6), 16),
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


def test_former_names_of_a_recipe_train_as_it_does():
    def source(constants, key):
        return jax.random.normal(key, (4, 2))

    def objective(params, batch, key, gather):
        return jnp.mean((batch @ params["w"]) ** 2), {}

    parts = (source, [train_module.Stage(objective, 3)], optax.sgd(0.1), 3, 3)
    init = lambda key: {"w": jnp.ones(2)}
    found = [
        train_module.train_one(kind(*parts), init, {}, jax.random.key(0))
        for kind in (train_module.Recipe, train_module.Plan)
    ]
    chex.assert_trees_all_equal(*found)
    assert train_module.Phase is train_module.Stage

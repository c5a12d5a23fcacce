"""Sharded on eight devices equals one device: values, gradients, training."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh, PartitionSpec

from mmjax.losses import SIMILARITIES, info_nce, make_similarity
from mmjax.train import Aside, Recipe, Stage, collectives, init_states, make_layout, train
from mmjax.types import Pair

DEVICES = 8
BATCH, DIM = 24, 3
AXIS = "devices"

# A loss is one more row: the batch of observations and the gather go in, the local loss comes out.
LOSSES = {name: (name, {}) for name in SIMILARITIES} | {
    "dot, further negatives": ("dot", dict(further=True)),
    "l1, further negatives": ("l1", dict(further=True)),
    "cosine, within": ("cosine", dict(within=True)),
    "l1, within": ("l1", dict(within=True)),
    "cosine, content and style": ("cosine", dict(further=True, in_batch=False, log_mean=True)),
}
losses = pytest.mark.parametrize("row", LOSSES.values(), ids=LOSSES)


def test_there_are_eight_devices():
    assert jax.device_count() == DEVICES


def _params(seed=0):
    x_key, t_key = jax.random.split(jax.random.key(seed))
    encoders = Pair(*(0.5 * jax.random.normal(k, (5, DIM)) for k in (x_key, t_key)))
    return {"encoders": encoders, "log_temperature": jnp.log(0.7)}


def _batch(seed=1):
    x_key, t_key = jax.random.split(jax.random.key(seed))
    return Pair(*(jax.random.normal(k, (2, BATCH, 5)) for k in (x_key, t_key)))


def _objective(row):
    """(parameters, local observations [2, rows, 5], gather) -> local loss; [1] are negatives."""
    name, options = row
    options = dict(options)
    further, within = options.pop("further", False), options.pop("within", False)

    def objective(params, batch, gather):
        x, t = (o @ w for o, w in zip(batch, params["encoders"], strict=True))
        return info_nce(
            x[0],
            t[0],
            similarity=make_similarity(name),
            temperature=jnp.exp(params["log_temperature"]),
            gather=gather,
            negatives=Pair(x[1], t[1]) if further else None,
            # Any number that tells rows apart will do: the bits of an observation.
            within=jax.lax.bitcast_convert_type(batch.x[0, :, 0], jnp.int32) if within else None,
            chunk=7,
            **options,
        )

    return objective


def _sharded(objective, gather=None):
    """One device's part of the loss and its gradient, from the whole batch."""
    across = collectives(AXIS, DEVICES)

    def body(params, batch):
        rows = across.shard(jax.tree.map(lambda v: v.swapaxes(0, 1), batch))
        local = jax.tree.map(lambda v: v.swapaxes(0, 1), rows)
        run = jax.value_and_grad(objective)
        return across.mean(run(params, local, gather or across.gather))

    return body


def _alone(objective):
    return jax.value_and_grad(lambda params, batch: objective(params, batch, lambda v: v))


def _pmapped(body, *args):
    run = jax.pmap(lambda _, *args: body(*args), AXIS, in_axes=(0, None, None))
    out = run(jnp.arange(DEVICES), *args)  # pmap wants something to map over
    return jax.tree.map(lambda v: v[0], out)


def _shard_mapped(body, *args):
    mesh = Mesh(np.array(jax.devices()), (AXIS,))
    replicated = PartitionSpec()
    run = jax.shard_map(body, mesh=mesh, in_specs=replicated, out_specs=replicated, check_vma=False)
    return jax.jit(run)(*args)


def _assert_same(ours, theirs, tolerance=1e-5):
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@losses
def test_pmap_equals_a_single_device(row):
    objective = _objective(row)
    args = _params(), _batch()
    _assert_same(_pmapped(_sharded(objective), *args), jax.jit(_alone(objective))(*args))


# shard_map and vmap see the same collectives: one row for all negatives, one for some.
@pytest.mark.parametrize("name", ["l1", "cosine, content and style"])
def test_shard_map_over_seeds_equals_a_single_device(name):
    objective = _objective(LOSSES[name])
    args = [
        jax.tree.map(lambda *v: jnp.stack(v), *map(make, range(3))) for make in (_params, _batch)
    ]
    alone = jax.jit(jax.vmap(_alone(objective)))(*args)
    _assert_same(_shard_mapped(jax.vmap(_sharded(objective)), *args), alone)


def test_without_the_gather_the_loss_is_another():
    objective = _objective(LOSSES["l1"])
    args = _params(), _batch()
    without, _ = _pmapped(_sharded(objective, gather=lambda v: v), *args)
    alone, _ = jax.jit(_alone(objective))(*args)
    assert abs(without - alone) > 0.5  # negatives of 3 rows instead of 24


SEEDS = 8


def _source(constants, key, fed):
    z = jax.random.normal(key, (16, 4)) + fed["shift"]
    return Pair(z @ constants["x"], z @ constants["t"])


def _shift(key, step):
    """What a seed is fed at a step: its own, by its key."""
    return (jax.random.key_data(key)[-1] % 97 + step) / np.float32(1000)


def _feed(first, key):
    return ({"shift": np.float32(_shift(key, step))} for step in range(first, 6))


def _init(key):
    keys = jax.random.split(key, 4)
    mlp = lambda k: {"in": 0.5 * jax.random.normal(k[0], (4, 6)), "out": jnp.eye(6, DIM)}
    return {"x": mlp(keys[:2]), "t": mlp(keys[2:]), "log_temperature": jnp.zeros(())}


def _training_loss(params, batch, key, gather):
    del key
    encode = lambda p, v: jnp.tanh(v @ p["in"]) @ p["out"]
    x, t = encode(params["x"], batch.x), encode(params["t"], batch.t)
    temperature = jnp.exp(params["log_temperature"])
    similarity = make_similarity("l1")
    loss = info_nce(x, t, similarity=similarity, temperature=temperature, gather=gather)
    return loss, Aside(metrics={"temperature": temperature, "mean": batch.x.mean()})


@cache
def _trained(name):
    recipe = Recipe(
        _source, [Stage(_training_loss, 6)], optax.sgd(0.1), chunk_steps=6, save_every=6, feed=_feed
    )
    keys = jax.random.split(jax.random.key(2), SEEDS)
    mixing = jax.random.normal(jax.random.key(3), (2, SEEDS, 4, 4))
    constants, reported, told = {"x": mixing[0], "t": mixing[1]}, [], []
    states = train(
        recipe,
        init_states(recipe, _init, keys),
        constants,
        keys,
        layout=make_layout(name, num_seeds=SEEDS, batch_size=16),
        on_chunk=lambda step, losses: reported.append(losses),
        on_metrics=lambda step, metrics: told.append(metrics),
    )
    homes = {device for leaf in jax.tree.leaves(states) for device in leaf.devices()}
    assert homes == {jax.local_devices()[0]}  # or judging would run on all of them
    return jax.tree.map(np.asarray, states.params), np.stack(reported), told


@pytest.mark.parametrize("name", ["data", "seeds"])
def test_layouts_train_alike(name):
    _assert_same(_trained(name), _trained("single"))


def test_training_moves_every_parameter():
    params, losses, _ = _trained("single")
    keys = jax.random.split(jax.random.key(2), SEEDS)
    start = jax.vmap(_init)(keys)
    for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(start), strict=True):
        assert np.all(np.any(a.reshape(SEEDS, -1) != b.reshape(SEEDS, -1), axis=1))
    assert losses.shape == (1, SEEDS) and np.ptp(losses[0]) > 0  # seeds differ


def test_what_a_loss_tells_beside_its_value_is_the_mean_of_the_chunk_and_of_the_devices():
    """And every seed is fed its own."""
    (told,), keys = _trained("data")[2], jax.random.split(jax.random.key(2), SEEDS)
    assert set(told) == {"temperature", "mean"} and told["mean"].shape == (SEEDS,)
    mixing = jax.random.normal(jax.random.key(3), (2, SEEDS, 4, 4))[0]
    for seed in (0, 5):
        wanted = []
        for step in range(6):
            batch_key, _ = jax.random.split(jax.random.fold_in(keys[seed], step))
            fed = {"shift": _shift(keys[seed], step)}
            wanted.append(_source({"x": mixing[seed], "t": mixing[seed]}, batch_key, fed).x.mean())
        np.testing.assert_allclose(told["mean"][seed], np.mean(wanted), rtol=1e-4)
    assert (told["temperature"] != 1).all()  # it is trained in the chunk

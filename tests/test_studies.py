"""Studies: the theorems at small size, the oracle, the towers, the violations table."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.partial_causal import Config, settings
from mmjax.encoders import make_head, mlp, two_towers
from mmjax.errors import InvalidInput
from mmjax.evaluate import linear_r2, mcc
from mmjax.studies import Assumptions, identification_metrics, make_study, resolve, train_study
from mmjax.tables.violations import VIOLATIONS
from mmjax.types import Pair

SMALL = Assumptions(
    hidden=(64, 64), steps=1000, pre_steps=300, mixing_candidates=300, batch_size=256
)


def _trained(**changes):
    study = make_study(dataclasses.replace(SMALL, **changes))
    params, constants = train_study(study, jax.random.key(0))
    return study, params, constants, study.embed(params, constants, jax.random.key(1), 4096)


def test_the_sphere_is_recovered_and_private_latents_are_dropped():
    study, params, constants, seen = _trained(geometry="sphere", dim=2, steps=700, batch_size=128)
    figures = {name: float(value) for name, value in identification_metrics(seen).items()}
    for side in "xt":
        assert figures[side, "z", "r2_linear"] > 0.97
        assert figures[side, "m", "r2_linear"] < 0.05 < figures[side, "m", "r2_linear_raw"]
    trained, oracle = study.losses(params, constants, jax.random.key(2), 4)
    assert -0.02 < float(trained - oracle) < 0.2


def test_the_box_is_recovered_one_by_one():
    # At 1000 steps it is still a matter of rounding whether the last turn is done.
    *_, seen = _trained(geometry="box", dim=2, steps=1500)
    assert mcc(seen.latents.z_x, seen.embedded.x) > 0.98
    assert mcc(seen.latents.z_t, seen.embedded.t) > 0.98


def test_a_round_distance_leaves_the_box_rotated():
    """The theorem excludes the squared distance: linear recovery stays, single latents go."""
    *_, seen = _trained(geometry="box", dim=2, similarity="squared_l2")
    assert linear_r2(seen.embedded.x, seen.latents.z_x) > 0.9
    assert mcc(seen.latents.z_x, seen.embedded.x) < 0.97


def test_the_oracle_reaches_the_mutual_information():
    """L - log N -> -I, I = log C_d(kappa) + kappa A_d(kappa) + log |S^(d-1)|: 1.996 here."""
    study = make_study(
        dataclasses.replace(SMALL, kappa=10.0, batch_size=2048, steps=1, pre_steps=0)
    )
    constants = study.init_constants(jax.random.key(0))
    params = study.init_params(jax.random.key(1))
    _, oracle = study.losses(params, constants, jax.random.key(2), 6)
    assert abs(float(oracle) - np.log(2048) + 1.996) < 0.03


def test_observations_are_inverted_to_latents():
    study = make_study(SMALL)
    constants = study.init_constants(jax.random.key(0))
    seen = study.embed(study.init_params(jax.random.key(1)), constants, jax.random.key(2), 100)
    chex.assert_trees_all_close(study.invert(constants, seen.observed), seen.latents, atol=1e-4)


def test_without_private_latents_there_is_no_leak_to_measure():
    study = make_study(dataclasses.replace(SMALL, private_dim=0))
    constants = study.init_constants(jax.random.key(0))
    seen = study.embed(study.init_params(jax.random.key(1)), constants, jax.random.key(2), 128)
    assert {name[1] for name in identification_metrics(seen)} == {"z"}


def test_same_seed_same_run_other_seed_other_run():
    short = dataclasses.replace(SMALL, geometry="sphere", hidden=(16,), steps=4, pre_steps=0)
    study = make_study(short, chunk_steps=2)
    runs = [train_study(study, jax.random.key(seed))[0] for seed in (0, 0, 1)]
    chex.assert_trees_all_equal(runs[0], runs[1])
    with pytest.raises(AssertionError):
        chex.assert_trees_all_close(runs[0], runs[2])


def test_matched_temperature_and_dimensions():
    assert resolve(Assumptions(geometry="sphere", kappa=25.0)).temperature == 1 / 25
    assert resolve(Assumptions(geometry="box", scale=0.3)).temperature == 0.3
    assert resolve(Assumptions(dim=4)).embedding_dim == 4
    assert resolve(Assumptions(pre_steps=0)).spare_dims == 0


def test_towers_select_learn_temperature_and_keep_sides_apart():
    nets = two_towers(
        Pair(mlp((8,), 5), mlp((8,), 5)),
        make_head("sphere"),
        embedding_dim=3,
        spare_dims=2,
    )
    params = nets.init(jax.random.key(0), Pair((4,), (6,)))
    pair = Pair(jnp.ones((7, 4)), jnp.ones((7, 6)))
    assert nets.raw(params, pair).x.shape == (7, 5)
    embedded = nets.embed(params, pair)
    assert embedded.t.shape == (7, 3)
    chex.assert_trees_all_equal(nets.embed_side(params, "t", pair.t), embedded.t)
    gradients = jax.grad(lambda p: nets.embed(p, pair).x.sum())(params)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(gradients["encoders"].t))
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(gradients["select"]))
    assert any(np.any(leaf) for leaf in jax.tree.leaves(gradients["encoders"].x))
    trained, changes = nets.forward(params, pair, jax.random.key(1), lambda v: v)
    chex.assert_trees_all_close(trained, embedded)
    assert changes == {"statistics": Pair({}, {})}


def test_shared_towers_are_one_encoder():
    both = Pair(mlp((8,), 3), mlp((8,), 3))
    nets = two_towers(both, make_head("none"), embedding_dim=3, shared=True)
    params = nets.init(jax.random.key(0), Pair((4,), (4,)))
    views = Pair(jnp.arange(8.0).reshape(2, 4), jnp.ones((2, 4)))
    seen, swapped = nets.embed(params, views), nets.embed(params, Pair(views.t, views.x))
    chex.assert_trees_all_equal(seen, Pair(swapped.t, swapped.x))


def test_every_row_of_the_violations_table_is_a_run_with_a_reason_and_a_name():
    table = settings(Config(table="violations"))
    assert len(table) == sum(1 if v.geometry else 2 for v in VIOLATIONS)
    names = [row.name for row in table]
    assert len(set(names)) == len(names)
    assert all(name.split("/")[0] in ("sphere", "box") for name in names)
    assert all(len(row.why) > 10 for row in table)
    assert [row.name for row in table if row.as_theory] == ["sphere/vmf", "box/laplace"]


@pytest.mark.parametrize(
    "changes",
    [
        dict(geometry="torus"),
        dict(steps=0),
        dict(batch_size=1),
        dict(spare_dims=-1),
        dict(warmup=-1),
    ],
)
def test_bad_assumptions_are_told(changes):
    with pytest.raises(InvalidInput):
        make_study(dataclasses.replace(SMALL, **changes))

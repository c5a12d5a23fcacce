"""Studies of fused representations: what is trained, what is read, how it is judged."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.encoders import concatenated_critic
from mmjax.errors import InvalidInput
from mmjax.generative import TriFactors
from mmjax.losses import Context, Factors, Loss, comm, cross, infonce_bound, no_gather
from mmjax.studies.fused import make_fused_study, subset_features
from mmjax.studies.fusing_methods import METHODS, together, view_names
from mmjax.studies.trifactors import (
    TriFactorOptions,
    balancing_bias,
    factor_figures,
    read_synergies,
    subset_figures,
    targets_of,
    trifactor_task,
)
from mmjax.types import Pair

TINY = dict(hidden=(4,), tokens=2, width=8, heads=2, head_hidden=8, head_out=4, batch_size=8)
OF_TWO = ("factor_cl", "factor_cl_supervised")


def _study(method, modalities=2, **options):
    options = TriFactorOptions(modalities=modalities, **(TINY | options))
    model, task = trifactor_task(options, 1.0)
    return model, task, make_fused_study(options, task, method, chunk_steps=1, save_every=1)


def _method(name):
    return METHODS[name](0.1, ("a", "b"), 10)


@pytest.mark.parametrize("modalities", [2, 3])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_a_loss_and_something_to_read(method, modalities):
    """Traced, not run: one scalar, statistics like those before, a Z of all or one a modality."""
    if modalities > 2 and method in OF_TWO:
        with pytest.raises(InvalidInput, match="modalities: 3"):
            _study(method, modalities)
        return
    _, task, study = _study(method, modalities)
    key, fused = jax.random.key(0), _method(method).fused
    world = jax.eval_shape(task.init_constants, key)
    params = jax.eval_shape(study.init_params, key)
    batch = jax.eval_shape(study.recipe.source, world, key)
    objective = lambda *args: study.recipe.stages[0].objective(*args, key, no_gather)
    loss, aside = jax.eval_shape(objective, params, batch)
    assert loss.shape == () and loss.dtype == jnp.float32
    assert jax.tree.structure(aside.changes["statistics"]) == jax.tree.structure(
        params["statistics"]
    )
    read = jax.eval_shape(study.represent, params, batch["views"][0])
    assert read.shape == (8, 8 if fused else 8 * modalities)
    if method in OF_TWO:  # their critics read Z
        assert study.project is None
        return
    behind = jax.eval_shape(study.project, params, batch["views"][0])
    assert behind.shape == (8, 4 if fused else 4 * modalities)


@pytest.mark.parametrize("method", [pytest.param("comm", marks=pytest.mark.slow), "cross"])
def test_what_is_behind_the_head_are_directions_that_the_loss_compares(method):
    """Of all modalities together, or of each; with moments as they start, which change nothing."""
    _, task, study = _study(method)
    key = jax.random.key(0)
    params = jax.jit(study.init_params)(key)
    batch = jax.jit(lambda key: study.recipe.source(task.init_constants(key), key))(key)
    found = jax.jit(study.project)(params, batch["views"][0]).reshape(8, -1, 4)
    assert found.shape[1] == (1 if method == "comm" else 2)
    np.testing.assert_allclose(jnp.linalg.norm(found, axis=-1), 1, rtol=1e-5)
    masks = jnp.ones((1, 2), bool) if method == "comm" else jnp.eye(2, dtype=bool)
    z = jax.jit(study.embed)(params, batch["views"][0], masks)
    x = z
    for k in range(2):
        x = jax.nn.relu(x @ params["nets"]["head"][f"linear_{k}"]["kernel"] / (1 + 1e-5) ** 0.5)
    x = x @ params["nets"]["head"]["linear_2"]["kernel"]
    want = x / jnp.linalg.norm(x, axis=-1, keepdims=True)
    np.testing.assert_allclose(found, want, rtol=1e-3, atol=1e-4)


def _by_name(z):
    return {name: z[:, k] for k, name in enumerate(("a", "b"))}


@pytest.mark.parametrize("method", ["siglip", "factor_cl", "factor_cl_supervised"])
def test_losses_with_parameters_of_their_own_on_eight_devices(method):
    """Value and gradient equal those of one device; the losses of the others have their tests."""
    chosen, keys = _method(method).loss, jax.random.split(jax.random.key(0), 3)
    own = chosen.init(keys[0], 8)
    arrays = [_by_name(jax.random.normal(key, (16, 2, 8))) for key in keys[1:]]
    labels = jnp.arange(16) % 10

    def loss(own, views, labels, gather):
        return chosen.value(own, views[0], Context(gather, views=views, labels=labels))[0]

    @partial(jax.pmap, axis_name="devices", in_axes=(None, 0, 0))
    def sharded(own, arrays, labels):
        gather = partial(jax.lax.all_gather, axis_name="devices", tiled=True)
        whole = lambda own: jax.lax.pmean(loss(own, arrays, labels, gather), "devices")
        return jax.lax.pmean(jax.value_and_grad(whole)(own), "devices")

    split = lambda leaf: leaf.reshape(8, 2, *leaf.shape[1:])
    found = jax.tree.map(lambda v: v[0], sharded(own, *jax.tree.map(split, (arrays, labels))))
    want = jax.jit(jax.value_and_grad(partial(loss, gather=no_gather)))(own, arrays, labels)
    chex.assert_trees_all_close(found, want, rtol=1e-4, atol=1e-5)


def test_views_are_named_by_what_they_see():
    assert view_names(2, ("a", "b"), False) == ["a", "b"]
    assert view_names(3, ("a", "b"), True) == ["a", "b", "joint"]
    assert view_names(7, ("a", "b", "c"), True) == [f"view{k}" for k in range(6)] + ["joint"]


def test_a_loss_of_your_own_trains_a_fusion():
    """By value: what is fused by name has the same program; names and views are as documented."""
    key, seen = jax.random.key(0), []

    def traced(method):
        _, task, study = _study(method, 2)
        params = jax.eval_shape(study.init_params, key)
        batch = jax.eval_shape(study.recipe.source, jax.eval_shape(task.init_constants, key), key)
        run = lambda *args: study.recipe.stages[0].objective(*args, key, no_gather)
        return str(jax.make_jaxpr(run)(params, batch)), study, params, batch

    assert traced(cross(temperature=0.1))[0] == traced("cross")[0]
    assert traced(together(comm(temperature=0.1)))[0] == traced("comm")[0]

    def value(params, z, context):
        seen.append((list(z), len(context.views), context.labels.shape))
        return jnp.mean((z["modality0"] - params["centre"]) ** 2), {}

    own = Loss(lambda key, dim: {"centre": jnp.zeros(dim)}, value)
    _, study, params, batch = traced(own)
    assert params["loss"]["centre"].shape == (4,)  # head_out
    assert seen[-1] == (["modality0", "modality1"], 2, (8,))
    assert jax.eval_shape(study.represent, params, batch["views"][0]).shape == (8, 16)
    with pytest.raises(InvalidInput, match="joint among them"):
        traced(comm())


def test_random_views_are_subsets_and_the_last_sees_all():
    masks = _method("inf_masking").masks(jax.random.key(0), 200, 3)
    assert masks.shape[0] == 200 and masks.shape[2] == 3 and masks.dtype == bool
    assert bool(masks[:, -1].all()) and bool(masks.any(2).all())
    shares = masks[:, :-1].mean((0, 1))  # each modality is in 4 of the 7 subsets
    np.testing.assert_allclose(shares, 4 / 7, atol=0.06)


def test_critics_of_upper_bounds_only_tighten_them():
    """FactorCL's encoder would gain by loose upper bounds: their critics must not see that."""
    own_key, first_key, second_key = jax.random.split(jax.random.key(0), 3)
    loss = _method("factor_cl").loss
    own = loss.init(own_key, 8)
    arrays = [jax.random.normal(key, (16, 2, 8)) for key in (first_key, second_key)]
    views = [_by_name(z) for z in arrays]
    value = lambda own: loss.value(own, views[0], Context(views=views))[0]
    grad = jax.jit(jax.grad(value))(own)
    place, score = Factors._fields.index("not_shared"), concatenated_critic(hidden=64).score
    pair = Pair(*(arrays[0][:, side] @ own["heads"][side, place] for side in range(2)))
    bound = lambda p: -infonce_bound(partial(score, p), pair)
    want = jax.jit(jax.grad(bound))(own["critics"].not_shared)
    chex.assert_trees_all_close(grad["critics"].not_shared, want, rtol=1e-4, atol=1e-6)


def test_bad_options():
    for call, told in (
        (lambda: _study("none"), "method"),
        (lambda: _study("comm", temperature=0.0), "temperature"),
        (lambda: _study("comm", temperature=float("inf")), "temperature: inf"),
        (lambda: _study("siglip", temperature=1e-3), "use 0.01 to 1e.04 where it is learned"),
        (lambda: _study("comm", batch_size=1), "batch_size"),
        (lambda: _study("comm", synergies="1"), "synergies"),
        (lambda: _study("comm", synergies="1-4"), "synergies"),
    ):
        with pytest.raises(InvalidInput, match=told):
            call()


def test_targets_and_synergies_by_name():
    factors = TriFactors(np.arange(3), np.ones((3, 3)), np.zeros((3, 3)), np.zeros((3, 2)))
    names = ["shared", "unique1", "unique2", "unique3", "synergy1", "synergy2"]
    assert list(targets_of(factors)) == names
    assert list(targets_of(factors._replace(synergy=np.zeros((3, 1)))))[-1] == "synergy"
    assert read_synergies("") is None
    assert read_synergies("1-2, 1-2-3") == [(0, 1), (0, 1, 2)]


def test_the_balancing_bias_makes_half_of_the_rows_synergistic():
    options = TriFactorOptions(**TINY)
    model, task = trifactor_task(options, 0.0)
    world = task.init_constants(jax.random.key(0))
    factors = model.sample(world, jax.random.key(1), 20_000, balancing_bias(10))
    assert abs(float(factors.synergy.mean()) - 0.5) < 0.015  # 4 standard errors


def _rows(n, key):
    """Factors, and features that tell the shape and the second texture, and nothing else."""
    keys = jax.random.split(key, 4)
    whole = lambda own, *shape: jax.random.randint(own, (n, *shape), 0, 3)
    synergy = jax.random.bernoulli(keys[3], 0.2, (n, 1)).astype(jnp.int32)
    factors = TriFactors(whole(keys[0]), whole(keys[1], 2), whole(keys[2], 2), synergy)
    told = jnp.concatenate(
        [jax.nn.one_hot(factors.shape, 3), jax.nn.one_hot(factors.texture[:, 1], 3)], 1
    )
    return factors, told + 0.05 * jax.random.normal(keys[3], told.shape)


def test_probes_find_what_is_there_and_nothing_else():
    rows = [_rows(400, jax.random.key(k)) for k in range(3)]
    figures = factor_figures(*zip(*rows, strict=True), 3, balanced=False)
    assert figures["shared", "accuracy"] == 1 and figures["unique2", "accuracy"] == 1
    assert abs(figures["unique1", "accuracy"] - 1 / 3) < 0.1
    assert abs(figures["synergy", "accuracy"] - 1 / 2) < 0.1
    only = factor_figures(*zip(*rows, strict=True), 3, balanced=True)
    assert list(only) == [("synergy", "accuracy_balanced")]


def test_subsets_are_read_from_the_modalities_they_name():
    """An embedding that copies the observations it may see: a texture is found in its own alone."""
    model, _ = trifactor_task(TriFactorOptions(classes=3, **TINY), 0.0)
    world = model.init(*jax.random.split(jax.random.key(0)))
    world = world._replace(inner=world.inner * 0.2)  # nearly linear

    def embed(observations, masks):
        seen = jnp.stack(observations, 1)
        return (seen[:, None] * masks[None, :, :, None]).reshape(len(seen), len(masks), -1)

    read = partial(subset_features, embed, fused=True)
    figures = subset_figures(model, world, read, jax.random.key(1), rows=900)
    assert {name for name, *_ in figures} == {"x1", "x2"}
    assert figures["x1", "unique1", "accuracy"] > 0.9 > 0.5 > figures["x1", "unique2", "accuracy"]
    assert figures["x2", "unique2", "accuracy"] > 0.9 > 0.5 > figures["x2", "unique1", "accuracy"]
    # Methods that don't fuse are read side by side: of one modality it is the same here.
    read = partial(subset_features, embed, fused=False)
    apart = subset_figures(model, world, read, jax.random.key(1), rows=900)
    assert apart["x2", "unique2", "accuracy"] > 0.9 > 0.5 > apart["x2", "unique1", "accuracy"]
    z = embed(observations := (jnp.ones((4, 2)), 2 * jnp.ones((4, 2))), jnp.eye(2, dtype=bool))
    found = read(observations, [[True, False], [True, True]])
    np.testing.assert_array_equal(found[0], [[1, 1, 0, 0, 0, 0, 0, 0]] * 4)
    np.testing.assert_array_equal(found[1], z.reshape(4, -1))

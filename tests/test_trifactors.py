"""Trifactors: which factors tell of which, by construction; mappings; views."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from mmjax.errors import InvalidInput
from mmjax.generative.trifactors import TriFactors, trifactor_model

N, ALPHA = 20_000, 1e-4


def _keys(seed=0):
    return jax.random.split(jax.random.key(seed), 4)


@cache
def _started(options=()):
    """A model, its world, and `bias -> factors`; compiled once."""
    model = trifactor_model(**dict(options))
    world_key, mapping_key, factor_key, _ = _keys()
    world = jax.jit(model.init)(world_key, mapping_key)
    return model, world, jax.jit(lambda bias: model.sample(world, factor_key, N, bias))


def _draw(bias, **options):
    model, world, sample = _started(tuple(options.items()))
    return model, world, jax.tree.map(np.asarray, sample(bias))


def _without_nuisance(n, **options):
    """A model without nuisances, its world, and some factors."""
    model, (_, world, _) = trifactor_model(nuisance_dim=0, **options), _started()
    world = world._replace(inner=world.inner[:, : 3 * world.codes.shape[-1]])
    rng = np.random.default_rng(0)
    shape, *rest = (rng.integers(0, 10, s) for s in [n, (n, 2), (n, 2)])
    return model, world, TriFactors(shape, *rest, np.zeros((n, 1), np.int32))


def _independent(a, b):
    table = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(table, (a, b), 1)
    return stats.chi2_contingency(table).pvalue > ALPHA


def _columns(factors):
    """Every factor by name."""
    out = {"shape": factors.shape}
    for name in ("texture", "colour"):
        out |= {f"{name}{k}": v for k, v in enumerate(getattr(factors, name).T)}
    return out


@pytest.mark.parametrize("bias", [0.0, 1.0])
@pytest.mark.parametrize("options", [{}, dict(modalities=3, classes=5)], ids=["two", "three"])
def test_every_factor_is_uniform(bias, options):
    model, _, factors = _draw(bias, **options)
    for values in _columns(factors).values():
        assert stats.chisquare(np.bincount(values, minlength=model.classes)).pvalue > ALPHA
        assert values.dtype == np.int32


def test_unbiased_factors_are_independent_and_none_tells_of_synergy():
    """Only a texture and a colour together do."""
    _, world, factors = _draw(0.0)
    columns = _columns(factors)
    names, synergy = list(columns), factors.synergy[:, 0]
    for i, name in enumerate(names):
        assert _independent(columns[name], synergy)
        for other in names[:i]:
            assert _independent(columns[name], columns[other])
    assert abs(synergy.mean() - 0.1) < 4 * (0.09 / N) ** 0.5
    assigned = np.asarray(world.mapping)[0][columns["texture0"]]
    np.testing.assert_array_equal(synergy, assigned == columns["colour1"])


def test_biased_pairs_respect_the_mapping_and_nothing_else_depends():
    _, world, factors = _draw(1.0)
    columns = _columns(factors)
    assert factors.synergy.all()
    np.testing.assert_array_equal(
        np.asarray(world.mapping)[0][columns["texture0"]], columns["colour1"]
    )
    for a, b in [("shape", "texture0"), ("texture0", "texture1"), ("colour0", "colour1")]:
        assert _independent(columns[a], columns[b])


def test_bias_is_the_share_of_rows_that_are_made_to_respect_it():
    synergy = _draw(0.5)[2].synergy
    want = 0.5 + 0.5 * 0.1
    assert abs(synergy.mean() - want) < 4 * (want * (1 - want) / N) ** 0.5


@pytest.mark.parametrize("bias", [0.0, 0.4])
def test_no_synergy_tells_of_another(bias):
    """Else a probe of one would be credited with the other, where half of the rows have each."""
    synergy = _draw(bias, modalities=3, classes=5, synergies=((0, 1), (0, 1, 2)))[2].synergy
    assert _independent(*synergy.T)


def test_synergy_of_three_is_in_no_two_of_them():
    """Biased: the colour follows from both textures and from neither of them."""
    model, world, factors = _draw(1.0, modalities=3, classes=5)
    texture, colour = factors.texture, factors.colour[:, 2]
    assert factors.synergy.shape == (N, 1) and factors.synergy.all()
    assert _independent(texture[:, 0], colour) and _independent(texture[:, 1], colour)
    both = (texture[:, 0] + texture[:, 1]) % model.classes
    np.testing.assert_array_equal(np.asarray(world.mapping)[0][both], colour)


def test_synergies_of_pairs_among_three():
    _, world, factors = _draw(1.0, modalities=3, classes=5, synergies=((0, 1), (1, 2)))
    assert factors.synergy.shape == (N, 2) and factors.synergy.all()
    for s, k in enumerate((0, 1)):
        assigned = np.asarray(world.mapping)[s][factors.texture[:, k]]
        np.testing.assert_array_equal(assigned, factors.colour[:, k + 1])
    assert _independent(factors.texture[:, 0], factors.colour[:, 2])


def test_the_mapping_is_its_own_key_s():
    a, b, c, d = _keys()
    init = jax.jit(trifactor_model(synergies=((0, 1), (1, 0))).init)
    one, two, three = init(a, b), init(c, b), init(a, d)
    np.testing.assert_array_equal(np.sort(one.mapping, 1), np.tile(np.arange(10), (2, 1)))
    np.testing.assert_array_equal(one.mapping, two.mapping)
    np.testing.assert_array_equal(one.codes, three.codes)
    assert np.any(one.mapping != three.mapping) and np.any(one.codes != two.codes)
    assert np.any(one.mapping[0] != one.mapping[1])


def test_observations_are_the_formula():
    model, world, factors = _without_nuisance(6)
    seen = jax.jit(model.observe)(world, factors, _keys()[3])
    wide = jax.tree.map(lambda v: np.asarray(v, np.float64), world)
    for k, x in enumerate(seen):
        for row in range(6):
            shown = (factors.shape[row], factors.texture[row, k], factors.colour[row, k])
            z = np.concatenate([wide.codes[k, i, code] for i, code in enumerate(shown)])
            want = np.tanh(z @ wide.inner[k]) @ wide.outer[k]
            np.testing.assert_allclose(x[row], want, rtol=1e-4, atol=1e-5)


def test_nuisances_differ_between_views_and_modalities():
    """Equal factors: what differs is nuisance."""
    model, world, _ = _started()
    twice = jax.tree.map(lambda v: np.repeat(v, 2, 0), _without_nuisance(1)[2])
    observe = jax.jit(model.observe)
    one, two = (observe(world, twice, key) for key in _keys(1)[:2])
    for a, b in zip(one, two, strict=True):
        assert np.all(a != b) and np.all(a[0] != a[1])
    again = observe(world, twice, _keys(1)[0])
    jax.tree.map(np.testing.assert_array_equal, one, again)


def test_a_view_adds_noise_and_masks():
    model, world, factors = _without_nuisance(2000, noise=0.3, masked=0.1)
    both = jax.jit(lambda a, b: (model.view(world, factors, a), model.observe(world, factors, b)))
    views, clean = both(*_keys()[2:])
    for seen, x in zip(views, clean, strict=True):
        seen, x = np.asarray(seen), np.asarray(x)
        count = seen.size
        assert abs((seen == 0).mean() - 0.1) < 4 * (0.09 / count) ** 0.5
        added = (seen - x)[seen != 0]
        assert abs(added.std() - 0.3) < 4 * 0.3 / (2 * added.size) ** 0.5
        assert abs(added.mean()) < 4 * 0.3 / added.size**0.5


def test_one_compilation_whatever_the_bias():
    (model, world, _), traced = _started(), []

    @jax.jit
    def run(key, bias):
        traced.append(1)
        factor_key, view_key = jax.random.split(key)
        factors = model.sample(world, factor_key, 4, bias)
        return factors, model.view(world, factors, view_key)

    for seed in range(3):
        factors, seen = run(jax.random.key(seed), seed / 2)
    assert len(traced) == 1 and factors.synergy.all()
    assert [x.shape for x in seen] == [(4, 64)] * 2 and seen[0].dtype == jnp.float32


BAD = [
    dict(modalities=1),
    dict(classes=1),
    dict(code_dim=0),
    dict(hidden=0),
    dict(features=0),
    dict(nuisance_dim=-1),
    dict(noise=-0.1),
    dict(masked=1.0),
    dict(synergies=()),
    dict(synergies=((0,),)),
    dict(synergies=((0, 2),)),
    dict(synergies=((0, 0),)),
    dict(modalities=3, synergies=((0, 2), (1, 2))),
]


@pytest.mark.parametrize("options", BAD, ids=str)
def test_bad_options(options):
    with pytest.raises(InvalidInput):
        trifactor_model(**options)

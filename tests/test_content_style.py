"""The content/style model: the law of its latents; and the theorem, on a small world."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from experiments.content_style import (
    CHANGE_PROBS,
    PRESETS,
    Config,
    settings,
)
from mmjax.errors import InvalidInput
from mmjax.evaluate import linear_r2
from mmjax.generative import DEPENDENCES, content_style_model, joined, permute_content
from mmjax.run import seed_keys
from mmjax.studies import ContentStyleOptions, make_content_style_study
from mmjax.tables.content_style import PURPOSES, judge, names_of
from mmjax.train import train_one

N = 5_000
DIMS = dict(content_dim=3, style_dim=3, private_dim=3)


def _world(seed=0, n=N, **options):
    model = content_style_model(**{**DIMS, **options})
    world_key, data_key = jax.random.split(jax.random.key(seed))
    mechanisms = model.init(world_key)
    return mechanisms, jax.jit(model.sample, static_argnums=2)(mechanisms, data_key, n)


@pytest.mark.parametrize("change_prob", CHANGE_PROBS)
def test_content_is_shared_and_style_changes_as_often_as_asked(change_prob):
    _, (x, t) = _world(change_prob=change_prob)
    np.testing.assert_array_equal(x.content, t.content)
    changed = np.asarray(x.style != t.style)
    share = stats.binomtest(int(changed.sum()), changed.size, change_prob).pvalue
    assert share > 1e-4
    # Coordinate by coordinate, not row by row.
    together = np.mean(changed[:, 0] & changed[:, 1])
    np.testing.assert_allclose(together, change_prob**2, atol=0.02)
    if change_prob:
        changes = np.asarray(t.style - x.style)[changed]
        assert stats.kstest(changes, "norm").pvalue > 1e-4


def _covariance(v):
    return np.cov(np.asarray(v, np.float64), rowvar=False)


@pytest.mark.parametrize("dependence", DEPENDENCES)
def test_covariances_are_the_mechanisms(dependence):
    mechanisms, (x, t) = _world(dependence=dependence)
    own = [mechanisms.content, *mechanisms.private]
    for values, factor in zip((x.content, x.private, t.private), own, strict=True):
        want = np.asarray(factor @ factor.T, np.float64)
        np.testing.assert_allclose(_covariance(values), want, atol=0.05 * max(1, want.max()))
    changes = _covariance(t.style - x.style)
    want = np.asarray(mechanisms.change[0] @ mechanisms.change[0].T, np.float64)
    np.testing.assert_allclose(changes, want, atol=0.05 * max(1, want.max()))
    identity = np.allclose(mechanisms.content, np.eye(3))
    assert identity == (dependence in ("independent", "causal"))


@pytest.mark.parametrize("dependence", DEPENDENCES)
def test_style_is_caused_by_content_where_asked(dependence):
    """Least squares of s on (c, 1) finds B and a; what is left has the covariance of s."""
    mechanisms, (x, _) = _world(dependence=dependence)
    c, s = np.asarray(x.content, np.float64), np.asarray(x.style, np.float64)
    design = np.column_stack([c, np.ones(N)])
    found, *_ = np.linalg.lstsq(design, s, rcond=None)
    np.testing.assert_allclose(found[:3].T, mechanisms.slope[0], atol=0.15)
    np.testing.assert_allclose(found[3], mechanisms.offset[0], atol=0.15)
    rest = _covariance(s - design @ found)
    want = np.asarray(mechanisms.style[0] @ mechanisms.style[0].T)
    np.testing.assert_allclose(rest, want, atol=0.06 * max(1, want.max()))
    assert np.any(mechanisms.slope) == (dependence in ("causal", "both"))


def test_every_block_has_its_own_wishart_draw():
    model = content_style_model(**DIMS, dependence="statistical", modalities=3)
    mechanisms = model.init(jax.random.key(0))
    stacks = (mechanisms.content[None], mechanisms.style, mechanisms.change, mechanisms.private)
    factors = np.concatenate(stacks)
    assert len(factors) == 1 + 3 + 3 + 3
    for i in range(len(factors)):
        for j in range(i):
            assert np.max(np.abs(factors[i] - factors[j])) > 0.1


def test_wishart_has_its_mean_and_variance():
    """Of Wishart(d, I): E S_ij = d 1{i = j}, Var S_ij = d (1 + 1{i = j})."""
    model = content_style_model(**DIMS, dependence="statistical")
    factors = jax.vmap(lambda k: model.init(k).content)(jax.random.split(jax.random.key(1), 4000))
    draws = np.asarray(factors @ factors.swapaxes(1, 2))
    np.testing.assert_allclose(draws.mean(0), 3 * np.eye(3), atol=0.25)
    np.testing.assert_allclose(draws.var(0), 3 * (1 + np.eye(3)), atol=0.9)


def test_three_modalities_share_content_and_pairs_share_style():
    _, seen = _world(modalities=3, change_prob=0.0, style_dim=2, n=50)
    first, second, third = seen
    for blocks in seen:
        np.testing.assert_array_equal(blocks.content, first.content)
        assert blocks.style.shape == (50, 4) and joined(blocks).shape == (50, 3 + 4 + 3)
    # A modality's style blocks are in the order of its partners.
    np.testing.assert_array_equal(first.style[:, :2], second.style[:, :2])
    np.testing.assert_array_equal(first.style[:, 2:], third.style[:, :2])
    np.testing.assert_array_equal(second.style[:, 2:], third.style[:, 2:])
    assert np.min(np.abs(first.style[:, :2] - first.style[:, 2:])) > 0


def test_permuted_content_is_independent_of_style_and_nothing_else_changes():
    _, latents = _world(dependence="causal")
    permuted = permute_content(latents, jax.random.key(5))
    assert abs(float(linear_r2(permuted[0].content, permuted[0].style))) < 0.01
    assert float(linear_r2(latents[0].content, latents[0].style)) > 0.2
    np.testing.assert_array_equal(permuted[0].content, permuted[1].content)
    np.testing.assert_array_equal(np.sort(permuted[0].content, 0), np.sort(latents[0].content, 0))
    for before, after in zip(latents, permuted, strict=True):
        np.testing.assert_array_equal(before.style, after.style)
        np.testing.assert_array_equal(before.private, after.private)


@pytest.mark.parametrize(
    "options",
    [
        dict(content_dim=0),
        dict(style_dim=-1),
        dict(private_dim=-1),
        dict(change_prob=1.5),
        dict(dependence="none"),
        dict(modalities=1),
    ],
)
def test_out_of_range(options):
    with pytest.raises(InvalidInput, match=next(iter(options))):
        content_style_model(**{**DIMS, **options})


SMALL = dict(
    content_dim=1,
    style_dim=1,
    private_dim=1,
    hidden=(32, 32),
    batch_size=128,
    steps=300,
    warmup=20,
    mixing_candidates=100,
)


@cache
def _trained(**options):
    study = make_content_style_study(ContentStyleOptions(**{**SMALL, **options}))
    env_key, train_key, look_key = jax.random.split(jax.random.key(0), 3)
    constants = jax.jit(study.init_constants)(env_key)
    params = train_one(study.recipe, study.init_params, constants, train_key)
    return study, params, constants, look_key


SETUPS = {
    "in batch": {},
    "official loss": dict(loss="official"),
    "official loss of the code": dict(loss="official", negatives="code"),
    "three modalities": dict(modalities=3),
    "views": dict(shared_mixing=True, shared_encoder=True, private_dim=0),
}


_QUICK = "in batch"


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(options, id=name, marks=[] if name == _QUICK else [pytest.mark.slow])
        for name, options in SETUPS.items()
    ],
)
def test_content_is_found_and_the_rest_dropped(options):
    study, params, constants, key = _trained(**options)
    seen = study.look(params, constants, key, 4000, False)
    assert len(seen.embedded) == study.options.modalities
    for blocks, embedded in zip(seen.latents, seen.embedded, strict=True):
        assert float(linear_r2(embedded, blocks.content)) > 0.9
        for rest in (blocks.style, blocks.private):
            assert rest.shape[1] == 0 or float(linear_r2(embedded, rest)) < 0.1


@pytest.mark.slow
def test_style_that_never_changes_is_content():
    """Change probability 0: an embedding that has room for both holds style beside content."""
    study, params, constants, key = _trained(change_prob=0.0, embedding_dim=2)
    seen = study.look(params, constants, key, 4000, False)
    for blocks, embedded in zip(seen.latents, seen.embedded, strict=True):
        assert float(linear_r2(embedded, blocks.style)) > 0.8
        assert float(linear_r2(embedded, blocks.private)) < 0.1


def test_views_share_mixing_whitening_and_encoder():
    study = make_content_style_study(ContentStyleOptions(**SMALL | SETUPS["views"]))
    constants = study.init_constants(jax.random.key(0))
    for shared in (constants.mixings, constants.whitenings):
        np.testing.assert_array_equal(*shared)
    assert len(study.init_params(jax.random.key(1))["encoders"]) == 1
    apart = make_content_style_study(ContentStyleOptions(**SMALL)).init_constants(jax.random.key(0))
    assert np.any(apart.mixings[0] != apart.mixings[1])


def test_permuted_look_embeds_the_permuted_content():
    study, params, constants, key = _trained()
    seen = study.look(params, constants, key, 4000, True)
    assert float(linear_r2(seen.embedded[0], seen.latents[0].content)) > 0.9
    assert abs(float(linear_r2(seen.embedded[0], seen.original_content))) < 0.05


def test_the_papers_table_and_names():
    cells = settings(Config(table="cells"))
    assert len(cells) == 20
    assert {"independent/1.0", "both/0.25", "causal/0.0"} <= set(cells)
    dims = settings(Config(table="dims", embedding_dims=(1, 2, 3)))
    assert list(dims) == ["independent/1.0/dim=1", "independent/1.0", "independent/1.0/dim=3"]
    (official,) = settings(Config(**PRESETS["official"])).values()
    o = official.options
    assert o.hidden == (150, 750, 750, 750, 750, 150) and o.embedding_dim == 5
    assert (o.batch_size, o.steps, o.learning_rate, o.clip_norm) == (6144, 300_000, 1e-4, 2.0)
    assert names_of(4) == ("x", "t", "x3", "x4")


def test_judged_blocks():
    config = Config(**SMALL, eval_samples=256, kernel_samples=64)
    (study,) = settings(config).values()
    keys = {k: v[0] for k, v in seed_keys(config, PURPOSES).items()}
    constants, params = (
        study.init_constants(keys["constants"]),
        study.init_params(jax.random.key(3)),
    )
    figures = judge(study, params, constants, keys, config)
    blocks = ("content", "style", "private")
    plain = {(s, b, f"r2_{m}") for s in "xt" for b in blocks for m in ("linear", "kernel")}
    raw = {(s, b, "r2_linear_raw") for s in "xt" for b in blocks}
    permuted = {
        (s, b, f"r2_{m}_permuted")
        for s in "xt"
        for b in (*blocks, "original_content")
        for m in ("linear", "kernel")
    }
    assert set(figures) == plain | raw | permuted
    assert all(np.isfinite(v) for v in figures.values())


def test_embedding_dim_is_a_number_or_content():
    with pytest.raises(InvalidInput, match="embedding_dim"):
        make_content_style_study(ContentStyleOptions(embedding_dim="many"))
    study = make_content_style_study(ContentStyleOptions(embedding_dim="4", mixing_candidates=9))
    assert study.options.embedding_dim == 4
    params = jax.eval_shape(study.init_params, jax.random.key(0))
    assert jnp.shape(params["encoders"][0]["Dense_3"]["bias"]) == (4,)

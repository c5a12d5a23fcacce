"""Every study minimises the loss that it is given, by name or by value."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mmjax.config import moot
from mmjax.data import paired, side_of
from mmjax.errors import InvalidInput
from mmjax.generative.scenes import scene_model
from mmjax.losses import Loss, cross, no_gather
from mmjax.run import Fit, MetricsLog, Run, fit_seeds
from mmjax.studies import (
    Assumptions,
    ContentStyleOptions,
    ImageTextOptions,
    PairOptions,
    make_content_style_study,
    make_image_text_study,
    make_pair_study,
    make_study,
    streamed_source,
    train_study,
)
from mmjax.studies.aligned import ALIGNING, aligning_loss
from mmjax.studies.fused import make_fused_study
from mmjax.studies.trifactors import TriFactorOptions, trifactor_task
from mmjax.tables.needs import NEEDS
from mmjax.train import Aside, Recipe, Stage
from tests.test_check_loss import barlow_twins

SAVES = dict(chunk_steps=1, save_every=1)
KEY = jax.random.key(0)
BARLOW = Loss(lambda key, dim: {}, barlow_twins)


def _partial_causal(loss=None, named="info_nce", **options):
    small = dict(mixing_candidates=10, hidden=(4,), batch_size=8, steps=3, pre_steps=1, warmup=1)
    study = make_study(Assumptions(**small | options, loss=named), loss=loss, **SAVES)
    return study, jax.eval_shape(study.init_constants, KEY)


def _content_style(loss=None, named="info_nce", **options):
    small = dict(mixing_candidates=10, hidden=(4,), batch_size=8, modalities=3)
    study = make_content_style_study(
        ContentStyleOptions(**small | options, loss=named), loss=loss, **SAVES
    )
    return study, jax.eval_shape(study.init_constants, KEY)


def _paired(loss=None, named="info_nce", **options):
    rng, test = np.random.default_rng(0), np.arange(12) >= 9
    values = rng.normal(size=(2, 12, 3)).astype(np.float32)
    sides = [side_of(name, v, test) for name, v in zip("xt", values, strict=True)]
    data = paired(*sides, np.arange(12), "drawn")
    options = PairOptions(**dict(batch_size=4, hidden=(4,)) | options, loss=named)
    study = make_pair_study(data, options, 3, loss=loss, **SAVES)
    return study, study.constants


def _image_text(loss=None, named="info_nce", **options):
    small = dict(image_encoder="narrow", text_width=8, hidden_size=4, batch_size=4)
    options = ImageTextOptions(**small | options, loss=named)
    source = streamed_source(scene_model(), 32, 4)
    study = make_image_text_study(source, options, 3, loss=loss, **SAVES)
    return study, study.constants


STUDIES = {
    "partial_causal": _partial_causal,
    "content_style": _content_style,
    "paired": _paired,
    "image_text": _image_text,
}
studies = pytest.mark.parametrize("name", STUDIES)


def _program(study, constants):
    """The objective's program, and shapes of the parameters."""
    params = jax.eval_shape(study.init_params, KEY)
    fed = () if study.recipe.feed is None else (next(study.recipe.feed(0, KEY)),)
    batch = jax.eval_shape(study.recipe.source, constants, KEY, *fed)
    run = lambda *args: study.recipe.stages[-1].objective(*args, KEY, no_gather)
    return str(jax.make_jaxpr(run)(params, batch)), params


@studies
def test_names_are_losses_and_their_parameters_are_trained(name):
    """Traced, not run."""
    programs = {}
    for loss in ALIGNING:
        programs[loss], params = _program(*STUDIES[name](None, loss))
        assert set(params["loss"]) >= ({"bias", "log_temperature"} if loss == "siglip" else set())
    # info_nce of cosines is cross.
    same = programs["info_nce"] == programs["cross"]
    assert same == (name != "content_style")
    assert len(set(programs.values())) == len(ALIGNING) - same
    with pytest.raises(InvalidInput, match="loss: 'nt_xent'"):
        STUDIES[name](None, "nt_xent")


@studies
def test_a_loss_by_value_takes_the_place_of_the_named_one(name):
    kinds, seen = {"image_text": ["image", "text"], "content_style": ["x1", "x2", "x3"]}, []

    def value(params, z, context):
        seen.append(list(z))
        first, second, *_ = z.values()
        return jnp.mean(params["scale"] * (first - second) ** 2), {}

    own = Loss(lambda key, dim: {"scale": jax.random.uniform(key, (dim,))}, value)
    _, params = _program(*STUDIES[name](own))
    assert seen[-1] == kinds.get(name, ["x", "t"])
    assert params["loss"]["scale"].shape == (2 if name == "content_style" else 3,)


def test_barlow_twins_by_hand_trains_in_a_study_of_each_kind():
    """By one argument: a fusion, two towers, the partial causal model."""
    study, _ = _partial_causal(BARLOW)
    lines = []
    params, constants = train_study(
        study, KEY, on_chunk=lambda step, loss: lines.append(float(loss))
    )
    assert np.isfinite(lines).all() and len(lines) == 3
    trained, oracle = jax.jit(study.losses, static_argnums=3)(params, constants, KEY, 1)
    assert np.isfinite(trained) and oracle < trained
    assert "sub" in _program(*_paired(BARLOW))[0]
    options = TriFactorOptions(hidden=(4,), tokens=2, width=8, heads=2, batch_size=8)
    task = trifactor_task(options, 1.0)[1]
    fused = make_fused_study(options, task, BARLOW, **SAVES)
    _program(fused, jax.eval_shape(task.init_constants, KEY))


def test_a_loss_by_name_is_the_loss_by_value():
    named = _program(*_paired(temperature=0.3))[0]
    assert named == _program(*_paired(cross(temperature=0.3)))[0]
    assert named != _program(*_paired(cross(temperature=0.2)))[0]


def test_flags_that_a_loss_makes_moot_are_told():
    given = ("similarity", "p", "learn_temperature", "negatives")
    needs = NEEDS["image_text"]
    moot_with = lambda **o: {
        line.split()[1].strip("-") for line in moot(ImageTextOptions(**o), given, needs)
    }
    assert moot_with() == {"p"}
    assert moot_with(similarity="lp") == set()
    assert moot_with(loss="cross", similarity="lp") == {"similarity", "p", "negatives"}
    assert moot_with(loss="siglip") == set(given)
    official = moot(ContentStyleOptions(loss="official"), given, NEEDS["content_style"])
    assert len(official) == 1 and "--p " in official[0]


def test_in_batch_is_info_nces_older_name():
    names = {}
    for loss in ("in_batch", "info_nce"):
        study, constants = _content_style(None, loss)
        names[loss] = _program(study, constants)[0]
        assert study.options.loss == "info_nce"
    assert names["in_batch"] == names["info_nce"]
    with pytest.raises(InvalidInput, match="loss: 'clip'"):
        aligning_loss(dataclasses.replace(PairOptions(), loss="clip"))


def test_what_a_loss_tells_stands_in_the_log_of_every_seed(tmp_path):
    def objective(params, batch, key, gather):
        loss = jnp.sum((params - batch) ** 2)
        return loss, Aside(metrics={"distance": jnp.sqrt(loss)})

    recipe = Recipe(lambda constants, key: constants, [Stage(objective, 4)], optax.sgd(0.1), 2, 4)
    run, log = Run("some", str(tmp_path), lambda: None), MetricsLog(str(tmp_path))
    fit_seeds(
        run,
        "row",
        recipe,
        lambda key: jnp.zeros(3),
        constants=jnp.array([[1.0, 0, 0], [0, 2.0, 0]]),
        keys=jax.random.split(KEY, 2),
        seeds=(7, 8),
        fit=Fit("single", 2),
        log=log,
    )
    log.close()
    found = {(int(r[2]), int(r[3])): float(r[5]) for r in log.rows() if r[4] == "distance"}
    # The mean of two steps; every step leaves 0.8 of the distance.
    want = {(7, 2): 0.9, (8, 2): 1.8, (7, 4): 0.576, (8, 4): 1.152}
    assert found == pytest.approx(want, abs=1e-5)
    assert any("tensorboard" in str(path) for path in tmp_path.rglob("events.out.tfevents.*"))

"""The image/text study: sources, factors, what probes tell, and a short run."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import image_text
from mmjax.data import caption, scene_vocabulary
from mmjax.errors import InvalidInput
from mmjax.generative import scene_model
from mmjax.run import launch, read_results
from mmjax.studies import (
    SHARED,
    ImageTextOptions,
    content_features,
    disentanglement_figures,
    embedded,
    factor_figures,
    factors_of,
    held_source,
    make_image_text_study,
    rendered_scenes,
    streamed_source,
)
from mmjax.studies.image_text import DISCRETE
from mmjax.train import train_one

SMALL = dict(image_encoder="convnet", text_width=16, batch_size=32, steps=4, warmup=1)
WORDS = len(scene_vocabulary().words)


@pytest.fixture(scope="module")
def scenes():
    return rendered_scenes(scene_model(), jax.random.key(0), 300, 32)


def test_rendered_scenes_are_a_function_of_the_key(scenes):
    again = rendered_scenes(scene_model(), jax.random.key(0), 300, 32)
    np.testing.assert_array_equal(scenes.images, again.images)
    assert scenes.images.shape == (300, 32, 32, 3) and scenes.images.dtype == np.uint8
    assert scenes.texts == caption(scenes.factors.text)
    other = rendered_scenes(scene_model(), jax.random.key(1), 300, 32)
    assert np.any(other.images != scenes.images)


def test_both_sources_yield_images_and_tokens_that_match(scenes):
    held = held_source(scenes, WORDS, 16)
    streamed = streamed_source(scene_model(), 32, 16)
    for source in (held, streamed):
        pair = source.observe(source.draw(source.constants, jax.random.key(1))[0])
        assert pair.x.shape == (16, 32, 32, 3) and pair.x.dtype == jnp.uint8
        assert pair.t.shape == (16, source.length) and pair.t.dtype == jnp.int32
        assert int(pair.t.max()) < source.vocabulary_size == WORDS
    drawn, _ = held.draw(held.constants, jax.random.key(1))
    for image, tokens in zip(drawn.x, drawn.t, strict=True):
        rows = np.flatnonzero((scenes.images == np.asarray(image)).all((1, 2, 3)))
        assert any((scenes.tokens[row] == np.asarray(tokens)).all() for row in rows)


@pytest.mark.slow  # most of a minute of compilation each; the notebook trains, too
@pytest.mark.parametrize("encoder", ["convnet", "transformer"])
def test_a_short_training_changes_weights_and_statistics(encoder, scenes):
    source = held_source(scenes, WORDS, 32)
    options = ImageTextOptions(**{**SMALL, "text_encoder": encoder})
    study = make_image_text_study(source, options, 3, chunk_steps=2, save_every=2)
    before = study.init_params(jax.random.split(jax.random.key(0))[0])
    after = train_one(study.recipe, study.init_params, study.constants, jax.random.key(0))
    for part in ("encoders", "statistics"):
        leaves = zip(jax.tree.leaves(before[part]), jax.tree.leaves(after[part]), strict=True)
        assert all(np.any(np.asarray(a) != np.asarray(b)) for a, b in leaves), part
    seen = embedded(study, after, scenes)
    assert seen.x.shape == seen.t.shape == (300, 3)
    np.testing.assert_allclose(np.linalg.norm(seen.x, axis=1), 1, rtol=1e-5)
    # Evaluation doesn't depend on what else is in the batch.
    part = jax.tree.map(lambda v: v[:7], scenes._replace(texts=None))
    np.testing.assert_allclose(embedded(study, after, part).x, seen.x[:7], atol=1e-4)


def test_factors_are_those_that_vary_and_codes_agree_between_splits():
    draw = scene_model().sample
    fit, score = (jax.device_get(draw(jax.random.key(k), n)) for k, n in ((0, 500), (1, 40)))
    factors, other = factors_of(fit, score)
    assert "object_zpos" not in factors and len(factors) == 12
    assert set(factors) == set(other) and set(SHARED) < set(factors)
    for name in DISCRETE:
        assert factors[name].dtype == np.int32 and factors[name].min() == 0
    names = lambda pairs: np.asarray(pairs.text.object_color_index)
    code_of = dict(zip(names(fit), factors["object_color_index"], strict=True))
    for name, code in zip(names(score), other["object_color_index"], strict=True):
        assert code_of.get(name, code) == code


def test_content_tells_itself_and_not_what_is_private():
    draw = jax.jit(scene_model().sample, static_argnums=1)
    fit, score = (jax.device_get(draw(jax.random.key(k), 1500)) for k in (0, 1))
    told = factor_figures(
        content_features(fit),
        content_features(score),
        *factors_of(fit, score),
        jax.random.key(2),
        kernel_samples=400,
        probe_steps=200,
    )
    for name in ("object_shape", "object_xpos", "object_ypos"):
        assert told[name, "accuracy"] == 1
    assert told["object_color", "r2_linear"] > 0.999
    for name in ("background_color", "spotlight_pos", "object_alpharot"):
        assert abs(told[name, "r2_linear"]) < 0.05 and told[name, "r2_kernel"] < 0.05
    assert abs(told["text_phrasing", "accuracy"] - 0.2) < 0.05


def test_disentanglement_is_high_for_the_factors_and_low_for_noise():
    pairs = jax.device_get(scene_model().sample(jax.random.key(0), 2000))
    (factors,) = factors_of(pairs)
    own = jnp.stack([jnp.asarray(factors[name], jnp.float32) for name in SHARED], axis=1)
    noise = jax.random.normal(jax.random.key(1), own.shape)
    good, bad = (disentanglement_figures(v, factors, seed=0) for v in (-own[:, ::-1], noise))
    assert good["mcc"] > 0.99 > 0.1 > bad["mcc"]
    assert good["dci_disentanglement"] > 0.8 and good["mig"] > 0.8
    assert bad["mig"] < 0.1 and bad["sap"] < 0.1


def test_a_wrong_resolution_is_told():
    with pytest.raises(InvalidInput, match="resolution"):
        make_image_text_study(
            streamed_source(scene_model(), 33, 8),
            ImageTextOptions(),
            3,
            chunk_steps=1,
            save_every=1,
        )


@pytest.mark.slow  # a minute and a half, nearly all of it compilation; the notebook is run
def test_run_writes_tables_and_figures(tmp_path):
    argv = (
        "--steps=2 --warmup=1 --chunk_steps=1 --batch_size=16 --rendered=64 --eval_pairs=128 "
        "--kernel_samples=32 --resolution=32 --encoding_sizes=2,3 --seeds=1 --text_width=16 "
        "--parallel=single --probe_steps=20"
    ).split()

    def run(*more):
        return launch(
            image_text.main,
            image_text.Config,
            image_text.PRESETS,
            experiment="image_text",
            doc=image_text.__doc__,
            argv=["image_text", *argv, f"--workdir={tmp_path}", *more],
        )

    assert run() == 0
    rows = read_results(str(tmp_path / "results.csv"))
    assert {r.setting for r in rows} == {"content", "size=2", "size=3"}
    told = {(r.modality, r.target) for r in rows if r.setting == "size=2"}
    assert {(s, f) for s in "xt" for f in (*SHARED, "background_color", "text_phrasing")} < told
    figures = {p.stem for p in (tmp_path / "figures").glob("*.png")}
    of_sizes = {"neighbours_size=2", "neighbours_size=3"}
    assert figures == {"samples", "sheet", "factors", "losses"} | of_sizes
    assert (tmp_path / "vocabulary.json").exists()
    before = (tmp_path / "results.csv").read_bytes()
    assert run() == 0  # finished: trains nothing
    assert (tmp_path / "results.csv").read_bytes() == before
    assert run("--resolution=64") == 2

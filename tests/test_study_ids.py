"""The ids of the data arrive in the loss of every study that draws rows: what is there twice is no
negative of itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.interpreters import partial_eval

from mmjax.data import (
    caption,
    caption_ids,
    load_multimodal,
    paired,
    scene_vocabulary,
    side_of,
)
from mmjax.data.dataset import Dataset
from mmjax.encoders import Modality as Tokens
from mmjax.encoders import as_is
from mmjax.generative import scene_model
from mmjax.losses import no_gather
from mmjax.studies import (
    ImageTextOptions,
    PairOptions,
    held_source,
    make_image_text_study,
    make_pair_study,
    streamed_source,
)
from mmjax.studies.fused import make_fused_study
from mmjax.studies.fusing_methods import METHODS
from mmjax.studies.multimodal import multimodal_task
from mmjax.studies.recorded import MultimodalOptions, Recorded
from mmjax.studies.scene_data import SceneData

SAVES = dict(chunk_steps=1, save_every=1)
WORDS = len(scene_vocabulary().words)
AS_IS = Recorded(Tokens(as_is()), lambda key, seen: seen)
TINY = dict(tokens=2, width=8, heads=2, head_hidden=8, head_out=4, batch_size=6, hidden=(4,))
N = 12


def _values(n=N):
    """Rows of x repeat by threes, those of t by fours."""
    x, t = (np.repeat(np.arange(n // k), k) for k in (3, 4))
    return np.stack([x, 1 + x], 1).astype(np.float32), np.stack([t, 2 - t], 1).astype(np.float32)


def _fused_task(ids=None):
    x, t = _values()
    data = Dataset.from_arrays(
        x=np.tile(x, (2, 1)),
        t=np.tile(t, (2, 1)),
        labels={"label": np.tile(np.arange(N) % 3, 2)},
        split=np.repeat(["train", "test"], N),
    )
    data = data if ids is None else data.also_by(np.tile(ids, 2))
    return multimodal_task(data, dict.fromkeys(("x", "t"), AS_IS), label="label")


def _fused(method):
    options = MultimodalOptions(**TINY)
    return make_fused_study(options, _fused_task(), method, **SAVES), _fused_task().init_constants(
        None
    )


def _paired():
    x, t = _values()
    test = np.arange(N) >= 9
    data = paired(side_of("x", x, test), side_of("t", t, test), np.arange(N), "twice")
    study = make_pair_study(data, PairOptions(batch_size=6, hidden=(4,)), 2, **SAVES)
    return study, study.constants


def _image_text(source, negatives):
    options = ImageTextOptions(batch_size=6, text_width=8, negatives=negatives)
    study = make_image_text_study(source, options, 2, **SAVES)
    return study, study.constants


STUDIES = {
    "paired": _paired,
    "rendered": lambda: _image_text(streamed_source(scene_model(), 32, 6), "across"),
    "rendered, both": lambda: _image_text(streamed_source(scene_model(), 32, 6), "both"),
    **{name: lambda name=name: _fused(name) for name in METHODS},
}


@pytest.mark.parametrize("name", STUDIES)
def test_the_loss_depends_on_the_ids_that_the_source_gives(name):
    """Traced, not run: of the batch's ids something is left in the program of the loss alone."""
    study, constants = STUDIES[name]()
    key = jax.random.key(0)
    params = jax.eval_shape(study.init_params, key)

    fed = () if study.recipe.feed is None else (next(study.recipe.feed(0, key)),)

    def loss(params, ids):
        batch = study.recipe.source(constants, key, *fed)
        assert "ids" in batch
        return study.recipe.stages[0].objective(params, dict(batch, ids=ids), key, no_gather)[0]

    ids = jax.eval_shape(lambda: study.recipe.source(constants, key, *fed))["ids"]
    assert ids.ndim == 2 and ids.dtype == jnp.int32
    traced = jax.make_jaxpr(loss)(params, ids)
    _, used = partial_eval.dce_jaxpr(traced.jaxpr, [True])
    assert used[-1]


def _scenes():
    rng = np.random.default_rng(0)
    images, tokens = rng.integers(0, 255, (6, 8, 8, 3)), rng.integers(0, 9, (6, 5))
    rows = np.array([0, 1, 2, 2, 3, 4, 4, 5])  # a pair that is there twice
    tokens = tokens[rows]
    tokens[7] = tokens[0]  # and a caption of two images
    return SceneData(images[rows].astype(np.uint8), tokens.astype(np.int32), [], None)


def test_images_and_captions_that_repeat_have_one_id():
    scenes = _scenes()
    source = held_source(scenes, WORDS, 64)
    rows, ids = source.draw(source.constants, jax.random.key(1))
    for column, values in enumerate((rows.x, rows.t)):
        flat = np.asarray(values).reshape(64, -1)
        same = (flat[:, None] == flat[None]).all(-1)
        own = np.asarray(ids[:, column])
        np.testing.assert_array_equal(own[:, None] == own, same)
    assert not np.array_equal(*np.asarray(ids).T)


def test_captions_of_fresh_scenes_are_told_by_their_ids():
    factors = scene_model().sample(jax.random.key(0), 300).text
    few = factors._replace(
        object_color_index=factors.object_color_index % 3, text_phrasing=factors.text_phrasing % 2
    )
    own, texts = np.asarray(caption_ids(few)), np.array(caption(few))
    np.testing.assert_array_equal(own[:, None] == own, texts[:, None] == texts)
    assert len(set(texts)) < 300
    source = streamed_source(scene_model(), 32, 300)
    drawn, ids = source.draw(source.constants, jax.random.key(0))
    np.testing.assert_array_equal(ids[:, 0], caption_ids(drawn.text))


def test_rows_of_a_data_set_that_repeat_have_one_id():
    task, key = _fused_task(), jax.random.key(0)
    fed = next(task.feed(50, 1)(0, key))
    batch = jax.jit(lambda key: task.source(task.init_constants(None), key, 50, fed))(key)
    ids, values = np.asarray(batch["ids"]), batch["values"]
    for own, name in zip(ids.T, ("x", "t"), strict=True):
        value = np.asarray(values[name]["values"])[:, 0]
        np.testing.assert_array_equal(own[:, None] == own, value[:, None] == value)


def test_names_of_rows_are_ids_too():
    names = np.array([f"film {k // 2}" for k in range(N)])
    ids = np.asarray(_fused_task(names).init_constants(None)["ids"][0])
    assert ids.shape == (N, 3)
    np.testing.assert_array_equal(ids[:, 2], np.arange(N) // 2)


def test_a_drawn_test_split_keeps_rows_of_one_id_together(tmp_path):
    rng, path = np.random.default_rng(0), str(tmp_path / "five.npz")
    image = rng.permutation(np.repeat(np.arange(20), 5))
    named = image == 7
    np.savez(path, a=rng.normal(size=(100, 3)), image=image * 2**40, val=named)
    for flags in ({}, {"is_validation": "val"}):
        data = load_multimodal(path, ["a"], ids="image", **flags)
        train, test = (data.part(name).ids[:, -1] for name in ("train", "test"))
        assert not set(train) & set(test)
        assert len(test) == pytest.approx(0.2 * (100 - 5 * bool(flags)), abs=5)


def test_a_pair_knows_both_ids_of_its_rows():
    study, constants = _paired()
    key = jax.random.key(0)
    batch = jax.jit(study.recipe.source)(constants, key, next(study.recipe.feed(0, key)))
    for own, name in zip(np.asarray(batch["ids"]).T, ("x", "t"), strict=True):
        value = np.asarray(batch["values"][name]["values"])[:, 0]
        np.testing.assert_array_equal(own[:, None] == own, value[:, None] == value)

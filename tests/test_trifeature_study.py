"""Fusing Trifeature's images: what training sees, what probes are tested on."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.data import fixed_pairs
from mmjax.encoders import image_maps
from mmjax.errors import InvalidInput
from mmjax.losses import no_gather
from mmjax.studies.fused import make_fused_study
from mmjax.studies.trifeature import (
    TrifeatureOptions,
    check_options,
    raw_pixels,
    trifeature_data,
    trifeature_figures,
    trifeature_task,
)

TINY = dict(resolution=32, widths=(4, 8), width=8, heads=2, head_hidden=8, head_out=4)
OPTIONS = TrifeatureOptions(renderings=1, augmentation="none", batch_size=8, **TINY)


@pytest.fixture(scope="module")
def data():
    return trifeature_data(OPTIONS)


def _views(data, options, bias, n):
    task = trifeature_task(options, data, bias, jax.random.key(3))
    return jax.jit(task.source, static_argnums=2)(task.init_constants(None), jax.random.key(0), n)


def _rows_of(data, images):
    """Rows of the gallery that these images, not augmented, are."""
    known = {image.tobytes(): row for row, image in enumerate(data.gallery.images)}
    return np.array([known[np.round(255 * v).astype(np.uint8).tobytes()] for v in np.array(images)])


@pytest.mark.parametrize("train_pairs", [0, 30])
def test_training_sees_pairs_of_its_own_images_that_share_a_shape(data, train_pairs):
    options = TrifeatureOptions(**{**vars(OPTIONS), "train_pairs": train_pairs})
    batch = _views(data, options, 1.0, 40)
    first, second = (_rows_of(data, images) for images in batch["views"][0])
    gallery = data.gallery
    assert (gallery.shape[first] == gallery.shape[second]).all()
    np.testing.assert_array_equal(gallery.shape[first], batch["labels"])
    assigned = np.asarray(data.mapping)[gallery.texture[first]]
    np.testing.assert_array_equal(gallery.colour[second], assigned)  # biased
    assert set(first) | set(second) <= set(np.asarray(data.train.rows).tolist())
    if train_pairs:
        assert len({*zip(first.tolist(), second.tolist(), strict=True)}) <= 30
    ids = np.asarray(batch["ids"])
    for own, rows in zip(ids.T, (first, second), strict=True):
        np.testing.assert_array_equal(own[:, None] == own, rows[:, None] == rows)
    # Without augmentation the two views are the same images.
    np.testing.assert_array_equal(batch["views"][0][0], batch["views"][1][0])


def test_augmented_views_differ(data):
    options = TrifeatureOptions(**{**vars(OPTIONS), "augmentation": "gentle"})
    one, other = _views(data, options, 0.0, 4)["views"]
    assert one[0].shape == (4, 32, 32, 3)
    assert float(jnp.abs(one[0] - other[0]).max()) > 0.05


def test_redrawn_poses_show_the_same_triples():
    few = TrifeatureOptions(**{**vars(OPTIONS), "renderings": 3, "poses": "redrawn"})
    data = trifeature_data(few)
    batch = _views(data, few, 0.0, 300)
    for one, other, ids in zip(*batch["views"], np.asarray(batch["ids"]).T, strict=True):
        rows, others = _rows_of(data, one), _rows_of(data, other)
        np.testing.assert_array_equal(ids, rows // 3)  # the pose is augmentation
        for shown in (data.gallery.shape, data.gallery.texture, data.gallery.colour):
            np.testing.assert_array_equal(shown[rows], shown[others])
        assert 0.2 < (rows == others).mean() < 0.5  # a third
        assert np.bincount(others % 3).min() > 60


def test_data_are_a_function_of_the_options(data):
    again = trifeature_data(OPTIONS)
    np.testing.assert_array_equal(again.gallery.images, data.gallery.images)
    np.testing.assert_array_equal(again.mapping, data.mapping)
    with_another = lambda **changes: trifeature_data(dataclasses.replace(OPTIONS, **changes))
    assert not np.array_equal(with_another(data_seed=1).mapping, data.mapping)
    # Smaller shapes leave more of the background, bare gaps too.
    grey = lambda seen: np.mean(np.all(np.abs(seen.gallery.images.astype(int) - 128) < 2, -1))
    assert grey(with_another(shape_scale=0.5)) > 1.2 * grey(data)
    assert grey(with_another(texture_gaps=0.0)) > 1.1 * grey(data)


def test_one_step_of_comm_changes_the_weights(data):
    task = trifeature_task(OPTIONS, data, 1.0, jax.random.key(3))
    study = make_fused_study(OPTIONS, task, "comm", chunk_steps=1, save_every=1)
    params = jax.eval_shape(study.init_params, jax.random.key(0))
    batch = jax.eval_shape(study.recipe.source, task.init_constants(None), jax.random.key(1))
    objective = study.recipe.stages[0].objective
    traced = lambda p, b: objective(p, b, jax.random.key(2), no_gather)
    loss, _ = jax.eval_shape(traced, params, batch)
    assert loss.shape == ()
    read = jax.eval_shape(study.represent, params, batch["views"][0])
    assert read.shape == (8, 8)


def test_probes_are_tested_on_all_pairs_of_held_out_triples(data):
    """A representation that is a table of the training images knows nothing of the others."""
    trained = np.zeros(len(data.gallery.images), bool)
    trained[np.asarray(data.train.rows)] = True
    asked = []

    def look_up(images):
        rows = [_rows_of(data, side) for side in images]
        asked.append(rows)
        shown = data.gallery.shape[rows[0]] * trained[rows[0]]
        return jnp.eye(10)[shown] * trained[rows[0], None]

    figures = trifeature_figures(data, look_up, jax.random.key(0), rows=300)
    assert abs(figures["shared", "accuracy"] - 0.1) < 0.05
    tests = {r for pair in asked for r in np.concatenate(pair) if not trained[r]}
    every, _ = fixed_pairs(data.test, data.mapping, jax.random.key(1), None, biased=False)
    assert len(tests) == 200 and len(every.shape) > 3500
    names = {("shared", "accuracy"), ("unique1", "accuracy"), ("unique2", "accuracy")}
    names |= {("synergy", "accuracy"), ("synergy", "accuracy_balanced")}
    assert set(figures) == names


def test_a_representation_that_knows_is_found_to_know(data):
    def know(images):
        first, second = (_rows_of(data, side) for side in images)
        g = data.gallery
        codes = (g.shape[first], g.texture[first], g.texture[second])
        match = np.asarray(data.mapping)[g.texture[first]] == g.colour[second]
        return jnp.concatenate([*(jnp.eye(10)[c] for c in codes), match[:, None]], 1)

    figures = trifeature_figures(data, know, jax.random.key(0), rows=500)
    assert min(figures.values()) > 0.99


def test_maps_and_pixels_have_their_shapes():
    encoder = image_maps((4, 8, 8), blocks=1)
    shapes = jax.eval_shape(lambda key: encoder.init(key, (48, 32, 3)), jax.random.key(0))
    images = jax.ShapeDtypeStruct((2, 48, 32, 3), jnp.uint8)
    assert jax.eval_shape(encoder.apply, *shapes, images).shape == (2, 6, 4, 8)
    assert raw_pixels((jnp.ones((2, 32, 32, 3)),) * 2).shape == (2, 2 * 8 * 8 * 3)


@pytest.mark.parametrize(
    "bad",
    [
        {"resolution": 31},
        {"renderings": 0},
        {"train_pairs": -1},
        {"augmentation": "no"},
        {"poses": "x"},
        {"texture_period": 0.0},
        {"texture_gaps": 1.1},
        {"shape_scale": 0.71},
        {"shape_scale": 0.0},
    ],
)
def test_bad_options_are_told_before_anything_is_rendered(bad):
    with pytest.raises(InvalidInput, match=next(iter(bad))):
        check_options(TrifeatureOptions(**bad))

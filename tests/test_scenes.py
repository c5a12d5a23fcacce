"""The law of scenes and captions: ranges, uniformity, names of hues."""

import colorsys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from scipy import stats

from mmjax.generative.colours import COLOURS, colour_names, hue_names, palettes, reachable_colours
from mmjax.generative.scenes import name_hue, scene_model
from mmjax.types import SceneFactors, TextFactors

N = 20_000
ALPHA = 1e-4
WHOLE = {"object_shape": 7, "object_xpos": 3, "object_ypos": 3, "text_phrasing": 5}
RGB = [np.array([to_rgb(code) for code in palette.values()]) for palette in palettes()]


SAMPLE = jax.jit(scene_model().sample, static_argnums=1)
CAUSED = jax.jit(scene_model(position_dependent_color=True).sample, static_argnums=1)


def _pairs(seed=0, sample=SAMPLE):
    return jax.device_get(sample(jax.random.key(seed), N))


@pytest.fixture(scope="module")
def pairs():
    return _pairs()


def test_whole_numbered_factors_are_uniform(pairs):
    for side in pairs:
        for name, column in side._asdict().items():
            if name in WHOLE:
                assert column.dtype == np.int32
                counts = np.bincount(column, minlength=WHOLE[name])
                assert len(counts) == WHOLE[name]
                assert stats.chisquare(counts).pvalue > ALPHA, name


def test_continuous_factors_are_uniform_and_independent(pairs):
    names = [n for n in SceneFactors._fields if n not in WHOLE and n != "object_zpos"]
    columns = [getattr(pairs.image, name) for name in names]
    for name, column in zip(names, columns, strict=True):
        assert column.dtype == np.float32 and column.min() >= 0 and column.max() < 1
        assert stats.kstest(column, "uniform").pvalue > ALPHA, name
    everything = [*columns, *(getattr(pairs.image, name) for name in list(WHOLE)[:3])]
    correlation = np.corrcoef([*everything, pairs.text.text_phrasing])
    assert np.abs(correlation - np.eye(len(correlation))).max() < 4.5 / N**0.5
    assert not pairs.image.object_zpos.any() and pairs.image.object_zpos.dtype == np.float32


def test_the_caption_shares_shape_and_position(pairs):
    assert TextFactors._fields[:4] == SceneFactors._fields[:4]
    for shared, own in zip(pairs.image[:4], pairs.text[:4], strict=True):
        np.testing.assert_array_equal(shared, own)


def test_there_are_1107_names():
    assert len(colour_names()) == COLOURS == 1107
    assert list(colour_names()) == sorted(set(colour_names()))
    assert [len(palette) for palette in palettes()] == [10, 148, 949]
    assert len(reachable_colours()) == 100


@pytest.mark.parametrize("palette", range(3))
def test_names_are_the_nearest_colours(palette):
    """Brute force in float64, at random hues and on both sides of every change."""
    starts = hue_names().starts[palette]
    starts = starts[np.isfinite(starts)]
    assert (np.diff(starts) > 0).all() and starts[0] == 0
    hues = np.concatenate(
        [np.random.default_rng(0).random(2000), starts, np.nextafter(starts[1:], np.float32(0))]
    ).astype(np.float32)
    found = jax.jit(name_hue)(hues, jnp.full(len(hues), palette))
    names = list(palettes()[palette])
    for hue, name in zip(hues.astype(float), np.asarray(found), strict=True):
        distance = np.sum((RGB[palette] - colorsys.hsv_to_rgb(hue, 1, 1)) ** 2, axis=1)
        assert distance[names.index(colour_names()[name])] <= distance.min() + 1e-14


def test_one_colour_with_two_names_has_the_last():
    css4 = [colour_names()[k] for k in hue_names().names[1]]
    assert {"cyan", "magenta"} <= set(css4) and not {"aqua", "fuchsia"} & set(css4)


def test_palettes_are_uniform(pairs):
    """What is named tab:... or xkcd:... comes from that palette, and the hue is its."""
    names = np.array(colour_names())[pairs.text.object_color_index]
    own = np.select(
        [np.char.startswith(names, "tab:"), np.char.startswith(names, "xkcd:")], [0, 2], 1
    )
    assert stats.chisquare(np.bincount(own)).pvalue > ALPHA
    rest = [*pairs.image[:3], *pairs.image[4:], pairs.text.text_phrasing]
    assert np.abs(np.corrcoef([own, *rest])[0, 1:]).max() < 4.5 / N**0.5
    np.testing.assert_array_equal(
        name_hue(pairs.image.object_color, own), pairs.text.object_color_index
    )


def test_hue_that_depends_on_the_position():
    pairs = _pairs(1, CAUSED)
    hue, xpos = pairs.image.object_color, pairs.image.object_xpos
    assert hue.dtype == np.float32
    np.testing.assert_array_equal(np.floor(hue.astype(float) * 3 + 1e-12), xpos)
    assert stats.kstest(hue.astype(float) * 3 - xpos, "uniform").pvalue > ALPHA
    assert hue.max() < 1


def test_a_key_is_a_draw():
    for one, same, other in zip(*(jax.tree.leaves(_pairs(s)) for s in (7, 7, 8)), strict=True):
        np.testing.assert_array_equal(one, same)
        assert one.max() == 0 or np.mean(one == other) < 0.5

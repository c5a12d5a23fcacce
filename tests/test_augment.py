"""Augmentations: composed matrices are the steps one by one, draws follow their laws."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance
from scipy.ndimage import gaussian_filter1d
from scipy.stats import binom, kstest

from mmjax.errors import InvalidInput
from mmjax.observations.augment import (
    GENTLE,
    IMAGE_AUGMENTATIONS,
    SIMCLR,
    ColourFactors,
    ImageAugmentation,
    SequenceAugmentation,
    apply_colours,
    apply_matrices,
    augment_images,
    augment_sequences,
    augment_vectors,
    blur_matrix,
    colour_matrix,
    draw_boxes,
    resize_matrix,
)
from mmjax.observations.augment.colour import draw_colours, hue_matrix
from mmjax.observations.augment.images import draw_geometry, geometry_matrices
from mmjax.observations.augment.sequences import drop_any, drop_stretch

KEY = jax.random.key(0)
N, HEIGHT, WIDTH = 16, 12, 10
DRAWS = 4000
# Every kind of change, on most images; the same draws at two sizes of the result.
ALL = SIMCLR._replace(blur=0.7, jitter_probability=0.7, grey=0.3)
SMALLER = ALL._replace(size=(7, 13))
LUMA = np.array([0.299, 0.587, 0.114])


def _images(n=N, height=HEIGHT, width=WIDTH, low=0.0, high=1.0):
    values = np.random.default_rng(0).uniform(low, high, (n, height, width, 3))
    return values.astype(np.float32)


@cache
def _view(options):
    return jax.jit(augment_images(options))


def _run(function, *arrays, **fixed):
    """Compiled as one, for what runs once; NumPy arrays come back."""
    return jax.tree.map(np.asarray, jax.jit(partial(function, **fixed))(*arrays))


def _boxes(height, width, scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3), key=KEY):
    # Op by op and always DRAWS of them, so that all tests share what is compiled.
    boxes = draw_boxes(key, DRAWS, height=height, width=width, scale=scale, ratio=ratio)
    return jax.tree.map(np.asarray, boxes)


@cache
def _drawn():
    """What `_view(ALL)` and `_view(SMALLER)` draw of KEY."""
    geometry_key, colour_key = jax.random.split(KEY)
    ranges = {name: getattr(ALL, name) for name in ("brightness", "contrast", "saturation", "hue")}
    chances = dict(probability=ALL.jitter_probability, grey=ALL.grey)
    sizes = dict(height=HEIGHT, width=WIDTH)
    moves = _run(draw_geometry, geometry_key, n=N, **sizes, options=ALL)
    return moves, _run(draw_colours, colour_key, n=N, **ranges, **chances)


def _moved_by_steps(image, box, flip, sigma, size):
    """Pillow crops and resizes, NumPy flips, SciPy blurs."""
    top, left, height, width = box
    cut = image[top : top + height, left : left + width]
    resize = lambda plane: Image.fromarray(plane).resize(size[::-1], Image.Resampling.BILINEAR)
    out = np.stack([np.asarray(resize(cut[..., c]), np.float64) for c in range(3)], -1)
    out = out[:, ::-1] if flip else out
    for axis in (0, 1) if sigma > 0 else ():
        out = gaussian_filter1d(out, sigma, axis, mode="mirror", truncate=4.0)
    return out


def _coloured_by_steps(image, brightness, contrast, saturation, hue, grey):
    """The definitions, one after another, in float64; clipped at the end."""
    luma = lambda x: (x @ LUMA)[..., None]
    image = brightness * image
    image = contrast * image + (1 - contrast) * luma(image).mean()
    image = saturation * image + (1 - saturation) * luma(image)
    to_yiq = np.array([LUMA, [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
    y, i, q = np.moveaxis(image @ to_yiq.T, -1, 0)
    turned = (i + 1j * q) * np.exp(-2j * np.pi * hue)
    image = np.stack([y, turned.real, turned.imag], -1) @ np.linalg.inv(to_yiq).T
    image = np.repeat(luma(image), 3, -1) if grey else image
    return np.clip(image, 0, 1)


@pytest.mark.parametrize("options", [ALL, SMALLER], ids=["same size", "resized"])
def test_the_matrices_are_the_steps_one_by_one(options):
    images = _images()
    moves, colours = _drawn()
    assert 0 < moves.flip.sum() < N and 0 < (moves.sigma > 0).sum() < N
    assert 0 < colours.grey.sum() < N and 0 < (colours.brightness != 1).sum() < N
    size = options.size or (HEIGHT, WIDTH)
    boxes = np.transpose(moves.boxes)
    expected = [
        _coloured_by_steps(_moved_by_steps(image, box, flip, sigma, size), *own)
        for image, box, flip, sigma, own in zip(
            images, boxes, moves.flip, moves.sigma, zip(*colours, strict=True), strict=True
        )
    ]
    ours = _view(options)(KEY, images)
    assert ours.shape == (N, *size, 3) and ours.dtype == jnp.float32
    np.testing.assert_allclose(ours, expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("size, out", [(23, 9), (9, 23), (6, 6), (5, 1), (1, 4)])
def test_resize_is_pillows_of_the_crop(size, out):
    lengths = np.arange(size) + 1
    starts = np.random.default_rng(0).integers(0, size - lengths + 1)
    row = np.random.default_rng(1).normal(size=size).astype(np.float32)
    flip = np.zeros(size, bool)
    ours = _run(resize_matrix, starts, lengths, flip, size=size, out=out) @ row
    for own, start, length in zip(ours, starts, lengths, strict=True):
        cut = Image.fromarray(row[None, start : start + length])
        expected = np.asarray(cut.resize((out, 1), Image.Resampling.BILINEAR))[0]
        np.testing.assert_allclose(own, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [1, 2, 5, 40])
def test_blur_is_scipys(size):
    sigma = np.array([0.0, 0.1, 0.3, 1.0, 1.7, 3.0], np.float32)  # 3: reaches over 5 pixels twice
    row = np.random.default_rng(0).normal(size=size)
    matrices = _run(blur_matrix, sigma, size=size, largest=3.0)
    np.testing.assert_array_equal(matrices[0], np.eye(size))
    for s, matrix in zip(sigma[1:], matrices[1:], strict=True):
        expected = gaussian_filter1d(row, s, mode="mirror", truncate=4.0)
        np.testing.assert_allclose(matrix @ row, expected, rtol=0, atol=2e-6)


def test_geometry_averages_so_constant_images_stay():
    fixed = dict(height=HEIGHT, width=WIDTH, options=SMALLER)
    matrices = _run(geometry_matrices, _drawn()[0], **fixed)
    for matrix in matrices:
        assert (matrix >= 0).all()
        np.testing.assert_allclose(matrix.sum(-1), 1, atol=1e-6)
    constant = np.broadcast_to(np.float32([0.1, 0.5, 1.0]), (N, HEIGHT, WIDTH, 3))
    moved = _run(apply_matrices, *matrices, constant)
    np.testing.assert_allclose(moved, np.broadcast_to(constant[0, 0, 0], moved.shape), atol=1e-6)


def test_flipping_twice_gives_the_image_back():
    images, whole = _images(), np.full(N, WIDTH)
    flip = _view(ImageAugmentation(flip=1.0))
    np.testing.assert_array_equal(flip(KEY, images), images[:, :, ::-1])
    np.testing.assert_array_equal(flip(KEY, flip(KEY, images)), images)
    columns = _run(resize_matrix, 0 * whole, whole, whole > 0, size=WIDTH, out=WIDTH)
    still = np.broadcast_to(np.eye(HEIGHT, dtype=np.float32), (N, HEIGHT, HEIGHT))
    moved = _run(apply_matrices, still, columns, images)
    np.testing.assert_array_equal(moved, images[:, :, ::-1])


# The last has every part, none of which can happen or change anything.
IDLE = ImageAugmentation(
    size=(HEIGHT, WIDTH), blur_sigma=(1.0, 9.0), brightness=0.5, jitter_probability=0.0
)


@pytest.mark.parametrize("options", [ImageAugmentation(), IDLE], ids=["defaults", "idle"])
def test_options_that_change_nothing(options):
    images = _images() * 3 - 1  # not even clipped
    make = jax.make_jaxpr(augment_images(options))
    assert "dot_general" not in str(make(KEY, images))
    np.testing.assert_array_equal(augment_images(options)(KEY, images), images)


def test_changes_of_size_zero_through_the_matrices():
    whole = np.full(N, WIDTH)
    matrix = _run(resize_matrix, 0 * whole, whole, whole < 0, size=WIDTH, out=WIDTH)
    np.testing.assert_array_equal(matrix, np.broadcast_to(np.eye(WIDTH), matrix.shape))
    factors = _factors(2)
    np.testing.assert_array_equal(_run(colour_matrix, factors), [np.eye(3)] * 2)
    np.testing.assert_array_equal(_colours(factors, _images(2)), _images(2))


def _factors(n, **changed):
    ones = np.ones(n, np.float32)
    return ColourFactors(ones, ones, ones, 0 * ones, ones < 0)._replace(
        **{name: np.full(n, value, type(value)) for name, value in changed.items()}
    )


_colours = jax.jit(apply_colours)


# Pillow rounds to 8 bits, and the mean that contrast leaves in place to a whole number.
@pytest.mark.parametrize(
    "name, value, pillow",
    [
        ("brightness", 0.7, lambda image: ImageEnhance.Brightness(image).enhance(0.7)),
        ("brightness", 1.3, lambda image: ImageEnhance.Brightness(image).enhance(1.3)),
        ("contrast", 0.6, lambda image: ImageEnhance.Contrast(image).enhance(0.6)),
        ("contrast", 1.4, lambda image: ImageEnhance.Contrast(image).enhance(1.4)),
        ("saturation", 0.0, lambda image: ImageEnhance.Color(image).enhance(0.0)),
        ("saturation", 1.4, lambda image: ImageEnhance.Color(image).enhance(1.4)),
        ("grey", True, lambda image: image.convert("L").convert("RGB")),
    ],
)
def test_colours_are_pillows(name, value, pillow):
    images = np.round(255 * _images(3)).astype(np.uint8)
    ours = _colours(_factors(3, **{name: value}), images / np.float32(255))
    expected = np.stack([np.asarray(pillow(Image.fromarray(image))) for image in images])
    np.testing.assert_allclose(255 * ours, expected, rtol=0, atol=1.6)


def test_brightness_scales_and_grey_has_equal_channels():
    images = _images(3)
    scaled = _colours(_factors(3, brightness=0.5), images)
    np.testing.assert_allclose(scaled, images / 2, atol=1e-7)
    clipped = _colours(_factors(3, brightness=1.5), images)
    np.testing.assert_allclose(clipped, np.minimum(1.5 * images, 1), atol=1e-6)
    grey = np.asarray(_colours(_factors(3, grey=True, hue=0.1, saturation=0.4), images))
    np.testing.assert_array_equal(grey, grey[..., [1, 2, 0]])
    np.testing.assert_allclose(grey[..., 0], images @ LUMA, atol=1e-6)


def test_hue_turns_about_the_greys_and_keeps_luma():
    turns = np.linspace(-0.5, 0.5, 21).astype(np.float32)
    matrices = _run(hue_matrix, turns).astype(np.float64)
    np.testing.assert_array_equal(matrices[10], np.eye(3))
    np.testing.assert_allclose(matrices @ np.ones(3), 1, atol=1e-6)
    np.testing.assert_allclose(LUMA @ matrices, np.broadcast_to(LUMA, (21, 3)), atol=1e-6)
    np.testing.assert_allclose(matrices[4] @ matrices[13], matrices[7], atol=2e-6)
    np.testing.assert_allclose(matrices[0], matrices[20], atol=1e-6)  # half a turn either way
    # As hues do: red becomes green, green blue, blue red after a third of a turn.
    third = _run(hue_matrix, np.float32([1 / 3]))[0]
    assert np.argmax(third, axis=0).tolist() == [1, 2, 0]


numbers = lambda low, high: st.floats(low, high, allow_nan=False)


@given(
    sides=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    scale=st.tuples(numbers(0.001, 1), numbers(0.001, 1)),
    ratio=st.tuples(numbers(0.05, 20), numbers(0.05, 20)),
    seed=st.integers(0, 99),
)
@settings(max_examples=15, deadline=None)
def test_boxes_lie_inside_the_image(sides, scale, ratio, seed):
    boxes = _boxes(*sides, tuple(sorted(scale)), tuple(sorted(ratio)), jax.random.key(seed))
    top, left, height, width = boxes
    assert (height >= 1).all() and (width >= 1).all() and (top >= 0).all() and (left >= 0).all()
    assert (top + height <= sides[0]).all() and (left + width <= sides[1]).all()


def test_boxes_are_uniform_in_area_log_ratio_and_place():
    """Where every candidate fits; 2000 pixels, so that rounding doesn't show."""
    top, left, height, width = _boxes(2000, 2000, (0.2, 0.4), (0.8, 1.25))
    free = lambda start, side: start / (2000 - side)
    laws = {
        "area": (height * width / 2000**2 - 0.2) / 0.2,
        "ratio": (np.log(width / height) - np.log(0.8)) / (np.log(1.25) - np.log(0.8)),
        "top": free(top, height),
        "left": free(left, width),
    }
    for name, values in laws.items():
        assert kstest(np.clip(values, 0, 1), "uniform").pvalue > 1e-3, name
    # Each is drawn on its own.
    assert np.abs(np.corrcoef(list(laws.values())) - np.eye(4)).max() < 0.08


def _box_by_rejection(rng, height, width, scale, ratio):
    for _ in range(10):
        area = height * width * rng.uniform(*scale)
        shape = np.exp(rng.uniform(*np.log(ratio)))
        w, h = round(np.sqrt(area * shape)), round(np.sqrt(area / shape))
        if 0 < w <= width and 0 < h <= height:
            return rng.integers(0, height - h + 1), rng.integers(0, width - w + 1), h, w
    return None  # these sides: one in ten million


def test_boxes_that_may_not_fit_follow_rejection():
    sides = (9, 13, (0.08, 1.0), (3 / 4, 4 / 3))
    rng = np.random.default_rng(0)
    expected = np.array([_box_by_rejection(rng, *sides) for _ in range(DRAWS)]).T
    for ours, theirs in zip(_boxes(*sides), expected, strict=True):
        counts, others = np.bincount(ours, minlength=14), np.bincount(theirs, minlength=14)
        assert (np.abs(counts - others) <= 5 * np.sqrt(counts + others)).all()


@pytest.mark.parametrize(
    "sides, scale, box",
    [
        ((1, 1), (0.01, 0.02), (0, 0, 1, 1)),
        ((10, 100), (0.9, 1.0), (0, 43, 10, 13)),
        ((100, 10), (0.9, 1.0), (43, 0, 13, 10)),
        ((10, 11), (0.0001, 0.0002), (0, 0, 10, 11)),
    ],
)
def test_where_no_box_fits_the_largest_in_the_middle_is_taken(sides, scale, box):
    assert np.unique(np.transpose(_boxes(*sides, scale)), axis=0).tolist() == [list(box)]


def test_probabilities_and_ranges_of_images():
    n = 4000
    bounds = lambda p: binom.interval(1 - 1e-6, n, p)
    within = lambda happened, p: bounds(p)[0] <= np.sum(happened) <= bounds(p)[1]
    options = SIMCLR._replace(blur=0.3, blur_sigma=(0.5, 2.0), flip=0.6)
    _, flip, sigma = _run(draw_geometry, KEY, n=n, height=8, width=8, options=options)
    assert within(flip, 0.6) and within(sigma > 0, 0.3)
    assert kstest((sigma[sigma > 0] - 0.5) / 1.5, "uniform").pvalue > 1e-3
    ranges = dict(brightness=0.4, contrast=1.5, saturation=0.2, hue=0.1)
    colours = _run(draw_colours, KEY, n=n, **ranges, probability=0.8, grey=0.25)
    jittered = colours.hue != 0
    assert within(jittered, 0.8) and within(colours.grey, 0.25)
    np.testing.assert_array_equal(jittered, colours.brightness != 1)
    ranges = {"brightness": (0.6, 1.4), "contrast": (0, 2.5), "saturation": (0.8, 1.2)}
    for name, (low, high) in (ranges | {"hue": (-0.1, 0.1)}).items():
        values = getattr(colours, name)[jittered]
        assert kstest((values - low) / (high - low), "uniform").pvalue > 1e-3, name


def test_keys_and_rows():
    images = np.broadcast_to(_images(1), (N, HEIGHT, WIDTH, 3))
    view = _view(ALL)
    first = np.asarray(view(KEY, images))
    np.testing.assert_array_equal(first, view(KEY, images))
    apart = np.abs(first[:, None] - first[None]).max((2, 3, 4))
    assert (apart + np.eye(N) > 1e-3).all()
    assert np.abs(first - view(jax.random.key(1), images)).max() > 0.1
    # What can't happen doesn't change the draws of the rest.
    flipped = _view(ImageAugmentation(flip=0.5))(KEY, images)
    grey = _view(ImageAugmentation(flip=0.5, grey=1.0))(KEY, images)
    assert 0 < (flipped == images).all((1, 2, 3)).sum() < N
    np.testing.assert_allclose(grey[..., 0], flipped @ LUMA, atol=1e-6)


def test_one_image_of_one_pixel():
    def value(images):
        out = augment_images(SIMCLR)(KEY, images)
        return jnp.sum(out**2), out

    gradient, out = _run(jax.grad(value, has_aux=True), np.float32([[[[0.0, 1.0, 0.5]]]]))
    assert out.shape == (1, 1, 1, 3) and 0 <= out.min() and out.max() <= 1
    assert np.isfinite(gradient).all() and gradient.any()


def test_presets():
    assert IMAGE_AUGMENTATIONS == {"none": ImageAugmentation(), "gentle": GENTLE, "simclr": SIMCLR}
    assert SIMCLR == (
        *((0.08, 1.0), (3 / 4, 4 / 3), None, 0.5, 0.5, (0.1, 2.0)),
        *(0.4, 0.4, 0.4, 0.1, 0.8, 0.2),
    )
    assert GENTLE.blur == GENTLE.hue == GENTLE.grey == 0


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(crop_scale=(0.0, 1.0)), "crop_scale: (0.0, 1.0) is not allowed; use two numbers"),
        (dict(crop_scale=(0.5, 1.2)), "crop_scale"),
        (dict(crop_scale=0.5), "crop_scale"),
        (dict(crop_ratio=(2.0, 1.0)), "crop_ratio"),
        (dict(crop_ratio=(1.0, np.inf)), "crop_ratio"),
        (dict(blur_sigma=(0.0, 1.0)), "blur_sigma"),
        (dict(flip=1.1), "flip: 1.1 is not allowed; use a probability, 0 to 1"),
        (dict(blur=-0.1), "blur"),
        (dict(grey=np.nan), "grey"),
        (dict(jitter_probability=2), "jitter_probability"),
        (dict(brightness=-0.1), "brightness"),
        (dict(contrast=np.inf), "contrast"),
        (dict(hue=0.6), "hue: 0.6 is not allowed; use a number of turns, 0 to 0.5"),
        (dict(size=(0, 3)), "size"),
        (dict(size=32), "size"),
    ],
)
def test_bad_options_of_images(options, message):
    with pytest.raises(InvalidInput) as caught:
        augment_images(ImageAugmentation(**options))
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)


@pytest.mark.parametrize("images", [np.zeros((4, 4, 3)), np.zeros((2, 4, 4, 1)), "bytes"])
def test_bad_images(images):
    images = np.zeros((2, 4, 4, 3), np.uint8) if isinstance(images, str) else images
    with pytest.raises(InvalidInput, match=r"^images: .* use \[n, height, width, 3\] float"):
        augment_images(GENTLE)(KEY, images)


# Sequences go op by op: with one shape, the kinds share what is compiled.
ROWS, LENGTH, FEATURES = 2200, 10, 4


def _sequences(n=ROWS):
    """Values, -7 and NaN in padding, and seen with 0 to LENGTH steps in turn."""
    values = 2 + np.random.default_rng(0).uniform(size=(n, LENGTH, FEATURES))
    seen = np.arange(LENGTH) < (np.arange(n) % (LENGTH + 1))[:, None]
    padding = np.where(np.arange(FEATURES) == 0, np.nan, -7)
    return np.where(seen[..., None], values, padding).astype(np.float32), seen


def _always(kinds, **options):
    return SequenceAugmentation(kinds, probability=1.0, **options)


def _see(options):
    values, seen = _sequences()
    return values, seen, *map(np.asarray, augment_sequences(options)(KEY, values, seen))


@given(
    seen=st.lists(st.lists(st.booleans(), min_size=7, max_size=7), min_size=5, max_size=5),
    share=st.tuples(numbers(0, 1), numbers(0, 1)),
    seed=st.integers(0, 99),
)
@settings(max_examples=15, deadline=None)
def test_leaving_out_never_adds_and_never_empties(seen, share, seed):
    seen, share = np.array(seen), tuple(sorted(share))
    count = seen.sum(1)
    most = np.minimum(np.round(np.float32(share[1]) * count.astype(np.float32)), count - 1)
    least = np.minimum(np.round(np.float32(share[0]) * count.astype(np.float32)), count - 1)
    for drop in (drop_any, drop_stretch):
        left = np.asarray(drop(jax.random.key(seed), seen, share=share))
        assert not (left & ~seen).any()
        assert (left.any(1) == seen.any(1)).all()
        dropped = count - left.sum(1)
        assert (np.maximum(least, 0) <= dropped).all() and (dropped <= np.maximum(most, 0)).all()


@pytest.mark.parametrize("kinds", ["noise", "drop", "span", "features", "drop+noise", "noise+drop"])
def test_padding_stays_and_what_is_left_out_is_zero(kinds):
    values, seen, after, left = _see(_always(kinds))
    assert not (left & ~seen).any() and (left.any(1) == seen.any(1)).all()
    np.testing.assert_array_equal(after[~seen], values[~seen])
    assert (after[seen & ~left] == 0).all()
    kept = after[left] == values[left]
    assert kept.mean() < 0.1 if "noise" in kinds else (kept | (after[left] == 0)).all()
    assert (left == seen).all() if kinds in ("noise", "features") else (left != seen).any()


def test_any_step_goes_alike_and_as_many_as_published():
    """Steps left out of 10: round(10 u), u uniform in [0, 0.8]."""
    n = 9000
    left = _run(drop_any, KEY, np.ones((n, LENGTH), bool), share=(0.0, 0.8))
    law = np.diff(np.clip(np.arange(-0.5, 9), 0, 8)) / 8
    counts = np.bincount(LENGTH - left.sum(1), minlength=10)
    assert (np.abs(counts[:9] - n * law) <= 5 * np.sqrt(n * law)).all() and counts[9] == 0
    low, high = binom.interval(1 - 1e-6, n, 1 - law @ np.arange(9) / LENGTH)
    assert (low <= left.sum(0)).all() and (left.sum(0) <= high).all()
    # Not in stretches: two neighbours go as often as two far apart.
    together = lambda a, b: (~left[:, a] & ~left[:, b]).mean()
    assert abs(together(4, 5) - together(0, 9)) < 5 * np.sqrt(2 * 0.25 / n)


def test_a_stretch_is_contiguous_among_what_is_seen_and_anywhere_alike():
    n = 4000
    seen = np.ones((n, LENGTH), bool)
    seen[:, [2, 7]] = False  # 8 are seen, of which 3 go: 6 places alike
    gone = ~_run(drop_stretch, KEY, seen, share=(0.4, 0.4))[seen].reshape(n, 8)
    starts = np.argmax(gone, 1)
    after_start = np.arange(8) - starts[:, None]
    np.testing.assert_array_equal(gone, (after_start >= 0) & (after_start < 3))
    low, high = binom.interval(1 - 1e-6, n, 1 / 6)
    counts = np.bincount(starts, minlength=6)
    assert len(counts) == 6 and (low <= counts).all() and (counts <= high).all()


def test_noise_is_normal_and_only_where_seen():
    values, seen, after, _ = _see(_always("noise", noise=0.3))
    noise = (after - values)[seen] / 0.3
    assert kstest(noise.ravel(), "norm").pvalue > 1e-3


def test_features_go_for_a_whole_row():
    values, seen, after, left = _see(_always("features", share=(0.5, 0.5)))
    rows = seen.any(1)
    gone = np.where(seen[..., None], after == 0, True).all(1)[rows]
    assert (gone.sum(1) == FEATURES / 2).all()
    kept = seen[rows][..., None] & ~gone[:, None]
    np.testing.assert_array_equal(after[rows][kept], values[rows][kept])
    assert len(np.unique(gone, axis=0)) == 6  # all pairs of four


@pytest.mark.parametrize("kinds", ["noise", "span"])
def test_each_kind_happens_to_a_row_with_its_probability(kinds):
    options = SequenceAugmentation(kinds, probability=0.3, share=(0.5, 0.5))
    values, seen, after, left = _see(options)
    changed = ((after != values) & seen[..., None]).any((1, 2))[seen.sum(1) > 1]
    low, high = binom.interval(1 - 1e-6, len(changed), 0.3)
    assert low <= changed.sum() <= high


def test_vectors():
    values = np.random.default_rng(0).uniform(2, 3, (ROWS, FEATURES)).astype(np.float32)

    def see(kinds):
        return np.asarray(augment_vectors(_always(kinds, share=(0.25, 1.0)))(KEY, values))

    dropped = see("drop")
    assert ((dropped == values) | (dropped == 0)).all()
    assert set((dropped == 0).sum(1)) == {1, 2, 3}  # one is left, even of a share of 1
    # Noise before leaves zeros, noise after reaches them.
    assert (see("noise+drop") == 0).any() and (see("drop+noise") != 0).all()


def test_gradients_and_dtypes_are_kept():
    values, seen = _sequences()
    view = augment_sequences(_always("drop+noise+features", share=(0.3, 0.3)))

    def total(values):
        after, left = view(KEY, values, seen)
        return jnp.where(left[..., None], after, 0).sum(), (after, left)

    gradient, (after, left) = jax.grad(total, has_aux=True)(values)
    np.testing.assert_array_equal(gradient, left[..., None] & (after != 0))
    half = jax.eval_shape(view, KEY, values.astype(jnp.bfloat16), seen)
    assert [v.dtype for v in (after, left, *half)] == [np.float32, bool, jnp.bfloat16, bool]
    vectors = augment_vectors(_always("drop+noise"))
    assert jax.eval_shape(vectors, KEY, values[:, 0].astype(jnp.bfloat16)).dtype == jnp.bfloat16


@pytest.mark.parametrize(
    "options",
    [
        SequenceAugmentation(""),
        SequenceAugmentation(probability=0.0),
        SequenceAugmentation("noise", noise=0.0),
        SequenceAugmentation("drop+span+features", share=(0.0, 0.0)),
    ],
)
def test_kinds_that_change_nothing(options):
    values, seen = _sequences(5)
    after, left = augment_sequences(options)(KEY, values, seen)
    assert after is values and left is seen


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(kinds="drop+blur"), "kinds: 'blur' is not allowed; use one of drop, "),
        (dict(kinds="+"), "kinds: ''"),
        (dict(probability=1.5), "probability"),
        (dict(noise=-1.0), "noise"),
        (dict(share=(0.5, 0.2)), "share"),
        (dict(share=0.2), "share: 0.2 is not allowed; use two numbers"),
    ],
)
def test_bad_options_of_sequences(options, message):
    for make in (augment_sequences, augment_vectors):
        with pytest.raises(InvalidInput) as caught:
            make(SequenceAugmentation(**options))
        assert str(caught.value).startswith(message) and "\n" not in str(caught.value)


def test_bad_sequences():
    values, seen = _sequences(3)
    view, vectors = augment_sequences(_always("drop")), augment_vectors(_always("drop"))
    for bad in [(values[0], seen), (np.ones(values.shape, int), seen)]:
        with pytest.raises(InvalidInput, match=r"^values: .* use \[n, length, features\] float"):
            view(KEY, *bad)
    for bad in (seen[:, 1:], seen.astype(np.float32)):
        with pytest.raises(InvalidInput, match=r"^seen: .* use \[3, 10\] bool"):
            view(KEY, values, bad)
    with pytest.raises(InvalidInput, match=r"^values: .* use \[n, features\] float"):
        vectors(KEY, values)
    with pytest.raises(InvalidInput, match="^kinds: 'span'"):
        augment_vectors(_always("span"))

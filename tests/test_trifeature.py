"""Images of Trifeature: each factor against the pixels it may change; pairs against their law."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage, stats

from mmjax.data.sets.trifeature_gallery import (
    fixed_pairs,
    make_gallery,
    pair_pool,
    sample_pairs,
    split_renderings,
    split_triples,
)
from mmjax.errors import InvalidInput
from mmjax.generative import draw_mapping, trifactor_model
from mmjax.observations import (
    TRIFEATURE_COLOURS,
    TRIFEATURE_SHAPES,
    TRIFEATURE_TEXTURES,
    draw_trifeature,
    render_trifeature,
)
from mmjax.observations.trifeature import SCALE, canonical_pose, draw_pose
from mmjax.observations.trifeature_masks import shape_distance

TEN = np.arange(10)
WHITE, SQUARE, SOLID = 9, 1, 0
ALPHA = 1e-4
TRIPLES = np.indices((10, 10, 10)).reshape(3, -1)
OUTLINED = dict(gaps=0.3, period=0.19)  # legible at 32 pixels


def _cover(images):
    """Share of each pixel that is coloured, of white images."""
    return (images[..., 0] - 0.5) * 2


def _render(shape, texture, colour, pose, size, **options):
    """`render_trifeature` in batches of one length, so that little is compiled."""
    rows = np.minimum(np.arange(1000 if size == 32 else 12), len(shape) - 1)
    filled = jax.tree.map(lambda v: v[rows], (shape, texture, colour, pose))
    return np.asarray(render_trifeature(*filled, size, **options))[: len(shape)]


def _white(shape, texture, size=32, pose=None, **options):
    shape, texture = np.broadcast_arrays(shape, texture)
    pose = canonical_pose(len(shape)) if pose is None else pose
    colour = np.full(len(shape), WHITE)
    return _cover(_render(shape, texture, colour, pose, size, **options))


@cache
def _all():
    """Every triple at rest, `[1000, 32, 32, 3]`."""
    return np.asarray(render_trifeature(*TRIPLES, canonical_pose(1000), 32))


# The published outlines in the unit square, x to the right and y down.
def _in_star(x, y):
    turn = np.pi / 5
    radius = 0.5 / np.sin(2 * turn)
    y = y - radius * (1 - np.cos(turn)) / 2
    angle = np.abs((np.arctan2(x, -y) + turn) % (2 * turn) - turn)
    away = np.hypot(x, y)
    inner = 0.42 * radius * np.array([np.cos(turn), np.sin(turn)])
    across, along = away * np.sin(angle), away * np.cos(angle)
    return along * inner[1] + across * (radius - inner[0]) < radius * inner[1]


def _outside(x, y):
    return np.maximum(np.abs(x), np.abs(y)) > 0.5


INSIDE = {
    "triangle": lambda x, y: np.abs(x) < (y + 0.5) / 2,
    "square": lambda x, y: np.full(x.shape, True),
    "plus": lambda x, y: np.minimum(np.abs(x), np.abs(y)) < 1 / 6,
    "circle": lambda x, y: np.hypot(x, y) < 0.5,
    "tee": lambda x, y: (np.abs(x) < 1 / 6) | (y < -1 / 6),
    "rhombus": lambda x, y: np.abs(x + y / 2) < 0.25,
    "pentagon": lambda x, y: (
        np.abs(x) < np.where(y < -0.1, (y + 0.5) * 1.25, 0.5 - (y + 0.1) * 0.194 / 0.6)
    ),
    "star": _in_star,
    "fivesquare": lambda x, y: (np.abs(x) > 1 / 6) == (np.abs(y) > 1 / 6),
    "trapezoid": lambda x, y: np.abs(x) < 0.5 - (y + 0.5) * 0.323,
}


def test_shapes_are_the_published_ones():
    assert tuple(INSIDE) == TRIFEATURE_SHAPES
    y, x = np.random.default_rng(0).uniform(-0.6, 0.6, (2, 4000))
    distance = jax.vmap(lambda s: shape_distance(s, jnp.asarray(y), jnp.asarray(x)))(TEN)
    for name, d in zip(TRIFEATURE_SHAPES, np.asarray(distance), strict=True):
        inside = INSIDE[name](x, y) & ~_outside(x, y)
        clear = np.abs(d) > 1e-5
        np.testing.assert_array_equal((d < 0)[clear], inside[clear], err_msg=name)


def test_distances_are_those_to_the_nearest_point_of_the_outline():
    # Brute force: the nearest of many points on the other side.
    y, x = np.random.default_rng(0).uniform(-0.6, 0.6, (2, 40))
    grid = np.linspace(-0.75, 0.75, 201)
    gy, gx = (g.ravel() for g in np.meshgrid(grid, grid, indexing="ij"))
    away = np.hypot(y[:, None] - gy, x[:, None] - gx)
    distance = jax.vmap(lambda s: shape_distance(s, jnp.asarray(y), jnp.asarray(x)))(TEN)
    for name, d in zip(TRIFEATURE_SHAPES, np.asarray(distance), strict=True):
        inside = INSIDE[name](gx, gy) & ~_outside(gx, gy)
        nearest = np.where((d < 0)[:, None] == inside, np.inf, away).min(1)
        np.testing.assert_allclose(np.abs(d), nearest, atol=0.011, err_msg=name)


def test_colour_changes_nothing_but_rgb():
    cover = _white(TRIPLES[0], TRIPLES[1])
    colours = np.array(list(TRIFEATURE_COLOURS.values()))[TRIPLES[2]]
    expected = 0.5 + cover[..., None] * (colours[:, None, None] - 0.5)
    np.testing.assert_allclose(_all(), expected, atol=1e-6)


def test_texture_fills_the_shape_and_does_not_move_it():
    shape, texture = TRIPLES[:2, ::10]
    pose = draw_pose(jax.random.key(3), 100)
    white = partial(_white, pose=pose, gaps=0.3)
    masks = white(shape, SOLID)
    # A square larger than the image is the texture alone.
    middle = pose._replace(centre=jnp.full((100, 2), 0.5))
    everywhere = white(SQUARE, texture, pose=middle, scale=3.0)
    np.testing.assert_allclose(white(shape, texture), masks * everywhere, atol=1e-6)
    assert everywhere.min() == pytest.approx(0.3)  # so that outlines stay visible
    bare = _white(shape, texture, pose=pose)
    np.testing.assert_allclose(0.3 * masks + 0.7 * bare, masks * everywhere, atol=1e-6)


@pytest.mark.parametrize("scale", [SCALE, 0.707])
def test_shapes_stay_inside_the_image(scale):
    shape = np.repeat(TEN, 30)
    covers = _white(shape, SOLID, pose=draw_pose(jax.random.key(1), 300, scale=scale), scale=scale)
    area = covers.mean((1, 2)) / scale**2
    published = [1 / 2, 1, 5 / 9, np.pi / 4, 5 / 9, 1 / 2, 0.6836, None, 5 / 9, 0.677]
    for k in set(range(10)) - {TRIFEATURE_SHAPES.index("star")}:
        np.testing.assert_allclose(area[shape == k], published[k], rtol=0.02)
    for k in range(10):  # cut off, one would be smaller
        assert np.ptp(area[shape == k]) < 0.02


def test_poses_are_uniform():
    pose = draw_pose(jax.random.key(0), 5000)
    half = SCALE * (np.cos(pose.angle) + np.abs(np.sin(pose.angle))) / 2
    along = (pose.centre - half[:, None]) / (1 - 2 * half[:, None])
    for values in (*along.T, *(np.stack([pose.angle, pose.texture_angle]) / (np.pi / 2) + 0.5)):
        assert stats.kstest(np.asarray(values), "uniform").pvalue > ALPHA
    together = np.corrcoef(np.stack([*along.T, pose.angle, pose.texture_angle]))
    assert np.abs(together - np.eye(4)).max() < 0.06


def test_turning_and_moving_are_those_of_the_image():
    shape, n = np.array([4, 5, 7, 9]), 4
    rest = canonical_pose(n)
    still = _white(shape, SOLID, 224)
    turned = _white(shape, SOLID, 224, rest._replace(angle=jnp.full(n, np.radians(30.0))))
    for a, b in zip(still, turned, strict=True):
        assert np.abs(ndimage.rotate(a, 30, order=1, reshape=False) - b).mean() < 0.005
        assert np.abs(ndimage.rotate(a, -30, order=1, reshape=False) - b).mean() > 0.03
    moved = _white(shape, SOLID, 224, rest._replace(centre=rest.centre + jnp.array([8, -16]) / 224))
    np.testing.assert_allclose(moved, np.roll(still, (8, -16), (1, 2)), atol=1e-4)


def test_textures_turn_as_they_do_and_shift_by_periods():
    disk = np.hypot(*np.meshgrid(*[np.arange(224) - 111.5] * 2)) < 105
    rest, square = canonical_pose(10), np.full(10, SQUARE)
    how = dict(scale=3.0, gaps=0.0)
    still = _white(square, TEN, 224, **how)
    turned = rest._replace(texture_angle=jnp.full(10, np.radians(-20.0)))
    others = _white(square, TEN, 224, turned, **how)
    for name, a, b in zip(TRIFEATURE_TEXTURES, still, others, strict=True):
        expected = ndimage.rotate(a, -20, order=1, reshape=False)
        assert np.abs(expected - b)[disk].mean() < 0.05, name
    # Triangles and zigzags repeat after whole cells of 1.3 and 1.4; noise and rain never do.
    shifted = _white(square, TEN, 224, rest._replace(texture_shift=jnp.full((10, 2), 109.2)), **how)
    apart = dict(zip(TRIFEATURE_TEXTURES, np.abs(shifted - still).mean((1, 2)), strict=True))
    assert min(apart["noise"], apart["rain"]) > 0.2
    assert max(apart["triangles"], apart["zigzags"], apart["solid"]) < 0.01


def test_small_images_are_large_ones_averaged():
    shape, texture, colour = np.random.default_rng(0).integers(0, 10, (3, 12))
    texture[:10] = TEN
    pose = draw_pose(jax.random.key(0), 12)
    small, large = (_render(shape, texture, colour, pose, s) for s in (32, 224))
    apart = np.abs(large.reshape(12, 32, 7, 32, 7, 3).mean((2, 4)) - small)
    assert apart.mean() < 0.005 and apart.max() < 0.25


def test_all_triples_differ_visibly():
    flat = np.asarray(render_trifeature(*TRIPLES, canonical_pose(1000), 48)).reshape(1000, -1) - 0.5
    square = (flat**2).sum(1)
    apart = np.sqrt(np.maximum(square[:, None] + square - 2 * flat @ flat.T, 0) / flat.shape[1])
    np.fill_diagonal(apart, 1)
    assert apart.min() > 0.02  # root mean square over all values; ocean is the faintest


def test_every_factor_is_read_by_nearest_centroids():
    """In poses near rest, from centroids of poses near rest: what is shown can be seen."""
    triples = np.random.default_rng(0).integers(0, 10, (3, 200))
    near = lambda key, n: canonical_pose(n)._replace(
        angle=0.1 * jax.random.normal(key, (n,)),
        centre=0.5 + 0.01 * jax.random.normal(key, (n, 2)),
    )
    images = _render(*triples, near(jax.random.key(0), 200), 32, **OUTLINED)
    strongest = np.abs(images - 0.5).max(-1).reshape(200, -1).argmax(1)
    pixel = images.reshape(200, -1, 3)[np.arange(200), strongest]
    colours = np.array(list(TRIFEATURE_COLOURS.values()))
    seen = np.abs(pixel[:, None] - colours).sum(-1).argmin(1)
    np.testing.assert_array_equal(seen, triples[2])
    cover = np.abs(images - 0.5).max(-1)
    cover = (cover / cover.max((1, 2), keepdims=True)).reshape(200, -1)
    known = _white(*TRIPLES[:2, ::10], **OUTLINED).reshape(10, 10, -1)
    outlines = ((cover[:, None] > 0.15) != (known[:, 0] > 0.15)).sum(-1).argmin(1)
    assert (outlines == triples[0]).mean() > 0.97
    inside = ((cover[:, None] - known[triples[0]]) ** 2).sum(-1).argmin(1)
    assert (inside == triples[1]).mean() > 0.9


def test_drawing_is_deterministic_and_row_by_row():
    images, again, other = (
        np.asarray(draw_trifeature(jax.random.key(k), *TRIPLES, 32)) for k in (0, 0, 1)
    )
    np.testing.assert_array_equal(images, again)
    assert images.dtype == np.float32 and images.min() >= 0 and images.max() <= 1
    assert np.abs(images - other).mean() > 0.01
    pose = draw_pose(jax.random.key(0), 1000)
    rows = np.arange(5, 1000, 200)
    some = _render(*TRIPLES[:, rows], jax.tree.map(lambda v: v[rows], pose), 32)
    np.testing.assert_allclose(some, images[rows], atol=1e-5)


def test_a_gallery_shows_what_its_labels_say():
    done = []
    draw, key = partial(draw_trifeature, size=16), jax.random.key(0)
    gallery = make_gallery(draw, key, renderings=2, classes=3, progress=done.append)
    assert gallery.images.shape == (54, 16, 16, 3) and gallery.images.dtype == np.uint8
    assert done == list(range(6, 55, 6))
    labels = np.stack([gallery.shape, gallery.texture, gallery.colour, gallery.rendering])
    np.testing.assert_array_equal(labels, np.indices((3, 3, 3, 2)).reshape(4, -1))
    for row in (0, 31, 53):
        colour = np.array(list(TRIFEATURE_COLOURS.values()))[gallery.colour[row]]
        off = (gallery.images[row] / 255 - 0.5)[:, :, colour != 0.5]
        assert (off * np.sign(colour - 0.5) > -0.01).all() and np.abs(off).max() > 0.4
    pairs = gallery.images.reshape(27, 2, -1).astype(int)
    assert (np.abs(pairs[:, 0] - pairs[:, 1]).max(1) > 20).all()  # renderings differ
    where = (np.abs(gallery.images[:12:6].astype(int) - 127.5) > 3).any(-1)
    assert (where[0] != where[1]).mean() > 0.05  # and so do batches
    again = make_gallery(draw, key, renderings=2, classes=3)
    np.testing.assert_array_equal(gallery.images, again.images)


@cache
def _labels(classes=10, renderings=3):
    """A gallery of tiny images."""
    blank = lambda key, shape, texture, colour: jnp.zeros((len(shape), 1, 1, 3))
    return make_gallery(blank, jax.random.key(0), renderings=renderings, classes=classes)


def _triples(gallery, rows):
    columns = gallery.shape, gallery.texture, gallery.colour
    return set(zip(*(c[rows].tolist() for c in columns), strict=True))


def test_splits_are_published_and_apart():
    gallery = _labels()
    train, test = split_triples(gallery, jax.random.key(1))
    assert len(train) == 2400 and len(test) == 200 and len(_triples(gallery, test)) == 200
    assert not _triples(gallery, train) & _triples(gallery, test)
    other = split_triples(gallery, jax.random.key(2))[1]
    assert 10 < len(np.intersect1d(other, test)) < 80  # 40 by chance
    every = split_triples(gallery, jax.random.key(1), held_out=0.5, test_renderings=None)
    assert [len(side) for side in every] == [1500, 1500] and not np.intersect1d(*every).size
    train, test = split_renderings(gallery)
    assert len(train) == 2000 and len(test) == 1000
    assert _triples(gallery, train) == _triples(gallery, test)
    assert set(gallery.rendering[train]) == {0, 1} and set(gallery.rendering[test]) == {2}


@cache
def _small():
    """A pool of few images, its gallery, rows and a mapping: one can count all pairs."""
    gallery = _labels(classes=3, renderings=2)
    rows = split_triples(gallery, jax.random.key(5), held_out=0.3)[0]
    return gallery, rows, pair_pool(gallery, rows), np.array([2, 0, 1], np.int32)


def _all_pairs(biased):
    """All pairs of rows, by brute force."""
    gallery, rows, _, mapping = _small()
    return [
        (i, j)
        for i in rows.tolist()
        for j in rows.tolist()
        if gallery.shape[i] == gallery.shape[j]
        and (not biased or gallery.colour[j] == mapping[gallery.texture[i]])
    ]


@pytest.mark.parametrize("bias", [0.0, 0.5, 1.0])
def test_pairs_have_their_exact_law(bias):
    _, _, pool, mapping = _small()
    draw = jax.vmap(lambda m: sample_pairs(pool, m, jax.random.key(0), 10_000, bias))
    _, rows = draw(np.stack([mapping, mapping[::-1]]))
    free, bound = _all_pairs(False), set(_all_pairs(True))
    chance = np.array([(1 - bias) / len(free) + bias * (p in bound) / len(bound) for p in free])
    place = {pair: k for k, pair in enumerate(free)}
    drawn = [place[tuple(pair)] for pair in np.asarray(rows[0]).tolist()]
    count = np.bincount(drawn, minlength=len(free))
    assert not count[chance == 0].any()
    seen = chance > 0
    assert stats.chisquare(count[seen], 10_000 * chance[seen]).pvalue > ALPHA


@pytest.mark.parametrize(("bias", "synergy"), [(0.0, 0.1), (0.3, 0.37), (1.0, 1.0)])
def test_pairs_share_the_shape_and_tell_their_factors(bias, synergy):
    gallery = _labels()
    mapping_key, split_key, key = jax.random.split(jax.random.key(0), 3)
    mapping = np.asarray(draw_mapping(mapping_key)[0])
    pool = pair_pool(gallery, split_triples(gallery, split_key)[0])
    factors, rows = jax.tree.map(np.asarray, sample_pairs(pool, mapping, key, 20_000, bias))
    assert rows.shape == (20_000, 2) and rows.dtype == np.int32
    np.testing.assert_array_equal(gallery.shape[rows], factors.shape[:, None].repeat(2, 1))
    np.testing.assert_array_equal(gallery.texture[rows], factors.texture)
    np.testing.assert_array_equal(gallery.colour[rows], factors.colour)
    respects = factors.colour[:, 1] == mapping[factors.texture[:, 0]]
    np.testing.assert_array_equal(respects, factors.synergy[:, 0])
    assert abs(respects.mean() - synergy) < 0.02
    for column in (factors.shape, *factors.texture.T, *factors.colour.T):
        assert np.abs(np.bincount(column, minlength=10) / 20_000 - 0.1).max() < 0.03


def test_fixed_pairs_are_different_ones_or_all():
    _, _, pool, mapping = _small()
    for biased in (False, True):
        factors, rows = fixed_pairs(pool, mapping, jax.random.key(0), None, biased=biased)
        everything = _all_pairs(biased)
        assert sorted(map(tuple, np.asarray(rows).tolist())) == sorted(everything)
        some = fixed_pairs(pool, mapping, jax.random.key(0), 7, biased=biased)[1]
        np.testing.assert_array_equal(some, rows[:7])
        assert not biased or factors.synergy.all()
    other = fixed_pairs(pool, mapping, jax.random.key(1), 7, biased=True)[1]
    assert (np.asarray(other) != np.asarray(some)).any()


def test_published_numbers_of_pairs():
    gallery, mapping = _labels(), draw_mapping(jax.random.key(0))[0]
    train, test = (pair_pool(gallery, s) for s in split_triples(gallery, jax.random.key(1)))
    factors, rows = fixed_pairs(train, mapping, jax.random.key(2), biased=True)
    assert len(np.unique(rows, axis=0)) == 10_000 and factors.synergy.all()
    factors, _ = fixed_pairs(test, mapping, jax.random.key(2), None, biased=False)
    assert 4000 <= len(factors.shape) < 4400 and 0.05 < factors.synergy.mean() < 0.15


def test_a_pool_without_mapped_pairs_gives_free_ones():
    gallery = _labels(classes=3, renderings=2)
    pool = pair_pool(gallery, np.array([0, 1]))  # texture 0, colour 0
    factors, rows = sample_pairs(pool, np.array([1, 2, 0]), jax.random.key(0), 50, 1.0)
    assert not factors.synergy.any() and set(np.asarray(rows).ravel()) == {0, 1}
    with pytest.raises(InvalidInput, match="n: None is not allowed.*from 1 to 0"):
        fixed_pairs(pool, np.array([1, 2, 0]), jax.random.key(0), None, biased=True)


def test_the_mapping_is_that_of_the_numeric_task():
    key = jax.random.key(7)
    init = trifactor_model().init
    mapping = jax.jit(lambda key: init(jax.random.key(0), key).mapping)(key)
    np.testing.assert_array_equal(draw_mapping(key), mapping)
    np.testing.assert_array_equal(np.sort(draw_mapping(key, 3, 5)), [range(5)] * 3)
    assert (np.asarray(draw_mapping(jax.random.key(8))) != draw_mapping(key)).any()


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (dict(size=15), "size: 15 is not allowed; use a whole number from 16 to 512"),
        (dict(size=513), "size: 513"),
        (dict(size=32.0), "size: 32.0"),
        (dict(scale=0.0), "scale: 0.0 is not allowed; use a number > 0"),
        (dict(period=-1.0), "period: -1.0"),
        (dict(size=True), "size: True"),
        (dict(gaps=1.5), "gaps: 1.5 is not allowed; use a number from 0 to 1"),
    ],
)
def test_bad_images_are_refused(options, line):
    with pytest.raises(InvalidInput, match=f"^{line}"):
        render_trifeature(TEN, TEN, TEN, canonical_pose(10), **options)


def test_no_row_is_refused():
    with pytest.raises(InvalidInput, match="^rows: 0 is not allowed; use at least one"):
        render_trifeature(TEN[:0], TEN[:0], TEN[:0], canonical_pose(0))


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda g: draw_pose(jax.random.key(0), 2, scale=0.8), "scale: 0.8"),
        (lambda g: make_gallery(None, None, renderings=0), "renderings: 0 is not allowed"),
        (lambda g: make_gallery(None, None, classes=1), "classes: 1 is not allowed"),
        (lambda g: split_triples(g, jax.random.key(0), held_out=1.0), "held_out: 1.0"),
        (lambda g: split_triples(g, jax.random.key(0), held_out=1e-4), "held_out: 0.0001"),
        (lambda g: split_triples(g, jax.random.key(0), test_renderings=0), "test_renderings: 0"),
        (lambda g: split_renderings(g, 2), "tests: 2 is not allowed; use .*< 2"),
        (lambda g: pair_pool(g, np.array([], int)), r"rows: 'array of shape \(0,\)'"),
        (lambda g: pair_pool(g, np.array([54])), "rows: .* rows of 0 to 53"),
        (
            lambda g: fixed_pairs(_small()[2], _small()[3], jax.random.key(0), 999, biased=False),
            "n: 999 is not allowed; use a whole number from 1 to",
        ),
        (
            lambda g: fixed_pairs(_small()[2], _small()[3], jax.random.key(0), 0, biased=False),
            "n: 0 is not allowed",
        ),
    ],
)
def test_bad_galleries_are_refused(call, line):
    with pytest.raises(InvalidInput, match=f"^{line}"):
        call(_labels(classes=3, renderings=2))

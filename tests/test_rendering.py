"""The renderer: geometry against brute force, each factor against the pixels it may change."""

import colorsys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.errors import InvalidInput
from mmjax.observations.rendering import (
    SHAPE_NAMES,
    SPHERE,
    hsv_to_rgb,
    render,
    render_float,
    scene_mask,
    scene_shapes,
    shape_table,
)
from mmjax.observations.rendering.primitives import (
    bone,
    both,
    ellipsoid,
    normalised,
    surface_points,
)
from mmjax.observations.rendering.scene import (
    CAMERA,
    FLOOR,
    RADIUS,
    REACH,
    UPRIGHT,
    place,
    rotation,
    spotlight,
)
from mmjax.observations.rendering.shadow import shadow
from mmjax.observations.rendering.shapes import hare
from mmjax.observations.rendering.trace import MISS, Parts, blended_normal, first_entry
from mmjax.types import SceneFactors

CONTINUOUS = SceneFactors._fields[4:]
ROTATIONS = ("object_alpharot", "object_betarot", "object_gammarot")


# Most tests render 32 scenes at 64 pixels, so that one compilation serves them.
def _random(n=32, seed=0):
    """Scenes as in the data set."""
    rng = np.random.default_rng(seed)
    whole = (rng.integers(0, k, n).astype(np.int32) for k in (7, 3, 3))
    return SceneFactors(
        *whole, np.zeros(n, np.float32), *rng.uniform(size=(7, n)).astype(np.float32)
    )


def _scenes(n=32, **values):
    """Canonical scenes in the middle; the values given are repeated up to n scenes."""
    fields = {name: 0.5 for name in CONTINUOUS}
    fields |= dict(object_shape=0, object_xpos=1, object_ypos=1, object_zpos=0.0) | values
    return SceneFactors(*(np.resize(fields[name], n) for name in SceneFactors._fields))


def _varied(name, low=0.05, high=0.95):
    """32 random scenes twice: with one value for a factor, and with another."""
    scenes = _random()
    constant = lambda v: np.full(32, v, getattr(scenes, name).dtype)
    return scenes._replace(**{name: constant(low)}), scenes._replace(**{name: constant(high)})


def _centroids(masks):
    """`[n, 2]` mean row and column of masks, in [0, 1]."""
    side = masks.shape[1]
    centres = (np.arange(side) + 0.5) / side
    mass = masks.sum(axis=(1, 2))
    return (
        np.stack([masks.sum(axis=2) @ centres, masks.sum(axis=1) @ centres], axis=1) / mass[:, None]
    )


def test_hsv_to_rgb_is_that_of_colorsys():
    rng = np.random.default_rng(0)
    hsv = rng.uniform(size=(500, 3)).astype(np.float32)
    hsv[:7, 0] = np.arange(7) / 6
    hsv[7:40, 0] -= 1.0  # negative hues wrap
    expected = [colorsys.hsv_to_rgb(h % 1.0, s, v) for h, s, v in hsv.tolist()]
    np.testing.assert_allclose(hsv_to_rgb(*hsv.T), expected, atol=2e-6)
    assert hsv_to_rgb(0.5).shape == (3,)
    assert hsv_to_rgb(jnp.zeros((2, 5)), 0.5).shape == (2, 5, 3)


def test_rotation_is_blenders_xyz():
    def turn(axis, v):
        angle = np.pi * v - np.pi / 2
        i, j = [(1, 2), (2, 0), (0, 1)][axis]
        matrix = np.eye(3)
        matrix[[i, j, i, j], [i, j, j, i]] = [
            np.cos(angle), np.cos(angle), -np.sin(angle), np.sin(angle)
        ]  # fmt: skip
        return matrix

    v = np.random.default_rng(0).uniform(size=(20, 3)).astype(np.float32)
    expected = [turn(2, c) @ turn(1, b) @ turn(0, a) for a, b, c in v]
    np.testing.assert_allclose(rotation(*v.T), expected, atol=1e-6)


def _distance(part, points):
    """Local distance of `[n, 3]` points from a part: the nearest of 400 balls of its sweep."""
    q = (points - part.start) @ np.asarray(part.to_local, float).T
    along = np.linspace(0, 1, 400)
    centres = np.stack([0 * along, 0 * along, along * part.length], axis=1)
    radii = part.first + (part.last - part.first) * along
    return np.min(np.linalg.norm(q[:, None] - centres, axis=2) - radii, axis=1)


PARTS = {
    "ball": ellipsoid((0.1, 0.2, -0.3), (0.6, 0.6, 0.6)),
    "ellipsoid": ellipsoid((0.1, 0.2, -0.3), (0.9, 0.2, 0.5), tilt=30),
    "capsule": bone((-0.5, 0, 0.2), (0.4, 0.6, 0.1), 0.3),
    "cone": bone((-0.5, 0, 0.2), (0.4, 0.6, 0.1), 0.05, 0.5),
    "blade": bone((-0.5, 0, 0.2), (0.4, 0.6, 0.1), 0.5, 0.1, flat=((0.3, 0.1, 1), 0.3)),
}


def _parts(*parts):
    return Parts(*(jnp.asarray(column[0]) for column in shape_table([parts])))


@pytest.mark.parametrize("name", PARTS)
def test_first_entry_against_dense_points(name):
    """Nothing of the body before the entry, the body right behind it; nothing along a miss."""
    part = PARTS[name]
    rng = np.random.default_rng(0)
    start = rng.normal(size=(60, 3))
    start *= 4 / np.linalg.norm(start, axis=1, keepdims=True)
    direction = rng.uniform(-0.7, 0.7, size=(60, 3)) - start
    t = np.asarray(first_entry(_parts(part), tuple(start.T), tuple(direction.T)))
    met = t < MISS
    assert 5 < met.sum() < 55
    grid = np.linspace(0, 2, 200)
    for k in range(60):
        before = grid[grid < (t[k] - 1e-3 if met[k] else MISS)]
        assert _distance(part, start[k] + before[:, None] * direction[k]).min() > 0
    surface = start[met] + t[met, None] * direction[met]
    assert np.abs(_distance(part, surface)).max() < 5e-3
    np.testing.assert_array_less(_distance(part, surface + 0.02 * direction[met]), 0.02)


@pytest.mark.parametrize("name", PARTS)
def test_normals_are_the_gradient_of_distance(name):
    part = PARTS[name]
    rng = np.random.default_rng(1)
    points = rng.normal(size=(40, 3))
    origin = 4 * points / np.linalg.norm(points, axis=1, keepdims=True)
    direction = part.start + rng.normal(size=(40, 3)) * 0.05 - origin
    t = np.asarray(first_entry(_parts(part), tuple(origin.T), tuple(direction.T)))
    surface = (origin + t[:, None] * direction)[t < MISS]
    steps = 1e-3 * np.eye(3)
    gradient = np.stack(
        [_distance(part, surface + s) - _distance(part, surface - s) for s in steps], axis=1
    )
    gradient /= np.linalg.norm(gradient, axis=1, keepdims=True)
    normal = np.stack(
        blended_normal(_parts(part), tuple(jnp.asarray(surface.T)), width=0.1), axis=1
    )
    np.testing.assert_allclose(np.linalg.norm(normal, axis=1), 1, atol=1e-4)
    assert np.sum(normal * gradient, axis=1).min() > 0.995


def test_normals_blend_across_a_crease():
    left, right = ellipsoid((-0.5, 0, 0), (0.6,) * 3), ellipsoid((0.5, 0, 0), (0.6,) * 3)
    height = np.sqrt(0.6**2 - 0.5**2)
    at_crease = tuple(jnp.array([v]) for v in (0.0, height, 0.0))
    normal = blended_normal(_parts(left, right), at_crease, width=0.3)
    np.testing.assert_allclose(np.ravel(normal), [0, 1, 0], atol=1e-4)
    beside = tuple(jnp.array([v]) for v in (0.5, 0.6, 0.0))
    normal = blended_normal(_parts(left, right), beside, width=0.3)
    np.testing.assert_allclose(np.ravel(normal), [0, 1, 0], atol=1e-3)


def test_shadow_is_where_rays_to_the_light_meet_the_body():
    def both_ways(factors):
        _, parts = place(scene_shapes(), factors)
        light, _ = spotlight(factors)
        x, y = jnp.meshgrid(*(jnp.linspace(-9, 9, 80),) * 2, indexing="ij")
        soft = shadow(parts, light, x, y, floor=FLOOR, penumbra=0.05)
        start = (x, y, FLOOR)
        towards = tuple(light[i] - start[i] for i in range(3))
        return soft, first_entry(parts, start, towards) < MISS

    soft, blocked = jax.jit(jax.vmap(both_ways))(jax.tree.map(jnp.asarray, _random(16)))
    dark = np.asarray(soft) < 0.5
    blocked = np.asarray(blocked)
    overlap = (dark & blocked).sum(axis=(1, 2)) / (dark | blocked).sum(axis=(1, 2))
    assert blocked.mean() > 0.02 and overlap.min() > 0.85 and overlap.mean() > 0.93


def test_bodies_fill_the_unit_ball_and_stay_inside():
    shapes = scene_shapes()
    assert shapes.start.shape[0] == len(SHAPE_NAMES) == 7
    for table in (shapes, SPHERE):
        for k in range(table.start.shape[0]):
            q = surface_points(ellipsoid((0, 0, 0), (1, 1, 1)), 3000)[:3000]
            ends = []
            for j in range(table.start.shape[1]):
                length = [0, 0, table.length[k, j]]
                balls = [q * table.first[k, j], q * table.last[k, j] + length]
                ends.append(np.concatenate(balls) @ table.to_body[k, j].T + table.start[k, j])
            reach = np.linalg.norm(np.concatenate(ends), axis=1).max()
            assert 0.98 < reach <= 1 + 1e-6
    np.testing.assert_allclose(
        shapes.to_local @ shapes.to_body, np.eye(3) + 0 * shapes.to_body, atol=1e-4
    )


def test_mirrored_parts_mirror_the_body():
    body = both(*hare()[5:7])
    left, right = (
        np.concatenate([surface_points(p) for p in half]) for half in (body[:2], body[2:])
    )
    np.testing.assert_allclose(right[:, 2].max(), -left[:, 2].min(), atol=0.01)
    np.testing.assert_allclose(right[:, :2].max(0), left[:, :2].max(0), atol=0.01)


def test_normalised_turns_the_face_to_the_camera():
    nose = bone((0, 0, 0), (1, 0, 0), 0.1)
    turned = normalised([nose], yaw=90)[0]
    np.testing.assert_allclose(turned.start, [0, 0, -0.5 / 0.6], atol=0.02)
    leaning = normalised([bone((0, 0, 0), (0, 1, 0), 0.1)], pitch=90)[0]
    np.testing.assert_allclose(leaning.start, [0, 0, -0.5 / 0.6], atol=0.02)


def test_images_are_functions_of_each_scene_alone():
    scenes = _random(70)  # two chunks at 64 pixels
    images = np.asarray(render(scenes))
    assert images.shape == (70, 64, 64, 3) and images.dtype == np.uint8
    np.testing.assert_array_equal(images, render(scenes))
    alone = [
        render(jax.tree.map(lambda x, i=i: x[i : i + 1], scenes))[0] for i in (0, 1, 34, 35, 69)
    ]
    difference = images[[0, 1, 34, 35, 69]].astype(int) - np.stack(alone)
    assert np.abs(difference).max() <= 1
    assert len({image.tobytes() for image in images}) == 70


def test_bytes_are_the_rounded_floats_and_compile_once():
    draw = jax.jit(lambda scenes: render(scenes, 32))
    for seed in range(2):
        scenes = _random(5, seed)
        floats = np.asarray(render_float(scenes, 32))
        assert floats.dtype == np.float32 and floats.min() >= 0 and floats.max() <= 1
        assert np.abs(255 * floats - np.asarray(draw(scenes))).max() <= 0.5 + 1e-3
    assert draw._cache_size() == 1


def test_double_precision_draws_the_same_image():
    scenes = _random(5)
    single = np.asarray(render_float(scenes, 32))
    with jax.enable_x64(True):
        double = render_float(scenes, 32)
    assert double.dtype == np.float32
    np.testing.assert_allclose(double, single, atol=1e-5)


@pytest.mark.parametrize("resolution", [64, 224])
def test_ball_is_where_geometry_says(resolution):
    """The mask of a ball at all nine positions, against the rays' distance from its centre."""
    y, x = (v.astype(np.int32) for v in np.divmod(np.arange(9), 3))
    scenes = _scenes(object_xpos=x, object_ypos=y)
    masks = np.asarray(scene_mask(scenes, resolution, shapes=SPHERE))
    slope = (2 * (np.arange(resolution) + 0.5) / resolution - 1) * REACH
    rows, columns = np.meshgrid(slope, slope, indexing="ij")
    rays = np.stack([rows, columns, -np.ones_like(rows)], axis=-1)
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    for k in range(9):
        centre = np.array([3 * y[k] - 3, 3 * x[k] - 3, -CAMERA])
        gap = np.linalg.norm(centre - (rays @ centre)[..., None] * rays, axis=-1) - RADIUS
        wrong = masks[k] != (gap < 0)
        assert np.abs(gap[wrong]).max(initial=0) < 1e-3, "only where rounding decides"


def test_object_lies_inside_the_frame():
    scenes = _random()
    ring = np.ones((64, 64), bool)
    ring[1:-1, 1:-1] = False
    for k in range(9):
        corner = scenes._replace(
            object_xpos=np.full(32, k % 3, np.int32), object_ypos=np.full(32, k // 3, np.int32)
        )
        assert not np.asarray(scene_mask(corner))[:, ring].any()


def test_turning_a_ball_does_nothing():
    scenes = _random()
    turned = scenes._replace(**{name: getattr(_random(seed=1), name) for name in ROTATIONS})
    masks = np.asarray(scene_mask(scenes, shapes=SPHERE))
    assert (masks != scene_mask(turned, shapes=SPHERE)).mean() < 1e-3
    change = np.abs(render_float(scenes, shapes=SPHERE) - render_float(turned, shapes=SPHERE))
    assert np.median(change.max(axis=(1, 2, 3))) < 0.01 and change.mean() < 1e-3
    assert (scene_mask(scenes) != scene_mask(turned)).mean() > 0.02, "the shapes do turn"


@pytest.mark.parametrize("name", ROTATIONS)
def test_each_rotation_turns_the_shapes(name):
    before, after = _varied(name, 0.2, 0.7)
    masks, turned = np.asarray(scene_mask(before)), np.asarray(scene_mask(after))
    overlap = (masks & turned).sum(axis=(1, 2)) / (masks | turned).sum(axis=(1, 2))
    assert overlap.mean() < 0.8
    assert np.abs(_centroids(masks) - _centroids(turned)).max() < 0.12, "it stays in place"


def test_gamma_turns_the_picture_of_the_middle():
    """A quarter turn about the line of sight is a quarter turn of the mask."""
    scenes = lambda v: _scenes(object_shape=np.arange(7), object_gammarot=v)
    masks, turned = np.asarray(scene_mask(scenes(0.25))), np.asarray(scene_mask(scenes(0.75)))
    # From x (down) to y (right) is counter-clockwise in the image.
    back = np.rot90(masks, 1, axes=(1, 2))
    assert (back != turned).mean() < 0.005 and (masks != turned).mean() > 0.02


def test_upright_body_has_its_top_at_the_top():
    table = shape_table(
        [[ellipsoid((0, 0, 0), (0.1, 0.9, 0.1)), ellipsoid((0.2, 0.8, 0), (0.2,) * 3)]]
    )
    ((row, column),) = _centroids(np.asarray(scene_mask(_scenes(1), 32, shapes=table)))
    assert row < 0.48 and column > 0.51
    assert np.linalg.det(UPRIGHT) > 0, "no mirror image"


def test_object_hue_changes_the_object_alone():
    hues = np.array(
        [0, 1 / 6, 1 / 3, 2 / 3, 5 / 6], np.float32
    )  # red, yellow, green, blue, magenta
    scenes = _random()
    red, yellow, green, blue, magenta = (
        np.asarray(render_float(scenes._replace(object_color=np.full(32, h)))) for h in hues
    )
    inside = np.asarray(scene_mask(scenes))
    np.testing.assert_array_equal(red[~inside], blue[~inside])
    changed = np.any(red != blue, axis=-1)
    np.testing.assert_array_equal(changed, inside)
    # Each channel is the light on the shape times the hue's channel: hue is no part of the light.
    light = np.stack([red[..., 0], green[..., 1], blue[..., 2]], axis=-1)[inside]
    for image, colour in ((red, (1, 0, 0)), (yellow, (1, 1, 0)), (magenta, (1, 0, 1))):
        np.testing.assert_allclose(image[inside], light * np.array(colour), atol=1e-5)


def test_object_hue_can_be_told_and_no_part_is_black():
    scenes = _random(seed=2)
    images, masks = np.asarray(render_float(scenes)), np.asarray(scene_mask(scenes))
    for image, mask, hue in zip(images, masks, scenes.object_color, strict=True):
        assert image[mask].max(axis=1).min() > 0.15
        seen = colorsys.rgb_to_hsv(*image[mask].mean(axis=0))[0]
        assert abs((seen - hue + 0.5) % 1 - 0.5) < 0.08


def test_background_color_changes_the_background_alone():
    before, after = _varied("background_color")
    images, changed = np.asarray(render_float(before)), np.asarray(render_float(after))
    inside = np.asarray(scene_mask(before))
    np.testing.assert_array_equal(images[inside], changed[inside])
    assert np.all(np.any(images != changed, axis=-1) | inside)
    # The light on it stays: the channels are the colour's times the same numbers.
    colour = lambda v: hsv_to_rgb((v - 0.5) / 2, 0.6)
    ratio = images[~inside] / colour(0.05), changed[~inside] / colour(0.95)
    np.testing.assert_allclose(*ratio, atol=1e-5)


@pytest.mark.parametrize("name", ["spotlight_pos", "spotlight_color"])
def test_spotlight_changes_light_not_shape(name):
    before, after = _varied(name)
    masks = np.asarray(scene_mask(before))
    np.testing.assert_array_equal(masks, scene_mask(after))
    images, changed = np.asarray(render_float(before)), np.asarray(render_float(after))
    difference = np.abs(images - changed).max(axis=-1)
    for region in (masks, ~masks):
        lit = [d[r].max() for d, r in zip(difference, region, strict=True)]
        assert np.median(lit) > 0.05
    # The outline in the image is the mask under either light: where another hue shows.
    other = after._replace(object_color=(after.object_color + 0.5) % 1)
    np.testing.assert_array_equal(np.any(changed != render_float(other), axis=-1), masks)


def test_spotlight_color_is_seen_on_the_background():
    before, after = _varied("spotlight_color")  # purple, yellow
    purple, yellow = np.asarray(render_float(before)), np.asarray(render_float(after))
    outside = ~np.asarray(scene_mask(before))
    assert np.all(purple[outside][:, 1] <= yellow[outside][:, 1] + 1e-6)
    assert np.all(purple[outside][:, 2] >= yellow[outside][:, 2] - 1e-6)
    assert (yellow - purple)[outside][:, 1].mean() > 0.03


def test_spotlight_position_moves_shading_and_shadow():
    """Lit from above, right, below: a ball is brighter there and its shadow falls opposite."""
    scenes = _scenes(spotlight_pos=[0.0, 0.5, 1.0], object_color=0.0)
    images = np.asarray(render_float(scenes, shapes=SPHERE)).sum(axis=-1)
    masks = np.asarray(scene_mask(scenes, shapes=SPHERE))
    towards = np.array([[-1, 0], [0, 1], [1, 0]])  # rows, columns
    offset = np.stack(np.meshgrid(*(np.arange(64) - 31.5,) * 2, indexing="ij"), axis=-1)
    for image, mask, direction in zip(images, masks, towards, strict=False):
        side = offset @ direction
        assert image[mask & (side > 3)].mean() > 1.1 * image[mask & (side < -3)].mean()
        near = ~mask & (np.linalg.norm(offset, axis=-1) < 18)
        assert image[near & (side > 8)].mean() > 1.1 * image[near & (side < -8)].mean()


@pytest.mark.parametrize("name, axis", [("object_ypos", 0), ("object_xpos", 1)])
def test_positions_move_the_object_by_a_cell(name, axis):
    scenes = _random()
    images, masks = [], []
    for v in range(3):
        moved = scenes._replace(**{name: np.full(32, v, np.int32)})
        images.append(np.asarray(render_float(moved)))
        masks.append(np.asarray(scene_mask(moved)))
    centroids = [_centroids(m) for m in masks]
    cell = 3 / CAMERA / REACH / 2
    for first, second in ((0, 1), (1, 2)):
        step = centroids[second] - centroids[first]
        np.testing.assert_allclose(step[:, axis], cell, atol=0.05)
        assert np.abs(step[:, axis].mean() - cell) < 0.01
        assert np.abs(step[:, 1 - axis]).max() < 0.03
        # Colours stay, up to the light's and the camera's angle.
        colours = [
            np.stack([i[m].mean(axis=0) for i, m in zip(images[v], masks[v], strict=True)])
            for v in (first, second)
        ]
        assert np.abs(colours[0] - colours[1]).max() < 0.15


def test_shapes_differ():
    """Overlap of the masks of two shapes, over common rotations and in the canonical pose."""
    rotations = {name: getattr(_random(), name) for name in ROTATIONS}
    shape = lambda k: np.asarray(scene_mask(_scenes(object_shape=k, **rotations))).reshape(32, -1)
    turned = np.stack([shape(k) for k in range(7)])
    canonical = np.asarray(scene_mask(_scenes(object_shape=np.arange(7))))[:7].reshape(7, 1, -1)
    for masks in (turned, canonical):
        common, either = masks[:, None] & masks, masks[:, None] | masks
        overlap = (common.sum(axis=-1) / either.sum(axis=-1)).mean(axis=-1)
        np.testing.assert_array_equal(np.diag(overlap), 1)
        assert overlap[~np.eye(7, dtype=bool)].max() < 0.68


@pytest.mark.parametrize("resolution", [32, 96, 224])
def test_resolutions_show_the_same_scene(resolution):
    few = jax.tree.map(lambda x: x[:5], _random())
    masks, reference = (
        np.asarray(scene_mask(few, resolution)),
        np.asarray(scene_mask(_random()))[:5],
    )
    assert np.abs(_centroids(masks) - _centroids(reference)).max() < 0.012
    np.testing.assert_allclose(masks.mean(axis=(1, 2)), reference.mean(axis=(1, 2)), rtol=0.2)
    if resolution != 96:  # which spares a compilation
        images, reference = np.asarray(render_float(few, resolution)), render_float(_random())[:5]
        assert images.shape == (5, resolution, resolution, 3)
        np.testing.assert_allclose(images.mean(axis=(1, 2)), reference.mean(axis=(1, 2)), atol=0.01)


def test_supersampling_averages_finer_rays():
    scenes = _random()
    fine = np.asarray(render_float(scenes)).reshape(32, 32, 2, 32, 2, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(render_float(scenes, 32, supersample=2), fine, atol=1e-5)


@pytest.mark.parametrize("resolution", [31, 225, 0, 64.0])
def test_resolution_out_of_range(resolution):
    for function in (render, render_float, scene_mask):
        with pytest.raises(InvalidInput, match="resolution"):
            function(_random(2), resolution)


def test_bad_input():
    with pytest.raises(InvalidInput, match="supersample"):
        render(_random(2), supersample=5)
    with pytest.raises(InvalidInput, match="batch"):
        render(_random(0))
    with pytest.raises(AssertionError):
        render(_random(2)._replace(object_color=np.zeros(3)))

"""One component moved and decoded: known maps first, then what is trained and read."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import traverse
from mmjax.disentangle import Affine
from mmjax.errors import InvalidInput
from mmjax.evaluate.decoded import Moves, decoded_moves, scored
from mmjax.run import launch
from mmjax.studies.decoding import judge_skill, train_decoder, train_judge
from mmjax.studies.pictures import parted, partner_of, read_pictures
from mmjax.tables.traverse import ways_figures

KEY = jax.random.key(0)
Z = np.random.default_rng(0).uniform(size=(400, 2)).astype(np.float32)
EYE = Affine(jnp.zeros(2), jnp.eye(2), jnp.eye(2))


def read(x):
    """A quantity of the first column, a class of the second."""
    return {"size": x[:, 0], "kind": jax.nn.softmax(50 * (x[:, 1:] - 0.5) * jnp.array([1.0, -1]))}


def test_the_true_axes_move_one_factor_each_and_turned_ones_both():
    # What is compiled gives its factors in another order.
    found = decoded_moves(EYE, jnp.asarray(Z), jax.jit(read), anchors=100)
    assert dict(zip(found.factors, found.component, strict=True)) == {"size": 0, "kind": 1}
    assert found.own > 0.95 and found.others < 1e-5
    np.testing.assert_allclose(found.moves[found.component], np.eye(2), atol=0.1)
    turn = jnp.array([[1.0, 1.0], [1.0, -1.0]]) / 2**0.5
    turned = decoded_moves(Affine(jnp.zeros(2), turn, turn), jnp.asarray(Z), read, anchors=100)
    assert turned.others > 0.35


def test_what_few_pictures_or_one_factor_can_not_tell_is_left_out():
    rng = np.random.default_rng(0)
    for rows, names, told in ((400, "ab", True), (12, "ab", False), (400, "a", False)):
        x = rng.normal(size=(rows, 2)).astype(np.float32)
        truth = {name: x[:, k] for k, name in enumerate(names)}
        moves = Moves(tuple(names), *[np.zeros(2)] * 2, 0.0, 0.0, np.zeros(2, int))
        figures = ways_figures(EYE, x, truth, moves)
        assert ("disentanglement" in figures) == ("completeness" in figures) == told
        assert ("others" in figures) == (len(names) > 1)
        assert ("informativeness" in figures) == (rows > 12)


def test_moves_are_matched_one_to_one():
    found = scored(np.array([[0.9, 0.8], [0.7, 0.1], [0.0, 0.0]]), "ab")
    assert found.component.tolist() == [1, 0]
    np.testing.assert_allclose(found.matched, [0.7, 0.8])
    assert found.others == pytest.approx(1 - 1.5 / 2.5)
    assert scored(np.zeros((1, 2)), "ab").component.tolist() in ([0, -1], [-1, 0])
    for bad in (dict(anchors=0), dict(ends=(0.9, 0.1))):
        with pytest.raises(InvalidInput, match=next(iter(bad))):
            decoded_moves(EYE, jnp.asarray(Z), read, **bad)


def painted(z):
    """Pictures `[n, 4, 4, 1]` of two quantities: the brightness of either half."""
    halves = np.repeat(z[:, :, None], 8, 2).reshape(len(z), 4, 4, 1)
    return np.round(255 * halves).astype(np.uint8)


@pytest.mark.slow
def test_a_decoder_paints_and_a_judge_reads_what_features_tell():
    images, kind = painted(Z), np.where(Z[:, 1] > 0.5, "light", "dark")
    how = dict(hidden=(32,), steps=400, batch=64)
    decoder = train_decoder(Z[:300], images[:300], KEY, unit=False, **how)
    shown = decoder.decode(jnp.asarray(Z[300:]))
    assert shown.shape == (100, 4, 4, 1)
    error = float(jnp.mean((shown - images[300:] / 255) ** 2))
    assert error < 0.05 * np.var(images / 255)
    factors = {"size": Z[:, 0], "kind": kind}
    some = lambda rows: {name: v[rows] for name, v in factors.items()}
    pixels = jnp.asarray(images / 255, jnp.float32)
    judge = train_judge(pixels[:300], some(slice(300)), KEY, **how)
    skill = judge_skill(judge, shown, some(slice(300, None)))
    assert skill["size"] > 0.9 and skill["kind"] > 0.9
    seen = lambda x: judge.read(decoder.decode(x))
    moves = decoded_moves(EYE, jnp.asarray(Z), seen, anchors=50)
    assert moves.own > 0.8 and moves.others < 0.15
    assert dict(zip(moves.factors, moves.component, strict=True)) == {"size": 0, "kind": 1}
    told = ways_figures(EYE, jnp.asarray(Z), {"size": Z[:, 0], "other": Z[:, 1]}, moves)
    assert told["mcc"] > 0.99 and told["disentanglement"] > 0.95


def test_what_a_decoder_and_a_judge_refuse():
    with pytest.raises(InvalidInput, match="images.*uint8"):
        train_decoder(Z, painted(Z)[:-1], KEY, unit=False)
    with pytest.raises(InvalidInput, match="kind"):
        train_judge(jnp.zeros((5, 2, 2, 1)), {"kind": np.zeros(4)}, KEY)
    with pytest.raises(InvalidInput, match="factors"):
        train_judge(jnp.zeros((5, 2, 2, 1)), {}, KEY)


def test_pictures_of_a_file_come_with_their_labels(tmp_path):
    rng, path = np.random.default_rng(0), str(tmp_path / "shown.npz")
    photo = rng.integers(0, 255, (6, 5, 5), np.uint8)
    arrays = dict(photo=photo, kind=np.arange(6), said=np.arange(3) * 10, order=np.array([4, 0, 2]))
    odd = dict(share=np.full(6, 0.5), flat=np.ones((6, 2)), none=np.zeros((0, 5, 5), np.uint8))
    odd["same"] = np.full(6, 3)
    odd["hole"] = np.where(np.arange(6) == 2, np.nan, 1.0)
    np.savez(path, **arrays, **odd)
    given = dict(images="photo", labels=("kind", "said"), index="order", key=KEY)
    found = read_pictures(path, **given)
    assert found.images.shape == (3, 5, 5, 1)
    assert sorted(found.factors) == ["ink", "kind", "said", "slant"]
    for image, kind, said, ink in zip(
        found.images, *(found.factors[n] for n in ("kind", "said", "ink")), strict=True
    ):
        np.testing.assert_array_equal(image[..., 0], photo[kind])
        assert said == 10 * [4, 0, 2].index(kind)
        assert ink == pytest.approx(photo[kind].mean() / 255, rel=1e-5)
    for wrong, told in (
        (dict(images="said"), "images 'said'"),
        (dict(labels=("no",)), "no labels 'no'"),
        (dict(index="said"), "index 'said'"),
        (dict(index="", labels=("said",)), "3 rows, not 6"),
        (dict(labels=("same",)), "labels 'same' are all 3; use labels of two values or more"),
        (dict(index="share"), "'share' has 0.5 in row 0"),
        (dict(labels=("flat",)), "labels 'flat' are float64 .6, 2.; use a number or text a row"),
        (dict(labels=("hole",)), "array 'hole' has NaN or infinity .*row 2"),
        (dict(features="kind"), "features 'kind' are int64 .6,.; use numbers .n, f."),
        (dict(images="none"), "array 'none' has shape"),
    ):
        with pytest.raises(InvalidInput, match=told):
            read_pictures(path, **given | wrong)


def test_a_file_is_read_before_a_folder_is_made(tmp_path, capsys):
    rng, path = np.random.default_rng(0), str(tmp_path / "shown.npz")
    np.savez(path, images=rng.integers(0, 255, (6, 5, 5), np.uint8), labels=np.arange(6))
    how = dict(experiment="traverse", doc="", about=traverse.ABOUT)
    for flags, told in (
        ([f"--data={path}"], "shown.npz: 6 pictures; use 20 or more"),
        ([f"--data={path}", "--labels=no"], "no labels 'no'"),
        ([f"--data={tmp_path}/none.npz"], "existing file (data: "),
        (["--temperature=0"], "a number > 0 (temperature: 0.0"),
    ):
        argv = ["traverse", f"--workdir={tmp_path}/run", *flags]
        assert launch(traverse.main, traverse.Config, traverse.PRESETS, **how, argv=argv) == 2
        assert told in capsys.readouterr().err and not (tmp_path / "run").exists()


def test_a_partner_tells_quantities_with_noise_and_classes_as_they_are():
    factors = {"size": Z[:, 0], "kind": np.arange(400) % 3}
    found = partner_of(factors, 0.2, KEY)
    assert found.shape == (400, 4)
    np.testing.assert_array_equal(found[:, 1:], np.eye(3)[factors["kind"]])
    noise = found[:, 0] - (Z[:, 0] - Z[:, 0].mean()) / Z[:, 0].std()
    assert np.abs(noise).mean() == pytest.approx(0.2, rel=0.15)


def saved(tmp_path, **arrays):
    """Twelve pictures of noise in colour, a class and features, unless others are given."""
    rng, path = np.random.default_rng(1), str(tmp_path / "noise.npz")
    some = dict(images=rng.integers(0, 255, (12, 4, 4, 3), np.uint8), kind=np.arange(12) % 2)
    np.savez(path, **some | dict(values=rng.normal(size=(12, 3))) | arrays)
    return path


def test_a_picture_that_occurs_often_is_on_one_side_of_the_split(tmp_path):
    often = np.random.default_rng(2).permutation(np.repeat(np.arange(12), 6))
    path = saved(tmp_path, order=often)
    given = dict(images="images", labels=("kind",), key=KEY)
    with np.load(path) as file:
        arrays = dict(file)
    indexed = read_pictures(path, index="order", **given)
    copied = saved(tmp_path, images=arrays["images"][often], kind=arrays["kind"][often])
    for data in (indexed, read_pictures(copied, **given)):
        assert len(np.unique(data.groups)) == 12
        fitted, held = parted(data.groups, KEY)
        np.testing.assert_array_equal(np.sort(np.r_[fitted, held]), np.arange(72))
        of = lambda rows, data=data: {data.images[row].tobytes() for row in rows}
        assert len(held) in (12, 18) and not of(fitted) & of(held)


def test_single_pictures_are_split_as_they_come_and_large_groups_are_fitted_on():
    fitted, held = parted(np.arange(50), KEY)
    np.testing.assert_array_equal(np.r_[fitted, held], jax.random.permutation(KEY, 50))
    assert len(held) == 10
    large = np.r_[np.zeros(40, int), np.arange(1, 11)]
    for key in jax.random.split(KEY, 5):
        assert 0 in large[parted(large, key)[0]] and len(parted(large, key)[1]) == 10


@pytest.mark.parametrize("unit, offset", [(1e-8, 0), (1e-30, 0), (1, 1e8), (1e6, -1e6)])
def test_what_a_judge_tells_depends_on_no_unit_and_no_offset(tmp_path, unit, offset):
    size = np.random.default_rng(3).normal(size=12)
    how = dict(images="images", labels=("size",), features="values", key=KEY)
    path = saved(tmp_path, size=size)
    plain = read_pictures(path, **how)
    with np.load(path) as file:
        values = file["values"] * unit + offset
    moved = read_pictures(saved(tmp_path, size=size * unit + offset, values=values), **how)
    skills, moves = [], []
    for data in (plain, moved):
        seen, factors = jnp.asarray(data.images / 255, jnp.float32), data.factors
        judge = train_judge(seen[:9], {"size": factors["size"][:9]}, KEY, hidden=(8,), steps=20)
        skills.append(judge_skill(judge, seen[9:], {"size": factors["size"][9:]})["size"])
        told = np.asarray(judge.read(seen)["size"], np.float64)
        moves.append((told - told.mean()) / told.std())
    assert skills[1] == pytest.approx(skills[0], abs=0.02) and skills[0] < 0.9
    np.testing.assert_allclose(moves[1], moves[0], atol=0.02)
    for one, other in zip(plain.features.T, moved.features.T, strict=True):
        assert np.corrcoef(one, other)[0, 1] > 0.9999


def test_what_does_not_vary_is_left_out_or_refused(tmp_path):
    given = dict(images="images", labels=("kind",), key=KEY)
    # One column of ink in each: the slant is 0 throughout, what is inked varies.
    upright = np.zeros((12, 4, 4), np.uint8)
    upright[np.arange(12), :, 1] = np.arange(12)[:, None] + 20
    path = saved(tmp_path, images=upright)
    data = read_pictures(path, **given)
    assert sorted(data.factors) == ["ink", "kind"]
    assert data.remarks == (f"{path}: slant is the same in all pictures and left out",)
    swapped = np.stack([np.roll(upright[0], k, 1) for k in range(3)] * 4)
    with pytest.raises(InvalidInput, match="slant is the same .* no labels are given"):
        read_pictures(saved(tmp_path, images=swapped), **given | dict(labels=()))
    for wrong, name in (
        (dict(images=np.zeros((12, 4, 4), np.uint8)), "images"),
        (dict(values=np.full((12, 3), 0.1)), "values"),
    ):
        told = f"all rows of '{name}' are alike; nothing can be told from them"
        with pytest.raises(InvalidInput, match=told):
            read_pictures(saved(tmp_path, **wrong), **given | dict(features="values"))


def test_the_skill_of_a_constant_factor_is_0():
    judge = train_judge(jnp.zeros((5, 2, 2, 1)), {"size": np.full(5, 0.1)}, KEY, steps=1)
    assert judge_skill(judge, jnp.ones((5, 2, 2, 1)), {"size": np.full(5, 0.1)})["size"] == 0

"""Paired data many to many: recordings, groups, splits, retrieval, exports, storage."""

from types import SimpleNamespace

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmjax.data import (
    Modality,
    PairedData,
    SideNames,
    content_ids,
    datasets_of_pairs,
    linked_groups,
    load_pairs,
    paired,
    random_split,
    side_of,
    split_columns,
    with_datasets,
)
from mmjax.data.dataset import LABEL
from mmjax.data.pairs import matrix_of
from mmjax.data.scaling import scaled, scaling_of
from mmjax.errors import InvalidInput
from mmjax.evaluate import linear_probe_accuracy, recall_at
from mmjax.nets.prepare import observations_of, preparations_of
from mmjax.studies import (
    PairOptions,
    chance_levels,
    make_pair_study,
    probe_figures,
    retrieval,
)
from mmjax.tables.paired import export
from mmjax.train import train_one

IMAGES, CAPTIONS = 40, 5


def _load(path, x=None, t=None, **options):
    how = dict(pairs="index", pair_index="", test_share=0.2) | options
    return load_pairs(str(path), x or SideNames("x"), t or SideNames("t"), **how)


def _captions(seed=0):
    """Rows of captions, each beside its image: an image is there five times."""
    rng = np.random.default_rng(seed)
    image = np.repeat(np.arange(IMAGES), CAPTIONS)
    images = rng.normal(size=(IMAGES, 6))
    order = rng.permutation(len(image))
    x = images[image] + 0.001 * rng.normal(size=(len(image), 6))
    return dict(x=x[order], t=images[image][order], image_id=image[order])


small = settings(max_examples=25, deadline=None, derandomize=True)


@small
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=2, max_size=30))
def test_groups_are_the_classes_of_what_is_linked(links):
    """Against closing the relation row by row."""
    x_ids, t_ids = np.array(links).T
    x, t = linked_groups(x_ids, t_ids, np.arange(len(links)))
    np.testing.assert_array_equal(x, t)  # a row and its partner belong together
    same = (x_ids[:, None] == x_ids) | (t_ids[:, None] == t_ids)
    for _ in links:
        same = same @ same
    np.testing.assert_array_equal(x[:, None] == x, same)
    alone, _ = linked_groups(x_ids, t_ids, None)
    np.testing.assert_array_equal(alone[:, None] == alone, x_ids[:, None] == x_ids)


@small
@given(st.lists(st.integers(0, 9), min_size=2, max_size=60), st.floats(0.05, 0.9))
def test_random_splits_keep_groups_whole_and_the_share(codes, share):
    _, groups = np.unique(codes, return_inverse=True)
    is_test = random_split(groups, share)
    for group in set(groups):
        assert len(set(is_test[groups == group])) == 1
    if groups.max():
        assert is_test.any()
    most = max(round(share * len(codes)), 1, np.bincount(groups).min())
    assert is_test.sum() <= most


def test_contents_are_ids_whatever_the_storage():
    rows = np.array([[0.0, 1], [-0.0, 1], [2, 3], [0, 1]])
    for dtype in ("f4", ">f8", "i8", "f2"):
        assert content_ids(rows.astype(dtype)).tolist() == [0, 0, 1, 0]
    assert content_ids(np.asfortranarray(rows)).tolist() == [0, 0, 1, 0]


@pytest.mark.parametrize("named", [False, True])
def test_no_image_has_captions_on_both_sides(tmp_path, named):
    arrays = _captions()
    if named:  # contents say nothing: every copy of an image has its own noise
        arrays["t"] += 1e-3 * np.random.default_rng(1).normal(size=arrays["t"].shape)
    np.savez(tmp_path / "a.npz", **arrays)
    data = _load(tmp_path / "a.npz", t=SideNames("t", ids="image_id" if named else ""))
    test, image = data.x.split == "test", arrays["image_id"]
    assert test.sum() == 0.2 * len(test)
    assert not set(image[test]) & set(image[~test])
    assert len(set(data.x.groups)) == IMAGES
    np.testing.assert_array_equal(data.x.groups, data.t.groups)
    (rows,) = datasets_of_pairs(data)
    ids = rows.part("train").ids
    assert len(set(ids[:, 1])) <= IMAGES * 0.8 and len(set(ids[:, 0])) > 32
    np.testing.assert_array_equal(rows.split == "test", test)
    own = rows.ids[:, 1]
    np.testing.assert_array_equal(own[:, None] == own, image[:, None] == image)


def test_contents_that_are_classes_do_not_split_by_class(tmp_path):
    rng = np.random.default_rng(0)
    label = np.arange(60) % 6
    arrays = dict(x=rng.normal(size=(60, 3)), t=np.eye(6)[label], label=label)
    np.savez(tmp_path / "a.npz", **arrays)
    names = SideNames("x", "label"), SideNames("t", "label")
    data = _load(tmp_path / "a.npz", *names)
    train = data.x.part("train")
    assert set(train.labels[LABEL]) == set(range(6)) and train.num_rows == 60 - 12
    assert "repeat like classes" in data.remarks[0]


def test_named_masks_that_part_recordings_are_told(tmp_path):
    arrays = _captions() | dict(mask=np.arange(IMAGES * CAPTIONS) % 2)
    np.savez(tmp_path / "a.npz", **arrays)
    data = _load(tmp_path / "a.npz", SideNames("x", is_test="mask"))
    assert "lie on both sides" in data.remarks[0]
    only_t = _load(tmp_path / "a.npz", t=SideNames("t", is_test="mask"))
    np.testing.assert_array_equal(only_t.x.split == "test", arrays["mask"] == 1)


def _sides(x, t, x_test, t_test, partner, t_ids=None):
    return paired(side_of("x", x, x_test), side_of("t", t, t_test, ids=t_ids), partner, "many")


def test_former_sides_are_the_same_pairs():
    """Sides of before 0.3: recall, and what is trained on, do not depend on how they are given."""
    rng = np.random.default_rng(2)
    x, t, label = rng.normal(size=(40, 4)), rng.normal(size=(40, 3)), np.arange(40) % 4
    test, hand = rng.random(40) < 0.5, np.arange(40) % 3
    former = PairedData(
        Modality("pen", x, label, {"hand": hand}, test),
        Modality("ink", t, label, {}, test),
        None,
        "",
    )
    today = with_datasets(former)
    for own, values, names in ((today.x, x, {"hand", LABEL}), (today.t, t, {LABEL})):
        np.testing.assert_array_equal(matrix_of(own), values)
        np.testing.assert_array_equal(own.split == "test", test)
        assert set(own.labels) == names
    embed = lambda v: _unit(np.asarray(v)[:, :3])
    assert retrieval(former, embed, embed, _dot, limit=9) == retrieval(
        today, embed, embed, _dot, limit=9
    )
    studies = [
        make_pair_study(d, PairOptions(batch_size=4), 2, chunk_steps=1, save_every=1)
        for d in (former, today)
    ]
    chex.assert_trees_all_equal(*(s.constants for s in studies))


def _unit(v):
    return jnp.asarray(v / np.linalg.norm(v, axis=1, keepdims=True))


def _dot(a, b):
    return a @ b.T


@pytest.mark.parametrize("way", ["index", "rows", "named"])
def test_perfect_embeddings_of_five_captions_an_image_recall_all(way):
    rng = np.random.default_rng(0)
    images = rng.normal(size=(IMAGES, 8)).astype(np.float32)
    image = np.repeat(np.arange(IMAGES), CAPTIONS)
    captions = images[image] + 1e-4 * rng.normal(size=(len(image), 8)).astype(np.float32)
    test = image >= IMAGES // 2
    if way == "index":
        data = _sides(captions, images, test, np.arange(IMAGES) >= IMAGES // 2, image)
    elif way == "rows":
        data = _sides(captions, images[image], test, test, np.arange(len(image)))
    else:
        noisy = images[image] + 1e-4 * rng.normal(size=(len(image), 8)).astype(np.float32)
        data = _sides(captions, noisy, test, test, np.arange(len(image)), image * 2**40)
    found = retrieval(data, _unit, _unit, _dot, limit=2000)
    assert set(found.values()) == {1.0}
    order = rng.permutation(len(image))
    moved = paired(data.x.take(order), data.t, data.partner[order], "moved")
    if way == "index":
        assert set(retrieval(moved, _unit, _unit, _dot, limit=2000).values()) == {1.0}
    flat = lambda v: jnp.ones((len(v), 2))
    assert set(retrieval(data, flat, flat, _dot, limit=2000).values()) == {0.0}
    nan = lambda v: jnp.full((len(v), 2), jnp.nan)
    assert all(np.isnan(v) for v in retrieval(data, nan, nan, _dot, limit=2000).values())


def test_recall_takes_ids_on_both_sides():
    scores = jnp.array([[0.1, 0.9, 0.5], [0.9, 0.1, 0.2]])
    big = 2**40 * np.array([1, 2, 1])
    assert recall_at(scores, 1, big[:2], big) == 0
    assert recall_at(scores, 2, big[:2], big) == 0.5
    assert recall_at(scores, 1, np.array(["b", "a"]), np.array(["a", "b", "c"])) == 1
    right = jnp.array([[True, True, False], [False, False, False]])
    assert recall_at(scores, 1, right=right) == 0.5  # no right answer is a miss
    assert np.isnan(recall_at(scores.at[0, 0].set(jnp.nan), 3))
    assert jax.jit(lambda s: recall_at(s, 3))(scores) == 1
    with pytest.raises(InvalidInput, match="labels"):
        recall_at(scores, 1, big[:2])


@pytest.mark.parametrize("dtype", ["f2", "f4", ">f4", "f8", ">f8", "i2", "i8", ">i8", "u1", "g"])
def test_scaling_is_that_of_the_values_not_of_their_storage(dtype):
    rng = np.random.default_rng(0)
    whole = np.round(40 * rng.normal(size=(200, 3))) + 120
    whole = np.clip(whole, 0, 255)
    want = (whole - whole[:150].mean(0)) / whole[:150].std(0)
    stored = whole.astype(dtype)
    found = scaled(stored, scaling_of(lambda: [stored[:150]]))
    np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-5)
    sides = (side_of(name, stored, np.arange(200) >= 150) for name in "xt")
    (rows,) = datasets_of_pairs(paired(*sides, np.arange(200), "a"))
    train = rows.part("train")
    seen = observations_of(train, preparations_of(train), np.arange(150))["x"]
    assert seen.dtype == np.float32
    np.testing.assert_allclose(seen, want[:150], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("offset", [0.0, 1e12, -3e15])
@pytest.mark.parametrize("unit", [1.0, 1e-30, 1e30])
def test_offset_and_unit_of_wide_values_are_no_matter(offset, unit):
    exact = np.random.default_rng(0).integers(-1000, 1000, (200, 3)).astype(np.float64)
    values = (exact + offset) * unit
    want = (exact - exact[:150].mean(0)) / exact[:150].std(0)
    by_training = lambda v: scaled(v, scaling_of(lambda: [v[:100], v[100:150]]))
    np.testing.assert_allclose(by_training(values), want, atol=2e-3)
    if unit == 1:
        np.testing.assert_allclose(by_training(values.astype(np.int64)), want, atol=2e-3)


def test_constant_values_are_zero():
    values = np.full((20, 3), 1e8)
    assert not np.any(scaled(values, scaling_of(lambda: [values[:15]])))


BAD = {
    "beyond float32": (dict(x=[[1.0, 0], [0, 1e39]]), r"'x' has 1e\+39, .* row 1, column 1"),
    "nan": (dict(t=[[0.0, np.nan], [0, 1]]), r"'t' has NaN or infinity"),
    "mask of numbers": (dict(mask=[0, 2]), "'mask' holds 2"),
    "mask of text": (dict(mask=["False", "True"]), "'mask' holds 'False'"),
    "ids of another length": (dict(ids=[1, 2, 3]), r"'ids' has shape \(3,\)"),
    "ids that link all": (dict(ids=[1, 1]), "no training or no test rows"),
}


@pytest.mark.parametrize("change, said", BAD.values(), ids=BAD)
def test_bad_arrays_are_told_in_one_line(tmp_path, change, said):
    arrays = dict(x=[[1.0, 0], [0, 1]], t=[[0.0, 1], [1, 1]], mask=[0, 1], ids=[1, 2]) | change
    np.savez(tmp_path / "a.npz", **arrays)
    mask = "" if "ids" in change else "mask"
    with pytest.raises(InvalidInput, match=said) as told:
        _load(tmp_path / "a.npz", SideNames("x", is_test=mask, ids="ids"))
    assert "a.npz" in str(told.value) and "\n" not in str(told.value)


def test_a_factor_called_label_does_not_hide_behind_the_label(tmp_path):
    rng = np.random.default_rng(0)
    x, label, word = rng.normal(size=(20, 2)), np.arange(20) % 2, np.arange(20) % 5
    np.savez(tmp_path / "a.npz", x=x, t=-x, label=label, word=word)
    sides = SideNames("x", "word", ("label",)), SideNames("t", "word")
    with pytest.raises(InvalidInput, match="private_x: 'label' is not allowed; use another"):
        _load(tmp_path / "a.npz", *sides)
    alone = _load(tmp_path / "a.npz", SideNames("x", "", ("label",)))
    np.testing.assert_array_equal(alone.x.labels["label"], label)
    assert not alone.t.labels


def _noise():
    """Features without any signal, paired with a one-hot of the label: what is read of held-out
    rows is chance, what is read of trained ones is memory."""
    rng = np.random.default_rng(0)
    label, n = rng.integers(0, 5, 500).astype(np.int32), 500
    t = np.eye(5)[label] + 0.01 * rng.normal(size=(n, 5))
    is_test = rng.random(n) < 0.4
    x = rng.normal(size=(n, 40)).astype(np.float32)
    sides = (side_of(name, v, is_test, labels={LABEL: label}) for name, v in (("x", x), ("t", t)))
    return paired(*sides, np.arange(n), "noise")


def test_an_export_says_which_rows_were_trained(tmp_path):
    data = _noise()
    options = PairOptions(steps=150, hidden=(128,), dropout=0.0, input_noise=0.0, batch_size=64)
    study = make_pair_study(data, options, 8, chunk_steps=150, save_every=1000)
    params = train_one(study.recipe, study.init_params, study.constants, jax.random.key(0))
    see = {s: lambda v, s=s: study.embed(params, s, v) for s in "xt"}
    export(SimpleNamespace(path=lambda *p: str(tmp_path.joinpath(*p))), data, see, "dim=8")
    file = np.load(tmp_path / "features" / "dim=8_x.npz")
    assert file["split"].dtype.kind == "U" and file["group"].dtype == np.int64
    np.testing.assert_array_equal(file["split"], data.x.split)
    assert set(file["split"]) == {"train", "test"}
    np.testing.assert_array_equal(file["is_test"], data.x.split == "test")
    z, label, test = file["feature_list"], file["label_list"], file["split"] == "test"
    fit = np.arange(len(z)) % 2 == 0

    def told(rows):
        own = [np.flatnonzero(fit & rows), np.flatnonzero(~fit & rows)]
        (a, b) = own
        return float(linear_probe_accuracy(z[a], label[a], z[b], label[b], 5))

    assert told(~test) > 0.5  # rows of training: memory
    assert told(test) < 0.38  # chance is .2, four standard deviations of 100 rows .16


def test_columns_of_provenance():
    columns = split_columns("test", np.arange(3, dtype=np.int32))
    assert columns["split"].tolist() == ["test"] * 3 and columns["is_test"].all()
    assert columns["group"].dtype == np.int64
    with pytest.raises(InvalidInput, match="split: .*'dev'"):
        split_columns(np.array(["train", "dev"]), np.arange(2))


def test_a_rare_class_does_not_part_copies(tmp_path):
    """Classes of one image each land in the test rows by chance; copies stay together."""
    which, rng = np.repeat(np.arange(40), 4), np.random.default_rng(0)
    label = np.where(which < 30, which % 3, which)  # ten classes of one image
    arrays = dict(x=rng.normal(size=(160, 3)), t=rng.normal(size=(40, 3))[which], label=label)
    np.savez(tmp_path / "a.npz", **arrays)
    data = _load(tmp_path / "a.npz", SideNames("x", "label"), SideNames("t", "label"))
    test = data.x.split == "test"
    assert not set(which[test]) & set(which[~test]) and not data.remarks
    assert set(label[test]) - set(label[~test])  # such classes there are, or this tells nothing


def test_a_quantity_is_a_quantity(tmp_path):
    rng = np.random.default_rng(0)
    q, c = rng.normal(size=300), rng.integers(0, 4, 300)
    x, t = np.c_[q, rng.normal(size=(300, 4))], np.eye(4)[c] + rng.normal(size=(300, 4))
    np.savez(tmp_path / "a.npz", x=x, t=t, q=q, c=c)
    data = _load(tmp_path / "a.npz", SideNames("x", "c", ["q"]), SideNames("t", "c"))
    figures = probe_figures(data.x, lambda values: values, limit=1000)
    assert set(figures) == {("label", "accuracy"), ("q", "r2")} and figures["q", "r2"] > 0.99
    assert set(chance_levels(data.x)) == {"label"}
    shared = _load(tmp_path / "a.npz", SideNames("x", "q"), SideNames("t", "q"))
    assert probe_figures(shared.x, lambda values: values, limit=1000)["label", "r2"] > 0.99
    with pytest.raises(InvalidInput, match="drawn by a label of classes, not 0.1257"):
        _load(tmp_path / "a.npz", SideNames("x", "q"), SideNames("t", "q"), pairs="label")

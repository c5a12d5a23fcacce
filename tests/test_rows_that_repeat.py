"""Rows that repeat stay on one side of a split; files that are paired by row tell it."""

import re

import numpy as np
import pytest

from mmjax.data import FeatureNames, read_feature_set, read_few_shot, stratified_split
from mmjax.data.sets.digits import SHARES, digit_views, speech_data
from mmjax.errors import InvalidInput
from mmjax.studies import FeatureOptions, read_world
from tests.test_comm_experiments import speech_file, views_file

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(40, 6)).astype(np.float32)
LABELS = RNG.integers(0, 4, 40)


def _saved(folder, name="a.npz", **columns):
    path = str(folder / name)
    np.savez(path, **{"features": ROWS, "labels": LABELS, **columns})
    return path


def _sides(parts):
    return [{row.tobytes() for row in np.asarray(values)} for values in parts]


def test_equal_features_are_not_fitted_and_judged(tmp_path):
    order = RNG.permutation(240) % 40
    path = _saved(tmp_path, features=ROWS[order], labels=LABELS[order])
    world = read_world(FeatureOptions(features=path), 0)
    source = world.sources[""]["x"]
    one, two, three = _sides([source.train.x, source.validation.x, source.tests["source"].x])
    assert not one & two | one & three | two & three and len(one | two | three) == 40
    assert any("200 rows hold what others hold" in line for line in world.remarks)
    fit, held = _sides([world.whole.sides()["x"][rows] for rows in (world.fit, world.held)])
    assert not fit & held


def test_rows_that_differ_are_split_as_ever(tmp_path):
    by_row = _saved(tmp_path, "b.npz", group=np.arange(40))
    worlds = [read_world(FeatureOptions(features=p), 0) for p in (_saved(tmp_path), by_row)]
    sources = [world.sources[""]["x"] for world in worlds]
    np.testing.assert_array_equal(sources[0].train.x, sources[1].train.x)
    assert not any("hold" in line for line in worlds[0].remarks)


@pytest.mark.parametrize("column", ["labels", "names", "pair_list"])
def test_files_in_another_order_are_not_paired(tmp_path, column):
    told = {"labels": LABELS, "names": np.array([f"n{k}" for k in range(40)])}
    told = told | {"pair_list": np.arange(40)}
    order = np.roll(np.arange(40), 1)
    a = _saved(tmp_path, **{column: told[column]})
    same = _saved(tmp_path, "same.npz", **{column: told[column]})
    b = _saved(tmp_path, "b.npz", **{column: told[column][order]})
    assert set(read_feature_set(a, FeatureNames(), same).sides()) == {"x", "t"}
    with pytest.raises(InvalidInput, match=rf"b.npz: {column} is .* in row [01], .*a.npz has"):
        read_feature_set(a, FeatureNames(), b)


def test_each_side_may_have_names_of_its_own(tmp_path):
    names = [np.array([f"{k}.{end}" for k in range(40)]) for end in ("jpg", "txt")]
    a, b = (_saved(tmp_path, f"{k}.npz", paths=n) for k, n in enumerate(names))
    assert read_feature_set(a, FeatureNames(), b).names[0] == "0.jpg"


@pytest.mark.parametrize("flag", ["features", "validation", "test", "shifted", "text"])
def test_a_missing_file_is_told_by_its_own_flag(tmp_path, flag):
    options = {"features": _saved(tmp_path), flag: str(tmp_path / "nope.npz")}
    with pytest.raises(InvalidInput, match=f"^{flag}: .*nope.npz"):
        read_world(FeatureOptions(**options), 0)


def test_a_mask_of_test_rows_is_no_mask_of_validation(tmp_path):
    order, mask = np.argsort(LABELS, kind="stable"), np.arange(40) % 4 == 0
    arrays = {"features": ROWS[order], "labels": LABELS[order]}
    few = read_few_shot(_saved(tmp_path, **arrays, split=mask))
    named = read_few_shot(
        _saved(tmp_path, "b.npz", **arrays, split=np.where(mask, "test", "train"))
    )
    np.testing.assert_array_equal(few.test.x, named.test.x)
    with pytest.raises(InvalidInput, match="c.npz: array 'split' has 0 and 1 alone"):
        read_few_shot(_saved(tmp_path, "c.npz", **arrays, split=mask.astype(int)))


def test_digits_that_repeat_are_in_one_part(tmp_path):
    path = views_file(tmp_path / "v.npz")
    arrays = dict(np.load(path))
    order = RNG.permutation(len(arrays["label"]) * 4) % len(arrays["label"])
    np.savez(path, **{name: values[order] for name, values in arrays.items()})
    data = digit_views(path, ("a", "b"), 0)
    parts = [data.part(part).columns["b"].values for part in ("train", "validation", "test")]
    one, two, three = _sides(parts)
    assert one and two and three and not one & two | one & three | two & three


def test_digits_of_which_some_views_repeat_are_split_as_ever(tmp_path):
    path = views_file(tmp_path / "v.npz")
    arrays = dict(np.load(path))
    arrays["a"][1::2] = arrays["a"][::2]  # a view alone is no copy of a row
    np.savez(path, **arrays)
    data = digit_views(path, ("a", "b"), 3)
    wanted = stratified_split(arrays["label"], SHARES, 3)
    for part, rows in zip(("train", "validation", "test"), wanted, strict=True):
        found = data.part(part).columns["b"].values
        np.testing.assert_array_equal(found, arrays["b"][rows])


@pytest.mark.parametrize(
    "changed, said",
    [
        (dict(audio_speaker=np.arange(70)), "audio_speaker is (70,), mel has 60 rows"),
        (dict(audio_speaker=np.arange(50)), "audio_speaker is (50,), mel has 60 rows"),
        (dict(image_is_test=np.arange(120) % 3), "'image_is_test' holds 2"),
        (dict(audio_is_test=np.full(60, "False")), "'audio_is_test' holds 'False'"),
        (dict(audio_is_test=np.zeros(60, bool)), "test rows of audio: 0 is not allowed"),
        (dict(image_is_test=np.ones(120, bool)), "training rows of image: 0 is not allowed"),
        (dict(mel=np.full((60, 4, 4), "a")), "mel is <U1"),
    ],
)
def test_columns_of_speech_are_checked(tmp_path, changed, said):
    path = speech_file(tmp_path / "speech.npz")
    np.savez(path, **dict(np.load(path)) | changed)
    with pytest.raises(InvalidInput, match=f"speech.npz.*{re.escape(said)}"):
        speech_data(path, 70)


@pytest.mark.parametrize(
    "names, rows, said",
    [
        (("a", "a"), 120, "view_names: 'a,a' is not allowed"),
        (("a", "b"), 3, "validation rows: 0 is not allowed"),
        (("a", "b"), slice(0, 120, 10), "digits of the training rows: 1 is not allowed"),
    ],
)
def test_too_few_digits_and_names_that_repeat_are_refused(tmp_path, names, rows, said):
    path = views_file(tmp_path / "v.npz")
    kept = rows if isinstance(rows, slice) else slice(rows)
    np.savez(path, **{name: values[kept] for name, values in dict(np.load(path)).items()})
    with pytest.raises(InvalidInput, match=re.escape(said)):
        digit_views(path, names, 0)

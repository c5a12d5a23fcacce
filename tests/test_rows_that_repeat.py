"""Rows that repeat stay on one side of a split; files that are paired by row tell it."""

import re

import numpy as np
import pytest

import mmjax as mm
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


def test_an_image_of_several_captions_is_not_fitted_and_judged(tmp_path):
    order = np.repeat(np.arange(40), 5)
    captions = RNG.normal(size=(200, 6)).astype(np.float32)
    path = _saved(tmp_path, features=ROWS[order], labels=LABELS[order], captions=captions)
    world = read_world(FeatureOptions(features=path, text_values="captions"), 0)
    fit, held = _sides([world.whole.sides()["x"][rows] for rows in (world.fit, world.held)])
    assert fit and held and not fit & held
    assert any("160 rows hold what others hold in a modality" in line for line in world.remarks)


def test_a_text_that_many_rows_share_is_a_class(tmp_path):
    path = _saved(tmp_path, captions=np.eye(6, dtype=np.float32)[np.arange(40) % 2])
    world = read_world(FeatureOptions(features=path, text_values="captions"), 0)
    assert any(
        line.startswith("text values: ") and "up to 20: taken for classes" in line
        for line in world.remarks
    )
    assert len(world.fit) == 28


@pytest.mark.parametrize("flag", ["test", "shifted", "validation"])
def test_rows_of_another_file_that_the_fit_has_are_counted(tmp_path, flag):
    path, parts = _saved(tmp_path), ["train"] + ["validation"] * (flag != "validation")

    def told(others):
        labels = np.tile(LABELS, 2)
        beside = _saved(tmp_path, "other.npz", features=others, labels=labels)
        world = read_world(FeatureOptions(features=path, **{flag: beside}), 0)
        source = world.sources[""]["x"]
        fitted = np.concatenate([getattr(source, part).x for part in parts])
        return len(fitted), [line for line in world.counts if "a row of the fit" in line]

    count, lines = told(np.concatenate([ROWS, ROWS + 1]))
    assert len(lines) == 1 and f"other.npz: {count} of 80 rows hold" in lines[0]
    assert told(np.concatenate([ROWS + 2, ROWS + 1]))[1] == []


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


def test_digits_of_one_writer_are_in_one_part(tmp_path):
    path = views_file(tmp_path / "v.npz")
    arrays = dict(np.load(path))
    writers = np.repeat([f"w{k}" for k in range(30)], 4)
    arrays["b"][:, 1] = np.repeat(np.arange(30), 4)  # tells the writer
    arrays["a"][1], arrays["b"][1], arrays["c"][1] = (arrays[k][119] for k in "abc")
    np.savez(path, **arrays, group=writers)
    data = digit_views(path, ("a", "b", "c"), 0)
    parts = [data.part(part) for part in ("train", "validation", "test")]
    assert sum(part.num_rows for part in parts) == 120
    one, two, three = ({*np.asarray(p.columns["b"].values)[:, 1].tolist()} for p in parts)
    assert one and two and three and not one & two | one & three | two & three
    np.savez(path, **arrays, group=writers[:-1])
    with pytest.raises(InvalidInput, match="v.npz: group"):
        digit_views(path, ("a", "b"), 0)


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
        (("a", "b"), [*range(0, 120, 10), 1], "digits of the test rows: 1 is not allowed"),
    ],
)
def test_too_few_digits_and_names_that_repeat_are_refused(tmp_path, names, rows, said):
    path = views_file(tmp_path / "v.npz")
    kept = slice(rows) if isinstance(rows, int) else rows
    np.savez(path, **{name: values[kept] for name, values in dict(np.load(path)).items()})
    with pytest.raises(InvalidInput, match=re.escape(said)):
        digit_views(path, names, 0)


def _nine_captions(rng, kind):
    """80 recordings with nine captions each, and a coin for each recording."""
    shapes = {"features": (80, 32), "image": (80, 6, 6, 3), "sequence": (80, 7, 5)}
    x = rng.normal(size=shapes[kind])
    x = (255 * rng.random(shapes[kind])).astype(np.uint8) if kind == "image" else x
    which = np.repeat(np.arange(80), 9)
    return which, x[which], rng.integers(0, 2, 80)[which]


@pytest.mark.parametrize("kind", ["features", "image", "sequence"])
def test_a_recording_of_many_captions_is_on_one_side(kind):
    which, x, coin = _nine_captions(np.random.default_rng(0), kind)
    text = [f"caption {k}" for k in range(720)]
    data = mm.Dataset.from_arrays(x=x, text=text, labels={"coin": coin})
    parts = [set(which[data.split == part]) for part in ("train", "validation", "test")]
    assert not parts[0] & parts[1] | parts[0] & parts[2] | parts[1] & parts[2]
    if kind == "features":
        assert (
            mm.probe(None, data.only("x"), "coin").embedding["x"] < 0.75
        )  # 1.0 where they are parted


def test_vectors_of_class_names_link_nothing():
    rng = np.random.default_rng(0)
    y = np.arange(720) % 20
    data = mm.Dataset.from_arrays(
        x=rng.normal(size=(720, 16)), name_vector=rng.normal(size=(20, 16))[y], labels={"y": y}
    )
    assert len(set(data.groups)) == 720 and "up to 36: taken for classes" in data.remarks[0]


@pytest.mark.parametrize("kinds", [3, 30, 200])
def test_numbers_that_are_alike_by_chance_link_nothing(kinds):
    rng = np.random.default_rng(0)
    age = rng.integers(0, kinds, 720)
    data = mm.Dataset.from_arrays(x=rng.normal(size=(720, 16)), age=age)
    assert len(set(data.groups)) == 720 and data.ids.shape == (720, 1)


def test_captions_that_link_all_leave_the_links_of_images():
    """Were links all given up together, the images would be parted for the captions' sake."""
    rng = np.random.default_rng(0)
    which = np.repeat(np.arange(100), 3)
    text = [f"caption {k}" for k in (np.arange(300) + 1) // 3]  # a chain through all images
    data = mm.Dataset.from_arrays(x=rng.normal(size=(100, 8))[which], text=text)
    assert len(set(data.groups)) == 100
    np.testing.assert_array_equal(data.groups[::3], data.groups[2::3])
    assert "link most rows" in data.remarks[0]


@pytest.mark.parametrize("values", [np.ones(60), np.arange(60) % 2], ids=["constant", "bit"])
def test_numbers_that_tell_hardly_anything_do_not_make_all_rows_one(values):
    rng = np.random.default_rng(0)
    data = mm.Dataset.from_arrays(x=rng.normal(size=(60, 4)), y=values, split=(0.5, 0, 0.5))
    same = (data.ids[:, None] == data.ids).any(-1)
    np.testing.assert_array_equal(same, np.eye(60, dtype=bool))
    assert ("y is the same in all rows" in data.remarks) == (np.ptp(values) == 0)


def test_what_a_users_split_parts_is_told_beside_the_figures():
    rng = np.random.default_rng(0)
    x, coin = rng.normal(size=(60, 8)), rng.integers(0, 2, 60)
    x[50:54] = x[:4]
    split = ["train"] * 40 + ["test"] * 20
    data = mm.Dataset.from_arrays(x=x, t=rng.normal(size=(60, 8)), labels={"y": coin}, split=split)
    said = "SEEN IN PART: 4 of 20 judged rows hold something that rows of split train hold, too"
    assert said in mm.probe(None, data, "y").remarks
    words = data.only("x")._replace(
        remarks=(
            "text: 1 of 9 contents in several rows: taken for classes, which a split may part",
        )
    )
    assert "a split may part" in str(mm.probe(None, words, "y"))


@pytest.mark.parametrize("label", [None, "length", "small"])
def test_labels_do_not_part_recordings(label):
    rng = np.random.default_rng(0)
    which = np.repeat(np.arange(60), 15)
    labels = {"length": rng.integers(5, 60, 900), "small": which % 15}
    x = rng.normal(size=(60, 64))[which]
    data = mm.Dataset.from_arrays(
        x=x, t=rng.normal(size=(900, 5)), labels={} if label is None else {label: labels[label]}
    )
    assert len(set(data.groups)) == 60 and not data.remarks


def test_a_filler_parts_no_other_captions():
    text = ["no description"] * 30 + [f"caption {k % 290}" for k in range(870)]
    x = np.random.default_rng(0).normal(size=(900, 5))
    data = mm.Dataset.from_arrays(x=x, text=text)
    assert len(set(data.groups)) == 30 + 290 and len(data.remarks) == 1


def test_blank_pictures_part_no_others():
    rng = np.random.default_rng(0)
    which = np.r_[np.repeat(np.arange(40), 5), np.full(80, 40)]
    pictures = np.r_[rng.integers(1, 255, (40, 6, 6, 1)), np.zeros((1, 6, 6, 1), int)]
    data = mm.Dataset.from_arrays(x=pictures.astype(np.uint8)[which], t=rng.normal(size=(280, 3)))
    assert (
        len(set(data.groups)) == 40 + 80
        and "x: 1 of 41 contents in several rows, up to 80" in data.remarks[0]
    )


@pytest.mark.parametrize("stream", [False, True])
def test_streams_are_linked_alike_in_any_order(tmp_path, stream):
    rng = np.random.default_rng(0)
    which = np.repeat(np.arange(30), 60)
    np.savez(tmp_path / "a.npz", x=rng.normal(size=(30, 8))[which], t=rng.normal(size=(1800, 3)))
    data = mm.read(tmp_path / "a.npz", stream=stream)
    assert len(set(data.groups)) == 30


@pytest.mark.parametrize("kind", ["words", "one-hot"])
def test_few_rows_of_class_names_are_split_as_rows(kind):
    rng = np.random.default_rng(0)
    y = np.arange(60) % 10
    t = [f"class {k}" for k in y] if kind == "words" else np.eye(10)[y]
    data = mm.Dataset.from_arrays(x=rng.normal(size=(60, 6)), t=t, labels={"y": y})
    assert len(set(data.groups)) == 60

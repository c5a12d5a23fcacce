"""Rows and statistics of k modalities; arrays in pickles."""

import pickle
import random

import numpy as np
import pytest

from mmjax.data import Lazy, load_affect, load_mimic, padded
from mmjax.data.dataset import SPLITS, Dataset
from mmjax.data.scaling import standardised_by
from mmjax.errors import InvalidInput
from tests.rows import rows_of


def some_data(n=23, late=0.0):
    """A padded sequence x in memory, y in files; behind row 11 other values of x."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 3, 2)).astype(np.float32)
    x[11:] += np.float32(late)
    seen = np.arange(3) < rng.integers(1, 4, n)[:, None]
    x[~seen] = 0
    y = np.arange(n * 4, dtype=np.int16).reshape(n, 4)
    return Dataset.from_arrays(
        x=x,
        y=Lazy(y.shape, y.dtype, lambda rows: y[rows], lambda row: f"row {row}"),
        lengths={"x": seen},
        labels={"label": np.arange(n) % 3},
        split=np.repeat(SPLITS, [11, 5, n - 16]),
    ).also_by(np.arange(n).astype(str))


def test_rows_are_taken_from_memory_and_files():
    data, rows = some_data(), np.array([7, 0, 7])
    part = data.take(rows)
    np.testing.assert_array_equal(rows_of(part, "x"), data.columns["x"].values[rows])
    assert rows_of(part, "y").tolist() == [[28, 29, 30, 31], [0, 1, 2, 3], [28, 29, 30, 31]]
    np.testing.assert_array_equal(part.columns["x"].seen, data.columns["x"].seen[rows])
    assert part.columns["y"].seen is None and part.labels["label"].tolist() == [1, 0, 1]


def test_rows_of_rows():
    part = some_data().take(slice(1, None, 2)).take(np.array([4, 0]))
    assert np.sort(np.arange(23).astype(str))[part.ids[:, -1]].tolist() == ["9", "1"]
    assert part.columns["y"].values.shape == (2, 4)
    assert rows_of(part, "y")[:, 0].tolist() == [36, 4]
    assert [part.columns["y"].values.tell(row) for row in (0, 1)] == ["row 9", "row 1"]


@pytest.mark.parametrize("hosts", [1, 2, 5])
def test_hosts_share_every_row_once(hosts):
    for name in SPLITS:
        given = some_data().part(name)
        for k in range(hosts):
            part, own = given.take(slice(k, None, hosts)), slice(k, None, hosts)
            for modality in ("x", "y"):
                found, every = rows_of(part, modality), rows_of(given, modality)
                np.testing.assert_array_equal(found, every[own])
            np.testing.assert_array_equal(part.columns["x"].seen, given.columns["x"].seen[own])
            np.testing.assert_array_equal(part.labels["label"], given.labels["label"][own])
            np.testing.assert_array_equal(part.ids, given.ids[own])


def test_further_ids_part_no_group_and_change_no_split():
    data = Dataset.from_arrays(x=np.eye(4), split=["train", "train", "test", "test"])
    more = data.also_by(["a", "b", "b", "a"])
    assert more.ids.tolist() == [[0, 0], [1, 1], [2, 1], [3, 0]] and more.ids.dtype == np.int32
    for one, other in ((more.groups, data.groups), (more.split, data.split)):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(InvalidInput, match="rows of ids"):
        data.also_by(["a", "b"])


def test_statistics_are_those_of_training_rows_alone():
    def scaled(data):
        column = data.columns["x"]
        return standardised_by(column.values, data.split == "train", column.seen)

    data, found = some_data(), scaled(some_data())
    x, seen = data.columns["x"].values, data.columns["x"].seen
    steps = x[:11][seen[:11]].astype(float)
    expected = (x - steps.mean(0)) / steps.std(0)
    expected[~seen] = 0
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert found.dtype == np.float32
    own = found[:11][seen[:11]]
    np.testing.assert_allclose([own.mean(0), own.std(0)], [[0, 0], [1, 1]], atol=1e-5)
    np.testing.assert_array_equal(scaled(some_data(late=50.0))[:11], found[:11])


def test_padding_goes_behind_and_nothing_is_cut_off():
    values, mask = padded([np.array([1, 2, 3]), np.array([4])])
    assert values.tolist() == [[1, 2, 3], [4, 0, 0]]
    assert mask.tolist() == [[True] * 3, [True, False, False]]
    assert padded([np.array([1, 2])], 4)[0].tolist() == [[1, 2, 0, 0]]
    with pytest.raises(InvalidInput, match="longest sequence"):
        padded([np.array([1, 2, 3])], 2)


# MultiBench's affect sets. Text by its first feature; sample 1 sums to 0, 2 has an inner 0.
TEXT = [[0, 0, 5, 6], [0, 1, -1, 0], [0, 7, 0, 8], [1, 2, 3, 4]]
SCORES = [-1.0, 9.0, 0.0, 2.5]


def affect(labels=(-1.0, 9.0, 0.0, 2.5), shift=0.0):
    text = np.zeros((4, 4, 3), np.float32)
    text[..., 0] = TEXT
    audio = np.arange(32, dtype=np.float64).reshape(4, 4, 2) + shift
    audio[0, 3, 1] = audio[3, 0, 0] = -np.inf
    vision = -np.arange(64, dtype=np.float32).reshape(4, 4, 4)
    return {
        "vision": vision,
        "audio": audio,
        "text": text,
        "labels": np.array(labels).reshape(4, 1, -1),
        "id": np.array(["a", "b", "c", "d"]),
    }


def write_affect(tmp_path, **changed):
    path = tmp_path / "mosi.pkl"
    found = {"train": affect(), "valid": affect(), "test": affect(), **changed}
    path.write_bytes(pickle.dumps(found, 2))
    return str(path)


def named(*names):
    """Codes of samples by name, as ids of the whole file are numbered."""
    return [sorted({"a", "c", "d"}).index(name) for name in names]


def test_affect_tells_what_it_drops_and_what_stands_twice(tmp_path):
    def many(seed):
        rng = np.random.default_rng(seed)
        text, labels = rng.normal(size=(20, 4, 3)), rng.normal(size=(20, 1, 1))
        part = {"vision": rng.normal(size=(20, 4, 4)), "audio": rng.normal(size=(20, 4, 2))}
        return part | {"text": text, "labels": labels}

    parts = {"train": many(0), "valid": many(1), "test": many(2)}
    path = write_affect(tmp_path, **parts)
    assert not load_affect(path).remarks
    parts["train"]["text"][:2] = 0
    parts["test"] = {k: np.r_[parts["train"][k][-3:], v[3:]] for k, v in parts["test"].items()}
    lines = load_affect(write_affect(tmp_path, **parts)).remarks
    assert lines == (
        "samples dropped, whose text sums to 0: 2 of train",
        "SEEN IN PART: 3 of 20 judged rows hold something that rows of split train hold, too",
    )


def test_affect_is_processed_in_order(tmp_path):
    data = load_affect(write_affect(tmp_path))
    assert data.name == "mosi.pkl" and [int(np.sum(data.split == s)) for s in SPLITS] == [3] * 3
    part = data.part("train")
    assert part.ids[:, -1].tolist() == named("a", "c", "d")
    assert list(part.columns) == ["vision", "audio", "text"]
    text = rows_of(part, "text")[..., 0]
    assert text.tolist() == [[5, 6, 0, 0], [7, 0, 8, 0], [1, 2, 3, 4]]
    ends = [[1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]]
    assert all(column.seen.astype(int).tolist() == ends for column in part.columns.values())
    audio = rows_of(part, "audio")
    assert audio[0].tolist() == [[4, 5], [6, 0], [0, 0], [0, 0]]  # rows 2, 3; -inf became 0
    assert audio[1].tolist() == [[18, 19], [20, 21], [22, 23], [0, 0]]
    assert audio[2, 0].tolist() == [0, 25] and audio[2, 3].tolist() == [30, 31]
    assert rows_of(part, "vision")[0, :, 0].tolist() == [-8, -12, 0, 0]
    assert rows_of(part, "vision").shape == (3, 4, 4)
    assert all(column.values.dtype == np.float32 for column in part.columns.values())
    assert part.labels["label"].tolist() == [0, 0, 1] and list(part.labels) == ["label"]


def test_affect_rules_of_labels(tmp_path):
    path = write_affect(tmp_path)
    labels = lambda path, part, **how: load_affect(path, **how).part(part).labels
    assert labels(path, "test", label="not_negative")["label"].tolist() == [0, 1, 1]
    value = labels(path, "test", label="value")
    assert list(value) == ["y"] and value["y"].tolist() == [-1, 0, 2.5]
    several = affect(labels=[[-1, 5], [9, 5], [0, 5], [2.5, -5]])
    path = write_affect(tmp_path, train=several)
    assert labels(path, "train")["label"].tolist() == [0, 0, 1]
    flat = {**affect(), "labels": np.array(SCORES)}
    path = write_affect(tmp_path, train=flat)
    assert labels(path, "train")["label"].tolist() == [0, 0, 1]


def test_affect_options(tmp_path):
    path = write_affect(tmp_path)
    part = load_affect(path, modalities=("text", "audio"), length=6).part("test")
    assert list(part.columns) == ["text", "audio"]
    assert rows_of(part, "audio").shape == (3, 6, 2)
    assert not part.columns["text"].seen[:, 4:].any()
    part = load_affect(path, align=False).part("train")
    assert rows_of(part, "text")[..., 0].tolist() == [TEXT[0], TEXT[2], TEXT[3]]
    assert part.columns["vision"].seen.all()
    part = load_affect(path, z_norm=True).part("train")
    half = np.sqrt(0.5)
    found = rows_of(part, "text")
    np.testing.assert_allclose(found[0, :, 0], [-half, half, 0, 0], rtol=1e-6)
    np.testing.assert_allclose(found[2, :, 0], (np.arange(4) - 1.5) / np.sqrt(5 / 3), rtol=1e-6)
    assert not found[..., 1:].any()  # constant features


def test_affect_of_splits_whose_longest_samples_differ(tmp_path):
    short = affect()
    short["text"][3, 0] = 0  # what began at the first step of four begins at the second
    data = load_affect(write_affect(tmp_path, test=short))
    assert rows_of(data, "text").shape == (9, 4, 3)
    assert data.part("test").columns["text"].seen.sum(1).tolist() == [2, 3, 3]


def test_affect_one_step_and_constants_have_no_variance(tmp_path):
    odd = affect()
    odd["text"][0] = [[0] * 3] * 3 + [[1, 2, 3]]
    odd["vision"][:] = 0.9  # the mean of three of these is another number in float32
    part = load_affect(write_affect(tmp_path, train=odd), z_norm=True).part("train")
    assert not rows_of(part, "text")[0].any() and part.columns["text"].seen[0].sum() == 1
    assert not rows_of(part, "vision").any()


def test_affect_splits_do_not_touch_each_other(tmp_path):
    one = load_affect(write_affect(tmp_path))
    two = load_affect(write_affect(tmp_path, test=affect(shift=100.0)))
    audio = lambda data, part: rows_of(data.part(part), "audio")
    np.testing.assert_array_equal(audio(one, "train"), audio(two, "train"))
    assert (audio(one, "test") != audio(two, "test")).any()


def test_affect_ids_of_python_2_objects_and_columns(tmp_path):
    bytes_ids = {**affect(), "id": np.array([b"a", b"b", b"c", "d"], object)}
    columns = {**affect(), "id": np.array([["v", 1], ["w", 2], ["x", 3], ["y", 4]], object)}
    data = load_affect(write_affect(tmp_path, train=bytes_ids, valid=columns))
    names = np.array(sorted(["a", "c", "d", "v 1", "x 3", "y 4"]))
    assert names[data.ids[:, -1]].tolist() == ["a", "c", "d", "v 1", "x 3", "y 4", "a", "c", "d"]
    without = {k: v for k, v in affect().items() if k != "id"}
    other = load_affect(write_affect(tmp_path, train=bytes_ids, test=without))
    assert other.ids.shape[1] == data.ids.shape[1] - 1 == 3  # contents alone


_vision = lambda v: {**affect(), "vision": v}
BAD_AFFECT = {
    "no split": ({"train": 1}, "pkl: train: no vision, audio, text, labels"),
    "list": ({"valid": [1]}, "valid: no vision"),
    "no text": ({"test": {"vision": 1, "audio": 1, "labels": 1}}, "test: no text"),
    "two axes": ({"train": _vision(np.zeros((4, 4)))}, r"train: vision is float64 \(4, 4\)"),
    "text": ({"train": _vision(np.full((4, 4, 2), "x"))}, "vision is <U1"),
    "rows": ({"train": _vision(np.zeros((3, 4, 2)))}, "use text's n and steps"),
    "steps": ({"train": _vision(np.zeros((4, 5, 2)))}, "use text's n and steps"),
    "ragged": ({"train": _vision([[1], [1, 2]])}, "vision is no array: its lists"),
    "nan": ({"test": _vision(np.full((4, 4, 2), np.nan))}, "test: vision has NaN or infinity"),
    "all dropped": ({"train": {**affect(), "text": np.zeros((4, 4, 3))}}, "none is left"),
    "labels": ({"train": {**affect(), "labels": np.zeros(3)}}, "labels are float64"),
    "label nan": ({"train": affect([np.nan] * 4)}, "labels has NaN"),
    "one class": ({"train": affect([1, 1, 2, 3])}, "leaves the training split one class"),
    "ids": ({"train": {**affect(), "id": np.arange(3)}}, "id has shape"),
}


@pytest.mark.parametrize("name", BAD_AFFECT)
def test_bad_affect_is_told_in_one_line(name, tmp_path):
    changed, told = BAD_AFFECT[name]
    with pytest.raises(InvalidInput, match=told) as error:
        load_affect(write_affect(tmp_path, **changed))
    assert "mosi.pkl" in str(error.value) and "\n" not in str(error.value)


def test_bad_options_of_affect(tmp_path):
    path = write_affect(tmp_path)
    for options in ({"label": "y"}, {"modalities": ("smell",)}, {"modalities": ()}, {"length": 3}):
        with pytest.raises(InvalidInput):
            load_affect(path, **options)
    (tmp_path / "list.pkl").write_bytes(pickle.dumps([1]))
    with pytest.raises(InvalidInput, match="not a dict of train, valid and test"):
        load_affect(str(tmp_path / "list.pkl"))


N = 25


def mimic():
    rng = np.random.default_rng(0)
    series, static = rng.normal(2, 3, (N, 24, 12)), rng.normal(-1, 2, (N, 5))
    series[3, 4, 5], series[4, 0, 1], static[2, 0] = np.nan, np.inf, -np.inf
    static[:, 4] = 7
    labels = np.zeros((N, 6), int)
    labels[:, 0] = 1
    for k in range(N):
        labels[k, k % 6 :] = k % 6 > 0
    codes = rng.integers(0, 2, (N, 20))
    return {
        "ep_tdata": series,
        "adm_features_all": static,
        "adm_labels_all": labels,
        "y_icd9": codes,
    }


def write_mimic(tmp_path, **changed):
    path = tmp_path / "im.pk"
    path.write_bytes(pickle.dumps({**mimic(), **changed}, 4))
    return str(path)


def test_mimic_rows_values_and_labels(tmp_path):
    data, given = load_mimic(write_mimic(tmp_path)), mimic()
    order = list(range(N))
    random.Random(10).shuffle(order)
    rows = {"validation": order[:2], "test": order[2:4], "train": order[4:]}
    clean = {"static": given["adm_features_all"], "series": given["ep_tdata"]}
    for values in clean.values():
        values[~np.isfinite(values)] = 0
    for name, chosen in rows.items():
        part = data.part(name)
        assert part.ids[:, -1].tolist() == chosen
        assert part.labels["label"].tolist() == given["y_icd9"][chosen, 7].tolist()
        assert list(part.columns) == ["static", "series"]
        for modality, values in clean.items():
            train = values[rows["train"]].reshape(-1, values.shape[-1])
            spread = np.where(train.std(0) > 0, train.std(0), 1)
            expected = (values[chosen] - train.mean(0)) / spread
            np.testing.assert_allclose(rows_of(part, modality), expected, rtol=1e-5, atol=1e-6)
    other = load_mimic(write_mimic(tmp_path), task=3).part("train").labels["label"]
    assert other.tolist() == given["y_icd9"][rows["train"], 3].tolist()


def test_mimic_mortality_is_the_first_positive_label(tmp_path):
    data = load_mimic(write_mimic(tmp_path), task=-1)
    assert data.labels["label"].tolist() == (data.ids[:, -1] % 6).tolist()


def test_mimic_test_rows_change_no_training_value(tmp_path):
    one = load_mimic(write_mimic(tmp_path))
    series = mimic()["ep_tdata"]
    series[one.part("test").ids[:, -1]] += 100
    two = load_mimic(write_mimic(tmp_path, ep_tdata=series))
    values = lambda data, part: rows_of(data.part(part), "series")
    np.testing.assert_array_equal(values(one, "train"), values(two, "train"))
    assert (values(two, "test") > values(one, "test") + 10).all()


@pytest.mark.parametrize(
    "changed, task, told",
    [
        ({"ep_tdata": np.zeros((N, 24))}, 7, r"ep_tdata is float64 \(25, 24\)"),
        ({"ep_tdata": np.full((N, 1, 1), "x")}, 7, "ep_tdata is <U1"),
        ({"ep_tdata": [[1], [1, 2]]}, 7, "ep_tdata is no array: its lists"),
        ({"adm_features_all": np.zeros((9, 5))}, 7, "adm_features_all has 9 rows"),
        ({"y_icd9": np.full((N, 20), 2)}, 7, "y_icd9 is 2 in row 0, column 7"),
        ({"adm_labels_all": np.zeros((N, 5))}, -1, "adm_labels_all has 5 columns"),
        ({}, 20, "task: 20"),
        ({}, -2, "task: -2"),
    ],
)
def test_bad_mimic_is_told_in_one_line(changed, task, told, tmp_path):
    with pytest.raises(InvalidInput, match=told) as error:
        load_mimic(write_mimic(tmp_path, **changed), task=task)
    assert "\n" not in str(error.value)


def test_mimic_without_arrays_or_rows(tmp_path):
    path = tmp_path / "im.pk"
    for found, told in (({}, "no adm_features_all, ep_tdata, y_icd9"), ([], "use a dict")):
        path.write_bytes(pickle.dumps(found))
        with pytest.raises(InvalidInput, match=told):
            load_mimic(str(path))
    few = {name: array[:9] for name, array in mimic().items()}
    with pytest.raises(InvalidInput, match="9 rows"):
        load_mimic(write_mimic(tmp_path, **few))

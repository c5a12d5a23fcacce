"""Batches, shares and statistics of k modalities; arrays in pickles."""

import pickle
import random
import threading

import numpy as np
import pytest

from mmjax.data import (
    Lazy,
    MultimodalData,
    MultimodalSplit,
    host_share,
    load_affect,
    load_mimic,
    padded,
    read_batches,
    read_rows,
    split_size,
    standardised_by_train,
    take_rows,
)
from mmjax.errors import InvalidInput


def a_split(n, seed=0, step=0.0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3, 2)).astype(np.float32) + np.float32(step)
    mask = np.arange(3) < rng.integers(1, 4, n)[:, None]
    x[~mask] = 0
    y = np.arange(n * 4, dtype=np.int16).reshape(n, 4)
    lazy = Lazy(y.shape, y.dtype, lambda rows: y[rows])
    ids = np.arange(n).astype(str)
    return MultimodalSplit({"x": x, "y": lazy}, {"x": mask}, np.arange(n) % 3, ids)


def some_data(test_step=0.0):
    splits = a_split(11), a_split(5, 1, test_step), a_split(7, 2, test_step)
    return MultimodalData("some", "classification", ("a", "b", "c"), *splits)


def whole(split):
    return read_rows(split, np.arange(split_size(split)))


def test_a_batch_has_the_rows_asked_for():
    split, rows = a_split(11), np.array([7, 0, 7])
    batch = read_rows(split, rows)
    np.testing.assert_array_equal(batch.modalities[0], split.modalities["x"][rows])
    assert batch.modalities[1].tolist() == [[28, 29, 30, 31], [0, 1, 2, 3], [28, 29, 30, 31]]
    np.testing.assert_array_equal(batch.masks[0], split.masks["x"][rows])
    assert batch.masks[1] is None and batch.labels.tolist() == [1, 0, 1]
    assert read_rows(split._replace(labels=None), rows).labels is None


def test_rows_of_rows():
    part = take_rows(take_rows(a_split(11), slice(1, None, 2)), np.array([4, 0]))
    assert part.ids.tolist() == ["9", "1"] and part.modalities["y"].shape == (2, 4)
    assert whole(part).modalities[1][:, 0].tolist() == [36, 4]


@pytest.mark.parametrize("hosts", [1, 2, 5])
def test_hosts_share_every_row_once(hosts):
    data = some_data()
    shares = [host_share(data, k, hosts) for k in range(hosts)]
    for name in ("train", "validation", "test"):
        given = getattr(data, name)
        parts = [getattr(share, name) for share in shares]
        for k, part in enumerate(parts):
            assert part.ids.tolist() == given.ids[k::hosts].tolist()
            for found, all_rows in zip(
                whole(part).modalities, whole(given).modalities, strict=True
            ):
                np.testing.assert_array_equal(found, all_rows[k::hosts])
            np.testing.assert_array_equal(part.masks["x"], given.masks["x"][k::hosts])
            np.testing.assert_array_equal(part.labels, given.labels[k::hosts])
    assert np.shares_memory(shares[0].train.modalities["x"], data.train.modalities["x"])
    assert host_share(data._replace(validation=None), 0, hosts).validation is None


@pytest.mark.parametrize("index, count", [(0, 0), (-1, 2), (2, 2), (0, 6)])
def test_hosts_without_rows_are_refused(index, count):
    with pytest.raises(InvalidInput, match="host_"):
        host_share(some_data(), index, count)


def test_batches_come_in_order_and_are_read_ahead():
    split, asked, ready = a_split(11), [], threading.Event()

    def read(rows):
        asked.append(rows.tolist())
        if len(asked) == 3:
            ready.set()
        return rows

    split.modalities["y"] = Lazy((11,), np.dtype(int), read)
    found = read_batches(split, (np.array([k, k]) for k in range(10)), ahead=2)
    assert next(found).modalities[1].tolist() == [0, 0]
    assert ready.wait(10) and len(asked) == 3  # two more than were asked for, in the background
    assert [batch.modalities[1][0] for batch in found] == list(range(1, 10))
    with pytest.raises(InvalidInput, match="ahead"):
        next(read_batches(split, [], ahead=0))


def test_an_error_while_reading_ahead_is_raised():
    split = a_split(3)

    def read(rows):
        raise InvalidInput("a.jpeg: corrupt")

    split.modalities["y"] = Lazy((3,), np.dtype(int), read)
    with pytest.raises(InvalidInput, match="corrupt"):
        list(read_batches(split, [np.array([0])]))


def test_statistics_are_those_of_training_rows_alone():
    data = standardised_by_train(some_data(), ["x"])
    steps = some_data().train.modalities["x"][some_data().train.masks["x"]].astype(float)
    for name in ("train", "validation", "test"):
        split, given = getattr(data, name), getattr(some_data(), name)
        expected = (given.modalities["x"] - steps.mean(0)) / steps.std(0)
        expected[~given.masks["x"]] = 0
        np.testing.assert_allclose(split.modalities["x"], expected, rtol=1e-5, atol=1e-6)
        assert split.modalities["x"].dtype == np.float32
    own = data.train.modalities["x"][data.train.masks["x"]]
    np.testing.assert_allclose([own.mean(0), own.std(0)], [[0, 0], [1, 1]], atol=1e-5)
    other = standardised_by_train(some_data(test_step=50.0), ["x"])
    np.testing.assert_array_equal(other.train.modalities["x"], data.train.modalities["x"])
    with pytest.raises(InvalidInput, match="standardise"):
        standardised_by_train(some_data(), ["y"])


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


def test_affect_is_processed_in_order(tmp_path):
    data = load_affect(write_affect(tmp_path))
    assert (data.name, data.kind, data.label_names) == (
        "mosi.pkl",
        "classification",
        ("negative", "positive"),
    )
    split = data.train
    assert split.ids.tolist() == ["a", "c", "d"] and list(split.modalities) == [
        "vision",
        "audio",
        "text",
    ]
    text = split.modalities["text"][..., 0]
    assert text.tolist() == [[5, 6, 0, 0], [7, 0, 8, 0], [1, 2, 3, 4]]
    ends = [[1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]]
    assert all(mask.astype(int).tolist() == ends for mask in split.masks.values())
    assert set(split.masks) == {"vision", "audio", "text"}
    audio = split.modalities["audio"]
    assert audio[0].tolist() == [[4, 5], [6, 0], [0, 0], [0, 0]]  # rows 2, 3; -inf became 0
    assert audio[1].tolist() == [[18, 19], [20, 21], [22, 23], [0, 0]]
    assert audio[2, 0].tolist() == [0, 25] and audio[2, 3].tolist() == [30, 31]
    assert split.modalities["vision"][0, :, 0].tolist() == [-8, -12, 0, 0]
    assert split.modalities["vision"].shape == (3, 4, 4)
    assert all(v.dtype == np.float32 for v in split.modalities.values())
    assert split.labels.tolist() == [0, 0, 1] and split.labels.dtype == np.int32


def test_affect_rules_of_labels(tmp_path):
    path = write_affect(tmp_path)
    assert load_affect(path, label="not_negative").test.labels.tolist() == [0, 1, 1]
    value = load_affect(path, label="value")
    assert value.kind == "regression" and value.test.labels.tolist() == [[-1], [0], [2.5]]
    several = affect(labels=[[-1, 5], [9, 5], [0, 5], [2.5, -5]])
    path = write_affect(tmp_path, train=several)
    assert load_affect(path).train.labels.tolist() == [0, 0, 1]
    flat = {**affect(), "labels": np.array(SCORES)}
    assert load_affect(write_affect(tmp_path, train=flat)).train.labels.tolist() == [0, 0, 1]


def test_affect_options(tmp_path):
    path = write_affect(tmp_path)
    split = load_affect(path, modalities=("text", "audio"), length=6).test
    assert list(split.modalities) == ["text", "audio"] == list(split.masks)
    assert split.modalities["audio"].shape == (3, 6, 2) and not split.masks["text"][:, 4:].any()
    split = load_affect(path, align=False).train
    assert split.modalities["text"][..., 0].tolist() == [TEXT[0], TEXT[2], TEXT[3]]
    assert split.masks["vision"].all()
    split = load_affect(path, z_norm=True).train
    half = np.sqrt(0.5)
    found = split.modalities["text"]
    np.testing.assert_allclose(found[0, :, 0], [-half, half, 0, 0], rtol=1e-6)
    np.testing.assert_allclose(found[2, :, 0], (np.arange(4) - 1.5) / np.sqrt(5 / 3), rtol=1e-6)
    assert not found[..., 1:].any()  # constant features


def test_affect_one_step_and_constants_have_no_variance(tmp_path):
    odd = affect()
    odd["text"][0] = [[0] * 3] * 3 + [[1, 2, 3]]
    odd["vision"][:] = 0.9  # the mean of three of these is another number in float32
    split = load_affect(write_affect(tmp_path, train=odd), z_norm=True).train
    assert not split.modalities["text"][0].any() and split.masks["text"][0].sum() == 1
    assert not split.modalities["vision"].any()


def test_affect_splits_do_not_touch_each_other(tmp_path):
    one = load_affect(write_affect(tmp_path))
    two = load_affect(write_affect(tmp_path, test=affect(shift=100.0)))
    np.testing.assert_array_equal(one.train.modalities["audio"], two.train.modalities["audio"])
    assert (one.test.modalities["audio"] != two.test.modalities["audio"]).any()


def test_affect_ids_of_python_2_objects_and_columns(tmp_path):
    bytes_ids = {**affect(), "id": np.array([b"a", b"b", b"c", "d"], object)}
    columns = {**affect(), "id": np.array([["v", 1], ["w", 2], ["x", 3], ["y", 4]], object)}
    without = {k: v for k, v in affect().items() if k != "id"}
    path = write_affect(tmp_path, train=bytes_ids, valid=columns, test=without)
    data = load_affect(path)
    assert data.train.ids.tolist() == ["a", "c", "d"]
    assert data.validation.ids.tolist() == ["v 1", "x 3", "y 4"] and data.test.ids is None


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
        split = getattr(data, name)
        assert split.ids.tolist() == [str(k) for k in chosen]
        assert split.labels.tolist() == given["y_icd9"][chosen, 7].tolist()
        assert list(split.modalities) == ["static", "series"]
        for modality, values in clean.items():
            train = values[rows["train"]].reshape(-1, values.shape[-1])
            spread = np.where(train.std(0) > 0, train.std(0), 1)
            expected = (values[chosen] - train.mean(0)) / spread
            np.testing.assert_allclose(split.modalities[modality], expected, rtol=1e-5, atol=1e-6)
    assert data.kind == "classification" and data.label_names == ("0", "1")
    assert load_mimic(write_mimic(tmp_path), task=3).train.labels.tolist() == [
        given["y_icd9"][k, 3] for k in rows["train"]
    ]


def test_mimic_mortality_is_the_first_positive_label(tmp_path):
    data = load_mimic(write_mimic(tmp_path), task=-1)
    for split in (data.train, data.validation, data.test):
        assert split.labels.tolist() == [int(k) % 6 for k in split.ids]
    assert data.label_names == tuple("012345")


def test_mimic_test_rows_change_no_training_value(tmp_path):
    one = load_mimic(write_mimic(tmp_path))
    series = mimic()["ep_tdata"]
    series[one.test.ids.astype(int)] += 100
    two = load_mimic(write_mimic(tmp_path, ep_tdata=series))
    np.testing.assert_array_equal(one.train.modalities["series"], two.train.modalities["series"])
    assert (two.test.modalities["series"] > one.test.modalities["series"] + 10).all()


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

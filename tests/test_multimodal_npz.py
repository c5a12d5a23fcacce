"""Data of k modalities as plain arrays: AV-MNIST's .npy files and a user's .npz."""

import pickle

import numpy as np
import pytest

from mmjax.data import host_share, load_av_mnist, load_multimodal, read_rows, split_size
from mmjax.errors import InvalidInput


def whole(split):
    return read_rows(split, np.arange(split_size(split)))


def av_mnist():
    rng = np.random.default_rng(0)
    return {
        "image/train_data": rng.integers(0, 256, (12, 784)).astype(np.float64),
        "image/test_data": rng.integers(0, 256, (5, 784), np.uint8),
        "audio/train_data": rng.uniform(0, 255, (12, 112, 112)),
        "audio/test_data": rng.uniform(0, 255, (5, 112, 112)).astype(np.float32),
        "train_labels": np.arange(12) % 10,
        "test_labels": np.arange(5, dtype=np.float64),
    }


def write_av_mnist(root, **changed):
    for name, array in {**av_mnist(), **changed}.items():
        (root / name).parent.mkdir(exist_ok=True)
        np.save(root / f"{name}.npy", array)
    return str(root)


def test_av_mnist(tmp_path):
    data, given = load_av_mnist(write_av_mnist(tmp_path), validation_rows=3), av_mnist()
    parts = {"train": ("train", 0, 9), "validation": ("train", 9, 12), "test": ("test", 0, 5)}
    for name, (half, start, end) in parts.items():
        split = getattr(data, name)
        assert split_size(split) == end - start
        image, audio = whole(split).modalities
        assert image.shape[1:] == (28, 28, 1) and audio.shape[1:] == (112, 112, 1)
        assert image.dtype == audio.dtype == np.float32
        expected = given[f"image/{half}_data"][start:end].reshape(-1, 28, 28, 1) / 255
        np.testing.assert_allclose(image, expected, rtol=1e-6)
        np.testing.assert_allclose(
            audio[..., 0], given[f"audio/{half}_data"][start:end] / 255, rtol=1e-6
        )
        assert split.labels.tolist() == given[f"{half}_labels"][start:end].tolist()
    part = host_share(data, 1, 2).train
    np.testing.assert_array_equal(
        read_rows(part, np.array([2, 0])).modalities[1],
        read_rows(data.train, np.array([5, 1])).modalities[1],
    )


BAD_AV_MNIST = {
    "rows": ({"image/train_data": np.zeros((11, 784))}, "image/train_data.npy: shape"),
    "size": ({"audio/test_data": np.zeros((5, 100, 112))}, "audio/test_data.npy: shape"),
    "text": ({"audio/test_data": np.full((5, 112, 112), "x")}, "no array of numbers"),
    "label": ({"test_labels": np.full(5, 10)}, "test_labels.npy: int64"),
    "labels": ({"train_labels": np.zeros((12, 10))}, "train_labels.npy: float64"),
}


@pytest.mark.parametrize("name", BAD_AV_MNIST)
def test_bad_av_mnist_is_told_in_one_line(name, tmp_path):
    changed, told = BAD_AV_MNIST[name]
    with pytest.raises(InvalidInput, match=told) as error:
        load_av_mnist(write_av_mnist(tmp_path, **changed), validation_rows=3)
    assert "\n" not in str(error.value)


class Trap:
    def __reduce__(self):
        return (exit, ("executed",))


def test_bad_files_of_av_mnist(tmp_path):
    root = write_av_mnist(tmp_path)
    file = tmp_path / "audio" / "train_data.npy"
    content = file.read_bytes()
    trap = pickle.dumps(Trap())
    for broken in (b"", b"text", content[:1000], trap, b"PK\x05\x06" + b"\0" * 18):
        file.write_bytes(broken)
        with pytest.raises(InvalidInput, match="audio/train_data.npy: no") as error:
            load_av_mnist(root, validation_rows=3)
        assert "\n" not in str(error.value)
    np.save(file, np.array([Trap()]), allow_pickle=True)
    with pytest.raises(InvalidInput, match="audio/train_data.npy: no whole array of numbers"):
        load_av_mnist(root, validation_rows=3)
    file.unlink()
    for where, told in ((root, "train_data.npy: not there"), (root + "/none", "existing folder")):
        with pytest.raises(InvalidInput, match=told):
            load_av_mnist(where, validation_rows=3)


def test_av_mnist_values_are_checked_when_they_are_read(tmp_path):
    for bad in (256, -1, np.nan):
        values = av_mnist()["audio/train_data"]
        values[4, 7, 7] = bad
        root = write_av_mnist(tmp_path, **{"audio/train_data": values})
        data = load_av_mnist(root, validation_rows=3)
        read_rows(data.train, np.array([3, 5]))
        with pytest.raises(InvalidInput, match="train_data.npy: row 4"):
            read_rows(data.train, np.array([5, 4]))
    for rows in (0, 12):
        with pytest.raises(InvalidInput, match="validation_rows"):
            load_av_mnist(root, validation_rows=rows)


N = 20


def arrays():
    rng = np.random.default_rng(0)
    return {
        "a": rng.normal(3, 2, (N, 4)),
        "b": rng.normal(size=(N, 5, 3)).astype(np.float32),
        "c": rng.integers(0, 256, (N, 6, 6, 3), np.uint8),
        "b_mask": np.arange(5) < rng.integers(1, 6, N)[:, None],
        "label": np.array(["x", "z", "y", "x"] * 5),
        "genres": rng.integers(0, 2, (N, 3)),
        "score": rng.normal(size=N),
        "ids": np.arange(100, 100 + N),
        "test": (np.arange(N) >= 15).astype(int),
        "val": (np.arange(N) < 2),
    }


def write_npz(tmp_path, **changed):
    path = str(tmp_path / "mine.npz")
    np.savez(path, **{**arrays(), **changed})
    return path


def test_npz_of_k_modalities(tmp_path):
    given = arrays()
    data = load_multimodal(
        write_npz(tmp_path),
        ("c", "a", "b"),
        masks={"b": "b_mask"},
        labels="label",
        ids="ids",
        is_test="test",
        is_validation="val",
    )
    assert (data.name, data.kind) == ("mine.npz", "classification")
    assert data.label_names == ("x", "y", "z")
    rows = {"validation": range(2), "train": range(2, 15), "test": range(15, N)}
    for name, chosen in rows.items():
        split, chosen = getattr(data, name), list(chosen)
        assert split.ids.tolist() == [str(100 + k) for k in chosen]
        batch = whole(split)
        for found, modality in zip(batch.modalities, "cab", strict=True):
            np.testing.assert_allclose(found, given[modality][chosen], rtol=1e-6)
        assert [v.dtype for v in batch.modalities] == [np.uint8, np.float32, np.float32]
        assert batch.masks[:2] == (None, None)
        np.testing.assert_array_equal(batch.masks[2], given["b_mask"][chosen])
        assert [data.label_names[k] for k in batch.labels] == given["label"][chosen].tolist()


def test_npz_without_labels_or_split(tmp_path):
    path = write_npz(tmp_path)
    data = load_multimodal(path, ["a"], ids="ids", test_share=0.25)
    assert data.kind == "" and data.train.labels is None and data.validation is None
    train, test = data.train.ids.tolist(), data.test.ids.tolist()
    assert len(test) == 5 and sorted(train + test) == [str(k) for k in range(100, 120)]
    assert load_multimodal(path, ["a"], ids="ids", test_share=0.25).test.ids.tolist() == test
    data = load_multimodal(path, ["a"], ids="ids", is_validation="val")
    assert data.validation.ids.tolist() == ["100", "101"]
    assert not {"100", "101"} & {*data.train.ids, *data.test.ids}
    assert split_size(data.train) + split_size(data.test) == 18
    drawn = np.isin(np.arange(100, 120).astype(str), test)  # never validation and test both
    data = load_multimodal(write_npz(tmp_path, val=drawn), ["a"], is_validation="val")
    assert [split_size(s) for s in (data.train, data.validation, data.test)] == [12, 5, 3]


def test_npz_kinds_of_labels(tmp_path):
    path = write_npz(tmp_path)
    several = load_multimodal(path, ["a"], labels="genres", is_test="test")
    assert several.kind == "multilabel" and several.label_names == ("0", "1", "2")
    assert several.test.labels.tolist() == arrays()["genres"][15:].tolist()
    score = load_multimodal(path, ["a"], labels="score", is_test="test")
    assert score.kind == "regression" and score.test.labels.shape == (5, 1)
    np.testing.assert_allclose(score.test.labels[:, 0], arrays()["score"][15:], rtol=1e-6)
    number = load_multimodal(path, ["a"], labels="ids", kind="regression", is_test="test")
    assert number.test.labels[:, 0].tolist() == list(range(115, 120))


def test_npz_statistics_are_those_of_training_rows(tmp_path):
    options = {"masks": {"b": "b_mask"}, "is_test": "test", "standardise": ("a", "b")}
    one = load_multimodal(write_npz(tmp_path), ("a", "b", "c"), **options)
    changed = arrays()["a"]
    changed[15:] += 100
    two = load_multimodal(write_npz(tmp_path, a=changed), ("a", "b", "c"), **options)
    np.testing.assert_array_equal(one.train.modalities["a"], two.train.modalities["a"])
    given = arrays()["a"]
    expected = (given[15:] - given[:15].mean(0)) / given[:15].std(0)
    np.testing.assert_allclose(one.test.modalities["a"], expected, rtol=1e-5, atol=1e-6)
    mask = one.train.masks["b"]
    np.testing.assert_allclose(one.train.modalities["b"][mask].mean(0), 0, atol=1e-6)
    assert not one.train.modalities["b"][~mask].any() and one.train.modalities["c"].any()


BAD_NPZ = {
    "no array": ({}, {"names": ["d"]}, "no array 'd'"),
    "no names": ({}, {"names": []}, "names"),
    "twice": ({}, {"names": ["a", "a"]}, "names"),
    "rows": ({"a": np.zeros((9, 4))}, {}, "'a' has 9 rows|'b' has 20 rows"),
    "text": ({"a": np.full((N, 2), "x")}, {}, "'a' is <U1"),
    "one axis": ({"a": np.zeros(N)}, {}, r"'a' is float64 \(20,\)"),
    "nan": ({"a": np.full((N, 2), np.nan)}, {}, "'a' has NaN"),
    "objects": ({"a": np.array([Trap()] * N)}, {}, "never loaded"),
    "mask of none": ({}, {"masks": {"c": "b_mask"}}, "masks"),
    "mask shape": ({"b_mask": np.ones((N, 4))}, {"masks": {"b": "b_mask"}}, "'b_mask' is float64"),
    "mask values": ({"b_mask": np.full((N, 5), 2)}, {"masks": {"b": "b_mask"}}, "'b_mask' is int"),
    "mask empty": ({"b_mask": np.zeros((N, 5))}, {"masks": {"b": "b_mask"}}, "nothing of row 0"),
    "kind": ({}, {"labels": "label", "kind": "ranking"}, "kind"),
    "kind alone": ({}, {"kind": "regression"}, "kind"),
    "classes": ({}, {"labels": "score", "kind": "classification"}, "use whole numbers"),
    "targets": ({}, {"labels": "label", "kind": "regression"}, "use numbers"),
    "multi-hot": ({"genres": np.full((N, 3), 2)}, {"labels": "genres"}, "use 0 and 1"),
    "multi-hot axes": ({}, {"labels": "ids", "kind": "multilabel"}, "have shape"),
    "ids": ({}, {"ids": "b"}, "'b' has shape"),
    "test flags": ({"test": np.arange(N)}, {"is_test": "test"}, "'test' is int64"),
    "no test": ({"test": np.zeros(N)}, {"is_test": "test"}, "the test split has no rows"),
    "no train": ({"test": np.ones(N)}, {"is_test": "test"}, "the train split has no rows"),
    "both": (
        {"test": np.arange(N) < 5},
        {"is_test": "test", "is_validation": "val"},
        "row 0 is of",
    ),
    "share": ({}, {"test_share": 1.0}, "test_share"),
    "standardise": ({}, {"standardise": ["d"]}, "standardise"),
    "standardise images": ({}, {"names": ["c"], "standardise": ["c"]}, "standardise"),
}


@pytest.mark.parametrize("name", BAD_NPZ)
def test_bad_npz_is_told_in_one_line(name, tmp_path):
    changed, options, told = BAD_NPZ[name]
    with pytest.raises(InvalidInput, match=told) as error:
        load_multimodal(write_npz(tmp_path, **changed), **{"names": ["a", "b"], **options})
    assert "\n" not in str(error.value)


def test_bad_files_of_npz(tmp_path):
    path = write_npz(tmp_path)
    content = open(path, "rb").read()
    for broken, told in ((b"text", "npz"), (content[:500], "npz"), (pickle.dumps(Trap()), "npz")):
        with open(path, "wb") as file:
            file.write(broken)
        with pytest.raises(InvalidInput, match=told):
            load_multimodal(path, ["a"])
    with pytest.raises(InvalidInput, match="existing .npz"):
        load_multimodal(str(tmp_path / "none.npz"), ["a"])

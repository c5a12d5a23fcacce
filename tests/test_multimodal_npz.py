"""Data of k modalities as plain arrays: AV-MNIST's .npy files and a user's .npz."""

import pickle

import numpy as np
import pytest

from mmjax.data import load_av_mnist, load_multimodal
from mmjax.data.dataset import SPLITS, is_classes
from mmjax.errors import InvalidInput
from tests.rows import rows_of


def sizes(data):
    return [int(np.sum(data.split == part)) for part in SPLITS]


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
        part = data.part(name)
        assert part.num_rows == end - start
        image, audio = (rows_of(part, side) for side in ("image", "audio"))
        assert image.shape[1:] == (28, 28, 1) and audio.shape[1:] == (112, 112, 1)
        assert image.dtype == audio.dtype == np.float32
        expected = given[f"image/{half}_data"][start:end].reshape(-1, 28, 28, 1) / 255
        np.testing.assert_allclose(image, expected, rtol=1e-6)
        np.testing.assert_allclose(
            audio[..., 0], given[f"audio/{half}_data"][start:end] / 255, rtol=1e-6
        )
        assert part.labels["label"].tolist() == given[f"{half}_labels"][start:end].tolist()
    mixed = np.array([13, 2, 16, 2])  # of both files
    np.testing.assert_array_equal(rows_of(data, "audio", mixed), rows_of(data, "audio")[mixed])


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
        rows_of(data.part("train"), "audio", np.array([3, 5]))
        with pytest.raises(InvalidInput, match="train_data.npy: row 4"):
            rows_of(data.part("train"), "audio", np.array([5, 4]))
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
    assert data.name == "mine.npz" and list(data.columns) == ["c", "a", "b"]
    rows = {"validation": range(2), "train": range(2, 15), "test": range(15, N)}
    for name, chosen in rows.items():
        part, chosen = data.part(name), list(chosen)
        assert part.ids[:, -1].tolist() == chosen
        seen = given["b_mask"][chosen]
        for modality in "cab":
            found, stored = rows_of(part, modality), given[modality][chosen]
            if modality == "b":
                found, stored = found[seen], stored[seen]
            np.testing.assert_allclose(found, stored, rtol=1e-6)
        kinds = [(c.kind, c.values.dtype) for c in part.columns.values()]
        assert kinds == [("image", np.uint8), ("features", np.float32), ("sequence", np.float32)]
        assert part.columns["a"].seen is None and part.columns["c"].seen is None
        np.testing.assert_array_equal(part.columns["b"].seen, seen)
        assert part.labels["label"].tolist() == given["label"][chosen].tolist()


def test_npz_without_labels_or_split(tmp_path):
    path = write_npz(tmp_path)
    data = load_multimodal(path, ["a"], ids="ids", test_share=0.25)
    assert not data.labels and sizes(data) == [15, 0, 5]
    again = load_multimodal(path, ["a"], ids="ids", test_share=0.25)
    np.testing.assert_array_equal(again.split, data.split)
    other = load_multimodal(path, ["a"], ids="ids", is_validation="val")
    assert np.flatnonzero(other.split == "validation").tolist() == [0, 1]
    assert sizes(other)[0] + sizes(other)[2] == 18
    drawn = data.split == "test"  # never validation and test both
    data = load_multimodal(write_npz(tmp_path, val=drawn), ["a"], is_validation="val")
    assert sizes(data) == [12, 5, 3]


def test_npz_kinds_of_labels(tmp_path):
    path = write_npz(tmp_path)
    labels = lambda **how: load_multimodal(path, ["a"], is_test="test", **how).part("test").labels
    several = labels(labels="genres")
    assert list(several) == ["genres 0", "genres 1", "genres 2"]
    assert np.stack(list(several.values()), 1).tolist() == arrays()["genres"][15:].tolist()
    assert all(map(is_classes, several.values()))
    score = labels(labels="score")["score"]
    np.testing.assert_allclose(score, arrays()["score"][15:], rtol=1e-6)
    number = labels(labels="ids", kind="regression")["ids"]
    assert number.tolist() == list(range(115, 120)) and not is_classes(number)


def test_npz_statistics_are_those_of_training_rows(tmp_path):
    options = {"masks": {"b": "b_mask"}, "is_test": "test", "standardise": ("a", "b")}
    one = load_multimodal(write_npz(tmp_path), ("a", "b", "c"), **options)
    changed = arrays()["a"]
    changed[15:] += 100
    two = load_multimodal(write_npz(tmp_path, a=changed), ("a", "b", "c"), **options)
    train = one.part("train")
    np.testing.assert_array_equal(rows_of(train, "a"), rows_of(two.part("train"), "a"))
    given = arrays()["a"]
    expected = (given[15:] - given[:15].mean(0)) / given[:15].std(0)
    np.testing.assert_allclose(rows_of(one.part("test"), "a"), expected, rtol=1e-5, atol=1e-6)
    b, seen = rows_of(train, "b"), train.columns["b"].seen
    np.testing.assert_allclose(b[seen].mean(0), 0, atol=1e-6)
    assert not b[~seen].any() and rows_of(train, "c").any()


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

"""Readers of arrays: a value counts, not how it is stored; one that is not finite is named."""

import pickle

import h5py
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from mmjax.data import (
    load_affect,
    load_av_mnist,
    load_mimic,
    load_mm_imdb_hdf5,
    load_multimodal,
    load_vision_touch,
    read_arrays,
    read_clip,
)
from mmjax.data.files.checks import within_int32
from mmjax.data.scaling import standardised_by
from mmjax.errors import InvalidInput
from mmjax.labels import encode_labels
from tests.clip_folders import GOLDEN, copy_golden
from tests.rows import rows_of

BFLOAT16 = ml_dtypes.bfloat16
FLOATS = ("f2", "f4", "f8", ">f2", ">f4", ">f8", BFLOAT16)
DTYPES = ("i1", "i2", "i4", "i8", "u1", "u2", "u8", ">i2", ">i8", ">u4", *FLOATS)
LAYOUTS = {
    "C": lambda x: x,
    "Fortran": np.asfortranarray,
    "strided": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
}
N = 12
# Small whole numbers: every dtype holds them. The first row is no row of zeros.
VALUES = 1 + np.arange(N * 4).reshape(N, 4) * 7 % 11


def _npz(folder, x):
    np.savez(folder / "a.npz", x=x, y=np.arange(N) % 2)
    data = load_multimodal(str(folder / "a.npz"), ["x"], labels="y")
    return rows_of(data, "x").astype(np.float32)


def _npz_scaled(folder, x):
    np.savez(folder / "a.npz", x=x)
    return rows_of(load_multimodal(str(folder / "a.npz"), ["x"], standardise=["x"]), "x")


def _av_mnist(folder, x):
    image = np.zeros((N, 784), x.dtype)
    image[:, :4] = x
    for part in ("train", "test"):
        for name, array in (("image", image), ("audio", np.zeros((N, 112, 112), np.uint8))):
            (folder / name).mkdir(exist_ok=True)
            np.save(folder / name / f"{part}_data.npy", array)
        np.save(folder / f"{part}_labels.npy", (np.arange(N) % 2).astype(x.dtype))
    return rows_of(load_av_mnist(str(folder), validation_rows=2), "image")[:, 0, :4, 0]


def _mimic(folder, x):
    arrays = {
        "ep_tdata": x[:, None].repeat(2, 1),
        "adm_features_all": x,
        "y_icd9": (np.arange(N * 8).reshape(N, 8) % 2).astype(x.dtype),
    }
    (folder / "im.pk").write_bytes(pickle.dumps(arrays))
    return rows_of(load_mimic(str(folder / "im.pk")), "static")


def _affect(folder, x):
    split = {"vision": x[:, None], "audio": x[:, None], "text": x[:, None]}
    split["labels"] = (np.arange(N) % 2)[:, None].astype(x.dtype)
    found = dict.fromkeys(("train", "valid", "test"), split)
    (folder / "a.pkl").write_bytes(pickle.dumps(found, 4))
    return rows_of(load_affect(str(folder / "a.pkl")), "audio")


def _vision_touch(folder, x):
    for k in range(5):
        with h5py.File(folder / f"{k}.h5", "w") as file:
            file["proprio"] = np.concatenate([x, x], 1)
            file["action"] = x
            file["ee_forces_continuous"] = x[:, None, :1].repeat(32, 1).repeat(6, 2)
            file["contact"] = (np.arange(N * 3).reshape(N, 3) % 2).astype(x.dtype)
    data = load_vision_touch(str(folder), modalities=("action", "force", "proprio"))
    return np.concatenate([rows_of(data, n).reshape(-1, 4) for n in ("action", "proprio", "force")])


def _mm_imdb(folder, x):
    with h5py.File(folder / "a.h5", "w") as file:
        file["features"] = file["vgg_features"] = x
        file["genres"] = (np.arange(N * 2).reshape(N, 2) % 2).astype(x.dtype)
        file["genres"].attrs["target_names"] = '["a", "b"]'
        file["imdb_ids"] = np.arange(N).astype("S7")
    data = load_mm_imdb_hdf5(str(folder / "a.h5"), ends=(4, 8, N))
    return np.concatenate([rows_of(data, "vgg"), rows_of(data, "text")])


READERS = {
    "npz": _npz,
    "npz, standardised": _npz_scaled,
    "AV-MNIST": _av_mnist,
    "MIMIC": _mimic,
    "affect": _affect,
    "Vision&Touch": _vision_touch,
    "MM-IMDb": _mm_imdb,
}
NAMED = {"npz": "'x'", "affect": "vision", "Vision&Touch": "proprio", "MM-IMDb": "features"}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("reader", READERS)
def test_the_value_counts_not_its_storage(reader, dtype, layout, tmp_path_factory):
    read = READERS[reader]
    folders = [tmp_path_factory.mktemp("a") for _ in range(2)]
    expected = read(folders[0], VALUES.astype(np.float64))
    found = read(folders[1], LAYOUTS[layout](VALUES.astype(dtype)))
    assert found.dtype == expected.dtype == np.float32
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("reader", NAMED)
def test_what_is_not_finite_is_named(reader, dtype, bad, tmp_path):
    x = VALUES.astype(dtype)
    x[5, 2] = bad
    with pytest.raises(InvalidInput) as error:
        READERS[reader](tmp_path, x)
    told = str(error.value)
    column = "column 0, 2" if reader == "affect" else "column 2"  # the first step's
    assert str(tmp_path) in told and NAMED[reader] in told and "NaN or infinity" in told
    assert told.endswith(f"first in row 5, {column}") and "\n" not in told


def test_av_mnist_names_row_and_column(tmp_path):
    x = VALUES.astype(np.float32)
    x[5, 2] = np.nan
    with pytest.raises(InvalidInput, match="train_data.npy: row 5 has .* nan in column 2"):
        READERS["AV-MNIST"](tmp_path, x)


@pytest.mark.parametrize("reader", NAMED)
def test_what_float32_cannot_hold_is_named(reader, tmp_path):
    with pytest.raises(InvalidInput, match="beyond float32 .* first in row"):
        READERS[reader](tmp_path, VALUES * 1e38)


def test_infinite_forces_do_not_hide_behind_the_tanh(tmp_path):
    x = VALUES.astype(float)
    with pytest.raises(InvalidInput, match="ee_forces_continuous has NaN or infinity"):
        x[3, 0] = np.inf
        for k in range(5):
            with h5py.File(tmp_path / f"{k}.h5", "w") as file:
                file["proprio"] = np.ones((N, 8))
                file["ee_forces_continuous"] = x[:, None, :1].repeat(32, 1).repeat(6, 2)
                file["contact"] = np.ones((N, 3))
        load_vision_touch(str(tmp_path), modalities=("force",))


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1.0, 1e30])
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_neither_units_nor_offset_change_what_is_standardised(offset, scale):
    change = lambda x: standardised_by(x, np.ones(50, bool))
    x = np.random.default_rng(0).normal(size=(50, 3))
    x[:, 2] = 0.1  # a constant stays one
    found = change((x + offset) * scale)
    np.testing.assert_allclose(found[:, :2], change(x)[:, :2], atol=1e-4)
    np.testing.assert_allclose(found[:, 2], 0, atol=1e-5)


def test_whole_numbers_with_a_large_offset_keep_their_differences(tmp_path):
    late = 1_700_000_000_000_000 + VALUES
    np.testing.assert_allclose(
        READERS["npz, standardised"](tmp_path, late),
        READERS["npz, standardised"](tmp_path, VALUES),
        atol=1e-5,
    )
    with pytest.raises(InvalidInput, match="'x' has 17000.*, beyond int32, first in row 0, column"):
        READERS["npz"](tmp_path, late)
    assert within_int32(VALUES, "x", "f").dtype == np.int32


LABELS = {
    "i8": lambda y: y,
    "f2": lambda y: y.astype("f2"),
    "bfloat16": lambda y: y.astype(BFLOAT16),
    "bool": lambda y: y.astype(bool),
    "text": lambda y: y.astype(str),
    "bytes": lambda y: y.astype("S2"),
    "beyond int32": lambda y: y + 2**40,
    "beyond int64": lambda y: y.astype("u8") + np.uint64(2**63),
}


@pytest.mark.parametrize("kind", LABELS)
def test_labels_of_every_dtype_are_the_same_classes(kind, tmp_path):
    y = np.arange(N) % 2
    np.savez(tmp_path / "a.npz", x=VALUES, y=LABELS[kind](y), test=y)
    how = dict(labels="y", kind="classification", is_test="test")
    data = load_multimodal(str(tmp_path / "a.npz"), ["x"], **how)
    labels = data.labels["y"]
    assert encode_labels(labels)[0].tolist() == y.tolist()
    assert data.part("test").labels["y"].tolist() == labels[y == 1].tolist()
    offset = {"beyond int32": 2**40, "beyond int64": 2**63}.get(kind, 0)
    assert np.unique(labels).astype(str).tolist() == [str(offset), str(offset + 1)]


@pytest.mark.parametrize("kind", ["npz", "pickle"])
def test_objects_are_refused_and_never_run(kind, tmp_path):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("was run",))

    path = str(tmp_path / "a")
    if kind == "npz":
        np.savez(f"{path}.npz", x=np.array([Trap()], object))
        with pytest.raises(InvalidInput, match="array 'x' holds Python objects"):
            read_arrays(f"{path}.npz", ["x"])
    else:
        with open(path, "wb") as file:
            pickle.dump({"train": Trap()}, file)
        with pytest.raises(InvalidInput, match="refused"):
            load_affect(path)


def test_splits_of_other_widths_name_both(tmp_path):
    split = lambda width: {
        **{name: np.ones((4, 2, width)) for name in ("vision", "audio", "text")},
        "labels": np.array([-1, 1, -1, 1]),
    }
    found = {"train": split(3), "valid": split(3), "test": split(5)}
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(found))
    told = "a.pkl: test: vision has 5 features, train: vision has 3"
    with pytest.raises(InvalidInput, match=told):
        load_affect(str(tmp_path / "a.pkl"))


def test_a_weight_that_is_not_finite_is_named(tmp_path):
    folder = copy_golden(tmp_path / "model")
    tensors = safetensors.numpy.load_file(GOLDEN / "model.safetensors")
    name = "text_model.embeddings.token_embedding.weight"
    tensors[name] = tensors[name].astype(np.float64)
    tensors[name][3, 1] = 1e39
    safetensors.numpy.save_file(tensors, folder / "model.safetensors")
    told = f"tensor '{name}' has 1e.39, beyond float32 .* first in row 3, column 1"
    with pytest.raises(InvalidInput, match=told):
        read_clip(str(folder))

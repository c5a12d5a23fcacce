"""Feature files in every format are read alike, and every broken one is told in one line."""

import pickle
import sys

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import safetensors.numpy

from mmjax.data import read_features
from mmjax.data.dataset import LABEL
from mmjax.errors import InvalidInput

X = np.random.default_rng(0).normal(size=(10, 4)).astype(np.float32)
LABELS = np.arange(10) % 3
NAMES = np.array([f"bird {k}" for k in range(10)])


def _parquet(path, **columns):
    pyarrow.parquet.write_table(pyarrow.table(columns), path)


WRITERS = {
    "plain.npz": lambda p, x: np.savez(p, features=x, labels=LABELS, names=NAMES),
    "packed.npz": lambda p, x: np.savez_compressed(p, features=x, labels=LABELS, names=NAMES),
    "published.npz": lambda p, x: np.savez(p, feature_list=x, label_list=LABELS, names=NAMES),
    "unnamed.npz": lambda p, x: np.savez(p, clip=x, label=LABELS.astype(np.float32), text=NAMES),
    "fortran.npz": lambda p, x: np.savez(p, x=np.asfortranarray(x), y=LABELS, name=NAMES),
    "lists.parquet": lambda p, x: _parquet(p, embedding=list(x), label=LABELS, text=NAMES),
    "columns.parquet": lambda p, x: _parquet(
        p, **{f"f{k}": x[:, k] for k in range(4)}, label=LABELS, text=NAMES
    ),
}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_every_format_holds_the_same(name, dtype, tmp_path):
    path, x = str(tmp_path / name), X.astype(dtype)
    WRITERS[name](path, x)
    found = read_features(path)
    values = found.sides()["x"]
    np.testing.assert_array_equal(values, x)
    assert values.dtype == dtype and list(found.sides()) == ["x"]
    np.testing.assert_array_equal(found.rows.labels[LABEL], LABELS)
    np.testing.assert_array_equal(found.names, NAMES)
    mapped = name in ("plain.npz", "published.npz", "unnamed.npz", "fortran.npz")
    assert isinstance(values, np.memmap) == mapped


def test_arrays_without_names_or_labels(tmp_path):
    np.save(tmp_path / "a.npy", X)
    safetensors.numpy.save_file({"features": X, "labels": LABELS}, tmp_path / "b.safetensors")
    npy, tensors = (read_features(str(tmp_path / n)) for n in ("a.npy", "b.safetensors"))
    assert isinstance(npy.sides()["x"], np.memmap) and not npy.rows.labels and npy.names is None
    np.testing.assert_array_equal(npy.sides()["x"], tensors.sides()["x"])
    np.testing.assert_array_equal(tensors.rows.labels[LABEL], LABELS)
    assert set(npy.rows.split) == {"test"} and len(set(npy.rows.groups)) == len(X)


def test_named_arrays_come_before_usual_ones(tmp_path):
    path = str(tmp_path / "a.npz")
    np.savez(path, features=X, other=X[:, :2], labels=LABELS, birds=NAMES)
    found = read_features(path, values="other", labels="birds", names="birds")
    assert found.sides()["x"].shape == (10, 2)
    assert found.rows.labels[LABEL][3] == found.names[3] == "bird 3"


class _Trap:
    def __reduce__(self):
        return (sys.exit, ("executed",))


BAD = {
    "missing.npz": (lambda p: None, "existing file"),
    "a.csv": (lambda p: p.write_text("1,2"), ".npy, .npz"),
    "text.npz": (lambda p: p.write_text("no zip"), "not a whole .npz"),
    "text.npy": (lambda p: p.write_text("no array"), "numeric array"),
    "text.safetensors": (lambda p: p.write_text("none"), "not a whole .safetensors"),
    "text.parquet": (lambda p: p.write_text("none"), "not a whole .parquet"),
    "trap.npy": (lambda p: p.write_bytes(pickle.dumps(_Trap())), "numeric array"),
    "object.npy": (lambda p: np.save(p, np.array([_Trap()])), "never loaded"),
    "object.npz": (lambda p: np.savez(p, features=np.array([[_Trap()]])), "never loaded"),
    "two.npz": (lambda p: np.savez(p, a=X, b=X), "which array"),
    "none.npz": (lambda p: np.savez(p, a=LABELS), "which array"),
    "flat.npz": (lambda p: np.savez(p, features=LABELS), "[rows, features]"),
    "words.npz": (lambda p: np.savez(p, features=NAMES[:, None]), "floating-point"),
    "nan.npz": (lambda p: np.savez(p, features=np.where(X > 9, X, np.nan)), "NaN"),
    "short.npz": (lambda p: np.savez(p, features=X, labels=LABELS[:3]), "one a row"),
    "half.npz": (lambda p: np.savez(p, features=X, labels=LABELS + 0.5), "whole numbers"),
    "ragged.parquet": (lambda p: _parquet(p, features=[[1.0], [1.0, 2.0]]), "of one length"),
    "null.parquet": (lambda p: _parquet(p, features=[[1.0], None]), "of one length"),
    "gap.parquet": (lambda p: _parquet(p, f=[1.0, 2.0], label=[1, None]), "missing values"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_told(name, tmp_path):
    write, told = BAD[name]
    write(tmp_path / name)
    with pytest.raises(InvalidInput, match=name.replace(".", r"\.")) as error:
        read_features(str(tmp_path / name))
    assert told in str(error.value) and "\n" not in str(error.value)


def test_a_cut_file_is_told(tmp_path):
    for kind in ("npz", "npy"):
        path = tmp_path / f"a.{kind}"
        (np.savez if kind == "npz" else np.save)(path, np.tile(X, (100, 1)))
        path.write_bytes(path.read_bytes()[:-300])
        with pytest.raises(InvalidInput):
            read_features(str(path))


def test_unknown_names_are_told(tmp_path):
    path = str(tmp_path / "a.npz")
    np.savez(path, features=X)
    for option in ("values", "labels", "names"):
        with pytest.raises(InvalidInput, match="it holds features"):
            read_features(path, **{option: "nothing"})

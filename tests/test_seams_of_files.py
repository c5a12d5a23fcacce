"""Where a name or a file might be taken for two things: nothing is lost, and nothing leaks."""

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

import mmjax as mm
from mmjax.data import FeatureNames, read_feature_set, read_features, read_few_shot
from mmjax.data.few_shot_shifts import read_domains
from mmjax.errors import InvalidInput

RNG = np.random.default_rng(0)
N = 24
CLASSES = np.arange(N) % 3
X = RNG.normal(size=(N, 4)).astype(np.float32)


def _table(path, **more):
    columns = {f"f{k}": column for k, column in enumerate(X.T)} | more
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    return str(path)


@pytest.mark.parametrize("name", ["class", "y", "labels", "values"])
def test_a_label_beside_columns_of_floats_is_no_feature(tmp_path, name):
    path = _table(tmp_path / "a.parquet", **{name: CLASSES.astype(float)})
    found = read_features(path, labels="" if name in ("y", "labels") else name)
    np.testing.assert_array_equal(found.sides()["x"], X)
    np.testing.assert_array_equal(found.labels, CLASSES)


def test_what_else_a_user_names_beside_floats_is_no_feature(tmp_path):
    floats = CLASSES.astype(float)
    path = _table(tmp_path / "a.parquet", is_test=floats % 2, take=floats, age=floats)
    found = read_features(path, group="take", apart=["age"])
    np.testing.assert_array_equal(found.sides()["x"], X)
    names = FeatureNames(labels="age", extra=("take",), split="is_test")
    beside = _table(tmp_path / "b.parquet", is_test=floats % 2, take=floats, age=floats)
    pair = read_feature_set(path, names, beside)
    for side in pair.sides().values():
        np.testing.assert_array_equal(side, X)
    np.testing.assert_array_equal(pair.extra["take"], floats)


def test_few_shot_labels_and_domains_in_columns_are_no_features(tmp_path):
    floats = CLASSES.astype(float)
    path = _table(tmp_path / "a.parquet", labels=floats, splits=["train", "test"] * (N // 2))
    assert read_few_shot(path).pool.x.shape[1] == 4
    path = _table(tmp_path / "b.parquet", labels=floats, domain=np.arange(N) // 12 * 1.0)
    assert read_domains(path, "domain")[0].pool.x.shape[1] == 4


def test_a_table_of_labels_alone_has_no_features(tmp_path):
    path = str(tmp_path / "a.parquet")
    pyarrow.parquet.write_table(pyarrow.table({"y": CLASSES.astype(float)}), path)
    with pytest.raises(InvalidInput, match="which array has the features"):
        read_features(path)


def _saved(path, **arrays):
    np.savez(path, **arrays)
    return str(path)


def _torn(groups, ids):
    """How many ids lie in two groups."""
    return sum(len(np.unique(groups[ids == one])) > 1 for one in np.unique(ids))


@pytest.mark.parametrize("how", [dict(ids="ids_0", groups="g"), dict(groups="g"), {}])
def test_ids_of_a_user_link_whatever_their_column_is_called(tmp_path, how):
    ids, g = np.arange(N) // 2, np.arange(N)
    arrays = dict(a=X, b=X[::-1], ids_0=ids, **{how.get("groups", "group"): g})
    data = mm.read(_saved(tmp_path / "a.npz", **arrays), **how)
    assert _torn(data.groups, ids) == 0


def test_what_is_named_as_another_is_no_id(tmp_path):
    path = _saved(tmp_path / "a.npz", a=X, b=X[::-1], ids_0=CLASSES, ids_1=np.arange(N) // 2)
    data = mm.read(path, labels=["ids_0"])
    assert data.ids.shape == (N, 1) and len(np.unique(data.ids)) == N // 2
    path = _saved(tmp_path / "b.npz", a=X, b=X[::-1], ids_0=np.arange(N) // 2, ids_1=np.arange(N))
    data = mm.read(path, groups="ids_0")
    assert data.ids.shape == (N, 1) and len(np.unique(data.ids)) == N


def test_groups_of_an_export_hold_what_ids_link(tmp_path):
    ids, split = np.zeros(N, int), np.array(["train", "test"] * (N // 2))
    columns = dict(split=split, group=np.arange(N), is_test=split == "test", ids_0=ids)
    path = _saved(tmp_path / "a.npz", a=X, b=X[::-1], **columns)
    assert len(np.unique(mm.read(path).groups)) == N

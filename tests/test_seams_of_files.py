"""Where a name or a file might be taken for two things: nothing is lost, and nothing leaks."""

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

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

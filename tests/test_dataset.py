"""A data set keeps what protects its rows: split, groups, ids, presence."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from mmjax.data.dataset import SPLITS, Dataset
from mmjax.data.hashes import data_hash, hashes_of
from mmjax.data.values import Lazy
from mmjax.errors import InvalidInput

MAKE = Dataset.from_arrays
EYE = np.eye(10)


@hypothesis.settings(deadline=None, max_examples=30)
@hypothesis.given(
    groups=st.lists(st.integers(0, 30), min_size=30, max_size=90),
    shares=st.sampled_from([(0.8, 0.1, 0.1), (0.5, 0.25, 0.25), (0.6, 0.0, 0.4), (1, 0, 0)]),
    seed=st.integers(0, 9),
)
def test_no_split_parts_a_group(groups, shares, seed):
    hypothesis.assume(len(set(groups)) > 12)
    x = np.random.default_rng(0).normal(size=(len(groups), 2))
    data = MAKE(x=x, groups=groups, split=shares, seed=seed)
    parts = {group: set(data.split[data.groups == group]) for group in data.groups}
    assert all(len(own) == 1 for own in parts.values())
    largest = np.bincount(np.unique(groups, return_inverse=True)[1]).max()
    for name, share in zip(SPLITS, shares, strict=True):
        assert abs(np.sum(data.split == name) - share * len(groups)) <= largest + 1


def test_shares_are_met_to_the_row_and_seeds_differ():
    x = np.random.default_rng(0).normal(size=(100, 2))
    first, second = (MAKE(x=x, seed=seed).split for seed in (0, 1))
    assert [int(np.sum(first == s)) for s in SPLITS] == [80, 10, 10]
    assert (first != second).any()


@hypothesis.settings(deadline=None, max_examples=30)
@hypothesis.given(order=st.permutations(range(12)))
def test_rows_travel_with_all_that_protects_them(order):
    order = np.array(order)
    rows = np.random.default_rng(0).normal(size=(12, 3))
    names = [f"word {k // 2}" for k in range(12)]
    lacks = np.arange(12) % 5 == 0
    data = MAKE(x=rows, t=names, labels={"k": np.arange(12)}, present={"x": ~lacks}, seed=1)
    moved = data.take(order)
    np.testing.assert_array_equal(moved.labels["k"], order)
    np.testing.assert_array_equal(moved.split, data.split[order])
    np.testing.assert_array_equal(moved.groups, data.groups[order])
    np.testing.assert_array_equal(moved.ids, data.ids[order])
    np.testing.assert_array_equal(moved.present["x"], ~lacks[order])
    for name, hashes in hashes_of(data).items():
        np.testing.assert_array_equal(hashes_of(moved)[name], hashes[order])
    assert (hashes_of(data)["x"] == 0).tolist() == lacks.tolist()


def test_parts_and_modalities():
    data = MAKE(x=EYE, y=EYE * 2, split=["train"] * 6 + ["validation"] * 2 + ["test"] * 2)
    assert data.part("train").num_rows == 6 and data.part("validation", "test").num_rows == 4
    assert list(data.only("y").columns) == ["y"]
    with pytest.raises(InvalidInput, match="modality: 'z'"):
        data.only("z")
    with pytest.raises(InvalidInput, match="part: 'valid'"):
        data.part("valid")
    assert "10 rows (6 train, 2 validation, 2 test)" in str(data)
    twice = Dataset.from_arrays(x=np.repeat(np.random.default_rng(0).normal(size=(9, 4)), 2, 0))
    assert "18 rows in 9 groups of what is equal or linked (" in str(twice)


def test_equal_contents_are_one_recording_unless_they_are_a_class():
    rng = np.random.default_rng(0)
    picture = np.repeat(rng.normal(size=(8, 4)), 5, axis=0)  # five captions an image
    data = MAKE(image=picture, text=[f"caption {k}" for k in range(40)], split=(0.5, 0, 0.5))
    assert len(set(data.groups)) == 8 and not data.remarks
    same = (data.ids[:, None] == data.ids).any(-1)
    np.testing.assert_array_equal(same, np.arange(40)[:, None] // 5 == np.arange(40) // 5)
    words = MAKE(image=rng.normal(size=(40, 4)), text=["cat", "dog"] * 20)
    assert (
        len(set(words.groups)) == 40
        and "text: 2 of 2 contents in several rows, up to 20: taken for classes" in words.remarks[0]
    )
    assert (words.ids[0] == words.ids[2]).any()  # but no negatives of each other
    asked = MAKE(x=rng.normal(size=(40, 4)), ids=np.arange(40) // 10, split=(0.5, 0, 0.5))
    assert len(set(asked.groups)) == 4


def test_copies_of_whole_rows_stay_together():
    """Also where each modality alone holds classes, which a split may part."""
    pairs = np.stack(np.divmod(np.arange(144) % 36, 6), 1)  # 36 pairs of 6 x 6, four copies each
    x, text = np.eye(6)[pairs[:, 0]], [f"word {k}" for k in pairs[:, 1]]
    data = MAKE(x=x, text=text, split=(0.5, 0.25, 0.25))
    assert len(set(data.groups)) == 36
    assert [line.split(":")[0] for line in data.remarks] == ["x", "text"]
    few = MAKE(x=np.eye(3)[np.arange(90) % 3], split=(0.5, 0.25, 0.25))  # classes and nothing else
    assert len(set(few.groups)) == 90 and "a class" in few.remarks[0]


def test_hashes_are_of_values_not_of_how_they_are_stored():
    x = np.arange(12.0).reshape(4, 3)
    of = lambda x: hashes_of(MAKE(x=x, split=(1, 0, 0)))["x"]
    np.testing.assert_array_equal(of(x), of(x.astype(">f4")))
    np.testing.assert_array_equal(of(x * 0), of(-x * 0))
    assert (of(x) != of(x + 1e-3)).all()
    assert data_hash({"x": of(x)}) != data_hash({"x": of(x[::-1])})
    lazy = Lazy(x.shape, x.dtype, lambda rows: x[rows], lambda row: f"file {row}")
    assert len(set(of(lazy))) == 4


def test_sequences_of_any_length_and_their_padding():
    rows = [np.full((k + 1, 2), k, float) for k in range(4)] + [None]
    data = MAKE(s=rows, x=EYE[:5], split=(1, 0, 0))
    column = data.columns["s"]
    assert column.kind == "sequence" and column.values.shape == (5, 4, 2)
    assert column.seen.sum(1).tolist() == [1, 2, 3, 4, 0]
    assert data.present["s"].tolist() == [True] * 4 + [False]
    dirty = np.where(column.seen[..., None], column.values, np.nan)
    clean = MAKE(s=dirty, x=EYE[:5], lengths={"s": column.seen}, present=data.present)
    np.testing.assert_array_equal(clean.columns["s"].values, column.values)


@pytest.mark.parametrize(
    "values, kind, shape",
    [
        (np.zeros((3, 4)), "features", (4,)),
        (np.zeros(3, np.int64), "features", (1,)),
        (np.zeros((3, 5, 4)), "sequence", (5, 4)),
        (np.zeros((3, 5, 4), np.uint8), "image", (5, 4, 1)),
        (np.zeros((3, 5, 4, 3), np.uint8), "image", (5, 4, 3)),
        (["a", "b", "c"], "text", ()),
        (np.array([b"a", b"b", b"c"]), "text", ()),
        ([1, 2, 3], "features", (1,)),
    ],
)
def test_kinds_are_told_by_shape_and_type(values, kind, shape):
    column = MAKE(x=values, split=(1, 0, 0)).columns["x"]
    assert (column.kind, column.values.shape[1:]) == (kind, shape)


@pytest.mark.parametrize("kind", ["features", "image"])
def test_what_stays_in_files_has_the_shape_of_what_does_not(kind):
    x = np.random.default_rng(0).integers(0, 9, (6, 4, 5)).astype(np.uint8)
    lazy = Lazy(x.shape, x.dtype, lambda rows: x[rows], str)
    held, left = (MAKE(x=v, kinds={"x": kind}).columns["x"].values for v in (x, lazy))
    assert left.shape == held.shape
    np.testing.assert_array_equal(left.read(np.array([3, 1])), held[[3, 1]])


@pytest.mark.parametrize(
    "given, told",
    [
        (dict(x=EYE, y=EYE[:5]), "rows of y: 5.*10"),
        (dict(x=np.zeros((0, 3))), "rows of x: 0"),
        (dict(x=["a", 1]), "row 1 is int"),
        (dict(x={"a": 1}), "dict"),
        (dict(x=EYE * 1j), "complex"),
        (dict(x=np.full((3, 2), np.nan)), "row 0, column 0"),
        (
            dict(x=np.where(np.eye(10)[:, :1] > 0, np.nan, EYE)),
            "1 row of it NaN throughout: present=",
        ),
        (dict(x=EYE, labels={"k": [1, 2]}), "rows of labels k"),
        (dict(x=EYE, labels={"k": [np.nan] * 10}), "labels k has NaN"),
        (dict(x=EYE, split=(0.5, 0.5, 0.5)), "sum to 1"),
        (dict(x=EYE, split=["val"] * 10), "val"),
        (dict(x=EYE, groups=[1] * 10), "leaves validation empty"),
        (dict(x=EYE, groups=[0] * 10, split=["train", "test"] * 5), "groups in two parts"),
        (dict(x=EYE, present={"y": [True] * 10}), "names of modalities: x"),
        (dict(x=EYE, present={"x": [False] * 10}), "some row has"),
        (dict(x=EYE, y=EYE, present={"x": [0] + [1] * 9, "y": [0] + [1] * 9}), "row 0 lacks"),
        (dict(x=np.zeros((3, 4, 2)), lengths={"x": [1, 2, 5]}), "0 to 4"),
        (dict(x=EYE, kinds={"x": "sound"}), "features, sequence, image, text"),
        (dict(x=[np.zeros((2, 3)), np.zeros((3, 4))]), "one f"),
        (dict(), "modalities"),
    ],
)
def test_bad_rows_are_told_in_a_line(given, told):
    with pytest.raises(InvalidInput, match=told) as error:
        MAKE(**given)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("values", [["b", "a"], [b"b", b"a"], [2, 1], [True, False], [1.5, 0.5]])
def test_labels_of_a_table_in_memory_are_those_of_an_array(values):
    rows = values * 5
    objects = np.empty(10, object)
    objects[:] = rows
    found = MAKE(x=EYE, labels={"k": objects}).labels["k"]
    np.testing.assert_array_equal(found, MAKE(x=EYE, labels={"k": np.array(rows)}).labels["k"])


@pytest.mark.parametrize(
    ("row", "told"),
    [(None, "labels k: row 3 has None"), (np.nan, "row 3 has nan"), ({}, "dict, str together")],
)
def test_objects_that_are_no_labels_are_told(row, told):
    objects = np.array(["a", "b", "c", row, "d"] * 2, object)
    with pytest.raises(InvalidInput, match=told):
        MAKE(x=EYE, labels={"k": objects})


def test_what_is_behind_a_mask_is_never_read():
    hidden = np.ma.masked_array(EYE, EYE > 0)
    for bad in ({"x": hidden}, {"x": EYE, "labels": {"k": hidden[:, 0]}}):
        with pytest.raises(InvalidInput, match="values are masked"):
            MAKE(**bad)
    np.testing.assert_array_equal(MAKE(x=np.ma.masked_array(EYE)).columns["x"].values, EYE)


@pytest.mark.parametrize(
    "given, told",
    [
        (dict(labels={"k": ["a", ""] * 5}), "labels k: row 1 has an empty text"),
        (dict(ids=["a", " "] * 5), "ids: row 1 has an empty text, which names nothing"),
        (dict(groups=["a", ""] * 5), "groups: row 1 has an empty text, which names nothing"),
        (dict(name=np.eye(10)), "name: 'ndarray' is not allowed; use text"),
        (
            dict(labels={"k": np.array(["a", "b"] * 4 + ["c", "  "])}),
            "labels k: row 9 has an empty",
        ),
        (
            dict(labels={"k": ["a", "NaN"] * 5}),
            "labels k: row 1 has 'NaN', .*; leave such rows out",
        ),
        (dict(labels={"k": [0.5, np.nan] * 5}), "labels k has NaN .* row 1; leave such rows out"),
        (dict(kinds={"k": "text"}), "kinds: 'k'"),
        (dict(groups=[None] * 10), "groups: row 0 has None, which names nothing"),
        (dict(ids=["a", None] * 5), "ids: row 1 has None"),
        (dict(ids={"user": [1.0, None] * 5}), "ids user: row 1 has None"),
        (dict(y=[[1, 2], [3]] * 5), "y: rows of 1 to 2 numbers; use as many in all, or sequences"),
    ],
)
def test_what_names_nothing_is_refused_by_its_own_name(given, told):
    with pytest.raises(InvalidInput, match=told):
        MAKE(x=EYE, **given)


def test_nan_is_a_class_where_it_is_said_to_be_one():
    data = MAKE(x=EYE, labels={"k": ["a", "nan"] * 5}, kinds={"k": "text"})
    assert data.labels["k"].tolist() == ["a", "nan"] * 5

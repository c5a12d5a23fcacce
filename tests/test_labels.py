"""A label is its value, in every dtype that NumPy reads."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmjax.data.feature_sets import class_codes
from mmjax.errors import InvalidInput
from mmjax.evaluate import accuracy, recall_at
from mmjax.labels import device_codes, encode_labels, int_codes
from mmjax.losses.ids import differ, id_columns

NUMBERS = ["i1", "u1", "<i2", ">i2", "<i4", ">i4", "<i8", ">i8", "u8", "f2", "<f4", ">f4", ">f8"]
STORED = NUMBERS + ["g", "bfloat16", "int4", "U", "S", ">U3", "O"]


@pytest.mark.parametrize("first", STORED)
@pytest.mark.parametrize("second", STORED)
def test_equal_labels_have_equal_codes_in_any_two_dtypes(first, second):
    values = np.array([3, 0, 6, 3, 7])
    stored = values.astype(jnp.dtype(first)), values[::-1].astype(jnp.dtype(second))
    a, b = encode_labels(*stored)
    assert a.dtype == b.dtype == np.int32
    np.testing.assert_array_equal(a, b[::-1])
    np.testing.assert_array_equal(np.unique(a), np.arange(4))


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=20), st.randoms())
def test_codes_tell_apart_what_differs_and_nothing_else(values, random):
    column = np.array(values, np.int64)
    mixed = list(values)
    random.shuffle(mixed)
    a, b = encode_labels(column, np.array(mixed, np.int64).astype(str))
    for code, value in zip(a, values, strict=True):
        for other, again in zip(b, mixed, strict=True):
            assert (code == other) == (value == again)


def test_numbers_text_and_truth():
    same = lambda *columns: [c.tolist() for c in encode_labels(*map(np.asarray, columns))]
    assert same([True, False], [1, 0]) == [[1, 0], [1, 0]]
    assert same([True, False], ["True", "False"]) == [[1, 0], [1, 0]]
    assert same([1.0, 2.5], ["2.5", "1"]) == [[0, 1], [1, 0]]
    assert same(["1", "1.0"]) == [[0, 1]]  # text alone is text
    assert same([0, 1], ["cat", "1"]) == [[0, 1], [2, 1]]
    assert same(np.float32([0.1, 0.5]), [0.1, 0.5]) == [[0, 1], [0, 1]]
    assert same(["caf\u00e9"], np.char.encode(["caf\u00e9"], "utf-8")) == [[0], [0]]
    assert same([2**53, 2**53 + 1], [float(2**53), 0.0]) == [[1, 2], [1, 0]]
    assert same([10, 9]) == [[1, 0]]  # numbers by size, not as words


@pytest.mark.parametrize(
    "column",
    [
        np.array([1, None]),
        np.array([1.0, np.nan]),
        np.array([np.inf]),
        np.ones((2, 2), int),
        np.array([1j]),
        np.array(["2020-01-01"], "M8[D]"),
    ],
)
def test_what_is_no_label_is_refused(column):
    with pytest.raises(InvalidInput, match="labels: .* is not allowed"):
        encode_labels(column)


def test_codes_for_jax_keep_small_ints():
    np.testing.assert_array_equal(int_codes(np.array([-7, 5]))[0], [-7, 5])
    np.testing.assert_array_equal(int_codes(np.array([2**40, 5, 2**40]))[0], [1, 0, 1])
    assert int_codes(np.array([True]))[0].dtype == np.int32
    small, large = int_codes(np.array([5.0, 1.0]), np.array([2**40, 5]))
    assert small.tolist() == [1, 0] and large.tolist() == [2, 1]  # they agree


@pytest.mark.parametrize("stored", STORED)
def test_all_who_compare_labels_go_by_the_one_rule(stored):
    """Metrics, retrieval, classes of a source, ids of a loss: what encode_labels calls equal."""
    values = np.array([3, 0, 6, 3, 7])
    other = values.astype(jnp.dtype(stored))
    assert accuracy(values, other) == 1 and accuracy(np.roll(values, 1), other) == 0
    assert recall_at(jnp.eye(5), 1, values, other) == 1
    if stored != "O":  # no file has them
        assert class_codes(other, np.array([0, 3, 6, 7]), "f.npz").tolist() == [1, 0, 2, 1, 3]
    columns = id_columns(other, 5)
    np.testing.assert_array_equal(~differ(columns, columns), values[:, None] == values)


def test_text_that_is_a_number_is_one_class_with_it():
    """As NumPy writes floats: 1.0, not 1."""
    codes = class_codes(np.array([1.0, 2.0, 1.0]), np.array([2.0, 1.0]).astype(str), "f.npz")
    assert codes.tolist() == [1, 0, 1]
    with pytest.raises(InvalidInput, match="label 3 in row 1"):
        class_codes(np.array([1, 3]), np.array(["1", "2"]), "f.npz")
    assert accuracy(np.array([1, 2]), np.array(["1.0", "02"])) == 1
    assert accuracy(np.array([7, 0]), np.array(["1e999", "0"])) == 0.5


@pytest.mark.parametrize("x64", [False, True])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "uint32", "int8", "bool"])
def test_ids_on_a_device_keep_all_their_digits_beside_others(dtype, x64):
    """A float column beside one of ints: in float32 two large ints would be one."""
    with jax.enable_x64(x64):
        large = jnp.asarray([2**24, 2**24 + 1, 2**24, 5])
        other = jnp.asarray([0, 1, 2, 0]).astype(dtype)
        both = id_columns((large, other), 4)
        assert jnp.issubdtype(both.dtype, jnp.integer)
        same = (np.asarray(large)[:, None] == large) | (np.asarray(other)[:, None] == other)
        np.testing.assert_array_equal(~differ(both, both), same)
    assert device_codes(jnp.asarray([-0.0, 0.0])).tolist() == [0, 0]


def test_the_row_of_what_is_no_label_is_told():
    for column in (np.array([1, np.nan]), np.array(["a", np.nan], object)):
        with pytest.raises(InvalidInput, match="labels: nan in row 1"):
            encode_labels(column)
    mixed = np.array(["b", 1, True, b"b", 2.5], object)
    assert encode_labels(mixed)[0].tolist() == [2, 0, 0, 2, 1]

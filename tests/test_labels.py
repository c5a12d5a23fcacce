"""A label is its value, in every dtype that NumPy reads."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmjax.errors import InvalidInput
from mmjax.labels import encode_labels, int_codes

NUMBERS = ["i1", "u1", "<i2", ">i2", "<i4", ">i4", "<i8", ">i8", "u8", "f2", "<f4", ">f4", ">f8"]
STORED = NUMBERS + ["g", "U", "S", ">U3"]


@pytest.mark.parametrize("first", STORED)
@pytest.mark.parametrize("second", STORED)
def test_equal_labels_have_equal_codes_in_any_two_dtypes(first, second):
    values = np.array([3, 0, 12, 3, 7])
    a, b = encode_labels(values.astype(first), values[::-1].astype(second))
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
    np.testing.assert_array_equal(int_codes(np.array([-7, 5])), [-7, 5])
    np.testing.assert_array_equal(int_codes(np.array([2**40, 5, 2**40])), [1, 0, 1])
    assert int_codes(np.array([True])).dtype == np.int32

"""Arrays out of files: values count, storage does not; what is not finite is named."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmjax.data import finite, finite_float32, label_column, plain
from mmjax.data.files import checks
from mmjax.errors import InvalidInput

# Every way to store small whole numbers that NumPy has, and ml_dtypes', which jax brings.
NUMBERS = (
    *("i1 i2 i4 i8 u1 u2 u4 u8 f2 f4 f8 g >i2 >i4 >i8 >u2 >u8 >f2 >f4 >f8".split()),
    ml_dtypes.bfloat16,
    ml_dtypes.float8_e4m3fn,
    ml_dtypes.int4,
)
FLOATS = ("f2", "f4", "f8", "g", ">f2", ">f4", ">f8", ml_dtypes.bfloat16)
_SMALL = np.arange(6).reshape(2, 3)


def _stored(values, dtype):
    return values.astype(dtype)


LAYOUTS = {
    "C": lambda x: x,
    "Fortran": np.asfortranarray,
    "strided": lambda x: np.repeat(x, 2, axis=0)[::2],
    "reversed": lambda x: x[::-1].copy()[::-1],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", NUMBERS, ids=str)
def test_the_value_counts_not_its_storage(dtype, layout):
    stored = LAYOUTS[layout](_stored(_SMALL, dtype))
    assert plain(stored, "x", "f").dtype.isnative
    found = finite_float32(stored, "x", "f")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, _SMALL)


def test_bfloat16_of_an_npy_is_read_although_it_lost_its_name():
    raw = _SMALL.astype(ml_dtypes.bfloat16).view("V2")
    np.testing.assert_array_equal(plain(raw, "x", "f"), _SMALL)


def test_what_is_native_is_not_copied():
    x = np.ones((2, 2), np.float32)
    assert finite_float32(x, "x", "f") is x


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_a_value_that_is_not_finite_is_named(dtype, bad):
    x = np.zeros((4, 3))
    x[2, 1] = bad
    told = r"^d/f.npz: array 'x' has NaN or infinity .*, first in row 2, column 1$"
    with pytest.raises(InvalidInput, match=told):
        finite_float32(_stored(x, dtype), "x", "d/f.npz")


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 5), st.integers(0, 3), st.sampled_from([np.nan, 1e39, -1e300]))
def test_row_and_column_are_those_of_the_file(row, column, bad):
    x = np.zeros((6, 4))
    x[row, column] = bad
    with pytest.raises(InvalidInput, match=f"first in row {row + 7}, column {column}$"):
        finite(x, "x", "f", first_row=7)


def test_a_large_array_is_looked_at_in_parts(monkeypatch):
    monkeypatch.setattr(checks, "_CHECKED", 8)
    x = np.zeros((10, 4))
    x[7, 3] = np.nan
    with pytest.raises(InvalidInput, match="first in row 7, column 3$"):
        finite(x, "x", "f")


def test_what_float32_cannot_hold_is_named():
    with pytest.raises(InvalidInput, match="array 'x' has 1e.39, beyond float32 .* row 1$"):
        finite(np.array([0, 1e39]), "x", "f.npz")
    finite(np.array([np.finfo(np.float32).max, 2**63]), "x", "f.npz")


LABELS = {
    **{str(dtype): np.array([1, 0, 1]).astype(dtype) for dtype in NUMBERS},
    "bool": np.array([True, False, True]),
    "str": np.array(["1", "0", "1"]),
    ">str": np.array(["1", "0", "1"]).astype(">U3"),
    "bytes": np.array([b"1", b"0", b"1"]),
}


@pytest.mark.parametrize("kind", LABELS)
def test_a_label_equals_itself_in_every_dtype(kind):
    assert label_column(LABELS[kind], "y", "f.npz").astype(str).tolist() == ["1", "0", "1"]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-(2**63), 2**64 - 1), min_size=1, max_size=5))
def test_ids_beyond_float_and_int32_keep_their_value(ids):
    fits = all(i < 2**63 for i in ids)
    if not fits and min(ids) < 0:
        return  # no NumPy dtype holds both
    stored = np.array(ids, np.int64 if fits else np.uint64)
    assert label_column(stored, "y", "f.npz").astype(str).tolist() == [str(i) for i in ids]


@pytest.mark.parametrize(
    "array, told",
    [
        (np.array([0.5, 1]), "has 0.5 in row 0"),
        (np.array([0, np.nan]), "has nan in row 1"),
        (np.array([1e30]), "has 1e.30 in row 0"),
        (np.zeros((2, 2), int), "one label a row"),
        (np.array([{}]), "Python objects"),
        (np.array([1j]), "dtype complex128"),
        (np.array(["2026-01-01"], "M8[D]"), "dtype datetime64"),
        (np.zeros(2, [("a", "f4")]), "dtype"),
        (np.array([b"\xff"]), "UTF-8"),
    ],
)
def test_what_is_no_label_is_refused(array, told):
    with pytest.raises(InvalidInput, match=f"^f.npz: array 'y' .*{told}"):
        label_column(array, "y", "f.npz")


def test_text_is_no_number():
    with pytest.raises(InvalidInput, match="array 'x' holds text"):
        finite_float32(np.array(["1"]), "x", "f")

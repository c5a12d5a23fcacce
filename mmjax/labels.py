"""Labels and ids of any dtype as int codes: a label is its value, not how it is stored.

The one place where it is decided whether two labels are equal.
"""

import re

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.errors import InvalidInput
from mmjax.types import AnyArray, Array

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)
_TRUTH = {"True": 1, "False": 0}
_INT32 = np.iinfo(np.int32)


def encode_labels(*columns: AnyArray) -> list[np.ndarray]:
    """Labels of any sort as int codes that agree across columns: equal labels, equal codes.

    A number is its value (1, 1.0, True and big-endian 1 are one label; of floats of several widths
    what the narrowest can tell apart), bytes are their UTF-8 text. Where there are both text and
    numbers, text that reads as a decimal number is that number.

    Args:
      columns: `[n]` each, bool, int, float, str or bytes; objects that are such, as of a table.

    Returns:
      `[n]` int32 each, from 0 without gaps: numbers by size, then text in its order.

    Raises InvalidInput for another dtype or shape, other objects, NaN and infinity.
    """
    given = [np.asarray(column) for column in columns]
    floats = [c.dtype for c in given if jnp.issubdtype(c.dtype, jnp.floating)]
    narrow = min(floats, key=lambda d: jnp.finfo(d).nmant, default=np.dtype(np.float64))
    plain = [_plain(column) for column in given]
    mixed = len({kind for column in plain for kind in _kinds(column)}) > 1
    results = [_distinct(column) for column in plain]
    keys = [[_key(v, mixed, narrow.type) for v in values] for values, _ in results]
    # Python's numbers compare exactly: 2^53 + 1 is no float, and 1 == 1.0 == True.
    order = sorted(set().union(*keys), key=lambda k: (isinstance(k, str), k))
    code = {key: number for number, key in enumerate(order)}
    return [
        np.array([code[k] for k in keys_of], np.int32)[inverse]
        for keys_of, (_, inverse) in zip(keys, results, strict=True)
    ]


def _plain(column: np.ndarray) -> np.ndarray:
    """`[n]` of NumPy's numbers or text, or of Python's as objects; all numbers finite."""
    if column.dtype.type.__module__ == "ml_dtypes":
        column = column.astype(np.float64)
    if column.dtype.kind == "O" and column.ndim == 1:
        column = np.array([v.item() if isinstance(v, np.generic) else v for v in column], object)
        good = all(isinstance(v, bool | int | float | str | bytes) for v in column)
    else:
        good = column.dtype.kind in "biufUS"
    if not good or column.ndim != 1:
        raise InvalidInput(
            f"labels: {column.dtype} of shape {column.shape} is not allowed; use whole numbers or "
            "text (strings, bytes), one a row"
        )
    if column.dtype.kind in "fO":
        bad = [isinstance(v, float) and not np.isfinite(v) for v in column.tolist()]
        if any(bad):
            row = bad.index(True)
            message = f"labels: {float(column[row])} in row {row}"
            raise InvalidInput(f"{message} is not allowed; use finite numbers")
    return column


def _kinds(column: np.ndarray) -> set[bool]:
    """Whether there is text, whether there are numbers."""
    if column.dtype.kind == "O":
        return {isinstance(v, str | bytes) for v in column}
    return {column.dtype.kind in "US"}


def _distinct(column: np.ndarray) -> tuple[list, np.ndarray]:
    """Different values, and where each row's is among them."""
    if column.dtype.kind == "O":  # objects of several sorts have no order
        place: dict = {}
        where = [place.setdefault((type(v), v), len(place)) for v in column]
        return [v for _, v in place], np.array(where, int)
    values, inverse = np.unique(column, return_inverse=True)
    return values.tolist(), inverse.reshape(-1)


def _key(value: bool | int | float | str | bytes, mixed: bool, narrow: type) -> int | float | str:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "surrogateescape")
    if isinstance(value, str):
        if not mixed:
            return value
        if not _NUMBER.fullmatch(value):
            return _TRUTH.get(value, value)
        number = float(value) if set(value) & set(".eE") else int(value)
        if not np.isfinite(number):  # 1e999 is text
            return value
        value = number
    if isinstance(value, int):
        return int(value)
    return int(value) if value == int(value) else float(narrow(value))


def int_codes(*labels: AnyArray) -> list[np.ndarray]:
    """Labels as int32 `[...]` each, equal where they are equal, whatever their type.

    Whole numbers that int32 holds stay as they are, where all columns are so; others become codes
    that agree across columns (encode_labels). Arrays on a device are brought to the host, and int64
    that jax has cut already is not repaired: encode before a jitted function.
    """
    columns = [np.asarray(column) for column in labels]
    flat = [_plain(column.reshape(-1)) for column in columns]
    whole = all(map(_fits, flat))
    codes = [v.astype(np.int32) for v in flat] if whole else encode_labels(*flat)
    return [code.reshape(column.shape) for code, column in zip(codes, columns, strict=True)]


def _fits(column: np.ndarray) -> bool:
    if column.dtype.kind not in "biuf":
        return False
    if column.dtype.kind == "b" or not column.size:
        return True
    whole = column.dtype.kind != "f" or (column == np.round(column)).all()
    lowest, highest = column.min().item(), column.max().item()
    return bool(whole and _INT32.min <= lowest and highest <= _INT32.max)


def device_codes(labels: AnyArray) -> Array:
    """Labels as ints on the device, `[...]`; floats and unsigned numbers there are their bits.

    What is a jax array stays on its device: different labels are different ints, with no order.
    """
    if not isinstance(labels, jax.Array):
        return jnp.asarray(int_codes(labels)[0])
    if jnp.issubdtype(labels.dtype, jnp.floating):
        labels = labels if labels.dtype.itemsize > 4 else labels.astype(jnp.float32)
        labels = labels + 0.0  # -0.0 is 0.0
    elif not jnp.issubdtype(labels.dtype, jnp.unsignedinteger):
        return labels
    # Beside an int64 neither floats nor uint64 would keep all digits.
    return jax.lax.bitcast_convert_type(labels, jnp.dtype(f"int{8 * labels.dtype.itemsize}"))

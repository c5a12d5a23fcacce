"""Labels and ids of any dtype as int codes: a label is its value, not how it is stored."""

import re

import jax
import numpy as np

from mmjax.errors import InvalidInput
from mmjax.types import Array

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)
_TRUTH = {"True": 1, "False": 0}


def encode_labels(*columns: np.ndarray) -> list[np.ndarray]:
    """Labels of any sort as int codes that agree across columns: equal labels, equal codes.

    A number is its value (1, 1.0, True and big-endian 1 are one label; of floats of several widths
    what the narrowest can tell apart), bytes are their UTF-8 text. Where one column holds text and
    another numbers, text that reads as a decimal number is that number.

    Args:
      columns: `[n]` each, bool, int, float, str or bytes.

    Returns:
      `[n]` int32 each, from 0 without gaps: numbers by size, then text in its order.

    Raises InvalidInput for another dtype or shape (Python objects), NaN and infinity.
    """
    columns = [np.asarray(column) for column in columns]
    for column in columns:
        if column.dtype.kind not in "biufUS" or column.ndim != 1:
            raise InvalidInput(
                f"labels: {column.dtype} of shape {column.shape} is not allowed; use numbers, "
                "strings or bytes, one a row"
            )
    mixed = len({column.dtype.kind in "US" for column in columns}) > 1
    floats = [column.dtype for column in columns if column.dtype.kind == "f"]
    narrow = min(floats, key=lambda d: d.itemsize, default=np.dtype(np.float64))
    found = [np.unique(column, return_inverse=True) for column in columns]
    keys = [[_key(v, mixed, narrow.type) for v in values.tolist()] for values, _ in found]
    # Python's numbers compare exactly: 2^53 + 1 is no float, and 1 == 1.0 == True.
    order = sorted(set().union(*keys), key=lambda k: (isinstance(k, str), k))
    code = {key: number for number, key in enumerate(order)}
    return [
        np.array([code[k] for k in own], np.int32)[inverse.reshape(-1)]
        for own, (_, inverse) in zip(keys, found, strict=True)
    ]


def _key(value, mixed: bool, narrow: type) -> int | float | str:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "surrogateescape")
    if isinstance(value, str):
        if not mixed:
            return value
        if not _NUMBER.fullmatch(value):
            return _TRUTH.get(value, value)
        value = float(value) if set(value) & set(".eE") else int(value)
    if isinstance(value, int):
        return int(value)
    if not np.isfinite(value):
        raise InvalidInput(f"labels: {float(value)} is not allowed; use finite numbers")
    return int(value) if value == int(value) else float(narrow(value))


def int_codes(labels: Array | np.ndarray) -> Array | np.ndarray:
    """Labels as ints that jax holds: those of the host are encoded where jax would cut them.

    An array on a device is returned as it is. One on the host keeps its numbers where they are
    whole and fit int32; int64 beyond that, floats, strings and bytes become codes (encode_labels).
    A jitted function is handed int64 that jax has cut already: encode before it.
    """
    if isinstance(labels, jax.Array):
        return labels
    labels = np.asarray(labels)
    if labels.dtype.kind in "biu":
        limits = np.iinfo(np.int32)
        if not labels.size or (labels.min() >= limits.min and labels.max() <= limits.max):
            return labels.astype(np.int32)
    return encode_labels(labels.reshape(-1))[0].reshape(labels.shape)

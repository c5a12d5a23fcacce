"""Labels of any type as small whole numbers: a label is equal to itself, however it is kept."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.errors import require
from mmjax.numerics import require_finite
from mmjax.types import Array


def as_codes(*labels: Array, num_classes: int | None = None, name: str = "labels") -> list[Array]:
    """Labels as int32, equal where they are equal, whatever their type.

    Whole numbers that int32 holds stay as they are, floats too. Others (text, bytes, larger
    numbers) become their ranks among all that are given, so those to be compared go in together.

    Args:
      labels: arrays of one kind of label. Traced ones have to be of integers or booleans, and are
        not checked.
      num_classes: where given, codes have to be in 0..num_classes-1.
      name: for the error.

    Raises InvalidInput for NaN, objects, and codes out of range.
    """
    traced = [isinstance(v, jax.core.Tracer) for v in labels]
    for v, is_traced in zip(labels, traced, strict=True):
        if is_traced:
            whole = jnp.issubdtype(v.dtype, jnp.integer) or v.dtype == bool
            require(whole, name, str(v.dtype), "whole numbers where labels are traced (jit, vmap)")
    known = _ranked([_plain(v, name) for v, t in zip(labels, traced, strict=True) if not t])
    for v in known:
        if num_classes is not None and v.size:
            span = (int(v.min()), int(v.max()))
            require(span[0] >= 0 and span[1] < num_classes, name, span, f"0 to {num_classes - 1}")
    known = iter(known)
    return [
        jnp.asarray(v if t else next(known)).astype(jnp.int32)
        for v, t in zip(labels, traced, strict=True)
    ]


def _plain(values: Array, name: str) -> np.ndarray:
    values = np.asarray(values)
    if values.dtype.kind == "O":  # a table's text; anything else stays an object
        values = np.asarray(values.tolist())
    if values.dtype.kind in "fV":
        require_finite(values, name)
        values = values.astype(np.float64)
    require(values.dtype.kind in "biufSUMm", name, str(values.dtype), "whole numbers or text")
    return values.astype(values.dtype.newbyteorder("="))


def _ranked(labels: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
    if all(map(_fits, labels)):
        return labels
    if any(v.dtype.kind in "SU" for v in labels):
        labels = [v.astype(str) for v in labels]  # bytes of ASCII are the text that they spell
    elif any(v.dtype.kind in "iu" for v in labels):
        labels = [v.astype(object) for v in labels]  # neither float64 nor int64 holds all of them
    ranks = np.unique(np.concatenate([v.ravel() for v in labels]), return_inverse=True)[1]
    parts = np.split(ranks, np.cumsum([v.size for v in labels])[:-1])
    return [part.reshape(v.shape) for part, v in zip(parts, labels, strict=True)]


def _fits(values: np.ndarray) -> bool:
    if values.dtype.kind == "b" or not values.size:
        return True
    if values.dtype.kind == "f" and (values != np.round(values)).any():
        return False
    low, high = np.iinfo(np.int32).min, np.iinfo(np.int32).max
    return values.dtype.kind in "iuf" and low <= values.min() and values.max() <= high

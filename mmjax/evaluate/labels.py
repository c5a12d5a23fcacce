"""Labels as metrics take them: codes on the device, checked."""

import jax
import jax.numpy as jnp

from mmjax.errors import require
from mmjax.labels import int_codes
from mmjax.types import AnyArray, Array


def as_codes(*labels: AnyArray, num_classes: int | None = None) -> list[Array]:
    """Labels as int32, equal where they are equal, whatever their type (see int_codes).

    Whole numbers that int32 holds stay as they are. Others (text, bytes, larger numbers) become
    their ranks among all that are given, so those to be compared go in together.

    Args:
      labels: arrays of one kind of label. Traced ones have to be of integers or booleans, and are
        not checked.
      num_classes: where given, codes have to be in 0..num_classes-1.

    Raises InvalidInput for NaN, objects that are no labels, and codes out of range.
    """
    traced = [isinstance(v, jax.core.Tracer) for v in labels]
    for v, is_traced in zip(labels, traced, strict=True):
        if is_traced:
            whole = jnp.issubdtype(v.dtype, jnp.integer) or v.dtype == bool
            allowed = "whole numbers where labels are traced (jit, vmap)"
            require(whole, "labels", str(v.dtype), allowed)
    known = int_codes(*(v for v, t in zip(labels, traced, strict=True) if not t))
    for v in known:
        if num_classes is not None and v.size:
            span = (int(v.min()), int(v.max()))
            require(
                span[0] >= 0 and span[1] < num_classes, "labels", span, f"0 to {num_classes - 1}"
            )
    rest = iter(known)
    return [
        jnp.asarray(v if t else next(rest)).astype(jnp.int32)
        for v, t in zip(labels, traced, strict=True)
    ]

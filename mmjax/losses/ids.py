"""Ids: which rows are the same recording, so that a known positive is no negative."""

from collections.abc import Callable, Sequence

import chex
import jax
import jax.numpy as jnp
import numpy as np

from mmjax.labels import device_codes
from mmjax.types import Array

Gather = Callable[[Array], Array]
# One `[batch]` array, `[batch, k]`, or several `[batch]`: of x and of t, as a Pair.
Ids = Array | Sequence[Array | None]


def no_gather(x: Array) -> Array:
    """The single-device `gather`: the local batch is the whole batch."""
    return x


def row_ids(count: int, gather: Gather = no_gather) -> Array:
    """A number for each of this device's rows, `[count]` int32, different on all devices.

    `gather` alone tells a device where it stands: its transpose hands every device the sum, over
    devices, of the entry that is its own.
    """
    places, pull = jax.vjp(gather, jnp.zeros(1))
    devices = places.shape[0]
    place = pull(jnp.arange(devices, dtype=places.dtype))[0] / devices
    return jnp.round(place[0]).astype(jnp.int32) * count + jnp.arange(count, dtype=jnp.int32)


def id_columns(ids: Ids | None, count: int, gather: Gather = no_gather) -> Array:
    """Ids as columns, `[count, k]` int: two rows that agree in any of them are known to match.

    Args:
      ids: see Ids; entries that are None are left out. None: every row is its own.
      count: rows of this device.
      gather: see info_nce; asked only where ids is None.

    Raises AssertionError where ids are not one a row.
    """
    if ids is None:
        return row_ids(count, gather)[:, None]
    several = isinstance(ids, tuple | list) and any(np.ndim(part) for part in ids)
    parts = [part for part in (ids if several else [ids]) if part is not None]
    columns = []
    for part in parts:
        part = part if isinstance(part, jax.Array) else np.asarray(part)
        chex.assert_rank(part, {1, 2})
        columns += [part] if part.ndim == 1 else [part[:, k] for k in range(part.shape[1])]
    chex.assert_shape(columns, (count,))
    return jnp.stack([device_codes(column) for column in columns], axis=1)


def differ(a_ids: Array, b_ids: Array) -> Array:
    """`[n, k], [m, k] -> [n, m]`, whether two rows differ in every column: negatives."""
    apart = jnp.ones((a_ids.shape[0], b_ids.shape[0]), bool)
    for a, b in zip(a_ids.T, b_ids.T, strict=True):
        apart &= a[:, None] != b[None, :]
    return apart

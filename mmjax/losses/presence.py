"""Rows that lack a modality: left out of a loss as if they were not in the batch.

A row that is absent is no anchor, no positive and no candidate, and no device counts it in a mean.
`present` is `[batch]` bool of this device's rows; None: all are there, at no cost.
"""

import jax.numpy as jnp

from mmjax.losses.ids import Gather, differ
from mmjax.types import Array


def present_only(x: Array, present: Array | None) -> Array:
    """`[batch, ...]` with zeros for absent rows, whatever stood there, NaN included; no gradient
    flows into these."""
    if present is None:
        return x
    rows = present.reshape(-1, *[1] * (x.ndim - 1))
    return jnp.where(rows, x, jnp.zeros((), jnp.asarray(x).dtype))


def with_presence(columns: Array, present: Array) -> Array:
    """Columns of ids and, last, whether a row is there; for a keep function below."""
    return jnp.concatenate([columns, present[:, None].astype(columns.dtype)], axis=1)


def both_present(a: Array, b: Array) -> Array:
    """`[n, k], [m, k] -> [n, m]`, by the last columns."""
    return (a[:, -1] > 0)[:, None] & (b[:, -1] > 0)[None, :]


def both_present_and_differ(a: Array, b: Array) -> Array:
    """Negatives among present rows: what log_partitions keeps, of columns with_presence."""
    return both_present(a, b) & differ(a[:, :-1], b[:, :-1])


def row_weight(count: int, present: Array | None, gather: Gather) -> Array | float:
    """What a present row of this device weighs in a mean over all devices' present rows, so that
    the mean over devices of local sums is that mean; `count` rows are here."""
    if present is None:
        return 1 / count
    every = gather(present.astype(jnp.int32))
    return (every.shape[0] / count) / jnp.maximum(jnp.sum(every), 1)


def mean_of_rows(values: Array, present: Array | None, gather: Gather) -> Array:
    """The local part of the mean of `[batch]` values over all devices' present rows; 0 for none."""
    if present is None:
        return jnp.mean(values)
    total = jnp.sum(jnp.where(present, values, 0))
    return total * row_weight(values.shape[0], present, gather)

"""The one search of all training-free adapters: every point of a grid, exactly, from cached logits.

Of scores `base + weight * added` a row is right for the weights of one interval: where its own
class beats every other. So one look at the classes serves all weights, however many there are.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mmjax.types import AnyArray, Array


class Point(NamedTuple):
    """The best point of a grid: scalars, and the accuracy there."""

    outer: Array
    inner: Array
    accuracy: Array


def right_between(base: Array, added: Array, labels: Array) -> tuple[Array, Array]:
    """The open interval of weights for which `base + weight * added` is largest at the label.

    Args:
      base, added: `[m, classes]`.
      labels: `[m]` int.

    Returns:
      `[m]`, `[m]` from and to; from >= to where no weight will do. Where classes tie for all
      weights the first of them is taken, as by argmax.
    """
    right = jnp.arange(base.shape[1]) == labels[:, None]
    at = lambda v: jnp.take_along_axis(v, labels[:, None], 1)
    ahead, gain = at(base) - base, at(added) - added
    safe = jnp.where(gain == 0, 1, gain)
    crossing = -ahead / safe
    low = jnp.max(jnp.where((gain > 0) & ~right, crossing, -jnp.inf), 1)
    high = jnp.min(jnp.where((gain < 0) & ~right, crossing, jnp.inf), 1)
    earlier = jnp.arange(base.shape[1]) < labels[:, None]
    # No weight helps against a class that gains as much and is ahead already.
    lost = (gain == 0) & ~right & ((ahead < 0) | ((ahead == 0) & earlier))
    return low, jnp.where(jnp.any(lost, 1), -jnp.inf, high)


def line_accuracies(base: Array, added: Array, labels: Array, weights: Array) -> Array:
    """`[weights]` accuracy of `base + weight * added`; see right_between."""
    low, high = right_between(base, added, labels)
    inside = (weights[:, None] > low) & (weights[:, None] < high)
    result = jnp.mean(inside.astype(jnp.float32), 1)
    # A weight of 0 asks nothing of what is added: ties of base go to the first class.
    plain = jnp.mean((jnp.argmax(base, 1) == labels).astype(jnp.float32))
    return jnp.where(weights == 0, plain, result)


def search_plane(
    terms: Callable[[Array], tuple[Array, Array]], labels: Array, outer: AnyArray, inner: AnyArray
) -> Point:
    """The point of a grid of two hyper-parameters that is right on the most rows.

    Args:
      terms: `outer value -> (base, added)`, `[m, classes]` each; scores are base + inner * added.
      labels: `[m]` int.
      outer: `[a]` values of the first, one look each.
      inner: `[b]` weights of the second, ascending; all cost one look.

    Returns:
      Point; of equals the first outer value, and of its inner weights the first (as in loops over
      both that keep what is better).
    """
    outer, inner = jnp.asarray(outer), jnp.asarray(inner)

    def look(value):
        outcome = line_accuracies(*terms(value), labels, inner)
        best = jnp.argmax(outcome)
        return inner[best], outcome[best]

    weights, result = jax.lax.map(look, outer)
    best = jnp.argmax(result)
    return Point(outer[best], weights[best], result[best])


def search_line(base: Array, added: Array, labels: Array, weights: AnyArray) -> Point:
    """The weight of `base + weight * added` that is right on the most rows, the first of equals."""
    none = jnp.zeros(1, base.dtype)
    return search_plane(lambda _: (base, added), labels, none, weights)

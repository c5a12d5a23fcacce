"""What components mean, told without pictures: by the classes of their rows and by texts."""

import jax
import jax.numpy as jnp

from mmjax.errors import require
from mmjax.numerics import floating, normalise
from mmjax.types import Array


@jax.jit
def half_waves(y: Array, fit: Array) -> Array:
    """One side of each component, the skewed one: `[n, k] >= 0`.

    A component of both signs has two ends, which need not mean one thing; the longer tail is the
    one looked at, as seen on other rows than those that are judged.

    Args:
      y: `[n, k]` components of rows that are judged.
      fit: `[m, k]` of rows that the side and the centre are taken from.
    """
    middle = jnp.mean(fit, 0)
    return jax.nn.relu(longer_side(fit) * (y - middle))


def longer_side(y: Array) -> Array:
    """`[k]` 1 or -1: the sign of each component's skewness, of `[n, k]`."""
    return jnp.where(jnp.mean((y - jnp.mean(y, 0)) ** 3, 0) < 0, -1, 1)


def monosemanticity(activations: Array, labels: Array, num_classes: int) -> Array:
    """How alike the rows are that activate a component: `[k]` in [0, 1], NaN of a dead one.

    The monosemanticity score of Pach et al. 2025 (their Eq. of MS: the mean similarity of all pairs
    of different rows, weighed by the product of both activations), where two rows of one class
    have similarity 1 and others 0, instead of cosines of a second network. Chance is the share of
    pairs of one class, sum_c p_c^2.

    Args:
      activations: `[n, k]` >= 0, n >= 2.
      labels: `[n]` int codes.
      num_classes: >= 1.
    """
    a = floating(activations)
    require(a.ndim == 2 and len(a) == len(labels), "activations", a.shape, "[n, k], n labels")
    return _alike(a, jnp.asarray(labels), num_classes)


def _alike(a, labels, num_classes):
    a = a / jnp.maximum(jnp.max(a, 0), jnp.finfo(a.dtype).tiny)
    member = jax.nn.one_hot(labels, num_classes, dtype=a.dtype)
    sums, squares = member.T @ a, jnp.sum(a * a, 0)
    alike = jnp.sum(sums**2, 0) - squares
    every = jnp.sum(sums, 0) ** 2 - squares
    return jnp.where(every > 1e-6 * squares, alike / jnp.where(every > 0, every, 1), jnp.nan)


def top_classes(
    activations: Array, labels: Array, num_classes: int, count: int
) -> tuple[Array, Array]:
    """The most frequent class of each component's top rows, and its share of them.

    Args:
      activations: `[n, k]`.
      labels: `[n]` int codes.
      num_classes: >= 1.
      count: rows looked at, 1 to n.

    Returns:
      `[k]` int32 classes, `[k]` purity in [0, 1].

    Raises InvalidInput for a count out of range.
    """
    a = floating(activations)
    require(1 <= count <= len(a), "count", count, f"1 to {len(a)}")
    rows = jax.lax.top_k(a.T, count)[1]
    counts = jax.nn.one_hot(jnp.asarray(labels)[rows], num_classes).sum(1)
    return jnp.argmax(counts, 1).astype(jnp.int32), jnp.max(counts, 1) / count


def nearest_texts(directions: Array, texts: Array, count: int) -> tuple[Array, Array]:
    """The texts that a component's direction points at: `[k, count]` int32 and their cosines.

    A direction is what a component adds to the features (its column of the mixing, a pattern and
    not a filter: Haufe et al. 2014), the side that half_waves looks at. Texts are unit vectors
    around their own mean, so that what all texts share, the gap between modalities, names nothing.

    Args:
      directions: `[k, d]`.
      texts: `[m, d]`, m >= 2.
      count: names, 1 to m.

    Raises InvalidInput for another width or a count out of range.
    """
    directions, texts = floating(directions), normalise(floating(texts))
    fits = directions.ndim == texts.ndim == 2 and directions.shape[1] == texts.shape[1]
    require(fits, "texts", texts.shape, f"[m, {directions.shape[-1]}]")
    require(1 <= count <= len(texts), "count", count, f"1 to {len(texts)}, the texts")
    cosines = normalise(directions) @ normalise(texts - jnp.mean(texts, 0)).T
    result, places = jax.lax.top_k(cosines, count)
    return places.astype(jnp.int32), result

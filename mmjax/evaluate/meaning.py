"""What components mean, told without pictures: by the classes of their rows and by texts."""

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.errors import require
from mmjax.evaluate.labels import as_codes
from mmjax.numerics import centred, difference, floating, is_wide, normalise, require_finite
from mmjax.types import Array


def half_waves(y: Array, fit: Array) -> Array:
    """One side of each component, the skewed one: `[n, k] >= 0`.

    A component of both signs has two ends, which need not mean one thing; the longer tail is the
    one looked at, as seen on other rows than those that are judged.

    Args:
      y: `[n, k]` components of rows that are judged.
      fit: `[m, k]` of rows that the side and the centre are taken from.

    Raises InvalidInput for what is not finite, unless traced.
    """
    require_finite(y, "y")
    side = longer_side(fit)
    if is_wide(y) and is_wide(fit):  # the offset goes while there are digits
        middle = np.mean(np.asarray(fit).astype(np.float64), 0)
        return jax.nn.relu(side * difference(y, middle))
    return _half_waves(side, floating(y), floating(fit))


@jax.jit
def _half_waves(side, y, fit):
    return jax.nn.relu(side * (y - jnp.mean(fit, 0)))


def longer_side(y: Array) -> Array:
    """`[k]` 1 or -1: the sign of each component's skewness, of `[n, k]`, whatever its offset and
    unit; 1 of a constant.

    Raises InvalidInput for what is not finite, unless traced.
    """
    require_finite(y, "y")
    (y,) = centred(y)
    return jnp.where(jnp.mean(y**3, 0) < 0, -1, 1)


def monosemanticity(activations: Array, labels: Array, num_classes: int) -> Array:
    """How alike the rows are that activate a component: `[k]` in [0, 1], NaN of a dead one.

    The monosemanticity score of Pach et al. 2025 (their Eq. of MS: the mean similarity of all pairs
    of different rows, weighed by the product of both activations), where two rows of one class
    have similarity 1 and others 0, instead of cosines of a second network. Chance is the share of
    pairs of one class, sum_c p_c^2.

    Args:
      activations: `[n, k]` >= 0, n >= 2.
      labels: `[n]` int codes; or labels of another type, of at most num_classes values (see
        as_codes).
      num_classes: >= 1.

    Raises InvalidInput for shapes that do not agree, and, unless traced, for activations that are
    negative or not finite and labels out of range.
    """
    a, codes = _activated(activations, labels, num_classes)
    least = 0.0 if isinstance(a, jax.core.Tracer) else float(jnp.min(a, initial=0))
    require(least >= 0, "activations", f"{least:.4g}", "numbers >= 0")
    return _alike(a, codes, num_classes)


def _activated(activations, labels, num_classes):
    require_finite(activations, "activations")
    a, (codes,) = floating(activations), as_codes(labels, num_classes=num_classes)
    fits = a.ndim == 2 and codes.shape == a.shape[:1]
    require(fits, "activations", a.shape, f"[n, k], n labels, not {codes.shape}")
    return a, codes


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
      labels: see monosemanticity; of other types the classes are their ranks.
      num_classes: >= 1.
      count: rows looked at, 1 to n.

    Returns:
      `[k]` int32 classes, `[k]` purity in [0, 1].

    Raises InvalidInput for a count out of range, and as monosemanticity does, but for signs.
    """
    a, codes = _activated(activations, labels, num_classes)
    require(1 <= count <= len(a), "count", count, f"1 to {len(a)}")
    if is_wide(activations):  # in the order of all its digits
        order = np.argsort(-np.asarray(activations, np.float64), 0, kind="stable")
        rows = jnp.asarray(order[:count].T)
    else:
        rows = jax.lax.top_k(a.T, count)[1]
    counts = jax.nn.one_hot(codes[rows], num_classes).sum(1)
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

    Raises InvalidInput for another width, a count out of range and, unless traced, what is not
    finite.
    """
    require_finite(directions, "directions")
    require_finite(texts, "texts")
    directions, texts = floating(directions), normalise(floating(texts))
    fits = directions.ndim == texts.ndim == 2 and directions.shape[1] == texts.shape[1]
    require(fits, "texts", texts.shape, f"[m, {directions.shape[-1]}]")
    require(1 <= count <= len(texts), "count", count, f"1 to {len(texts)}, the texts")
    cosines = normalise(directions) @ normalise(texts - jnp.mean(texts, 0)).T
    result, places = jax.lax.top_k(cosines, count)
    return places.astype(jnp.int32), result

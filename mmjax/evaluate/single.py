"""A threshold on one component: what a class needs when components mean classes."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mmjax.errors import require
from mmjax.numerics import floating
from mmjax.types import Array


class Single(NamedTuple):
    """A detector of each class: `sign * z[component] > sign * threshold`.

    Attributes:
      component: `[classes]` int32.
      sign: `[classes]` 1 or -1.
      threshold: `[classes]`.
    """

    component: Array
    sign: Array
    threshold: Array


def fit_single(
    z: Array, labels: Array, val_z: Array, val_labels: Array, num_classes: int
) -> Single:
    """For every class the one component, side and threshold that tell it from all others.

    Sparse probing with k = 1 (Gurnee et al. 2023), by the exact best threshold: of each component
    the cut that maximises |true positive rate - false positive rate| on the training rows (their
    Kolmogorov-Smirnov distance), of equals the one with the widest gap in units of the component's
    spread, halfway in it; then the component of the largest rate difference on training and
    validation rows together, of equals again that of the widest gap.

    Args:
      z, labels: `[n, k]`, `[n]` int codes, every class among them and not alone.
      val_z, val_labels: `[m, k]`, `[m]`, m >= 0, which the component is chosen on too.
      num_classes: >= 2.

    Raises InvalidInput for shapes that do not agree.
    """
    z, val_z = floating(z), floating(val_z)
    agree = z.ndim == val_z.ndim == 2 and z.shape[1] == val_z.shape[1] and len(z) == len(labels)
    require(agree, "z", (z.shape, val_z.shape), "[n, k] and [m, k], n labels")
    require(num_classes >= 2, "num_classes", num_classes, "2 or more")
    return _fit(z, jnp.asarray(labels), val_z, jnp.asarray(val_labels), num_classes)


@partial(jax.jit, static_argnums=4)
def _fit(z, labels, val_z, val_labels, num_classes) -> Single:
    order = jnp.argsort(-z, 0)
    falling = jnp.take_along_axis(z, order, 0)
    spread = jnp.std(z, 0)
    gaps = (falling[:-1] - falling[1:]) / jnp.where(spread > 0, spread, 1)
    middles = (falling[:-1] + falling[1:]) / 2
    sorted_labels = labels[order]

    def of_class(c):
        positive, count = sorted_labels == c, jnp.sum(labels == c)
        rest = len(z) - count
        hits = jnp.cumsum(positive, 0)[:-1]
        # Whole numbers, so that equals are equal; a cut inside ties is none.
        ahead = hits * rest - (jnp.arange(1, len(z))[:, None] - hits) * count
        score = jnp.where(gaps > 0, jnp.abs(ahead), -1)
        top = jnp.max(score, 0)
        cut = jnp.argmax(jnp.where(score == top, gaps, -1), 0)
        at = lambda v: jnp.take_along_axis(v, cut[None], 0)[0]
        threshold, sign, gap = at(middles), jnp.sign(at(ahead)), at(gaps)
        seen = jnp.maximum(top, 0) / jnp.maximum(count * rest, 1)
        margins = _ahead(val_z, val_labels == c, sign, threshold)
        both = seen + jnp.where(jnp.any(val_labels == c), margins, 0)
        best = jnp.argmax(jnp.where(both >= jnp.max(both) - 1e-6, gap, -1))
        side = jnp.where(sign[best] == 0, 1, sign[best]).astype(z.dtype)
        return Single(best.astype(jnp.int32), side, threshold[best])

    return jax.lax.map(of_class, jnp.arange(num_classes))


def _ahead(z, positive, sign, threshold):
    """`[k]` true positive rate - false positive rate of each component's own threshold."""
    above = (sign * (z - threshold) > 0).astype(z.dtype)
    rate = lambda mask: mask @ above / jnp.maximum(jnp.sum(mask), 1)
    return rate(positive.astype(z.dtype)) - rate(1 - positive.astype(z.dtype))


@jax.jit
def single_accuracies(single: Single, z: Array, labels: Array) -> Array:
    """`[classes]` balanced accuracy of each class's detector: mean of both rates, .5 by chance.

    Args:
      single: of fit_single.
      z, labels: `[m, k]`, `[m]` int codes.
    """

    def of_class(given):
        c, (component, sign, threshold) = given
        positive = (labels == c).astype(z.dtype)
        ahead = _ahead(z[:, component][:, None], positive, sign, threshold)
        return 0.5 + 0.5 * ahead[0]

    return jax.lax.map(of_class, (jnp.arange(len(single.sign)), tuple(single)))

"""A threshold on one component: what a class needs when components mean classes."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.errors import require
from mmjax.evaluate.labels import as_codes
from mmjax.numerics import columns_of, floating, is_wide, offset_and_unit, require_finite, without
from mmjax.types import AnyArray, Array


class Single(NamedTuple):
    """A detector of each class: `sign * z[component] > sign * threshold`.

    Attributes:
      component: `[classes]` int32.
      sign: `[classes]` 1 or -1.
      threshold: `[classes]`; of wide numbers on the host NumPy's float64, in which it has all its
        digits beside an offset.
    """

    component: Array
    sign: Array
    threshold: AnyArray


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
      z, labels: `[n, k]`, `[n]` int codes, every class among them and not alone; or labels of
        another type, of at most num_classes values (see as_codes).
      val_z, val_labels: `[m, k]`, `[m]`, m >= 0, which the component is chosen on too.
      num_classes: >= 2.

    Raises InvalidInput for shapes that do not agree, and, unless traced, for what is not finite and
    labels out of range.
    """
    require_finite(z, "z")
    require_finite(val_z, "val_z")
    z, val_z = (v if isinstance(v, jax.Array) else np.asarray(v) for v in (z, val_z))
    require(num_classes >= 2, "num_classes", num_classes, "2 or more")
    codes, val_codes = as_codes(labels, val_labels, num_classes=num_classes)
    agree = z.ndim == val_z.ndim == 2 and z.shape[1] == val_z.shape[1]
    agree = agree and z.shape[:1] == codes.shape and val_z.shape[:1] == val_codes.shape
    require(agree, "z", (z.shape, val_z.shape), "[n, k] and [m, k], n and m labels")
    if not is_wide(z) or isinstance(val_z, jax.Array):
        return _fit(floating(z), codes, floating(val_z), val_codes, num_classes)
    wide = np.asarray(z, np.float64)
    columns = columns_of(wide)
    near = [floating(without(columns, v)) for v in (wide, np.asarray(val_z, np.float64))]
    single = _fit(near[0], codes, near[1], val_codes, num_classes)
    offset, unit = (v[np.asarray(single.component)] for v in offset_and_unit(columns))
    return single._replace(threshold=offset + unit * np.asarray(single.threshold, np.float64))


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


def single_accuracies(single: Single, z: Array, labels: Array) -> Array:
    """`[classes]` balanced accuracy of each class's detector: mean of both rates, .5 by chance.

    Args:
      single: of fit_single.
      z, labels: `[m, k]`, `[m]` int codes; or labels of another type, of every class.

    Raises InvalidInput, unless traced, for what is not finite, labels out of range, and labels of
    another type that are not of every class: which are theirs can't be told.
    """
    require_finite(z, "z")
    count = len(single.sign)
    (codes,) = as_codes(labels, num_classes=count)
    if not isinstance(labels, jax.Array):
        given = np.asarray(labels)
        kept = given.dtype.kind in "biuf" and np.array_equal(given, codes)
        kinds = len(np.unique(codes))
        require(kept or kinds == count, "labels", f"{kinds} classes", f"all {count}, or codes")
    if is_wide(z) and isinstance(single.threshold, np.ndarray):
        # The side of each threshold is all that counts.
        sides = np.sign(np.asarray(z, np.float64)[:, single.component] - single.threshold)
        places, zero = jnp.arange(count, dtype=jnp.int32), jnp.zeros(count)
        return _accuracies(Single(places, single.sign, zero), floating(sides), codes)
    return _accuracies(single._replace(threshold=floating(single.threshold)), floating(z), codes)


@jax.jit
def _accuracies(single: Single, z: Array, labels: Array) -> Array:
    def of_class(given):
        c, (component, sign, threshold) = given
        positive = (labels == c).astype(z.dtype)
        ahead = _ahead(z[:, component][:, None], positive, sign, threshold)
        return 0.5 + 0.5 * ahead[0]

    return jax.lax.map(of_class, (jnp.arange(len(single.sign)), tuple(single)))

"""One probe after each of four maps of the same span, class by class: what is the gain whose?"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.disentangle import Affine
from mmjax.evaluate import Single, fit_single, single_accuracies
from mmjax.few_shot.base import Draws, over_draws
from mmjax.few_shot.probes import LINEAR, linear_scores, of_features
from mmjax.few_shot.sets import HeldOut
from mmjax.few_shot.unmix import KINDS, affine_unmixing, unmixed, unmixed_test
from mmjax.types import Array, Key, Tree

# Each step adds one thing: equal variances, then axes that were looked for; the last map has axes
# that were not. The first two contrasts add up to the third.
MAPS = ("plain", "whitening", "FastICA", "random rotation")
CONTRASTS = {
    "whitening - plain": ("whitening", "plain"),
    "FastICA - whitening": ("FastICA", "whitening"),
    "FastICA - plain": ("FastICA", "plain"),
    "FastICA - random rotation": ("FastICA", "random rotation"),
}
# What sees axes, on those of ICA, beside what is usual: (probe, map) each.
ACROSS = (("l1", "FastICA"), ("l2", "plain"))
PROBES = ("l2", "l1", "one")


class Figures(NamedTuple):
    """Of a probe after a map.

    Attributes:
      classes: `[draws, classes]`: share of a class's test rows that are right; of `one` the
        balanced accuracy of the class's detector.
      choices: name -> `[draws]` what was chosen on validation rows.
    """

    classes: np.ndarray
    choices: dict[str, np.ndarray]


def fit_map(name: str, num_components: int | None, rows: Array, keys: Key) -> Affine:
    """A map of MAPS in the span of the leading principal directions, for each draw.

    Args:
      name: of it. Plain is PCA, or, of all directions, the features as they are.
      num_components: directions, or None for all that the rows determine.
      rows: `[draws, n, d]` that it is fitted on, without labels; `[1, n, d]` for all draws at once.
        None of them is a test row.
      keys: `[draws]`; the random rotation is another one in each draw.

    Returns:
      Affine with a leading axis of draws.
    """
    kinds = {"plain": "pca" if num_components else "none", "FastICA": "ica"}
    most = min(rows.shape[1] - 1, rows.shape[2])
    k = min(most, num_components or most)
    result = KINDS[kinds.get(name, "whitening")](rows, keys[: len(rows)], k)
    result = jax.tree.map(lambda v: jnp.broadcast_to(v, (len(keys), *v.shape[1:])), result)
    return turned(result, keys) if name == "random rotation" else result


def map_rows(draws: Draws, pool: Array | None) -> Array:
    """Rows that fit_map fits on: the pool's, or without one those of each draw."""
    return jnp.concatenate([draws.x, draws.val], 1) if pool is None else pool[None]


@jax.jit
def turned(affine: Affine, keys: Key) -> Affine:
    """The map of each draw followed by a rotation of its own, drawn uniformly."""

    def one(affine, key):
        k = affine.matrix.shape[1]
        q, r = jnp.linalg.qr(jax.random.normal(key, (k, k), affine.matrix.dtype))
        q = q * jnp.where(jnp.diagonal(r) < 0, -1, 1)
        return Affine(affine.mean, affine.matrix @ q, q.T @ affine.back)

    return jax.vmap(one)(affine, keys)


def class_figures(
    probe: str, affine: Affine, draws: Draws, rows: HeldOut, num_classes: int
) -> Figures:
    """Fits a probe of PROBES on the draws after the map, and judges each class's test rows.

    `l2` and `l1` are linear probes whose C is chosen on validation rows; `one` is a threshold on
    one component a class, see fit_single. Test rows are looked at once the probe is fitted.

    Args:
      probe: its name.
      affine: of fit_map.
      draws: training and validation rows.
      rows: test rows.
      num_classes: each of them has a test row.
    """
    seen = unmixed(affine_unmixing("", "none"), affine, draws)
    if probe == "one":
        given = seen.z, seen.labels, seen.val_z, seen.val_labels
        single = _fit_single(*given, num_classes)
        z = unmixed_test(affine_unmixing("", "none"), affine, rows.x, shared=rows.shared)
        result = _single_accuracies(single, z, rows.labels, rows.shared)
        return Figures(np.asarray(result), {})
    fitted = LINEAR[probe](seen, num_classes)
    params = of_features(fitted.params, affine)
    result = class_accuracies(params, rows.x, rows.labels, num_classes, rows.shared)
    choices = {name: np.asarray(v) for name, v in fitted.choices.items()}
    return Figures(np.asarray(result), choices | {"accuracy": np.asarray(fitted.validation)})


@over_draws
def _fit_single(z, labels, val_z, val_labels, num_classes):
    return fit_single(z, labels, val_z, val_labels, num_classes)


@partial(jax.jit, static_argnums=3)
def _single_accuracies(single: Single, z, labels, shared):
    given = (single, z) if shared else (single, z, labels)
    one = lambda args: single_accuracies(args[0], args[1], labels if shared else args[2])
    return jax.lax.map(one, given)


@partial(jax.jit, static_argnums=(3, 4))
def class_accuracies(
    params: Tree, x: Array, labels: Array, num_classes: int, shared: bool
) -> Array:
    """`[draws, classes]` share of each class's rows that a linear probe of the features has right.

    Args:
      params: weights `[draws, d, classes]` and bias `[draws, classes]`.
      x, labels: `[m, d]`, `[m]` test rows, with a leading axis of draws unless shared.
      num_classes: of the codes; one without a row is NaN.
      shared: whether all draws are judged on the same rows.
    """

    def one(args):
        params, x_own, labels_own = (*args, x, labels) if shared else args
        right = jnp.argmax(linear_scores(params, x_own, x_own), 1) == labels_own
        sums = jnp.zeros((2, num_classes)).at[:, labels_own]
        hits, counts = sums.add(jnp.stack([right, jnp.ones_like(right)]).astype(jnp.float32))
        return hits / counts

    return jax.lax.map(one, (params,) if shared else (params, x, labels))

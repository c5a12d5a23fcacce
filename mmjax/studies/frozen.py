"""What frozen features give after unmixing: few-shot accuracy, retrieval, components.

Unmixings never see a label, and never a row of a test set.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.data import group_codes
from mmjax.disentangle import (
    UNMIXINGS,
    Affine,
    Recipe,
    components,
    determined,
    fast_ica,
    is_long,
    pca,
    recipes,
)
from mmjax.errors import InvalidInput
from mmjax.evaluate import (
    PROBES,
    check_shots,
    excess_kurtosis,
    few_shot_rows,
    in_span,
    recall_at,
    sparsity,
)
from mmjax.numerics import normalise
from mmjax.types import Array, Key, Tracked, untracked

_FLOATS = 2**26  # of test rows, and of a step of all probes, of the draws that are judged at once


Method = Recipe  # a row of the table


def methods(num_components: Sequence[int]) -> list[Method]:
    """The published rows, and beside each the same with no rotation: what whitening does alone."""
    return [Method("linear probe", "none"), *recipes(num_components)]


class Rows(NamedTuple):
    """Features and their labels: `[n, f]` float32, `[n]` int32."""

    x: Array
    labels: Array


class Source(NamedTuple):
    """A labelled source and where its probes are judged.

    Attributes:
      train: few-shot draws are from here.
      validation: what C is chosen on is drawn from here.
      tests: name -> Rows, of the source and of shifted domains.
      num_classes: codes are 0 to num_classes - 1.
    """

    train: Rows
    validation: Rows
    tests: Mapping[str, Rows]
    num_classes: int


def fit_unmixing(x: Array, key: Key, method: Method, tracked: Tracked = untracked) -> Affine:
    """The method's map, from unlabelled rows `[n, f]`; no more components than these determine.

    Args:
      x, key, method: what is fitted.
      tracked: shows how far a long fit is.
    """
    k = determined(x, method.num_components)
    if is_long(len(x), k):
        return UNMIXINGS[method.unmixing](x, key, k, tracked)
    return _fit_unmixing(x, key, method.unmixing, k)


@partial(jax.jit, static_argnums=(2, 3))
def _fit_unmixing(x, key, unmixing, k):
    return UNMIXINGS[unmixing](x, key, k)


def draws_at_once(source: Source, method: Method, shots: int, val_shots: int, drawn: bool) -> int:
    """How many draws few_shot_accuracies judges together: what memory and some seconds allow.

    Args:
      source, method, shots, val_shots: see there.
      drawn: whether the unmixing is fitted to the rows of each draw.
    """
    rows, width = (shots + min(shots, val_shots)) * source.num_classes, source.train.x.shape[1]
    costs = [sum(len(test.x) for test in source.tests.values()) * width]
    costs.append(rows * width * source.num_classes)
    if drawn and method.unmixing == "ica":
        costs.append(rows * min(rows, method.num_components or width) ** 2)
    return max(1, _FLOATS // max(costs))


def few_shot_accuracies(
    source: Source,
    method: Method,
    keys: Key,
    *,
    shots: int,
    val_shots: int,
    probe: str,
    fitted: Affine | None,
    tracked: Tracked = untracked,
) -> dict[str, np.ndarray]:
    """Accuracy on every test set for many few-shot draws.

    Args:
      source: the rows.
      method: an unmixing.
      keys: `[draws]`.
      shots: training rows of each class.
      val_shots: validation rows of each class, at most shots are taken.
      probe: a name in PROBES.
      fitted: the unmixing of all draws (from fit_unmixing on the source); None fits one to the
        rows of each draw, training and validation, as published.
      tracked: shows how many draws are judged.

    Returns:
      test set -> `[draws]`.

    Raises InvalidInput where a class has fewer rows than shots.
    """
    val_shots = min(shots, val_shots)
    check_shots(source.train.labels, shots, source.num_classes)
    check_shots(source.validation.labels, val_shots, source.num_classes)
    k = None
    if fitted is None:
        rows = (shots + val_shots) * source.num_classes
        k = min(rows - 1, determined(source.train.x, method.num_components))
    sizes = (shots, val_shots, source.num_classes)
    tests = [rows.x for rows in source.tests.values()]
    labels = [rows.labels for rows in source.tests.values()]
    chunk = draws_at_once(source, method, shots, val_shots, fitted is None)
    accuracies = []
    for start in tracked(range(0, len(keys), chunk), f"{method.name}, {shots}-shot, {probe}"):
        seen, seen_tests = _drawn(
            tuple(source.train),
            tuple(source.validation),
            tests,
            fitted,
            keys[start : start + chunk],
            sizes,
            (method.unmixing, k),
            probe == "l2",
        )
        accuracies.append(_judged(seen, seen_tests, labels, probe, source.num_classes))
    return dict(zip(source.tests, np.concatenate(accuracies).T, strict=True))


@partial(jax.jit, static_argnums=(5, 6, 7))
def _drawn(train, validation, tests, fitted, keys, sizes, unmixing, rotate):
    """What the probes of each draw see: `[draws, n, k]` training, validation and test rows."""
    shots, val_shots, num_classes = sizes
    name, k = unmixing

    def one(key):
        train_key, val_key, unmix_key = jax.random.split(key, 3)
        rows = few_shot_rows(train_key, train[1], shots, num_classes)
        val_rows = few_shot_rows(val_key, validation[1], val_shots, num_classes)
        x, val_x = train[0][rows], validation[0][val_rows]
        affine = fitted
        if affine is None:
            affine = UNMIXINGS[name](jnp.concatenate([x, val_x]), unmix_key, k)
        x, val_x, *seen = (components(affine, v) for v in (x, val_x, *tests))
        if rotate:
            # Fewer numbers, and the same shapes for all methods: one compilation of the probe.
            x, val_x, *seen = in_span(x, [val_x, *seen])
        return (x, train[1][rows], val_x, validation[1][val_rows]), seen

    return jax.vmap(one)(keys)


@partial(jax.jit, static_argnums=(3, 4))
def _judged(seen, tests, labels, probe, num_classes):
    def one(seen, tests):
        return PROBES[probe](*seen, list(zip(tests, labels, strict=True)), num_classes)

    return jax.vmap(one)(seen, tests)


class Measure(NamedTuple):
    """A row of the retrieval table: which map, and which similarity in its components."""

    name: str
    unmixing: str
    similarity: str


RANKS = (1, 5, 10)  # k of recall at k
MEASURES = (
    Measure("as they are, cosine", "", "cosine"),
    Measure("centred, cosine", "none", "cosine"),
    Measure("PCA, cosine", "pca", "cosine"),
    Measure("whitening, cosine", "whitening", "cosine"),
    Measure("FastICA, cosine", "ica", "cosine"),
    Measure("whitening, L1", "whitening", "l1"),
    Measure("FastICA, L1", "ica", "l1"),
)


@partial(jax.jit, static_argnums=2)
def _similarity(a: Array, b: Array, kind: str) -> Array:
    if kind == "cosine":
        return normalise(a) @ normalise(b).T
    return -jax.lax.map(lambda row: jnp.sum(jnp.abs(row - b), 1), a, batch_size=64)


def divided(
    key: Key, n: int, share: float, group: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Rows in random order, about a share of them and the others; no group is in both.

    Args:
      key: of the order.
      n: rows, >= 2.
      share: in (0, 1).
      group: `[n]` ids; None: each row by itself.

    Raises InvalidInput where all rows are of one group.
    """
    codes = group_codes(group, n)
    count = int(codes.max()) + 1
    if count < 2:
        raise InvalidInput("group: all rows are of one group; two or more can be divided")
    place = np.argsort(np.asarray(jax.random.permutation(key, count)))[codes]
    order = np.argsort(place, kind="stable")
    cuts = np.flatnonzero(np.diff(place[order])) + 1
    cut = cuts[np.argmin(np.abs(cuts - max(min(2, n - 1), int(share * n))))]
    return order[:cut], order[cut:]


def retrieval_after(
    x: Array,
    t: Array,
    key: Key,
    *,
    num_components: int,
    fit_share: float = 0.5,
    group: np.ndarray | None = None,
    tracked: Tracked = untracked,
) -> dict[tuple[str, str, str], float]:
    """Recall of partners among held-out pairs, before and after each step of unmixing.

    Both sides are centred by their own mean; one map is fitted to both, as theory says that they
    are turned alike, on a random share of the pairs.

    Args:
      x, t: `[n, f]` float32 features of one space, paired by row.
      key: of the split.
      num_components: of every map, at most what the fitted rows determine.
      fit_share: in (0, 1).
      group: `[n]` ids of rows that belong together: never divided, and hits of each other.
      tracked: shows how far long fits are.

    Returns:
      (measure, query side, metric) -> recall at RANKS, of those that are fewer than the held pairs
      (one a group): among k of them any k answers hold the right one.
    """
    split_key, unmix_key = jax.random.split(key)
    fit, held = divided(split_key, len(x), fit_share, group)
    pairs = len(np.unique(group_codes(group, len(x))[held]))
    ids = () if group is None else 2 * (jnp.asarray(group_codes(group, len(x))[held]),)
    means = jnp.mean(x[fit], 0), jnp.mean(t[fit], 0)
    both = jnp.concatenate([x[fit] - means[0], t[fit] - means[1]])
    results = {}
    for measure in MEASURES:
        a, b = x[held], t[held]
        if measure.unmixing:
            method = Method(measure.name, measure.unmixing, num_components)
            affine = fit_unmixing(both, unmix_key, method, tracked)
            a, b = components(affine, a - means[0]), components(affine, b - means[1])
        scores = _similarity(a, b, measure.similarity)
        for side, matrix in (("x", scores), ("t", scores.T)):
            for k in (k for k in RANKS if k < pairs):
                results[measure.name, side, f"recall_at_{k}"] = float(recall_at(matrix, k, *ids))
    return results


class ComponentFigures(NamedTuple):
    """Of components fitted to one half of the rows, seen on the other: `[k]` each.

    Attributes:
      kurtosis: excess, descending.
      sparsity: Hoyer's, descending.
    """

    kurtosis: Array
    sparsity: Array


def component_figures(
    x: Array,
    key: Key,
    method: Method,
    group: np.ndarray | None = None,
    tracked: Tracked = untracked,
) -> ComponentFigures:
    """Kurtosis and sparsity of held-out components: what is real, not fitted noise."""
    split_key, unmix_key = jax.random.split(key)
    fit, held = divided(split_key, len(x), 0.5, group)
    return _figures(fit_unmixing(x[fit], unmix_key, method, tracked), x[held])


@jax.jit
def _figures(affine: Affine, x: Array) -> ComponentFigures:
    y = components(affine, x)
    y = y - jnp.mean(y, 0)
    return ComponentFigures(-jnp.sort(-excess_kurtosis(y)), -jnp.sort(-sparsity(y)))


@jax.jit
def gaussian_twin(x: Array, key: Key) -> Array:
    """Normal rows of the mean and covariance of x `[n, f]`: whatever ICA finds there is chance."""
    result = pca(x)
    spread = jnp.sqrt(result.variances)[:, None] * result.directions.T
    return result.mean + jax.random.normal(key, x.shape) @ spread


def stability_of(
    x: Array, key: Key, *, num_components: int, restarts: int, tracked: Tracked = untracked
) -> Array:
    """`[k]` how alike restarts find each independent component, see ICA.stability.

    Raises InvalidInput for fewer restarts than two, which have nothing to be compared with.
    """
    k = determined(x, num_components)
    result = fast_ica(x, key, num_components=k, restarts=restarts, tracked=tracked).stability
    if result is None:
        raise InvalidInput(f"restarts: {restarts} is not allowed; use a whole number >= 2")
    return result

"""What single components of frozen features are worth: meaning, stability, distance from Normal."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.data import FewShotSet, LabelledRows
from mmjax.disentangle import components
from mmjax.evaluate import (
    excess_kurtosis,
    fit_single,
    half_waves,
    longer_side,
    mcc,
    monosemanticity,
    nearest_texts,
    single_accuracies,
    top_classes,
)
from mmjax.few_shot import unlabelled
from mmjax.few_shot.unmix import KINDS, sparse_codes
from mmjax.studies.frozen import gaussian_twin
from mmjax.types import Array, Key

# Whitening has PCA's components in another unit, which none of these figures sees.
WAYS = {
    "columns": "none",
    "PCA, whitening": "whitening",
    "random rotation": "turned",
    "FastICA": "ica",
    "sparse dictionary": "sparse",
}


class Coder(NamedTuple):
    """A map to components.

    Attributes:
      apply: `x [n, d] -> [n, k]`.
      directions: `[k, d]` what each component adds to the features.
      codes: whether components are codes >= 0 rather than values around a mean.
    """

    apply: Callable[[Array], Array]
    directions: Array
    codes: bool


def fit_coder(way: str, x: Array, key: Key, num_components: int) -> Coder:
    """A way of WAYS, fitted on rows without labels.

    Args:
      way: its name.
      x: `[n, d]`.
      key: of what it draws.
      num_components: principal directions, at most n - 1 and d; columns have d, a sparse
        dictionary 2 d.
    """
    kind, k = WAYS[way], min(num_components, len(x) - 1, x.shape[1])
    params = jax.tree.map(lambda v: v[0], KINDS[kind](x[None], key[None], k))
    if kind == "sparse":
        return Coder(lambda v: sparse_codes(params, v), params.decoder, True)
    return Coder(lambda v: components(params, v), params.back, False)


class Parts(NamedTuple):
    """Rows of a set: `[n, d]`, `[n]` that maps are fitted on, and those that are looked at."""

    fit: LabelledRows
    unlabelled: Array
    held: LabelledRows


def parts_of_set(few: FewShotSet) -> Parts:
    """Training and validation rows, and test rows; without these every other row of each class."""
    if few.test is not None:
        return Parts(few.pool, unlabelled(few), few.test)
    place = np.arange(len(few.pool.x)) % 2 == 0  # rows come class by class
    fit = LabelledRows(few.pool.x[place], few.pool.labels[place])
    rows = jnp.asarray(fit.x) if few.val is None else jnp.concatenate([fit.x, few.val.x])
    return Parts(fit, rows, LabelledRows(few.pool.x[~place], few.pool.labels[~place]))


def activations_of(coder: Coder, x: Array, fit: Array) -> Array:
    """`[n, k]` >= 0: codes, or one side of each component (see half_waves)."""
    y = coder.apply(x)
    return y if coder.codes else half_waves(y, coder.apply(fit))


def pointed(coder: Coder, fit: Array) -> Array:
    """`[k, d]` directions of the side that activations_of looks at."""
    if coder.codes:
        return coder.directions
    return longer_side(coder.apply(fit))[:, None] * coder.directions


def halves_stability(way: str, x: Array, held: Array, key: Key, num_components: int) -> float:
    """How alike two disjoint halves of the rows find the components, in [0, 1].

    Fitted on each half, matched one to one by their absolute correlation over other rows
    (Hungarian): the mean of the matched ones. Columns are the same in both and score 1.

    Args:
      way: of WAYS.
      x: `[n, d]` rows that are halved by chance.
      held: `[m, d]` rows that correlations are taken over.
      key: of the halves and of both fits.
      num_components: see fit_coder.
    """
    half_key, *keys = jax.random.split(key, 3)
    order = np.asarray(jax.random.permutation(half_key, len(x)))
    half = len(x) // 2
    fitted = [
        fit_coder(way, x[order[rows]], half_key, num_components).apply(held)
        for rows, half_key in zip((slice(half), slice(half, 2 * half)), keys, strict=True)
    ]
    return mcc(*fitted)


def meaning_figures(
    coder: Coder, parts: Parts, num_classes: int, texts: np.ndarray | None
) -> dict[str, float]:
    """What components of held rows mean; means over components unless said otherwise.

    monosemanticity and purity: see mmjax.evaluate.meaning; purity is of as many top rows as a class
    has on average. dead: share of components that no held row activates, which the others leave
    out. single: mean over classes of the balanced accuracy of a threshold on one component, chosen
    on all labelled training rows (see fit_single). kurtosis: excess. named: share of the
    components whose nearest class text is the class of most of their top rows; name cosine: with
    that text. Without texts these two are left out.

    Args:
      coder: fitted on parts.unlabelled.
      parts: rows.
      num_classes: of the labels.
      texts: `[classes, d]` or None.
    """
    held, labels = jnp.asarray(parts.held.x), jnp.asarray(parts.held.labels)
    seen = activations_of(coder, held, parts.unlabelled)
    alive = np.asarray(jnp.max(seen, 0) > 0)
    alike = monosemanticity(seen, labels, num_classes)
    count = max(1, len(held) // num_classes)
    main, purity = top_classes(seen, labels, num_classes, count)
    rows = coder.apply(jnp.asarray(parts.fit.x)), jnp.asarray(parts.fit.labels)
    none = rows[0][:0], rows[1][:0]
    single = single_accuracies(fit_single(*rows, *none, num_classes), coder.apply(held), labels)
    results = {
        "monosemanticity": float(jnp.nanmean(alike)),
        "purity": float(np.mean(np.asarray(purity)[alive])),
        "dead": 1 - float(alive.mean()),
        "single": float(jnp.mean(single)),
        "kurtosis": float(np.mean(np.asarray(excess_kurtosis(coder.apply(held)))[alive])),
    }
    if texts is not None:
        nearest, cosine = nearest_texts(pointed(coder, parts.unlabelled), jnp.asarray(texts), 1)
        right = np.asarray(nearest[:, 0] == main)[alive]
        results |= {"named": float(right.mean()), "name cosine": float(jnp.mean(cosine))}
    return results


def chance_alike(labels: np.ndarray) -> float:
    """Monosemanticity of activations that know no class: the share of pairs of one class."""
    counts = np.bincount(labels).astype(float)
    return float((counts * (counts - 1)).sum() / (len(labels) * (len(labels) - 1)))


def twin_figures(parts: Parts, key: Key, num_components: int) -> dict[str, float]:
    """Kurtosis and stability of FastICA on Normal rows of the same mean and covariance, as many.

    What it finds there is chance: of real components both are larger.
    """
    fit_key, held_key, ica_key, half_key = jax.random.split(key, 4)
    fit = gaussian_twin(parts.unlabelled, fit_key)
    held = gaussian_twin(parts.unlabelled, held_key)[: len(parts.held.x)]
    coder = fit_coder("FastICA", fit, ica_key, num_components)
    return {
        "kurtosis": float(jnp.mean(excess_kurtosis(coder.apply(held)))),
        "stability": halves_stability("FastICA", fit, held, half_key, num_components),
    }


def named_components(
    coder: Coder, parts: Parts, few: FewShotSet, texts: Mapping[str, tuple], count: int
) -> list[list[str]]:
    """A line a component, those of largest monosemanticity first: figures, class, names.

    Args:
      coder: fitted on parts.unlabelled.
      parts: rows.
      few: whose classes they are.
      texts: title -> (names, `[m, d]`).
      count: names of each title.
    """
    held, labels = jnp.asarray(parts.held.x), jnp.asarray(parts.held.labels)
    seen = activations_of(coder, held, parts.unlabelled)
    alike = np.nan_to_num(np.asarray(monosemanticity(seen, labels, len(few.classes))))
    top = max(1, len(held) // len(few.classes))
    main, purity = (np.asarray(v) for v in top_classes(seen, labels, len(few.classes), top))
    directions = pointed(coder, parts.unlabelled)
    near = {
        title: (np.asarray(names), *map(np.asarray, nearest_texts(directions, values, count)))
        for title, (names, values) in texts.items()
    }
    remarks = []
    for k in np.argsort(-alike, kind="stable"):
        line = [str(k + 1), f"{alike[k]:.3f}", str(few.classes[main[k]]), f"{purity[k]:.3f}"]
        for names, places, cosines in near.values():
            pairs = zip(places[k], cosines[k], strict=True)
            line.append("; ".join(f"{names[p]} {c:.2f}" for p, c in pairs))
        remarks.append(line)
    return remarks

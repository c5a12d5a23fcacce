"""Disentanglement of features with respect to named ground-truth factors: DCI, MIG and SAP.

A factor is discrete (classes) where its array is of integers, booleans or text, else continuous.
Rows are split by a key, for a discrete factor in its classes: the order of a file tells nothing.
"""

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.errors import given, require
from mmjax.evaluate.identification import correlations, rows_lost
from mmjax.evaluate.lasso import lasso
from mmjax.evaluate.probes import linear_probe_accuracy
from mmjax.evaluate.regression import explained, linear_r2_between, standardise
from mmjax.evaluate.splits import halves
from mmjax.labels import encode_labels
from mmjax.numerics import conditioned, require_finite, require_strength
from mmjax.types import AnyArray, Array, Key


class Gap(NamedTuple):
    """How far the best feature of a factor is ahead of the second best.

    Attributes:
      mean: over the factors, in [0, 1].
      per_factor: name -> [0, 1].
    """

    mean: float
    per_factor: dict[str, float]


class DCI(NamedTuple):
    """Disentanglement, completeness and informativeness of features.

    Attributes:
      disentanglement: in [0, 1]; mean over features, weighted by their share of all importance.
      completeness: in [0, 1]; mean over factors.
      informativeness: mean over factors, at most 1.
      per_feature: `[d]` disentanglement: 1 where a feature matters for one factor only, 0 where for
        all alike or for none.
      completeness_of: name -> [0, 1]: 1 where one feature only matters for the factor, 0 where all
        alike or none does.
      informativeness_of: name -> at most 1: one minus the prediction's error over that of the best
        constant guess, so that 0 is nothing. R2 of a continuous factor; of a discrete one, with
        the share of wrong answers for error, 0 at the accuracy of the most frequent class.
        NaN of fewer rows than `least_dci_rows`, as is all but importance by the usual penalty.
      importance: `[d, factors]` >= 0, factors in the mapping's order.
    """

    disentanglement: float
    completeness: float
    informativeness: float
    per_feature: np.ndarray
    completeness_of: dict[str, float]
    informativeness_of: dict[str, float]
    importance: np.ndarray


def dci(
    features: AnyArray,
    factors: Mapping[str, AnyArray],
    *,
    importance: str = "linear",
    penalty: float | None = None,
    trees: int = 100,
    seed: int | None = None,
    split_key: Key | None = None,
) -> DCI:
    """Disentanglement, completeness, informativeness (Eastwood and Williams, ICLR 2018).

    Importances come from one half of the rows, informativeness from predictions for the other.
    R_ij being the importance of feature i for factor j, disentanglement of feature i is 1
    minus the entropy of R_ij / sum_j R_ij to the base of the number of factors (their Eq. 1-2), and
    completeness of factor j is 1 minus the entropy of R_ij / sum_i R_ij to the base of the number
    of features (Eq. 3). With one factor or one feature the entropy is 0.

    Args:
      features: `[n, d]` of any real type, finite, n >= 4, d >= 1.
      factors: name -> `[n]` float (continuous), or int or text (discrete).
      importance: linear: absolute weights of the lasso on standardised features and factors, the
        mean over its standardised class indicators for a discrete factor; informativeness is of
        least squares, or of `linear_probe_accuracy`. forest: importances of scikit-learn's random
        forests, whose sum over features is 1 for each factor, even one that no feature tells; with
        their predictions.
      penalty: of the lasso, in units of correlation, > 0; None is sqrt(2 log(20 weights) / rows
        fitted on), below which correlations of independent variables stay all together in 49 of 50
        cases. Completeness is relative, so that a single weight of noise would make it 1.
      trees: of a forest, >= 1.
      seed: of the forests, which need one.
      split_key: of the halves; None is key 0.

    Returns:
      DCI.

    Raises:
      InvalidInput: no factor, one of another length, something that is not finite, or a value
        outside the above.

    Example:
      >>> import jax
      >>> z = jax.random.normal(jax.random.key(0), (1000, 3))
      >>> found = dci(-2 * z[:, ::-1], {f"z{i}": z[:, i] for i in range(3)})
      >>> round(found.disentanglement, 3), round(found.completeness, 3)
      (1.0, 1.0)
    """
    x, values = _checked(features, factors, least_rows=4)
    require(importance in ("linear", "forest"), "importance", importance, "linear or forest")
    if penalty is not None:
        require_strength("penalty", penalty, zero=False)
    require(trees >= 1, "trees", trees, "1 or more")
    if importance == "forest":
        number = given(seed, "seed", "an integer with importance='forest'")
        forest = partial(_forest, x, trees=trees, seed=number, key=split_key)
        fitted = {name: forest(f) for name, f in values.items()}
        weights = np.stack([weights for weights, _ in fitted.values()], axis=1)
        informativeness = {name: score for name, (_, score) in fitted.items()}
    else:
        weights = _lasso_importance(x, values, penalty, split_key)
        informativeness = {n: _linear_told(x, f, split_key) for n, f in values.items()}
    few = len(x) < least_dci_rows(x.shape[1], values)  # a fit of so few may be off by any factor
    told = np.nan if few and importance == "linear" and penalty is None else 1.0
    per_feature = told * _concentration(weights)
    share = weights.sum(1) / max(weights.sum(), np.finfo(float).tiny)
    completeness = dict(zip(factors, (told * _concentration(weights.T)).tolist(), strict=True))
    if few:
        informativeness = dict.fromkeys(informativeness, float("nan"))
    return DCI(
        float(np.minimum(per_feature @ share, 1.0)),
        float(np.mean(list(completeness.values()))),
        float(np.mean(list(informativeness.values()))),
        per_feature,
        completeness,
        informativeness,
        weights,
    )


def least_dci_rows(num_features: int, factors: Mapping[str, AnyArray]) -> int:
    """Rows below which `dci` is NaN: its penalty is 1 or more, which no correlation passes.

    Args:
      num_features: d.
      factors: as `dci` has them.
    """
    columns = [_classes(f)[0] if _discrete(f) else 1 for f in map(np.asarray, factors.values())]
    return 2 * (int(rows_lost(num_features * sum(columns))) + 1)


def mig(features: AnyArray, factors: Mapping[str, AnyArray], *, bins: int = 20) -> Gap:
    """Mutual information gap (Chen et al., NeurIPS 2018), all of it over the entropy of a factor.

    Mutual information is that of the table of counts, of features and continuous factors in bins of
    equal width between minimum and maximum. It is above 0 for independent variables too, by about
    (cells of the table) / (2 n) nats; the gap cancels most of it.

    Args:
      features: `[n, d]` of any real type, finite, d >= 1. A single feature's gap is to one that
        tells nothing, so to 0.
      factors: name -> `[n]` float (continuous), or int or text (discrete). A constant scores 0.
      bins: >= 2.

    Returns:
      Gap.

    Raises:
      InvalidInput: no factor, one of another length, something not finite, or bins below 2.

    Example:
      >>> import jax
      >>> z = jax.random.uniform(jax.random.key(0), (5000, 2))
      >>> mig(z[:, ::-1], {"first": z[:, 0], "second": z[:, 1]}).mean > 0.9
      True
    """
    x, values = _checked(features, factors)
    require(bins >= 2, "bins", bins, "2 or more")
    binned = in_bins(x, bins)

    def of_factor(factor: np.ndarray) -> float:
        if _discrete(factor):
            classes, codes = _classes(factor)
        else:
            classes, codes = bins, np.asarray(in_bins(factor[:, None], bins))[:, 0]
        # Empty classes change nothing, and one compilation then serves most factors.
        informations, entropy = _informations(binned, codes, bins, max(classes, bins))
        return min(_gap(np.asarray(informations, float), 0) / max(float(entropy), 1e-6), 1.0)

    return _mean_gap({name: of_factor(factor) for name, factor in values.items()})


def sap(
    features: AnyArray,
    factors: Mapping[str, AnyArray],
    *,
    l2: float = 1.0,
    split_key: Key | None = None,
) -> Gap:
    """Separated attribute predictability (Kumar et al., ICLR 2018).

    A feature's score is its squared correlation with a continuous factor, over all rows, and the
    accuracy for a discrete one of a linear classifier that sees this feature only, fitted on half
    of the rows of every class and scored on the rest.

    Args:
      features: `[n, d]` of any real type, finite, n >= 4, d >= 1. A single feature's gap is to one
        that tells nothing: to 0, and for a discrete factor to the accuracy of its most frequent
        class.
      factors: name -> `[n]` float (continuous), or int or text (discrete). A constant scores 0.
      l2: of the classifier, as in `linear_probe_accuracy`.
      split_key: of the halves; None is key 0.

    Returns:
      Gap.

    Raises:
      InvalidInput: no factor, one of another length, or something not finite.

    Example:
      >>> import jax
      >>> z = jax.random.normal(jax.random.key(0), (5000, 2))
      >>> sap(z[:, ::-1] ** 3, {"first": z[:, 0], "second": z[:, 1]}).mean > 0.5
      True
    """
    x, values = _checked(features, factors, least_rows=4)
    require_strength("l2", l2)

    def of_factor(factor: np.ndarray) -> float:
        if not _discrete(factor):
            correlation = _correlations(factor[:, None].astype(x.dtype), x)
            return _gap(np.asarray(correlation[0], float) ** 2, 0)
        classes, codes = _classes(factor)
        if classes < 2:
            return 0.0
        (fit, fit_codes), (score, score_codes) = halves((x, codes), split_key, [codes])
        # A loop, not a map over features: one compilation then serves all factors and calls.
        scores = [
            linear_probe_accuracy(fit[:, [i]], fit_codes, score[:, [i]], score_codes, classes, l2)
            for i in range(x.shape[1])
        ]
        return _gap(np.asarray(scores, float), _accuracy_of_guess(fit_codes, score_codes))

    return _mean_gap({name: of_factor(factor) for name, factor in values.items()})


@partial(jax.jit, static_argnums=1)
def in_bins(values: AnyArray, bins: int) -> Array:
    """`[n, d] float -> [n, d] int` in 0..bins-1: equal widths between a column's ends."""
    low, high = values.min(0), values.max(0)
    width = jnp.where(high > low, high - low, 1)
    return jnp.clip(jnp.floor((values - low) / width * bins).astype(int), 0, bins - 1)


@jax.jit
def mutual_information(counts: Array) -> Array:
    """`[..., a, b]` counts of pairs of values -> `[...]` nats, >= 0; no counts give 0."""
    counts = counts.astype(jnp.promote_types(counts.dtype, jnp.float32))
    joint = counts / jnp.maximum(counts.sum((-2, -1), keepdims=True), 1)
    product = joint.sum(-1, keepdims=True) * joint.sum(-2, keepdims=True)
    ratio = jnp.where(joint > 0, joint, 1) / jnp.where(joint > 0, product, 1)
    return jnp.maximum(jnp.sum(joint * jnp.log(ratio), (-2, -1)), 0)


@partial(jax.jit, static_argnums=(2, 3))
def _informations(binned: Array, codes: AnyArray, bins: int, classes: int) -> tuple[Array, Array]:
    """`[n, d]` and `[n]` -> `[d]` mutual informations, and the entropy of the codes."""
    count = lambda cells, length: jnp.zeros(length, jnp.int32).at[cells].add(1)
    tables = jax.vmap(lambda column: count(column * classes + codes, bins * classes))(binned.T)
    # What a variable tells about itself is its entropy.
    itself = jnp.diag(count(codes, classes))
    return mutual_information(tables.reshape(-1, bins, classes)), mutual_information(itself)


def _checked(
    features: AnyArray, factors: Mapping[str, AnyArray], *, least_rows: int = 1
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    require(features.ndim == 2, "features", features.shape, "two axes, [rows, features]")
    rows, columns = features.shape
    require(rows >= least_rows, "features", features.shape, f"{least_rows} or more rows")
    require(columns >= 1, "features", features.shape, "1 or more features")
    require(len(factors) > 0, "factors", factors, "1 or more")
    require_finite(features, "features")
    # On the host: operations on the device one by one would be compiled for every shape. Without
    # offset and unit, on which none of the scores depends.
    plain = lambda values: np.asarray(conditioned(np.asarray(values))[0][0])
    x = plain(features)
    results: dict[str, np.ndarray] = {}
    for name, values in factors.items():
        factor = np.asarray(values)
        if factor.dtype.kind == "O":  # of a table
            array = np.asarray(factor.tolist())
            factor = encode_labels(factor)[0] if array.dtype.kind in "OSU" else array
        require(factor.shape == (rows,), name, factor.shape, f"one value for each row: ({rows},)")
        if not _discrete(factor):
            require_finite(factor, name)
            factor = plain(factor).astype(x.dtype)
        results[name] = factor
    return x, results


def _discrete(factor: np.ndarray) -> bool:
    return factor.dtype.kind in "iubSU"


def _classes(factor: np.ndarray) -> tuple[int, np.ndarray]:
    """How many classes, and every row's, in 0..classes-1."""
    classes, codes = np.unique(factor, return_inverse=True)
    return len(classes), codes


def _gap(scores: np.ndarray, nothing: float) -> float:
    """Best score minus the second best, which is that of telling nothing where there is none."""
    scores = np.sort(scores) if len(scores) > 1 else np.array([nothing, *scores])
    return max(float(scores[-1] - scores[-2]), 0.0)


def _mean_gap(gaps: dict[str, float]) -> Gap:
    return Gap(float(np.mean(list(gaps.values()))), gaps)


def _concentration(weights: np.ndarray) -> np.ndarray:
    """`[a, b] >= 0 -> [a]` 1 minus the entropy of each row over its largest; 0 for rows of 0."""
    total = weights.sum(1, keepdims=True)
    shares = weights / np.where(total > 0, total, 1)
    entropy = -np.sum(shares * np.log(np.where(shares > 0, shares, 1)), axis=1)
    largest = np.log(max(weights.shape[1], 2))
    return np.where(total[:, 0] > 0, np.clip(1 - entropy / largest, 0, 1), 0)


def _accuracy_of_guess(fit_codes: np.ndarray, score_codes: np.ndarray) -> float:
    return float(np.mean(score_codes == np.bincount(fit_codes).argmax()))


def _above_guess(accuracy: float | Array, fit_codes: np.ndarray, score_codes: np.ndarray) -> float:
    guess = _accuracy_of_guess(fit_codes, score_codes)
    return (float(accuracy) - guess) / (1 - guess) if guess < 1 else 0.0


def _linear_told(features: np.ndarray, factor: np.ndarray, key: Key | None) -> float:
    if not _discrete(factor):
        (fit, fit_y), (score, score_y) = halves((features, factor[:, None]), key)
        return float(_linear_r2(fit, fit_y, score, score_y))
    classes, codes = _classes(factor)
    if classes < 2:
        return 0.0
    (fit, fit_codes), (score, score_codes) = halves((features, codes), key, [codes])
    accuracy = linear_probe_accuracy(fit, fit_codes, score, score_codes, classes)
    return _above_guess(accuracy, fit_codes, score_codes)


def _lasso_importance(
    features: np.ndarray, factors: dict[str, np.ndarray], penalty: float | None, key: Key | None
) -> np.ndarray:
    """`[d, factors]`; all factors, and all classes of the discrete ones, in one lasso."""
    columns, strata = [], []
    for factor in factors.values():
        if _discrete(factor):
            classes, codes = _classes(factor)
            strata.append(codes)
            columns.append(codes[:, None] == np.arange(classes))
        else:
            columns.append(factor[:, None])
    targets = np.concatenate(columns, axis=1).astype(features.dtype)
    fit_x, fit_y = halves((features, targets), key, strata)[0]
    if penalty is None:
        penalty = (rows_lost(fit_x.shape[1] * fit_y.shape[1]) / len(fit_x)) ** 0.5
    weights = np.abs(np.asarray(_standardised_lasso(fit_x, fit_y, penalty), float))
    ends = np.cumsum([column.shape[1] for column in columns])[:-1]
    return np.stack([block.mean(1) for block in np.split(weights, ends, axis=1)], axis=1)


_linear_r2 = jax.jit(linear_r2_between)
_correlations = jax.jit(correlations)
_standardised_lasso = jax.jit(
    lambda x, y, penalty: lasso(standardise(x, x)[0], standardise(y, y)[0], penalty)
)


def _forest(
    features: np.ndarray, factor: np.ndarray, *, trees: int, seed: int, key: Key | None
) -> tuple[np.ndarray, float]:
    """`[d]` importances, and how much of the factor the predictions for the second half tell."""
    # Here, because importing it takes as long as importing the rest of this package.
    from sklearn import ensemble

    if _discrete(factor):
        codes = _classes(factor)[1]
        (fit, fit_codes), (score, score_codes) = halves((features, codes), key, [codes])
        forest = ensemble.RandomForestClassifier(trees, random_state=seed)
        accuracy = np.mean(forest.fit(fit, fit_codes).predict(score) == score_codes)
        return forest.feature_importances_, _above_guess(accuracy, fit_codes, score_codes)
    (fit, fit_y), (score, score_y) = halves((features, factor.astype(float)), key)
    forest = ensemble.RandomForestRegressor(trees, random_state=seed).fit(fit, fit_y)
    residual = score_y - forest.predict(score)
    share = explained(score_y[:, None], residual[:, None])
    return forest.feature_importances_, float(share[0])

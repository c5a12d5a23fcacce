"""What is read of recorded data after training: features of any modalities, and linear probes."""

from collections.abc import Callable, Mapping, Sequence

import jax.numpy as jnp
import numpy as np

from mmjax.data import MultimodalData, MultimodalSplit, group_codes, split_size
from mmjax.encoders import Padded
from mmjax.errors import require
from mmjax.evaluate.linear_probes import STRENGTHS, Labelled, probe
from mmjax.studies.recorded import Observation, flat, observations_of
from mmjax.types import Array

AT_ONCE = 512  # rows encoded at a time
_SEED = 0  # of the rows that probes are fitted on


def features_of(
    represent: Callable[[tuple], Array], split: MultimodalSplit, *, at_once: int = AT_ONCE
) -> np.ndarray:
    """`[n, ...]` of all rows of a split in their order, `at_once` rows a call.

    Args:
      represent: observations, not augmented, `[at_once, ...]` each -> `[at_once, ...]`.
      split: its rows are read from memory or from their files.
      at_once: rows; the last batch is filled up with its last row, so that one shape is compiled.
    """
    n, parts = split_size(split), []
    for start in range(0, n, at_once):
        rows = np.minimum(np.arange(start, start + at_once), n - 1)
        parts.append(np.asarray(represent(observations_of(split, rows)))[: n - start])
    return np.concatenate(parts)


def split_subset_features(
    read: Callable[[tuple, Array], Array],
    split: MultimodalSplit,
    subsets: np.ndarray,
    *,
    at_once: int = AT_ONCE,
) -> np.ndarray:
    """Features `[subsets, n, f]` of each subset of the modalities.

    Args:
      read: `(observations, subsets) -> [subsets, at_once, f]`, such as a study's.
      split, at_once: see features_of.
      subsets: `[subsets, modalities]` bool.
    """
    rows_first = lambda seen: jnp.moveaxis(read(seen, subsets), 0, 1)
    return np.moveaxis(features_of(rows_first, split, at_once=at_once), 1, 0)


def _raw(seen: Observation) -> Array:
    if not isinstance(seen, Padded):
        return flat(seen)
    total = jnp.sum(jnp.where(seen.seen[..., None], seen.values, 0), 1)
    return total / jnp.maximum(jnp.sum(seen.seen, 1, keepdims=True), 1)


def raw_features(observations: Sequence[Observation]) -> Array:
    """The observations side by side `[n, f]`, of a padded sequence the mean of what is seen."""
    return jnp.concatenate([_raw(seen) for seen in observations], 1)


def raw_subset_features(
    split: MultimodalSplit, subsets: np.ndarray, *, at_once: int = AT_ONCE
) -> np.ndarray:
    """The same of each subset `[subsets, modalities]` bool, 0 for modalities that aren't in it."""
    found = features_of(raw_features, split, at_once=at_once)
    widths = [_raw(seen).shape[1] for seen in observations_of(split, np.arange(1))]
    owner = np.repeat(np.arange(len(widths)), widths)
    return np.stack([np.where(subset[owner], found, 0) for subset in np.asarray(subsets)])


def probe_splits(
    kind: str,
    features: Mapping[str, Array],
    labels: Mapping[str, Array],
    *,
    num_classes: int,
    share: float = 0.2,
    limit: int = 20_000,
    strengths: Sequence[float] = STRENGTHS,
    groups: np.ndarray | None = None,
) -> dict[str, float]:
    """Figures of a linear probe on the test rows (mmjax.evaluate.linear_probes).

    Fitted on training rows; C is chosen on validation rows, or on a share of the training rows,
    drawn always alike and not fitted on, where there are none.

    Args:
      kind: classification, multilabel or regression.
      features: of the splits train, test and perhaps validation, `[n, f]` float.
      labels: of the same splits.
      num_classes: of classification.
      share: of training rows to choose C on, in (0, 1).
      limit: training rows that a probe sees, at most, drawn always alike.
      strengths: to choose from, 1 / C.
      groups: `[n]` ids of the training rows; a group is fitted on or chosen by whole.

    Returns:
      metric -> figure; without the penalty's strength.

    Raises InvalidInput for a share or limit out of range.
    """
    require(0 < share < 1, "share", share, "a number between 0 and 1")
    require(limit >= 2, "probe_samples", limit, "a whole number >= 2")
    order = np.random.default_rng(_SEED).permutation(len(features["train"]))[:limit]
    at = lambda part, rows: Labelled(features[part][rows], labels[part][rows])
    if "validation" in features:
        fit, validation = at("train", order), at("validation", slice(None))
    else:
        held = min(max(1, round(share * len(order))), len(order) - 1)
        codes = group_codes(groups, len(features["train"]))[order]
        chosen_by = np.isin(codes, codes[:held])
        require(not chosen_by.all(), "groups", int(codes[0]), "two or more, to choose C on one")
        fit, validation = at("train", order[~chosen_by]), at("train", order[chosen_by])
    test = at("test", slice(None))
    found = probe(kind, fit, validation, test, num_classes=num_classes, strengths=strengths)
    return {metric: float(value) for metric, value in found.items() if metric != "l2"}


def split_labels(data: MultimodalData) -> dict[str, np.ndarray]:
    """Split -> labels, of the splits that there are."""
    parts = {part: getattr(data, part) for part in ("train", "validation", "test")}
    return {part: split.labels for part, split in parts.items() if split is not None}

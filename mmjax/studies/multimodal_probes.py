"""What is read of recorded data after training: features of any modalities, and linear probes."""

from collections.abc import Callable, Mapping, Sequence

import jax.numpy as jnp
import numpy as np

from mmjax.data import group_codes
from mmjax.data.dataset import Dataset
from mmjax.errors import require
from mmjax.evaluate.linear_probes import STRENGTHS, Labelled, probe
from mmjax.nets.prepare import Observation, Preparation, observations_of, raw_of
from mmjax.types import AnyArray, Array

AT_ONCE = 512  # rows encoded at a time
_SEED = 0  # of the rows that probes are fitted on


def features_of(
    represent: Callable[[tuple], Array],
    data: Dataset,
    preparations: Mapping[str, Preparation],
    *,
    at_once: int = AT_ONCE,
) -> np.ndarray:
    """`[n, ...]` of all rows in their order, `at_once` rows a call.

    Args:
      represent: observations, not augmented, `[at_once, ...]` each -> `[at_once, ...]`.
      data: its rows are read from memory or from their files.
      preparations: of its modalities, as in training.
      at_once: rows; the last batch is filled up with its last row, so that one shape is compiled.
    """
    n, parts = data.num_rows, []
    for start in range(0, n, at_once):
        rows = np.minimum(np.arange(start, start + at_once), n - 1)
        seen = observations_of(data, preparations, rows)
        batch = tuple(seen[name] for name in data.columns)
        parts.append(np.asarray(represent(batch))[: n - start])
    return np.concatenate(parts)


def subset_features_of(
    read: Callable[[tuple, AnyArray], Array],
    data: Dataset,
    preparations: Mapping[str, Preparation],
    subsets: np.ndarray,
    *,
    at_once: int = AT_ONCE,
) -> np.ndarray:
    """Features `[subsets, n, f]` of each subset of the modalities.

    Args:
      read: `(observations, subsets) -> [subsets, at_once, f]`, such as a study's.
      data, preparations, at_once: see features_of.
      subsets: `[subsets, modalities]` bool.
    """
    rows_first = lambda seen: jnp.moveaxis(read(seen, subsets), 0, 1)
    return np.moveaxis(features_of(rows_first, data, preparations, at_once=at_once), 1, 0)


def raw_features(
    preparations: Mapping[str, Preparation],
) -> Callable[[tuple[Observation, ...]], Array]:
    """`observations -> [n, f]`, these side by side; see raw_of."""
    every = list(preparations.values())
    return lambda seen: jnp.concatenate(
        [raw_of(name, v) for name, v in zip(every, seen, strict=True)], 1
    )


def raw_subset_features(
    data: Dataset,
    preparations: Mapping[str, Preparation],
    subsets: np.ndarray,
    *,
    at_once: int = AT_ONCE,
) -> np.ndarray:
    """The same of each subset `[subsets, modalities]` bool, 0 for modalities that aren't in it."""
    kept = {name: preparations[name] for name in data.columns}
    result = features_of(raw_features(kept), data, kept, at_once=at_once)
    first = observations_of(data, kept, np.arange(1))
    widths = [raw_of(kept[name], first[name]).shape[1] for name in kept]
    owner = np.repeat(np.arange(len(widths)), widths)
    return np.stack([np.where(subset[owner], result, 0) for subset in np.asarray(subsets)])


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
    result = probe(kind, fit, validation, test, num_classes=num_classes, strengths=strengths)
    return {metric: float(value) for metric, value in result.items() if metric != "l2"}

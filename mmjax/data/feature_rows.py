"""Rows of feature files: both sides, and side by side as scaled by the rows that are fitted on."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mmjax.data.columns import Column
from mmjax.data.dataset import LABEL, Dataset
from mmjax.data.pair_ids import group_codes
from mmjax.data.scaling import Offsets


def branch_size(values: np.ndarray) -> float:
    """Root mean square distance from the mean of rows `[n, f]`; 1 where they are all alike."""
    centred = values - values.mean(0, dtype=np.float64)
    return float(np.sqrt(np.mean(np.sum(centred**2, 1)))) or 1.0


def joined_branches(
    x: np.ndarray, t: np.ndarray | None, sizes: Sequence[float] | None = None
) -> dict[str, np.ndarray]:
    """`x` and, where there is one, `t`, `[n, f]` float32, and both side by side as `joint`, for
    which each is divided by its size.

    Args:
      x, t: `[n, .]` features, paired by row; t may be None.
      sizes: branch_size of x and of t among the rows that something is fitted on. None: these
        rows are the ones; of any others, a row would depend on those beside it.
    """
    branches = {"x": np.asarray(x, np.float32)}
    if t is not None:
        branches["t"] = np.asarray(t, np.float32)
        sides = list(branches.values())
        scales = [branch_size(v) for v in sides] if sizes is None else sizes
        scaled = [v / np.float32(size) for v, size in zip(sides, scales, strict=True)]
        branches["joint"] = np.concatenate(scaled, 1)
    return branches


class Stored(NamedTuple):
    """Features as they lie in their files.

    Attributes:
      sides: modality -> `[rows of the file, f]` of the file's own dtype.
      rows: `[n]` which of these the rows are.
      offsets: modality -> what was taken off them.
    """

    sides: Mapping[str, np.ndarray]
    rows: np.ndarray
    offsets: Mapping[str, Offsets]


class FeatureSet(NamedTuple):
    """Rows of feature files.

    A Dataset, and beside it what a user names there that is neither a modality nor a label to it:
    of any number of axes, and of any name, `x` or `label` as well.

    Attributes:
      rows: modality `x` `[n, d]` features and, of pairs, `t`; label LABEL as in the file, where
        there is one. An encoder was fitted on rows of split train; all are test rows where the
        file doesn't say. Rows of one group (captions of one image, recordings of one take), which
        are never on two sides of a split, have one id. Its name is the file's.
      names: `[n]` strings, or None.
      extra: further arrays by their names, `[n, ...]`.
      sizes: branch_size of the sides among the rows that something is fitted on; None: of these.
      stored: the features as they lie in their files; None where they are of none.
    """

    rows: Dataset
    names: np.ndarray | None = None
    extra: Mapping[str, np.ndarray] = {}
    sizes: Sequence[float] | None = None
    stored: Stored | None = None

    def take(self, index: np.ndarray) -> "FeatureSet":
        """Some of the rows."""
        names = None if self.names is None else self.names[index]
        extra = {name: values[index] for name, values in self.extra.items()}
        stored = self.stored and self.stored._replace(rows=self.stored.rows[index])
        return FeatureSet(self.rows.take(index), names, extra, self.sizes, stored)

    def sides(self) -> dict[str, np.ndarray]:
        """Modality -> its rows `[n, d]`."""
        return {name: np.asanyarray(c.values) for name, c in self.rows.columns.items()}

    @property
    def branches(self) -> dict[str, np.ndarray]:
        """The sides and, of pairs, both as `joint`: see joined_branches."""
        sides = self.sides()
        return joined_branches(sides["x"], sides.get("t"), self.sizes)

    @property
    def labels(self) -> np.ndarray | None:
        """`[n]`, or None."""
        return self.rows.labels.get(LABEL)


def feature_rows(
    sides: Mapping[str, np.ndarray],
    *,
    labels: np.ndarray | None = None,
    split: np.ndarray | None = None,
    group: np.ndarray | None = None,
    name: str,
) -> Dataset:
    """The rows of a FeatureSet.

    Args:
      sides: modality -> `[n, d]` floats, `x` among them.
      labels: `[n]` whole numbers or strings, or None.
      split: `[n]` strings of PARTS; None: all test rows.
      group: `[n]` whole numbers or strings; None: each row by itself.
      name: of the file.
    """
    n = len(sides["x"])
    groups = group_codes(group, n)
    return Dataset(
        {side: Column(values, "features") for side, values in sides.items()},
        {} if labels is None else {LABEL: labels},
        groups.astype(np.int64),
        np.full(n, "test") if split is None else split,
        groups[:, None].astype(np.int32),
        {},
        name,
    )

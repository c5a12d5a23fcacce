"""Labelled features as experiments take them: branches, codes, splits, domains."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mmjax.data.features import read_column, read_features
from mmjax.errors import InvalidInput, require


class FeatureNames(NamedTuple):
    """Which arrays of a file are what; where empty, see read_features."""

    values: str = ""
    labels: str = ""
    names: str = ""
    text_values: str = ""
    extra: tuple[str, ...] = ()


class FeatureSet(NamedTuple):
    """Rows of features.

    Attributes:
      branches: `x` -> `[n, f]` float32; where there is a second modality `t` and, both side by
        side, each scaled to one size, `joint`.
      labels: `[n]` as in the file, or None.
      names: `[n]` strings, or None.
      extra: further arrays by name, `[n, ...]`.
    """

    branches: Mapping[str, np.ndarray]
    labels: np.ndarray | None
    names: np.ndarray | None
    extra: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.branches["x"])

    def rows(self, index: np.ndarray) -> "FeatureSet":
        """Some of the rows."""
        pick = lambda v: None if v is None else v[index]
        branches = {k: v[index] for k, v in self.branches.items()}
        extra = {k: v[index] for k, v in self.extra.items()}
        return FeatureSet(branches, pick(self.labels), pick(self.names), extra)


def joined_branches(x: np.ndarray, t: np.ndarray | None) -> dict[str, np.ndarray]:
    """The branches of FeatureSet; rows are scaled to unit root mean square for `joint`."""
    branches = {"x": np.asarray(x, np.float32)}
    if t is not None:
        branches["t"] = np.asarray(t, np.float32)
        size = lambda v: np.sqrt(np.mean(np.sum((v - v.mean(0)) ** 2, 1))) or 1.0
        branches["joint"] = np.concatenate([v / size(v) for v in branches.values()], 1)
    return branches


def read_feature_set(path: str, names: FeatureNames, text_path: str = "") -> FeatureSet:
    """Reads one file, or two that are paired by row.

    Args:
      path: of x's features, labels, names and extra arrays.
      names: of the arrays.
      text_path: of the second modality's features; empty: path, where names.text_values is given.

    Raises InvalidInput for whatever read_features does, and for unequal numbers of rows.
    """
    found = read_features(path, values=names.values, labels=names.labels, names=names.names)
    text = None
    if text_path or names.text_values:
        text = read_features(text_path or path, values=names.text_values).values
        if len(text) != len(found.values):
            raise InvalidInput(
                f"{text_path or path}: {len(text)} rows, but {path} has {len(found.values)}; "
                "pairs are by row"
            )
    extra = {name: read_column(path, name, len(found.values)) for name in names.extra}
    return FeatureSet(joined_branches(found.values, text), found.labels, found.names, extra)


def class_codes(labels: np.ndarray, classes: np.ndarray, where: str) -> np.ndarray:
    """Labels as int32 codes 0 to len(classes) - 1; classes are sorted.

    Raises InvalidInput for a label that is no class.
    """
    codes = np.searchsorted(classes, labels).clip(0, len(classes) - 1)
    strange = classes[codes] != labels
    if strange.any():
        row = int(np.argmax(strange))
        shown = ", ".join(map(str, classes[:8])) + (", ..." if len(classes) > 8 else "")
        raise InvalidInput(
            f"{where}: label {labels[row].item()!r} in row {row} is not allowed; use a class of "
            f"the source: {shown}"
        )
    return codes.astype(np.int32)


def stratified_split(labels: np.ndarray, shares: Sequence[float], seed: int) -> list[np.ndarray]:
    """Disjoint rows, of every class about these shares; the last part has the rest.

    Args:
      labels: `[n]`.
      shares: of each part but the last, in (0, 1), with a sum below 1.
      seed: of the shuffle.

    Example:
      >>> [len(part) for part in stratified_split(np.array([0, 1] * 10), [0.2, 0.3], 0)]
      [4, 6, 10]
    """
    rng = np.random.default_rng(seed)
    parts = [[] for _ in range(len(shares) + 1)]
    cuts = np.cumsum(shares)
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        ends = np.round(cuts * len(rows)).astype(int)
        for part, piece in zip(parts, np.split(rows, ends), strict=True):
            part.append(piece)
    return [np.sort(np.concatenate(part)) for part in parts]


def by_domain(features: FeatureSet, domain: str) -> dict[str, np.ndarray]:
    """`domain=value` -> its rows, in order of the values.

    Raises InvalidInput for a domain array that is no column, or has one value.
    """
    values = features.extra[domain]
    require(values.ndim == 1, "domains", f"{domain} {values.shape}", "an array of one axis")
    kinds = np.unique(values)
    require(len(kinds) > 1, "domains", domain, "an array of two or more different values")
    return {f"{domain}={kind}": np.flatnonzero(values == kind) for kind in kinds}


def remarks(x: np.ndarray) -> list[str]:
    """What is odd about features `[n, f]`, a line each; unmixing copes with it, users may not.

    Raises InvalidInput where all rows are alike.
    """
    told = []
    constant = (x == x[:1]).all(0)
    if constant.all():
        raise InvalidInput("features: all rows are alike; nothing can be told from them")
    columns = np.unique(x[:, ~constant], axis=1).shape[1]
    if constant.any():
        told.append(f"{int(constant.sum())} of {x.shape[1]} columns are constant")
    if columns < (~constant).sum():
        told.append(f"{int((~constant).sum()) - columns} columns repeat others")
    if len(x) <= x.shape[1]:
        told.append(f"{len(x)} rows determine at most {len(x) - 1} of {x.shape[1]} directions")
    return told

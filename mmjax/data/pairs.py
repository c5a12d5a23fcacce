"""Paired recordings: two data sets of one modality each, and how their rows pair."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mmjax.data.dataset import LABEL, Dataset, Labels
from mmjax.data.pair_ids import linked_groups


class PairedData(NamedTuple):
    """Two data sets and their pairing.

    No Dataset of pairs, for a side has rows of its own: each of them is judged once, however many
    partners it has, and those that pair by label have none. Training takes `datasets_of_pairs`.

    Attributes:
      x, t: the sides, of modality `x` and `t`. Labels are factors of the side alone and, where
        both sides share one, LABEL. Their groups are one recording or belong to one: what a split
        or a probe must not part (see linked_groups).
      partner: `[n_x]` int, the row of t that belongs to each row of x; None: pairs are drawn by
        label.
      name: of the data set; a side's is its own, such as its array's.
      remarks: sentences on how it was read that a report should have.
    """

    x: Dataset
    t: Dataset
    partner: np.ndarray | None
    name: str
    remarks: tuple[str, ...] = ()


def side_of(
    modality: str,
    values: np.ndarray,
    is_test: np.ndarray,
    *,
    labels: Mapping[str, Labels] | None = None,
    ids: Labels | None = None,
    name: str = "data",
) -> Dataset:
    """One side of pairs, features `[n, f]`.

    Args:
      modality: x or t.
      values: `[n, ...]` numbers.
      is_test: `[n]` bool; the other rows are trained on.
      labels: name -> `[n]`.
      ids: `[n]` of any sort; rows with one id are the same recording, an image with five captions.
        None: rows that hold the same values are.
      name: of the side.

    Raises InvalidInput as Dataset.from_arrays does.
    """
    data = Dataset.from_arrays(
        {modality: values},
        labels=labels,
        ids=ids,
        split=np.where(is_test, "test", "train"),
        kinds={modality: "features"},
        name=name,
    )
    return data._replace(remarks=())


def matrix_of(side: Dataset) -> np.ndarray:
    """`[n, f]` of the one modality of a side."""
    (column,) = side.columns.values()
    return np.asarray(column.values)


def paired(
    x: Dataset, t: Dataset, partner: np.ndarray | None, name: str, remarks: Sequence[str] = ()
) -> PairedData:
    """The pairs of two sides, in groups that their ids and pairs link; see PairedData."""
    of_x, of_t = linked_groups(x.ids[:, 0], t.ids[:, 0], partner)
    sides = x._replace(groups=of_x), t._replace(groups=of_t)
    return PairedData(*sides, partner, name, tuple(remarks))


class Modality(NamedTuple):
    """A side as it was before 0.3, which studies of pairs still take; see side_of for today's.

    Attributes:
      name: of the side.
      values: `[n, ...]` numbers.
      label: `[n]` what both sides share, or None.
      private: name -> `[n]` factors of this side alone.
      is_test: `[n]` bool.
      ids: see side_of.
    """

    name: str
    values: np.ndarray
    label: np.ndarray | None
    private: Mapping[str, np.ndarray]
    is_test: np.ndarray
    ids: Labels | None = None


def with_datasets(data: PairedData) -> PairedData:
    """The pairs, sides that are given as Modality turned into data sets."""
    if not any(isinstance(side, Modality) for side in (data.x, data.t)):
        return data
    x, t = _dataset("x", data.x), _dataset("t", data.t)
    return paired(x, t, data.partner, data.name, data.remarks)


def _dataset(modality: str, side: Dataset | Modality) -> Dataset:
    if isinstance(side, Dataset):
        return side
    shared = {} if side.label is None else {LABEL: side.label}
    labels = {**side.private, **shared}
    return side_of(modality, side.values, side.is_test, labels=labels, ids=side.ids, name=side.name)


def datasets_of_pairs(data: PairedData) -> tuple[Dataset, ...]:
    """Rows to train on: one Dataset of x and t, where pairs are by row; or both sides, which pair
    by LABEL."""
    if data.partner is None:
        return data.x, data.t
    x, t = data.x, data.t.take(data.partner)
    return (
        x._replace(
            columns={**x.columns, **t.columns},
            ids=np.concatenate([x.ids, t.ids], 1),
            name=data.name,
            remarks=data.remarks,
        ),
    )

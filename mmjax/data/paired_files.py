"""Paired data from a user's .npz, or from the digits that ship with scikit-learn."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mmjax.data.files.npz import read_arrays
from mmjax.data.pair_ids import (
    checked_split,
    linked_groups,
    parts_classes,
    random_split,
    straddling,
)
from mmjax.data.pairs import Modality, PairedData, encode_labels, ids_of
from mmjax.errors import InvalidInput, require
from mmjax.types import Pair

_CHECKED = 4096  # rows looked at together


class SideNames(NamedTuple):
    """Names of a modality's arrays in a file; empty strings mean there is none.

    Attributes:
      values: `[n, ...]` numeric.
      label: `[n]`, what both sides share.
      private: each `[n]`, factors of this side alone.
      is_test: `[n]` bool or 0/1.
      ids: `[n]`, equal where rows are the same recording; none: where they hold the same values.
    """

    values: str
    label: str = ""
    private: Sequence[str] = ()
    is_test: str = ""
    ids: str = ""


def digit_halves(test_share: float) -> PairedData:
    """The left and the right half of scikit-learn's 1797 handwritten digits (8 x 8 pixels).

    What both halves share is the digit (and the writer's hand); rows pair as they were written.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = digits.images.astype(np.float32)
    label = digits.target.astype(np.int32)
    side = lambda name, values: Modality(name, values, label, {}, None)
    data = PairedData(
        side("left", images[:, :, :4]),
        side("right", images[:, :, 4:]),
        partner=np.arange(len(images)),
        name="scikit-learn digits, left and right halves",
    )
    return _split(data, test_share, named=Pair(False, False))


def load_pairs(
    path: str, x: SideNames, t: SideNames, *, pairs: str, pair_index: str, test_share: float
) -> PairedData:
    """Reads paired data from an .npz.

    Args:
      path: the file.
      x, t: names of its arrays.
      pairs: index (row i of x belongs to row i of t, or to row pair_index[i]) or label.
      pair_index: name of an `[n_x]` int array of rows of t; empty: the same row.
      test_share: share of test rows where no is_test array is named. Rows that ids or pairs link
        stay together: no image has captions on both sides.

    Raises InvalidInput for whatever is wrong with names, lengths, numbers, labels or the split.
    """
    for flag, side in (("x", x), ("t", t)):
        require(bool(side.values), flag, side.values, "the name of an array in the file")
    if bool(x.label) != bool(t.label):
        raise InvalidInput("label_x, label_t: one is missing; name both or neither")
    columns = [c for s in (x, t) for c in (s.label, *s.private, s.is_test, s.ids)]
    names = [x.values, t.values, *filter(None, (*columns, pair_index))]
    arrays = read_arrays(path, names)
    labels = encode_labels(arrays[x.label], arrays[t.label]) if x.label else (None, None)
    sides = [_side(path, arrays, side, label) for side, label in zip((x, t), labels, strict=True)]
    partner = _partner(path, *sides, arrays, pairs, pair_index)
    data = PairedData(*sides, partner, path)
    return _split(data, test_share, named=Pair(bool(x.ids), bool(t.ids)))


def _side(path: str, arrays, names: SideNames, label: np.ndarray | None) -> Modality:
    values = arrays[names.values]
    for name in filter(None, (names.label, *names.private, names.is_test, names.ids)):
        _check_length(path, name, arrays[name], names.values, len(values))
    _check_values(path, names.values, values)
    is_test = checked_split(path, names.is_test, arrays[names.is_test]) if names.is_test else None
    ids = arrays[names.ids] if names.ids else None
    private = {name: encode_labels(arrays[name])[0] for name in names.private}
    return Modality(names.values, values, label, private, is_test, ids)


def _check_values(path: str, name: str, values: np.ndarray) -> None:
    """Numbers that float32 holds; reading has refused NaN and infinity."""
    if values.dtype.kind in "US":
        raise InvalidInput(f"{path}: array {name!r} holds text; use numbers")
    if values.size == 0:
        raise InvalidInput(f"{path}: array {name!r} has shape {values.shape}; use [n, features]")
    if values.dtype.kind != "f" or values.dtype.itemsize <= 4:
        return
    largest = np.finfo(np.float32).max
    for start in range(0, len(values), _CHECKED):
        part = values[start : start + _CHECKED]
        bad = np.argwhere(np.abs(part.reshape(len(part), -1)) > largest)
        if len(bad):
            row, column = bad[0]
            told = part.reshape(len(part), -1)[row, column]
            raise InvalidInput(
                f"{path}: array {name!r} holds {told:.3g} in row {start + row}, column {column}; "
                f"use numbers that float32 holds, up to {largest:.3g}"
            )


def _check_length(path, name, array, reference, n):
    if array.shape[0] != n or array.ndim != 1:
        raise InvalidInput(
            f"{path}: array {name!r} has shape {array.shape}; use ({n},) to go with {reference!r}"
        )


def _partner(path, x, t, arrays, pairs, pair_index) -> np.ndarray | None:
    require(pairs in ("index", "label"), "pairs", pairs, "index or label")
    n_x, n_t = len(x.values), len(t.values)
    if pairs == "label":
        require(x.label is not None, "pairs", pairs, "index, or name label_x and label_t")
        require(not pair_index, "pair_index", pair_index, "none where pairs are drawn by label")
        return None
    if not pair_index:
        if n_x != n_t:
            raise InvalidInput(
                f"{path}: {x.name!r} has {n_x} rows and {t.name!r} has {n_t}; pairs by index need "
                "equal lengths or a pair_index"
            )
        return np.arange(n_x)
    partner = arrays[pair_index]
    _check_length(path, pair_index, partner, x.name, n_x)
    if partner.dtype.kind not in "iu" or partner.min() < 0 or partner.max() >= n_t:
        raise InvalidInput(
            f"{path}: array {pair_index!r} must hold rows of {t.name!r}: 0 to {n_t - 1}"
        )
    return partner.astype(np.int64)


def _split(data: PairedData, test_share: float, *, named: Pair) -> PairedData:
    """Fills in masks that no array gave, checks those that one gave.

    Args:
      data: sides whose is_test may be None.
      test_share: of rows.
      named: whether the ids of x, of t were named in the file.
    """
    data, groups = _grouped(data, test_share, named)
    x, t, partner = data.x, data.t, data.partner
    if partner is not None:
        crossing = np.flatnonzero(t.is_test[partner] != x.is_test)
        if crossing.size:
            raise InvalidInput(
                f"{data.name}: row {crossing[0]} of {x.name!r} and its partner in {t.name!r} lie "
                "on different sides of the split"
            )
    for side in (x, t):
        if side.is_test.all() or not side.is_test.any():
            raise InvalidInput(
                f"{data.name}: the split leaves {side.name!r} no training or no test rows, of "
                f"{len(side.is_test)} in {len(np.unique(groups[side is t]))} groups"
            )
    sides = [(groups.x, x)] + ([(groups.t, t)] if partner is None else [])
    apart = sum(straddling(group, side.is_test) for group, side in sides)
    if apart:
        told = f"{apart} groups of rows that are one recording lie on both sides of the split."
        data = data._replace(remarks=(*data.remarks, told))
    return data


def _grouped(data: PairedData, test_share: float, named: Pair):
    """(data with both masks, groups of either side)."""
    x, t, partner = data.x, data.t, data.partner
    # What rows share, first by all that is known, then by what a user named and pairs alone.
    ids = Pair(ids_of(x), ids_of(t))
    own = [i if n else np.arange(len(i)) for i, n in zip(ids, named, strict=True)]
    known, sure = linked_groups(*ids, partner), linked_groups(*own, partner)
    if partner is not None and x.is_test is None and t.is_test is not None:
        x = x._replace(is_test=t.is_test[partner])
    sides, remarks = [], data.remarks
    for number, side in enumerate((x, t)):
        if side.is_test is None and number and partner is not None:
            is_test = np.zeros(len(t.values), bool)
            is_test[partner[sides[0].is_test]] = True
            side = side._replace(is_test=is_test)
        elif side.is_test is None:
            is_test = random_split(known[number], test_share)
            unsure = np.any(known[number] != sure[number])
            if unsure and parts_classes(known[number], is_test, side.label):
                is_test = random_split(sure[number], test_share)
                remarks += (
                    f"Rows of {side.name!r} or what they pair with repeat like classes: the split "
                    "keeps together what ids and pairs link, not what has equal contents.",
                )
            side = side._replace(is_test=is_test)
        sides.append(side)
    return data._replace(x=sides[0], t=sides[1], remarks=remarks), Pair(*known)

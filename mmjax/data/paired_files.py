"""Paired data from a user's .npz, or from the digits that ship with scikit-learn."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mmjax.data.dataset import LABEL, Dataset
from mmjax.data.files.checks import stripped, varied
from mmjax.data.files.npz import read_arrays
from mmjax.data.pair_ids import (
    alike,
    checked_split,
    content_ids,
    linked_groups,
    parts_classes,
    random_split,
    straddling,
)
from mmjax.data.pairs import PairedData, paired, side_of
from mmjax.errors import InvalidInput, require
from mmjax.labels import encode_labels
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


class _Side(NamedTuple):
    """A modality as read.

    Attributes:
      name: its array's name.
      values: `[n, ...]`.
      labels: name -> `[n]` int codes, what both sides share under LABEL.
      is_test: `[n]` bool; None where no array says it.
      ids: `[n]` int codes, equal where rows are the same recording.
      named: whether an array gave the ids, not contents.
    """

    name: str
    values: np.ndarray
    labels: dict[str, np.ndarray]
    is_test: np.ndarray | None
    ids: np.ndarray
    named: bool


def digit_halves(test_share: float) -> PairedData:
    """The left and the right half of scikit-learn's 1797 handwritten digits (8 x 8 pixels).

    What both halves share is the digit (and the writer's hand); rows pair as they were written.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = digits.images.astype(np.float32)
    side = lambda name, values: _Side(
        name, values, {LABEL: digits.target}, None, content_ids(values), False
    )
    halves = side("left", images[:, :, :4]), side("right", images[:, :, 4:])
    name = "scikit-learn digits, left and right halves"
    return _split(name, *halves, np.arange(len(images)), test_share)


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

    Labels and ids are read without the space around them. A label that has fractions on either side
    is a quantity on both. A row of t without a partner is on the side of its recording, and trained
    on where it has none.

    Raises InvalidInput for whatever is wrong with names, lengths, numbers, labels or the split. Two
    sides that are one are a remark.
    """
    for flag, side in (("x", x), ("t", t)):
        require(bool(side.values), flag, side.values, "the name of an array in the file")
        free = LABEL not in side.private or side.label in ("", LABEL)
        message = f"another name beside label_{flag}, for what both sides share is told as {LABEL}"
        require(free, f"private_{flag}", LABEL, message)
    if bool(x.label) != bool(t.label):
        raise InvalidInput("label_x, label_t: one is missing; name both or neither")
    columns = [c for s in (x, t) for c in (s.label, *s.private, s.is_test, s.ids)]
    names = [x.values, t.values, *filter(None, (*columns, pair_index))]
    arrays = {name: stripped(array) for name, array in read_arrays(path, names).items()}
    labels = _shared(path, arrays[x.label], arrays[t.label], pairs) if x.label else (None, None)
    of_x, of_t = (_side(path, arrays, s, label) for s, label in zip((x, t), labels, strict=True))
    partner = _partner(path, of_x, of_t, arrays, pairs, pair_index)
    data = _split(path, of_x, of_t, partner, test_share)
    if partner is not None and alike(of_x.values, of_t.values[partner]):
        message = f"{x.values!r} and {t.values!r} hold the same in every pair of rows: one modality"
        return data._replace(remarks=(*data.remarks, f"{message} twice"))
    return data


def _side(
    path: str, arrays: Mapping[str, np.ndarray], names: SideNames, label: np.ndarray | None
) -> _Side:
    values = arrays[names.values]
    for name in filter(None, (names.label, *names.private, names.is_test, names.ids)):
        _check_length(path, name, arrays[name], names.values, len(values))
    _check_values(path, names.values, values)
    is_test = checked_split(path, names.is_test, arrays[names.is_test]) if names.is_test else None
    ids = encode_labels(arrays[names.ids])[0] if names.ids else content_ids(values)
    labels = {name: _classes_or_quantities(arrays[name]) for name in names.private}
    labels |= {} if label is None else {LABEL: label}
    return _Side(names.values, values, labels, is_test, ids, bool(names.ids))


def _classes_or_quantities(column: np.ndarray) -> np.ndarray:
    """`[n]` int codes of classes; numbers with fractions as they are."""
    if column.dtype.kind == "f" and (column != np.round(column)).any():
        return column.astype(np.float64)
    return encode_labels(column)[0]


def _shared(
    path: str, x: np.ndarray, t: np.ndarray, pairs: str
) -> tuple[np.ndarray, np.ndarray] | list[np.ndarray]:
    """Labels of both sides: codes that agree, or quantities, which pair no rows."""
    columns = x, t
    # Whole numbers beside fractions are these rounded, not classes.
    fractions = [c for c in columns if _classes_or_quantities(c).dtype.kind == "f"]
    if not fractions or any(column.dtype.kind in "US" for column in columns):
        return encode_labels(x, t)
    if pairs == "label":
        some = fractions[0][fractions[0] != np.round(fractions[0])]
        raise InvalidInput(f"{path}: pairs are drawn by a label of classes, not {some[0]:.4g}")
    return x.astype(np.float64), t.astype(np.float64)


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
            value = part.reshape(len(part), -1)[row, column]
            raise InvalidInput(
                f"{path}: array {name!r} holds {value:.3g} in row {start + row}, column {column}; "
                f"use numbers that float32 holds, up to {largest:.3g}"
            )


def _check_length(path: str, name: str, array: np.ndarray, reference: str, n: int) -> None:
    if array.shape[0] != n or array.ndim != 1:
        raise InvalidInput(
            f"{path}: array {name!r} has shape {array.shape}; use ({n},) to go with {reference!r}"
        )


def _partner(
    path: str, x: _Side, t: _Side, arrays: Mapping[str, np.ndarray], pairs: str, pair_index: str
) -> np.ndarray | None:
    require(pairs in ("index", "label"), "pairs", pairs, "index or label")
    n_x, n_t = len(x.values), len(t.values)
    if pairs == "label":
        both = LABEL in x.labels and LABEL in t.labels
        require(both, "pairs", pairs, "index, or name label_x and label_t")
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


def _split(
    path: str, x: _Side, t: _Side, partner: np.ndarray | None, test_share: float
) -> PairedData:
    """Fills in masks that no array gave, checks those that one gave."""
    for side in (x, t):
        varied(side.values, side.name, path)
    masks, groups, remarks = _masks(x, t, partner, test_share)
    if partner is not None:
        crossing = np.flatnonzero(masks.t[partner] != masks.x)
        if crossing.size:
            raise InvalidInput(
                f"{path}: row {crossing[0]} of {x.name!r} and its partner in {t.name!r} lie "
                "on different sides of the split"
            )
    for side, is_test, group in zip((x, t), masks, groups, strict=True):
        if is_test.all() or not is_test.any():
            raise InvalidInput(
                f"{path}: the split leaves {side.name!r} no training or no test rows, of "
                f"{len(is_test)} in {len(np.unique(group))} groups"
            )
    if partner is None:
        apart = straddling(groups.x, masks.x) + straddling(groups.t, masks.t)
    else:  # numbers agree across sides: a group is counted once
        apart = straddling(np.concatenate(groups), np.concatenate(masks))
    if apart:
        message = f"{apart} groups of rows that are one recording lie on both sides of the split."
        remarks = [*remarks, message]
    of_x, of_t = (
        _dataset(key, side, is_test) for key, side, is_test in zip("xt", (x, t), masks, strict=True)
    )
    return paired(of_x, of_t, partner, path, remarks)


def _dataset(modality: str, side: _Side, is_test: np.ndarray) -> Dataset:
    values, known = side.values, side.labels
    data = side_of(modality, values, is_test, labels=known, ids=side.ids, name=side.name)
    # A Dataset takes whole floats for classes: here they are quantities of the other side's sort.
    quantities = {name: v for name, v in known.items() if v.dtype.kind == "f"}
    return data._replace(labels={**data.labels, **quantities})


def _masks(
    x: _Side, t: _Side, partner: np.ndarray | None, test_share: float
) -> tuple[Pair[np.ndarray], Pair[np.ndarray], list[str]]:
    """Test rows of either side, groups of either side, and remarks."""
    # What rows share, first by all that is known, then by what a user named and pairs alone.
    own_x, own_t = (side.ids if side.named else np.arange(len(side.ids)) for side in (x, t))
    known, sure = linked_groups(x.ids, t.ids, partner), linked_groups(own_x, own_t, partner)
    if partner is not None and x.is_test is None and t.is_test is not None:
        x = x._replace(is_test=t.is_test[partner])
    masks: list[np.ndarray] = []
    remarks = []
    for number, side in enumerate((x, t)):
        is_test = side.is_test
        if is_test is None and number and partner is not None:
            is_test = _with_recordings(partner, masks[0], known[1], t.ids)
        elif is_test is None:
            is_test = random_split(known[number], test_share)
            unsure = np.any(known[number] != sure[number])
            if unsure and parts_classes(known[number], is_test, side.labels.get(LABEL)):
                is_test = random_split(sure[number], test_share)
                remarks.append(
                    f"Rows of {side.name!r} or what they pair with repeat like classes: the split "
                    "keeps together what ids and pairs link, not what has equal contents."
                )
        masks.append(is_test)
    return Pair(*masks), Pair(*known), remarks


def _with_recordings(partner: np.ndarray, x_test: np.ndarray, *links: np.ndarray) -> np.ndarray:
    """Test rows `[n_t]` of t: partners of x's, and rows without a partner that belong to them.

    Args:
      partner, x_test: `[n_x]`.
      links: `[n_t]` int each, equal where rows belong together. One that has paired rows on both
        sides gives none to either: contents that are classes, or a mask that parts recordings.
    """
    is_test, alone = np.zeros(len(links[0]), bool), np.ones(len(links[0]), bool)
    is_test[partner[x_test]], alone[partner] = True, False
    for link in links:
        train = np.bincount(link, ~alone & ~is_test) > 0
        is_test |= alone & ((np.bincount(link, is_test) > 0) & ~train)[link]
    return is_test

"""Paired data from a user's .npz, or from the digits that ship with scikit-learn."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from sklearn.datasets import load_digits

from mmjax.data.npz import read_arrays
from mmjax.data.pairs import Modality, PairedData, encode_labels
from mmjax.errors import InvalidInput, require


class SideNames(NamedTuple):
    """Names of a modality's arrays in a file; empty strings mean there is none.

    Attributes:
      values: `[n, ...]` numeric.
      label: `[n]`, what both sides share.
      private: each `[n]`, factors of this side alone.
      is_test: `[n]` bool or 0/1.
    """

    values: str
    label: str = ""
    private: Sequence[str] = ()
    is_test: str = ""


def digit_halves(test_share: float) -> PairedData:
    """The left and the right half of scikit-learn's 1797 handwritten digits (8 x 8 pixels).

    What both halves share is the digit (and the writer's hand); rows pair as they were written.
    """
    digits = load_digits()
    images = digits.images.astype(np.float32)
    is_test = _random_split(len(images), test_share)
    label = digits.target.astype(np.int32)
    side = lambda name, values: Modality(name, values, label, {}, is_test)
    return PairedData(
        side("left", images[:, :, :4]),
        side("right", images[:, :, 4:]),
        partner=np.arange(len(images)),
        name="scikit-learn digits, left and right halves",
    )


def _random_split(n: int, test_share: float) -> np.ndarray:
    require(0 < test_share < 1, "test_share", test_share, "a number between 0 and 1")
    order = np.random.default_rng(0).permutation(n)
    is_test = np.zeros(n, bool)
    is_test[order[: max(1, int(round(test_share * n)))]] = True
    return is_test


def load_pairs(
    path: str, x: SideNames, t: SideNames, *, pairs: str, pair_index: str, test_share: float
) -> PairedData:
    """Reads paired data from an .npz.

    Args:
      path: the file.
      x, t: names of its arrays.
      pairs: index (row i of x belongs to row i of t, or to row pair_index[i]) or label.
      pair_index: name of an `[n_x]` int array of rows of t; empty: the same row.
      test_share: share of test rows where no is_test array is named.

    Raises InvalidInput for whatever is wrong with names, lengths, labels or the split.
    """
    optional = [x.label, t.label, *x.private, *t.private, x.is_test, t.is_test, pair_index]
    for flag, side in (("x", x), ("t", t)):
        require(bool(side.values), flag, side.values, "the name of an array in the file")
    arrays = read_arrays(path, [x.values, t.values, *(name for name in optional if name)])
    labels = {}
    if x.label and t.label:
        labels["x"], labels["t"] = encode_labels(arrays[x.label], arrays[t.label])
    elif x.label or t.label:
        raise InvalidInput("label_x, label_t: one is missing; name both or neither")
    sides = {}
    for key, side in (("x", x), ("t", t)):
        n = len(arrays[side.values])
        for name in filter(None, (side.label, *side.private, side.is_test)):
            _check_length(path, name, arrays[name], side.values, n)
        split = arrays[side.is_test].astype(bool) if side.is_test else None
        values = arrays[side.values]
        if values.dtype.kind in "US":
            raise InvalidInput(f"{path}: array {side.values!r} holds text; use numbers")
        sides[key] = Modality(
            side.values,
            values,
            labels.get(key),
            {name: encode_labels(arrays[name])[0] for name in side.private},
            split,
        )
    data = _paired(path, sides["x"], sides["t"], arrays, pairs, pair_index, test_share)
    for side in (data.x, data.t):
        if side.is_test.all() or not side.is_test.any():
            raise InvalidInput(
                f"{path}: the split leaves {side.name!r} no training or no test rows"
            )
    return data


def _check_length(path, name, array, reference, n):
    if array.shape[0] != n or array.ndim != 1:
        raise InvalidInput(
            f"{path}: array {name!r} has shape {array.shape}; use ({n},) to go with {reference!r}"
        )


def _paired(path, x, t, arrays, pairs, pair_index, test_share) -> PairedData:
    require(pairs in ("index", "label"), "pairs", pairs, "index or label")
    n_x, n_t = len(x.values), len(t.values)
    if pairs == "label":
        require(x.label is not None, "pairs", pairs, "index, or name label_x and label_t")
        x, t = (
            s
            if s.is_test is not None
            else s._replace(is_test=_random_split(len(s.values), test_share))
            for s in (x, t)
        )
        return PairedData(x, t, None, path)
    if pair_index:
        partner = arrays[pair_index]
        _check_length(path, pair_index, partner, x.name, n_x)
        if partner.dtype.kind not in "iu" or partner.min() < 0 or partner.max() >= n_t:
            raise InvalidInput(
                f"{path}: array {pair_index!r} must hold rows of {t.name!r}: 0 to {n_t - 1}"
            )
        partner = partner.astype(np.int64)
    else:
        if n_x != n_t:
            raise InvalidInput(
                f"{path}: {x.name!r} has {n_x} rows and {t.name!r} has {n_t}; pairs by index need "
                "equal lengths or a pair_index"
            )
        partner = np.arange(n_x)
    if x.is_test is None:
        x = x._replace(is_test=_random_split(n_x, test_share))
    if t.is_test is None:
        is_test = np.zeros(n_t, bool)
        is_test[partner[x.is_test]] = True
        t = t._replace(is_test=is_test)
    crossing = np.flatnonzero(t.is_test[partner] != x.is_test)
    if crossing.size:
        raise InvalidInput(
            f"{path}: row {crossing[0]} of {x.name!r} and its partner in {t.name!r} lie on "
            "different sides of the split"
        )
    return PairedData(x, t, partner, path)

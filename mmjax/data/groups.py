"""Which rows belong together, and the split that parts none of them."""

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any, NamedTuple

import numpy as np

from mmjax.data.columns import of_length
from mmjax.data.pair_ids import linked_groups
from mmjax.data.values import Lazy
from mmjax.errors import InvalidInput, require

SPLITS = ("train", "validation", "test")
PARTED = "a split may part"  # of a remark on rows that are not linked though they hold the same
Split = Sequence[float] | Sequence[str] | np.ndarray

_OFTEN = 8, 0.01  # rows, and share of them, beyond which equal contents may be a class ("a dog")
_FEWEST = 4  # groups below which equal contents are classes, not recordings
_TOO_LARGE = 0.2  # share of rows beyond which a group that nobody asked for is none
_PER_CLASS = 4  # contents a class of the labels, up to which they are how classes are described
_FEW_VALUES = 4  # different numbers in features up to which they are codes, as one-hot ones
_FEW_BITS = 16  # that rows may differ in, up to which they are alike by chance: an age, a price
_LOOKED_AT = 1000  # rows whose numbers are counted


class Linked(NamedTuple):
    """What links rows.

    Attributes:
      ids: `[n, k]` int; rows that agree in a column belong together.
      of: what names the columns.
      words: `[k]` whether contents of a column may name classes: see may_name_classes.
    """

    ids: np.ndarray
    of: Sequence[str]
    words: Sequence[bool | None]


def may_name_classes(kind: str, values: Any) -> bool | None:
    """Whether rows of equal contents, where many are equal, are of a class: True of text and of
    features that are codes or an age, False of pictures and sequences, which are recordings; None
    of other features, where labels tell: embeddings of images, or of the names of classes."""
    if kind == "text":
        return True
    if kind != "features":
        return False
    first = np.arange(min(_LOOKED_AT, values.shape[0]))
    some = values.read(first) if isinstance(values, Lazy) else np.asarray(values[first])
    some = some.reshape(len(first), -1)
    bits = 0.0
    for column in some.T:
        if bits > _FEW_BITS:
            break
        bits += np.log2(len(np.unique(column)))
    return True if bits <= _FEW_BITS or len(np.unique(some)) <= _FEW_VALUES else None


def names_recordings(kind: str, values: Any, counts: np.ndarray) -> bool:
    """Whether contents are recordings, though nobody says so: not where they name classes, as
    may_name_classes tells, and one is that of many rows; nor a number a row.

    Args:
      kind, values: of a Column.
      counts: `[k]` rows that hold each of the contents.
    """
    if kind == "features" and values.shape[1:] == (1,):
        return False
    often = counts.max() > max(_OFTEN[0], _OFTEN[1] * counts.sum())
    return not (often and may_name_classes(kind, values) is not False)


def linked_rows(
    linked: Linked,
    asked_groups: np.ndarray | None,
    labels: Sequence[np.ndarray] = (),
    *,
    asked: bool,
    whole: np.ndarray | None = None,
) -> tuple[np.ndarray, list[str]]:
    """Groups of rows that ids or the user's groups link, and what was not linked.

    Args:
      linked: ids.
      asked_groups: the user's groups `[n]`, or None.
      labels: classes `[n]` each, which tell embeddings of class names from those of images.
      asked: whether the ids are the user's, which always link; contents that are equal do unless
        they name classes, or that would link most rows.
      whole: `[n, j]` int, where rows that agree in all columns are equal in all that they hold.
    """
    ids, n, remarks = linked.ids, len(linked.ids), list[str]()
    group = np.arange(n) if asked_groups is None else asked_groups
    if asked:
        for column in ids.T:
            group, _ = linked_groups(group, column, np.arange(n))
        return np.asarray(group, np.int64), remarks
    if whole is not None:
        same = np.unique(whole, axis=0, return_inverse=True)[1].reshape(-1)
        group, remarks = _unless_most(group, same, asked_groups)
    classes = 0
    if labels:
        codes = [np.unique(values, return_inverse=True)[1].reshape(-1) for values in labels]
        classes = len(np.unique(np.stack(codes, 1), axis=0))
    for name, column, words in zip(linked.of, ids.T, linked.words, strict=True):
        counts = np.bincount(np.unique(column, return_inverse=True)[1].reshape(-1))
        few = words or (words is None and labels and len(counts) <= _PER_CLASS * classes)
        if few and counts.max() > max(_OFTEN[0], _OFTEN[1] * n):
            line = f"{counts.max()} rows hold the same {name}: a class, which {PARTED}"
            remarks.append(line)
            continue
        group, more = _unless_most(group, column, asked_groups)
        remarks += [line for line in more if line not in remarks]
    return np.asarray(group, np.int64), remarks


def _unless_most(
    start: np.ndarray, column: np.ndarray, asked_groups: np.ndarray | None
) -> tuple[np.ndarray, list[str]]:
    """Groups linked by a column, or those of before, and a line, where few or large are left."""
    n = len(column)
    group, _ = linked_groups(start, column, np.arange(n))
    few = len(np.unique(group)) < min(_FEWEST, len(np.unique(start)))
    large = np.bincount(group).max() > max(_OFTEN[0], _TOO_LARGE * n)
    if (few or large) and (
        few or asked_groups is None or np.bincount(asked_groups).max() <= _TOO_LARGE * n
    ):
        return start, [f"equal contents link most rows with each other: {PARTED} them"]
    return group, []


def groups_in_order(asked_groups: np.ndarray | None) -> np.ndarray:
    """The user's groups as they are, which hold all that belongs together already."""
    if asked_groups is None:
        raise InvalidInput("linked: True is not allowed; use groups, that are linked already")
    return np.asarray(asked_groups, np.int64)


def split_of(
    split: Split, group: np.ndarray, asked_groups: np.ndarray | None, seed: int, n: int
) -> np.ndarray:
    """`[n]` str of shares, or of names that are checked: see Dataset.from_arrays."""
    listed = split.tolist() if isinstance(split, np.ndarray) and len(split) == 3 else split
    if isinstance(listed, list | tuple):
        shares = [float(share) for share in listed if isinstance(share, Real)]
        if len(shares) == len(listed):
            return _by_shares(shares, group, seed, n)
    good = not isinstance(split, str | Mapping) and np.ndim(split) == 1
    require(good, "split", split, "three shares, or a list of " + ", ".join(SPLITS))
    where = of_length("split", np.asarray(split, np.str_), n)
    strange = np.setdiff1d(where, SPLITS)
    require(not strange.size, "split", list(map(str, strange[:3])), ", ".join(SPLITS))
    if asked_groups is not None:
        codes = np.array([SPLITS.index(name) for name in where])
        low, high = (
            np.full(asked_groups.max() + 1, len(SPLITS)),
            np.full(asked_groups.max() + 1, -1),
        )
        np.minimum.at(low, asked_groups, codes)
        np.maximum.at(high, asked_groups, codes)
        torn = int(np.sum(high > low))
        require(torn == 0, "split", f"one with {torn} groups in two parts", "whole groups")
    return where


def _by_shares(shares: Sequence[float], group: np.ndarray, seed: int, n: int) -> np.ndarray:
    good = len(shares) == 3 and min(shares) >= 0 and abs(sum(shares) - 1) < 1e-6
    require(good, "split", tuple(shares), "shares of train, validation and test that sum to 1")
    sizes = np.bincount(group)
    order = np.random.default_rng(seed).permutation(len(sizes))
    order = order[np.argsort(-sizes[order], kind="stable")]  # what is large finds its place first
    lack, part_of = np.array([share * n for share in shares]), np.zeros(len(sizes), int)
    empty = [part for part, share in enumerate(shares) if share * n >= 1]
    for left, place in zip(range(len(order), 0, -1), order, strict=True):
        # The last groups are for parts that have none yet.
        part = empty[0] if left <= len(empty) else int(np.argmax(lack))
        empty = [other for other in empty if other != part]
        part_of[place] = part
        lack[part] -= sizes[place]
    where = np.array(SPLITS)[part_of[group]]
    for name, share in zip(SPLITS, shares, strict=True):
        if share * n >= 1 and not np.any(where == name):
            message = f"{share} of {n} rows in {len(sizes)} groups"
            raise InvalidInput(
                f"split: {message} leaves {name} empty; use fewer parts or other groups"
            )
    return where

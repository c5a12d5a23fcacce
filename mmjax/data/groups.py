"""Which rows belong together, and the split that parts none of them."""

from collections.abc import Mapping, Sequence
from numbers import Real

import numpy as np

from mmjax.data.columns import of_length
from mmjax.data.pair_ids import linked_groups
from mmjax.errors import InvalidInput, require

SPLITS = ("train", "validation", "test")
Split = Sequence[float] | Sequence[str] | np.ndarray

_OFTEN = 8, 0.01  # rows, and share of them, beyond which equal contents are a class ("a dog")
_FEWEST = 4  # groups below which equal contents are classes, not recordings
_TOO_LARGE = 0.2  # share of rows beyond which a group that nobody asked for is none


def linked_rows(
    ids: np.ndarray, of: Sequence[str], asked_groups: np.ndarray | None, *, asked: bool, whole: bool
) -> tuple[np.ndarray, list[str]]:
    """Groups of rows that ids or the user's groups link, and what was not linked.

    Args:
      ids: `[n, k]` int.
      of: what names their columns.
      asked_groups: the user's groups `[n]`, or None.
      asked: whether the ids are the user's, which always link; contents that are equal do unless
        that would link most rows.
      whole: whether rows of equal ids are equal in all that they hold.
    """
    n, remarks = len(ids), list[str]()
    start = np.arange(n) if asked_groups is None else asked_groups
    if whole and not asked:
        same = np.unique(ids, axis=0, return_inverse=True)[1].reshape(-1)
        start, remarks = _unless_most(
            start, linked_groups(start, same, np.arange(n))[0], asked_groups
        )
    group = start
    for name, column in zip(of, ids.T, strict=True):
        often = np.bincount(np.unique(column, return_inverse=True)[1].reshape(-1)).max()
        if not asked and often > max(_OFTEN[0], _OFTEN[1] * n):
            remarks.append(f"{often} rows hold the same {name}: a class, which a split may part")
            continue
        group, _ = linked_groups(group, column, np.arange(n))
    if not asked:
        group, more = _unless_most(start, group, asked_groups)
        remarks += [line for line in more if line not in remarks]
    return np.asarray(group, np.int64), remarks


def _unless_most(
    start: np.ndarray, group: np.ndarray, asked_groups: np.ndarray | None
) -> tuple[np.ndarray, list[str]]:
    """The groups, or those of before, and a line, where few or large ones are left."""
    n = len(group)
    few = len(np.unique(group)) < min(_FEWEST, len(np.unique(start)))
    large = np.bincount(group).max() > max(_OFTEN[0], _TOO_LARGE * n)
    if (few or large) and (
        few or asked_groups is None or np.bincount(asked_groups).max() <= _TOO_LARGE * n
    ):
        return start, ["equal contents link most rows with each other: a split may part them"]
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

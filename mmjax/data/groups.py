"""Which rows belong together, and the split that parts none of them."""

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any, NamedTuple

import numpy as np

from mmjax.data.columns import of_length
from mmjax.data.pair_ids import content_keys, linked_groups
from mmjax.data.values import Lazy
from mmjax.errors import InvalidInput, counted, require

SPLITS = ("train", "validation", "test")
PARTED = "a split may part"  # of a remark on rows that are not linked though they hold the same
Split = Sequence[float] | Sequence[str] | np.ndarray

_OFTEN = 8, 0.01  # rows, and share of them, beyond which an equal text is a class ("a dog")
_FEWEST = 4  # groups below which equal contents are classes, not recordings
_TOO_LARGE = 0.2  # share of rows beyond which a group that nobody asked for is none
_PER_CLASS = 4  # texts a class of a label, up to which they are how its classes are described
_FEW_KINDS = 3  # contents of numbers, each of often as many rows, up to which they name nothing
_BY_CHANCE = 3  # times as often as independent columns, up to which rows are alike by chance
_OWN, _AXES = 0.6, 8  # share of contents that a column tells apart, in so many columns: vectors
_SCALE = 12  # values, of which hardly an answer has so many (0 to 10): pixels, embeddings in bytes
_NARROW, _UNLIKE = 3, 0.9  # columns that are enough where such a share of rows differ
_LOOKED_AT = 1000  # rows whose numbers are counted, drawn once for all
_FEW_STEPS = 32  # numbers of a sequence, up to which it may be answers: a diary, not a recording

# What contents of a column are: `texts`, which may name classes; `codes` and a `number`, which are
# alike by chance; `steps`, numbers of few values each, that may be answers, codes or coarse
# recordings; `recordings` (pictures, sounds); `vectors`, which stand for recordings, or for classes
# where labels say so.
SORTS = "texts", "codes", "number", "steps", "recordings", "vectors"
WORDS = "texts", "codes", "number", "steps"  # equal ones often are a class


class Contents(NamedTuple):
    """What links rows.

    Attributes:
      ids: `[n, k]` int; rows that agree in a column belong together.
      of: what names the columns.
      sorts: `[k]` of SORTS; None: the user's ids, which always link.
    """

    ids: np.ndarray
    of: Sequence[str]
    sorts: Sequence[str] | None


def sort_of(kind: str, values: Any) -> str:
    """What the contents of a Column of this kind and values are, one of SORTS."""
    n = 0 if kind == "text" else values.shape[0]
    if kind == "text" or n == 0:
        return "texts"
    if kind == "features" and values.shape[1:] == (1,):
        return "number"
    if isinstance(values, Lazy) and (values.tell is not None or values.same is None):
        return "vectors" if kind == "features" else "recordings"  # unread: files take long
    rows = np.sort(np.random.default_rng(0).permutation(n)[:_LOOKED_AT])
    read = np.asarray(values.read(rows) if isinstance(values, Lazy) else values[rows])
    some = read.reshape(len(rows), -1)
    if _by_chance(some):
        return "codes"
    if kind == "image" or (kind == "sequence" and some.shape[1] > _FEW_STEPS):
        return "recordings"
    kinds = len(set(content_keys(some)))
    tells = np.array([len(np.unique(column)) for column in some.T])  # so many values apart
    wide = np.sum(tells >= min(_OWN * kinds, _SCALE)) >= _AXES
    if wide or (np.sum(tells >= _OWN * kinds) >= _NARROW and kinds >= _UNLIKE * len(some)):
        return "vectors" if kind == "features" else "recordings"
    # A class a column, and perhaps one of none.
    return "codes" if np.all(np.count_nonzero(some, 1) <= 1) else "steps"


def _by_chance(rows: np.ndarray) -> bool:
    """Whether rows `[n, f]` are alike about as often as if each column were drawn by itself: an age
    and a sex, tags, one-hot classes. Copies of a recording are far more often."""
    keys = np.array(content_keys(rows))
    alike, chance = _alike(keys), 1.0
    if alike == 0:
        return False
    for column in rows.T:
        if alike > _BY_CHANCE * chance:
            return False
        chance *= _alike(column)
    return alike <= _BY_CHANCE * chance


def _alike(values: np.ndarray) -> float:
    """Share of pairs of values `[n]` that are equal."""
    counts = np.unique(values, return_counts=True)[1].astype(float)
    return float(np.sum(counts * (counts - 1)) / max(1, len(values) * (len(values) - 1)))


def tell_apart(codes: np.ndarray, sort: str) -> bool:
    """Whether rows of equal contents are one recording, or one class, and no negatives of each
    other: not where all are equal, nor of quantities, nor of numbers of two or three sorts, where a
    row would have next to no negatives.

    Args:
      codes: `[n]` int of contents, from n on where a row has none.
      sort: of SORTS.
    """
    here = codes[codes < len(codes)]
    kinds = len(np.unique(here))
    if sort == "texts":
        return kinds > 1
    return (kinds > _FEW_KINDS or len(here) <= _OFTEN[0] * kinds) and sort != "number"


def is_filler(rows: np.ndarray, n: int) -> np.ndarray:
    """Whether contents that so many `[k]` of n rows hold are of no recording: a blank."""
    return rows > max(_OFTEN[0], _TOO_LARGE * n)


def name_classes(codes: np.ndarray, sort: str, labels: Sequence[np.ndarray]) -> bool:
    """Whether equal contents are of a class by what a label says: each content has one class, and
    there are hardly more contents than classes.

    Args:
      codes: `[n]` int of contents.
      sort: of SORTS.
      labels: classes `[n]` each.
    """
    content = np.unique(codes, return_inverse=True)[1].reshape(-1)
    kinds = int(content.max()) + 1
    if kinds == len(content):  # nothing repeats: a label that is another in each row says nothing
        return False
    for values in labels:
        classes = np.unique(values, return_inverse=True)[1].reshape(-1)
        count = int(classes.max()) + 1
        one_each = len(np.unique(content.astype(np.int64) * count + classes)) == kinds
        if one_each and count > 1 and kinds <= (_PER_CLASS if sort == "texts" else 1) * count:
            return True
    return False


def linked_rows(
    contents: Contents,
    asked_groups: np.ndarray | None,
    labels: Sequence[np.ndarray] = (),
    *,
    whole: np.ndarray | None = None,
) -> tuple[np.ndarray, list[str]]:
    """Groups of rows that ids or the user's groups link, and what was not linked.

    Args:
      contents: ids of the user, or of contents, from n on where a row has none; those that are
        equal link rows unless they name classes, are alike by chance, or would link most rows.
      asked_groups: the user's groups `[n]`, or None.
      labels: classes `[n]` each, which tell embeddings of class names from those of images.
      whole: `[n, j]` int, where rows that agree in all columns are equal in all that they hold.
    """
    ids, n, remarks = contents.ids, len(contents.ids), list[str]()
    group = np.arange(n) if asked_groups is None else asked_groups
    if contents.sorts is None:
        for column in ids.T:
            group, _ = linked_groups(group, column, np.arange(n))
        return np.asarray(group, np.int64), remarks
    classes: list[str] = []
    if whole is not None:
        same = np.unique(whole, axis=0, return_inverse=True)[1].reshape(-1)
        if set(contents.sorts) <= set(WORDS):  # often alike, as classes are
            often = np.bincount(same)[same] > max(_OFTEN[0], _OFTEN[1] * n)
            if often.any():
                rows = np.bincount(same).max()
                classes = [f"{rows} rows hold the same of everything: a class, which {PARTED}"]
            same = np.where(often, n + np.arange(n), same)
        group, remarks = _unless_most(group, same, asked_groups)
    # Recordings first: it is words that are dropped where all would be too much, in any order.
    by = zip(contents.of, ids.T, contents.sorts, strict=True)
    for name, column, sort in sorted(by, key=lambda of: of[2] in WORDS):
        if sort == "number":
            continue
        here = column < n
        classes_here = [values[here] for values in labels]
        column = np.unique(column, return_inverse=True)[1].reshape(-1)
        rows = np.bincount(column)[column]
        often = rows > max(_OFTEN[0], _OFTEN[1] * n) if sort in WORDS else is_filler(rows, n)
        if sort == "codes" and not often.any():
            continue
        if sort == "recordings" and name_classes(column[here], sort, classes_here):
            remarks.append(
                f"each class of a label has one {name}: its rows stay together without ids="
            )
        elif sort == "codes" or name_classes(column[here], sort, classes_here):
            often = np.ones(n, bool)
        if often.any():
            parted = len(np.unique(column[often & (rows > 1)]))
            of = f"{parted} of {counted(len(np.unique(column[here])), 'content')}"
            up_to = f"in several rows, up to {rows.max()}"
            remarks.append(f"{name}: {of} {up_to}: taken for classes, which {PARTED}")
        column = np.where(often, n + np.arange(n), column)
        group, more = _unless_most(group, column, asked_groups)
        remarks += [line for line in more if line not in remarks]
    return np.asarray(group, np.int64), remarks or classes


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
    require(
        good, "split", tuple(shares), "three shares, of train, validation and test, that sum to 1"
    )
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

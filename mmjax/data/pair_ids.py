"""Which rows of paired data are one recording, which belong together, and splits that part none."""

import hashlib
from collections.abc import Iterable

import numpy as np

from mmjax.errors import InvalidInput, require

_AT_ONCE = 4096  # rows looked at together
_FEWEST = 5  # groups below which equal contents are classes, not recordings


def content_ids(values: np.ndarray) -> np.ndarray:
    """`[n, ...] -> [n]` int32: rows with equal values have one id, numbered as they come."""
    return ids_in_parts(
        values[start : start + _AT_ONCE] for start in range(0, len(values), _AT_ONCE)
    )


def ids_in_parts(parts: Iterable[np.ndarray]) -> np.ndarray:
    """content_ids of rows that come in parts, `[rows, ...]` each."""
    code: dict[bytes, int] = {}
    ids = [code.setdefault(key, len(code)) for part in parts for key in content_keys(part)]
    return np.array(ids, np.int32)


def content_keys(values: np.ndarray) -> list[bytes]:
    """`[n, ...]` -> n keys: rows with equal values have one."""
    part = np.ascontiguousarray(values)
    if part.dtype.kind == "f" or part.dtype.type.__module__ == "ml_dtypes":
        part = part + part.dtype.type(0)  # -0.0 is 0.0
    if part.dtype.kind == "f" and part.dtype.itemsize > 8:  # bytes in it mean nothing
        part = part.astype(np.float64)
    rows = part.reshape(len(part), -1)
    return [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in rows]


def alike(x: np.ndarray, t: np.ndarray) -> bool:
    """Whether two sides of pairs, `[n, ...]` each, hold the same row by row: they are one."""
    if x.shape != t.shape:
        return False
    starts = range(0, len(x), _AT_ONCE)
    return all(np.array_equal(x[k : k + _AT_ONCE], t[k : k + _AT_ONCE]) for k in starts)


def linked_groups(
    x_ids: np.ndarray, t_ids: np.ndarray, partner: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Groups of rows that ids and pairs link, directly or by others: connected components.

    Args:
      x_ids, t_ids: `[n_x]`, `[n_t]` int.
      partner: `[n_x]` rows of t; None: pairs link nothing, groups are the ids.

    Returns:
      (groups of x `[n_x]`, groups of t `[n_t]`) int64; with partner, numbers agree across sides.
    """
    if partner is None:
        return _in_order(x_ids), _in_order(t_ids)
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count = int(x_ids.max()) + 1
    total = count + int(t_ids.max()) + 1
    links = np.ones(len(x_ids), bool), (x_ids, count + t_ids[partner])
    _, group = connected_components(coo_array(links, shape=(total, total)), directed=False)
    joined = _in_order(group[np.concatenate([x_ids, count + t_ids])])
    return joined[: len(x_ids)], joined[len(x_ids) :]


def _in_order(codes: np.ndarray) -> np.ndarray:
    """The same groups, numbered as they first appear."""
    _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse.reshape(-1)].astype(np.int64)


def group_codes(group: np.ndarray | None, n: int) -> np.ndarray:
    """`[n]` ids from 0 without gaps; without groups each row is one of its own."""
    if group is None:
        return np.arange(n)
    return np.unique(np.asarray(group), return_inverse=True)[1].reshape(-1)


def random_split(groups: np.ndarray, test_share: float) -> np.ndarray:
    """Test rows `[n]` bool, whole groups in a fixed random order until the share is reached.

    A group that would go beyond the share stays in training, but for the smallest where all would.

    Raises InvalidInput for a share outside of (0, 1).
    """
    require(0 < test_share < 1, "test_share", test_share, "a number between 0 and 1")
    sizes = np.bincount(groups)
    wanted = max(1, int(round(test_share * len(groups))))
    chosen = np.zeros(len(sizes), bool)
    order = np.random.default_rng(0).permutation(len(sizes))
    for group in order:
        if sizes[group] <= wanted:
            chosen[group] = True
            wanted -= sizes[group]
    if not chosen.any() and len(sizes) > 1:
        chosen[order[np.argmin(sizes[order])]] = True
    return chosen[groups]


def parts_classes(groups: np.ndarray, is_test: np.ndarray, label: np.ndarray | None) -> bool:
    """Whether a split by groups of equal contents parts classes, not recordings: hardly any groups,
    or classes that no training row has for most test rows; a rare one may be missing by chance."""
    few = groups.max() + 1 < min(_FEWEST, len(groups))
    if few or label is None or label.dtype.kind == "f":
        return bool(few)
    return bool(np.mean(~np.isin(label[is_test], label[~is_test])) > 0.5)


def straddling(groups: np.ndarray, is_test: np.ndarray) -> int:
    """How many groups have rows on both sides of a split."""
    test = np.bincount(groups, is_test) > 0
    train = np.bincount(groups, ~is_test) > 0
    return int((test & train).sum())


def checked_split(path: str, name: str, column: np.ndarray) -> np.ndarray:
    """A mask of test rows `[n]` as bool.

    Raises InvalidInput where it holds anything but True and False, or 0 and 1.
    """
    if column.dtype.kind not in "biuf" or not np.isin(column, (0, 1)).all():
        strange = column[~np.isin(column, (0, 1))] if column.dtype.kind in "biuf" else column
        raise InvalidInput(
            f"{path}: array {name!r} holds {strange[0].item()!r}; use a mask of test rows, bool or "
            "0 and 1"
        )
    return column.astype(bool)

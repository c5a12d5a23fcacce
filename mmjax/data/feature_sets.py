"""Labelled features as experiments take them: branches, codes, splits, groups, domains."""

from collections.abc import Sequence
from typing import NamedTuple

import ml_dtypes
import numpy as np

from mmjax.data.dataset import LABEL, is_classes
from mmjax.data.exports import PAIR_LIST
from mmjax.data.feature_rows import FeatureSet, Stored, feature_rows
from mmjax.data.features import LABELS, NAMES, open_arrays, read_column, read_features
from mmjax.data.files.checks import label_column
from mmjax.data.groups import Contents, linked_rows, sort_of
from mmjax.data.pair_ids import content_ids, group_codes, linked_groups
from mmjax.data.scaling import features_in_float32, offsets_of
from mmjax.errors import InvalidInput, require
from mmjax.labels import encode_labels

_FLAGS = "features", "text"
_AT_ONCE = 4096  # rows looked at together
_SIDES = {"x": "values", "t": "text values"}  # as a line on their rows calls them


class FeatureNames(NamedTuple):
    """Which arrays of a file are what, apart: no features; where empty, see read_features."""

    values: str = ""
    labels: str = ""
    names: str = ""
    text_values: str = ""
    extra: tuple[str, ...] = ()
    split: str = ""
    group: str = ""
    apart: tuple[str, ...] = ()


def branches_of(
    features: FeatureSet, sizes: Sequence[float] | None = None
) -> dict[str, np.ndarray]:
    """joined_branches of the sides; sizes: None for those of the set."""
    return features._replace(sizes=sizes).branches if sizes is not None else features.branches


def read_feature_set(
    path: str,
    names: FeatureNames,
    text_path: str = "",
    *,
    flags: tuple[str, str] = _FLAGS,
    beside: FeatureSet | None = None,
) -> FeatureSet:
    """Reads one file, or two that are paired by row.

    A row of two files is of their encoders' training rows where it is in either; rows are of one
    group where they are in either.

    Args:
      path: of x's features, labels, names and extra arrays.
      names: of the arrays.
      text_path: of the second modality's features; empty: path, where names.text_values is given.
      flags: what the two paths are called in a refusal of them.
      beside: the rows that these are compared with, whose offsets are taken off these too, where
        both have as many columns. None: these have offsets of their own (see features_in_float32).

    Raises InvalidInput for whatever read_features does, for unequal numbers of rows, where labels,
    names or pairs that both files hold are others in the same row, and for values that float32
    does not hold in the units of the rows beside.
    """
    protected = dict(split=names.split, group=names.group)
    apart = (*names.apart, *names.extra)
    result = read_features(
        path,
        values=names.values,
        labels=names.labels,
        names=names.names,
        apart=apart,
        flag=flags[0],
        **protected,
    )
    rows, n = result.rows, result.rows.num_rows
    sides, split, groups = result.sides(), rows.split, rows.groups
    if text_path or names.text_values:
        other_path = text_path or path
        apart = (*apart, *filter(None, (names.labels, names.names)))
        other = read_features(
            other_path, values=names.text_values, apart=apart, flag=flags[1], **protected
        ).rows
        if other.num_rows != n:
            raise InvalidInput(
                f"{other_path}: {other.num_rows} rows, but {path} has {n}; pairs are by row"
            )
        if other_path != path:
            of_rows = [names.labels, *LABELS, PAIR_LIST]
            _check_paired(path, other_path, of_rows, [names.names, *NAMES])
        sides["t"] = np.asanyarray(other.columns["x"].values)
        split = _trained_in_either(split, other.split)
        groups = _grouped_in_either(groups, other.groups)
    extra = {name: read_column(path, name, n) for name in names.extra}
    known = beside.stored.offsets if beside is not None and beside.stored is not None else {}
    offsets = {
        side: known[side]
        if side in known and len(known[side].lost) == values.shape[1]
        else offsets_of(values)
        for side, values in sides.items()
    }
    near = {side: features_in_float32(v, offsets[side]) for side, v in sides.items()}
    far = [s for s in sides if offsets[s].lost.any() and not np.isfinite(near[s]).all()]
    if far and beside is not None:
        raise InvalidInput(
            f"{path}: features are beyond float32 in the unit of {beside.rows.name}; use one unit "
            "for both"
        )
    options = dict(labels=rows.labels.get(LABEL), split=split, group=groups)
    stored = Stored(sides, np.arange(n), offsets)
    rows = feature_rows(near, **options, name=path)
    return FeatureSet(rows, result.names, extra, stored=stored)


def _check_paired(path: str, beside: str, told: Sequence[str], named: Sequence[str]) -> None:
    """Raises InvalidInput where an array of a name told differs in a row between the files, or one
    of those named has the same values in another order: each side may have names of its own."""
    one, other = open_arrays(path), open_arrays(beside)
    for name in dict.fromkeys([*told, *named]):
        if name not in one or name not in other:
            continue
        a, b = np.asarray(one[name]()), np.asarray(other[name]())
        if a.ndim != 1 or a.shape != b.shape or "O" in (a.dtype.kind, b.dtype.kind):
            continue
        codes = encode_labels(a, b)
        if name not in told and not np.array_equal(np.sort(codes[0]), np.sort(codes[1])):
            continue
        if (apart := codes[0] != codes[1]).any():
            row = int(np.argmax(apart))
            raise InvalidInput(
                f"{beside}: {name} is {b[row].item()!r} in row {row}, {path} has "
                f"{a[row].item()!r} there ({int(apart.sum())} of {len(a)} rows differ); pairs are "
                "by row: use one order in both"
            )


def with_linked_rows(features: FeatureSet) -> tuple[FeatureSet, list[str]]:
    """Rows that hold the same on a side in one group, which no split parts, and lines that count
    them: an image of several captions is on one side of a split."""
    rows, n = features.rows, features.rows.num_rows
    sides = features.sides()
    ids = np.stack([content_ids(np.asarray(v)) for v in sides.values()], 1)
    again = np.ones(ids.shape, bool)
    for column, seen in zip(ids.T, again.T, strict=True):
        seen[np.unique(column, return_index=True)[1]] = False
    if not (repeats := int(again.any(1).sum())):
        return features, []
    given = group_codes(rows.groups, n)
    of = [_SIDES.get(side, side) for side in sides]
    sorts = [sort_of("features", values) for values in sides.values()]
    labels = [values for values in rows.labels.values() if is_classes(values)]
    groups, lines = linked_rows(Contents(ids, of, sorts), given, labels, whole=ids)
    if np.array_equal(group_codes(groups, n), given):
        return features, lines
    what = "what others hold" + (" in a modality" if len(sides) > 1 else "")
    line = f"{repeats} rows hold {what}; each stays on one side of a split with them"
    return features._replace(rows=rows._replace(groups=groups)), [line, *lines]


def repeats_in(features: FeatureSet, *others: FeatureSet) -> int:
    """How many rows hold on a side what a row of the others holds there, as far as the coarser
    of their files tells rows apart: a copy in half precision is one."""
    result = np.zeros(features.rows.num_rows, bool)
    for part in others:
        for side in features.sides():
            known, values = _as_coarse(part, features, side)
            ids = content_ids(np.concatenate([known, values]))
            result |= np.isin(ids[len(known) :], ids[: len(known)])
    return int(result.sum())


def _as_coarse(a: FeatureSet, b: FeatureSet, side: str) -> tuple[np.ndarray, np.ndarray]:
    """The rows of both in one dtype: of files of two dtypes the coarser one."""
    stored = [part.stored for part in (a, b) if part.stored is not None]
    dtypes = [_grain(each.sides[side]) for each in stored]
    if len(dtypes) < 2 or dtypes[0] == dtypes[1]:
        return a.sides()[side], b.sides()[side]
    coarse = min(dtypes, key=lambda dtype: ml_dtypes.finfo(dtype).nmant)
    rows = [each.sides[side][each.rows] for each in stored]
    with np.errstate(over="ignore"):
        # bfloat16 by way of float32, as files of it are made.
        one, other = (v if coarse == np.float16 else v.astype(np.float32) for v in rows)
        return one.astype(coarse), other.astype(coarse)


def _grain(values: np.ndarray) -> np.dtype:
    """The dtype of `[n, f]`; bfloat16, which NumPy has not, is read as float32 of its values."""
    short = np.dtype(ml_dtypes.bfloat16)
    if values.dtype != np.float32 or any(
        (part.astype(short).astype(np.float32) != part).any()
        for part in (values[k : k + _AT_ONCE] for k in range(0, len(values), _AT_ONCE))
    ):
        return values.dtype
    return values.dtype if (values == np.round(values)).all() else short  # whole: of any dtype


def _trained_in_either(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    seen = [np.where((a == part) | (b == part), part, "") for part in ("train", "validation")]
    return np.where(seen[0] != "", seen[0], np.where(seen[1] != "", seen[1], "test"))


def _grouped_in_either(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Rows that share an id on a side are of one group, and so on from row to row."""
    every = np.arange(len(a))
    for one, other in ((a, b), (b, a)):
        if np.array_equal(one, every):  # no side says anything of its groups, or the other one does
            return other
    return linked_groups(a, b, every)[0]


class Unseen(NamedTuple):
    """Rows that may be judged.

    Attributes:
      features: these.
      remark: how many they are and how many were left out; empty where none was.
      trained: whether an encoder was fitted on some of them.
    """

    features: FeatureSet
    remark: str
    trained: bool


def unseen_rows(features: FeatureSet, use_trained: bool) -> Unseen:
    """The rows that no encoder was fitted on.

    Args:
      features: as read.
      use_trained: all rows are taken, which is said.

    Raises InvalidInput where fewer than two rows are left.
    """
    trained, n = features.rows.split == "train", features.rows.num_rows
    where, count = features.rows.name, int(trained.sum())
    if not count:
        return Unseen(features, "", False)
    if use_trained:
        message = f"{count} of {n} rows are those that their encoder was trained on"
        return Unseen(features, f"{where}: TRAINED ROWS, {message} (--use_trained_rows)", True)
    if n - count < 2:
        raise InvalidInput(
            f"{where}: {count} of {n} rows are of split train, which their encoder was fitted on; "
            "use rows that it has not seen, or --use_trained_rows"
        )
    message = f"{where}: {n - count} of {n} rows used, {count} left out"
    message = f"{message} that their encoder was trained on"
    return Unseen(features.take(~trained), message, False)


def outside_groups(features: FeatureSet, *fitted: FeatureSet) -> FeatureSet:
    """The rows of groups that none of the others' rows belong to."""
    seen = [part.rows.groups for part in fitted]
    return features.take(~np.isin(features.rows.groups, np.concatenate(seen)))


def class_codes(labels: np.ndarray, classes: np.ndarray, where: str) -> np.ndarray:
    """Labels as int32 codes 0 to len(classes) - 1, equal as encode_labels has it: 1, 1.0 and "1".

    Args:
      labels: `[n]` of any dtype.
      classes: different ones.
      where: the labels' file, for messages.

    Raises InvalidInput for a label that is no class.
    """
    known, given = encode_labels(classes, label_column(labels, "labels", where))
    code_of = np.full(max(known.max(initial=0), given.max(initial=0)) + 1, -1, np.int32)
    code_of[known] = np.arange(len(known))
    codes = code_of[given]
    strange = codes < 0
    if strange.any():
        row = int(np.argmax(strange))
        shown = ", ".join(map(str, classes[:8])) + (", ..." if len(classes) > 8 else "")
        raise InvalidInput(
            f"{where}: label {labels[row].item()!r} in row {row} is not allowed; use a class of "
            f"the source: {shown}"
        )
    return codes


def stratified_split(
    labels: np.ndarray, shares: Sequence[float], seed: int, groups: np.ndarray | None = None
) -> list[np.ndarray]:
    """Disjoint rows, of every class about these shares; the last part has the rest.

    Args:
      labels: `[n]`.
      shares: of each part but the last, in (0, 1), with a sum below 1.
      seed: of the shuffle.
      groups: `[n]` ids; each group is in one part whole, those of several classes by themselves.

    Example:
      >>> [len(part) for part in stratified_split(np.array([0, 1] * 10), [0.2, 0.3], 0)]
      [4, 6, 10]
    """
    rng, cuts = np.random.default_rng(seed), np.cumsum(shares)
    codes, strata = group_codes(groups, len(labels)), np.unique(labels, return_inverse=True)[1]
    sizes = np.bincount(codes)
    low, high = np.full(len(sizes), strata.max()), np.zeros(len(sizes), int)
    np.minimum.at(low, codes, strata)
    np.maximum.at(high, codes, strata)
    stratum, part_of = np.where(low == high, low, strata.max() + 1), np.zeros(len(sizes), int)
    for kind in np.unique(stratum):
        members = rng.permutation(np.flatnonzero(stratum == kind))
        ends = np.cumsum(sizes[members])
        # A group goes where its middle row would: groups of one row are cut at round(cut * n).
        middles = ends - (sizes[members] + 1) / 2
        part_of[members] = np.searchsorted(np.round(cuts * ends[-1]), middles, side="right")
    return [np.flatnonzero(part_of[codes] == part) for part in range(len(shares) + 1)]


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
    lines = []
    constant = (x == x[:1]).all(0)
    if constant.all():
        raise InvalidInput("features: all rows are alike; nothing can be told from them")
    columns = np.unique(x[:, ~constant], axis=1).shape[1]
    if constant.any():
        lines.append(f"{int(constant.sum())} of {x.shape[1]} columns are constant")
    if columns < (~constant).sum():
        lines.append(f"{int((~constant).sum()) - columns} columns repeat others")
    if len(x) <= x.shape[1]:
        lines.append(f"{len(x)} rows determine at most {len(x) - 1} of {x.shape[1]} directions")
    return lines

"""A data set of k modalities: what protects a row (split, group, ids, presence) travels with it."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mmjax.data.columns import (
    Column,
    column_of,
    of_length,
    of_objects,
    presence,
    rows_of,
    some_present,
)
from mmjax.data.files.checks import check_finite, label_column, plain
from mmjax.data.groups import (
    SPLITS,
    Contents,
    Split,
    groups_in_order,
    linked_rows,
    sort_of,
    split_of,
    tell_apart,
)
from mmjax.data.pair_ids import content_ids
from mmjax.data.values import Lazy, taken
from mmjax.errors import InvalidInput, choose, counted, require, whole
from mmjax.labels import encode_labels

LABEL = "label"  # of classes, in data sets that have one label a row
Labels = Sequence[Any] | np.ndarray


class Dataset(NamedTuple):
    """Rows of modalities that belong together, and what must not be forgotten about them.

    Attributes:
      columns: name -> Column, in the user's order; `[n]` rows each.
      labels: name -> `[n]` int64, float64 or text. Whole numbers (of any dtype), bools and text
        are classes; a column with fractions is quantities.
      groups: `[n]` int64; rows of one group lie in one split and one part of a probe.
      split: `[n]` str, one of SPLITS.
      ids: `[n, k]` int32; rows that agree in a column are the same recording: no negatives of each
        other, and hits of each other in retrieval.
      present: name -> `[n]` bool, of modalities that some rows lack; what stands there is ignored.
      name: of the data, for reports.
      remarks: sentences on how it was read that a report should have.
      files: `[n]` str, of rows that were read from files the file of each; None of others.
    """

    columns: Mapping[str, Column]
    labels: Mapping[str, np.ndarray]
    groups: np.ndarray
    split: np.ndarray
    ids: np.ndarray
    present: Mapping[str, np.ndarray]
    name: str = "data"
    remarks: tuple[str, ...] = ()
    files: np.ndarray | None = None

    @classmethod
    def from_arrays(
        cls,
        /,
        modalities: Mapping[str, Any] | None = None,
        *,
        labels: Mapping[str, Labels] | None = None,
        groups: Labels | None = None,
        split: Split = (0.8, 0.1, 0.1),
        ids: Labels | Mapping[str, Labels] | None = None,
        present: Mapping[str, Sequence[bool] | np.ndarray] | None = None,
        lengths: Mapping[str, Sequence[int] | np.ndarray] | None = None,
        kinds: Mapping[str, str] | None = None,
        linked: bool = False,
        seed: int = 0,
        name: str = "data",
        remarks: Sequence[str] = (),
        **more: Any,
    ) -> "Dataset":
        """A data set of arrays in memory (or Lazy ones in files).

        Args:
          modalities: name -> rows; or give them as keywords: `image=..., text=...`. Rows are an
            array of features `[n, f]`, of sequences `[n, length, f]`, of images (uint8 `[n, h, w]`
            or `[n, h, w, c]`, or floats `[n, h, w, c]`), a list of strings, a list of lists of
            strings (captions of one image: training draws one a step, evaluation takes the
            first), a list of sequences `[length_i, f]` of different lengths, or Lazy.
          labels: name -> `[n]`; never seen in training but by losses of labels.
          groups: `[n]` of any sort: rows of a group lie on one side of every split.
          split: shares of train, validation and test, or `[n]` names of them.
          ids: `[n]` of any sort, or name -> `[n]`: equal ids are the same recording. Without, rows
            that hold equal values in a modality are.
          present: name -> `[n]` bool: False where a row lacks the modality. None in a list of
            strings or sequences says the same.
          lengths: name -> `[n]` steps of a sequence, or `[n, length]` bool; what is behind them is
            padding.
          kinds: name -> kind, where shape and dtype don't say it: a uint8 `[n, h, w]` that is a
            sequence; of a label `text`, where "nan" is the name of a class.
          linked: whether groups hold all that belongs together already, as an export's do: then
            ids link nothing more.
          seed: of the split by shares.
          name, remarks: see Dataset.
          more: modalities as keywords.

        Raises InvalidInput, naming the modality or column, for what is no such array, NaN and
        infinity (but where a modality is absent or padding), unequal numbers of rows, and a split
        that parts a group or leaves a part empty that was asked for.

        Example:
          >>> import numpy as np
          >>> words = [f"word {k}" for k in range(10)]
          >>> print(Dataset.from_arrays(x=np.eye(10), word=words, split=(0.8, 0, 0.2)))
          data: 10 rows (8 train, 0 validation, 2 test) of x features [10], word text
        """
        _check_mappings(modalities=modalities, labels=labels, kinds=kinds, lengths=lengths)
        _check_mappings(present=present)
        whole("seed", seed, 0)
        require(isinstance(linked, bool), "linked", linked, "True or False")
        require(isinstance(name, str), "name", type(name).__name__, "text: a modality has another")
        twice = [key for key in more if key in (modalities or {})]
        require(not twice, "modalities", twice, "each name once")
        given = dict(modalities or {}) | more
        require(bool(given), "modalities", (), "one or more")
        kinds, lengths, shown = dict(kinds or {}), dict(lengths or {}), dict(present or {})
        words = {k for k in labels or () if k not in given and kinds.get(k) == "text"}
        for argument, named in (("kinds", kinds), ("lengths", lengths), ("present", shown)):
            for key in named:
                known = key in given or (argument == "kinds" and key in words)
                require(known, argument, key, "names of modalities: " + ", ".join(given))
        columns: dict[str, Column] = {}
        absent: dict[str, np.ndarray] = {}
        n = 0
        for key, rows in given.items():
            rows = rows.to_numpy() if hasattr(rows, "to_numpy") else rows  # of a table
            n = n if columns else rows_of(key, rows)
            require(n >= 1, f"rows of {key}", n, "one or more")
            allowed = f"{n}, as many as {next(iter(given))} has"
            require(rows_of(key, rows) == n, f"rows of {key}", rows_of(key, rows), allowed)
            mask = presence(key, rows, shown.get(key), n)
            columns[key] = column_of(key, rows, kinds.get(key), lengths.get(key), mask)
            if not mask.all():
                absent[key] = mask
        some_present(absent, columns, n)
        codes, of = _ids(columns, absent, ids, n)
        kept = {k: _labels(k, values, n, k in words) for k, values in (labels or {}).items()}
        asked_groups = None if groups is None else _codes("groups", groups, n)
        notes = [f"{key} is the same in all rows" for key in _constant(of, codes)]
        whole_rows = codes if ids is None and set(of) == set(columns) else None
        sorts = None
        if ids is None:
            every = {key: sort_of(columns[key].kind, columns[key].values) for key in columns}
            codes, of = _telling(codes, of, every)
            sorts = [every.get(key, "texts") for key in of]
        if linked:
            group = groups_in_order(asked_groups)
        else:
            classes = [values for values in kept.values() if is_classes(values)]
            by = Contents(codes, of, sorts)
            group, unlinked = linked_rows(by, asked_groups, classes, whole=whole_rows)
            notes += unlinked
        where = split_of(split, group, asked_groups, seed, n)
        return cls(columns, kept, group, where, codes, absent, name, (*remarks, *notes))

    @property
    def num_rows(self) -> int:
        """n."""
        return len(self.split)

    def take(self, rows: np.ndarray | slice) -> "Dataset":
        """Some rows, by numbers, a mask or a slice; their columns go with them."""
        chosen = np.arange(self.num_rows)[rows]

        def values(v):
            return taken(v, chosen) if isinstance(v, Lazy) else v[chosen]

        pick = lambda v: None if v is None else v[chosen]
        columns = {
            key: Column(values(c.values), c.kind, pick(c.seen), pick(c.others))
            for key, c in self.columns.items()
        }
        some = lambda of: {key: v[chosen] for key, v in of.items()}
        return self._replace(
            columns=columns,
            labels=some(self.labels),
            groups=self.groups[chosen],
            split=self.split[chosen],
            ids=self.ids[chosen],
            present={k: v for k, v in some(self.present).items() if not v.all()},
            files=pick(self.files),
        )

    def part(self, *names: str) -> "Dataset":
        """The rows of these splits: `data.part("test")`."""
        for name in names:
            require(name in SPLITS, "part", name, ", ".join(SPLITS))
        return self.take(np.isin(self.split, names))

    def only(self, *names: str) -> "Dataset":
        """All rows of some modalities."""
        columns = {name: choose(dict(self.columns), "modality", name) for name in names}
        present = {k: v for k, v in self.present.items() if k in columns}
        return self._replace(columns=columns, present=present)

    def also_by(self, ids: Labels) -> "Dataset":
        """Rows of equal ids `[n]` are the same recording too; groups and split are as they were."""
        codes = encode_labels(of_length("ids", ids, self.num_rows))[0]
        return self._replace(ids=np.column_stack([self.ids, codes]).astype(np.int32))

    @property
    def summary(self) -> str:
        """Rows, parts and modalities, in a line."""
        counts = ", ".join(f"{int(np.sum(self.split == s))} {s}" for s in SPLITS)
        message = ", ".join(f"{key} {_shape(column)}" for key, column in self.columns.items())
        groups = len(np.unique(self.groups))
        # What is equal, or was asked for, is on one side of a split.
        linked = (
            ""
            if groups == self.num_rows
            else f" in {counted(groups, 'group')} of what is equal or linked"
        )
        return f"{self.name}: {counted(self.num_rows, 'row')}{linked} ({counts}) of {message}"

    def __str__(self) -> str:
        return "\n".join([self.summary, *(f"  {line}" for line in self.remarks)])


def _shape(column: Column) -> str:
    if column.kind == "text":
        most = 1 + max(map(len, [] if column.others is None else column.others), default=0)
        return "text" if most == 1 else f"text, up to {most} a row"
    return f"{column.kind} [{', '.join(map(str, column.values.shape[1:]))}]"


def is_classes(values: np.ndarray) -> bool:
    """Whether labels are classes: whole numbers, bools and text; floats are quantities."""
    return values.dtype.kind != "f"


def _labels(name: str, values: Any, n: int, words: bool) -> np.ndarray:
    """words: whether `nan` is the name of a class."""
    said = f"labels {name}"
    column = plain(of_objects(said, of_length(said, values, n)), name, "labels")
    if column.ndim == 1 and column.dtype.kind == "U":
        empty = np.flatnonzero(np.char.strip(column) == "")
        if empty.size:
            message = f"{said}: row {empty[0]} has an empty text, which names nothing"
            raise InvalidInput(f"{message}; leave such rows out")
        lacking = np.flatnonzero(np.char.lower(np.char.strip(column)) == "nan")
        if lacking.size and not words:
            message = f"{said}: row {lacking[0]} has {str(column[lacking[0]])!r}, which stands for"
            advice = f"leave such rows out, or kinds={{{name!r}: 'text'}} where it names a class"
            raise InvalidInput(f"{message} a value that is missing; {advice}")
    if column.ndim == 1 and column.dtype.kind == "f" and not _are_whole(column):
        try:
            check_finite(said, column)
        except InvalidInput as error:
            raise InvalidInput(f"{error}; leave such rows out") from error
        return column.astype(np.float64)
    return label_column(column, name, "labels")


def _are_whole(column: np.ndarray) -> bool:
    """Whether floats are whole numbers; beyond 2^53 all are, and say nothing by it."""
    column = column.astype(np.float64)
    return bool((column == np.round(column)).all() and not (np.abs(column) > 2.0**53).any())


def _check_mappings(**given: Any) -> None:
    for argument, value in given.items():
        mapped = value is None or isinstance(value, Mapping)
        require(mapped, argument, type(value).__name__, "a dict: name -> rows")


def _codes(name: str, values: Any, n: int) -> np.ndarray:
    """`[n]` int of what names rows; an error tells what it is of."""
    column = of_objects(name, of_length(name, values, n))
    if column.dtype.kind in "Mm":  # dates by their names
        column = column.astype(np.str_)
    if column.dtype.kind in "US":
        column = np.char.strip(column)
        empty = np.flatnonzero(column == column.dtype.type())
        if empty.size:
            message = f"{name}: row {empty[0]} has an empty text, which names nothing"
            raise InvalidInput(f"{message}; leave such rows out")
    try:
        return encode_labels(column)[0]
    except InvalidInput as error:
        raise InvalidInput(f"{name}: {str(error).removeprefix('labels: ')}") from error


def _ids(
    columns: Mapping[str, Column], absent: Mapping[str, np.ndarray], ids: Any, n: int
) -> tuple[np.ndarray, tuple[str, ...]]:
    """`[n, k]` int32, and what names the k columns. What a row lacks is like nothing else."""
    if isinstance(ids, Mapping):
        names = [f"ids {key}" for key in ids]
        made = [_codes(name, v, n) for name, v in zip(names, ids.values(), strict=True)]
    elif ids is not None:
        made, names = [_codes("ids", ids, n)], ["ids"]
    else:
        made, names = [], []
        for key, column in columns.items():
            for content in (contents_of(column, n), *_texts_in_any_order(column)):
                if key in absent:
                    content = np.where(absent[key], content, n + np.arange(n))
                made.append(content)
                names.append(key)
        if not made:
            made, names = [np.arange(n)], ["row"]
    return np.stack(made, axis=1).astype(np.int32), tuple(names)


def _constant(of: Sequence[str], codes: np.ndarray) -> list[str]:
    several = len(codes) > 1
    return [key for key, column in zip(of, codes.T, strict=True) if several and not np.ptp(column)]


def _telling(
    codes: np.ndarray, of: tuple[str, ...], sorts: Mapping[str, str]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """The columns of contents `[n, k]` that name recordings or classes, see tell_apart."""
    kept = [k for k, key in enumerate(of) if tell_apart(codes[:, k], sorts.get(key, "texts"))]
    if len(codes) > 1 and not kept:
        return np.arange(len(codes), dtype=np.int32)[:, None], ("row",)
    return (codes[:, kept], tuple(of[k] for k in kept)) if kept else (codes, of)


def contents_of(column: Column, n: int) -> np.ndarray:
    """`[n]` int, equal where contents are; of what stays in files, where it says that they are."""
    if isinstance(column.values, Lazy):
        tell = column.values.tell
        if tell is None:
            same = column.values.same
            return np.arange(n) if same is None else np.unique(same, return_inverse=True)[1]
        return encode_labels(np.array([tell(row) for row in range(n)], object))[0]
    if column.kind == "text":
        return np.unique(column.values.astype(np.str_), return_inverse=True)[1].reshape(-1)
    return content_ids(column.values)


def _texts_in_any_order(column: Column) -> list[np.ndarray]:
    """`[n]` int, equal where all texts of rows of several are; none where no two rows are."""
    if column.others is None:
        return []
    every = zip(column.values, column.others, strict=True)
    rows = [repr(sorted([first, *others])) for first, others in every]
    kinds, codes = np.unique(np.array(rows), return_inverse=True)
    return [codes.reshape(-1)] if len(kinds) < len(rows) else []


def parted(data: Dataset, judged: np.ndarray | None = None) -> list[str]:
    """A line on judged rows (test rows, if not given) that hold something that training rows hold,
    too; of none, no line."""
    judged = data.split == "test" if judged is None else judged
    known = judged & np.isin(data.groups, data.groups[data.split == "train"])
    if not known.any():
        return []
    rows = f"{int(known.sum())} of {counted(int(judged.sum()), 'judged row')}"
    return [f"SEEN IN PART: {rows} hold something that rows of split train hold, too"]


def facts_of(data: Dataset) -> dict[str, Any]:
    """What a report tells of the data."""
    counts = {f"rows of split {s}": int(np.sum(data.split == s)) for s in SPLITS}
    columns = {
        f"modality {name}": " ".join([column.kind, *map(str, column.values.shape[1:])])
        for name, column in data.columns.items()
    }
    labels = {f"label {k}": counted(len(np.unique(v)), "value") for k, v in data.labels.items()}
    groups = {
        "groups (rows that are equal or linked), which no split parts": len(np.unique(data.groups))
    }
    return {"data set": data.name, "rows": data.num_rows} | counts | groups | columns | labels

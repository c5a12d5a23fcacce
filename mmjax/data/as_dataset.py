"""Other containers of recorded data as a Dataset: what protects a row goes along."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mmjax.data.columns import Column
from mmjax.data.dataset import Dataset
from mmjax.data.multimodal import SPLITS, Lazy, MultimodalData, Values, split_size
from mmjax.data.pairs import Modality, PairedData, groups_of, ids_of

LABEL = "label"  # of classes, where data have one label a row


def dataset_of(data: MultimodalData, *, vectors: bool = False) -> Dataset:
    """All splits of a data set as one.

    Args:
      data: as loaded. Labels are those of classes under `label`; of several labels or targets a
        column each under its name. A split's ids are ids.
      vectors: whether whatever is no padded sequence becomes features `[n, f]`.

    Raises InvalidInput as Dataset.from_arrays does.
    """
    parts = {name: getattr(data, name) for name in SPLITS if getattr(data, name) is not None}
    splits = list(parts.values())
    sizes = [split_size(split) for split in splits]
    first = splits[0]
    values = {k: _joined([s.modalities[k] for s in splits]) for k in first.modalities}
    masks = {k: np.concatenate([s.masks[k] for s in splits]) for k in first.masks}
    labels = {}
    if first.labels is not None:
        labels = _labels(data, np.concatenate([split.labels for split in splits]))
    named = all(split.ids is not None for split in splits)
    found = Dataset.from_arrays(
        values,
        labels=labels,
        lengths=masks,
        kinds={k: _kind(v, k in masks, vectors) for k, v in values.items()},
        split=np.repeat(list(parts), sizes),
        name=data.name,
    )
    if not named:
        return found
    own = np.concatenate([np.asarray(split.ids) for split in splits])
    codes = np.unique(own, return_inverse=True)[1].reshape(-1, 1).astype(np.int32)
    return found._replace(ids=np.concatenate([found.ids, codes], 1))


def _joined(parts: list[Any]) -> Values:
    """Rows of several splits after each other; what stays in files stays there."""
    if not isinstance(parts[0], Lazy):
        return parts[0] if len(parts) == 1 else np.concatenate(parts)
    ends = np.cumsum([part.shape[0] for part in parts])
    starts = ends - [part.shape[0] for part in parts]

    def read(rows):
        rows = np.asarray(rows)
        owner = np.searchsorted(ends, rows, side="right")
        out = np.empty((len(rows), *parts[0].shape[1:]), parts[0].dtype)
        for number in np.unique(owner):
            chosen = owner == number
            out[chosen] = parts[number].read(rows[chosen] - starts[number])
        return out

    def tell(row):
        number = int(np.searchsorted(ends, row, side="right"))
        return parts[number].tell(int(row - starts[number]))

    told = all(part.tell is not None for part in parts)
    return Lazy((int(ends[-1]), *parts[0].shape[1:]), parts[0].dtype, read, tell if told else None)


def _kind(values: Values, is_padded: bool, vectors: bool) -> str:
    axes = len(values.shape)
    if is_padded or (axes == 3 and not vectors and values.dtype != np.uint8):
        return "sequence"
    if vectors or axes <= 2:
        return "features"
    return "image"


def _labels(data: MultimodalData, labels: np.ndarray) -> dict[str, np.ndarray]:
    if labels.ndim == 1:
        return {LABEL: labels}
    names: Sequence[str] = [f"{LABEL}{k}" for k in range(labels.shape[1])]
    if len(data.label_names) == labels.shape[1]:
        names = data.label_names
    return dict(zip(map(str, names), labels.T, strict=True))


def datasets_of_pairs(data: PairedData) -> tuple[Dataset, ...]:
    """Paired data as one Dataset of modalities `x` and `t`, where pairs are by row; or as one of x
    and one of t, which pair by `label`. Values are features `[n, f]`.

    Raises InvalidInput as Dataset.from_arrays does.
    """
    sides = {"x": data.x, "t": data.t}
    ids = {name: ids_of(side) for name, side in sides.items()}
    groups = {name: np.asarray(own) for name, own in groups_of(data)._asdict().items()}
    if data.partner is None:
        return tuple(
            _of_rows(data, {name: side}, {name: ids[name]}, groups[name])
            for name, side in sides.items()
        )
    rows = data.partner
    t = data.t._replace(
        values=data.t.values[rows],
        label=None if data.t.label is None else data.t.label[rows],
        private={k: v[rows] for k, v in data.t.private.items()},
        is_test=data.t.is_test[rows],
    )
    paired = {"x": ids["x"], "t": ids["t"][rows]}
    return (_of_rows(data, {"x": data.x, "t": t}, paired, groups["x"]),)


def _of_rows(
    data: PairedData, sides: dict[str, Modality], ids: dict[str, np.ndarray], groups: np.ndarray
) -> Dataset:
    """Rows of one or both sides."""
    first = next(iter(sides.values()))
    labels = {} if first.label is None else {LABEL: first.label}
    for name, side in sides.items():
        labels |= {f"{name}_{factor}": values for factor, values in side.private.items()}
    flat = {name: side.values.reshape(len(side.values), -1) for name, side in sides.items()}
    return Dataset(
        {name: Column(values, "features") for name, values in flat.items()},
        labels,
        groups,
        np.where(first.is_test, "test", "train"),
        np.stack(list(ids.values()), 1).astype(np.int32),
        {},
        data.name,
        data.remarks,
    )

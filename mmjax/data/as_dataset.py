"""Paired recordings as Datasets: what protects a row goes along."""

import numpy as np

from mmjax.data.columns import Column
from mmjax.data.dataset import LABEL, Dataset
from mmjax.data.pairs import Modality, PairedData, groups_of, ids_of


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

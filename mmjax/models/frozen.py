"""Towers that stay as they are: what they make of every row is computed once, before training."""

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from mmjax.data.columns import Column
from mmjax.data.dataset import Dataset
from mmjax.data.scaling import Scaling
from mmjax.encoders import Encoder
from mmjax.nets import Net
from mmjax.nets.prepare import Preparation, observe, observed_of, prepared_rows
from mmjax.types import Key, Tree

_BATCH = 64  # rows that a tower sees at once


class Shown(NamedTuple):
    """What training sees in place of the data, where towers are frozen.

    Attributes:
      rows, held: training and validation rows, their columns the towers' embeddings.
      nets: modality -> the net behind the tower.
      preparations: of these columns.
      bodies: modality -> (parameters, statistics) of its tower; empty where none is frozen.
    """

    rows: Dataset
    held: Dataset
    nets: Mapping[str, Net]
    preparations: Mapping[str, Preparation]
    bodies: Mapping[str, tuple[Tree, Tree]]


def shown(
    rows: Dataset,
    held: Dataset,
    nets: Mapping[str, Net],
    preparations: Mapping[str, Preparation],
    *,
    width: int,
    augmented: Collection[str],
    key: Key,
) -> Shown:
    """The data as training sees them.

    Args:
      rows, held: training and validation rows.
      nets, preparations: of all modalities.
      width: outputs of every net.
      augmented: modalities whose observations change from step to step: their towers see each. So
        do those of modalities with several texts a row.
      key: of towers whose weights are drawn.
    """
    bodies = {}
    for number, (name, net) in enumerate(nets.items()):
        if net.parts is None or name in augmented or rows.columns[name].others is not None:
            continue
        seen = observed_of(preparations[name])
        tower, head = net.parts(width, seen)
        body = tower.init(jax.random.fold_in(key, number), seen.shape)
        see = _embedding(tower, body, preparations[name])
        columns = [_column(part, name, preparations[name], see) for part in (rows, held)]
        bodies[name] = body
        rows, held = (
            part._replace(columns=dict(part.columns) | {name: column})
            for part, column in zip((rows, held), columns, strict=True)
        )
        nets = dict(nets) | {name: Net("", {}, _made(head))}
        size = columns[0].values.shape[1]
        plain = Scaling(np.zeros(size), np.ones(size))
        preparations = dict(preparations) | {name: Preparation("features", (size,), plain)}
    return Shown(rows, held, nets, preparations, bodies)


def _made(head: Encoder) -> Callable[..., Encoder]:
    return lambda out, observed: head


def _embedding(tower: Any, body: tuple[Tree, Tree], preparation: Preparation) -> Callable:
    return jax.jit(lambda batch: tower.apply(*body, observe(preparation, batch)))


def _column(part: Dataset, name: str, preparation: Preparation, see: Callable) -> Column:
    """The tower's embeddings `[n, f]` float32."""
    n, results = part.num_rows, []
    one = part.only(name)
    for start in range(0, max(n, 1), _BATCH):
        rows = np.minimum(np.arange(start, start + _BATCH), max(n - 1, 0))
        if n:
            results.append(np.asarray(see(prepared_rows(one, {name: preparation}, rows)[name])))
    values = np.concatenate(results)[:n] if results else np.zeros((0, 1))
    return Column(values.astype(np.float32), "features")


def whole(
    bodies: Mapping[str, tuple[Tree, Tree]], pairs: Mapping[str, tuple[Tree, Tree]]
) -> dict[str, tuple[Tree, Tree]]:
    """Parameters and statistics of encoders, towers in front of those that were trained."""
    return {
        name: (
            {"body": bodies[name][0], "head": pair[0]},
            {"body": bodies[name][1], "head": pair[1]},
        )
        if name in bodies
        else pair
        for name, pair in pairs.items()
    }

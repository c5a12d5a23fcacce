"""What a loss is: two pure functions, and what it may ask of a batch and of the devices."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from mmjax.losses.ids import Gather, Ids, no_gather
from mmjax.types import Array, Key, Tree

Embeddings = Mapping[str, Array]  # name of a modality -> [batch, dim]


class Context(NamedTuple):
    """What a loss may ask for beside the embeddings.

    On several devices everything here is of this device's rows; `gather` concatenates over devices,
    and the mean over devices of a loss's value is the single-device loss.

    Attributes:
      gather: `[local, ...] -> [global, ...]`.
      ids: `[batch, k]` int; rows that agree in a column are no negatives of each other. None: every
        row is its own.
      present: name -> `[batch]` bool, of modalities that rows lack; what z has there is ignored.
        Names that all rows have are not in it.
      views: embeddings of augmented views of the same rows, z itself the first. Usually two.
      labels: `[batch]` int32 codes of the classes, or None.
      key: of whatever the loss draws; different on all devices.
      chunk: see log_partitions.
    """

    gather: Gather = no_gather
    ids: Ids | None = None
    present: Mapping[str, Array] = {}
    views: Sequence[Embeddings] = ()
    labels: Array | None = None
    key: Key | None = None
    chunk: int | None = None


class Loss(NamedTuple):
    """A loss of embeddings by name.

    Attributes:
      init: `(key, dim) -> parameters` of its own (a learned temperature, critics), {} for none.
      value: `(parameters, z, context) -> (scalar, metrics)`; z is name -> `[batch, dim]`, of a
        fusion also `joint`, which sees all modalities that a row has. Metrics are name -> scalar.
        Pure, and differentiable in parameters and z.
    """

    init: Callable[[Key, int], Tree]
    value: Callable[[Tree, Embeddings, Context], tuple[Array, dict[str, Any]]]

"""The loss of a batch of rows: one way for all that trains on views, and for validation."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from mmjax.data.dataset import Dataset
from mmjax.losses import Context, Loss, no_gather
from mmjax.losses.ids import Gather
from mmjax.nets.embedders import Embedder
from mmjax.nets.looks import Augment
from mmjax.nets.prepare import Preparation, prepared_rows
from mmjax.train.rows import Seen, look_of
from mmjax.train.step import Aside
from mmjax.types import Array, Key, Tree


def loss_of(
    loss: Loss,
    params: Tree,
    seen: Seen,
    views: Sequence[Mapping[str, Array]],
    present: Mapping[str, Array],
    *,
    key: Key,
    gather: Gather = no_gather,
    chunk: int | None = None,
) -> tuple[Array, dict[str, Any]]:
    """Value and metrics of a loss of these rows.

    Args:
      loss: what is asked.
      params: with its own under "loss".
      seen: the rows.
      views: name -> `[batch, dim]`, what was made of each of seen's views; the first is z.
      present: of these names, see Context.
      key, gather, chunk: see Context.
    """
    context = Context(gather, seen.ids, present, views, seen.labels, key, chunk)
    return loss.value(params["loss"], views[0], context)


def objective_of(
    embedder: Embedder, loss: Loss, look: Callable[[Tree], Seen], chunk: int | None = None
) -> Callable[[Tree, Tree, Key, Callable], tuple[Array, Aside]]:
    """The loss of a batch, as training wants it (mmjax.train.step).

    Two views of every row are embedded, by their own augmentations and their own noise of the
    networks. What a loss does not look at is not computed: the compiler leaves it out.

    Args:
      embedder: its parameters and, under "loss", the loss's own are trained.
      loss: what is minimised.
      look: see Rows.
      chunk: see Context.
    """

    def objective(params, batch, key, gather):
        mask_key, loss_key, *noise = jax.random.split(key, 4)
        seen, views, kept = look(batch), [], []
        for view, noise_key in zip(seen.views, noise, strict=True):
            keys = mask_key, noise_key
            z, here, statistics = embedder.forward(params, view, seen.present, keys, gather)
            views.append(z)
            kept.append(statistics)
        options = dict(key=loss_key, gather=gather, chunk=chunk)
        value, metrics = loss_of(loss, params, seen, views, here, **options)
        return value, Aside({"statistics": jax.lax.stop_gradient(kept[0])}, metrics)

    return objective


def validation_loss(
    embedder: Embedder,
    loss: Loss,
    data: Dataset,
    preparations: Mapping[str, Preparation],
    augment: Mapping[str, Augment],
    label: str,
    batch_size: int,
) -> Callable[[Tree], float]:
    """`params -> mean loss of these rows`, networks as in evaluation, always the same views.

    The rows are cut into batches of one size, as large as in training where they suffice; what is
    left over is left out.
    """
    size = min(batch_size, data.num_rows)
    count = max(1, data.num_rows // size)
    order = np.random.default_rng(0).permutation(data.num_rows)[: count * size]
    labels = data.labels[label] if label else None
    look, key = look_of(preparations, augment), jax.random.key(0)

    @jax.jit
    def one(params, batch):
        seen = look(batch | {"keys": jax.random.split(key, size)})
        views = [embedder.compared(params, view, seen.present) for view in seen.views]
        here = {name: v for name, v in seen.present.items() if name in views[0]}
        return loss_of(loss, params, seen, views, here, key=key)[0]

    def value(params):
        total = 0.0
        for start in range(0, count * size, size):
            rows = order[start : start + size]
            batch = {
                "values": prepared_rows(data, preparations, rows),
                "ids": data.ids[rows],
                "present": {k: v[rows] for k, v in data.present.items()},
            }
            if labels is not None:
                batch["labels"] = labels[rows]
            total += float(one(params, batch))
        return total / count

    return value

"""What a model is trained on: rows of a data set, as the loss wants to see them."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.data.dataset import Dataset
from mmjax.data.multimodal import Lazy
from mmjax.data.stream import batches, epoch_rows
from mmjax.losses import Context, Loss
from mmjax.models.embedders import Embedder
from mmjax.models.looks import Augment
from mmjax.models.prepare import (
    Observation,
    Preparation,
    observe,
    prepare,
    prepared_rows,
)
from mmjax.types import Array, Key, Tree


class Rows(NamedTuple):
    """Training rows as a training's source.

    Attributes:
      constants: on the device: what is in memory, prepared.
      source: `(constants, key, fed) -> batch`.
      feed: `first step -> iterator` of rows' numbers and of what stays in files.
      observations: `batch -> name -> observation`.
      batch_size: rows a step.
    """

    constants: Tree
    source: Callable[[Tree, Key, Tree], Tree]
    feed: Callable[[int], Iterator[Tree]]
    observations: Callable[[Tree], dict[str, Observation]]
    batch_size: int


def rows_of(
    data: Dataset,
    preparations: Mapping[str, Preparation],
    *,
    batch_size: int,
    steps: int,
    label: str,
    seed: int,
) -> Rows:
    """The rows of a data set, all of them; each epoch is another order of all rows.

    Args:
      data: training rows.
      preparations: of all modalities.
      batch_size: rows a step.
      steps: of the training.
      label: column of int codes of classes that the loss sees; empty for none.
      seed: of the order.
    """
    kept = [n for n, c in data.columns.items() if not isinstance(c.values, Lazy)]
    lazy = [n for n in data.columns if n not in kept]
    every = np.arange(data.num_rows)
    held = prepared_rows(data.only(*kept), preparations, every) if kept else {}
    constants = {
        "held": jax.tree.map(jnp.asarray, held),
        "ids": jnp.asarray(data.ids),
        "present": {k: jnp.asarray(v) for k, v in data.present.items()},
    }
    if label:
        constants["labels"] = jnp.asarray(data.labels[label])
    order = epoch_rows(data.num_rows, batch_size, seed)
    streamed = data.only(*lazy) if lazy else None

    def read(first):
        """Batches that threads read ahead from their files."""
        for batch in batches(streamed, order, first, steps):
            own = {
                name: prepare(preparations[name], values, seen)
                for name, values, seen in zip(lazy, batch.modalities, batch.seen, strict=True)
            }
            yield {"rows": batch.rows.astype(np.int32)} | own

    def feed(first):
        if streamed is not None:
            return read(first)
        return ({"rows": order(step).astype(np.int32)} for step in range(first, steps))

    def source(constants, key, fed):
        rows = fed["rows"]
        pick = lambda tree: jax.tree.map(lambda leaf: leaf[rows], tree)
        batch = {"values": pick(constants["held"]) | {k: fed[k] for k in lazy}}
        batch |= {k: pick(constants[k]) for k in constants if k != "held"}
        return batch | {"keys": jax.random.split(key, len(rows))}

    def observations(batch):
        return {name: observe(p, batch["values"][name]) for name, p in preparations.items()}

    return Rows(constants, source, feed, observations, batch_size)


def augmented(
    augment: Mapping[str, Augment], observations: dict[str, Observation], keys: Key
) -> dict[str, Observation]:
    """Every row by a key of its own, so that it doesn't matter which rows a device has."""

    def one(name, seen):
        if name not in augment:
            return seen
        number = sorted(observations).index(name)

        def of_row(key, row):
            alone = jax.tree.map(lambda v: v[None], row)
            looked = augment[name](jax.random.fold_in(key, number), alone)
            return jax.tree.map(lambda v: v[0], looked)

        return jax.vmap(of_row)(keys, seen)

    return {name: one(name, seen) for name, seen in observations.items()}


def objective_of(
    embedder: Embedder,
    loss: Loss,
    rows: Rows,
    augment: Mapping[str, Augment],
    chunk: int | None,
) -> Callable[[Tree, Tree, Key, Callable], tuple[Array, dict[str, Any]]]:
    """The loss of a batch, as training wants it (mmjax.train.step).

    Two views of every row are embedded, by their own augmentations and their own noise of the
    networks. What a loss does not look at is not computed: the compiler leaves it out.
    """

    def objective(params, batch, key, gather):
        mask_key, loss_key, *noise = jax.random.split(key, 4)
        observations, present = rows.observations(batch), batch["present"]
        looks = jax.vmap(lambda k: jax.random.split(k, 2))(batch["keys"])
        views, statistics = [], None
        for number in range(2):
            seen = augmented(augment, observations, looks[:, number])
            keys = mask_key, noise[number]
            z, here, changed = embedder.forward(params, seen, present, keys, gather)
            statistics = changed if statistics is None else statistics
            views.append(z)
        context = Context(
            gather=gather,
            ids=batch["ids"],
            present=here,
            views=views,
            labels=batch.get("labels"),
            key=loss_key,
            chunk=chunk,
        )
        value, _ = loss.value(params["loss"], views[0], context)
        return value, {"statistics": jax.lax.stop_gradient(statistics)}

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
    key = jax.random.key(0)

    @jax.jit
    def one(params, batch):
        observations = {name: observe(p, batch["values"][name]) for name, p in preparations.items()}
        present = batch["present"]
        keys = jax.random.split(key, (2, size))
        views = [
            embedder.compared(params, augmented(augment, observations, k), present) for k in keys
        ]
        context = Context(
            ids=batch["ids"],
            present={k: v for k, v in present.items() if k in views[0]},
            views=views,
            labels=batch.get("labels"),
            key=key,
        )
        return loss.value(params["loss"], views[0], context)[0]

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

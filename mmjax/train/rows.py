"""Rows of data sets as a training takes them: fed by number, looked at twice."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.data.columns import all_texts
from mmjax.data.dataset import Dataset, is_classes
from mmjax.data.stream import RowsOfStep, batches, epoch_rows
from mmjax.data.values import Lazy
from mmjax.errors import InvalidInput, choose, require
from mmjax.labels import encode_labels
from mmjax.nets.looks import Augment, augmented
from mmjax.nets.prepare import Observation, Preparation, observe, prepare, prepared_rows
from mmjax.types import Array, Key, Tree

_AT_ONCE = 4096  # rows prepared together
_ORDER = 2**32 - 2  # no step of training: a key of the order's own
_TEXTS = 2**32 - 1  # no row of a batch: a key of which texts are drawn


class Seen(NamedTuple):
    """A batch as a loss wants to see it.

    Attributes:
      views: two, name -> observation of the same rows, each by augmentations of its own.
      present: name -> `[batch]` bool, of modalities that rows lack.
      ids: `[batch, k]` int32; rows that agree in a column are one recording. None: none are.
      labels: `[batch]` int32, or None.
    """

    views: Sequence[Mapping[str, Observation]]
    present: Mapping[str, Array] = {}
    ids: Array | None = None
    labels: Array | None = None


class Rows(NamedTuple):
    """Training rows as a training's source.

    Attributes:
      constants: on the device: what is in memory, prepared.
      source: `(constants, key, fed) -> batch`.
      feed: `(batch_size, steps) -> feed of a Recipe`: rows' numbers, and what stays in files.
      look: `batch -> Seen`, of a device's own rows: what is costly is done here.
    """

    constants: Tree
    source: Callable[[Tree, Key, Tree], Tree]
    feed: Callable[[int, int], Callable[[int, Key], Iterator[Tree]]]
    look: Callable[[Tree], Seen]


def look_of(
    preparations: Mapping[str, Preparation], augment: Mapping[str, Augment]
) -> Callable[[Tree], Seen]:
    """`batch -> Seen`; a batch has "values", "present", "ids", "keys" of its rows and, where the
    loss sees them, "labels"."""

    def look(batch):
        seen = {name: observe(p, batch["values"][name]) for name, p in preparations.items()}
        keys = jax.vmap(lambda key: jax.random.split(key, 2))(batch["keys"])
        views = [augmented(augment, seen, keys[:, number]) for number in range(2)]
        return Seen(views, batch["present"], batch["ids"], batch.get("labels"))

    return look


def rows_of(
    data: Dataset | Sequence[Dataset],
    preparations: Mapping[str, Preparation],
    augment: Mapping[str, Augment],
    *,
    label: str = "",
    pairs: str = "",
    order: int | None = None,
) -> Rows:
    """The rows of a data set, all of them; each epoch is another order of all rows.

    Args:
      data: training rows; or those of several data sets of other modalities, which pair by label:
        to a row of the first belong rows of the others that are drawn anew each time among all
        rows of its label.
      preparations: of all modalities.
      augment: modality -> what changes it from look to look.
      label: column of int codes of classes that the loss sees, of the first data set; empty: none.
      pairs: column of labels that several data sets pair by.
      order: seed of the order of rows, of all seeds alike; None: every seed has an order of its
        own, by its key.

    Raises InvalidInput where data sets can't be paired: a modality in two of them, labels that are
    no classes, or a label that one of them lacks.
    """
    sides = [data] if isinstance(data, Dataset) else list(data)
    place = {name: k for k, side in enumerate(sides) for name in side.columns}
    count = sum(len(side.columns) for side in sides)
    require(len(place) == count, "modalities", tuple(place), "each in one data set")
    partners = _partners(sides, pairs)
    lazy = [n for n, k in place.items() if isinstance(sides[k].columns[n].values, Lazy)]
    several = [n for n, k in place.items() if sides[k].columns[n].others is not None]
    constants: dict[str, Any] = {
        "held": {n: _held(sides[k], n, preparations) for n, k in place.items() if n not in lazy},
        "ids": [jnp.asarray(side.ids) for side in sides],
        "present": {n: jnp.asarray(v) for side in sides for n, v in side.present.items()},
    }
    if label:
        constants["labels"] = jnp.asarray(sides[0].labels[label])

    def order_of(batch_size: int, seed: int) -> RowsOfStep:
        """step -> `[batch, sides]`."""
        first = epoch_rows(sides[0].num_rows, batch_size, seed)

        def rows(step):
            numbers = first(step)
            drawn = np.random.Philox(np.random.SeedSequence([seed, step, len(sides)]))
            share = np.random.Generator(drawn).random((len(partners), len(numbers)))
            others = [by(numbers, u) for by, u in zip(partners, share, strict=True)]
            return np.stack([numbers, *others], 1)

        return rows

    def from_files(order: RowsOfStep, first: int, steps: int) -> Iterator[dict]:
        """Batches that threads read ahead from their files."""
        with ExitStack() as stack:
            parts = {}
            for side in {place[name] for name in lazy}:
                streamed = [name for name in lazy if place[name] == side]
                numbers = lambda step, k=side: order(step)[:, k]
                read = batches(sides[side].only(*streamed), numbers, first, steps)
                parts[side] = streamed, read
                stack.callback(read.close)
            for step in range(first, steps):
                fed: dict[str, Any] = {"rows": order(step).astype(np.int32)}
                for streamed, read in parts.values():
                    batch = next(read)
                    for name, values, seen in zip(
                        streamed, batch.modalities, batch.seen, strict=True
                    ):
                        fed[name] = prepare(preparations[name], values, seen)
                yield fed

    def feed(batch_size, steps):
        def from_step(first, key):
            seed = order
            if seed is None:
                seed = int(jax.random.bits(jax.random.fold_in(key, _ORDER)))
            rows = order_of(batch_size, seed)
            if lazy:
                return from_files(rows, first, steps)
            return ({"rows": rows(step).astype(np.int32)} for step in range(first, steps))

        return from_step

    def source(constants, key, fed):
        rows = fed["rows"]
        pick = lambda tree, side: jax.tree.map(lambda leaf: leaf[rows[:, side]], tree)
        some = lambda of: {name: pick(values, place[name]) for name, values in of.items()}
        values = some(constants["held"]) | {name: fed[name] for name in lazy}
        ids = [pick(v, k) for k, v in enumerate(constants["ids"])]
        for number, name in enumerate(several):
            text_key = jax.random.fold_in(jax.random.fold_in(key, _TEXTS), number)
            values[name], drawn_ids = _drawn_texts(values[name], text_key)
            ids.append(drawn_ids)
        batch = {
            "values": values,
            "ids": jnp.concatenate(ids, 1),
            "present": some(constants["present"]),
            "keys": jax.random.split(key, len(rows)),
        }
        return batch | ({"labels": pick(constants["labels"], 0)} if label else {})

    return Rows(constants, source, feed, look_of(preparations, augment))


def _all_texts_held(column: Any, preparation: Preparation) -> Tree:
    """All texts of every row: values `[n, most, length]`, count `[n]` and ids `[n, most]`, equal
    where texts are; what is behind the count is the row's first text."""
    rows = np.arange(len(column.others))
    every = [(column.values[row], *column.others[row]) for row in rows]
    count = np.array([len(several) for several in every], np.int32)
    known = sorted(set(all_texts(column, rows)))
    of = {text: number for number, text in enumerate(known)}
    places = np.arange(count.max()) < count[:, None]
    codes = np.zeros(places.shape, np.int32)
    codes[places] = [of[text] for several in every for text in several]
    codes = np.where(places, codes, codes[:, :1])
    tokens = prepare(preparation, np.array(known, object), None)["values"]
    return {"values": tokens[codes], "count": count, "ids": codes}


def _drawn_texts(held: Tree, key: Key) -> tuple[Tree, Array]:
    """One of its texts for each row, `{"values": [batch, length]}`, and `[batch, 1]` ids."""
    count = held["count"]
    place = jax.random.randint(key, count.shape, 0, count)[:, None]
    ids = jnp.take_along_axis(held["ids"], place, 1)
    return {"values": jnp.take_along_axis(held["values"], place[..., None], 1)[:, 0]}, ids


def _held(side: Dataset, name: str, preparations: Mapping[str, Preparation]) -> Tree:
    """A modality on the device, prepared a part at a time."""
    if side.columns[name].others is not None:
        return jax.tree.map(jnp.asarray, _all_texts_held(side.columns[name], preparations[name]))
    one, prepared, n = side.only(name), {name: preparations[name]}, side.num_rows
    parts = [
        prepared_rows(one, prepared, np.arange(start, min(start + _AT_ONCE, n)))[name]
        for start in range(0, n, _AT_ONCE)
    ]
    return jax.tree.map(lambda *rows: jnp.asarray(np.concatenate(rows)), *parts)


def _partners(
    sides: Sequence[Dataset], pairs: str
) -> list[Callable[[np.ndarray, np.ndarray], np.ndarray]]:
    """Of each further data set `(rows of the first [n], uniform in [0, 1) [n]) -> its rows [n]`."""
    if len(sides) == 1:
        return []
    columns = []
    for side in sides:
        values = choose(dict(side.labels), f"labels of {side.name}", pairs)
        require(is_classes(values), f"labels of {side.name}", pairs, "classes, to pair by label")
        columns.append(values)
    first, *others = encode_labels(*columns)
    return [
        _by_label(first, codes, sides[0].name, side.name)
        for codes, side in zip(others, sides[1:], strict=True)
    ]


def _by_label(first: np.ndarray, codes: np.ndarray, name: str, other: str) -> Callable:
    count = np.bincount(codes, minlength=int(first.max()) + 1)
    missing = np.flatnonzero(count[first] == 0)
    if missing.size:
        raise InvalidInput(
            f"{name}: training row {missing[0]} has a label that no training row of {other} has; "
            "they can't be paired by label"
        )
    start = np.concatenate([[0], np.cumsum(count)[:-1]])
    order = np.argsort(codes, kind="stable")

    def drawn(rows, share):
        label = first[rows]
        return order[start[label] + (share * count[label]).astype(np.int64)]

    return drawn

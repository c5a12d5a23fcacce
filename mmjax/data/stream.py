"""Batches of a data set in the order of training, read by threads ahead of the step that uses them.

Memory holds the rows of a few batches, whatever the number of rows; what batch a step has depends
on nothing but the step's number, so that training goes on from any step as if it had never stopped.
"""

from collections.abc import Callable, Generator
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from mmjax.data.dataset import Dataset
from mmjax.data.files.optional import needed
from mmjax.data.values import Lazy
from mmjax.errors import InvalidInput, require

# step, from 0 -> `[batch]` int64 rows
RowsOfStep = Callable[[int], np.ndarray]


class Batch(NamedTuple):
    """Some rows of the k modalities of a data set, in its order.

    Attributes:
      rows: `[batch]` int64, of the data set.
      modalities: k arrays `[batch, ...]`; texts are `[batch]` objects that are str.
      seen: k times `[batch, length]` bool, False where a sequence is padding, or None.
      present: k times `[batch]` bool, False where a row lacks the modality, or None.
    """

    rows: np.ndarray
    modalities: tuple[np.ndarray, ...]
    seen: tuple[np.ndarray | None, ...]
    present: tuple[np.ndarray | None, ...]


def epoch_rows(n: int, batch: int, seed: int) -> RowsOfStep:
    """Rows of each step: every epoch all n in another order, batches running on across epochs.

    Args:
      n: number of rows.
      batch: rows of a step.
      seed: of the orders; that of an epoch is drawn by Philox from (seed, epoch) alone.

    Raises InvalidInput for numbers out of range.
    """
    require(n >= 1, "rows", n, "a whole number >= 1")
    require(batch >= 1, "batch", batch, "a whole number >= 1")
    require(seed >= 0, "seed", seed, "a whole number >= 0")

    @lru_cache(maxsize=2)  # threads read beside each other at the end of an epoch
    def order(epoch: int) -> np.ndarray:
        bits = np.random.Philox(np.random.SeedSequence([seed, epoch]))
        return np.random.Generator(bits).permutation(n)

    def rows_of_step(step: int) -> np.ndarray:
        places = np.arange(step * batch, (step + 1) * batch)
        epochs = places // n
        return np.concatenate(
            [order(e)[places[epochs == e] % n] for e in range(epochs[0], epochs[-1] + 1)]
        )

    return rows_of_step


def read_batch(data: Dataset, rows: np.ndarray) -> Batch:
    """The rows `[batch]`, in any order and repeated, from memory or from their files.

    Raises InvalidInput that names the file that is broken.
    """
    read = lambda values: values.read(rows) if isinstance(values, Lazy) else values[rows]
    columns = data.columns
    return Batch(
        rows,
        tuple(np.asarray(read(column.values)) for column in columns.values()),
        tuple(None if column.seen is None else column.seen[rows] for column in columns.values()),
        tuple(data.present[name][rows] if name in data.present else None for name in columns),
    )


def batches(
    data: Dataset,
    rows_of_step: RowsOfStep,
    first: int,
    last: int,
    *,
    threads: int = 2,
    ahead: int = 4,
) -> Generator[Batch]:
    """The batches of the steps from first up to, not including, last, in their order.

    Args:
      data: rows come from it.
      rows_of_step: see epoch_rows.
      first, last: steps; a run that stopped before step s goes on with first = s.
      threads: that read; each reads a whole batch. The order does not depend on them.
      ahead: batches that are read before they are asked for; memory holds these.

    Close the iterator to stop the threads.

    Raises InvalidInput for numbers out of range, where grain is missing, and, at the step that it
    belongs to, what a thread meets in a broken file.
    """
    require(0 <= first <= last, "first, last", (first, last), "steps, 0 <= first <= last")
    require(threads >= 1, "threads", threads, "a whole number >= 1")
    require(ahead >= 1, "ahead", ahead, "a whole number >= 1")
    return _read_ahead(
        needed("grain", data.name), data, rows_of_step, (first, last), threads, ahead
    )


def _read_ahead(grain, data, rows_of_step, steps, threads, ahead) -> Generator[Batch]:
    if steps[0] == steps[1]:
        return
    read = lambda step: read_batch(data, np.asarray(rows_of_step(int(step)), np.int64))
    options = grain.ReadOptions(num_threads=min(threads, ahead), prefetch_buffer_size=ahead)
    iterator = iter(grain.MapDataset.range(*steps).map(read).to_iter_dataset(options))
    try:
        yield from iterator
    except InvalidInput as error:
        raise InvalidInput(str(error)) from None  # without the lines that grain adds
    finally:
        iterator.close()

"""Data of k modalities: values, masks of padding, labels, in splits; read as batches.

A loader of a data set returns MultimodalData; self-supervised training reads batches of its
modalities, a probe reads its labels afterwards.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from mmjax.data.files.checks import plain
from mmjax.errors import InvalidInput, require

KINDS = ("classification", "multilabel", "regression")
SPLITS = ("train", "validation", "test")


class Lazy(NamedTuple):
    """Values that stay in their files until rows of them are asked for.

    Attributes:
      shape: `(n, ...)`, as if they were an array.
      dtype: of what is read.
      read: `[rows]` int64 row numbers, in any order and repeated, -> `[rows, ...]`; raises
        InvalidInput where a file is broken.
      tell: row number -> what names the row for good, such as its file's name; None: nothing does.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[np.ndarray], np.ndarray]
    tell: Callable[[int], str] | None = None


Values = np.ndarray | Lazy


class MultimodalSplit(NamedTuple):
    """Rows of a split.

    Attributes:
      modalities: name -> `[n, ...]`, in the order of batches.
      masks: name -> `[n, length]` bool, True at steps that are no padding; modalities whose rows
        are all of one length are not in it.
      labels: `[n]` int32 from 0 (classification), `[n, classes]` int32 of 0 and 1 (multilabel),
        `[n, targets]` float32 (regression), or None.
      ids: `[n]` str, or None; rows with one id are the same recording.
    """

    modalities: Mapping[str, Values]
    masks: Mapping[str, np.ndarray]
    labels: np.ndarray | None
    ids: np.ndarray | None


class MultimodalData(NamedTuple):
    """A data set.

    Attributes:
      name: of it.
      kind: classification, multilabel, regression; empty where there are no labels.
      label_names: of the classes or targets.
      train, test: its splits.
      validation: None where the data set has none.
    """

    name: str
    kind: str
    label_names: tuple[str, ...]
    train: MultimodalSplit
    validation: MultimodalSplit | None
    test: MultimodalSplit


class MultimodalBatch(NamedTuple):
    """Some rows of k modalities.

    Attributes:
      modalities: k arrays `[batch, ...]`.
      masks: k times `[batch, length]` bool, or None.
      labels: `[batch, ...]`, or None.
    """

    modalities: tuple[np.ndarray, ...]
    masks: tuple[np.ndarray | None, ...]
    labels: np.ndarray | None


def split_size(split: MultimodalSplit) -> int:
    """How many rows a split has."""
    return next(iter(split.modalities.values())).shape[0]


def take_rows(split: MultimodalSplit, rows: slice | np.ndarray) -> MultimodalSplit:
    """Some rows as a split of their own; a slice copies nothing, files are not read."""
    pick = lambda values: None if values is None else values[rows]
    return MultimodalSplit(
        {name: _taken(values, rows) for name, values in split.modalities.items()},
        {name: mask[rows] for name, mask in split.masks.items()},
        pick(split.labels),
        pick(split.ids),
    )


def _taken(values: Values, rows: slice | np.ndarray) -> Values:
    if not isinstance(values, Lazy):
        return values[rows]
    return taken(values, np.arange(values.shape[0])[rows])


def taken(values: Lazy, chosen: np.ndarray) -> Lazy:
    """The rows `[k]` of these numbers, still in their files."""
    return Lazy(
        (len(chosen), *values.shape[1:]),
        values.dtype,
        lambda rows: values.read(chosen[rows]),
        values.tell and (lambda row: values.tell(int(chosen[row]))),
    )


def host_share(data: MultimodalData, host_index: int, host_count: int) -> MultimodalData:
    """The rows i of every split that are host_index modulo host_count.

    Lengths and statistics are those of the whole splits, so that all hosts agree.

    Raises InvalidInput where a split has fewer rows than there are hosts.
    """
    require(host_count >= 1, "host_count", host_count, "a whole number >= 1")
    allowed = f"a whole number from 0 to {host_count - 1}"
    require(0 <= host_index < host_count, "host_index", host_index, allowed)

    def share(split):
        n = split_size(split)
        require(n >= host_count, "host_count", host_count, f"at most {n}, the rows of a split")
        return take_rows(split, slice(host_index, None, host_count))

    return map_splits(share, data)


def map_splits(
    change: Callable[[MultimodalSplit], MultimodalSplit], data: MultimodalData
) -> MultimodalData:
    """The data with every split changed alike."""
    found = {name: getattr(data, name) for name in SPLITS}
    return data._replace(**{k: split and change(split) for k, split in found.items()})


def read_rows(split: MultimodalSplit, rows: np.ndarray) -> MultimodalBatch:
    """The rows `[batch]`, in any order, from memory or from their files."""
    rows = np.asarray(rows)
    read = lambda values: values.read(rows) if isinstance(values, Lazy) else values[rows]
    return MultimodalBatch(
        tuple(np.asarray(read(values)) for values in split.modalities.values()),
        tuple(split.masks[n][rows] if n in split.masks else None for n in split.modalities),
        None if split.labels is None else split.labels[rows],
    )


def read_batches(
    split: MultimodalSplit, rows: Iterable[np.ndarray], *, ahead: int = 2
) -> Iterator[MultimodalBatch]:
    """`read_rows` of each, in order; a thread reads the next ones while the caller uses one.

    Args:
      split: the rows come from it.
      rows: `[batch]` row numbers for each batch; may be endless.
      ahead: how many batches are read before they are asked for. Close the iterator to stop.
    """
    require(ahead >= 1, "ahead", ahead, "a whole number >= 1")
    pool, waiting = ThreadPoolExecutor(1), deque()
    try:
        for chosen in rows:
            waiting.append(pool.submit(read_rows, split, chosen))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def standardised_by_train(
    data: MultimodalData, names: Sequence[str], *, floor: float = 0.0
) -> MultimodalData:
    """Features at mean 0 and variance 1 over the training rows (and steps), in every split alike.

    Args:
      data: the data.
      names: of modalities `[n, features]` or `[n, length, features]` in memory. Padding neither
        counts nor changes; a feature that is constant in training is only centred.
      floor: the least that features are divided by, as a share of their root mean variance, so that
        nearly constant ones (the rim of an image) stay small.

    Raises InvalidInput for a modality of another shape, or one that stays in files.
    """
    for name in names:
        values = data.train.modalities.get(name)
        fits = isinstance(values, np.ndarray) and values.ndim in (2, 3)
        shapes = f"a modality [n, features] or [n, length, features] of {data.name}"
        require(fits, "standardise", name, shapes)
        mask = data.train.masks.get(name)
        steps = values.reshape(-1, values.shape[-1]) if mask is None else values[mask]
        # The first step is taken off before any sum, so that an offset costs no digits.
        first = steps[0]
        steps = _less(steps, first)
        mean, spread = steps.mean(0), steps.std(0)
        spread = np.maximum(spread, floor * np.sqrt(np.mean(spread**2)))
        # Against its own size, not 1: small units are no constants. Whole numbers are exact.
        size = np.abs(first.astype(np.float64)) if first.dtype.kind == "f" else 0.0
        constant = ~(spread > 1e-12 * size)
        mean, spread = np.where(constant, 0, mean), np.where(constant, 1, spread)

        def change(split, name=name, first=first, mean=mean, spread=spread):
            scaled = ((_less(split.modalities[name], first) - mean) / spread).astype(np.float32)
            if name in split.masks:
                scaled[~split.masks[name]] = 0
            return split._replace(modalities={**split.modalities, name: scaled})

        data = map_splits(change, data)
    return data


def _less(values: np.ndarray, first: np.ndarray) -> np.ndarray:
    """`values - first` in float64; of whole numbers exactly so, however large they are."""
    if values.dtype.kind == "f":
        return values.astype(np.float64) - first
    # 64 bits wrap around, and back again where the difference fits.
    return (values.astype(np.uint64) - first.astype(np.uint64)).view(np.int64).astype(np.float64)


def padded(rows: Sequence[np.ndarray], length: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Sequences of different lengths as one array, zeros behind their ends.

    Args:
      rows: n arrays `[steps, ...]` of one dtype, the other axes alike.
      length: of all; default the longest.

    Returns:
      values `[n, length, ...]` and mask `[n, length]` bool.

    Raises InvalidInput where a sequence is longer than length: nothing is cut off silently.
    """
    steps = np.array([len(row) for row in rows])
    longest = max(1, int(steps.max()))
    length = longest if length is None else length
    require(length >= longest, "length", length, f">= {longest}, the longest sequence")
    values = np.zeros((len(rows), length, *rows[0].shape[1:]), rows[0].dtype)
    for row, into in zip(rows, values, strict=True):
        into[: len(row)] = row
    return values, np.arange(length) < steps[:, None]


def as_array(where: str, values: Any) -> np.ndarray:
    """What a file holds, as an array: `plain`, but for bytes and Python's objects (ids).

    Raises InvalidInput where it is of lists of different lengths, or of no numbers or text.
    """
    try:
        array = np.asarray(values)
    except ValueError:
        raise InvalidInput(f"{where} is no array: its lists have different lengths") from None
    path, _, name = where.rpartition(": ")
    return array if array.dtype.kind in "OS" else plain(array, name, path)

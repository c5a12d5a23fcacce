"""AV-MNIST (Vielzeuf et al. 2018): degraded digits and spectrograms of spoken ones.

<root>/image/{train,test}_data.npy   [60000 | 10000, 784], 0 to 255
<root>/audio/{train,test}_data.npy   [60000 | 10000, 112, 112], 0 to 255
<root>/{train,test}_labels.npy       digits
"""

import os

import numpy as np

from mmjax.data.dataset import LABEL, SPLITS, Dataset
from mmjax.data.files.checks import plain
from mmjax.data.values import Lazy, joined
from mmjax.errors import InvalidInput, require

_SHAPES = {"image": (28, 28, 1), "audio": (112, 112, 1)}


def load_av_mnist(root: str, *, validation_rows: int = 5000) -> Dataset:
    """Maps the files into memory; rows are read when they are asked for.

    Args:
      root: the folder.
      validation_rows: how many rows, the last ones of the training files, are validation.

    Returns:
      image `[n, 28, 28, 1]` and audio `[n, 112, 112, 1]`, float32 in [0, 1]; `label`, the digit.

    Raises InvalidInput, naming the file, where one is missing, not whole or of another shape, where
    labels are no digits, and, when they are read, for values that are not in 0 to 255.
    """
    require(bool(root) and os.path.isdir(root), "--data", root, "the path of an existing folder")
    labels = {half: _labels(root, half) for half in ("train", "test")}
    n, tests = (len(values) for values in labels.values())
    allowed = f"a whole number from 1 to {n - 1}, for there are {n} training rows"
    require(1 <= validation_rows < n, "validation_rows", validation_rows, allowed)
    of = lambda name: joined(
        [_values(root, half, name, len(values)) for half, values in labels.items()]
    )
    return Dataset.from_arrays(
        {name: of(name) for name in _SHAPES},
        labels={LABEL: np.concatenate(list(labels.values()))},
        split=np.repeat(SPLITS, [n - validation_rows, validation_rows, tests]),
        name="AV-MNIST",
    )


def _labels(root: str, half: str) -> np.ndarray:
    path = os.path.join(root, f"{half}_labels.npy")
    labels = plain(_mapped(path), "labels", path)
    if labels.ndim != 1 or not len(labels) or not np.isin(labels, np.arange(10)).all():
        raise InvalidInput(f"{path}: {labels.dtype} {labels.shape}; use digits 0 to 9, [n]")
    return labels.astype(np.int32)


def _values(root: str, half: str, name: str, n: int) -> Lazy:
    path = os.path.join(root, name, f"{half}_data.npy")
    array, shape = _mapped(path), _SHAPES[name]
    sizes = (n, int(np.prod(shape)))
    if not array.ndim or array.shape[0] != n or array.size != np.prod(sizes):
        raise InvalidInput(
            f"{path}: shape {array.shape}; use {sizes}, as {half}_labels.npy has {n} rows"
        )

    def read(rows):
        values = plain(array[rows], name, path).astype(np.float32).reshape(len(rows), -1)
        good = (values >= 0) & (values <= 255)
        if not good.all():
            k, column = np.argwhere(~good)[0]
            message = f"{path}: row {rows[k]} has values that are not in 0 to 255"
            raise InvalidInput(f"{message}, first {values[k, column]} in column {column}")
        return values.reshape(-1, *shape) / 255

    return Lazy((n, *shape), np.dtype(np.float32), read)


def _mapped(path: str) -> np.ndarray:
    if not os.path.isfile(path):
        raise InvalidInput(
            f"{path}: not there; the folder holds train_labels.npy, test_labels.npy, "
            "image/ and audio/"
        )
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise InvalidInput(f"{path}: no whole array of numbers ({error})") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "biufV":
        raise InvalidInput(f"{path}: no array of numbers")
    return array

"""MM-IMDb as `multimodal_imdb.hdf5`: posters, features of VGG and word2vec, tokens, genres.

    images [n, 3, 256, 160] int32, vgg_features [n, 4096], features [n, 300] float32,
    sequences [n] of int32 of any length, genres [n, 23] int32, imdb_ids [n] S7

Rows 0 to 15551 are the training split, then to 18159 dev, then to 25958 test.
"""

import json
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from mmjax.data.dataset import SPLITS, Dataset
from mmjax.data.files.checks import whole_numbers
from mmjax.data.files.hdf5 import dataset, dataset_rows, open_hdf5, read_float32, read_values
from mmjax.data.values import Lazy, Values, padded
from mmjax.errors import InvalidInput, require

ENDS = (15552, 18160, 25959)
# Name here -> of the dataset, its shape behind n, kinds; the first two are read when asked for.
_STORED = {
    "image": ("images", (3, None, None), "iuf"),
    "vgg": ("vgg_features", (None,), "biuf"),
    "text": ("features", (None,), "biuf"),
    "tokens": ("sequences", (), "O"),
}


def load_mm_imdb_hdf5(
    path: str, *, modalities: Sequence[str] = ("vgg", "text"), ends: tuple[int, int, int] = ENDS
) -> Dataset:
    """Reads the file.

    Args:
      path: of it.
      modalities: those wanted, in this order, of image `[n, 256, 160, 3]` float32 as stored (blue,
        green, red, less VGG's means), vgg `[n, 4096]` float32, both read when they are asked for;
        text `[n, 300]` float32, a plot's mean word vector; tokens, sequences `[n, length, 1]` int32
        as long as the file's longest.
      ends: where the training, the dev and the test rows end.

    Returns:
      A label of 0 and 1 a genre, by the file's own names, by frequency; films' ids are ids.

    Raises InvalidInput, naming the file and dataset, where h5py is missing, the file is not whole,
    a dataset is missing or another, has other rows than `ends`, NaN or infinity, or where genres
    are not 0 and 1.
    """
    known = bool(modalities) and set(modalities) <= set(_STORED)
    require(known, "modalities", tuple(modalities), "some of " + ", ".join(_STORED))
    require(bool(path) and os.path.isfile(path), "--data", path, "the path of an existing file")
    rising = len(ends) == 3 and 0 < ends[0] < ends[1] < ends[2]
    require(rising, "ends", ends, "three rising numbers of rows")
    n = ends[2]
    with open_hdf5(path) as file:
        result = dataset(path, file, "genres", (None, None), "biuf")
        if len(result) != n:
            raise InvalidInput(
                f"{path}: genres has {len(result)} rows; use {n}, or pass other ends"
            )
        labels = whole_numbers(read_values(path, result), 1, f"{path}: genres")
        names = _names(path, result)
        ids = dataset(path, file, "imdb_ids", (n,), "SO")[:]
        values: dict[str, Values] = {}
        masks = {}
        for name in modalities:
            if name == "tokens":
                steps, masks[name] = padded(_tokens(path, file, n))
                values[name] = steps[..., None]
            else:
                values[name] = _values(path, file, name, n)
    ids = np.array([i.decode("latin1") if isinstance(i, bytes) else str(i) for i in ids])
    films, first = np.unique(ids, return_index=True)
    if len(films) < n:
        twice = ids[np.setdiff1d(np.arange(n), first)[0]]
        rows = f"{n - len(films)} of {n} rows are of films that stand twice, such as {str(twice)!r}"
        raise InvalidInput(f"{path}: imdb_ids: {rows}; use each once")
    return Dataset.from_arrays(
        values,
        labels=dict(zip(names, labels.T, strict=True)),
        lengths=masks,
        split=np.repeat(SPLITS, np.diff([0, *ends])),
        name="MM-IMDb",
    ).also_by(ids)


def _names(path: str, genres: Any) -> tuple[str, ...]:
    """The genres' names, an attribute: JSON, or strings."""
    names = genres.attrs.get("target_names", ())
    try:
        names = json.loads(names) if isinstance(names, (str, bytes)) else list(names)
    except ValueError as error:
        raise InvalidInput(f"{path}: target_names of genres is no JSON ({error})") from error
    text = [n.decode("latin1") if isinstance(n, bytes) else str(n) for n in names]
    if len(text) != genres.shape[1]:
        raise InvalidInput(
            f"{path}: target_names of genres has {len(text)} names, genres {genres.shape[1]} "
            "columns; use one each"
        )
    twice = [name for name in text if text.count(name) > 1]
    require(not twice, f"{path}: target_names", twice, "each genre once")
    return tuple(text)


def _tokens(path: str, file: Any, n: int) -> list[np.ndarray]:
    stored, shape, kinds = _STORED["tokens"]
    rows = [np.asarray(row) for row in dataset(path, file, stored, (n, *shape), kinds)[:]]
    for k, row in enumerate(rows):
        whole = row.dtype.kind in "iu" and row.ndim == 1 and row.size > 0
        if not whole or row.min() < 0 or row.max() >= 2**31:
            message = f"{path}: {stored}, row {k}: use whole numbers >= 0, at least 1"
            raise InvalidInput(f"{message}, each below 2^31")
    return [row.astype(np.int32) for row in rows]


def _values(path: str, file: Any, name: str, n: int) -> Values:
    stored, shape, kinds = _STORED[name]
    result = dataset(path, file, stored, (n, *shape), kinds)
    return read_float32(path, result) if name == "text" else _later(path, name, result.shape)


def _later(path: str, name: str, shape: tuple[int, ...]) -> Lazy:
    stored = _STORED[name][0]
    last = lambda values: np.moveaxis(values, 1, -1) if name == "image" else values

    def read(rows):
        with open_hdf5(path) as file:
            return last(dataset_rows(path, file[stored], rows).astype(np.float32))

    axes = (shape[0], *shape[2:], shape[1]) if name == "image" else shape
    return Lazy(axes, np.dtype(np.float32), read)

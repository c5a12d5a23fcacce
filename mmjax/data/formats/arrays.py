"""Named arrays: npz, safetensors, HDF5, and a folder of npy files."""

import os
from collections.abc import Callable
from functools import cache

import numpy as np

from mmjax.data.features import open_arrays
from mmjax.data.files.hdf5 import open_hdf5, read_values
from mmjax.data.files.pictures import left_out
from mmjax.data.formats.table import Table
from mmjax.data.values import Lazy
from mmjax.errors import InvalidInput


def open_archive(path: str) -> Table:
    """An .npz or .safetensors file, or a single .npy, which is one column of the file's name.

    Raises InvalidInput where it is broken, or, once asked for, an array holds Python objects.
    """
    arrays = open_arrays(path)
    if path.lower().endswith(".npy"):
        name = os.path.splitext(os.path.basename(path))[0]
        return Table(path, {name: arrays["features"]})
    if not arrays:
        raise InvalidInput(f"{path}: holds no arrays")
    return Table(path, arrays)


def open_folder(root: str) -> Table:
    """A folder of .npy files, each a column of the file's name; mapped, not read."""
    names = sorted(os.listdir(root))
    files = [name for name in names if name.lower().endswith(".npy")]
    others = [name for name in names if name not in files and not name.startswith(".")]
    read = lambda name: cache(lambda: open_arrays(os.path.join(root, name))["features"]())
    columns = {os.path.splitext(name)[0]: read(name) for name in files}
    skipped = left_out(root, others, "no .npy")
    return Table(root, columns, remarks=(skipped,) if skipped else ())


def open_hdf5_file(path: str) -> Table:
    """Datasets of a .h5 file, those in groups as `group/name`; rows stay there until asked for."""
    columns: dict[str, Callable] = {}

    def visit(name, item):
        if hasattr(item, "dtype") and item.shape:
            columns[name] = cache(lambda: _hdf5_column(path, name))

    with open_hdf5(path) as file:
        file.visititems(visit)
    if not columns:
        raise InvalidInput(f"{path}: holds no datasets")
    return Table(path, columns)


def _hdf5_column(path: str, name: str) -> np.ndarray | Lazy:
    with open_hdf5(path) as file:
        result = file[name]
        if result.dtype.kind == "O":
            if result.dtype.metadata is None or result.dtype.metadata.get("vlen") is not str:
                raise InvalidInput(f"{path}: {name!r} holds {result.dtype}; use numbers or text")
            return np.array(result.asstr()[()], np.str_)
        if len(result.shape) < 2:
            return read_values(path, result)
        shape, sort = result.shape, read_values(path, result, slice(0, 1)).dtype

    def read(rows):
        once, back = np.unique(rows, return_inverse=True)  # h5py wants them sorted, once each
        with open_hdf5(path) as file:
            return read_values(path, file[name], once)[back]

    return Lazy(shape, sort, read)


OPENERS = {
    ".npz": open_archive,
    ".npy": open_archive,
    ".safetensors": open_archive,
    ".h5": open_hdf5_file,
    ".hdf5": open_hdf5_file,
}

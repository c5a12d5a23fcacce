"""HDF5 files: opened and checked, every fault told in one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from mmjax.data.files.checks import check_finite, plain
from mmjax.data.files.optional import needed
from mmjax.errors import InvalidInput


@contextmanager
def open_hdf5(path: str) -> Iterator[Any]:
    """An open h5py.File, for reading.

    Raises InvalidInput where h5py is missing, and where the file is broken, then or inside.
    """
    h5py = needed("h5py", path)
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError) as error:
        raise InvalidInput(f"{path}: not a whole HDF5 file ({_line(error)})") from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:160]


def dataset(path: str, file: Any, name: str, shape: tuple[int | None, ...], kinds: str) -> Any:
    """A dataset of an open file, not yet read.

    Args:
      path: of the file.
      file: as open_hdf5 gives it.
      name: of the dataset.
      shape: of it; None stands for any size >= 1.
      kinds: letters of the numpy kinds allowed; bfloat16, two raw bytes in HDF5, goes with any.

    Raises InvalidInput where it is missing or another.
    """
    result = file.get(name)
    if not hasattr(result, "dtype"):
        raise InvalidInput(f"{path}: no dataset {name!r}; it holds {', '.join(file) or 'nothing'}")
    fits = len(result.shape) == len(shape) and all(
        size >= 1 if wanted is None else size == wanted
        for size, wanted in zip(result.shape, shape, strict=False)
    )
    if not fits or result.dtype.kind not in kinds + ("V" if result.dtype == "V2" else ""):
        wanted = ", ".join("n" if size is None else str(size) for size in shape)
        raise InvalidInput(
            f"{path}: {name} is {result.dtype} {result.shape}; use [{wanted}] of kind {kinds}"
        )
    return result


def read_values(path: str, stored: Any, rows: Any = ()) -> np.ndarray:
    """A dataset's values, or some rows of them, as `plain` has them."""
    return plain(stored[rows], stored.name.lstrip("/"), path)


def read_float32(path: str, stored: Any) -> np.ndarray:
    """A dataset's values as float32; InvalidInput where one is not finite."""
    values = read_values(path, stored)
    check_finite(f"{path}: {stored.name.lstrip('/')}", values)
    return values.astype(np.float32, copy=False)


def dataset_rows(path: str, stored: Any, rows: np.ndarray) -> np.ndarray:
    """Rows of a dataset in any order and repeated, which HDF5 itself reads sorted and once each.

    Raises InvalidInput that names the row of a value that is not finite.
    """
    once, back = np.unique(rows, return_inverse=True)
    values = read_values(path, stored, once)
    check_finite(f"{path}: {stored.name.lstrip('/')}", values, rows=once)
    return values[back]

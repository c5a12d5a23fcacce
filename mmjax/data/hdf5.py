"""HDF5 files: opened and checked, every fault told in one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from mmjax.data.optional import needed
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
      kinds: letters of the numpy kinds allowed.

    Raises InvalidInput where it is missing or another.
    """
    found = file.get(name)
    if not hasattr(found, "dtype"):
        raise InvalidInput(f"{path}: no dataset {name!r}; it holds {', '.join(file) or 'nothing'}")
    fits = len(found.shape) == len(shape) and all(
        size >= 1 if wanted is None else size == wanted
        for size, wanted in zip(found.shape, shape, strict=False)
    )
    if not fits or found.dtype.kind not in kinds:
        wanted = ", ".join("n" if size is None else str(size) for size in shape)
        raise InvalidInput(
            f"{path}: {name} is {found.dtype} {found.shape}; use [{wanted}] of kind {kinds}"
        )
    return found


def dataset_rows(found: Any, rows: np.ndarray) -> np.ndarray:
    """Rows of a dataset in any order and repeated, which HDF5 itself reads sorted and once each."""
    once, back = np.unique(rows, return_inverse=True)
    return found[once][back]

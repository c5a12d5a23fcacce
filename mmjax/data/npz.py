"""Arrays from a user's .npz file: every way it can be wrong is told in one line."""

import os
import zipfile
import zlib
from collections.abc import Sequence

import numpy as np

from mmjax.errors import InvalidInput, require


def read_arrays(path: str, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Reads the named arrays; nothing in the file is ever executed.

    Args:
      path: an .npz file.
      names: arrays wanted.

    Returns:
      name -> array, as stored.

    Raises InvalidInput where the file is missing, truncated or no npz, an array is missing, holds
    Python objects, is empty, or has NaN or infinity.
    """
    require(
        bool(path) and os.path.isfile(path), "--data", path, "the path of an existing .npz file"
    )
    try:
        with np.load(path, allow_pickle=False) as file:
            if not hasattr(file, "files"):
                raise InvalidInput(f"{path}: a single array, not an .npz archive of named arrays")
            return {name: _one(path, file, name) for name in dict.fromkeys(names)}
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        raise InvalidInput(f"{path}: not a whole .npz file ({error})") from error
    except ValueError as error:
        if isinstance(error, InvalidInput):
            raise
        raise InvalidInput(
            f"{path}: can't be read as .npz ({str(error).splitlines()[0]})"
        ) from error


def _one(path: str, file, name: str) -> np.ndarray:
    if name not in file.files:
        raise InvalidInput(f"{path}: no array {name!r}; it holds {', '.join(sorted(file.files))}")
    try:
        array = file[name]
    except ValueError as error:
        if "allow_pickle" not in str(error) and "Object arrays" not in str(error):
            raise
        told = f"{path}: array {name!r} holds Python objects, which are never loaded"
        raise InvalidInput(f"{told}; save it as a numeric array") from error
    if array.dtype.kind not in "biufUS":
        raise InvalidInput(
            f"{path}: array {name!r} has dtype {array.dtype}; use numbers or strings"
        )
    if array.ndim == 0 or array.shape[0] == 0:
        raise InvalidInput(
            f"{path}: array {name!r} has shape {array.shape}; use [n, ...] with n >= 1"
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = np.argwhere(~np.isfinite(array))[0].tolist()
        raise InvalidInput(f"{path}: array {name!r} has NaN or infinity, first at index {bad}")
    return array

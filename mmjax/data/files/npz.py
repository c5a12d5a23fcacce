"""Arrays from a user's .npz file: every way it can be wrong is told in one line."""

import os
import zipfile
import zlib
from collections.abc import Sequence

import numpy as np

from mmjax.data.files.checks import finite, plain
from mmjax.errors import InvalidInput, require


def read_arrays(path: str, names: Sequence[str], *, check: bool = True) -> dict[str, np.ndarray]:
    """Reads the named arrays; nothing in the file is ever executed.

    Args:
      path: an .npz file.
      names: arrays wanted.
      check: whether NaN, infinity and values beyond float32 are refused.

    Returns:
      name -> array, as stored but for what `plain` changes.

    Raises InvalidInput where the file is missing, truncated or no npz, an array is missing, holds
    Python objects, is empty, or has NaN, infinity or values beyond float32.
    """
    require(
        bool(path) and os.path.isfile(path), "--data", path, "the path of an existing .npz file"
    )
    try:
        with np.load(path, allow_pickle=False) as file:
            if not hasattr(file, "files"):
                raise InvalidInput(f"{path}: a single array, not an .npz archive of named arrays")
            return {name: _one(path, file, name, check) for name in dict.fromkeys(names)}
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        raise InvalidInput(f"{path}: not a whole .npz file ({error})") from error
    except ValueError as error:
        if isinstance(error, InvalidInput):
            raise
        raise InvalidInput(
            f"{path}: can't be read as .npz ({str(error).splitlines()[0]})"
        ) from error


def _one(path: str, file, name: str, check: bool) -> np.ndarray:
    if name not in file.files:
        raise InvalidInput(f"{path}: no array {name!r}; it holds {', '.join(sorted(file.files))}")
    try:
        array = file[name]
    except ValueError as error:
        if "allow_pickle" not in str(error) and "Object arrays" not in str(error):
            raise
        array = np.empty(0, object)  # told as one is that another reader finds
    array = plain(array, name, path)
    if array.ndim == 0 or array.shape[0] == 0:
        raise InvalidInput(
            f"{path}: array {name!r} has shape {array.shape}; use [n, ...] with n >= 1"
        )
    return finite(array, name, path) if check else array

"""Files that are whole or not there."""

import hashlib
import os
import re
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from typing import IO

import numpy as np


def _atomically(path: str, write: Callable[[IO], object], **options) -> None:
    folder = os.path.dirname(os.path.abspath(path))
    os.makedirs(folder, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=".", suffix=".tmp")
    try:
        with os.fdopen(handle, **options) as file:
            write(file)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def atomic_write(path: str, text: str) -> None:
    """Writes a text file under a temporary name, then renames it: never half-written."""
    _atomically(path, lambda file: file.write(text), mode="w", encoding="utf-8", newline="")


def save_arrays(path: str, /, **arrays: np.ndarray) -> None:
    """Writes an .npz file likewise, not compressed, so that readers can map it: arrays of any name,
    as users have them (`path`, `file`, `allow_pickle`).

    Raises ValueError for Python objects, which no reader of ours loads.
    """
    _atomically(path, lambda file: write_npz(file, arrays), mode="wb")


def write_npz(file: IO, arrays: Mapping[str, np.ndarray]) -> None:
    """What np.savez writes; but that has arguments, `file` and `allow_pickle`, where arrays may be
    called so."""
    with zipfile.ZipFile(file, mode="w", compression=zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)


def slug(name: str, *, of_user: bool = False) -> str:
    """A setting's name as a file name: `/` and spaces become `_`.

    Names with other signs (`$`, `|`, letters beyond ASCII) and long ones end in a hash, so that two
    of them never share a file; of users, whose `a b` and `a_b` may be two, those with spaces and
    `/` do, too.
    """
    plain = re.sub(r"[^A-Za-z0-9_.=-]+", "_", name)
    signs = "" if of_user else "/ "
    if re.fullmatch(rf"[A-Za-z0-9_=-][A-Za-z0-9_.={signs}-]{{0,99}}", name):
        return plain
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{plain[:80].lstrip('.')}-{digest}"

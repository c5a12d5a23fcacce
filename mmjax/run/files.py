"""Files that are whole or not there."""

import hashlib
import os
import re
import tempfile
from collections.abc import Callable
from typing import IO, Any

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


def save_arrays(path: str, **arrays: np.ndarray) -> None:
    """Writes an .npz file likewise, not compressed, so that readers can map it."""
    named: dict[str, Any] = arrays  # numpy takes them beside flags of its own
    _atomically(path, lambda file: np.savez(file, **named), mode="wb")


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

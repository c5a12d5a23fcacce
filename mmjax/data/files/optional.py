"""Packages that only some files need: asked for when such a file is read."""

import importlib
from types import ModuleType

from mmjax.errors import InvalidInput


def needed(package: str, path: str) -> ModuleType:
    """The package, or InvalidInput that says how to install what reading the file needs."""
    try:
        return importlib.import_module(package)
    except ImportError:
        raise InvalidInput(f"{path}: reading it needs `pip install {package}`") from None

"""Rooms that are functions of the front door too."""

import importlib
import sys
from types import ModuleType
from typing import Any


class _CallableRoom(ModuleType):
    """`mmjax.disentangle(model, data)` beside `from mmjax.disentangle import fast_ica`."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        room = self.__name__.rpartition(".")[2]
        # Looked up when it is called: a room knows nothing of what is above it.
        return getattr(importlib.import_module("mmjax.models"), f"{room}_model")(*args, **options)


def make_callable(room: str) -> None:
    """The module of that name calls `mmjax.models.<its last part>_model`."""
    sys.modules[room].__class__ = _CallableRoom

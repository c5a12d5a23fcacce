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
        return getattr(importlib.import_module("mmjax.models"), room)(*args, **options)


def make_callable(room: str) -> None:
    """The module of that name calls the function of its name of mmjax.models."""
    sys.modules[room].__class__ = _CallableRoom

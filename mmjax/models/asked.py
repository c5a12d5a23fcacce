"""What is asked of a model, by type: whatever else stands there is told in a line."""

import os
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.data.dataset import Dataset
from mmjax.errors import InvalidInput, require, whole
from mmjax.models.model import Model

_UNASKED: Any = object()


def check_asked(
    data: Any, *, model: Any = _UNASKED, bare: bool = False, key: Any = _UNASKED
) -> None:
    """Raises InvalidInput where the data, the model or the key is something else.

    Args:
      data: a Dataset.
      model: a Model.
      bare: whether None stands for data that are embeddings themselves.
      key: a PRNG key.
    """
    if model is not _UNASKED and not (bare and model is None):
        allowed = "a model, of mm.fit or mm.load"
        allowed += ", or None where the data are embeddings" if bare else ""
        _require_type(isinstance(model, Model), "model", model, allowed)
    allowed = "a mm.Dataset, of mm.Dataset.from_arrays or mm.read"
    _require_type(isinstance(data, Dataset), "data", data, allowed)
    if key is not _UNASKED:
        _require_type(_is_key(key), "key", key, "one of jax.random.key(0)")


def _is_key(key: Any) -> bool:
    if not isinstance(key, jax.Array):
        return False
    if jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        return key.shape == ()
    return key.dtype == jnp.uint32 and key.shape == (2,)  # of jax.random.PRNGKey


def _require_type(good: bool, name: str, value: Any, allowed: str) -> None:
    if not good:
        kind = type(value).__name__
        shape = getattr(value, "shape", None)
        message = f"{kind} {tuple(shape)}" if isinstance(shape, tuple) else kind
        raise InvalidInput(f"{name}: a value of type {message} is not allowed; use {allowed}")


def check_names(flag: str, names: Sequence[str] | None) -> None:
    """Raises InvalidInput unless it is None or a list of names: a text alone is no list."""
    if isinstance(names, str):
        require(False, flag, names, f"a list of names: [{names!r}]")
    listed = isinstance(names, Sequence) and all(isinstance(name, str) for name in names)
    require(names is None or listed, flag, names, "a list of names")
    require(names is None or len(set(names)) == len(names), flag, names, "each name once")


def check_page(path: Any) -> str:
    """The path of a page to write; raises InvalidInput for a folder and for other endings."""
    require(isinstance(path, str | os.PathLike), "path", path, "the path of a page")
    name = os.fspath(path)
    ending = os.path.splitext(name)[1].lower()
    good = ending in ("", ".md", ".markdown", ".txt", ".html", ".htm")
    require(good and not os.path.isdir(name), "path", name, "a file that ends in .html or .md")
    return name


def check_switch(flag: str, value: bool) -> None:
    """Raises InvalidInput unless it is True or False: a text such as 'no' would be taken as yes."""
    require(isinstance(value, bool | np.bool_), flag, value, "True or False")


def check_numbers(flag: str, numbers: Sequence[int]) -> list[int]:
    """The numbers as they are; raises InvalidInput unless they are whole, 1 or more, and some."""
    allowed = "a list of whole numbers >= 1"
    listed = isinstance(numbers, Sequence | range) or getattr(numbers, "ndim", 0) == 1
    require(listed and not isinstance(numbers, str) and len(numbers) > 0, flag, numbers, allowed)
    return [whole(flag, number) for number in numbers]

"""What is asked of a model, by type: whatever else stands there is told in a line."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.data.dataset import Dataset
from mmjax.encoders import HEADS
from mmjax.errors import InvalidInput, one_of, require, whole
from mmjax.models.model import Model
from mmjax.nets.embedders import Fusion

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
        _require_type(_is_key(key), "key", key, "a key, as jax.random.key(0)")


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


def check_training(
    data: Dataset,
    *,
    nets: Any,
    fusion: Any,
    head: Any,
    tokenizer: Any,
    augment: Any,
    monitor: Any,
    chunk: Any,
    workdir: Any,
    progress: Any,
    stop: Any,
    loggers: Any,
) -> None:
    """Raises InvalidInput for options of fit that are something else, or that nothing reads."""
    _require_type(nets is None or isinstance(nets, Mapping), "nets", nets, "a dict: name -> net")
    allowed = "a mm.Fusion, or None for towers"
    _require_type(fusion is None or isinstance(fusion, Fusion), "fusion", fusion, allowed)
    require(isinstance(head, str) and head in HEADS, "head", head, one_of(sorted(HEADS), head))
    towers_alone = fusion is not None and head != "sphere"
    require(not towers_alone, "head", head, "'sphere': it is of towers, and here is a fusion")
    allowed = "a Tokenizer (mmjax.nets), or None"
    _require_type(
        tokenizer is None or hasattr(tokenizer, "encode"), "tokenizer", tokenizer, allowed
    )
    texts = any(column.kind == "text" for column in data.columns.values())
    require(tokenizer is None or texts, "tokenizer", "one", "None where no modality is text")
    mapped = augment is None or isinstance(augment, Mapping)
    _require_type(mapped, "augment", augment, "a dict: name -> function (key, observations)")
    for name, view in (augment or {}).items():
        require(name in data.columns, "augment", name, "modalities: " + ", ".join(data.columns))
        allowed = "a function (key, observations) -> observations"
        _require_type(callable(view), f"augment of {name}", view, allowed)
    allowed = "loss, or a function (model, rows) -> number"
    require(callable(monitor) or monitor == "loss", "monitor", monitor, allowed)
    if chunk is not None:
        whole("chunk", chunk)
    path = workdir is None or isinstance(workdir, str | os.PathLike)
    _require_type(path, "workdir", workdir, "the path of a folder, or None")
    check_switch("progress", progress)
    allowed = "a function () -> number of a signal or None"
    _require_type(stop is None or callable(stop), "stop", stop, allowed)
    check_names("loggers", loggers)


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

"""A user's own loss, whose faults are told in a line that names it."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from mmjax.errors import InvalidInput, did_you_mean, require
from mmjax.losses.loss import Context, Loss

_LONG = 300  # letters of another error that a line shows
_RETURNS = "(scalar, dict of metrics)"


def loss_name(loss: Loss) -> str:
    """The name of its function.

    Example:
      >>> def margin(params, z, context): ...
      >>> loss_name(Loss(lambda key, dim: {}, margin))
      'margin'
    """
    made = getattr(loss.value, "func", loss.value)
    name = getattr(made, "__qualname__", type(made).__qualname__)
    return name.split(".<locals>")[0]


def check_is_loss(loss: Any, allowed: str = "a Loss: mmjax.Loss(init, value)") -> None:
    """Raises InvalidInput for what is no Loss of two functions."""
    require(isinstance(loss, Loss), "loss", type(loss).__name__, allowed)
    for name, function in loss._asdict().items():
        require(callable(function), f"loss: {name}", function, "a function")


def told(loss: Loss, name: str = "", *, results: bool = True) -> Loss:
    """The same loss; what it raises or returns in error is told in a line, its own error the cause.

    Args:
      loss: the user's.
      name: of it; empty for that of its function.
      results: whether what value returns is looked at.

    Raises InvalidInput for what is no Loss. So do its functions, where those of the loss fail.
    """
    check_is_loss(loss)
    name = name or loss_name(loss)

    def init(key, dim):
        params = _called(lambda: loss.init(key, dim), f"init of {name} fails on (key, {dim})")
        return jax.tree.map(lambda leaf: _floats(name, leaf), params)

    def value(params, z, context):
        shapes = ", ".join(f"{k} {list(jnp.shape(v))}" for k, v in z.items())
        result = _called(lambda: loss.value(params, z, context), f"{name} fails on z of {shapes}")
        if results and (fault := fault_of(result)):
            raise InvalidInput(f"loss: {name} returns {fault}; use {_RETURNS}")
        return result

    return Loss(init, value)


def fault_of(result: Any) -> str:
    """What is wrong with what a value has returned; empty if nothing is."""
    pair = isinstance(result, tuple) and len(result) == 2
    if not pair or not isinstance(result[1], dict):
        return f"({', '.join(map(_kind, result))})" if pair else _kind(result)
    if not _is_float(result[0]) or jnp.shape(result[0]):
        return f"{_kind(result[0])} as the scalar"
    for name, metric in result[1].items():
        if _dtype(metric) is None or jnp.shape(metric):
            return f"{_kind(metric)} as metric {name!r}"
    return ""


def _called(function: Callable[[], Any], failing: str) -> Any:
    try:
        return function()
    except InvalidInput as error:
        if str(error).startswith("loss: "):
            raise
        raise InvalidInput(f"loss: {error}") from error
    except Exception as error:
        lines = [" ".join(line.split()) for line in str(error).splitlines()]
        said = next((line for line in lines if line), "no message")
        said = said if len(said) <= _LONG else f"{said[:_LONG]}..."
        message = f"loss: {failing}: {type(error).__name__}: {said}{_hint(error)}"
        raise InvalidInput(message) from error


def _hint(error: Exception) -> str:
    """What may help, behind the error; or nothing."""
    if isinstance(error, AttributeError) and isinstance(error.obj, Context):
        return (
            did_you_mean(error.name or "", Context._fields) or f"; use {', '.join(Context._fields)}"
        )
    if isinstance(error, ValueError) and "values to unpack (expected 2" in str(error):
        return "; use mmjax.losses.in_pairs(loss), which gives it two at a time"
    if isinstance(error, jax.errors.JAXTypeError):
        return "; in a compiled function use jnp, not float(), int(), if or numpy"
    return ""


def _floats(name: str, leaf: Any) -> Any:
    if not _is_float(leaf):
        allowed = "a tree of float arrays, {} for none"
        raise InvalidInput(f"loss: init of {name} returns {_kind(leaf)}; use {allowed}")
    return leaf if hasattr(leaf, "shape") else jnp.float32(leaf)


def _dtype(value: Any) -> Any:
    try:
        return jnp.result_type(value)
    except TypeError:
        return None


def _is_float(value: Any) -> bool:
    dtype = _dtype(value)
    return dtype is not None and bool(jnp.issubdtype(dtype, jnp.floating))


def _kind(value: Any) -> str:
    dtype = _dtype(value) if hasattr(value, "shape") else None
    return type(value).__name__ if dtype is None else f"{dtype} of shape {list(value.shape)}"

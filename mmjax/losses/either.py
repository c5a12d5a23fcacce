"""One name for a loss of arrays and for the Loss value that is made of it."""

import functools
import inspect
from collections.abc import Callable
from typing import ParamSpec, Protocol, overload

from mmjax.losses.loss import Loss
from mmjax.types import Array

P = ParamSpec("P")
Q = ParamSpec("Q")


class ArraysOrLoss(Protocol[P, Q]):
    """With its arrays the function gives their loss, a scalar; without them, a Loss."""

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Array: ...

    @overload
    def __call__(self, *args: Q.args, **kwargs: Q.kwargs) -> Loss: ...


def either(of_arrays: Callable[P, Array], make: Callable[Q, Loss]) -> ArraysOrLoss[P, Q]:
    """Both as one function, told apart by whether it is given any of the arrays.

    Args:
      of_arrays: a loss whose arrays are its arguments by place.
      make: `(keyword options) -> Loss`.
    """
    by_place = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = inspect.signature(of_arrays).parameters.values()
    arrays = {p.name for p in parameters if p.kind is by_place}

    @functools.wraps(of_arrays)
    def called(*args, **kwargs):
        return (of_arrays if args or arrays & kwargs.keys() else make)(*args, **kwargs)

    called.__doc__ = (
        f"{(of_arrays.__doc__ or '').rstrip()}\n\nWithout arrays, a Loss. {make.__doc__}"
    )
    return called

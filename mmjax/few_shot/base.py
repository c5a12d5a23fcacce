"""What every few-shot method is: a function that sees draws, and one that maps features to scores.

A method is fitted on `Draws`, which hold no test row: nothing that it chooses can depend on one.
"""

from collections.abc import Callable
from functools import partial, wraps
from typing import Any, NamedTuple, overload

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.evaluate.scores import accuracy_of_largest
from mmjax.types import AnyArray, Array, Key, Tree

SCALE = 100.0  # of cosines, CLIP's learned temperature (Radford et al. 2021)


class Draws(NamedTuple):
    """Few-shot draws of a data set, one after the other along the first axis.

    Attributes:
      x: `[draws, n, d]` unit image features, the shots of class 0, then of class 1 and so on.
      labels: `[draws, n]` int32 codes from 0.
      val: `[draws, m, d]` what hyper-parameters are chosen on.
      val_labels: `[draws, m]`.
      z, val_z: `[draws, n | m, k]` the same rows after an unmixing; without one x and val.
      texts: `[draws, classes, d]` unit text features; `[draws, 0, d]` where there are none.
      keys: `[draws]` of whatever is drawn in the fit.
    """

    x: Array
    labels: Array
    val: Array
    val_labels: Array
    z: Array
    val_z: Array
    texts: Array
    keys: Key


class Fitted(NamedTuple):
    """A fitted method.

    Attributes:
      params: what its scores need.
      choices: name -> `[draws]`, the hyper-parameters chosen on the validation rows.
      validation: `[draws]` accuracy on these; NaN where nothing was chosen.
    """

    params: Tree
    choices: dict[str, Array]
    validation: Array


class Method(NamedTuple):
    """A row of the table.

    Attributes:
      name: as shown.
      fit: `(draws, num_classes) -> Fitted`.
      scores: `(params of one draw, x [m, d], z [m, k]) -> [m, classes]`, pure.
      unmixing: name of the map that z comes from; None for x itself.
      texts: whether it needs text features.
      tuned: whether it is trained by gradient steps (and so takes longer).
    """

    name: str
    fit: Callable[[Draws, int], Fitted]
    scores: Callable[[Tree, Array, Array], Array]
    unmixing: str | None = None
    texts: bool = False
    tuned: bool = False


def over_draws(function: Callable[..., Any]) -> Callable[..., Any]:
    """`f(arrays of a draw, *numbers)` as a compiled function of all draws at once.

    Arrays have a leading axis of draws; whole numbers and text that follow are constants. On CPUs
    draws go one after the other, where none waits for the slowest; elsewhere side by side.
    """

    @partial(jax.jit, static_argnums=(1,))
    def every(arrays, constants):
        one = lambda args: function(*args, *constants)
        return jax.lax.map(one, arrays) if jax.default_backend() == "cpu" else jax.vmap(one)(arrays)

    @wraps(function)
    def call(*given):
        constant = [isinstance(v, (int, str, tuple)) and not hasattr(v, "_fields") for v in given]
        count = constant.index(True) if True in constant else len(given)
        return every(given[:count], given[count:])

    return call


_FULL = 16, 4  # shots, and validation rows a class, up to which rows are repeated
_MOST = 2048  # rows up to which they are; of more, the work would cost more than a program


def filled(draws: Draws, num_classes: int) -> tuple[Draws, Array]:
    """The draws with every row so many times that all numbers of shots have one shape.

    So one program is compiled for all of them. Nothing else changes: means over rows are the same,
    and sums are `copies` times as large.

    Returns:
      The draws, and `[draws]` copies of a training row; 1 where none fills up evenly.
    """
    copies = repeats(draws.x.shape[1], num_classes, _FULL[0])
    val_copies = repeats(draws.val.shape[1], num_classes, _FULL[1])
    draws = draws._replace(
        x=repeated(draws.x, copies),
        z=repeated(draws.z, copies),
        labels=repeated(draws.labels, copies),
        val=repeated(draws.val, val_copies),
        val_z=repeated(draws.val_z, val_copies),
        val_labels=repeated(draws.val_labels, val_copies),
    )
    return draws, jnp.full(len(draws.x), copies, jnp.float32)


def repeats(rows: int, num_classes: int, *full: int) -> int:
    """How often rows are repeated to be one of the full numbers a class, the first that fits."""
    each, rest = divmod(rows, num_classes)
    if rest or not each:
        return 1
    fits = (k for k in full if k % each == 0 and k * num_classes <= _MOST)
    return next(fits, each) // each


@overload
def repeated(v: Array, copies: int) -> Array: ...
@overload
def repeated(v: AnyArray, copies: int) -> AnyArray: ...
def repeated(v: AnyArray, copies: int) -> AnyArray:
    """`[draws, n * copies, ...]`, copies of a row side by side."""
    return jnp.asarray(np.repeat(np.asarray(v), copies, 1)) if copies > 1 else v


def without_choice(params: Tree, draws: Draws) -> Fitted:
    """What a method gives that has nothing to choose."""
    return Fitted(params, {}, jnp.full(draws.x.shape[0], jnp.nan))


def class_means(x: Array, num_classes: int) -> Array:
    """Means `[classes, d]` of rows `[classes * shots, d]` that are class by class."""
    return jnp.mean(x.reshape(num_classes, -1, x.shape[-1]), 1)


def by_class(values: Array, num_classes: int) -> Array:
    """Sums `[m, classes]` of `[m, classes * shots]` over the shots: `values @ one_hot`."""
    return jnp.sum(values.reshape(len(values), num_classes, -1), 2)


def accuracies(
    method: Method,
    params: Tree,
    x: Array,
    z: Array,
    labels: Array,
    *,
    shared: bool,
    among: Array | None = None,
) -> Array:
    """`[draws]` accuracy of a fitted method on test rows.

    Args:
      method: it.
      params: of Fitted.
      x, z, labels: `[m, .]`, `[m]` test rows, with a leading axis of draws unless shared. z always
        has one, except where it is x.
      shared: whether all draws are judged on the same rows.
      among: `[classes]` bool, those that an answer may be; None: all.
    """
    return _accuracies(method.scores, params, x, z, labels, among, shared, z.ndim == 2)


@partial(jax.jit, static_argnums=(0, 6, 7))
def _accuracies(scores, params, x, z, labels, among, shared, z_is_x):
    # One draw after another: test rows that are shared are never copied for each.
    own = {"params": params} | ({} if shared else {"x": x, "labels": labels})
    own |= {} if z_is_x else {"z": z}

    def one(draw):
        given = {"x": x, "z": z, "labels": labels} | draw
        outputs = scores(given["params"], given["x"], given["z"])
        return accuracy_of_largest(outputs, given["labels"], among)

    return jax.lax.map(one, own)

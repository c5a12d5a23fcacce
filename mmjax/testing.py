"""Checks of a loss that is your own: what our tests ask of ours.

Example:
  >>> import jax.numpy as jnp
  >>> from mmjax import losses, testing
  >>> def barlow_twins(params, z, context):
  ...     a, b = (context.gather(v.astype(jnp.float32)) for v in z.values())
  ...     unit = lambda v: (v - v.mean(0)) / jnp.sqrt(v.var(0) + 1e-4)
  ...     c = unit(a).T @ unit(b) / len(a)
  ...     return jnp.sum(jnp.where(jnp.eye(len(c)), (1 - c) ** 2, 0.005 * c**2)), {}
  >>> testing.check_loss(losses.Loss(lambda key, dim: {}, barlow_twins))  # doctest: +SKIP
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from mmjax.errors import require, told_if_slow
from mmjax.losses import Context, Loss, no_gather
from mmjax.losses.checked import SIZES, LossFigures
from mmjax.losses.told import fault_of, loss_name, told
from mmjax.train import Collectives, collectives
from mmjax.types import Array, Tree

NEEDS = ("views", "labels", "ids", "key")
_NO_SLOPE = "its gradient is not finite"
_GUARD = "guard roots, logarithms, divisions at 0 (numerics.normalise) and empty sums"
_AXIS, _DIRECTIONS = "devices", 3
# Steps of differences and errors allowed: in float64, and where a loss casts to float32.
_STEPS = (1e-5, 1e-6), (1e-2, 1e-2)


class _Batch(NamedTuple):
    """What a loss sees of rows: views, name -> `[batch, dim]` each, z the first; and context."""

    views: tuple[dict[str, Array], ...]
    labels: Array | None
    ids: Array | None
    present: dict[str, Array]


def _drawn(rows, modalities, dim, needs, seed=0) -> _Batch:
    rng = np.random.default_rng(seed)
    draw = lambda: {name: rng.normal(size=(rows, dim)).astype(np.float32) for name in modalities}
    views: Any = (draw(), draw()) if "views" in needs else (draw(),)
    labels: Any = np.arange(rows, dtype=np.int32) % 2 if "labels" in needs else None
    ids: Any = (np.arange(rows, dtype=np.int32) // 2)[:, None] if "ids" in needs else None
    return _Batch(views, labels, ids, {})


def _rows(batch: _Batch, rows) -> _Batch:
    return jax.tree.map(lambda leaf: leaf[rows], batch)


def _as(tree: Tree, dtype) -> Tree:
    """Floats of the tree in that dtype."""
    floats = lambda x: jnp.issubdtype(jnp.result_type(x), jnp.floating)
    return jax.tree.map(lambda x: jnp.asarray(x, dtype) if floats(x) else jnp.asarray(x), tree)


def _said(what: str, problem: str, advice: str) -> str:
    return f"check_loss: {what}: {problem}; {advice}"


def _fail(what: str, problem: str, advice: str) -> None:
    raise AssertionError(_said(what, problem, advice))


def _apart(a: Tree, b: Tree) -> float:
    """The largest difference, relative to the larger of 1 and the largest of b's leaf."""
    worst = 0.0
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        if x.size:
            error = np.max(np.abs(x - y)) / max(1.0, np.max(np.abs(y)))
            worst = max(worst, float(error)) if np.isfinite(error) else float("inf")
    return worst


def _finite(tree: Tree) -> bool:
    return all(bool(np.all(np.isfinite(np.asarray(v, np.float64)))) for v in jax.tree.leaves(tree))


class _Checked(NamedTuple):
    """A loss as functions of what its gradient is taken of.

    Attributes:
      value: `(params, batch, gather=.., names=..) -> scalar`.
      slopes: `(params, batch, gather=..) -> (scalar, (gradient of params, of the views))`.
      compiled: slopes, compiled once a shape.
    """

    value: Callable[..., Array]
    slopes: Callable[..., tuple[Array, Tree]]
    compiled: Callable[..., tuple[Array, Tree]]


def _checked(loss: Loss, name: str, modalities: Sequence[str], needs: Sequence[str]) -> _Checked:
    def value(params, batch, gather=no_gather, names=tuple(modalities)):
        # What crosses jit comes out sorted: here names are as the caller has them.
        views = tuple({name: view[name] for name in names} for view in batch.views)
        context = Context(
            gather,
            batch.ids,
            batch.present,
            views if "views" in needs else (),
            batch.labels,
            jax.random.key(0) if "key" in needs else None,
        )
        result = loss.value(params, views[0], context)
        if fault := fault_of(result):
            advice = "it must return (scalar, metrics), metrics a dict of scalars"
            raise AssertionError(f"check_loss: value: {advice}; {name} returns {fault}")
        return result[0]

    def slopes(params, batch, gather=no_gather):
        of = lambda params, views: value(params, batch._replace(views=views), gather)
        return jax.value_and_grad(of, (0, 1))(params, batch.views)

    return _Checked(value, slopes, jax.jit(slopes))


def _gradient_error(checked: _Checked, params: Tree, batch: _Batch) -> float:
    """Along random directions against central differences; in float64 where the loss keeps it."""
    rng, worst = np.random.default_rng(1), 0.0
    with jax.enable_x64(True):
        params, batch = _as(params, jnp.float64), _as(batch, jnp.float64)
        run = jax.jit(checked.slopes)
        slopes, point = run(params, batch)[1], (params, batch.views)
        for _ in range(_DIRECTIONS):
            way = jax.tree.map(lambda v: rng.choice([-1.0, 1.0], v.shape), point)
            along = sum(
                float(jnp.sum(v * w))
                for v, w in zip(jax.tree.leaves(slopes), jax.tree.leaves(way), strict=True)
            )
            for step, allowed in _STEPS:
                ends = []
                for sign in (1, -1):
                    move = lambda v, w, by=sign * step: v + by * w
                    moved, views = jax.tree.map(move, point, way)
                    ends.append(float(run(moved, batch._replace(views=views))[0]))
                difference = (ends[0] - ends[1]) / (2 * step)
                error = abs(along - difference) / max(1.0, abs(difference))
                if error <= allowed:
                    break
            else:
                message = f"along a random direction it is {along:.6g}, differences say "
                advice = "look for stop_gradient, a rule of your own, rounding or a jump"
                _fail("gradient", message + f"{difference:.6g}", advice)
            worst = max(worst, error)
    return worst


def _on_devices(checked: _Checked, rows: int) -> tuple[int, Callable]:
    """How many, and slopes of the whole batch divided among them. Without a number of devices that
    divides the rows, a mapped axis stands for them."""
    real = jax.local_device_count()
    real = real if real > 1 and rows % real == 0 else 0
    count = real or next(k for k in (4, 2, 3, 5, 7, rows) if rows % k == 0)
    across: Collectives = collectives(_AXIS, count)

    def one(params, batch):
        value, (of_params, views) = checked.slopes(params, batch, across.gather)
        # A row's slope of the devices' mean is its share of that of their sum.
        return across.mean((value, of_params)), jax.tree.map(lambda v: v / count, views)

    def run(params, batch):
        if not real:
            split = lambda v: v.reshape(count, rows // count, *v.shape[1:])
            mapped = jax.vmap(one, in_axes=(None, 0), axis_name=_AXIS)
            (value, of_params), views = mapped(params, jax.tree.map(split, batch))
            first = jax.tree.map(lambda v: v[0], (value, of_params))
            return first[0], (first[1], jax.tree.map(lambda v: v.reshape(rows, -1), views))
        mesh = Mesh(np.array(jax.local_devices()), (_AXIS,))
        whole, parts = PartitionSpec(), PartitionSpec(_AXIS)
        mapped = jax.shard_map(
            one,
            mesh=mesh,
            in_specs=(whole, parts),
            out_specs=((whole, whole), parts),
            check_vma=False,
        )
        (value, of_params), views = mapped(params, batch)
        return value, (of_params, views)

    return count, jax.jit(run)


def _device_error(checked: _Checked, params: Tree, batch: _Batch, alone) -> tuple[float, int]:
    count, run = _on_devices(checked, len(jax.tree.leaves(batch.views)[0]))
    value, slopes = run(params, batch)
    message = f"{float(value):.6g} on {count} devices, {float(alone[0]):.6g} on one"
    if _apart(value, alone[0]) > 1e-4:
        ratio = float(alone[0]) / float(value) if value else 0.0
        summed = abs(ratio - count) < 1e-3 * count
        advice = (
            "take the mean over rows, not the sum"
            if summed
            else ("candidates are the rows of all devices: context.gather(rows)")
        )
        _fail("devices", message, advice)
    if not _finite(alone):
        return 0.0, count
    if (error := _apart((value, slopes), alone)) > 1e-3:
        advice = "use context.gather, which has the right gradient, for what other devices hold"
        _fail("devices", f"{message}, but gradients are {error:.1e} apart", advice)
    return error, count


def _order_error(what: str, one: Array, two: Array, advice: str) -> float:
    if (error := _apart(two, one)) > 1e-4:
        _fail(what, f"{float(one):.6g} in one order, {float(two):.6g} in another", advice)
    return error


def _check_finite(checked: _Checked, params: Tree, batch: _Batch) -> None:
    """At rows and modalities that are equal, at zero, and in batches of one and two."""
    same = lambda make: batch._replace(
        views=tuple({name: make(view, name) for name in view} for view in batch.views)
    )
    cases = {
        "identical rows": same(lambda view, name: jnp.ones_like(view[name])),
        "zeros": same(lambda view, name: jnp.zeros_like(view[name])),
        "equal modalities": same(lambda view, name: next(iter(view.values()))),
        "a batch of one row": _rows(batch, slice(0, 1)),
        "a batch of two rows": _rows(batch, slice(0, 2)),
    }
    for name, case in cases.items():
        value, slopes = checked.compiled(params, case)
        if not _finite((value, slopes)):
            where = _NO_SLOPE if _finite(value) else f"it is {float(value)}"
            _fail("finite", f"at {name} {where}", _GUARD)


def _check_slope(alone) -> None:
    if not any(np.any(np.asarray(slope)) for slope in jax.tree.leaves(alone[1][1])):
        _fail("gradient", "it is 0 of every embedding", "a loss compares the embeddings in z")


def _half_error(checked: _Checked, params: Tree, batch: _Batch) -> float:
    half = batch._replace(views=_as(batch.views, jnp.bfloat16))
    value, slopes = checked.compiled(params, half)
    if value.dtype != jnp.float32:
        advice = "cast embeddings to float32 before anything is summed"
        _fail("dtypes", f"of bfloat16 embeddings it is {value.dtype}, not float32", advice)
    if not _finite((value, slopes)):
        _fail("dtypes", f"of bfloat16 embeddings it is {float(value)}", "cast them to float32")
    rounded = batch._replace(views=_as(half.views, jnp.float32))
    return _apart(value, checked.compiled(params, rounded)[0])


def _absent_rows(checked: _Checked, params: Tree, batch: _Batch, name: str) -> str:
    """Whether rows that lack a modality are left out; what stands there must then not matter."""
    rows = len(batch.views[0][name])
    there = jnp.arange(rows) % 3 > 0
    said = batch._replace(present={name: there})
    value, _ = checked.compiled(params, said)
    if _apart(value, checked.compiled(params, batch)[0]) < 1e-6:
        return "not left out"
    fill = lambda v: jnp.where(there[:, None], v, jnp.nan)
    views = tuple(view | {name: fill(view[name])} for view in batch.views)
    result = checked.compiled(params, said._replace(views=views))
    if not _finite(result) or _apart(result[0], value) > 1e-5:
        advice = "put zeros there first: jnp.where(present[:, None], z, 0)"
        filled = f"{float(result[0]):.6g} with NaN in the rows that lack {name}"
        message = f"{float(value):.6g}, and {filled}"
        message += "" if _finite(result) else " (value or gradient)"
        _fail("absent rows", message, advice)
    return "left out"


def _memory(checked: _Checked, params: Tree, batch: _Batch) -> tuple[tuple[int, ...], str]:
    used = []
    for rows in SIZES:
        wide = lambda v, n=rows: jax.ShapeDtypeStruct((n, *v.shape[1:]), v.dtype)
        program = jax.jit(checked.slopes).lower(params, jax.tree.map(wide, batch)).compile()
        analysis: Any = program.memory_analysis()
        used.append(int(analysis.temp_size_in_bytes))
    growth = np.log(max(used[1], 1) / max(used[0], 1)) / np.log(SIZES[1] / SIZES[0])
    return tuple(used), "O(N^2)" if growth > 1.5 else "O(N)"


@told_if_slow("check_loss: compiling and comparing, about half a minute")
def check_loss(
    loss: Loss,
    *,
    modalities: Sequence[str] = ("x", "t"),
    dim: int = 3,
    batch: int = 16,
    needs: Sequence[str] = (),
    stops_gradients: bool = False,
    memory: bool = True,
) -> LossFigures:
    """Checks a Loss on random embeddings: all that training relies on, and some that it would like.

    In this order: it is a finite scalar; compiled = not compiled; the gradient (of parameters and
    embeddings) = finite differences; the order of rows and of names doesn't matter; several
    devices = one, in value and gradient; bfloat16 embeddings give a
    finite float32; all is finite at identical rows, zeros, equal modalities and batches of one and
    two; and if it leaves rows out that lack a modality, what stands there doesn't matter.

    Args:
      loss: yours.
      modalities: names of the embeddings; `joint` is that of a fusion.
      dim: of the embeddings.
      batch: rows, >= 4; with a multiple of the devices at hand, these are used.
      needs: what it reads of the context, of views, labels (0 and 1), ids, key.
      stops_gradients: whether it does so on purpose (parts that learn from terms of their own, such
        as FactorCL's critics); then no differences are taken.
      memory: whether the memory of large batches is measured, which compiles two more programs.

    Returns:
      The figures; `print` shows them as a table.

    Raises AssertionError with a line for each property that fails: its name, numbers, advice (one
    alone where it isn't finite, or differs compiled). Raises InvalidInput for bad options, and for
    a loss that fails.
    """
    require(batch >= 4, "batch", batch, "a whole number >= 4")
    require(set(needs) <= set(NEEDS), "needs", tuple(needs), "some of " + ", ".join(NEEDS))
    checked = _checked(told(loss, results=False), loss_name(loss), modalities, needs)
    given = jax.tree.map(jnp.asarray, _drawn(batch, modalities, dim, needs))
    params = told(loss).init(jax.random.key(0), dim)
    alone = checked.compiled(params, given)
    if not _finite(alone[0]):
        _fail("finite", f"of normal embeddings it is {float(alone[0])}", "look for a NaN")
    sloped = _finite(alone)
    if (jit_error := _apart(alone[0], eager := checked.value(params, given))) > 1e-4:
        message = f"{float(alone[0]):.6g} compiled, {float(eager):.6g} not"
        _fail("jit", message, "a loss is a pure function: no state, no random numbers but of key")
    failed: list[str] = []

    def found(check: Callable[..., Any], *arguments: Any) -> Any:
        """What the check returns; where it fails, that is told with what else does."""
        try:
            return check(*arguments)
        except AssertionError as error:
            failed.append(str(error))

    at, gradient_error = (checked, params, given), float("nan")
    if not sloped:
        failed.append(_said("finite", f"of normal embeddings {_NO_SLOPE}", _GUARD))
    elif not stops_gradients:
        gradient_error = found(_gradient_error, *at)
    row_error = 0.0
    if "key" not in needs:
        shuffled = _rows(given, np.random.default_rng(2).permutation(batch))
        moved = checked.compiled(params, shuffled)[0]
        advice = "compare rows of one place across modalities only; a positive is the same row"
        row_error = found(_order_error, "rows", alone[0], moved, advice)
    turned = jax.jit(partial(checked.value, names=tuple(modalities)[::-1]))(params, given)
    advice = "find modalities by name, or take the mean over all pairs: jax.jit sorts names"
    name_error = found(_order_error, "names", alone[0], turned, advice)
    device_error = found(_device_error, *at, alone)
    if sloped:  # else all of these tell of it again
        found(_check_slope, alone)
        half_error = found(_half_error, *at)
        found(_check_finite, *at)
        absent = found(_absent_rows, *at, modalities[0])
    if failed:
        raise AssertionError("\n".join(failed))
    used: Any = _memory(*at) if memory else ((), "not measured")
    errors = [gradient_error, jit_error, row_error, name_error, *device_error, half_error]
    return LossFigures(*[float(alone[0]), *errors, absent, *used])

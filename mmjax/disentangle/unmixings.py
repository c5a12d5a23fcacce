"""Linear maps of frozen features, fitted without labels: what a probe is given."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mmjax.disentangle.ica import fast_ica
from mmjax.disentangle.pca import pca
from mmjax.numerics import conditioned, floating
from mmjax.types import AnyArray, Array, Key, Tracked, untracked

# A start may end at a lesser optimum (one in a few of them, with tens of components).
_RESTARTS = 4
# Directions of less variance than this share of the largest are rounding in float32.
_FLOOR = 1e-6


class Affine(NamedTuple):
    """A map `x -> (x - mean) @ matrix`.

    Attributes:
      mean: `[f]`.
      matrix: `[f, k]`.
      back: `[k, f]`, its right inverse on the span that it keeps.
    """

    mean: Array
    matrix: Array
    back: Array


class Recipe(NamedTuple):
    """A map of frozen features, by name.

    Attributes:
      name: as shown.
      unmixing: a name in UNMIXINGS, or that of a control.
      num_components: principal directions that it works in, or None for all.
    """

    name: str
    unmixing: str
    num_components: int | None = None


def recipes(num_components: Sequence[int], *, turned: bool = False) -> list[Recipe]:
    """The published maps, and beside each the same with no rotation: what whitening does alone.

    Args:
      num_components: principal directions kept, one or more numbers.
      turned: whether whitening and a rotation by chance are among them, `turned`.
    """
    kinds = {"pca": "", "whitening": "whitening", "ica": "FastICA", "turned": "random rotation"}
    kinds = {kind: name for kind, name in kinds.items() if turned or kind != "turned"}
    rows = [Recipe(name, kind) for kind, name in kinds.items() if name]
    for k in num_components:
        named = {kind: f"PCA {k}" + (f" + {name}" if name else "") for kind, name in kinds.items()}
        rows += [Recipe(name, kind, k) for kind, name in named.items()]
    return rows


def components(affine: Affine, x: Array) -> Array:
    """`[n, f] -> [n, k]`."""
    return (floating(x) - affine.mean) @ affine.matrix


def features(affine: Affine, y: Array) -> Array:
    """`[n, k] -> [n, f]`: the features that have these components."""
    return floating(y) @ affine.back + affine.mean


def determined(x: AnyArray, num_components: int | None = None) -> int:
    """How many directions a sample `[n, f]` determines: at most asked for, n - 1, and its rank.

    Runs on the host: the number is a shape.
    """
    rank = int(_rank(conditioned(x, together=True)[0][0]))
    return max(1, min(rank, len(x) - 1, num_components or x.shape[1]))


_rank = jax.jit(lambda x: pca(x, floor=_FLOOR).rank)


def _scaled(x: Array, key: Key, k: int, tracked: Tracked) -> Affine:
    """Centred, and one scale for all: what a probe sees of the features as they are."""
    scale = jnp.sqrt(jnp.mean(x**2))
    scale = jnp.where(scale == 0, 1, scale)
    eye = jnp.eye(x.shape[1], dtype=x.dtype)
    return Affine(jnp.zeros(x.shape[1], x.dtype), eye / scale, eye * scale)


def _principal(x: Array, key: Key, k: int, tracked: Tracked) -> Affine:
    """The first k principal components, variances as they are but for one scale."""
    result = pca(x, k, floor=_FLOOR)
    scale = jnp.sqrt(jnp.mean(result.variances))
    scale = jnp.where(scale == 0, 1, scale)
    return Affine(result.mean, result.directions / scale, result.directions.T * scale)


def _whitened(x: Array, key: Key, k: int, tracked: Tracked) -> Affine:
    """The first k principal components, each of variance 1."""
    result = pca(x, k, floor=_FLOOR)
    return Affine(result.mean, result.whiten, result.colour)


def _independent(x: Array, key: Key, k: int, tracked: Tracked = untracked) -> Affine:
    """Independent components within the span of the first k principal ones."""
    result = fast_ica(x, key, num_components=k, restarts=_RESTARTS, floor=_FLOOR, tracked=tracked)
    return Affine(result.mean, result.unmixing.T, result.mixing.T)


def _of_any_unit(make: Callable[..., Affine]) -> Callable[..., Affine]:
    """The map of features of any real type, unit and offset, by one of features around 0."""

    def made(x: Array, key: Key, k: int, tracked: Tracked = untracked) -> Affine:
        (scaled,), mean, units = conditioned(x, together=True)
        result, unit = make(scaled, key, k, tracked), units[0]
        return Affine(result.mean * unit + mean, result.matrix / unit, result.back * unit)

    return made


# name -> `(x [n, f], key, k <= determined(x), tracked) -> Affine`; `none` keeps all f. Under a
# transformation (jit, vmap) nothing can be tracked.
UNMIXINGS: dict[str, Callable[..., Affine]] = {
    "none": _of_any_unit(_scaled),
    "pca": _of_any_unit(_principal),
    "whitening": _of_any_unit(_whitened),
    "ica": _of_any_unit(_independent),
}

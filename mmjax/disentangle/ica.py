"""Independent component analysis: whitening, a rotation, and what is known of the result."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mmjax.disentangle.pca import PCA, pca
from mmjax.disentangle.rotations import (
    ALGORITHMS,
    CONTRASTS,
    Contrast,
    advance_ascent,
    orthogonalised,
    start_ascent,
)
from mmjax.errors import choose, require
from mmjax.numerics import conditioned, floating, require_strength
from mmjax.types import Array, Key, Tracked, untracked

_BLOCK = 10  # passes between two looks from the host, where a long fit is tracked
_LONG = 2**24  # multiplications a pass and restart: below, all passes take a few seconds


class ICA(NamedTuple):
    """An unmixing, and how it was reached.

    Attributes:
      mean: `[f]`.
      unmixing: `[k, f]`; components are `(x - mean) @ unmixing.T`, of unit variance.
      mixing: `[f, k]`, its right inverse on the span of the principal components.
      negentropy: `[k]`, (E G(component) - E G(Normal))^2, descending: the order of components.
      converged: bool scalar; False where the steps ran out.
      steps: int32 scalar, passes over the data of the chosen restart.
      change: scalar, the algorithm's measure of convergence at the end (below the tolerance).
      stability: `[k]` in [-1, 1]: how alike other restarts find each component (its matched
        correlation less its mean one with their other components, averaged over restarts; after
        ICASSO, Himberg et al. 2004); None with one restart.
      rank: int32 scalar, principal directions above the whitening's floor; components beyond it
        are rounding.
    """

    mean: Array
    unmixing: Array
    mixing: Array
    negentropy: Array
    converged: Array
    steps: Array
    change: Array
    stability: Array | None
    rank: Array


def transform(ica: ICA, x: Array) -> Array:
    """Components `[n, k]` of observations `[n, f]`."""
    return (floating(x) - ica.mean) @ ica.unmixing.T


def inverse_transform(ica: ICA, components: Array) -> Array:
    """Observations `[n, f]` that have these components `[n, k]`; exact where k is f."""
    return floating(components) @ ica.mixing.T + ica.mean


def is_long(rows: int, num_components: int) -> bool:
    """Whether all passes take more than a few seconds: worth a look at how far they are."""
    return (rows + num_components) * num_components**2 >= _LONG


def fast_ica(
    x: Array,
    key: Key,
    *,
    num_components: int | None = None,
    algorithm: str = "picard",
    contrast: str = "logcosh",
    max_steps: int = 200,
    tolerance: float = 1e-4,
    restarts: int = 1,
    floor: float | None = None,
    tracked: Tracked = untracked,
) -> ICA:
    """Independent components of a sample, float32 or float64; compiled once per shape and options.

    Args:
      x: `[n, f]` of any real type, unit and offset, n >= 2.
      key: of the starting rotations.
      num_components: principal directions kept, 1 to f; None for f.
      algorithm: `parallel` and `deflation` are FastICA's (Hyvarinen 1999) with their fixed points;
        `picard` finds the same optima of the same contrast by a quasi-Newton method, in fewer
        passes over the data, and tells both kinds of tails apart by itself.
      contrast: `logcosh`, `exp` or `cube`.
      max_steps: passes over the data, at most (per component in deflation).
      tolerance: of the change: the distance between a component's successive directions, unit
        vectors up to sign; for picard the largest entry of the gradient.
      restarts: rotations started from, on accelerators all at once; the one of largest total
        negentropy is kept.
      floor: see pca.
      tracked: shows how far picard's passes are, where they last; the result is the same. Not
        under a jit or vmap.

    Components come in order of negentropy, each with positive skewness. Nothing is NaN for finite
    data, everything for others: where components are not determined (Gaussian or constant
    directions), `converged` and `rank` tell.

    Raises InvalidInput for an option out of range.

    Example:
      >>> sources = jax.random.laplace(jax.random.key(0), (5000, 2))
      >>> mixed = sources @ jnp.array([[1.0, 0.5], [-0.3, 1.0]])
      >>> found = fast_ica(mixed, jax.random.key(1))
      >>> corr = jnp.abs(jnp.corrcoef(transform(found, mixed).T, sources.T)[:2, 2:])
      >>> bool(found.converged), bool((corr.max(0) > 0.99).all())
      (True, True)
    """
    choose(CONTRASTS, "contrast", contrast)
    choose(ALGORITHMS, "algorithm", algorithm)
    require(max_steps >= 1, "max_steps", max_steps, "a whole number >= 1")
    require_strength("tolerance", tolerance, zero=False)
    require(restarts >= 1, "restarts", restarts, "a whole number >= 1")
    require(jnp.ndim(x) == 2 and len(x) >= 2, "x", jnp.shape(x), "two axes, [rows >= 2, features]")
    (scaled,), mean, units = conditioned(x, together=True)
    long = is_long(len(x), num_components or x.shape[1])
    if long and algorithm == "picard" and tracked is not untracked:
        start = scaled, key, tolerance, floor, max_steps
        result = _tracked_ica(*start, contrast, num_components, restarts, tracked)
    else:
        options = num_components, algorithm, contrast, max_steps, restarts
        result = _fast_ica(scaled, key, tolerance, floor, *options)
    unit = units[0]
    return result._replace(
        mean=result.mean * unit + mean, unmixing=result.unmixing / unit, mixing=result.mixing * unit
    )


def _mapped(one, starts):
    """On CPUs one after the other: no restart waits for the slowest, and less is compiled."""
    return jax.lax.map(one, starts) if jax.default_backend() == "cpu" else jax.vmap(one)(starts)


def _begun(x, key, floor, num_components, restarts) -> tuple[PCA, Array, Array]:
    """Whitening, white data `[n, k]`, rotations to start from `[restarts, k, k]`."""
    base = pca(x, num_components, floor=floor)
    white = (x - base.mean) @ base.whiten
    k = white.shape[1]
    return base, white, jax.random.normal(key, (restarts, k, k), x.dtype)


@partial(jax.jit, static_argnums=(4, 5, 6, 7, 8))
def _fast_ica(x, key, tolerance, floor, num_components, algorithm, contrast, max_steps, restarts):
    base, white, starts = _begun(x, key, floor, num_components, restarts)
    rotate, kind = ALGORITHMS[algorithm], CONTRASTS[contrast]
    one = lambda start: rotate(white, orthogonalised(start), kind, max_steps, tolerance)
    return _chosen(base, white, _mapped(one, starts), kind)


def _tracked_ica(
    x, key, tolerance, floor, max_steps, contrast, num_components, restarts, tracked
) -> ICA:
    """The same by picard, some passes a call, between which the host tells how far it is."""
    base, white, states = _start(x, key, tolerance, floor, contrast, num_components, restarts)
    label = f"FastICA, {white.shape[1]} components of {len(x)} rows"
    for until in tracked(range(_BLOCK, max_steps + _BLOCK, _BLOCK), label):
        states = _advance(white, states, min(until, max_steps), tolerance, contrast)
        if bool(jnp.all(states.best.converged)):
            break
    return _choose(base, white, states.best, contrast)


@partial(jax.jit, static_argnums=(4, 5, 6))
def _start(x, key, tolerance, floor, contrast, num_components, restarts):
    base, white, starts = _begun(x, key, floor, num_components, restarts)
    one = lambda w: start_ascent(white, orthogonalised(w), CONTRASTS[contrast], tolerance)
    return base, white, _mapped(one, starts)


@partial(jax.jit, static_argnums=4)
def _advance(white, states, until, tolerance, contrast):
    one = lambda state: advance_ascent(white, state, CONTRASTS[contrast], until, tolerance)
    return _mapped(one, states)


@partial(jax.jit, static_argnums=3)
def _choose(base, white, solutions, contrast):
    return _chosen(base, white, solutions, CONTRASTS[contrast])


def _chosen(base: PCA, white: Array, every, kind: Contrast) -> ICA:
    """Of all restarts the one of largest negentropy, its components in order."""
    negentropies = jax.lax.map(lambda w: _negentropy(white @ w.T, kind), every.rotation)
    best = jnp.argmax(jnp.sum(negentropies, 1))
    result = jax.tree.map(lambda v: v[best], every)
    stability = _stability(every.rotation, best) if len(negentropies) > 1 else None
    order = jnp.argsort(-negentropies[best])
    rotation = result.rotation[order]
    skew = jnp.mean((white @ rotation.T) ** 3, 0)
    rotation = rotation * jnp.where(skew < 0, -1, 1)[:, None].astype(white.dtype)
    return ICA(
        base.mean,
        rotation @ base.whiten.T,
        (rotation @ base.colour).T,
        negentropies[best][order],
        result.converged,
        result.steps,
        result.change,
        None if stability is None else stability[order],
        base.rank,
    )


def _negentropy(y: Array, contrast: Contrast) -> Array:
    return (jnp.mean(contrast.value(y), 0) - contrast.gaussian) ** 2


def _stability(rotations: Array, best: Array) -> Array:
    """`[restarts, k, k]` -> `[k]`, see ICA. In whitened space correlations are inner products."""
    restarts, k, _ = rotations.shape
    alike = jnp.abs(jnp.einsum("kd,rjd->rkj", rotations[best], rotations))
    matched = jnp.max(alike, 2)
    rest = (jnp.sum(alike, 2) - matched) / max(k - 1, 1)
    others = jnp.arange(restarts) != best
    return jnp.sum(jnp.where(others[:, None], matched - rest, 0), 0) / (restarts - 1)

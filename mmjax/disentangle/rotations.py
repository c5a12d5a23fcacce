"""Rotations of whitened data towards independence: fixed points and a quasi-Newton method."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mmjax.numerics import normalise
from mmjax.types import Array


class Contrast(NamedTuple):
    """A measure of non-Gaussianity E[value(y)] and its derivatives, element by element.

    Attributes:
      value: G.
      score: `y -> (g, g')`, the first and second derivative of G.
      gaussian: E[G] of a standard Normal.
    """

    value: Callable[[Array], Array]
    score: Callable[[Array], tuple[Array, Array]]
    gaussian: float


def _logcosh_value(y):
    return jnp.abs(y) + jnp.log1p(jnp.exp(-2 * jnp.abs(y))) - jnp.log(2.0).astype(y.dtype)


def _logcosh_score(y):
    g = jnp.tanh(y)
    return g, 1 - g * g


def _exp_score(y):
    bell = jnp.exp(-0.5 * y * y)
    return y * bell, (1 - y * y) * bell


CONTRASTS = {
    "logcosh": Contrast(_logcosh_value, _logcosh_score, 0.3745672075),
    "exp": Contrast(lambda y: -jnp.exp(-0.5 * y * y), _exp_score, -(0.5**0.5)),
    "cube": Contrast(lambda y: y**4 / 4, lambda y: (y**3, 3 * y * y), 0.75),
}


class Ascended(NamedTuple):
    """A rotation `[k, k]` of the whitened data, and the way there."""

    rotation: Array
    steps: Array
    change: Array
    converged: Array


def orthogonalised(w: Array) -> Array:
    """The orthogonal matrix nearest to w (its polar factor) by Newton and Schulz.

    Nothing is divided by, so that no float32 eigenvalue can turn negative under a root; a singular
    value of exactly zero stays zero.
    """
    eye = jnp.eye(len(w), dtype=w.dtype)
    # Below 1 in the largest singular value: convergence from any positive one.
    w = w / jnp.maximum(
        jnp.sqrt(jnp.max(jnp.sum(jnp.abs(w), 0)) * jnp.max(jnp.sum(jnp.abs(w), 1))),
        jnp.finfo(w.dtype).tiny,
    )
    tolerance = 4 * len(w) ** 0.5 * jnp.finfo(w.dtype).eps

    def step(carry):
        w, _, number = carry
        gram = w @ w.T
        # Quintic at first (small values grow by 15/8 a step), which also ends quadratically.
        w = (1.875 * eye - 1.25 * gram + 0.375 * gram @ gram) @ w
        return w, jnp.max(jnp.abs(gram - eye)), number + 1

    start = (w, jnp.array(jnp.inf, w.dtype), 0)
    going = lambda carry: (carry[1] > tolerance) & (carry[2] < 60)
    return jax.lax.while_loop(going, step, start)[0]


def _polished(w: Array) -> Array:
    """The same for a matrix that is orthogonal up to rounding: one step of Newton's is enough."""
    return 1.5 * w - 0.5 * (w @ w.T) @ w


def _parallel(white: Array, start: Array, contrast: Contrast, max_steps: int, tolerance: float):
    """Symmetric fixed point (Hyvarinen 1999): all rows step, then are made orthogonal."""

    def step(state):
        y = white @ state.rotation.T
        g, slope = contrast.score(y)
        w = g.T @ white / len(white) - jnp.mean(slope, 0)[:, None] * state.rotation
        w = orthogonalised(w)
        change = jnp.max(_turned(w, state.rotation))
        return Ascended(w, state.steps + 1, change, change < tolerance)

    return _until_converged(step, start, max_steps)


def _turned(new: Array, old: Array) -> Array:
    """How far unit rows have moved, up to sign. Their cosine would hide a slow way off a saddle."""
    return jnp.minimum(jnp.linalg.norm(new - old, axis=-1), jnp.linalg.norm(new + old, axis=-1))


def _until_converged(step: Callable, start: Array, max_steps: int) -> Ascended:
    first = Ascended(start, jnp.int32(0), jnp.array(jnp.inf, start.dtype), jnp.array(False))
    going = lambda result: (result.steps < max_steps) & ~result.converged
    return jax.lax.while_loop(going, step, first)


def _deflation(white: Array, start: Array, contrast: Contrast, max_steps: int, tolerance: float):
    """One component after the other, each orthogonal to those before (Hyvarinen 1999)."""
    k = white.shape[1]

    def component(rotation, row):
        def orthogonal(w):
            # Twice: once loses what float32 leaves of the first projection.
            for _ in range(2):
                w = w - rotation.T @ (rotation @ w)  # rows to come are zero
            return normalise(w)

        def step(carry):
            w, number, _ = carry
            g, slope = contrast.score(white @ w)
            new = orthogonal(g @ white / len(white) - jnp.mean(slope) * w)
            return new, number + 1, _turned(new, w)

        going = lambda carry: (carry[1] < max_steps) & (carry[2] >= tolerance)
        first = (orthogonal(start[row]), jnp.int32(0), jnp.array(jnp.inf, white.dtype))
        w, number, change = jax.lax.while_loop(going, step, first)
        return rotation.at[row].set(w), (number, change)

    rotation, (steps, changes) = jax.lax.scan(component, jnp.zeros_like(start), jnp.arange(k))
    return Ascended(rotation, jnp.max(steps), jnp.max(changes), jnp.all(changes < tolerance))


_REMEMBERED = 7  # steps
_LEAST_CURVATURE = 0.02  # of a pair of nearly Normal components: no longer steps than that


class _Look(NamedTuple):
    """What a pass over the data tells at a rotation.

    Attributes:
      values: `[k]`, E[G] of every component.
      moments: `[k, k]`, E[g(y_i) y_j].
      own: `[k]`, E[g(y_i) y_i] - E[g'(y_i)]: 0 for a Normal, its sign tells the kind of tails.
    """

    values: Array
    moments: Array
    own: Array


def _look(white: Array, rotation: Array, contrast: Contrast) -> _Look:
    y = white @ rotation.T
    g, slope = contrast.score(y)
    moments = g.T @ y / len(y)
    tails = jnp.diagonal(moments) - jnp.mean(slope, 0)
    return _Look(jnp.mean(contrast.value(y), 0), moments, tails)


def _signs(look: _Look) -> Array:
    return jnp.where(look.own >= 0, 1, -1).astype(look.own.dtype)


def _gradient(look: _Look, signs: Array) -> Array:
    """Of the sum of signed values along rotations exp(A) W, antisymmetric."""
    signed = signs[:, None] * look.moments
    return signed - signed.T


def _curvature(look: _Look, signs: Array) -> Array:
    """Minus the second derivative along each of them, near independence; kept positive."""
    tails = signs * look.own
    return jnp.maximum(tails[:, None] + tails[None, :], _LEAST_CURVATURE)


def _exponential(step: Array) -> Array:
    """exp(step) up to the third order, orthogonal for an antisymmetric step.

    By products alone, which are far cheaper than solving: Taylor's series of a half, a quarter and
    so on of the step, made orthogonal and squared back.
    """
    size = jnp.max(jnp.sum(jnp.abs(step), 0))
    halvings = jnp.maximum(jnp.ceil(jnp.log2(jnp.maximum(size, 1e-30))), 0).astype(jnp.int32)
    eye, small = jnp.eye(len(step), dtype=step.dtype), step * 0.5 ** halvings.astype(step.dtype)
    turn = _polished(eye + small @ (eye + small @ (eye + small / 3) / 2))
    return jax.lax.fori_loop(0, halvings, lambda _, turn: turn @ turn, turn)


class _Memory(NamedTuple):
    """The last steps and what they changed in the gradient, `[memory, k, k]`, the latest first."""

    steps: Array
    yields: Array
    used: Array


def _direction(gradient: Array, curvature: Array, memory: _Memory) -> Array:
    """L-BFGS's two loops (Nocedal 1980) around the diagonal curvature: a direction of ascent."""
    products = jnp.einsum("mij,mij->m", memory.steps, memory.yields)
    rates = jnp.where(memory.used, 1 / jnp.where(memory.used, products, 1), 0)

    def latest_first(q, pair):
        step, yielded, rate = pair
        alpha = rate * jnp.vdot(step, q)
        return q - alpha * yielded, alpha

    def latest_last(q, pair):
        step, yielded, rate, alpha = pair
        return q + step * (alpha - rate * jnp.vdot(yielded, q)), None

    known = (memory.steps, memory.yields, rates)
    q, alphas = jax.lax.scan(latest_first, gradient, known)
    return jax.lax.scan(latest_last, q / curvature, (*known, alphas), reverse=True)[0]


class Ascent(NamedTuple):
    """State of the quasi-Newton method: where it is, what was seen there, how far it dares."""

    best: Ascended
    look: _Look
    memory: _Memory
    scale: Array


def start_ascent(white: Array, start: Array, contrast: Contrast, tolerance: float) -> Ascent:
    """The quasi-Newton method before its first step.

    Args:
      white: `[n, k]` whitened data.
      start: `[k, k]` rotation.
      contrast: what is maximised.
      tolerance: of the largest entry of the gradient.
    """
    k, dtype = white.shape[1], white.dtype
    look = _look(white, start, contrast)
    change = jnp.max(jnp.abs(_gradient(look, _signs(look))))
    remembered = jnp.zeros((_REMEMBERED, k, k), dtype)
    return Ascent(
        Ascended(start, jnp.int32(1), change, change < tolerance),
        look,
        _Memory(remembered, remembered, jnp.zeros(_REMEMBERED, bool)),
        jnp.ones((), dtype),
    )


def advance_ascent(
    white: Array, state: Ascent, contrast: Contrast, until: Array | int, tolerance: float
) -> Ascent:
    """Goes on until so many passes or convergence; in one go or in several, the same.

    Quasi-Newton ascent over rotations (Picard-O; Ablin, Cardoso, Gramfort 2018), preconditioned by
    the curvature near independence, corrected by the last steps; a step that lowers the contrast is
    taken back and halved. Signs follow the data, so that components of either kind of tails are
    found. The change is the largest entry of the gradient.
    """
    k = white.shape[1]

    def step(state):
        result, look, memory, scale = state
        signs = _signs(look)
        gradient, curvature = _gradient(look, signs), _curvature(look, signs)
        along = _direction(gradient, curvature, memory)
        # No ascent, or shortened twice: the memory misleads.
        plain = (jnp.vdot(along, gradient) <= 0) | (scale < 0.3)
        along = jnp.where(plain, gradient / curvature, along) * scale
        memory = memory._replace(used=memory.used & ~plain)
        along = along / jnp.maximum(1, jnp.max(jnp.abs(along)))
        rotation = _polished(_exponential(along) @ result.rotation)
        new = _look(white, rotation, contrast)
        gained = jnp.sum(signs * (new.values - look.values))
        better = gained >= -1e-7 * k  # not below rounding
        # Of the same objective; where a sign turns, what is remembered belongs to another one.
        yielded = gradient - _gradient(new, signs)
        new_signs = _signs(new)
        good = jnp.vdot(along, yielded) > 1e-7 * jnp.vdot(along, along)
        push = lambda value, old: jnp.where(good, jnp.concatenate([value[None], old[:-1]]), old)
        pushed = _Memory(
            push(along, memory.steps),
            push(yielded, memory.yields),
            push(jnp.array(True), memory.used),
        )
        pushed = pushed._replace(used=pushed.used & jnp.all(new_signs == signs))
        change = jnp.max(jnp.abs(_gradient(new, new_signs)))
        moved = Ascent(
            Ascended(rotation, result.steps, change, result.converged),
            new,
            pushed,
            jnp.ones_like(scale),
        )
        stayed = Ascent(result, look, memory, scale / 2)
        state = jax.tree.map(lambda a, b: jnp.where(better, a, b), moved, stayed)
        result = state.best
        return state._replace(
            best=result._replace(steps=result.steps + 1, converged=result.change < tolerance)
        )

    going = lambda state: (state.best.steps < until) & ~state.best.converged
    return jax.lax.while_loop(going, step, state)


def _picard(white: Array, start: Array, contrast: Contrast, max_steps: int, tolerance: float):
    """See advance_ascent."""
    first = start_ascent(white, start, contrast, tolerance)
    return advance_ascent(white, first, contrast, max_steps, tolerance).best


ALGORITHMS = {"picard": _picard, "parallel": _parallel, "deflation": _deflation}

"""Augmentations of vectors and of padded sequences: noise, and leaving things out.

Published (Dufumier et al. 2025, MultiBench; after Liang et al. 2023): each kind that a setting such
as "drop+noise" names happens to a sample with probability 0.5, in that order; noise has standard
deviation 0.1; a drop takes a share of the steps drawn uniformly from 0 to 0.8. There, steps left
out are set to 0 and attended to; here they are set to 0 and no longer seen, and whoever wants the
former keeps the old `seen` beside the new values.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.errors import choose, require
from mmjax.types import Array, Key


class SequenceAugmentation(NamedTuple):
    """What may happen to a vector or a sequence.

    Attributes:
      kinds: names joined by "+", which happen in that order; "" for none. `noise` adds a normal
        variate to each value seen. `drop` leaves steps out: of a vector, features. Sequences also
        have `span`, a stretch of steps, and `features`, the same features at every step.
      probability: of each kind, drawn by sample and kind.
      noise: standard deviation, in the units of the values.
      share: lowest and highest share of what is there that is left out, rounded to a whole number;
        at least one is always left.
    """

    kinds: str = "drop+noise"
    probability: float = 0.5
    noise: float = 0.1
    share: tuple[float, float] = (0.0, 0.8)


_HALVINGS = 24  # uniform variates are multiples of 2^-23


def _count_dropped(drawn: Array, there: Array, share: tuple[float, float]) -> Array:
    """How many of each row to leave out, `[n, 1]` int32, from uniform variates; never all."""
    count = jnp.sum(there, 1, keepdims=True)
    dropped = jnp.round((share[0] + (share[1] - share[0]) * drawn) * count).astype(jnp.int32)
    return jnp.clip(dropped, 0, jnp.maximum(count - 1, 0))


def drop_any(key: Key, there: Array, *, share: tuple[float, float]) -> Array:
    """Which are left of those there, `[n, length]` bool, where any may go alike.

    A row loses a share of its own, uniform in share, rounded; one at least is left of a row that
    has any.
    """
    drawn = jax.random.uniform(key, (there.shape[0], there.shape[1] + 1))
    dropped = _count_dropped(drawn[:, :1], there, share)
    order = jnp.where(there, drawn[:, 1:], 2.0)  # those there come first

    # The bound below which as many lie as go, by bisection: sorting costs a CPU several times more.
    def halve(_, ends):
        low, high = ends
        middle = (low + high) / 2
        few = jnp.sum(order < middle, 1, keepdims=True) <= dropped
        return jnp.where(few, middle, low), jnp.where(few, high, middle)

    ends = jnp.zeros_like(drawn[:, :1]), jnp.ones_like(drawn[:, :1])
    bound, _ = jax.lax.fori_loop(0, _HALVINGS, halve, ends)
    return there & (order >= bound)


def drop_stretch(key: Key, there: Array, *, share: tuple[float, float]) -> Array:
    """Like drop_any, of neighbours: a stretch (of those there) anywhere in the row alike."""
    drawn = jax.random.uniform(key, (there.shape[0], 2))
    dropped = _count_dropped(drawn[:, :1], there, share)
    place = jnp.cumsum(there, 1) - 1
    free = jnp.sum(there, 1, keepdims=True) - dropped
    start = (drawn[:, 1:] * (free + 1)).astype(jnp.int32)
    start = jnp.minimum(start, free)  # the product may round up to free + 1
    return there & ((place < start) | (place >= start + dropped))


class _Draw(NamedTuple):
    """A kind's part for one batch: its key, which rows it happens to `[n]`, the options."""

    key: Key
    happens: Array
    options: SequenceAugmentation


def _noise(draw, values, seen):
    deviation = jnp.where(draw.happens[:, None] & seen, draw.options.noise, 0)
    noise = jax.random.normal(draw.key, values.shape, values.dtype)
    return values + deviation[..., None].astype(values.dtype) * noise, seen


def _leave_out(rule):
    def apply(draw, values, seen):
        left = rule(draw.key, seen, share=draw.options.share)
        left = jnp.where(draw.happens[:, None], left, seen)
        return jnp.where((seen & ~left)[..., None], 0, values), left

    return apply


def _features(draw, values, seen):
    there = jnp.ones((len(values), values.shape[-1]), bool)
    left = drop_any(draw.key, there, share=draw.options.share) | ~draw.happens[:, None]
    return jnp.where(seen[..., None] & ~left[:, None], 0, values), seen


KINDS = {
    "noise": _noise,
    "drop": _leave_out(drop_any),
    "span": _leave_out(drop_stretch),
    "features": _features,
}
VECTOR_KINDS = {"noise": _noise, "drop": _features}


def augment_sequences(
    options: SequenceAugmentation,
) -> Callable[[Key, Array, Array], tuple[Array, Array]]:
    """A random view of padded sequences.

    Args:
      options: see SequenceAugmentation.

    Returns:
      `(key, values [n, length, features] float, seen [n, length] bool) -> (values, seen)`, of the
      same shapes and dtypes. Nothing unseen becomes seen; values of what was not seen stay as they
      are, steps left out become 0; a row that sees a step still sees one. Gradients pass
      unchanged through what is left. Pure; to be compiled by the caller.

    Raises InvalidInput for an option out of range, and in use for arrays of other shapes or dtypes.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> view = augment_sequences(SequenceAugmentation("drop", probability=1.0, share=(0.5, 0.5)))
      >>> seen = jnp.arange(8) < jnp.full((3, 1), 6)
      >>> values, seen = view(jax.random.key(0), jnp.ones((3, 8, 2)), seen)
      >>> seen.sum(1).tolist()
      [3, 3, 3]
    """
    kinds = _checked(options, KINDS)

    def augment(key, values, seen):
        is_float = jnp.issubdtype(values.dtype, jnp.floating)
        shape = (values.shape, str(values.dtype))
        require(values.ndim == 3 and is_float, "values", shape, "[n, length, features] float")
        require(
            seen.shape == values.shape[:2] and seen.dtype == bool,
            "seen",
            (seen.shape, str(seen.dtype)),
            f"{list(values.shape[:2])} bool",
        )
        return _applied(key, kinds, options, values, seen)

    return augment


def augment_vectors(options: SequenceAugmentation) -> Callable[[Key, Array], Array]:
    """A random view of vectors, `(key, values [n, features] float) -> values`, of the same dtype.

    `drop` sets features to 0, and at least one is left; noise after it reaches those too, as
    published. `span` and `features` are for sequences.

    Raises InvalidInput as augment_sequences does.
    """
    kinds = _checked(options, VECTOR_KINDS)

    def augment(key, values):
        is_float = jnp.issubdtype(values.dtype, jnp.floating)
        shape = (values.shape, str(values.dtype))
        require(values.ndim == 2 and is_float, "values", shape, "[n, features] float")
        always = jnp.ones((len(values), 1), bool)  # a vector is a sequence of one step
        return _applied(key, kinds, options, values[:, None], always)[0][:, 0]

    return augment


def _applied(key, kinds, options, values, seen):
    keys = jax.random.split(key, 2 * len(kinds)) if kinds else ()
    for kind, happens_key, kind_key in zip(kinds, keys[::2], keys[1::2], strict=True):
        happens = jax.random.bernoulli(happens_key, options.probability, (len(values),))
        values, seen = kind(_Draw(kind_key, happens, options), values, seen)
    return values, seen


def _checked(options: SequenceAugmentation, table: dict) -> list:
    """The functions of the kinds named, but for those that can't change anything."""
    require(0 <= options.probability <= 1, "probability", options.probability, "0 to 1")
    require(0 <= options.noise < np.inf, "noise", options.noise, "a standard deviation >= 0")
    share = options.share
    good = np.shape(share) == (2,) and 0 <= share[0] <= share[1] <= 1
    require(good, "share", share, "two numbers, 0 <= low <= high <= 1")
    names = options.kinds.split("+") if options.kinds else []
    kinds = [(name, choose(table, "kinds", name)) for name in names]
    idle = lambda name: options.noise == 0 if name == "noise" else share[1] == 0
    return [] if options.probability == 0 else [kind for name, kind in kinds if not idle(name)]

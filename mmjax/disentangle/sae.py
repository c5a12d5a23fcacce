"""Top-k sparse autoencoder: more directions than features, a few of which make up each row."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from mmjax.errors import require
from mmjax.numerics import floating, normalise, require_strength
from mmjax.types import Array, Key

_DEAD = 50  # steps without a row, after which a latent is dead


class SAE(NamedTuple):
    """A dictionary and how rows are written in it (Gao et al. 2024, Section 2.3).

    Attributes:
      centre: `[f]`, taken off rows before they are encoded, and added when they are decoded.
      scale: scalar, root mean square of the rows around their mean: the unit of the codes.
      encoder: `[f, m]`.
      bias: `[m]` of the encoder.
      decoder: `[m, f]`, the dictionary: a direction of unit length for each latent.
    """

    centre: Array
    scale: Array
    encoder: Array
    bias: Array
    decoder: Array


class Trained(NamedTuple):
    """A trained autoencoder.

    Attributes:
      sae: it.
      losses: `[steps]`, share of the variance of each batch that is not reconstructed.
      dead: `[m]` bool, latents that no row of the last 50 steps used.
    """

    sae: SAE
    losses: Array
    dead: Array


def init(x: Array, key: Key, *, num_latents: int) -> SAE:
    """Random directions of unit length, the encoder their transpose; centre and scale of the rows.

    Args:
      x: `[n, f]`.
      key: of the directions.
      num_latents: m, how many there are.

    Raises InvalidInput for a value out of range.
    """
    x = floating(x)
    require(x.ndim == 2 and len(x) >= 2, "x", x.shape, "two axes, [rows >= 2, features]")
    require(num_latents >= 1, "num_latents", num_latents, "1 or more")
    centre = jnp.mean(x, 0)
    scale = jnp.sqrt(jnp.mean((x - centre) ** 2))
    decoder = normalise(jax.random.normal(key, (num_latents, x.shape[1]), x.dtype))
    scale = jnp.where(scale == 0, 1, scale)
    return SAE(centre, scale, decoder.T, jnp.zeros(num_latents, x.dtype), decoder)


def encode(sae: SAE, x: Array, *, active: int) -> Array:
    """Codes `[n, m]`, >= 0, at most `active` of a row above 0: its largest, the others 0.

    Args:
      sae: what encodes.
      x: `[n, f]`.
      active: k, 1 to m.
    """
    return _largest(_before(sae, floating(x)), active)


def decode(sae: SAE, codes: Array) -> Array:
    """`[n, m] -> [n, f]`: the rows that have these codes."""
    return codes @ sae.decoder * sae.scale + sae.centre


def train(
    x: Array,
    key: Key,
    *,
    num_latents: int,
    active: int,
    steps: int = 1000,
    batch: int = 256,
    rate: float = 3e-3,
    auxiliary: float = 1 / 32,
) -> Trained:
    """A top-k autoencoder of rows without labels, by Adam with a rate that falls linearly to 0.

    The loss is the share of variance that is left, plus, weighed, the share of what is left that
    the largest dead latents leave in turn, so that they come back (AuxK, Gao et al. 2024,
    Appendix A.2).

    Args:
      x: `[n, f]`, n >= 2.
      key: of the directions it starts at and of the batches.
      num_latents: m.
      active: k, latents that a row uses at most, 1 to m.
      steps: of Adam.
      batch: rows a step, at most n.
      rate: of the first step, > 0.
      auxiliary: weight of the dead latents' part, >= 0.

    Raises InvalidInput for a value out of range.
    """
    require(1 <= active <= num_latents, "active", active, f"1 to {num_latents}, the latents")
    require(steps >= 1, "steps", steps, "1 or more")
    require(batch >= 1, "batch", batch, "1 or more")
    require_strength("rate", rate, zero=False)
    require_strength("auxiliary", auxiliary)
    init_key, batch_key = jax.random.split(key)
    start = init(x, init_key, num_latents=num_latents)
    numbers = jnp.array([rate, auxiliary], start.bias.dtype)
    return _train(floating(x), start, batch_key, numbers, active, steps, min(batch, len(x)))


def _before(sae: SAE, x: Array) -> Array:
    return (x - sae.centre) / sae.scale @ sae.encoder + sae.bias


def _largest(values: Array, count: int) -> Array:
    """The largest `count` of each row of `[n, m]` where they are above 0; the others 0."""
    top, places = jax.lax.top_k(values, count)
    rows = jnp.arange(len(values))[:, None]
    return jnp.zeros_like(values).at[rows, places].set(jnp.maximum(top, 0))


def _loss(
    sae: SAE, x: Array, dead: Array, weight: Array, active: int
) -> tuple[Array, tuple[Array, Array]]:
    before = _before(sae, x)
    codes = _largest(before, active)
    left = (x - decode(sae, codes)) / sae.scale
    rest = jax.lax.stop_gradient(left)

    def missed(sae):
        # Of what is left the dead are given a share, and those that live are not moved by it.
        revived = _largest(jnp.where(dead, before, 0), min(2 * active, len(sae.bias)))
        away = jnp.mean((rest - revived @ sae.decoder) ** 2)
        return away / jnp.maximum(jnp.mean(rest**2), 1e-12)

    share = jnp.mean(left**2)
    # A third of a step, which is not taken while none is dead.
    of_dead = jax.lax.cond(jnp.any(dead), missed, lambda sae: jnp.zeros_like(share), sae)
    return share + weight * of_dead, (share, jnp.any(codes > 0, 0))


@partial(jax.jit, static_argnums=(4, 5, 6))
def _train(x, start, key, numbers, active, steps, batch):
    rate, weight = numbers
    solver = optax.adam(optax.linear_schedule(1.0, 0.0, steps), b2=0.99)

    def step(carry, key):
        sae, state, idle = carry
        rows = x[jax.random.choice(key, len(x), (batch,), replace=len(x) > 4 * batch)]
        slopes, (share, used) = jax.grad(_loss, has_aux=True)(
            sae, rows, idle >= _DEAD, weight, active
        )
        updates, state = solver.update(slopes._replace(scale=jnp.zeros_like(sae.scale)), state)
        # The centre has the rows' unit, all else the codes'.
        updates = updates._replace(centre=updates.centre * sae.scale)
        sae = optax.apply_updates(sae, jax.tree.map(lambda v: rate * v, updates))
        sae = sae._replace(decoder=normalise(sae.decoder))
        return (sae, state, jnp.where(used, 0, idle + 1)), share

    idle = jnp.zeros(len(start.bias), jnp.int32)
    begun = start, solver.init(start), idle
    (sae, _, idle), losses = jax.lax.scan(step, begun, jax.random.split(key, steps))
    return Trained(sae, losses, idle >= _DEAD)

"""The learned temperature of a contrastive loss."""

import math
from functools import partial

import jax
import jax.numpy as jnp

from mmjax.errors import require
from mmjax.types import Array

_FIXED = 1e-30, 1e30  # float32 holds these, their inverses, and products of these with logits
LOWEST, HIGHEST = 0.01, 1e4  # CLIP clips logit_scale to at most 100 (Radford et al. 2021)


@partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _held(x: Array, low: float, high: float) -> Array:
    """x within bounds. Beyond one, only a gradient that leads back is passed: with a plain clip a
    parameter that went too far would never return, with none it would go on."""
    return jnp.clip(x, low, high)


def _held_backward(low, high, x, slope):
    from_above = jnp.where(x > high, jnp.maximum(slope, 0), slope)
    return (jnp.where(x < low, jnp.minimum(slope, 0), from_above),)


_held.defvjp(lambda x, low, high: (jnp.clip(x, low, high), x), _held_backward)


def temperature_from(log_temperature: Array) -> Array:
    """exp(log_temperature), held in [0.01, 10,000] (LOWEST, HIGHEST): logits of cosines stay within
    100, as CLIP's, and no logarithm makes it 0, infinite or negative.

    Args:
      log_temperature: float scalar, the parameter.
    """
    return jnp.exp(_held(log_temperature, math.log(LOWEST), math.log(HIGHEST)))


def check_temperature(temperature: float, learned: bool = False) -> None:
    """Raises InvalidInput for a temperature that float32 or, learned, its bounds do not hold."""
    low, high = (LOWEST, HIGHEST) if learned else _FIXED
    allowed = f"{low:.2g} to {high:.2g}" + (" where it is learned" if learned else "")
    require(low <= temperature <= high, "temperature", temperature, allowed)

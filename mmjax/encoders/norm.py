"""Batch norm over the batch of all devices."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from mmjax.types import Array


def batch_moments(x: Array, gather: Callable[[Array], Array]) -> tuple[Array, Array, int]:
    """Mean and variance of each channel over the batches of all devices.

    The variance is that within devices plus that of their means, each about its own mean, so that
    nothing cancels where the mean is large beside the deviation.

    Args:
      x: `[..., channels]` float32 or float64, of the same size on every device.
      gather: `[local, ...] -> [global, ...]` over the devices.

    Returns:
      mean `[channels]`, biased variance `[channels]`, values per channel on all devices.
    """
    over = tuple(range(x.ndim - 1))
    mean = jnp.mean(x, over)
    var = jnp.mean(jnp.square(x - mean), over)
    means, variances = jnp.moveaxis(gather(jnp.stack([mean, var])[None]), 1, 0)
    mean = jnp.mean(means, 0)
    var = jnp.mean(variances + jnp.square(means - mean), 0)
    return mean, var, means.shape[0] * (x.size // x.shape[-1])


class BatchNorm(nn.Module):
    """Batch norm (Ioffe & Szegedy 2015) of the last axis, in PyTorch's convention.

    (x - mean) / sqrt(variance + epsilon) * scale + bias; `scale` and `bias` (`[channels]` float32)
    are learned. In training mean and variance (biased) are those of the batch of all devices, and
    the collection `batch_stats` (`mean`, `var`: `[channels]` float32) moves towards the batch's
    mean and, as in PyTorch (flax: biased), its UNBIASED variance. Evaluation uses `batch_stats`.

    Attributes:
      momentum: weight of the old statistics, in [0, 1); PyTorch's momentum is 1 minus it.
      epsilon: added to the variance, > 0.
    """

    momentum: float = 0.9
    epsilon: float = 1e-5

    @nn.compact
    def __call__(
        self, x: Array, *, train: bool, gather: Callable[[Array], Array] | None = None
    ) -> Array:
        """`[..., channels] -> [..., channels]` float; a single value per channel gives the bias.

        Args:
          x: `[..., channels]` float32 or float64, of the same size on every device.
          train: whether the batch's moments are used, and kept.
          gather: `[local, ...] -> [global, ...]` over the devices; None on a single one. As it is
            differentiated through, the mean of the devices' gradients is that of the whole batch.
        """
        shape = x.shape[-1:]
        kept_mean = self.variable("batch_stats", "mean", jnp.zeros, shape)
        kept_var = self.variable("batch_stats", "var", jnp.ones, shape)
        scale = self.param("scale", nn.initializers.ones, shape)
        bias = self.param("bias", nn.initializers.zeros, shape)
        if train:
            mean, var, count = batch_moments(x, gather or (lambda v: v))
            move = lambda old, new: self.momentum * old + (1 - self.momentum) * new
            unbiased = var * (count / max(count - 1, 1))
            if not self.is_initializing():
                kept_mean.value = move(kept_mean.value, jax.lax.stop_gradient(mean))
                kept_var.value = move(kept_var.value, jax.lax.stop_gradient(unbiased))
        else:
            mean, var = kept_mean.value, kept_var.value
        return (x - mean) * (scale * jax.lax.rsqrt(var + self.epsilon)) + bias

"""Networks of a robot's sensors, as in Vision&Touch (Lee et al. 2019): force and proprioception."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from mmjax.encoders.base import Encoder, from_module
from mmjax.encoders.convolution import convolved
from mmjax.encoders.fusion import Padded
from mmjax.encoders.mlp import mlp
from mmjax.errors import require

SLOPE = 0.1  # left slope of the published leaky ReLUs
_ALLOWED = "an array [batch, length, features] without padding"


class _ForceConvnet(nn.Module):
    widths: Sequence[int]

    @nn.compact
    def __call__(self, x, *, train: bool, gather=None):
        bare = not isinstance(x, Padded)
        require(bare and x.ndim == 3, "observations", jax.tree.map(jnp.shape, x), _ALLOWED)
        x = x[:, None]  # an image of height 1
        he = nn.initializers.variance_scaling(2 / (1 + SLOPE**2), "fan_in", "normal")
        for k, width in enumerate(self.widths):
            conv = nn.Conv(
                width,
                (1, 2),
                (1, 2),
                # So that the last window always ends at the newest reading.
                padding=((0, 0), (x.shape[2] % 2, 0)),
                kernel_init=he,
                conv_general_dilated=convolved,
                name=f"conv_{k}",
            )
            x = nn.leaky_relu(conv(x), SLOPE)
        return x[:, 0, -1]


def force_convnet(out: int = 128, *, widths: Sequence[int] = (16, 32, 64, 128)) -> Encoder:
    """Causal convolutions over readings of a force sensor, oldest first: `[batch, out]`.

    Convolutions of two readings and stride 2 with leaky ReLUs, one more than there are widths: the
    published five see 32 readings, here the newest ones of any number; zeros stand before the first
    where there are fewer. (In the published code the windows are a step early in every layer, so
    that the embedding depends on the oldest reading alone; that is not repeated.)

    Args:
      out: dimension of the embedding; published are 128 and, with three modalities, 512.
      widths: channels of the layers before the last.

    Raises InvalidInput for a value out of range, and in use for observations of another shape.

    Example:
      >>> import jax
      >>> encoder = force_convnet()
      >>> params, statistics = encoder.init(jax.random.key(0), (32, 6))
      >>> encoder.apply(params, statistics, jax.numpy.ones((3, 32, 6))).shape
      (3, 128)
    """
    require(out >= 1, "embedding_dim", out, "a whole number >= 1")
    require(all(w >= 1 for w in widths), "widths", tuple(widths), "widths >= 1")
    return from_module(_ForceConvnet((*widths, out)))


def proprio_mlp(out: int = 512, *, hidden: Sequence[int] = (32, 64, 128)) -> Encoder:
    """The published MLP of proprioception, `[batch, features] -> [batch, out]`.

    A leaky ReLU is behind the last layer too, since an adapter's linear map follows.

    Args:
      out: dimension of the embedding.
      hidden: widths of the hidden layers.

    Raises InvalidInput for a value out of range.
    """
    layers = mlp(hidden, out, slope=SLOPE)

    def forward(*args):
        embeddings, statistics = layers.forward(*args)
        return nn.leaky_relu(embeddings, SLOPE), statistics

    return Encoder(layers.init, lambda *args: nn.leaky_relu(layers.apply(*args), SLOPE), forward)

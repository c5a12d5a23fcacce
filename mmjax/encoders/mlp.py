"""Multi-layer perceptrons."""

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from mmjax.encoders.base import Encoder, from_module
from mmjax.errors import require

# Hidden widths of the published simulations, times the size of the observation space.
PUBLISHED_WIDTHS = (10, 50, 50, 50, 50, 10)


_ROW = 16  # floats in a cache line
_BLOCK = 3072  # rows that CPUs take at once: what lies between layers stays near


def _padded(width: int) -> int:
    """The width that rows are computed in: on CPUs a wide one that fills whole cache lines.

    Matrix products of rows that do not are up to twice as slow there; zeros change nothing.
    """
    wide = width >= 8 * _ROW and jax.default_backend() == "cpu"
    return -(-width // _ROW) * _ROW if wide else width


class _Dense(nn.Module):
    """`nn.Dense`, on and to rows that are padded with zeros (see _padded)."""

    inputs: int
    width: int
    kernel_init: Callable

    @nn.compact
    def __call__(self, x):
        kernel = self.param("kernel", self.kernel_init, (self.inputs, self.width))
        bias = self.param("bias", nn.initializers.zeros, (self.width,))
        more = _padded(self.width) - self.width
        kernel = jnp.pad(kernel, ((0, x.shape[-1] - self.inputs), (0, more)))
        return x @ kernel + jnp.pad(bias, (0, more))


class _MLP(nn.Module):
    hidden: Sequence[int]
    out: int
    slope: float
    dropout: float
    input_noise: float

    @nn.compact
    def __call__(self, x, *, train: bool, gather=None):
        if train and self.input_noise > 0:
            # Drawn as one row: the same numbers, where XLA unrolls every short row: a second a
            # modality of compilation.
            noise = jax.random.normal(self.make_rng("dropout"), (x.size,), x.dtype)
            x = x + self.input_noise * noise.reshape(x.shape)
        # He's scale: activations keep their size through leaky ReLUs of this slope.
        gain = nn.initializers.variance_scaling(2 / (1 + self.slope**2), "fan_in", "normal")
        inputs = (x.shape[-1], *self.hidden)
        layers = [
            _Dense(before, width, gain, name=f"Dense_{k}")
            for k, (before, width) in enumerate(zip(inputs[:-1], self.hidden, strict=True))
        ]
        plain = nn.initializers.lecun_normal()
        last = _Dense(inputs[-1], self.out, plain, name=f"Dense_{len(self.hidden)}")

        def through(x):
            for layer in layers:
                x = nn.leaky_relu(layer(x), self.slope)
                x = nn.Dropout(self.dropout, deterministic=not train)(x)
            return last(x)[:, : self.out]

        if self.dropout > 0 or jax.default_backend() != "cpu":
            return through(x)
        parts = jnp.array_split(x, max(1, round(len(x) / _BLOCK)))
        return jnp.concatenate([through(part) for part in parts])


def mlp(
    hidden: Sequence[int],
    out: int,
    *,
    slope: float = 0.01,
    dropout: float = 0.0,
    input_noise: float = 0.0,
) -> Encoder:
    """An MLP with leaky ReLU.

    Args:
      hidden: widths of the hidden layers, may be empty (a linear encoder).
      out: dimension of the embedding.
      slope: left slope of the leaky ReLU.
      dropout: share of hidden units dropped in training, in [0, 1).
      input_noise: standard deviation of Gaussian noise added to the input in training.

    Raises InvalidInput for a value out of range.

    Example:
      >>> import jax
      >>> encoder = mlp((32, 32), 3)
      >>> params, statistics = encoder.init(jax.random.key(0), (5,))
      >>> encoder.apply(params, statistics, jax.numpy.ones((7, 5))).shape
      (7, 3)
    """
    require(all(w >= 1 for w in hidden), "hidden", tuple(hidden), "widths >= 1")
    require(out >= 1, "embedding_dim", out, "a whole number >= 1")
    require(0 <= dropout < 1, "dropout", dropout, "a number in [0, 1)")
    require(input_noise >= 0, "input_noise", input_noise, "a number >= 0")
    return from_module(_MLP(tuple(hidden), out, slope, dropout, input_noise))

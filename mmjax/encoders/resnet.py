"""Networks of images: ResNet-18 as published, a narrow one and a plain one for small images."""

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp

from mmjax.encoders.base import Encoder, from_module
from mmjax.encoders.convolution import convolved
from mmjax.encoders.norm import BatchNorm
from mmjax.errors import require
from mmjax.types import Array

# Of the images of (Multimodal)3DIdent, channel by channel, for values in [0, 1].
PIXEL_MEAN = (0.4327, 0.2689, 0.2839)
PIXEL_STD = (0.1201, 0.1457, 0.1082)

_HE = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


def _conv(width: int, size: int, stride: int, padding: int) -> nn.Conv:
    """A convolution without bias, which the batch norm behind it would take away."""
    return nn.Conv(
        width,
        (size, size),
        stride,
        padding=padding,
        use_bias=False,
        kernel_init=_HE,
        conv_general_dilated=convolved,
    )


def _standardised(x: Array, mean: Sequence[float], std: Sequence[float]) -> Array:
    """Images uint8 in 0-255 or float in [0, 1], `[batch, h, w, c]`, to zero mean and unit size."""
    good = x.ndim == 4 and x.shape[-1] == len(mean)
    require(good, "images", x.shape, f"[batch, height, width, {len(mean)}]")
    known = x.dtype == jnp.uint8 or jnp.issubdtype(x.dtype, jnp.floating)
    require(known, "images", str(x.dtype), "uint8 in 0-255 or float in [0, 1]")
    x = x.astype(jnp.float32) / 255 if x.dtype == jnp.uint8 else x
    return (x - jnp.asarray(mean)) / jnp.asarray(std)


class _Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut (He et al. 2016, the basic block)."""

    width: int
    stride: int

    @nn.compact
    def __call__(self, x, *, train: bool, gather=None):
        y = BatchNorm()(_conv(self.width, 3, self.stride, 1)(x), train=train, gather=gather)
        y = BatchNorm()(_conv(self.width, 3, 1, 1)(nn.relu(y)), train=train, gather=gather)
        if x.shape != y.shape:
            x = _conv(self.width, 1, self.stride, 0)(x)
            x = BatchNorm()(x, train=train, gather=gather)
        return nn.relu(x + y)


class _ImageNet(nn.Module):
    """Stem, stages, pooling or flattening, hidden layer, output.

    Attributes:
      stem: (width, kernel size, stride, padding) of the first convolution.
      stem_pool: whether a 3x3 maximum of stride 2 follows it.
      stages: (width, stride, blocks) each; with 0 blocks a single 3x3 convolution.
      flat: the last maps are flattened instead of averaged over places; None returns them as they
        are, `[batch, height, width, channels]`.
    """

    out: int
    hidden: int
    slope: float
    stem: tuple[int, int, int, int]
    stem_pool: bool
    stages: Sequence[tuple[int, int, int]]
    flat: bool | None
    mean: Sequence[float]
    std: Sequence[float]

    @nn.compact
    def __call__(self, x, *, train: bool, gather=None):
        x = _standardised(x, self.mean, self.std)
        _, _, stride, padding = self.stem
        fits = padding > 0 or (x.shape[1] % stride == 0 and x.shape[2] % stride == 0)
        require(fits, "images", x.shape, f"sides that are multiples of {stride}")
        normed = lambda conv, x: nn.relu(BatchNorm()(conv(x), train=train, gather=gather))
        x = normed(_conv(*self.stem), x)
        if self.stem_pool:
            x = nn.max_pool(x, (3, 3), (2, 2), padding=((1, 1), (1, 1)))
        for width, stride, blocks in self.stages:
            if blocks == 0:
                x = normed(_conv(width, 3, stride, 1), x)
            for b in range(blocks):
                block = _Block(width, stride if b == 0 else 1)
                x = block(x, train=train, gather=gather)
        if self.flat is None:
            return x
        x = x.reshape(x.shape[0], -1) if self.flat else jnp.mean(x, (1, 2))
        x = nn.leaky_relu(nn.Dense(self.hidden)(x), self.slope)
        return nn.Dense(self.out)(x)


def _image_encoder(out: int, hidden: int, mean: Sequence, std: Sequence, **parts) -> Encoder:
    require(out >= 1, "embedding_dim", out, "a whole number >= 1")
    require(hidden >= 1, "hidden", hidden, "a whole number >= 1")
    require(len(mean) >= 1, "mean", mean, "a number per channel")
    good = len(std) == len(mean) and min(std) > 0
    require(good, "std", std, f"{len(mean)} numbers > 0")
    return from_module(_ImageNet(out, hidden, mean=tuple(mean), std=tuple(std), **parts))


def resnet18(
    out: int,
    *,
    width: int = 64,
    hidden: int = 100,
    stem: str = "imagenet",
    maps: bool = False,
    slope: float = 0.01,
    mean: Sequence[float] = PIXEL_MEAN,
    std: Sequence[float] = PIXEL_STD,
) -> Encoder:
    """ResNet-18, then hidden units with leaky ReLU, then the output (Daunhawer et al. 2023).

    Convolutions as in He et al. 2016 and torchvision (explicit zero padding, He's scale of the
    outputs, no bias), batch norm over all devices, the mean over places. Images are uint8
    `[batch, h, w, 3]` in 0-255 or float in [0, 1], of any size.

    Args:
      out: dimension of the embedding.
      width: of the first stage; the others have 2, 4 and 8 times as many channels.
      hidden: width of the layer behind the ResNet.
      stem: `imagenet`, a 7x7 convolution and a maximum, each of stride 2; `small`, a 3x3
        convolution of stride 1, for images of some 32 pixels.
      maps: whether the last maps, `[batch, h / 32, w / 32, 8 width]` with the stem imagenet, are
        the embedding, as tokens of a fusion; out, hidden and slope are then ignored.
      slope: left slope of the leaky ReLU.
      mean, std: per channel, of pixels in [0, 1]; what images are standardised by. As many as the
        images have channels: 3 are usual.

    Raises InvalidInput for a value out of range, and in use for images of another shape or type.

    Example:
      >>> import jax
      >>> encoder = resnet18(4)
      >>> make = lambda key: encoder.init(key, (224, 224, 3))
      >>> params, statistics = jax.eval_shape(make, jax.random.key(0))  # traced, not run
      >>> images = jax.ShapeDtypeStruct((2, 224, 224, 3), "uint8")
      >>> jax.eval_shape(encoder.apply, params, statistics, images).shape
      (2, 4)
    """
    require(width >= 1, "width", width, "a whole number >= 1")
    require(stem in ("imagenet", "small"), "stem", stem, "one of imagenet, small")
    large = stem == "imagenet"
    return _image_encoder(
        out,
        hidden,
        mean,
        std,
        slope=slope,
        stem=(width, 7, 2, 3) if large else (width, 3, 1, 1),
        stem_pool=large,
        stages=tuple((width * 2**s, 1 if s == 0 else 2, 2) for s in range(4)),
        flat=None if maps else False,
    )


def narrow_resnet(
    out: int,
    *,
    stem_width: int = 16,
    widths: Sequence[int] = (32, 64, 128),
    blocks: int = 1,
    patch: int = 4,
    flat: bool = False,
    hidden: int = 100,
    slope: float = 0.01,
    mean: Sequence[float] = PIXEL_MEAN,
    std: Sequence[float] = PIXEL_STD,
) -> Encoder:
    """A small residual network for images of some 64 pixels, which trains on a CPU.

    A linear map of patches, then stages of basic blocks that halve the sides each: a step of
    training takes two CPU cores some 0.35 ms per image of 64 pixels. Images are uint8
    `[batch, h, w, 3]` in 0-255 or float in [0, 1], with sides that patch divides.

    Args:
      out: dimension of the embedding.
      stem_width: channels of the patches.
      widths: channels of the stages, which all have stride 2.
      blocks: of each stage, >= 1.
      patch: side of a patch in pixels.
      flat: the last maps are flattened, else averaged over places.
      hidden, slope, mean, std: see resnet18.

    Raises InvalidInput for a value out of range, and in use for images of another shape or type.

    Example:
      >>> import jax
      >>> encoder = narrow_resnet(4)
      >>> make = lambda key: encoder.init(key, (64, 64, 3))
      >>> params, statistics = jax.eval_shape(make, jax.random.key(0))  # traced, not run
      >>> images = jax.ShapeDtypeStruct((2, 64, 64, 3), "uint8")
      >>> jax.eval_shape(encoder.apply, params, statistics, images).shape
      (2, 4)
    """
    require(blocks >= 1, "blocks", blocks, "a whole number >= 1")
    return _of_patches(out, stem_width, widths, blocks, patch, flat, hidden, slope, mean, std)


def small_convnet(
    out: int,
    *,
    stem_width: int = 32,
    widths: Sequence[int] = (64, 128),
    patch: int = 4,
    flat: bool = True,
    hidden: int = 100,
    slope: float = 0.01,
    mean: Sequence[float] = PIXEL_MEAN,
    std: Sequence[float] = PIXEL_STD,
) -> Encoder:
    """The same without shortcuts and with one 3x3 convolution of stride 2 a stage.

    Arguments and errors are those of narrow_resnet; the last maps are flattened by default. A step
    of training takes two CPU cores some 0.4 ms per image of 64 pixels.
    """
    return _of_patches(out, stem_width, widths, 0, patch, flat, hidden, slope, mean, std)


def _of_patches(out, stem_width, widths, blocks, patch, flat, hidden, slope, mean, std) -> Encoder:
    require(patch >= 1, "patch", patch, "a whole number >= 1")
    require(min((stem_width, *widths)) >= 1, "widths", tuple(widths), "widths >= 1")
    return _image_encoder(
        out,
        hidden,
        mean,
        std,
        slope=slope,
        stem=(stem_width, patch, patch, 0),
        stem_pool=False,
        stages=tuple((width, 2, blocks) for width in widths),
        flat=flat,
    )


def image_maps(
    widths: Sequence[int] = (32, 64, 128),
    *,
    size: int = 5,
    blocks: int = 0,
    mean: Sequence[float] = (0.5, 0.5, 0.5),
    std: Sequence[float] = (0.25, 0.25, 0.25),
) -> Encoder:
    """A network whose last maps are the tokens of a fusion: `[batch, h, w, 3]` images of any size.

    A convolution of stride 2, then a stage of stride 2 a width; each halves the sides (rounded up).

    Args:
      widths: channels of the maps, the last are those of the result.
      size: side of the first kernel, odd.
      blocks: residual blocks of a stage; 0 for a single 3x3 convolution.
      mean, std: see resnet18.

    Raises InvalidInput for a value out of range, and in use for images of another shape or type.

    Example:
      >>> import jax
      >>> encoder = image_maps((8, 16))
      >>> params, statistics = encoder.init(jax.random.key(0), (32, 32, 3))
      >>> encoder.apply(params, statistics, jnp.ones((2, 32, 32, 3))).shape
      (2, 8, 8, 16)
    """
    require(len(widths) >= 1 and min(widths) >= 1, "widths", tuple(widths), "widths >= 1")
    require(size >= 1 and size % 2 == 1, "size", size, "an odd number >= 1")
    require(blocks >= 0, "blocks", blocks, "a whole number >= 0")
    return _image_encoder(
        1,
        1,
        mean,
        std,
        slope=0.0,
        stem=(widths[0], size, 2, size // 2),
        stem_pool=False,
        stages=tuple((width, 2, blocks) for width in widths[1:]),
        flat=None,
    )

"""Features as a frozen contrastive model has them, with the latents known: for tests and demos."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mmjax.errors import require
from mmjax.numerics import normalise
from mmjax.types import Array, Key


class FeaturePairs(NamedTuple):
    """Pairs of features and what is behind them.

    Attributes:
      image, text: `[n, f]`, unit vectors.
      label: `[n]` int32.
      latents: `[n, dim]`, of the image; the text's are a little off.
    """

    image: Array
    text: Array
    label: Array
    latents: Array


class FeatureModel(NamedTuple):
    """A world of features.

    Attributes:
      sample: `(key, n, nuisance) -> FeaturePairs`; nuisance scales the latents that no class
        depends on: 1 is the source, more is a shifted domain.
      num_classes: how many labels.
    """

    sample: Callable[[Key, int, float], FeaturePairs]
    num_classes: int


def feature_model(
    key: Key,
    *,
    dim: int = 24,
    num_features: int = 64,
    num_classes: int = 8,
    separation: float = 3.0,
    text_noise: float = 0.3,
    gap: float = 1.0,
) -> FeatureModel:
    """Independent Laplace latents, turned by one rotation for both sides, a gap between them.

    What the corollary to Theorem 4.1 of Liu et al. 2026 leaves of a trained model: f = A z with
    the SAME A for both modalities, components independent; beside it what is seen of real models,
    a constant offset of either side (modality gap), small noise in all directions, unit length. A
    class is one latent's large value: axes matter.

    Args:
      key: of the rotation and the offsets.
      dim: latents, at least num_classes.
      num_features: f, at least dim + 2.
      num_classes: >= 2; class c raises latent c.
      separation: by how many standard deviations.
      text_noise: standard deviation of the text's latents around the image's.
      gap: distance between the sides, in units of the latents' typical length.

    Raises InvalidInput for a value out of range.
    """
    require(num_classes >= 2, "num_classes", num_classes, "a whole number >= 2")
    require(dim >= num_classes, "dim", dim, f"num_classes ({num_classes}) or more")
    require(num_features >= dim + 2, "num_features", num_features, f"dim + 2 ({dim + 2}) or more")
    turn = jnp.linalg.qr(jax.random.normal(key, (num_features, num_features)))[0]
    rows = turn[:dim]
    offset = 0.5 * gap * dim**0.5 * turn[dim]

    def side(latents, sign, key):
        small = 0.05 * jax.random.normal(key, (len(latents), num_features))
        # A common direction, which centring takes away, keeps unit length from bending the latents.
        return normalise(latents @ rows + sign * offset + 3 * dim**0.5 * turn[dim + 1] + small)

    def sample(key, n, nuisance=1.0):
        label_key, latent_key, text_key, *noise_keys = jax.random.split(key, 5)
        label = jax.random.randint(label_key, (n,), 0, num_classes)
        scale = jnp.where(jnp.arange(dim) < num_classes, 1.0, nuisance) / 2**0.5
        z = scale * jax.random.laplace(latent_key, (n, dim))
        z = z + separation * jax.nn.one_hot(label, dim)
        z_t = z + text_noise * jax.random.laplace(text_key, (n, dim))
        image, text = side(z, 1, noise_keys[0]), side(z_t, -1, noise_keys[1])
        return FeaturePairs(image, text, label.astype(jnp.int32), z)

    return FeatureModel(sample, num_classes)

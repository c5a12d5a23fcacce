"""Zero-shot after unmixing: images and texts mapped alike, as theory has both turned alike."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.disentangle import Affine, components
from mmjax.numerics import normalise
from mmjax.types import Array

CENTRES = ("images'", "own")
SIMILARITIES = ("cosine", "L1")


@partial(jax.jit, static_argnums=(4, 5, 6))
def mapped_zero_shot(
    affine: Affine | None,
    x: Array,
    labels: Array,
    texts: Array,
    num_classes: int,
    centre: str = "own",
    similarity: str = "cosine",
) -> Array:
    """`[classes]` share of each class's rows whose nearest text after the map is their class's.

    Args:
      affine: applied to both sides; None leaves both as they are.
      x, labels: `[m, d]`, `[m]` images.
      texts: `[classes, d]`.
      num_classes: of the codes.
      centre: what is taken off the texts: the images' mean, as off these, or the texts' own mean.
      similarity: cosine, which no rotation changes, or minus the L1 distance of unit vectors, which
        sees the axes.
    """
    if affine is not None:
        x = components(affine, x)
        if centre == "own":
            texts = texts - jnp.mean(texts, 0) + affine.mean
        texts = components(affine, texts)
    x, texts = normalise(x), normalise(texts)
    if similarity == "cosine":
        scores = x @ texts.T
    else:
        scores = -jax.lax.map(lambda row: jnp.sum(jnp.abs(row - texts), 1), x, batch_size=64)
    right = (jnp.argmax(scores, 1) == labels).astype(jnp.float32)
    sums = jnp.zeros((2, num_classes)).at[:, labels].add(jnp.stack([right, jnp.ones_like(right)]))
    return sums[0] / sums[1]


def pooled_accuracy(classes: Array, labels: np.ndarray) -> float:
    """Accuracy over rows from that of each class `[classes]`."""
    counts = np.bincount(labels, minlength=len(classes))
    return float(np.asarray(classes) @ counts / counts.sum())

"""Random views of observations, by the kind of their modality."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from mmjax.encoders import Padded
from mmjax.errors import InvalidInput, require
from mmjax.nets.embedders import Fusion
from mmjax.nets.prepare import Observation, Preparation
from mmjax.observations.augment import (
    ImageAugmentation,
    SequenceAugmentation,
    augment_images,
    augment_sequences,
    augment_vectors,
)
from mmjax.types import Key

Augment = Callable[[Key, Observation], Observation]

_OF_VECTORS = {"", "noise", "drop"}  # augmentations of what is no sequence
_IMAGES = ImageAugmentation(crop_scale=(0.4, 1.0), brightness=0.3, contrast=0.3)


def augmenter(options: SequenceAugmentation) -> Callable[[Key, Observation], Observation]:
    """Noise and drops for whatever comes: features of a vector or map, steps of a sequence.

    Steps that a Padded sequence loses aren't seen; those of an array `[n, length, features]` become
    0, and so do features and pixels. Raises InvalidInput for an option out of range.
    """
    of_vectors: Any = (
        augment_vectors(options) if set(options.kinds.split("+")) <= _OF_VECTORS else None
    )
    of_sequences = augment_sequences(options)

    def augment(key, seen):
        if isinstance(seen, Padded):
            return Padded(*of_sequences(key, *seen))
        if seen.ndim == 3:
            return of_sequences(key, seen, jnp.ones(seen.shape[:2], bool))[0]
        allowed = "noise and drop, for what is no sequence"
        require(of_vectors is not None, "kinds", options.kinds, allowed)
        return of_vectors(key, seen.reshape(len(seen), -1)).reshape(seen.shape)

    return augment


def augmentations(
    preparations: Mapping[str, Preparation],
    fusion: Fusion | None,
    given: Mapping[str, Augment] | None,
) -> dict[str, Augment]:
    """Those that are given; or, where a loss has nothing but views, noise and drops of features and
    sequences, and crops and light of images. Text stays as it is.

    Raises InvalidInput for a name that is no modality.
    """
    for name in given or {}:
        allowed = "names of modalities: " + ", ".join(preparations)
        require(name in preparations, "augment", name, allowed)
    if given is not None or (fusion is None and len(preparations) > 1):
        return dict(given or {})
    options = fusion or Fusion()
    rows = augmenter(SequenceAugmentation("drop+noise", 0.5, options.noise, (0.0, options.drop)))
    images: Any = augment_images(_IMAGES)
    of_kind: dict[str, Augment] = {
        "features": rows,
        "sequence": rows,
        "image": images,
    }
    return {name: of_kind[p.kind] for name, p in preparations.items() if p.kind in of_kind}


def augmented(
    augment: Mapping[str, Augment], observations: Mapping[str, Observation], keys: Key
) -> dict[str, Observation]:
    """Every row by a key of its own `[n]`, so that it doesn't matter which rows a device has."""

    def one(name, seen):
        if name not in augment:
            return seen
        number = sorted(observations).index(name)

        def of_row(key, row):
            alone = jax.tree.map(lambda v: v[None], row)
            looked = _looked(augment[name], name, jax.random.fold_in(key, number), alone)
            return jax.tree.map(lambda v: v[0], looked)

        return jax.vmap(of_row)(keys, seen)

    return {name: one(name, seen) for name, seen in observations.items()}


def _looked(augment: Augment, name: str, key: Key, seen: Observation) -> Observation:
    """A view, of the shape of what it is of; faults of a user's function are told in a line."""
    try:
        result = augment(key, seen)
    except InvalidInput:
        raise
    except Exception as error:
        said = " ".join(str(error).split()) or "no message"
        raise InvalidInput(f"augment of {name} fails: {type(error).__name__}: {said}") from error
    shapes = lambda tree: jax.tree.map(lambda v: tuple(jnp.shape(v)), tree)
    fits = shapes(result) == shapes(seen)
    require(fits, f"augment of {name}: shape", shapes(result), f"that of its rows, {shapes(seen)}")
    return result

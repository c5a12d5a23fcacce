"""How recorded modalities go into a fusion: prepared, augmented, encoded by their kind."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.config import option
from mmjax.data import Lazy, MultimodalData, MultimodalSplit, read_rows, standardised_by_train
from mmjax.data.multimodal import map_splits
from mmjax.encoders import Modality, Padded, before, mlp, transformer_sequence
from mmjax.errors import naming, require
from mmjax.observations.augment import SequenceAugmentation, augment_sequences, augment_vectors
from mmjax.studies.fused import FusedOptions
from mmjax.types import Array, Key

Observation = Array | Padded
_OF_VECTORS = {"", "noise", "drop"}  # augmentations of what is no sequence


@dataclasses.dataclass(frozen=True)
class MultimodalOptions(FusedOptions):
    """How a fusion of recorded data is trained, where nothing else is said of a modality."""

    hidden: tuple[int, ...] = option((128,), "hidden widths of encoders of vectors and maps")
    augmentation: str = option("drop+noise", "what happens to a row, in order: noise, drop")
    augmentation_probability: float = option(0.5, "of each of these, for each row, in [0, 1]")
    noise: float = option(0.1, "its standard deviation, in units of the standardised values")
    drop: float = option(0.8, "largest share of features or steps left out, in [0, 1]")


class Recorded(NamedTuple):
    """How a modality goes into a fusion.

    Attributes:
      modality: its encoder and tokens.
      augment: `(key, observations) -> observations`, a random view of `[n, ...]` float32 arrays or
        Padded sequences; pure.
    """

    modality: Modality
    augment: Callable[[Key, Observation], Observation]


def in_memory(data: MultimodalData, limit: float) -> MultimodalData:
    """Reads modalities that stay in files where all their rows take at most `limit` bytes."""

    def size(values):
        return int(np.prod(values.shape)) * np.dtype(values.dtype).itemsize

    def held(name):
        splits = [data.train, data.validation, data.test]
        return sum(size(split.modalities[name]) for split in splits if split) <= limit

    names = [name for name in data.train.modalities if held(name)]

    def change(split):
        read = lambda v: v.read(np.arange(v.shape[0])) if isinstance(v, Lazy) else v
        values = {k: read(v) if k in names else v for k, v in split.modalities.items()}
        return split._replace(modalities=values)

    return map_splits(change, data)


def flattened(data: MultimodalData, names: Sequence[str]) -> MultimodalData:
    """Maps `[n, ...]` in memory as vectors `[n, features]`, for encoders of vectors."""

    def change(split):
        vectors = {name: flat(split.modalities[name]) for name in names}
        return split._replace(modalities={**split.modalities, **vectors})

    return map_splits(change, data)


def prepared(data: MultimodalData, *, limit: float = 2.0**31, floor: float = 0.1) -> MultimodalData:
    """What the default encoders want: read if small, maps flattened, standardised by training rows.

    Args:
      data: as loaded.
      limit: see in_memory; modalities that are larger stay as they are.
      floor: see standardised_by_train.
    """
    data = in_memory(data, limit)
    held = {k: v for k, v in data.train.modalities.items() if not isinstance(v, Lazy)}
    maps = [name for name, v in held.items() if v.ndim > 2 and name not in data.train.masks]
    return standardised_by_train(flattened(data, maps), list(held), floor=floor)


def observed(values: Array, seen: Array | None = None) -> Observation:
    """Values as encoders take them: float32, maps of uint8 in [0, 1]; Padded where there's a mask.

    Args:
      values: `[n, ...]`.
      seen: `[n, length]` bool, or None.
    """
    pixels = values.dtype == jnp.uint8 and values.ndim > 2
    values = values.astype(jnp.float32)
    values = values / 255 if pixels else values
    return values if seen is None else Padded(values, seen)


def observations_of(split: MultimodalSplit, rows: np.ndarray) -> tuple[Observation, ...]:
    """Rows of all modalities, not augmented."""
    batch = read_rows(split, rows)
    seen = [None if mask is None else jnp.asarray(mask) for mask in batch.masks]
    return tuple(map(observed, map(jnp.asarray, batch.modalities), seen))


def flat(values: Array) -> Array:
    """`[n, ...] -> [n, features]`."""
    return values.reshape(len(values), -1)


def augmenter(options: SequenceAugmentation) -> Callable[[Key, Observation], Observation]:
    """Noise and drops for whatever comes: features of a vector or map, steps of a sequence.

    Steps that a Padded sequence loses aren't seen; those of an array `[n, length, features]` become
    0, and so do features and pixels. Raises InvalidInput for an option out of range.
    """
    of_vectors = augment_vectors(options) if set(options.kinds.split("+")) <= _OF_VECTORS else None
    of_sequences = augment_sequences(options)

    def augment(key, seen):
        if isinstance(seen, Padded):
            return Padded(*of_sequences(key, *seen))
        if seen.ndim == 3:
            return of_sequences(key, seen, jnp.ones(seen.shape[:2], bool))[0]
        allowed = "noise and drop, for what is no sequence"
        require(of_vectors is not None, "kinds", options.kinds, allowed)
        return of_vectors(key, flat(seen)).reshape(seen.shape)

    return augment


def check_augmentations(recorded: Mapping[str, Recorded], data: MultimodalData) -> None:
    """Raises InvalidInput, naming the modality, for an augmentation that its values can't have."""
    like = lambda v: v if v is None else jax.ShapeDtypeStruct((1, *v.shape[1:]), v.dtype)
    for name, values in data.train.modalities.items():
        seen = jax.eval_shape(observed, like(values), like(data.train.masks.get(name)))
        with naming(name):
            jax.eval_shape(recorded[name].augment, jax.random.key(0), seen)


def default_recorded(
    options: MultimodalOptions, data: MultimodalData, *, sequence_layers: int = 2
) -> dict[str, Recorded]:
    """Every modality's encoder by its kind, and the augmentation that the options name.

    A padded sequence has a transformer, a token a step; anything else an MLP of all its values.

    Args:
      options: sizes and augmentation.
      data: its modalities.
      sequence_layers: of the transformers.

    Raises InvalidInput for an option out of range.
    """
    o, share = options, options.augmentation_probability
    require(0 <= share <= 1, "augmentation_probability", share, "0 to 1")
    require(0 <= o.drop <= 1, "drop", o.drop, "0 to 1")
    with naming("augmentation"):
        look = augmenter(SequenceAugmentation(o.augmentation, share, o.noise, (0.0, o.drop)))

    def one(name, values):
        if name in data.train.masks:
            encoder = transformer_sequence(
                o.width, sequence_layers, o.heads, hidden=4 * o.width, dropout=0.0
            )
            return Recorded(Modality(encoder), look)
        encoder = mlp(o.hidden, o.tokens * o.width)
        encoder = encoder if len(values.shape) == 2 else before(flat, encoder)
        return Recorded(Modality(encoder, tokens=o.tokens), look)

    recorded = {name: one(name, values) for name, values in data.train.modalities.items()}
    with naming("augmentation"):
        check_augmentations(recorded, data)
    return recorded

"""How recorded modalities go into a fusion: augmented, encoded by their kind."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import numpy as np

from mmjax.config import option
from mmjax.data import Lazy
from mmjax.data.dataset import Dataset
from mmjax.encoders import Modality, before, mlp, transformer_sequence
from mmjax.errors import naming, require
from mmjax.nets.looks import augmenter
from mmjax.nets.prepare import Observation, Preparation, example_of
from mmjax.observations.augment import SequenceAugmentation
from mmjax.studies.fused import FusedOptions
from mmjax.types import Array, Key


@dataclasses.dataclass(frozen=True)
class MultimodalOptions(FusedOptions):
    """How a fusion of recorded data is trained, where nothing else is said of a modality."""

    hidden: tuple[int, ...] = option((128,), "hidden widths of encoders of vectors and maps")
    augmentation: str = option("drop+noise", "what happens to a row, in order: noise, drop")
    augmentation_probability: float = option(0.5, "of each augmentation, for each row, in [0, 1]")
    noise: float = option(0.1, "deviation of the noise, of standardised values")
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


def in_memory(data: Dataset, limit: float) -> Dataset:
    """Reads modalities that stay in files where all their rows take at most `limit` bytes."""
    columns = dict(data.columns)
    for name, column in columns.items():
        values = column.values
        size = int(np.prod(values.shape)) * np.dtype(values.dtype).itemsize
        if isinstance(values, Lazy) and size <= limit:
            columns[name] = column._replace(values=values.read(np.arange(data.num_rows)))
    return data._replace(columns=columns)


def flat(values: Array) -> Array:
    """`[n, ...] -> [n, features]`."""
    return values.reshape(len(values), -1)


def check_augmentations(
    recorded: Mapping[str, Recorded], preparations: Mapping[str, Preparation]
) -> None:
    """Raises InvalidInput, naming the modality, for an augmentation that its values can't have."""
    for name, preparation in preparations.items():
        with naming(name):
            jax.eval_shape(recorded[name].augment, jax.random.key(0), example_of(preparation))


def default_recorded(
    options: MultimodalOptions,
    preparations: Mapping[str, Preparation],
    *,
    sequence_layers: int = 2,
) -> dict[str, Recorded]:
    """Every modality's encoder by its kind, and the augmentation that the options name.

    A padded sequence has a transformer, a token a step; anything else an MLP of all its values.

    Args:
      options: sizes and augmentation.
      preparations: of the modalities.
      sequence_layers: of the transformers.

    Raises InvalidInput for an option out of range.
    """
    o, share = options, options.augmentation_probability
    require(0 <= share <= 1, "augmentation_probability", share, "0 to 1")
    require(0 <= o.drop <= 1, "drop", o.drop, "0 to 1")
    with naming("augmentation"):
        look = augmenter(SequenceAugmentation(o.augmentation, share, o.noise, (0.0, o.drop)))

    def one(preparation):
        if preparation.padded:
            encoder = transformer_sequence(
                o.width, sequence_layers, o.heads, hidden=4 * o.width, dropout=0.0
            )
            return Recorded(Modality(encoder), look)
        encoder = mlp(o.hidden, o.tokens * o.width)
        encoder = encoder if preparation.kind == "features" else before(flat, encoder)
        return Recorded(Modality(encoder, tokens=o.tokens), look)

    recorded = {name: one(preparation) for name, preparation in preparations.items()}
    with naming("augmentation"):
        check_augmentations(recorded, preparations)
    return recorded

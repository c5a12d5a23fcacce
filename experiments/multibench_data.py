"""MultiBench's data sets as fusions take them: what to load, published encoders and figures."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from mmjax.data import (
    MultimodalData,
    load_affect,
    load_av_mnist,
    load_mimic,
    load_vision_touch,
    standardised_by_train,
)
from mmjax.encoders import (
    Encoder,
    Modality,
    force_convnet,
    gru_sequence,
    mlp,
    proprio_mlp,
    resnet18,
    small_convnet,
    transformer_sequence,
)
from mmjax.observations.augment import SIMCLR, SequenceAugmentation, augment_images
from mmjax.studies.recorded import Recorded, augmenter, before, in_memory

GREY = dict(mean=(0.5,) * 3, std=(0.5,) * 3)
AFFECT = ("vision", "audio", "text")


class Source(NamedTuple):
    """A data set of MultiBench.

    Attributes:
      modalities: all that it has.
      usual: those of the published row.
      width: of a token and of Z, published; by the number of modalities where it depends on it.
      load: `(path, modalities, task) -> MultimodalData`.
      wanted: what to pass as --data.
      tasks: what may be predicted, the usual one first; empty: one thing.
      standardise: modalities that training rows standardise.
    """

    modalities: Sequence[str]
    usual: Sequence[str]
    width: int
    load: Callable[[str, Sequence[str], str], MultimodalData]
    wanted: str
    tasks: Sequence[str] = ()
    standardise: Sequence[str] = ()


def _affect(file: str) -> Source:
    load = lambda path, names, task: load_affect(path, modalities=names)
    wanted = (
        f"MultiBench's pickle {file}: splits of vision, audio, text, labels (Liang et al. 2021)"
    )
    return Source(AFFECT, ("vision", "text"), 40, load, wanted, standardise=AFFECT)


def _mimic(path: str, names: Sequence[str], task: str) -> MultimodalData:
    return load_mimic(path, task=int(task))


def _av_mnist(path: str, names: Sequence[str], task: str) -> MultimodalData:
    return load_av_mnist(path)


def _robot(path: str, names: Sequence[str], task: str) -> MultimodalData:
    return load_vision_touch(path, task=task, modalities=names)


SOURCES = {
    "mosi": _affect("mosi_raw.pkl"),
    "mosei": _affect("mosei_raw.pkl"),
    "humor": _affect("humor.pkl (UR-FUNNY)"),
    "sarcasm": _affect("sarcasm.pkl (MUsTARD)"),
    "mimic": Source(
        ("static", "series"),
        ("static", "series"),
        512,
        _mimic,
        "MIMIC-III's im.pk as MultiBench prepares it; needs PhysioNet's credentials",
        ("7", *(str(k) for k in range(-1, 20) if k != 7)),
    ),
    "vision_touch": Source(
        ("image", "force", "proprio", "depth", "action"),
        ("image", "force"),
        512,
        _robot,
        "the folder of Vision&Touch's episodes, .h5 files (Lee et al. 2019)",
        ("position", "contact"),
    ),
    "av_mnist": Source(
        ("image", "audio"),
        ("image", "audio"),
        64,
        _av_mnist,
        "the folder of AV-MNIST: image/, audio/ and train_labels.npy, test_labels.npy",
    ),
}

# (data set, task, modalities) -> method -> figure: accuracy in percent, or 10^4 times the squared
# error; linear probes, but for methods that train on labels (Dufumier et al. 2025).
PUBLISHED: Mapping[tuple, Mapping[str, float]] = {
    ("vision_touch", "position", 2): dict(
        cross=33.09, cross_self=7.56, factor_cl=10.82, comm=4.55, factor_cl_supervised=1.72
    ),
    ("mimic", "7", 2): dict(
        cross=66.7, cross_self=65.49, factor_cl=67.3, comm=66.4, supcon=67.4,
        factor_cl_supervised=76.8,
    ),
    ("mosi", "", 2): dict(
        cross=47.8, cross_self=49.0, factor_cl=51.2, comm=67.5, supcon=47.2,
        factor_cl_supervised=69.1,
    ),
    ("humor", "", 2): dict(
        cross=50.1, cross_self=59.9, factor_cl=60.5, comm=63.1, supcon=50.1,
        factor_cl_supervised=63.5,
    ),
    ("sarcasm", "", 2): dict(
        cross=53.5, cross_self=53.9, factor_cl=55.8, comm=63.9, supcon=52.7,
        factor_cl_supervised=69.9,
    ),
    ("vision_touch", "contact", 2): dict(cross=84.4, cross_self=86.8, comm=88.1),
    ("vision_touch", "contact", 3): dict(cmc=94.1, comm=94.2),
    ("humor", "", 3): dict(cmc=59.2, comm=64.6),
}  # fmt: skip


def _as_rgb(images):
    return jnp.repeat(images, 3, -1)


def published_encoder(dataset: str, name: str, shape: Sequence[int], o: Any) -> Modality:
    """The modality's network and tokens, as published.

    Args:
      dataset: a name in SOURCES.
      name: of the modality.
      shape: of a row.
      o: options: width, sequence_layers, sequence_heads, image_width.
    """
    if name in AFFECT and dataset not in ("av_mnist",):
        return Modality(transformer_sequence(40, o.sequence_layers))
    if dataset == "av_mnist":
        patch = 4 if name == "image" else 16
        net: Encoder = small_convnet(o.width, patch=patch, **GREY)
        return Modality(before(_as_rgb, net))
    if dataset == "mimic":
        # Each of 10 features of the static ones is a token; each hour is one.
        return (
            Modality(mlp((10,), 10), tokens=10)
            if name == "static"
            else Modality(gru_sequence(o.recurrent))
        )
    if name == "image":
        return Modality(resnet18(1, width=o.image_width, maps=True, **GREY), positions=64)
    if name == "depth":
        net = resnet18(1, width=o.image_width, maps=True, **GREY)
        return Modality(before(_as_rgb, net), positions=64)
    if name == "force":
        return Modality(force_convnet(o.width))
    return Modality(proprio_mlp(o.width))

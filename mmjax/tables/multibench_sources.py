"""MultiBench's data sets as fusions take them: how to load them, published networks and figures."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp

from mmjax.data import load_affect, load_av_mnist, load_mimic, load_vision_touch
from mmjax.data.dataset import Dataset
from mmjax.encoders import (
    Modality,
    before,
    force_convnet,
    gru_sequence,
    mlp,
    proprio_mlp,
    resnet18,
    small_convnet,
    transformer_sequence,
)
from mmjax.errors import InvalidInput, choose, require

_GREY, _SPREAD = (0.5,) * 3, (0.25,) * 3
_PLACES = 64  # of maps, 16 of the published 128 pixels


class Part(NamedTuple):
    """A modality of a data set.

    Attributes:
      network: `options of the experiment -> Modality`.
      augmentation: published; simclr, or kinds of SequenceAugmentation.
      scaled: whether its values are standardised already, or not numbers to be standardised.
    """

    network: Callable[[Any], Modality]
    augmentation: str = "drop+noise"
    scaled: bool = False


class Setup(NamedTuple):
    """What is predicted in a published row.

    Attributes:
      modalities: what is fused.
      width: of a token and of Z.
      kind: of the labels, classification or regression.
    """

    modalities: Sequence[str]
    width: int
    kind: str = "classification"


class Source(NamedTuple):
    """A data set of MultiBench.

    Attributes:
      parts: name of a modality -> Part.
      load: `(path, modalities, task) -> Dataset`.
      wanted: what to pass as --data.
      tasks: task -> Setup, the usual one first; its name is empty where there is one.
    """

    parts: Mapping[str, Part]
    load: Callable[[str, Sequence[str], str], Dataset]
    wanted: str
    tasks: Mapping[str, Setup]


def _affect(file: str) -> Source:
    words = Part(lambda o: Modality(transformer_sequence(40, o.sequence_layers)))
    return Source(
        {"vision": words, "text": words, "audio": words},
        lambda path, names, task: load_affect(path, modalities=names),
        f"the pickle {file} of MultiBench: train, valid and test of vision, audio, text and labels",
        {"": Setup(("vision", "text"), 40)},
    )


def _convnet(patch: int) -> Part:
    in_colour = lambda images: jnp.repeat(images, 3, -1)
    net = lambda o: before(in_colour, small_convnet(o.width, patch=patch, mean=_GREY, std=_SPREAD))
    return Part(lambda o: Modality(net(o), o.tokens), scaled=True)


_MIMIC = Setup(("static", "series"), 512)
SOURCES = {
    "mosi": _affect("of CMU-MOSI"),
    "mosei": _affect("of CMU-MOSEI"),
    "humor": _affect("of UR-FUNNY"),
    "sarcasm": _affect("of MUsTARD"),
    "mimic": Source(
        {
            "static": Part(lambda o: Modality(mlp((10,), 10), tokens=10), "noise", True),
            "series": Part(lambda o: Modality(gru_sequence(o.width)), scaled=True),
        },
        lambda path, names, task: load_mimic(path, task=int(task)),
        "the pickle im.pk of MIMIC-III as MultiBench prepares it (PhysioNet gives access)",
        {"7": _MIMIC} | {str(k): _MIMIC for k in (-1, *range(20)) if k != 7},
    ),
    "vision_touch": Source(
        {
            "image": Part(
                lambda o: Modality(
                    resnet18(1, width=o.image_width, maps=True, mean=_GREY, std=_SPREAD),
                    positions=_PLACES,
                ),
                "simclr",
                True,
            ),
            "force": Part(lambda o: Modality(force_convnet(o.width), o.tokens), "noise+drop"),
            "proprio": Part(lambda o: Modality(proprio_mlp(o.width), o.tokens), "noise"),
        },
        lambda path, names, task: load_vision_touch(path, task=task, modalities=names),
        "the folder of Vision&Touch with an .h5 file an episode (Lee et al. 2019)",
        {
            "position": Setup(("image", "force"), 128, "regression"),
            "contact": Setup(("image", "proprio"), 512),
        },
    ),
    "av_mnist": Source(
        {"image": _convnet(4), "audio": _convnet(16)},
        lambda path, names, task: load_av_mnist(path),
        "the folder of AV-MNIST with image/, audio/, train_labels.npy and test_labels.npy",
        {"": Setup(("image", "audio"), 64)},
    ),
}


class Published(NamedTuple):
    """Figures of Dufumier et al. 2025: accuracy in percent, or squared error times 10^4.

    Attributes:
      probes: method -> figure of a linear probe.
      supervised: method -> figure of one that saw labels.
    """

    probes: Mapping[str, float]
    supervised: Mapping[str, float] = {}


# (data set, task, number of modalities)
PUBLISHED = {
    ("vision_touch", "position", 2): Published(
        dict(cross=33.09, cross_self=7.56, factor_cl=10.82, comm=4.55),
        dict(factor_cl_supervised=1.72),
    ),
    ("mimic", "7", 2): Published(
        dict(cross=66.7, cross_self=65.49, factor_cl=67.3, comm=66.4),
        dict(supcon=67.4, factor_cl_supervised=76.8),
    ),
    ("mosi", "", 2): Published(
        dict(cross=47.8, cross_self=49.0, factor_cl=51.2, comm=67.5),
        dict(supcon=47.2, factor_cl_supervised=69.1),
    ),
    ("humor", "", 2): Published(
        dict(cross=50.1, cross_self=59.9, factor_cl=60.5, comm=63.1),
        dict(supcon=50.1, factor_cl_supervised=63.5),
    ),
    ("sarcasm", "", 2): Published(
        dict(cross=53.5, cross_self=53.9, factor_cl=55.8, comm=63.9),
        dict(supcon=52.7, factor_cl_supervised=69.9),
    ),
    ("vision_touch", "contact", 2): Published(dict(cross=84.4, cross_self=86.8, comm=88.1)),
    ("vision_touch", "contact", 3): Published(dict(cmc=94.1, comm=94.2)),
    ("humor", "", 3): Published(dict(cmc=59.2, comm=64.6)),
}


def chosen_task(dataset: str, task: str) -> str:
    """The task, or the data set's usual one. Raises InvalidInput for one that it hasn't."""
    known = SOURCES[dataset].tasks
    task = task or next(iter(known))
    require(
        task in known, "task", task, "one of " + ", ".join(known) if "" not in known else "none"
    )
    return task


def chosen_modalities(dataset: str, names: Sequence[str], task: str) -> tuple[str, ...]:
    """Those named, or the published ones. Raises InvalidInput for one that it hasn't."""
    source = choose(SOURCES, "dataset", dataset)
    names = tuple(names) or tuple(source.tasks[task].modalities)
    good = set(names) <= set(source.parts) and len(set(names)) == len(names) >= 2
    allowed = f"two or more of {', '.join(source.parts)}"
    require(good, "modalities", ",".join(names), allowed)
    return names


def load_source(dataset: str, path: str, names: Sequence[str], task: str) -> Dataset:
    """The data set with these modalities, in this order.

    Raises InvalidInput where the path is empty, saying what to pass, and for whatever its loader
    finds wrong.
    """
    source = SOURCES[dataset]
    if not path:
        raise InvalidInput(f"--data: data set {dataset} needs files; pass {source.wanted}")
    return source.load(path, names, task).only(*names)

"""CoMM and its baselines on MultiBench's data: linear probes beside the published figures.

  python -m experiments.comm_multibench --dataset=mosi --data=mosi_raw.pkl   # minutes on a CPU
  python -m experiments.comm_multibench --preset=mosi --data=mosi_raw.pkl    # as published
  python -m experiments.comm_multibench --preset=humor3 --data=humor.pkl     # three modalities
  python -m experiments.comm_multibench --preset=vision_touch --data=episodes_folder
  python -m experiments.comm_multibench --preset=contact3 --data=episodes_folder

A preset is a published row (Dufumier et al. 2025): its modalities, networks, augmentations and
optimiser; --methods=comm,cross,cross_self,factor_cl trains its competitors too. Rows are drawn with
replacement. Features are standardised by the training rows, steps that an augmentation drops aren't
attended to, and a sensor is one token, which the published code has otherwise.
"""

import dataclasses
import sys
from collections.abc import Sequence

import numpy as np

from experiments.fused_runs import (
    chosen_names,
    methods_option,
    percent_table,
    seconds_a_model,
    with_steps,
)
from experiments.multibench_data import (
    PUBLISHED,
    SOURCES,
    Published,
    chosen_modalities,
    chosen_task,
    load_source,
)
from experiments.needs import NEEDS
from experiments.recorded_runs import CONTROLS, Case, case_table, named_subsets, target_of
from mmjax.config import names_in, option
from mmjax.data import Lazy, MultimodalData, split_size, standardised_by_train
from mmjax.encoders import Padded
from mmjax.errors import naming, require
from mmjax.observations.augment import IMAGE_AUGMENTATIONS, SequenceAugmentation, augment_images
from mmjax.report import grouped_bars_figure, save_figure
from mmjax.run import Run, RunOptions, launch, machine, run_table, values
from mmjax.studies.fused import FusedOptions
from mmjax.studies.fusing_methods import METHODS
from mmjax.studies.multimodal import multimodal_task
from mmjax.studies.recorded import Recorded, augmenter, check_augmentations, in_memory

EXPERIMENT = "comm_multibench"


@dataclasses.dataclass(frozen=True)
class Config(FusedOptions, RunOptions):
    """The data set, what is fused of it, and how the run is carried out."""

    dataset: str = option("mosi", "which", tuple(SOURCES))
    data: str = option("", "its file or folder", file=True)
    modalities: str = option("", "comma-separated, in order; empty: those of the published row")
    task: str = option("", "mimic: a code such as 7, or -1 for mortality; vision_touch: position, "
                       "contact; empty: the published one")  # fmt: skip
    methods: str = methods_option()
    augmentations: str = option("", "one a modality, comma-separated: none, noise, drop+noise ...; "
                                "gentle or simclr of images; empty: published")  # fmt: skip
    standardise: bool = option(True, "features by the training rows")
    epochs: int = option(100, "of training, where steps are 0")
    memory: float = option(8.0, "GiB up to which a modality is read at once, not at every step")
    probe_samples: int = option(50_000, "training rows that probes are fitted on, at most")
    sequence_layers: int = option(5, "of the transformers of vision, audio and text")
    tokens: int = option(1, "of a sensor, and of a picture of av_mnist")
    image_width: int = option(64, "channels of the ResNet-18's first stage")
    width: int = option(0, "of a token and of Z; 0: that of the published row")
    head_hidden: int = option(512, "width of the projection head")
    head_out: int = option(256, "dimension of what the loss compares")
    steps: int = option(0, "training steps; 0: as many as the epochs have")
    learning_rate: float = option(1e-3, "its peak")
    warmup: int = option(0, "steps of linear warm-up")
    schedule: str = option("constant", "of the learning rate", ("constant", "cosine"))
    weight_decay: float = option(1e-2, "decoupled, of kernels only")


_THREE = {"learning_rate": 1e-4, "methods": "comm,cmc"}
PRESETS = {
    "quick": {"epochs": 10, "sequence_layers": 2, "image_width": 8},
    "mosi": {"dataset": "mosi"},
    "humor": {"dataset": "humor"},
    "sarcasm": {"dataset": "sarcasm"},
    "mimic": {"dataset": "mimic"},
    "vision_touch": {"dataset": "vision_touch"},
    "contact": {"dataset": "vision_touch", "task": "contact"},
    "humor3": {"dataset": "humor", "modalities": "vision,text,audio"} | _THREE,
    "contact3": {
        "dataset": "vision_touch",
        "task": "contact",
        "modalities": "image,force,proprio",
    }
    | _THREE,
}


def augmentation_of(name: str):
    """none; simclr or gentle of images; other names are kinds of SequenceAugmentation."""
    if name == "none":
        return lambda key, seen: seen
    if name in IMAGE_AUGMENTATIONS:
        of_images = augment_images(IMAGE_AUGMENTATIONS[name])

        def augment(key, seen):
            require(not isinstance(seen, Padded), name, "padded sequences", "pictures")
            return of_images(key, seen)

        return augment
    return augmenter(SequenceAugmentation(name))


def read_data(config: Config, names: Sequence[str], task: str) -> MultimodalData:
    """Loaded, read into memory where it fits, standardised."""
    require(config.memory >= 0, "memory", config.memory, "a number of GiB >= 0")
    parts = SOURCES[config.dataset].parts
    data = load_source(config.dataset, config.data, names, task)
    data = in_memory(data, config.memory * 2**30)
    held = [name for name in names if not isinstance(data.train.modalities[name], Lazy)]
    return standardised_by_train(
        data, [name for name in held if config.standardise and not parts[name].scaled]
    )


def in_full(config: Config, task: str) -> Config:
    """The configuration with the width of the published row where none is given."""
    width = config.width or SOURCES[config.dataset].tasks[task].width
    return dataclasses.replace(config, width=width)


def training_steps(config: Config, rows: int) -> int:
    """Those given, or those of the epochs."""
    require(config.steps >= 0, "steps", config.steps, "a whole number >= 0")
    require(config.epochs >= 1, "epochs", config.epochs, "a whole number >= 1")
    require(config.batch_size >= 2, "batch_size", config.batch_size, "a whole number >= 2")
    return config.steps or config.epochs * max(1, rows // config.batch_size)


def case_of(config: Config, data: MultimodalData) -> Case:
    """The case of the data set: its networks and augmentations."""
    parts, names = SOURCES[config.dataset].parts, list(data.train.modalities)
    given = names_in(config.augmentations) or [parts[name].augmentation for name in names]
    allowed = f"{len(names)} names, one a modality"
    require(len(given) == len(names), "augmentations", config.augmentations, allowed)
    with naming("augmentations"):
        recorded = {
            name: Recorded(parts[name].network(config), augmentation_of(kind))
            for name, kind in zip(names, given, strict=True)
        }
        check_augmentations(recorded, data)
    task = multimodal_task(data, recorded)
    return Case(config.dataset, task, data, {"label": target_of(data)}, named_subsets(names))


def measure(data: MultimodalData) -> tuple[str, float, str]:
    """Metric, what it is multiplied by in tables, and its name there."""
    if data.kind == "regression":
        return "mse", 1e4, "squared error, 1e-4"
    return "accuracy", 100.0, "accuracy, %"


def guessing(data: MultimodalData, metric: str) -> float:
    """What the most frequent class, or the mean of the targets, of training rows scores."""
    train, test = data.train.labels, data.test.labels
    if metric == "mse":
        return float(((test - train.mean(0)) ** 2).mean())
    return float((test == np.argmax(np.bincount(train))).mean())


def summary(config: Config, run: Run, case: Case, task: str, rows, seconds: dict) -> str:
    """A row a method, all modalities and each alone, the published figure beside it."""
    names = [*CONTROLS, *chosen_names("methods", config.methods, METHODS)]
    settings = {name: f"{name}/{case.name}" for name in names}
    metric, scale, header = measure(case.data)
    count = len(case.data.train.modalities)
    known = PUBLISHED.get((config.dataset, task, count), Published({}))
    figures = {**known.probes, **known.supervised}
    level = guessing(case.data, metric)
    cells = {subset: (subset, "label", metric) for subset in reversed(case.subsets)}
    if metric == "accuracy":
        groups = {
            subset: {name: values(rows, s, *cell) for name, s in settings.items()}
            for subset, cell in cells.items()
        }
        figure = grouped_bars_figure(
            groups, levels={subset: level for subset in cells}, ylabel="accuracy"
        )
        save_figure(figure, run.path("figures", "accuracy.png"))

    def beside(setting):
        found = figures.get(setting.split("/")[0])
        return "-" if found is None else str(found), seconds_a_model(config, seconds, setting)

    table = percent_table(
        rows,
        list(settings.values()),
        cells,
        chance=[level] * len(cells),
        beside=beside,
        beside_header=["published", "s / model"],
        scale=scale,
        header=header,
    )
    train, test = split_size(case.data.train), split_size(case.data.test)
    about = (
        f"{case.data.name}{', task ' * bool(task)}{task}: {train} training and {test} test rows, "
        f"{config.steps} steps, {config.seeds} seeds, mean ± standard deviation; chance: the most "
        f"frequent class, or the mean, of training rows; {machine()}."
    )
    return "\n\n".join([f"# {EXPERIMENT}", about, table]) + "\n"


def main(config: Config, run: Run) -> None:
    """Runs or resumes all methods on the data set; writes results, figure and summary."""
    methods = chosen_names("methods", config.methods, METHODS)
    task = chosen_task(config.dataset, config.task)
    names = chosen_modalities(config.dataset, names_in(config.modalities), task)
    config = in_full(config, task)
    data = read_data(config, names, task)
    config = with_steps(config, training_steps(config, split_size(data.train)))
    case = case_of(config, data)
    images = any(len(values.shape) == 4 for values in data.train.modalities.values())
    table = case_table(
        EXPERIMENT,
        config,
        case,
        methods,
        run,
        limit=config.probe_samples,
        unrolled=images,
    )
    run_table(
        EXPERIMENT,
        config,
        run,
        table,
        lambda rows, seconds: summary(config, run, case, task, rows, seconds),
    )


if __name__ == "__main__":
    how = dict(experiment=EXPERIMENT, doc=__doc__, needs=NEEDS[EXPERIMENT])
    sys.exit(launch(main, Config, PRESETS, **how))

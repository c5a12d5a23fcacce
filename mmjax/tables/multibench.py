"""MultiBench's data sets as cases of fusions, and their table beside the published figures."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mmjax.config import names_in
from mmjax.data.dataset import Dataset
from mmjax.encoders import Padded
from mmjax.errors import InvalidInput, counted, require
from mmjax.nets.looks import augmenter
from mmjax.nets.prepare import Observation, Preparation, preparations_of
from mmjax.observations.augment import IMAGE_AUGMENTATIONS, SequenceAugmentation, augment_images
from mmjax.report import Expected, grouped_bars_figure, save_figure
from mmjax.run import Row, Run, machine, values
from mmjax.studies.fusing_methods import METHODS
from mmjax.studies.recorded import in_memory
from mmjax.tables.fused import chosen_names, percent_table, seconds_a_model
from mmjax.tables.multibench_sources import (
    PUBLISHED,
    SOURCES,
    Published,
    chosen_modalities,
    chosen_task,
    load_source,
)
from mmjax.tables.recorded import CONTROLS, Case, labels_of
from mmjax.types import Key

EXPERIMENT = "comm_multibench"


def augmentation_of(name: str) -> Callable[[Key, Observation], Observation]:
    """none; simclr or gentle of images; other names are kinds of SequenceAugmentation."""
    if name == "none":
        return lambda key, seen: seen
    if name in IMAGE_AUGMENTATIONS:
        of_images = augment_images(IMAGE_AUGMENTATIONS[name])

        def augment(key: Key, seen: Observation) -> Observation:
            if isinstance(seen, Padded):
                raise InvalidInput(f"{name}: 'padded sequences' is not allowed; use pictures")
            return of_images(key, seen)

        return augment
    return augmenter(SequenceAugmentation(name))


def read_data(config: Any, names: Sequence[str], task: str) -> tuple[Dataset, str]:
    """Loaded, and read into memory where it fits; and the kind of its labels."""
    require(config.memory >= 0, "memory", config.memory, "a number of GiB >= 0")
    data = load_source(config.dataset, config.data, names, task)
    kind = SOURCES[config.dataset].tasks[task].kind
    return in_memory(data, config.memory * 2**30), kind


def preparations(config: Any, data: Dataset) -> dict[str, Preparation]:
    """Features standardised by the training rows, unless they are so already."""
    parts = SOURCES[config.dataset].parts
    as_they_are = [n for n in data.columns if parts[n].scaled or not config.standardise]
    return preparations_of(data.part("train"), floor=0.0, unscaled=as_they_are)


def in_full(config: Any, task: str) -> Any:
    """The configuration with the width of the published row where none is given."""
    width = config.width or SOURCES[config.dataset].tasks[task].width
    return dataclasses.replace(config, width=width)


def training_steps(config: Any, rows: int) -> int:
    """Those given, or those of the epochs."""
    require(config.steps >= 0, "steps", config.steps, "a whole number >= 0")
    require(config.epochs >= 1, "epochs", config.epochs, "a whole number >= 1")
    require(config.batch_size >= 2, "batch_size", config.batch_size, "a whole number >= 2")
    return config.steps or config.epochs * max(1, rows // config.batch_size)


def measure(kind: str) -> tuple[str, float, str]:
    """Metric, what it is multiplied by in tables, and its name there."""
    if kind == "regression":
        return "mse", 1e4, "squared error, 1e-4"
    return "accuracy", 100.0, "accuracy, %"


def guessing(case: Case, metric: str) -> float:
    """What the most frequent class, or the mean of the targets, of training rows scores."""
    target = case.targets["label"]
    train, test = (labels_of(case.data.part(part), target) for part in ("train", "test"))
    if metric == "mse":
        return float(((test - train.mean(0)) ** 2).mean())
    return float((test == np.argmax(np.bincount(train))).mean())


def expected(config: Any, settings: Sequence[str]) -> list[Expected]:
    """The published figures of all modalities."""
    task = chosen_task(config.dataset, config.task)
    names = chosen_modalities(config.dataset, names_in(config.modalities), task)
    known = PUBLISHED.get((config.dataset, task, len(names)), Published({}))
    figures = {**known.probes, **known.supervised}
    metric, scale = ("mse", 1e4) if task == "position" else ("accuracy", 100.0)
    return [
        Expected(setting, "joint", "label", metric, value / scale, None, "Dufumier et al. 2025")
        for setting in settings
        if (value := figures.get(setting.split("/")[0])) is not None
    ]


def summary(
    config: Any, run: Run, case: Case, task: str, rows: Sequence[Row], seconds: Mapping[str, float]
) -> str:
    """A row a method, all modalities and each alone, the published figure beside it."""
    names = [*CONTROLS, *chosen_names("methods", config.methods, METHODS)]
    settings = {name: f"{name}/{case.name}" for name in names}
    metric, scale, header = measure(case.targets["label"].kind)
    count = len(case.data.columns)
    known = PUBLISHED.get((config.dataset, task, count), Published({}))
    figures = {**known.probes, **known.supervised}
    level = guessing(case, metric)
    cells = {subset: (subset, "label", metric) for subset in reversed(list(case.subsets))}
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
        result = figures.get(setting.split("/")[0])
        return "-" if result is None else str(result), seconds_a_model(config, seconds, setting)

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
    train, test = (int(np.sum(case.data.split == part)) for part in ("train", "test"))
    about = (
        f"{case.data.name}{', task ' * bool(task)}{task}: {train} training and {test} test rows, "
        f"{config.steps} steps, {counted(config.seeds, 'seed')}, mean ± standard deviation; "
        "chance: the most "
        f"frequent class, or the mean, of training rows; {machine()}."
    )
    return "\n\n".join([f"# {EXPERIMENT}", about, table]) + "\n"

"""CoMM and its baselines on MultiBench's data: linear probes beside the published figures.

  python -m experiments.comm_multibench --dataset=mosi --data=mosi_raw.pkl   # minutes on a CPU
  python -m experiments.comm_multibench --preset=mosi --data=mosi_raw.pkl    # as published
  python -m experiments.comm_multibench --preset=humor3 --data=humor.pkl     # three modalities
  python -m experiments.comm_multibench --preset=vision_touch --data=episodes_folder
  python -m experiments.comm_multibench --preset=contact3 --data=episodes_folder

A preset is a published row (Dufumier et al. 2025): its modalities, networks, augmentations and
optimiser; --methods=comm,cross,cross_self,factor_cl trains its competitors too. Features are
standardised by the training rows, steps that an augmentation drops aren't attended to, and a sensor
is one token, which the published code has otherwise.
"""

import dataclasses
import sys

from mmjax.config import names_in, option
from mmjax.data.dataset import LABEL, Dataset, facts_of
from mmjax.errors import naming, require
from mmjax.run import About, Run, RunOptions, launch, run_table
from mmjax.studies.fused import FusedOptions
from mmjax.studies.fusing_methods import METHODS
from mmjax.studies.multimodal import multimodal_task
from mmjax.studies.recorded import Recorded, check_augmentations
from mmjax.tables.fused import chosen_names, methods_option, with_steps
from mmjax.tables.models import tell
from mmjax.tables.multibench import (
    EXPERIMENT,
    augmentation_of,
    expected,
    in_full,
    preparations,
    read_data,
    summary,
    training_steps,
)
from mmjax.tables.multibench_sources import SOURCES, chosen_modalities, chosen_task
from mmjax.tables.needs import NEEDS
from mmjax.tables.recorded import Case, case_table, named_subsets, target_of

ABOUT = About(
    question="Does fusion beat alignment on MultiBench's recordings?",
    paper="Dufumier et al. 2025, Tables 1 and 2",
    minutes="",
    needs="a data set of MultiBench: MOSI, UR-FUNNY, MUStARD, MIMIC or Vision&Touch",
    expected=expected,
)


@dataclasses.dataclass(frozen=True)
class Config(FusedOptions, RunOptions):
    """The data set, what is fused of it, and how the run is carried out."""

    dataset: str = option("mosi", "which", tuple(SOURCES))
    data: str = option("", "file or folder of the data set", file=True)
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
    learning_rate: float = option(1e-3, "peak of the learning rate")
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


def case_of(config: Config, data: Dataset, kind: str) -> Case:
    """The case of the data set: its networks and augmentations."""
    parts, names = SOURCES[config.dataset].parts, list(data.columns)
    given = names_in(config.augmentations) or [parts[name].augmentation for name in names]
    allowed = f"{len(names)} names, one a modality"
    require(len(given) == len(names), "augmentations", config.augmentations, allowed)
    with naming("augmentations"):
        recorded = {
            name: Recorded(parts[name].network(config), augmentation_of(kind))
            for name, kind in zip(names, given, strict=True)
        }
        prepared = preparations(config, data)
        check_augmentations(recorded, prepared)
    label = LABEL if kind == "classification" else ""
    task = multimodal_task(data, recorded, prepared, label=label)
    targets = {"label": target_of(data, kind)}
    return Case(config.dataset, task, data, prepared, targets, named_subsets(names))


def main(config: Config, run: Run) -> None:
    """Runs or resumes all methods on the data set; writes results, figure and summary."""
    methods = chosen_names("methods", config.methods, METHODS)
    task = chosen_task(config.dataset, config.task)
    names = chosen_modalities(config.dataset, names_in(config.modalities), task)
    config = in_full(config, task)
    data, kind = read_data(config, names, task)
    tell(data.remarks)
    config = with_steps(config, training_steps(config, int((data.split == "train").sum())))
    case = case_of(config, data, kind)
    images = any(column.kind == "image" for column in data.columns.values())
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
        facts_of(data),
    )


if __name__ == "__main__":
    how = dict(experiment=EXPERIMENT, doc=__doc__, about=ABOUT, needs=NEEDS[EXPERIMENT])
    sys.exit(launch(main, Config, PRESETS, **how))

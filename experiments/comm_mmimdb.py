"""CoMM on MM-IMDb: genres of films from frozen features of posters and plots, F1 of linear probes.

  python -m experiments.comm_mmimdb --data=multimodal_imdb.hdf5          # its VGG and word2vec
  python -m experiments.comm_mmimdb --data=mmimdb --clip=clip-vit-base-patch32
  python -m experiments.comm_mmimdb --preset=paper --data=mmimdb --clip=clip-vit-base-patch32

--data is the published folder (split.json, dataset/<id>.json and .jpeg) or the HDF5 file; --clip a
CLIP's folder (see extract_features), whose features of posters and plots are computed once and kept
in the workdir. Published figures fuse the tokens of CLIP; here each modality is one feature vector,
made into --tokens tokens, with noise and drops in place of augmented posters and masked words.
"""

import dataclasses
import os
import sys

import numpy as np

from mmjax.config import option
from mmjax.data import load_mm_imdb_hdf5
from mmjax.data.dataset import Dataset, facts_of
from mmjax.data.sets.mm_imdb_hdf5 import ENDS
from mmjax.encoders import Modality, as_is
from mmjax.errors import InvalidInput, naming, require
from mmjax.nets.looks import augmenter
from mmjax.nets.prepare import preparations_of
from mmjax.observations.augment import SequenceAugmentation
from mmjax.run import About, Run, RunOptions, launch, run_table
from mmjax.studies.fused import FusedOptions
from mmjax.studies.fusing_methods import METHODS
from mmjax.studies.multimodal import multimodal_task
from mmjax.studies.recorded import Recorded, check_augmentations, in_memory
from mmjax.tables.fused import chosen_names, methods_option, with_steps
from mmjax.tables.mm_imdb import EXPERIMENT, embedded_films, expected, summary
from mmjax.tables.models import tell
from mmjax.tables.needs import NEEDS
from mmjax.tables.recorded import Case, case_table, named_subsets, target_of

ABOUT = About(
    question="Which genres of a film are in its poster, its plot, and both?",
    paper="Dufumier et al. 2025, Table 3",
    minutes="",
    needs="MM-IMDb: its folder and a CLIP's, or multimodal_imdb.hdf5",
    expected=expected,
)


@dataclasses.dataclass(frozen=True)
class Config(FusedOptions, RunOptions):
    """The films, their features, and how the run is carried out."""

    data: str = option("", "the folder of MM-IMDb, or multimodal_imdb.hdf5", file=True)
    clip: str = option("", "folder of a CLIP, for features of the films in a folder", file=True)
    ends: tuple[int, ...] = option(ENDS, "where training, dev and test rows of the HDF5 file end")
    embed_batch: int = option(64, "films embedded at once")
    workers: int = option(8, "threads that decode posters")
    methods: str = methods_option()
    augmentation: str = option("drop+noise", "of features, in order: noise, drop")
    epochs: int = option(100, "of training, where steps are 0")
    warmup_epochs: int = option(10, "epochs with a growing learning rate, where warmup is 0")
    probe_samples: int = option(50_000, "training rows that probes are fitted on, at most")
    width: int = option(768, "of a token and of Z")
    head_hidden: int = option(512, "width of the projection head")
    head_out: int = option(256, "dimension of what the loss compares")
    steps: int = option(0, "training steps; 0: as many as the epochs have")
    learning_rate: float = option(1e-4, "peak of the learning rate")
    warmup: int = option(0, "steps of linear warm-up; 0: as many as the warm-up epochs have")
    weight_decay: float = option(0.01, "decoupled, of kernels only")


PRESETS = {
    "quick": {"width": 128, "epochs": 10, "warmup_epochs": 1, "learning_rate": 1e-3},
    "paper": {},
}


def read_data(config: Config, run: Run) -> Dataset:
    """Films with two feature vectors each."""
    if not config.data:
        raise InvalidInput(
            "--data: pass the folder of MM-IMDb (split.json, dataset/<id>.json and .jpeg) with "
            "--clip, or its file multimodal_imdb.hdf5"
        )
    if os.path.isdir(config.data):
        there = bool(config.clip) and os.path.isdir(config.clip)
        allowed = "the folder of a CLIP (config.json, model.safetensors, tokenizer.json)"
        require(there, "--clip", config.clip, f"{allowed}, for --data is a folder of films")
        return embedded_films(config, run)
    require(not config.clip, "--clip", config.clip, "none, for an HDF5 file has its features")
    return in_memory(load_mm_imdb_hdf5(config.data, ends=config.ends), np.inf)


def in_full(config: Config, rows: int) -> Config:
    """The configuration with the steps of its epochs."""
    for name in ("steps", "epochs", "warmup_epochs"):
        require(getattr(config, name) >= 0, name, getattr(config, name), "a whole number >= 0")
    require(config.batch_size >= 2, "batch_size", config.batch_size, "a whole number >= 2")
    an_epoch = max(1, rows // config.batch_size)
    config = with_steps(config, config.steps or config.epochs * an_epoch)
    return dataclasses.replace(config, warmup=config.warmup or config.warmup_epochs * an_epoch)


def case_of(config: Config, data: Dataset) -> Case:
    """Frozen features, standardised by the training rows, fused."""
    prepared = preparations_of(data.part("train"), floor=0.0)
    with naming("augmentation"):
        look = augmenter(SequenceAugmentation(config.augmentation))
        recorded = {
            name: Recorded(Modality(as_is(), tokens=config.tokens), look) for name in data.columns
        }
        check_augmentations(recorded, prepared)
    task = multimodal_task(data, recorded, prepared)
    subsets = named_subsets(list(recorded))
    return Case("mmimdb", task, data, prepared, {"genres": target_of(data, "multilabel")}, subsets)


def main(config: Config, run: Run) -> None:
    """Runs or resumes all methods on the films; writes results, figure and summary."""
    methods = chosen_names("methods", config.methods, METHODS)
    data = read_data(config, run)
    tell(data.remarks)
    config = in_full(config, int(np.sum(data.split == "train")))
    case = case_of(config, data)
    table = case_table(EXPERIMENT, config, case, methods, run, limit=config.probe_samples)
    run_table(
        EXPERIMENT,
        config,
        run,
        table,
        lambda rows, seconds: summary(config, run, case, rows, seconds),
        facts_of(data),
    )


if __name__ == "__main__":
    how = dict(experiment=EXPERIMENT, doc=__doc__, about=ABOUT, needs=NEEDS[EXPERIMENT])
    sys.exit(launch(main, Config, PRESETS, **how))

"""Train encoders on YOUR data of any number of modalities; probe, retrieve, keep the models.

  python -m experiments.fit --data=pairs.npz --labels=word --dim=16
  python -m experiments.fit --data=captions.csv --modalities=image:photo,text:caption \\
      --labels=class --image_size=64 --workdir=mine
  python -m experiments.fit --data=recordings.npz --preset=fusion --groups=speaker
  python -m experiments.fit --data=captions.csv --clip=FOLDER --tune=head

Reads .npz, .csv, .tsv, .jsonl, .parquet, .safetensors, .h5, .tar shards and folders (mmjax.read).
Trains on rows of split train, chooses the best step on validation rows, and judges on test rows,
which nothing has seen: linear probes of the labels beside the raw values and chance, and retrieval.
Models lie in WORKDIR/models/*/model: `mmjax.load`, `experiments.embed` and `experiments.probe`.
"""

import dataclasses
import sys
from functools import partial

from mmjax.config import option
from mmjax.data.dataset import facts_of
from mmjax.encoders import HEADS
from mmjax.errors import require
from mmjax.losses import LOSSES, SIMILARITIES
from mmjax.run import About, Piece, Run, SeedOptions, launch, run_table, seed_numbers
from mmjax.tables.models import (
    EXPERIMENT,
    DataOptions,
    check_held_out,
    judged,
    read_data,
    summary,
    tell,
    trained_model,
)
from mmjax.tables.needs import NEEDS
from mmjax.train import DECAY_HELP, OPTIMISER_HELP, OPTIMISERS, OptimiserOptions

ABOUT = About(
    question="What do encoders trained on your own pairs keep and find again?",
    paper="",
    minutes="",
    needs="your pairs: .npz, .csv, .tsv, .jsonl, .parquet, .safetensors, .h5, .tar or a folder",
)


@dataclasses.dataclass(frozen=True)
class Config(DataOptions, OptimiserOptions, SeedOptions):
    """What is trained on which data; see mmjax.fit."""

    dim: tuple[int, ...] = option((16,), "dimensions of the embeddings, a model each")
    loss: str = option("info_nce", "what is minimised", tuple(LOSSES))
    temperature: float = option(0.1, "of the loss, > 0")
    learn_temperature: bool = option(False, "train the temperature too, from that start")
    similarity: str = option("cosine", "in the loss info_nce", tuple(SIMILARITIES))
    head: str = option("sphere", "space of the embeddings of towers", tuple(HEADS))
    train_label: str = option("", "label that the loss sees (supcon)")
    clip: str = option("", "folder of a CLIP whose towers embed images and texts", file=True)
    tune: str = option("head", "what of the CLIP is trained", ("none", "head", "all"))
    fusion: bool = option(False, "fuse modalities before they are contrasted; with --loss=comm")
    tokens: int = option(4, "of a fusion: tokens of a vector")
    layers: int = option(1, "of a fusion's transformer")
    heads: int = option(4, "of a fusion's attention; they divide dim")
    masking: int = option(0, "of a fusion: random subsets a row instead of single modalities")
    noise: float = option(0.1, "of views of a fusion: its standard deviation")
    drop: float = option(0.8, "of views of a fusion: largest share of features left out, 0 to 1")
    steps: int = option(2000, "training steps")
    batch_size: int = option(256, "rows a step, over all devices")
    optimiser: str = option("adamw", OPTIMISER_HELP, tuple(OPTIMISERS))
    learning_rate: float = option(3e-3, "peak of the learning rate")
    weight_decay: float = option(1e-2, DECAY_HELP)
    validate_every: int = option(-1, "steps between looks at validation rows; 0 none, -1 twenty")
    patience: int = option(0, "looks without a better figure that end training; 0: never")
    seeds: int = option(1, "number of models a dimension; each its own order and initial weights")
    parallel: str = option("auto", "batches on devices", ("auto", "single", "data"))


PRESETS = {"quick": {}, "fusion": dict(fusion=True, loss="comm", dim=(48,), batch_size=64)}


def main(config: Config, run: Run) -> None:
    """Runs or resumes all models; writes results, summary and models."""
    require(len(config.dim) > 0, "dim", config.dim, "one or more")
    data = read_data(config)
    tell(data.remarks)
    check_held_out(data)

    def produce(dim, seed, log):
        return judged(trained_model(config, data, run, dim, seed), data, run, f"dim={dim}", seed)

    table = {
        f"dim={dim}": [
            Piece(f"seed={seed}", partial(produce, dim, seed), shows=True)
            for seed in seed_numbers(config)
        ]
        for dim in config.dim
    }
    run_table(
        EXPERIMENT,
        config,
        run,
        table,
        lambda rows, seconds: summary(config, data, rows, list(table), seconds),
        facts_of(data),
    )


if __name__ == "__main__":
    how = dict(experiment=EXPERIMENT, doc=__doc__, about=ABOUT, needs=NEEDS[EXPERIMENT])
    sys.exit(launch(main, Config, PRESETS, **how))

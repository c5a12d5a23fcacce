"""Embeddings of any rows by a model of `experiments.fit` or `Model.save`, as an .npz.

  python -m experiments.embed --model=mine/models/dim=16_seed=0/model --data=captions.csv \\
      --modalities=image:photo,text:caption --labels=class --image_size=64 --out=features.npz

Beside an array a modality (`joint` of a fusion) stand the labels, `split`, `group` and `ids` of
every row: rows that the model was trained on are of split train, wherever they stood.
"""

import dataclasses
import os
import sys

from mmjax.config import option
from mmjax.data.dataset import facts_of
from mmjax.errors import require
from mmjax.models import load
from mmjax.run import About, Run, atomic_write, claim_workdir, keep_facts, launch
from mmjax.tables.models import DataOptions, read_data, tell, write_embeddings

ABOUT = About(
    question="Where do rows of yours lie in the space of a trained model?",
    paper="",
    minutes="",
    needs="a model of experiments.fit, and rows of its modalities",
    trains=False,
)


@dataclasses.dataclass(frozen=True)
class Config(DataOptions):
    """Which rows, by which model, into which file."""

    model: str = option("", "folder of a model", file=True)
    out: str = option("features.npz", "the file that is written")


EXPERIMENT = "embed"
PRESETS = {"quick": {}}


def main(config: Config, run: Run) -> None:
    """Reads, embeds, writes."""
    require(bool(config.model), "--model", config.model, "the folder of a model")
    require(config.out.endswith(".npz"), "--out", config.out, "a path that ends in .npz")
    real = os.path.realpath(config.out)
    for flag, path in (("--data", config.data), ("--model", config.model)):
        apart = not path or os.path.realpath(path) != real
        require(apart, "--out", config.out, f"another file than {flag}, which it would replace")
    inside = real.startswith(os.path.realpath(config.model) + os.sep)
    require(not inside, "--out", config.out, "a file that is not in the folder of --model")
    model = load(config.model)
    data = read_data(config)
    tell(data.remarks)
    claim_workdir(run, EXPERIMENT, config)
    keep_facts(run.workdir, facts_of(data))
    summary = write_embeddings(model, data, config.out)
    atomic_write(run.path("summary.md"), summary + "\n")
    print(summary)


if __name__ == "__main__":
    sys.exit(launch(main, Config, PRESETS, experiment=EXPERIMENT, doc=__doc__, about=ABOUT))

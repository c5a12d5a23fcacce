"""What linear probes read from embeddings, on rows that no encoder and no probe has seen.

  python -m experiments.probe --data=features.npz --modalities=image:image,text:text --labels=class
  python -m experiments.probe --model=mine/models/dim=16_seed=0/model --data=captions.csv \\
      --modalities=image:photo,text:caption --labels=class --image_size=64

The first reads a file of `experiments.embed`, the second embeds by the model first and shows the
raw values beside: of one model and its own export both give the same figures.
"""

import dataclasses
import sys
from collections.abc import Callable
from functools import cache

from mmjax.config import option
from mmjax.data.dataset import facts_of
from mmjax.data.formats import check_own_split
from mmjax.errors import require
from mmjax.models import load, retrieval
from mmjax.models.figures import probing
from mmjax.run import About, Run, atomic_write, claim_workdir, keep_facts, launch
from mmjax.tables.models import DataOptions, read_data, tell

ABOUT = About(
    question="What do linear probes read from embeddings, on rows that nothing has seen?",
    paper="",
    minutes="",
    needs="embeddings, or a model and rows of its modalities",
    trains=False,
)


@dataclasses.dataclass(frozen=True)
class Config(DataOptions):
    """Which rows, and of which model."""

    model: str = option("", "folder of a model; empty: the data are embeddings", file=True)
    use_trained_rows: bool = option(False, "judge rows too that the encoder was trained on")


EXPERIMENT = "probe"
PRESETS = {"quick": {}}


def main(config: Config, run: Run) -> None:
    """Prints and keeps a table a label, and of a model's modalities their retrieval."""
    data = read_data(config)
    if not (config.model or config.use_trained_rows):
        check_own_split(config.data, config.split, "--split")
    require(bool(data.labels), "labels", config.labels, "one column or more to probe")
    tell(data.remarks)
    claim_workdir(run, EXPERIMENT, config)
    keep_facts(run.workdir, facts_of(data))
    options = dict(use_trained_rows=config.use_trained_rows)
    model = load(config.model) if config.model else None
    read = cache(lambda: probing(model, data, **options))
    jobs: list[Callable[[], object]] = [lambda k=k: read()(k) for k in data.labels]
    if model is not None and sum(name in data.columns for name in model.modalities) > 1:
        jobs.append(lambda: retrieval(model, data, **options))
    results = [job() for job in run.tracked(jobs, "judged on held-out rows", "tables")]
    text = "\n\n".join(map(str, results))
    atomic_write(run.path("summary.md"), text + "\n")
    print(text)


if __name__ == "__main__":
    sys.exit(launch(main, Config, PRESETS, experiment=EXPERIMENT, doc=__doc__, about=ABOUT))

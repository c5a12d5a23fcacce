"""What do two encoders trained on YOUR paired recordings keep, and what do they drop?

  python -m experiments.paired_data                      # halves of scikit-learn's digits, a minute
  python -m experiments.paired_data --data=pairs.npz --x=audio --t=image \\
      --label_x=word --label_t=word --private_x=speaker   # your arrays, by name
  python -m experiments.paired_data --data=coco.npz --x=caption --t=image --ids_t=image_id
  python -m experiments.paired_data --data=av_digits.npz --x=mel --t=image --pairs=label \\
      --label_x=audio_digit --label_t=image_digit --private_x=audio_speaker \\
      --test_x=audio_is_test --test_t=image_is_test --embedding_dims=4,8,16,32,64

Rows that are one recording (equal ids, or equal contents) are no negatives of each other and lie on
one side of a random split; in retrieval any partner of a recording is a right answer.
Reports retrieval (recall at 1, 5, 10), and linear probes of labels (shared) and private factors
from the embeddings beside the raw recordings. Theory: the shared label stays readable, private
factors go; how completely depends on the embedding dimension, so several can be swept.
"""

import dataclasses
import sys
from functools import partial

from mmjax.config import names_in, option
from mmjax.data import PairedData, SideNames, digit_halves, load_pairs
from mmjax.errors import require, say
from mmjax.run import About, Run, RunOptions, launch, run_table
from mmjax.studies import PairOptions, check_export, check_probes, make_pair_study
from mmjax.tables.needs import NEEDS
from mmjax.tables.paired import (
    EXPERIMENT,
    draw,
    facts_of,
    few_tests,
    raw_rows,
    summary,
    train_setting,
    trained_rows,
)

ABOUT = About(
    question="What do two encoders trained on your paired recordings keep, and what do they drop?",
    paper="",
    minutes="1",
    needs="no files: halves of scikit-learn's digits; or an .npz of pairs",
)


@dataclasses.dataclass(frozen=True)
class Config(PairOptions, RunOptions):
    """Where the pairs come from, what is trained on them, and how the run is carried out."""

    data: str = option("", "an .npz file; empty: halves of scikit-learn's digits", file=True)
    x: str = option("", "name of the first modality's array [n, ...]")
    t: str = option("", "name of the second modality's array [m, ...]")
    label_x: str = option("", "name of x's labels, what both sides share")
    label_t: str = option("", "name of t's labels")
    private_x: str = option("", "names of x's private factors, comma-separated")
    private_t: str = option("", "names of t's private factors, comma-separated")
    ids_x: str = option(
        "", "name of x's ids: equal where rows are one recording; empty: where contents are equal"
    )
    ids_t: str = option("", "name of t's ids")
    test_x: str = option("", "name of x's test mask (bool); empty: a random split by recordings")
    test_t: str = option("", "name of t's test mask")
    test_share: float = option(0.2, "share of test rows where no mask is named")
    pairs: str = option("index", "pairs by row index, or drawn by label", ("index", "label"))
    pair_index: str = option("", "name of the rows of t that belong to x's rows; empty: same row")
    embedding_dims: tuple[int, ...] = option((8,), "embedding dimensions, a row of the table each")
    export_features: bool = option(False, "write embeddings, labels and factors to features/")
    probe_samples: int = option(10_000, "training rows a probe is fitted on, at most")
    retrieval_samples: int = option(2000, "test rows in retrieval, at most")


PRESETS = {"quick": {}, "paper": {}}


def read_data(config: Config) -> PairedData:
    """The pairs that the flags describe."""
    if not config.data:
        return digit_halves(config.test_share)
    side = lambda values, label, private, *rest: SideNames(values, label, names_in(private), *rest)
    return load_pairs(
        config.data,
        side(config.x, config.label_x, config.private_x, config.test_x, config.ids_x),
        side(config.t, config.label_t, config.private_t, config.test_t, config.ids_t),
        pairs=config.pairs,
        pair_index=config.pair_index,
        test_share=config.test_share,
    )


def main(config: Config, run: Run) -> None:
    """Runs or resumes all embedding dimensions, writes results, figure and summary."""
    require(len(config.embedding_dims) > 0, "embedding_dims", config.embedding_dims, "one or more")
    require(
        config.retrieval_samples >= 1, "retrieval_samples", config.retrieval_samples, "1 or more"
    )
    data = read_data(config)
    for side in (data.x, data.t):
        check_probes(side, limit=config.probe_samples)
        if config.export_features:
            check_export(side)
    data = data._replace(remarks=(*data.remarks, *few_tests(config, data)))

    def produce(setting, study, log):
        return trained_rows(
            config, data, study, setting, train_setting(config, study, setting, run, log), run
        )

    table = {"raw": lambda log: raw_rows(config, data)}
    for dim in config.embedding_dims:
        study = make_pair_study(
            data, config, dim, chunk_steps=config.chunk_steps, save_every=config.save_every
        )
        table[f"dim={dim}"] = partial(produce, f"dim={dim}", study)

    for line in data.remarks:
        say(f"note: {line}")

    def summarise(rows, seconds):
        draw(config, run, rows)
        return summary(config, data, rows, seconds)

    run_table(EXPERIMENT, config, run, table, summarise, facts_of(data))


if __name__ == "__main__":
    how = dict(experiment=EXPERIMENT, doc=__doc__, about=ABOUT, needs=NEEDS[EXPERIMENT])
    sys.exit(launch(main, Config, PRESETS, **how))

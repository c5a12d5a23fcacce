"""Few-shot classification of frozen CLIP features: probes, unmixing, adapters on one table.

  python -m experiments.few_shot --data=oxford_pets.npz,caltech101.npz
  python -m experiments.few_shot --data=imagenet.npz --shots=2 --seeds=1 \\
      --methods="linear probe;whitening;FastICA"
  python -m experiments.few_shot --data=caches/imagenet --shift=sketch.npz  # Tip-Adapter's .pt
  python -m experiments.few_shot --data=pacs.npz --domains=domain  # leave one domain out

Everything is chosen on validation rows, at most min(shots, 4) a class as published; test rows are
looked at once a method is fitted. Beside FastICA stand whitening alone and a random rotation of
the whitened features: a probe with an L2 penalty can't tell the three apart, one with L1 can.
"""

import dataclasses
import sys

from mmjax.config import option
from mmjax.errors import require
from mmjax.few_shot import methods
from mmjax.run import About, Run, SeedOptions, atomic_write, launch, run_table
from mmjax.tables import few_shot_report as report
from mmjax.tables.few_shot import EXPERIMENT, chosen_methods, read_sets, settings, shots_of
from mmjax.tables.few_shot_options import check_counts, say_left_out, say_remarks
from mmjax.tables.needs import NEEDS

ABOUT = About(
    question="Which few-shot method of frozen CLIP features is best, and what does ICA add?",
    paper="Liu et al. 2026, Figures 4 and 5",
    minutes="7",
    needs="your cached features (.npz, .safetensors, .parquet, folders of Tip-Adapter's .pt)",
    trains=False,
)


@dataclasses.dataclass(frozen=True)
class Config(SeedOptions):
    """Which features, how many shots, which methods."""

    data: str = option(
        "", "files of features and labels, or folders of .pt caches, comma-separated", file=True
    )
    shift: str = option(
        "", "files of the same classes in other domains, judged only, comma-separated", file=True
    )
    domains: str = option(
        "", "array of domains in the files of --data: each is left out once, and judged alone"
    )
    seeds: int = option(5, "draws of training and validation rows")
    shots: tuple[int, ...] = option((1, 2, 4, 8, 16), "labelled rows of each class")
    validation: str = option(
        "shots",
        "rows that are chosen on: min(shots, validation_shots) a class, or all",
        ("shots", "full"),
    )
    validation_shots: int = option(4, "validation rows of each class, at most")
    num_components: tuple[int, ...] = option((64, 256), "principal directions that are kept")
    methods: str = option(
        "",
        "names of rows, separated by semicolons; empty: all, which are "
        + "; ".join(method.name for method in methods((64, 256)))
        + " (of other num_components, others than 64 and 256)",
    )
    tuned: bool = option(True, "whether methods that are trained by gradient steps are among them")
    unmix: str = option(
        "source",
        "rows that unmixing is fitted on, without labels: all training and validation rows, or, as "
        "published, those of each draw (fewer than columns: all are then equally far apart)",
        ("source", "draw"),
    )
    classes: str = option(
        "both",
        "where texts cover some classes only: all classes (without the methods that need texts), "
        "those with texts, or both tables",
        ("both", "all", "texts"),
    )
    same: float = option(0.99, "training rows of a larger cosine are one picture, kept once")


PRESETS = {"quick": {}, "paper": dict(seeds=3, num_components=(256,))}


def main(config: Config, run: Run) -> None:
    """Runs or resumes all rows, writes results, figures and summary."""
    check_counts(config, "validation_shots", "seeds")
    require(0 < config.same <= 1, "same", config.same, "a cosine above 0, at most 1")
    chosen_methods(config)
    sets = read_sets(config)
    table = settings(config, sets)
    say_remarks(config, sets)
    say_left_out(config.shots, *((few, shots_of(config, few)) for few in sets))

    def summarise(rows, seconds):
        report.draw_shots(config, run, sets, rows)
        text = report.summary(config, sets, rows, seconds)
        atomic_write(run.path("summary.md"), text)
        return text

    run_table(EXPERIMENT, config, run, table, summarise)


if __name__ == "__main__":
    how = dict(experiment=EXPERIMENT, doc=__doc__, about=ABOUT, needs=NEEDS[EXPERIMENT])
    sys.exit(launch(main, Config, PRESETS, **how))

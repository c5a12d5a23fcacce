"""Is it ICA? What unmixing gives frozen CLIP features, one step at a time, with intervals.

  python -m experiments.is_it_ica --data=oxford_pets.npz
  python -m experiments.is_it_ica --data=oxford_pets.npz,dtd.npz --probes=l2,one \\
      --texts=clip_pairs.npz --text_values=lvis_text --text_names=lvis_name

FastICA is whitening and a search for axes. So: whitening less plain features (PCA of the same
rank), FastICA less whitening, FastICA less a random rotation of the whitened features; by shots,
rank and probe (L2, L1, a threshold on one component a class). Intervals are of a bootstrap over
draws and classes, paired: both sides are judged on the same draw and class. Then components one by
one: what they mean by classes and texts, whether halves of the rows find the same ones, kurtosis
beside Normal rows of the same covariance; zero-shot of images and texts mapped alike.
"""

import dataclasses
import sys

from mmjax.config import different, option
from mmjax.errors import require
from mmjax.few_shot.by_class import PROBES
from mmjax.run import About, Run, SeedOptions, atomic_write, launch, run_table
from mmjax.tables import is_it_ica_report as report
from mmjax.tables.few_shot_options import check_counts, say_left_out, say_remarks
from mmjax.tables.is_it_ica import EXPERIMENT, read_names, read_sets, settings, shots_of
from mmjax.tables.needs import NEEDS

ABOUT = About(
    question="Is what unmixing gives frozen features ICA's doing, or whitening's?",
    paper="Liu et al. 2026, Section 6.2",
    minutes="",
    needs="your cached features, as few_shot reads them",
    trains=False,
)


@dataclasses.dataclass(frozen=True)
class Config(SeedOptions):
    """Which features, ranks, probes and shots."""

    data: str = option(
        "", "files of features and labels, or folders of .pt caches, comma-separated", file=True
    )
    seeds: int = option(5, "draws of training and validation rows, and of random rotations")
    shots: tuple[int, ...] = option((1, 4, 16), "labelled rows of each class")
    validation_shots: int = option(4, "validation rows of each class, at most; never above shots")
    num_components: tuple[int, ...] = option(
        (64,), "principal directions that are kept; components are looked at in the first"
    )
    whole: bool = option(True, "whether probes also see all directions")
    probes: str = option(
        "l2,l1,one",
        f"comma-separated: {', '.join(PROBES)}; one: a threshold on one component a class",
        parts=PROBES,
    )
    splits: int = option(2, "fits of components, at most seeds")
    resamples: int = option(2000, "of the bootstrap")
    texts: str = option("", "file of texts with names, by which components are named", file=True)
    text_values: str = option("", "name of its vectors' array; empty: the usual names")
    text_names: str = option("", "name of its names' array; empty: the usual names")
    names_shown: int = option(3, "texts shown of each component")


PRESETS = {"quick": {}, "paper": dict(num_components=(64, 256), shots=(1, 2, 4, 8, 16))}


def main(config: Config, run: Run) -> None:
    """Runs or resumes all rows, writes results, figures, names of components and summary."""
    check_counts(config, "validation_shots", "seeds", "splits", "resamples", "names_shown")
    for name in different("probes", config.probes) or ("",):
        require(name in PROBES, "probes", name, f"one or more of {', '.join(PROBES)}")
    sets = read_sets(config)
    names = read_names(config, sets)
    table = settings(config, run, sets, names)
    say_remarks(config, sets)
    say_left_out(config.shots, *((few, shots_of(config, few)) for few in sets))

    def summarise(rows, seconds):
        report.draw_gains(config, run, sets, rows)
        text = report.summary(config, sets, rows, seconds)
        atomic_write(run.path("summary.md"), text)
        return text

    run_table(EXPERIMENT, config, run, table, summarise)


if __name__ == "__main__":
    how = dict(experiment=EXPERIMENT, doc=__doc__, about=ABOUT, needs=NEEDS[EXPERIMENT])
    sys.exit(launch(main, Config, PRESETS, **how))

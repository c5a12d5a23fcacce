"""What do features of a frozen model give once they are unmixed? (Liu et al. 2026, Section 6.2)

  python -m experiments.disentangle                        # generated features, known latents
  python -m experiments.disentangle --features=train.npz --validation=val.npz --test=test.npz \\
      --shifted=sketch.npz,v2.npz --num_components=64,128 --normalise     # as published
  python -m experiments.disentangle --features=cub_img_text.npz --values=image \\
      --text_values=text --num_components=16,64            # both modalities of one file
  python -m experiments.disentangle --features=features.npz --domains=speaker   # a real shift

Few-shot probes of the features as they are, whitened, and turned to independent components, at home
and under shift; retrieval across modalities; kurtosis and sparsity of components beside Normal
twins; their top rows; attributes that move with them. Files: .npz, .npy, .safetensors, .parquet.

An L2-penalised probe, a k-NN vote and a cosine do not change when features are turned, so FastICA
can give them nothing that whitening does not: the table has whitening alone beside it. A probe with
an L1 penalty and an L1 distance see the axes.
"""

import dataclasses
import sys

from mmjax.config import option
from mmjax.errors import require, say
from mmjax.evaluate import PROBES
from mmjax.run import About, Run, SeedOptions, atomic_write, launch, run_table
from mmjax.studies import FeatureOptions, read_world
from mmjax.tables import disentangle_report as report
from mmjax.tables.disentangle import EXPERIMENT, probe_names, settings, with_controls
from mmjax.tables.disentangle_rows import too_few
from mmjax.tables.few_shot_options import all_columns
from mmjax.tables.needs import NEEDS

ABOUT = About(
    question="What do features of a frozen model give once they are unmixed?",
    paper="Liu et al. 2026, Section 6.2",
    minutes="20",
    needs="no files: features are generated; or yours (.npz, .npy, .safetensors, .parquet)",
    trains=False,
)


@dataclasses.dataclass(frozen=True)
class Config(FeatureOptions, SeedOptions):
    """Which features, how they are unmixed, what is asked of them."""

    seeds: int = option(20, "few-shot draws, splits of retrieval and of components")
    shots: tuple[int, ...] = option((1, 2, 4, 8, 16), "labelled rows of each class")
    validation_shots: int = option(4, "validation rows of each class that C is chosen on, at most")
    num_components: tuple[int, ...] = option((24,), "principal directions that are kept")
    probes: str = option("l2,l1", f"comma-separated: {', '.join(PROBES)}", parts=PROBES)
    unmix: str = option(
        "source",
        "rows that unmixing is fitted on, without labels: all of the source's training and "
        "validation rows, or, as published, those of each few-shot draw",
        ("source", "draw"),
    )
    restarts: int = option(8, "of FastICA, for the stability of its components")
    top: int = option(8, "rows shown of each component")
    prompts: str = option(
        "", "file of the classes' text features and labels, for zero-shot", file=True
    )
    prompt_values: str = option("", "name of its features' array; empty: the usual names")
    twin: str = option("", "file of a control's features, such as random weights", file=True)
    twin_values: str = option("", "name of the control's first modality in it")
    twin_text_values: str = option("", "name of the control's second modality")


PRESETS = {"quick": {}, "paper": dict(shots=(2,), unmix="draw", probes="l2")}


def main(config: Config, run: Run) -> None:
    """Runs or resumes all rows, writes results, figures and summary."""
    probe_names(config)
    for name in ("shots", "num_components"):
        values = getattr(config, name)
        good = values and min(values) >= 1 and len(set(values)) == len(values)
        require(good, name, values, "different whole numbers >= 1, comma-separated")
    for name in ("validation_shots", "top"):
        require(getattr(config, name) >= 1, name, getattr(config, name), "a whole number >= 1")
    require(config.restarts >= 2, "restarts", config.restarts, "a whole number >= 2")
    require(config.seeds >= 1, "seeds", config.seeds, "a whole number >= 1")
    world, controls = with_controls(config, read_world(config, config.seed))
    world = world._replace(remarks=[*world.remarks, *too_few(config, world)])
    table = settings(config, world, controls, run)
    width = min(x.shape[1] for x in world.whole.sides().values())
    remarks = [*world.remarks, *all_columns(config.num_components, width)]
    if config.prompts and not world.sources:
        remarks.append("no labels: --prompts changes nothing")
    notes = [f"note: {world.name}: {line}" for line in remarks]
    for line in notes + [f"rows: {line}" for line in world.counts]:
        say(line)

    def summarise(rows, seconds):
        report.draw_shots(config, run, world, rows)
        for count in config.num_components:
            report.draw_spectra(config, run, world, count)
        text = report.summary(config, world, rows, seconds)
        atomic_write(run.path("summary.md"), text)
        return text

    run_table(EXPERIMENT, config, run, table, summarise, {"rows": world.counts})


if __name__ == "__main__":
    how = dict(experiment=EXPERIMENT, doc=__doc__, about=ABOUT, needs=NEEDS[EXPERIMENT])
    sys.exit(launch(main, Config, PRESETS, **how))

"""What do aligned and fused representations keep: shared, unique, synergistic? (CoMM, in numbers)

  python -m experiments.comm_trifactors                       # CoMM, Cross, Cross+Self
  python -m experiments.comm_trifactors --preset=paper        # every method
  python -m experiments.comm_trifactors --preset=ablation     # CoMM's terms over training time
  python -m experiments.comm_trifactors --preset=three        # three modalities

The bimodal Trifeature task of Dufumier et al. 2025 without images. Unbiased training has all
factors independent; biased training has pairs whose texture and colour always match, so that
matching can be learned. All probes are on unbiased pairs. Theory: aligning modalities keeps the
shape alone; self-supervision adds the textures; only fusion learns what no modality tells.
"""

import dataclasses
import sys
from functools import partial

from mmjax.config import option
from mmjax.errors import require
from mmjax.run import About, Run, RunOptions, launch, run_table
from mmjax.studies.fused import make_fused_study
from mmjax.studies.fusing_methods import METHODS
from mmjax.studies.trifactors import (
    TriFactorOptions,
    probe_figures,
    raw_features,
    subset_figures,
    trifactor_task,
)
from mmjax.tables.factors import BIASES, TableOptions, expected, summary, table_of
from mmjax.tables.fused import Judge, control_rows, trained_rows
from mmjax.tables.needs import NEEDS

EXPERIMENT = "comm_trifactors"


ABOUT = About(
    question="What do aligned and fused representations keep: shared, unique, synergistic?",
    paper="Dufumier et al. 2025, Section 4.1, in numbers",
    minutes="5",
    needs="no files: pairs are drawn on device",
    expected=expected,
)


@dataclasses.dataclass(frozen=True)
class Config(TriFactorOptions, TableOptions, RunOptions):
    """Which methods, on which pairs, and how the run is carried out."""

    probe_samples: int = option(9000, "pairs: a third each to fit, choose and score probes")
    subsets: bool = option(False, "probe fused methods with every subset of the modalities too")


PRESETS = {
    "quick": {},
    "paper": {"methods": ",".join(METHODS), "steps": 1200},
    "ablation": {
        "methods": "comm,comm_joint_term,comm_single_terms",
        "biases": "biased",
        "curve_points": 6,
        "steps": 1200,
    },
    "three": {
        "modalities": 3,
        "classes": 5,
        "synergies": "1-2,1-2-3",
        "methods": "comm,comm_subsets,cross,cross_self",
        "subsets": True,
        "steps": 1200,
    },
}


def judge_of(config: Config, model) -> Judge:
    """Linear probes on fresh pairs; with `subsets` also of some modalities only."""

    def figures(place, world, key, represent, read):
        cells = probe_figures(model, world, represent, key, rows=config.probe_samples)
        results = {("joint", *name): value for name, value in cells.items()}
        if config.subsets and read is not None:
            results |= subset_figures(model, world, read, key, rows=config.probe_samples)
        return results

    return Judge(figures, raw_features)


def main(config: Config, run: Run) -> None:
    """Runs or resumes all methods on all laws of pairs; writes results, figures and summary."""
    require(config.probe_samples >= 30, "probe_samples", config.probe_samples, "30 or more")

    def parts(method, bias):
        model, task = trifactor_task(config, BIASES[bias])
        options = dict(chunk_steps=config.chunk_steps, save_every=config.save_every)
        return task, make_fused_study(config, task, method, **options), judge_of(config, model)

    def control(name, log):
        return control_rows(EXPERIMENT, config, *parts("comm", "unbiased"), run, name)

    def trained(method, bias, setting, until, log):
        settings = dict(setting=setting, until=until, projected=config.projected)
        return trained_rows(EXPERIMENT, config, *parts(method, bias), run, log, **settings)

    parts("comm", "unbiased")  # checks the options before anything is written
    table = table_of(config, control, trained)
    figures = dict(classes=config.classes, published=config.modalities == 2, about="")
    summarise = partial(summary, EXPERIMENT, config, run, list(table), **figures)
    facts = {
        "training": f"{config.steps} steps of {config.batch_size} fresh pairs a seed",
        "judged on": f"{config.probe_samples} fresh unbiased pairs: to fit, to choose, to score",
    }
    run_table(EXPERIMENT, config, run, table, summarise, facts)


if __name__ == "__main__":
    how = dict(experiment=EXPERIMENT, doc=__doc__, about=ABOUT, needs=NEEDS[EXPERIMENT])
    sys.exit(launch(main, Config, PRESETS, **how))

"""What do aligned and fused representations of images keep? (Bimodal Trifeature, CoMM Section 4.1)

  python -m experiments.comm_trifeature                     # 48 pixels, two cores
  python -m experiments.comm_trifeature --methods=comm --biases=biased
  python -m experiments.comm_trifeature --preset=paper      # 224 pixels, a GPU

Images of a shape with a texture and a colour, rendered here. Pairs share the shape (R); unique are
the texture of the first (U1) and of the second (U2); synergy (S) is whether a fixed mapping assigns
the second's colour to the first's texture. R and U are read from unbiased training, S from biased
training, whose pairs all respect the mapping. Probes are tested on unbiased pairs of triples that
no training has seen. They read Z, and what the head makes of it for the loss to compare: a head can
drop what Z still holds.
"""

import dataclasses
import sys
from functools import cache, partial

import jax
import numpy as np

from mmjax.config import option
from mmjax.errors import require
from mmjax.observations.trifeature import PUBLISHED_PERIOD, SCALE
from mmjax.report import save_figure, sheet_figure
from mmjax.run import About, Run, RunOptions, launch, progress_line, run_table
from mmjax.studies.fused import make_fused_study
from mmjax.studies.trifeature import (
    CLASSES,
    TrifeatureOptions,
    check_options,
    raw_pixels,
    trifeature_data,
    trifeature_figures,
    trifeature_task,
)
from mmjax.tables.factors import BIASES, TableOptions, published, summary, table_of
from mmjax.tables.fused import Judge, control_rows, trained_rows
from mmjax.tables.needs import NEEDS

EXPERIMENT = "comm_trifeature"


ABOUT = About(
    question="What do aligned and fused representations of images keep?",
    paper="Dufumier et al. 2025, Section 4.1",
    minutes="108",
    needs="no files: images are rendered here",
    expected=published,
)


@dataclasses.dataclass(frozen=True)
class Config(TrifeatureOptions, TableOptions, RunOptions):
    """Which methods, on which pairs, and how the run is carried out."""

    biases: str = option("biased,unbiased", "training pairs, comma-separated", parts=BIASES)
    projected: bool = option(True, "probe what is behind the head too, where the loss compares")
    probe_samples: int = option(8000, "training pairs that a probe is fitted on")
    seeds: int = option(1, "number of seeds; each draws its own pairs and initial weights")
    parallel: str = option(
        "auto", "seeds and batches on devices", ("auto", "single", "data", "seeds")
    )


PRESETS = {
    "quick": {},
    "paper": {
        "resolution": 224,
        "texture_period": PUBLISHED_PERIOD,
        "texture_gaps": 0.0,
        "shape_scale": SCALE,
        "renderings": 3,
        "poses": "kept",
        "train_pairs": 10_000,
        "augmentation": "simclr",
        "widths": (64, 128, 256, 256, 256),
        "width": 512,
        "head_hidden": 512,
        "head_out": 256,
        "batch_size": 64,
        "optimiser": "adamw",
        "learning_rate": 3e-4,
        "weight_decay": 1e-4,
        "steps": 15_600,
        "seeds": 5,
    },
}


def _rendered(config: Config, run: Run):
    count = CLASSES**3 * config.renderings
    data = trifeature_data(config, progress_line("rendering", count, unit="images"))
    rng = np.random.default_rng(0)
    rows = rng.choice(len(data.gallery.images), (3, 10), replace=False)
    figure = sheet_figure({f"{k + 1}": data.gallery.images[row] for k, row in enumerate(rows)})
    save_figure(figure, run.path("figures", "samples.png"))
    return data


def main(config: Config, run: Run) -> None:
    """Runs or resumes all methods on all laws of pairs; writes results, figures and summary."""
    check_options(config)
    require(config.probe_samples >= 30, "probe_samples", config.probe_samples, "30 or more")
    data = cache(lambda: _rendered(config, run))  # by the first row that runs

    def parts(method, bias):
        key = jax.random.fold_in(jax.random.key(config.data_seed), 3)
        task = trifeature_task(config, data(), BIASES[bias], key)

        def figures(place, constants, key, represent, read):
            cells = trifeature_figures(data(), represent, key, rows=config.probe_samples)
            return {("joint", *name): value for name, value in cells.items()}

        study = make_fused_study(
            config,
            task,
            method,
            chunk_steps=config.chunk_steps,
            save_every=config.save_every,
            unrolled=True,
        )
        return task, study, Judge(figures, raw_pixels)

    def control(name, log):
        return control_rows(EXPERIMENT, config, *parts("comm", "unbiased"), run, name)

    def trained(method, bias, setting, until, log):
        options = dict(setting=setting, until=until, projected=config.projected)
        return trained_rows(EXPERIMENT, config, *parts(method, bias), run, log, **options)

    table = table_of(config, control, trained)
    about = f"Images of {config.resolution} pixels, tested on triples that no training has seen. "
    values_by_name = dict(classes=CLASSES, published=True, about=about)
    summarise = partial(summary, EXPERIMENT, config, run, list(table), **values_by_name)
    facts = {
        "training": f"{config.train_pairs or 'any'} pairs of rendered images",
        "probes": f"fitted on {config.probe_samples} pairs, judged on triples of their own",
    }
    run_table(EXPERIMENT, config, run, table, summarise, facts)


if __name__ == "__main__":
    how = dict(experiment=EXPERIMENT, doc=__doc__, about=ABOUT, needs=NEEDS[EXPERIMENT])
    sys.exit(launch(main, Config, PRESETS, **how))

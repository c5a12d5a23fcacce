"""What contrastive learning keeps of content, style and private factors (Daunhawer et al. 2023).

  python -m experiments.content_style                       # blocks of 2, all independent
  python -m experiments.content_style --dependence=causal   # change ONE assumption
  python -m experiments.content_style --preset=paper        # 5/5/5
  python -m experiments.content_style --preset=paper --table=cells   # the paper's 20 cells
  python -m experiments.content_style --table=dims --embedding_dims=1,2,3,4,8
  python -m experiments.content_style --shared_mixing --shared_encoder --private_dim=0  # multi-view
  python -m experiments.content_style --modalities=3        # content in all, style in pairs
  python -m experiments.content_style --preset=official     # the published recipe, as written
  python -m experiments.content_style --preset=official --negatives=code   # as the code has it

Modality k sees f_k(c, s, m): content c is shared, style s is shared but changes, m is private.
Encoders whose embedding has the size of c recover c and nothing else, except what c tells of it.
"""

import dataclasses
import sys
from functools import partial

from mmjax.config import option
from mmjax.errors import require
from mmjax.generative import DEPENDENCES
from mmjax.run import About, Run, RunOptions, launch, run_table
from mmjax.studies import (
    PUBLISHED_RECIPE,
    ContentStyleOptions,
    ContentStyleStudy,
    make_content_style_study,
)
from mmjax.tables.content_style import EXPERIMENT, draw, expected, produce, summary
from mmjax.tables.needs import NEEDS

CHANGE_PROBS = (0.0, 0.25, 0.5, 0.75, 1.0)


ABOUT = About(
    question="Do encoders keep the content that modalities share, and nothing of their styles?",
    paper="Daunhawer et al. 2023, Section 5.1",
    minutes="1",
    needs="no files: tuples are drawn on device",
    expected=expected,
)


@dataclasses.dataclass(frozen=True)
class Config(ContentStyleOptions, RunOptions):
    """A run: options that hold in every row, the rows, and how they are judged."""

    table: str = option(
        "one",
        "rows: these very options; dependences x change probabilities; embedding dimensions",
        ("one", "cells", "dims"),
    )
    embedding_dims: tuple[int, ...] = option((1, 2, 3, 4, 8), "rows of table dims")
    eval_samples: int = option(8192, "fresh tuples for the metrics: half to fit, half to score")
    kernel_samples: int = option(1024, "tuples that the kernel ridge is fitted on, at most")


_PAPER = dict(
    content_dim=5,
    style_dim=5,
    private_dim=5,
    hidden=(256, 256, 256),
    batch_size=1024,
    steps=3000,
    embedding_dims=(2, 4, 5, 6, 8),
    eval_samples=16_384,
    kernel_samples=2048,
)

PRESETS = {
    "quick": {},
    "paper": _PAPER,
    "official": dict(PUBLISHED_RECIPE, eval_samples=40_960, kernel_samples=20_480),
}


def setting_name(options: ContentStyleOptions) -> str:
    """`independent/1.0`, then what differs from the default kind of run."""
    o, parts = options, [f"{options.dependence}/{float(options.change_prob)}"]
    if o.shared_mixing or o.shared_encoder:
        parts.append("views")
    if o.modalities != 2:
        parts.append(f"modalities={o.modalities}")
    if o.loss not in ("info_nce", "in_batch"):
        parts.append(o.loss if o.negatives == "paper" else f"{o.loss}/{o.negatives}")
    if o.similarity != "squared_l2":
        parts.append(o.similarity)
    if o.embedding_dim not in ("content", o.content_dim):
        parts.append(f"dim={o.embedding_dim}")
    return "/".join(parts)


def settings(config: Config) -> dict[str, ContentStyleStudy]:
    """The rows, every one checked before anything runs."""
    rows = {
        "one": [{}],
        "cells": [dict(dependence=d, change_prob=p) for d in DEPENDENCES for p in CHANGE_PROBS],
        "dims": [dict(embedding_dim=k) for k in config.embedding_dims],
    }[config.table]
    require(len(rows) > 0, "embedding_dims", config.embedding_dims, "one or more")
    fields = [f.name for f in dataclasses.fields(ContentStyleOptions)]
    given = {name: getattr(config, name) for name in fields}
    table = {}
    for changes in rows:
        options = ContentStyleOptions(**{**given, **changes})
        table[setting_name(options)] = make_content_style_study(
            options, chunk_steps=config.chunk_steps, save_every=config.save_every
        )
    return table


def main(config: Config, run: Run) -> None:
    """Runs or resumes all rows, writes results, figures and summary."""
    require(config.eval_samples >= 64, "eval_samples", config.eval_samples, "a whole number >= 64")
    allowed = "a whole number >= 16"
    require(config.kernel_samples >= 16, "kernel_samples", config.kernel_samples, allowed)
    table = settings(config)

    def summarise(rows, seconds):
        draw(config, run, rows, table)
        return summary(config, rows, table, seconds)

    jobs = {name: partial(produce, config, run, name, study) for name, study in table.items()}
    facts = {
        "training": f"{config.steps} steps of {config.batch_size} fresh tuples a seed",
        "judged on": f"{config.eval_samples} fresh tuples: half to fit probes, half to score",
    }
    run_table(EXPERIMENT, config, run, jobs, summarise, facts)


if __name__ == "__main__":
    how = dict(experiment=EXPERIMENT, doc=__doc__, about=ABOUT, needs=NEEDS[EXPERIMENT])
    sys.exit(launch(main, Config, PRESETS, **how))

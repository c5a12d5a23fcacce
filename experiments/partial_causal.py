"""Recover coupled latents by multimodal contrastive learning (Liu et al. 2026, Section 6.1).

  python -m experiments.partial_causal                      # both geometries, 3 seeds, quick preset
  python -m experiments.partial_causal --preset=paper       # dim 10, private_dim 5
  python -m experiments.partial_causal --table=violations   # what breaks when an assumption does
  python -m experiments.partial_causal --table=corollary    # what FastICA adds, and when
  python -m experiments.partial_causal --diagnose --seeds=5 # which geometry, from the pairs alone
  python -m experiments.partial_causal --edge=confounder    # change ONE assumption

Pairs x = g_x(z_x, m_x), t = g_t(z_t, m_t) are drawn on device; encoders see x and t only. On the
sphere the embedding is the latent up to an orthogonal map (linear R2 near 1); in the box up to a
permutation and scaling (MCC near 1). Private latents m leave no trace.
"""

import dataclasses
import sys
from functools import partial

from mmjax.config import option
from mmjax.errors import require
from mmjax.report import save_figure
from mmjax.run import About, Run, RunOptions, launch, run_table
from mmjax.studies import Assumptions, Study, make_study, resolve
from mmjax.tables.corollary import corollary
from mmjax.tables.needs import NEEDS
from mmjax.tables.partial_causal import (
    EXPERIMENT,
    Setting,
    _table_figure,
    draw_setting,
    evaluate_setting,
    expected,
    summary,
    train_setting,
)
from mmjax.tables.violations import VIOLATIONS, Violation

ABOUT = About(
    question="Do pairs of observations recover the latents that couple them?",
    paper="Liu et al. 2026, Section 6.1",
    minutes="2",
    needs="no files: pairs are drawn on device",
    expected=expected,
)


@dataclasses.dataclass(frozen=True)
class Config(Assumptions, RunOptions):
    """A run: assumptions that hold in every row, and how it is carried out."""

    geometry: str = option("both", "rows of the table", ("both", "sphere", "box"))
    table: str = option("main", "rows of the table", ("main", "violations", "corollary"))
    diagnose: bool = option(
        False, "unmix the embeddings by FastICA, and ask which geometry they have; slower"
    )
    eval_samples: int = option(8192, "fresh pairs for the metrics")
    max_restarts: int = option(2, "further attempts of a stuck seed")
    stuck_gap: float = option(0.2, "loss above the oracle's, in nats, that calls a seed stuck")


PRESETS = {
    "quick": {},
    # Weaker coupling in the box than in quick: the mutual information stays below log batch_size.
    "paper": dict(
        dim=10,
        private_dim=5,
        scale=0.15,
        hidden=(256, 256, 256),
        steps=7000,
        pre_steps=2000,
    ),
}


def settings(config: Config) -> list[Setting]:
    """The rows, every one checked before anything runs."""
    geometries = ("sphere", "box") if config.geometry == "both" else (config.geometry,)
    tables = {"violations": VIOLATIONS, "corollary": corollary(config.dim)}
    violations = tables.get(config.table, [Violation("", {}, "")])
    fields = {f.name for f in dataclasses.fields(Assumptions)}
    given = {k: v for k, v in dataclasses.asdict(config).items() if k in fields}
    rows = []
    for geometry in geometries:
        for violation in violations:
            if violation.geometry not in ("", geometry):
                continue
            chosen = Assumptions(**{**given, **violation.changes, "geometry": geometry})
            study = make_study(chosen, chunk_steps=config.chunk_steps, save_every=config.save_every)
            rows.append(_named(geometry, chosen, study, violation.why))
    return rows


def _named(geometry: str, chosen: Assumptions, study: Study, why: str) -> Setting:
    """`sphere/vmf`, then every assumption that differs from the theory's."""
    theory = resolve(Assumptions(geometry=geometry, dim=chosen.dim))
    a = study.assumptions
    parts = [geometry, a.conditional]
    for name in ("space", "marginal", "edge", "head", "loss", "similarity"):
        if getattr(a, name) != getattr(theory, name):
            parts.append(f"{name}={getattr(a, name)}")
    if "lp" in a.similarity or a.conditional == "generalised_normal":
        parts.append(f"p={a.p:g}")
    if a.embedding_dim != a.dim:
        parts.append(f"embedding_dim={a.embedding_dim}")
    matched = a.temperature == resolve(dataclasses.replace(a, temperature="matched")).temperature
    if not matched:
        parts.append(f"temperature={a.temperature:g}")
    plain = len(parts) == 2 and a.conditional == theory.conditional
    return Setting("/".join(parts), study, plain, why)


def main(config: Config, run: Run) -> None:
    """Runs or resumes all rows, writes results, figures and summary."""
    require(config.eval_samples >= 64, "eval_samples", config.eval_samples, "a whole number >= 64")
    require(config.max_restarts >= 0, "max_restarts", config.max_restarts, "a whole number >= 0")
    table = settings(config)

    def produce(setting, log):
        outcome, constants, oracle = train_setting(config, setting, run, log)
        rows, shown = evaluate_setting(config, setting, outcome, constants, run)
        draw_setting(config, setting, run, log, shown, oracle)
        return rows

    def summarise(rows, seconds):
        if len(table) > 2:
            save_figure(_table_figure(rows, table), run.path("figures", "table.png"))
        return summary(config, rows, table, seconds)

    facts = {
        "training": f"{config.steps} steps of {config.batch_size} fresh pairs a seed",
        "judged on": f"{config.eval_samples} fresh pairs",
    }
    jobs = {s.name: partial(produce, s) for s in table}
    run_table(EXPERIMENT, config, run, jobs, summarise, facts)


if __name__ == "__main__":
    how = dict(experiment=EXPERIMENT, doc=__doc__, about=ABOUT, needs=NEEDS[EXPERIMENT])
    sys.exit(launch(main, Config, PRESETS, **how))

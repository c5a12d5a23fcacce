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
from collections.abc import Mapping
from functools import partial

import jax

from experiments.needs import NEEDS
from mmjax.config import option
from mmjax.errors import require
from mmjax.evaluate import kernel_r2, linear_r2
from mmjax.generative import DEPENDENCES
from mmjax.report import line_panels_figure, markdown_table, mean_and_deviation, save_figure
from mmjax.run import (
    Fit,
    MetricsLog,
    Row,
    Run,
    RunOptions,
    fit_seeds,
    launch,
    machine,
    run_table,
    seed_keys,
    seed_numbers,
    values,
)
from mmjax.studies import (
    PUBLISHED_RECIPE,
    ContentStyleOptions,
    ContentStyleStudy,
    make_content_style_study,
)

EXPERIMENT = "content_style"
CHANGE_PROBS = (0.0, 0.25, 0.5, 0.75, 1.0)
PURPOSES = ("env", "train", "evaluate", "evaluate_permuted", "split")


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


def names_of(count: int) -> tuple[str, ...]:
    """Names of the modalities: x, t, then x3, x4 and so on."""
    return ("x", "t", *(f"x{k}" for k in range(3, count + 1)))[:count]


def setting_name(options: ContentStyleOptions) -> str:
    """`independent/1.0`, then what differs from the default kind of run."""
    o, parts = options, [f"{options.dependence}/{float(options.change_prob)}"]
    if o.shared_mixing or o.shared_encoder:
        parts.append("views")
    if o.modalities != 2:
        parts.append(f"modalities={o.modalities}")
    if o.loss != "in_batch":
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


def train_setting(config: Config, setting: str, study: ContentStyleStudy, run: Run, log):
    """Trains a row's seeds. Returns (parameters, worlds), `[seeds, ...]`."""
    keys = seed_keys(config, PURPOSES)
    envs = jax.jit(jax.vmap(study.init_env))(keys["env"])
    outcome = fit_seeds(
        run,
        setting,
        study.plan,
        study.init_params,
        envs=envs,
        keys=keys["train"],
        seeds=seed_numbers(config),
        fit=Fit(config.parallel, config.batch_size),
        log=log,
    )
    return outcome.params, envs


def judge(study: ContentStyleStudy, params, world, keys: Mapping, config: Config) -> dict:
    """(modality, target, metric) -> figure of one seed.

    Linear and kernel R2 of every block that a modality sees, from its embedding; linear R2 of the
    same blocks from the raw observation; and both on samples of permuted content, where
    `original_content` is the content that no longer feeds the observation.
    """
    look = jax.jit(study.look, static_argnums=(3, 4))
    figures, split = {}, keys["split"]  # one for all probes: they see the same rows
    for suffix, key in (("", "evaluate"), ("_permuted", "evaluate_permuted")):
        seen = look(params, world, keys[key], config.eval_samples, bool(suffix))
        for name, blocks, observed, embedded in zip(
            names_of(len(seen.latents)), seen.latents, seen.observed, seen.embedded, strict=True
        ):
            targets = {k: v for k, v in blocks._asdict().items() if v.shape[1]}
            if suffix:
                targets["original_content"] = seen.original_content
            else:
                for target, truth in targets.items():
                    figures[name, target, "r2_linear_raw"] = linear_r2(observed, truth, split)
            kernel = kernel_r2(
                embedded,
                targets,
                split,
                max_samples=config.kernel_samples,
                search_samples=max(16, config.kernel_samples // 2),
            )
            for target, truth in targets.items():
                figures[name, target, f"r2_linear{suffix}"] = linear_r2(embedded, truth, split)
                figures[name, target, f"r2_kernel{suffix}"] = kernel[target].r2
    return {name: float(value) for name, value in figures.items()}


def produce(config: Config, run: Run, setting: str, study, log: MetricsLog) -> list[Row]:
    """Trains and judges a row."""
    params, envs = train_setting(config, setting, study, run, log)
    keys, rows = seed_keys(config, PURPOSES), []
    for k, seed in enumerate(run.tracked(seed_numbers(config), f"{setting}, judging", "seeds")):
        own_params, own_env, own_keys = jax.tree.map(lambda v, k=k: v[k], (params, envs, keys))
        figures = judge(study, own_params, own_env, own_keys, config)
        rows += [Row(EXPERIMENT, setting, seed, *name, v) for name, v in figures.items()]
    return rows


def summary(config: Config, rows: list[Row], table: Mapping, seconds: Mapping) -> str:
    """Linear / kernel R2 of every block, a row a setting and encoder; the permuted table below."""

    def lines(suffix, targets):
        for setting in table:
            for side in names_of(config.modalities):
                cells = [
                    " / ".join(
                        mean_and_deviation(
                            values(rows, setting, side, t, f"r2_{kind}{suffix}"), digits=3
                        )
                        for kind in ("linear", "kernel")
                    )
                    for t in targets
                ]
                spent = f"{seconds[setting] / config.seeds:.0f}" if setting in seconds else "-"
                yield [setting, side, *cells, spent]

    plain = ("content", "style", "private")
    header = ["setting", "encoder", *(f"{t}: linear / kernel R2" for t in plain), "s / model"]
    about = (
        f"content, style, private of {config.content_dim}, {config.style_dim}, "
        f"{config.private_dim}; {config.seeds} seeds, mean ± standard deviation; {machine()}. Wall "
        "seconds a model, compilation and metrics included. Theory and paper: content near 1, "
        "private 0; style 0 where it always changes and depends on nothing, else what content "
        "tells of it."
    )
    permuted = ("content", "original_content", "style", "private")
    more = ["setting", "encoder", *permuted, "s / model"]
    return (
        "\n\n".join(
            [
                f"# {EXPERIMENT}",
                about,
                markdown_table(header, list(lines("", plain))),
                "Content exchanged between rows before mixing (what is encoded, not inferred): ",
                markdown_table(more, list(lines("_permuted", permuted))),
            ]
        )
        + "\n"
    )


def draw(config: Config, run: Run, rows: list[Row], table: Mapping) -> None:
    """R2 by change probability (a panel a dependence) or by embedding dimension."""
    if config.table == "one":
        return
    where = {
        "cells": lambda o: (f"dependence: {o.dependence}", o.change_prob),
        "dims": lambda o: (f"content of {o.content_dim} dimensions", o.embedding_dim),
    }[config.table]
    panels = {}
    for setting, study in table.items():
        panel, x = where(study.options)
        for target in ("content", "style", "private"):
            for kind in ("linear", "kernel"):
                found = [
                    v
                    for side in names_of(config.modalities)
                    for v in values(rows, setting, side, target, f"r2_{kind}")
                ]
                if found:
                    line = panels.setdefault(panel, {}).setdefault(f"{target}, {kind}", {})
                    line[x] = found
    figure = line_panels_figure(
        panels,
        xlabel="change probability of style" if config.table == "cells" else "embedding dimension",
        ylabel="R2 (all encoders)",
    )
    save_figure(figure, run.path("figures", f"{config.table}.png"))


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
    run_table(EXPERIMENT, config, run, jobs, summarise)


if __name__ == "__main__":
    how = dict(experiment=EXPERIMENT, doc=__doc__, needs=NEEDS[EXPERIMENT])
    sys.exit(launch(main, Config, PRESETS, **how))

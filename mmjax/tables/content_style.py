"""Tables of what is kept of content, style and private factors: rows trained, judged, told."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax

from mmjax.errors import counted
from mmjax.evaluate import kernel_r2, linear_r2
from mmjax.report import (
    Expected,
    line_panels_figure,
    markdown_table,
    mean_and_deviation,
    save_figure,
)
from mmjax.run import Fit, MetricsLog, Row, Run, fit_seeds, machine, seed_keys, seed_numbers, values
from mmjax.studies import ContentStyleStudy
from mmjax.studies.content_style import World
from mmjax.types import Array, Key, Tree

EXPERIMENT = "content_style"
PURPOSES = ("constants", "train", "evaluate", "evaluate_permuted", "split")


def names_of(count: int) -> tuple[str, ...]:
    """Names of the modalities: x, t, then x3, x4 and so on."""
    return ("x", "t", *(f"x{k}" for k in range(3, count + 1)))[:count]


def train_setting(
    config: Any, setting: str, study: ContentStyleStudy, run: Run, log: MetricsLog
) -> tuple[Tree, Tree]:
    """Trains a row's seeds. Returns (parameters, worlds), `[seeds, ...]`."""
    keys = seed_keys(config, PURPOSES)
    constants = jax.jit(jax.vmap(study.init_constants))(keys["constants"])
    outcome = fit_seeds(
        run,
        setting,
        study.recipe,
        study.init_params,
        constants=constants,
        keys=keys["train"],
        seeds=seed_numbers(config),
        fit=Fit(config.parallel, config.batch_size),
        log=log,
    )
    return outcome.params, constants


def judge(
    study: ContentStyleStudy, params: Tree, world: World, keys: Mapping[str, Key], config: Any
) -> dict[tuple[str, str, str], float]:
    """(modality, target, metric) -> figure of one seed.

    Linear and kernel R2 of every block that a modality sees, from its embedding; linear R2 of the
    same blocks from the raw observation; and both on samples of permuted content, where
    `original_content` is the content that no longer feeds the observation.
    """
    look = jax.jit(study.look, static_argnums=(3, 4))
    figures: dict[tuple[str, str, str], Array] = {}
    split = keys["split"]  # one for all probes: they see the same rows
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


def produce(
    config: Any, run: Run, setting: str, study: ContentStyleStudy, log: MetricsLog
) -> list[Row]:
    """Trains and judges a row."""
    params, constants = train_setting(config, setting, study, run, log)
    keys, rows = seed_keys(config, PURPOSES), []
    for k, seed in enumerate(run.tracked(seed_numbers(config), f"{setting}, judging", "seeds")):
        own_params, own_constants, own_keys = jax.tree.map(
            lambda v, k=k: v[k], (params, constants, keys)
        )
        figures = judge(study, own_params, own_constants, own_keys, config)
        rows += [Row(EXPERIMENT, setting, seed, *name, v) for name, v in figures.items()]
    return rows


def expected(config: Any, settings: Sequence[str]) -> list[Expected]:
    """All of content and nothing else, where style always changes and depends on nothing."""
    source = "Daunhawer et al. 2023, Theorem 1"
    return [
        Expected("independent/1.0", side, target, "r2_kernel", value, 0.01, source)
        for side in names_of(config.modalities)
        for target, value in (("content", 1.0), ("style", 0.0), ("private", 0.0))
        if "independent/1.0" in settings and config.embedding_dim in ("content", config.content_dim)
    ]


def summary(config: Any, rows: list[Row], table: Mapping, seconds: Mapping) -> str:
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
        f"{config.private_dim}; {counted(config.seeds, 'seed')}, mean ± standard deviation; "
        f"{machine()}. Wall "
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


def draw(config: Any, run: Run, rows: list[Row], table: Mapping) -> None:
    """R2 by change probability (a panel a dependence) or by embedding dimension."""
    if config.table == "one":
        return
    where = {
        "cells": lambda o: (f"dependence: {o.dependence}", o.change_prob),
        "dims": lambda o: (f"content of {o.content_dim} dimensions", o.embedding_dim),
    }[config.table]
    panels: dict[str, dict[str, dict[float, list[float]]]] = {}
    for setting, study in table.items():
        panel, x = where(study.options)
        for target in ("content", "style", "private"):
            for kind in ("linear", "kernel"):
                results = [
                    v
                    for side in names_of(config.modalities)
                    for v in values(rows, setting, side, target, f"r2_{kind}")
                ]
                if results:
                    line = panels.setdefault(panel, {}).setdefault(f"{target}, {kind}", {})
                    line[x] = results
    figure = line_panels_figure(
        panels,
        xlabel="change probability of style" if config.table == "cells" else "embedding dimension",
        ylabel="R2 (all encoders)",
    )
    save_figure(figure, run.path("figures", f"{config.table}.png"))

"""Tables and figures of experiments.few_shot."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from mmjax.data import FewShotSet
from mmjax.errors import counted
from mmjax.report import line_panels_figure, markdown_table, mean_and_deviation, save_figure
from mmjax.run import Row, Run, machine, values
from mmjax.tables.few_shot import EVERY, chosen_methods, fewer_of, setting_name, shots_of

SHOWN = ("zero-shot", "linear probe", "whitening", "FastICA", "Tip-Adapter", "CCA", "GDA")


def _targets(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(row.target for row in rows if row.metric == "accuracy"))


def set_table(config: Any, few: FewShotSet, rows: Sequence[Row], target: str) -> str:
    """Methods by shots; empty where nothing was judged on that target."""
    lines = []
    for method in chosen_methods(config):
        cells = [
            mean_and_deviation(
                values(rows, setting_name(few, method.name, n), "x", target, "accuracy"), digits=3
            )
            for n in config.shots
        ]
        if set(cells) != {"-"}:
            lines.append([method.name, *cells])
    title = few.name if target == "test" else f"{few.name}: {target}"
    return markdown_table([title, *(f"{n}-shot" for n in config.shots)], lines) if lines else ""


def domain_tables(config: Any, sets: Sequence[FewShotSet], rows: Sequence[Row]) -> list[str]:
    """For each number of shots methods by the domain that was left out, and their mean."""
    groups: dict[tuple[str, int], list[FewShotSet]] = {}
    for few in sets:
        whole = few.name.rpartition(f"-without-{next(iter(few.shifts))}")[0]
        groups.setdefault((whole, len(few.classes)), []).append(few)
    tables = []
    for ((name, count), group), n in product(groups.items(), config.shots):
        lines = []
        for method in chosen_methods(config):
            cells = [
                values(rows, setting_name(few, method.name, n), "x", target, "accuracy")
                for few in group
                for target in few.shifts
            ]
            if all(cells):
                cells.append(np.mean(cells, 0).tolist())
                lines.append([method.name, *(mean_and_deviation(c, digits=3) for c in cells)])
        left_out = [f"without {target}" for few in group for target in few.shifts]
        title = f"{name}, {count} classes, {n}-shot"
        tables += [markdown_table([title, *left_out, "mean"], lines)] if lines else []
    return tables


def summary(
    config: Any, sets: Sequence[FewShotSet], rows: Sequence[Row], seconds: Mapping[str, float]
) -> str:
    """A table a set, and what is odd about its rows."""
    chosen = (
        "all validation rows"
        if config.validation == "full"
        else (f"min(shots, {config.validation_shots}) validation rows a class")
    )
    if any(fewer_of(config, few) for few in sets):
        chosen += ", fewer where a set's line says so"
    parts = [
        "# few_shot",
        f"Accuracy on test rows, mean ± standard deviation of {counted(config.seeds, 'draw')}; "
        "everything "
        f"chosen on {chosen}; {machine()}; {sum(seconds.values()):.0f} s.",
    ]
    for few in sets:
        rows_to_draw = counted(len(few.pool.x), "training row")
        sizes = f"{len(few.classes)} classes, {rows_to_draw} to draw from"
        parts.append(f"{few.name}: {sizes}. " + " ".join(f"{line}." for line in few.remarks))
        targets = [t for t in _targets(rows) if t != "validation"]
        parts += [text for t in targets if (text := set_table(config, few, rows, t))]
    if config.domains:
        parts += domain_tables(config, sets, rows)
    return "\n\n".join(parts) + "\n"


def draw_shots(config: Any, run: Run, sets: Sequence[FewShotSet], rows: Sequence[Row]) -> None:
    """Accuracy by shots, a panel a set and one of their mean."""
    panels: dict[str, dict[str, dict[float, list[float]]]] = {}
    for few in sets:
        lines = {}
        for method in chosen_methods(config):
            if method.name not in SHOWN:
                continue
            results: dict[float, list[float]] = {
                n: values(rows, setting_name(few, method.name, n), "x", "test", "accuracy")
                for n in shots_of(config, few)
            }
            lines[method.name] = {n: v for n, v in results.items() if v}
        panels[few.name] = {name: points for name, points in lines.items() if points}
    panels = {title: lines for title, lines in panels.items() if lines}
    if len(panels) > 1:
        panels = {EVERY: _mean_panel(panels)} | panels
    if panels:
        figure = line_panels_figure(panels, xlabel="shots", ylabel="accuracy")
        save_figure(figure, run.path("figures", "accuracy_by_shots.png"))


def _mean_panel(panels) -> dict[str, dict[float, list[float]]]:
    """Of the methods and shots that every set has, the draws' means over sets."""
    every = list(panels.values())
    names = [n for n in every[0] if all(n in lines for lines in every)]
    mean = {}
    for name in names:
        shots = set.intersection(*(set(lines[name]) for lines in every))
        mean[name] = {
            n: np.mean([lines[name][n] for lines in every], 0).tolist() for n in sorted(shots)
        }
    return {name: points for name, points in mean.items() if points}

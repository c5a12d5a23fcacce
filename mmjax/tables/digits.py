"""Tables of fused digits: several views of written ones, and spoken beside written ones."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmjax.report import grouped_bars_figure, save_figure
from mmjax.run import Row, Run, values
from mmjax.studies.fusing_methods import METHODS
from mmjax.tables.fused import chosen_names, percent_table, seconds_a_model
from mmjax.tables.recorded import CONTROLS, Case, most_frequent

EXPERIMENT = "comm_digits"
TARGETS = {"digit": "R: digit", "speaker": "U1: speaker", "slant": "U2: slant"}


def views_summary(
    config: Any,
    run: Run,
    cases: Sequence[Case],
    rows: Sequence[Row],
    seconds: Mapping[str, float],
) -> list[str]:
    """The digit by number of views, and by what is seen of them."""
    names = [*CONTROLS, *chosen_names("methods", config.methods, METHODS)]
    cell = ("digit", "accuracy")
    groups = {
        case.name: {m: values(rows, f"{m}/{case.name}", "joint", *cell) for m in names}
        for case in cases
    }
    levels = {case.name: most_frequent(case, "digit") for case in cases}
    figure = grouped_bars_figure(groups, levels=levels, ylabel="accuracy of the digit")
    save_figure(figure, run.path("figures", "views.png"))
    parts = []
    for case in cases:
        cells = {s: (s, *cell) for s in case.subsets}
        chance = [levels[case.name]] * len(cells)
        parts.append(_table(config, rows, seconds, case, names, cells, chance))
    return parts


def _table(config, rows: Sequence[Row], seconds, case: Case, names, cells, chance) -> str:
    return percent_table(
        rows,
        [f"{name}/{case.name}" for name in names],
        cells,
        chance=chance,
        beside=lambda setting: (seconds_a_model(config, seconds, setting),),
        beside_header=["s / model"],
    )


def speech_summary(
    config: Any, run: Run, case: Case, rows: Sequence[Row], seconds: Mapping[str, float]
) -> list[str]:
    """The three targets from all that is seen, then by modality."""
    names = [*CONTROLS, *chosen_names("methods", config.methods, METHODS)]
    groups, levels, cells = {}, {}, {}
    for target, title in TARGETS.items():
        cell = (target, "accuracy")
        groups[title] = {m: values(rows, f"{m}/speech", "joint", *cell) for m in names}
        levels[title] = most_frequent(case, target)
        cells[title] = ("joint", *cell)
    figure = grouped_bars_figure(groups, levels=levels, ylabel="accuracy of a linear probe")
    save_figure(figure, run.path("figures", "speech.png"))
    parts = [_table(config, rows, seconds, case, names, cells, list(levels.values()))]
    alone = {
        f"{target} from {side}": (side, target, "accuracy")
        for target in TARGETS
        for side in ("audio", "image")
    }
    chance = [most_frequent(case, target) for _, target, _ in alone.values()]
    return [*parts, _table(config, rows, seconds, case, names, alone, chance)]

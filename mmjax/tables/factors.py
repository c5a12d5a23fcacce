"""Tables of what methods keep of shared, unique and synergistic factors, in numbers or images."""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from mmjax.config import option
from mmjax.errors import counted, require
from mmjax.report import Expected, grouped_bars_figure, line_panels_figure, save_figure
from mmjax.run import Row, Run, machine, values
from mmjax.studies.fusing_methods import METHODS
from mmjax.studies.trifactors import chance_of
from mmjax.tables.fused import chosen_names, methods_option, percent_table, seconds_a_model

BIASES = {"unbiased": 0.0, "biased": 1.0}
CONTROLS = ("raw", "untrained")
# Linear probes of images, in percent: R, mean U, S (Dufumier et al. 2025).
PUBLISHED = {
    "comm": (99.9, 87.8, 71.9),
    "cross": (100.0, 11.6, 50.0),
    "cross_self": (99.7, 86.9, 50.0),
    "factor_cl": (99.8, 62.5, 46.5),
}


# What each kind of training is asked for, and where PUBLISHED has it.
_ASKED = {
    "unbiased": {("shared", "accuracy"): 0, ("unique1", "accuracy"): 1, ("unique2", "accuracy"): 1},
    "biased": {("synergy", "accuracy_balanced"): 2},
}


def published(config: Any, settings: Sequence[str]) -> list[Expected]:
    """The published figures of images: R and U of unbiased, S of biased training."""
    results = []
    for setting in settings:
        method, _, bias = setting.partition("/")
        for cell, place in _ASKED.get(bias, {}).items():
            if method in PUBLISHED:
                value = PUBLISHED[method][place] / 100
                source = "Dufumier et al. 2025" + ", mean of both" * (place == 1)
                results.append(Expected(setting, "joint", *cell, value, None, source))
    return results


def expected(config: Any, settings: Sequence[str]) -> list[Expected]:
    """What follows from theory: alignment keeps what is shared, and learns no synergy."""
    source = "theory: alignment keeps what is shared, and no synergy"
    cells = {
        "cross/unbiased": {("shared", "accuracy"): (1.0, 0.05)},
        "cross/biased": {("synergy", "accuracy_balanced"): (0.5, 0.03)},
    }
    return [
        Expected(setting, "joint", *cell, value, error, source)
        for setting, figures in cells.items()
        if setting in settings
        for cell, (value, error) in figures.items()
    ]


@dataclasses.dataclass(frozen=True)
class TableOptions:
    """The rows of a table of methods."""

    methods: str = methods_option()
    biases: str = option("unbiased,biased", "training pairs, comma-separated", parts=BIASES)
    curve_points: int = option(1, "times at which a method is judged while it trains, evenly apart")
    projected: bool = option(False, "probe what is behind the head too, where the loss compares")


def table_of(
    config: Any,
    control: Callable[..., list[Row]],
    trained: Callable[..., list[Row]],
) -> dict[str, Callable[..., list[Row]]]:
    """Name of a setting -> what makes its rows (see run_table).

    Args:
      config: TableOptions with a number of steps.
      control: `(name, log) -> rows`.
      trained: `(method, bias, setting, until, log) -> rows`, trained up to that step.

    Raises InvalidInput for an option out of range.
    """
    methods = chosen_names("methods", config.methods, METHODS)
    biases = chosen_names("biases", config.biases, BIASES)
    points, allowed = config.curve_points, f"1 to {config.steps}, the steps"
    require(1 <= points <= config.steps, "curve_points", points, allowed)
    table: dict[str, Callable[..., list[Row]]] = {name: partial(control, name) for name in CONTROLS}
    for method in methods:
        for bias in biases:
            for point in range(1, points + 1):
                until = config.steps * point // points
                setting = f"{method}/{bias}" + ("" if point == points else f"@{until}")
                table[setting] = partial(trained, method, bias, setting, until)
    return table


def _short(target: str, metric: str) -> str:
    return target + (" balanced" if metric != "accuracy" else "")


def _draw(config, run: Run, settings: Sequence[str], rows: Sequence[Row], cells, classes) -> None:
    """Bars of every method, and lines over training time where it was judged more than once."""
    final = [s for s in settings if "@" not in s]
    groups = {_short(*cell): {s: values(rows, s, "joint", *cell) for s in final} for cell in cells}
    levels = {_short(*cell): chance_of(cell[0], classes) for cell in cells}
    figure = grouped_bars_figure(groups, levels=levels, ylabel="accuracy of a linear probe")
    save_figure(figure, run.path("figures", "bars.png"))
    if config.curve_points == 1:
        return
    panels: dict[str, dict[str, dict[float, list[float]]]] = {_short(*c): {} for c in cells}
    for setting in settings:
        if setting in CONTROLS:
            continue
        name, _, step = setting.partition("@")
        for cell in cells:
            line = panels[_short(*cell)].setdefault(name, {})
            line[int(step or config.steps)] = values(rows, setting, "joint", *cell)
    figure = line_panels_figure(panels, xlabel="steps", ylabel="accuracy")
    save_figure(figure, run.path("figures", "training.png"))


def summary(
    experiment: str,
    config: Any,
    run: Run,
    settings: Sequence[str],
    rows: list[Row],
    seconds: dict,
    *,
    classes: int,
    published: bool,
    about: str,
) -> str:
    """A row a setting, published figures of images beside it, chance below; draws the figures.

    What is behind the head (the modality `projected`) has a table of its own; where rows of further
    modalities are there, a table of them a factor follows.
    """
    cells = list(dict.fromkeys(row[4:6] for row in rows if row.modality == "joint"))
    _draw(config, run, settings, rows, cells, classes)

    def beside(setting):
        known = PUBLISHED.get(setting.split("/")[0]) if published else None
        return " / ".join(map(str, known)) if known else "-", seconds_a_model(
            config, seconds, setting
        )

    table = percent_table(
        rows,
        settings,
        {_short(*cell): ("joint", *cell) for cell in cells},
        chance=[chance_of(target, classes) for target, _ in cells],
        beside=beside,
        beside_header=["published R / U / S", "s / model"],
    )
    text = (
        f"Linear probes on unbiased pairs, {counted(config.seeds, 'seed')}, mean ± standard "
        "deviation; "
        f"accuracy is the mean over classes. Published figures are of images, R and U of unbiased "
        f"and S of biased training. {about}{machine()}."
    )
    parts = [f"# {experiment}", text, table]
    having = lambda views: [
        s for s in settings if any(r.setting == s and r.modality in views for r in rows)
    ]
    if behind := having(["projected"]):
        columns = {_short(*cell): ("projected", *cell) for cell in cells}
        levels = [chance_of(target, classes) for target, _ in cells]
        title = "behind the head, where the loss compares, %"
        parts.append(percent_table(rows, behind, columns, chance=levels, header=title))
    views = list(dict.fromkeys(row.modality for row in rows))
    views = [view for view in views if view not in ("joint", "projected")]
    for cell in cells if views else ():
        seen = having(views)
        columns = {view: (view, *cell) for view in views}
        level = [chance_of(cell[0], classes)] * len(views)
        title = f"{_short(*cell)}, by the modalities seen, %"
        parts.append(percent_table(rows, seen, columns, chance=level, header=title))
    return "\n\n".join(parts) + "\n"

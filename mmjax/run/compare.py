"""Runs side by side: what differs in their configs, their curves, their figures with intervals."""

import csv
import glob
import io
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mmjax.errors import InvalidInput, require
from mmjax.report import (
    Difference,
    Page,
    Section,
    Table,
    difference,
    intervals_figure,
    loss_panels_figure,
    mean_and_deviation,
    read_picture,
    render,
    save_figure,
)
from mmjax.run.files import atomic_write, slug
from mmjax.run.report import Curves, by_figure, read_curves, read_json
from mmjax.run.results import read_results

_FIGURES = ("losses.png", "differences.png")
_DRAWN = 30  # differences in the figure, at most
_PANELS = 12  # settings whose curves are drawn
Figures = dict[tuple[str, str, str, str], dict[int, float]]


class Held(NamedTuple):
    """What a run's folder holds.

    Attributes:
      name: of it, on the page.
      workdir: the folder.
      config: of config.json.
      figures: (setting, modality, target, metric) -> seed -> value.
      curves: see read_curves.
    """

    name: str
    workdir: str
    config: dict[str, Any]
    figures: Figures
    curves: Curves


def read_runs(workdirs: Sequence[str]) -> list[Held]:
    """The runs in these folders. Raises InvalidInput for a folder that holds none."""
    require(len(workdirs) >= 2, "runs", list(workdirs), "two folders or more, of finished runs")
    common = os.path.commonpath([os.path.abspath(w) for w in workdirs])
    results = []
    for workdir in workdirs:
        path = os.path.join(workdir, "results.csv")
        config = read_json(os.path.join(workdir, "config.json"))
        if not config or not os.path.exists(path):
            allowed = "the folder of a run: it holds config.json and results.csv"
            raise InvalidInput(f"runs: {workdir!r} is not allowed; use {allowed}")
        named = ("data_hash", "packages")
        if not isinstance(config, dict) or not all(
            isinstance(config.get(name) or {}, dict) for name in named
        ):
            raise InvalidInput(f"{os.path.join(workdir, 'config.json')}: not the config of a run")
        name = os.path.relpath(os.path.abspath(workdir), common)
        name = os.path.basename(os.path.abspath(workdir)) if name == "." else name
        results.append(
            Held(name, workdir, config, by_figure(read_results(path)), read_curves(workdir))
        )
    names = [run.name for run in results]
    require(len(set(names)) == len(names), "runs", list(workdirs), "each folder once")
    return results


def counterparts(first: Sequence[str], other: Sequence[str]) -> dict[str, str]:
    """Setting of the first run -> that of another: those of one name, and what is left in order.

    A changed assumption changes its row's name: where as many are left on both sides they belong
    together.

    Example:
      >>> counterparts(["sphere/vmf", "box"], ["sphere/vmf/edge=confounder", "box"])
      {'box': 'box', 'sphere/vmf': 'sphere/vmf/edge=confounder'}
    """
    same = {name: name for name in first if name in other}
    left, right = ([n for n in names if n not in same] for names in (first, other))
    return same | (dict(zip(left, right, strict=True)) if len(left) == len(right) else {})


def _settings(run: Held) -> list[str]:
    return list(dict.fromkeys(name[0] for name in run.figures))


class Compared(NamedTuple):
    """A figure of two runs.

    Attributes:
      name: (setting, modality, target, metric) in the first run.
      setting: its name in the other.
      run: the other's name.
      first, other: seed -> value.
      difference: see Difference.
    """

    name: tuple[str, str, str, str]
    setting: str
    run: str
    first: Mapping[int, float]
    other: Mapping[int, float]
    difference: Difference


def compared(runs: Sequence[Held]) -> list[Compared]:
    """All figures that the first run shares with the others, in its order."""
    first, *others = runs
    partners = {run.name: counterparts(_settings(first), _settings(run)) for run in others}
    results = []
    for name, values in first.figures.items():
        for run in others:
            setting = partners[run.name].get(name[0])
            other = run.figures.get((setting, *name[1:])) if setting is not None else None
            if setting is not None and other:
                gap = difference(values, other)
                results.append(Compared(name, setting, run.name, values, other, gap))
    return results


def _flat(config: Mapping[str, Any]) -> dict[str, Any]:
    """Config, data and code of a run, a name each."""
    inner = {f"data {k}": v for k, v in (config.get("data_hash") or {}).items()}
    packages = {f"package {k}": v for k, v in (config.get("packages") or {}).items()}
    rest = {k: v for k, v in config.items() if k not in ("data_hash", "packages")}
    return rest | inner | packages


def config_differences(runs: Sequence[Held]) -> Table:
    """What isn't the same in all configs, a column a run."""
    flat = [_flat(run.config) for run in runs]
    names = list(dict.fromkeys(name for config in flat for name in config))
    show = lambda v: ",".join(map(str, v)) if isinstance(v, list) else "-" if v is None else str(v)
    rows = [[name, *(show(config.get(name)) for config in flat)] for name in names]
    rows = [row for row in rows if len(set(row[1:])) > 1]
    return Table(["", *(run.name for run in runs)], rows)


def _alike(one: Compared) -> bool:
    """Whether there are seeds enough, but so few and so alike that they have no interval."""
    first, other = one.first, one.other
    enough = len(set(first) & set(other)) > 1 or min(len(first), len(other)) > 1
    return enough and not one.difference.kind


def _interval(one: Compared) -> str:
    interval = one.difference
    if not interval.kind:
        return "no spread of so few seeds" if _alike(one) else "too few seeds"
    return f"{interval.low:+.4f} to {interval.high:+.4f}"


def _same(one: Compared) -> bool:
    """Whether the runs have the very same figures: chance levels, raw values."""
    return dict(one.first) == dict(one.other)


def differences_table(comparisons: Sequence[Compared], runs: Sequence[str]) -> Table:
    """A row a figure and run; those whose interval leaves 0 out are marked."""
    several = len(runs) > 2
    rows = []
    for one in comparisons:
        setting, modality, target, metric = one.name
        label = setting if one.setting == setting else f"{setting} -> {one.setting}"
        figure = f"{metric} of {target} from {modality}"
        verdict = "differs" if one.difference.differs else ""
        cells = [f"{one.difference.mean:+.4f}", _interval(one), one.difference.kind]
        values = [mean_and_deviation(list(v.values())) for v in (one.first, one.other)]
        name = [one.run] if several else []
        rows.append([verdict, label, figure, *name, *cells, *values])
    header = ["", "setting", "figure", *(["run"] if several else [])]
    other = "the run" if several else runs[1]
    header += [f"{other} - {runs[0]}", "95 % interval", "by", runs[0], other]
    marked = frozenset(k for k, one in enumerate(comparisons) if one.difference.differs)
    return Table(header, rows, "", marked)


def csv_text(comparisons: Sequence[Compared]) -> str:
    """The same in full precision, a line a figure."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    header = "setting,modality,target,metric,run,setting_there,seeds_first,seeds,mean_first,mean"
    writer.writerow([*header.split(","), "difference", "low", "high", "by"])
    for one in comparisons:
        first, other = list(one.first.values()), list(one.other.values())
        means = [repr(float(np.mean(v))) for v in (first, other)]
        sizes = [len(first), len(other)]
        ends = [repr(float(v)) for v in one.difference[:3]]
        writer.writerow([*one.name, one.run, one.setting, *sizes, *means, *ends, one.difference[3]])
    return text.getvalue()


def _mean_curve(lines: Mapping[str, tuple[list[int], list[float]]]) -> tuple[list[int], list]:
    """Mean over seeds of the first attempts, at the steps that all have."""
    whole = [dict(zip(*c, strict=True)) for k, c in lines.items() if "attempt" not in k]
    whole = [line for line in whole if line]
    steps = sorted(set.intersection(*(set(line) for line in whole))) if whole else []
    return steps, [float(np.mean([line[s] for line in whole])) for s in steps]


def _oracle(run: Held, setting: str) -> float | None:
    """Mean loss of the true latents, as the run's own figure of the setting has it."""
    path = run.workdir, "figures", f"loss_{slug(setting)}.csv"
    for name in glob.glob(glob.escape(os.path.join(*path))):
        with open(name, encoding="utf-8", newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["kind"] == "level" and row["y"]]
        return float(np.mean([float(row["y"]) for row in rows])) if rows else None
    return None


def draw_curves(runs: Sequence[Held], path: str) -> None:
    """Mean losses overlaid, a panel a setting of the first run."""
    panels: dict[str, dict[str, tuple[list[int], list[float]]]] = {}
    levels: dict[str, float] = {}
    for run in runs:
        partners = counterparts(list(runs[0].curves), list(run.curves))
        for setting, other in partners.items():
            for kind in ("", "validation"):
                lines = {
                    k: v for k, v in run.curves[other].items() if (k == "validation") == bool(kind)
                }
                steps, losses = _mean_curve(lines)
                if steps:
                    name = f"{run.name}, {kind}" if kind else run.name
                    panels.setdefault(setting, {})[name] = (steps, losses)
    panels = dict(list(panels.items())[:_PANELS])
    for setting in panels:
        if (level := _oracle(runs[0], setting)) is not None:
            levels[setting] = level
    if panels:
        save_figure(loss_panels_figure(panels, levels=levels), path)


def draw_differences(comparisons: Sequence[Compared], path: str) -> None:
    """The first differences that have intervals, a panel a metric."""
    several = len({one.run for one in comparisons}) > 1
    panels: dict[str, list[tuple[str, Difference]]] = {}
    shown = [one for one in comparisons if one.difference.kind][:_DRAWN]
    for one in shown:
        name = f"{one.name[0]}: {one.name[2]} from {one.name[1]}"
        panels.setdefault(one.name[3], []).append(
            (f"{name}, {one.run}" if several else name, one.difference)
        )
    if panels:
        save_figure(intervals_figure(panels, xlabel="difference from the first run"), path)


_RULES = {
    "paired": "paired: the interval is of the differences of the seeds that both runs have.",
    "Welch": "Welch: the runs share fewer than two seeds, so that their means are compared.",
}


def _findings(comparisons: Sequence[Compared]) -> list[str]:
    bars = [one for one in comparisons if one.difference.kind]
    differ = [one for one in bars if one.difference.differs]
    if not comparisons:
        return ["All figures are the same."]
    remarks = []
    if bars:
        remarks.append(f"{len(differ)} of {len(bars)} intervals leave 0 out.")
        remarks.append(f"If nothing differed, about {len(bars) / 20:.1f} would by chance.")
    if alike := sum(map(_alike, comparisons)):
        remarks.append(
            f"{alike} figures differ by the same in all seeds, too few to tell that from chance: "
            "use more --seeds."
        )
    if short := len(comparisons) - len(bars) - alike:
        remarks.append(
            f"{short} figures have too few seeds for an interval: use --seeds=2 or more."
        )
    return remarks


def page_of(runs: Sequence[Held], comparisons: Sequence[Compared], out: str) -> Page:
    """The page of runs compared with the first."""
    names = [run.name for run in runs]
    configs = config_differences(runs)
    other = [one for one in comparisons if not _same(one)]
    same = [one for one in comparisons if _same(one)]
    folded = {"Figures that are the same": differences_table(same, names)} if same else {}
    kinds = sorted({one.difference.kind for one in other} - {""})
    figures = [os.path.join(out, "figures", name) for name in _FIGURES]
    pictures = [read_picture(path, out) for path in figures if os.path.exists(path)]
    return Page(
        "compare",
        f"How do {', '.join(names[1:])} differ from {names[0]}?"
        if len(names) > 2
        else f"How does {names[1]} differ from {names[0]}?",
        {run.name: str(run.config.get("experiment", "")) for run in runs},
        _findings(other),
        any(one.difference.differs for one in other),
        [
            Section(
                "What is set otherwise",
                tables=[configs] if configs.rows else [],
                items=[] if configs.rows else ["Nothing: config, data and code are the same."],
            ),
            Section(
                "Figures side by side",
                tables=[differences_table(other, names)] if other else [],
                items=[_RULES[kind] for kind in kinds],
                folded=folded,
            ),
            Section("Curves and differences", pictures=pictures),
            Section("Files", items=["compare.csv beside this page has all figures in full."]),
        ],
    )


def compare(workdirs: Sequence[str], out: str) -> tuple[str, Table, Table]:
    """Writes `out`/report.html and `out`/compare.csv; the page's path, what differs in the configs,
    and the table of figures that are not the same.

    Raises InvalidInput for a folder that holds no run, and for runs that share no figure.
    """
    runs = read_runs(workdirs)
    inside = [os.path.join(os.path.abspath(run.workdir), "") for run in runs]
    of_a_run = os.path.exists(os.path.join(out, "config.json"))
    of_a_run |= os.path.join(os.path.abspath(out), "").startswith(tuple(inside))
    require(not of_a_run, "--out", out, "a folder of its own: this one holds a run")
    of = {str(run.config.get("experiment", "")): run.name for run in runs}
    if len(of) > 1:
        each = ", ".join(f"{name} is of {experiment or 'none'}" for experiment, name in of.items())
        raise InvalidInput(f"runs: compare runs of one experiment; {each}")
    result = compared(runs)
    if not result:
        raise InvalidInput("runs: compare runs of one experiment; these share no figure")
    path = lambda *parts: os.path.join(out, *parts)
    try:
        os.makedirs(path("figures"), exist_ok=True)
        for old in (path("figures", name) for name in _FIGURES):
            if os.path.exists(old):  # of other runs
                os.unlink(old)
        draw_curves(runs, path("figures", _FIGURES[0]))
        other = [one for one in result if not _same(one)]
        draw_differences(other, path("figures", _FIGURES[1]))
        atomic_write(path("compare.csv"), csv_text(result))
        atomic_write(path("report.html"), render(page_of(runs, result, out)))
    except OSError as error:
        message = f"--out: {out!r} can't be written ({error.strerror}); use another folder"
        raise InvalidInput(message) from error
    names = [run.name for run in runs]
    return path("report.html"), config_differences(runs), differences_table(other, names)

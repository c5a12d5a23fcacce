"""report.html of a run: made of what its folder holds, hence made again at any time."""

import csv
import dataclasses
import glob
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mmjax.errors import InvalidInput
from mmjax.report import (
    RULE,
    Expected,
    Judged,
    Page,
    Section,
    Table,
    beside_table,
    judge,
    loss_panels_figure,
    read_picture,
    render,
    save_figure,
)
from mmjax.run.about import About
from mmjax.run.files import atomic_write
from mmjax.run.results import Row, read_results

Curves = dict[str, dict[str, tuple[list[int], list[float]]]]

_POINTS = 400  # of a curve, at most
_SHOWN = 24  # settings whose curves are drawn


class RunDescription(NamedTuple):
    """What a run's folder doesn't hold of it.

    Attributes:
      experiment: its name.
      about: see About.
      config: as the flags have it.
      preset: its name.
      preset_values: what it sets.
      command: that made the run.
      notes: lines that were said while it ran.
    """

    experiment: str
    about: About
    config: Any
    preset: str
    preset_values: Mapping[str, Any]
    command: str
    notes: Sequence[str] = ()


def read_json(path: str) -> Any:
    """What a JSON file holds; an absent or a damaged one is empty."""
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError):
        return {}


def keep_notes(workdir: str, notes: Sequence[str]) -> list[str]:
    """Adds lines to those that the run's folder keeps, each once; returns all."""
    path = os.path.join(workdir, "notes.json")
    before = read_json(path)
    lines = list(dict.fromkeys([*(before if isinstance(before, list) else []), *notes]))
    if lines and lines != before:
        atomic_write(path, json.dumps(lines, indent=2) + "\n")
    return lines


def keep_facts(workdir: str, facts: Mapping[str, Any]) -> None:
    """Writes data.json, for the report: what is told of the data.

    Args:
      workdir: a claimed one.
      facts: name, such as `training rows` -> value of JSON's types; a list is shown a line each.
    """
    if facts:
        path = os.path.join(workdir, "data.json")
        atomic_write(path, json.dumps(dict(facts), indent=2) + "\n")


def read_curves(workdir: str) -> Curves:
    """Losses of all trainings: setting -> name of a line -> (steps, losses)."""
    results: Curves = {}
    inside = sorted(glob.glob(os.path.join(glob.escape(workdir), "models", "*", "metrics.csv")))
    for path in [os.path.join(workdir, "metrics.csv"), *inside]:
        if not os.path.exists(path):
            continue
        folder = os.path.basename(os.path.dirname(path)) if path in inside else ""
        with open(path, encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                if row["metric"] not in ("loss", "validation") or not row["value"]:
                    continue
                seed = f"seed {row['seed']}" if not folder else "training"
                again = f", attempt {int(row['attempt']) + 1}" if row["attempt"] != "0" else ""
                kind = "validation" if row["metric"] == "validation" else f"{seed}{again}"
                line = results.setdefault(folder or row["setting"], {}).setdefault(kind, ([], []))
                line[0].append(int(row["step"]))
                line[1].append(float(row["value"]))
    every = lambda v: v[:: max(1, len(v) // _POINTS)]
    return {
        s: {k: (every(a), every(b)) for k, (a, b) in curves.items()}
        for s, curves in results.items()
    }


def by_figure(rows: Sequence[Row]) -> dict[tuple[str, str, str, str], dict[int, float]]:
    """(setting, modality, target, metric) -> seed -> value."""
    results: dict[tuple[str, str, str, str], dict[int, float]] = {}
    for row in rows:
        name = (row.setting, row.modality, row.target, row.metric)
        results.setdefault(name, {})[row.seed] = row.value
    return results


def judged_of(rows: Sequence[Row], expected: Sequence[Expected]) -> list[Judged]:
    """Those of the expectations that the run has a figure for."""
    there = by_figure(rows)
    results = []
    for e in expected:
        if values := there.get((e.setting, e.modality, e.target, e.metric)):
            results.append(judge(list(values.values()), e))
    return results


def warnings_of(rows: Sequence[Row], notes: Sequence[str]) -> list[str]:
    """Seeds that are stuck or were begun again, figures that are no numbers, what was noted."""
    results = []
    for setting in dict.fromkeys(row.setting for row in rows):
        judged = [row for row in rows if row.setting == setting]
        stuck = [row.seed for row in judged if row.metric == "stuck" and row.value]
        again = [row.seed for row in judged if row.metric == "attempts" and row.value > 1]
        if stuck:
            results.append(f"{setting}: stuck above the oracle's loss: seeds {stuck}.")
        if again:
            results.append(f"{setting}: begun again with other initial weights: seeds {again}.")
        if bad := sum(row.value != row.value for row in judged):
            results.append(f"{setting}: {bad} figures are not a number.")
    return results + [line.removeprefix("note: ") for line in notes]


def _shown(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def config_tables(described: RunDescription, held: Mapping[str, Any]) -> tuple[Table, Table]:
    """What differs from the defaults, and the whole config; as it ran (config.json)."""
    changed, whole = [], []
    for field in dataclasses.fields(described.config):
        value = _shown(held.get(field.name, getattr(described.config, field.name)))
        default, help = _shown(field.default), field.metadata.get("help", "")
        whole.append([f"--{field.name}", value, default, help])
        if value == default:
            continue
        preset = described.preset_values.get(field.name)
        by = (
            f"preset {described.preset}"
            if preset is not None and _shown(preset) == value
            else "flag"
        )
        if _shown(getattr(described.config, field.name)) != value:
            by = "from the data"
        changed.append([f"--{field.name}", value, default, by])
    return (
        Table(["flag", "this run", "default", "set by"], changed),
        Table(["flag", "this run", "default", "what it is"], whole),
    )


def data_section(
    described: RunDescription, held: Mapping[str, Any], facts: Mapping[str, Any]
) -> Section:
    """Rows, splits and hashes."""
    rows = [
        [name, _shown(each)]
        for name, value in facts.items()
        for each in (value if isinstance(value, list) else [value])
    ]
    hashes = [[name, str(value)] for name, value in (held.get("data_hash") or {}).items()]
    tables = [Table(["", ""], rows)] if rows else []
    tables += [Table(["file", "hash of its contents"], hashes)] if hashes else []
    items = [f"Needs {described.about.needs}."] if described.about.needs else []
    return Section("Data", tables=tables, items=items)


def repeat_section(described: RunDescription, held: Mapping[str, Any]) -> Section:
    """The command, and the versions that figures depend on."""
    packages = ", ".join(f"{k} {v}" for k, v in (held.get("packages") or {}).items())
    items = [
        "With other versions figures may differ in their last digits; seeds, data and config are "
        "the same.",
        f"mmjax {held.get('version', '?')}, sources {held.get('sources', '?')}; {packages}.",
        "The same command on the finished folder trains nothing and makes this page again.",
    ]
    return Section("How to repeat it", items=items, code=described.command)


def _draw_losses(workdir: str) -> None:
    """Curves of all trainings, where the experiment has drawn none of its own."""
    figures = os.path.join(workdir, "figures")
    if glob.glob(os.path.join(glob.escape(figures), "loss_*.png")) or not (
        curves := read_curves(workdir)
    ):
        return
    os.makedirs(figures, exist_ok=True)
    shown = dict(list(curves.items())[:_SHOWN])
    save_figure(loss_panels_figure(shown), os.path.join(figures, "losses.png"))


def _place(path: str) -> tuple[str, int, str]:
    """Order of figures: of the whole run, then by setting, curves first."""
    kind, _, setting = os.path.splitext(os.path.basename(path))[0].partition("_")
    return setting, int(kind != "loss"), kind


def _findings(judged: Sequence[Judged], warnings: Sequence[str]) -> list[str]:
    remarks = []
    odd = [outcome for outcome in judged if outcome.surprises]
    if judged:
        rest = f"{len(judged)} figures with an expectation: "
        above = sum(outcome.verdict == "above" for outcome in odd)
        told = f"{len(odd)} surprise ({above} above it, {len(odd) - above} below)."
        remarks.append(rest + (told if odd else "none surprises."))
    for result in odd[:3]:
        e = result.expected
        mean = sum(result.values) / len(result.values)
        remarks.append(
            f"{e.setting}: {e.metric} of {e.target} from {e.modality} is {mean:.4f}, "
            f"{result.verdict} {e.value:.4g} ({e.source})."
        )
    if len(odd) > 3:
        remarks.append(f"{len(odd) - 3} more are marked in the table.")
    if warnings:
        remarks.append(f"{len(warnings)} warning{'s' if len(warnings) > 1 else ''}, see below.")
    return remarks


def _rows(workdir: str) -> tuple[list[Row], list[str]]:
    """results.csv, and what is wrong with it: a report is no reason to fail."""
    try:
        return read_results(os.path.join(workdir, "results.csv")), []
    except InvalidInput as error:
        return [], [str(error)]


def page_of(workdir: str, described: RunDescription) -> Page:
    """The page of a run's folder."""
    path = lambda *parts: os.path.join(workdir, *parts)
    held, (rows, damage) = read_json(path("config.json")), _rows(workdir)
    settings = list(dict.fromkeys(row.setting for row in rows))
    judged = judged_of(rows, described.about.expected(described.config, settings))
    warnings = damage + warnings_of(rows, keep_notes(workdir, described.notes))
    text = ""
    if os.path.exists(path("summary.md")):
        with open(path("summary.md"), encoding="utf-8") as file:
            text = file.read()
    changed, whole = config_tables(described, held)
    path_of = lambda *parts: os.path.join(glob.escape(workdir), *parts)
    pictures = [
        read_picture(name, workdir)
        for name in sorted(glob.glob(path_of("figures", "*.png")), key=_place)
    ]
    beside = [beside_table(judged)] if judged else []
    seconds = sum(read_json(path("timings.json")).values())
    facts = {"from": described.about.paper, "preset": described.preset}
    facts |= {"seeds": str(held["seeds"])} if "seeds" in held else {}
    facts |= {"took": f"{seconds:.0f} s"} if seconds else {}
    same = "Nothing differs from the defaults."
    return Page(
        f"{described.experiment} · {os.path.basename(os.path.abspath(workdir))}",
        described.about.question or described.experiment,
        {name: value for name, value in facts.items() if value},
        _findings(judged, warnings),
        any(result.surprises for result in judged),
        [
            Section("Beside what is expected", tables=beside, items=[RULE] if judged else []),
            Section("Results", text=text),
            Section("Figures", pictures=pictures),
            Section("Warnings", items=warnings or ["None."]),
            Section(
                "Configuration",
                tables=[changed] if changed.rows else [],
                items=[] if changed.rows else [same],
                folded={"All options": whole},
            ),
            data_section(described, held, read_json(path("data.json"))),
            repeat_section(described, held),
        ],
    )


def write_report(workdir: str, described: RunDescription) -> str:
    """Writes report.html, and the curves where there are none; its path."""
    _draw_losses(workdir)
    path = os.path.join(workdir, "report.html")
    atomic_write(path, render(page_of(workdir, described)))
    return path

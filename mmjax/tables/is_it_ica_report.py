"""Tables, verdict and figure of experiments.is_it_ica."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmjax.config import names_in
from mmjax.data import FewShotSet
from mmjax.errors import counted
from mmjax.few_shot.by_class import CONTRASTS, MAPS
from mmjax.report import (
    Difference,
    gain_panels_figure,
    markdown_table,
    mean_and_deviation,
    save_figure,
)
from mmjax.run import Row, Run, machine, values
from mmjax.studies.component_looks import WAYS
from mmjax.tables.is_it_ica import (
    ACROSS_NAME,
    EVERY,
    MEAN,
    fewer_of,
    pooled_probes,
    probe_setting,
    shots_of,
    spans_of,
)

SHOWN = {
    "monosemanticity": "monosemanticity",
    "purity": "purity of top rows",
    "single": "threshold on one component",
    "named": "named as their rows",
    "stability": "stability across halves",
    "kurtosis": "excess kurtosis",
    "dead": "dead",
}
_PROBE = {
    "l2": "L2 probe",
    "l1": "L1 probe",
    "one": "threshold on one component",
    "across": "across probes",
}


def gain_of(rows: Sequence[Row], setting: str, name: str) -> Difference | None:
    """A gain with its interval, or None where it was not judged."""
    results = [values(rows, setting, "x", name, m) for m in ("gain", "gain_low", "gain_high")]
    if not all(results):
        return None
    mean, low, high = (v[0] for v in results)
    return Difference(mean, low, high, "paired bootstrap")


def shown(difference: Difference | None) -> str:
    """`-0.012 [-0.020, -0.004] ▼`, with a mark where the interval leaves 0 out."""
    if difference is None:
        return "-"
    if difference.low == difference.high != 0:  # gains that are all alike: of so few, no claim
        return f"{difference.mean:+.3f} [no spread]"
    mark = (" ▲" if difference.mean > 0 else " ▼") if difference.differs else ""
    return f"{difference.mean:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}]{mark}"


def gain_table(config: Any, few: FewShotSet, rows: Sequence[Row]) -> str:
    """Accuracy of plain features, then each step's gain, by probe, rank and shots."""
    lines = []
    for probe in names_in(config.probes):
        for span in spans_of(config):
            each: list[int | str] = [*shots_of(config, few), MEAN]
            for shots in each:
                setting = probe_setting(few.name, span, probe, shots)
                metric = "balanced_accuracy" if probe == "one" else "accuracy"
                plain = values(rows, setting, "x", MAPS[0], metric)
                gains = [shown(gain_of(rows, setting, name)) for name in CONTRASTS]
                cell = mean_and_deviation(plain, digits=3)
                lines.append([_PROBE[probe], span, str(shots), cell, *gains])
    header = [few.name, "directions", "shots", "plain", *CONTRASTS]
    return markdown_table(header, lines)


def pooled_table(config: Any, sets: Sequence[FewShotSet], rows: Sequence[Row]) -> str:
    """Gains over all sets and shots."""
    of = EVERY if len(sets) > 1 else sets[0].name
    look = lambda span, probe, name: gain_of(rows, probe_setting(of, span, probe, MEAN), name)
    lines = [
        [_PROBE[probe], span, *(shown(look(span, probe, name)) for name in CONTRASTS)]
        for probe in names_in(config.probes)
        for span in spans_of(config)
    ]
    return markdown_table([f"{of}, {MEAN}", "directions", *CONTRASTS], lines)


def across_table(config: Any, sets: Sequence[FewShotSet], rows: Sequence[Row]) -> str:
    """What axes and a probe that sees them give beside plain features and an L2 probe."""
    shots = [*config.shots, MEAN]
    names = [few.name for few in sets] + ([EVERY] if len(sets) > 1 else [])
    look = lambda *where: shown(gain_of(rows, probe_setting(*where), ACROSS_NAME))
    lines = [
        [name, span, *(look(name, span, "across", n) for n in shots)]
        for name in names
        for span in spans_of(config)
    ]
    return markdown_table([ACROSS_NAME, "directions", *map(str, shots)], lines)


def component_table(config: Any, few: FewShotSet, count: int, rows: Sequence[Row]) -> str:
    """Figures of single components, a row a way."""
    setting = f"{few.name}/components/{count}"
    look = lambda way, metric: mean_and_deviation(values(rows, setting, "x", way, metric), digits=3)
    lines = [[way, *(look(way, m) for m in SHOWN)] for way in (*WAYS, "Normal twin", "chance")]
    return markdown_table([f"{few.name}, {count} components", *SHOWN.values()], lines)


def zero_shot_table(few: FewShotSet, span: str, rows: Sequence[Row]) -> str:
    """Zero-shot accuracy after each map; empty without texts."""
    setting = f"{few.name}/zero-shot/{span}"
    judged = [row for row in rows if row.setting == setting]
    ways = list(dict.fromkeys(row.target for row in judged if row.metric == "accuracy"))
    lines = [
        [way, mean_and_deviation(values(judged, setting, "x", way, "accuracy"), digits=3)]
        for way in ways
    ]
    gains = list(dict.fromkeys(row.target for row in judged if row.metric == "gain"))
    lines += [[name, shown(gain_of(judged, setting, name))] for name in gains]
    return (
        markdown_table([f"{few.name}, zero-shot, {span}", "accuracy, or gain"], lines)
        if judged
        else ""
    )


def verdict(config: Any, sets: Sequence[FewShotSet], rows: Sequence[Row]) -> list[str]:
    """A sentence a contrast and probe: how many cells gain or lose beyond chance."""
    remarks = []
    asked = [(name, probe) for name in CONTRASTS for probe in names_in(config.probes)]
    asked += [(ACROSS_NAME, "across")] if "across" in pooled_probes(config) else []
    for name, probe in asked:
        cells = [
            gain_of(rows, probe_setting(few.name, span, probe, shots), name)
            for few in sets
            for span in spans_of(config)
            for shots in shots_of(config, few)
        ]
        results = [c for c in cells if c is not None]
        gained, lost = (
            sum(f(c) for c in results) for f in (lambda c: c.low > 0, lambda c: c.high < 0)
        )
        mean = sum(c.mean for c in results) / max(len(results), 1)
        remarks.append(
            f"{name}, {_PROBE[probe]}: {mean:+.3f} on average; of {len(results)} cells "
            f"{gained} gain and {lost} lose beyond chance."
        )
    return remarks


def summary(
    config: Any, sets: Sequence[FewShotSet], rows: Sequence[Row], seconds: Mapping[str, float]
) -> str:
    """The verdict, then all tables."""
    fewer = "; ".join(f"{few.name}: {line}" for few in sets for line in fewer_of(config, few))
    fewer = f" ({fewer})" if fewer else ""
    parts = [
        "# Is it ICA?",
        f"Gains with 95 % intervals of a paired bootstrap over {counted(config.seeds, 'draw')} "
        "and the "
        f"classes ({config.resamples} resamples), ▲ or ▼ where 0 is outside; everything chosen on "
        f"min(shots, {config.validation_shots}) validation rows a class{fewer}; maps fitted "
        "without labels on training and validation rows; "
        f"{machine()}; {sum(seconds.values()):.0f} s.",
        "\n".join(f"- {line}" for line in verdict(config, sets, rows)),
        pooled_table(config, sets, rows),
    ]
    if "across" in pooled_probes(config):
        parts.append(across_table(config, sets, rows))
    for few in sets:
        parts.append(gain_table(config, few, rows))
        parts.append(component_table(config, few, config.num_components[0], rows))
        parts += [t for span in spans_of(config) if (t := zero_shot_table(few, span, rows))]
    return "\n\n".join(parts) + "\n"


def draw_gains(config: Any, run: Run, sets: Sequence[FewShotSet], rows: Sequence[Row]) -> None:
    """Gains by shots with their intervals: a figure a rank, contrasts by probes, a line a set."""
    for span in spans_of(config):
        panels: Mapping[str, Mapping[str, Mapping[float, Difference]]] = {
            f"{name}, {_PROBE[probe]}": {
                few.name: {
                    n: result
                    for n in shots_of(config, few)
                    if (result := gain_of(rows, probe_setting(few.name, span, probe, n), name))
                }
                for few in sets
            }
            for probe in names_in(config.probes)
            for name in CONTRASTS
        }
        figure = gain_panels_figure(panels, columns=len(CONTRASTS), xlabel="shots", ylabel="gain")
        save_figure(figure, run.path("figures", f"gains_{span.replace(' ', '_')}.png"))

"""Differences of two runs with confidence intervals."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mmjax.report.canvas import blank_figure, legend_entries
from mmjax.report.text import figure_text, legend_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEVEL = 0.95
_ROUNDING = 2.0**-22  # of figures in float32, relative
_TINY = 1e-300


class Difference(NamedTuple):
    """A difference of means.

    Attributes:
      mean: second minus first.
      low, high: ends of its confidence interval; not numbers where there are too few values, or so
        few alike ones that they show no spread.
      kind: paired, Welch, or empty where there is no interval.
    """

    mean: float
    low: float
    high: float
    kind: str

    @property
    def differs(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.low > 0 or self.high < 0


def difference(first: Mapping[int, float], second: Mapping[int, float]) -> Difference:
    """Second minus first, with the t interval of LEVEL.

    Args:
      first, second: seed -> figure. Where two or more seeds are shared, their differences are what
        is looked at (paired); elsewhere means of independent seeds are compared (Welch), which
        takes two or more on either side.

    Values without a spread have an interval of no width, where they are so many that as many signs
    alike, or so clean a division, have a chance below 1 - LEVEL (six paired seeds, four and four
    others); of fewer there is none.
    """
    shared = sorted(set(first) & set(second))
    if len(shared) >= 2:
        gaps = np.array([second[seed] - first[seed] for seed in shared])
        size = max(abs(of[seed]) for of in (first, second) for seed in shared)
        if np.ptp(gaps) <= _ROUNDING * size and 0.5 ** (len(gaps) - 1) > 1 - LEVEL:
            return Difference(float(gaps.mean()), np.nan, np.nan, "")
        return _around(float(gaps.mean()), gaps.std(ddof=1) / np.sqrt(len(gaps)), len(gaps) - 1.0)
    a, b = (np.array(list(values.values())) for values in (first, second))
    mean = float(b.mean() - a.mean())
    if min(len(a), len(b)) < 2:
        return Difference(mean, np.nan, np.nan, "")
    from scipy import stats

    if max(np.ptp(v) / max(np.abs(v).max(), _TINY) for v in (a, b)) <= _ROUNDING:
        if 2 / math.comb(len(a) + len(b), len(a)) > 1 - LEVEL:
            return Difference(mean, np.nan, np.nan, "")
    if a.std() == b.std() == 0:
        return Difference(mean, mean, mean, "Welch")
    result = stats.ttest_ind(b, a, equal_var=False).confidence_interval(LEVEL)
    return Difference(mean, float(result.low), float(result.high), "Welch")


def _around(mean: float, error: float, freedom: float) -> Difference:
    from scipy import stats

    half = float(error * stats.t.ppf((1 + LEVEL) / 2, freedom))
    return Difference(mean, mean - half, mean + half, "paired")


def intervals_figure(
    panels: Mapping[str, Sequence[tuple[str, Difference]]], *, xlabel: str
) -> "Figure":
    """Differences with their intervals, a panel a metric, a line a figure; 0 is dashed."""
    count = sum(map(len, panels.values()))
    reading = (
        "A bar that leaves the dashed line out differs beyond chance; one that crosses it may not."
    )
    figure = blank_figure(7.0, 0.24 * count + 0.75 * len(panels) + 0.3, reading=reading)
    ratios = [len(bars) + 1 for bars in panels.values()]
    axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=ratios)[:, 0]
    for ax, (title, bars) in zip(axes, panels.items(), strict=True):
        for place, (_, result) in enumerate(bars):
            (middle,), bar = _bars([result])
            colour = "C3" if result.differs else "0.45"
            ax.errorbar([middle], [place], xerr=bar, fmt="none", capsize=2.5, color=colour)
            ax.plot([result.mean], [place], "o", ms=3.5, color=colour)
        ax.axvline(0, color="0.3", ls="--", lw=1)
        ax.set_yticks(range(len(bars)), [figure_text(name) for name, _ in bars], fontsize=7)
        ax.set_ylim(len(bars) - 0.5, -0.5)
        ax.set_title(figure_text(title), fontsize=8, loc="left")
        ax.tick_params(labelsize=7)
    axes[-1].set_xlabel(figure_text(xlabel), fontsize=8)
    return figure


def _bars(results: Sequence[Difference]) -> tuple[list[float], list[float]]:
    """Middles and half lengths: a bootstrap's interval need not hold the mean."""
    ends = [(result.low, result.high) for result in results]
    return [(low + high) / 2 for low, high in ends], [(high - low) / 2 for low, high in ends]


def gain_panels_figure(
    panels: Mapping[str, Mapping[str, Mapping[float, Difference]]],
    *,
    columns: int,
    xlabel: str,
    ylabel: str,
) -> "Figure":
    """Gains with their intervals against a setting, a panel a title, a line a name; 0 is dashed.

    Args:
      panels: title -> line's name -> x -> gain. Panels of a row share their height's scale.
      columns: panels in a row.
      xlabel, ylabel: texts.
    """
    reading = "A bar that leaves the dashed line out is a gain, or a loss, beyond chance."
    rows = -(-len(panels) // columns)
    figure = blank_figure(2.7 * columns, 2.2 * rows + 0.4, reading=reading)
    axes = figure.subplots(rows, columns, squeeze=False, sharey="row")
    names = list(dict.fromkeys(name for lines in panels.values() for name in lines))
    for ax, (title, lines) in zip(axes.ravel(), panels.items(), strict=False):
        for name, points in lines.items():
            number = names.index(name)
            # Aside of each other, on an axis of doublings.
            where = [x * 2 ** (0.08 * (number - (len(names) - 1) / 2)) for x in points]
            results = list(points.values())
            means = [f.mean for f in results]
            look = dict(color=f"C{number}", lw=1.0)
            ax.errorbar(where, *_bars(results), fmt="none", capsize=2, **look)
            ax.plot(where, means, marker="o", ms=2.5, label=legend_text(name), **look)
        ax.axhline(0, color="0.3", ls="--", lw=1)
        ax.set_xscale("log", base=2)
        ticks = sorted({x for points in lines.values() for x in points})
        ax.set_xticks(ticks, [f"{x:g}" for x in ticks])
        ax.set_title(figure_text(textwrap.fill(title, 28)), fontsize=7)
        ax.tick_params(labelsize=7)
    for ax in axes[:, 0]:
        ax.set_ylabel(figure_text(ylabel), fontsize=8)
    for ax in axes[-1]:
        ax.set_xlabel(figure_text(xlabel), fontsize=8)
    figure.legend(
        *legend_entries(axes.ravel()),
        fontsize=7,
        frameon=False,
        ncols=6,
        loc="outside lower center",
    )
    return figure

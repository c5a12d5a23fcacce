"""Figures, drawn without a display. Each function returns a matplotlib Figure."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mmjax.report.canvas import blank_figure, legend_entries
from mmjax.report.text import figure_text, legend_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SIZE = 2.8  # inches a panel
_MEANS = "Means over seeds, bars of one standard deviation: lines whose bars overlap are alike."


def _panels(columns: int, rows: int = 1, width: float = _SIZE, *, reading: str):
    figure = blank_figure(width * columns + 0.6, _SIZE * rows + 0.4, reading=reading)
    return figure, figure.subplots(rows, columns, squeeze=False)


def heat_map_figure(correlations: Mapping[str, np.ndarray], *, title: str) -> "Figure":
    """|correlation| of latents (rows) with features (columns), a panel a modality, in [0, 1]."""
    reading = (
        "One bright cell a row and a column: each latent has its own feature. Rows that are bright "
        "all over: recovered up to a rotation, or mixed."
    )
    figure, axes = _panels(len(correlations), reading=reading)
    for ax, (name, values) in zip(axes[0], correlations.items(), strict=True):
        image = ax.imshow(values, vmin=0, vmax=1, cmap="magma")
        shown = figure_text(name)
        ax.set(xlabel=f"f_{shown}", ylabel=f"z_{shown}", title=f"modality {shown}")
        for axis, size in zip((ax.yaxis, ax.xaxis), values.shape, strict=True):
            axis.set_ticks(range(size), [str(k + 1) for k in range(size)])  # as scatter_figure has
        if values.size <= 64:
            for (i, j), value in np.ndenumerate(values):
                colour = "white" if value < 0.6 else "black"
                ax.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=7, color=colour)
    figure.colorbar(image, ax=axes, shrink=0.8, label="|correlation|")
    figure.suptitle(figure_text(title), fontsize=10)
    return figure


def scatter_figure(
    latents: np.ndarray, matched: np.ndarray, *, title: str, ylabel: str, limit: int = 1000
) -> "Figure":
    """Each latent `[n, d]` against its matched estimate `[n, d]`, a panel a coordinate."""
    count = latents.shape[1]
    columns = min(count, 5)
    reading = "A thin diagonal: the latent is recovered; a cloud: it is not."
    figure, axes = _panels(columns, -(-count // columns), width=2.2, reading=reading)
    for k, ax in enumerate(axes.flat):
        if k >= count:
            ax.axis("off")
            continue
        ax.plot(latents[:limit, k], matched[:limit, k], ".", ms=1.5, alpha=0.5)
        ax.set(xlabel=f"z_{k + 1}", ylabel=figure_text(ylabel) if k % columns == 0 else "")
        ax.tick_params(labelsize=7)
    figure.suptitle(figure_text(title), fontsize=10)
    return figure


def lines_figure(
    lines: Mapping[str, Mapping[float, Sequence[float]]],
    *,
    title: str,
    xlabel: str,
    ylabel: str,
    levels: Mapping[str, float] | None = None,
) -> "Figure":
    """Mean over seeds with error bars (standard deviation) against a setting, a line a name.

    Args:
      lines: name -> setting's value -> figures of the seeds.
      title, xlabel, ylabel: texts.
      levels: name -> height of a dotted reference line in the colour of that name's line.
    """
    reading = (
        "Means over seeds, bars of one standard deviation; lines whose bars overlap are alike."
    )
    reading += " Dotted: the level without training." if levels else ""
    figure, axes = _panels(1, width=5.0, reading=reading)
    ax = axes[0, 0]
    for number, (name, points) in enumerate(lines.items()):
        where = sorted(points)
        means = [np.mean(points[x]) for x in where]
        bars = [np.std(points[x], ddof=1) if len(points[x]) > 1 else 0.0 for x in where]
        style = dict(
            color=f"C{number}", marker="o", ms=3, capsize=2, lw=1.2, label=legend_text(name)
        )
        ax.errorbar(where, means, bars, **style)
        if levels and name in levels:
            ax.axhline(levels[name], color=f"C{number}", ls=":", lw=1)
    if len({x for points in lines.values() for x in points}) > 2:
        ax.set_xscale("log", base=2)
        ticks = sorted({x for points in lines.values() for x in points})
        ax.set_xticks(ticks, [f"{x:g}" for x in ticks])
    texts = dict(xlabel=xlabel, ylabel=ylabel, title=title)
    ax.set(**{name: figure_text(text) for name, text in texts.items()}, ylim=(0, 1.03))
    ax.legend(fontsize=7, frameon=False)
    return figure


def line_panels_figure(
    panels: Mapping[str, Mapping[str, Mapping[float, Sequence[float]]]],
    *,
    xlabel: str,
    ylabel: str,
    width: float = 2.6,
) -> "Figure":
    """A panel of lines a name, with one legend; error bars are standard deviations.

    Args:
      panels: title -> line's name -> x -> figures. Lines of one name share colour and style; the
        part of a name before its comma picks the colour, the rest the style.
      xlabel, ylabel: texts.
      width: of a panel in inches.
    """
    reading = (
        "Means over seeds, bars of one standard deviation; lines whose bars overlap are alike."
    )
    figure, axes = _panels(len(panels), width=width, reading=reading)
    colours: dict[str, str] = {}
    styles: dict[str, str] = {}
    for ax, (title, lines) in zip(axes[0], panels.items(), strict=True):
        for name, points in lines.items():
            base, _, kind = name.partition(",")
            colour = colours.setdefault(base, f"C{len(colours)}")
            style = styles.setdefault(kind, ("-", "--", ":", "-.")[len(styles) % 4])
            where = sorted(points)
            means = [np.mean(points[x]) for x in where]
            bars = [np.std(points[x], ddof=1) if len(points[x]) > 1 else 0.0 for x in where]
            look = dict(color=colour, ls=style, marker="o", ms=2.5, capsize=2, lw=1.2)
            ax.errorbar(where, means, bars, label=legend_text(name), **look)
        ax.set_xticks(sorted({x for points in lines.values() for x in points}))
        ax.set(xlabel=figure_text(xlabel), title=figure_text(title), ylim=(-0.05, 1.05))
        ax.title.set_fontsize(9)
        ax.tick_params(labelsize=7)
    axes[0, 0].set_ylabel(figure_text(ylabel))
    figure.legend(
        *legend_entries(axes[0]), fontsize=7, frameon=False, ncols=6, loc="outside lower center"
    )
    return figure


def bars_figure(bars: Mapping[str, Sequence[float]], *, title: str, level: float) -> "Figure":
    """A horizontal bar a name: mean of its figures, standard deviation as error bar, in [0, 1].

    Args:
      bars: name -> figures.
      title: above the axes.
      level: where to draw a dotted reference line.
    """
    reading = "Longer is better; a bar that ends at the dotted line is what was published."
    figure = blank_figure(7, 0.28 * len(bars) + 1, reading=reading)
    ax = figure.subplots()
    means = [float(np.mean(v)) for v in bars.values()]
    errors = [float(np.std(v, ddof=1)) if len(v) > 1 else 0.0 for v in bars.values()]
    ax.barh(range(len(bars)), means, xerr=errors, color="C0", alpha=0.8, height=0.7)
    for k, mean in enumerate(means):
        ax.text(0.01, k, f"{mean:.3f}", va="center", fontsize=7, color="white")
    ax.axvline(level, color="0.3", ls=":", lw=1)
    ax.set_yticks(range(len(bars)), list(map(figure_text, bars)), fontsize=7)
    ax.invert_yaxis()
    ax.set(xlim=(0, 1.03), title=figure_text(title))
    return figure


def grouped_bars_figure(
    groups: Mapping[str, Mapping[str, Sequence[float]]],
    *,
    levels: Mapping[str, float],
    ylabel: str,
) -> "Figure":
    """Groups of bars, one bar a name: mean of its figures, standard deviation as error bar.

    Args:
      groups: title of a group -> name -> figures in [0, 1]. A name has the same colour everywhere.
      levels: title of a group -> height of a dotted line, what guessing gives.
      ylabel: text.
    """
    names = list(dict.fromkeys(name for bars in groups.values() for name in bars))
    reading = (
        "Bars that end at their dotted line know no more than a guess; error bars are one standard "
        "deviation over seeds."
    )
    width = 1.2 + 0.24 * len(names) * len(groups) + 0.4
    figure = blank_figure(width, 3.2, reading=reading)
    ax, width = figure.subplots(), 0.8 / len(names)
    told: set[str] = set()  # names that the legend has
    for place, (title, bars) in enumerate(groups.items()):
        for number, name in enumerate(names):
            if seen := bars.get(name):
                error = float(np.std(seen, ddof=1)) if len(seen) > 1 else 0.0
                x = place + (number - (len(names) - 1) / 2) * width
                label = None if name in told else legend_text(name)
                told.add(name)
                look: dict[str, Any] = dict(color=f"C{number}", label=label, yerr=error, capsize=2)
                ax.bar(x, float(np.mean(seen)), 0.92 * width, **look)
        ax.hlines(levels[title], place - 0.45, place + 0.45, colors="0.2", linestyles=":", lw=1.2)
    ax.set_xticks(range(len(groups)), list(map(figure_text, groups)), fontsize=8)
    ax.set(ylim=(0, 1.03), ylabel=figure_text(ylabel))
    figure.legend(fontsize=7, frameon=False, ncols=5, loc="outside lower center")
    return figure

"""Figures of components: how far from Normal, what is at their ends, what moves with them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from mmjax.report.canvas import blank_figure, legend_entries
from mmjax.report.text import figure_text, legend_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def spectrum_figure(
    panels: Mapping[str, Mapping[str, Sequence[np.ndarray]]], *, ylabel: str
) -> "Figure":
    """Values of sorted components, a panel a title, a line a name: mean over its arrays `[k]`.

    The band is one standard deviation. The axis is linear near 0 and logarithmic beyond 1.
    """
    reading = (
        "The further above 0 a line stays, the less Normal its components are; where it lies on "
        "that of a Normal twin there is nothing that FastICA could find."
    )
    figure = blank_figure(3.4 * len(panels) + 0.6, 3.0, reading=reading)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    names = list(dict.fromkeys(name for lines in panels.values() for name in lines))
    for ax, (title, lines) in zip(axes, panels.items(), strict=True):
        for name, arrays in lines.items():
            number = names.index(name)
            values = np.stack([np.asarray(a) for a in arrays])
            mean, band = values.mean(0), values.std(0)
            where = np.arange(1, len(mean) + 1)
            ax.plot(where, mean, color=f"C{number}", lw=1.3, label=legend_text(name))
            ax.fill_between(where, mean - band, mean + band, color=f"C{number}", alpha=0.2, lw=0)
        ax.axhline(0, color="0.4", ls=":", lw=0.8)
        ax.set_yscale("symlog", linthresh=1)
        ax.set(xlabel="component, in order", title=figure_text(title))
        ax.title.set_fontsize(9)
        ax.tick_params(labelsize=7)
    axes[0].set_ylabel(figure_text(ylabel))
    axes[-1].legend(*legend_entries(axes), fontsize=7, frameon=False)
    return figure


def examples_figure(images: np.ndarray, rows: np.ndarray, titles: Sequence[str]) -> "Figure":
    """Images `[n, h, w, 3]` of each component's rows `[components, count]`, a line a component."""
    reading = "A row a component: the images at its end. What they share is what it stands for."
    figure = blank_figure(0.62 * rows.shape[1] + 1.4, 0.62 * len(rows), reading=reading)
    axes = figure.subplots(len(rows), 1, squeeze=False)[:, 0]
    for ax, title, shown in zip(axes, titles, rows, strict=True):
        ax.imshow(np.concatenate(list(images[shown]), axis=1), interpolation="nearest")
        ax.set_ylabel(figure_text(title), rotation=0, ha="right", va="center", fontsize=7)
        ax.set_xticks([])
        ax.set_yticks([])
        for spine in ax.spines.values():
            spine.set_visible(False)
    return figure


def response_figure(
    responses: Mapping[str, np.ndarray], components: Sequence[str], attributes: Sequence[str]
) -> "Figure":
    """How far each attribute (column) moves with each component (row), a panel a title."""
    width = 0.42 * len(attributes) + 1.3
    size = (width * len(responses) + 0.8, 0.3 * len(components) + 1.6)
    components, attributes = (list(map(figure_text, n)) for n in (components, attributes))
    reading = (
        "One bright cell a row: moving that component moves one attribute and leaves the others."
    )
    figure = blank_figure(*size, reading=reading)
    axes = figure.subplots(1, len(responses), squeeze=False)[0]
    for ax, (title, values) in zip(axes, responses.items(), strict=True):
        image = ax.imshow(values, vmin=0, vmax=1, cmap="magma", aspect="auto")
        ax.set_xticks(range(len(attributes)), attributes, rotation=60, ha="right", fontsize=7)
        ax.set_yticks(range(len(components)), components, fontsize=7)
        ax.set_title(figure_text(title), fontsize=9)
        if values.size <= 200:
            for (i, j), value in np.ndenumerate(values):
                colour = "white" if value < 0.6 else "black"
                ax.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=6, color=colour)
    figure.colorbar(image, ax=axes, shrink=0.8, label="share of its range that an attribute moves")
    return figure

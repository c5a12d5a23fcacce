"""Figures of losses over training."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mmjax.report.canvas import blank_figure, legend_entries
from mmjax.report.text import figure_text, legend_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Curve = tuple[Sequence[int], Sequence[float]]


def curves_figure(
    curves: Mapping[int, Curve],
    oracle: Mapping[int, float],
    *,
    title: str,
    stage_end: int = 0,
) -> "Figure":
    """Loss against step, a line a seed, with the oracle's loss as dashed lines of the same colour.

    Args:
      curves: seed -> (steps, losses).
      oracle: seed -> loss of the true latents.
      title: above the axes.
      stage_end: step at which the pre-stage ended; 0 draws nothing.
    """
    reading = "A seed has learned all there is where its line meets the dashed one of its colour"
    if not oracle:
        reading = "Lower is better; a flat line has nothing more to learn"
    figure = blank_figure(5.6, 3.2, reading=f"{reading}.")
    ax, told = figure.subplots(), False
    for number, (seed, (steps, losses)) in enumerate(sorted(curves.items())):
        ax.plot(steps, losses, color=f"C{number}", lw=1.2, label=f"seed {seed}")
        if seed in oracle:
            label = None if told else "oracle (true latents)"
            told = True
            ax.axhline(oracle[seed], color=f"C{number}", ls="--", lw=0.9, label=label)
    levels = [*oracle.values(), *(v for _, losses in curves.values() for v in losses)]
    if levels:
        # The first chunk's loss says nothing and would flatten the rest.
        ax.set_ylim(min(levels) - 0.1, min(max(levels), min(levels) + 2.5))
    if stage_end:
        ax.axvline(stage_end, color="0.6", lw=0.8)
        ax.annotate(
            "pre-stage ends",
            (stage_end, ax.get_ylim()[1]),
            fontsize=7,
            color="0.4",
            xytext=(3, -9),
            textcoords="offset points",
        )
    ax.set(xlabel="step", ylabel="loss (nats)", title=figure_text(title))
    ax.legend(fontsize=7, frameon=False)
    return figure


def loss_panels_figure(
    panels: Mapping[str, Mapping[str, Curve]],
    *,
    levels: Mapping[str, float] | None = None,
    columns: int = 3,
) -> "Figure":
    """Loss against step, a panel a training, a line a seed.

    Args:
      panels: title -> name of a line -> (steps, losses).
      levels: title -> height of a dashed line: the oracle's loss.
      columns: of panels.
    """
    columns = min(columns, len(panels))
    reading = "Lower is better; losses of different rows of the table can't be compared"
    if levels:
        reading = "All is learned where a line meets the dashed one, the loss of the true latents"
    rows = -(-len(panels) // columns)
    figure = blank_figure(3.2 * columns + 0.4, 2.5 * rows + 0.5, reading=f"{reading}.")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    colours: dict[str, str] = {}
    for ax, (title, lines) in zip(axes, panels.items(), strict=False):
        for name, (steps, losses) in lines.items():
            colour = colours.setdefault(name, f"C{len(colours)}")
            ax.plot(steps, losses, color=colour, lw=1.2, label=legend_text(name))
        if levels and title in levels:
            ax.axhline(levels[title], color="0.3", ls="--", lw=1, label="oracle")
        ax.set_title(figure_text(title), fontsize=9)
        ax.tick_params(labelsize=7)
        ax.set_xlabel("step", fontsize=8)
        ax.set_ylabel("loss", fontsize=8)
    for ax in axes[len(panels) :]:
        ax.axis("off")
    handles, names = legend_entries(axes[: len(panels)])
    options: dict[str, Any] = dict(
        fontsize=7, frameon=False, ncols=min(6, len(names)), loc="outside lower center"
    )
    figure.legend(handles, names, **options)
    return figure

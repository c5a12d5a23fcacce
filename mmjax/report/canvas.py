"""Where figures are drawn. matplotlib is imported by the first one: a run's --help needs none."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def blank_figure(width: float, height: float, *, reading: str = "") -> "Figure":
    """An empty figure of that many inches, without a display, laid out by what is put on it.

    Args:
      width, height: inches.
      reading: a sentence on how to read it. It travels as the figure's label, which matplotlib
        doesn't draw, into the files that save_figure writes.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    figure.set_label(reading)
    return figure


def legend_entries(axes: "Iterable[Axes]") -> tuple[list[Any], list[str]]:
    """Handles and names of a legend for several panels: each name once, as they come."""
    known: dict[str, Any] = {}
    for ax in axes:
        for handle, name in zip(*ax.get_legend_handles_labels(), strict=True):
            known.setdefault(name, handle)
    return list(known.values()), list(known)

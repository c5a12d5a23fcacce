"""Where figures are drawn. matplotlib is imported by the first one: a run's --help needs none."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
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

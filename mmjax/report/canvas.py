"""Where figures are drawn. matplotlib is imported by the first one: a run's --help needs none."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def blank_figure(width: float, height: float) -> "Figure":
    """An empty figure of that many inches, without a display, laid out by what is put on it."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")

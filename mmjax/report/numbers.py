"""What a figure shows, as numbers and in words: read off what has been drawn."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Number(NamedTuple):
    """A point of a figure.

    Attributes:
      panel: title of its axes.
      kind: line, bar, band, level, cell or picture.
      name: of the line or bar, as in the legend; of a cell its row.
      x, y: where it is; x is a name where the axis has names.
      low, high: ends of its error bar, empty without one.
    """

    panel: str
    kind: str
    name: str
    x: float | str
    y: float | str
    low: float | str = ""
    high: float | str = ""


def _plain(text: str) -> str:
    """A text of matplotlib as people wrote it, see report.text."""
    return text.replace(r"\$", "$").lstrip("\u200b").replace("\n", " ")


def _named(label: object) -> str:
    return "" if str(label).startswith("_") else _plain(str(label))


def _ticks(axis: Any) -> dict[float, str]:
    """Names that stand in place of an axis's numbers; none where it has numbers."""
    from matplotlib.ticker import FixedFormatter, FixedLocator, FuncFormatter

    locator, formatter = axis.get_major_locator(), axis.get_major_formatter()
    named = isinstance(formatter, FixedFormatter | FuncFormatter)
    if not named or not isinstance(locator, FixedLocator):
        return {}
    places = [float(x) for x in locator()]
    return dict(zip(places, map(_plain, formatter.format_ticks(places)), strict=True))


def _at(x: Any, names: dict[float, str]) -> float | str:
    near = min(names, key=lambda k: abs(k - float(x)), default=None)
    return names[near] if near is not None and abs(near - float(x)) < 0.5 else float(x)


def _bars(ax: "Axes", panel: str) -> Iterator[Number]:
    from matplotlib.container import BarContainer

    for container in ax.containers:
        if not isinstance(container, BarContainer):
            continue
        flat = int(container.orientation == "horizontal")
        names = _ticks(ax.yaxis if flat else ax.xaxis)
        ends = container.errorbar.lines[2][0].get_segments() if container.errorbar else []
        for k, bar in enumerate(container.patches):
            place = (
                bar.get_y() + bar.get_height() / 2 if flat else bar.get_x() + bar.get_width() / 2
            )
            value = bar.get_width() if flat else bar.get_height()
            # A bar of NaN has no ends.
            known = k < len(ends) and len(ends[k])
            low, high = sorted(ends[k][:, 0 if flat else 1]) if known else ("", "")
            name = _named(container.get_label())
            yield Number(panel, "bar", name, _at(place, names), value, low, high)


def _lines(ax: "Axes", panel: str) -> Iterator[Number]:
    from matplotlib.container import BarContainer, ErrorbarContainer

    bars = [c.errorbar for c in ax.containers if isinstance(c, BarContainer) and c.errorbar]
    inside, seen = {id(b) for b in bars}, set()
    for container in ax.containers:
        if isinstance(container, ErrorbarContainer):
            seen |= {id(line) for line in (container.lines[0], *container.lines[1])}
            if id(container) in inside or container.lines[0] is None:
                continue
            ends = container.lines[2][0].get_segments()
            line, name = container.lines[0], _named(container.get_label())
            for k, (x, y) in enumerate(np.asarray(line.get_xydata(), float)):
                # A bar of NaN has no ends.
                bar = sorted(ends[k][:, 1]) if len(ends[k]) else (np.nan, np.nan)
                yield Number(panel, "line", name, x, y, *bar)
    names = _ticks(ax.xaxis)
    for line in ax.lines:
        data = np.asarray(line.get_xydata(), float)
        level = len(data) == 2 and (np.ptp(data[:, 0]) == 1 or np.ptp(data[:, 1]) == 1)
        if id(line) in seen or not len(data):
            continue
        if level and line.get_transform() != ax.transData:  # of axhline and axvline
            flat = np.ptp(data[:, 1]) == 0
            x, y = ("", data[0, 1]) if flat else (data[0, 0], "")
            yield Number(panel, "level", _named(line.get_label()), x, y)
            continue
        for x, y in data:
            yield Number(panel, "line", _named(line.get_label()), _at(x, names), y)


def _areas(ax: "Axes", panel: str) -> Iterator[Number]:
    from matplotlib.collections import LineCollection, PolyCollection

    inside = {id(bar) for c in ax.containers for bar in _bars_of(c)}
    for area in ax.collections:
        if id(area) in inside:
            continue
        if isinstance(area, PolyCollection) and area.get_paths():
            points = np.asarray(area.get_paths()[0].vertices)
            for x in np.unique(points[:, 0]):
                heights = points[points[:, 0] == x, 1]
                yield Number(
                    panel, "band", _named(area.get_label()), x, "", heights.min(), heights.max()
                )
        elif isinstance(area, LineCollection):
            names = _ticks(ax.xaxis)
            for segment in area.get_segments():
                (x, y), (z, _) = segment[0], segment[-1]
                yield Number(panel, "level", _named(area.get_label()), _at((x + z) / 2, names), y)


def _bars_of(container: Any) -> list[Any]:
    bar = getattr(container, "errorbar", None) or container
    lines = getattr(bar, "lines", None)
    return list(lines[2]) if lines else []


def _cells(ax: "Axes", panel: str) -> Iterator[Number]:
    columns, rows = _ticks(ax.xaxis), _ticks(ax.yaxis)
    for image in ax.images:
        values = np.asarray(image.get_array())
        if values.ndim != 2:
            yield Number(panel, "picture", "", values.shape[1], values.shape[0])
            continue
        for (i, j), value in np.ndenumerate(values):
            yield Number(panel, "cell", str(_at(i, rows)), _at(j, columns), value)


def numbers_of(figure: "Figure") -> list[Number]:
    """All that is drawn, panel by panel; of photographs their width and height."""
    results: list[Number] = []
    for ax in figure.axes:
        if ax.get_label() == "<colorbar>":
            continue
        panel = _plain(ax.get_title() or ax.get_title(loc="left") or ax.get_xlabel())
        for look in (_bars, _lines, _areas, _cells):
            results += look(ax, panel)
    return results


def alternative(figure: "Figure") -> str:
    """What stands for the figure where it isn't seen: what is drawn, over what, by which names."""
    kinds: dict[str, None] = {}
    names: dict[str, None] = {}
    panels: dict[str, None] = {}
    for number in numbers_of(figure):
        kinds[{"cell": "heat map", "picture": "pictures"}.get(number.kind, number.kind)] = None
        panels[number.panel] = None
        if number.kind in ("line", "bar", "band"):
            names[number.name] = None
    axes = [ax for ax in figure.axes if ax.get_label() != "<colorbar>"]
    labels = dict.fromkeys(
        f"{side} axis {_plain(text)}"
        for ax in axes
        for side, text in (("horizontal", ax.get_xlabel()), ("vertical", ax.get_ylabel()))
        if text
    )
    heading = getattr(figure, "_suptitle", None)
    remarks = [_plain(heading.get_text())] if heading else []
    remarks.append(", ".join(kinds) or "text")
    listed = lambda what, result: (
        f"{what} "
        + "; ".join(result[:8])
        + (f"; and {len(result) - 8} more" if len(result) > 8 else "")
    )
    if shown := [p for p in panels if p]:
        remarks.append(listed("panels", shown))
    if shown := [n for n in names if n]:
        remarks.append(listed("of", shown))
    return ". ".join([*remarks, *labels]) + "."

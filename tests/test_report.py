"""Names from users and files are shown as they are written, in every figure and table."""

import warnings

import numpy as np
import pytest
from matplotlib.text import Text

from mmjax import report

NAMES = ("price_$_a", "$_$", "$x^2$", r"\alpha $", "_hidden", "50%", "{a}", r"a\$b$c$", "a|b")
NAMES += ("a\nb", "a\x00b", "a\udc80")


def test_an_interval_need_not_hold_its_mean():
    """As a bootstrap of one resample does not."""
    aside = report.Difference(0.3, 0.0, 0.2, "paired")
    options = dict(columns=1, xlabel="shots", ylabel="gain")
    figure = report.gain_panels_figure({"a": {"b": {1.0: aside}}}, **options)
    for made in (figure, report.intervals_figure({"a": [("b", aside)]}, xlabel="gain")):
        ends = [c.get_segments()[0] for c in made.axes[0].collections]
        along = 1 if made is figure else 0
        np.testing.assert_allclose(np.sort(ends[0][:, along]), [0.0, 0.2], atol=1e-12)


def _figures(name):
    """What draws each kind of figure, with the name wherever a name can stand."""
    points = {name: {1.0: [0.5, 0.6], 2.0: [0.7, 0.8]}}
    image = np.zeros((2, 3, 3, 3), np.uint8)
    text = dict(xlabel=name, ylabel=name)
    return {
        "curves": lambda: report.curves_figure({0: ([1, 2], [2.0, 1.0])}, {0: 1.0}, title=name),
        "losses": lambda: report.loss_panels_figure({name: {name: ([1, 2], [2.0, 1.0])}}),
        "intervals": lambda: report.intervals_figure(
            {name: [(name, report.Difference(0.1, 0.0, 0.2, "paired"))]}, xlabel=name
        ),
        "gains": lambda: report.gain_panels_figure(
            {name: {name: {1.0: report.Difference(0.1, 0.0, 0.2, "paired")}}},
            columns=1,
            xlabel=name,
            ylabel=name,
        ),
        "traversal": lambda: report.traversal_figure({name: {name: image}}),
        "heat": lambda: report.heat_map_figure({name: np.eye(2)}, title=name),
        "scatter": lambda: report.scatter_figure(np.eye(3), np.eye(3), title=name, ylabel=name),
        "lines": lambda: report.lines_figure(points, title=name, **text, levels={name: 0.2}),
        "panels": lambda: report.line_panels_figure({name: points}, **text),
        "bars": lambda: report.bars_figure({name: [0.5]}, title=name, level=0.9),
        "groups": lambda: report.grouped_bars_figure(
            {name: {name: [0.5]}}, levels={name: 0.1}, ylabel=name
        ),
        "spectrum": lambda: report.spectrum_figure({name: {name: [np.ones(3)]}}, ylabel=name),
        "examples": lambda: report.examples_figure(image, np.array([[0, 1]]), [name]),
        "response": lambda: report.response_figure({name: np.eye(1)}, [name], [name]),
        "captions": lambda: report.caption_grid_figure(image, [name, name], columns=2),
        "sheet": lambda: report.sheet_figure({name: image, "other": image}),
        "neighbours": lambda: report.neighbours_figure(
            image, [name, name], np.eye(2), queries=2, nearest=1
        ),
    }


def _shown(figure):
    """What is drawn: matplotlib takes the backslash before a `$` away."""
    found = []
    for text in figure.findobj(Text):
        raw = text.get_text()
        if "mathdefault" in raw:  # of matplotlib's own ticks
            continue
        assert raw.count("$") == raw.count(r"\$"), f"{raw!r} would be taken for a formula"
        found.append(raw.replace(r"\$", "$").lstrip("\u200b"))
    return found


def test_every_figure_that_reports_draw_is_tried_here():
    drawn = {name for name in report.__all__ if name.endswith("_figure")} - {"save_figure"}
    assert len(drawn) == len(_figures("a"))


@pytest.mark.parametrize("kind", _figures("a"))
def test_figures_show_names_as_they_are(kind):
    name = "_$_a$\n|%{b}\\$\x00\udc80"
    figure = _figures(name)[kind]()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.draw_without_rendering()
    drawn = "".join("".join(_shown(figure)).split())
    assert r"_$_a$|%{b}\$\x00\udc80" in drawn


@pytest.mark.parametrize("name", NAMES)
def test_a_legend_shows_every_name(name):
    figure = report.lines_figure({name: {1.0: [0.5]}}, title="", xlabel="", ylabel="")
    legend = figure.axes[0].get_legend().get_texts()
    assert len(legend) == 1


def _cells(line):
    """A row's cells as GitHub reads them."""
    return [cell.strip().replace(r"\|", "|") for cell in line.replace(r"\|", "\0").split("|")[1:-1]]


@pytest.mark.parametrize("name", [*NAMES, "`a` ``", "*a*", "<b>", "[a](b)", "&lt;", " a ", "~~a~~"])
def test_a_table_shows_names_as_they_are(name):
    table = report.markdown_table([name, "b"], [[name, "0.5 ± 0.1"], ["plain", "-"]])
    lines = table.split("\n")
    assert len(lines) == 4 and len({len(line) for line in lines}) == 1  # one line a row, aligned
    for line in lines[::2]:
        cells = line.replace(r"\|", "\0").split("|")[1:-1]
        assert len(cells) == 2
        cell = cells[0].strip().replace("\0", "|")
        told = name.encode("unicode_escape").decode() if not name.isprintable() else name
        plain = cell.strip("`").strip() if cell.startswith("`") else cell
        assert plain.strip("` ") == told.strip("` ")
        markup = set(name) & set("$*\\<`~[&") or name.startswith("_")
        assert cell.startswith("`") == bool(markup or told != name or name != name.strip())


def test_plain_cells_stay_as_they_are():
    cells = ["0.998 ± 0.001", "r2_linear", "PCA 2 + whitening", "recall@1", "< 0.1", "x, joint: z"]
    assert [report.cell_text(cell) for cell in cells] == cells
    assert report.cell_text("|f|") == r"\|f\|" and report.cell_text(3) == "3"

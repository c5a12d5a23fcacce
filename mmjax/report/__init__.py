"""Tables beside the published numbers, and figures."""

from mmjax.report.beside import RULE, Expected, Judged, beside_table, judge
from mmjax.report.components import examples_figure, response_figure, spectrum_figure
from mmjax.report.curves import curves_figure, loss_panels_figure
from mmjax.report.figures import (
    bars_figure,
    grouped_bars_figure,
    heat_map_figure,
    line_panels_figure,
    lines_figure,
    scatter_figure,
)
from mmjax.report.files import Picture, read_picture, save_figure
from mmjax.report.intervals import Difference, difference, gain_panels_figure, intervals_figure
from mmjax.report.page import Page, Section, Table, render
from mmjax.report.scenes import (
    caption_grid_figure,
    neighbours_figure,
    sheet_figure,
    traversal_figure,
)
from mmjax.report.tables import markdown_table, mean_and_deviation
from mmjax.report.text import cell_text, code_span, figure_text, legend_text
from mmjax.rooms import make_callable

make_callable(__name__)  # mmjax.report(model, data)

__all__ = [
    "RULE",
    "Difference",
    "Expected",
    "Judged",
    "Page",
    "Picture",
    "Section",
    "Table",
    "bars_figure",
    "beside_table",
    "caption_grid_figure",
    "cell_text",
    "code_span",
    "curves_figure",
    "difference",
    "examples_figure",
    "figure_text",
    "gain_panels_figure",
    "grouped_bars_figure",
    "heat_map_figure",
    "intervals_figure",
    "judge",
    "legend_text",
    "line_panels_figure",
    "lines_figure",
    "loss_panels_figure",
    "markdown_table",
    "mean_and_deviation",
    "neighbours_figure",
    "read_picture",
    "render",
    "response_figure",
    "save_figure",
    "scatter_figure",
    "sheet_figure",
    "spectrum_figure",
    "traversal_figure",
]

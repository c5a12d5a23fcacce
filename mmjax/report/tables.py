"""Tables for people: markdown that also reads well as plain text."""

from collections.abc import Sequence

import numpy as np

from mmjax.report.text import cell_text


def mean_and_deviation(values: Sequence[float], *, digits: int = 4) -> str:
    """`0.9987 +- 0.0003`: mean and standard deviation (n - 1) over seeds; a dash for no values."""
    if len(values) == 0:
        return "-"
    mean = f"{np.mean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {np.std(values, ddof=1):.{digits}f}"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A markdown table whose columns are aligned in plain text too; cells show as they are."""
    header, *rows = ([cell_text(cell) for cell in row] for row in [header, *rows])
    widths = [max(len(row[k]) for row in [header, *rows]) for k in range(len(header))]
    line = lambda cells: (
        "| " + " | ".join(c.ljust(w) for c, w in zip(cells, widths, strict=True)) + " |"
    )
    rule = "|" + "|".join("-" * (w + 2) for w in widths) + "|"
    return "\n".join([line(header), rule, *(line(row) for row in rows)])

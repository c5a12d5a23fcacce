"""Names from users and files, shown as they are written, in figures and in markdown."""

import re

from mmjax.data.files.tables import printable

# What markdown would take for more than letters: code, emphasis, formulas, tags, links, entities.
_MARKUP = re.compile(r"[`*$\\]|~~|(?<!\w)_|_(?!\w)|</?[A-Za-z!]|\]\(|&#?\w+;|^\s|\s$")


def figure_text(text: object) -> str:
    """Text for matplotlib, which takes what stands between two `$` for a formula."""
    return "\n".join(printable(line).replace("$", r"\$") for line in str(text).split("\n"))


def legend_text(text: object) -> str:
    """figure_text for a legend, where matplotlib leaves out names that start with `_`."""
    shown = figure_text(text)
    return f"\u200b{shown}" if shown.startswith("_") else shown  # a space without width


def code_span(text: object) -> str:
    """Markdown code in one line: every sign stands for itself; newlines are shown as \\n."""
    shown = printable(str(text))
    ticks = "`" * (1 + max((len(run) for run in re.findall("`+", shown)), default=0))
    space = " " if shown[:1] in ("`", " ", "") or shown[-1:] in ("`", " ") else ""
    return f"{ticks}{space}{shown}{space}{ticks}"


def cell_text(text: object) -> str:
    """A cell of a markdown table: as it is, or as code where markdown would change it."""
    text = str(text)
    strange = _MARKUP.search(text) or printable(text) != text
    shown = code_span(text) if strange and text else text
    return shown.replace("|", r"\|")  # which tables take for a cell's end, in code too

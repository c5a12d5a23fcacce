"""Pages: one HTML file that holds all it shows and asks nothing of any network."""

import base64
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from mmjax.report.files import Picture

if TYPE_CHECKING:
    from jinja2 import Environment
    from markdown_it import MarkdownIt

MOST_BYTES = 2_800_000  # of a page
_NUMBER = r"[-+\u2212]?[\d.,]+([eE][-+]?\d+)?%?( ± [\d.,]+)?"
_NUMERIC = re.compile(rf"{_NUMBER}( \({_NUMBER}\)| (to|/) {_NUMBER})?|[-\u2013]|")


class Table(NamedTuple):
    """A table of a page: plain cells, which a spreadsheet takes as they are.

    Attributes:
      header: names of the columns.
      rows: cells.
      title: above it.
      marked: numbers of the rows that surprise.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""
    marked: frozenset[int] = frozenset()


class Section(NamedTuple):
    """A part of a page; what is empty isn't there.

    Attributes:
      title: above it, and in the page's contents.
      text: markdown, tables among it; HTML in it is shown as it is written, links are text.
      tables: see Table.
      pictures: see Picture.
      items: sentences, a line each.
      code: commands.
      folded: tables that are opened by a click; title -> table.
    """

    title: str
    text: str = ""
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    items: Sequence[str] = ()
    code: str = ""
    folded: Mapping[str, Table] = {}


class Page(NamedTuple):
    """A report.

    Attributes:
      title: of the window: the run's name.
      question: what was asked; the heading.
      facts: name -> value, in a line below it.
      findings: what to know first.
      surprising: whether findings tell of something that surprises.
      sections: in order.
    """

    title: str
    question: str
    facts: Mapping[str, str]
    findings: Sequence[str]
    surprising: bool
    sections: Sequence[Section]


def numeric_columns(rows: Sequence[Sequence[str]]) -> frozenset[int]:
    """Columns that hold numbers alone, with or without error bars: these stand to the right."""
    columns = enumerate(zip(*rows, strict=True))
    numbers = lambda cells: any(cells) and all(_NUMERIC.fullmatch(cell.strip()) for cell in cells)
    return frozenset(k for k, cells in columns if numbers(cells))


def _markdown() -> "MarkdownIt":
    from markdown_it import MarkdownIt

    result = MarkdownIt("commonmark", {"html": False}).enable("table")
    # What others wrote is no link and no picture: a page loads nothing.
    return result.disable(["link", "image", "autolink", "html_block", "html_inline"])


def _align(tokens: Sequence[Any]) -> None:
    """Cells of numeric columns, their headers among them, get the class of numbers."""
    lines: list[list[int]] = []
    for place, token in enumerate(tokens):
        if token.type == "table_open":
            lines = []
        elif token.type == "tr_open":
            lines.append([])
        elif token.type in ("td_open", "th_open"):
            lines[-1].append(place)
        elif token.type == "table_close":
            for k in numeric_columns([[tokens[at + 1].content for at in l] for l in lines[1:]]):
                for line in lines:
                    tokens[line[k]].attrSet("class", "n")


def _html(text: str) -> str:
    """Markdown as HTML: the first heading of a page is the page's own, others go down a level."""
    parser = _markdown()
    tokens = parser.parse(text)
    if tokens and tokens[0].type == "heading_open" and tokens[0].tag == "h1":
        tokens = tokens[3:]
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, int(token.tag[1]) + 1)}"
    _align(tokens)
    shown = str(parser.renderer.render(tokens, parser.options, {}))
    wrapped = '<div class="wide" role="region" aria-label="table" tabindex="0"><table>'
    return shown.replace("<table>", wrapped).replace("</table>", "</table></div>")


def _inline(picture: Picture) -> str:
    return "data:image/png;base64," + base64.b64encode(picture.png).decode("ascii")


def _fitting(sections: Sequence[Section], budget: int) -> list[Section]:
    """The sections with as many pictures inside as the budget has room for, the first ones."""
    fitted = []
    for section in sections:
        pictures = []
        for picture in section.pictures:
            budget -= len(picture.png) * 4 // 3
            pictures.append(picture if budget >= 0 else picture._replace(png=b""))
        fitted.append(section._replace(pictures=pictures))
    return fitted


def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    result = Environment(
        loader=PackageLoader("mmjax.report"),
        autoescape=True,  # names are of files and users
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    result.filters["inline"] = _inline
    result.filters["numeric_columns"] = numeric_columns
    return result


def render(page: Page) -> str:
    """The page as HTML: one file, dark and light, for screens from 390 pixels on and for paper.

    Pictures beyond MOST_BYTES are named, not shown.
    """
    from markupsafe import Markup

    sections = [s for s in page.sections if any(s[1:])]
    environment = _environment()
    environment.filters["markdown"] = lambda text: Markup(_html(text))
    template = environment.get_template("report.html")
    show = lambda shown: template.render(page=page._replace(sections=shown))
    bare = [s._replace(pictures=[p._replace(png=b"") for p in s.pictures]) for s in sections]
    return show(_fitting(sections, MOST_BYTES - len(show(bare).encode())))

"""A figure's files: PNG, PDF, and its numbers as CSV; the PNG says what it shows."""

import csv
import io
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from mmjax.report.numbers import Number, alternative, numbers_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOURS = 96  # of an inlined figure: enough for lines and heat maps, a third of the bytes
_WIDE = 1400  # pixels of an inlined figure, at most


class Picture(NamedTuple):
    """A figure of a page.

    Attributes:
      title: in a few words.
      alt: what stands for it where it isn't seen.
      reading: a sentence on how to read it.
      png: the file's bytes; empty where only a name fits on the page.
      files: kind of file (`PDF`) -> path beside the page.
      size: width and height in pixels.
    """

    title: str
    alt: str
    reading: str
    png: bytes = b""
    files: Mapping[str, str] = {}
    size: tuple[int, int] = (0, 0)


def save_figure(figure: "Figure", path: str) -> None:
    """Writes a PNG; beside it a PDF and, as CSV, the numbers that are drawn (see Number).

    The PNG's texts `Title` and `Description` are its alternative and how to read it.
    """
    alt, stem = alternative(figure), os.path.splitext(path)[0]
    about = {"Title": alt, "Description": figure.get_label() or ""}
    figure.savefig(path, dpi=110, bbox_inches="tight", metadata=about)
    undated = {"Title": alt, "CreationDate": None}  # the same figure is the same file
    figure.savefig(f"{stem}.pdf", bbox_inches="tight", metadata=undated)
    with open(f"{stem}.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Number._fields)
        for number in numbers_of(figure):
            writer.writerow([f"{v:.7g}" if isinstance(v, float) else v for v in number])


def read_picture(path: str, beside: str) -> Picture:
    """The figure of a PNG file as a page shows it, made small.

    Args:
      path: of the file.
      beside: the page's folder.
    """
    from PIL import Image

    stem = os.path.splitext(path)[0]
    name = os.path.basename(stem)
    files = {
        ending.upper(): os.path.relpath(f"{stem}.{ending}", beside).replace(os.sep, "/")
        for ending in ("png", "pdf", "csv")
        if os.path.exists(f"{stem}.{ending}")
    }
    with Image.open(path) as image:
        alt, reading = (str(image.info.get(k, "")) for k in ("Title", "Description"))
        drawn = image.convert("RGB")
    if drawn.width > _WIDE:
        drawn = drawn.resize((_WIDE, round(drawn.height * _WIDE / drawn.width)))
    out = io.BytesIO()
    # The fast way: a run may have a hundred figures.
    drawn.quantize(_COLOURS, method=Image.Quantize.FASTOCTREE).save(out, "PNG")
    title = name[:1].upper() + name[1:].replace("_", " ")
    return Picture(title, alt or f"Figure {title}.", reading, out.getvalue(), files, drawn.size)

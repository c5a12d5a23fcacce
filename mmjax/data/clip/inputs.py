"""Which images and texts to embed: a folder of images, a list of images and captions, or texts."""

import os
from typing import NamedTuple

from mmjax.data.files.pictures import ENDINGS, find_pictures, left_out
from mmjax.data.files.tables import read_columns, read_lines
from mmjax.errors import InvalidInput, require

# Ours; those of open_clip's lists; those of Hugging Face's image folders.
COLUMNS = {
    "image": ("image", "filepath", "image_path", "file_name", "filename"),
    "text": ("text", "title", "caption"),
}


class ClipInputs(NamedTuple):
    """Rows to embed, n of each that is there.

    Attributes:
      names: of the rows: files as the folder or the list has them, or the texts.
      paths: of the images, or None.
      texts: n texts, or None.
      labels: of images that lie in one folder a class: the folders' names, or None.
      others: names of what lies in the folder and is left out, being no picture or hidden.
    """

    names: list[str]
    paths: list[str] | None
    texts: list[str] | None
    labels: list[str] | None
    others: tuple[str, ...] = ()


def read_inputs(images: str, texts: str) -> ClipInputs:
    """The rows of one of the two; no image is opened.

    Args:
      images: a folder, searched with its subfolders for pictures (see find_pictures), in order of
        their names; or a list: a table with a header (see COLUMNS; text may be missing), or without
        one, and then no .csv, `path` or `path<TAB>caption` a line. Blank lines are no rows. Paths
        in a list start at the list's folder.
      texts: a file with a text a line; only behind the last one may lines be blank, for a row's
        number is its line's.

    Raises InvalidInput, naming file and line, where both or none are given, a file is missing or no
    text, a field is empty, or there is nothing to embed.
    """
    if bool(images) == bool(texts):
        raise InvalidInput(
            f"--images: {images!r}, --texts: {texts!r}; use one of them (a list holds both)"
        )
    if texts:
        require(os.path.isfile(texts), "--texts", texts, "the path of an existing text file")
        lines = read_lines(texts)
        for k, line in enumerate(lines):
            if not line.strip():
                raise InvalidInput(f"{texts}: line {k + 1} is empty; use a text")
        return ClipInputs(lines, None, lines, None)
    if os.path.isdir(images):
        return _folder(images)
    require(os.path.isfile(images), "--images", images, "an existing folder, or a list of images")
    return _list(images)


def _folder(root: str) -> ClipInputs:
    names, others = find_pictures(root)
    if not names:
        skipped = left_out(root, others, "no picture")
        raise InvalidInput(
            f"--images: no image in {root!r}; use files that end in {', '.join(ENDINGS)}"
            + (f"; {skipped}" if skipped else "")
        )
    classes = [name.split("/")[0] if "/" in name else "" for name in names]
    labelled = "" not in classes and len(set(classes)) > 1
    paths = [os.path.join(root, name) for name in names]
    return ClipInputs(names, paths, None, classes if labelled else None, tuple(others))


def _list(path: str) -> ClipInputs:
    rows = _table(path) if _has_header(path) else _plain_list(path)
    width = len(rows[0][1])
    for line, row in rows:
        if len(row) != width or width > 2 or not all(field.strip() for field in row):
            message = "path<TAB>caption (or a path alone) in every line, none of them empty"
            raise InvalidInput(f"{path}: line {line} is {' | '.join(row)[:80]!r}; use {message}")
    names = [row[0] for _, row in rows]
    paths = [os.path.join(os.path.dirname(path), name) for name in names]
    for (line, _), file in zip(rows, paths, strict=True):
        if not os.path.isfile(file):
            raise InvalidInput(f"{path}: line {line}: no file {file!r}")
    return ClipInputs(names, paths, [row[1] for _, row in rows] if width == 2 else None, None)


_Rows = list[tuple[int, tuple[str, ...]]]  # the line in the file, and its fields


def _has_header(path: str) -> bool:
    """A .csv has one; another list where its first line names columns, and no file."""
    if path.lower().endswith(".csv"):
        return True
    first = next(line for line in read_lines(path) if line.strip())
    names = [name.strip().strip('"').lower() for name in first.split("\t")]
    file = os.path.join(os.path.dirname(path), first.split("\t")[0])
    return any(name in COLUMNS["image"] for name in names) and not os.path.isfile(file)


def _plain_list(path: str) -> _Rows:
    """Fields between tabs, quotes as they stand."""
    lines = enumerate(read_lines(path), 1)
    return [(k, tuple(line.split("\t"))) for k, line in lines if line.strip()]


def _table(path: str) -> _Rows:
    lines, values = read_columns(path, COLUMNS, optional=("text",))
    return list(zip(lines, zip(*values.values(), strict=True), strict=True))

"""Which images and texts to embed: a folder of images, a list of images and captions, or texts."""

import csv
import os
from typing import NamedTuple

from mmjax.errors import InvalidInput, require

ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".ppm")


class ClipInputs(NamedTuple):
    """Rows to embed, n of each that is there.

    Attributes:
      names: of the rows: files as the folder or the list has them, or the texts.
      paths: of the images, or None.
      texts: n texts, or None.
      labels: of images that lie in one folder a class: the folders' names, or None.
    """

    names: list[str]
    paths: list[str] | None
    texts: list[str] | None
    labels: list[str] | None


def read_inputs(images: str, texts: str) -> ClipInputs:
    """The rows of one of the two; no image is opened.

    Args:
      images: a folder, searched with its subfolders for images, in order of their names, files and
        folders that start with a dot left out; or a list: a .csv file with the columns `image` and
        perhaps `text`, or a text file of `path` or `path<TAB>caption` a line. Paths in a list start
        at the list's folder.
      texts: a file with a text a line.

    Raises InvalidInput, naming file and line, where both or none are given, a file is missing or no
    UTF-8 text, a line is empty, or there is nothing to embed.
    """
    if bool(images) == bool(texts):
        raise InvalidInput(
            f"--images: {images!r}, --texts: {texts!r}; use one of them (a list holds both)"
        )
    if texts:
        require(os.path.isfile(texts), "--texts", texts, "the path of an existing text file")
        lines = _lines(texts)
        for k, line in enumerate(lines):
            if not line.strip():
                raise InvalidInput(f"{texts}: line {k + 1} is empty; use a text")
        return ClipInputs(lines, None, lines, None)
    if os.path.isdir(images):
        return _folder(images)
    require(os.path.isfile(images), "--images", images, "an existing folder, or a list of images")
    return _list(images)


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8-sig") as file:
            lines = file.read().removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path}: no UTF-8 text ({error.reason})") from error
    if lines == [""]:
        raise InvalidInput(f"{path}: no lines; use one or more")
    return lines


def _folder(root: str) -> ClipInputs:
    names = []
    for folder, inside, files in os.walk(root):
        inside[:] = [name for name in inside if not name.startswith(".")]
        found = [f for f in files if f.lower().endswith(ENDINGS) and not f.startswith(".")]
        names += [
            os.path.relpath(os.path.join(folder, f), root).replace(os.sep, "/") for f in found
        ]
    if not names:
        raise InvalidInput(
            f"--images: no image in {root!r}; use files that end in {', '.join(ENDINGS)}"
        )
    names.sort()
    classes = [name.split("/")[0] if "/" in name else "" for name in names]
    labelled = "" not in classes and len(set(classes)) > 1
    paths = [os.path.join(root, name) for name in names]
    return ClipInputs(names, paths, None, classes if labelled else None)


def _list(path: str) -> ClipInputs:
    table = path.lower().endswith(".csv")
    rows = _table(path) if table else [tuple(line.split("\t")) for line in _lines(path)]
    first = 2 if table else 1
    width = len(rows[0])
    for k, row in enumerate(rows):
        if len(row) != width or width > 2 or not all(field.strip() for field in row):
            told = "path<TAB>caption (or a path alone) in every line, none of them empty"
            raise InvalidInput(f"{path}: line {k + first} is {' | '.join(row)[:80]!r}; use {told}")
    names = [row[0] for row in rows]
    paths = [os.path.join(os.path.dirname(path), name) for name in names]
    for k, file in enumerate(paths):
        if not os.path.isfile(file):
            raise InvalidInput(f"{path}: line {k + first}: no file {file!r}")
    return ClipInputs(names, paths, [row[1] for row in rows] if width == 2 else None, None)


def _table(path: str) -> list[tuple[str, ...]]:
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            header, *rows = list(csv.reader(file)) or [[]]
    except (csv.Error, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path}: no CSV file ({error})") from error
    if "image" not in header:
        raise InvalidInput(f"{path}: no column image; it has {', '.join(header) or 'none'}")
    columns = [header.index(name) for name in ("image", "text") if name in header]
    if not rows:
        raise InvalidInput(f"{path}: no rows below the header")
    for k, row in enumerate(rows):
        if len(row) != len(header):
            raise InvalidInput(
                f"{path}: line {k + 2} has {len(row)} values; use {len(header)}, as in the header"
            )
    return [tuple(row[c] for c in columns) for row in rows]

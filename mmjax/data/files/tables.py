"""Text files and tables, as editors and spreadsheets of all systems write them: one way in.

UTF-8 with or without a mark at its start, UTF-16 and UTF-32 with one; lines that end as on Unix,
Windows or old Macs; commas, tabs or semicolons between columns; quoted cells that hold newlines;
blank lines, which are no rows.
"""

import codecs
import csv
import io
import json
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mmjax.errors import InvalidInput

# The mark of UTF-32 starts with that of UTF-16.
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_DELIMITERS = ("\t", ",", ";")  # the first that stands in a header separates its columns


class Columns(NamedTuple):
    """Some columns of a table.

    Attributes:
      lines: `[rows]` numbers of the lines on which the rows start, from 1, for messages.
      values: column -> its `[rows]` cells.
    """

    lines: list[int]
    values: dict[str, list[str]]


def read_text(path: str) -> str:
    """A file's text; its lines end in newlines, whatever ended them there.

    Raises InvalidInput where it is no text.
    """
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        raise InvalidInput(f"{path}: can't be read ({error.strerror})") from error
    return decode_text(content, path)


def decode_text(content: bytes, path: str) -> str:
    """What read_text gives for a file of this content; path is for messages."""
    try:
        kind = next((kind for mark, kind in _MARKS.items() if content.startswith(mark)), "utf-8")
        text = content.decode(kind)
        if kind.startswith("utf-16") and any(map(_strange, set(text))):
            raise UnicodeDecodeError(kind, content, 0, 2, "nor UTF-16, of which it has the mark")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path}: no UTF-8 text ({error.reason})") from error
    if "\0" in text:
        raise InvalidInput(f"{path}: no UTF-8 text (it holds zero bytes); save it as UTF-8")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _strange(letter: str) -> bool:
    """Whether no text has it within, as other bytes taken for UTF-16 soon do: marks, no letters."""
    return letter == "\ufeff" or ord(letter) < 0x10000 and unicodedata.category(letter) == "Cn"


def read_json(path: str) -> Any:
    """What a JSON file holds.

    Raises InvalidInput where it is none.
    """
    try:
        return json.loads(read_text(path))
    except InvalidInput as error:
        message = str(error).removeprefix(f"{path}: ")
    except (ValueError, RecursionError) as error:
        message = str(error).splitlines()[0]
    raise InvalidInput(f"{path}: no JSON file ({message})")


def read_lines(path: str) -> list[str]:
    """The lines up to the last that is not blank, those within included.

    Raises InvalidInput for whatever read_text does, and for a file without such a line.
    """
    lines = read_text(path).split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise InvalidInput(f"{path}: no lines; use one or more")
    return lines


def read_columns(
    path: str, names: Mapping[str, Sequence[str]], *, optional: Sequence[str] = ()
) -> Columns:
    """The named columns of a table with a header; others are left alone.

    Args:
      path: of the table.
      names: column -> how a header may call it, in upper or lower case; the first that is there.
      optional: columns that may be missing; they are then not in the values.

    Raises InvalidInput, naming the line, for a header without a column or with one twice, a row
    with more or fewer cells, a quote that is not closed, and a table without rows.
    """
    header, rows = _table(path)
    at = {name: _place(path, header, known) for name, known in names.items()}
    missing = [n for n, place in at.items() if place is None and n not in optional]
    if missing:
        raise InvalidInput(
            f"{path}: no column {', '.join(missing)}; it has {', '.join(header) or 'none'}"
        )
    _check_rows(path, header, rows)
    places = {name: place for name, place in at.items() if place is not None}
    values = {name: [cells[place] for _, cells in rows] for name, place in places.items()}
    return Columns([line for line, _ in rows], values)


def read_table(path: str) -> Columns:
    """All columns of a table with a header, by the names that it gives them.

    Raises InvalidInput for whatever read_columns does, and for a column without a name.
    """
    header, rows = _table(path)
    _check_rows(path, header, rows)
    if not all(header):
        raise InvalidInput(f"{path}: column {header.index('') + 1} of the header has no name")
    for name in header:
        _place(path, header, [name])
    values = {name: [cells[k] for _, cells in rows] for k, name in enumerate(header)}
    return Columns([line for line, _ in rows], values)


def _table(path: str) -> tuple[list[str], list[tuple[int, list[str]]]]:
    (_, header), *rows = _rows(path) or [(1, [])]
    return [name.strip() for name in header], rows


def _check_rows(path: str, header: list[str], rows: list[tuple[int, list[str]]]) -> None:
    if not rows:
        raise InvalidInput(f"{path}: no rows below the header")
    for line, cells in rows:
        if len(cells) != len(header):
            raise InvalidInput(
                f"{path}: line {line} has {len(cells)} values; use {len(header)}, as in the header"
            )


def _place(path: str, header: Sequence[str], known: Sequence[str]) -> int | None:
    lower = [name.lower() for name in header]
    name = next((name for name in known if name.lower() in lower), None)
    if name is not None and lower.count(name.lower()) > 1:
        raise InvalidInput(f"{path}: a column stands twice in the header: {', '.join(header)}")
    return None if name is None else lower.index(name.lower())


def _rows(path: str) -> list[tuple[int, list[str]]]:
    """(line, cells) of every row that is not blank, the header first."""
    text = read_text(path)
    header = text.lstrip("\n").split("\n")[0]
    delimiter = next((d for d in _DELIMITERS if d in header), ",")
    reader, results, line = csv.reader(io.StringIO(text), delimiter=delimiter, strict=True), [], 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                results.append((line, cells))
            line = reader.line_num + 1
    except csv.Error as error:
        raise InvalidInput(f"{path}: no CSV file (line {line}: {error})") from error
    return results


def printable(name: str) -> str:
    """A name in one line that any terminal and UTF-8 file takes: a newline becomes \\n."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)
    return shown.encode("utf-8", "backslashreplace").decode("utf-8")

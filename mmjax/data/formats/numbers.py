"""Cells of text files as numbers, and those that were meant as numbers and are none."""

import re
from collections.abc import Sequence
from typing import Any

_WHOLE = re.compile(r"[-+]?(0|[1-9]\d*)", re.ASCII)
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)
_NO_NUMBER = re.compile(r"[-+]?(nan|inf|infinity)", re.ASCII | re.IGNORECASE)
_CODE = re.compile(r"[-+]?0\d+", re.ASCII)  # a postcode, a name of a shard: 007 is not 7
_HEX = re.compile(r"\d+[eE]\d+", re.ASCII)  # how no program writes a number, but half a hash looks
_MISSING = re.compile(r"#?n[./]?a\.?|null|none|missing", re.ASCII | re.IGNORECASE)
# 1,5 and 1,234.5 and 12%: numbers for people.
_FOR_PEOPLE = re.compile(r"[-+]?(\d*,\d+|\d{1,3}(,\d{3})+(\.\d+)?|(\d+\.?\d*|\.\d+)\s?%)", re.ASCII)


def _plain(cell: str) -> str:
    return cell.strip().replace("\N{MINUS SIGN}", "-")


def is_number(cell: str) -> bool:
    """Whether a cell of a text file is written as a finite number."""
    return _NUMBER.fullmatch(_plain(cell)) is not None


def typed(cells: Sequence[str]) -> list[Any]:
    """Cells of a text file as numbers where all are, else as text; empty ones are None.

    A column with a number such as 007 is text, and so is one of whole numbers with one such as 1e2,
    and one of fractions with a whole number that float64 does not hold. nan and inf are numbers
    among numbers. Columns of true and false alone are those.
    """
    plain = [_plain(cell) for cell in cells]
    full = [cell for cell in plain if cell]
    numbers = [cell for cell in full if _NUMBER.fullmatch(cell)]
    others = set(full) - set(numbers)
    if full and {cell.lower() for cell in full} <= {"true", "false"}:
        return [cell.lower() == "true" if cell else None for cell in plain]
    text = [cell if word else None for cell, word in zip(cells, plain, strict=True)]
    if not numbers or not all(map(_NO_NUMBER.fullmatch, others)) or any(map(_CODE.match, numbers)):
        return text
    if any(map(_HEX.fullmatch, full)) and all(_HEX.fullmatch(c) or c.isdigit() for c in full):
        return text
    convert = int if not others and all(map(_WHOLE.fullmatch, full)) else float
    if convert is float and any(float(c) != int(c) for c in full if _WHOLE.fullmatch(c)):
        return text
    return [convert(cell) if cell else None for cell in plain]


def stray(cells: Sequence[str]) -> tuple[int, str] | None:
    """The row of a cell that makes text of a column of numbers, and what to do; None without one.

    Such is NA beside numbers, any word beside fractions, and a number with a comma or in percent;
    and nan among words. Words beside whole numbers are names of classes.
    """
    plain = list(map(_plain, cells))
    full = [row for row, cell in enumerate(plain) if cell]
    odd = [row for row in full if not _NUMBER.fullmatch(plain[row])]
    if not odd:
        return None
    first = odd[0]
    if all(_FOR_PEOPLE.fullmatch(plain[row]) for row in odd):
        return first, "write numbers with a point and nothing else, as 1234.5"
    lacking = [row for row in odd if plain[row].lower() == "nan"]
    if lacking:
        return lacking[0], "that stands for a value that is missing; leave out such rows"
    numbers = [plain[row] for row in full if _NUMBER.fullmatch(plain[row])]
    if 2 * len(numbers) <= len(full):
        return None
    if all(map(_MISSING.fullmatch, (plain[row] for row in odd))):
        return first, "others are numbers; leave out such rows"
    if not all(cell.lstrip("+-").isdigit() for cell in numbers):
        return first, "others are numbers; use a number, or leave out such rows"
    return None

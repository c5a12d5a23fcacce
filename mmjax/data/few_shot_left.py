"""What of a few-shot file is not read: halves of pairs are refused, other arrays are told."""

import re
from collections.abc import Iterable, Sequence

from mmjax.data.features import Arrays
from mmjax.data.few_shot_parts import LABELS, SPLITS, VALUES
from mmjax.errors import InvalidInput

SHOTS = re.compile(r"train_(\d+)")
_PAIRED = re.compile(r"(train|train_\d+|val|test|text.*)_labels")
_PART = r"(train|training|val|valid|validation|dev|tests?|testing|eval|evaluation)"
_ROWS = r"(x|features?|embeddings?|f|y|labels?|targets?|l)"
# Rows that look as if they were a part; another column (test_files) is its file's own affair.
_ALIKE = re.compile(rf"([xy]_)?{_PART}(_{_ROWS})*", re.IGNORECASE)
_CALLED = "parts are called train or train_K, val and test"


def whole_pairs(path: str, arrays: Arrays) -> None:
    """Raises InvalidInput where labels of a part or of texts are there without its features, whose
    rows would be drawn from others without a word."""
    for name in sorted(arrays):
        if _PAIRED.fullmatch(name) and (rows := name.removesuffix("_labels")) not in arrays:
            told = f"{path}: array {name!r} without array {rows!r}"
            raise InvalidInput(f"{told}; use both or neither")


def left_aside(arrays: Arrays, *, listed: bool, known: Sequence[str] = ()) -> list[str]:
    """A line each about arrays that another makes moot, and about those that look like parts.

    Args:
      arrays: of the file.
      listed: whether its parts are told by a split, or are arrays of their own.
      known: further arrays that are read.
    """
    draws = [name for name in arrays if SHOTS.fullmatch(name)]
    parts = [*draws, *(name for name in ("train", "val", "test") if name in arrays)]
    parts += [f"{name}_labels" for name in parts]
    told = ["array 'train' is left out beside train_K"] if draws and "train" in arrays else []
    told += left_beside(arrays, [n for n in parts if n not in known] if listed else [], listed)
    given = {*parts, *known, *VALUES, *LABELS, *SPLITS}
    alike = [name for name in arrays if _ALIKE.fullmatch(name) and name not in given]
    return told + _not_read("array", alike)


def left_beside(arrays: Arrays, others: Iterable[str], listed: bool) -> list[str]:
    """The line about arrays of the other way to write a file, and of a second name of one."""
    kinds = [[name for name in names if name in arrays] for names in (VALUES, LABELS, SPLITS)]
    if not kinds[0]:
        return []
    main = kinds[0][0] if listed else next(n for n in ("train", "test") if f"{n}_labels" in arrays)
    left = [name for names in kinds for name in (names[1:] if listed else names)]
    return _listed(
        "array", [*left, *(n for n in others if n in arrays)], f"left out beside {main!r}"
    )


def files_left_aside(names: Sequence[str]) -> list[str]:
    """The line about files of a folder of .pt caches that look like parts."""
    known = {f"{part}_{rows}.pt" for part in ("val", "test") for rows in "fl"}
    stems = {name: name[:-3] for name in names if name.lower().endswith(".pt")}
    alike = [name for name, stem in stems.items() if _ALIKE.fullmatch(stem) and name not in known]
    return _not_read("file", alike)


def _not_read(kind: str, names: Sequence[str]) -> list[str]:
    return [f"{line}: {_CALLED}" for line in _listed(kind, names, "not read")]


def _listed(kind: str, names: Sequence[str], what: str) -> list[str]:
    shown = ", ".join(map(repr, sorted(names)))
    many = len(names) > 1
    return [f"{kind}{'s' * many} {shown} {'are' if many else 'is'} {what}"] if names else []

"""What a training saw, and which rows of any data are rows of it, by what they hold."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mmjax.data.dataset import Dataset, contents_of, is_classes
from mmjax.data.groups import is_filler, name_classes, sort_of
from mmjax.data.hashes import data_hash, further_texts, hashes_of, held_in, known_hashes, row_hashes
from mmjax.errors import counted

WHOLE = ""  # stands for all that a row holds, where others are names of modalities
_RARELY = 0.05  # share of rows that hold what others hold, up to which equal rows are copies
# Training rows: what more of them hold (the zeros of the healthy) says who was asked, not that a
# row came again.
_OFTEN = 3
_UNLIKELY = 1e-3  # chance of so many equal rows, below which they are no new ones


class Seen(NamedTuple):
    """What a training keeps of the rows that it saw.

    Attributes:
      data_hash: of the training rows.
      known: see known_hashes; under WHOLE hashes of rows without any recording, which no modality
        alone need tell again.
      recordings: see recordings.
      again: modality, or WHOLE, -> (rows that hold what another of them holds, all rows, different
        contents, rows that hold what one to _OFTEN others do): as often new rows hold it, too.
      often: modality, or WHOLE, -> known_hashes of contents of more than _OFTEN rows; of a
        recording, of so many rows that they tell none again, such as a blank.
      validation: hashes_of the validation rows, where they chose something.
    """

    data_hash: str
    known: Mapping[str, np.ndarray]
    recordings: list[str]
    again: Mapping[str, Sequence[int]]
    often: Mapping[str, Sequence[int]]
    validation: dict[str, np.ndarray]


class Known(NamedTuple):
    """Rows that a training saw.

    Attributes:
      rows: `[n]` bool, those of which it saw all that they hold.
      by: modality -> `[n]` bool, rows whose content there it saw.
      refused: whether the judged ones among rows are more than would come by chance.
      remarks: of contents that training rows hold, too, as new rows of their kind do.
    """

    rows: np.ndarray
    by: dict[str, np.ndarray]
    refused: bool
    remarks: tuple[str, ...]


def seen_rows(data: Dataset, validated: bool) -> Seen:
    """What is kept of training rows, and of validation rows where these chose something. Arrays
    that stay in files are read for it."""
    rows = data.part("train")
    seen = data.part("train", "validation") if validated else rows
    hashes = hashes_of(seen)
    of = lambda part: {name: column[seen.split == part] for name, column in hashes.items()}
    known, told = known_hashes(seen, rows, hashes), recordings(seen)
    bare = seen.take(~_shows(seen, told))
    whole = row_hashes(bare) if bare.num_rows else np.zeros(0, np.uint64)
    known |= {WHOLE: np.unique(whole)} if len(whole) else {}
    further = {name: further_texts(column) for name, column in seen.columns.items()}
    again = {name: _again(v[v != 0], further[name]) for name, v in hashes.items()}
    often = {
        name: _often(seen.only(name), column, further[name], name in told)
        for name, column in hashes.items()
    }
    kinds, counts = np.unique(whole, return_counts=True)
    often[WHOLE] = kinds[counts > _OFTEN]
    validation = of("validation") if validated else {}
    kept = again | {WHOLE: _again(whole, whole[:0])}
    listed = {name: [int(known) for known in values] for name, values in often.items()}
    return Seen(data_hash(of("train")), known, told, kept, listed, validation)


def _again(hashes: np.ndarray, further: np.ndarray) -> tuple[int, int, int, int]:
    """Rows that hold what another one holds, also among its further texts; all rows; contents; rows
    that hold what one to _OFTEN others do."""
    held = np.r_[hashes, further]
    kinds, counts = np.unique(held, return_counts=True)
    rows = counts[np.searchsorted(kinds, hashes)]
    few = int(np.sum((rows > 1) & (rows <= _OFTEN + 1)))
    return int(np.sum(rows > 1)), len(hashes), len(np.unique(hashes)), few


def _often(
    seen: Dataset, hashes: np.ndarray, further: np.ndarray, is_recording: bool
) -> np.ndarray:
    """known_hashes of what so many rows hold, see Seen."""
    held = np.r_[hashes, further]
    kinds, first, counts = np.unique(held, return_index=True, return_counts=True)
    many = (is_filler(counts, len(hashes)) if is_recording else counts > _OFTEN) & (kinds != 0)
    if len(further) or not many.any():  # of texts there are no copies in other dtypes
        return kinds[many]
    some = seen.take(first[many])
    return next(iter(known_hashes(some, some).values()))


def recordings(data: Dataset) -> list[str]:
    """Modalities whose contents are recordings: an image, not a caption or the name of a class. A
    row that holds one of them again is no new row, whatever else it holds."""
    labels = [values for values in data.labels.values() if is_classes(values)]
    results = []
    for name, column in data.columns.items():
        sort = sort_of(column.kind, column.values)
        if sort == "vectors":
            here = data.present.get(name, np.ones(data.num_rows, bool))
            codes = contents_of(column, data.num_rows)[here]
            is_told = not name_classes(codes, sort, [values[here] for values in labels])
        else:
            is_told = sort == "recordings"
        if is_told:
            results.append(name)
    return results


def known_rows(
    data: Dataset, seen: Seen, judged: np.ndarray, names: Sequence[str] | None = None
) -> Known:
    """Which rows a training saw, by what they hold.

    Copies of a recording are no new rows. Words, codes, answers and quantities come again in new
    rows: those that the training rows don't share among each other tell a row again, and others
    where judged rows hold what few training rows do more often than these hold each other's, for
    new rows and training rows come about in the same way. How often they hold what many do says
    who was asked: more of the healthy, say.

    Args:
      data: any rows.
      seen: of a training.
      judged: `[n]` bool, the rows that are asked about.
      names: modalities of which `by` and remarks are; None: all.
    """
    every, by, remarks = np.ones(data.num_rows, bool), dict[str, np.ndarray](), list[str]()
    evidence = list[np.ndarray]()
    beyond = list[np.ndarray]()  # evidence of which there is more than by chance
    unlike = {name: (0, len(held), len(held)) for name, held in seen.known.items()}
    # Models of before 0.3 don't say how often; they keep whole rows, or had all told by parts.
    usual = {} if WHOLE in seen.known or seen.recordings else unlike
    for name, (holds, lacks) in held_in(data, seen.known).items():
        every &= holds | lacks
        asked, rows = not names or name in names, judged & ~lacks
        again = seen.again.get(name, usual.get(name, (1, 1, 1)))
        often = _held(data.only(name), seen.often.get(name, ()))
        if name in seen.recordings:
            if asked and (often & judged).any():
                remarks.append(f"{name}: {_of(often, judged)} hold what very many training rows do")
            holds = holds & ~often
            by_chance = (holds & rows).sum() <= _RARELY * rows.sum()
        else:
            by_chance = _as_often(holds & rows & ~often, rows, again)
            if by_chance and _is_common(again):
                if asked and (holds & judged).any():
                    remarks.append(f"{name}: {_of(holds, judged)} {_ALIKE}")
                continue
        evidence.append(holds)
        if not by_chance:
            beyond.append(holds)
        by |= {name: holds} if asked else {}
    if WHOLE in seen.known:
        whole = row_hashes(data, seen.known.keys() - {WHOLE})
        holds, again = np.isin(whole, seen.known[WHOLE]), seen.again.get(WHOLE, unlike[WHOLE])
        rows = judged & ~_shows(data, seen.recordings)
        many = np.isin(whole, np.array(seen.often.get(WHOLE, ()), np.uint64))
        by_chance = _as_often(holds & rows & ~many, rows, again)
        if not (by_chance and _is_common(again)):
            evidence.append(holds)
        if not by_chance:
            beyond.append(holds)
    none = np.zeros(data.num_rows, bool)
    refused = (judged & every & np.any([none, *beyond], axis=0)).any()
    return Known(every & np.any([none, *evidence], axis=0), by, bool(refused), tuple(remarks))


_ALIKE = (
    "hold what training rows hold, no more often than these share it: taken for new rows; if equal "
    "words, codes or answers are one recording, leave them out (within a file: groups=)"
)


def _of(rows: np.ndarray, judged: np.ndarray) -> str:
    return f"{int((rows & judged).sum())} of {counted(int(judged.sum()), 'judged row')}"


def _held(data: Dataset, hashes: Sequence[int]) -> np.ndarray:
    (name,) = data.columns
    known = np.array(hashes, np.uint64)
    return held_in(data, {name: known})[name][0] if len(known) else np.zeros(data.num_rows, bool)


def _is_common(again: Sequence[int]) -> bool:
    """Whether equal rows are so many that a copy is none of evidence."""
    return again[0] > _RARELY * again[1]


def _as_often(hits: np.ndarray, rows: np.ndarray, again: Sequence[int]) -> bool:
    """Whether hits among rows are as many as may be, if these came about as training rows did: by
    the beta-binomial law of what follows a known number of hits (a uniform prior)."""
    from scipy.special import betaln, gammaln  # a third of a second, for who judges

    m, k = int(rows.sum()), int(hits.sum())
    all_rows, contents, rows_alike = again[1], again[2], again[3 if len(again) > 3 else 0]
    own = contents / max(1, 2 * all_rows)  # rows that hold the same are no independent ones
    a, b = own * rows_alike + 1, own * (all_rows - rows_alike) + 1
    j = np.arange(k, m + 1)
    chances = gammaln(m + 1) - gammaln(j + 1) - gammaln(m - j + 1)
    chances = chances + betaln(j + a, m - j + b) - betaln(a, b)
    return k == 0 or float(np.exp(chances).sum()) > _UNLIKELY


def _shows(data: Dataset, told: Sequence[str]) -> np.ndarray:
    """`[n]` bool: rows that have one of these modalities."""
    every = np.ones(data.num_rows, bool)
    return np.any([np.zeros_like(every), *(data.present.get(k, every) for k in told)], axis=0)

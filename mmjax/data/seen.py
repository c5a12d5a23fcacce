"""What a training saw, and which rows of any data are rows of it, by what they hold."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mmjax.data.dataset import Dataset, contents_of, is_classes
from mmjax.data.groups import is_filler, name_classes, sort_of
from mmjax.data.hashes import data_hash, hashes_of, held_in, known_hashes, row_hashes
from mmjax.errors import counted

WHOLE = ""  # stands for all that a row holds, where others are names of modalities
_RARELY = 0.05  # share of rows that hold what others hold, up to which equal rows are copies
_SLACK = 0.1  # share of the rows by which equal ones may be more than among training rows
_DEVIATIONS = 4  # standard deviations of their number, too


class Seen(NamedTuple):
    """What a training keeps of the rows that it saw.

    Attributes:
      data_hash: of the training rows.
      known: see known_hashes; under WHOLE hashes of rows without any recording, which no modality
        alone need tell again.
      recordings: see recordings.
      again: modality, or WHOLE, -> share of these rows that hold what another of them holds: so
        often new rows hold it, too.
      fillers: recording -> hashes of contents of so many rows that they tell none again (a blank).
      validation: hashes_of the validation rows, where they chose something.
    """

    data_hash: str
    known: Mapping[str, np.ndarray]
    recordings: list[str]
    again: dict[str, float]
    fillers: dict[str, list[int]]
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
    """What is kept of training rows, and of validation rows where these chose something. Rows that
    stay in files are read for it, once."""
    rows = data.part("train")
    seen = data.part("train", "validation") if validated else rows
    hashes = hashes_of(seen)
    of = lambda part: {name: column[seen.split == part] for name, column in hashes.items()}
    known, told = known_hashes(seen, rows, hashes), recordings(seen)
    bare = seen.take(~_shows(seen, told))
    whole = row_hashes(bare) if bare.num_rows else np.zeros(0, np.uint64)
    known |= {WHOLE: np.unique(whole)} if len(whole) else {}
    again = {name: _again(column[column != 0]) for name, column in hashes.items()}
    fillers = {name: found for name in told if (found := _fillers(hashes[name]))}
    validation = of("validation") if validated else {}
    kept = again | {WHOLE: _again(whole)}
    return Seen(data_hash(of("train")), known, told, kept, fillers, validation)


def _again(hashes: np.ndarray) -> float:
    _, kind, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    return float(np.mean(counts[kind] > 1)) if len(hashes) else 0.0


def _fillers(hashes: np.ndarray) -> list[int]:
    kinds, counts = np.unique(hashes[hashes != 0], return_counts=True)
    return [int(kind) for kind in kinds[is_filler(counts, len(hashes))]]


def recordings(data: Dataset) -> list[str]:
    """Modalities whose contents are recordings: an image, not a caption or the name of a class. A
    row that holds one of them again is no new row, whatever else it holds."""
    labels = [values for values in data.labels.values() if is_classes(values)]
    results = []
    for name, column in data.columns.items():
        sort = sort_of(column.kind, column.values)
        if sort == "recordings" or (
            sort == "vectors" and not name_classes(contents_of(column, data.num_rows), sort, labels)
        ):
            results.append(name)
    return results


def known_rows(
    data: Dataset, seen: Seen, judged: np.ndarray, names: Sequence[str] | None = None
) -> Known:
    """Which rows a training saw, by what they hold.

    Copies of a recording are no new rows. Words, codes, answers and quantities come again in new
    rows: those that the training rows don't share among each other tell a row again, and others
    where judged rows hold them more often than training rows hold each other's, for new rows and
    training rows come about in the same way.

    Args:
      data: any rows.
      seen: of a training.
      judged: `[n]` bool, the rows that are asked about.
      names: modalities of which `by` and remarks are; None: all.
    """
    every, by, remarks = np.ones(data.num_rows, bool), dict[str, np.ndarray](), list[str]()
    evidence = list[tuple[np.ndarray, bool]]()  # of training, and whether there's too much of it
    for name, (holds, lacks) in held_in(data, seen.known).items():
        every &= holds | lacks
        share, asked = seen.again.get(name, 1.0), not names or name in names
        if name in seen.recordings:
            filler = np.isin(hashes_of(data.only(name))[name], seen.fillers.get(name, ()))
            holds, share = holds & ~filler, 0.0
        elif _alike_by_chance(holds & judged, judged & ~lacks, share):
            if asked and (holds & judged).any():
                remarks.append(_alike(name, holds & judged, judged))
            continue
        evidence.append((holds, not _as_often(holds & judged, judged & ~lacks, share)))
        by |= {name: holds} if asked else {}
    if WHOLE in seen.known:
        whole = row_hashes(data, seen.known.keys() - {WHOLE})
        holds, share = np.isin(whole, seen.known[WHOLE]), seen.again.get(WHOLE, 0.0)
        if not _alike_by_chance(holds & judged, judged, share):
            evidence.append((holds, not _as_often(holds & judged, judged, share)))
    of = lambda least: every & np.any([~every & every, *(h for h, m in evidence if m >= least)], 0)
    return Known(of(False), by, bool((of(True) & judged).any()), tuple(remarks))


def _alike_by_chance(hits: np.ndarray, rows: np.ndarray, share: float) -> bool:
    """Whether equal rows are none of evidence: they are no rare ones, and no more than expected."""
    return share > _RARELY and _as_often(hits, rows, share, _SLACK)


def _as_often(hits: np.ndarray, rows: np.ndarray, share: float, slack: float = 0.0) -> bool:
    """Whether hits among rows are about as many as by the share, with some slack of the rows."""
    n = int(rows.sum())
    spread = _DEVIATIONS * (n * share * (1 - share)) ** 0.5
    return int(hits.sum()) <= n * (share + slack) + spread


def _alike(name: str, holds: np.ndarray, judged: np.ndarray) -> str:
    rows = f"{int(holds.sum())} of {counted(int(judged.sum()), 'judged row')}"
    return (
        f"{name}: {rows} hold what training rows hold, as often as these each other's: taken for "
        "words, codes or answers; if equal ones are one recording, groups= keeps them apart"
    )


def _shows(data: Dataset, told: Sequence[str]) -> np.ndarray:
    """`[n]` bool: rows that have one of these modalities."""
    every = np.ones(data.num_rows, bool)
    return np.any([np.zeros_like(every), *(data.present.get(k, every) for k in told)], axis=0)

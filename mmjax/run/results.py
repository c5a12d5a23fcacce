"""results.csv: one row per figure, a function of config and seed alone."""

import csv
import io
import os
from collections.abc import Iterable
from typing import NamedTuple

from mmjax.errors import InvalidInput
from mmjax.run.files import atomic_write


class Row(NamedTuple):
    """One figure of a run.

    Attributes:
      experiment: its name.
      setting: the row's name in the table.
      seed: which seed.
      modality: x, t or joint.
      target: what is predicted.
      metric: which figure; values are fractions.
      value: the figure.
    """

    experiment: str
    setting: str
    seed: int
    modality: str
    target: str
    metric: str
    value: float


def write_results(path: str, rows: Iterable[Row]) -> None:
    """Writes the whole table, atomically, values in full precision: none is rounded twice."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Row._fields)
    for row in rows:
        writer.writerow([*row[:-1], repr(float(row.value))])
    atomic_write(path, text.getvalue())


def _row(experiment, setting, seed, modality, target, metric, value) -> Row:
    return Row(experiment, setting, int(seed), modality, target, metric, float(value))


def read_results(path: str) -> list[Row]:
    """Reads it back; an absent file is an empty table. Raises InvalidInput for another format."""
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8", newline="") as file:
        reader = csv.reader(file)
        header = next(reader, None)
        if header != list(Row._fields):
            raise InvalidInput(f"{path}: header is {header}; expected {list(Row._fields)}")
        try:
            return [_row(*fields) for fields in reader]
        except (TypeError, ValueError, csv.Error) as error:
            message = f"{path}: line {reader.line_num} or before is no row of results"
            raise InvalidInput(f"{message}; remove the folder to start over") from error

"""metrics.csv and TensorBoard events while training."""

import csv
import io
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from mmjax.run.files import atomic_write
from mmjax.run.launch import slug

if TYPE_CHECKING:
    from tensorboardX import SummaryWriter

_TAKEN = ("loss", "validation")
_HEADER = ("setting", "attempt", "seed", "step", "metric", "value")


class MetricsLog:
    """Appends figures of a run; after a resume the rows past the checkpoint are forgotten.

    A class because it owns two open files.
    """

    def __init__(self, workdir: str) -> None:
        self._path = os.path.join(workdir, "metrics.csv")
        self._folder = os.path.join(workdir, "tensorboard")
        self._writers: dict[tuple[str, int], SummaryWriter] = {}
        if not os.path.exists(self._path):
            atomic_write(self._path, ",".join(_HEADER) + "\n")

    def rows(self) -> list[list[str]]:
        """All whole rows on disk, as strings, header left out."""
        with open(self._path, encoding="utf-8", newline="") as file:
            lines = [line for line in file if line.endswith("\n")]  # a kill may tear the last one
        return [row for row in csv.reader(lines) if len(row) == len(_HEADER)][1:]

    def resume(self, setting: str, attempt: int, step: int) -> None:
        """Drops the rows of this training after the step from which it goes on."""
        later = lambda r: r[0] == setting and int(r[1]) == attempt and int(r[3]) > step
        kept = [row for row in self.rows() if not later(row)]
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([_HEADER, *kept])  # names may hold commas
        atomic_write(self._path, text.getvalue())
        self._writer(setting, attempt, purge_step=step + 1)

    def add(
        self, setting: str, attempt: int, step: int, metric: str, values: dict[int, float]
    ) -> None:
        """Appends one figure a seed: values maps seed to value."""
        with open(self._path, "a", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            for seed, value in values.items():
                writer.writerow((setting, attempt, seed, step, metric, f"{value:.6f}"))
        events = self._writer(setting, attempt)
        for seed, value in values.items():
            events.add_scalar(f"{metric}/seed{seed}", value, step)
        events.flush()

    def add_metrics(
        self, setting: str, attempt: int, step: int, metrics: Mapping[str, Mapping[int, float]]
    ) -> None:
        """Appends what a loss tells of itself: name -> seed -> value. A name that figures of the
        training have is preceded by `own`."""
        for name, values in metrics.items():
            metric = f"own {name}" if name in _TAKEN else name
            self.add(setting, attempt, step, metric, dict(values))

    def _writer(self, setting: str, attempt: int, purge_step: int | None = None) -> "SummaryWriter":
        from tensorboardX import SummaryWriter

        key = (setting, attempt)
        if key not in self._writers:
            folder = os.path.join(self._folder, slug(setting), f"attempt{attempt}")
            self._writers[key] = SummaryWriter(folder, purge_step=purge_step)
        return self._writers[key]

    def close(self) -> None:
        """Closes the event files."""
        for writer in self._writers.values():
            writer.close()

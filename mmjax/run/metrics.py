"""metrics.csv and what else is logged while training."""

import csv
import io
import os
from collections.abc import Mapping, Sequence
from typing import Any

from mmjax.run.files import atomic_write
from mmjax.run.loggers import DEFAULT, Logged, Logger, open_loggers

_TAKEN = ("loss", "validation")
_HEADER = ("setting", "attempt", "seed", "step", "metric", "value")


class MetricsLog:
    """Appends figures of a run; after a resume the rows past the checkpoint are forgotten.

    A class because it owns open files.
    """

    def __init__(
        self,
        workdir: str,
        loggers: Sequence[str] = DEFAULT[1:],
        *,
        experiment: str = "",
        config: Mapping[str, Any] | None = None,
    ) -> None:
        """Loggers are named as in mmjax.run.loggers, and opened when the first figure comes."""
        self._path = os.path.join(workdir, "metrics.csv")
        self._names, self._logged = tuple(loggers), Logged(workdir, experiment, config or {})
        self._open: list[Logger] | None = None
        self._compiled: dict[tuple[str, int], float] = {}
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
        for logger in self._loggers():
            logger.resume(setting, attempt, step)

    def add(
        self, setting: str, attempt: int, step: int, metric: str, values: dict[int, float]
    ) -> None:
        """Appends one figure a seed: values maps seed to value."""
        with open(self._path, "a", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            for seed, value in values.items():
                writer.writerow((setting, attempt, seed, step, metric, f"{value:.6f}"))
        named = {f"{metric}/seed{seed}": value for seed, value in values.items()}
        for logger in self._loggers():
            logger.add(setting, attempt, step, named)

    def add_metrics(
        self, setting: str, attempt: int, step: int, metrics: Mapping[str, Mapping[int, float]]
    ) -> None:
        """Appends what a loss tells of itself: name -> seed -> value. A name that figures of the
        training have is preceded by `own`."""
        for name, values in metrics.items():
            metric = f"own {name}" if name in _TAKEN else name
            self.add(setting, attempt, step, metric, dict(values))

    def compiled(self, setting: str, attempt: int, seconds: float) -> None:
        """Notes how long a training took to its first figures; later calls change nothing."""
        self._compiled.setdefault((setting, attempt), seconds)

    def compile_seconds(self) -> float | None:
        """What the latest training of this run took to its first figures; None for the first."""
        return next(reversed(self._compiled.values()), None)

    def _loggers(self) -> list[Logger]:
        if self._open is None:
            self._open = open_loggers(self._names, self._logged)
        return self._open

    def close(self) -> None:
        """Closes what is open."""
        for logger in self._open or ():
            logger.close()
        self._open = None

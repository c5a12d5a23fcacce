"""Figures of a run beside what was published or is expected, and which of them surprise."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mmjax.report.page import Table
from mmjax.report.tables import mean_and_deviation


class Expected(NamedTuple):
    """What a figure should be.

    Attributes:
      setting, modality, target, metric: which figure of results.csv.
      value: what is expected; as in results.csv, a fraction.
      error: its standard deviation, or how far off it may be; None where it isn't told.
      source: who says so.
    """

    setting: str
    modality: str
    target: str
    metric: str
    value: float
    error: float | None
    source: str


class Judged(NamedTuple):
    """A figure beside its expectation.

    Attributes:
      expected: see Expected.
      values: of the seeds.
      verdict: as expected, above, below (with ", one seed" where there is no deviation), or that
        it can't be said.
    """

    expected: Expected
    values: Sequence[float]
    verdict: str

    @property
    def surprises(self) -> bool:
        """Whether it lies outside the bars, of two seeds or more."""
        return self.verdict in ("above", "below")


RULE = (
    "A row surprises where its mean is further from what is expected than twice the two standard "
    "deviations together: of the seeds, and of what was published. One seed has no deviation, and "
    "surprises nobody."
)


def judge(values: Sequence[float], expected: Expected) -> Judged:
    """A figure's values beside what is expected; see RULE.

    Where neither has a deviation nothing can be said, except that they are the same.
    """
    mean = float(np.mean(values))
    known = [expected.error] if expected.error is not None else []
    known += [float(np.std(values, ddof=1))] if len(values) > 1 else []
    far = mean - expected.value
    if not known:
        verdict = "as expected" if far == 0 else "no error bar"
    elif not np.isfinite(mean):
        verdict = "not a number"
    elif abs(far) <= 2 * float(np.hypot.reduce(known)) + 1e-12:
        verdict = "as expected"
    else:
        verdict = ("above" if far > 0 else "below") + (", one seed" if len(values) == 1 else "")
    return Judged(expected, values, verdict)


def beside_table(judged: Sequence[Judged]) -> Table:
    """The table of them, those that surprise marked and told in words."""
    show = lambda v: f"{v:.4g}"
    rows = []
    for result in judged:
        e = result.expected
        bar = "" if e.error is None else f" ± {show(e.error)}"
        name = " ".join((e.metric, "of", e.target, "from", e.modality))
        message = f"surprises, {result.verdict}" if result.surprises else result.verdict
        far = float(np.mean(result.values)) - e.value
        ours = mean_and_deviation(result.values)
        rows.append([message, e.setting, name, ours, show(e.value) + bar, f"{far:+.4f}", e.source])
    header = ["verdict", "setting", "figure", "this run", "expected", "difference", "by whom"]
    marked = frozenset(k for k, outcome in enumerate(judged) if outcome.surprises)
    return Table(header, rows, "", marked)

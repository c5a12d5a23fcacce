"""What an experiment is for: told by its module, shown in lists and reports."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from mmjax.report import Expected


def _nothing(config: Any, settings: Sequence[str]) -> list[Expected]:
    return []


class About(NamedTuple):
    """An experiment in a few words.

    Attributes:
      question: what it asks, in a sentence.
      paper: which figure or table of which paper; empty for none.
      minutes: of the plain command on two CPU cores, as measured; empty where it needs files.
      needs: what data.
      expected: `(config, settings) -> figures` that are published or follow from theory.
      trains: whether losses are logged while it runs.
    """

    question: str
    paper: str
    minutes: str
    needs: str
    expected: Callable[[Any, Sequence[str]], Sequence[Expected]] = _nothing
    trains: bool = True

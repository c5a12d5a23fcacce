"""Former names, for scripts that still have them: a Recipe was a Plan, its stages were phases."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple


class Plan(NamedTuple):
    """A Recipe under its former field names, in the same order; whatever takes one takes both."""

    source: Callable[..., Any]
    phases: Sequence[Any]
    optimiser: Any
    chunk_steps: int
    save_every: int
    shared_env: bool = False
    unrolled: bool = False
    feed: Callable[..., Any] | None = None

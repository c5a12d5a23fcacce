"""Ctrl-C and SIGTERM: noted when they come, obeyed between chunks, after a checkpoint."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Interrupted(Exception):
    """Training stopped on a signal, its state saved. Exit code 128 + signal number."""

    def __init__(self, signum: int):
        super().__init__(f"stopped by {signal.Signals(signum).name}, state saved")
        self.exit_code = 128 + signum


@contextmanager
def noted_signals() -> Iterator[Callable[[], int | None]]:
    """Within the block SIGINT and SIGTERM don't kill: the yielded function returns the one that
    came, or None. A second SIGINT interrupts at once."""
    came = []

    def note(signum, frame):
        if signum == signal.SIGINT and came:
            raise KeyboardInterrupt
        came.append(signum)

    try:
        before = {s: signal.signal(s, note) for s in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not in the main thread (a notebook's worker): nothing to catch there
        before = {}
    try:
        yield lambda: came[0] if came else None
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)

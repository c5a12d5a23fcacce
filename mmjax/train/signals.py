"""Ctrl-C and SIGTERM: noted when they come, obeyed between chunks, after a checkpoint."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from numbers import Integral
from typing import Any

from mmjax.errors import require

GRACE = 4.0  # seconds; who sends SIGTERM often waits five before it kills


class Interrupted(Exception):
    """Stopped on a signal, all that was done is saved. Exit code 128 + signal number."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}, state saved")
        self.exit_code = 128 + signum


def checked_signal(given: Any) -> int | None:
    """What a function of a user's returned: the number of a signal, or nothing.

    Raises InvalidInput where it is neither.
    """
    if not given:
        return None
    allowed = "a function that returns the number of a signal, or None"
    known = isinstance(given, Integral) and given in set(signal.Signals)
    require(known, "stop", given, allowed)
    return int(given)


def _watch(read_end: int, over: threading.Event, grace: float) -> None:
    """Ends the process when a signal came and the block isn't left within the grace."""
    signum = None
    while signum not in (signal.SIGINT, signal.SIGTERM):  # libraries may handle others
        came = os.read(read_end, 1)  # blocks; empty when the block is left
        if not came:
            return
        signum = came[0]
    if over.wait(grace):
        return
    name = signal.Signals(signum).name
    message = f"stopped by {name}; the same command goes on from what was saved last, if anything\n"
    os.write(2, message.encode())  # no buffers, no locks: another thread may hold them
    os._exit(128 + signum)


@contextmanager
def noted_signals(*, grace: float | None = None) -> Iterator[Callable[[], int | None]]:
    """Within the block SIGINT and SIGTERM don't kill: the yielded function returns the one that
    came, or None. A second SIGINT interrupts at once.

    Args:
      grace: seconds after a signal in which the block must be left: else the process exits there,
        with 128 + signal number. Whoever asks for it writes files whole or not at all. Python's own
        handlers wait while compiled code runs, for minutes in some fits; this does not. None never
        exits, for callers that are more than this block (a notebook).
    """
    came: list[int] = []

    def note(signum, frame):
        if signum == signal.SIGINT and came:
            raise KeyboardInterrupt
        came.append(signum)

    try:
        before = {s: signal.signal(s, note) for s in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not in the main thread (a notebook's worker): nothing to catch there
        yield lambda: None
        return
    over = threading.Event()
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)  # as set_wakeup_fd wants it
    watcher = threading.Thread(target=_watch, args=(read_end, over, grace), daemon=True)
    if grace is not None:
        fd_before = signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
        watcher.start()
    try:
        yield lambda: came[0] if came else None
    finally:
        over.set()
        for signum, handler in before.items():
            signal.signal(signum, handler)
        if grace is not None:
            signal.set_wakeup_fd(fd_before)
        os.close(write_end)
        if grace is not None:
            watcher.join()
        os.close(read_end)

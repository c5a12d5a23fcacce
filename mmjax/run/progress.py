"""Progress lines: how far a job is, its rate and the time left."""

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TextIO, TypeVar

from mmjax.train import Interrupted

Item = TypeVar("Item")

EVERY = 5.0  # seconds between two lines of a log file


def _text(name: str, count: int, total: int, unit: str, told: str, rate: float | None) -> str:
    """The line; a rate of None is not known yet."""
    rated = told
    if rate:
        rated += (
            f"{rate:{'.0f' if rate >= 1 else '.2g'}} {unit}/s, ETA {(total - count) / rate:.0f} s"
        )
    return f"{name}  {count}/{total} {unit}  {rated}"


def progress_line(
    name: str,
    total: int,
    *,
    unit: str = "steps",
    out: TextIO | None = None,
    every: float = 1.0,
    clock: Callable[[], float] = time.time,
) -> Callable[..., None]:
    """A function `(count, loss=None)` that shows how far a job is, its rate and ETA.

    On a terminal one line is rewritten; elsewhere (a log file) a line is written every 5 s.
    The rate leaves out the first call's compilation.
    """
    out = out or sys.stderr
    terminal = out.isatty()
    first: list[tuple[float, int]] = []
    last = [clock() if not terminal else 0.0]

    def show(count: int, loss: float | None = None) -> None:
        now = clock()
        if not first:
            first.append((now, count))
        if now - last[0] < (every if terminal else EVERY * every) and count < total:
            return
        last[0] = now
        (start, before) = first[0]
        rate = (count - before) / (now - start) if now > start else None
        told = "" if loss is None else f"loss {loss:.4f}  "
        text = _text(name, count, total, unit, told if rate else told + "compiling", rate)
        end = "\n" if not terminal or count >= total else ""
        out.write(("\r\x1b[K" if terminal else "") + text + end)
        out.flush()

    return show


def tracked(
    items: Iterable[Item],
    label: str,
    *,
    unit: str = "pieces",
    stop: Callable[[], int | None] = lambda: None,
    out: TextIO | None = None,
    every: float = EVERY,
) -> Iterator[Item]:
    """The items one by one, with a line about them every few seconds while they last.

    The lines come from a thread, so that a single long item shows them as well; a job shorter than
    `every` shows none. Rooms that can't import this one take it as an argument
    `(items, label) -> iterator`; `Run.tracked` is it with the run's `stop`.

    Args:
      items: what to go through; taken into a list, for its length.
      label: what the job is called in the line.
      unit: what the items are called, in the plural.
      stop: returns a signal number when the job should stop.
      out: where lines go; default stderr.
      every: seconds between two lines.

    Raises Interrupted between two items, where stop said so.
    """
    items, out, start = list(items), out or sys.stderr, time.monotonic()
    count, over, shown = 0, threading.Event(), threading.Event()

    def line() -> None:
        spent = time.monotonic() - start
        text = _text(label, count, len(items), unit, f"{spent:.0f} s, ", count / spent)
        out.write(text.rstrip(", ") + "\n")
        out.flush()

    def tick() -> None:
        while not over.wait(every):
            shown.set()
            line()

    ticker = threading.Thread(target=tick, name="progress", daemon=True)
    ticker.start()
    try:
        for item in items:
            if (signum := stop()) is not None:
                raise Interrupted(signum)
            yield item
            count += 1
    finally:
        over.set()
        ticker.join()
    if shown.is_set():
        line()

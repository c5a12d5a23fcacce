"""Progress: one line that stays one line on a terminal, and a line now and then in a log file."""

import os
import sys
import threading
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stderr
from typing import Any, NamedTuple, Protocol, TextIO, TypeVar

from mmjax.data.files.tables import printable
from mmjax.train import Interrupted

Item = TypeVar("Item")

ON_TERMINAL = 1.0  # seconds between two looks of the line
EVERY = 30.0  # seconds between two lines of a log file
_SHORTEST = 12  # columns that a name is cut to before figures go


class Show(Protocol):
    """Shows how far a job is."""

    def __call__(self, count: int, loss: float | None = None, gap: float | None = None) -> None:
        """count: units done; loss, gap: of the last of them, where there are any."""


class Line(NamedTuple):
    """What a line tells; parts that are empty are left out.

    Attributes:
      name: of the job.
      done: how much of it is done.
      figures: the most important first; the last ones go where a terminal is too narrow.
      left: how long it takes yet.
    """

    name: str
    done: str
    figures: tuple[str, ...]
    left: str


def columns_of(text: str) -> int:
    """Columns that a text takes on a terminal: wide letters take two, marks on others none."""
    wide = lambda c: 2 if unicodedata.east_asian_width(c) in "WF" else int(not _marks(c))
    return sum(map(wide, text))


def _marks(letter: str) -> bool:
    return bool(unicodedata.combining(letter)) or unicodedata.category(letter) == "Cf"


def _cut(text: str, columns: int) -> str:
    """The text, or its beginning and an ellipsis."""
    if columns_of(text) <= columns:
        return text
    while text and columns_of(text) > columns - 1:
        text = text[:-1]
    return text + "…" if columns > 0 else ""


def fitted(line: Line, columns: int | None) -> str:
    """The line in so many columns: the name is cut first, then figures go; None: no limit."""
    name, figures = printable(line.name), list(line.figures)
    joined = lambda: "  ".join(part for part in (name, line.done, *figures, line.left) if part)
    if columns is None or columns_of(joined()) <= columns:
        return joined()
    room = columns - columns_of(joined()) + columns_of(name)
    while room < min(_SHORTEST, columns_of(name)) and figures:
        room += columns_of(figures.pop()) + 2
    name = _cut(name, max(room, 0))
    return _cut(joined(), columns)


def duration(seconds: float) -> str:
    """`8 s`, `3 min`, `2.5 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _rate(rate: float, unit: str) -> str:
    return f"{rate:{'.0f' if rate >= 1 else '.2g'}} {unit}/s"


def _width(out: TextIO) -> int:
    """Columns of a terminal, one of them left free: in the last one some begin a new line."""
    try:
        return os.get_terminal_size(out.fileno()).columns - 1
    except (OSError, ValueError):
        return int(os.environ.get("COLUMNS") or 80) - 1


def _write(out: TextIO, line: Line, terminal: bool, *, last: bool) -> None:
    if terminal:
        out.write(f"\r\x1b[K{fitted(line, _width(out))}{chr(10) if last else ''}")
    else:
        out.write(fitted(line, None) + "\n")
    out.flush()


def progress_line(
    name: str,
    total: int,
    *,
    unit: str = "steps",
    compiles: str = "",
    compile_seconds: float | None = None,
    out: TextIO | None = None,
    every: float | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Show:
    """A function `(count, loss=None, gap=None)` that shows how far a job is and the time left.

    The rate leaves out what came before the first figures: compilation.

    Args:
      name: of the job.
      total: units in all.
      unit: what they are called, in the plural.
      compiles: what is compiled before there are figures. The first call then says where the job
        begins, and tells of it. Empty: nothing is.
      compile_seconds: how long that took last time; None where it isn't known.
      out: where lines go; default stderr.
      every: seconds between two lines; None: 1 on a terminal, 30 elsewhere.
      clock: seconds.
    """
    out = out or sys.stderr
    terminal = out.isatty()
    every = (ON_TERMINAL if terminal else EVERY) if every is None else every
    first: list[tuple[float, int]] = []
    last = [clock() if not terminal else -float("inf")]
    ahead = [compiles] if compiles else []

    def show(count: int, loss: float | None = None, gap: float | None = None) -> None:
        now = clock()
        if ahead:
            about = f", about {duration(compile_seconds)}" if compile_seconds else ""
            line = Line(name, f"{count}/{total} {unit}", (ahead.pop(),), f"compiling{about}")
            if count < total:
                _write(out, line, terminal, last=False)
            return
        if not first:
            first.append((now, count))
        if now - last[0] < every and count < total:
            return
        last[0] = now
        (start, before) = first[0]
        rate = (count - before) / (now - start) if now > start and count > before else None
        figures = [] if loss is None else [f"loss {loss:.4f}"]
        figures += [] if gap is None else [f"gap to oracle {gap:.4f}"]
        figures += [_rate(rate, unit)] if rate else []
        left = f"{duration((total - count) / rate)} left" if rate and count < total else ""
        line = Line(name, f"{count}/{total} {unit}", tuple(figures), left)
        _write(out, line, terminal, last=count >= total)

    return show


class _Watched:
    """A stream that knows when it was last written to."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self.last = stream, time.monotonic()

    def write(self, text: str) -> int:
        self.last = time.monotonic()
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def never_silent(name: str, *, every: float | None = None) -> Iterator[None]:
    """Says on stderr that a job is at work, wherever nothing was said there for a while: what is
    inside may compile, or judge, for minutes. Of a job in another one the outer one tells.

    Args:
      name: of the job.
      every: seconds; None: 10 on a terminal, elsewhere a little more than other lines take.
    """
    if isinstance(sys.stderr, _Watched):
        yield
        return
    out: Any = _Watched(sys.stderr)
    terminal, start, over = out.isatty(), time.monotonic(), threading.Event()
    pause = (10 * ON_TERMINAL if terminal else EVERY + 5) if every is None else every

    def watch() -> None:
        while not over.wait(max(out.last + pause - time.monotonic(), pause / 100)):
            now = time.monotonic()
            if now - out.last >= pause:
                line = Line(name, "still at work", (duration(now - start),), "")
                _write(out, line, terminal, last=False)

    watcher = threading.Thread(target=watch, name="silence", daemon=True)
    watcher.start()
    try:
        with redirect_stderr(out):
            yield
    finally:
        over.set()
        watcher.join()


def tracked(
    items: Iterable[Item],
    label: str | Callable[[], str],
    *,
    unit: str = "pieces",
    stop: Callable[[], int | None] = lambda: None,
    out: TextIO | None = None,
    every: float | None = None,
) -> Iterator[Item]:
    """The items one by one, with a line about them every few seconds while they last.

    The lines come from a thread, so that a single long item shows them as well; a job shorter than
    `every` shows none. Rooms that can't import this one take it as an argument
    `(items, label) -> iterator`; `Run.tracked` is it with the run's `stop`.

    Args:
      items: what to go through; taken into a list, for its length.
      label: what the job is called in the line, or a function that says what it is at.
      unit: what the items are called, in the plural.
      stop: returns a signal number when the job should stop.
      out: where lines go; default stderr.
      every: seconds between two lines; None: 5 on a terminal, 30 elsewhere.

    Raises Interrupted between two items, where stop said so.
    """
    items, out, start = list(items), out or sys.stderr, time.monotonic()
    terminal = out.isatty()
    every = (5 * ON_TERMINAL if terminal else EVERY) if every is None else every
    count, over, shown = 0, threading.Event(), threading.Event()

    def line(last: bool) -> None:
        spent = time.monotonic() - start
        rate = count / spent
        left = f"{duration((len(items) - count) / rate)} left" if rate and not last else ""
        figures = (_rate(rate, unit),) if rate else ()
        name = label if isinstance(label, str) else label()
        printed = Line(name, f"{count}/{len(items)} {unit}", (*figures, duration(spent)), left)
        _write(out, printed, terminal, last=last)

    def tick() -> None:
        while not over.wait(every):
            shown.set()
            line(False)

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
            line(True)

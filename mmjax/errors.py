"""The one error that users cause: bad input, told in one line; and lines that are no error."""

import difflib
import inspect
import operator
import re
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import ParamSpec, TypeVar

T = TypeVar("T")
R = TypeVar("R")
P = ParamSpec("P")
_LONG = 160  # letters of a value, or of a list of names, that a line shows
_NEAREST = 5  # names shown of a longer list


class InvalidInput(ValueError):
    """A flag, file or value that can't be used. Experiments print it and exit with code 2."""


def require(condition: bool, name: str, value: object, allowed: str) -> None:
    """Raises InvalidInput `name: value is not allowed; use allowed` unless the condition holds."""
    if not condition:
        raise InvalidInput(f"{name}: {_short(value)} is not allowed; use {allowed}")


def _short(value: object) -> str:
    """What it is in a line, also of an array or a whole data set."""
    shape = getattr(value, "shape", None)
    if shape is not None and getattr(value, "ndim", None):
        return f"an array {tuple(shape)}"
    said = repr(value)
    if len(said) > _LONG or "\n" in said:
        said = " ".join(said[: 2 * _LONG].split())
        said = said if len(said) <= _LONG else f"{said[: _LONG - 3]}..."
    return said


def whole(name: str, value: object, least: int = 1, most: int | None = None) -> int:
    """The value as an int; raises InvalidInput unless it is a whole number of that range.

    Example:
      >>> whole("dim", 8)
      8
    """
    allowed = f"a whole number >= {least}" if most is None else f"a whole number, {least} to {most}"
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = least - 1
    good = not isinstance(value, bool) and least <= number and (most is None or number <= most)
    require(good, name, value, allowed)
    return number


def counted(number: int, thing: str, things: str = "") -> str:
    """How many there are.

    Example:
      >>> counted(1, "row"), counted(2, "row"), counted(0, "class", "classes")
      ('1 row', '2 rows', '0 classes')
    """
    return f"{number} {thing if number == 1 else things or f'{thing}s'}"


def given(value: T | None, name: str, allowed: str) -> T:
    """The value itself; raises InvalidInput as `require` does where it is None."""
    if value is None:
        raise InvalidInput(f"{name}: None is not allowed; use {allowed}")
    return value


def _initials(name: str) -> str:
    return "".join(part[0] for part in re.split("[-_]", name) if part)


def did_you_mean(value: str, known: Iterable[str]) -> str:
    """`; did you mean 'that'?` of the known name that is nearest, or nothing where none is near.

    Example:
      >>> did_you_mean("info_nec", ("info_nce", "siglip"))
      "; did you mean 'info_nce'?"
      >>> did_you_mean("audio", ("image", "text"))
      ''
      >>> did_you_mean("lr", ("layers", "learning_rate"))
      "; did you mean 'learning_rate'?"
    """
    known = {name.lower(): name for name in known}
    short = {initials: name for name in known if len(initials := _initials(name)) > 1}
    if name := short.get(str(value).lower().strip("-")):
        return f"; did you mean {known[name]!r}?"
    result = difflib.get_close_matches(str(value).lower(), known, n=1, cutoff=0.6)
    return f"; did you mean {known[result[0]]!r}?" if result else ""


# A name, or several of which each is in the one before it; the value; what is allowed.
_REFUSED = re.compile(r"^((?:[^:']+: )+)(.+?) is not allowed; use (.+)$", re.DOTALL)


def act_first(said: str) -> str:
    """A refusal as a person reads it, who wants to know what to do.

    Example:
      >>> act_first("data.npz: shots: 9 is not allowed; use 1 to 4, the rows of class 'cat'")
      "use 1 to 4, the rows of class 'cat' (data.npz: shots: 9 is not allowed)"
      >>> act_first("loss: 'info_nec' is not allowed; use info_nce; did you mean 'info_nce'?")
      "did you mean 'info_nce'? use info_nce (loss: 'info_nec' is not allowed)"
      >>> act_first("there is no room left on the disk")
      'there is no room left on the disk'
    """
    refused, asks, meant = said.rpartition("; did you mean ")
    refused, meant = (refused, f"did you mean {meant} ") if asks else (said, "")
    return meant + _REFUSED.sub(r"use \3 (\1\2 is not allowed)", refused, count=1)


def one_of(known: Iterable[str], value: object, *, between: str = ", ", where: str = "") -> str:
    """`one of a, b`, and which of them was perhaps meant: what `require` says is allowed.

    Of a single name it is that; of a list that takes more than a line the nearest, and where the
    others are.
    """
    known = list(known)
    if len(known) == 1:
        return known[0]
    listed = between.join(known)
    if len(listed) > _LONG:
        lower = {name.lower(): name for name in known}
        near = difflib.get_close_matches(str(value).lower(), lower, n=_NEAREST, cutoff=0)
        message = f"{len(known)} names" + (f" ({where})" if where else "")
        listed = f"{message}, nearest are {between.join(lower[name] for name in near)}"
    return f"one of {listed}{did_you_mean(str(value), known)}"


def choose(table: Mapping[str, T], name: str, value: str) -> T:
    """`table[value]`, or InvalidInput that lists the names in the table, or says it has none."""
    fits = isinstance(value, str) and value in table
    if not fits and not table:
        raise InvalidInput(f"{name}: {_short(value)} is not there, for there are none")
    require(fits, name, value, one_of(sorted(table), value))
    return table[value]


def told_of_arguments(function: Callable[P, R]) -> Callable[P, R]:
    """The function, which tells by InvalidInput of an argument that it lacks, and what is near."""
    known = dict(inspect.signature(function).parameters)

    @wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        for name in kwargs:
            choose(known, f"an argument of {function.__name__}", name)
        return function(*args, **kwargs)

    return called


@contextmanager
def naming(name: str) -> Iterator[None]:
    """InvalidInput of what is inside is told under the name: of the flag that it came from.

    Example:
      >>> with naming("augmentation"):
      ...     require(False, "kinds", "blur", "drop or noise")
      Traceback (most recent call last):
      mmjax.errors.InvalidInput: augmentation: kinds: 'blur' is not allowed; use drop or noise
    """
    try:
        yield
    except InvalidInput as error:
        raise InvalidInput(f"{name}: {error}") from error


_HEARD: ContextVar[tuple[list[str], ...]] = ContextVar("heard", default=())


def say(line: str) -> None:
    """A line for people, on stderr: results alone go to stdout."""
    if line.startswith("note: "):
        note(line)
    else:
        _print(line)


def _print(line: str) -> None:
    # On a terminal a progress line may stand there, which is written anew.
    print(("\r\x1b[K" if sys.stderr.isatty() else "") + line, file=sys.stderr, flush=True)


@contextmanager
def told_if_slow(line: str, after: float = 5.0) -> Iterator[None]:
    """Says the line where what is inside, or the function that it decorates, takes longer than so
    many seconds."""
    timer = threading.Timer(after, say, (line,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def note(line: str) -> None:
    """A line that belongs into a run's report too: something was left out, clipped or odd."""
    for lines in _HEARD.get():
        lines.append(line)
    _print(line)


@contextmanager
def heard() -> Iterator[list[str]]:
    """What is noted inside, by this thread."""
    lines: list[str] = []
    token = _HEARD.set((*_HEARD.get(), lines))
    try:
        yield lines
    finally:
        _HEARD.reset(token)

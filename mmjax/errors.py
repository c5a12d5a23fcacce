"""The one error that users cause: bad input, told in one line; and lines that are no error."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")


class InvalidInput(ValueError):
    """A flag, file or value that can't be used. Experiments print it and exit with code 2."""


def require(condition: bool, name: str, value: object, allowed: str) -> None:
    """Raises InvalidInput `name: value is not allowed; use allowed` unless the condition holds."""
    if not condition:
        raise InvalidInput(f"{name}: {value!r} is not allowed; use {allowed}")


def choose(table: Mapping[str, T], name: str, value: str) -> T:
    """`table[value]`, or InvalidInput that lists the names in the table."""
    require(value in table, name, value, "one of " + ", ".join(sorted(table)))
    return table[value]


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
    for lines in _HEARD.get():
        lines.append(line)
    print(line, file=sys.stderr, flush=True)


@contextmanager
def heard() -> Iterator[list[str]]:
    """The lines that are said inside, by this thread."""
    lines: list[str] = []
    token = _HEARD.set((*_HEARD.get(), lines))
    try:
        yield lines
    finally:
        _HEARD.reset(token)

"""The one error that users cause: bad input, told in one line; and lines that are no error."""

import sys


class InvalidInput(ValueError):
    """A flag, file or value that can't be used. Experiments print it and exit with code 2."""


def require(condition: bool, name: str, value: object, allowed: str) -> None:
    """Raises InvalidInput `name: value is not allowed; use allowed` unless the condition holds."""
    if not condition:
        raise InvalidInput(f"{name}: {value!r} is not allowed; use {allowed}")


def choose(table: dict, name: str, value: str):
    """`table[value]`, or InvalidInput that lists the names in the table."""
    require(value in table, name, value, "one of " + ", ".join(sorted(table)))
    return table[value]


def say(line: str) -> None:
    """A line for people, on stderr: results alone go to stdout."""
    print(line, file=sys.stderr, flush=True)

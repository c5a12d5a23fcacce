"""Fields of configs. Every experiment's config is a frozen dataclass of them."""

import dataclasses
from collections.abc import Sequence
from typing import Any


def option(
    default: Any,
    help: str,
    choices: Sequence[str] | None = None,
    *,
    parts: Sequence[str] | None = None,
) -> Any:
    """A config field with its help text and, for strings, the values allowed.

    Args:
      default: its value where no flag is given.
      help: its text in --help.
      choices: of a string, the values allowed.
      parts: of comma-separated names, those that are known; whoever reads them checks them.
    """
    metadata = {"help": help, "choices": choices, "parts": parts}
    return dataclasses.field(default=default, metadata=metadata)


def names_in(text: str) -> tuple[str, ...]:
    """The parts of a comma-separated flag, without blanks.

    Example:
      >>> names_in("image, text,")
      ('image', 'text')
    """
    return tuple(part.strip() for part in text.split(",") if part.strip())

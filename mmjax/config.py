"""Fields of configs. Every experiment's config is a frozen dataclass of them."""

import dataclasses
from collections.abc import Sequence
from typing import Any


def option(
    default: Any, help: str, choices: Sequence[str] | None = None, *, file: bool = False
) -> Any:
    """A config field with its help text and, for strings, the values allowed.

    Args:
      default: its value where no flag and no preset gives another.
      help: a line.
      choices: the values allowed; None for any.
      file: whether it names a file or folder that is read, or several, comma-separated: a run keeps
        a hash of what is in there, and refuses to go on with other contents.
    """
    about = {"help": help, "choices": choices, "file": file}
    return dataclasses.field(default=default, metadata=about)


def names_in(text: str) -> tuple[str, ...]:
    """The parts of a comma-separated flag, without blanks.

    Example:
      >>> names_in("image, text,")
      ('image', 'text')
    """
    return tuple(part.strip() for part in text.split(",") if part.strip())

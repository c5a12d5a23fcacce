"""Fields of configs. Every experiment's config is a frozen dataclass of them."""

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from mmjax.errors import require


def option(
    default: Any,
    help: str,
    choices: Sequence[str] | None = None,
    *,
    parts: Collection[str] | None = None,
    file: bool = False,
) -> Any:
    """A config field with its help text and, for strings, the values allowed.

    Args:
      default: its value where no flag and no preset gives another.
      help: a line.
      choices: of a string, the values allowed; None for any.
      parts: of comma-separated names, those that are known; whoever reads them checks them.
      file: whether it names a file or folder that is read, or several, comma-separated: a run keeps
        a hash of what is in there, and refuses to go on with other contents.
    """
    about = {"help": help, "choices": choices, "parts": parts, "file": file}
    return dataclasses.field(default=default, metadata=about)


def names_in(text: str) -> tuple[str, ...]:
    """The parts of a comma-separated flag, without blanks.

    Example:
      >>> names_in("image, text,")
      ('image', 'text')
    """
    return tuple(part.strip() for part in text.split(",") if part.strip())


def different(flag: str, text: str) -> tuple[str, ...]:
    """Those names, each once.

    Raises InvalidInput where one is there twice.
    """
    names = names_in(text)
    require(len(set(names)) == len(names), flag, text, "different names, comma-separated")
    return names


class Need(NamedTuple):
    """What a flag needs to change anything.

    Attributes:
      what: in words.
      met: `config -> bool`.
    """

    what: str
    met: Callable[[Any], bool]


def moot(config: Any, given: Collection[str], needs: Mapping[str, Need]) -> list[str]:
    """A line for each flag that was given and changes nothing beside the others."""
    return [
        f"note: --{name} changes nothing here: it needs {needs[name].what}"
        for name in given
        if name in needs and not needs[name].met(config)
    ]

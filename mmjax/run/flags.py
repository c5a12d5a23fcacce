"""Flags from a frozen dataclass: one typed config, its defaults in one place."""

import dataclasses
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from absl import flags

from mmjax.errors import InvalidInput, did_you_mean
from mmjax.run.loggers import DEFAULT, LOGGERS

_SEEDS = 2**32  # of a key


def _tuple_of_ints(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.replace(" ", "").split(",") if part)


_PARSERS: dict[type, Callable[[str], Any]] = {
    int: int,
    float: float,
    str: str,
    tuple: _tuple_of_ints,
}


def _parse(name: str, kind: type, text: str) -> Any:
    try:
        value = _PARSERS[kind](text)
    except ValueError as error:
        said = (
            "comma-separated whole numbers" if kind is tuple else f"a value of type {kind.__name__}"
        )
        raise InvalidInput(f"--{name}: {text!r} is not allowed; use {said}") from error
    if kind is float and not math.isfinite(value):
        raise InvalidInput(f"--{name}: {text!r} is not allowed; use a finite number")
    return value


def _shown(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def make_flags(config_class: type, presets: Mapping[str, Mapping[str, Any]]) -> flags.FlagValues:
    """A flag for every field, `--workdir` and `--preset`; a fresh set, nothing global."""
    values = flags.FlagValues()
    put: dict[str, Any] = dict(flag_values=values)
    flags.DEFINE_string(
        "workdir", None, "folder of the run; default: a fresh one under runs/", **put
    )
    message = f"where losses go while training: csv always, and {', '.join(LOGGERS)}"
    default = ",".join(DEFAULT)
    flags.DEFINE_string("loggers", default, f"{message} (default: {default})", **put)
    flags.DEFINE_enum("preset", next(iter(presets)), list(presets), "set of defaults", **put)
    flags.DEFINE_boolean("help", False, "show this help", short_name="h", **put)
    for field in dataclasses.fields(config_class):
        by_preset = "; ".join(
            f"{_shown(overrides[field.name])} in preset {name}"
            for name, overrides in presets.items()
            if field.name in overrides
        )
        default = f"(default: {_shown(field.default)}{'; ' if by_preset else ''}{by_preset})"
        text = f"{field.metadata['help']} {default}"
        choices = field.metadata["choices"]
        if isinstance(field.default, bool):
            flags.DEFINE_boolean(field.name, None, text, **put)
        elif choices:
            flags.DEFINE_enum(field.name, None, list(choices), text, **put)
        else:
            flags.DEFINE_string(field.name, None, text, **put)
    return values


def read_config(
    config_class: type, presets: Mapping[str, Mapping[str, Any]], values: flags.FlagValues
) -> Any:
    """The config that parsed flags describe: class defaults, then the preset, then the flags.

    Raises InvalidInput for a value that doesn't parse, and for seeds out of range.
    """
    config = dict(presets[values.preset])
    for field in dataclasses.fields(config_class):
        given = values[field.name].value
        if given is None:
            continue
        kind = type(field.default)
        config[field.name] = given if kind is bool else _parse(field.name, kind, given)
    result = config_class(**config)
    _check_seeds(result)
    return result


def _check_seeds(config: Any) -> None:
    """Refuses seeds of which a key would take a remainder: two numbers would be one seed."""
    for field in dataclasses.fields(config):
        value, further = getattr(config, field.name), 0
        if field.name == "seed":
            further = max(getattr(config, "seeds", 1) - 1, 0)
        elif not field.name.endswith("_seed"):
            continue
        allowed = f"0 to {_SEEDS - 1 - further}"
        if not 0 <= value < _SEEDS - further:
            raise InvalidInput(f"--{field.name}: {value} is not allowed; use {allowed}")


def _told(said: str, values: flags.FlagValues) -> str:
    """What absl says of wrong flags in a line, with the nearest of the values allowed."""
    said = " ".join(said.split())
    wrong = re.match(r"flag --(\w+)=(.*?): value should be one of", said)
    if wrong and wrong[1] in values:
        known = getattr(values[wrong[1]].parser, "enum_values", [])
        allowed = f"use {', '.join(filter(None, known))}{did_you_mean(wrong[2], known)}"
        return f"--{wrong[1]}: {wrong[2]!r} is not allowed; {allowed}"
    if unknown := re.match(r"Unknown command line flag '(\w+)'", said):
        known = [f"--{name}" for name in values]
        more = did_you_mean(f"--{unknown[1]}", known) or "; --help lists all"
        return f"there is no flag --{unknown[1]}{more}"
    return said


def parse_flags(values: flags.FlagValues, argv: Sequence[str]) -> None:
    """Parses argv into the flags; raises InvalidInput for anything unknown or malformed."""
    try:
        rest = values(argv)
    except flags.Error as error:
        raise InvalidInput(_told(str(error), values)) from error
    if len(rest) > 1:
        raise InvalidInput(f"{rest[1]!r} is not a flag; use --name=value")


def help_text(doc: str, values: flags.FlagValues) -> str:
    """The experiment's docstring and its flags, one a line."""
    lines = [doc.strip(), "", "flags:"]
    for name in sorted(values):
        flag = values[name]
        if name == flag.name:
            allowed = (
                f" [{'|'.join(flag.parser.enum_values)}]"
                if hasattr(flag.parser, "enum_values")
                else ""
            )
            # absl writes the values of an enum before its help, too.
            said = re.sub(r"^<[^>]*>: ", "", flag.help)
            lines.append(f"  --{name}{allowed}: {said}")
    return "\n".join(lines)

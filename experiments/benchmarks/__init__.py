"""Benchmarks: ratios of two implementations within one run, as machines and their load differ."""

import argparse
from collections.abc import Callable, Sequence

from mmjax.errors import InvalidInput, act_first, say


class _Help(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    """The docstring as it is written, and defaults."""


class _Parser(argparse.ArgumentParser):
    """Of argparse, but a wrong argument is one line, as everywhere else."""

    def error(self, message):
        raise InvalidInput(f"{message.removeprefix('argument ')}; --help lists the arguments")


def make_parser(name: str, doc: str | None, minutes: str) -> argparse.ArgumentParser:
    """The command line of a benchmark, without arguments of its own.

    Args:
      name: of the module in experiments.benchmarks.
      doc: its docstring, which says what is measured.
      minutes: of the plain command on 2 CPU cores that other jobs use too.
    """
    return _Parser(
        prog=f"python -m experiments.benchmarks.{name}",
        description=(doc or "").strip(),
        epilog=f"Takes about {minutes} minutes on 2 CPU cores beside other jobs.",
        formatter_class=_Help,
        allow_abbrev=False,
    )


def positive(text: str) -> int:
    """A whole number >= 1 of the command line."""
    if not text.isdecimal() or int(text) < 1:
        message = f"{text!r} is not allowed; use a whole number >= 1"
        raise argparse.ArgumentTypeError(message)
    return int(text)


def run_benchmark(
    main: Callable[..., None], parser: argparse.ArgumentParser, argv: Sequence[str] | None = None
) -> int:
    """Runs `main(**arguments)`; 0, or 2 after a line about an argument that can't be used.

    Args:
      main: prints the table; raises InvalidInput for what users can mend.
      parser: of its arguments.
      argv: words behind the program's name; default those of sys.argv.
    """
    try:
        main(**vars(parser.parse_args(argv)))
    except InvalidInput as error:
        say(f"error: {act_first(str(error))}")
        return 2
    return 0

"""From the command line to a run: flags, workdir, signals, exit codes."""

import dataclasses
import hashlib
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from jax.errors import JaxRuntimeError

from mmjax.errors import InvalidInput
from mmjax.run.files import atomic_write
from mmjax.run.flags import help_text, make_flags, parse_flags, read_config
from mmjax.run.progress import tracked
from mmjax.train import Interrupted, noted_signals


class Run(NamedTuple):
    """A run in its folder.

    Attributes:
      experiment: its name.
      workdir: the folder that everything is written to.
      stop: returns the signal that asked the run to stop, or None.
    """

    experiment: str
    workdir: str
    stop: Callable[[], int | None]

    def path(self, *parts: str) -> str:
        """A path inside the workdir."""
        return os.path.join(self.workdir, *parts)

    def tracked(self, items: Iterable, label: str) -> Iterator:
        """The items one by one, with progress lines; Interrupted between two on a signal."""
        return tracked(items, label, stop=self.stop)


def slug(name: str) -> str:
    """A setting's name as a file name: `/` and spaces become `_`.

    Names with other signs (`$`, `|`, letters beyond ASCII) and long ones end in a hash, so that two
    of them never share a file.
    """
    plain = re.sub(r"[^A-Za-z0-9_.=-]+", "_", name)
    if re.fullmatch(r"[A-Za-z0-9_=-][A-Za-z0-9_.=/ -]{0,99}", name):
        return plain
    told = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{plain[:80].lstrip('.')}-{told}"


def fresh_workdir(experiment: str) -> str:
    """The name of a folder under runs/ that does not exist yet."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    for suffix in ("", *(f"-{k}" for k in range(1, 1000))):
        path = os.path.join("runs", f"{experiment}-{stamp}{suffix}")
        if not os.path.exists(path):
            return path
    raise InvalidInput("runs/: too many runs in one second; pass --workdir")


def claim_workdir(workdir: str, experiment: str, config: Any) -> None:
    """Makes the folder and writes config.json, or checks that it holds this very config.

    Raises InvalidInput that names every difference.
    """
    described = {"experiment": experiment, **dataclasses.asdict(config)}
    described = json.loads(json.dumps(described))  # tuples become lists, as in the file
    path = os.path.join(workdir, "config.json")
    if not os.path.exists(path):
        try:
            os.makedirs(workdir, exist_ok=True)
            atomic_write(path, json.dumps(described, indent=2) + "\n")
        except OSError as error:
            raise InvalidInput(
                f"--workdir: {workdir!r} can't be written ({error.strerror})"
            ) from error
        return
    try:
        with open(path, encoding="utf-8") as file:
            found = dict(json.load(file))
    except (ValueError, TypeError) as error:
        raise InvalidInput(f"{path}: not the config of a run") from error
    keys = sorted(k for k in {*found, *described} if found.get(k) != described.get(k))
    if keys:
        told = ", ".join(f"{k} {found.get(k)!r} there, {described.get(k)!r} here" for k in keys)
        raise InvalidInput(f"--workdir: {workdir!r} holds a run of another config: {told}")


def launch(
    main: Callable[[Any, Run], None],
    config_class: type,
    presets: Mapping[str, Mapping[str, Any]],
    *,
    experiment: str,
    doc: str,
    argv: Sequence[str] | None = None,
) -> int:
    """Runs an experiment and returns its exit code.

    0 done; 2 bad flag or input, told in one line; 128 + n stopped by signal n, its state saved.
    Other exceptions are bugs and keep their traceback, except failures of the machine (disk,
    memory), which are told in one line with code 1.

    Args:
      main: `(config, run)`; raises InvalidInput for what users can mend.
      config_class: a frozen dataclass of mmjax.run.flags.option fields.
      presets: name -> fields that differ from the class's defaults; the first is the default.
      experiment: its name.
      doc: text above the flags in --help.
      argv: command line, program name first; default sys.argv.
    """
    values = make_flags(config_class, presets)
    try:
        parse_flags(values, sys.argv if argv is None else argv)
        if values.help:
            print(help_text(doc, values))
            return 0
        config = read_config(config_class, presets, values)
        workdir = values.workdir or fresh_workdir(experiment)
        with noted_signals() as stop:
            main(config, Run(experiment, workdir, stop))
        return 0
    except InvalidInput as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Interrupted as error:
        print(f"{error}; the same command goes on from here", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from its last checkpoint", file=sys.stderr)
        return 130
    except (OSError, MemoryError, JaxRuntimeError) as error:
        # The machine's failures: a full disk, no memory left on the host or the device.
        print(f"error: {' '.join(str(error).split())[:500]}", file=sys.stderr)
        return 1

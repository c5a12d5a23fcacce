"""From the command line to a run: flags, workdir, signals, exit codes."""

import dataclasses
import os
import re
import shlex
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from types import MappingProxyType
from typing import IO, Any, NamedTuple

from absl.flags import FlagValues
from jax.errors import JaxRuntimeError

from mmjax.config import Need, moot
from mmjax.errors import InvalidInput, act_first, heard, say
from mmjax.run.about import About
from mmjax.run.claim import claim_folder, claimed_for_good, differences
from mmjax.run.flags import help_text, make_flags, parse_flags, read_config
from mmjax.run.identity import code_of, data_of
from mmjax.run.loggers import DEFAULT, parse_loggers
from mmjax.run.progress import never_silent, tracked
from mmjax.run.report import RunDescription, keep_notes, write_report
from mmjax.train import GRACE, Interrupted, NotFinite, noted_signals, require_one_process


class Run(NamedTuple):
    """A run in its folder.

    Attributes:
      experiment: its name.
      workdir: the folder that everything is written to.
      stop: returns the signal that asked the run to stop, or None.
      keep: takes the folder's lock, to hold it until the run ends.
      notes: lines about the flags, said once nothing is left to refuse.
      loggers: names of loggers beside metrics.csv, see mmjax.run.loggers.
    """

    experiment: str
    workdir: str
    stop: Callable[[], int | None]
    keep: Callable[[IO], object] = lambda lock: lock.close()
    notes: Sequence[str] = ()
    loggers: Sequence[str] = DEFAULT[1:]

    def path(self, *parts: str) -> str:
        """A path inside the workdir."""
        return os.path.join(self.workdir, *parts)

    def tracked(
        self, items: Iterable, label: str | Callable[[], str], unit: str = "pieces"
    ) -> Iterator:
        """The items one by one, with progress lines; Interrupted between two on a signal."""
        return tracked(items, label, unit=unit, stop=self.stop)


@contextmanager
def fresh_workdir(experiment: str) -> Iterator[str]:
    """A new folder under runs/, which goes again if nothing is written to it.

    Making it claims its name: two runs that start in one second get two.
    """
    stamp = time.strftime("%Y%m%d-%H%M%S")
    first = not os.path.isdir("runs")
    try:
        os.makedirs("runs", exist_ok=True)
        for suffix in ("", *(f"-{k}" for k in range(1, 1000))):
            path = os.path.join("runs", f"{experiment}-{stamp}{suffix}")
            with suppress(FileExistsError):
                os.mkdir(path)
                break
        else:
            raise InvalidInput("runs/: too many runs in one second; pass --workdir")
    except OSError as error:
        message = f"runs/: can't be made here ({error.strerror}); pass --workdir"
        raise InvalidInput(message) from error
    try:
        yield path
    finally:
        with suppress(OSError):  # it holds a run
            if os.listdir(path) == [".lock"]:
                os.unlink(os.path.join(path, ".lock"))
            os.rmdir(path)
            if first:
                os.rmdir("runs")


def claim_workdir(run: Run, experiment: str, config: Any) -> None:
    """Makes and locks the folder and writes config.json, or checks that it holds this very config.

    config.json holds the config, `data_hash` (see identity.data_of) and the versions of the code.
    Other versions are told in a line, for figures seldom depend on them; a folder from before
    there were hashes is taken as it is, with a line.

    Raises InvalidInput that names every difference, or for a folder in use by another run.
    """
    workdir = run.workdir
    about = {"data_hash": data_of(config, workdir), **code_of(config)}
    described = {"experiment": experiment, **dataclasses.asdict(config), **about}
    result = claim_folder(workdir, "config.json", described, keep=run.keep, ignored=tuple(about))
    if result is not None:
        _compare(workdir, {name: result.get(name) for name in about}, about)
    for line in run.notes:
        say(line)


def _compare(workdir: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuses other data, and tells of other code."""
    if before["data_hash"] is None:
        say(f"note: {workdir!r} is from before runs kept hashes; its data are taken to be these")
        return
    there, here = before["data_hash"], now["data_hash"]
    if changed := sorted(k for k in {*there, *here} if there.get(k) != here.get(k)):
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        message = ", ".join(changed[:3]) + more
        raise InvalidInput(
            f"--workdir: {workdir!r} holds a run of other data: {message} had other contents then"
        )
    flat = lambda of: {k: v for k, v in of.items() if k != "packages"} | (of["packages"] or {})
    older, newer = flat({**before, "data_hash": 0}), flat({**now, "data_hash": 0})
    if message := differences(older, newer, str):
        say(f"note: {workdir!r} was begun with other code: {message}")


def _failed(workdir: str | None, error: BaseException) -> str:
    """The line about a failure of the machine; its traceback goes to a file that it names."""
    said = " ".join(str(error).split())[:500] or "no memory left"
    folder = workdir if workdir and os.path.isdir(workdir) else tempfile.gettempdir()
    try:
        handle, path = tempfile.mkstemp(dir=folder, prefix="traceback-", suffix=".txt", text=True)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write("".join(traceback.format_exception(error)))
    except OSError as full:
        return f"error: {type(error).__name__}: {said} (no traceback: {full.strerror})"
    return f"error: {type(error).__name__}: {said} (traceback in {path})"


def _of_preset(said: str, presets: Mapping[str, Mapping[str, Any]], values: FlagValues) -> str:
    """Where the value came from that is refused, if from a preset: the user gave no such flag."""
    refused = re.match(r"(?:--)?(\w+): ", said)
    if not refused or not values.is_parsed():
        return ""
    name, preset = refused[1], values.preset
    if name not in presets.get(preset, ()) or values[name].present:
        return ""
    return f" (it is that of --preset={preset})"


@contextmanager
def _noting(run: Run) -> Iterator[list[str]]:
    """Notes that are said inside; the run's folder keeps them, however the run ends."""
    notes: list[str] = []
    with heard() as lines:
        try:
            yield notes
        finally:
            notes += lines
            if notes and os.path.exists(run.path("config.json")):
                with suppress(OSError):  # a full disk has its own line
                    keep_notes(run.workdir, notes)


def launch(
    main: Callable[[Any, Run], None],
    config_class: type,
    presets: Mapping[str, Mapping[str, Any]],
    *,
    experiment: str,
    doc: str,
    about: About | None = None,
    needs: Mapping[str, Need] = MappingProxyType({}),
    argv: Sequence[str] | None = None,
) -> int:
    """Runs an experiment, writes its report.html, prints its path and returns the exit code.

    0 done; 2 bad flag or input, told in one line; 128 + n stopped by signal n, its state saved.
    1 with a line: a loss that is not finite, and failures of the machine (disk, memory, compiler),
    whose traceback is in a file that the line names. Other exceptions are bugs and keep theirs.
    As a program (argv None) a signal ends the process within five seconds, see noted_signals.

    Args:
      main: `(config, run)`; raises InvalidInput for what users can mend.
      config_class: a frozen dataclass of mmjax.run.flags.option fields.
      presets: name -> fields that differ from the class's defaults; the first is the default.
      experiment: its name.
      doc: text above the flags in --help.
      about: what it asks; None: the first line of doc.
      needs: of flags that are moot beside some others; one that is given in vain is told in a line.
      argv: command line, program name first; default sys.argv.
    """
    values, workdir = make_flags(config_class, presets), None
    try:
        parse_flags(values, sys.argv if argv is None else argv)
        if values.help:
            print(help_text(doc, values), flush=True)
            return 0
        config = read_config(config_class, presets, values)
        require_one_process()
        given = [f.name for f in dataclasses.fields(config_class) if values[f.name].present]
        notes = moot(config, given, needs)
        loggers = parse_loggers(values.loggers)
        if about and not about.trains and values["loggers"].present:
            notes.append("note: --loggers changes nothing here: it needs an experiment that trains")
        with ExitStack() as stack:
            stack.enter_context(never_silent(experiment))
            workdir = values.workdir or stack.enter_context(fresh_workdir(experiment))
            stop = stack.enter_context(noted_signals(grace=GRACE if argv is None else None))
            run = Run(experiment, workdir, stop, stack.enter_context, notes, loggers)
            with _noting(run) as lines, claimed_for_good(workdir, "config.json"):
                main(config, run)
            if os.path.exists(run.path("config.json")):
                words = (sys.argv if argv is None else argv)[1:]
                described = RunDescription(
                    experiment,
                    about or About(doc.strip().split("\n")[0], "", "", ""),
                    config,
                    values.preset,
                    presets[values.preset],
                    shlex.join(["python", "-m", f"experiments.{experiment}", *words]),
                    lines,
                )
                print(write_report(workdir, described))
        return 0
    except InvalidInput as error:
        say(f"error: {act_first(str(error))}{_of_preset(str(error), presets, values)}")
        return 2
    except Interrupted as error:
        say(f"{error}; the same command goes on from here")
        return error.exit_code
    except KeyboardInterrupt:
        say("interrupted; the same command goes on from its last checkpoint")
        return 130
    except NotFinite as error:
        say(f"error: {error}")
        return 1
    except BrokenPipeError:  # who reads has enough: `--help | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python writes what is left
        return 128 + signal.SIGPIPE
    except (OSError, MemoryError, JaxRuntimeError) as error:
        # The machine's failures: a full disk, no memory left on the host or the device.
        say(_failed(workdir, error))
        return 1

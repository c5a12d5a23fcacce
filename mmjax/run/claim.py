"""A folder belongs to one configuration: claimed by the first that comes, refused to others."""

import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import IO, Any

from mmjax.errors import InvalidInput
from mmjax.run.files import atomic_write
from mmjax.run.lock import holder, locked


def claim_folder(
    folder: str,
    name: str,
    described: Mapping[str, Any],
    *,
    keep: Callable[[IO], object],
    flag: str = "--workdir",
    holds: str = "a run of another config",
    opened: Collection[str] = (),
    ignored: Collection[str] = (),
) -> dict[str, Any] | None:
    """Makes and locks a folder and writes what it is for, or checks that it is for this.

    Args:
      folder: its path.
      name: of the JSON file in it.
      described: of JSON's types, and tuples.
      keep: takes the folder's lock, to hold it as long as the folder is in use.
      flag: that named the folder, for messages.
      holds: what is there where it is for something else, for messages.
      opened: entries that are dicts, whose own entries are compared one by one.
      ignored: entries that are not compared.

    Returns:
      What the file held, or None where it was written now.

    Raises InvalidInput that names every difference, or for a folder in use, or that can't be
    written.
    """
    here = json.loads(json.dumps(described))  # tuples become lists, as in the file
    path = os.path.join(folder, name)
    # As Model.save has it: files of a run among a model's would be neither's.
    if os.path.exists(os.path.join(folder, "model.json")):
        raise InvalidInput(f"{flag}: {folder!r} holds a saved model; use another {flag}")
    try:
        os.makedirs(folder, exist_ok=True)
        keep(locked(folder))
        for left in os.listdir(folder):  # of a write that a kill cut short; the folder is ours
            if left.startswith(".") and left.endswith(".tmp"):
                os.unlink(os.path.join(folder, left))
        if not os.path.exists(path):
            atomic_write(path, json.dumps(here, indent=2) + "\n")
            return None
    except OSError as error:
        raise InvalidInput(
            f"{flag}: {folder!r} can't be written ({error.strerror}); use another folder"
        ) from error
    try:
        with open(path, encoding="utf-8") as file:
            there = dict(json.load(file))
    except (ValueError, TypeError) as error:
        raise InvalidInput(f"{path}: not the config of a run") from error
    if differing := differences(_flat(there, opened, ignored), _flat(here, opened, ignored)):
        raise InvalidInput(f"{flag}: {folder!r} holds {holds}: {differing}; use another {flag}")
    return there


@contextmanager
def claimed_for_good(folder: str, name: str) -> Iterator[None]:
    """Lets the folder go again where what is inside claims it, makes nothing in it and is refused:
    the mended command takes the same folder.

    Args:
      folder, name: see claim_folder.
    """
    path = os.path.join(folder, name)
    before = os.path.exists(path)
    try:
        yield
    except InvalidInput:
        ours = not before and os.path.exists(path) and holder(folder) == os.getpid()
        if ours and not _made(folder, name):
            for left in (name, *_BOOKS):
                with suppress(OSError):
                    os.unlink(os.path.join(folder, left))
            with suppress(OSError):
                os.rmdir(os.path.join(folder, "figures"))
        raise


_BOOKS = ("data.json", "pieces.json", "metrics.csv", "notes.json")  # kept of a run, not made by it


def _made(folder: str, claim: str) -> bool:
    """Whether a run's folder holds a result, a checkpoint or a figure."""
    for entry in os.scandir(folder):
        if entry.is_dir():
            if any(files for *_, files in os.walk(entry.path)):
                return True
        elif entry.name == "metrics.csv":
            with open(entry.path, encoding="utf-8") as file:
                if len(file.readlines()) > 1:
                    return True
        elif entry.name not in (claim, ".lock", *_BOOKS):
            return True
    return False


def _flat(of: Mapping[str, Any], opened: Collection[str], ignored: Collection[str]) -> dict:
    results = {k: v for k, v in of.items() if k not in (*opened, *ignored)}
    for name in opened:
        results |= dict(of.get(name) or {})
    return results


def differences(
    there: Mapping[str, Any], here: Mapping[str, Any], show: Callable[[Any], str] = repr
) -> str:
    """`a 1 there, 2 here, b ...`: every entry that differs, long values cut; empty for none."""
    short = lambda v: text if len(text := show(v)) < 80 else text[:77] + "..."
    keys = sorted(k for k in {*there, *here} if there.get(k) != here.get(k))
    return ", ".join(f"{k} {short(there.get(k))} there, {short(here.get(k))} here" for k in keys)

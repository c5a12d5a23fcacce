"""One run a folder."""

import errno
import fcntl
import os
from typing import IO

from mmjax.errors import InvalidInput, say


def locked(workdir: str) -> IO:
    """Takes the folder's lock: an open file, which holds it until it is closed.

    The system drops the lock of a process that ends, however it ends: none is ever stale.

    Raises InvalidInput where another run holds it.
    """
    # Not inherited by children, which would hold it after a kill; "a" leaves its text alone.
    file = open(os.path.join(workdir, ".lock"), "a+", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            say(f"note: {workdir!r} can't be locked ({error.strerror})")
            return file
        file.seek(0)
        holder = file.read().strip()
        file.close()
        message = f" (process {holder})" if holder else ""
        raise InvalidInput(f"--workdir: {workdir!r} is in use by another run{message}") from error
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file


def holder(workdir: str) -> int | None:
    """The process that locked the folder last."""
    try:
        with open(os.path.join(workdir, ".lock"), encoding="utf-8") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None

"""Shards of webdataset: plain tar files, read in place by the offsets of their members."""

import io
import os
import re
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

import numpy as np

from mmjax.data.files.pictures import left_out
from mmjax.data.files.tables import printable
from mmjax.data.formats.members import Members, members_table
from mmjax.data.formats.table import Table
from mmjax.errors import InvalidInput

_OPEN = 64  # shards that are kept open
_VIEWS = 8  # pictures of one sort that a row may have
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")


def expanded(pattern: str) -> list[str]:
    """`a{00..12}.tar` as the names it stands for; of several ranges, all combinations."""
    match = _RANGE.search(pattern)
    if not match:
        return [pattern]
    low, high = match.groups()
    numbers = [f"{k:0{len(low)}d}" for k in range(int(low), int(high) + 1)]
    if not numbers:
        raise InvalidInput(f"{pattern}: {match.group()} is empty; use {{00..12}}, the lowest first")
    start, end = pattern[: match.start()], pattern[match.end() :]
    return [name for number in numbers for name in expanded(start + number + end)]


def open_shards(path: str, shards: Sequence[str], remarks: Sequence[str] = ()) -> Table:
    """The rows of tar files, in their order: a row is the members of one name up to its first dot.

    Nothing is written to disk: names with `..` or a leading slash are names like others.

    Args:
      path: for messages.
      shards: paths.
      remarks: see Table.

    Raises InvalidInput for a shard that is missing, compressed or broken, two members of one name
    in a shard, and whatever members_table does.
    """
    keys: list[str] = []
    names: list[str] = []
    offsets, sizes, homes = [], [], []
    results: dict[str, tuple[list[int], list[int]]] = {}
    odd: list[str] = []
    unmarked: list[str] = []
    for home, shard in enumerate(shards):
        rows: dict[str, int] = {}
        seen: set[str] = set()
        for member in _members(shard, unmarked):
            if member.isdir():
                continue
            folder, _, base = member.name.rpartition("/")
            stem, dot, ending = base.partition(".")
            if not member.isreg() or member.issparse() or not stem or not dot:
                odd.append(f"{os.path.basename(shard)}/{printable(member.name)}")
                continue
            key, ending = f"{folder}/{stem}" if folder else stem, f".{ending.lower()}"
            if key + ending in seen:
                message = f"{shard}: two members {printable(key + ending)}"
                raise InvalidInput(f"{message}; use one of each name")
            seen.add(key + ending)
            if key not in rows:
                rows[key] = len(keys)
                keys.append(key)
            pair = results.setdefault(ending, ([], []))
            pair[0].append(rows[key])
            pair[1].append(len(names))
            names.append(member.name)
            offsets.append(member.offset_data)
            sizes.append(member.size)
            homes.append(home)
    _check_dots(path, keys, names, results)
    places = [np.array(values, np.int64) for values in (offsets, sizes, homes)]
    where = {}
    for ending, (at, numbers) in results.items():
        where[ending] = np.full(len(keys), -1)
        where[ending][at] = numbers
    message = left_out(path, odd, "no file of a row")
    shard_of = lambda k: shards[int(places[2][k])]
    tell = lambda k: f"{shard_of(k)}: {printable(names[k])}"
    opened = lru_cache(_OPEN)(_opened)
    read = lambda k: _content(opened(shard_of(k)), int(places[0][k]), int(places[1][k]))
    return members_table(Members(path, keys, where, tell, read, {}, [*remarks, message, *unmarked]))


def _check_dots(
    path: str,
    keys: Sequence[str],
    names: Sequence[str],
    results: Mapping[str, tuple[Sequence[int], Sequence[int]]],
) -> None:
    """Raises InvalidInput where names have dots before their ending: `v1.2.jpg` would be row `v1`,
    and lost. A second picture that most rows have, `1.left.jpg`, is none such."""
    several = [ending for ending in results if ending.count(".") > 1]
    parts = {ending: ending.rpartition(".")[::2] for ending in several}
    for ending, (stem, last) in parts.items():
        rows, numbers = results[ending]
        most = 2 * len(rows) > len(keys)
        many = len(keys) == 1 and sum(other == last for _, other in parts.values()) > _VIEWS
        pairs = sum(other == stem for other, _ in parts.values()) > 1
        plain = set(results.get(f".{last}", ((), ()))[0])
        if many or (not most and (pairs or (plain and not plain.issuperset(rows)))):
            name = printable(names[numbers[0]])
            message = f"{name} is read as {printable(keys[rows[0]])} with the ending {ending}"
            raise InvalidInput(f"{path}: {message}; use names without dots before their ending")


def _members(shard: str, unmarked: list[str]) -> Iterator[tarfile.TarInfo]:
    """Those of a shard; a remark where nothing says that it is whole."""
    if not os.path.isfile(shard):
        raise InvalidInput(f"{shard}: no such file")
    size = os.path.getsize(shard)
    try:
        with tarfile.open(shard, "r:") as file:
            for member in file:
                if member.isreg() and member.offset_data + member.size > size:
                    raise tarfile.ReadError(f"ends within {printable(member.name)}")
                yield member
                # A list of all that went by: hundreds of bytes each.
                file.members = []  # type: ignore[attr-defined]  # typeshed leaves it out
            end = file.offset
        with open(shard, "rb") as raw:  # tarfile takes a broken header for the end
            raw.seek(end)
            last = raw.read(tarfile.BLOCKSIZE)
        if last and (len(last) < tarfile.BLOCKSIZE or any(last)):
            raise tarfile.ReadError("ends within a header")
        if not last:
            unmarked.append(f"{shard}: without the mark of its end; it may have been cut")
    except (tarfile.TarError, EOFError, ValueError, OSError) as error:
        if isinstance(error, InvalidInput):
            raise
        message = " ".join(str(error).split())
        raise InvalidInput(f"{shard}: not a whole, uncompressed .tar ({message})") from error


def _opened(shard: str) -> io.FileIO:
    try:
        return open(shard, "rb", buffering=0)
    except OSError as error:
        raise InvalidInput(f"{shard}: can't be read ({error.strerror})") from error


def _content(file: io.FileIO, offset: int, size: int) -> bytes:
    try:
        content = os.pread(file.fileno(), size, offset)  # threads share no place in the file
    except OSError as error:
        raise InvalidInput(f"{file.name}: can't be read ({error.strerror})") from error
    if len(content) != size:
        raise InvalidInput(f"{file.name}: has become shorter while it was read")
    return content

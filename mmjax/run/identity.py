"""What a run's results depend on beside its flags: contents of files, code, packages."""

import dataclasses
import hashlib
import os
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import mmjax
from mmjax.config import names_in

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "scikit-learn")

_WHOLE = 1 << 30  # bytes of a flag's files that are read whole: a few seconds
_NAMED = 50  # files of a folder that have a hash each
_PIECES = 64  # of a sample of all the bytes
_PIECE = 1 << 18


def _sample(path: str, size: int, pieces: int) -> Iterator[bytes]:
    """Pieces of a file, evenly apart, its first and last among them."""
    with open(path, "rb") as file:
        starts = [round(k * max(size - _PIECE, 0) / max(pieces - 1, 1)) for k in range(pieces)]
        for start in sorted({0, max(size - _PIECE, 0), *starts}):
            file.seek(start)
            yield file.read(_PIECE)


def _hash_of(files: list[tuple[str, str, int]], whole: bool) -> str:
    """Of files `(name, path, bytes)`: names, sizes, and all contents or a sample of them."""
    result = hashlib.sha256()
    pieces = max(1, _PIECES // len(files)) if files else 0
    # Of very many files every k-th is looked into: reading a piece of each takes minutes.
    every = 1 if whole else -(-len(files) // 4096)
    for number, (name, path, size) in enumerate(files):
        result.update(repr((name, size)).encode())
        if whole:
            with open(path, "rb") as file:
                result.update(hashlib.file_digest(file, "sha256").digest())
        elif number % every == 0:
            for piece in _sample(path, size, pieces):
                result.update(piece)
    return ("sha256:" if whole else "sha256-of-a-sample:") + result.hexdigest()


def hash_of_files(paths: Sequence[str]) -> str:
    """Of names and contents of files, in this order; see contents_of for very large ones."""
    files = [(os.path.basename(path), path, os.path.getsize(path)) for path in paths]
    return _hash_of(files, sum(size for _, _, size in files) <= _WHOLE)


def _below(path: str, without: str | None = None) -> list[tuple[str, str, int]]:
    """`(name, path, bytes)` of a file, or of every file below a folder, hidden ones left out.

    Links are followed, each folder once; `without` is left out.
    """
    if os.path.isfile(path):
        return [("", path, os.path.getsize(path))]
    results, seen = [], {os.path.realpath(without)} if without else set()
    for where, folders, names in os.walk(path, followlinks=True):
        if os.path.realpath(where) in seen:
            folders.clear()
            continue
        seen.add(os.path.realpath(where))
        folders[:] = sorted(n for n in folders if not n.startswith("."))
        for name in names:
            full = os.path.join(where, name)
            if not name.startswith(".") and os.path.isfile(full):
                results.append((os.path.relpath(full, path), full, os.path.getsize(full)))
    return sorted(results)


def contents_of(path: str, *, without: str | None = None) -> dict[str, str]:
    """Hashes that stand for a file's or a folder's contents, by path.

    Up to 1 GiB everything is hashed; beyond, names, sizes and a sample of the bytes: 64 pieces of
    256 KiB of a file, evenly apart, the first and the last among them; of a folder's files fewer
    each. Folders of up to 50 files have a hash a file, larger ones one in all. Hidden files don't
    count, nor does the folder `without`. A path that is not there has no contents.
    """
    files = _below(path, without)
    whole = sum(size for _, _, size in files) <= _WHOLE
    if not os.path.isdir(path) or len(files) > _NAMED:
        return {path: _hash_of(files, whole)} if files else {}
    return {os.path.join(path, file[0]): _hash_of([file], whole) for file in files}


def data_of(config: Any, workdir: str) -> dict[str, str]:
    """`--flag path -> hash` of all files that the config's flags name (see option).

    The run's own folder is no data, should it lie among them.
    """
    results = {}
    for field in dataclasses.fields(config):
        given = getattr(config, field.name)
        if field.metadata.get("file") and given:
            for path in [given] if os.path.exists(given) else names_in(given):
                for name, content in contents_of(path, without=workdir).items():
                    results[f"--{field.name} {name}"] = content
    return results


def _version_of(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # put on the path by hand
        return "unknown"


def code_of(config: Any) -> dict[str, Any]:
    """The versions of mmjax and of the packages that its figures depend on.

    `sources` is a hash of the Python files of mmjax and of the package that the config's class is
    in (experiments), so that it tells commits apart without git.
    """
    files = _below(os.path.dirname(mmjax.__file__))
    module = sys.modules.get(type(config).__module__)
    source = getattr(module, "__file__", None)
    if getattr(module, "__package__", None) and source:
        folder = os.path.dirname(os.path.abspath(source))
        files += [(f"beside/{n}", os.path.join(folder, n), 0) for n in sorted(os.listdir(folder))]
    hashed = _hash_of([file for file in files if file[0].endswith(".py")], True)
    return {
        "version": mmjax.__version__,
        "sources": hashed.removeprefix("sha256:")[:12],
        "packages": {name: _version_of(name) for name in PACKAGES},
    }

"""Checkpoints: orbax, the last two kept, each with a manifest of all its files.

`FOLDER/STEP/default/` is orbax's. `FOLDER/STEP/manifest.json` is written last, so that a step
without one was cut short by a kill; it is checked before a step is used (a flipped bit restores
silently otherwise). Steps from before there were manifests count as cut short.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from mmjax.errors import InvalidInput, say
from mmjax.train.fingerprint import same_fingerprint
from mmjax.types import Tree

_MANIFEST = "manifest.json"
_KEPT = 2


class Checkpoints(NamedTuple):
    """A folder of checkpoints of one training.

    Attributes:
      save: `(step, tree, about={})`; returns when it is on disk, whole or not at all.
      restore: `(like, about={}) -> (step, tree)` of the newest that is whole, with like's
        structure; None if there is none. A damaged one is left out with a line. Raises InvalidInput
        where all are damaged, or the newest whole one has other shapes or dtypes, or was saved
        about other `data`, or of a recipe (`until`, the ends of its stages) that is not this one's.
      close: releases the folder.
      path: `step -> where its checkpoint lies`.
    """

    save: Callable[..., None]
    restore: Callable[..., tuple[int, Tree] | None]
    close: Callable[[], None]
    path: Callable[[int], str]


def _files(folder: str) -> dict[str, str]:
    """`relative path -> sha256` of every file below, the manifest left out."""
    results = {}
    for where, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(where, name)
            relative = os.path.relpath(path, folder)
            if relative != _MANIFEST:
                with open(path, "rb") as file:
                    results[relative] = hashlib.file_digest(file, "sha256").hexdigest()
    return results


def _leaves(tree: Tree) -> dict[str, list]:
    """`path -> [dtype, shape]` of every leaf, as JSON has it."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): [str(x.dtype), list(x.shape)]
        for path, x in leaves
    }


def _sealed(body: dict) -> str:
    """The manifest's text: its first line is the hash of what follows."""
    text = json.dumps(body, indent=1) + "\n"
    return hashlib.sha256(text.encode()).hexdigest() + "\n" + text


class _Damaged(Exception):
    """Says what is wrong with a checkpoint's files."""


def _checked(folder: str) -> dict | None:
    """The manifest of a whole checkpoint; None of one that was cut short. Raises _Damaged."""
    path = os.path.join(folder, _MANIFEST)
    if not os.path.exists(path):
        return None
    try:
        with open(path, encoding="utf-8", newline="") as file:
            text = file.read()
        body = json.loads(text.partition("\n")[2])
        whole = _sealed(body) == text
    except (ValueError, OSError):
        whole = False
    if not whole:
        raise _Damaged(f"{_MANIFEST} is damaged")
    try:
        result = _files(folder)
    except OSError as error:
        raise _Damaged(f"{error.filename} can't be read ({error.strerror})") from error
    for name in sorted({*result, *body["files"]}):
        if name not in result:
            raise _Damaged(f"{name} is missing")
        if name not in body["files"] and not os.path.basename(name).startswith("."):
            raise _Damaged(f"{name} does not belong to it")
        if name in body["files"] and result[name] != body["files"][name]:
            raise _Damaged(f"{name} has other contents than were saved")
    return body


def _refuse_others(path: str, step: int, body: dict, like: Tree, about: Mapping[str, Any]) -> None:
    """Raises InvalidInput for a whole checkpoint that is not of this training."""

    def refuse(problem):
        raise InvalidInput(f"checkpoint {path}: {problem}; use another folder")

    ours, theirs = _leaves(like), body["leaves"]
    for name in sorted({*ours, *theirs}):
        if ours.get(name) != theirs.get(name):
            said = [
                f"{result[name][0]}{result[name][1]}" if name in result else "nothing"
                for result in (theirs, ours)
            ]
            refuse(f"{name} is {said[0]} there, {said[1]} here")
    until, before = about.get("until"), body["about"].get("until")
    if until and step > until[-1]:
        refuse(f"holds step {step}, but {until[-1]} steps are asked for")
    if until and before and [u for u in before if u < step] != [u for u in until if u < step]:
        refuse(f"its stages ended at steps {before}, here at {until}")
    data, theirs = about.get("data"), body["about"].get("data")
    if data is not None and theirs is not None and not same_fingerprint(data, theirs):
        refuse("was made of other data or other seeds")


def open_checkpoints(folder: str, *, say: Callable[[str], object] = say) -> Checkpoints:
    """Opens, or makes, a folder of checkpoints.

    Args:
      folder: where; anything in it but folders named by a number is left alone.
      say: takes a line about each checkpoint that is left out.
    """
    import orbax.checkpoint as ocp

    os.makedirs(folder, exist_ok=True)
    checkpointer = ocp.Checkpointer(ocp.StandardCheckpointHandler())
    path = lambda step: os.path.join(folder, str(step))

    def steps() -> list[int]:
        names = [n for n in os.listdir(folder) if n.isdecimal() and str(int(n)) == n]
        return sorted((int(n) for n in names if os.path.isdir(path(n))), reverse=True)

    def remove(step):
        # The manifest first: whatever is left by a kill in between is no checkpoint.
        if os.path.exists(manifest := os.path.join(path(step), _MANIFEST)):
            os.unlink(manifest)
        shutil.rmtree(path(step))

    def save(step, tree, about=None):
        arrays = jax.tree.map(np.asarray, tree)
        if step in steps():
            remove(step)
        target = os.path.join(os.path.abspath(path(step)), "default")
        checkpointer.save(target, args=ocp.args.StandardSave(arrays))
        body = {
            "step": step,
            "about": dict(about or {}),
            "leaves": _leaves(arrays),
            "files": _files(path(step)),
        }
        temporary = os.path.join(path(step), "." + _MANIFEST)
        with open(temporary, "w", encoding="utf-8", newline="") as file:
            file.write(_sealed(body))
        os.replace(temporary, os.path.join(path(step), _MANIFEST))
        # Later ones were left out when this training began: they are damaged or cut short.
        kept = [s for s in steps() if s <= step][:_KEPT]
        for other in steps():
            if other not in kept:
                remove(other)

    def restore(like, about=None):
        damaged = []
        for step in steps():
            try:
                body = _checked(path(step))
                if body is None:
                    say(f"checkpoint {path(step)}: has no {_MANIFEST}: it was cut short; unused")
                    continue
                if body["step"] != step:
                    raise _Damaged(f"{_MANIFEST} is of step {body['step']}")
            except _Damaged as error:
                say(f"checkpoint {path(step)}: {error}; unused")
                damaged.append(step)
                continue
            _refuse_others(path(step), step, body, like, about or {})
            shapes = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), like)
            where = os.path.join(os.path.abspath(path(step)), "default")
            tree = checkpointer.restore(where, args=ocp.args.StandardRestore(shapes))
            return step, jax.tree.map(jax.numpy.asarray, tree)
        if damaged:
            raise InvalidInput(f"checkpoints {folder}: none is whole; remove it to start over")
        return None

    return Checkpoints(save, restore, checkpointer.close, path)

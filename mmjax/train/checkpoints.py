"""Checkpoints: orbax, atomic, the last two kept."""

import os
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp

from mmjax.errors import InvalidInput
from mmjax.types import Tree


class Checkpoints(NamedTuple):
    """A folder of checkpoints of one training.

    Attributes:
      save: `(step, tree)`; returns when it is on disk, whole or not at all.
      restore: `like -> (step, tree)` of the newest, with like's structure; None if there is none.
      close: releases the folder.
    """

    save: Callable[[int, Tree], None]
    restore: Callable[[Tree], tuple[int, Tree] | None]
    close: Callable[[], None]


def open_checkpoints(folder: str) -> Checkpoints:
    """Opens, or makes, a folder of checkpoints."""
    options = ocp.CheckpointManagerOptions(
        max_to_keep=2, create=True, enable_async_checkpointing=False
    )
    manager = ocp.CheckpointManager(os.path.abspath(folder), options=options)

    def save(step, tree):
        arrays = jax.tree.map(np.asarray, tree)
        manager.save(step, args=ocp.args.StandardSave(arrays), force=True)

    def restore(like):
        step = manager.latest_step()
        if step is None:
            return None
        shapes = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), like)
        try:
            tree = manager.restore(step, args=ocp.args.StandardRestore(shapes))
        except (ValueError, KeyError, OSError) as error:
            reason = str(error).splitlines()[0]
            raise InvalidInput(
                f"checkpoint {folder}/{step}: can't be restored ({reason})"
            ) from error
        return step, jax.tree.map(jax.numpy.asarray, tree)

    return Checkpoints(save, restore, manager.close)

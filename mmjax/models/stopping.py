"""The best parameters by a validation figure, and when to stop: kept so that a resume is exact."""

import json
import os
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from mmjax.run.files import atomic_write
from mmjax.train import State, open_checkpoints
from mmjax.types import Tree


class Watcher(NamedTuple):
    """What looks at a training from the side.

    Attributes:
      watch: see mmjax.train.train.
      resume: `step ->` forgets what came after it.
      best: `() -> (step, parameters)` of the lowest figure, or None before the first.
      history: `() -> [(step, figure)]`, lower is better.
    """

    watch: Callable[[int, Callable[[], State]], bool]
    resume: Callable[[int], None]
    best: Callable[[], tuple[int, Tree] | None]
    history: Callable[[], list[tuple[int, float]]]


def watch_validation(
    figure: Callable[[Tree], float],
    *,
    every: int,
    patience: int | None,
    folder: str | None,
    say: Callable[[int, float], object] = lambda step, value: None,
) -> Watcher:
    """Looks at a figure every some steps, keeps the best parameters, and stops when it has not
    become lower for a while.

    Args:
      figure: `parameters of one seed -> float`, lower is better; NaN is never best.
      every: steps between two looks.
      patience: looks without a lower figure after which training stops; None never stops.
      folder: where figures and the best parameters are kept; None keeps them in memory.
      say: called with what was seen.
    """
    path = folder and os.path.join(folder, "validation.json")
    kept: dict[int, float] = {}
    best: list[tuple[int, Tree]] = []
    checkpoints = open_checkpoints(os.path.join(folder, "best")) if folder else None
    if path and os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            kept.update({int(step): value for step, value in json.load(file)})

    def lowest() -> int | None:
        finite = {step: v for step, v in kept.items() if np.isfinite(v)}
        return min(finite, key=lambda step: (finite[step], step)) if finite else None

    def over(step: int) -> bool:
        first = lowest()
        return patience is not None and first is not None and step - first >= patience * every

    def watch(step: int, states: Callable[[], State]) -> bool:
        if step % every:
            return False
        if step not in kept:
            params = jax.tree.map(lambda leaf: np.asarray(leaf)[0], states().params)
            kept[step] = float(figure(params))
            if lowest() == step:
                best[:] = [(step, params)]
                if checkpoints:
                    checkpoints.save(step, params)
            if path:  # after the parameters: a figure stands for what is there
                atomic_write(path, json.dumps(sorted(kept.items())) + "\n")
            say(step, kept[step])
        return over(step)

    def resume(step: int) -> None:
        for later in [s for s in kept if s > step]:
            del kept[later]

    def found() -> tuple[int, Tree] | None:
        return best[0] if best else None

    return Watcher(watch, resume, found, lambda: sorted(kept.items()))


def restored_best(watcher: Watcher, folder: str, like: Tree) -> tuple[int, Tree] | None:
    """The best parameters, of a training that went on from another process.

    Args:
      watcher: of the training, at its end.
      folder: that of watch_validation.
      like: parameters of the same structure.
    """
    if watcher.best() is not None or not watcher.history():
        return watcher.best()
    return open_checkpoints(os.path.join(folder, "best")).restore(like)

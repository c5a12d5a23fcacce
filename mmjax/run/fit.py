"""Training all seeds of a setting inside a run: restarts, checkpoints, metrics, progress."""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np

from mmjax.errors import say
from mmjax.run.files import slug
from mmjax.run.launch import Run
from mmjax.run.metrics import MetricsLog
from mmjax.run.progress import progress_line
from mmjax.train import (
    NotFinite,
    Outcome,
    Recipe,
    init_states,
    make_layout,
    open_checkpoints,
    train,
    train_with_restarts,
)
from mmjax.types import Key, Tree


class Fit(NamedTuple):
    """How seeds are trained.

    Attributes:
      parallel: layout of seeds and batches on devices, see make_layout.
      batch_size: pairs a step.
      threshold: loss gap, in nats, above which a seed is stuck.
      max_restarts: further attempts of a stuck seed.
    """

    parallel: str
    batch_size: int
    threshold: float = np.inf
    max_restarts: int = 0


def fit_seeds(
    run: Run,
    setting: str,
    recipe: Recipe,
    init_params: Callable[[Key], Tree],
    gap: Callable[[Tree, Sequence[int]], np.ndarray] = lambda params, rows: np.zeros(len(rows)),
    *,
    constants: Tree,
    keys: Key,
    seeds: Sequence[int],
    fit: Fit,
    log: MetricsLog,
    oracle: np.ndarray | None = None,
) -> Outcome:
    """Trains every seed of a setting, going on from what the run's folder holds.

    Args:
      run, setting: where it is written to, and under which name.
      recipe, init_params: what is trained.
      gap: `(params [k, ...], rows) -> [k]` loss gaps of the seeds in these rows; by default none
        is ever stuck.
      constants: of each seed `[seeds, ...]`, or of all (recipe.shared_constants).
      keys: `[seeds]` root keys of training.
      seeds: numbers of the seeds, for the logs.
      fit: see Fit.
      log: where losses go.
      oracle: `[seeds]` losses of the true latents, for the line that shows how far it is.

    Raises Interrupted after a checkpoint, where a signal came; NotFinite where a loss, a gradient
    or a parameter is not.
    """
    total = recipe.stages[-1].until

    def attempt(number: int, rows: Sequence[int]) -> Tree:
        index = np.asarray(rows)
        layout = make_layout(
            fit.parallel if number == 0 else "auto",
            num_seeds=len(rows),
            batch_size=fit.batch_size,
            say=say if number else lambda line: None,  # of the first, run_table has said it
        )
        attempt_keys = jax.vmap(lambda k: jax.random.fold_in(k, number))(keys[index])
        init_keys, train_keys = jax.vmap(jax.random.split, out_axes=1)(attempt_keys)
        name = (
            f"{setting}, attempt {number + 1} for seeds {[seeds[r] for r in rows]}"
            if number
            else setting
        )
        known = log.compile_seconds()
        show = progress_line(name, total, compiles="the training step", compile_seconds=known)
        begun = time.monotonic()
        level = None if oracle is None else float(np.mean(oracle[index]))

        def begin(step):
            log.resume(setting, number, step)
            show(step)

        def on_chunk(step, losses):
            log.compiled(setting, number, time.monotonic() - begun)
            values = {seeds[r]: float(v) for r, v in zip(rows, losses, strict=True)}
            log.add(setting, number, step, "loss", values)
            loss = float(np.mean(losses))
            show(step, loss, None if level is None else loss - level)

        def on_metrics(step, metrics):
            by_seed = lambda v: {seeds[r]: float(x) for r, x in zip(rows, v, strict=True)}
            figures = {metric: by_seed(v) for metric, v in metrics.items()}
            log.add_metrics(setting, number, step, figures)

        checkpoints = open_checkpoints(run.path("checkpoints", slug(setting), f"attempt{number}"))
        try:
            states = train(
                recipe,
                init_states(recipe, init_params, init_keys),
                constants
                if recipe.shared_constants
                else jax.tree.map(lambda x: x[index], constants),
                train_keys,
                layout=layout,
                checkpoints=checkpoints,
                on_resume=begin,
                on_chunk=on_chunk,
                on_metrics=on_metrics,
                stop=run.stop,
            )
        except NotFinite as error:
            numbers = [seeds[rows[row]] for row in error.rows]
            raise NotFinite(error.step, numbers, error.saved, setting) from error
        finally:
            checkpoints.close()
        return states.params

    return train_with_restarts(
        attempt, gap, num_seeds=len(seeds), threshold=fit.threshold, max_restarts=fit.max_restarts
    )

"""The folder of a training: options, checkpoints, metrics, the finished model."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

from mmjax.errors import say
from mmjax.models.files import load, save
from mmjax.models.marks import check_marks
from mmjax.models.model import Model
from mmjax.run.claim import claim_folder
from mmjax.run.metrics import MetricsLog
from mmjax.run.progress import Show, never_silent, progress_line
from mmjax.train import Checkpoints, noted_signals, open_checkpoints

_NAME = "fit"  # of the training in metrics.csv


class Record(NamedTuple):
    """What a training leaves behind while it lasts.

    Attributes:
      path: `name -> path` of a folder in the workdir, or None without one.
      checkpoints: or None.
      show: `(steps done, loss)`.
      metrics: `(steps done, name -> figure)` of what the loss tells beside its value.
      validated: `(steps done, figure)`.
      resume: `step ->` forgets what came after it.
      stop: returns a signal number when training should stop.
      say: takes a line for people.
      finished: `nets -> the model` of a training that is done, or None.
      finish: takes the model.
    """

    path: Callable[[str], str | None]
    checkpoints: Checkpoints | None
    show: Callable[[int, float], None]
    metrics: Callable[[int, Mapping[str, float]], None]
    validated: Callable[[int, float], None]
    resume: Callable[[int], None]
    stop: Callable[[], int | None]
    say: Callable[[str], object]
    finished: Callable[[Mapping[str, Any]], Model | None]
    finish: Callable[[Model], None]


@contextmanager
def open_record(
    workdir: str | None,
    options: Mapping[str, Any],
    marks: Mapping[str, str],
    *,
    steps: int,
    progress: bool,
    stop: Callable[[], int | None] | None,
    loggers: Sequence[str] = ("tensorboard",),
) -> Iterator[Record]:
    """Opens the folder of a training, or a record that keeps nothing.

    Args:
      workdir: of the training, or None.
      options: of JSON's types; a folder of others is refused.
      marks: what -> hash of functions and rows, see mmjax.models.marks; likewise.
      steps: of the training.
      progress: whether lines are shown.
      stop: see Record; None: with a workdir SIGINT and SIGTERM.
      loggers: see mmjax.run.loggers.

    Raises InvalidInput for a folder that holds another training, or is in use.
    """
    name = os.path.basename(os.path.abspath(workdir)) if workdir else "fit"
    quiet: Show = lambda count, loss=None, gap=None: None
    tell = say if progress else lambda text: None
    with ExitStack() as stack:
        line = quiet
        if progress:
            stack.enter_context(never_silent(name))
            line = progress_line(name, steps, compiles="the training step")
        if workdir is None:
            yield Record(
                lambda name: None,
                None,
                line,
                lambda step, metrics: None,
                lambda step, value: None,
                line,
                stop or (lambda: None),
                tell,
                lambda nets: None,
                lambda model: None,
            )
            return
        held = claim_folder(
            workdir,
            "fit.json",
            {**options, "marks": marks},
            keep=lambda lock: stack.callback(lock.close),
            flag="workdir",
            holds="another training",
            opened=("about",),
            ignored=("marks",),
        )
        check_marks(workdir, held and held.get("marks"), marks)
        path = lambda name: os.path.join(workdir, name)
        log = MetricsLog(workdir, loggers, experiment=_NAME, config=options)
        stack.callback(log.close)
        checkpoints = open_checkpoints(path("checkpoints"))
        stack.callback(checkpoints.close)
        noted = stop or stack.enter_context(noted_signals())

        def show(step, loss):
            log.add(_NAME, 0, step, "loss", {0: loss})
            line(step, loss)

        def log_metrics(step, metrics):
            log.add_metrics(_NAME, 0, step, {name: {0: value} for name, value in metrics.items()})

        def resume(step):
            log.resume(_NAME, 0, step)
            if step:
                tell(f"{workdir}: goes on from step {step}")
            line(step)

        def finished(nets):
            result = os.path.isfile(os.path.join(path("model"), "model.json"))
            return load(path("model"), nets=nets) if result else None

        yield Record(
            path,
            checkpoints,
            show,
            log_metrics,
            lambda step, value: log.add(_NAME, 0, step, "validation", {0: value}),
            resume,
            noted,
            tell,
            finished,
            lambda model: save(model, path("model"), overwrite=True),
        )

"""Where figures go while training, beside metrics.csv: TensorBoard, Weights & Biases, MLflow."""

import hashlib
import importlib
import os
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any, NamedTuple

from mmjax.config import names_in
from mmjax.errors import InvalidInput, did_you_mean
from mmjax.run.files import atomic_write, slug

PACKAGES = {"tensorboard": "tensorboardX", "wandb": "wandb", "mlflow": "mlflow"}
EXTRAS = ("wandb", "mlflow")
DEFAULT = ("csv", "tensorboard")


class Logged(NamedTuple):
    """The run that is logged.

    Attributes:
      workdir: its folder; all that a logger keeps lies in there, unless its own settings
        (WANDB_MODE, WANDB_DIR, MLFLOW_TRACKING_URI) say otherwise.
      experiment: its name.
      config: its options.
    """

    workdir: str
    experiment: str
    config: Mapping[str, Any]


class Logger(NamedTuple):
    """Takes figures.

    Attributes:
      add: `(setting, attempt, step, name -> value)`.
      resume: `(setting, attempt, step)`: this training goes on from there; what came later is
        logged again.
      close: writes what is left.
    """

    add: Callable[[str, int, int, Mapping[str, float]], None]
    resume: Callable[[str, int, int], None]
    close: Callable[[], None]


def parse_loggers(text: str) -> tuple[str, ...]:
    """Names of loggers, csv left out: it is always written, for resuming reads it.

    Raises InvalidInput for a name that is not known, or whose package isn't installed.
    """
    names = names_in(text)
    known = ("csv", *LOGGERS)
    for name in names:
        if name not in known:
            allowed = f"csv, {', '.join(LOGGERS)}{did_you_mean(name, known)}"
            raise InvalidInput(f"--loggers: {name!r} is not allowed; use {allowed}")
        if name in EXTRAS:
            _package(name)
    return tuple(dict.fromkeys(name for name in names if name != "csv"))


def open_loggers(names: Sequence[str], logged: Logged) -> list[Logger]:
    """The loggers of these names."""
    return [LOGGERS[name](logged) for name in names]


def _package(name: str) -> ModuleType:
    try:
        return importlib.import_module(PACKAGES[name])
    except ImportError:
        message = f"--loggers: {name} isn't installed; use pip install 'mmjax[{name}]'"
        raise InvalidInput(message) from None


def _training(setting: str, attempt: int) -> str:
    return f"{slug(setting)}/attempt{attempt}"


def _kept_id(logged: Logged, name: str, make: Callable[[], str]) -> str:
    """The id of the run at that logger: made once, then read from the folder."""
    path = os.path.join(logged.workdir, f"{name}_run.txt")
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            return file.read().strip()
    made = make()
    atomic_write(path, made + "\n")
    return made


def tensorboard(logged: Logged) -> Logger:
    """Event files under tensorboard/, a folder a training; opened when it logs first."""
    from tensorboardX import SummaryWriter

    writers: dict[str, SummaryWriter] = {}

    def writer(setting: str, attempt: int, purge_step: int | None = None) -> SummaryWriter:
        name = _training(setting, attempt)
        if name not in writers:
            folder = os.path.join(logged.workdir, "tensorboard", *name.split("/"))
            writers[name] = SummaryWriter(folder, purge_step=purge_step)
        return writers[name]

    def add(setting, attempt, step, values):
        events = writer(setting, attempt)
        for name, value in values.items():
            events.add_scalar(name, value, step)
        events.flush()

    def resume(setting, attempt, step):
        writer(setting, attempt, step + 1)

    def close():
        for writer in writers.values():
            writer.close()

    return Logger(add, resume, close)


def wandb(logged: Logged) -> Logger:
    """A run of Weights & Biases; each training has an axis of steps of its own there.

    A resumed run goes on in the same one, which keeps the points that are logged again.
    """
    package = _package("wandb")
    message = f"{os.path.abspath(logged.workdir)} {os.urandom(8).hex()}"
    identity = _kept_id(logged, "wandb", lambda: hashlib.sha256(message.encode()).hexdigest()[:16])
    run = package.init(
        project="mmjax",
        group=logged.experiment,
        name=os.path.basename(os.path.abspath(logged.workdir)),
        id=identity,
        resume="allow",
        dir=os.environ.get("WANDB_DIR") or logged.workdir,
        config=dict(logged.config),
    )
    known: set[str] = set()

    def add(setting, attempt, step, values):
        training = _training(setting, attempt)
        if training not in known:
            run.define_metric(f"{training}/*", step_metric=f"{training}/step")
            known.add(training)
        run.log(
            {f"{training}/step": step} | {f"{training}/{name}": v for name, v in values.items()}
        )

    return Logger(add, lambda setting, attempt, step: None, run.finish)


def mlflow(logged: Logged) -> Logger:
    """A run of MLflow, in the folder mlruns of the workdir, or where MLFLOW_TRACKING_URI says."""
    _package("mlflow")
    client_of = importlib.import_module("mlflow.tracking").MlflowClient
    where = os.environ.get("MLFLOW_TRACKING_URI")
    if not where:
        where = "file://" + os.path.join(os.path.abspath(logged.workdir), "mlruns")
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # MLflow 3 asks for a yes
    client = client_of(tracking_uri=where)

    def begin() -> str:
        result = client.get_experiment_by_name(logged.experiment)
        where = result.experiment_id if result else client.create_experiment(logged.experiment)
        name = os.path.basename(os.path.abspath(logged.workdir))
        run = client.create_run(where, run_name=name).info.run_id
        for key, value in logged.config.items():
            client.log_param(run, key, str(value)[:500])
        return str(run)

    run = _kept_id(logged, "mlflow", begin)

    def add(setting, attempt, step, values):
        for name, value in values.items():
            client.log_metric(run, f"{_training(setting, attempt)}/{name}", value, step=step)

    return Logger(add, lambda setting, attempt, step: None, lambda: client.set_terminated(run))


LOGGERS: dict[str, Callable[[Logged], Logger]] = {
    "tensorboard": tensorboard,
    "wandb": wandb,
    "mlflow": mlflow,
}

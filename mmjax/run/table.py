"""The skeleton that experiments share: rows of a table, each trained, judged and written once."""

import dataclasses
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mmjax.config import option
from mmjax.errors import InvalidInput, counted, require, say
from mmjax.run.files import atomic_write
from mmjax.run.launch import Run, claim_workdir
from mmjax.run.metrics import MetricsLog
from mmjax.run.report import keep_facts
from mmjax.run.results import Row, read_results, write_results
from mmjax.train import LAYOUTS, Interrupted, make_layout
from mmjax.types import Key


@dataclasses.dataclass(frozen=True)
class SeedOptions:
    """What is repeated, in every experiment."""

    seeds: int = option(3, "number of seeds; each draws its own world, data and initial weights")
    seed: int = option(0, "the first seed; others count on from it")


@dataclasses.dataclass(frozen=True)
class RunOptions(SeedOptions):
    """How training is carried out, in every experiment that trains."""

    parallel: str = option("auto", "seeds and batches on devices", LAYOUTS)
    chunk_steps: int = option(100, "steps a compiled call; a point of the curves each")
    save_every: int = option(500, "steps between checkpoints")


def seed_numbers(config: SeedOptions) -> range:
    """The seeds of a run."""
    return range(config.seed, config.seed + config.seeds)


def seed_keys(config: SeedOptions, purposes: Sequence[str]) -> dict[str, Key]:
    """`[seeds]` keys by purpose, the same in every row: rows differ by their setting alone."""
    roots = jax.vmap(jax.random.key)(jnp.asarray(seed_numbers(config)))
    return {
        p: jax.vmap(lambda k, n=n: jax.random.fold_in(k, n))(roots) for n, p in enumerate(purposes)
    }


class Piece(NamedTuple):
    """A part of a setting that is judged, and written to results.csv, by itself.

    Attributes:
      name: of its own within the setting.
      judge: `log -> rows`; what pieces share, such as trained weights, they make when first asked.
      shows: whether it shows by itself how far it is.
    """

    name: str
    judge: Callable[[MetricsLog], list[Row]]
    shows: bool = False


# Name of a row -> what trains and judges it, or its pieces.
Settings = Mapping[str, Callable[[MetricsLog], list[Row]] | Sequence[Piece]]


def _json_of(path: str) -> dict:
    """What a file of ours holds; an absent one is empty."""
    if not os.path.exists(path):
        return {}
    try:
        with open(path, encoding="utf-8") as file:
            return dict(json.load(file))
    except (ValueError, TypeError) as error:
        raise InvalidInput(f"{path}: damaged; remove the folder to start over") from error


class _Finished(NamedTuple):
    """What a table's folder holds: rows, and of settings in pieces how many each piece wrote.

    results.csv is written before pieces.json: rows that the latter doesn't count are of a piece
    that a kill cut short, and are made again.
    """

    run: Run
    rows: list[Row]
    pieces: dict[str, dict[str, int]]

    def missing(self, setting: str, pieces: Sequence[Piece]) -> list[Piece]:
        """The pieces that are still to be judged."""
        there = [row for row in self.rows if row.setting == setting]
        if setting not in self.pieces:
            return [] if there else list(pieces)
        counts = self.pieces[setting]
        kept = there[: sum(counts.values())]
        self.rows[:] = [row for row in self.rows if row.setting != setting] + kept
        return [piece for piece in pieces if piece.name not in counts]

    def begin(self, settings: Settings) -> list[tuple[str, Piece]]:
        """All that is still to be judged, in order."""
        jobs, begun = [], len(self.pieces)
        for setting, produce in settings.items():
            pieces = [Piece("", produce)] if callable(produce) else list(produce)
            missing = self.missing(setting, pieces)
            if missing:
                self.pieces.setdefault(setting, {})
            jobs += [(setting, piece) for piece in missing]
        if len(self.pieces) > begun:
            self.note()  # before the first row: from now on rows alone don't say it is done
        return jobs

    def add(self, setting: str, piece: str, fresh: Sequence[Row]) -> None:
        """Writes a piece's rows."""
        self.rows.extend(fresh)
        write_results(self.run.path("results.csv"), self.rows)
        self.pieces[setting][piece] = len(fresh)
        self.note()

    def note(self) -> None:
        """Writes what is known of the pieces."""
        atomic_write(self.run.path("pieces.json"), json.dumps(self.pieces) + "\n")


def _shown(jobs: list[tuple[str, Piece]], settings: Settings, run: Run) -> Iterator:
    """The jobs one by one; with a line of all of them, unless they show themselves how far they
    are, as trainings do."""
    listed = [of for of in settings.values() if not callable(of)]
    if not listed or any(piece.shows for of in listed for piece in of):
        yield from jobs
        return
    at = [run.experiment]
    for setting, piece in run.tracked(jobs, lambda: f"{run.experiment}: {at[0]}"):
        at[0] = setting
        yield setting, piece


def run_table(
    experiment: str,
    config: Any,
    run: Run,
    settings: Settings,
    summarise: Callable[[list[Row], Mapping[str, float]], str],
    data: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Runs or resumes all rows of a table; writes results.csv, timings.json and summary.md.

    A row that results.csv holds is done and is not run again; likewise a piece of a row.

    Args:
      experiment: its name.
      config: SeedOptions, or RunOptions with a batch_size, and whatever else config.json shall
        hold; has been checked, for nothing is written before this call.
      run: the folder.
      settings: name of a row -> trains and judges it, returns its figures; or its pieces, each of
        which is written as soon as it is done.
      summarise: `(rows, wall seconds of each setting run) -> markdown`; may draw figures.
      data: see keep_facts.

    Raises InvalidInput for an option out of range or a folder that holds another run, Interrupted
    between two pieces where a signal came.
    """
    idle: list[str] = []
    require(config.seeds >= 1, "seeds", config.seeds, "a whole number >= 1")
    if isinstance(config, RunOptions):
        for name in ("chunk_steps", "save_every"):
            require(getattr(config, name) >= 1, name, getattr(config, name), "a whole number >= 1")
        whole: Any = config
        sizes = dict(num_seeds=whole.seeds, batch_size=whole.batch_size)
        make_layout(whole.parallel, **sizes, say=idle.append)
    claim_workdir(run, experiment, config)
    keep_facts(run.workdir, data)
    for line in idle:
        say(line)
    size = f"{counted(len(settings), 'row')} x {counted(config.seeds, 'seed')}"
    say(f"{experiment}: {size} in {run.workdir}")
    timings, seconds = run.path("timings.json"), _json_of(run.path("timings.json"))
    results = read_results(run.path("results.csv"))
    finished = _Finished(run, results, _json_of(run.path("pieces.json")))
    os.makedirs(run.path("figures"), exist_ok=True)
    options = json.loads(json.dumps(dataclasses.asdict(config)))
    log = MetricsLog(run.workdir, run.loggers, experiment=experiment, config=options)
    for setting, piece in _shown(finished.begin(settings), settings, run):
        if (signum := run.stop()) is not None:
            raise Interrupted(signum)
        start = time.time()
        fresh = piece.judge(log)
        seconds[setting] = seconds.get(setting, 0.0) + time.time() - start
        atomic_write(timings, json.dumps(seconds) + "\n")
        finished.add(setting, piece.name, fresh)
    log.close()
    text = summarise(finished.rows, seconds)
    atomic_write(run.path("summary.md"), text)
    print(text)


def values(rows: Sequence[Row], setting: str, *name: str) -> list[float]:
    """The seeds' figures of one cell; name is (modality, target, metric)."""
    return [row.value for row in rows if row.setting == setting and row[3:6] == name]


def machine() -> str:
    """What a run was made on, for the line above a table."""
    device = jax.devices()[0]
    return f"{jax.device_count()} {device.platform} device(s), {os.cpu_count()} CPU cores"

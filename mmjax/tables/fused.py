"""What experiments on fusions share: settings trained, judged at several steps, tabulated."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax

from mmjax.config import names_in, option
from mmjax.errors import did_you_mean, require
from mmjax.report import markdown_table, mean_and_deviation
from mmjax.run import Fit, MetricsLog, Row, Run, fit_seeds, seed_keys, seed_numbers, values
from mmjax.studies.fused import FusedStudy, FusedTask
from mmjax.studies.fusing_methods import METHODS
from mmjax.types import Array, Tree

PURPOSES = ("constants", "train", "evaluate", "untrained")


class Judge(NamedTuple):
    """How a representation is judged.

    Attributes:
      figures: `(place of the seed, its constants, its evaluation key, represent, read) ->
        {(modality, target, metric): value}`, where represent maps observations to features `[n, f]`
        and read maps (observations, subsets) to `[subsets, n, f]` (None of raw observations).
      raw: `observations -> [n, f]`, what representations are compared with.
    """

    figures: Callable[..., dict[tuple[str, str, str], float]]
    raw: Callable[[tuple], Any]


def methods_option() -> Any:
    """The field of a config that names what is trained."""
    message = "comma-separated: " + ", ".join(METHODS)
    return option("comm,cross,cross_self", message, parts=METHODS)


def chosen_names(flag: str, text: str, known: Mapping[str, Any]) -> tuple[str, ...]:
    """The comma-separated names of a flag. Raises InvalidInput for one that is not known."""
    names = names_in(text)
    good = len(names) > 0 and all(name in known for name in names)
    wrong = next((name for name in names if name not in known), "")
    require(good, flag, text, f"one or more of {', '.join(known)}{did_you_mean(wrong, known)}")
    return names


def _constants(config: Any, task: FusedTask) -> Tree:
    keys = seed_keys(config, PURPOSES)["constants"]
    return (
        task.init_constants(keys[0])
        if task.shared_constants
        else jax.vmap(task.init_constants)(keys)
    )


def _judged(
    experiment: str,
    config: Any,
    task: FusedTask,
    judge: Judge,
    run: Run,
    setting: str,
    represent: Callable[[int, tuple], Array],
    read: Callable[[int, tuple, Array], Array] | None,
) -> list[Row]:
    """Rows of every seed; `represent` and `read` take the seed's place first."""
    keys, constants, rows = seed_keys(config, PURPOSES), _constants(config, task), []
    seeds = run.tracked(seed_numbers(config), f"{setting}, judging", "seeds")
    for place, seed in enumerate(seeds):
        of_seed = lambda leaf, k=place: leaf[k]
        seed_constants = constants if task.shared_constants else jax.tree.map(of_seed, constants)
        figures = judge.figures(
            place,
            seed_constants,
            keys["evaluate"][place],
            lambda seen, k=place: represent(k, seen),
            None if read is None else (lambda seen, subsets, k=place: read(k, seen, subsets)),
        )
        rows += [Row(experiment, setting, seed, *name, value) for name, value in figures.items()]
    return rows


def trained_rows(
    experiment: str,
    config: Any,
    task: FusedTask,
    study: FusedStudy,
    judge: Judge,
    run: Run,
    log: MetricsLog,
    *,
    setting: str,
    until: int | None = None,
    projected: bool = False,
) -> list[Row]:
    """Trains all seeds and judges them; no oracle tells a seed that is stuck, so none restarts.

    With `until`, training stops at that step of its schedule; a later call with a later one, of the
    same setting (the part before an @), goes on from there. With `projected`, what is behind the
    head is judged too, if the loss compares it: as the modality `projected` instead of `joint`.
    """
    recipe = study.recipe
    if until is not None:
        recipe = recipe._replace(stages=[stage._replace(until=until) for stage in recipe.stages])
    params = fit_seeds(
        run,
        setting.split("@")[0],
        recipe,
        study.init_params,
        constants=_constants(config, task),
        keys=seed_keys(config, PURPOSES)["train"],
        seeds=seed_numbers(config),
        fit=Fit(config.parallel, config.batch_size),
        log=log,
    ).params
    return _network_rows(
        experiment,
        config,
        task,
        study,
        judge,
        run,
        setting,
        lambda place: jax.tree.map(lambda leaf: leaf[place], params),
        projected,
    )


def _network_rows(
    experiment: str,
    config: Any,
    task: FusedTask,
    study: FusedStudy,
    judge: Judge,
    run: Run,
    setting: str,
    params: Callable[[int], Tree],
    projected: bool = False,
) -> list[Row]:
    represent, read = jax.jit(study.represent), jax.jit(study.read)
    rows = _judged(
        experiment,
        config,
        task,
        judge,
        run,
        setting,
        lambda place, seen: represent(params(place), seen),
        lambda place, seen, subsets: read(params(place), seen, subsets),
    )
    if projected and study.project is not None:
        project = jax.jit(study.project)
        behind = lambda place, seen: project(params(place), seen)
        result = _judged(experiment, config, task, judge, run, setting, behind, None)
        rows += [row._replace(modality="projected") for row in result if row.modality == "joint"]
    return rows


def control_rows(
    experiment: str,
    config: Any,
    task: FusedTask,
    study: FusedStudy,
    judge: Judge,
    run: Run,
    setting: str,
) -> list[Row]:
    """`raw`: the observations side by side. `untrained`: the network as it starts.

    What stands behind a / in the setting is the caller's.
    """
    if setting.split("/")[0] == "raw":
        raw = lambda place, seen: judge.raw(seen)
        return _judged(experiment, config, task, judge, run, setting, raw, None)
    keys, start = seed_keys(config, PURPOSES)["untrained"], jax.jit(study.init_params)
    params = lambda place: start(keys[place])
    return _network_rows(experiment, config, task, study, judge, run, setting, params)


def percent_table(
    rows: Sequence[Row],
    settings: Sequence[str],
    cells: Mapping[str, tuple[str, str, str]],
    *,
    chance: Sequence[float],
    beside: Callable[[str], Sequence[str]] = lambda setting: (),
    beside_header: Sequence[str] = (),
    scale: float = 100,
    header: str = "accuracy, %",
) -> str:
    """A row a setting, mean and deviation of the seeds' figures, what guessing gives below.

    Args:
      rows: of results.
      settings: in order.
      cells: title of a column -> (modality, target, metric).
      chance: a figure a column.
      beside: setting -> further columns, under beside_header.
      scale: figures are multiplied by it.
      header: of the first column.
    """

    def line(setting):
        results = [values(rows, setting, *cell) for cell in cells.values()]
        figures = [
            mean_and_deviation([scale * v for v in seen], digits=1) if seen else "-"
            for seen in results
        ]
        return [setting, *figures, *beside(setting)]

    last = ["chance", *(f"{scale * v:.1f}" for v in chance), *("-" for _ in beside_header)]
    return markdown_table([header, *cells, *beside_header], [*map(line, settings), last])


def seconds_a_model(config: Any, seconds: Mapping[str, float], setting: str) -> str:
    """For a column of a table."""
    return f"{seconds[setting] / config.seeds:.0f}" if setting in seconds else "-"


def with_steps(config: Any, steps: int) -> Any:
    """The configuration with another number of training steps."""
    return dataclasses.replace(config, steps=steps)

"""The table of every flag and value: planned from the configs, so that a new flag is in it.

A flag's values are those of its choices, of its parts, both of a bool; of a number and a tuple what
small runs have and one more; a text's are given by a scene. `cover` runs them in few commands: one
value of as many flags as go together, none where the run would say that it changes nothing.
"""

import contextlib
import dataclasses
import functools
import importlib
import io
import itertools
import json
import os
import pkgutil
import re
import shutil
import time
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax

import experiments
from mmjax.config import moot, names_in
from mmjax.run import launch, read_results
from mmjax.run.flags import _parse, _shown
from mmjax.tables.needs import NEEDS
from tests.flag_scenes import ALONE, SCENES, TINY, placed


@functools.cache
def modules() -> dict:
    """Name -> module of every experiment: what has a config and presets."""
    found = [m.name for m in pkgutil.iter_modules(experiments.__path__)]
    loaded = {name: importlib.import_module(f"experiments.{name}") for name in found}
    return {name: m for name, m in loaded.items() if hasattr(m, "PRESETS")}


# The plan


class Item(NamedTuple):
    """A value of a flag that a run shall have; without a flag, a scene as it is.

    Attributes:
      flag: its name, or nothing.
      values: what counts as it, in the order in which they are tried; the first accepted will do.
      joins: whether it may stand beside other values of the flag, with commas.
      scenes: where it is tried, in order.
    """

    flag: str
    values: tuple[str, ...]
    joins: bool
    scenes: tuple[int, ...]


class Plan(NamedTuple):
    """What an experiment's table runs.

    Attributes:
      items: what must run.
      kept: the flags that each scene gives.
      moot: `(scene, changes) -> ` those of its flags that change nothing.
    """

    items: list[Item]
    kept: Sequence[Collection[str]]
    moot: Callable[[int, Mapping[str, str]], set[str]]


def small(field: dataclasses.Field) -> str:
    """A flag's value in small runs."""
    return TINY.get(field.name, _shown(field.default))


def of_scene(config_class: type, scene: Mapping[str, str]) -> dict[str, str]:
    """All flags of a scene, those of small runs included."""
    return {f.name: small(f) for f in dataclasses.fields(config_class) if f.name in TINY} | scene


def config_of(config_class: type, presets: Mapping, flags: Mapping[str, str]) -> Any:
    """The config that flags describe, paths as they stand in scenes."""
    given = dict(presets[flags.get("preset", next(iter(presets)))])
    for field in dataclasses.fields(config_class):
        if (text := flags.get(field.name)) is not None:
            kind = type(field.default)
            given[field.name] = text == "true" if kind is bool else _parse(field.name, kind, text)
    return config_class(**given)


def other_numbers(field: dataclasses.Field, base: str) -> tuple[str, ...]:
    """Sane values beside the base, of a number or a tuple of them."""
    if isinstance(field.default, tuple):
        first, *more = (int(v) for v in base.split(","))
        last = more[-1] if more else first
        found = [(first, *more, last + 1), (first - 1, *more), (first, *more)[:-1], (first + 1,)]
        return tuple(_shown(values) for values in found if values)
    if isinstance(field.default, int):
        n = int(base)
        found = (2 * n, n + 1, n // 2, n - 1, 8, 0)
    else:
        x = float(base)
        found = (x / 2, 2 * x, 0.5, 0.1, 0.0)
    return tuple(str(v) for v in dict.fromkeys(found) if v != type(v)(base) and v >= 0)


def values_of(field: dataclasses.Field) -> list[str] | None:
    """Every value of a flag that has finitely many, else None."""
    if isinstance(field.default, bool):
        return ["true", "false"]
    listed = field.metadata["choices"] or field.metadata.get("parts")
    return list(listed) if listed else None


def plan(
    config_class: type, presets: Mapping, scenes: Sequence[Mapping], needs: Mapping | None = None
) -> Plan:
    """The scenes, and every value that they don't have.

    Raises LookupError for a text that no scene gives a value.
    """
    runs = [of_scene(config_class, scene) for scene in scenes]
    order = tuple(range(len(scenes)))
    items = [Item("", ("",), False, (k,)) for k in order]
    for preset in list(presets)[1:]:  # first where least of what it sets is given otherwise
        given = lambda k, preset=preset: len(set(presets[preset]) & set(scenes[k]))
        items.append(Item("preset", (preset,), False, tuple(sorted(order, key=given))))
    for field in dataclasses.fields(config_class):
        name, base = field.name, small(field)
        given = [run.get(name, base) for run in runs]
        there = {part.lower() for value in given for part in (value, *names_in(value))}
        known, parts = values_of(field), bool(field.metadata.get("parts"))
        if known:
            fresh = [v for v in known if v.lower() not in there]
            items += [Item(name, (value,), parts, order) for value in fresh]
        elif isinstance(field.default, int | float | tuple):
            if len(set(given)) == 1:
                items.append(Item(name, other_numbers(field, given[0]), False, order))
        elif set(given) == {base}:
            raise LookupError(f"--{name}: a text without a value; give it one in SCENES")

    def moot_in(scene: int, changes: Mapping[str, str]) -> set[str]:
        flags = runs[scene] | dict(changes)
        names = [name for name in flags if name in (needs or {})]
        config = config_of(config_class, presets, flags)
        return {name for name in names if moot(config, [name], needs)}

    return Plan(items, [set(scene) for scene in scenes], moot_in)


def plan_of(name: str) -> Plan:
    """The plan of an experiment."""
    module = modules()[name]
    return plan(module.Config, module.PRESETS, SCENES[name], NEEDS.get(name))


def unseen(name: str, ran: Sequence["Told"]) -> list[Item]:
    """Values of enumerated flags that no run had: of small runs, where each run changed them."""
    module, planned = modules()[name], plan_of(name)
    fields = {f.name: f for f in dataclasses.fields(module.Config) if values_of(f)}
    seen = {flag: set() for flag in fields}
    for told in ran:
        flags = of_scene(module.Config, SCENES[name][told.scene]) | told.changes
        config = config_of(module.Config, module.PRESETS, flags)
        for flag in fields.keys() - planned.moot(told.scene, told.changes):
            value = _shown(getattr(config, flag))
            seen[flag] |= {part.lower() for part in (value, *names_in(value))}
    order = tuple(range(len(SCENES[name])))
    return [
        Item(flag, (value,), bool(field.metadata.get("parts")), order)
        for flag, field in fields.items()
        for value in values_of(field)
        if value.lower() not in seen[flag]
    ]


# Runs


class Told(NamedTuple):
    """A run.

    Attributes:
      scene: which.
      changes: the flags beside it.
      exit: its code; -1 for an exception that reached the user.
      error: its last lines.
      seconds: of the processor.
    """

    scene: int
    changes: dict[str, str]
    exit: int
    error: str
    seconds: float


def fault(told: Told, workdir: str, names: Sequence[str], tabulates: bool) -> str:
    """What is wrong with how a run ended, or nothing; names are what a refusal may speak of."""
    if told.exit == 2:
        lines = [line for line in told.error.splitlines() if line.startswith("error: ")]
        if len(lines) != 1 or told.error.splitlines()[-1] != lines[0]:
            return "not told in one line"
        named = any(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", lines[0]) for name in names)
        return "" if named else "names no flag and no file"
    if told.exit != 0:
        return "crashed"
    if tabulates and not read_results(os.path.join(workdir, "results.csv")):
        return "no results"
    return "" if len(os.listdir(workdir)) > 1 else "wrote nothing"


def runner(name: str, folder: str, log: Callable[[str], None]) -> Callable[..., Told]:
    """`(scene, changes) -> Told` of an experiment, in this process, in folders of their own."""
    module, count = modules()[name], itertools.count()

    def run(scene: int, changes: Mapping[str, str]) -> Told:
        workdir = os.path.join(folder, f"{name}-{next(count)}")
        given = of_scene(module.Config, SCENES[name][scene]) | dict(changes)
        flags = {flag: placed(value, folder, workdir) for flag, value in given.items()}
        argv = [name, f"--workdir={workdir}", *(f"--{k}={v}" for k, v in flags.items())]
        out, start = io.StringIO(), time.process_time()
        with contextlib.redirect_stderr(out), contextlib.redirect_stdout(io.StringIO()):
            try:
                code = launch(
                    module.main,
                    module.Config,
                    module.PRESETS,
                    experiment=module.EXPERIMENT,
                    doc=module.__doc__,
                    needs=NEEDS.get(name, {}),
                    argv=argv,
                )
            except Exception:
                code = -1
                traceback.print_exc(file=out)
        seconds = time.process_time() - start
        told = Told(scene, dict(changes), code, out.getvalue().strip(), seconds)
        files = [value for value in flags.values() if os.sep in value]
        fields = [field.name for field in dataclasses.fields(module.Config)]
        wrong = fault(told, workdir, [*fields, *files, *flags], hasattr(module, "run_table"))
        if wrong and wrong != "crashed":
            told = told._replace(exit=-1, error=f"{wrong}: {told.error}")
        shutil.rmtree(workdir, ignore_errors=True)
        shown = told.error.splitlines()[-1:] if told.exit else []
        log(f"{name}[{scene}] {json.dumps(told.changes)} {told.exit} {seconds:.1f}s {shown}")
        _room()
        return told

    return run


def _room() -> None:
    # Every compiled program holds pieces of memory, of which Linux gives a process some 65,000.
    with open("/proc/self/maps", "rb") as file:
        if sum(1 for _ in file) > 30_000:
            jax.clear_caches()


# The cover


class Decision(NamedTuple):
    """What came of an item: ran, refused (wherever it was tried), or failed."""

    item: Item
    value: str
    verdict: str
    told: Told


class Waiting(NamedTuple):
    """An item and the ways that are left to run it, (scene, changes) each.

    Attributes:
      item: what shall run.
      ways: in order.
      by_itself: whether it runs alone or with other values of its flag, or beside the one flag of
        its ways.
    """

    item: Item
    ways: tuple[tuple[int, dict[str, str]], ...]
    by_itself: bool


def ways_of(item: Item, planned: Plan) -> Waiting:
    """Where the item changes something: by itself, or beside a value of another flag.

    What multiplies the work, or compiles it anew for all devices, has commands of its own.
    """
    if not item.flag:
        return Waiting(item, tuple((k, {}) for k in item.scenes), False)
    alone = [(s, {item.flag: v}) for s in item.scenes for v in item.values]
    alone = [way for way in alone if item.flag not in planned.moot(*way)]
    if alone:
        return Waiting(item, tuple(alone), item.flag in ALONE)
    return beside(item, planned, None)


def beside(item: Item, planned: Plan, error: str | None) -> Waiting:
    """The item beside a value of another flag: of one that the refusal names, or of any."""
    others = [o for o in planned.items if o.flag not in ("", item.flag)]
    if error is not None:
        others = [o for o in others if re.search(rf"\b{re.escape(o.flag)}\b", error)]
    ways = [
        (scene, {item.flag: item.values[0], other.flag: value})
        for scene in item.scenes
        for other in others
        for value in other.values
    ]
    ways = [way for way in ways if item.flag not in planned.moot(*way)]
    return Waiting(item, tuple(ways), True)


def _packed(waiting: Sequence[Waiting], planned: Plan) -> list[Waiting]:
    """The first and all that go with it: the same scene, another flag or one that joins."""
    first, *rest = waiting
    scene = first.ways[0][0]
    if first.by_itself:
        rest = [w for w in rest if w.item.flag == first.item.flag and w.item.joins]
        rest = rest if len(first.ways[0][1]) == 1 else []
    chosen, flags = [first], {first.item.flag: first.item.joins}
    if not first.item.flag:  # the scene itself runs, with all that it gives
        flags |= dict.fromkeys(planned.kept[scene], False)
    for w in rest:
        free = not w.item.flag or w.item.flag not in flags or (w.item.joins and flags[w.item.flag])
        if free and w.item.flag and w.by_itself == first.by_itself and w.ways[0][0] == scene:
            if not set(flags | {w.item.flag: 0}) & planned.moot(scene, _changes([*chosen, w])):
                chosen.append(w)
                flags[w.item.flag] = w.item.joins
    return chosen


def _changes(chosen: Sequence[Waiting]) -> dict[str, str]:
    found = {}
    for w in chosen:
        for flag, value in w.ways[0][1].items():
            found[flag] = f"{found[flag]},{value}" if flag in found else value
    return found


def _blamed(error: str, chosen: Sequence[Waiting]) -> Waiting | None:
    """Whose flag the refusal names first; of values that were joined, the one that it names."""
    line = error.splitlines()[-1].removeprefix("error: ")
    # What to do comes first, and may name others.
    refused = re.search(r"^.* \(([^()]*: .* is not allowed)\)$", line)
    line = refused[1] if refused else line
    places = []
    for w in chosen:
        found = w.item.flag and re.search(rf"\b{re.escape(w.item.flag)}\b", line)
        if found:
            value = re.escape(w.ways[0][1][w.item.flag])
            told = re.search(rf"(?<!\w){value}(?!\w)", line)
            places.append((found.start(), not told, -len(places), w))
    return min(places, key=lambda p: p[:3])[3] if places else None


def cover(
    run: Callable[[int, Mapping[str, str]], Told], planned: Plan, items: Sequence[Item]
) -> Iterator[Decision]:
    """Runs these items of the plan, as many as go together at once.

    A refused command runs again without the flag that the refusal names, which waits for another
    one; what is refused alone is tried elsewhere, then beside every value of the flags that the
    refusal names. A command that fails is halved until one flag is left; failures that need two are
    told too.
    """
    waiting = [ways_of(item, planned) for item in items]
    for w in waiting:
        if not w.ways:
            raise LookupError(f"--{w.item.flag}={w.item.values[0]} changes nothing in any scene")
    groups, crashes, bad = [], [], set()
    while waiting or groups:
        chosen = groups.pop() if groups else _packed(waiting, planned)
        waiting = [w for w in waiting if w not in chosen]
        told = run(chosen[0].ways[0][0], _changes(chosen))
        while told.exit == 2 and len(chosen) > 1:
            blamed = _blamed(told.error, chosen)
            if blamed is None:
                left = chosen[: len(chosen) // 2]
            else:
                left = chosen[:1] if blamed is chosen[0] else [w for w in chosen if w is not blamed]
            waiting += [w for w in chosen if w not in left]
            chosen = left
            told = run(chosen[0].ways[0][0], _changes(chosen))
        first = chosen[0]
        if told.exit == 0:
            yield from (_decided(w, "ran", told) for w in chosen)
        elif len(chosen) > 1:
            crashes.append(([w.item for w in chosen], told))
            half = len(chosen) // 2
            groups += [chosen[half:], chosen[:half]]
        elif told.exit != 2:
            bad.add(first.item)
            yield _decided(first, "failed", told)
        elif len(first.ways) > 1:
            waiting.insert(0, first._replace(ways=first.ways[1:]))
        elif len(first.ways[0][1]) == 1 and (more := beside(first.item, planned, told.error)).ways:
            waiting.insert(0, more)
        else:
            yield _decided(first, "refused", told)
    for items, told in crashes:
        within = [set(other) for other, _ in crashes if set(other) < set(items)]
        if not bad & set(items) and not within:
            yield Decision(items[-1], json.dumps(told.changes), "failed", told)


def _decided(w: Waiting, verdict: str, told: Told) -> Decision:
    return Decision(w.item, w.ways[0][1].get(w.item.flag, ""), verdict, told)

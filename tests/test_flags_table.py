"""Every flag of every experiment, and every value of those that are enumerated, runs.

The plan is made from the configs (tests/flag_table.py). That it is whole is tested at once; that
all of it runs, nightly: `-m slow`, which writes what ran to the folder that FLAGS_TABLE names.
"""

import csv
import dataclasses
import os
import sys
from pathlib import Path

import pytest

from mmjax.config import Need, option
from mmjax.errors import InvalidInput
from mmjax.run.flags import help_text, make_flags, parse_flags, read_config
from tests import flag_table
from tests.flag_scenes import REFUSED, SCENES, TINY
from tests.flag_table import Told, cover, of_scene, plan, plan_of, runner, unseen, values_of

EXPERIMENTS = flag_table.modules()


def test_every_experiment_is_in_the_table():
    root = Path(__file__).parent.parent
    files = [*root.glob("experiments/**/*.py"), *root.glob("mmjax/**/*.py")]
    launched = {f.stem for f in files if "sys.exit(launch(" in f.read_text(encoding="utf-8")}
    assert launched == set(EXPERIMENTS) == set(SCENES)
    fields = {f.name for m in EXPERIMENTS.values() for f in dataclasses.fields(m.Config)}
    assert set(TINY) <= fields


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_flag_has_its_values_in_the_table(name):
    config, scenes, items = EXPERIMENTS[name].Config, SCENES[name], plan_of(name).items
    for field in dataclasses.fields(config):
        base = flag_table.small(field)
        told = [of_scene(config, s).get(field.name, base) for s in scenes]
        told += [v for item in items if item.flag == field.name for v in item.values]
        told += [field.default] if isinstance(field.default, str) else []
        assert len(set(told)) > 1, f"--{field.name} has one value"
        every = {part.lower() for value in told for part in (value, *value.split(","))}
        assert {v.lower() for v in values_of(field) or ()} <= every, field.name
    shown = {v for item in items if item.flag == "preset" for v in item.values}
    assert shown == set(list(EXPERIMENTS[name].PRESETS)[1:])


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_value_has_a_run_in_which_it_changes_something(name):
    planned, runs = plan_of(name), []
    for scene, kept in enumerate(planned.kept):
        assert not planned.moot(scene, {}) & kept

    def run(scene, changes):
        runs.append(Told(scene, dict(changes), 0, "", 0.0))
        assert not planned.moot(scene, changes) & set(changes)
        return runs[-1]

    decided = list(cover(run, planned, planned.items))
    assert {d.item for d in decided} == set(planned.items)
    assert set(REFUSED.get(name, {})) <= {(d.item.flag, d.value) for d in decided}
    list(cover(run, planned, unseen(name, runs)))
    assert not unseen(name, runs)
    assert len(runs) <= 25


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_no_two_seeds_are_one(name):
    module = EXPERIMENTS[name]
    fields = {f.name for f in dataclasses.fields(module.Config)}
    for flag in (f for f in fields if f == "seed" or f.endswith("_seed")):
        # A key would take them modulo 2^32.
        for value in (-1, 2**32, 2**63):
            values = make_flags(module.Config, module.PRESETS)
            parse_flags(values, [name, f"--{flag}={value}"])
            with pytest.raises(InvalidInput, match=f"--{flag}: {value} is not allowed; use 0 to "):
                read_config(module.Config, module.PRESETS, values)
        several = ["--seeds=3"] if flag == "seed" and "seeds" in fields else []
        last = 2**32 - (3 if several else 1)
        for value, allowed in ((last, True), (last + 1, False)):
            values = make_flags(module.Config, module.PRESETS)
            parse_flags(values, [name, f"--{flag}={value}", *several])
            if allowed:
                assert getattr(read_config(module.Config, module.PRESETS, values), flag) == last
            else:
                with pytest.raises(InvalidInput, match=f"use 0 to {last}"):
                    read_config(module.Config, module.PRESETS, values)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_scenes_are_flags_and_help_names_every_flag_and_value(name):
    module = EXPERIMENTS[name]
    for scene in SCENES[name]:
        values = make_flags(module.Config, module.PRESETS)
        argv = [name, *(f"--{k}={v}" for k, v in of_scene(module.Config, scene).items())]
        parse_flags(values, argv)
        read_config(module.Config, module.PRESETS, values)
    told = help_text(module.__doc__, make_flags(module.Config, module.PRESETS))
    lines = {line.split()[0].rstrip(":"): line for line in told.splitlines() if "  --" in line}
    assert {"--workdir", "--preset"} <= set(lines)
    for field in dataclasses.fields(module.Config):
        line = lines[f"--{field.name}"]
        known = field.metadata["choices"] or field.metadata["parts"] or ()
        assert all(value in line for value in known), line
        assert field.metadata["help"] in line


@dataclasses.dataclass(frozen=True)
class New:
    """Flags that nobody thought of."""

    steps: int = option(1000, "")
    switch: bool = option(True, "")
    way: str = option("a", "", ("a", "b", "c"))
    names: str = option("u", "", parts=("u", "v", "w"))
    share: float = option(0.25, "")
    many: tuple[int, ...] = option((3, 2), "")
    file: str = option("", "")


def test_a_new_flag_is_in_the_plan():
    scenes = [{}, {"file": "@pairs.npz"}]
    items = plan(New, {"quick": {}, "big": {}}, scenes).items
    found = {(i.flag, i.values[0]) for i in items}
    assert found == {
        ("", ""),
        ("preset", "big"),
        ("steps", "8"),
        ("switch", "false"),
        ("way", "b"),
        ("way", "c"),
        ("names", "v"),
        ("names", "w"),
        ("share", "0.125"),
        ("many", "3,2,3"),
    }
    fields = [("word", str, option("", ""))]
    more = dataclasses.make_dataclass("More", fields, bases=(New,), frozen=True)
    with pytest.raises(LookupError, match="--word"):
        plan(more, {"quick": {}}, scenes)
    assert plan(more, {"quick": {}}, [*scenes, {"word": "mel"}]).items[:3] == [
        flag_table.Item("", ("",), False, (k,)) for k in range(3)
    ]


def fake(scene, flags):
    """Refuses way=c without switch=false, and many in scene 0; way=b breaks; so do both of
    share=0.125 and names=w."""
    told = lambda code, error="": Told(scene, dict(flags), code, error, 0.0)
    if flags.get("way") == "c" and flags.get("switch") != "false":
        return told(2, "error: use it with --switch=false (way: 'c' is not allowed)")
    if scene == 0 and "many" in flags:
        return told(2, "error: use a file (many: (3, 2, 3) is not allowed)")
    if "steps" in flags:
        return told(2, "error: use more (steps: 8 is not allowed)")
    apart = flags.get("share") == "0.125" and "w" in flags.get("names", "").split(",")
    return told(-1, "boom") if flags.get("way") == "b" or apart else told(0)


def of_items(items, scenes=2, moot=lambda scene, changes: set()):
    return flag_table.Plan(items, [set()] * scenes, moot)


def test_the_cover_finds_who_is_to_blame():
    items = plan(New, {"quick": {}}, [{}, {"file": "@pairs.npz"}]).items
    planned = of_items(items)
    decided = list(cover(fake, planned, items))
    verdicts = {(d.item.flag, d.item.values[0]): d.verdict for d in decided if d.value[:1] != "{"}
    assert set(verdicts) == {(i.flag, i.values[0]) for i in items}
    other = {k: v for k, v in verdicts.items() if v != "ran"}
    assert other == {("way", "b"): "failed", ("steps", "8"): "refused"}
    alone = [d.told for d in decided if d.item.values[0] == "c"][0]
    assert alone.changes == {"way": "c", "switch": "false"}
    many = [d.told for d in decided if d.item.flag == "many"][0]
    assert many.scene == 1


def test_a_scene_runs_with_what_it_gives_and_values_where_they_change_something():
    scenes = [{}, {"file": "@pairs.npz", "way": "c"}]
    needs = {"share": Need("way b", lambda c: c.way == "b"), "many": Need("file", lambda c: c.file)}
    planned, runs = plan(New, {"quick": {}}, scenes, needs), []
    assert planned.kept[1] == {"file", "way"}
    assert planned.moot(0, {"share": "0.5", "many": "2", "way": "b"}) == {"many"}

    def run(scene, changes):
        runs.append(Told(scene, dict(changes), 0, "", 0.0))
        return runs[-1]

    decided = list(cover(run, planned, planned.items))
    told = {d.item.flag: d.told for d in decided}
    assert told["share"].changes["way"] == "b"
    assert told["many"].scene == 1
    as_they_are = [d.told for d in decided if not d.item.flag]
    assert [t.scene for t in as_they_are] == [0, 1]
    assert as_they_are[0].changes and "way" not in as_they_are[1].changes
    nowhere = {"share": Need("nothing", lambda c: False)}
    planned = plan(New, {"quick": {}}, scenes, nowhere)
    with pytest.raises(LookupError, match="--share=0.125 changes nothing"):
        list(cover(run, planned, planned.items))


def test_what_breaks_only_together_is_told():
    items = plan(New, {"quick": {}}, [{}, {"file": "@pairs.npz"}]).items
    items = [i for i in items if i.flag in ("share", "names")]
    decided = list(cover(fake, of_items(items), items))
    (failed,) = (d for d in decided if d.verdict == "failed")
    assert '"share": "0.125"' in failed.value and "w" in failed.value
    assert sum(d.verdict == "ran" for d in decided) == 3


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_flag_and_value_runs(name, tmp_path, capfd):
    planned, runs, rows = plan_of(name), [], []

    def log(line):
        with capfd.disabled():
            print(line, file=sys.stderr, flush=True)

    start = runner(name, str(tmp_path), log)

    def run(scene, changes):
        runs.append(start(scene, changes))
        return runs[-1]

    for items in (lambda: planned.items, lambda: unseen(name, [t for t in runs if t.exit == 0])):
        rows += cover(run, planned, items())
    if folder := os.environ.get("FLAGS_TABLE"):
        write(Path(folder), name, rows, runs)
    refused = {(d.item.flag, d.value) for d in rows if d.verdict == "refused"}
    assert refused == set(REFUSED.get(name, {}))
    failed = [(d.item, d.value, d.told.error[-2000:]) for d in rows if d.verdict == "failed"]
    assert not failed, "\n".join(map(str, failed))


def write(folder, name, rows, runs):
    """What ran, a row a value: in which command, its exit code and seconds of the processor."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / f"{name}.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["experiment", "flag", "value", "verdict", "run", "exit", "seconds", "said"])
        for item, value, verdict, told in rows:
            number = next(k for k, r in enumerate(runs) if r is told)
            flag = item.flag or f"scene {item.scenes[0]}"
            said = told.error.splitlines()[-1] if told.exit else ""
            about = verdict, number, told.exit, f"{told.seconds:.1f}", said
            table.writerow([name, flag, value, *about])

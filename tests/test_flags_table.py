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

from mmjax.config import option
from mmjax.run.flags import help_text, make_flags, parse_flags, read_config
from tests import flag_table
from tests.flag_scenes import SCENES, TINY
from tests.flag_table import Told, cover, of_scene, plan, runner, values_of

EXPERIMENTS = flag_table.modules()


def planned(name):
    return plan(EXPERIMENTS[name].Config, EXPERIMENTS[name].PRESETS, SCENES[name])


def test_every_experiment_is_in_the_table():
    root = Path(__file__).parent.parent
    files = [*root.glob("experiments/**/*.py"), *root.glob("mmjax/**/*.py")]
    launched = {f.stem for f in files if "sys.exit(launch(" in f.read_text(encoding="utf-8")}
    assert launched == set(EXPERIMENTS) == set(SCENES)
    fields = {f.name for m in EXPERIMENTS.values() for f in dataclasses.fields(m.Config)}
    assert set(TINY) <= fields


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_flag_has_its_values_in_the_table(name):
    config, scenes, items = EXPERIMENTS[name].Config, SCENES[name], planned(name)
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
    items = plan(New, {"quick": {}, "big": {}}, scenes)
    found = {(i.flag, i.values[0]) for i in items}
    assert found == {
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
    with pytest.raises(LookupError, match="--file"):
        plan(more, {"quick": {}}, [{}])
    tried = [i.values for i in plan(more, {"quick": {}}, scenes) if i.flag == "word"][0]
    assert {"mel", "speaker", "@pairs.npz"} <= set(tried)


def fake(scene, flags):
    """Refuses way=c without switch=false, and many in scene 0; way=b breaks; so do both of
    share=0.125 and names=w."""
    told = lambda code, error="": Told(scene, dict(flags), code, error, 0.0)
    if flags.get("way") == "c" and flags.get("switch") != "false":
        return told(2, "error: way: 'c' is not allowed; use it with --switch=false")
    if scene == 0 and "many" in flags:
        return told(2, "error: many: (3, 2, 3) is not allowed; use a file")
    if "steps" in flags:
        return told(2, "error: steps: 8 is not allowed")
    apart = flags.get("share") == "0.125" and "w" in flags.get("names", "").split(",")
    return told(-1, "boom") if flags.get("way") == "b" or apart else told(0)


def test_the_cover_finds_who_is_to_blame():
    scenes = [{}, {"file": "@pairs.npz"}]
    items, runs = plan(New, {"quick": {}}, scenes), []

    def run(scene, flags):
        runs.append(flags)
        return fake(scene, flags)

    decided = list(cover(run, items))
    verdicts = {(d.item.flag, d.item.values[0]): d.verdict for d in decided if d.value[0] != "{"}
    assert set(verdicts) == {(i.flag, i.values[0]) for i in items}
    other = {k: v for k, v in verdicts.items() if v != "ran"}
    assert other == {("way", "b"): "failed", ("steps", "8"): "refused"}
    alone = [d.told for d in decided if d.item.values[0] == "c"][0]
    assert alone.changes == {"way": "c", "switch": "false"}
    many = [d.told for d in decided if d.item.flag == "many"][0]
    assert many.scene == 1


def test_what_breaks_only_together_is_told():
    items = plan(New, {"quick": {}}, [{}, {"file": "@pairs.npz"}])
    items = [i for i in items if i.flag in ("share", "names")]
    decided = list(cover(fake, items))
    (failed,) = (d for d in decided if d.verdict == "failed")
    assert '"share": "0.125"' in failed.value and "w" in failed.value
    assert sum(d.verdict == "ran" for d in decided) == 3


def log(line):
    print(line, file=sys.__stderr__, flush=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_flag_and_value_runs(name, tmp_path):
    runs, rows = runner(name, str(tmp_path), log), []
    counted = []

    def run(scene, changes):
        counted.append(runs(scene, changes))
        return counted[-1]

    for scene in range(len(SCENES[name])):
        told = run(scene, {})
        verdict = "ran" if told.exit == 0 else "failed"
        rows.append((f"scene {scene}", " ".join(SCENES[name][scene]), verdict, told))
    for d in cover(run, planned(name)):
        rows.append((d.item.flag, d.value, d.verdict, d.told))
    if folder := os.environ.get("FLAGS_TABLE"):
        write(Path(folder), name, rows, counted)
    wrong = [(flag, value, told.error[-2000:]) for flag, value, v, told in rows if v != "ran"]
    assert not wrong, "\n".join(map(str, wrong))


def write(folder, name, rows, runs):
    """What ran, a row a value; and the commands, a row each."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / f"{name}.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["experiment", "flag", "value", "verdict", "run", "exit", "seconds"])
        for flag, value, verdict, told in rows:
            number = next(k for k, r in enumerate(runs) if r is told)
            table.writerow([name, flag, value, verdict, number, told.exit, f"{told.seconds:.1f}"])

"""`python -m experiments`: every experiment is there and says what it is; names nearly right."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from experiments import __main__ as listed
from mmjax.errors import InvalidInput, choose, did_you_mean
from mmjax.run import About, launch

FILES = {p.stem for p in Path(listed.__file__).parent.glob("*.py")}


def test_every_experiment_is_listed():
    assert set(listed.EXPERIMENTS) == FILES - {"__init__", "__main__", "compare"}
    for name, module in listed.EXPERIMENTS.items():
        assert module.__name__ == f"experiments.{name}"


@pytest.mark.parametrize("name", listed.EXPERIMENTS)
def test_an_experiment_says_what_it_is(name):
    about = listed.EXPERIMENTS[name].ABOUT
    assert isinstance(about, About)
    assert about.question.endswith("?") and about.needs
    assert re.fullmatch(r"\d+|", about.minutes)
    assert about.minutes or not about.needs.startswith("no files"), "measure it"
    module = listed.EXPERIMENTS[name]
    for preset in module.PRESETS.values():  # what it expects is a list for every preset
        config = module.Config(**preset)
        assert all(e.setting == "a/b" for e in about.expected(config, ["a/b"]))


def test_expectations_are_of_settings_that_are_there():
    for name, setting in (
        ("partial_causal", "sphere/vmf"),
        ("partial_causal", "box/laplace"),
        ("content_style", "independent/1.0"),
        ("comm_trifeature", "comm/biased"),
        ("comm_trifactors", "cross/unbiased"),
        ("comm_multibench", "comm/mosi"),
    ):
        module = listed.EXPERIMENTS[name]
        found = module.ABOUT.expected(module.Config(), [setting, "other"])
        assert found and {e.setting for e in found} == {setting}
        assert all(0 <= e.value <= 1 for e in found)


def test_a_line_each():
    lines = listed.listing().splitlines()
    assert len(lines) == 1 + len(listed.EXPERIMENTS)
    assert all(
        line.startswith(name) for line, name in zip(lines[1:], listed.EXPERIMENTS, strict=True)
    )


def test_a_wrong_name_suggests_the_nearest(capsys):
    assert listed.main(["experiments", "fitt"]) == 2
    assert capsys.readouterr().err.startswith("error: did you mean 'fit'? use one of ")
    assert did_you_mean("x", ["info_nce"]) == ""
    with pytest.raises(InvalidInput, match="use one of a, comm; did you mean 'comm'"):
        choose({"comm": 0, "a": 1}, "loss", "Com")


@pytest.mark.parametrize(
    "flags, meant",
    [
        (["--losss=comm"], "'--loss'? there is no flag --losss"),
        (["--loss=info_nec"], "'info_nce'? use info_nce, "),
        (["--preset=fussion"], "'fusion'? use quick, fusion"),
    ],
)
def test_wrong_flags_suggest_the_nearest(flags, meant, capsys):
    fit = listed.EXPERIMENTS["fit"]
    how = dict(experiment="fit", doc="", argv=["fit", *flags])
    assert launch(fit.main, fit.Config, fit.PRESETS, **how) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"error: did you mean {meant}") and len(err.splitlines()) == 1


def test_it_runs_one(tmp_path):
    command = [sys.executable, "-m", "experiments", "fit", "--data=", f"--workdir={tmp_path / 'a'}"]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent.parent)
    assert ran.returncode == 2 and ran.stderr.startswith("error: use ") and "--data" in ran.stderr

"""Benchmarks say what they measure; a wrong argument is one line. None is run here."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import experiments.benchmarks as benchmarks

FOLDER = Path(benchmarks.__file__).parent
NAMES = sorted(p.stem for p in FOLDER.glob("*.py") if p.stem != "__init__")


def _said(name, *words, monkeypatch, capsys):
    """(exit code, stdout, stderr) of the command, in this process."""
    module = f"experiments.benchmarks.{name}"
    monkeypatch.setattr(sys, "argv", [name, *words])
    monkeypatch.delitem(sys.modules, module, raising=False)
    with pytest.raises(SystemExit) as stopped:
        runpy.run_module(module, run_name="__main__")
    return stopped.value.code or 0, *capsys.readouterr()


@pytest.mark.parametrize("name", NAMES)
def test_help_says_what_is_measured_and_how_long_it_takes(name, monkeypatch, capsys):
    code, out, err = _said(name, "--help", monkeypatch=monkeypatch, capsys=capsys)
    assert code == 0 and not err
    assert f"python -m experiments.benchmarks.{name}" in out
    assert re.search(r"Takes about \d+ minutes on 2 CPU cores", out) and "--help" in out


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("word", ["--stepz=3", "nosuch"])
def test_a_wrong_argument_is_one_line(name, word, monkeypatch, capsys):
    code, out, err = _said(name, word, monkeypatch=monkeypatch, capsys=capsys)
    assert code == 2 and not out
    assert err.startswith("error: ") and len(err.splitlines()) == 1 and word in err


@pytest.mark.parametrize(
    "name, words, told",
    [
        ("streaming", ["--steps=0"], "error: use a whole number >= 1"),
        ("ica", ["64", "900"], "error: use a whole number, 1 to 512 (sizes: 900"),
        ("few_shot", ["serch"], "error: did you mean 'search'?"),
        ("few_shot", [".", "serch"], "error: did you mean 'search'?"),
    ],
)
def test_a_value_out_of_range_is_told(name, words, told, monkeypatch, capsys):
    code, out, err = _said(name, *words, monkeypatch=monkeypatch, capsys=capsys)
    assert code == 2 and not out and err.startswith(told)


def test_as_a_program():
    command = [sys.executable, "-m", "experiments.benchmarks.kernel", "nosuch"]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=FOLDER.parent.parent)
    assert (ran.returncode, ran.stdout) == (2, "") and len(ran.stderr.splitlines()) == 1

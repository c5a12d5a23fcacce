"""report.html of a run, through the launcher: what it tells, when it is made again."""

import dataclasses
import json
import time

import pytest

from mmjax.config import option
from mmjax.errors import say
from mmjax.report import Expected
from mmjax.run import About, Row, Run, SeedOptions, launch, run_table
from tests.test_page import read_page

PRESETS = {"quick": {}, "paper": {"width": 9}}
NAME = "<b>&$x$"


@dataclasses.dataclass(frozen=True)
class Config(SeedOptions):
    """Of a made-up experiment."""

    width: int = option(3, "of <nothing>")
    name: str = option("", "of a class")


def _expected(config, settings):
    known = [("a", 0.9, 0.01), ("b", 0.5, 0.2), ("gone", 0.1, 0.1)]
    return [Expected(s, "x", "z", "r2", v, e, "Paper & Co") for s, v, e in known if s in settings]


ABOUT = About("Does it <work>?", "Paper 2026, Figure 1", "1", "no files", _expected)


def main(config: Config, run: Run) -> None:
    """Two settings, the second with a stuck seed and a log of its losses."""

    def produce(setting, log):
        for step in (1, 2, 3):
            log.add(setting, 0, step, "loss", {0: 1.0 / step})
        row = lambda *name: Row("made_up", setting, *name)
        found = [row(k, "x", "z", "r2", 0.5 + k / 10) for k in range(config.seeds)]
        return found + [row(1, "joint", "loss", "stuck", float(setting == "b"))]

    jobs = {s: lambda log, s=s: produce(s, log) for s in ("a", "b", NAME)}
    say("note: 3 rows were left out <i>")
    table = f"# made_up\n\n| setting | r2 |\n|---|---|\n| {NAME} | 0.5 ± 0.1 |\n"
    run_table("made_up", config, run, jobs, lambda rows, seconds: table)


def _launch(*flags):
    how = dict(experiment="made_up", doc=__doc__, about=ABOUT)
    return launch(main, Config, PRESETS, **how, argv=["made_up", *flags])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "a run"
    assert _launch("--preset=paper", f"--name={NAME}", "--seeds=2", f"--workdir={folder}") == 0
    return folder


def _again(folder, capsys):
    capsys.readouterr()
    start = time.time()
    assert _launch("--preset=paper", f"--name={NAME}", "--seeds=2", f"--workdir={folder}") == 0
    assert time.time() - start < 10
    return capsys.readouterr().out.splitlines()


def test_its_path_is_the_last_line_and_a_finished_run_makes_it_again(finished, capsys):
    path = finished / "report.html"
    before = path.read_text()
    path.unlink()
    assert _again(finished, capsys)[-1] == str(path)
    assert path.read_text() == before and len(before) < 3_000_000


def test_it_tells_all_that_a_reader_asks(finished):
    page = read_page((finished / "report.html").read_text())
    for words in (
        "Does it <work>?",
        "Paper 2026, Figure 1",
        "Paper & Co",
        "surprises, below",
        "a: r2 of z from x is 0.5500, below 0.9",
        "3 rows were left out <i>",
        "b: stuck above the oracle's loss: seeds [1].",
        "preset paper",
        f"python -m experiments.made_up --preset=paper '--name={NAME}' --seeds=2",
        "of <nothing>",
        "sources",
    ):
        assert words in page.text, words
    assert "gone" not in page.text
    marked = [attrs for tag, attrs in page.tags if tag == "tr" and attrs.get("class") == "marked"]
    assert len(marked) == 1


def test_curves_are_drawn_where_the_experiment_drew_none(finished):
    made = {p.name for p in (finished / "figures").iterdir()}
    assert made == {"losses.png", "losses.pdf", "losses.csv"}
    page = read_page((finished / "report.html").read_text())
    (alt,) = [attrs["alt"] for tag, attrs in page.tags if tag == "img"]
    assert "seed 0" in alt and NAME in alt
    lines = (finished / "figures" / "losses.csv").read_text().splitlines()
    assert "a,line,seed 0,2,0.5,," in lines


def test_notes_are_kept_for_the_next_page(finished):
    assert json.loads((finished / "notes.json").read_text()) == ["note: 3 rows were left out <i>"]


def test_a_refused_run_writes_none(tmp_path):
    assert _launch("--seeds=0", f"--workdir={tmp_path / 'run'}") == 2
    assert not (tmp_path / "run").exists()

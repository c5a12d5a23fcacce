"""Runs side by side: intervals against independent ones, rows that belong together, the page."""

import csv
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from experiments.compare import main, parse
from mmjax.errors import InvalidInput
from mmjax.report import difference
from mmjax.run import Row, write_results
from mmjax.run.compare import counterparts
from tests.test_page import read_page

NUMBERS = st.lists(
    st.integers(-500, 500).map(lambda v: v / 100), min_size=2, max_size=6, unique=True
)


@given(NUMBERS, st.integers(0, 9))
def test_paired_intervals_are_scipys(values, seed):
    first = {k: v for k, v in enumerate(values)}
    noise = np.random.default_rng(seed).normal(size=len(values))
    second = {k: v + e for (k, v), e in zip(first.items(), noise, strict=True)}
    found = difference({**first, 99: 7.0}, {**second, 98: 3.0})  # seeds of one run don't count
    ours = [second[k] - first[k] for k in first]
    told = stats.ttest_1samp(ours, 0).confidence_interval(0.95)
    np.testing.assert_allclose(found[:3], [np.mean(ours), told.low, told.high], atol=1e-9)
    assert found.kind == "paired"


@given(NUMBERS, NUMBERS)
def test_welch_intervals_are_by_hand(a, b):
    first, second = dict(enumerate(a)), {k + 100: v for k, v in enumerate(b)}
    found = difference(first, second)
    va, vb = np.var(a, ddof=1) / len(a), np.var(b, ddof=1) / len(b)
    freedom = (va + vb) ** 2 / (va**2 / (len(a) - 1) + vb**2 / (len(b) - 1))
    half = stats.t.ppf(0.975, freedom) * np.sqrt(va + vb)
    mean = np.mean(b) - np.mean(a)
    np.testing.assert_allclose(found[:3], [mean, mean - half, mean + half], rtol=1e-6, atol=1e-9)
    assert found.kind == "Welch"


def test_too_few_seeds_have_no_interval():
    found = difference({0: 1.0}, {0: 3.0})
    assert found.mean == 2.0 and np.isnan(found.low) and not found.kind and not found.differs
    same = difference({0: 1.0, 1: 2.0}, {0: 1.5, 1: 2.5})
    assert same.mean == 0.5 and np.isnan(same.low) and not same.differs  # by chance alike


def test_rows_belong_together():
    same = counterparts(["a", "b"], ["b", "a"])
    assert same == {"a": "a", "b": "b"}
    assert counterparts(["a", "b"], ["a", "c", "d"]) == {"a": "a"}


def _run(folder, name, gain, seeds=(0, 1, 2), setting="a<b>", **config):
    rows = [
        Row("fit", setting, seed, "x", "word", metric, 0.5 + seed / 100 + gain * (1 + seed / 1000))
        for seed in seeds
        for metric in ("accuracy", "r2")
    ]
    (folder / name).mkdir()
    write_results(str(folder / name / "results.csv"), rows)
    held = {"experiment": "fit", "steps": 10, "version": "1", "data_hash": {}, "packages": {}}
    (folder / name / "config.json").write_text(json.dumps(held | config))
    lines = [f"{setting},0,{s},{step},loss,{1 / step}" for s in seeds for step in (1, 2)]
    text = "\n".join(["setting,attempt,seed,step,metric,value", *lines, ""])
    (folder / name / "metrics.csv").write_text(text)
    return str(folder / name)


def test_a_page_and_a_table(tmp_path, capsys):
    first = _run(tmp_path, "one", 0.0)
    second = _run(tmp_path, "two", 0.1, setting="a<b>/edge=$c$", steps=20)
    third = _run(tmp_path, "three", 0.2, seeds=(7, 8, 9))
    out = tmp_path / "side by side"
    assert main([first, second, third, f"--out={out}"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1] == str(out / "report.html")
    configs, figures = "\n".join(printed[:-1]).split("\n\n")[:2]
    assert "| steps | 10  | 20  | 10    |" in configs
    header = figures.splitlines()[0]
    assert "95 % interval" in header and "| run" in header
    page = read_page((out / "report.html").read_text())
    for words in ("steps", "20", "a<b> -> a<b>/edge=$c$", "paired", "Welch", "differs", "one"):
        assert words in page.text, words
    images = [attrs["alt"] for tag, attrs in page.tags if tag == "img"]
    assert len(images) == 2 and any("a<b>" in alt for alt in images)
    with open(out / "compare.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4
    assert [row["by"] for row in rows] == ["paired", "Welch"] * 2
    assert float(rows[0]["difference"]) == pytest.approx(0.1, abs=1e-3)
    assert {p.name for p in (out / "figures").iterdir()} >= {"losses.pdf", "differences.csv"}


@pytest.mark.parametrize(
    "words, told",
    [
        (["{one}"], "two folders or more"),
        (["{one}", "{one}"], "each folder once"),
        (
            ["{one}", "nowhere"],
            "use the folder of a run: it holds config.json and results.csv (runs: 'nowhere'",
        ),
        (["{one}", "{other}"], "these share no figure"),
        (["{one}", "{one}/../foreign"], "foreign is of traverse"),
        (["{one}", "{one}/../two", "--out={one}"], "this one holds a run"),
        (["{one}", "{one}/../two", "--out={one}/figures"], "this one holds a run"),
        (["{one}", "{one}/../two", "--out={one}/results.csv/a"], "holds a run"),
        (["{one}", "{one}/../two", "--out={one}/../afile/a"], "can't be written (Not a directory)"),
        (["{one}", "{one}/../two", "--out="], "use --out=FOLDER"),
        (["{one}", "{one}/../list"], "list/config.json: not the config of a run"),
        (["{one}", "{one}/../hash"], "hash/config.json: not the config of a run"),
        (["{one}", "{one}/../packed"], "packed/config.json: not the config of a run"),
        (["--outt=a"], "did you mean 'out'?"),
    ],
)
def test_what_can_not_be_compared_is_one_line(words, told, tmp_path, capsys):
    one = _run(tmp_path, "one", 0.0)
    other = _run(tmp_path, "other", 0.0)
    _run(tmp_path, "two", 0.0)
    _run(tmp_path, "foreign", 0.0, experiment="traverse")
    _run(tmp_path, "hash", 0.0, data_hash=["a"])
    _run(tmp_path, "packed", 0.0, packages="jax")
    (tmp_path / _run(tmp_path, "list", 0.0) / "config.json").write_text("[1, 2]")
    (tmp_path / "afile").write_text("kept")
    write_results(f"{other}/results.csv", [Row("probe", "s", 0, "t", "z", "mcc", 0.5)])
    assert main([word.format(one=one, other=other) for word in words]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ") and told in err and len(err.splitlines()) == 1


def test_figures_that_are_all_nan_are_compared(tmp_path):
    runs = [_run(tmp_path, name, np.nan) for name in ("one", "two")]
    assert main([*map(str, runs), f"--out={tmp_path / 'out'}"]) == 0


def test_an_out_that_can_not_be_written_is_one_line(tmp_path, capsys):
    runs = [str(_run(tmp_path, name, k)) for k, name in enumerate(["one", "two"])]
    (tmp_path / "out" / "compare.csv").mkdir(parents=True)
    assert main([*runs, f"--out={tmp_path / 'out'}"]) == 2
    err = capsys.readouterr().err
    assert "can't be written" in err and len(err.splitlines()) == 1


def test_out_is_beside_the_first():
    assert parse(["/a/b", "/c/d"]) == (["/a/b", "/c/d"], "/a/compared")
    with pytest.raises(InvalidInput):
        parse(["--workdir=a"])

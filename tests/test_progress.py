"""Progress lines of jobs, and rows that are judged in pieces."""

import contextlib
import io
import sys
import threading
import time

import pytest

from mmjax.errors import say
from mmjax.run import (
    Piece,
    Row,
    Run,
    SeedOptions,
    progress,
    progress_line,
    read_results,
    run_table,
    tracked,
)
from mmjax.run.progress import Line, columns_of, fitted, never_silent
from mmjax.train import Interrupted


def test_a_long_item_shows_lines_and_a_short_job_none():
    out = io.StringIO()
    assert list(tracked("abc", "job", out=out)) == ["a", "b", "c"] and not out.getvalue()
    for _ in tracked(range(3), "job", unit="rows", out=out, every=0.02):
        time.sleep(0.1)
    lines = out.getvalue().splitlines()
    assert lines[0].startswith("job  0/3 rows  0 s")
    assert any("1/3 rows" in line and "rows/s" in line and "left" in line for line in lines)
    assert "job  3/3 rows" in lines[-1]


class Terminal(io.StringIO):
    """One of a fixed width that shows what a person would see."""

    def isatty(self):
        return True

    def screen(self, columns):
        """Lines as shown: a carriage return goes back, a full line wraps as on a real one."""
        lines, at = [[]], 0
        for letter in self.getvalue().replace("\x1b[K", "\x00"):
            if letter == "\r":
                at = 0
            elif letter == "\x00":
                lines[-1] = lines[-1][:at]
            elif letter == "\n" or at >= columns:
                lines.append([] if letter == "\n" else [letter])
                at = len(lines[-1])
            else:
                lines[-1][at:] = [letter]
                at += 1
        return ["".join(line) for line in lines]


@pytest.mark.parametrize("columns", [20, 40, 80, 200])
def test_a_terminal_has_one_line_whatever_its_width(columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    out, ticks = Terminal(), iter(range(0, 1000, 2))
    how = dict(compiles="the training step", compile_seconds=20.4, out=out)
    show = progress_line("a long setting/with=assumptions", 300, clock=lambda: next(ticks), **how)
    show(0)
    seen = [out.screen(columns)]
    for step in (100, 200, 300):
        show(step, 1.23456, 0.1)
        seen.append(out.screen(columns))
    assert [len(lines) for lines in seen] == [1, 1, 1, 2], "a new line when it is done, no sooner"
    assert all(len(line) < columns for lines in seen for line in lines)
    if columns == 200:
        name = "a long setting/with=assumptions"
        assert seen[0] == [f"{name}  0/300 steps  the training step  compiling, about 20 s"]
        told = "loss 1.2346  gap to oracle 0.1000  50 steps/s  2 s left"
        assert seen[2] == [f"{name}  200/300 steps  {told}"]
    if columns == 40:
        assert "200/300 steps" in seen[2][0] and seen[2][0].endswith("2 s left")


def test_a_log_file_has_a_line_every_30_seconds():
    out, ticks = io.StringIO(), iter(range(0, 10_000, 10))
    show = progress_line("job", 100, compiles="the step", out=out, clock=lambda: next(ticks))
    for step in range(101):
        show(step)
    lines = out.getvalue().splitlines()
    assert lines[0] == "job  0/100 steps  the step  compiling"  # it isn't known how long it takes
    assert len(lines) == 2 + 33 and "\r" not in out.getvalue() and "\x1b" not in out.getvalue()
    assert lines[1].startswith("job  2/100 steps  0.1 steps/s  16 min left")


def test_wide_names_and_strange_ones_keep_the_width():
    line = Line("音声\n\x1b[31m" * 9, "1/2 rows", ("loss 1.0", "3 rows/s"), "4 s left")
    for columns in range(8, 120):
        shown = fitted(line, columns)
        assert columns_of(shown) <= columns and shown.isprintable()
    assert columns_of("音a\u0301") == 3


@pytest.mark.parametrize("fails", [False, True])
def test_a_silent_job_is_heard_of_until_it_ends(fails, capsys):
    told = []

    def waited(lines):
        while len(told) < lines:
            time.sleep(0.01)
            told.extend(capsys.readouterr().err.splitlines())

    with (
        contextlib.suppress(ValueError),
        never_silent("job", every=0.05),
        never_silent("inside", every=0.001),
    ):
        for _ in range(20):
            say("here")
            time.sleep(0.002)
        told += capsys.readouterr().err.splitlines()
        assert told.count("here") == 20 and len(told) < 25
        waited(len(told) + 2)
        assert [line.split("  ")[:2] for line in told[-2:]] == [["job", "still at work"]] * 2
        if fails:
            raise ValueError
    capsys.readouterr()
    time.sleep(0.15)
    assert not capsys.readouterr().err
    assert not any(thread.name == "silence" for thread in threading.enumerate())


def test_a_line_for_people_clears_the_progress_line(monkeypatch):
    out = Terminal()
    monkeypatch.setattr(sys, "stderr", out)
    progress_line("job", 9, compiles="x")(0)
    say("error: short")
    assert out.screen(80) == ["error: short", ""]


def test_a_job_stops_between_two_items():
    came, done = [], []
    with pytest.raises(Interrupted):
        for item in tracked(range(5), "job", stop=lambda: came[0] if came else None):
            done.append(item)
            if item == 1:
                came.append(15)
    assert done == [0, 1]


def _table(folder, judged, *, die_at=None):
    def piece(setting, name):
        def judge(log):
            if (setting, name) == die_at:
                raise KeyboardInterrupt
            judged.append((setting, name))
            return [Row("test", setting, 0, "x", name, "accuracy", 1 / 3 + k) for k in range(2)]

        return Piece(name, judge)

    settings = {s: [piece(s, name) for name in "uvw"] for s in ("a", "b")}
    settings["c"] = piece("c", "whole").judge
    run = Run("test", str(folder), lambda: None)
    run_table("test", SeedOptions(), run, settings, lambda rows, seconds: f"{len(rows)} rows")


ALL = [("a", "u"), ("a", "v"), ("a", "w"), ("b", "u"), ("b", "v"), ("b", "w"), ("c", "whole")]


@pytest.mark.parametrize("die_at", ALL)
def test_a_row_goes_on_at_the_piece_where_it_was_cut(die_at, tmp_path):
    _table(tmp_path / "whole", [])
    judged = []
    with pytest.raises(KeyboardInterrupt):
        _table(tmp_path / "cut", judged, die_at=die_at)
    assert len(read_results(str(tmp_path / "cut" / "results.csv"))) == 2 * len(judged)
    _table(tmp_path / "cut", judged)
    assert judged == ALL, "each piece is judged once"
    for folder in ("cut", "whole"):
        _table(tmp_path / folder, judged)  # a finished one judges nothing
    assert judged == ALL
    whole, cut = ((tmp_path / f / "results.csv").read_bytes() for f in ("whole", "cut"))
    assert whole == cut


def test_rows_that_a_kill_left_uncounted_are_made_again(tmp_path):
    """results.csv was written and pieces.json was not."""
    judged = []
    with pytest.raises(KeyboardInterrupt):
        _table(tmp_path, judged, die_at=("a", "v"))
    before = (tmp_path / "pieces.json").read_bytes()
    with pytest.raises(KeyboardInterrupt):
        _table(tmp_path, judged, die_at=("a", "w"))
    (tmp_path / "pieces.json").write_bytes(before)
    _table(tmp_path, judged)
    rows = read_results(str(tmp_path / "results.csv"))
    assert [(r.setting, r.target) for r in rows[::2]] == ALL


def test_a_table_of_short_rows_shows_how_far_it_is(tmp_path, monkeypatch, capsys):
    """Rows of a moment each: the line is of all of them, and says where it is."""
    monkeypatch.setattr(progress, "EVERY", 0.02)
    settings = {name: [Piece("0", lambda log: time.sleep(0.05) or [])] for name in "abc"}
    run = Run("test", str(tmp_path), lambda: None)
    run_table("test", SeedOptions(), run, settings, lambda rows, seconds: "")
    told = [line for line in capsys.readouterr().err.splitlines() if "/3 pieces" in line]
    assert told[0].startswith("test: a  0/3 pieces") and told[-1].startswith("test: c  3/3 pieces")


def test_a_table_of_trainings_leaves_the_line_to_them(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(progress, "EVERY", 0.02)
    judge = lambda log: time.sleep(0.05) or []
    run = Run("test", str(tmp_path), lambda: None)
    for settings in ({"a": judge, "b": judge}, {"c": [Piece("0", judge, shows=True)]}):
        own = run._replace(workdir=str(tmp_path / "".join(settings)))
        run_table("test", SeedOptions(), own, settings, lambda rows, seconds: "")
    assert "pieces" not in capsys.readouterr().err

"""Progress lines of jobs, and rows that are judged in pieces."""

import io
import time

import pytest

from mmjax.run import Piece, Row, Run, SeedOptions, read_results, run_table, tracked
from mmjax.train import Interrupted


def test_a_long_item_shows_lines_and_a_short_job_none():
    out = io.StringIO()
    assert list(tracked("abc", "job", out=out)) == ["a", "b", "c"] and not out.getvalue()
    for _ in tracked(range(3), "job", unit="rows", out=out, every=0.02):
        time.sleep(0.1)
    lines = out.getvalue().splitlines()
    assert lines[0].startswith("job  0/3 rows  0 s")
    assert any("1/3 rows" in line and "rows/s, ETA" in line for line in lines)
    assert "job  3/3 rows" in lines[-1]


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

"""Pages: self-contained, escaped, within their size; figures' numbers; what surprises."""

import csv
import html.parser
import re

import numpy as np
import pytest

from mmjax import report
from mmjax.report.page import MOST_BYTES, numeric_columns

EVIL = "<script>alert(1)</script> & $x$ \"quoted\" 'a' [l](http://a.b) ![p](http://a.b/c.png)"
LOADS = {"src", "srcset", "poster", "data", "background", "action"}


class _Read(html.parser.HTMLParser):
    """Tags with attributes, and the text."""

    def __init__(self):
        super().__init__()
        self.tags, self.text = [], ""

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def read_page(text):
    """The parsed page; it asks for nothing outside itself."""
    page = _Read()
    page.feed(text)
    page.close()
    kinds = {tag for tag, _ in page.tags}
    assert not kinds & {"script", "iframe", "object", "embed", "video", "audio"}
    for tag, attrs in page.tags:
        for name in LOADS & set(attrs):
            assert attrs[name].startswith("data:image/png;base64,"), (tag, name)
        link = attrs.get("href", "")
        assert not re.match(r"(?i)\s*(https?:|//|javascript:|file:|/)", link), link
        assert tag != "link" or link.startswith("data:")
        assert tag != "img" or (attrs["alt"] and attrs["width"] and attrs["height"])
        assert not [name for name in attrs if name.startswith("on")]
    assert "url(" not in text and "@import" not in text
    return page


def _page(**parts):
    section = report.Section("Results", **parts)
    return report.Page("run", "What?", {"preset": "quick"}, ["Nothing."], False, [section])


def test_names_of_others_stand_as_they_are_written():
    table = report.Table([EVIL], [[EVIL]], EVIL)
    section = report.Section(
        EVIL, f"{EVIL}\n\n| {EVIL} |\n|---|\n| {EVIL} |", [table], (), [EVIL], EVIL, {EVIL: table}
    )
    page = read_page(report.render(report.Page(EVIL, EVIL, {EVIL: EVIL}, [EVIL], True, [section])))
    assert page.text.count("<script>alert(1)</script> & $x$") >= 14


def test_a_figure_is_inside_with_its_words_and_files(tmp_path):
    figure = report.lines_figure(
        {"a<b": {1.0: [0.5, 0.7], 2.0: [0.8]}}, title="t$", xlabel="dim", ylabel="r2"
    )
    report.save_figure(figure, str(tmp_path / "x y.png"))
    assert {p.name for p in tmp_path.iterdir()} == {"x y.png", "x y.pdf", "x y.csv"}
    picture = report.read_picture(str(tmp_path / "x y.png"), str(tmp_path))
    assert "a<b" in picture.alt and "t$" in picture.alt and "dim" in picture.alt
    assert picture.reading.endswith(".") and len(picture.files) == 3
    page = read_page(report.render(_page(pictures=[picture])))
    (image,) = [attrs for tag, attrs in page.tags if tag == "img" and "alt" in attrs]
    assert image["alt"] == picture.alt and picture.reading in page.text
    assert "x%20y.pdf" in {attrs.get("href") for _, attrs in page.tags}


def test_what_does_not_fit_is_named():
    noise = np.random.default_rng(0).bytes(MOST_BYTES // 2)
    pictures = [report.Picture(f"p{k}", f"about {k}", "", noise, {}, (9, 9)) for k in range(4)]
    text = report.render(_page(pictures=pictures))
    page = read_page(text)
    assert len([tag for tag, _ in page.tags if tag == "img"]) == 1 and "about 3" in page.text
    assert len(text.encode()) < 3_000_000


def _numbers(figure, path):
    report.save_figure(figure, str(path / "f.png"))
    with open(path / "f.csv", encoding="utf-8", newline="") as file:
        return [tuple(row.values()) for row in csv.DictReader(file)]


def test_numbers_of_lines_have_their_error_bars(tmp_path):
    figure = report.lines_figure(
        {"a": {1.0: [0.4, 0.6], 2.0: [0.8]}}, title="t", xlabel="", ylabel="", levels={"a": 0.25}
    )
    bar = np.std([0.4, 0.6], ddof=1)
    assert _numbers(figure, tmp_path) == [
        ("t", "line", "a", "1", "0.5", f"{0.5 - bar:.7g}", f"{0.5 + bar:.7g}"),
        ("t", "line", "a", "2", "0.8", "0.8", "0.8"),
        ("t", "level", "", "", "0.25", "", ""),
    ]


def test_numbers_of_bars_and_heat_maps_have_names(tmp_path):
    groups = {"one": {"m": [0.5]}, "two": {"m": [0.25]}}
    figure = report.grouped_bars_figure(groups, levels={"one": 0.1, "two": 0.2}, ylabel="accuracy")
    told = {row[1:5] for row in _numbers(figure, tmp_path)}
    assert {("bar", "m", "one", "0.5"), ("bar", "", "two", "0.25")} <= told
    assert {("level", "", "one", "0.1"), ("level", "", "two", "0.2")} <= told
    figure = report.response_figure({"t": np.array([[0.1, 0.9]])}, ["c"], ["hue", "size"])
    assert {row[1:5] for row in _numbers(figure, tmp_path)} == {
        ("cell", "c", "hue", "0.1"),
        ("cell", "c", "size", "0.9"),
    }
    groups = {"one": {"m": [np.nan, np.nan], "n": [0.4, 0.6]}}
    figure = report.grouped_bars_figure(groups, levels={"one": 0.1}, ylabel="a")
    assert ("bar", "n", "one", "0.5") in {row[1:5] for row in _numbers(figure, tmp_path)}
    figure = report.bars_figure({"a": [0.4, 0.6]}, title="t", level=0.9)
    assert ("bar", "", "a", "0.5") in {row[1:5] for row in _numbers(figure, tmp_path)}


def test_numbers_of_curves(tmp_path):
    figure = report.curves_figure({3: ([1, 2], [2.0, 1.0])}, {3: 0.5}, title="t")
    told = [row[1:5] for row in _numbers(figure, tmp_path)]
    assert told[:2] == [("line", "seed 3", "1", "2"), ("line", "seed 3", "2", "1")]
    assert told[2] == ("level", "oracle (true latents)", "", "0.5")


def test_numeric_columns():
    rows = [["a", "0.5", "-0.1 ± 0.2 (0.3 ± 0.1)", "1"], ["b", "-", "1e-5", "x"]]
    assert numeric_columns(rows) == {1, 2}


@pytest.mark.parametrize(
    "values, value, error, verdict",
    [
        ([0.5, 0.5], 0.5, 0.0, "as expected"),
        ([0.4, 0.6], 0.8, None, "below"),  # 0.3 off, 2 x 0.141
        ([0.4, 0.6], 0.78, None, "as expected"),
        ([0.9], 0.5, 0.21, "as expected"),
        ([0.9], 0.5, 0.19, "above, one seed"),
        ([0.9, 0.9], 0.5, 0.19, "above"),
        ([0.9], 0.5, None, "no error bar"),
        ([np.nan], 0.5, 0.1, "not a number"),
    ],
)
def test_what_surprises(values, value, error, verdict):
    expected = report.Expected("s", "x", "z", "r2", value, error, "paper")
    found = report.judge(values, expected)
    assert found.verdict == verdict
    table = report.beside_table([found])
    assert table.marked == ({0} if verdict in ("above", "below") else set())

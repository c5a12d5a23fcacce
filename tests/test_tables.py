"""Tables and lists as editors and spreadsheets write them; names shown as they are written."""

import csv
import io
import json
import os
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from mmjax.data.clip.inputs import read_inputs
from mmjax.data.clip.tokens import read_tokenizer
from mmjax.data.files.tables import read_columns, read_json, read_lines
from mmjax.errors import InvalidInput
from mmjax.run.files import slug

ENCODINGS = {
    "utf-8": lambda t: t.encode(),
    "utf-8 mark": lambda t: t.encode("utf-8-sig"),
    "utf-16": lambda t: t.encode("utf-16"),
    "utf-16 big": lambda t: b"\xfe\xff" + t.encode("utf-16-be"),
    "utf-32": lambda t: t.encode("utf-32"),
}
ENDS = {"unix": "\n", "windows": "\r\n", "mac": "\r"}
DELIMITERS = {"comma": ",", "tab": "\t", "semicolon": ";"}
ROWS = [["a.png", 'a "big" cat, é'], ["b.png", "two\nlines\tand; more"], ["c.png", "last"]]
BLANKS = {"none": "{}", "last": "{}\n\n", "spaces": "{}\n  \n", "first": "\n{}"}


def _table(delimiter, header=("image", "text"), rows=ROWS):
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator="\n").writerows([header, *rows])
    return text.getvalue().removesuffix("\n")


def _write(path, text, encoding="utf-8", end="unix"):
    path.write_bytes(ENCODINGS[encoding](text.replace("\n", ENDS[end])))
    return str(path)


@pytest.fixture
def folder(tmp_path):
    for name, _ in ROWS:
        Image.new("RGB", (2, 2)).save(tmp_path / name)
    return tmp_path


@pytest.mark.parametrize("blank", BLANKS)
@pytest.mark.parametrize("delimiter", DELIMITERS)
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_table_of_every_system_is_read_alike(encoding, end, delimiter, blank, folder):
    text = BLANKS[blank].format(_table(DELIMITERS[delimiter]))
    found = read_inputs(_write(folder / "list.csv", text, encoding, end), "")
    assert found.names == [name for name, _ in ROWS]
    assert found.texts == [text for _, text in ROWS]


@pytest.mark.parametrize("name", ["list.csv", "list.tsv", "list.txt"])
@pytest.mark.parametrize(
    "header",
    [("filepath", "title"), ("image", "text"), ("file_name", "caption"), ("Image", "TEXT")],
)
def test_the_lists_of_others_are_read(header, name, folder):
    found = read_inputs(_write(folder / name, _table("\t", header)), "")
    assert (found.names, found.texts) == tuple(map(list, zip(*ROWS, strict=True)))


def test_a_list_without_a_header_keeps_its_quotes_and_skips_blank_lines(folder):
    text = 'a.png\t"A" cat\n\nb.png\ta dog\n \n'
    found = read_inputs(_write(folder / "list.txt", text, "utf-16", "windows"), "")
    assert found.names == ["a.png", "b.png"] and found.texts == ['"A" cat', "a dog"]


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_texts_end_before_blank_lines(encoding, end, tmp_path):
    path = _write(tmp_path / "texts.txt", "a cat\nein Fuß\n\n  \n", encoding, end)
    assert read_inputs("", path).texts == ["a cat", "ein Fuß"]


def test_a_blank_line_within_texts_is_named(tmp_path):
    with pytest.raises(InvalidInput, match="line 2 is empty"):
        read_inputs("", _write(tmp_path / "texts.txt", "a cat\n\na dog\n"))


@pytest.mark.parametrize(
    "text, told",
    [
        ("image,text\na.png,x\n\nb.png\n", "line 4 has 1 values; use 2"),
        ('image,text\na.png,"x\ny"\nb.png,x,y\n', "line 4 has 3 values"),
        ('image,text\na.png,"x\n', "no CSV file .line 2: "),
        ("image,image\na.png,b.png\n", "a column stands twice"),
        ("text\nx\n", "no column image; it has text"),
        ("image,text\n\n", "no rows below the header"),
        ("", "no column image; it has none"),
        ("image,text\nnot.png,x\n", "line 2: no file"),
        ("image,text\na.png, \n", "line 2 is"),
    ],
)
def test_faults_are_told_with_their_line(text, told, folder):
    with pytest.raises(InvalidInput, match=f"list.csv: {told}"):
        read_inputs(_write(folder / "list.csv", text), "")


@pytest.mark.parametrize("content", [b"\xff\xfe\xfa", b"a\0b", b"\xe9", b"\xff\xfe" + b"\x00\xd8"])
def test_what_is_no_text_is_told(content, tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match="a.txt: no UTF-8 text"):
        read_lines(str(path))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn"]), min_size=1),
                         min_size=2, max_size=2), min_size=1, max_size=4),
       st.sampled_from(sorted(ENCODINGS)), st.sampled_from(sorted(DELIMITERS)))  # fmt: skip
def test_what_is_written_comes_back(tmp_path_factory, rows, encoding, delimiter):
    rows = [["x" + cell.replace("\ufeff", "") for cell in row] for row in rows]
    path = tmp_path_factory.mktemp("t") / "t.csv"
    _write(path, _table(DELIMITERS[delimiter], ("a", "b"), rows), encoding)
    found = read_columns(str(path), {"a": ("a",), "b": ("b",)})
    assert [list(row) for row in zip(*found.values.values(), strict=True)] == rows


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_json_of_every_encoding(encoding, tmp_path):
    path = _write(tmp_path / "a.json", json.dumps({"é": [1]}, ensure_ascii=False), encoding)
    assert read_json(path) == {"é": [1]}


def test_merges_of_windows_are_those_of_unix(tmp_path):
    letters = [*"abcdefghijklmnopqrstuvwxyz"]
    words = [*letters, *(f"{c}</w>" for c in letters), "ca", "cat</w>", "<|startoftext|>"]
    words.append("<|endoftext|>")
    vocabulary = json.dumps({word: k for k, word in enumerate(words)})
    found = []
    for encoding, end in (("utf-8", "unix"), ("utf-8 mark", "windows"), ("utf-16", "mac")):
        folder = tmp_path / end
        os.mkdir(folder)
        (folder / "config.json").write_text("{}")
        _write(folder / "vocab.json", vocabulary, encoding, end)
        _write(folder / "merges.txt", "#version: 0.2\nc a\nca t</w>\n\n", encoding, end)
        found.append(read_tokenizer(str(folder)).encode(["cat"], 5).tolist())
    assert found[0] == found[1] == found[2] and len(set(found[0][0])) == 3


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=120), min_size=2, max_size=3, unique=True))
@example(["a$b", "a%b", "a_b"])
@example([".", ".."])
def test_other_names_have_other_files(names):
    files = [slug(name) for name in names]
    assert len(set(files)) >= len({re.sub("[/ ]+", "_", name) for name in names})
    for file in files:
        assert len(file.encode()) < 200 and not set(file) & set("/\\\0\n$%{}| ") and file[0] != "."


def test_plain_names_keep_their_files():
    assert slug("sphere/vmf") == "sphere_vmf" and slug("PCA 2") == "PCA_2"
    assert slug("a_b") == "a_b"

"""Cells that look like numbers, names with dots, and rows that lack something: never silent."""

import io
import tarfile

import numpy as np
import pytest
from PIL import Image

import mmjax as mm
from mmjax.data.formats.numbers import stray, typed
from mmjax.errors import InvalidInput

_FRACTIONS = [f"{value:.2f}" for value in np.random.default_rng(0).normal(size=30)]


def _table(folder, cells):
    path = folder / "a.tsv"
    rows = [f"word {k} here\t{cell}" for k, cell in enumerate(cells)]
    path.write_text("\n".join(["text\ty", *rows, ""]))
    return path


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        ([*_FRACTIONS[:20], "NA", *_FRACTIONS[20:]], "'NA' in row 20 .line 22"),
        ([*_FRACTIONS, "high"], "'high' in row 30"),
        (["1", "2", "n/a"] * 10, "'n/a' in row 2"),
        ([cell.replace(".", ",") for cell in _FRACTIONS], "'0,13' in row 0.*as 1234.5"),
        (["1", "2,5"] * 10, "'2,5' in row 1"),
        (["1,234.5", "999"] * 10, "'1,234.5' in row 0"),
        (["12%", "13.5 %"] * 10, "'12%' in row 0"),
    ],
)
def test_a_quantity_does_not_become_classes_of_text(tmp_path, cells, told):
    with pytest.raises(InvalidInput, match=f"column 'y' holds {told}"):
        mm.read(_table(tmp_path, cells), labels="y")


@pytest.mark.parametrize(
    "cells", [["1", "2", "3a"] * 10, ["cat", "dog", "NA"] * 10, ["v1.2", "v1.3", "v2"] * 10]
)
def test_words_are_classes(tmp_path, cells):
    data = mm.read(_table(tmp_path, cells), labels="y")
    assert sorted(set(data.labels["y"].tolist())) == sorted(set(cells))


@pytest.mark.parametrize("cells", [["1,2", "3", "2,5"] * 10, ["1.0", "1.10", "NA"] * 10])
def test_names_that_look_like_numbers_are_names_if_you_say_so(tmp_path, cells):
    path = _table(tmp_path, cells)
    with pytest.raises(InvalidInput, match="or kinds y:text for names of classes"):
        mm.read(path, labels="y")
    data = mm.read(path, labels="y", kinds={"y": "text"})
    assert data.labels["y"].tolist() == cells
    for column in ("groups", "ids"):  # these are names in any case
        assert mm.read(path, **{column: "y"}).num_rows == 30


def test_a_minus_of_typesetters_is_one(tmp_path):
    cells = [cell.replace("-", "\N{MINUS SIGN}") for cell in _FRACTIONS]
    data = mm.read(_table(tmp_path, cells), labels="y")
    np.testing.assert_array_equal(data.labels["y"], np.array(_FRACTIONS, float))


def test_half_a_hash_is_no_power_of_ten():
    assert typed(["1e2", "100"]) == ["1e2", "100"]
    assert typed(["1e2", "100.0"]) == typed(["1e+02", "100"]) == [100.0, 100.0]
    assert stray(["1e2", "100"]) is None


def test_a_modality_of_numbers_with_a_word_is_refused(tmp_path):
    path = _table(tmp_path, [*_FRACTIONS, "NA"])
    with pytest.raises(InvalidInput, match="column 'y' holds 'NA' in row 30"):
        mm.read(path, modalities={"text": "text", "y": "y"})
    data = mm.read(path, modalities={"text": "text", "y": "y"}, kinds={"y": "text"})
    assert data.columns["y"].kind == "text"


def _shard(folder, names):
    path, rng = folder / "a.tar", np.random.default_rng(0)
    with tarfile.open(path, "w") as file:
        for number, name in enumerate(names):
            content = b"1" if name.endswith("cls") else f"text {number}".encode()
            if name.endswith("json"):
                content = b'{"caption": "hi there"}' if number % 3 else b"{}"
            if name.endswith("jpg"):
                written = io.BytesIO()
                Image.fromarray(rng.integers(0, 255, (8, 8, 3), np.uint8)).save(written, "JPEG")
                content = written.getvalue()
            member = tarfile.TarInfo(name)
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))
    return path


_PLAIN = [f"{k}.{ending}" for k in range(20) for ending in ("jpg", "txt")]


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ([*_PLAIN, "v1.2.jpg", "v1.2.txt"], r"v1.2.jpg is read as v1 with the ending .2.jpg"),
        ([*_PLAIN, "v.jpg", "v.txt", "v.2.jpg", "v.2.txt"], "v.2.jpg is read as v"),
        ([f"v1.{name}" for name in _PLAIN], "v1.0.jpg is read as v1"),
    ],
)
def test_rows_of_names_with_dots_are_not_lost(tmp_path, names, told):
    with pytest.raises(InvalidInput, match=told):
        mm.read(_shard(tmp_path, names))


@pytest.mark.parametrize("further", [[f"{k}.left.jpg" for k in range(20)], ["3.left.jpg"]])
def test_second_pictures_are_no_rows(tmp_path, further):
    assert mm.read(_shard(tmp_path, [*_PLAIN, *further])).num_rows == 20


def test_what_rows_lack_is_told(tmp_path):
    data = mm.read(_shard(tmp_path, [*_PLAIN, *(f"{k}.cls" for k in range(19))]))
    assert not data.labels and any("1 without .cls: 19" in line for line in data.remarks)
    names = [f"{k}.{ending}" for k in range(20) for ending in ("jpg", "json")]
    data = mm.read(_shard(tmp_path, names))
    assert "text: 7 rows without" in data.remarks

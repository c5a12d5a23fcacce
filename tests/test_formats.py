"""Users' data: the same rows read alike from every format, and faults told in one line."""

import csv
import io
import json
import os
import sys
import tarfile
from pathlib import Path

import h5py
import ml_dtypes
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.numpy import save_file

from mmjax.data.dataset import Dataset
from mmjax.data.formats import parse_modalities, read
from mmjax.data.values import Lazy
from mmjax.errors import InvalidInput

N = 12
RNG = np.random.default_rng(0)
PICTURES = RNG.integers(0, 256, (N, 5, 5, 3), np.uint8)
TEXTS = [f"a cat, {k} of them; \u00e9" for k in range(N)]
CLASS = np.array(["cat", "dog", "fox"] * 4)
CODES = np.unique(CLASS, return_inverse=True)[1]
VECTORS = RNG.normal(size=(N, 3)).astype(np.float32)
AGE = np.arange(N) + 0.5
AUTHOR = np.arange(N) // 2
SPLIT = np.array(["train", "validation", "test"])[np.repeat([0, 0, 0, 0, 1, 2], 2)]
NO_PICTURE, NO_TEXT = 3, 7
PRESENT = {"image": np.arange(N) != NO_PICTURE, "text": np.arange(N) != NO_TEXT}
COLUMNS = {"class": CLASS, "age": AGE, "author": AUTHOR, "split": SPLIT}
NAMED = {"labels": ["class", "age"], "groups": "author"}


def _png(k, **more):
    content = io.BytesIO()
    Image.fromarray(PICTURES[k]).save(content, "PNG", **more)
    return content.getvalue()


def _arrays():
    gaps = {f"present_{name}": mask for name, mask in PRESENT.items()}
    texts = np.array([t if k != NO_TEXT else "" for k, t in enumerate(TEXTS)])
    return {"image": PICTURES, "text": texts, **gaps, **COLUMNS}


def _npz(root, save=np.savez):
    save(root / "data.npz", **_arrays())
    return root / "data.npz"


def _npy(root):
    (root / "folder").mkdir()
    for name, array in _arrays().items():
        np.save(root / "folder" / f"{name}.npy", array)
    return root / "folder"


def _safetensors(root):
    """Which has no strings: classes are codes, texts vectors."""
    codes = {"class": CODES, "split": (SPLIT == "test").astype(np.uint8), "text": VECTORS}
    save_file(_arrays() | codes, root / "a.safetensors")
    return root / "a.safetensors"


def _hdf5(root):
    with h5py.File(root / "data.H5", "w") as file:
        for name, array in _arrays().items():
            text = array.dtype.kind == "U"
            file[name] = [str(v) for v in array] if text else array
    return root / "data.H5"


def _rows(root, path="{}.png"):
    """Rows of a table, and the pictures that it names."""
    for k in range(N):
        (root / path.format(k)).write_bytes(_png(k))
    for k in range(N):
        yield {
            "image": None if k == NO_PICTURE else path.format(k),
            "text": None if k == NO_TEXT else TEXTS[k],
            **{name: column[k].item() for name, column in COLUMNS.items()},
        }


def _delimited(root, name="data.csv", delimiter=",", end="\n", mark="", path="{}.png"):
    quoted = lambda v: "" if v is None else f'"{v}"'
    rows = list(_rows(root, path))
    lines = [delimiter.join(rows[0])] + [delimiter.join(map(quoted, row.values())) for row in rows]
    (root / name).write_bytes((mark + end.join(lines) + end + end).encode())
    return root / name


def _jsonl(root):
    lines = [json.dumps({k: v for k, v in row.items() if v is not None}) for row in _rows(root)]
    (root / "data.jsonl").write_text("\n".join(lines) + "\n\n")
    return root / "data.jsonl"


def _parquet(root):
    pq.write_table(pa.Table.from_pylist(list(_rows(root))), root / "data.parquet")
    return root / "data.parquet"


def _embedded(root):
    """As the datasets library stores pictures."""
    rows = list(_rows(root))
    for k, row in enumerate(rows):
        row["image"] = row["image"] and {"bytes": _png(k), "path": None}
    pq.write_table(pa.Table.from_pylist(rows), root / "data.parquet")
    return root / "data.parquet"


def _members():
    """(key, ending, content) of each file."""
    for k in range(N):
        notes = {name: column[k].item() for name, column in COLUMNS.items()}
        if k != NO_PICTURE:
            yield f"{k:03d}", "png", _png(k)
        if k != NO_TEXT:
            yield f"{k:03d}", "txt", (TEXTS[k] + "\n").encode()
        yield f"{k:03d}", "json", json.dumps(notes).encode()


def _stems(root, folder="folder"):
    (root / folder).mkdir()
    for key, ending, content in _members():
        (root / folder / f"{key}.{ending.upper()}").write_bytes(content)
    return root / folder


def _tar(root, name="data.tar", members=None, prefix=""):
    with tarfile.open(root / name, "w") as file:
        for key, ending, content in members or _members():
            about = tarfile.TarInfo(f"{prefix}{key}.{ending}")
            about.size = len(content)
            file.addfile(about, io.BytesIO(content))
    return root / name


def _shards(root):
    members = list(_members())
    _tar(root, "part-08.tar", [m for m in members if m[0] < "005"])
    _tar(root, "part-09.tar", [m for m in members if "005" <= m[0] < "006"])
    _tar(root, "part-10.tar", [m for m in members if m[0] >= "006"])
    return root / "part-{08..10}.tar"


FORMATS = {
    "npz": _npz,
    "npz compressed": lambda root: _npz(root, np.savez_compressed),
    "npy": _npy,
    "safetensors": _safetensors,
    "hdf5": _hdf5,
    "csv": _delimited,
    "csv of spreadsheets": lambda root: _delimited(root, "a.CSV", ";", "\r\n", "\ufeff", "{}.PNG"),
    "tsv": lambda root: _delimited(root, "data.tsv", "\t"),
    "jsonl": _jsonl,
    "parquet": _parquet,
    "parquet with pictures": _embedded,
    "folder": _stems,
    "tar": _tar,
    "tar with hostile names": lambda root: _tar(root, prefix="../../"),
    "tar shards": _shards,
    "tar folder": lambda root: _shards(root).parent,
}


def _expected(name):
    coded = name == "safetensors"
    return Dataset.from_arrays(
        image=PICTURES,
        text=VECTORS if coded else TEXTS,
        labels={"class": CODES if coded else CLASS, "age": AGE},
        groups=AUTHOR,
        split=np.where(SPLIT == "test", "test", "train") if coded else SPLIT,
        present=PRESENT,
    )


def _values(data, name):
    values = data.columns[name].values
    values = values.read(np.arange(data.num_rows)) if isinstance(values, Lazy) else values
    return values[data.present.get(name, np.ones(data.num_rows, bool))]


@pytest.mark.parametrize("stream", [None, True], ids=["memory", "files"])
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_the_same_data_set(name, stream, tmp_path):
    modalities, expected = {"image": "image", "text": "text"}, _expected(name)
    found = read(FORMATS[name](tmp_path), modalities=modalities, stream=stream, **NAMED)
    assert isinstance(found.columns["image"].values, Lazy) == bool(stream)
    assert list(found.columns) == list(modalities)
    for key in modalities:
        assert found.columns[key].kind == expected.columns[key].kind
        assert found.columns[key].values.shape == expected.columns[key].values.shape
        np.testing.assert_array_equal(_values(found, key), _values(expected, key))
    assert list(found.labels) == list(expected.labels)
    for key, column in expected.labels.items():
        np.testing.assert_array_equal(found.labels[key], column)
        assert found.labels[key].dtype.kind == column.dtype.kind
    np.testing.assert_array_equal(found.groups, expected.groups)
    np.testing.assert_array_equal(found.split, expected.split)
    assert set(found.present) == set(expected.present)
    for key, mask in expected.present.items():
        np.testing.assert_array_equal(found.present[key], mask)


@pytest.mark.parametrize("name", FORMATS)
def test_what_looks_like_a_modality_is_one(name, tmp_path):
    found = read(FORMATS[name](tmp_path), **NAMED)
    assert sorted(found.columns) == ["image", "text"]


def _faulty(root, name, text, **options):
    path = root / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InvalidInput) as error:
        read(path, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_faults_of_tables_name_file_column_row_and_line(tmp_path):
    ten = "".join(f"a cat,{k},{k}\n" for k in range(10))
    head = "text,age,class\n"
    faulty = lambda text, **options: _faulty(tmp_path, "a.csv", head + text, **options)
    ages = {"modalities": {"age": "age", "text": "text"}}
    told = faulty(ten + "\na dog,nan,3\n", **ages)
    assert "a.csv: column 'age' has nan in row 10 (line 13)" in told
    assert "row 10 (line 12)" in faulty(ten + "a dog,1,\n", labels=["class"])
    assert "no column 'colour'; it has text, age, class" in faulty(ten, labels=["colour"])
    assert "no column 'photo'" in faulty(ten, modalities={"image": "photo"})
    assert "no rows" in faulty("")
    assert "name them by modalities=" in faulty("a,1,2\n")
    assert "where others are image files" in faulty(
        "x.png,1,1\ny.PNG,1,1\nz.pdf,1,1\n", modalities={"image": "text"}
    )
    assert "x.png in row 0 (line 2), and there is no such file; root" in faulty("x.png,1,1\n")
    told = faulty(ten, modalities={"x": "text"}, split="class")
    assert "'class' has 2 in row 2" in told
    assert "index" in faulty(ten, index={"nope": "age"})
    assert "mixed" in faulty("a cat,1,1\n", kinds={"text": "mixed"})
    line = lambda *rows: _faulty(tmp_path, "a.jsonl", "\n".join(rows), modalities={"x": "x"})
    assert "line 3 is no JSON" in line('{"x": 1}', "", "{x}")
    assert "line 1 is no JSON object" in line("[1]")
    assert "column 'x' has nan in row 1 (line 2)" in line('{"x": 1}', '{"x": NaN}')
    assert "holds 1 and 'a' in row 1" in line('{"x": 1}', '{"x": "a"}')
    assert "has nan in row 1" in line('{"x": [1, 2]}', '{"x": [1, NaN]}')
    assert "use lists of numbers" in line('{"x": [1, 2]}', '{"x": [1, "b"]}')


def test_faults_of_paths_and_folders(tmp_path):
    for name in ("a.xyz", "a"):
        assert "no known ending; use a folder or .npz" in _faulty(tmp_path, name, "x")
    assert "compressed" in _faulty(tmp_path, "a.tar.gz", "x")
    for missing in ("nothing", "nothing.npz", "no{0..1}.tar"):
        with pytest.raises(InvalidInput, match="no such file"):
            read(tmp_path / missing)
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(InvalidInput, match="holds no pictures, sounds, texts"):
        read(folder)
    np.savez(folder / "part0.npz", x=np.eye(12))
    with pytest.raises(InvalidInput, match="name the file in it that you mean.*part0.npz"):
        read(folder)
    (folder / "part0.npz").unlink()
    np.save(folder / "x.npy", np.eye(12))
    _tar(folder)
    with pytest.raises(InvalidInput, match="data.tar and x.npy; use one kind"):
        read(folder)
    (folder / "data.tar").unlink()
    (folder / "x.npy").unlink()
    (folder / "metadata.csv").write_text("a,b\n1,2\n")
    (folder / "x.png").write_bytes(_png(0))
    with pytest.raises(InvalidInput, match="table metadata.csv beside other files; read"):
        read(folder)
    (folder / "metadata.csv").unlink()
    (folder / "x.gif").write_bytes(_png(0))
    with pytest.raises(InvalidInput, match="x.gif and .*x.png share a name"):
        read(folder)
    (folder / "x.gif").rename(folder / "y.txt")
    with pytest.raises(InvalidInput, match="no image and text share a name"):
        read(folder)


class _Fires:
    def __reduce__(self):
        return os.mkdir, ("fired",)


def test_arrays_execute_nothing_and_name_faults(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("a.npz", x=np.eye(12), y=np.array([_Fires()] * 12, object), index=np.arange(12) + 1)
    assert list(read("a.npz").columns) == ["x"]  # nobody asked for y
    for options in ({"modalities": {"y": "y"}}, {"labels": ["y"]}):
        with pytest.raises(InvalidInput, match="a.npz: array 'y' holds Python objects"):
            read("a.npz", **options)
    os.mkdir("f")
    np.save("f/y.npy", np.array([_Fires()] * 12, object))
    with pytest.raises(InvalidInput, match="y.npy: holds Python objects"):
        read("f", modalities={"y": "y"})
    assert not os.path.exists("fired")
    with pytest.raises(InvalidInput, match="index of x"):
        read("a.npz", modalities={"x": "x"}, index={"x": "index"})
    for ending in ("npz", "safetensors", "h5", "parquet", "tar"):
        assert f"a.{ending}: not a whole" in _faulty(tmp_path, f"a.{ending}", b"PK\3\4 or not")


@pytest.mark.parametrize("stream", [None, True], ids=["memory", "files"])
@pytest.mark.parametrize("name", ["npz", "npz compressed", "npy", "safetensors", "hdf5"])
def test_nan_is_named_but_where_nothing_is(name, stream, tmp_path, monkeypatch):
    x = np.ones((N, 3, 2), np.float32)
    x[2, 1] = x[4] = np.nan
    arrays = {"x": x, "x_lengths": np.where(np.arange(N) == 2, 1, 3)}
    arrays |= {"y": np.eye(N), "x_present": np.arange(N) != 4}
    whole = lambda data: _values(data, "x")[data.columns["x"].seen[np.arange(N) != 4]]
    monkeypatch.setitem(globals(), "_arrays", lambda: arrays)
    both = {"modalities": {"x": "x", "y": "y"}, "stream": stream}
    found = read(FORMATS[name](tmp_path), **both)
    assert np.isfinite(whole(found)).all() and len(whole(found)) == 3 * N - 5
    assert found.columns["x"].kind == "sequence" and not found.present["x"][4]
    (tmp_path / "again").mkdir()
    x[7, 2, 1] = np.inf
    with pytest.raises(InvalidInput, match="x.* has NaN or infinity .inf., first in row 7, "):
        _values(read(FORMATS[name](tmp_path / "again"), **both), "x")


def test_rows_chosen_by_an_index_are_one_recording(tmp_path):
    pictures, index = PICTURES[:3], np.arange(N) % 3
    np.savez(tmp_path / "a.npz", picture=pictures, sound=VECTORS, at=index, kind=np.arange(3))
    options = {"modalities": {"image": "picture", "sound": "sound"}, "labels": ["kind"]}
    options |= {"index": {"image": "at", "kind": "at"}, "split": (1, 0, 0)}
    for stream in (None, True):
        found = read(tmp_path / "a.npz", stream=stream, **options)
        np.testing.assert_array_equal(_values(found, "image"), pictures[index])
        np.testing.assert_array_equal(found.labels["kind"], index)
    in_memory = read(tmp_path / "a.npz", **options)
    same = (in_memory.ids[:, None] == in_memory.ids).any(-1)
    np.testing.assert_array_equal(same, index[:, None] == index)


def test_a_picture_with_five_texts_is_one_recording_in_memory_or_not(tmp_path):
    for k in range(4):
        (tmp_path / f"{k}.png").write_bytes(_png(k))
    lines = [f"{k // 5}.png,text {k} of it" for k in range(20)]
    (tmp_path / "a.csv").write_text("photo,caption\n" + "\n".join(lines))
    for stream in (None, True):
        found = read(tmp_path / "a.csv", stream=stream, split=(0.5, 0.25, 0.25))
        same = (found.ids[:, None] == found.ids).any(-1)
        np.testing.assert_array_equal(same, np.arange(20)[:, None] // 5 == np.arange(20) // 5)
        assert len(set(zip(found.groups.tolist(), found.split.tolist(), strict=True))) == 4


def test_pictures_are_upright_fitted_and_of_one_size(tmp_path):
    turned = Image.fromarray(PICTURES[0, :3]).getexif()
    turned[0x0112] = 6  # to the right
    Image.fromarray(PICTURES[0, :3]).save(tmp_path / "0.PNG", exif=turned)
    Image.fromarray(PICTURES[1, :, :3]).save(tmp_path / "1.TIF")
    Image.fromarray(PICTURES[2, :, :3, 0].astype(np.uint16) * 256).save(tmp_path / "2.tiff")
    Image.fromarray(PICTURES[3, :, :3]).convert("P").save(tmp_path / "3.gif")
    names = {"split": (1, 0, 0)}
    for stream in (None, True):
        found = read(tmp_path, stream=stream, **names).columns["image"].values
        found = found.read(np.arange(4)) if stream else found
        assert found.shape == (4, 5, 3, 3) and found.dtype == np.uint8
        np.testing.assert_array_equal(found[0], np.rot90(PICTURES[0, :3], -1))
        np.testing.assert_array_equal(found[1], PICTURES[1, :, :3])
        np.testing.assert_array_equal(found[2], np.stack([PICTURES[2, :, :3, 0]] * 3, -1))
    Image.fromarray(PICTURES[4]).save(tmp_path / "4.webp")
    with pytest.raises(InvalidInput, match="4.webp has 5 x 5 pixels, 0.PNG has 3 x 5; name the im"):
        read(tmp_path, **names)
    found = read(tmp_path, image_size=2, **names).columns["image"].values
    assert found.shape == (5, 2, 2, 3)
    once = Image.fromarray(PICTURES[1, :, :3]).resize((2, 3), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(found[1], np.asarray(once)[:2])


@pytest.mark.parametrize("stream", [None, True], ids=["memory", "files"])
def test_a_broken_picture_is_named(stream, tmp_path):
    for k in range(3):
        content = io.BytesIO()
        Image.fromarray(np.kron(PICTURES[k], np.ones((9, 9, 1), np.uint8))).save(content, "JPEG")
        (tmp_path / f"{k}.jpg").write_bytes(content.getvalue()[: None if k < 2 else -60])
    with pytest.raises(InvalidInput, match="2.jpg: no whole picture") as error:
        _values(read(tmp_path, stream=stream, split=(1, 0, 0)), "image")
    assert "\n" not in str(error.value)


def test_remarks_name_what_was_left_out_and_what_rows_lack(tmp_path):
    folder = _stems(tmp_path)
    for name in ("notes.doc", "README.txt", ".hidden.png", "099.json"):
        (folder / name).write_text("{}")
    remarks = "; ".join(read(folder, **NAMED).remarks)
    assert (
        "3 left out (no picture, text, sound or their notes): .hidden.png, README.txt, notes.d"
        in remarks
    )
    assert "1 left out (no picture, text or sound of that name): 099" in remarks
    assert "1 without image: 003" in remarks and "1 without text: 007" in remarks
    np.savez(tmp_path / "a.npz", **_arrays(), other=np.zeros(3))
    remarks = "; ".join(read(tmp_path / "a.npz", **NAMED).remarks)
    assert "1 left out (columns that nobody named): other" in remarks


def test_folders_say_classes_and_splits(tmp_path):
    for k in range(N):
        folder = tmp_path / ("train" if k < 8 else "val" if k < 10 else "test") / CLASS[k]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{k}.png").write_bytes(_png(k))
    found = read(tmp_path)
    assert sorted(found.labels["folder"]) == sorted(CLASS)
    assert dict(zip(*np.unique(found.split, return_counts=True), strict=True)) == {
        "train": 8, "validation": 2, "test": 2
    }  # fmt: skip
    assert (
        list(read(tmp_path / "train").labels["folder"]) == ["cat"] * 3 + ["dog"] * 3 + ["fox"] * 2
    )
    shards = tmp_path / "shards"
    shards.mkdir()
    (tmp_path / "train" / "cat").rename(shards / "00000")
    (shards / "00000.parquet").write_bytes(b"")
    assert not read(shards, split=(1, 0, 0)).labels  # img2dataset's folders are no classes


def test_tars_of_every_sort(tmp_path):
    twice = [*_members(), ("000", "txt", b"another")]
    _tar(tmp_path, "twice.tar", twice)
    with pytest.raises(InvalidInput, match="twice.tar: two members 000.txt"):
        read(tmp_path / "twice.tar")
    whole = _tar(tmp_path).read_bytes()
    for end in (520, 700, 11_000):
        assert "cut.tar: not a whole, unc" in _faulty(tmp_path, "cut.tar", whole[:end])
    with tarfile.open(tmp_path / "data.tar") as file:
        second = file.getmembers()[2].offset
    assert "within a header" in _faulty(tmp_path, "cut.tar", whole[: second + 100])
    (tmp_path / "cut.tar").write_bytes(whole[:second])
    told = " ".join(read(tmp_path / "cut.tar", split=(1, 0, 0)).remarks)
    assert "cut.tar: without the mark of its end; it may have been cut" in told
    marked = [
        ("a", "jpg", _png(0)),
        ("a", "txt", "caf\u00e9 noir".encode("utf-16")),
        ("a", "cls", b"3\n"),
    ]
    _tar(tmp_path, "b.tar", [*marked, ("A", "JPG", _png(1)), ("A", "cls", b"4")])
    found = read(tmp_path / "b.tar", split=(1, 0, 0))
    assert list(found.columns["text"].values) == ["caf\u00e9 noir", ""]
    assert list(found.labels["cls"]) == [3, 4] and list(found.present["text"]) == [True, False]
    _tar(tmp_path, "c.tar", [("a", "jpg", _png(0)), ("a", "txt", b"caf\xe9 noir")])
    with pytest.raises(InvalidInput, match="c.tar: a.txt: no UTF-8 text"):
        read(tmp_path / "c.tar", split=(1, 0, 0))
    assert not list(tmp_path.parent.glob("*.png"))


def test_numbers_of_text_files_are_their_values(tmp_path):
    rows = ["01234,7,1.5,True,3", "1234,8,2,False,"]
    (tmp_path / "a.csv").write_text("\ufeffcode,whole,part,flag,some\r\n" + "\r\n".join(rows))
    options = {"modalities": {"x": ["whole", "part"], "some": "some"}, "split": (1, 0, 0)}
    found = read(tmp_path / "a.csv", labels=["code", "whole", "part", "flag"], **options)
    assert found.labels["code"].tolist() == ["01234", "1234"]
    assert found.labels["whole"].tolist() == [7, 8] and found.labels["part"].tolist() == [1.5, 2]
    assert found.labels["flag"].tolist() == [1, 0]
    assert found.columns["x"].values.tolist() == [[7, 1.5], [8, 2]]
    assert found.present["some"].tolist() == [True, False]
    text = read(tmp_path / "a.csv", kinds={"some": "text"}, **options)
    assert text.columns["some"].values.tolist() == ["3", ""]


def test_several_captions(tmp_path):
    for k in range(3):
        (tmp_path / f"{k}.png").write_bytes(_png(k))
        notes = {"captions": [f"a cat {k}", f"a dog {k}"][: k + 1] or None, "class": k}
        (tmp_path / f"{k}.json").write_text(json.dumps(notes if k else {"class": k}))
    found = read(tmp_path, labels=["class"], split=(1, 0, 0))
    assert found.columns["text"].values.tolist() == ["", "a cat 1", "a cat 2"]
    assert found.columns["text"].others.tolist() == [(), ("a dog 1",), ("a dog 2",)]
    assert any(line.startswith("text: up to 2 texts a row") for line in found.remarks)
    assert found.labels["class"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("dtype", ["f2", "bfloat16", "f4", "f8"])
@pytest.mark.parametrize("ending", ["npz", "npy", "safetensors"])
def test_numbers_of_any_precision_are_their_values(ending, dtype, tmp_path):
    x = np.eye(N)[:, :3].astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    path = tmp_path / f"a.{ending}"
    save = {"npz": lambda: np.savez(path, a=x), "npy": lambda: np.save(path, x)}
    save.get(ending, lambda: save_file({"a": x}, path))()
    found = read(path).columns["a"]
    assert found.kind == "features"
    np.testing.assert_array_equal(found.values, np.eye(N)[:, :3])


_ODD = st.sampled_from(["7.50", "07", "1e5", "nan", "true"])
_CELL = st.text(st.characters(exclude_categories=["Cs"]), max_size=9) | _ODD


@given(st.lists(st.tuples(_CELL, st.integers(-9, 9)), min_size=1, max_size=6))
@settings(deadline=None, max_examples=60)
def test_any_text_survives_a_table(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("table") / "a.csv"
    line_ends = lambda text: text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
    rows = [(line_ends(text), number) for text, number in rows]
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "x"), *rows])
    options = {"kinds": {"text": "text"}, "split": (1, 0, 0), "labels": ["x"]}
    wanted = [text if text.strip() else "" for text, _ in rows]
    if not any(wanted):
        with pytest.raises(InvalidInput, match="'text' is empty in all rows"):
            read(path, modalities={"text": "text", "x": "x"}, **options)
        return
    found = read(path, modalities={"text": "text", "x": "x"}, **options)
    assert found.columns["text"].values.tolist() == wanted
    assert found.labels["x"].tolist() == [number for _, number in rows]


@pytest.mark.parametrize("package, ending", [
    ("soundfile", "wav"), ("pyarrow", "parquet"), ("h5py", "h5"), ("safetensors", "safetensors"),
])  # fmt: skip
def test_a_missing_package_is_one_line(package, ending, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    (tmp_path / f"a.{ending}").write_bytes(b"any")
    path = tmp_path if ending == "wav" else tmp_path / f"a.{ending}"
    with pytest.raises(InvalidInput, match=f"a.{ending}: reading it needs `pip install {package}`"):
        read(path, split=(1, 0, 0))


def test_real_data_of_three_modalities_and_by_an_index():
    shared = Path(__file__).parent / "../../shared/data"
    if not shared.is_dir():
        pytest.skip("shared/data is not here")
    mosi = read(
        shared / "mosi_utterances/mosi_utterances.npz",
        modalities={name: name for name in ("text", "audio", "video")},
        labels=["sentiment"],
        groups="video_id",
    )
    assert np.sum(mosi.split == "test") == 752
    assert 90 < len(np.unique(mosi.groups)) <= 93  # equal rows link two videos
    digits = read(
        shared / "av_digits/av_digits.npz",
        modalities={"image": "image", "audio": "mel"},
        labels=["audio_digit", "image_digit"],
        split="audio_is_test",
        index={"image": "pair_image_index", "image_digit": "pair_image_index"},
    )
    np.testing.assert_array_equal(digits.labels["audio_digit"], digits.labels["image_digit"])
    assert digits.columns["image"].values.shape == (3000, 28, 28, 1)


def test_modalities_of_a_command_line():
    found = parse_modalities(" image:photo, text : caption,age,x:a+b ")
    assert found == {"image": "photo", "text": "caption", "age": "age", "x": ["a", "b"]}
    assert parse_modalities(" ") is None
    for bad in (",", "a:", ":b", "a,a:b", "a:b+"):
        with pytest.raises(InvalidInput):
            parse_modalities(bad)


def test_an_empty_cell_of_numbers_is_a_row_that_lacks_them(tmp_path):
    path = tmp_path / "t.csv"
    read_as = lambda of: read(str(path), modalities={"n": of, "t": "c"}, split=(1, 0, 0))
    path.write_text("a,b,c\n1,2,cat\n,,dog\n3.5,1,pig\n")
    for of, values in (
        ("a", [[1], [3.5]]),
        (["a"], [[1], [3.5]]),
        (["a", "b"], [[1, 2], [3.5, 1]]),
    ):
        data = read_as(of)
        assert data.present["n"].tolist() == [True, False, True]
        np.testing.assert_array_equal(data.columns["n"].values[[0, 2]], values)
    path.write_text("a,b,c\n1,2,cat\n2,,dog\n")
    with pytest.raises(InvalidInput, match=r"column 'b' of n is empty in row 1 \(line 3\); fill"):
        read_as(["a", "b"])
    with pytest.raises(InvalidInput, match="column 'c' of n has no numbers"):
        read_as(["a", "c"])


def test_arrays_of_different_numbers_of_rows_are_told_how_to_be_paired(tmp_path):
    """As in sounds that share pictures: which option helps, and which column."""
    path = tmp_path / "digits.npz"
    rng = np.random.default_rng(0)
    held = dict(image=rng.integers(0, 255, (70, 4, 4), np.uint8), mel=rng.normal(size=(30, 5, 2)))
    held |= dict(pair_image_index=rng.integers(0, 70, 30), speaker_index=np.arange(30) + 99)
    np.savez(path, **held)
    told = "image has 70 rows, mel has 30 rows; name those of as many rows by modalities=, or "
    told += "row numbers that choose by index= (pair_image_index may choose rows of image)"
    both = {"image": "image", "mel": "mel"}
    for options in ({}, {"modalities": both}):
        with pytest.raises(InvalidInput) as error:
            read(path, **options)
        assert str(error.value).endswith(told) and str(path) in str(error.value)
    data = read(path, modalities=both, index={"image": "pair_image_index"})
    np.testing.assert_array_equal(
        data.columns["image"].values[..., 0], held["image"][held["pair_image_index"]]
    )
    np.savez(path, image=held["image"], mel=held["mel"])
    with pytest.raises(InvalidInput, match="by index=$"):
        read(path)


def test_files_of_a_row_each_are_not_a_modality_each(tmp_path):
    for row in range(40):
        np.save(tmp_path / f"{row:03d}.image.npy", np.zeros((48, 3)))
    with pytest.raises(InvalidInput, match="40 columns or arrays .*name those that are"):
        read(tmp_path)
    with pytest.raises(InvalidInput, match="modalities: 'x:x' is not allowed; use a dict"):
        read(tmp_path, modalities="x:x")


def test_rows_of_files_are_known_by_them_and_nan_among_words_is_refused(tmp_path):
    data = read(_delimited(tmp_path), modalities={"image": "image", "text": "text"})
    expected = ["" if k == NO_PICTURE else str(tmp_path / f"{k}.png") for k in range(N)]
    assert data.files.tolist() == expected
    assert data.part("test").files.tolist() == [
        expected[k] for k in np.flatnonzero(data.split == "test")
    ]
    table = tmp_path / "words.csv"
    table.write_text(
        "a,b,kind\n" + "".join(f"{k},{k * k},{'nan' if k == 4 else 'x'}\n" for k in range(9))
    )
    options = dict(modalities={"a": "a", "b": "b"}, labels=["kind"])
    with pytest.raises(
        InvalidInput, match=r"'kind' holds 'nan' in row 4 \(line 6\).*leave out such"
    ):
        read(table, **options)
    assert read(table, **options, kinds={"kind": "text"}).labels["kind"].tolist().count("nan") == 1

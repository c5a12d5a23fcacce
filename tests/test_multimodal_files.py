"""Data sets of k modalities that stay in their files: HDF5, and posters beside JSON."""

import io
import json
import sys

import h5py
import numpy as np
import pytest
from PIL import Image

from mmjax.data import load_mm_imdb, load_mm_imdb_hdf5, load_vision_touch
from mmjax.data.dataset import is_classes
from mmjax.data.sets.mm_imdb import GENRES, film_ids
from mmjax.errors import InvalidInput
from tests.rows import rows_of


def one_line(error):
    return "\n" not in str(error.value)


# Vision&Touch

EPISODES, STEPS = 6, 5


def episode(k):
    rng = np.random.default_rng(k)
    return {
        "image": rng.integers(0, 256, (STEPS, 128, 128, 3), np.uint8),
        "depth_data": rng.random((STEPS, 128, 128, 1), np.float32),
        "ee_forces_continuous": rng.normal(size=(STEPS, 50, 6)),
        "proprio": rng.normal(size=(STEPS, 8)),
        "action": rng.normal(size=(STEPS, 4)),
        "contact": (np.arange(50) == 3) & (np.arange(STEPS) % 3 == k % 3)[:, None],
    }


def write_h5(path, arrays):
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array)


@pytest.fixture(scope="module")
def robot(tmp_path_factory):
    root = tmp_path_factory.mktemp("robot")
    for k in range(EPISODES):
        write_h5(root / f"episode_{k}.h5", episode(k))
    (root / "notes.txt").write_text("not an episode")
    return root


def test_vision_touch_samples(robot):
    data = load_vision_touch(
        str(robot), modalities=("image", "force", "proprio", "depth", "action")
    )
    order = np.arange(EPISODES)
    np.random.default_rng(42).shuffle(order)
    files = {"train": sorted(order[:-1]), "test": sorted(order[-1:])}
    names = sorted(f"episode_{k}.h5:{t}" for k in range(EPISODES) for t in range(STEPS - 2))
    assert set(data.split) == {"train", "test"} and list(data.labels) == ["label"]
    for name, chosen in files.items():
        part = data.part(name)
        samples = [(k, t) for k in chosen for t in range(STEPS - 2)]
        found = [names[code] for code in part.ids[:, -1]]
        assert found == [f"episode_{k}.h5:{t}" for k, t in samples]
        mixed = np.random.default_rng(0).permutation(len(samples))
        mixed = np.concatenate([mixed, mixed[:2]])
        at = lambda name, ahead=0, samples=samples, rows=mixed: np.stack(
            [episode(samples[r][0])[name][samples[r][1] + ahead] for r in rows]
        )
        image, force, proprio, depth, action = (rows_of(part, k, mixed) for k in part.columns)
        assert image.dtype == np.uint8
        np.testing.assert_array_equal(image, at("image"))
        np.testing.assert_array_equal(depth, at("depth_data"))
        expected = np.tanh(at("ee_forces_continuous")[:, 18:])
        assert expected.shape[1:] == (32, 6)
        np.testing.assert_allclose(force, expected, rtol=1e-6)
        np.testing.assert_array_equal(proprio, at("proprio").astype(np.float32))
        np.testing.assert_array_equal(action, at("action").astype(np.float32))
        touching = at("contact", 1).any(1).astype(int)
        assert part.labels["label"][mixed].tolist() == touching.tolist()
    assert 0 < data.part("train").labels["label"].mean() < 1
    motion = load_vision_touch(str(robot), task="position", modalities=("proprio",)).part("train")
    assert len(motion.labels) == 4 and not any(map(is_classes, motion.labels.values()))
    k, t = files["train"][1], 1
    for number, column in enumerate(motion.labels.values()):
        assert column[3 + t] == np.float32(episode(k)["proprio"][t + 1, number])


def _without(name):
    return {key: value for key, value in episode(0).items() if key != name}


def _with(name, value):
    return {**episode(0), name: value}


BAD_EPISODES = {
    "no image": (_without("image"), "no dataset 'image'"),
    "no force": (_without("ee_forces_continuous"), "no dataset 'ee_forces_continuous'"),
    "no contact": (_without("contact"), "no dataset 'contact'"),
    "image size": (_with("image", np.zeros((STEPS, 64, 64, 3), np.uint8)), "image is uint8"),
    "image dtype": (_with("image", np.zeros((STEPS, 128, 128, 3))), "image is float64"),
    "image steps": (_with("image", episode(0)["image"][1:]), "image is uint8"),
    "force readings": (_with("ee_forces_continuous", np.zeros((STEPS, 31, 6))), "32"),
    "proprio": (_with("proprio", np.zeros((STEPS, 7))), "use 8 columns"),
    "nan": (_with("proprio", np.full((STEPS, 8), np.nan)), "proprio has NaN"),
    "steps": ({k: v[:2] for k, v in episode(0).items()}, "proprio has 2 steps"),
}


@pytest.mark.parametrize("name", BAD_EPISODES)
def test_bad_episodes_are_told_in_one_line(name, robot, tmp_path):
    arrays, told = BAD_EPISODES[name]
    for k in range(EPISODES):
        (tmp_path / f"episode_{k}.h5").symlink_to(robot / f"episode_{k}.h5")
    (tmp_path / "episode_2.h5").unlink()
    write_h5(tmp_path / "episode_2.h5", arrays)
    with pytest.raises(InvalidInput, match=told) as error:
        load_vision_touch(str(tmp_path))
    assert "episode_2.h5" in str(error.value) and one_line(error)


def test_bad_hdf5_files(robot, tmp_path, monkeypatch):
    content = (robot / "episode_0.h5").read_bytes()
    for broken in (b"", b"no HDF5", content[: len(content) // 2]):
        for k in range(5):
            (tmp_path / f"{k}.h5").write_bytes(broken)
        with pytest.raises(InvalidInput, match="h5: not a whole HDF5 file") as error:
            load_vision_touch(str(tmp_path))
        assert one_line(error)
    (tmp_path / "0.h5").unlink()
    for root, told in ((tmp_path, "4 .h5 files"), (tmp_path / "none", "existing folder")):
        with pytest.raises(InvalidInput, match=told):
            load_vision_touch(str(root))
    for options in ({"task": "grasp"}, {"modalities": ("smell",)}, {"modalities": ()}):
        with pytest.raises(InvalidInput, match="task|modalities"):
            load_vision_touch(str(robot), **options)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(InvalidInput, match="pip install h5py"):
        load_vision_touch(str(robot))


def test_a_file_that_breaks_later_is_told(robot, tmp_path):
    for k in range(EPISODES):
        (tmp_path / f"{k}.h5").write_bytes((robot / f"episode_{k}.h5").read_bytes())
    data = load_vision_touch(str(tmp_path)).part("train")
    for k in range(EPISODES):
        (tmp_path / f"{k}.h5").write_bytes(b"cut off")
    with pytest.raises(InvalidInput, match="not a whole HDF5 file"):
        rows_of(data, "image", np.arange(2))


# MM-IMDb

FILMS = {
    "0000001": (["A plot.", "The longest plot of all.", "Short."], ["Drama", "War"], "RGB"),
    "0000002": (["One plot."], ["Sci-Fi", "Reality-TV"], "L"),
    "0000003": (["", "A plot."], ["Film-Noir", "Action", "Western"], "CMYK"),
    "0000004": (["Same", "Size"], ["News"], "RGB"),
}
PARTS = {"train": ["0000003", "0000001"], "dev": ["0000002"], "test": ["0000004"]}


def poster(mode, size=(20, 40)):
    """Left half dark, right half light."""
    image = Image.new("L", size, 40)
    image.paste(200, (size[0] // 2, 0, *size))
    content = io.BytesIO()
    image.convert("RGB").convert(mode).save(content, "JPEG", quality=95)
    return content.getvalue()


@pytest.fixture
def films(tmp_path):
    (tmp_path / "dataset").mkdir()
    (tmp_path / "split.json").write_text(json.dumps(PARTS))
    for i, (plot, genres, mode) in FILMS.items():
        film = {"plot": plot, "genres": genres, "year": 2000}
        (tmp_path / "dataset" / f"{i}.json").write_text(json.dumps(film))
        (tmp_path / "dataset" / f"{i}.jpeg").write_bytes(poster(mode))
    return tmp_path


def test_mm_imdb_films(films):
    data = load_mm_imdb(str(films), image_size=(16, 8), workers=2)
    assert list(data.labels) == sorted(data.labels) == list(GENRES) and len(data.labels) == 23
    assert film_ids(str(films)) == sum(PARTS.values(), [])
    assert np.array(sorted(FILMS))[data.ids[:, -1]].tolist() == sum(PARTS.values(), [])
    train, validation, test = (data.part(name) for name in ("train", "validation", "test"))
    image, text = rows_of(train, "image"), rows_of(train, "text")
    assert text.tolist() == ["A plot.", "The longest plot of all."]
    genres = lambda part, row=0: [name for name, has in part.labels.items() if has[row]]
    assert genres(train) == ["action", "film-noir", "western"]
    assert genres(train, 1) == ["drama", "war"]
    assert genres(validation) == ["sci-fi"] and not genres(test)
    assert image.shape == (2, 16, 8, 3) and image.dtype == np.uint8
    for shown in (image[1], rows_of(validation, "image")[0]):  # colour and grey
        assert abs(shown[:, :3].astype(int) - 40).max() < 12
        assert abs(shown[:, -3:].astype(int) - 200).max() < 12
    first = load_mm_imdb(str(films), plot="first").part("train")
    assert rows_of(first, "text").tolist() == ["A plot."] * 2
    assert first.columns["image"].values.shape == (2, 256, 160, 3)


def test_mm_imdb_posters_of_other_endings_and_one_each(films):
    posters = lambda: rows_of(load_mm_imdb(str(films)), "image")
    expected = posters()
    (films / "dataset" / "0000002.jpeg").rename(films / "dataset" / "0000002.JPG")
    np.testing.assert_array_equal(posters(), expected)
    (films / "dataset" / "0000002.png").write_bytes(b"")
    with pytest.raises(InvalidInput, match="0000002.JPG and 0000002.png share a name"):
        load_mm_imdb(str(films))


def test_mm_imdb_posters_are_cut_about_the_middle(films):
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 20:40] = 255
    Image.fromarray(wide).save(films / "dataset" / "0000002.jpeg", quality=95)
    data = load_mm_imdb(str(films), image_size=(10, 10))
    assert rows_of(data.part("validation"), "image")[0, :, 2:8].min() > 240


BAD_FILMS = {
    "no split": ("split.json", None, "not there"),
    "no json": ("split.json", "{", "no JSON"),
    "no utf8": ("split.json", b"\xff\xfe\xfa", "no JSON"),
    "a list": ("split.json", "[]", "train is no list"),
    "no dev": ("split.json", '{"train": ["a"], "test": ["b"]}', "dev is no list"),
    "numbers": ("split.json", '{"train": [1], "dev": [2], "test": [3]}', "train is no list"),
    "twice": ("split.json", '{"train": ["a"], "dev": ["a"], "test": ["b"]}', "'a' in dev stands"),
    "path": ("split.json", '{"train": ["../a"], "dev": ["b"], "test": ["c"]}', "no name of a file"),
    "no film": ("dataset/0000001.json", None, "0000001.json: not there"),
    "film": ("dataset/0000001.json", "[" * 100_000, "0000001.json: no JSON"),
    "no plot": ("dataset/0000001.json", '{"genres": []}', "no plot"),
    "no genres": ("dataset/0000001.json", '{"plot": ["a"]}', "no genres"),
    "plots": ("dataset/0000001.json", '{"plot": ["", " "], "genres": []}', "plot is empty"),
    "no poster": ("dataset/0000001.jpeg", None, "0000001.jpeg: not there"),
}


@pytest.mark.parametrize("name", BAD_FILMS)
def test_bad_films_are_told_in_one_line(name, films):
    file, content, told = BAD_FILMS[name]
    (films / file).unlink()
    if content is not None:
        (films / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InvalidInput, match=told) as error:
        load_mm_imdb(str(films))
    assert file in str(error.value) and one_line(error)


@pytest.mark.parametrize("content", [b"", b"no image", poster("RGB")[:600]])
def test_bad_posters_are_told_when_they_are_read(content, films):
    (films / "dataset" / "0000001.jpeg").write_bytes(content)
    data = load_mm_imdb(str(films)).part("train")
    rows_of(data, "image", np.array([0]))
    with pytest.raises(InvalidInput, match="0000001.jpeg: ") as error:
        rows_of(data, "image", np.array([0, 1]))
    assert one_line(error)


def test_bad_options_of_mm_imdb(films):
    for options in ({"plot": "last"}, {"image_size": (0, 5)}, {"workers": 0}):
        with pytest.raises(InvalidInput):
            load_mm_imdb(str(films), **options)


ENDS = (5, 7, 10)


def imdb():
    rng = np.random.default_rng(0)
    return {
        "images": rng.integers(-124, 152, (10, 3, 6, 4), np.int32),
        "features": rng.random((10, 5), np.float32),
        "vgg_features": rng.random((10, 7), np.float32),
        "genres": rng.integers(0, 2, (10, 3), np.int32),
        "imdb_ids": np.array([f"{k:07d}" for k in range(10)], "S7"),
    }


def write_imdb(tmp_path, names='["Drama", "Comedy", "War"]', sequences=None, **changed):
    path = tmp_path / "multimodal_imdb.hdf5"
    write_h5(path, {k: v for k, v in {**imdb(), **changed}.items() if v is not None})
    rows = sequences or [np.arange(k + 1) for k in range(10)]
    with h5py.File(path, "a") as file:
        kind = h5py.vlen_dtype(np.int32)
        stored = file.create_dataset("sequences", (len(rows),), kind)
        for k, row in enumerate(rows):
            stored[k] = row
        if "genres" in file and names is not None:
            file["genres"].attrs["target_names"] = names
    return str(path)


def test_mm_imdb_hdf5(tmp_path):
    path, given = write_imdb(tmp_path), imdb()
    data = load_mm_imdb_hdf5(path, modalities=("image", "vgg", "text", "tokens"), ends=ENDS)
    assert list(data.labels) == ["Drama", "Comedy", "War"]
    assert [c.kind for c in data.columns.values()] == ["image", "features", "features", "sequence"]
    starts = (0, *ENDS)
    for k, name in enumerate(("train", "validation", "test")):
        part, rows = data.part(name), np.arange(starts[k], starts[k + 1])
        assert part.ids[:, -1].tolist() == rows.tolist()
        mixed = np.array([1, 0, 1])
        image, vgg, text, tokens = (rows_of(part, name, mixed) for name in part.columns)
        np.testing.assert_array_equal(image, np.moveaxis(given["images"][rows[mixed]], 1, -1))
        assert image.shape[1:] == (6, 4, 3) == part.columns["image"].values.shape[1:]
        assert image.dtype == vgg.dtype == text.dtype == np.float32
        np.testing.assert_array_equal(vgg, given["vgg_features"][rows[mixed]])
        np.testing.assert_array_equal(text, given["features"][rows[mixed]])
        genres = np.stack(list(part.labels.values()), 1)
        np.testing.assert_array_equal(genres, given["genres"][rows])
        assert [c.seen is None for c in part.columns.values()] == [True, True, True, False]
        assert tokens.dtype == np.int32
        seen = part.columns["tokens"].seen[mixed]
        for row, ids, mask in zip(rows[mixed], tokens[..., 0], seen, strict=True):
            assert ids.tolist() == [*range(row + 1), *[0] * (9 - row)]
            assert mask.tolist() == [True] * (row + 1) + [False] * (9 - row)
    assert list(load_mm_imdb_hdf5(path, ends=ENDS).columns) == ["vgg", "text"]
    strings = write_imdb(tmp_path, names=["a", "b", "c"])
    assert list(load_mm_imdb_hdf5(strings, ends=ENDS).labels) == ["a", "b", "c"]


BAD_IMDB = {
    "no genres": ({"genres": None}, "no dataset 'genres'"),
    "rows": ({"vgg_features": np.zeros((9, 7), np.float32)}, r"vgg_features is float32 \(9, 7\)"),
    "no rows": ({"genres": np.zeros((9, 3), int)}, "genres has 9 rows"),
    "values": ({"genres": np.full((10, 3), 2)}, "genres holds 2"),
    "axes": ({"features": np.zeros(10, np.float32)}, "features is float32"),
    "nan": ({"features": np.full((10, 5), np.nan)}, "features has NaN"),
    "text": ({"features": np.full((10, 5), b"x")}, r"features is \|S1"),
    "no names": ({"names": None}, "target_names of genres has 0 names"),
    "names": ({"names": '["a"]'}, "target_names of genres has 1 names"),
    "names json": ({"names": "["}, "target_names of genres is no JSON"),
    "ids": ({"imdb_ids": np.arange(10)}, "imdb_ids is int64"),
    "films twice": (
        {"imdb_ids": np.array([f"{k % 9:07d}" for k in range(10)], "S7")},
        "imdb_ids: 1 of 10 rows are of films that stand twice, such as '0000000'",
    ),
    "genres twice": ({"names": '["a", "a", "b"]'}, "target_names: .*each genre once"),
    "tokens": ({"sequences": [np.array([-1])] * 10}, "sequences, row 0"),
    "no tokens": ({"sequences": [np.arange(3)] * 4 + [[]] * 6}, "sequences, row 4"),
}


@pytest.mark.parametrize("name", BAD_IMDB)
def test_bad_hdf5_of_mm_imdb_is_told_in_one_line(name, tmp_path):
    changed, told = BAD_IMDB[name]
    path = write_imdb(tmp_path, **changed)
    with pytest.raises(InvalidInput, match=told) as error:
        load_mm_imdb_hdf5(path, modalities=("vgg", "text", "tokens"), ends=ENDS)
    assert path in str(error.value) and one_line(error)


def test_bad_options_of_mm_imdb_hdf5(tmp_path):
    path = write_imdb(tmp_path, vgg_features=np.full((10, 7), np.inf, np.float32))
    for options in ({"modalities": ("smell",)}, {"ends": (5, 5, 10)}, {}):
        with pytest.raises(InvalidInput, match="modalities|ends|genres has 10 rows"):
            load_mm_imdb_hdf5(path, **options)
    with pytest.raises(InvalidInput, match="vgg_features has NaN or infinity"):
        rows_of(load_mm_imdb_hdf5(path, ends=ENDS).part("test"), "vgg")
    (tmp_path / "text.hdf5").write_text("no HDF5")
    for bad, told in (("text.hdf5", "not a whole HDF5"), ("none.hdf5", "existing file")):
        with pytest.raises(InvalidInput, match=told):
            load_mm_imdb_hdf5(str(tmp_path / bad))

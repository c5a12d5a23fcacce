"""A workdir goes on with its own training alone, and an export has one array a name."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import mmjax as mm
from mmjax.data.hashes import hashes_of, known_hashes
from mmjax.data.values import Lazy
from mmjax.errors import InvalidInput
from mmjax.models.marks import mark_of
from mmjax.tables.models import export_columns
from tests.test_copies_in_other_dtypes import held_by

RNG = np.random.default_rng(0)
X, T, Y = RNG.normal(size=(40, 5)), RNG.normal(size=(40, 4)), RNG.integers(0, 3, 40)
SPLIT = np.repeat(["train", "validation", "test"], [26, 8, 6])
PROBE = "import mmjax as mm; from mmjax.models.marks import mark_of as m; print(m({}))"


def _data(x=X, y=Y, **options):
    return mm.Dataset.from_arrays(x=x, t=T, labels={"y": y}, split=SPLIT, **options)


def _fit(data, folder, **options):
    options = dict(dim=2, steps=2, key=jax.random.key(0), progress=False, loggers=()) | options
    return mm.fit(data, workdir=str(folder), **options)


def _own(sign):
    def value(params, z, context):
        one, other = z.values()
        return sign * jnp.mean((one - other) ** 2), {}

    return mm.Loss(lambda key, dim: {}, value)


@pytest.mark.parametrize(
    "before, after, said",
    [
        (
            dict(loss=mm.losses.info_nce(temperature=0.1)),
            dict(loss=mm.losses.info_nce(temperature=0.9)),
            "its loss had",
        ),
        (dict(loss=_own(1.0)), dict(loss=_own(-1.0)), "its loss had"),
        (
            dict(loss="supcon", label="y"),
            dict(loss="supcon", label="y", data=_data(y=np.roll(Y, 1))),
            "ids or labels",
        ),
        (dict(), dict(data=_data(ids=np.arange(40) // 2)), "ids or labels"),
        (dict(), dict(data=_data(x=np.where(SPLIT == "validation", 3, X.T).T)), "validation rows"),
        (
            dict(augment={"x": lambda key, x: x}),
            dict(augment={"x": lambda key, x: -x}),
            "its augment had",
        ),
    ],
)
def test_a_folder_of_another_training_is_refused(tmp_path, before, after, said):
    _fit(_data(), tmp_path, **before)
    with pytest.raises(InvalidInput, match=f"holds another training: .*{said}"):
        _fit(**{"data": _data()} | after, folder=tmp_path)
    _fit(_data(), tmp_path, **before)  # the same goes on


def test_marks_are_of_values_and_not_of_objects():
    losses = [mm.losses.info_nce(temperature=t) for t in (0.1, 0.1, 0.2)]
    marks = [mark_of(loss) for loss in losses]
    assert marks[0] == marks[1] != marks[2]
    assert mark_of(_own(1.0)) == mark_of(_own(1.0)) != mark_of(_own(2.0))
    assert mark_of(np.arange(3)) != mark_of(np.arange(3.0)) != mark_of(np.arange(3.0) + 1)


@pytest.mark.parametrize("made", ["mm.losses.info_nce(temperature=.1)", "mm.losses.comm()"])
def test_marks_are_the_same_in_another_process(made):
    command = [sys.executable, "-c", PROBE.format(made)]
    result = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert result.split()[-1] == mark_of(eval(made, {"mm": mm}))


@pytest.mark.parametrize("name", ["x", "group", "is_test"])
def test_a_label_called_as_another_array_is_refused(tmp_path, name):
    data = mm.Dataset.from_arrays(x=X, t=T, labels={name: Y}, split=SPLIT)
    model = mm.fit(data, dim=2, steps=1, key=jax.random.key(0), progress=False)
    with pytest.raises(InvalidInput, match=f"labels: '?{name}"):
        export_columns(model, data)


def _streamed(folder, name, x, **options):
    path = str(folder / name)
    np.savez(path, x=x, t=x[:, ::-1], pair=np.arange(len(x)) // 2)
    return mm.read(path, modalities={"x": "x", "t": "t"}, **options)


def test_streamed_rows_are_known_by_what_they_hold(tmp_path):
    x = RNG.normal(size=(40, 6)).astype(np.float32)
    of = lambda data: (hashes_of(data), known_hashes(data, data))
    streamed, held = (_streamed(tmp_path, "a.npz", x, stream=s) for s in (True, False))
    assert isinstance(streamed.columns["x"].values, Lazy)
    np.testing.assert_array_equal(of(streamed)[0]["x"], of(held)[0]["x"])
    known = of(streamed)[1]
    again = _streamed(tmp_path, "b.npz", x[::-1], stream=True)
    new = _streamed(tmp_path, "c.npz", x + 1, stream=True)
    assert held_by(again, known).all() and not held_by(new, known).any()


def test_streamed_rows_of_one_place_are_on_one_side(tmp_path):
    x, path = RNG.normal(size=(30, 6)).astype(np.float32), str(tmp_path / "a.npz")
    np.savez(path, x=x, t=RNG.normal(size=(90, 4)).astype(np.float32), place=np.arange(90) // 3)
    wanted = dict(modalities={"x": "x", "t": "t"}, index={"x": "place"})
    for stream in (True, False):
        data = mm.read(path, stream=stream, **wanted)
        sides = [{*np.flatnonzero(data.split == s) // 3} for s in ("train", "validation", "test")]
        assert all(sides) and sum(map(len, sides)) == 30


def _model(**columns):
    data = mm.Dataset.from_arrays(**columns, t=T, split=SPLIT)
    return mm.fit(data, dim=2, steps=1, key=jax.random.key(0), progress=False)


@pytest.mark.parametrize(
    "trained, new, said",
    [
        (np.uint8, lambda v: v.astype(np.int64) * 257, "largest value of x: 65"),
        (np.float32, lambda v: v.astype(np.float32), "largest value of x: 25"),
        (np.float32, lambda v: v, "dtype of x: 'uint8'"),
        (np.uint16, lambda v: v, "dtype of x: 'uint8'"),
    ],
)
def test_pixels_of_another_range_are_refused(trained, new, said):
    pixels = RNG.integers(0, 256, (40, 4, 4, 3)).astype(np.uint8)
    pixels[:, 0, 0] = 255
    scale = {np.uint8: 1, np.float32: 1 / 255, np.uint16: 257}[trained]
    made = pixels if scale == 1 else (pixels.astype(np.float64) * scale).astype(trained)
    model = _model(x=made)
    assert model.embed(x=made[:3]).shape == (3, 2)
    with pytest.raises(InvalidInput, match=said):
        model.embed(x=new(pixels[:3]))


def test_sequences_of_other_lengths_than_in_training_are_refused():
    steps = RNG.normal(size=(40, 5, 3)).astype(np.float32)
    model = _model(s=steps)
    one = model.embed(s=[steps[0, :3]])
    np.testing.assert_allclose(model.embed(s=[steps[0, :3], steps[1, :3]])[0], one[0], atol=1e-5)
    with pytest.raises(InvalidInput, match="lengths of s: 'different ones' .*one length a call"):
        model.embed(s=[steps[0, :3], steps[1]])


@pytest.mark.parametrize("first", ["9007199254740992.0", "-1", "18446744073709551615"])
@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_large_ids_are_not_rounded_by_their_neighbours(tmp_path, first, ending):
    ids = [first, *(str(2**63 - 1 - k if first == "-1" else 2**53 + 1 + k) for k in range(29))]
    path = tmp_path / f"a.{ending}"
    lines = [f"{k / 7},{-k / 3},{name}" for k, name in enumerate(ids)]
    if ending == "jsonl":
        lines = ['{{"x": {}, "t": {}, "id": {}}}'.format(*line.split(",")) for line in lines]
    path.write_text("\n".join(["x,t,id"] * (ending == "csv") + lines) + "\n")
    data = mm.read(str(path), modalities={"x": "x", "t": "t"}, ids="id")
    assert len(np.unique(data.ids)) == len(np.unique(data.groups)) == 30


def _folder(root, names):
    for number, name in enumerate(names):
        path = root / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), number, np.uint8)).save(path)
        path.with_suffix(".txt").write_text(f"caption {number}")
    return str(root)


def test_folders_of_a_split_are_one_and_no_row_is_beside_them(tmp_path):
    inside = [f"{'Testing' if k % 4 == 0 else 'Training'}/{k}" for k in range(16)]
    data = mm.read(_folder(tmp_path / "a", inside))
    assert np.sum(data.split == "test") == 4 and np.sum(data.split == "train") == 12
    with pytest.raises(InvalidInput, match="stray is in none of the folders test, train"):
        mm.read(_folder(tmp_path / "b", [*inside, "stray"]))


def test_a_function_of_no_module_has_a_mark():
    """What exec defines, as some notebooks' kernels do."""
    one, two = {}, {}
    exec("def loss(x): return x + 1", one)
    exec("def loss(x): return x + 2", two)
    assert one["loss"].__module__ is None or one["loss"].__module__ == "builtins"
    one["loss"].__module__ = two["loss"].__module__ = None
    assert mark_of(one["loss"]) != mark_of(two["loss"])

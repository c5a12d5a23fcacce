"""Files of torch.save: read as torch wrote them, whole or not at all, and nothing in them runs."""

import pickle
import struct
import zipfile

import jax
import ml_dtypes
import numpy as np
import pytest

from mmjax.data import read_features, read_few_shot, read_torch
from mmjax.errors import InvalidInput
from mmjax.few_shot import make_draws

KINDS = {
    "f2": "HalfStorage",
    "f4": "FloatStorage",
    "f8": "DoubleStorage",
    "i8": "LongStorage",
    "i4": "IntStorage",
    "u1": "ByteStorage",
    "b1": "BoolStorage",
    "bfloat16": "BFloat16Storage",
}
kind_of = lambda array: KINDS.get(array.dtype.name, KINDS.get(array.dtype.str[1:]))
text = lambda s: b"X" + struct.pack("<I", len(s)) + s.encode()
number = lambda n: b"J" + struct.pack("<i", n)
whole_tuple = lambda numbers: b"(" + b"".join(map(number, numbers)) + b"t"


def storage(kind, key, count, end=b""):
    inner = text("storage") + b"ctorch\n" + kind.encode() + b"\n" + text(key) + text("cuda:0")
    return b"(" + inner + number(count) + end + b"tQ"


def tensor(reference, size, stride, offset=0):
    """The instructions that torch writes for a tensor."""
    start = b"ctorch._utils\n_rebuild_tensor_v2\n(" + reference + number(offset)
    return start + whole_tuple(size) + whole_tuple(stride) + b"\x89ccollections\nOrderedDict\n)RtR"


def strides(array):
    return [s // array.itemsize for s in array.strides]


def archive(path, arrays, *, alone=True, order="little", how=zipfile.ZIP_STORED, body=None):
    """A zip as of torch 1.6 and later: a tensor alone, or a dict of them."""
    parts, sides = [], ">" if order == "big" else "<"
    with zipfile.ZipFile(path, "w", how) as file:
        for k, (name, array) in enumerate(arrays.items()):
            flat = array.ravel(order="K")
            raw = flat.view("u2") if array.dtype.kind == "V" else flat
            file.writestr(f"cache/data/{k}", raw.astype(raw.dtype.newbyteorder(sides)).tobytes())
            reference = storage(kind_of(array), str(k), array.size)
            parts.append(text(name) * (not alone) + tensor(reference, array.shape, strides(array)))
        inner = b"".join(parts) if alone else b"}(" + b"".join(parts) + b"u"
        file.writestr("cache/data.pkl", b"\x80\x02" + (inner if body is None else body) + b".")
        file.writestr("cache/byteorder", order)
        file.writestr("cache/version", "3\n")
    return str(path)


def sequence(path, array, keys=("7",)):
    """The file before torch 1.6."""
    first = [0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True}]
    told = storage(kind_of(array), "7", array.size, b"N")
    value = b"\x80\x02" + tensor(told, array.shape, strides(array)) + b"."
    with open(path, "wb") as file:
        file.write(b"".join(pickle.dumps(v, 2) for v in first) + value)
        file.write(pickle.dumps(list(keys), 2) + struct.pack("<q", array.size))
        file.write(array.ravel(order="K").tobytes())
    return str(path)


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize("kind", KINDS)
def test_tensors_are_read_as_they_were(kind, order, tmp_path):
    dtype = ml_dtypes.bfloat16 if kind == "bfloat16" else np.dtype(kind)
    array = (np.arange(12).reshape(3, 4) % 2).astype(dtype)
    if kind != "b1":
        array = array + np.arange(12).reshape(3, 4).astype(dtype)
    given = {"plain": array, "turned": array.T, "none": array[:0], "one": array[:1, 0].reshape(())}
    found = read_torch(archive(tmp_path / "a.pt", given, alone=False, order=order))
    assert list(found) == list(given)
    for name, own in given.items():
        assert found[name].dtype == own.dtype and found[name].shape == own.shape
        np.testing.assert_array_equal(found[name], own)
        assert not found[name].flags.writeable or not found[name].size


def test_views_share_a_storage(tmp_path):
    base = np.arange(10, dtype=np.float32)
    one = lambda size, stride, offset: tensor(
        storage("FloatStorage", "0", 10), size, stride, offset
    )
    body = b"(" + one([2, 3], [1, 2], 4) + one([3, 2], [0, 1], 8) + b"t"
    first, second = read_torch(archive(tmp_path / "a.pt", {"x": base}, body=body))
    np.testing.assert_array_equal(first, [[4, 6, 8], [5, 7, 9]])
    np.testing.assert_array_equal(second, [[8, 9]] * 3)


def test_files_before_torch_1_6(tmp_path):
    array = np.arange(6, dtype=np.int64).reshape(2, 3).T
    np.testing.assert_array_equal(read_torch(sequence(tmp_path / "a.pt", array)), array)
    with pytest.raises(InvalidInput, match="keys are not those"):
        read_torch(sequence(tmp_path / "b.pt", array, keys=("8",)))


def test_what_torch_itself_writes(tmp_path):
    torch = pytest.importorskip("torch")
    x = torch.randn(6, 4)
    given = {
        "keys": x.half().permute(1, 0),
        "values": torch.eye(3).bfloat16(),
        "l": torch.arange(3),
    }
    for new in (True, False):
        path = str(tmp_path / f"{new}.pt")
        torch.save(given, path, _use_new_zipfile_serialization=new)
        found = read_torch(path)
        for name, own in given.items():
            np.testing.assert_array_equal(found[name].astype(np.float64), own.double().numpy())
        torch.save(torch.nn.Linear(2, 2), path, _use_new_zipfile_serialization=new)
        with pytest.raises(InvalidInput, match="refused"):
            read_torch(path)


@pytest.mark.parametrize("write", [archive, sequence])
def test_every_beginning_of_a_file_is_broken(write, tmp_path):
    array = np.arange(4, dtype=np.float32)
    path = tmp_path / "a.pt"
    write(path, {"x": array} if write is archive else array)
    whole = path.read_bytes()
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        with pytest.raises(InvalidInput, match="not a whole file of torch.save|refused") as error:
            read_torch(str(path))
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("write", [archive, sequence])
def test_changed_bytes_raise_nothing_else(write, tmp_path):
    array, path, rng = np.arange(4, dtype=np.float32), tmp_path / "a.pt", np.random.default_rng(0)
    write(path, {"x": array} if write is archive else array)
    whole = path.read_bytes()
    for _ in range(500):
        changed = bytearray(whole)
        for place in rng.integers(len(whole), size=rng.integers(1, 4)):
            changed[place] = rng.integers(256)
        path.write_bytes(changed)
        try:
            repr(read_torch(str(path)))
        except InvalidInput as error:
            assert "\n" not in str(error)


RUN = b"cos\nsystem\n(" + text("touch touched") + b"tR"
FLOATS = storage("FloatStorage", "0", 4)
REFUSED = {
    "os.system": RUN,
    "os.system beside a tensor": b"(" + tensor(FLOATS, [4], [1]) + RUN + b"t",
    "as a storage": tensor(RUN, [4], [1]),
    "as a size": b"ctorch._utils\n_rebuild_tensor_v2\n("
    + FLOATS
    + b"J\0\0\0\0"
    + RUN
    + b")\x89}tR",
    "as the kind of a storage": FLOATS.replace(b"ctorch\nFloatStorage\n", b"cos\nsystem\n"),
    "another maker": b"ctorch._utils\n_rebuild_parameter\n(" + tensor(FLOATS, [4], [1]) + b"tR",
    "a module": b"ctorch.nn\nLinear\n)\x81",
    "torch.load": b"ctorch\nload\n(" + text("a.pt") + b"tR",
    "a call of a storage": b"ctorch\nFloatStorage\n(J\0\0\0\0tR",
    "numpy": b"cnumpy\nndarray\n(J\0\0\0\0tR",
    "another reference": b"(" + text("module") + b"ctorch\nFloatStorage\ntQ",
    "text reference": b"Pstorage\n",
    "a storage itself": FLOATS,
    "rows that are the same place": tensor(FLOATS, [2**30, 4], [0, 1]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_anything_else_is_refused_and_runs_nothing(name, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    path = archive("a.pt", {"x": np.zeros(4, np.float32)}, body=REFUSED[name])
    with pytest.raises(InvalidInput, match="a.pt: .*refused, for only arrays") as error:
        read_torch(path)
    assert "\n" not in str(error.value) and len(str(error.value)) < 300
    assert [p.name for p in tmp_path.iterdir()] == ["a.pt"] and capfd.readouterr() == ("", "")


BROKEN = {
    "longer than its storage": tensor(FLOATS, [5], [1]),
    "past the end": tensor(FLOATS, [2], [1], 3),
    "before the beginning": tensor(FLOATS, [2], [1], -1),
    "steps back": tensor(FLOATS, [2], [-1], 2),
    "far steps": tensor(FLOATS, [2, 2], [1, 2**30]),
    "storage of another length": tensor(storage("FloatStorage", "0", 8), [4], [1]),
    "no such storage": tensor(storage("FloatStorage", "5", 4), [4], [1]),
    "a path": tensor(storage("FloatStorage", "../data.pkl", 4), [4], [1]),
    "axes that differ": tensor(FLOATS, [2, 2], [1]),
}


@pytest.mark.parametrize("name", BROKEN)
def test_tensors_lie_in_their_storage(name, tmp_path):
    path = archive(tmp_path / "a.pt", {"x": np.zeros(4, np.float32)}, body=BROKEN[name])
    with pytest.raises(InvalidInput, match="a.pt: not a whole file of torch.save"):
        read_torch(path)


def test_a_compressed_archive_is_refused(tmp_path):
    path = archive(tmp_path / "a.pt", {"x": np.zeros(999, "f4")}, how=zipfile.ZIP_DEFLATED)
    with pytest.raises(InvalidInput, match="compressed; refused"):
        read_torch(path)


CLASSES, WIDTH, SHOTS = 3, 7, 2


@pytest.fixture
def cached(tmp_path):
    """Writes a Tip-Adapter cache; arrays that are given replace its own, None removes them."""

    def write(**other):
        rng = np.random.default_rng(0)
        unit = lambda v: (v / np.linalg.norm(v, axis=1, keepdims=True)).astype(np.float16)
        rows = lambda y: unit(np.eye(WIDTH)[y] + 0.2 * rng.normal(size=(len(y), WIDTH)))
        labels = np.repeat(np.arange(CLASSES), SHOTS)[[0, 2, 4, 1, 3, 5]]
        many = np.repeat(np.arange(CLASSES), 4)
        arrays = {
            "keys_2shots": rows(labels).T,  # a view, as torch's permute leaves it
            "values_2shots": np.eye(CLASSES, dtype=np.float16)[labels],
            "val_f": rows(many),
            "val_l": many,
            "test_f": rows(many),
            "test_l": many,
            "text_weights": np.eye(WIDTH, CLASSES, dtype=np.float16),
        }
        folder = tmp_path / "pets"
        folder.mkdir()
        for name, array in (arrays | other).items():
            if array is not None:
                archive(folder / f"{name}.pt", {"x": array})
        return str(folder), arrays

    return write


def test_few_shot_reads_caches_of_tip_adapter(cached):
    path, arrays = cached()
    few = read_few_shot(path)
    assert few.name == "pets" and len(few.classes) == CLASSES and len(few.pool.x) == 6
    labels = np.argmax(arrays["values_2shots"], 1)
    order = np.argsort(labels, kind="stable")
    np.testing.assert_array_equal(few.pool.labels, labels[order])
    np.testing.assert_allclose(few.pool.x, arrays["keys_2shots"].T[order], atol=1e-3)
    np.testing.assert_allclose(few.test.x, arrays["test_f"], atol=1e-3)
    np.testing.assert_array_equal(few.val.labels, arrays["val_l"])
    np.testing.assert_allclose(few.texts["text_weights"], np.eye(WIDTH)[:CLASSES])
    keys = jax.random.split(jax.random.key(0), 2)
    draws, tests = make_draws(few, keys, shots=2, validation=2, texts="text_weights")
    assert draws.x.shape == (2, 6, WIDTH) and tests["test"].x.shape == (12, WIDTH)


@pytest.mark.parametrize(
    "other, told",
    [
        (dict(keys_2shots=np.ones((WIDTH, 5), "f4")), r"keys_2shots.pt: shape \(7, 5\); .* 6 rows"),
        (
            dict(test_f=np.ones((12, 5), "f4")),
            "array 'test' has 5 features a row, array 'train_2' has 7",
        ),
        (
            dict(val_f=np.ones((9, WIDTH), "f4")),
            "array 'val' has 9 rows, array 'val_labels' 12; use",
        ),
        (dict(values_2shots=np.ones((6, 3), "f4")), "values_2shots.pt: its rows are not one-hot"),
        (dict(values_2shots=np.ones(6, "f4")), "values_2shots.pt: .*use one tensor of 2 axes"),
        (dict(values_2shots=None), "values_2shots.pt"),
        (dict(test_l=None), "test_l.pt"),
        (dict(keys_2shots=None), "use keys_Kshots.pt"),
        (dict(text_weights=np.ones((WIDTH, 4), "f4")), r"text_weights.pt: .* use \[dim, 3\]"),
        (dict(test_f=np.full((12, WIDTH), np.nan, "f4")), "NaN"),
    ],
)
def test_bad_caches_are_told_in_one_line(cached, other, told):
    with pytest.raises(InvalidInput, match=told) as error:
        read_few_shot(cached(**other)[0])
    assert "\n" not in str(error.value)


def test_feature_files_of_one_tensor_and_of_a_dict(tmp_path):
    x, y = np.random.default_rng(0).normal(size=(5, 3)).astype("f4"), np.arange(5)
    found = read_features(archive(tmp_path / "a.pt", {"x": x}))
    np.testing.assert_array_equal(found.sides()["x"], x)
    found = read_features(archive(tmp_path / "b.pt", {"features": x, "labels": y}, alone=False))
    np.testing.assert_array_equal(found.rows.labels["label"], y)
    with pytest.raises(InvalidInput, match="use a tensor or a dict"):
        read_features(archive(tmp_path / "c.pt", {"x": x}, body=b"]"))

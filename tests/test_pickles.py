"""Pickles: what is plain is read as Python reads it, anything else is refused and runs nothing."""

import collections
import copyreg
import datetime
import os
import pickle
import struct
import subprocess
import sys

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from mmjax.data import read_pickle
from mmjax.errors import InvalidInput

PLAIN = {
    "f4": np.arange(6, dtype=">f4").reshape(2, 3),
    "fortran": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    "turned": np.zeros((2, 3, 4), np.int8).transpose(2, 0, 1),
    "strided": np.arange(9, dtype=np.uint16)[::2],
    "bool": np.array([True, False]),
    "str": np.array(["ab", "cdé"]),
    "bytes": np.array([b"x", b"yz"]),
    "complex": np.ones(2, np.complex64),
    "half": np.ones((1, 1), np.float16),
    "empty": np.zeros((0, 3)),
    "zero": np.array(7),
    "objects": np.array(["id_1", 3, None, [1, [2]], (b"", b"\xff"), 2.5], object),
    "scalars": [np.float32(3), np.int64(-4), np.bool_(True), np.str_("xé")],
    "numbers": [0, 255, 65536, -1, 2**31, -(2**70), 1.5, float("inf"), True, False, None],
    "long": 2**2100,
    "texts": ["", "é\n\\", "\ud800", "a" * 300, b"", b"\x00\xff", b"b" * 300, bytearray(b"q")],
    "ordered": collections.OrderedDict([("k", 1), ("j", (2,))]),
    "sets": [{1, "a"}, frozenset({b"x"}), set(), frozenset()],
    "tuples": [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)],
    "many": dict.fromkeys(range(600)),
    ("tuple", 1): {1: {b"k": {None: {}}}},
}


def assert_same(found, given):
    if isinstance(given, np.ndarray):
        assert isinstance(found, np.ndarray)
        assert (found.dtype, found.shape) == (given.dtype, given.shape)
        if given.dtype == object:
            assert_same(found.ravel().tolist(), given.ravel().tolist())
        else:
            np.testing.assert_array_equal(found, given)
    elif isinstance(given, dict):
        assert type(found) is dict and list(found) == list(given)
        assert_same(list(found.values()), list(given.values()))
    elif isinstance(given, (list, tuple)):
        assert type(found) is type(given) and len(found) == len(given)
        for f, g in zip(found, given, strict=True):
            assert_same(f, g)
    else:
        assert found == given
        assert type(found) is (bytes if isinstance(given, bytearray) else type(given))


def read(tmp_path, content):
    path = tmp_path / "a.pkl"
    path.write_bytes(content)
    return read_pickle(str(path))


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("name", PLAIN, ids=str)
def test_what_is_plain_is_read_as_it_was(name, protocol, tmp_path):
    assert_same(read(tmp_path, pickle.dumps(PLAIN[name], protocol)), PLAIN[name])


@pytest.mark.parametrize("protocol", range(6))
def test_all_together(protocol, tmp_path):
    shared = np.arange(3.0)
    whole = {**PLAIN, "twice": [shared, shared]}
    found = read(tmp_path, pickle.dumps(whole, protocol))
    assert_same(found, whole)
    assert found["twice"][0] is found["twice"][1]


_leaf = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
_tree = st.recursive(
    _leaf | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@hypothesis.settings(max_examples=60, deadline=None)
@hypothesis.given(_tree, st.integers(0, 5))
def test_trees_are_read_as_they_were(tmp_path_factory, tree, protocol):
    assert_same(read(tmp_path_factory.mktemp("a"), pickle.dumps(tree, protocol)), tree)


def test_numpy_1_wrote_other_names(tmp_path):
    for protocol in (2, 5):
        content = pickle.dumps(PLAIN["f4"], protocol)
        old = content.replace(b"numpy._core", b"numpy.core")
        if protocol == 5:  # the name's length, one less
            old = old.replace(b"\x8c\x13numpy.core", b"\x8c\x12numpy.core")
        assert old != content
        assert_same(read(tmp_path, old), PLAIN["f4"])


def test_python_2_wrote_bytes_as_text(tmp_path):
    values = np.array([[1.5, -2.0], [np.pi, 0.0]])
    raw = values.tobytes()
    state = b"(I1\n(I2\nI2\ntcnumpy\ndtype\n(S'f8'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntbI00\n"
    start = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
    long = b"T" + struct.pack("<i", len(raw)) + raw
    short = b"U" + bytes([len(raw)]) + raw
    quoted = b"S" + repr(raw)[1:].encode() + b"\n"
    for data in (long, short, quoted):
        found = read(tmp_path, b"(dS'vision'\n" + start + state + data + b"tbs.")
        assert_same(found, {"vision": values})
    found = read(tmp_path, b"(lS'caf\\xe9'\naVa\\u00e9\naL12L\naI01\na.")
    assert found == ["café", "aé", 12, True] and found[3] is True


class Call:
    """Pickled as a call."""

    def __init__(self, call, *arguments):
        self.how = (call, arguments)

    def __reduce__(self):
        return self.how


class Thing:
    """Pickled as an object with a state."""

    def __init__(self):
        self.x = 1


class Sub(np.ndarray):
    pass


def _raw(module, name, arguments=b"(", end=b"tR."):
    return b"c" + module + b"\n" + name + b"\n" + arguments + end


TOUCH = "touched"
_shell = f"touch {TOUCH}"
_array = np.zeros(3)
_dtype = lambda text: b"cnumpy\ndtype\n(X" + struct.pack("<I", len(text)) + text + b"\x89\x88tR"
HOSTILE = {
    "os.system": pickle.dumps(Call(os.system, _shell)),
    "eval": pickle.dumps(Call(eval, f"__import__('os').system('{_shell}')")),
    "exec": pickle.dumps(Call(exec, f"open('{TOUCH}', 'w')"), 0),
    "open": pickle.dumps(Call(open, TOUCH, "w"), 1),
    "getattr": pickle.dumps(Call(getattr, "a", "upper")),
    "import": pickle.dumps(Call(__import__, "antigravity")),
    "subprocess": pickle.dumps(Call(subprocess.Popen, ["touch", TOUCH])),
    "exit": pickle.dumps(Call(sys.exit, "executed")),
    "numpy.load": pickle.dumps(Call(np.load, "a.npy", None, True)),
    "numpy.memmap": _raw(b"numpy", b"memmap", b"(S'touched'\nS'u1'\nS'w+'\nI0\n(I4\nt"),
    "numpy.save": pickle.dumps(Call(np.save, TOUCH, 1)),
    "numpy.fromfile": _raw(b"numpy", b"fromfile", b"(S'a.pkl'\n"),
    "numpy.testing": _raw(b"numpy.testing._private.utils", b"runstring", b"(S'1'\n}"),
    "numpy.distutils": _raw(b"numpy.distutils.exec_command", b"exec_command", b"(S'ls'\n"),
    "numpy.f2py": _raw(b"numpy.f2py.crackfortran", b"myeval", b"(S'1'\n"),
    "nested name": b"\x80\x04\x8c\x05numpy\x8c\x0fndarray.tobytes\x93.",
    "dotted module": _raw(b"numpy.core.multiarray.os", b"system", b"(S'ls'\n"),
    "joblib": _raw(b"joblib.numpy_pickle", b"NumpyArrayWrapper"),
    "torch": _raw(b"torch._utils", b"_rebuild_tensor_v2"),
    "stack global": b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x02ls\x85R.",
    "inst": b"(S'ls'\nios\nsystem\n.",
    "obj": b"(cos\nsystem\nS'ls'\no.",
    "obj of an allowed class": b"(cnumpy\nndarray\n(I3\nto.",
    "newobj": b"\x80\x02cnumpy\nndarray\n(I3\nt\x85\x81.",
    "newobj_ex": b"\x80\x04cnumpy\nndarray\n)}\x92.",
    "ext1": b"\x80\x02\x82\x01)R.",
    "ext2": b"\x80\x02\x83\x01\x00)R.",
    "ext4": b"\x80\x02\x84\x01\x00\x00\x00)R.",
    "persistent id": b"Pname\n.",
    "zip, which torch writes": b"PK\x03\x04" + b"\0" * 30,
    "binary persistent id": b"S'name'\nQ.",
    "out of band": b"\x80\x05\x97.",
    "read only buffer": b"\x80\x05C\x01a\x98.",
    "object": pickle.dumps(Thing()),
    "object, old": pickle.dumps(Thing(), 0),
    "reconstructor": _raw(b"copyreg", b"_reconstructor", b"(c__builtin__\nobject\nN"),
    "date": pickle.dumps(datetime.date(2020, 1, 1)),
    "call of ndarray": _raw(b"numpy", b"ndarray", b"((I3\nt"),
    "class of ndarray": b"cnumpy\nndarray\n.",
    "dtype": pickle.dumps(np.dtype("f4")),
    "function in a list": b"(c_codecs\nencode\nl.",
    "subclass of ndarray": pickle.dumps(_array.view(Sub)),
    "array of fields": pickle.dumps(np.zeros(3, "f4"), 2).replace(b"NNN", b"N(K\x01tN"),
    "array of another class": _raw(
        b"numpy.core.multiarray", b"_reconstruct", b"(cnumpy\ndtype\n(I0\ntS'b'\n"
    ),
    "masked array": pickle.dumps(np.ma.array([1, 2], mask=[0, 1])),
    "structured": pickle.dumps(np.zeros(2, [("a", "f4"), ("b", "O")])),
    "datetime64": pickle.dumps(np.zeros(2, "M8[s]")),
    "object in an object array": pickle.dumps(np.array([Call(os.system, _shell)])),
    "thing in an object array": pickle.dumps(np.array([Thing()])),
    "state of a class": b"cnumpy\nndarray\n}X\x01\x00\x00\x00aK\x01sb.",
    "state of a function": b"ccollections\nOrderedDict\n(N}X\x05\x00\x00\x00clear)stb.",
    "state of a list": b"]}X\x01\x00\x00\x00aK\x01sb.",
    "state of an array, twice": pickle.dumps(_array, 2)[:-1] + b"}b.",
    "codec": _raw(b"_codecs", b"encode", b"(X\x01\x00\x00\x00aX\x05\x00\x00\x00rot13"),
    "bytes of a number": _raw(b"builtins", b"bytes", b"(J\xff\xff\xff\x7f"),
    "key that is deep": b"(" + b")" + b"\x85" * 100_000 + b"Nd.",
    "element that is deep": b"(" + b")" + b"\x85" * 100_000 + b"\x91.",
    "items of a list": b"](NNu.",
    "append to a dict": b"}Na.",
    "objects as numbers": _raw(
        b"numpy.core.multiarray", b"scalar", b"(" + _dtype(b"O8") + b"C\x08aaaaaaaa"
    ),
    "dtype of fields": _dtype(b"f4,O"),
    "dtype that is huge": _dtype(b"V8"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_code_is_refused_and_runs_nothing(name, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    modules = set(sys.modules)
    with pytest.raises(InvalidInput, match="refused, for only arrays") as error:
        read(tmp_path, HOSTILE[name])
    told = str(error.value)
    assert told.startswith(str(tmp_path / "a.pkl")) and "\n" not in told and len(told) < 400
    assert os.listdir(tmp_path) == ["a.pkl"]
    assert set(sys.modules) == modules and capfd.readouterr() == ("", "")


def test_the_refused_name_is_told(tmp_path):
    system = f"{os.system.__module__}.system"
    for content in (HOSTILE["os.system"], HOSTILE["object in an object array"]):
        with pytest.raises(InvalidInput, match=f"names '{system}'"):
            read(tmp_path, content)
    with pytest.raises(InvalidInput, match=r"names 'os\\n\\x1b\.system'"):
        read(tmp_path, b"\x80\x04\x8c\x04os\n\x1b\x8c\x06system\x93.")


def test_a_registered_extension_is_not_used(tmp_path):
    copyreg.add_extension("os", "system", 241)
    try:
        with pytest.raises(InvalidInput, match="registered extension"):
            read(tmp_path, b"\x80\x02\x82\xf1S'ls'\n\x85R.")
    finally:
        copyreg.remove_extension("os", "system", 241)


_text = b"X" + struct.pack("<I", 20_000) + b"a" * 20_000 + b"q\x00"
_again = b"c_codecs\nencode\nq\x01(h\x00X\x06\x00\x00\x00latin1tq\x020"
BOMBS = {
    "text encoded again and again": b"(" + _text + _again + b"h\x01h\x02R" * 2000 + b"l.",
    "list made a set again and again": (
        b"](" + b"".join(b"M" + struct.pack("<H", k) for k in range(5000)) + b"eq\x00"
        b"c__builtin__\nset\nq\x01(h\x00tq\x020(" + b"h\x01h\x02R" * 2000 + b"l."
    ),
    "array of a text again and again": (
        b"cnumpy.core.numeric\n_frombuffer\nq\x01(" + _text + b"cnumpy\ndtype\n(X\x02\x00\x00\x00u1"
        b"\x89\x88tRM\x20\x4e\x85X\x01\x00\x00\x00Ctq\x020(" + b"h\x01h\x02R" * 2000 + b"l."
    ),
    "array of objects again and again": (
        b"(lq\x00("
        + b"N" * 5000
        + b"e0("
        + b"".join(
            [
                b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR",
                b"(I1\n(I5000\ntcnumpy\ndtype\n(S'O'\nI0\nI1\ntRI00\nh\x00tb",
            ]
        )
        * 200
        + b"l."
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_contents_larger_than_the_file_are_refused(name, tmp_path):
    with pytest.raises(InvalidInput, match="times its size"):
        read(tmp_path, BOMBS[name])


def test_deep_shared_and_cyclic_containers_end(tmp_path):
    deep = read(tmp_path, b"]" * 200_000 + b"a" * 199_999 + b".")
    assert len(deep) == 1
    while deep:
        deep = deep[0]
    laughs = b"(lq\x00" + b"".join(
        b"](" + b"h" + bytes([k]) + b"h" + bytes([k]) + b"eq" + bytes([k + 1]) for k in range(60)
    )
    assert len(read(tmp_path, laughs + b".")) == 2  # 2^60 paths lead to the innermost list
    assert read(tmp_path, b"Nr\xff\xff\xff\xff0]r\x00\x00\x00\x7f.") == []  # far places are free
    own = read(tmp_path, b"]q\x00h\x00a.")
    assert own[0] is own
    inside = pickle.dumps(np.array([7], object), 2).replace(b"K\x07a", b"h\x09a")
    with pytest.raises(InvalidInput, match="an array has no contents"):  # but itself
        read(tmp_path, inside)


BROKEN = {
    "empty": b"",
    "text": b"no pickle at all",
    "html": b"<!DOCTYPE html>",
    "garbage": bytes(range(255, 0, -1)),
    "no value": b".",
    "no stop": b"N",
    "no mark": b"l.",
    "below a mark": b"N(0a.",
    "no memo": b"h\x05.",
    "line without end": b"I12",
    "number": b"Itwelve\n.",
    "endless digits": b"L" + b"9" * 10_000 + b"L\n.",
    "string": b"Sno quotes\n.",
    "utf8": b"X\x01\x00\x00\x00\xff.",
    "bytes of 2^63": b"\x80\x04\x8e" + b"\xff" * 7 + b"\x7f.",
    "text of 4 GB": b"X\xff\xff\xff\xffa.",
    "long of 2 GB": b"\x80\x02\x8b\xff\xff\xff\x7f\x01.",
    "odd items": b"}(Nu.",
    "call of a number": b"I1\n)R.",
    "call without arguments": b"cnumpy\ndtype\nNR.",
    "too many arguments": _raw(b"numpy", b"dtype", b"(NNNNNN"),
    "array without contents": _raw(
        b"numpy.core.multiarray", b"_reconstruct", b"(cnumpy\nndarray\n(I0\ntS'b'\n"
    ),
    "set of a number": _raw(b"builtins", b"set", b"(I1\n"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_told_in_one_line(name, tmp_path):
    with pytest.raises(InvalidInput, match="a.pkl: not a whole pickle") as error:
        read(tmp_path, BROKEN[name])
    assert "\n" not in str(error.value) and len(str(error.value)) < 400
    if " of " in name and name.endswith(("GB", "2^63")):
        assert "the end is missing" in str(error.value)  # and was not waited for


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_every_beginning_of_a_file_is_broken(protocol, tmp_path):
    whole = pickle.dumps({"a": np.arange(3.0), "id": np.array(["x", "y"], object)}, protocol)
    for end in range(len(whole)):
        with pytest.raises(InvalidInput, match="not a whole pickle|refused"):
            read(tmp_path, whole[:end])


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_changed_bytes_raise_nothing_else(protocol, tmp_path):
    whole = pickle.dumps({"a": PLAIN["f4"], "u": PLAIN["str"], "o": PLAIN["objects"]}, protocol)
    rng = np.random.default_rng(protocol)
    for _ in range(700):
        changed = bytearray(whole)
        for place in rng.integers(len(whole), size=rng.integers(1, 4)):
            changed[place] = rng.integers(256)
        try:
            found = read(tmp_path, bytes(changed))
        except InvalidInput as error:
            assert "\n" not in str(error)
        else:
            repr(found)  # whatever is left can be looked at


def _with(array, old, new):
    content = pickle.dumps(array, 2)
    assert content.count(old) >= 1
    return content.replace(old, new)


@pytest.mark.parametrize(
    "content",
    [
        _with(np.zeros(3), b"K\x03\x85", b"K\x04\x85"),  # longer than its bytes
        _with(np.zeros(3), b"K\x03\x85", b"J\xfd\xff\xff\xff\x85"),  # -3 long
        _with(np.zeros(1), b"K\x01\x85", b"\x88\x85"),  # True long
        pickle.dumps(np.zeros(3, "U1"), 4).replace(b"\x00" * 12, b"\xff" * 12),
        pickle.dumps(np.zeros(4, bool)).replace(b"\x00\x00\x00\x00\x94t", b"\x02\x00\x00\x00\x94t"),
        _with(np.array(["a", "b"], object), b"K\x02\x85", b"K\x03\x85"),
    ],
)
def test_contents_that_numpy_never_wrote(content, tmp_path):
    with pytest.raises(InvalidInput, match="not a whole pickle"):
        read(tmp_path, content)


def test_a_missing_file(tmp_path):
    for path in ("", str(tmp_path), str(tmp_path / "none.pkl")):
        with pytest.raises(InvalidInput, match="existing file"):
            read_pickle(path)

"""Files of `torch.save`, read without torch and without running what stands in them.

They are a pickle, whose tensors refer to storages beside it: members of an archive, or, before
torch 1.6, what follows in the file. The machine of pickles reads it and knows three kinds of name:
the tensor's maker, the storages and OrderedDict.
"""

import io
import math
import os
import zipfile
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np

from mmjax.data.files.pickle_arrays import NAMES, Broken, Name, Refused, Spend
from mmjax.data.files.pickles import ERRORS, Reader, Whole, check_plain, told_in_one_line
from mmjax.errors import require

_WHAT = "file of torch.save"
_MAGIC = 0x1950A86A20F9469CFC6C  # of files before torch 1.6
_ORDERS = {b"little": "<", b"big": ">"}
_STORAGES = {
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "BoolStorage": np.dtype("?"),
    "ByteStorage": np.dtype("u1"),
    "CharStorage": np.dtype("i1"),
    "DoubleStorage": np.dtype("f8"),
    "FloatStorage": np.dtype("f4"),
    "HalfStorage": np.dtype("f2"),
    "IntStorage": np.dtype("i4"),
    "LongStorage": np.dtype("i8"),
    "ShortStorage": np.dtype("i2"),
}


def read_torch(path: str) -> Any:
    """Reads what torch.save wrote: tensors, alone or in lists, tuples and dicts.

    Tensors become read-only NumPy arrays of their dtype, wherever they lay (`cuda:0`); bfloat16
    is that of ml_dtypes.

    Raises InvalidInput, one line that names the file, where it is missing, not whole or holds
    anything else (modules, parameters, optimisers); nothing that it names is imported or called.
    """
    require(bool(path) and os.path.isfile(path), "torch", path, "the path of an existing file")
    try:
        value = _archive(path) if zipfile.is_zipfile(path) else _sequence(path)
        check_plain(value)
        return value
    except (*ERRORS, zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError) as error:
        raise told_in_one_line(path, _WHAT, error) from None


class Storage:
    """The numbers that tensors are views of."""

    __slots__ = ("values",)

    def __init__(self, values: np.ndarray) -> None:
        self.values = values


def _no_call(spend: Spend, *arguments):
    raise Refused("calls a class of torch's")


def _tensor(spend, storage, offset, size, stride, grad=False, hooks=None, metadata=None):
    """torch._utils._rebuild_tensor_v2: a view of a storage, each place of which lies in it."""
    if not isinstance(storage, Storage):
        raise Broken("a tensor has no storage")
    whole = isinstance(size, tuple) and isinstance(stride, tuple) and len(size) == len(stride) <= 32
    if not whole or not all(type(n) is int and 0 <= n < 2**48 for n in (offset, *size, *stride)):
        raise Broken("a tensor has no valid shape")
    values, count = storage.values, math.prod(size)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if count and last >= len(values):
        raise Broken(f"a tensor of shape {size} is longer than its storage of {len(values)}")
    # A view of stride 0 is small here, and as large as it says once it is copied.
    spend(count * values.itemsize)
    if not count:
        return np.zeros(size, values.dtype)
    steps = [step * values.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(values[offset:], size, steps, writeable=False)


_CALLS: dict[tuple[str, str], Callable] = {
    ("collections", "OrderedDict"): NAMES["collections", "OrderedDict"],
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    **{("torch", name): _no_call for name in _STORAGES},
}


def _referred(reference: Any) -> tuple[np.dtype, str, int]:
    """Dtype, key and length of the storage that a pickle refers to."""
    if not isinstance(reference, tuple) or len(reference) not in (5, 6):
        raise Refused("refers to something other than a storage")
    tag, kind, key, _, count = reference[:5]
    if tag != "storage" or not isinstance(kind, Name) or not kind.name.startswith("torch."):
        raise Refused("refers to something other than a storage")
    dtype = _STORAGES.get(kind.name.removeprefix("torch."))
    if dtype is None or (len(reference) == 6 and reference[5] is not None):
        raise Refused("refers to something other than a storage")
    if not isinstance(key, str) or not key.isdecimal() or type(count) is not int or count < 0:
        raise Broken("a storage has no key or length")
    return dtype, key, count


def _filled(data: bytes, dtype: np.dtype, count: int, order: str) -> Storage:
    if len(data) != count * dtype.itemsize:
        raise Broken(f"a storage of {count} {dtype} has {len(data)} bytes")
    width = f"{order}u{dtype.itemsize}"  # ml_dtypes' own have this machine's order alone
    values = np.frombuffer(data, width).astype(width[1:], copy=False).view(dtype)
    if dtype.kind == "b" and count and values.view("u1").max() > 1:
        raise Broken("a storage holds no valid booleans")
    return Storage(values)


def _archive(path: str) -> Any:
    with zipfile.ZipFile(path) as file:
        infos = {info.filename: info for info in file.infolist()}
        roots = [n.removesuffix("data.pkl") for n in infos if n.endswith("/data.pkl")]
        if len(roots) != 1:
            raise Broken("no data.pkl")

        def member(name: str) -> bytes:
            info = infos.get(roots[0] + name)
            if info is None:
                raise Broken(f"{name} is missing")
            # torch never compresses: a small file can't be a large one.
            if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
                raise Refused(f"{name} is compressed")
            return file.read(info)

        given = member("byteorder") if roots[0] + "byteorder" in infos else b"little"
        if given not in _ORDERS:
            raise Broken(f"byteorder is {given[:20]!r}")
        results: dict[tuple, Storage] = {}

        def storage(spend: Spend, reference: Any) -> Storage:
            dtype, key, count = wanted = _referred(reference)
            if wanted not in results:
                spend(count * dtype.itemsize)
                results[wanted] = _filled(member(f"data/{key}"), dtype, count, _ORDERS[given])
            return results[wanted]

        pickled = member("data.pkl")
        whole = Whole(io.BytesIO(pickled), len(pickled))
        return Reader(whole, _CALLS, storage, os.path.getsize(path)).load()


def _sequence(path: str) -> Any:
    """A file before torch 1.6: magic, version, system, value, keys, then each storage."""
    with open(path, "rb") as file:
        whole = Whole(file, os.path.getsize(path))
        plain = lambda: Reader(whole, {}).load()
        if plain() != _MAGIC or plain() != 1001:
            raise Broken("it does not begin as one")
        system = plain()
        if not isinstance(system, dict) or system.get("little_endian") is not True:
            raise Broken("it is not little-endian")
        start, left, wanted = file.tell(), whole.left, dict[str, tuple]()

        def noted(spend: Spend, reference: Any) -> Storage:
            dtype, key, count = _referred(reference)
            if count * dtype.itemsize > whole.size:
                raise Broken("a storage is longer than the file")
            if wanted.setdefault(key, (dtype, count)) != (dtype, count):
                raise Broken("a storage has two lengths or dtypes")
            spend(count * dtype.itemsize)
            return Storage(np.zeros(count, dtype))

        _of_storages(whole, noted)
        keys = plain()
        if not isinstance(keys, list) or sorted(map(str, keys)) != sorted(wanted):
            raise Broken("its keys are not those of its tensors")
        results = {key: _next(whole, *wanted[key]) for key in keys}
        file.seek(start)
        whole.left = left
        return _of_storages(whole, lambda spend, reference: results[_referred(reference)[1]])


def _of_storages(whole: Whole, storage: Callable) -> Any:
    return Reader(whole, _CALLS, storage).load()


def _next(whole: Whole, dtype: np.dtype, count: int) -> Storage:
    """The storage that follows in the file: its length, then its numbers."""
    if int.from_bytes(whole.read(8), "little") != count:
        raise Broken("a storage has another length than its tensor says")
    return _filled(whole.read(count * dtype.itemsize), dtype, count, "<")

"""What a pickle may call: numpy's arrays and scalars, and plain containers, each made here.

Every argument comes from the file, so everything about it is checked before numpy sees it.
"""

import math
import re
from collections.abc import Callable
from typing import Any, Literal, NoReturn

import ml_dtypes
import numpy as np

_DTYPE = re.compile(r"[<>|=]?(\?|b1|[iu][1248]|f[248]|c8|c16|[SU][1-9][0-9]{0,8}|O[48]?)")
PLAIN = (str, bytes, int, float, bool, type(None), np.generic)
# Takes a number of bytes that are made beyond those of the file; too many are Refused.
Spend = Callable[[int], None]


class Refused(Exception):
    """Something that a plain pickle does not hold."""


class Broken(Exception):
    """No pickle, or only the beginning of one."""


class Name:
    """A name that a pickle may call; no object of Python's, so nothing can be set on it."""

    __slots__ = ("call", "name")

    def __init__(self, name: str, call: Callable) -> None:
        self.name, self.call = name, call


class Dtype:
    """A dtype before its byte order is known: text such as f4, and <, >, = or |."""

    __slots__ = ("code", "order")

    def __init__(self, code: str) -> None:
        self.code = code
        self.order: Literal["<", ">", "=", "|"] = "|"

    def dtype(self) -> np.dtype:
        if self.code == "bfloat16" and self.order != ">":
            return np.dtype(ml_dtypes.bfloat16)
        if self.code.lstrip("<>|=").startswith("O"):  # O4 of 32-bit machines too
            return np.dtype(object)
        return np.dtype(self.code).newbyteorder(self.order)


class Unfilled:
    """An array before its contents, and where the memo keeps it."""

    __slots__ = ("keys",)

    def __init__(self) -> None:
        self.keys: list[int] = []


def shown(value: Any) -> str:
    """Text of the file, or the kind of something else, for a message."""
    return ascii(value[:60] if isinstance(value, str) else type(value).__name__.strip("_"))


def key_of(value: Any) -> Any:
    """A key of a dict or an element of a set: hashed, so never a container that may be deep."""
    if isinstance(value, tuple) and all(isinstance(v, PLAIN) for v in value):
        return value
    if not isinstance(value, PLAIN):
        raise Refused(f"a key is a {type(value).__name__.strip('_')}")
    return value


def _encode(spend: Spend, text: Any, encoding: Any = "latin1") -> bytes:
    """How bytes are written for Python 2 to read."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise Refused("calls _codecs.encode with something other than text and latin1")
    spend(len(text))
    return text.encode("latin1")


def _bytes(spend: Spend, value: Any = b"") -> bytes:
    if not isinstance(value, bytes):
        raise Refused("calls bytes with something other than bytes")
    return value


def _dict(spend: Spend, items: Any = ()) -> dict:
    spend(16 * len(items))
    return {key_of(key): value for key, value in items}


def _set(spend: Spend, items: Any = ()) -> set:
    spend(16 * len(items))
    return set(map(key_of, items))


def _frozenset(spend: Spend, items: Any = ()) -> frozenset:
    return frozenset(_set(spend, items))


def _dtype(spend: Spend, code: Any, align: Any = False, copy: Any = False) -> Dtype:
    if isinstance(code, Name) and code.name == "ml_dtypes.bfloat16":
        return Dtype("bfloat16")
    if not isinstance(code, str) or not _DTYPE.fullmatch(code):
        raise Refused(f"an array has dtype {shown(code)}")
    return Dtype(code)


def _reconstruct(spend: Spend, kind: Any, shape: Any, code: Any) -> Unfilled:
    if not isinstance(kind, Name) or kind.name != "numpy.ndarray":
        raise Refused("an array is of no plain class")
    return Unfilled()


def _no_call(spend: Spend, *arguments: Any) -> NoReturn:
    raise Refused("calls a class of numpy's")


def _scalar(spend: Spend, dtype: Any, data: Any) -> np.generic:
    return filled_array(spend, (1,), _plain_dtype(dtype), False, data)[0]


def _from_buffer(
    spend: Spend, data: Any, dtype: Any, shape: Any, order: Any, axes: Any = None
) -> np.ndarray:
    if order not in ("C", "F", "K"):
        raise Broken(f"order of an array is {shown(order)}")
    array = filled_array(spend, shape, _plain_dtype(dtype), order == "F", data)
    return array if axes is None else array.transpose(axes)


def _plain_dtype(dtype: Any) -> np.dtype:
    if not isinstance(dtype, Dtype):
        raise Broken("an array's dtype is missing")
    result = dtype.dtype()
    if result.hasobject:
        raise Refused("objects stand where numbers should")
    return result


def filled_array(spend: Spend, shape: Any, dtype: np.dtype, fortran: Any, data: Any) -> np.ndarray:
    """An array of numbers, booleans or text: a view of the bytes, which Python 2 wrote as text."""
    count = _count(shape)
    data = _encode(spend, data) if isinstance(data, str) else data
    if not isinstance(data, bytes) or len(data) != count * dtype.itemsize:
        raise Broken(f"an array of shape {shape} and {dtype} has other contents")
    if not count:
        return np.zeros(shape, dtype)
    array = np.frombuffer(data, dtype)
    # What numpy never wrote, and would take for valid when it is read.
    if dtype.kind == "U" and array.view(dtype.byteorder + "u4").max() > 0x10FFFF:
        raise Broken("an array holds no valid text")
    if dtype.kind == "b" and array.view("u1").max() > 1:
        raise Broken("an array holds no valid booleans")
    return array.reshape(shape, order="F" if fortran else "C")


def _count(shape: Any) -> int:
    whole = isinstance(shape, tuple) and len(shape) <= 32
    if not whole or not all(type(n) is int and 0 <= n < 2**48 for n in shape):
        raise Broken("an array has no valid shape")
    return math.prod(shape)


def object_array(spend: Spend, shape: Any, fortran: Any, data: Any) -> np.ndarray:
    """An array of a list's values, which the reader checks afterwards with all others."""
    count = _count(shape)
    if not isinstance(data, list) or len(data) != count:
        raise Broken(f"an array of objects of shape {shape} has other contents")
    spend(8 * count)
    array = np.empty(count, object)
    for k, value in enumerate(data):  # one by one: numpy would look into lists among them
        array[k] = value
    return array.reshape(shape, order="F" if fortran else "C")


NAMES: dict[tuple[str, str], Callable] = {
    ("_codecs", "encode"): _encode,
    ("builtins", "bytearray"): _bytes,
    ("builtins", "bytes"): _bytes,
    ("builtins", "frozenset"): _frozenset,
    ("builtins", "set"): _set,
    ("collections", "OrderedDict"): _dict,
    ("ml_dtypes", "bfloat16"): _no_call,
    ("numpy", "dtype"): _dtype,
    ("numpy", "ndarray"): _no_call,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
}
# The same places in Python 2 and in NumPy 2.
PLACES = {
    "__builtin__": "builtins",
    "numpy._core.multiarray": "numpy.core.multiarray",
    "numpy._core.numeric": "numpy.core.numeric",
}

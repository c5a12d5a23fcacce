"""Pickles of arrays and plain containers, read without running what stands in them.

A pickle is a program for a small stack machine, and one of its instructions calls any function by
name: whoever wrote the file decides what Python's own reader runs. The machine here has no way to
import: the few names of pickle_arrays stand for functions there, every other one is refused. It
also keeps to what the file holds: no instruction makes a value much larger than the file.
"""

import codecs
import os
import struct
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np

from mmjax.data.pickle_arrays import (
    NAMES,
    PLACES,
    PLAIN,
    Broken,
    Dtype,
    Name,
    Refused,
    Unfilled,
    filled_array,
    key_of,
    object_array,
    shown,
)
from mmjax.errors import InvalidInput, require

_LARGER = 16  # how much larger than the file its contents may become


class _Machine:
    """The file, the stack, where its marks are, the memo and what may still be made."""

    def __init__(self, file: BinaryIO, size: int):
        self.file, self.left = file, size
        self.stack, self.marks, self.memo = [], [], {}
        self.allowance = _LARGER * size + 4096

    def take(self, n: int) -> bytes:
        if not 0 <= n <= self.left:
            raise Broken("the end is missing")
        self.left -= n
        return self.file.read(n)

    def number(self, n: int, signed: bool = False) -> int:
        return int.from_bytes(self.take(n), "little", signed=signed)

    def line(self) -> bytes:
        line = self.file.readline()
        self.left -= len(line)
        if not line.endswith(b"\n"):
            raise Broken("the end is missing")
        return line[:-1]

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise Broken("a value is missing")
        return self.stack.pop()

    def top(self) -> Any:
        value = self.pop()
        self.stack.append(value)
        return value

    def marked(self) -> list:
        if not self.marks:
            raise Broken("a mark is missing")
        start = self.marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def keep(self, key: int) -> None:
        value = self.top()
        if isinstance(value, Unfilled):
            value.keys.append(key)
        self.memo[key] = value

    def spend(self, n: int) -> None:
        self.allowance -= n
        if self.allowance < 0:
            raise Refused(f"unpacks to more than {_LARGER} times its size")


def read_pickle(path: str) -> Any:
    """Reads a pickle of any protocol, also of Python 2, whose strings are taken as latin-1.

    What it may hold: numpy arrays and scalars of numbers, booleans or text; arrays of objects that
    are themselves of this list; numbers, str, bytes, None, lists, tuples, dicts and sets of these.
    Arrays are read-only views of what was read; an OrderedDict becomes a dict, a bytearray bytes.

    Raises InvalidInput, one line that names the file, where it is missing, is no whole pickle or
    holds anything else; nothing that it names is imported or called.
    """
    require(bool(path) and os.path.isfile(path), "pickle", path, "the path of an existing file")
    try:
        with open(path, "rb") as file:
            return _run(_Machine(file, os.path.getsize(path)))
    except Refused as error:
        raise InvalidInput(
            f"{path}: {error}; refused, for only arrays, numbers, text and plain containers are "
            "read from a pickle"
        ) from None
    except (Broken, ValueError, TypeError, OverflowError, struct.error, MemoryError) as error:
        told = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise InvalidInput(f"{path}: not a whole pickle ({told})") from None


def _run(m: _Machine) -> Any:
    while (op := m.take(1)) != b".":
        if op in _REFUSED:
            raise Refused(_REFUSED[op])
        if op not in _OPS:
            raise Broken(f"no instruction is {op!r}")
        _OPS[op](m)
    value = m.pop()
    _check_plain(value)
    return value


def _check_plain(value: Any) -> None:
    """Without recursion, and every container once: they may be deep, shared and cyclic."""
    seen, todo = set(), [value]
    while todo:
        value = todo.pop()
        if isinstance(value, PLAIN) or id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, dict):
            todo.extend(value.values())
        elif isinstance(value, (list, tuple, set, frozenset)):
            todo.extend(value)
        elif isinstance(value, np.ndarray):
            todo.extend(value.flat if value.dtype.hasobject else ())
        elif isinstance(value, Unfilled):
            raise Broken("an array has no contents")
        else:
            what = value.name if isinstance(value, Name) else "a dtype"
            raise Refused(f"holds {what} itself")


def _find(m: _Machine, module: Any, name: Any) -> None:
    if not isinstance(module, str) or not isinstance(name, str):
        raise Broken("a name is no text")
    call = NAMES.get((PLACES.get(module, module), name))
    if call is None:
        raise Refused(f"names {shown(f'{module}.{name}')}")
    m.push(Name(f"{module}.{name}", call))


def _reduce(m: _Machine) -> None:
    arguments, name = m.pop(), m.pop()
    if not isinstance(name, Name) or not isinstance(arguments, tuple):
        raise Broken("calls what is no name")
    m.push(name.call(m.spend, *arguments))


def _build(m: _Machine) -> None:
    """Contents for an array, byte order for a dtype; anything else has no state."""
    state, target = m.pop(), m.pop()
    if not isinstance(target, (Dtype, Unfilled)) or not isinstance(state, tuple):
        raise Refused(f"sets attributes of a {type(target).__name__.strip('_')}")
    if isinstance(target, Dtype):
        if len(state) != 8 or state[1] not in ("<", ">", "=", "|") or any(state[2:5]):
            raise Refused("an array has a structured dtype")
        target.order = state[1]
        return m.push(target)
    if len(state) != 5 or not isinstance(state[2], Dtype):
        raise Broken("an array has no valid state")
    _, shape, dtype, fortran, data = state
    if dtype.dtype().hasobject:
        array = object_array(m.spend, shape, fortran, data)
    else:
        array = filled_array(m.spend, shape, dtype.dtype(), fortran, data)
    for key in target.keys:
        m.memo[key] = array
    m.push(array)


def _get(m: _Machine, key: int) -> None:
    if key not in m.memo:
        raise Broken("an earlier value is missing")
    m.push(m.memo[key])


def _extend(m: _Machine, kind: type, values: list) -> None:
    target = m.top()
    if type(target) is not kind:
        raise Refused(f"fills a {type(target).__name__.strip('_')} as if it were a {kind.__name__}")
    if kind is list:
        target.extend(values)
    elif kind is set:
        target.update(map(key_of, values))
    else:
        target.update(_pairs(values))


def _pairs(values: list) -> dict:
    return {key_of(k): v for k, v in zip(values[::2], values[1::2], strict=True)}


def _tuple(m: _Machine, n: int) -> None:
    m.push(tuple([m.pop() for _ in range(n)][::-1]))


def _drop(m: _Machine) -> None:
    if m.marks and m.marks[-1] == len(m.stack):
        m.marks.pop()
    else:
        m.pop()


def _int(line: bytes) -> int | bool:
    return {b"00": False, b"01": True}[line] if line in (b"00", b"01") else int(line, 0)


def _quoted(line: bytes) -> str:
    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b"'", b'"'):
        raise Broken("a string has no quotes")
    return codecs.escape_decode(line[1:-1])[0].decode("latin1")


_utf8 = lambda data: data.decode("utf-8", "surrogatepass")
_OPS: dict[bytes, Callable[[_Machine], None]] = {
    b"\x80": lambda m: m.take(1),  # the protocol, which all instructions here are of
    b"\x95": lambda m: m.take(8),  # the length of a frame
    b"N": lambda m: m.push(None),
    b"\x88": lambda m: m.push(True),
    b"\x89": lambda m: m.push(False),
    b"I": lambda m: m.push(_int(m.line())),
    b"L": lambda m: m.push(int(m.line().removesuffix(b"L"), 0)),
    b"J": lambda m: m.push(m.number(4, signed=True)),
    b"K": lambda m: m.push(m.number(1)),
    b"M": lambda m: m.push(m.number(2)),
    b"\x8a": lambda m: m.push(m.number(m.number(1), signed=True)),
    b"\x8b": lambda m: m.push(m.number(m.number(4), signed=True)),
    b"F": lambda m: m.push(float(m.line())),
    b"G": lambda m: m.push(struct.unpack(">d", m.take(8))[0]),
    b"S": lambda m: m.push(_quoted(m.line())),
    b"T": lambda m: m.push(m.take(m.number(4)).decode("latin1")),
    b"U": lambda m: m.push(m.take(m.number(1)).decode("latin1")),
    b"V": lambda m: m.push(m.line().decode("raw-unicode-escape")),
    b"X": lambda m: m.push(_utf8(m.take(m.number(4)))),
    b"\x8c": lambda m: m.push(_utf8(m.take(m.number(1)))),
    b"\x8d": lambda m: m.push(_utf8(m.take(m.number(8)))),
    b"B": lambda m: m.push(m.take(m.number(4))),
    b"C": lambda m: m.push(m.take(m.number(1))),
    b"\x8e": lambda m: m.push(m.take(m.number(8))),
    b"\x96": lambda m: m.push(m.take(m.number(8))),
    b"]": lambda m: m.push([]),
    b")": lambda m: m.push(()),
    b"}": lambda m: m.push({}),
    b"\x8f": lambda m: m.push(set()),
    b"(": lambda m: m.marks.append(len(m.stack)),
    b"l": lambda m: m.push(m.marked()),
    b"t": lambda m: m.push(tuple(m.marked())),
    b"d": lambda m: m.push(_pairs(m.marked())),
    b"\x91": lambda m: m.push(frozenset(map(key_of, m.marked()))),
    b"\x85": lambda m: _tuple(m, 1),
    b"\x86": lambda m: _tuple(m, 2),
    b"\x87": lambda m: _tuple(m, 3),
    b"a": lambda m: _extend(m, list, [m.pop()]),
    b"e": lambda m: _extend(m, list, m.marked()),
    b"s": lambda m: _extend(m, dict, [m.pop(), m.pop()][::-1]),
    b"u": lambda m: _extend(m, dict, m.marked()),
    b"\x90": lambda m: _extend(m, set, m.marked()),
    b"p": lambda m: m.keep(int(m.line())),
    b"q": lambda m: m.keep(m.number(1)),
    b"r": lambda m: m.keep(m.number(4)),
    b"\x94": lambda m: m.keep(len(m.memo)),
    b"g": lambda m: _get(m, int(m.line())),
    b"h": lambda m: _get(m, m.number(1)),
    b"j": lambda m: _get(m, m.number(4)),
    b"0": _drop,
    b"1": lambda m: m.marked(),
    b"2": lambda m: m.push(m.top()),
    b"c": lambda m: _find(m, _utf8(m.line()), _utf8(m.line())),
    b"\x93": lambda m: _find(m, *[m.pop(), m.pop()][::-1]),
    b"R": _reduce,
    b"b": _build,
}
_REFUSED = {
    b"i": "makes an object",
    b"o": "makes an object",
    b"\x81": "makes an object",
    b"\x92": "makes an object",
    b"P": "refers to something outside the file",
    b"Q": "refers to something outside the file",
    b"\x97": "refers to something outside the file",
    b"\x98": "refers to something outside the file",
    b"\x82": "uses a registered extension",
    b"\x83": "uses a registered extension",
    b"\x84": "uses a registered extension",
}

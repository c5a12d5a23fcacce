"""What rows hold, as numbers that a model keeps of what it was trained on: whatever the dtype."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import ml_dtypes
import numpy as np

from mmjax.data.columns import Column
from mmjax.data.dataset import Dataset
from mmjax.data.values import Lazy
from mmjax.errors import given

_TELLING = 3  # values that rounding changes, from which on what is left tells rows apart
_AT_ONCE = 256  # rows of files read together
_WHOLE = 2.0**53  # up to which float64 holds every whole number
_HALVES = (np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16))


def hashes_of(data: Dataset) -> dict[str, np.ndarray]:
    """name -> `[n]` uint64 of what each row holds there, wherever the row stands: equal contents of
    one dtype, equal hashes; held_in knows them in others. 0 where a row lacks the modality. What
    stays in files stands for itself by the name that Lazy.tell gives, or is read."""
    results = {}
    for name, column in data.columns.items():
        here = data.present.get(name, np.ones(data.num_rows, bool))
        hashes = np.zeros(data.num_rows, np.uint64)
        for row, content in _contents(column, np.flatnonzero(here)):
            hashes[row] = _hash(content)
        results[name] = hashes
    return results


def known_hashes(
    seen: Dataset, trained: Dataset, hashes: Mapping[str, np.ndarray] | None = None
) -> dict[str, np.ndarray]:
    """name -> `[k]` uint64, sorted, each once: what held_in needs to know rows again.

    Args:
      seen: rows that training or the choice of its best step saw.
      trained: those of training, of which every text counts.
      hashes: those of the rows seen, where they are known: rows in files are read for them.
    """
    further = further_hashes(trained)
    results = {}
    for name, of_rows in (hashes_of(seen) if hashes is None else hashes).items():
        here = seen.present.get(name, np.ones(seen.num_rows, bool))
        copies, _ = _others(seen.columns[name], np.flatnonzero(here), _copies)
        results[name] = np.unique(np.r_[of_rows, copies, further.get(name, of_rows[:0])])
    return results


def held_in(
    data: Dataset, known: Mapping[str, np.ndarray]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """name -> (whether a row holds one of these there, also as another dtype stores it; whether it
    lacks the modality), `[n]` bool each.

    Args:
      data: of any rows.
      known: name -> `[k]` hashes, of known_hashes, or of hashes_of for rows of the same dtypes.
    """
    results = {}
    for name, hashes in hashes_of(data).items():
        if name in known:
            lacks = hashes == 0
            holds = np.isin(hashes, known[name]) & ~lacks
            others, of = _others(data.columns[name], np.flatnonzero(~holds & ~lacks), _originals)
            holds[of[np.isin(others, known[name])]] = True
            results[name] = holds, lacks
    return results


def known_by_name(data: Dataset) -> list[str]:
    """Modalities that stay in files whose rows are known by the files' names alone."""
    values = {name: column.values for name, column in data.columns.items()}
    return [k for k, v in values.items() if isinstance(v, Lazy) and v.tell is not None]


def row_hashes(data: Dataset, names: Iterable[str] | None = None) -> np.ndarray:
    """`[n]` uint64 of all that a row holds, or of these modalities, of which it may lack some;
    whatever the dtype of its numbers."""
    parts, n = [], data.num_rows
    for name in sorted(data.columns if names is None else names):
        if name not in data.columns:
            parts.append(np.zeros(n, "<u8"))
            continue
        here = data.present.get(name, np.ones(n, bool))
        parts.append(np.where(here, _known_as(data.columns[name], n), 0).astype("<u8"))
    rows = np.ascontiguousarray(np.stack(parts, 1))
    return np.array([_hash(row.tobytes()) for row in rows], np.uint64)


def _known_as(column: Column, n: int) -> np.ndarray:
    """`[n]` uint64 of contents: text, or numbers as float32."""
    values, every = column.values, np.arange(n)
    if column.kind == "text" or (isinstance(values, Lazy) and values.tell is not None):
        return np.array([_hash(content) for _, content in _contents(column, every)], np.uint64)
    near = (_near(_numbers(column, row, value)).tobytes() for row, value in _read(values, every))
    return np.array([_hash(content) for content in near], np.uint64)


def _read(values: Any, rows: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    for start in range(0, len(rows), _AT_ONCE):
        some = rows[start : start + _AT_ONCE]
        read = values.read(some) if isinstance(values, Lazy) else values[some]
        yield from zip(some.tolist(), read, strict=True)


def further_hashes(data: Dataset) -> dict[str, np.ndarray]:
    """name -> `[k]` uint64, as hashes_of has them, of what rows hold beside what evaluation sees of
    them: further texts."""
    results: dict[str, np.ndarray] = {}
    for name, column in data.columns.items():
        if column.others is not None:
            results[name] = _hashes_of_texts(t for several in column.others for t in several)
    return results


def further_texts(column: Column) -> np.ndarray:
    """`[k]` uint64 of what rows of several texts hold beside the first, each once a row."""
    pairs = () if column.others is None else zip(column.values, column.others, strict=True)
    return _hashes_of_texts(t for first, others in pairs for t in {*others} - {first})


def _hashes_of_texts(texts: Iterable[str]) -> np.ndarray:
    return np.array([_hash(text.encode("utf-8", "surrogatepass")) for text in texts], np.uint64)


def data_hash(hashes: Mapping[str, np.ndarray]) -> str:
    """One hash of all rows of all modalities, in their order."""
    digest = hashlib.sha256()
    for name in sorted(hashes):
        digest.update(name.encode() + hashes[name].astype("<u8").tobytes())
    return digest.hexdigest()[:16]


def _hash(content: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")


def _contents(column: Column, rows: np.ndarray) -> Iterator[tuple[int, bytes]]:
    values: Any = column.values
    if isinstance(values, Lazy) and values.tell is None:
        yield from ((row, _bytes(_numbers(column, row, v))) for row, v in _read(values, rows))
        return
    for row in rows.tolist():
        if isinstance(values, Lazy):
            yield row, given(values.tell, "tell", "a name a row")(row).encode()
        elif column.kind == "text":
            yield row, values[row].encode("utf-8", "surrogatepass")
        else:
            yield row, _bytes(_numbers(column, row, values[row]))


def _bytes(value: np.ndarray) -> bytes:
    if value.dtype.kind not in "biu":
        near = _near(value)
        far = np.abs(value) >= 2.0**24  # where float32 has no digits left behind the point
        rest = np.where(far, value - near, 0) if value.dtype.itemsize > 4 else near[:0]
        value = np.append(near, rest.astype("<f4")) if rest.any() else near
    return value.astype(value.dtype.newbyteorder("<")).tobytes()


def _numbers(column: Column, row: int, value: np.ndarray) -> np.ndarray:
    value = np.ascontiguousarray(value if column.seen is None else value[column.seen[row]])
    return value.astype(np.float32) if value.dtype == np.float16 else value


def _near(value: np.ndarray) -> np.ndarray:
    return value.astype("<f4") + np.float32(0)  # -0.0 is 0.0


def _others(
    column: Column, rows: np.ndarray, made: Callable[[np.ndarray], list[bytes]]
) -> tuple[np.ndarray, np.ndarray]:
    """`[k]` hashes of what is made of rows of numbers, and `[k]` the row that each is of."""
    hashes, of, values = list[int](), list[int](), column.values
    if column.kind != "text" and not (isinstance(values, Lazy) and values.tell is not None):
        for row, value in _read(values, rows):
            numbers = _numbers(column, row, value)
            copies = [_hash(content) for content in made(numbers)]
            hashes += copies
            of += [row] * len(copies)
    return np.array(hashes, np.uint64), np.array(of, int)


def _copies(value: np.ndarray) -> list[bytes]:
    """How copies of a row that is known may be stored. Those in fewer digits are marked: only what
    is wholly of so few is taken for one, so that no other row is."""
    return _as_whole(value) + _of_255(value) + [_marked(near) for near in _rounded(value)]


def _originals(value: np.ndarray) -> list[bytes]:
    """What a row may be a copy of, or the original of where the known one is the copy."""
    if value.dtype.itemsize == 1:
        return _as_whole(value) + _of_255(value)
    wide = value.astype(np.float64)
    with np.errstate(over="ignore"):
        stored = [value.astype(dtype) for dtype in (*_HALVES, np.float32)]
    marked = [_marked(v) for v in stored if np.array_equal(v.astype(np.float64), wide)]
    near = [_near(v).tobytes() for v in _rounded(value)]
    return _as_whole(value) + marked + _of_255(value) + near


def _as_whole(value: np.ndarray) -> list[bytes]:
    """Whole numbers, the same of every dtype; nothing of others."""
    if value.dtype == np.uint8:  # hashes_of has them so
        return []
    if value.dtype.kind not in "biu":
        if not ((value == np.rint(value)) & (np.abs(value) <= _WHOLE)).all():
            return []
    small = not value.size or (value.min() >= 0 and value.max() <= 255)
    return [value.astype(np.uint8 if small else "<i8").tobytes()]


def _of_255(value: np.ndarray) -> list[bytes]:
    """Bytes, and floats that are bytes over 255 in whatever rounding."""
    if value.dtype != np.uint8:
        if value.dtype.kind in "biu" or not value.size or value.min() < 0 or value.max() > 1:
            return []
        near = np.rint(255 * value)
        if np.abs(255 * value - near).max() > 1e-4:
            return []
        value = near.astype(np.uint8)
    return [b"/255" + value.tobytes()]


def _marked(value: np.ndarray) -> bytes:
    return value.dtype.name.encode() + _near(value).tobytes()


def _rounded(value: np.ndarray) -> list[np.ndarray]:
    """The row in fewer digits, where these still tell it from others."""
    return _halves(value) + _singles(value)


def _singles(value: np.ndarray) -> list[np.ndarray]:
    """The row in single precision, where that drops digits of it (amounts, times) and still tells
    it from others."""
    near = _near(value)
    far = value.dtype.itemsize > 4 and np.any(np.abs(value) >= 2.0**24)
    tells = far and np.count_nonzero(near) >= _TELLING and not np.array_equal(near, value)
    return [near] if tells else []


def _halves(value: np.ndarray) -> list[np.ndarray]:
    """The row in half precision, where that still tells it from others."""
    results = list[np.ndarray]()
    if value.dtype.itemsize == 1:
        return results
    near = value.astype(np.float32)
    for dtype in _HALVES:
        with np.errstate(over="ignore"):
            # Of float64 it is either rounded at once, or by way of float32.
            ways = [near.astype(dtype)]
            ways += [value.astype(dtype)] if value.dtype.itemsize > 4 else []
        for way in ways[: 1 + (not np.array_equal(ways[0], ways[-1]))]:
            rounded = way.astype(np.float32)
            telling = (rounded != near) & (rounded != 0) & np.isfinite(rounded)
            if np.count_nonzero(telling) >= _TELLING:
                results.append(way)
    return results

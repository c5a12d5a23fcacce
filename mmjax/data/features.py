"""Feature files: embeddings, their labels and names, in the formats that they are shared in."""

import os
import zipfile
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Literal

import numpy as np

from mmjax.data.dataset import SPLITS as PARTS
from mmjax.data.feature_rows import FeatureSet, feature_rows
from mmjax.data.files.checks import finite, label_column, plain
from mmjax.data.files.npz import read_arrays
from mmjax.data.files.optional import needed
from mmjax.data.files.torch_files import read_torch
from mmjax.data.scaling import narrowed
from mmjax.errors import InvalidInput, require

# Where a user names no array: `feature_list` and `label_list` are those of the published files.
VALUES = ("feature_list", "features", "embeddings", "embedding", "values", "x")
LABELS = ("label_list", "labels", "label", "y")
NAMES = ("name_list", "names", "name", "texts", "text", "paths", "path")
# What became of each row when its encoder was trained, and which rows belong together. `is_test`
# is what older exports have.
SPLITS = ("split", "is_test")
GROUPS = ("group",)
# Of each the first that a table of floats has is no feature of it; `splits` as few-shot files say.
APART = (LABELS, (*SPLITS, "splits"), GROUPS)
_PART_OF = {part: part for part in PARTS} | dict.fromkeys(("val", "valid", "dev"), "validation")


def read_features(
    path: str,
    *,
    values: str = "",
    labels: str = "",
    names: str = "",
    split: str = "",
    group: str = "",
    apart: Sequence[str] = (),
    flag: str = "features",
) -> FeatureSet:
    """Reads .npy, .npz, .safetensors, .parquet or .pt; nothing in a file is ever executed.

    Args:
      path: the file. An .npy file, or a .pt of one tensor, is the values; of a .parquet the values
        are a column of lists, or, where there is none, all its columns of floats that are not
        its labels, names, split or group.
      values, labels, names: of arrays (columns) in it; where empty, the first that is there of
        VALUES, LABELS, NAMES, and for the values the only array of two axes.
      split, group: likewise, of SPLITS and GROUPS. A split is strings or 0 and 1: test row?
      apart: further columns that are no features, where it has them.
      flag: what the path is called in a refusal of it.

    Returns:
      Modality `x`, float16, float32 or float64 as stored; of .npy and uncompressed .npz files a
      read-only map of the file, which needs no memory of its own.

    Raises InvalidInput where the file is missing, broken or of another kind, an array is missing,
    holds Python objects, has another shape than the others, or has NaN or infinity.
    """
    told = [name for name in (labels, names, split, group) if name]
    kinds = ((LABELS, labels), (SPLITS, split), (GROUPS, group))
    others = [usual for usual, given in kinds if not given]
    arrays = open_arrays(path, flag=flag, apart=(*others, *((n,) for n in (*told, *apart))))
    chosen = _values_of(path, arrays, values, told)
    results = {}
    for what, given, usual in (("labels", labels, LABELS), ("names", names, NAMES)):
        fits = lambda n, what=what: _is_column(arrays[n](), what)
        name = given or next((n for n in usual if n in arrays and n != chosen and fits(n)), "")
        results[what] = _column(path, arrays, name) if name else None
    name = split or next((n for n in SPLITS if n in arrays), "")
    results["split"] = _split(path, arrays, name) if name else None
    name = group or next((n for n in GROUPS if n in arrays), "")
    results["group"] = _column(path, arrays, name) if name else None
    matrix = _matrix(path, chosen, arrays[chosen]())
    for what, column in results.items():
        if column is not None and column.shape != (len(matrix),):
            raise InvalidInput(
                f"{path}: {what} have shape {column.shape}, array {chosen!r} has {matrix.shape}; "
                "use one a row"
            )
    row_names = results.pop("names")
    return FeatureSet(feature_rows({"x": matrix}, **results, name=path), row_names)


def read_column(path: str, name: str, rows: int) -> np.ndarray:
    """Another array of a feature file, `[rows, ...]`: domains, attributes, images.

    Texts are without the space around them, as labels are.

    Raises InvalidInput where it is missing, holds Python objects, NaN or infinity, or has other
    rows.
    """
    arrays = open_arrays(path)
    column = np.asarray(arrays[_present(path, arrays, name)]())
    if column.dtype.kind not in "biufU" or not column.ndim or len(column) != rows:
        raise InvalidInput(
            f"{path}: array {name!r} is {column.dtype} {column.shape}; use numbers or strings, one "
            f"of each of the {rows} rows of features"
        )
    return np.char.strip(column) if column.dtype.kind == "U" else finite(column, name, path)


# A file as name -> function that reads the array.
Arrays = Mapping[str, Callable[[], np.ndarray]]


def open_arrays(
    path: str, *, flag: str = "features", apart: Sequence[Sequence[str]] = APART
) -> Arrays:
    """Arrays by name, each read, as `plain` has it, when it is asked for: see read_features.

    Args:
      path: the file.
      apart: of each the first that a .parquet has is none of the floats that are its `features`.
      flag: what the path is called in a refusal of it.

    Raises InvalidInput where the file is missing, broken or of another kind.
    """
    require(bool(path) and os.path.isfile(path), flag, path, "the path of an existing file")
    kind = os.path.splitext(path)[1].lower()
    require(kind in _READERS, flag, path, f"a file that ends in {', '.join(_READERS)}")
    checked = lambda read, name: cache(lambda: plain(np.asanyarray(read()), name, path))
    arrays = _read_parquet(path, apart) if kind == ".parquet" else _READERS[kind](path)
    return {name: checked(read, name) for name, read in arrays.items()}


def _present(path: str, arrays: Arrays, name: str) -> str:
    if name not in arrays:
        raise InvalidInput(f"{path}: no array {name!r}; it holds {', '.join(sorted(arrays))}")
    return name


def _values_of(path: str, arrays: Arrays, given: str, told: Sequence[str]) -> str:
    """The array of the values; told: what the user says that others are."""
    if given:
        return _present(path, arrays, given)
    usual = [name for name in VALUES if name in arrays and name not in told]
    if usual:
        return usual[0]
    matrices = [name for name, read in arrays.items() if name not in told and _is_matrix(read)]
    if len(matrices) != 1:
        raise InvalidInput(
            f"{path}: which array has the features? It holds {', '.join(sorted(arrays))}; "
            "name one by --values"
        )
    return matrices[0]


def _is_matrix(read: Callable[[], np.ndarray]) -> bool:
    try:
        return read().ndim == 2
    except InvalidInput:  # of what nobody asked for
        return False


def _is_column(array: np.ndarray, what: str) -> bool:
    """Whether a usual name stands for what it says: `text` may be features, or a sentence a row."""
    return array.ndim == 1 and array.dtype.kind in ("U" if what == "names" else "biufU")


def _column(path: str, arrays: Arrays, name: str) -> np.ndarray:
    return label_column(arrays[_present(path, arrays, name)](), name, path)


def _split(path: str, arrays: Arrays, name: str) -> np.ndarray:
    return parts_of(_column(path, arrays, name), name, path)


def parts_of(column: np.ndarray, name: str, path: str) -> np.ndarray:
    """`[n]` of PARTS, from strings, Train as train, or from 0 and 1: whether it is a test row.

    Raises InvalidInput that names the row of another value.
    """
    parts = _PART_OF if column.dtype.kind == "U" else {0: "train", 1: "test"}
    named = np.char.lower(np.char.strip(column)) if column.dtype.kind == "U" else column
    kinds, codes = np.unique(named, return_inverse=True)
    strange = [kind not in parts for kind in kinds.tolist()]
    if any(strange):
        row = int(np.argmax(np.asarray(strange)[codes]))
        raise InvalidInput(
            f"{path}: array {name!r} has {column[row].item()!r} in row {row}; use "
            f"{', '.join(PARTS)}, where train is what the encoder was fitted on"
        )
    return np.array([parts[kind] for kind in kinds.tolist()])[codes]


def _matrix(path: str, name: str, matrix: np.ndarray) -> np.ndarray:
    message = f"{path}: array {name!r}"
    if matrix.dtype.kind != "f":
        if matrix.dtype.kind not in "iu":
            raise InvalidInput(f"{message} has dtype {matrix.dtype}; use floating-point numbers")
        matrix = narrowed(matrix)
    if matrix.ndim < 2 or 0 in matrix.shape:
        raise InvalidInput(f"{message} has shape {matrix.shape}; use [rows, features]")
    return finite(matrix, name, path).reshape(len(matrix), -1)  # of a map or an image, row by row


def _read_npy(path: str) -> Arrays:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        message = (
            "holds Python objects, which are never loaded" if _objects(error) else "is not whole"
        )
        raise InvalidInput(f"{path}: {message}; save it as a numeric array") from error
    if not isinstance(array, np.ndarray):
        raise InvalidInput(f"{path}: an archive, not a single array; name it .npz")
    return {"features": lambda: array}


def _objects(error: Exception) -> bool:
    return "pickle" in str(error) or "Python objects" in str(error) or "Object" in str(error)


def _read_npz(path: str) -> Arrays:
    try:
        with zipfile.ZipFile(path) as file:
            infos = [i for i in file.infolist() if i.filename.endswith(".npy")]
    except (zipfile.BadZipFile, OSError) as error:
        raise InvalidInput(f"{path}: not a whole .npz file ({error})") from error

    def reader(info, name):
        def read():
            mapped = _mapped(path, info)
            return read_arrays(path, [name], check=False)[name] if mapped is None else mapped

        return cache(read)

    return {name: reader(i, name) for i in infos for name in [i.filename.removesuffix(".npy")]}


def _mapped(path: str, info: zipfile.ZipInfo) -> np.ndarray | None:
    """A map of an array that the archive stores as it is; None of any other, or a strange one."""
    if info.compress_type != zipfile.ZIP_STORED:
        return None
    with open(path, "rb") as file:
        file.seek(info.header_offset)
        local = file.read(30)  # a member's own header; its name and extras have their own lengths
        name, extra = (int.from_bytes(local[k : k + 2], "little") for k in (26, 28))
        file.seek(name + extra, os.SEEK_CUR)
        try:
            version = np.lib.format.read_magic(file)
            headers = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }
            shape, fortran, dtype = headers[version](file)
        except (KeyError, ValueError):
            return None
        if dtype.hasobject or 0 in shape or not shape:
            return None
        start = file.tell()
    if start + dtype.itemsize * int(np.prod(shape)) > os.path.getsize(path):
        return None
    order: Literal["F", "C"] = "F" if fortran else "C"
    return np.memmap(path, dtype, "r", start, shape, order)


def _read_safetensors(path: str) -> Arrays:
    safetensors = needed("safetensors", path)
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            keys = list(file.keys())
            strange = {k: file.get_slice(k).get_dtype() for k in keys}
    except (safetensors.SafetensorError, OSError) as error:
        raise InvalidInput(f"{path}: not a whole .safetensors file ({error})") from error

    def reader(name):
        def read():
            if strange[name].startswith("F8"):
                raise InvalidInput(f"{path}: array {name!r} has dtype {strange[name]}; use float32")
            # NumPy itself has no bfloat16.
            framework = "flax" if strange[name] == "BF16" else "numpy"
            with safetensors.safe_open(path, framework=framework) as file:
                return np.asarray(file.get_tensor(name))

        return cache(read)

    return {name: reader(name) for name in keys}


def _read_parquet(path: str, apart: Sequence[Sequence[str]] = APART) -> Arrays:
    needed("pyarrow", path)
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path, memory_map=True)
    except (pyarrow.ArrowException, OSError) as error:
        message = str(error).splitlines()[0]
        raise InvalidInput(f"{path}: not a whole .parquet file ({message})") from error
    floats, arrays = [], {}
    for name in table.column_names:
        kind = table.schema.field(name).type
        if pyarrow.types.is_floating(kind):
            floats.append(name)
        reader = _lists if pyarrow.types.is_nested(kind) else _plain
        arrays[name] = cache(partial(reader, path, name, table.column(name)))
    others = {name for names in apart for name in [n for n in names if n in arrays][:1]}
    floats = [name for name in floats if name not in others]
    if floats and not any(name in arrays for name in VALUES if name not in others):
        rows = lambda: np.stack([arrays[name]() for name in floats], axis=1)
        arrays["features"] = cache(rows)
    return arrays


def _read_pt(path: str) -> Arrays:
    value = read_torch(path)
    arrays = {"features": value} if isinstance(value, np.ndarray) else value
    named = isinstance(arrays, dict) and all(isinstance(name, str) for name in arrays)
    tensors = {n: v for n, v in arrays.items() if isinstance(v, np.ndarray)} if named else {}
    if not tensors:
        raise InvalidInput(f"{path}: it holds a {type(value).__name__}; use a tensor or a dict")
    kept = lambda array: lambda: array
    return {name: kept(array) for name, array in tensors.items()}


def _plain(path, name, column):
    if column.null_count:
        raise InvalidInput(f"{path}: column {name!r} has {column.null_count} missing values")
    values = column.to_numpy()
    return values.astype(str) if values.dtype == object else values


def _lists(path, name, column):
    """A column of lists of one length as `[rows, length]`."""
    flat = column.combine_chunks()
    lengths = np.asarray(flat.value_lengths()) if hasattr(flat, "value_lengths") else None
    values = flat.flatten()
    if column.null_count or lengths is None or len(set(lengths.tolist())) != 1 or values.null_count:
        raise InvalidInput(f"{path}: column {name!r} must hold lists of numbers of one length")
    values = values.to_numpy(zero_copy_only=False)
    if values.dtype.kind not in "iuf":
        raise InvalidInput(f"{path}: column {name!r} must hold lists of numbers of one length")
    return values.reshape(len(flat), -1)


_READERS = {
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".safetensors": _read_safetensors,
    ".parquet": _read_parquet,
    ".pt": _read_pt,
}

"""Pictures whose factors are known, and features of them: what a traversal is made of."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.data.features import Arrays, open_arrays
from mmjax.data.files.checks import finite, label_column, stripped, varied
from mmjax.data.pair_ids import content_ids
from mmjax.data.scaling import features_in_float32, standardised_by
from mmjax.data.sets.digits import slant_of
from mmjax.errors import InvalidInput, require
from mmjax.observations import render
from mmjax.types import Key, SceneFactors

AT_ONCE = 256  # scenes rendered at a time
RESOLUTION = 32
# What varies in scenes, the others are at rest: hues of a third of the circle and more, which no
# linear map can wind up, are left out.
VARIED = {
    "x position": ("object_xpos", 3),
    "y position": ("object_ypos", 3),
    "object colour": ("object_color", 0.6),
    "background colour": ("background_color", 1.0),
    "light": ("spotlight_pos", 1.0),
}


class Pictures(NamedTuple):
    """Pictures and what is known of them.

    Attributes:
      images: `[n, h, w, c]` uint8.
      factors: name -> `[n]`; integers, booleans or text are classes, floats are quantities.
      features: `[n, f]` float32 of the pictures, or None where they are to be trained.
      groups: `[n]` int, equal where pictures are equal, numbered as they come.
      remarks: a line about each measured factor that is left out.
      left_out: `(name, line)` of each factor that varies in the file, but not in the rows used.
    """

    images: np.ndarray
    factors: Mapping[str, np.ndarray]
    features: np.ndarray | None
    groups: np.ndarray
    remarks: tuple[str, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()


def rendered_pictures(key: Key, n: int) -> Pictures:
    """Scenes of one object, whose five factors are independent and uniform (positions of three
    values each), `[n, 32, 32, 3]`; a function of its arguments alone."""
    draws = np.asarray(jax.random.uniform(key, (len(VARIED), n)), np.float32)
    middle = dict(object_shape=1, object_xpos=1, object_ypos=1, object_zpos=0.0, object_color=0.3)
    columns = {k: np.full(n, middle.get(k, 0.5), np.float32) for k in SceneFactors._fields}
    factors = {}
    for (name, (field, size)), draw in zip(VARIED.items(), draws, strict=True):
        values = np.floor(size * draw) if isinstance(size, int) else size * draw
        factors[name] = columns[field] = values.astype(np.float32)
    images = np.empty((n, RESOLUTION, RESOLUTION, 3), np.uint8)
    for start in range(0, n, AT_ONCE):
        rows = np.minimum(np.arange(start, start + AT_ONCE), n - 1)  # one shape, one compilation
        stop = min(start + AT_ONCE, n)
        batch = SceneFactors(**{k: jnp.asarray(v[rows]) for k, v in columns.items()})
        images[start:stop] = np.asarray(render(batch, RESOLUTION))[: stop - start]
    return Pictures(images, factors, None, content_ids(images))


def read_pictures(
    path: str,
    *,
    images: str,
    labels: Sequence[str],
    index: str = "",
    features: str = "",
    rows: int = 0,
    key: Key,
) -> Pictures:
    """Pictures, their labels and, where there are any, features of a file.

    Grey pictures have two factors more, which are measured: slant and ink; one that is the same in
    all pictures is left out, and so is one that a label is called as. Quantities among the labels
    are standardised, and features that float32 would round away, so that nothing depends on their
    offset or unit.

    Args:
      path: an .npz or .safetensors.
      images: name of `[n, h, w]` or `[n, h, w, c]` uint8.
      labels: names of `[n]` columns.
      index: name of `[m]` rows of the pictures, where other arrays have m rows.
      features: name of `[n, f]` or `[m, f]`; empty: none.
      rows: at most so many, drawn by the key; 0: all.
      key: of the rows.

    A factor that varies in the file, but not in the rows that are drawn, is left out too.

    Raises InvalidInput, one line, for an array that is missing or another, for pictures or features
    that are all alike, and where no factor is left.
    """
    arrays = open_arrays(path, flag="data")
    pixels = _pixels(path, images, _read(path, arrays, images, "images"))
    whole = len(pixels)
    chosen = np.arange(whole)
    if index:
        chosen = label_column(_read(path, arrays, index, "index"), index, path)
        fits = chosen.dtype.kind in "iu" and len(chosen) and 0 <= chosen.min() <= chosen.max()
        if not fits or chosen.max() >= whole:
            raise InvalidInput(f"{path}: index {index!r} is no column of rows 0 to {whole - 1}")

    def column(name: str, what: str) -> np.ndarray:
        values = stripped(finite(_read(path, arrays, name, what), name, path))
        axes = 2 if what == "features" else 1
        if values.ndim != axes or values.dtype.kind not in ("iuf" if axes == 2 else "biufU"):
            wanted = "numbers [n, f]" if axes == 2 else "a number or text a row"
            text = f"{path}: {what} {name!r} are {values.dtype} {values.shape}"
            raise InvalidInput(f"{text}; use {wanted}")
        if len(values) not in (whole, len(chosen)):
            text = f"{path}: {what} {name!r} has {len(values)} rows, not {len(chosen)}"
            raise InvalidInput(f"{text}; use one of each picture")
        return values if len(values) == len(chosen) else values[chosen]

    pixels = pixels[chosen].reshape(len(chosen), *pixels.shape[1:3], -1)
    factors = {name: column(name, "labels") for name in labels}
    for name, values in factors.items():
        if len(np.unique(values)) < 2:
            message = f"{path}: labels {name!r} are all {values[0].item()!r}"
            raise InvalidInput(f"{message}; use labels of two values or more")
    factors = {k: _standardised(v) if v.dtype.kind == "f" else v for k, v in factors.items()}
    measured, remarks = _measured(path, pixels, without=labels)
    factors |= measured
    if not factors and remarks:
        raise InvalidInput(f"{remarks[0]}, and no labels are given; use labels")
    require(bool(factors), "labels", "", "names of one or more columns")
    kept = np.asarray(jax.random.permutation(key, len(pixels)))[: rows or None]
    pixels, groups = pixels[kept], content_ids(pixels[kept])
    result = column(features, "features")[kept] if features else None
    varied(pixels, images, path)
    if result is not None:
        varied(result, features, path)
    data = Pictures(
        pixels,
        {k: v[kept] for k, v in factors.items()},
        None if result is None else features_in_float32(result),
        groups,
        remarks,
    )
    return varying(data, {"drawn": np.arange(len(kept))}, path)


def varying(data: Pictures, parts: Mapping[str, np.ndarray], path: str) -> Pictures:
    """The pictures with the factors that vary in every part, of which alone something can be told.

    Args:
      data: pictures.
      parts: what is done with the rows (drawn, fitted, held) -> their numbers.
      path: the file, or what it is called.

    Raises InvalidInput where no factor is left.
    """
    lines = {}
    for name, values in data.factors.items():
        same = [part for part, rows in parts.items() if _same(values[rows])]
        if same:
            rows = len(parts[same[0]])
            lines[name] = f"{path}: {name} is the same in all {rows} pictures {same[0]}, left out"
    if len(lines) == len(data.factors):
        message = f"{'; '.join(lines.values())}: no factor is left"
        raise InvalidInput(f"{message}; use more rows, or labels that vary more")
    left = {name: values for name, values in data.factors.items() if name not in lines}
    return data._replace(factors=left, left_out=(*data.left_out, *lines.items()))


def _same(values: np.ndarray) -> bool:
    """Of shares and standardised quantities: what differs by less is rounding."""
    return bool(np.ptp(values) < 1e-9 if values.dtype.kind == "f" else len(np.unique(values)) < 2)


def _standardised(values: np.ndarray) -> np.ndarray:
    """`[n]` float32 quantities of mean 0 and variance 1, of any offset and unit."""
    return standardised_by(values[:, None], np.ones(len(values), bool))[:, 0]


def _measured(
    path: str, pixels: np.ndarray, without: Collection[str]
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Factors `[n]` of grey pictures `[n, h, w, 1]`, and a line about each that is left out: it
    does not vary, or a label of the file is called so."""
    if pixels.shape[3] > 1:
        return {}, ()
    grey = pixels[..., 0]
    factors = {"slant": slant_of(grey), "ink": grey.mean((1, 2)) / 255}
    given = [name for name in factors if name in without]
    same = [name for name, v in factors.items() if name not in given and _same(v)]
    lines = [f"{path}: {name} is the same in all pictures and left out" for name in same]
    lines += [f"{path}: {name} is the file's label and not measured" for name in given]
    measured = {k: v.astype(np.float32) for k, v in factors.items() if k not in (*same, *given)}
    return measured, tuple(lines)


def parted(groups: np.ndarray, key: Key, share: float = 0.8) -> tuple[np.ndarray, np.ndarray]:
    """Rows to fit on and held rows, in random order of their groups, none of which is in both.

    Args:
      groups: `[n]` int from 0 without gaps, two or more of them.
      key: of the order.
      share: of the rows that are fitted on, as nearly as whole groups allow.
    """
    sizes = np.bincount(groups)
    order = np.asarray(jax.random.permutation(key, len(sizes)))
    # What is large is fitted on: held, it would leave little to learn from.
    order = order[np.argsort(sizes[order] <= (1 - share) * len(groups), kind="stable")]
    ends = np.cumsum(sizes[order])[:-1]
    count = ends[np.argmin(np.abs(ends - int(share * len(groups))))]
    rows = np.argsort(np.argsort(order)[groups], kind="stable")
    return rows[:count], rows[count:]


def _read(path: str, arrays: Arrays, name: str, what: str) -> np.ndarray:
    if name not in arrays:
        raise InvalidInput(f"{path}: no {what} {name!r}; it holds {', '.join(sorted(arrays))}")
    return np.asarray(arrays[name]())


def _pixels(path: str, name: str, pixels: np.ndarray) -> np.ndarray:
    if pixels.dtype != np.uint8 or pixels.ndim not in (3, 4) or 0 in pixels.shape:
        message = f"{path}: images {name!r} are {pixels.dtype} {pixels.shape}"
        raise InvalidInput(f"{message}; use uint8 [n, h, w] or more axes")
    return pixels


def partner_of(factors: Mapping[str, np.ndarray], noise: float, key: Key) -> np.ndarray:
    """`[n, k]` float32: what a second modality tells of the factors.

    Quantities standardised, with Laplace noise, so that theory's coupling of both sides holds;
    classes as indicators.

    Args:
      factors: name -> `[n]`.
      noise: scale of the Laplace noise, in standard deviations of the quantity.
      key: of the noise.
    """
    columns: list[Any] = []
    for number, values in enumerate(factors.values()):
        if values.dtype.kind in "biuSU":
            columns.append(values[:, None] == np.unique(values))
        else:
            jitter = jax.random.laplace(jax.random.fold_in(key, number), values.shape)
            unit = (values - values.mean()) / max(float(values.std()), 1e-12)
            columns.append((unit + noise * np.asarray(jitter))[:, None])
    return np.concatenate(columns, 1).astype(np.float32)

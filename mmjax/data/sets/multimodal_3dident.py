"""Multimodal3DIdent on disk: images, captions and the factors behind them (Daunhawer et al. 2023).

    <root>[/train|val|test]/images/<i>.png, text/text_raw.txt, latents_image.csv, latents_text.csv

Everything is checked before the first image is decoded; nothing is written into the data folder.
"""

import os
from typing import NamedTuple

import numpy as np

from mmjax.data.files.images import load_images
from mmjax.data.files.pictures import left_out, pictures_by_stem
from mmjax.data.files.tables import Columns, read_columns, read_lines
from mmjax.data.sets.captions import Vocabulary, build_vocabulary, encode, longest
from mmjax.errors import InvalidInput, require
from mmjax.generative.colours import COLOURS, colour_names
from mmjax.types import SceneFactors, TextFactors

SPLITS = ("train", "val", "test", "")
IMAGE_COLUMNS = SceneFactors._fields
TEXT_COLUMNS = (
    "object_shape",
    "object_xpos",
    "object_ypos",
    "object_zpos",
    "object_color_name",
    "object_color_index",
    "text_phrasing",
)
# Largest value of each whole-numbered column; all others but object_zpos lie in [0, 1].
LARGEST = {
    "object_shape": 6,
    "object_xpos": 2,
    "object_ypos": 2,
    "object_color_index": COLOURS - 1,
    "text_phrasing": 4,
}


class SceneSplit(NamedTuple):
    """A host's rows of a split.

    Attributes:
      images: `[n, r, r, 3]` uint8; read-only where it comes from a cache.
      texts: n captions.
      tokens: `[n, length]` int32 ids of words, {eos} and {pad}.
      vocabulary: what the ids stand for.
      image_factors: `[n]` each, numpy.
      text_factors: `[n]` each, numpy.
      rows: `[n]` int32, numbers of these rows in the split.
      skipped: files of images that can't be read, whose rows are left out.
      ignored: names of files among the images that are no pictures.
    """

    images: np.ndarray
    texts: list[str]
    tokens: np.ndarray
    vocabulary: Vocabulary
    image_factors: SceneFactors
    text_factors: TextFactors
    rows: np.ndarray
    skipped: tuple[str, ...]
    ignored: tuple[str, ...]


def image_name(row: int, n: int) -> str:
    """The file of a row's image among n: padded with zeros to ceil(log10(n)) digits."""
    return f"{row:0{len(str(n - 1))}d}.png"


def load_split(
    root: str,
    split: str,
    *,
    resolution: int | None = None,
    on_corrupt: str = "refuse",
    vocabulary: Vocabulary | None = None,
    length: int | None = None,
    host_index: int = 0,
    host_count: int = 1,
    workers: int = 8,
    cache: str = "",
) -> SceneSplit:
    """Reads a split, or one host's share of it, whole into memory: 3 r^2 bytes a row.

    Args:
      root: the data set's folder.
      split: train, val or test, a folder in root; empty: root itself holds the files.
      resolution: images are resized to it by area; default as they are stored.
      on_corrupt: what happens at an image that can't be read: refuse it, or skip its row.
      vocabulary: that of the training split; default made from this split's captions, all of them.
      length: of token sequences; default the split's longest caption and its {eos}.
      host_index, host_count: row i goes to host i modulo host_count.
      workers: threads that decode images.
      cache: a folder outside root where decoded images are kept as .npy and found again; empty:
        none.

    Raises InvalidInput, naming file and line, for missing files, columns or images, unequal
    lengths, values out of range, corrupt or coloured-otherwise images.
    """
    require(split in SPLITS, "split", split, "train, val, test, or an empty string")
    require(host_count >= 1, "host_count", host_count, "a whole number >= 1")
    allowed = f"a whole number from 0 to {host_count - 1}"
    require(0 <= host_index < host_count, "host_index", host_index, allowed)
    folder = os.path.join(root, split) if split else root
    result = bool(root) and os.path.isdir(folder)
    require(result, "--data", folder, "the path of an existing folder")
    outside = not cache or os.path.commonpath(_real(cache, root)) != _real(root)[0]
    require(outside, "cache", cache, f"a folder outside {root}")

    image_factors = _image_factors(os.path.join(folder, "latents_image.csv"))
    n = len(image_factors.object_shape)
    text_factors = _text_factors(os.path.join(folder, "latents_text.csv"), image_factors)
    texts = _texts(os.path.join(folder, "text", "text_raw.txt"), n)
    paths, ignored = _image_paths(os.path.join(folder, "images"), n)
    rows = np.arange(host_index, n, host_count, dtype=np.int32)
    require(len(rows) > 0, "host_count", host_count, f"at most {n}, the rows of {folder}")

    # From the whole split, so that all hosts agree.
    vocabulary = build_vocabulary(texts) if vocabulary is None else vocabulary
    length = longest(texts) if length is None else length
    images, kept = load_images(
        [paths[row] for row in rows],
        resolution=resolution,
        on_corrupt=on_corrupt,
        workers=workers,
        cache=cache,
    )
    skipped = tuple(paths[row] for row in rows[~kept])
    rows = rows[kept]
    texts = [texts[row] for row in rows]
    return SceneSplit(
        images,
        texts,
        encode(texts, vocabulary, length),
        vocabulary,
        SceneFactors(*(column[rows] for column in image_factors)),
        TextFactors(*(column[rows] for column in text_factors)),
        rows,
        skipped,
        tuple(ignored),
    )


def remarks_on(split: SceneSplit, where: str) -> list[str]:
    """What a split leaves out, a line each."""
    skipped = [os.path.basename(path) for path in split.skipped]
    lines = (
        left_out(where, skipped, "images that can't be read"),
        left_out(where, split.ignored, "no pictures"),
    )
    return [line for line in lines if line]


def _real(*paths: str) -> list[str]:
    return [os.path.realpath(path) for path in paths]


def _needed(there: bool, path: str) -> None:
    if not there:
        raise InvalidInput(
            f"{path}: not there; a split holds images/, text/text_raw.txt, latents_image.csv and "
            "latents_text.csv"
        )


def _columns(path: str, names: tuple[str, ...]) -> Columns:
    _needed(os.path.isfile(path), path)
    return read_columns(path, {name: (name,) for name in names})


def _numbers(path: str, name: str, columns: Columns) -> np.ndarray:
    """A column as int32 or float32, or InvalidInput that names its first line out of range."""
    column = columns.values[name]
    values = np.array([_number(text) for text in column])
    if name in LARGEST:
        good = np.isin(values, np.arange(LARGEST[name] + 1))
        allowed = f"a whole number from 0 to {LARGEST[name]}"
    elif name == "object_zpos":
        good, allowed = values == 0, "0"
    else:
        good, allowed = (values >= 0) & (values <= 1), "a number in [0, 1)"
    if not good.all():
        k = int(np.argmin(good))
        raise InvalidInput(
            f"{path}: line {columns.lines[k]}: {name} is {column[k]!r}; use {allowed}"
        )
    return values.astype(np.int32 if name in LARGEST else np.float32)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return np.nan


def _image_factors(path: str) -> SceneFactors:
    columns = _columns(path, IMAGE_COLUMNS)
    return SceneFactors(**{name: _numbers(path, name, columns) for name in IMAGE_COLUMNS})


def _text_factors(path: str, image: SceneFactors) -> TextFactors:
    columns = _columns(path, TEXT_COLUMNS)
    n, result = len(image.object_shape), len(columns.lines)
    if result != n:
        raise InvalidInput(f"{path}: {result} rows, where latents_image.csv has {n}")
    factors = TextFactors(**{name: _numbers(path, name, columns) for name in TextFactors._fields})
    for name in ("object_shape", "object_xpos", "object_ypos", "object_zpos"):
        from_text, shown = getattr(factors, name), getattr(image, name)
        if (from_text != shown).any():
            k = int(np.argmax(from_text != shown))
            raise InvalidInput(
                f"{path}: line {columns.lines[k]}: {name} is {columns.values[name][k]!r}, where "
                f"latents_image.csv has {shown[k]}; use the same"
            )
    names, known = columns.values["object_color_name"], colour_names()
    for k, colour in enumerate(factors.object_color_index):
        if names[k] != known[colour]:
            raise InvalidInput(
                f"{path}: line {columns.lines[k]}: object_color_name is {names[k]!r}; use "
                f"{known[colour]!r}, the name of object_color_index {colour}"
            )
    return factors


def _texts(path: str, n: int) -> list[str]:
    """Line i for image i; blank lines behind the last one are no captions."""
    _needed(os.path.isfile(path), path)
    texts = read_lines(path)
    if len(texts) != n:
        raise InvalidInput(f"{path}: {len(texts)} lines, where latents_image.csv has {n} rows")
    for k, text in enumerate(texts):
        if not text.strip():
            raise InvalidInput(f"{path}: line {k + 1} is empty; use a caption")
    return texts


def _image_paths(folder: str, n: int) -> tuple[list[str], list[str]]:
    """The n images' files, all of them and no others, and what else lies there."""
    _needed(os.path.isdir(folder), folder)
    files, rest = pictures_by_stem(folder)
    names = {image_name(row, n).removesuffix(".png"): image_name(row, n) for row in range(n)}
    missing = [names[stem] for stem in names if stem not in files]
    others = sorted(files[stem] for stem in set(files) - set(names))
    if missing:
        gap = f"{folder}: {len(missing)} of {n} images missing, first {missing[0]}"
        unlike = f"; it holds {others[0]}, which is no name for {n} images" if others else ""
        raise InvalidInput(gap + unlike)
    if others:
        raise InvalidInput(
            f"{folder}: {len(others)} images too many for the {n} rows of latents_image.csv, "
            f"first {others[0]}"
        )
    return [os.path.join(folder, files[stem]) for stem in names], rest

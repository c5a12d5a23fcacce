"""MM-IMDb (Arevalo et al. 2017): posters, plots and genres of films, as published.

<root>/split.json          {"train", "dev", "test": [ids]}
<root>/dataset/<id>.json   "plot" and "genres", lists of str, and more
<root>/dataset/<id>.jpeg   the poster
"""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from mmjax.data.files.pictures import as_rgb, pictures_by_stem, read_picture
from mmjax.data.files.tables import read_json
from mmjax.data.multimodal import Lazy, MultimodalData, MultimodalSplit
from mmjax.errors import InvalidInput, choose, require

GENRES = (
    "action adventure animation biography comedy crime documentary drama family fantasy film-noir "
    "history horror music musical mystery romance sci-fi short sport thriller war western"
).split()
_KEYS = {"train": "train", "validation": "dev", "test": "test"}
# Which of a film's plots is its text; the longest is that of the published features.
_PLOTS = {"longest": lambda plots: max(plots, key=len), "first": lambda plots: plots[0]}
# Texts -> tokens `[n, length]` int32 and their mask `[n, length]` bool.
EncodeText = Callable[[Sequence[str]], tuple[np.ndarray, np.ndarray]]


def load_mm_imdb(
    root: str,
    *,
    encode_text: EncodeText | None = None,
    plot: str = "longest",
    image_size: tuple[int, int] = (256, 160),
    workers: int = 8,
) -> MultimodalData:
    """Reads the published folder; posters are decoded when they are asked for.

    Args:
      root: the folder.
      encode_text: a tokenizer, called once a split; None leaves text as `[n]` str objects.
      plot: which of a film's plots: longest or first.
      image_size: height and width of posters: cut to this shape about the middle, then resized.
      workers: threads that decode.

    Returns:
      image `[n, height, width, 3]` uint8, text; labels `[n, 23]` of GENRES, in alphabetical order,
      other genres are left out; ids.

    Raises InvalidInput, naming the file, where one is missing, no JSON or without plot or genres,
    an id stands twice, and, when it is read, for a poster that can't be decoded.
    """
    choose(_PLOTS, "plot", plot)
    require(workers >= 1, "workers", workers, "a whole number >= 1")
    sized = len(image_size) == 2 and min(image_size) >= 1
    require(sized, "image_size", image_size, "a height and a width >= 1")
    require(bool(root) and os.path.isdir(root), "--data", root, "the path of an existing folder")
    parts = _parts(os.path.join(root, "split.json"))
    films = {i: _film(os.path.join(root, "dataset", f"{i}.json")) for i in sum(parts.values(), [])}
    posters = dict(zip(films, poster_paths(root, list(films)), strict=True))
    splits = {}
    for name, ids in parts.items():
        texts = [_PLOTS[plot](films[i]["plot"]) for i in ids]
        text, masks = _text(texts, encode_text)
        labels = np.array([[g in films[i]["genres"] for g in GENRES] for i in ids], np.int32)
        paths = [posters[i] for i in ids]
        values = {"image": _posters(paths, image_size, workers), "text": text}
        splits[name] = MultimodalSplit(values, masks, labels, np.array(ids))
    return MultimodalData("MM-IMDb", "multilabel", tuple(GENRES), **splits)


def poster_paths(root: str, ids: Sequence[str]) -> list[str]:
    """The films' posters, `<id>.jpeg` as published or another ending of a picture.

    Raises InvalidInput where a film has none, or several.
    """
    folder = os.path.join(root, "dataset")
    if not os.path.isdir(folder):
        raise InvalidInput(f"{folder}: not there; the folder holds split.json and dataset/")
    files, _ = pictures_by_stem(folder)
    for i in ids:
        if i not in files:
            path = os.path.join(folder, f"{i}.jpeg")
            raise InvalidInput(f"{path}: not there; each film has a poster")
    return [os.path.join(folder, files[i]) for i in ids]


def _json(path: str) -> Any:
    if not os.path.isfile(path):
        raise InvalidInput(
            f"{path}: not there; the folder holds split.json, dataset/<id>.json and .jpeg"
        )
    return read_json(path)


def _strings(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(v, str) for v in values)


def _parts(path: str) -> dict[str, list[str]]:
    """The ids of each split: plain names of files, in one split each."""
    found = _json(path)
    seen = set()
    for key in _KEYS.values():
        if not isinstance(found, Mapping) or not _strings(found.get(key)) or not found[key]:
            raise InvalidInput(f"{path}: {key} is no list of ids; use train, dev and test")
        for i in found[key]:
            if i in seen or i in ("", ".", "..") or os.path.basename(i) != i:
                told = "stands twice" if i in seen else "is no name of a file"
                raise InvalidInput(f"{path}: id {i!r} in {key} {told}")
            seen.add(i)
    return {name: found[key] for name, key in _KEYS.items()}


def _film(path: str) -> dict[str, list[str]]:
    """Its plots, not all empty, and its genres in lower case."""
    found = _json(path)
    for key in ("plot", "genres"):
        if not isinstance(found, Mapping) or not _strings(found.get(key)):
            raise InvalidInput(f"{path}: no {key}; use a list of strings")
    plots = [plot for plot in found["plot"] if plot.strip()]
    if not plots:
        raise InvalidInput(f"{path}: plot is empty; use one or more texts")
    return {"plot": plots, "genres": [genre.lower() for genre in found["genres"]]}


def _text(texts: list[str], encode: EncodeText | None) -> tuple[np.ndarray, dict]:
    if encode is None:
        return np.array(texts, object), {}
    tokens, mask = (np.asarray(v) for v in encode(texts))
    fits = tokens.ndim == 2 and len(tokens) == len(texts) and mask.shape == tokens.shape
    told = f"tokens {tokens.shape}, mask {mask.shape}"
    require(fits, "encode_text", told, f"two arrays [{len(texts)}, length]")
    return tokens.astype(np.int32), {"text": mask.astype(bool)}


def _posters(paths: list[str], size: tuple[int, int], workers: int) -> Lazy:
    def read(rows):
        pool = ThreadPoolExecutor(workers)
        try:
            return np.stack(list(pool.map(lambda row: read_poster(paths[row], size), rows)))
        finally:
            pool.shutdown(cancel_futures=True)

    return Lazy((len(paths), *size, 3), np.dtype(np.uint8), read)


def read_poster(path: str, size: tuple[int, int]) -> np.ndarray:
    """`[height, width, 3]` uint8 of a picture of any format and mode (see as_rgb), upright.

    Raises InvalidInput where it can't be decoded.
    """
    fit = lambda image: np.asarray(ImageOps.fit(image, size[::-1], Image.Resampling.LANCZOS))
    poster = read_picture(path, lambda image: fit(as_rgb(image)))
    if isinstance(poster, str):
        raise InvalidInput(f"{path}: corrupt image ({poster})")
    return poster

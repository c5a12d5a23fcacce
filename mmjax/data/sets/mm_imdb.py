"""MM-IMDb (Arevalo et al. 2017): posters, plots and genres of films, as published.

<root>/split.json          {"train", "dev", "test": [ids]}
<root>/dataset/<id>.json   "plot" and "genres", lists of str, and more
<root>/dataset/<id>.jpeg   the poster
"""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from mmjax.data.dataset import Dataset
from mmjax.data.files.pictures import as_rgb, pictures_by_stem, read_picture
from mmjax.data.files.tables import read_json
from mmjax.data.values import Lazy
from mmjax.errors import InvalidInput, choose, require

GENRES = (
    "action adventure animation biography comedy crime documentary drama family fantasy film-noir "
    "history horror music musical mystery romance sci-fi short sport thriller war western"
).split()
_KEYS = {"train": "train", "validation": "dev", "test": "test"}
# Which of a film's plots is its text; the longest is that of the published features.
_PLOTS = {"longest": lambda plots: max(plots, key=len), "first": lambda plots: plots[0]}


def load_mm_imdb(
    root: str,
    *,
    plot: str = "longest",
    image_size: tuple[int, int] = (256, 160),
    workers: int = 8,
) -> Dataset:
    """Reads the published folder; posters are decoded when they are asked for.

    Args:
      root: the folder.
      plot: which of a film's plots: longest or first.
      image_size: height and width of posters: cut to this shape about the middle, then resized.
      workers: threads that decode.

    Returns:
      image `[n, height, width, 3]` uint8, text; a label of 0 and 1 for each of GENRES, other genres
      are left out; ids are the films'. Rows are in the order of film_ids.

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
    ids = list(films)
    genres = {name: [int(name in films[i]["genres"]) for i in ids] for name in GENRES}
    return Dataset.from_arrays(
        image=_posters(poster_paths(root, ids), image_size, workers),
        text=[_PLOTS[plot](films[i]["plot"]) for i in ids],
        labels=genres,
        split=np.repeat(list(parts), [len(films) for films in parts.values()]),
        name="MM-IMDb",
    ).also_by(ids)


def film_ids(root: str) -> list[str]:
    """The films in a folder, those of training first, then of validation and of the test.

    Raises InvalidInput, naming the file, for a split.json that is missing or no such.
    """
    return sum(_parts(os.path.join(root, "split.json")).values(), [])


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
    result = _json(path)
    seen = set()
    for key in _KEYS.values():
        if not isinstance(result, Mapping) or not _strings(result.get(key)) or not result[key]:
            raise InvalidInput(f"{path}: {key} is no list of ids; use train, dev and test")
        for i in result[key]:
            if i in seen or i in ("", ".", "..") or os.path.basename(i) != i:
                message = "stands twice" if i in seen else "is no name of a file"
                raise InvalidInput(f"{path}: id {i!r} in {key} {message}")
            seen.add(i)
    return {name: result[key] for name, key in _KEYS.items()}


def _film(path: str) -> dict[str, list[str]]:
    """Its plots, not all empty, and its genres in lower case."""
    result = _json(path)
    for key in ("plot", "genres"):
        if not isinstance(result, Mapping) or not _strings(result.get(key)):
            raise InvalidInput(f"{path}: no {key}; use a list of strings")
    plots = [plot for plot in result["plot"] if plot.strip()]
    if not plots:
        raise InvalidInput(f"{path}: plot is empty; use one or more texts")
    return {"plot": plots, "genres": [genre.lower() for genre in result["genres"]]}


def _posters(paths: list[str], size: tuple[int, int], workers: int) -> Lazy:
    def read(rows):
        pool = ThreadPoolExecutor(workers)
        try:
            return np.stack(list(pool.map(lambda row: read_poster(paths[row], size), rows)))
        finally:
            pool.shutdown(cancel_futures=True)

    named = lambda row: str(paths[row])
    return Lazy((len(paths), *size, 3), np.dtype(np.uint8), read, named)


def read_poster(path: str, size: tuple[int, int]) -> np.ndarray:
    """`[height, width, 3]` uint8 of a picture of any format and mode (see as_rgb), upright.

    Raises InvalidInput where it can't be decoded.
    """
    fit = lambda image: np.asarray(ImageOps.fit(image, size[::-1], Image.Resampling.LANCZOS))
    poster = read_picture(path, lambda image: fit(as_rgb(image)))
    if isinstance(poster, str):
        raise InvalidInput(f"{path}: corrupt image ({poster})")
    return poster

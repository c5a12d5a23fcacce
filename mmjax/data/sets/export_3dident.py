"""Writes scenes and captions in the layout of Multimodal3DIdent: a split is whole or not there."""

import csv
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image

from mmjax.data.sets.captions import caption
from mmjax.data.sets.multimodal_3dident import IMAGE_COLUMNS, TEXT_COLUMNS, image_name
from mmjax.errors import InvalidInput, require
from mmjax.generative.colours import colour_names
from mmjax.types import SceneFactors, ScenePairs, TextFactors


def check_free(folder: str) -> None:
    """Raises InvalidInput unless the folder is empty or does not exist."""
    if os.path.lexists(folder) and not (os.path.isdir(folder) and not os.listdir(folder)):
        raise InvalidInput(f"{folder}: already there and not empty; name another folder")


def write_split(
    folder: str,
    pairs: ScenePairs,
    batches: Iterable[np.ndarray],
    *,
    workers: int = 8,
    progress: Callable[[int], None] = lambda count: None,
) -> None:
    """Writes images/, text/text_raw.txt, latents_image.csv and latents_text.csv.

    Everything goes to a temporary folder beside, which gets its name at the end.

    Args:
      folder: of the split; empty or not there yet.
      pairs: factors of n >= 1 rows.
      batches: the images in order, `[batch, r, r, 3]` uint8 each, n in all; drawn as needed.
      workers: threads that write images.
      progress: called with the number of images written, after every batch.

    Raises InvalidInput where the folder holds something, or the batches are no n RGB images.
    """
    check_free(folder)
    image, text = (map(np.asarray, side) for side in pairs)
    pairs = ScenePairs(SceneFactors(*image), TextFactors(*text))
    n = len(pairs.image.object_shape)
    require(n >= 1, "rows", n, "a whole number >= 1")
    parent, name = os.path.split(os.path.abspath(folder))
    os.makedirs(parent, exist_ok=True)
    temporary = tempfile.mkdtemp(dir=parent, prefix=f".{name}.", suffix=".tmp")
    try:
        _write_texts(temporary, pairs)
        _write_images(os.path.join(temporary, "images"), n, batches, workers, progress)
        os.chmod(temporary, 0o755)
        if os.path.isdir(folder):
            os.rmdir(folder)
        os.rename(temporary, folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _write_texts(folder: str, pairs: ScenePairs) -> None:
    names = np.array(colour_names())[pairs.text.object_color_index]
    image, text = pairs.image._asdict(), {**pairs.text._asdict(), "object_color_name": names}
    _write_columns(os.path.join(folder, "latents_image.csv"), IMAGE_COLUMNS, image)
    _write_columns(os.path.join(folder, "latents_text.csv"), TEXT_COLUMNS, text)
    os.mkdir(os.path.join(folder, "text"))
    path = os.path.join(folder, "text", "text_raw.txt")
    with open(path, "w", encoding="utf-8", newline="") as file:
        file.write("\n".join(caption(pairs.text)))


def _write_columns(path: str, names: tuple[str, ...], columns: dict[str, np.ndarray]) -> None:
    """A CSV with a header; floats with the fewest digits that give the same float32 again."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        writer.writerows(zip(*(map(str, columns[name]) for name in names), strict=True))


def _write_images(
    folder: str,
    n: int,
    batches: Iterable[np.ndarray],
    workers: int,
    progress: Callable[[int], None],
) -> None:
    os.mkdir(folder)
    count = 0
    shape: tuple[int, ...] = ()

    def save(row: int, image: np.ndarray) -> None:
        Image.fromarray(image).save(os.path.join(folder, image_name(row, n)))

    with ThreadPoolExecutor(workers) as pool:
        for batch in map(np.asarray, batches):
            shape = shape or batch.shape[1:]
            square = batch.ndim == 4 and batch.shape[1] == batch.shape[2] and batch.shape[3] == 3
            if not square or batch.shape[1:] != shape or batch.dtype != np.uint8:
                raise InvalidInput(
                    f"images: {batch.shape} {batch.dtype}; use [batch, r, r, 3] uint8, one r"
                )
            if count + len(batch) <= n:
                list(pool.map(save, range(count, count + len(batch)), batch))
            count += len(batch)
            progress(count)
    if count != n:
        raise InvalidInput(f"images: {count} for {n} rows of factors; use one a row")

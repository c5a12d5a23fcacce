"""Image files as one uint8 array: decoded by threads, cached on disk where a folder is named."""

import hashlib
import os
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image

from mmjax.data.files.pictures import GREY, as_rgb, is_transparent, read_picture
from mmjax.errors import InvalidInput, require


def load_images(
    paths: Sequence[str],
    *,
    resolution: int | None = None,
    on_corrupt: str = "refuse",
    workers: int = 8,
    cache: str = "",
) -> tuple[np.ndarray, np.ndarray]:
    """Square colour images, upright, in order.

    Args:
      paths: one or more files.
      resolution: images are resized to it by area; default as stored, then all of one size.
      on_corrupt: refuse a file that can't be decoded, or skip it.
      workers: threads.
      cache: a folder where the array is kept under a name made from the files' names, sizes and
        times, and found again (read-only, memory-mapped); empty: none. Not kept if one is skipped.

    Returns:
      images `[kept, r, r, 3]` uint8, and which of the paths were kept, `[n]` bool.

    Raises InvalidInput for a corrupt image unless skipped, one that is grey or has transparent
    pixels, not square or not of the others' size, and where none is left.
    """
    require(on_corrupt in ("refuse", "skip"), "on_corrupt", on_corrupt, "refuse or skip")
    require(workers >= 1, "workers", workers, "a whole number >= 1")
    require(resolution is None or resolution >= 1, "resolution", resolution, "a number >= 1")
    file = os.path.join(cache, _fingerprint(paths, resolution) + ".npy") if cache else ""
    whole = np.ones(len(paths), bool)
    if file and (result := _cached(file, len(paths))) is not None:
        return result, whole
    images, kept = _decoded(paths, resolution, on_corrupt, workers)
    if file and kept.all():
        _keep(file, images)
    return images, kept


def _decoded(paths, resolution, on_corrupt, workers) -> tuple[np.ndarray, np.ndarray]:
    images, kept, count = None, np.zeros(len(paths), bool), 0
    pool = ThreadPoolExecutor(workers)
    try:
        decoded = pool.map(lambda path: _decode(path, resolution), paths)
        for k, (path, image) in enumerate(zip(paths, decoded, strict=True)):
            if isinstance(image, str):
                if on_corrupt == "refuse":
                    raise InvalidInput(f"{path}: corrupt image ({image})")
                continue
            if images is None:
                first, images = path, np.empty((len(paths), *image.shape), np.uint8)
            if image.shape != images.shape[1:]:
                raise InvalidInput(
                    f"{path}: {len(image)} x {len(image)} pixels, where {os.path.basename(first)} "
                    f"has {images.shape[1]} x {images.shape[1]}; pass a resolution"
                )
            images[count] = image
            kept[k] = True
            count += 1
    finally:
        pool.shutdown(cancel_futures=True)
    if images is None:
        raise InvalidInput(f"{os.path.dirname(paths[0])}: no image can be read")
    return images[:count], kept


def _decode(path: str, resolution: int | None) -> np.ndarray | str:
    """`[r, r, 3]` uint8, or what is wrong with the file."""
    seen = read_picture(path, lambda image: (image.mode, is_transparent(image), as_rgb(image)))
    if isinstance(seen, str):
        return seen
    mode, transparent, image = seen
    if mode in GREY or transparent:  # a hue can't be read off grey, nor off what is behind
        raise InvalidInput(f"{path}: pixels are {mode}; use RGB")
    if image.width != image.height:
        raise InvalidInput(f"{path}: {image.width} x {image.height} pixels; use square images")
    if resolution is not None and image.width != resolution:
        image = image.resize((resolution, resolution), Image.Resampling.BOX)
    return np.asarray(image)


def _fingerprint(paths: Sequence[str], resolution: int | None) -> str:
    digest = hashlib.sha256(f"upright {resolution}".encode())  # earlier caches forgot turns
    for path in paths:
        about = os.stat(path)
        digest.update(f"\n{os.path.basename(path)} {about.st_size} {about.st_mtime_ns}".encode())
    return digest.hexdigest()[:32]


def _cached(file: str, n: int) -> np.ndarray | None:
    """The array in a cache file, or None where there is none of n images."""
    try:
        images = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return images if images.dtype == np.uint8 and len(images) == n else None


def _keep(file: str, images: np.ndarray) -> None:
    """Writes the cache file under a temporary name, then renames it: never half-written."""
    os.makedirs(os.path.dirname(file), exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=os.path.dirname(file), suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as out:
            np.save(out, images)
        os.chmod(temporary, 0o644)
        os.replace(temporary, file)
    except BaseException:
        os.unlink(temporary)
        raise

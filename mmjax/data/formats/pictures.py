"""Encoded pictures as arrays of one size: in memory, or decoded when rows are asked for."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image

from mmjax.data.clip.images import ClipPixels, fit_image
from mmjax.data.files.pictures import as_rgb, decode_picture, jpeg_pixels, picture_sides
from mmjax.data.formats.table import Files, for_good
from mmjax.data.values import Lazy
from mmjax.errors import InvalidInput, given, require

Take = Callable[[Image.Image], np.ndarray]
_CHUNK = 256  # rows a thread decodes before it is asked for more


def picture_values(
    files: Files, *, size: int | None, stream: bool | None, limit: int
) -> np.ndarray | Lazy:
    """`[n, h, w, 3]` uint8, upright; zeros where a row has no picture.

    Args:
      files: of kind image.
      size: side of squares: the shorter side is resized to it, the middle cut out. None: as
        stored, where all are of one size.
      stream: whether rows are decoded when they are asked for; None: where all take more bytes
        than the limit.
      limit: in bytes.

    Raises InvalidInput that names the file that is no whole picture, then or when it is decoded,
    or two files of different sizes.
    """
    require(size is None or size >= 1, "image_size", size, "a whole number >= 1, or None")
    height, width = (size, size) if size else _common_sides(files)
    shape = (len(files.names), height, width, 3)
    if size:
        unscaled = 1.0, (0.0,) * 3, (1.0,) * 3
        fitted = ClipPixels(size, size, Image.Resampling.BICUBIC, False, *unscaled)
        take = lambda image: fit_image(image, fitted)
    else:
        take = lambda image: np.asarray(as_rgb(image))

    def decode(rows: np.ndarray) -> np.ndarray:
        out = np.zeros((len(rows), *shape[1:]), np.uint8)
        for into, row in zip(out, rows, strict=True):
            if files.names[row]:
                into[:] = _decoded(files, int(row), shape[1:], take)
        return out

    if (int(np.prod(shape)) > limit) if stream is None else stream:
        return Lazy(shape, np.dtype(np.uint8), decode, lambda row: for_good(files.names[row]))
    values = np.empty(shape, np.uint8)
    parts = [slice(start, start + _CHUNK) for start in range(0, len(values), _CHUNK)]

    def fill(part: slice) -> None:
        values[part] = decode(np.arange(len(values))[part])

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(fill, parts))
    return values


def _decoded(files: Files, row: int, shape: tuple[int, ...], take: Take) -> np.ndarray:
    content = files.read(row)
    pixels = jpeg_pixels(content)
    if pixels is not None and pixels.shape == shape:
        return pixels
    result = decode_picture(content, take)
    if isinstance(result, str):
        raise InvalidInput(f"{files.names[row]}: no whole picture ({result})")
    return result


def _common_sides(files: Files) -> tuple[int, int]:
    """(height, width) of all, by their headers."""
    first, sides = "", None
    for row, name in enumerate(files.names):
        if not name:
            continue
        result = picture_sides(files.read(row))
        if isinstance(result, str):
            raise InvalidInput(f"{name}: no whole picture ({result})")
        if sides is None:
            first, sides = name, result
        if result != sides:
            message = f"{name} has {result[0]} x {result[1]} pixels, {os.path.basename(first)} has "
            message += f"{sides[0]} x {sides[1]}"
            raise InvalidInput(f"{message}; name the image_size that all are brought to")
    width, height = given(sides, "pictures", "one or more")
    return height, width

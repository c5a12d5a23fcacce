"""Images as a CLIP wants them: resized, cropped, standardised as its folder says."""

import os
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from mmjax.data.clip.config import clip_kind, read_json
from mmjax.data.files.pictures import as_rgb, read_picture
from mmjax.errors import require

# Of the images that CLIP was trained on, in [0, 1] (Radford et al. 2021).
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
_LARGEST = 2**26  # pixels of a resized image: more come only of sides that are extremely unequal


class ClipPixels(NamedTuple):
    """How images are prepared.

    Attributes:
      shortest: side that the shortest one is resized to; None: both are resized to size.
      size: side of what is then cut out of the middle.
      filter: of Pillow's resizing.
      even: whether half pixels of the cut's place are rounded to even numbers, else down.
      scale: what uint8 values are multiplied by.
      mean, std: per channel, of the scaled values.
    """

    shortest: int | None
    size: int
    filter: Image.Resampling
    even: bool
    scale: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


def read_pixels(folder: str, size: int) -> ClipPixels:
    """Reads `preprocessor_config.json` or `processor_config.json`, or OpenCLIP's config.

    What they leave out is OpenAI's: the shortest side resized bicubically to the model's, the
    middle, the mean and deviation of its training images.

    Args:
      folder: of a CLIP.
      size: side of the model's images.

    Raises InvalidInput, naming file and field, for a broken file, values out of range, a way of
    resizing that is not built here, or images of another size than the model's.
    """
    return _READERS[clip_kind(folder)](folder, size)


_FILTERS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}  # Pillow's own numbers


def _huggingface(folder: str, size: int) -> ClipPixels:
    path = os.path.join(folder, "preprocessor_config.json")
    fields: Mapping[str, Any] = {}
    if os.path.isfile(path):
        fields = read_json(path)
    elif os.path.isfile(nested := os.path.join(folder, "processor_config.json")):
        path, fields = nested, read_json(nested).get("image_processor") or {}
        require(isinstance(fields, dict), f"{path}: image_processor", fields, "an object, {...}")
    get = lambda name, usual: usual if fields.get(name) is None else fields[name]
    flags = {}
    for name in ("do_resize", "do_center_crop", "do_rescale", "do_normalize"):
        flags[name] = get(name, True)
        require(type(flags[name]) is bool, f"{path}: {name}", flags[name], "true or false")
    require(flags["do_resize"], f"{path}: do_resize", False, "true")
    number = get("resample", 3)
    allowed = ", ".join(f"{k} ({name})" for k, name in _FILTERS.items())
    known = type(number) is int and number in _FILTERS
    require(known, f"{path}: resample", number, allowed)
    wanted = get("size", {"shortest_edge": size})
    wanted = {"shortest_edge": wanted} if type(wanted) is int else wanted
    shortest = wanted.get("shortest_edge") if isinstance(wanted, dict) else None
    exact = wanted == {"height": size, "width": size}
    good = type(shortest) is int and len(wanted) == 1 and shortest >= 1
    allowed = f'{{"shortest_edge": n}} or {{"height": {size}, "width": {size}}}, the model\'s'
    require(good or exact, f"{path}: size", wanted, allowed)
    cut = get("crop_size", size)
    if flags["do_center_crop"]:
        square = cut in (size, {"height": size, "width": size})
        require(square, f"{path}: crop_size", cut, f"{size}, the image_size of the model")
    else:
        require(exact, f"{path}: do_center_crop", False, "true, or a size of height and width")
    scale = get("rescale_factor", 1 / 255) if flags["do_rescale"] else 1.0
    _check_positive(f"{path}: rescale_factor", scale)
    mean, std = (0.0,) * 3, (1.0,) * 3
    if flags["do_normalize"]:
        mean = _three(f"{path}: image_mean", get("image_mean", CLIP_MEAN))
        std = _three(f"{path}: image_std", get("image_std", CLIP_STD), positive=True)
    filter = Image.Resampling(number)
    return ClipPixels(None if exact else shortest, size, filter, False, scale, mean, std)


def _openclip(folder: str, size: int) -> ClipPixels:
    path = os.path.join(folder, "open_clip_config.json")
    fields = read_json(path).get("preprocess_cfg") or {}
    require(isinstance(fields, dict), f"{path}: preprocess_cfg", fields, "an object, {...}")
    get = lambda name, usual: usual if fields.get(name) is None else fields[name]
    at = f"{path}: preprocess_cfg."
    filters = {"bicubic": 3, "bilinear": 2, "random": 3}  # random is of training alone
    name = get("interpolation", "bicubic")
    known = isinstance(name, str) and name in filters
    require(known, f"{at}interpolation", name, " or ".join(filters))
    mode = get("resize_mode", "shortest")
    require(mode in ("shortest", "squash"), f"{at}resize_mode", mode, "shortest or squash")
    result = get("size", size)
    require(result in (size, [size, size]), f"{at}size", result, f"{size}, the model's image_size")
    mean = _three(f"{at}mean", get("mean", CLIP_MEAN))
    std = _three(f"{at}std", get("std", CLIP_STD), positive=True)
    shortest = size if mode == "shortest" else None
    return ClipPixels(shortest, size, Image.Resampling(filters[name]), True, 1 / 255, mean, std)


_READERS = {"huggingface": _huggingface, "openclip": _openclip}


def _check_positive(name: str, value: Any) -> None:
    good = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e6
    require(good, name, value, "a number > 0")


def _three(name: str, value: Any, positive: bool = False) -> tuple[float, float, float]:
    """One number for all channels, or three."""
    values = list(value) if isinstance(value, list | tuple) else [value] * 3
    good = len(values) == 3 and all(
        isinstance(v, int | float) and not isinstance(v, bool) and abs(v) < 1e6 for v in values
    )
    good = good and (not positive or min(values) > 0)
    require(good, name, value, "three numbers > 0" if positive else "three numbers")
    red, green, blue = map(float, values)
    return red, green, blue


def fit_image(image: Image.Image, pixels: ClipPixels) -> np.ndarray:
    """A picture of any size and mode (see as_rgb) as `[size, size, 3]` uint8.

    Raises ValueError for a picture whose sides are so unequal that it can't be resized, and
    whatever as_rgb does.
    """
    image = as_rgb(image)
    sides = (pixels.size, pixels.size)
    if pixels.shortest is not None:
        least = min(image.size)
        width, height = (pixels.shortest * side // least for side in image.size)
        sides = (width, height)
    if sides[0] * sides[1] > _LARGEST:
        raise ValueError(f"sides of {image.width} and {image.height} pixels are too unequal")
    image = image if image.size == sides else image.resize(sides, pixels.filter)
    halves = [(side - pixels.size) / 2 for side in image.size]
    left, top = (round(half) if pixels.even else int(half // 1) for half in halves)
    # Beyond the image's edge, where it is smaller than the cut, Pillow gives black.
    return np.asarray(image.crop((left, top, left + pixels.size, top + pixels.size)))


def standardise_pixels(images: Any, pixels: ClipPixels) -> Any:
    """uint8 `[batch, size, size, 3]` as the float32 that the image encoder takes (jax or NumPy)."""
    mean, std = (np.asarray(values, np.float32) for values in (pixels.mean, pixels.std))
    return (images.astype(np.float32) * np.float32(pixels.scale) - mean) / std


def read_image(path: str, pixels: ClipPixels) -> np.ndarray | str:
    """A file as `[size, size, 3]` uint8, upright, or what is wrong with it."""
    return read_picture(path, lambda image: fit_image(image, pixels))


def image_batches(
    paths: Sequence[str], pixels: ClipPixels, *, batch_size: int, workers: int = 8
) -> Generator[list[np.ndarray | str], None, None]:
    """Files in order, batch_size at a time, as read_image gives them.

    Threads decode the next two batches while the caller works on one; close the iterator to stop
    them.
    """
    require(batch_size >= 1, "batch_size", batch_size, "a whole number >= 1")
    require(workers >= 1, "workers", workers, "a whole number >= 1")
    pool = ThreadPoolExecutor(workers)
    ahead: deque[list[Future[np.ndarray | str]]] = deque()
    submit = lambda start: [
        pool.submit(read_image, path, pixels) for path in paths[start : start + batch_size]
    ]
    try:
        for start in range(0, len(paths), batch_size):
            if not ahead:
                ahead.extend(submit(start + k * batch_size) for k in range(2))
            ahead.append(submit(start + 2 * batch_size))
            yield [future.result() for future in ahead.popleft()]
    finally:
        pool.shutdown(cancel_futures=True)

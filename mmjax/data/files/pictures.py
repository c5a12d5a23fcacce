"""Picture files of any kind, upright, as 8-bit RGB: the one way in for every reader of pictures."""

import importlib
import io
import os
import struct
import zlib
from collections.abc import Callable, Sequence
from functools import cache
from types import ModuleType
from typing import TypeVar

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from mmjax.data.files.tables import printable
from mmjax.errors import InvalidInput

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "PPM", "TIFF")
ENDINGS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm"),
)
# Whatever Pillow raises at a file that is no whole picture; truncated files are OSError.
CORRUPT = (
    OSError,
    EOFError,
    SyntaxError,
    ValueError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
T = TypeVar("T")
_NOTES = (b"Exif\0\0", b"ns.adobe.com/xap")
_ORIENTATION = 0x0112  # the EXIF tag of the turn
_WIDTH, _LENGTH = 256, 257  # of a TIFF, as its pixels are stored
_SHOWN = 5  # names told of files that are left out
DEEP = ("I;16", "I;16L", "I;16B", "I;16N", "I")  # modes of more than 8 bits; I is a PNG's 16 too
GREY = ("1", "L", "LA", "La", *DEEP)


def read_picture(path: str, take: Callable[[Image.Image], T]) -> T | str:
    """What `take` makes of a picture's file, or what is wrong with it: see decode_picture."""
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        return _fault(error)
    return decode_picture(content, take)


def decode_picture(content: bytes, take: Callable[[Image.Image], T]) -> T | str:
    """What `take` makes of an encoded picture, or what is wrong with it.

    The turn that a camera wrote beside the pixels (EXIF) is applied. Of an animation or of many
    pages it is the first one. Take may raise ValueError for a picture that it has no use for.
    """
    file = io.BytesIO(content)
    try:
        image = Image.open(file, formats=FORMATS)
        if image.format == "PNG":  # others have no checksums, and opening takes half of the time
            # And an end cut off behind the last pixel, which decoding alone overlooks.
            image.verify()
            file.seek(0)
            image = Image.open(file, formats=FORMATS)
        with image:
            image.load()
            return take(_upright(image))
    except UnidentifiedImageError:
        return f"none of {', '.join(FORMATS)}"
    except CORRUPT as error:
        return _fault(error)


def jpeg_pixels(content: bytes) -> np.ndarray | None:
    """A plain colour JPEG as `[height, width, 3]` uint8, upright; None of all else.

    What decode_picture and as_rgb give, in a fifth of the time: half of Pillow's is the opening of
    a small file. None where simplejpeg is missing, of other files, of JPEGs that are grey, CMYK,
    damaged, or hold notes (EXIF, XMP) that may name a turn.
    """
    library = _simplejpeg()
    noted = not content.startswith(b"\xff\xd8") or any(mark in content for mark in _NOTES)
    if library is None or noted:
        return None
    try:
        height, width, colours, _ = library.decode_jpeg_header(content)
        if colours != "YCbCr" or height * width > (Image.MAX_IMAGE_PIXELS or 0):
            return None
        return library.decode_jpeg(content, "RGB")
    except ValueError:  # decode_picture says what is wrong
        return None


@cache
def _simplejpeg() -> ModuleType | None:
    try:
        return importlib.import_module("simplejpeg")
    except ImportError:
        return None


def picture_sides(content: bytes) -> tuple[int, int] | str:
    """(width, height) of an encoded picture when upright, by its header alone, or its fault."""
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            try:
                turned = image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
            except CORRUPT:  # see _upright
                turned = False
            # Of a TIFF, Pillow says the upright size or the stored one, by its version.
            tags = getattr(image, "tag_v2", {})
            width, height = tags.get(_WIDTH, image.width), tags.get(_LENGTH, image.height)
            return (height, width) if turned else (width, height)
    except UnidentifiedImageError:
        return f"none of {', '.join(FORMATS)}"
    except CORRUPT as error:
        return _fault(error)


def _fault(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except CORRUPT:  # a damaged note beside pixels that are whole: nothing is known of a turn
        return image


def is_transparent(image: Image.Image) -> bool:
    """Whether any pixel of a picture lets through what is behind."""
    return _with_alpha(image).mode == "RGBA"


def as_rgb(image: Image.Image) -> Image.Image:
    """A picture of any mode as RGB.

    Transparent pixels become white, as in transformers 5 (OpenCLIP uncovers the colour below). Of
    16 bits the upper 8 are kept, as Pillow does for colour.

    Raises ValueError for pictures of floats, or of whole numbers beyond 16 bits: their white is not
    known.
    """
    image = _with_alpha(image)
    if image.mode != "RGBA":
        return image
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")


def _with_alpha(image: Image.Image) -> Image.Image:
    """RGB, or RGBA where a pixel is not opaque."""
    if image.mode == "F":
        raise ValueError("pixels are floating-point numbers; use 8 or 16 bits a channel")
    if image.mode in DEEP:
        image = _from_deep(np.asarray(image).astype(np.int64), image.info.get("transparency"))
    elif image.mode[-1] in "Aa" or "transparency" in image.info:
        image = image.convert("RGBA")
    if image.mode == "RGBA" and image.getchannel("A").getextrema() != (255, 255):
        return image
    return image.convert("RGB")


def _from_deep(values: np.ndarray, transparent: int | None) -> Image.Image:
    """`[height, width]` of 0 to 65535 as grey, by its upper 8 bits, which convert would clip."""
    if values.min() < 0 or values.max() > 65535:
        raise ValueError(f"pixels from {values.min()} to {values.max()}; use 0 to 65535")
    grey = (values >> 8).astype(np.uint8)
    if transparent is None:
        return Image.fromarray(grey)
    alpha = np.where(values == transparent, 0, 255).astype(np.uint8)
    return Image.fromarray(np.stack([grey, grey, grey, alpha], -1))


def find_pictures(root: str) -> tuple[list[str], list[str]]:
    """find_files of ENDINGS."""
    return find_files(root, ENDINGS)


def find_files(root: str, endings: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Files of these endings in a folder and the folders in it, and all that is left out there.

    Returns:
      (names, left out): paths within root, sorted, with slashes. Names are of regular files of
      the endings, in upper or lower case. Left out are all other files, those and folders that
      start with a dot, and links to folders; a folder that is left out ends in a slash.

    Raises InvalidInput for a folder that can't be searched.
    """
    names: list[str] = []
    others: list[str] = []

    def refuse(error: OSError) -> None:
        raise InvalidInput(f"{error.filename}: can't be searched ({error.strerror})") from error

    for folder, inside, files in os.walk(root, onerror=refuse):
        at = lambda name, folder=folder: os.path.join(folder, name)
        within = lambda name, at=at: os.path.relpath(at(name), root).replace(os.sep, "/")
        closed = [name for name in inside if name.startswith(".") or os.path.islink(at(name))]
        inside[:] = [name for name in inside if name not in closed]
        others += [within(name) + "/" for name in closed]
        for name in files:
            good = name.lower().endswith(endings) and not name.startswith(".")
            # A link to nothing is told when it is read; a pipe would wait for ever.
            good = good and (os.path.isfile(at(name)) or not os.path.exists(at(name)))
            (names if good else others).append(within(name))
    return sorted(names), sorted(others)


def pictures_by_stem(folder: str) -> tuple[dict[str, str], list[str]]:
    """Pictures that lie in a folder itself, by their name without its ending.

    Returns:
      (stem -> name of the file, names of all else there but folders).

    Raises InvalidInput where two pictures share a stem: which one is meant is not known.
    """
    results: dict[str, str] = {}
    others: list[str] = []
    for name in sorted(os.listdir(folder)):
        stem, ending = os.path.splitext(name)
        if ending.lower() not in ENDINGS or name.startswith("."):
            if not os.path.isdir(os.path.join(folder, name)):
                others.append(name)
        elif stem in results:
            raise InvalidInput(
                f"{folder}: {results[stem]} and {name} share a name; use one of them"
            )
        else:
            results[stem] = name
    return results, others


def left_out(where: str, names: Sequence[str], why: str) -> str:
    """`photos: 7 left out (no picture): a.txt, b.txt, ... and 2 more`, or empty of no names."""
    if not names:
        return ""
    shown = ", ".join(printable(name) for name in names[:_SHOWN])
    more = f", ... and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{where}: {len(names)} left out ({why}): {shown}{more}"

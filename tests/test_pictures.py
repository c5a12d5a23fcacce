"""Pictures of every kind through every reader: upright, 8 bits; what is left out is named."""

import io
import os

import numpy as np
import pytest
from PIL import Image, ImageOps

import mmjax as mm
from mmjax.data.clip.images import CLIP_MEAN, CLIP_STD, ClipPixels, read_image
from mmjax.data.clip.inputs import read_inputs
from mmjax.data.files.images import load_images
from mmjax.data.files.pictures import (
    ENDINGS,
    as_rgb,
    decode_picture,
    find_pictures,
    jpeg_pixels,
    left_out,
    picture_sides,
    pictures_by_stem,
)
from mmjax.data.sets.mm_imdb import read_poster
from mmjax.errors import InvalidInput

SIDE = 16
_HOW = ClipPixels(None, SIDE, Image.Resampling.NEAREST, False, 1 / 255, CLIP_MEAN, CLIP_STD)
READERS = {
    "clip": lambda path: read_image(path, _HOW),
    "poster": lambda path: read_poster(path, (SIDE, SIDE)),
    "scenes": lambda path: load_images([path])[0][0],
}
# Few colours, so that a palette holds them, and no symmetry, so that no turn goes unseen.
_LEVELS = np.arange(SIDE * SIDE).reshape(SIDE, SIDE) // 8 * 8
_ACROSS = np.broadcast_to(np.arange(SIDE) // 4 * 64, (SIDE, SIDE))
COLOUR = np.stack([_LEVELS, 255 - _LEVELS, _ACROSS], -1).astype(np.uint8)
GREY = np.repeat(_LEVELS[..., None], 3, -1).astype(np.uint8)


def _deep(values):
    return Image.fromarray(values.astype(np.uint16))


def _see_through(mode):
    """Colours of which the first row lets everything through."""
    alpha = np.full((SIDE, SIDE, 1), 255, np.uint8)
    alpha[0] = 0
    x = Image.fromarray(np.concatenate([COLOUR if mode == "RGBA" else GREY, alpha], -1))
    return x.convert(mode)


def _white_above(x):
    return np.concatenate([np.full_like(x[:1], 255), x[1:]])


def _palette(**info):
    image = Image.fromarray(COLOUR).quantize(64)
    image.info |= info
    return image


# name -> (picture, how it is saved, what it shows, whether it is in colour)
KINDS = {
    "png": (Image.fromarray(COLOUR), "png", COLOUR, True),
    "upper case": (Image.fromarray(COLOUR), "PNG", COLOUR, True),
    "bmp": (Image.fromarray(COLOUR), "bmp", COLOUR, True),
    "tif": (Image.fromarray(COLOUR), "tif", COLOUR, True),
    "tiff": (Image.fromarray(COLOUR), "tiff", COLOUR, True),
    "webp": (Image.fromarray(COLOUR), "webp", COLOUR, True),
    "ppm": (Image.fromarray(COLOUR), "ppm", COLOUR, True),
    "palette": (_palette(), "png", COLOUR, True),
    "gif": (_palette(), "gif", COLOUR, True),
    "opaque RGBA": (Image.fromarray(COLOUR).convert("RGBA"), "png", COLOUR, True),
    "CMYK": (Image.fromarray(COLOUR).convert("CMYK"), "tif", COLOUR, True),
    "grey": (Image.fromarray(GREY).convert("L"), "png", GREY, False),
    "opaque LA": (Image.fromarray(GREY).convert("LA"), "png", GREY, False),
    "16 bits": (_deep(_LEVELS * 257), "png", GREY, False),
    "16 bits, shifted": (_deep(_LEVELS * 256), "tif", GREY, False),
    "32 bits": (Image.fromarray((_LEVELS * 257).astype(np.int32)), "tif", GREY, False),
    "1 bit": (
        Image.fromarray(GREY).convert("L").point(lambda v: 255 * (v > 99), "1"),
        "png",
        (255 * (GREY > 99)).astype(np.uint8),
        False,
    ),
    "RGBA": (_see_through("RGBA"), "png", _white_above(COLOUR), False),
    "LA": (_see_through("LA"), "png", _white_above(GREY), False),
}


def _saved(folder, kind):
    image, ending, *_ = KINDS[kind]
    path = str(folder / f"picture.{ending}")
    image.save(path, **({"lossless": True} if ending == "webp" else {}))
    return path


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_through_every_reader(kind, reader, tmp_path):
    path, (*_, shown, colour) = _saved(tmp_path, kind), KINDS[kind]
    if reader == "scenes" and not colour:  # where a hue is asked for
        with pytest.raises(InvalidInput, match=r"picture.\w+: pixels are .*; use RGB"):
            READERS[reader](path)
        return
    np.testing.assert_array_equal(READERS[reader](path), shown)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("turn", range(2, 9))
def test_the_cameras_turn_is_applied(turn, ending, reader, tmp_path):
    exif = Image.Exif()
    exif[274] = turn
    path = str(tmp_path / f"a.{ending}")
    how = {"jpg": dict(quality=100, subsampling=0), "webp": dict(lossless=True)}.get(ending, {})
    Image.fromarray(COLOUR).save(path, exif=exif, **how)
    with Image.open(path) as image:
        upright = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    assert np.abs(upright.astype(int) - COLOUR).max() > 50
    np.testing.assert_array_equal(READERS[reader](path), upright)


@pytest.mark.parametrize("ending", ["jpg", "PNG", "webp", "TIF"])
@pytest.mark.parametrize("turn", [3, 6])
def test_the_sides_of_a_turned_picture_are_those_that_it_is_read_with(turn, ending, tmp_path):
    exif = Image.Exif()
    exif[274] = turn
    Image.fromarray(COLOUR[:, :10]).save(tmp_path / f"a.{ending}", exif=exif)
    assert picture_sides((tmp_path / f"a.{ending}").read_bytes()) == ((10, 16), (16, 10))[turn == 6]
    values = mm.read(tmp_path, split=(1, 0, 0)).columns["image"].values
    assert values.shape == ((1, 16, 10, 3), (1, 10, 16, 3))[turn == 6]


def test_a_transparent_colour_of_a_palette_and_of_16_bits_is_white(tmp_path):
    path = str(tmp_path / "a.png")
    image = _palette()
    first = image.getpixel((0, 0))
    image.save(path, transparency=first)
    white = np.asarray(image)[..., None] == first
    np.testing.assert_array_equal(READERS["clip"](path), np.where(white, 255, COLOUR))
    _deep(_LEVELS * 257).save(path, transparency=0)
    np.testing.assert_array_equal(READERS["clip"](path), np.where(GREY == 0, 255, GREY))


def _cut(content, share):
    return content[: int(share * len(content))]


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("kind", ["png", "bmp", "tif", "webp", "ppm", "gif"])
def test_a_cut_off_picture_is_told(kind, share, reader, tmp_path):
    path = _saved(tmp_path, kind)
    with open(path, "rb") as file:
        content = file.read()
    with open(path, "wb") as file:
        file.write(_cut(content, share))
    try:
        found = READERS[reader](path)
    except InvalidInput as error:
        found = str(error)
        assert path in found and "corrupt image" in found
    assert isinstance(found, str) and "\n" not in found and found


def test_pictures_without_a_known_white_are_told(tmp_path):
    path = str(tmp_path / "a.tif")
    for values in (np.zeros((4, 4), np.float32), np.full((4, 4), 70_000, np.int32)):
        Image.fromarray(values).save(path)
        assert "use" in READERS["clip"](path)


def test_a_folder_is_searched_and_all_that_is_left_out_is_named(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "sub")
    (tmp_path / "broken.png").symlink_to(tmp_path / "nowhere.png")  # told when it is read
    for name in ("a.JPG", "b.TiF", "sub/c.WebP", "sub/.d.png", "e.txt", "f.heic", ".hidden/g.png"):
        (tmp_path / name).write_bytes(b"")
    os.mkfifo(tmp_path / "pipe.png")
    names, others = find_pictures(str(tmp_path))
    assert names == ["a.JPG", "b.TiF", "broken.png", "sub/c.WebP"]
    assert others == [".hidden/", "e.txt", "f.heic", "link/", "pipe.png", "sub/.d.png"]
    inputs = read_inputs(str(tmp_path), "")
    assert inputs.names == names and list(inputs.others) == others
    told = left_out("photos", others, "no picture")
    assert told.startswith("photos: 6 left out (no picture): .hidden/, e.txt, ")
    assert told.endswith("pipe.png, ... and 1 more")
    assert left_out("photos", [], "no picture") == ""


def test_every_ending_is_one_that_is_read(tmp_path):
    for ending in ENDINGS:
        path = str(tmp_path / f"a{ending}")
        image = Image.fromarray(GREY if ending in (".pgm", ".pbm") else COLOUR)
        image.convert("1" if ending == ".pbm" else image.mode).save(path)
        assert isinstance(READERS["clip"](path), np.ndarray)


def test_two_pictures_of_one_row_are_refused(tmp_path):
    for name in ("00.png", "00.JPG", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(InvalidInput, match="00.JPG and 00.png share a name"):
        pictures_by_stem(str(tmp_path))
    (tmp_path / "00.JPG").unlink()
    assert pictures_by_stem(str(tmp_path)) == ({"00": "00.png"}, ["notes.txt"])


def _jpeg(size, mode="RGB", **more):
    pixels = np.random.default_rng(size[0]).integers(0, 256, (5, 7, 3), np.uint8)
    image = Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC).convert(mode)
    content = io.BytesIO()
    image.save(content, "JPEG", **more)
    return content.getvalue()


@pytest.mark.parametrize("quality", [30, 75, 100])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("progressive", [False, True])
def test_plain_jpegs_are_pillows_to_the_last_bit(quality, subsampling, progressive):
    pytest.importorskip("simplejpeg")
    for size in ((64, 64), (17, 40), (1, 3)):
        content = _jpeg(size, quality=quality, subsampling=subsampling, progressive=progressive)
        wanted = decode_picture(content, lambda image: np.asarray(as_rgb(image)))
        found = jpeg_pixels(content)
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, wanted)


def test_other_jpegs_are_left_to_pillow():
    pytest.importorskip("simplejpeg")
    turned = Image.Exif()
    turned[0x0112] = 6
    xmp = b'<x xmlns="http://ns.adobe.com/xap/1.0/" tiff:Orientation="6"/>'
    whole = _jpeg((40, 30))
    others = [_jpeg((4, 4), exif=turned), _jpeg((4, 4), xmp=xmp), _jpeg((4, 4), "L"), whole[:-30]]
    others += [_jpeg((4, 4), "CMYK"), whole[:100], b"", b"\x89PNG", b"\xff\xd8"]
    assert jpeg_pixels(whole) is not None
    assert [jpeg_pixels(content) for content in others] == [None] * len(others)

"""Multimodal3DIdent on disk: written and read back, and every fault told in one line."""

import csv
import glob
import os
import shutil
import signal
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from experiments import render_dataset
from mmjax.data.files.images import load_images
from mmjax.data.sets.captions import build_vocabulary, caption, encode
from mmjax.data.sets.export_3dident import write_split
from mmjax.data.sets.multimodal_3dident import image_name, load_split, remarks_on
from mmjax.errors import InvalidInput
from mmjax.generative.scenes import scene_model
from mmjax.run import Run, launch
from mmjax.train import Interrupted

N, SIZE = 12, 8


def fake_render(factors, resolution):
    """Colours that tell the factors apart."""
    n = len(factors.object_shape)
    levels = jnp.stack([factors.object_color, factors.spotlight_pos, factors.object_shape / 7], -1)
    tiles = jnp.arange(resolution)[:, None] * 3 + jnp.arange(resolution)
    image = levels[:, None, None] * 200 + tiles[:, :, None] % 50
    return jnp.broadcast_to(image, (n, resolution, resolution, 3)).astype(jnp.uint8)


@pytest.fixture(scope="module")
def pairs():
    sample = jax.jit(scene_model().sample, static_argnums=1)
    return jax.device_get(sample(jax.random.key(0), N))


@pytest.fixture(scope="module")
def images(pairs):
    return np.asarray(fake_render(pairs.image, SIZE))


@pytest.fixture(scope="module")
def written(pairs, images, tmp_path_factory):
    root = tmp_path_factory.mktemp("scenes")
    write_split(str(root / "train"), pairs, [images[:5], images[5:]])
    return root


@pytest.fixture
def root(written, tmp_path):
    return shutil.copytree(written, tmp_path / "copy")


load = lambda root, split="train", **options: load_split(str(root), split, workers=2, **options)


def test_what_is_written_is_read(written, pairs, images):
    split = load(written)
    np.testing.assert_array_equal(split.images, images)
    for found, given in zip(
        [*split.image_factors, *split.text_factors], [*pairs.image, *pairs.text], strict=True
    ):
        assert found.dtype == given.dtype
        np.testing.assert_array_equal(found, given)
    assert split.texts == caption(pairs.text)
    length = split.tokens.shape[1]
    assert split.vocabulary == build_vocabulary(split.texts)
    np.testing.assert_array_equal(split.tokens, encode(split.texts, split.vocabulary, length))
    assert (split.tokens[:, -1] == 1).any() and not (split.tokens[:, -1] > 1).any()
    assert split.rows.tolist() == list(range(N)) and split.skipped == ()


def test_files_are_those_of_the_data_set(written, pairs):
    folder = written / "train"
    assert sorted(os.listdir(folder)) == ["images", "latents_image.csv", "latents_text.csv", "text"]
    assert sorted(os.listdir(folder / "images")) == [f"{k:02d}.png" for k in range(N)]
    image = (folder / "latents_image.csv").read_bytes().decode()
    assert image.splitlines()[0] == (
        "object_shape,object_xpos,object_ypos,object_zpos,object_alpharot,object_betarot,"
        "object_gammarot,object_color,spotlight_pos,spotlight_color,background_color"
    )
    first = image.splitlines()[1].split(",")
    assert first[:4] == [*(str(column[0]) for column in pairs.image[:3]), "0.0"]
    text = (folder / "latents_text.csv").read_bytes().decode()
    assert text.splitlines()[0] == (
        "object_shape,object_xpos,object_ypos,object_zpos,object_color_name,object_color_index,"
        "text_phrasing"
    )
    assert "\r" not in image + text and image.endswith("\n") and len(image.splitlines()) == N + 1
    raw = (folder / "text" / "text_raw.txt").read_bytes().decode()
    assert raw == "\n".join(caption(pairs.text)) and not raw.endswith("\n")
    for name, line in zip(
        [r["object_color_name"] for r in csv.DictReader(text.splitlines())],
        raw.split("\n"),
        strict=True,
    ):
        assert f'"{name}"' in line
    with Image.open(folder / "images" / "03.png") as png:
        assert (png.mode, png.size, png.format) == ("RGB", (SIZE, SIZE), "PNG")


@pytest.mark.parametrize(
    "n, first, last",
    [
        (1, "0", "0"),
        (2, "0", "1"),
        (10, "0", "9"),
        (11, "00", "10"),
        (100, "00", "99"),
        (1000, "000", "999"),
        (2000, "0000", "1999"),
        (125_000, "000000", "124999"),
    ],
)
def test_names_are_padded_with_zeros(n, first, last):
    assert (image_name(0, n), image_name(n - 1, n)) == (f"{first}.png", f"{last}.png")
    digits = int(np.ceil(np.log10(n)))
    assert image_name(n // 2, n) == str(n // 2).zfill(digits) + ".png"


def test_a_split_is_whole_or_not_there(pairs, images, tmp_path):
    def stops():
        yield images[:5]
        raise KeyboardInterrupt

    for batches in (stops(), [images[:5]], [images, images[:1]], [images[:5], images[5:, :4]]):
        with pytest.raises((KeyboardInterrupt, InvalidInput)):
            write_split(str(tmp_path / "train"), pairs, batches)
        assert os.listdir(tmp_path) == []
    (tmp_path / "train").mkdir()
    write_split(str(tmp_path / "train"), pairs, [images])
    assert os.listdir(tmp_path) == ["train"]
    with pytest.raises(InvalidInput, match="train: already there and not empty"):
        write_split(str(tmp_path / "train"), pairs, [images])


def test_hosts_share_the_rows(written, images):
    whole = load(written)
    parts = [load(written, host_index=k, host_count=5) for k in range(5)]
    assert sorted(np.concatenate([part.rows for part in parts]).tolist()) == list(range(N))
    for part in parts:
        np.testing.assert_array_equal(part.images, images[part.rows])
        np.testing.assert_array_equal(part.tokens, whole.tokens[part.rows])
        assert part.vocabulary == whole.vocabulary
        assert part.texts == [whole.texts[row] for row in part.rows]
        for own, all_rows in zip(part.image_factors, whole.image_factors, strict=True):
            np.testing.assert_array_equal(own, all_rows[part.rows])


def test_images_are_resized_by_area(written, images):
    small = load(written, resolution=SIZE // 2).images
    means = images.reshape(N, SIZE // 2, 2, SIZE // 2, 2, 3).mean((2, 4))
    assert small.shape == (N, SIZE // 2, SIZE // 2, 3) and small.dtype == np.uint8
    np.testing.assert_allclose(small, means, atol=1)  # rounded twice


def test_root_without_splits_and_given_vocabulary(written):
    vocabulary = build_vocabulary(["A hare"])
    split = load(written / "train", "", vocabulary=vocabulary, length=30)
    assert split.vocabulary is vocabulary and split.tokens.shape == (N, 30)
    assert set(np.unique(split.tokens)) <= {0, 1, 2, 3, 4}


def test_cache_is_found_again_and_forgets_changed_files(root, tmp_path, images, monkeypatch):
    cache = str(tmp_path / "cache")
    read = partial(load, root, cache=cache)
    np.testing.assert_array_equal(read().images, images)
    assert len(os.listdir(cache)) == 1 and not os.listdir(cache)[0].endswith(".tmp")
    with monkeypatch.context() as patch:
        patch.setattr(Image, "open", None)
        np.testing.assert_array_equal(read().images, images)
        with pytest.raises(TypeError):
            read(resolution=4)
    Image.fromarray(255 - images[3]).save(root / "train" / "images" / "03.png")
    np.testing.assert_array_equal(read().images[3], 255 - images[3])
    count = len(os.listdir(cache))
    os.utime(root / "train" / "images" / "03.png", ns=(1, 1))
    read()
    assert len(os.listdir(cache)) == count + 1
    torn = os.path.join(cache, os.listdir(cache)[0])
    for name in os.listdir(cache):
        os.truncate(os.path.join(cache, name), 150)
    np.testing.assert_array_equal(read().images[4], images[4])
    assert os.path.exists(torn)
    for inside in (root, root / "train" / "cache"):
        with pytest.raises(InvalidInput, match="^cache: .* use a folder outside"):
            load(root, cache=str(inside))


def _edit(name, change):
    def edit(folder):
        path = folder / name
        path.write_text(change(path.read_text()))

    return edit


def _cell(name, row, column, value):
    def change(text):
        lines = [line.split(",") for line in text.splitlines()]
        lines[row][lines[0].index(column)] = value
        return "\n".join(map(",".join, lines)) + "\n"

    return _edit(name, change)


def _truncate(folder, name="03.png"):
    path = folder / "images" / name
    path.write_bytes(path.read_bytes()[:60])


def _flip(folder):
    path = folder / "images" / "03.png"
    data = bytearray(path.read_bytes())
    data[50] ^= 255
    path.write_bytes(bytes(data))


def _save(mode, size=(SIZE, SIZE)):
    return lambda folder: Image.new(mode, size).save(folder / "images" / "03.png")


IMAGE, TEXT, RAW = "latents_image.csv", "latents_text.csv", "text/text_raw.txt"
FAULTS = {
    "no split": (shutil.rmtree, "train' is not allowed; use the path of an existing folder"),
    "no images": (lambda f: shutil.rmtree(f / "images"), "images: not there; a split holds"),
    "no image csv": (lambda f: (f / IMAGE).unlink(), "latents_image.csv: not there; a split holds"),
    "no text csv": (lambda f: (f / TEXT).unlink(), "latents_text.csv: not there; a split holds"),
    "no text": (lambda f: (f / RAW).unlink(), "text_raw.txt: not there; a split holds"),
    "empty csv": (_edit(IMAGE, lambda t: ""), "latents_image.csv: no column object_shape, "),
    "header alone": (_edit(IMAGE, lambda t: t.splitlines()[0]), "no rows below the header"),
    "renamed": (
        _edit(IMAGE, lambda t: t.replace("spotlight_pos", "pos")),
        "latents_image.csv: no column spotlight_pos; it has object_shape,",
    ),
    "twice": (
        _edit(TEXT, lambda t: t.replace("object_zpos", "object_xpos,object_zpos", 1)),
        "latents_text.csv: a column stands twice",
    ),
    "ragged": (
        _edit(TEXT, lambda t: t.replace("\n", ",1\n").replace(",1\n", "\n", 1)),
        "latents_text.csv: line 2 has 8 values; use 7",
    ),
    "shape 9": (
        _cell(IMAGE, 4, "object_shape", "9"),
        "latents_image.csv: line 5: object_shape is '9'; use a whole number from 0 to 6",
    ),
    "half": (_cell(IMAGE, 4, "object_ypos", "0.5"), "line 5: object_ypos is '0.5'; use a whole"),
    "xpos 3": (_cell(TEXT, 1, "object_xpos", "3"), "text.csv: line 2: object_xpos is '3'; use a"),
    "nan": (_cell(IMAGE, N, "object_color", "nan"), "line 13: object_color is 'nan'; use a number"),
    "hue 2": (_cell(IMAGE, 2, "object_color", "2"), "line 3: object_color is '2'; use a number in"),
    "word": (_cell(IMAGE, 2, "spotlight_pos", "up"), "line 3: spotlight_pos is 'up'; use a number"),
    "nothing": (_cell(IMAGE, 2, "spotlight_pos", ""), "line 3: spotlight_pos is ''; use a number"),
    "zpos": (_cell(IMAGE, 1, "object_zpos", "0.1"), "line 2: object_zpos is '0.1'; use 0"),
    "phrasing": (_cell(TEXT, 1, "text_phrasing", "5"), "text_phrasing is '5'; use a whole number"),
    "index": (_cell(TEXT, 1, "object_color_index", "1107"), "use a whole number from 0 to 1106"),
    "name": (_cell(TEXT, 3, "object_color_name", "mud"), "line 4: object_color_name is 'mud'; use"),
    "not a copy": (
        lambda f: [_cell(IMAGE, 3, "object_shape", "0")(f), _cell(TEXT, 3, "object_shape", "1")(f)],
        "text.csv: line 4: object_shape is '1', where latents_image.csv has 0; use the same",
    ),
    "text rows": (
        _edit(TEXT, lambda t: t[: t.rstrip().rindex("\n") + 1]),
        "latents_text.csv: 11 rows, where latents_image.csv has 12",
    ),
    "text lines": (
        _edit(RAW, lambda t: t + "\nA cow."),
        "text_raw.txt: 13 lines, where latents_image.csv has 12 rows",
    ),
    "empty line": (
        _edit(RAW, lambda t: "\n" + t.split("\n", 1)[1]),
        "text_raw.txt: line 1 is empty",
    ),
    "not utf-8": (
        lambda f: (f / RAW).write_bytes(b"\xff\xfe\n" * N),
        "text_raw.txt: no UTF-8 text",
    ),
    "gap": (
        lambda f: [(f / "images" / f"{k:02d}.png").unlink() for k in (7, 9)],
        "images: 2 of 12 images missing, first 07.png",
    ),
    "one too many": (
        lambda f: shutil.copy(f / "images" / "03.png", f / "images" / "12.png"),
        "images: 1 images too many for the 12 rows of latents_image.csv, first 12.png",
    ),
    "padding": (
        lambda f: (f / "images" / "03.png").rename(f / "images" / "003.png"),
        "1 of 12 images missing, first 03.png; it holds 003.png, which is no name for 12 images",
    ),
    "truncated": (_truncate, "03.png: corrupt image ("),
    "flipped": (_flip, "03.png: corrupt image ("),
    "no image": (lambda f: (f / "images" / "03.png").write_text("x"), "03.png: corrupt image ("),
    "empty image": (lambda f: (f / "images" / "03.png").write_text(""), "03.png: corrupt image ("),
    "grey": (_save("L"), "03.png: pixels are L; use RGB"),
    "transparent": (_save("RGBA"), "03.png: pixels are RGBA; use RGB"),
    "oblong": (_save("RGB", (8, 4)), "03.png: 8 x 4 pixels; use square images"),
    "larger": (_save("RGB", (9, 9)), "03.png: 9 x 9 pixels, where 00.png has 8 x 8; pass a res"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_told_in_one_line(fault, root):
    spoil, expected = FAULTS[fault]
    spoil(root / "train")
    with pytest.raises(InvalidInput) as told:
        load(root)
    message = str(told.value)
    assert expected in message and "\n" not in message
    assert str(root / "train") in message


@pytest.mark.parametrize(
    "options, expected",
    [
        (dict(split="dev"), "split: 'dev' is not allowed; use train, val, test"),
        (dict(host_index=2, host_count=2), "host_index: 2 is not allowed; use a whole number from"),
        (dict(host_count=0), "host_count: 0 is not allowed"),
        (dict(host_count=13, host_index=12), "host_count: 13 is not allowed; use at most 12"),
        (dict(on_corrupt="ignore"), "on_corrupt: 'ignore' is not allowed; use refuse or skip"),
        (dict(resolution=0), "resolution: 0 is not allowed"),
        (dict(length=5), "length: 5 is not allowed; use "),
    ],
)
def test_a_bad_option_is_told_in_one_line(options, expected, written):
    with pytest.raises(InvalidInput) as told:
        load(written, **options)
    assert str(told.value).startswith(expected)


def test_corrupt_images_are_skipped_with_their_rows(root, images, tmp_path):
    for name in ("00.png", "05.png"):
        _truncate(root / "train", name)
    split = load(root, on_corrupt="skip", cache=str(tmp_path / "cache"))
    kept = [k for k in range(N) if k not in (0, 5)]
    assert [os.path.basename(path) for path in split.skipped] == ["00.png", "05.png"]
    told = "train: 2 left out (images that can't be read): 00.png, 05.png"
    assert remarks_on(split, "train") == [told]
    assert split.rows.tolist() == kept and len(split.texts) == len(split.tokens) == N - 2
    np.testing.assert_array_equal(split.images, images[kept])
    assert not (tmp_path / "cache").exists()
    np.testing.assert_array_equal(split.image_factors.object_color, load_colours(root)[kept])
    for name in os.listdir(root / "train" / "images"):
        _truncate(root / "train", name)
    with pytest.raises(InvalidInput, match="images: no image can be read"):
        load(root, on_corrupt="skip")


def test_a_last_newline_is_no_further_caption(root):
    path = root / "train" / RAW
    path.write_text(path.read_text() + "\n")
    assert len(load(root).texts) == N


def load_colours(root):
    with open(root / "train" / IMAGE) as file:
        return np.array([r["object_color"] for r in csv.DictReader(file)]).astype(np.float32)


def test_an_opaque_alpha_channel_is_dropped(tmp_path, images):
    path = str(tmp_path / "0.png")
    Image.fromarray(images[0]).convert("RGBA").save(path)
    np.testing.assert_array_equal(load_images([path])[0][0], images[0])


def _run(workdir, *flags, render=fake_render):
    return launch(
        partial(render_dataset.main, render=render),
        render_dataset.Config,
        render_dataset.PRESETS,
        experiment=render_dataset.EXPERIMENT,
        doc=render_dataset.__doc__,
        argv=[
            "x",
            f"--workdir={workdir}",
            "--resolution=4",
            "--train=7",
            "--val=3",
            "--test=0",
            *flags,
        ],
    )


def test_rendered_rows_do_not_depend_on_batches_or_size(tmp_path):
    assert _run(tmp_path / "a", "--batch_size=4") == 0
    assert (
        _run(tmp_path / "b", "--batch_size=16", "--train=12", "--position_dependent_color=false")
        == 0
    )
    a, b = load(tmp_path / "a"), load(tmp_path / "b")
    assert (a.images.shape, b.images.shape) == ((7, 4, 4, 3), (12, 4, 4, 3))
    np.testing.assert_array_equal(a.images, b.images[:7])
    np.testing.assert_array_equal(a.images, fake_render(a.image_factors, 4))
    assert a.texts == b.texts[:7]
    val = load(tmp_path / "a", "val")
    assert (
        len(val.rows) == 3
        and not np.isin(val.image_factors.object_color, a.image_factors.object_color).any()
    )
    assert not (tmp_path / "a" / "test").exists()
    assert len(set(a.image_factors.object_color.tolist())) == 7


def test_export_goes_on_where_it_stopped(tmp_path, capsys):
    def breaks(factors, resolution):
        raise MemoryError("no memory left")

    assert _run(tmp_path, "--val=0") == 0
    before = (tmp_path / "train").stat().st_mtime_ns
    shutil.rmtree(tmp_path / "train")
    assert _run(tmp_path, "--val=0", render=breaks) == 1
    assert "no memory left" in capsys.readouterr().err
    assert set(os.listdir(tmp_path)) - set(glob.glob("traceback-*", root_dir=tmp_path)) == {
        "config.json",
        ".lock",
        "report.html",
    }
    assert _run(tmp_path, "--val=0") == 0
    after = (tmp_path / "train").stat().st_mtime_ns
    assert before < after
    assert _run(tmp_path, "--val=0", render=breaks) == 0
    assert (tmp_path / "train").stat().st_mtime_ns == after
    assert _run(tmp_path, "--val=0", "--seed=1") == 2
    assert "seed 0 there, 1 here" in capsys.readouterr().err


def test_a_split_that_lost_an_image_is_told(tmp_path, capsys):
    assert _run(tmp_path) == 0 and _run(tmp_path) == 0
    (tmp_path / "val" / "images" / sorted(os.listdir(tmp_path / "val" / "images"))[1]).unlink()
    assert _run(tmp_path) == 2
    assert "val: 2 of 3 images are there; move it away" in capsys.readouterr().err


def test_a_signal_stops_the_export_and_leaves_no_half_of_it(tmp_path):
    calls = iter([None, signal.SIGTERM])
    run = Run("render_dataset", str(tmp_path), lambda: next(calls))
    config = render_dataset.Config(train=7, val=0, test=0, resolution=4, batch_size=2)
    with pytest.raises(Interrupted) as stopped:
        render_dataset.main(config, run, render=fake_render)
    assert stopped.value.exit_code == 143
    assert sorted(os.listdir(tmp_path)) == [".lock", "config.json"]


@pytest.mark.parametrize("flag", ["--train=-1", "--resolution=0", "--batch_size=0", "--workers=0"])
def test_bad_flags_are_told_in_one_line(flag, tmp_path, capsys):
    assert _run(tmp_path, flag) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and flag.strip("-").split("=")[0] in told
    assert os.listdir(tmp_path) == []


def test_a_size_that_the_renderer_lacks_leaves_nothing_behind(tmp_path):
    run = Run("render_dataset", str(tmp_path), lambda: None)
    config = render_dataset.Config(train=7, val=0, test=0, resolution=5)
    with pytest.raises(InvalidInput, match="resolution: 5 .*from 32 to 224"):
        render_dataset.main(config, run)
    assert os.listdir(tmp_path) == []


def test_a_data_set_of_someone_else_is_left_alone(written, tmp_path, capsys):
    shutil.copytree(written, tmp_path, dirs_exist_ok=True)
    assert _run(tmp_path) == 2
    assert "train: already there and not empty" in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["train"]


def test_files_of_other_systems_hold_the_same(root, images):
    folder = root / "train"
    expected = load(root)
    for name, encoding in ((IMAGE, "utf-16"), (TEXT, "utf-8-sig"), (RAW, "utf-32")):
        text = (folder / name).read_text(encoding="utf-8")
        changed = text.replace("\n", "\r\n") + "\r\n\r\n"
        changed = changed.replace(",", "\t") if name == IMAGE else changed
        (folder / name).write_bytes(changed.encode(encoding))
    (folder / "images" / "03.png").rename(folder / "images" / "03.PNG")
    (folder / "images" / "04.png").unlink()
    Image.fromarray(images[4]).save(folder / "images" / "04.TIF")
    exif = Image.Exif()
    exif[274] = 3  # lies on its head
    Image.fromarray(images[5][::-1, ::-1]).save(folder / "images" / "05.png", exif=exif)
    for name in ("Thumbs.db", ".hidden.png"):
        (folder / "images" / name).write_bytes(b"")
    found = load(root)
    np.testing.assert_array_equal(found.images, images)
    np.testing.assert_array_equal(found.tokens, expected.tokens)
    assert found.texts == expected.texts
    for side in ("image_factors", "text_factors"):
        for one, other in zip(getattr(found, side), getattr(expected, side), strict=True):
            np.testing.assert_array_equal(one, other)
    told = remarks_on(found, "train")
    assert told == ["train: 2 left out (no pictures): .hidden.png, Thumbs.db"]

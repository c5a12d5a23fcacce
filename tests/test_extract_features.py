"""Features from files: what they are, the same after any interruption, bad input in one line."""

import errno
import os
import shutil
import signal

import jax
import numpy as np
import pytest
from PIL import Image

from experiments import extract_features
from mmjax.data import fit_image, read_clip, read_features, read_pixels, read_tokenizer
from mmjax.data.clip.images import standardise_pixels
from mmjax.encoders import clip_encoders
from mmjax.run import files, launch
from mmjax.tables import clip_features
from tests.clip_folders import GOLDEN, copy_golden, write_openclip

CAPTIONS = [f"a photo of {k} cats" for k in range(11)]


def _run(*argv) -> int:
    module = extract_features
    return launch(
        module.main,
        module.Config,
        module.PRESETS,
        experiment=module.EXPERIMENT,
        doc=module.__doc__,
        argv=["extract_features", f"--model={GOLDEN}", "--batch_size=2", "--save_every=2", *argv],
    )


_make, _made = extract_features.make_encoders, {}


@pytest.fixture(autouse=True, scope="module")
def _compiled_once():
    """Runs of one model and batch size share their compilation."""

    def make(config, inputs):
        sides = inputs.paths is None, inputs.texts is None
        key = config.model, config.batch_size, config.normalise, *sides
        if key not in _made:
            _made[key] = _make(config, inputs)
        return _made[key]

    extract_features.make_encoders = make
    yield
    extract_features.make_encoders = _make


def _arrays(path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """11 images in two folders, in several formats, beside what is no image."""
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for k in range(11):
        folder = root / ("cats" if k % 2 else "a dog")
        folder.mkdir(exist_ok=True)
        noise = rng.integers(0, 256, (4, 5, 3), np.uint8)
        image = Image.fromarray(noise).resize((13 + k, 30 - k), Image.Resampling.BICUBIC)
        ending = ("png", "JPG", "webp", "bmp")[k % 4]
        image.save(folder / f"{k:02d}.{ending}")
    (root / "cats" / "notes.txt").write_text("no image")
    (root / ".hidden").mkdir()
    (root / ".hidden" / "x.png").write_bytes(b"")
    (root / "cats" / "._01.JPG").write_bytes(b"")
    return root


@pytest.fixture(scope="module")
def names(photos):
    return sorted(str(p.relative_to(photos)) for p in photos.glob("[!.]*/[0-9]*"))


@pytest.fixture(scope="module")
def pairs(photos, names):
    path = photos / "pairs.tsv"
    path.write_text("".join(f"{n}\t{c}\n" for n, c in zip(names, CAPTIONS, strict=True)))
    return path


@pytest.fixture(scope="module")
def expected(photos, names):
    """Features of all images and captions in one batch, without the experiment."""
    model = read_clip(str(GOLDEN))
    clip, how = clip_encoders(model.config), read_pixels(str(GOLDEN), 12)
    images = np.stack([fit_image(Image.open(photos / name), how) for name in names])
    tokens = read_tokenizer(str(GOLDEN)).encode(CAPTIONS, 16)
    pixels = standardise_pixels(images, how)
    image = jax.jit(clip.image.apply)(model.params["image"], {}, pixels)
    text = jax.jit(clip.text.apply)(model.params["text"], {}, tokens)
    return np.asarray(image), np.asarray(text)


@pytest.fixture(scope="module")
def whole(pairs, tmp_path_factory):
    """The file of an uninterrupted run over pairs."""
    workdir = tmp_path_factory.mktemp("whole")
    assert _run(f"--images={pairs}", f"--workdir={workdir}") == 0
    return workdir / "features.npz"


def test_a_folder_of_images(photos, names, expected, tmp_path, capsys):
    output = tmp_path / "cats.npz"
    run = [f"--images={photos}", f"--workdir={tmp_path / 'run'}", f"--output={output}"]
    assert _run(*run) == 0
    out, err = capsys.readouterr()
    assert str(output) in out and "11/11 rows" in err
    found = read_features(str(output))
    np.testing.assert_allclose(found.sides()["x"], expected[0], atol=1e-5)
    assert found.sides()["x"].dtype == np.float32
    assert found.names.tolist() == names
    assert found.rows.labels["label"].tolist() == [name.split("/")[0] for name in names]
    made = sorted(p.name for p in (tmp_path / "run").iterdir())
    assert made == [
        ".lock",
        "config.json",
        "notes.json",
        "report.html",
        "summary.md",
        "written.json",
    ]


def test_batches_may_have_any_size(pairs, whole, tmp_path):
    """All rows at once, filled up, over eight devices."""
    assert _run(f"--images={pairs}", f"--workdir={tmp_path}", "--batch_size=16") == 0
    found = _arrays(tmp_path / "features.npz")
    for name, array in _arrays(whole).items():
        if array.dtype.kind == "f":
            np.testing.assert_allclose(found[name], array, atol=1e-5)
        else:
            np.testing.assert_array_equal(found[name], array)


def test_pairs_of_either_list(photos, pairs, names, expected, whole, tmp_path):
    for values, other, side in (("image_features", "names", 0), ("text_features", "texts", 1)):
        found = read_features(str(whole), values=values, names=other)
        np.testing.assert_allclose(found.sides()["x"], expected[side], atol=1e-5)
        assert found.names.tolist() == (names, CAPTIONS)[side]
    table = photos / "pairs.csv"
    rows = "".join(f'{k},"{c}",{n}\n' for k, (n, c) in enumerate(zip(names, CAPTIONS, strict=True)))
    table.write_text("row,text,image\n" + rows)
    assert _run(f"--images={table}", f"--workdir={tmp_path}") == 0
    assert (tmp_path / "features.npz").read_bytes() == whole.read_bytes()


def test_lists_of_other_systems_give_the_same_file(photos, names, whole, tmp_path):
    lines = [f"{n}\t{c}" for n, c in zip(names, CAPTIONS, strict=True)]
    text = "\r\n".join(["filepath\ttitle", *lines[:3], "", *lines[3:], "", ""])
    (photos / "theirs.csv").write_bytes(text.encode("utf-16"))
    assert _run(f"--images={photos / 'theirs.csv'}", f"--workdir={tmp_path}") == 0
    assert (tmp_path / "features.npz").read_bytes() == whole.read_bytes()


def test_what_a_folder_holds_beside_pictures_is_named(photos, tmp_path, capsys):
    folder = tmp_path / "photos"
    shutil.copytree(photos, folder)
    for path in folder.glob("*.?sv"):  # lists of other tests
        path.unlink()
    (folder / "list.txt").unlink(missing_ok=True)
    (folder / "a|b$.txt").write_text("x")
    run = tmp_path / "run"
    assert _run(f"--images={folder}", f"--workdir={run}") == 0
    assert f"{folder}: 4 left out (no picture by its ending, hidden" in capsys.readouterr().err
    told = (run / "summary.md").read_text()
    named = [".hidden/", "a|b$.txt", "cats/._01.JPG", "cats/notes.txt"]
    listed = "\n".join(f"- `{name}`" for name in named)
    assert f"4 other files and folders left out:\n\n{listed}\n" in told


def test_a_list_without_captions(photos, names, expected, tmp_path):
    path = photos / "list.txt"
    path.write_text("\n".join(names[::-1]))
    assert _run(f"--images={path}", f"--workdir={tmp_path}") == 0
    found = read_features(str(tmp_path / "features.npz"))
    np.testing.assert_allclose(found.sides()["x"], expected[0][::-1], atol=1e-5)
    assert not found.rows.labels and found.names.tolist() == names[::-1]


def test_texts_normalised(expected, tmp_path):
    path, output = tmp_path / "texts.txt", tmp_path / "run" / "texts.npz"
    path.write_text("\n".join(CAPTIONS))
    argv = [f"--texts={path}", f"--workdir={tmp_path / 'run'}", f"--output={output}"]
    assert _run(*argv, "--normalise") == 0
    found = read_features(str(output))
    scaled = expected[1] / np.linalg.norm(expected[1], axis=1, keepdims=True)
    np.testing.assert_allclose(found.sides()["x"], scaled, atol=1e-5)
    assert found.names.tolist() == CAPTIONS


def test_an_openclip_folder(pairs, expected, tmp_path):
    folder = write_openclip(tmp_path / "model")
    argv = [f"--images={pairs}", f"--workdir={tmp_path / 'run'}", f"--model={folder}"]
    assert _run(*argv) == 0
    found = _arrays(tmp_path / "run" / "features.npz")
    np.testing.assert_allclose(found["text_features"], expected[1], atol=1e-5)
    assert np.abs(found["image_features"] - expected[0]).max() > 0.1  # its own preprocessing


@pytest.mark.parametrize("at", [0, 4, 5])
def test_a_signal_saves_and_the_same_command_goes_on(at, pairs, whole, tmp_path, monkeypatch):
    """Stopped behind some batch, by SIGTERM and then by Ctrl-C: the same bytes in the end."""
    argv = [f"--images={pairs}", f"--workdir={tmp_path}"]
    embed, done = clip_features.embed_batch, []

    def stopped(config, encoders, inputs, start, images):
        done.append(start)
        if len(done) == at + 1:
            signal.raise_signal(signal.SIGTERM)
        elif len(done) == at + 2:
            signal.raise_signal(signal.SIGINT)
        return embed(config, encoders, inputs, start, images)

    monkeypatch.setattr(clip_features, "embed_batch", stopped)
    codes = [_run(*argv)]
    while codes[-1] not in (0, 2) and len(codes) < 4:
        assert not (tmp_path / "features.npz").exists()
        codes.append(_run(*argv))
    assert codes == {0: [143, 130, 0], 4: [143, 0], 5: [0]}[at]
    assert done == list(range(0, 11, 2))  # no batch twice
    assert (tmp_path / "features.npz").read_bytes() == whole.read_bytes()


def test_parts_survive_a_kill(pairs, whole, tmp_path, monkeypatch):
    """Killed between two savings: what was saved is not made again, a spoilt part is."""
    argv = [f"--images={pairs}", f"--workdir={tmp_path}"]
    save, saved, done = clip_features.save_arrays, [], []
    embed = clip_features.embed_batch

    def killed(path, **arrays):
        if len(saved) == 2:
            raise SystemExit(9)
        saved.append(path)
        save(path, **arrays)

    monkeypatch.setattr(clip_features, "save_arrays", killed)
    with pytest.raises(SystemExit):
        _run(*argv)
    assert len(list((tmp_path / "parts").iterdir())) == 2
    with open(saved[1], "r+b") as file:
        file.truncate(100)
    monkeypatch.setattr(clip_features, "save_arrays", save)
    noted = lambda *args: (done.append(args[3]), embed(*args))[1]
    monkeypatch.setattr(clip_features, "embed_batch", noted)
    assert _run(*argv) == 0
    assert done == [4, 6, 8, 10]
    assert (tmp_path / "features.npz").read_bytes() == whole.read_bytes()


def test_a_finished_run_only_prints(pairs, whole, capsys, monkeypatch):
    before = whole.stat().st_mtime_ns
    monkeypatch.setattr(extract_features, "make_encoders", None)
    assert _run(f"--images={pairs}", f"--workdir={whole.parent}") == 0
    assert "image_features (11, 8) float32" in capsys.readouterr().out
    assert whole.stat().st_mtime_ns == before


def test_what_was_written_and_is_no_longer_there_is_told(pairs, whole, capsys):
    kept = whole.read_bytes()
    np.savez(whole, image_features=np.zeros((11, 8)))
    try:
        assert _run(f"--images={pairs}", f"--workdir={whole.parent}") == 2
        assert "features.npz' is not what this run wrote" in capsys.readouterr().err
    finally:
        whole.write_bytes(kept)


def test_contents_of_images_count_and_not_their_times(photos, pairs, names, whole, capsys):
    path = photos / names[0]
    kept, about = path.read_bytes(), path.stat()
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns + 10**9))
    assert _run(f"--images={pairs}", f"--workdir={whole.parent}") == 0
    path.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
    try:
        assert _run(f"--images={pairs}", f"--workdir={whole.parent}") == 2
        assert "inputs" in capsys.readouterr().err
    finally:
        path.write_bytes(kept)


def test_another_config_or_input_is_refused(pairs, names, whole, capsys):
    before = whole.read_bytes()
    assert _run(f"--images={pairs}", f"--workdir={whole.parent}", "--normalise") == 2
    assert "normalise False there, True here" in capsys.readouterr().err
    kept = pairs.read_text()
    pairs.write_text(kept.replace("3 cats", "4 cats"))
    try:
        assert _run(f"--images={pairs}", f"--workdir={whole.parent}") == 2
        assert "inputs" in capsys.readouterr().err
    finally:
        pairs.write_text(kept)
    assert whole.read_bytes() == before


def test_corrupt_images_stop_it_or_are_left_out(photos, names, expected, tmp_path, capsys):
    for name in names:
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_bytes((photos / name).read_bytes())
    for row in (4, 5, 9):  # a whole batch and one of another
        path = tmp_path / "photos" / names[row]
        path.write_bytes(path.read_bytes()[:50])
    argv = [f"--images={tmp_path / 'photos'}", f"--workdir={tmp_path / 'run'}"]
    assert _run(*argv) == 2
    err = capsys.readouterr().err.splitlines()
    assert names[4] in err[-1] and "corrupt image" in err[-1] and "--skip_corrupt" in err[-1]
    assert not (tmp_path / "run" / "features.npz").exists()
    assert _run(*argv, "--skip_corrupt") == 0  # goes on where it stopped
    out, err = capsys.readouterr()
    assert "3 corrupt images left out" in out and all(names[k] in err for k in (4, 5, 9))
    found = read_features(str(tmp_path / "run" / "features.npz"))
    kept = [k for k in range(11) if k not in (4, 5, 9)]
    np.testing.assert_allclose(found.sides()["x"], expected[0][kept], atol=1e-5)
    assert found.names.tolist() == [names[k] for k in kept]
    pairs = tmp_path / "photos" / "pairs.tsv"  # of pairs the captions go too
    pairs.write_text("".join(f"{n}\t{c}\n" for n, c in zip(names, CAPTIONS, strict=True)))
    argv = [f"--images={pairs}", f"--workdir={tmp_path / 'pairs'}", "--skip_corrupt"]
    assert _run(*argv, "--batch_size=4") == 0
    found = _arrays(tmp_path / "pairs" / "features.npz")
    assert found["texts"].tolist() == [CAPTIONS[k] for k in kept]
    for side, whole in zip(("image", "text"), expected, strict=True):
        np.testing.assert_allclose(found[f"{side}_features"], whole[kept], atol=1e-5)


def test_nothing_readable_is_told(tmp_path, capsys):
    for k in range(3):
        (tmp_path / f"{k}.png").write_bytes(b"no image")
    run = tmp_path / "run"
    assert _run(f"--images={tmp_path}", f"--workdir={run}", "--skip_corrupt") == 2
    assert "can be read" in capsys.readouterr().err.splitlines()[-1]
    assert not (run / "features.npz").exists()


@pytest.mark.parametrize("last", [False, True])
def test_a_full_disk_leaves_nothing_half_written(last, pairs, whole, tmp_path, monkeypatch, capsys):
    """At the second part, or at the file itself."""
    argv = [f"--images={pairs}", f"--workdir={tmp_path}"]
    write = files.write_npz

    def full(file, arrays):
        if ("image_features" in arrays) if last else (arrays["end"] == 8):
            file.write(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        write(file, arrays)

    monkeypatch.setattr(files, "write_npz", full)
    assert _run(*argv) == 1
    err = capsys.readouterr().err.splitlines()
    assert err[-1].startswith("error: ") and "No space left" in err[-1]
    parts = [f"{row:09d}.npz" for row in ((0, 4, 8) if last else (0,))]
    assert sorted(p.name for p in (tmp_path / "parts").iterdir()) == parts
    assert not any("features" in p.name for p in tmp_path.iterdir())
    monkeypatch.setattr(files, "write_npz", write)
    assert _run(*argv) == 0
    assert (tmp_path / "features.npz").read_bytes() == whole.read_bytes()


def _bad_inputs(folder, photos):
    """name -> (flags, what the line says)."""
    image = next(photos.glob("*/*.png"))

    def file(name, content):
        path = folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    (folder / "empty").mkdir()
    texts = file("texts.txt", "a cat\n")
    there = file("there.npz", "someone's")
    cut = copy_golden(folder / "cut")
    (cut / "model.safetensors").write_bytes((GOLDEN / "model.safetensors").read_bytes()[:5000])
    other = copy_golden(folder / "eos", config=lambda c: c["text_config"].update(eos_token_id=7))
    bare = copy_golden(folder / "bare")
    (bare / "vocab.json").unlink()
    return {
        "nothing": ([], "--images: '', --texts: ''; use one of them"),
        "both": ([f"--images={photos}", f"--texts={texts}"], "use one of them"),
        "no folder": (["--images=nowhere"], "--images: 'nowhere' is not allowed"),
        "no texts": (["--texts=nowhere"], "--texts: 'nowhere' is not allowed"),
        "no images": ([f"--images={folder / 'empty'}"], "no image in"),
        "no model": ([f"--texts={texts}", "--model="], "--model: ''"),
        "missing model": ([f"--texts={texts}", "--model=nowhere"], "--model: 'nowhere'"),
        "cut model": ([f"--texts={texts}", f"--model={cut}"], "not a whole .safetensors file"),
        "no vocabulary": ([f"--texts={texts}", f"--model={bare}"], "vocab.json: not there"),
        "other end": ([f"--texts={texts}", f"--model={other}"], "eos_token_id: 7"),
        "batch": ([f"--texts={texts}", "--batch_size=0"], "batch_size: 0"),
        "words": ([f"--texts={texts}", "--batch_size=two"], "--batch_size: 'two'"),
        "workers": ([f"--texts={texts}", "--workers=0"], "workers: 0"),
        "save": ([f"--texts={texts}", "--save_every=-1"], "save_every: -1"),
        "unknown": ([f"--texts={texts}", "--cats=3"], "cats"),
        "ending": ([f"--texts={texts}", "--output=a.npy"], "--output: 'a.npy'"),
        "no place": ([f"--texts={texts}", "--output=nowhere/a.npz"], "--output: 'nowhere/a.npz'"),
        "there": ([f"--texts={texts}", f"--output={there}"], "a file that is not there yet"),
        "empty line": ([f"--texts={file('gap.txt', 'a' + chr(10) * 2 + 'b')}"], "line 2 is empty"),
        "empty file": ([f"--texts={file('none.txt', '')}"], "no lines"),
        "binary": ([f"--texts={file('binary.txt', bytes([255, 254, 0]))}"], "no UTF-8 text"),
        "missing image": ([f"--images={file('a.tsv', 'b.png')}"], "a.tsv: line 1: no file"),
        "uneven": ([f"--images={file('b.tsv', f'{image}{chr(10)}{image}{chr(9)}x')}"], "line 2 is"),
        "three": ([f"--images={file('c.tsv', f'{image}{chr(9)}x{chr(9)}y')}"], "line 1 is"),
        "no caption": ([f"--images={file('d.tsv', f'{image}{chr(9)} ')}"], "line 1 is"),
        "no column": ([f"--images={file('e.csv', 'path,text')}"], "no column image; it has path"),
        "no rows": ([f"--images={file('f.csv', 'image,text')}"], "no rows below the header"),
        "short row": ([f"--images={file('g.csv', 'image,text' + chr(10) + 'a')}"], "line 2 has 1"),
    }  # fmt: skip


def test_bad_input_is_one_line_and_writes_nothing(photos, tmp_path, capsys):
    for name, (argv, told) in _bad_inputs(tmp_path, photos).items():
        workdir = tmp_path / "run"
        assert _run(f"--workdir={workdir}", *argv) == 2, name
        out, err = capsys.readouterr()
        assert out == "" and len(err.splitlines()) == 1 and err.startswith("error: "), (name, err)
        assert told in err, (name, err)
        assert not workdir.exists(), name
    assert (tmp_path / "there.npz").read_text() == "someone's"


def test_features_that_are_not_finite_are_told(tmp_path, capsys, monkeypatch):
    path = tmp_path / "texts.txt"
    path.write_text("a cat\na dog\nthe third")
    make = extract_features.make_encoders

    def broken(config, inputs):
        encoders = make(config, inputs)
        return encoders._replace(
            text=lambda x: encoders.text(x) / (np.array(x) != "a dog")[:, None]
        )

    monkeypatch.setattr(extract_features, "make_encoders", broken)
    with np.errstate(divide="ignore", invalid="ignore"):
        assert _run(f"--texts={path}", f"--workdir={tmp_path / 'run'}") == 2
    assert "text features of 'a dog' have NaN or infinity" in capsys.readouterr().err
    assert not (tmp_path / "run" / "features.npz").exists()


def test_help_tells_every_flag(capsys):
    assert _run("--help") == 0
    out = capsys.readouterr().out
    for name in extract_features.Config.__dataclass_fields__:
        assert f"--{name}" in out

"""Experiments that fuse recorded modalities: whole runs on tiny files, resumed, refused."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import (
    comm_digits,
    comm_mmimdb,
    comm_multibench,
    comm_trifeature,
)
from mmjax.data.sets import digits as digit_data
from mmjax.errors import InvalidInput
from mmjax.losses import no_gather
from mmjax.nets.prepare import observations_of, preparations_of
from mmjax.run import Run, launch, read_results
from mmjax.studies.fused import make_fused_study
from mmjax.tables import clip_features, mm_imdb, multibench, recorded
from mmjax.tables.multibench_sources import PUBLISHED, SOURCES
from tests.clip_folders import GOLDEN
from tests.test_multimodal_data import affect, write_affect, write_mimic
from tests.test_multimodal_files import ENDS, PARTS, films, robot, write_imdb  # noqa: F401

SMALL = (
    "--width=8 --heads=2 --head_hidden=8 --head_out=4 --batch_size=6 --steps=2 --chunk_steps=2 "
    "--seeds=1 --parallel=single"
).split()


def start(module, *argv) -> int:
    return launch(
        module.main,
        module.Config,
        module.PRESETS,
        experiment=module.EXPERIMENT,
        doc=module.__doc__,
        argv=[module.EXPERIMENT, *SMALL, *argv],
    )


def nearest_mean(kind, features, labels, *, num_classes, **how):
    """Instead of probes, which take seconds to compile."""
    if kind == "multilabel":
        return dict.fromkeys(("f1_macro", "f1_weighted", "f1_micro"), 0.5)
    x, y = features["train"], labels["train"]
    means = np.stack([x[y == k].mean(0) for k in range(num_classes)])
    distances = ((features["test"][:, None] - means) ** 2).sum(2)
    return {"accuracy": float(np.mean(distances.argmin(1) == labels["test"]))}


def untrained(experiment, config, task, study, judge, run, log, *, setting):
    """Instead of training."""
    return recorded.control_rows(experiment, config, task, study, judge, run, setting)


def run_twice(module, workdir, monkeypatch, *argv):
    """Rows and summary of a run that is then started again, and trains nothing."""
    argv = (f"--workdir={workdir}", *argv)
    assert start(module, *argv) == 0
    first = (workdir / "results.csv").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(recorded, "trained_rows", None)
        patch.setattr(recorded, "control_rows", None)
        assert start(module, *argv) == 0
    assert (workdir / "results.csv").read_bytes() == first
    rows = read_results(str(workdir / "results.csv"))
    assert all(np.isfinite(row.value) for row in rows)
    return rows, (workdir / "summary.md").read_text()


def views_file(path, n=120):
    """View a is the digit, b says whether it is odd, c is noise; b is large and off centre."""
    rng = np.random.default_rng(0)
    digit = np.arange(n) % 10
    a = np.eye(10)[digit] + rng.normal(size=(n, 10)) / 50
    b = 1e3 + 100 * np.stack([digit % 2, rng.normal(size=n)], 1)
    np.savez(path, a=a, b=b, c=rng.normal(size=(n, 3)), label=digit, text=np.full(n, "x"))
    return str(path)


def test_views_of_digits(tmp_path, monkeypatch):
    monkeypatch.setattr(recorded, "probe_splits", nearest_mean)
    monkeypatch.setattr(recorded, "trained_rows", untrained)
    rows, summary = run_twice(
        comm_digits,
        tmp_path / "run",
        monkeypatch,
        f"--data={views_file(tmp_path / 'views.npz')}",
        "--view_names=a,c",
        "--views=2,6",
        "--methods=comm",
        "--hidden=4",
    )
    assert {r.setting for r in rows} == {f"{m}/views=2" for m in ("raw", "untrained", "comm")}
    assert {(r.modality, r.target) for r in rows} == {(s, "digit") for s in ("a", "c", "joint")}
    raw = {r.modality: r.value for r in rows if r[1] == "raw/views=2" and r.metric == "accuracy"}
    assert raw["a"] > 0.95 and raw["c"] < 0.4  # parts of the views are judged apart
    assert "comm/views=2" in summary and (tmp_path / "run/figures/views.png").exists()


def test_views_are_split_by_class_and_standardised(tmp_path):
    path = views_file(tmp_path / "v.npz")
    data = digit_data.digit_views(path, ("a", "b"), 3)
    train, held, test = (data.part(name) for name in ("train", "validation", "test"))
    assert [part.num_rows for part in (train, held, test)] == [70, 10, 40]
    assert np.bincount(test.labels["label"]).tolist() == [4] * 10
    b = observations_of(train, preparations_of(train), np.arange(70))["b"]
    np.testing.assert_allclose([b.mean(0), b.std(0)], [[0, 0], [1, 1]], atol=1e-4)
    other = digit_data.digit_views(path, ("a", "b"), 4)
    assert (other.part("train").columns["b"].values != train.columns["b"].values).any()
    digits = digit_data.digit_views("", (), 0).part("train")
    assert {c.values.shape for c in digits.columns.values()} == {(1078, 16)}
    assert list(digits.columns)[:3] == ["top_left", "bottom_right", "top_right"]


@pytest.mark.parametrize("dtype", ["f8", "S1", "U1", ">i8", "u1"])
def test_a_digit_is_its_value_however_it_is_stored(tmp_path, dtype):
    path = views_file(tmp_path / "v.npz")
    want = digit_data.digit_views(path, ("a",), 3)
    arrays = dict(np.load(path))
    np.savez(path, **arrays | {"label": arrays["label"].astype(dtype)})
    found = digit_data.digit_views(path, ("a",), 3)
    one, two = (data.labels["label"] for data in (want, found))
    assert two.dtype == np.int64 and (one == two).all() and set(one) == set(range(10))
    np.savez(path, **arrays | {"label": arrays["label"] + 1})
    with pytest.raises(InvalidInput, match="v.npz: label 10 in row 9 is not allowed"):
        digit_data.digit_views(path, ("a",), 3)


def speech_file(path):
    """The bands of a spectrogram are its digit, but for the first, its speaker; images lean."""
    rng = np.random.default_rng(0)
    digit, speaker = np.repeat(np.arange(10), 6), np.tile(np.arange(3), 20)
    mel = rng.normal(size=(60, 4, 4)) / 50
    mel[:, 0] += speaker[:, None]
    mel[:, 1:] += np.eye(10, 12)[digit].reshape(-1, 3, 4)
    image_digit, lean = np.tile(np.arange(10), 12), np.repeat(np.arange(12), 10)
    image = np.zeros((120, 9, 9), np.uint8)
    for row in range(9):
        shift = np.round(4 + (row - 4) * (lean - 5.5) / 6).astype(int)
        image[np.arange(120), row, shift] = 100 + 10 * image_digit
    np.savez(
        path,
        mel=mel.astype(np.float16),
        audio_digit=digit,
        audio_speaker=np.array(["x", "y", "z"])[speaker],
        audio_is_test=np.arange(60) % 6 >= 3,
        image=image,
        image_digit=image_digit,
        image_is_test=lean % 3 == 2,
    )
    return str(path)


def test_speech_and_images(tmp_path, monkeypatch):
    path = speech_file(tmp_path / "speech.npz")
    monkeypatch.setattr(recorded, "probe_splits", nearest_mean)
    monkeypatch.setattr(recorded, "trained_rows", untrained)
    rows, summary = run_twice(
        comm_digits,
        tmp_path / "run",
        monkeypatch,
        "--table=speech",
        f"--data={path}",
        "--methods=comm",
        "--image_rows=200",
        "--probe_samples=150",
        "--hidden=4",
    )
    assert {r.setting for r in rows} == {"raw/speech", "untrained/speech", "comm/speech"}
    raw = {r[3:5]: r.value for r in rows if r.setting == "raw/speech" and r.metric == "accuracy"}
    assert raw["audio", "speaker"] > 0.95 > 0.6 > raw["image", "speaker"]
    assert raw["audio", "digit"] > 0.95 and raw["image", "slant"] > raw["audio", "slant"] + 0.2
    assert "U2: slant" in summary and (tmp_path / "run/figures/speech.png").exists()


def test_pairs_of_speech_share_the_digit_and_the_split(tmp_path):
    path = speech_file(tmp_path / "speech.npz")
    sides = digit_data.speech_data(path, 70)
    audio, image = sides
    for side, size in ((audio, 30), (image, 70)):
        held = side.part("validation")
        assert side.part("train").num_rows + held.num_rows == size
        assert set(held.labels["label"]) == set(range(10))
    pairs = digit_data.speech_pairs(audio, image, {"train": 200, "test": 90}, 0)
    assert list(pairs.labels) == ["digit", "speaker", "slant"]
    for part, size in (("train", 200), ("test", 90)):
        drawn = pairs.part(part)
        assert drawn.num_rows == size
        for side, name in ((audio, "speaker"), (image, "slant")):
            own, (modality,) = side.part(part), side.columns
            known = {row.tobytes(): k for k, row in enumerate(own.columns[modality].values)}
            found = [known[row.tobytes()] for row in drawn.columns[modality].values]
            np.testing.assert_array_equal(own.labels["label"][found], drawn.labels["digit"])
            np.testing.assert_array_equal(own.labels[name][found], drawn.labels[name])
    assert set(pairs.part("test").labels["speaker"]) == {0, 1, 2}
    assert set(pairs.part("train").labels["slant"]) == {0, 1, 2}


def test_slant_is_the_shift_of_a_row_down_and_terciles_know_no_digit():
    rng = np.random.default_rng(0)
    y = np.arange(40) - 19.5
    for slope in (-0.5, 0.0, 0.3):
        x = np.arange(60) - 29.5
        ink = np.exp(-0.5 * (x[None] - 4 - slope * y[:, None]) ** 2)[None]
        assert digit_data.slant_of(ink)[0] == pytest.approx(slope, abs=1e-6)
    assert digit_data.slant_of(np.zeros((1, 3, 3)))[0] == 0
    digits = {"train": rng.integers(0, 10, 3000), "test": rng.integers(0, 10, 3000)}
    slants = {part: v + rng.normal(size=3000) for part, v in digits.items()}  # by the digit
    terciles = digit_data.slant_terciles(slants, digits)
    for digit in range(10):
        own = terciles["train"][digits["train"] == digit]
        assert abs(np.bincount(own) / len(own) - 1 / 3).max() < 0.01
        own = terciles["test"][digits["test"] == digit]
        assert abs(np.bincount(own) / len(own) - 1 / 3).max() < 0.15
    moved = digit_data.slant_terciles({**slants, "test": slants["test"] + 9}, digits)
    np.testing.assert_array_equal(moved["train"], terciles["train"])
    assert (moved["test"] == 2).mean() > 0.99


# MultiBench


def several(split, times):
    found = {k: np.concatenate([v] * times) for k, v in split.items()}
    return found


def test_affect(tmp_path, monkeypatch):
    monkeypatch.setattr(recorded, "probe_splits", nearest_mean)
    splits = {part: several(affect(), 4) for part in ("train", "valid", "test")}
    rows, summary = run_twice(
        comm_multibench,
        tmp_path / "run",
        monkeypatch,
        "--dataset=mosi",
        f"--data={write_affect(tmp_path, **splits)}",
        "--methods=cross",
        "--sequence_layers=0",
    )
    assert {r.setting for r in rows} == {"raw/mosi", "untrained/mosi", "cross/mosi"}
    assert {r.modality for r in rows} == {"vision", "text", "joint"}
    assert "47.8" in summary and (tmp_path / "run/figures/accuracy.png").exists()
    config = json.loads((tmp_path / "run/config.json").read_text())
    assert config["width"] == 8 and config["steps"] == 2


def test_images_of_shapes(tmp_path, monkeypatch, capsys):
    """Rows of controls and of a method; the second start only prints them."""

    def figures(data, represent, key, *, rows):
        features = represent((data.gallery.images[:4] / np.float32(255),) * 2)
        assert features.shape[0] == 4 and np.isfinite(features).all() and rows == 30
        metrics = {name: {"accuracy"} for name in ("shared", "unique1", "unique2")}
        metrics["synergy"] = {"accuracy", "accuracy_balanced"}
        return {(name, m): 0.5 for name, found in metrics.items() for m in found}

    monkeypatch.setattr(comm_trifeature, "trifeature_figures", figures)
    argv = "--resolution=32 --renderings=1 --widths=4,8 --methods=cross --biases=biased".split()
    argv += ["--probe_samples=30", f"--workdir={tmp_path}"]
    assert start(comm_trifeature, *argv) == 0
    first = (tmp_path / "results.csv").read_bytes()
    rows = read_results(str(tmp_path / "results.csv"))
    assert {row.setting for row in rows} == {"raw", "untrained", "cross/biased"} and len(rows) == 20
    assert sum(row.modality == "projected" for row in rows) == 5  # of what is trained alone
    assert (tmp_path / "figures" / "samples.png").stat().st_size > 5000
    told = (tmp_path / "summary.md").read_text()
    assert "Images of 32 pixels" in told and told.count("| cross/biased") == 2
    assert "behind the head" in told and "by the modalities seen" not in told
    with monkeypatch.context() as patch:
        patch.setattr(comm_trifeature, "trifeature_data", None)
        assert start(comm_trifeature, *argv) == 0
    assert (tmp_path / "results.csv").read_bytes() == first
    capsys.readouterr()
    assert start(comm_trifeature, *argv, "--texture_gaps=2") == 2
    told = "use a number from 0 to 1 (texture_gaps: 2.0 is not allowed)"
    assert told in capsys.readouterr().err


def test_published_settings():
    """Each preset is a published row, with the width, the rate and the modalities of it."""
    seen = set()
    for name, changes in comm_multibench.PRESETS.items():
        config = comm_multibench.Config(**changes)
        task = comm_multibench.chosen_task(config.dataset, config.task)
        names = comm_multibench.chosen_modalities(
            config.dataset, comm_multibench.names_in(config.modalities), task
        )
        full = comm_multibench.in_full(config, task)
        assert full.width % full.heads == 0
        if name != "quick":
            seen.add((config.dataset, task, len(names)))
            assert full.epochs == 100 and full.sequence_layers == 5 and full.weight_decay == 1e-2
            assert full.learning_rate == (1e-4 if len(names) == 3 else 1e-3)
    assert seen == set(PUBLISHED)
    assert comm_multibench.training_steps(comm_multibench.Config(), 640 + 63) == 1000
    widths = {d: [s.width for s in source.tasks.values()][:2] for d, source in SOURCES.items()}
    assert widths["mosi"] == [40] and widths["mimic"] == [512] * 2
    assert widths["vision_touch"] == [128, 512]


def traced(config):
    """The loss of a step on the data that the flags name: shapes and dtypes alone."""
    task = comm_multibench.chosen_task(config.dataset, config.task)
    names = comm_multibench.names_in(config.modalities)
    names = comm_multibench.chosen_modalities(config.dataset, names, task)
    config = comm_multibench.in_full(config, task)
    data, kind = comm_multibench.read_data(config, names, task)
    assert list(data.columns) == list(names)
    case = comm_multibench.case_of(config, data, kind)
    study = make_fused_study(
        dataclasses.replace(config, steps=1), case.task, "comm", chunk_steps=1, save_every=1
    )
    key = jax.random.key(0)
    params = jax.eval_shape(study.init_params, key)
    fed = next(study.recipe.feed(0, key))
    batch = jax.eval_shape(study.recipe.source, case.task.init_constants(key), key, fed)
    objective = lambda *args: study.recipe.stages[0].objective(*args, key, no_gather)
    assert jax.eval_shape(objective, params, batch)[0].shape == ()
    return data, params, study, case


@pytest.mark.slow
def test_networks_of_the_other_data_sets(tmp_path, robot):  # noqa: F811
    make = lambda **fields: comm_multibench.Config(**fields)
    _, params, study, case = traced(make(dataset="mimic", data=write_mimic(tmp_path), task="-1"))
    z = jax.eval_shape(study.embed, params, case.task.example, jnp.ones((1, 2), bool))
    assert z.shape == (1, 1, 512)
    for memory in (0.0, 1.0):  # images that stay in their files, or in memory
        how = dict(dataset="vision_touch", data=str(robot), memory=memory, image_width=4)
        data, *_, case = traced(make(**how))
        target = case.targets["label"]
        assert target.kind == "regression" and multibench.measure(target.kind)[0] == "mse"
        assert isinstance(data.columns["image"].values, np.ndarray) == bool(memory)
        test, train = (recorded.labels_of(data.part(p), target) for p in ("test", "train"))
        found = multibench.guessing(case, "mse")
        assert found == pytest.approx(np.mean((test - train.mean(0)) ** 2), rel=1e-5)
    data, *_, case = traced(make(**how, task="contact", modalities="image,force,proprio"))
    assert case.targets["label"].kind == "classification"
    test, train = (data.part(part).labels["label"] for part in ("test", "train"))
    assert multibench.guessing(case, "accuracy") == np.mean(test == np.bincount(train).argmax())


def test_networks_of_av_mnist():
    config = comm_multibench.in_full(comm_multibench.Config(dataset="av_mnist"), "")
    for name, side in (("image", 28), ("audio", 112)):
        encoder = SOURCES["av_mnist"].parts[name].network(config).encoder
        make = lambda key, e=encoder, n=side: e.init(key, (n, n, 1))
        made = jax.eval_shape(make, jax.random.key(0))
        seen = jax.ShapeDtypeStruct((2, side, side, 1), jnp.float32)
        assert jax.eval_shape(encoder.apply, *made, seen).shape == (2, 64)


# MM-IMDb


def test_films_in_hdf5(tmp_path, monkeypatch):
    monkeypatch.setattr(recorded, "probe_splits", nearest_mean)
    monkeypatch.setattr(recorded, "trained_rows", untrained)
    ends = ",".join(map(str, ENDS))
    rows, summary = run_twice(
        comm_mmimdb,
        tmp_path / "run",
        monkeypatch,
        f"--data={write_imdb(tmp_path)}",
        f"--ends={ends}",
        "--methods=comm",
    )
    metrics = {"f1_macro", "f1_weighted", "f1_micro"}
    assert {r.metric for r in rows} == metrics and {r.target for r in rows} == {"genres"}
    assert "macro F1" in summary and (tmp_path / "run/figures/f1.png").exists()


def test_films_in_a_folder_are_embedded_once(tmp_path, films, monkeypatch):  # noqa: F811
    run = Run("comm_mmimdb", str(tmp_path / "run"), lambda: None)
    config = comm_mmimdb.Config(data=str(films), clip=str(GOLDEN), embed_batch=2, workers=1)
    data = comm_mmimdb.read_data(config, run)
    assert list(data.columns) == ["image", "text"]
    assert len(data.labels) == 23 and np.sum(data.split == "train") == len(PARTS["train"])
    assert data.ids.shape[1] == 3 and len(set(data.ids[:, 2])) == data.num_rows  # films' names
    monkeypatch.setattr(clip_features, "make_encoders", None)
    again = comm_mmimdb.read_data(config, run)
    for name, column in data.columns.items():
        np.testing.assert_array_equal(column.values, again.columns[name].values)
    raw = mm_imdb.embedded_films(config, run)
    assert len({row.tobytes() for row in raw.part("train").columns["text"].values}) == 2
    assert raw.part("test").columns["image"].values.shape == (1, 8)


# What users can mend is told in one line, before anything runs.

BAD = {
    "methods": (comm_digits, ["--methods=none"], "methods"),
    "views": (comm_digits, ["--views=1"], "views"),
    "view names": (comm_digits, ["--view_names=left"], "view_names"),
    "file": (comm_digits, ["--data=none.npz"], "existing .npz"),
    "speech": (comm_digits, ["--table=speech"], "av_digits.npz"),
    "factor_cl": (comm_digits, ["--views=3", "--methods=factor_cl"], "methods: factor_cl: "),
    "augmentation": (comm_digits, ["--augmentation=blur"], "augmentation: kinds"),
    "augmentation of vectors": (comm_digits, ["--augmentation=span"], "augmentation: "),
    "drop": (comm_digits, ["--drop=1.5"], "drop"),
    "rows": (comm_digits, ["--table=speech", "--image_rows=1", "--data=x.npz"], "image_rows"),
    "no mosi": (comm_multibench, [], "CMU-MOSI"),
    "no mimic": (comm_multibench, ["--preset=mimic"], "im.pk"),
    "no robot": (comm_multibench, ["--preset=contact3"], ".h5 file an episode"),
    "no digits": (comm_multibench, ["--dataset=av_mnist"], "train_labels.npy"),
    "task": (comm_multibench, ["--dataset=mimic", "--task=99"], "task"),
    "no task": (comm_multibench, ["--task=x"], "task"),
    "preset": (comm_multibench, ["--preset=contact", "--dataset=mosi"], "task: 'contact' is not"),
    "of a preset": (comm_multibench, ["--preset=contact", "--dataset=mosi"], "=contact)"),
    "modalities": (comm_multibench, ["--modalities=smell,text"], "modalities"),
    "one": (comm_multibench, ["--modalities=text"], "modalities"),
    "no films": (comm_mmimdb, [], "multimodal_imdb.hdf5"),
    "no clip": (comm_mmimdb, ["--data=."], "--clip"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_flags_are_told_in_one_line(name, tmp_path, capsys):
    module, argv, told = BAD[name]
    assert start(module, f"--workdir={tmp_path / 'run'}", *argv) == 2
    error = capsys.readouterr().err
    assert told in error and error.startswith("error: ") and error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_bad_files_are_told_in_one_line(tmp_path, capsys):
    path = views_file(tmp_path / "views.npz")
    for view, told in (("text", "view 'text'"), ("x", "no array 'x'"), ("label", "label")):
        assert start(comm_digits, f"--data={path}", f"--view_names=a,{view}") == 2
        assert told in capsys.readouterr().err
    mosi = write_affect(tmp_path)
    options = {
        "--augmentations=noise": "2 names",
        "--augmentations=noise,blur": "augmentations: kinds",
        "--augmentations=noise,gentle": "augmentations: text: gentle",
        "--steps=-1": "steps",
        "--epochs=0": "epochs",
        "--memory=-1": "memory",
    }
    for flag, told in options.items():
        assert start(comm_multibench, f"--data={mosi}", flag) == 2
        assert told in capsys.readouterr().err
    imdb = write_imdb(tmp_path)
    for flag, told in {"--clip=x": "--clip", "--ends=1,2": "ends", "--ends=5,7,9": "9"}.items():
        assert start(comm_mmimdb, f"--data={imdb}", "--ends=5,7,10", flag) == 2
        assert told in capsys.readouterr().err

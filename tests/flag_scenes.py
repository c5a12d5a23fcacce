"""Small settings of every experiment, and small files of every format that they read."""

import functools
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import h5py
import jax
import numpy as np
from PIL import Image

from mmjax.data.sets.export_3dident import write_split
from mmjax.generative.scenes import scene_model
from mmjax.models import fit
from mmjax.nets import mlp
from mmjax.tables.models import DataOptions, read_data
from tests.clip_folders import GOLDEN, TEXTS, pictures

# Whatever experiment has a flag of this name: its value in small runs.
TINY = {
    "seeds": "1",
    "parallel": "single",
    "steps": "4",
    "pre_steps": "2",
    "warmup": "1",
    "chunk_steps": "2",
    "save_every": "2",
    "batch_size": "8",
    "hidden": "4",
    "hidden_size": "4",
    "width": "8",
    "widths": "4,8",
    "heads": "2",
    "head_hidden": "8",
    "head_out": "4",
    "image_width": "4",
    "text_width": "8",
    "sequence_layers": "1",
    "dim": "2",
    "private_dim": "1",
    "embedding_dims": "2",
    "encoding_sizes": "3",
    "num_components": "4",
    "mixing_candidates": "10",
    "max_restarts": "0",
    "eval_samples": "64",
    "eval_pairs": "64",
    "kernel_samples": "16",
    "probe_samples": "100",
    "probe_steps": "20",
    "retrieval_samples": "50",
    "image_rows": "100",
    "views": "2",
    "renderings": "1",
    "rendered": "64",
    "resolution": "32",
    "image_encoder": "narrow",
    "generated": "128",
    "shots": "1",
    "validation_shots": "1",
    "restarts": "2",
    "top": "2",
    "probes": "l2",
    "resamples": "20",
    "decoder_steps": "4",
    "methods": "cross",
    "workers": "2",
    "embed_batch": "2",
    "epochs": "1",
    "warmup_epochs": "1",
    "weight_decay": "0",
}
_LEAVES = {
    "features": "@leaves.npz",
    "values": "image",
    "labels": "species",
    "names": "title",
    "text_values": "caption",
}
_ROBOT = {"dataset": "vision_touch", "data": "@robot"}

_OF_PAIRS = {
    "data": "@pairs.npz",
    "modalities": "mel:mel,photo:photo",
    "labels": "word,speaker",
    "groups": "group",
    "ids": "group",
    "kinds": "mel:features",
    "index": "photo:partner",
    "split": "0.5,0.25,0.25",
}
_OF_ALBUM = {
    "data": "@album.csv",
    "root": "@album",
    "modalities": "image:photo,text:caption",
    "labels": "kind",
    "image_size": "8",
    "split": "part",
}

# Experiment -> scenes: the flags that small runs have beside TINY. The first one is where the other
# values of all flags are tried; a text is given here. @name is a file below, {run} the workdir.
SCENES: dict[str, list[dict[str, str]]] = {
    "comm_digits": [
        {},
        {"data": "@views.npz", "view_names": "fou,kar", "augmentation": "noise"},
        {"data": "@speech.npz", "table": "speech", "augmentation": "drop"},
    ],
    "comm_mmimdb": [
        {"data": "@imdb.hdf5", "ends": "20,30,40"},
        {
            "data": "@films",
            "clip": "@clip",
            "augmentation": "noise",
            "steps": "0",
            "warmup": "0",
        },
    ],
    "comm_multibench": [
        {
            **_ROBOT,
            "task": "contact",
            "modalities": "force,proprio",
            "augmentations": "noise,none",
        },
        {"data": "@affect.pkl"},
        {"data": "@affect.pkl", "modalities": "audio,text", "augmentations": "span,features+drop"},
        {"data": "@mimic.pk", "dataset": "mimic", "task": "-1"},
        _ROBOT,
        {
            "data": "@av_mnist",
            "dataset": "av_mnist",
            "memory": "0",
            "augmentations": "drop,noise",
        },
    ],
    "comm_trifactors": [
        {"probe_samples": "300", "biases": "unbiased"},
        {"modalities": "3", "synergies": "1-2,1-2-3", "probe_samples": "300", "biases": "unbiased"},
    ],
    "comm_trifeature": [{"biases": "biased"}],
    "content_style": [{}, {"embedding_dim": "3"}],
    "disentangle": [
        {},
        {
            **_LEAVES,
            "split": "part",
            "domains": "site",
            "source": "1",
            "latents": "latent",
            "attributes": "size,site",
            "images": "photo",
            "prompts": "@prompts.npz",
            "prompt_values": "words",
            "twin": "@leaves.npz",
            "twin_values": "image",
            "twin_text_values": "caption",
        },
        {
            **_LEAVES,
            "split": "part",
            "use_trained_rows": "true",
            "group": "tree",
            "text": "@leaves.npz",
            "validation": "@oaks.npz",
            "test": "@oaks.npz",
            "shifted": "@oaks.npz",
        },
    ],
    "embed": [
        {**_OF_PAIRS, "model": "@pairs_model", "out": "{run}/features.npz"},
        {**_OF_ALBUM, "model": "@album_model", "out": "{run}/album.npz"},
    ],
    "fit": [
        _OF_PAIRS,
        {**_OF_ALBUM, "clip": "@clip", "dim": "8"},
        {**_OF_PAIRS, "fusion": "true", "loss": "comm"},
        {**_OF_PAIRS, "train_label": "word", "loss": "supcon"},
        {**_OF_PAIRS, "train_label": "word", "loss": "factor_cl_supervised"},
    ],
    "probe": [
        {**_OF_PAIRS, "model": "@pairs_model"},
        {**_OF_ALBUM, "model": "@album_model"},
    ],
    "few_shot": [
        {"data": "@cached.npz", "methods": "zero-shot;linear probe;PCA 4 + whitening"},
        {"data": "@cached.npz", "shift": "@shifted.npz", "methods": "", "tuned": "false"},
        {"data": "@domains.npz", "domains": "place", "methods": "linear probe", "shots": "2"},
    ],
    "is_it_ica": [
        {"data": "@cached.npz", "splits": "1"},
        {
            "data": "@cached.npz",
            "probes": "one",
            "whole": "false",
            "texts": "@names.npz",
            "text_values": "vectors",
            "text_names": "words",
        },
    ],
    "traverse": [
        {"rows": "40"},
        {
            "data": "@shown.npz",
            "images": "photo",
            "labels": "kind,size",
            "index": "order",
            "rows": "0",
        },
        {"data": "@shown.npz", "images": "photo", "labels": "kind", "values": "seen", "rows": "30"},
    ],
    "extract_features": [
        {"model": "@clip", "images": "@photos"},
        {"model": "@clip", "texts": "@texts.txt", "output": "{run}/texts.npz"},
    ],
    "image_text": [
        {},
        {"data": "@m3di", "cache": "{run}/cache"},
    ],
    "paired_data": [
        {},
        {
            "data": "@pairs.npz",
            "x": "mel",
            "t": "photo",
            "label_x": "word",
            "label_t": "shown",
            "private_x": "speaker",
            "private_t": "light",
            "test_x": "mel_is_test",
            "test_t": "photo_is_test",
            "pairs": "label",
        },
        {
            "data": "@pairs.npz",
            "x": "mel",
            "t": "photo",
            "pair_index": "partner",
            "ids_x": "group",
            "ids_t": "group",
        },
    ],
    "partial_causal": [
        {"geometry": "sphere"},
        {
            "temperature": "0.2",
            "embedding_dim": "3",
            "space": "euclidean",
            "marginal": "laplace",
            "conditional": "laplace",
        },
    ],
    "render_dataset": [{"train": "3", "val": "2", "test": "2"}],
}

# Flags whose other values have commands of their own: more to train, or programs for all devices.
ALONE = ("table", "methods", "parallel")

# What is refused by design, wherever it is tried, and why.
_CLASSES = "films have several genres, these methods need one class"
REFUSED: dict[str, dict[tuple[str, str], str]] = {
    "comm_mmimdb": {
        ("methods", "factor_cl_supervised"): _CLASSES,
        ("methods", "supcon"): _CLASSES,
    },
}


def _leaves(path: Path, seed: int = 0) -> None:
    rng, n = np.random.default_rng(seed), 120
    code = np.arange(n) % 3
    latent = rng.laplace(size=(n, 6)) + np.eye(3, 6)[code]
    np.savez(
        path,
        image=latent @ np.random.default_rng(9).normal(size=(6, 10)),
        caption=latent @ np.random.default_rng(8).normal(size=(6, 10)),
        species=np.array(["ash", "beech", "oak"])[code],
        title=np.array([f"leaf {k}" for k in range(n)]),
        site=np.arange(n) // 3 % 2,
        tree=np.arange(n) // 2,
        part=np.where(np.arange(n) // 2 % 3 == 0, "train", "test"),
        size=latent[:, 4],
        latent=latent,
        photo=rng.integers(0, 255, (n, 8, 8, 3), np.uint8),
    )


def _prompts(path: Path) -> None:
    words = np.random.default_rng(7).normal(size=(3, 10))
    np.savez(path, words=words, labels=np.array(["ash", "beech", "oak"]))


def _pairs(path: Path) -> None:
    rng, n = np.random.default_rng(0), 96
    word = np.arange(n) % 4
    np.savez(
        path,
        mel=rng.normal(size=(n, 3, 4)) + np.eye(4)[word][:, None],
        photo=rng.integers(0, 255, (n, 5, 5), np.uint8),
        word=word,
        shown=word,
        speaker=np.arange(n) // 4 % 2,
        light=np.arange(n) // 8 % 3,
        mel_is_test=np.arange(n) >= 64,
        photo_is_test=np.arange(n) >= 64,
        partner=np.arange(n)[::-1],
        group=np.arange(n) // 2,
    )


def _views(path: Path) -> None:
    rng, digit = np.random.default_rng(0), np.arange(120) % 10
    views = ("fou", "kar", "zer", "fac", "pix", "mor")
    given = {name: np.eye(10)[digit] + rng.normal(size=(120, 10)) for name in views}
    np.savez(path, **given, label=digit)


def _speech(path: Path) -> None:
    rng, heard, shown = np.random.default_rng(0), np.repeat(np.arange(10), 6), np.arange(200) % 10
    np.savez(
        path,
        mel=rng.normal(size=(60, 4, 4)) + np.eye(10, 16)[heard].reshape(-1, 4, 4),
        audio_digit=heard,
        audio_speaker=np.tile(["x", "y", "z"], 20),
        audio_is_test=np.arange(60) % 6 >= 3,
        image=rng.integers(0, 256, (200, 9, 9), np.uint8),
        image_digit=shown,
        image_is_test=np.arange(200) >= 120,
    )


def _affect(path: Path) -> None:
    def part(seed, n=24):
        rng = np.random.default_rng(seed)
        sizes = {"vision": 4, "audio": 2, "text": 3}
        values = {k: rng.normal(size=(n, 4, d)).astype(np.float32) for k, d in sizes.items()}
        labels = rng.choice([-1.0, 2.0], n).reshape(n, 1, 1)
        return {**values, "labels": labels, "id": np.arange(n).astype(str)}

    parts = {name: part(k) for k, name in enumerate(("train", "valid", "test"))}
    path.write_bytes(pickle.dumps(parts, 2))


def _mimic(path: Path) -> None:
    rng, n = np.random.default_rng(0), 60
    found = {
        "ep_tdata": rng.normal(size=(n, 24, 12)),
        "adm_features_all": rng.normal(size=(n, 5)),
        "adm_labels_all": rng.integers(0, 2, (n, 6)),
        "y_icd9": rng.integers(0, 2, (n, 20)),
    }
    path.write_bytes(pickle.dumps(found, 4))


def _robot(path: Path) -> None:
    path.mkdir()
    for k in range(5):
        rng = np.random.default_rng(k)
        with h5py.File(path / f"episode_{k}.h5", "w") as file:
            file["image"] = rng.integers(0, 256, (6, 128, 128, 3), np.uint8)
            file["ee_forces_continuous"] = rng.normal(size=(6, 50, 6))
            file["proprio"] = rng.normal(size=(6, 8))
            file["contact"] = np.arange(6)[:, None] % 2 * np.ones((1, 50)) > 0


def _av_mnist(path: Path) -> None:
    for part, n in (("train", 5040), ("test", 40)):  # the last 5000 are for validation
        for side, shape in (("image", (784,)), ("audio", (112, 112))):
            (path / side).mkdir(parents=True, exist_ok=True)
            file, kind = path / side / f"{part}_data.npy", np.lib.format.open_memmap
            kind(file, "w+", np.uint8, (n, *shape))[:40] = np.random.default_rng(0).integers(
                0, 256, (40, *shape)
            )
        np.save(path / f"{part}_labels.npy", np.arange(n) % 10)


def _imdb(path: Path) -> None:
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        file["features"] = rng.random((40, 5), np.float32)
        file["vgg_features"] = rng.random((40, 7), np.float32)
        file["genres"] = rng.integers(0, 2, (40, 3), np.int32)
        file["genres"].attrs["target_names"] = '["Drama", "Comedy", "War"]'
        file["imdb_ids"] = np.array([f"{k:07d}" for k in range(40)], "S7")


def _films(path: Path) -> None:
    (path / "dataset").mkdir(parents=True)
    names = [f"{k:07d}" for k in range(40)]
    parts = {"train": names[:20], "dev": names[20:30], "test": names[30:]}
    (path / "split.json").write_text(json.dumps(parts))
    for k, name in enumerate(names):
        film = {"plot": [f"Plot {k}."], "genres": ["Drama", "War"][: 1 + k % 2]}
        (path / "dataset" / f"{name}.json").write_text(json.dumps(film))
        Image.fromarray(pictures()[k % 4]).save(path / "dataset" / f"{name}.jpeg")


def _cached(path: Path) -> None:
    rng = np.random.default_rng(0)
    means = rng.normal(size=(4, 12))
    arrays = {"text": means[:3], "text_labels": np.arange(3)}
    for part, each in (("train_4", 4), ("val", 5), ("test", 9)):
        labels = np.repeat(np.arange(4), each)
        arrays |= {part: means[labels] + rng.normal(size=(len(labels), 12))}
        arrays |= {f"{part}_labels": labels}
    np.savez(path, **arrays)


def _named(path: Path) -> None:
    vectors = np.random.default_rng(1).normal(size=(6, 12))
    np.savez(path, vectors=vectors, words=np.array([f"word {k}" for k in range(6)]))


def _shown_pictures(path: Path) -> None:
    rng, n = np.random.default_rng(0), 60
    np.savez(
        path,
        photo=rng.integers(0, 255, (n, 8, 8), np.uint8),
        kind=np.arange(n) % 3,
        size=rng.normal(size=n),
        order=np.arange(n)[::-1],
        seen=rng.normal(size=(n, 6)),
    )


def _domains(path: Path) -> None:
    rng = np.random.default_rng(0)
    labels, place = np.tile(np.repeat(np.arange(2), 6), 2), np.repeat(["sea", "wood"], 12)
    np.savez(path, features=rng.normal(size=(24, 12)), labels=labels, place=place)


def _photos(path: Path) -> None:
    for k, picture in enumerate(pictures()):
        folder = path / f"kind {k % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(folder / f"{k}.png")


def _m3di(path: Path) -> None:
    for k, part in enumerate(("train", "val", "test")):
        pairs = jax.device_get(scene_model().sample(jax.random.key(k), 64))
        images = np.random.default_rng(k).integers(0, 256, (64, 32, 32, 3), np.uint8)
        write_split(str(path / part), pairs, [images])


def _album(path: Path) -> None:
    path.mkdir()
    rng = np.random.default_rng(0)
    for k in range(48):
        Image.fromarray(rng.integers(0, 256, (9, 12, 3), np.uint8)).save(path / f"{k}.png")


def _album_table(path: Path) -> None:
    part = ["train", "train", "validation", "test"]
    rows = [f"{k}.png,a picture of {k % 3} things,{k % 3},{part[k % 4]}" for k in range(48)]
    path.write_text("\n".join(["photo,caption,kind,part", *rows]) + "\n", encoding="utf-8")


def _model(path: Path, scene: dict[str, str]) -> None:
    """A model of the data of a scene, whose files are made where they are missing."""
    files = Path(path.parent.parent)
    given = {k: placed(v, str(files), "") for k, v in scene.items()}
    options = config_for(DataOptions, given)
    data = read_data(options)
    nets = {n: mlp((4,)) for n, c in data.columns.items() if c.kind == "image"}
    how = dict(dim=2, steps=2, batch_size=8, validate_every=0, progress=False)
    fit(data, nets=nets, key=jax.random.key(0), **how).save(str(path))


def config_for(kind: type, given: dict[str, str]):
    """Options of that class from texts."""
    numbers = {"image_size": int}
    return kind(**{k: numbers.get(k, str)(v) for k, v in given.items()})


FILES: dict[str, Callable[[Path], object]] = {
    "leaves.npz": _leaves,
    "oaks.npz": functools.partial(_leaves, seed=1),
    "prompts.npz": _prompts,
    "cached.npz": _cached,
    "shifted.npz": _cached,
    "names.npz": _named,
    "shown.npz": _shown_pictures,
    "domains.npz": _domains,
    "pairs.npz": _pairs,
    "views.npz": _views,
    "speech.npz": _speech,
    "affect.pkl": _affect,
    "mimic.pk": _mimic,
    "robot": _robot,
    "av_mnist": _av_mnist,
    "imdb.hdf5": _imdb,
    "films": _films,
    "photos": _photos,
    "album": _album,
    "album.csv": _album_table,
    "pairs_model": lambda path: _model(path, _OF_PAIRS),
    "album_model": lambda path: _model(path, _OF_ALBUM),
    "m3di": _m3di,
    "texts.txt": lambda path: path.write_text("\n".join(TEXTS[:2]) + "\n", encoding="utf-8"),
    "clip": lambda path: path.symlink_to(GOLDEN),
}


def placed(value: str, folder: str, workdir: str) -> str:
    """A flag's value with the paths of this run; its file is made where it isn't there yet."""
    if value.startswith("@"):
        path = Path(folder, "files", value[1:])
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            FILES[value[1:]](path)
        return str(path)
    return value.replace("{run}", workdir)

"""Vision&Touch (Lee et al. 2019): a robot inserts a peg; camera, force sensor, proprioception.

    <root>/*.h5, one episode each, of 50 steps:
      image [50, 128, 128, 3] uint8, depth_data [50, 128, 128, 1],
      ee_forces_continuous [50, 50, 6], proprio [50, 8], contact [50, 50], ...

A sample is a step t from 0 to 47 of an episode: what is sensed then, and what happens at t + 1.
"""

import os
from collections.abc import Sequence

import numpy as np

from mmjax.data.dataset import LABEL, Dataset
from mmjax.data.files.checks import whole_numbers
from mmjax.data.files.hdf5 import dataset, dataset_rows, open_hdf5, read_float32
from mmjax.data.values import Lazy
from mmjax.errors import InvalidInput, require

# Names of what is predicted.
TASKS = {"contact": (LABEL,), "position": ("proprio 0", "proprio 1", "proprio 2", "proprio 3")}
# Name here -> of the dataset, shape of a step's values, dtype in a batch; read when asked for.
_PICTURES = {
    "image": ("image", (128, 128, 3), "iu", np.uint8),
    "depth": ("depth_data", (128, 128, 1), "biuf", np.float32),
}
_SENSORS = ("force", "proprio", "action")
MODALITIES = (*_PICTURES, *_SENSORS)
_TEST_SHARE = 0.2


def load_vision_touch(
    root: str, *, task: str = "contact", modalities: Sequence[str] = ("image", "force", "proprio")
) -> Dataset:
    """Reads the episodes in a folder.

    A fifth of the episodes is the test split; there is no validation split.

    Args:
      root: the folder.
      task: contact at t + 1, classes 0 and 1 of label `label`; or position, the first 4 of proprio
        at t + 1, labels `proprio 0` to `proprio 3`.
      modalities: those wanted, in this order, of image `[n, 128, 128, 3]` uint8, depth
        `[n, 128, 128, 1]` float32, which stay in their files until they are asked for; force
        `[n, 32, 6]`, the tanh of the last 32 readings, proprio `[n, 8]`, action `[n, 4]`, float32.

    Raises InvalidInput, naming the file, where h5py or files are missing, one is not whole, lacks a
    dataset or has one of another shape, or sensors have NaN or infinity.
    """
    require(task in TASKS, "task", task, "contact or position")
    known = bool(modalities) and set(modalities) <= set(MODALITIES)
    require(known, "modalities", tuple(modalities), "some of " + ", ".join(MODALITIES))
    require(bool(root) and os.path.isdir(root), "--data", root, "the path of an existing folder")
    names = sorted(
        name
        for name in os.listdir(root)
        if name.lower().endswith((".h5", ".hdf5")) and not name.startswith(".")
    )
    tests = int(_TEST_SHARE * len(names))
    require(tests > 0, root, f"{len(names)} .h5 files", "5 or more, for a fifth is the test split")
    order = np.random.default_rng(42).permutation(len(names))
    parts = {"train": np.sort(order[:-tests]), "test": np.sort(order[-tests:])}
    paths = [os.path.join(root, names[k]) for files in parts.values() for k in files]
    episodes = [_episode(path, task, modalities) for path in paths]
    counts = [len(labels) for _, labels in episodes]
    files = np.repeat(np.arange(len(paths)), counts)
    steps = np.concatenate([np.arange(count) for count in counts])
    values = {
        name: _picture(paths, files, steps, name)
        if name in _PICTURES
        else np.concatenate([sensed[name] for sensed, _ in episodes])
        for name in modalities
    }
    labels = np.concatenate([labels for _, labels in episodes])
    return Dataset.from_arrays(
        values,
        labels=dict(zip(TASKS[task], labels.T, strict=True)),
        split=np.where(files < len(paths) - tests, "train", "test"),
        name="Vision&Touch",
    ).also_by([f"{os.path.basename(paths[f])}:{t}" for f, t in zip(files, steps, strict=True)])


def _episode(path: str, task: str, modalities: Sequence[str]) -> tuple[dict, np.ndarray]:
    """The sensors and the labels `[samples, .]` of an episode; pictures are only looked at."""
    with open_hdf5(path) as file:
        length = dataset(path, file, "proprio", (None, None), "biuf").shape[0]
        if length < 3:
            raise InvalidInput(f"{path}: proprio has {length} steps; use 3 or more")
        samples = slice(length - 2)
        for name in set(modalities) & set(_PICTURES):
            stored, shape, kinds, _ = _PICTURES[name]
            dataset(path, file, stored, (length, *shape), kinds)
        sensed = {
            name: _sensor(path, file, name, length)[samples]
            for name in _SENSORS
            if name in modalities
        }
        if task == "contact":
            touching = dataset(path, file, "contact", (length, None), "biuf")
            seen = (read_float32(path, touching) != 0).any(1, keepdims=True)
            return sensed, seen[1:-1].astype(np.int32)
        return sensed, _sensor(path, file, "proprio", length)[1:-1, :4]


def _sensor(path: str, file, name: str, length: int) -> np.ndarray:
    """`[length, ...]` float32."""
    if name == "force":
        result = dataset(path, file, "ee_forces_continuous", (length, None, 6), "biuf")
        if result.shape[1] < 32:
            raise InvalidInput(f"{path}: ee_forces_continuous is {result.shape}; use [n, 32.., 6]")
        return np.tanh(read_float32(path, result)[:, -32:])
    result = dataset(path, file, name, (length, None), "biuf")
    size = 8 if name == "proprio" else 4
    if result.shape[1] < size:
        raise InvalidInput(f"{path}: {name} is {result.shape}; use {size} columns or more")
    return read_float32(path, result)[:, :size]


def _picture(paths: list[str], files: np.ndarray, steps: np.ndarray, name: str) -> Lazy:
    stored, shape, kinds, dtype = _PICTURES[name]

    def read(rows):
        pictures = np.empty((len(rows), *shape), dtype)
        for file in np.unique(files[rows]):
            here = np.flatnonzero(files[rows] == file)
            with open_hdf5(paths[file]) as opened:
                result = dataset(paths[file], opened, stored, (None, *shape), kinds)
                seen = dataset_rows(paths[file], result, steps[rows[here]])
            if dtype == np.uint8:
                seen = whole_numbers(seen, 255, f"{paths[file]}: {stored}")
            pictures[here] = seen
        return pictures

    named = lambda row: f"{paths[files[row]]} {steps[row]}"
    return Lazy((len(files), *shape), np.dtype(dtype), read, named)

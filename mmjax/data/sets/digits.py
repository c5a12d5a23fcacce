"""Digits as recorded: several views of handwritten ones, and spoken beside handwritten ones."""

from collections.abc import Mapping, Sequence

import numpy as np

from mmjax.data.columns import of_length
from mmjax.data.dataset import LABEL, SPLITS, Dataset
from mmjax.data.feature_sets import class_codes, stratified_split
from mmjax.data.features import open_arrays
from mmjax.data.files.checks import label_column
from mmjax.data.files.npz import read_arrays
from mmjax.data.pair_ids import checked_split, content_ids, linked_groups
from mmjax.data.values import Values
from mmjax.errors import InvalidInput, require

SHARES = (0.6, 0.1)  # training and validation rows; the others are test rows
CHOSEN_ON = 0.1  # of speech's training rows: those that C is chosen on
FILE_VIEWS = ("fou", "kar", "zer", "fac", "pix", "mor")
QUADRANTS = {
    "top_left": (slice(4), slice(4)),
    "bottom_right": (slice(4, 8), slice(4, 8)),
    "top_right": (slice(4), slice(4, 8)),
    "bottom_left": (slice(4, 8), slice(4)),
}


def digit_views(path: str, names: Sequence[str], split_seed: int) -> Dataset:
    """Views of the same digits, as recorded, in a stratified split 60 / 10 / 30.

    Rows that hold the same in every view are on one side of it, and rows of one group are.

    Args:
      path: an .npz of views `[n, features]` and `label` `[n]`, as uci_mfeat has them, and perhaps
        `group` `[n]`, who wrote them; empty: the quadrants of scikit-learn's 1797 digits of 8 x 8
        pixels.
      names: of the views; empty: all that are known.
      split_seed: of the split.

    Raises InvalidInput for a name that is not known or there twice, for a file that isn't so, and
    where a part would have no rows, or training or test rows one digit.
    """
    require(split_seed >= 0, "split_seed", split_seed, "a whole number >= 0")
    group = None
    if path:
        names = names or FILE_VIEWS
        _check_names(names)
        arrays = read_arrays(path, [*names, "label"])
        values = {name: arrays[name] for name in names}
        labels = label_column(arrays["label"], "label", path)
        for name, view in values.items():
            numbers = view.dtype.kind in "biuf" and view.ndim == 2 and view.size > 0
            if not numbers or len(view) != len(labels):
                message = f"{view.dtype} {view.shape}; use numbers [{len(labels)}, features]"
                raise InvalidInput(f"{path}: view {name!r} is {message}")
        if "group" in open_arrays(path):
            group = label_column(read_arrays(path, ["group"])["group"], "group", path)
            of_length(f"{path}: group", group, len(labels))
    else:
        from sklearn.datasets import load_digits

        digits = load_digits()
        images, labels = digits.images.astype(np.float32), digits.target
        names = names or tuple(QUADRANTS)
        _check_names(names)
        known = all(name in QUADRANTS for name in names)
        require(known, "view_names", tuple(names), "some of " + ", ".join(QUADRANTS))
        cut = lambda part: images[:, part[0], part[1]].reshape(len(images), -1)
        values = {name: cut(QUADRANTS[name]) for name in names}
    labels = class_codes(labels, np.arange(10), path or "digits")
    contents = np.stack([content_ids(view) for view in values.values()], 1)
    parts = _copies_together(labels, contents, group, split_seed)
    where = path or "digits"
    for name, part in zip(SPLITS, parts, strict=True):
        require(len(part) > 0, f"{where}: {name} rows", 0, f"more rows: there are {len(labels)}")
    for name, part in (("training", parts[0]), ("test", parts[2])):
        count = len(np.unique(labels[part]))
        require(count >= 2, f"{where}: digits of the {name} rows", count, "two or more")
    rows = np.concatenate(parts)
    return _vectors(
        {name: view[rows] for name, view in values.items()},
        {LABEL: labels[rows]},
        dict(zip(SPLITS, map(len, parts), strict=True)),
        path or "digits",
    )


def _copies_together(
    labels: np.ndarray, contents: np.ndarray, group: np.ndarray | None, split_seed: int
) -> list[np.ndarray]:
    """Parts of SHARES, where rows equal in all views go where the first of them is. Without groups
    no other row moves, as any would if the shuffle were of copies: figures of before stay
    comparable."""
    _, first, same = np.unique(contents, axis=0, return_index=True, return_inverse=True)
    same = same.reshape(-1)
    if group is not None:
        ids = np.unique(group, return_inverse=True)[1]
        linked = linked_groups(ids, same, np.arange(len(ids)))[0]
        return stratified_split(labels, SHARES, split_seed, linked)
    parts = stratified_split(labels, SHARES, split_seed)
    part_of = np.empty(len(contents), int)
    for number, rows in enumerate(parts):
        part_of[rows] = number
    part_of = part_of[first[same]]
    return [np.flatnonzero(part_of == number) for number in range(len(parts))]


def _check_names(names: Sequence[str]) -> None:
    require(len(set(names)) == len(names), "view_names", ",".join(names), "different names")


def _vectors(
    values: Mapping[str, Values],
    labels: Mapping[str, np.ndarray],
    sizes: Mapping[str, int],
    name: str,
) -> Dataset:
    """Rows `[n, ...]` as vectors, those of one split behind those of another."""
    split = np.repeat(list(sizes), list(sizes.values()))
    kinds = dict.fromkeys(values, "features")
    return Dataset.from_arrays(values, labels=labels, kinds=kinds, split=split, name=name)


def slant_of(images: np.ndarray) -> np.ndarray:
    """mu11 / mu02 of the ink `[n, h, w]`, `[n]` float64: shift to the right a row down."""
    ink = images.astype(np.float64)
    mass = np.maximum(ink.sum((1, 2)), 1e-12)
    places = np.meshgrid(np.arange(ink.shape[2]), np.arange(ink.shape[1]))
    x, y = (v - (ink * v).sum((1, 2), keepdims=True) / mass[:, None, None] for v in places)
    mu11, mu02 = (ink * x * y).sum((1, 2)), (ink * y * y).sum((1, 2))
    return np.where(mu02 > 0, mu11 / np.maximum(mu02, 1e-12), 0)


def slant_terciles(slants: dict, digits: dict) -> dict[str, np.ndarray]:
    """Part -> tercile of each row, by the training rows of its digit."""
    results = {part: np.zeros(len(values), np.int32) for part, values in slants.items()}
    for digit in range(10):
        edges = np.quantile(slants["train"][digits["train"] == digit], [1 / 3, 2 / 3])
        for part, values in slants.items():
            chosen = digits[part] == digit
            results[part][chosen] = np.searchsorted(edges, values[chosen])
    return results


def speech_data(path: str, image_rows: int) -> tuple[Dataset, Dataset]:
    """Reads av_digits.npz: log-mel spectrograms and MNIST images, official splits, as recorded.

    A share of the training rows, of every digit, is kept for validation: pairs of them have no
    recording in common with those that encoders and probes are fitted on.

    Args:
      path: with arrays mel `[n, bands, frames]`, audio_digit, audio_speaker, audio_is_test and
        image `[m, h, w]`, image_digit, image_is_test.
      image_rows: training and test images that are taken, at most, drawn always alike.

    Returns:
      audio and image, a modality each, with rows of their own in every split; nothing is trained
      on validation rows. Label `label` is the digit; audio's `speaker` a number from 0; image's
      `slant` 0 to 2, terciles among training images of the same digit, so that the digit doesn't
      tell it.

    Raises InvalidInput for a missing file or array, or a digit without training rows.
    """
    message = "use av_digits.npz, FSDD's log-mel spectrograms and MNIST's images in one file"
    if not path:
        raise InvalidInput(f"--data: table speech needs a file; {message}")
    stems = {"audio": ("mel", "audio"), "image": ("image", "image")}
    names = [f"{stem}_{k}" for _, stem in stems.values() for k in ("digit", "is_test")]
    arrays = read_arrays(path, ["mel", "image", *names, "audio_speaker"])
    rng, rows, labels = np.random.default_rng(0), {}, {}
    for side, (name, stem) in stems.items():
        tests = checked_split(path, f"{stem}_is_test", arrays[f"{stem}_is_test"])
        column = label_column(arrays[f"{stem}_digit"], f"{stem}_digit", path)
        digits = class_codes(column, np.arange(10), path)
        values = arrays[name]
        if values.dtype.kind not in "biuf" or values.ndim != 3 or not values.size:
            raise InvalidInput(f"{path}: {name} is {values.dtype} {values.shape}; {message}")
        columns = [n for n in arrays if n.startswith(f"{stem}_")]
        for column_name in columns:
            shape = arrays[column_name].shape
            if shape != (len(values),):
                told = f"{column_name} is {shape}, {name} has {len(values)} rows"
                raise InvalidInput(f"{path}: {told}; use one a row")
        for part, some in (("test", tests.any()), ("training", not tests.all())):
            require(bool(some), f"{path}: {part} rows of {side}", 0, f"{stem}_is_test with both")
        parts = {"train": np.flatnonzero(~tests), "test": np.flatnonzero(tests)}
        for part, result in parts.items():
            chosen = rng.permutation(result)[:image_rows] if side == "image" else result
            rows[side, part] = np.sort(chosen)
        whole = rows[side, "train"]
        least = np.bincount(digits[whole], minlength=10).min()
        share = max(CHOSEN_ON, 0.51 / max(1, least))  # one of every digit, at least
        held, fit = (whole[k] for k in stratified_split(digits[whole], [share], 0))
        rows |= {(side, "validation"): held, (side, "train"): fit}
        for digit in range(10):
            enough = (digits[rows[side, "train"]] == digit).any()
            require(enough, f"{path}: training rows of {side}", f"no {digit}", "all ten digits")
        labels[side] = digits
    at = lambda values, side: {part: values[rows[side, part]] for part in SPLITS}
    slants = {part: slant_of(images) for part, images in at(arrays["image"], "image").items()}
    terciles = slant_terciles(slants, at(labels["image"], "image"))
    _, speaker = np.unique(arrays["audio_speaker"], return_inverse=True)
    private = {
        "audio": {"speaker": at(speaker.astype(np.int32), "audio")},
        "image": {"slant": terciles},
    }

    def recorded(side):
        labelled = {LABEL: at(labels[side], side)} | private[side]
        columns = {
            name: np.concatenate([labelled[name][part] for part in SPLITS]) for name in labelled
        }
        order = np.concatenate([rows[side, part] for part in SPLITS])
        sizes = {part: len(rows[side, part]) for part in SPLITS}
        return _vectors({side: arrays[stems[side][0]][order]}, columns, sizes, side)

    return recorded("audio"), recorded("image")


def speech_pairs(audio: Dataset, image: Dataset, sizes: Mapping[str, int], seed: int) -> Dataset:
    """Pairs to probe: an utterance and an image of the same digit and split, drawn with return.

    Args:
      audio, image: the sides, see speech_data.
      sizes: part -> pairs, in the order of SPLITS.
      seed: of the draw.

    Returns:
      modalities audio and image, labels digit, speaker and slant.

    Raises InvalidInput where a digit has utterances but no images in a part.
    """
    rng, heard, shown = np.random.default_rng(seed), [], []
    for part, size in sizes.items():
        spoken, others = (np.flatnonzero(side.split == part) for side in (audio, image))
        drawn = spoken[rng.integers(0, len(spoken), size)]
        digits, known = audio.labels[LABEL][drawn], image.labels[LABEL][others]
        order = np.argsort(known, kind="stable")
        count = np.bincount(known, minlength=10)
        start = np.concatenate([[0], np.cumsum(count)[:-1]])
        if (count[digits] == 0).any():
            raise InvalidInput(f"--data: a digit has no {part} images; take more of them")
        place = start[digits] + (rng.random(size) * count[digits]).astype(int)
        heard.append(drawn)
        shown.append(others[order[place]])
    one, other = audio.take(np.concatenate(heard)), image.take(np.concatenate(shown))
    values = {name: c.values for side in (one, other) for name, c in side.columns.items()}
    labels = {"digit": one.labels[LABEL], "speaker": one.labels["speaker"]}
    return _vectors(values, labels | {"slant": other.labels["slant"]}, sizes, "speech")

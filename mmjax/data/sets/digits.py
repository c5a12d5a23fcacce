"""Digits as recorded: several views of handwritten ones, and spoken beside handwritten ones."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mmjax.data.feature_sets import class_codes, stratified_split
from mmjax.data.files.checks import label_column
from mmjax.data.files.npz import read_arrays
from mmjax.data.multimodal import MultimodalData, MultimodalSplit, take_rows
from mmjax.errors import InvalidInput, require

DIGITS = tuple("0123456789")
SHARES = (0.6, 0.1)  # training and validation rows; the others are test rows
CHOSEN_ON = 0.1  # of speech's training rows: those that C is chosen on
PARTS = ("train", "validation", "test")
FILE_VIEWS = ("fou", "kar", "zer", "fac", "pix", "mor")
QUADRANTS = {
    "top_left": (slice(4), slice(4)),
    "bottom_right": (slice(4, 8), slice(4, 8)),
    "top_right": (slice(4), slice(4, 8)),
    "bottom_left": (slice(4, 8), slice(4)),
}


def digit_views(path: str, names: Sequence[str], split_seed: int) -> MultimodalData:
    """Views of the same digits, as recorded, in a stratified split 60 / 10 / 30.

    Args:
      path: an .npz of views `[n, features]` and `label` `[n]`, as uci_mfeat has them; empty: the
        quadrants of scikit-learn's 1797 digits of 8 x 8 pixels.
      names: of the views; empty: all that are known.
      split_seed: of the split.

    Raises InvalidInput for a name that is not known, and for a file that isn't so.
    """
    if path:
        names = names or FILE_VIEWS
        arrays = read_arrays(path, [*names, "label"])
        values = {name: arrays[name] for name in names}
        labels = label_column(arrays["label"], "label", path)
        for name, view in values.items():
            if view.dtype.kind not in "biuf" or view.ndim != 2 or len(view) != len(labels):
                told = f"{view.dtype} {view.shape}; use numbers [{len(labels)}, features]"
                raise InvalidInput(f"{path}: view {name!r} is {told}")
    else:
        from sklearn.datasets import load_digits

        digits = load_digits()
        images, labels = digits.images.astype(np.float32), digits.target
        names = names or tuple(QUADRANTS)
        known = all(name in QUADRANTS for name in names)
        require(known, "view_names", tuple(names), "some of " + ", ".join(QUADRANTS))
        cut = lambda part: images[:, part[0], part[1]].reshape(len(images), -1)
        values = {name: cut(QUADRANTS[name]) for name in names}
    labels = class_codes(labels, np.arange(10), path or "digits")
    whole = MultimodalSplit(values, {}, labels, None)
    parts = [take_rows(whole, rows) for rows in stratified_split(labels, SHARES, split_seed)]
    return MultimodalData(path or "digits", "classification", DIGITS, *parts)


class Speech(NamedTuple):
    """Spoken digits and images of digits.

    Attributes:
      audio, image: the sides, one modality each, with training, validation and test rows of their
        own; nothing is trained on the validation rows.
      speaker: part -> `[n]` int32 of audio's rows.
      slant: part -> `[n]` int32 of image's rows, 0 to 2: terciles among training images of the
        same digit, so that the digit doesn't tell it.
      speakers: how many.
    """

    audio: MultimodalData
    image: MultimodalData
    speaker: dict[str, np.ndarray]
    slant: dict[str, np.ndarray]
    speakers: int


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
    found = {part: np.zeros(len(values), np.int32) for part, values in slants.items()}
    for digit in range(10):
        edges = np.quantile(slants["train"][digits["train"] == digit], [1 / 3, 2 / 3])
        for part, values in slants.items():
            own = digits[part] == digit
            found[part][own] = np.searchsorted(edges, values[own])
    return found


def speech_data(path: str, image_rows: int) -> Speech:
    """Reads av_digits.npz: log-mel spectrograms and MNIST images, official splits, as recorded.

    A share of the training rows, of every digit, is kept for validation: pairs of them have no
    recording in common with those that encoders and probes are fitted on.

    Args:
      path: with arrays mel `[n, bands, frames]`, audio_digit, audio_speaker, audio_is_test and
        image `[m, h, w]`, image_digit, image_is_test.
      image_rows: training and test images that are taken, at most, drawn always alike.

    Raises InvalidInput for a missing file or array, or a digit without training rows.
    """
    told = "use av_digits.npz, FSDD's log-mel spectrograms and MNIST's images in one file"
    if not path:
        raise InvalidInput(f"--data: table speech needs a file; {told}")
    stems = {"audio": ("mel", "audio"), "image": ("image", "image")}
    names = [f"{stem}_{k}" for _, stem in stems.values() for k in ("digit", "is_test")]
    arrays = read_arrays(path, ["mel", "image", *names, "audio_speaker"])
    rng, rows, sides = np.random.default_rng(0), {}, {}
    for side, (name, stem) in stems.items():
        tests = arrays[f"{stem}_is_test"].astype(bool)
        column = label_column(arrays[f"{stem}_digit"], f"{stem}_digit", path)
        digits = class_codes(column, np.arange(10), path)
        values = arrays[name]
        if values.ndim != 3 or not len(values) == len(tests) == len(digits):
            raise InvalidInput(f"{path}: {name} is {values.shape}; {told}")
        parts = {"train": np.flatnonzero(~tests), "test": np.flatnonzero(tests)}
        for part, found in parts.items():
            chosen = rng.permutation(found)[:image_rows] if side == "image" else found
            rows[side, part] = np.sort(chosen)
        whole = rows[side, "train"]
        least = np.bincount(digits[whole], minlength=10).min()
        share = max(CHOSEN_ON, 0.51 / max(1, least))  # one of every digit, at least
        held, fit = (whole[k] for k in stratified_split(digits[whole], [share], 0))
        rows |= {(side, "validation"): held, (side, "train"): fit}
        for digit in range(10):
            enough = (digits[rows[side, "train"]] == digit).any()
            require(enough, f"{path}: training rows of {side}", f"no {digit}", "all ten digits")
        split = {
            part: MultimodalSplit(
                {side: values[rows[side, part]]}, {}, digits[rows[side, part]], None
            )
            for part in PARTS
        }
        sides[side] = MultimodalData(side, "classification", DIGITS, **split)
    at = lambda name, side: {part: arrays[name][rows[side, part]] for part in PARTS}
    digits = {part: getattr(sides["image"], part).labels for part in PARTS}
    slants = {part: slant_of(images) for part, images in at("image", "image").items()}
    _, codes = np.unique(arrays["audio_speaker"], return_inverse=True)
    speaker = {part: codes[rows["audio", part]].astype(np.int32) for part in PARTS}
    slant = slant_terciles(slants, digits)
    return Speech(sides["audio"], sides["image"], speaker, slant, int(codes.max()) + 1)


def speech_pairs(
    speech: Speech, sizes: dict[str, int], seed: int
) -> tuple[MultimodalData, dict[str, dict[str, np.ndarray]]]:
    """Pairs to probe: an utterance and an image of the same digit and split, drawn with return.

    Args:
      speech: the sides.
      sizes: part -> pairs.
      seed: of the draw.

    Returns:
      The pairs, and target -> part -> labels: digit, speaker, slant.
    """
    rng, splits = np.random.default_rng(seed), {}
    targets = {"digit": {}, "speaker": {}, "slant": {}}
    for part, size in sizes.items():
        audio, image = getattr(speech.audio, part), getattr(speech.image, part)
        heard = rng.integers(0, len(audio.labels), size)
        order = np.argsort(image.labels, kind="stable")
        count = np.bincount(image.labels, minlength=10)
        start = np.concatenate([[0], np.cumsum(count)[:-1]])
        own = audio.labels[heard]
        if (count[own] == 0).any():
            raise InvalidInput(f"--data: a digit has no {part} images; take more of them")
        shown = order[start[own] + (rng.random(size) * count[own]).astype(int)]
        values = {**take_rows(audio, heard).modalities, **take_rows(image, shown).modalities}
        splits[part] = MultimodalSplit(values, {}, own, None)
        targets["digit"][part] = own
        targets["speaker"][part] = speech.speaker[part][heard]
        targets["slant"][part] = speech.slant[part][shown]
    return speech.audio._replace(name="speech", **{"validation": None, **splits}), targets

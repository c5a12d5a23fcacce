"""Features of images and texts by a CLIP, part by part, so that a kill costs little."""

import dataclasses
import hashlib
import json
import math
import os
import sys
import zipfile
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from mmjax.config import option
from mmjax.data.clip.config import ClipConfig
from mmjax.data.clip.folder import read_clip
from mmjax.data.clip.images import ClipPixels, image_batches, read_pixels, standardise_pixels
from mmjax.data.clip.inputs import ClipInputs
from mmjax.data.clip.tokens import ClipTokenizer, read_tokenizer
from mmjax.data.files.pictures import printable
from mmjax.encoders.clip import clip_encoders
from mmjax.errors import InvalidInput, given, require
from mmjax.numerics import normalise
from mmjax.report import code_span
from mmjax.run import Run, atomic_write, machine, progress_line, save_arrays
from mmjax.run.identity import hash_of_files
from mmjax.run.report import read_json
from mmjax.train import Interrupted

EXPERIMENT = "extract_features"
_WRITTEN = "written.json"  # hash of the features that the run has written


@dataclasses.dataclass(frozen=True)
class EmbeddingOptions:
    """The model, and how it embeds."""

    model: str = option(
        "", "folder of a CLIP, Hugging Face's or OpenCLIP's, with safetensors", file=True
    )
    normalise: bool = option(False, "features are scaled to length 1")
    skip_corrupt: bool = option(False, "leave out images that can't be read, else stop at one")
    batch_size: int = option(64, "rows embedded at once")
    save_every: int = option(32, "batches between two savings")
    workers: int = option(8, "threads that decode images")


@dataclasses.dataclass(frozen=True)
class Claim:
    """What the features depend on: a workdir holds one of it. `inputs` stands for the contents."""

    model: str
    images: str
    texts: str
    output: str
    normalise: bool
    batch_size: int
    inputs: str


class Part(NamedTuple):
    """Features of some rows.

    Attributes:
      end: number of the first row behind the part.
      rows: `[k]` int64, the rows that are in it, corrupt images left out.
      image, text: `[k, d]` float32, or `[k, 0]` where there are none.
    """

    end: np.ndarray
    rows: np.ndarray
    image: np.ndarray
    text: np.ndarray


def fingerprint(inputs: ClipInputs, model: str) -> str:
    """A hash of names and texts, and of what the images and the model's files hold."""
    digest = hashlib.sha256(repr((inputs.names, inputs.texts)).encode("utf-8", "surrogatepass"))
    with os.scandir(model) as result:
        files = sorted(e.path for e in result if e.name.endswith((".json", ".txt", ".safetensors")))
    for paths in (files, list(inputs.paths or ())):
        digest.update(hash_of_files(paths).encode())
    return digest.hexdigest()[:16]


def note_written(run: Run, output: str) -> None:
    """Keeps a hash of what the run has written."""
    atomic_write(run.path(_WRITTEN), json.dumps(hash_of_files([output])) + "\n")


def check_written(run: Run, output: str) -> None:
    """Raises InvalidInput where the file holds something else; runs of before kept no hash."""
    kept = read_json(run.path(_WRITTEN))
    if kept and kept != hash_of_files([output]):
        raise InvalidInput(
            f"--output: {output!r} is not what this run wrote; move it away, and the same command "
            "writes it again"
        )


def saved_parts(folder: str) -> list[Part]:
    """The parts from row 0 on, without a gap; one that can't be read is made again."""
    parts, start = [], 0
    while os.path.isfile(path := os.path.join(folder, f"{start:09d}.npz")):
        try:
            with np.load(path, allow_pickle=False) as file:
                part = Part(*(file[name] for name in Part._fields))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            break
        parts.append(part)
        start = int(part.end)
    return parts


class Encoders(NamedTuple):
    """A model ready to use, without the side that the inputs don't have.

    Attributes:
      pixels: how images are prepared.
      image: `[batch_size, size, size, 3]` uint8 -> `[batch_size, d]` float32.
      text: batch_size strings -> `[batch_size, d]` float32.
    """

    pixels: ClipPixels
    image: Callable[[np.ndarray], np.ndarray] | None
    text: Callable[[list[str]], np.ndarray] | None


def make_encoders(config: EmbeddingOptions, inputs: ClipInputs) -> Encoders:
    """Reads the model's folder; batches are spread over the local devices."""
    model = read_clip(config.model)
    clip = clip_encoders(model.config)
    count = math.gcd(config.batch_size, jax.local_device_count())
    mesh = Mesh(np.array(jax.local_devices()[:count]), ("batch",))
    everywhere, by_row = (NamedSharding(mesh, PartitionSpec(*p)) for p in ((), ("batch",)))
    scaled = normalise if config.normalise else lambda x: x

    def on_devices(encoder, params, prepare):
        params = jax.device_put(params, everywhere)
        apply = jax.jit(lambda params, x: scaled(encoder.apply(params, {}, prepare(x))))
        return lambda x: np.asarray(apply(params, jax.device_put(x, by_row)))

    pixels = read_pixels(config.model, model.config.image_size)
    image = text = None
    if inputs.paths is not None:
        standardise = lambda x: standardise_pixels(x, pixels)
        image = on_devices(clip.image, model.params["image"], standardise)
    if inputs.texts is not None:
        tokenizer = _checked_tokenizer(config.model, model.config)
        of_tokens = on_devices(clip.text, model.params["text"], lambda x: x)
        text = lambda x: of_tokens(tokenizer.encode(x, model.config.context_length))
    return Encoders(pixels, image, text)


def _checked_tokenizer(folder: str, sizes: ClipConfig) -> ClipTokenizer:
    tokenizer = read_tokenizer(folder)
    allowed = f"a vocabulary of at most {sizes.vocabulary_size} tokens, the model's"
    good = tokenizer.size <= sizes.vocabulary_size
    require(good, f"{folder}: tokens of the vocabulary", tokenizer.size, allowed)
    good = sizes.eos in (None, tokenizer.end)
    require(good, f"{folder}: eos_token_id", sizes.eos, f"the tokenizer's, {tokenizer.end}")
    return tokenizer


def _filled(values: list, size: int) -> list:
    """The last batch is filled up with its last row: one shape, one compilation."""
    return [*values, *values[-1:] * (size - len(values))]


def _readable(paths: list[str], images: list, skip: bool) -> np.ndarray:
    """Which images of a batch are there, `[k]` bool; the others are told, or refused."""
    for path, image in zip(paths, images, strict=True):
        if isinstance(image, str):
            if not skip:
                raise InvalidInput(
                    f"{printable(path)}: corrupt image ({image}); pass "
                    "--skip_corrupt, or mend it and take another --workdir"
                )
            print(f"{printable(path)}: corrupt image ({image}), left out", file=sys.stderr)
    return np.array([not isinstance(image, str) for image in images], bool)


def embed_batch(
    config: EmbeddingOptions,
    encoders: Encoders,
    inputs: ClipInputs,
    start: int,
    images: list | None,
) -> Part:
    """Features of the batch that starts at a row; of pairs neither where the image is corrupt."""
    size = config.batch_size
    end = min(start + size, len(inputs.names))
    kept = np.ones(end - start, bool)
    if images is not None:
        paths = given(inputs.paths, "paths", "those of the images")
        kept = _readable(paths[start:end], images, config.skip_corrupt)
    rows = start + np.flatnonzero(kept)
    none = np.zeros((len(rows), 0), np.float32)
    image = text = none
    if encoders.image and len(rows):
        batch = given(images, "images", "those of the batch")
        whole = [image for image in batch if not isinstance(image, str)]
        image = encoders.image(np.stack(_filled(whole, size)))[: len(rows)]
    if encoders.text and len(rows):
        texts = given(inputs.texts, "texts", "one a row")
        text = encoders.text(_filled([texts[row] for row in rows], size))[: len(rows)]
    for what, x in (("image", image), ("text", text)):
        bad = rows[~np.isfinite(x).all(axis=1)]
        if len(bad):
            message = f"{what} features of {inputs.names[bad[0]]!r} have NaN or infinity"
            raise InvalidInput(f"{config.model}: {message}; its weights can't be used")
    return Part(np.array(end, np.int64), rows, image, text)


def extract(
    config: EmbeddingOptions, run: Run, inputs: ClipInputs, encoders: Encoders
) -> list[Part]:
    """Embeds the rows that no part holds yet; raises Interrupted on a signal, all done saved."""
    folder, n = run.path("parts"), len(inputs.names)
    os.makedirs(folder, exist_ok=True)
    parts = saved_parts(folder)
    fresh: list[Part] = []
    first = int(parts[-1].end) if parts else 0
    show = progress_line("embedding", n, unit="rows")

    def save() -> None:
        if fresh:
            part, start = joined(fresh), int(parts[-1].end) if parts else 0
            save_arrays(os.path.join(folder, f"{start:09d}.npz"), **part._asdict())
            parts.append(part)
            fresh.clear()

    size = config.batch_size
    starts = range(first, n, size)
    batches = None
    if encoders.image:
        paths = given(inputs.paths, "paths", "those of the images")[first:]
        batches = image_batches(paths, encoders.pixels, batch_size=size, workers=config.workers)
    try:
        for start in starts:
            if (signum := run.stop()) is not None:
                raise Interrupted(signum)
            images = None if batches is None else next(batches)
            fresh.append(embed_batch(config, encoders, inputs, start, images))
            show(int(fresh[-1].end))
            if len(fresh) == config.save_every:
                save()
    finally:
        if batches is not None:
            batches.close()
        save()
    return parts


def joined(parts: list[Part]) -> Part:
    """One part of several in a row; those without a row have no width either."""
    full = [part for part in parts if len(part.rows)] or parts[:1]
    stacked = (np.concatenate(arrays) for arrays in list(zip(*full, strict=True))[1:])
    return Part(parts[-1].end, *stacked)


def arrays_of(inputs: ClipInputs, whole: Part) -> dict[str, np.ndarray]:
    """What the file holds."""
    column = lambda values: np.array([values[row] for row in whole.rows], str)
    if inputs.paths is None or inputs.texts is None:
        features = whole.image if inputs.texts is None else whole.text
        results = {"feature_list": features, "name_list": column(inputs.names)}
        return results | ({"label_list": column(inputs.labels)} if inputs.labels else {})
    return {
        "image_features": whole.image,
        "text_features": whole.text,
        "names": column(inputs.names),
        "texts": column(inputs.texts),
    }


def summary(
    config: EmbeddingOptions, inputs: ClipInputs, arrays: dict, output: str, rows: np.ndarray
) -> str:
    """What was embedded, what the file holds, and what was left out."""
    missing = sorted(set(range(len(inputs.names))) - set(rows.tolist()))
    lines = [f"# {EXPERIMENT}", f"{config.model} on {machine()}: {output}"]
    lines.append("\n".join(f"- {name} {x.shape} {x.dtype}" for name, x in arrays.items()))
    for count, what, names in (
        (len(missing), "corrupt images left out", [inputs.names[row] for row in missing]),
        (len(inputs.others), "other files and folders left out", inputs.others),
    ):
        if count:
            listed = [f"- {code_span(name)}" for name in names]
            lines.append(f"{count} {what}:\n\n" + "\n".join(listed))
    return "\n\n".join(lines) + "\n"


def checked_output(output: str, run: Run) -> str:
    """The file to write, by default in the workdir. Raises InvalidInput where it can't be."""
    output = output or run.path("features.npz")
    require(output.endswith(".npz"), "--output", output, "a name that ends in .npz")
    folder = os.path.dirname(os.path.abspath(output))
    there = folder == os.path.abspath(run.workdir)  # which is made if it is not there
    there = there or (os.path.isdir(folder) and os.access(folder, os.W_OK))
    require(there, "--output", output, "a file in an existing folder that can be written to")
    require(not os.path.isdir(output), "--output", output, "a file, no folder")
    return output

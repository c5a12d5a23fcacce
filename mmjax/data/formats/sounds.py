"""Encoded sounds as log-mel spectra: in memory, or decoded when rows are asked for."""

import io
import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from math import gcd
from typing import NamedTuple

import numpy as np

from mmjax.data.files.optional import needed
from mmjax.data.formats.table import Files, for_good
from mmjax.data.values import Lazy
from mmjax.errors import InvalidInput, require

_FLOOR = 1e-10  # of a band's power, so that silence has a logarithm


class MelOptions(NamedTuple):
    """How a sound becomes a sequence of log-mel spectra.

    Attributes:
      rate: samples a second that all sounds are brought to (scipy.signal.resample_poly).
      mels: bands, the features of a step.
      window: seconds of a Hann window (periodic), and of its Fourier transform.
      hop: seconds from one window to the next; the first starts with the sound, the last ends
        within it. A sound shorter than a window is filled with zeros.
      low, high: Hz, of the lowest and the highest band's edges; high None: half the rate.
      seconds: of a sound that are taken, from its start; None: all.
    """

    rate: int = 16000
    mels: int = 64
    window: float = 0.025
    hop: float = 0.01
    low: float = 0.0
    high: float | None = None
    seconds: float | None = None


def log_mel(sound: np.ndarray, options: MelOptions) -> np.ndarray:
    """`[samples]` in [-1, 1] at options.rate -> `[steps, mels]` float32.

    log(1e-10 + sum_f w_mf |X_f|^2), X the transform of a windowed frame, w triangles on the mel
    scale of HTK, 2595 log10(1 + Hz / 700), each of sum 1.

    Raises InvalidInput for options that are out of range.
    """
    window, hop = _sizes(options)
    sound = np.asarray(sound, np.float64)
    sound = np.pad(sound, (0, max(0, window - len(sound))))
    frames = np.lib.stride_tricks.sliding_window_view(sound, window)[::hop]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    power = np.abs(np.fft.rfft(frames * hann, axis=-1)) ** 2
    return np.log(power @ _filters(options).T + _FLOOR).astype(np.float32)


@cache
def _filters(options: MelOptions) -> np.ndarray:
    """`[mels, bins]`."""
    window, _ = _sizes(options)
    high = options.rate / 2 if options.high is None else options.high
    good = 0 <= options.low < high <= options.rate / 2
    allowed = f"0 <= low < high <= {options.rate / 2:g}, half the rate"
    require(good, "sound: low and high", (options.low, high), allowed)
    to_mel = lambda hz: 2595 * np.log10(1 + hz / 700)
    edges = np.linspace(to_mel(options.low), to_mel(high), options.mels + 2)
    edges = 700 * (10 ** (edges / 2595) - 1)
    bins = np.arange(window // 2 + 1) * options.rate / window
    left, centre, right = (edges[k : k + options.mels, None] for k in range(3))
    triangles = np.minimum((bins - left) / (centre - left), (right - bins) / (right - centre))
    triangles = np.maximum(triangles, 0)
    sums = triangles.sum(1, keepdims=True)
    message = "fewer, a longer window, or a higher low: a band lies between two frequencies"
    require(bool((sums > 0).all()), "sound: mels", options.mels, message)
    return triangles / sums


def _sizes(options: MelOptions) -> tuple[int, int]:
    """(window, hop) in samples."""
    require(options.rate >= 1, "sound: rate", options.rate, "samples a second, >= 1")
    require(options.mels >= 1, "sound: mels", options.mels, "a whole number >= 1")
    window, hop = round(options.window * options.rate), round(options.hop * options.rate)
    require(window >= 2, "sound: window", options.window, "seconds of two samples or more")
    require(hop >= 1, "sound: hop", options.hop, "seconds of one sample or more")
    longest = options.seconds is None or options.seconds > 0
    require(longest, "sound: seconds", options.seconds, "a number > 0, or None")
    return window, hop


def sound_values(
    files: Files, options: MelOptions, *, stream: bool | None, limit: int
) -> tuple[np.ndarray | Lazy, np.ndarray, int]:
    """Log-mel spectra `[n, longest, mels]` float32, steps of each `[n]`, and how many were cut.

    Zeros behind the end, and where a row has no sound, which has no steps. Channels are averaged.

    Args:
      files: of kind sound.
      options: see MelOptions.
      stream, limit: as in picture_values.

    Raises InvalidInput that names the file that is no whole sound, then or when it is decoded.
    """
    first = next(name for name in files.names if name)
    needed("soundfile", first)
    _filters(options)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(lambda row: _about(files, row, options), range(len(files.names))))
    steps = np.array([count for count, _ in results])
    shape = (len(steps), int(steps.max()), options.mels)

    def decode(rows: np.ndarray) -> np.ndarray:
        out = np.zeros((len(rows), *shape[1:]), np.float32)
        for into, row in zip(out, rows.tolist(), strict=True):
            if files.names[row]:
                into[: steps[row]] = _decoded(files, row, options, int(steps[row]))
        return out

    cut = sum(is_cut for _, is_cut in results)
    if (4 * int(np.prod(shape)) > limit) if stream is None else stream:
        lazy = Lazy(shape, np.dtype(np.float32), decode, lambda row: for_good(files.names[row]))
        return lazy, steps, cut
    values = np.empty(shape, np.float32)

    def fill(row: int) -> None:
        values[row] = decode(np.array([row]))[0]

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(fill, range(len(values))))
    return values, steps, cut


def _about(files: Files, row: int, options: MelOptions) -> tuple[int, bool]:
    """How many steps a row's sound has, by its header, and whether it is cut."""
    if not files.names[row]:
        return 0, False
    import soundfile

    try:
        about = soundfile.info(io.BytesIO(files.read(row)))
    except (soundfile.SoundFileError, OSError, ValueError) as error:
        raise _broken(files.names[row], error) from error
    if not about.frames:
        raise InvalidInput(f"{files.names[row]}: holds no samples")
    window, hop = _sizes(options)
    samples, most = _resampled(about.frames, about.samplerate, options.rate), _most(options)
    taken = samples if most is None else min(samples, most)
    return 1 + max(0, taken - window) // hop, taken < samples


def _most(options: MelOptions) -> int | None:
    if options.seconds is None:
        return None
    return max(1, round(options.seconds * options.rate))


def _resampled(samples: int, rate: int, wanted: int) -> int:
    common = gcd(rate, wanted)
    return -(-samples * (wanted // common) // (rate // common))


def _decoded(files: Files, row: int, options: MelOptions, steps: int) -> np.ndarray:
    import soundfile
    from scipy.signal import resample_poly

    name = files.names[row]
    try:
        sound, rate = soundfile.read(io.BytesIO(files.read(row)), dtype="float64", always_2d=True)
    except (soundfile.SoundFileError, OSError, ValueError) as error:
        raise _broken(name, error) from error
    if not np.isfinite(sound).all():
        raise InvalidInput(f"{name}: has NaN or infinity")
    sound, common = sound.mean(1), gcd(rate, options.rate)
    if rate != options.rate:
        sound = resample_poly(sound, options.rate // common, rate // common)
    spectra = log_mel(sound[: _most(options)], options)
    if len(spectra) != steps:
        raise InvalidInput(f"{name}: no whole sound (it ends before its header says)")
    return spectra


def _broken(name: str, error: Exception) -> InvalidInput:
    reason = " ".join(str(error).split()).rpartition(": ")[2].rstrip(".")
    return InvalidInput(f"{name}: no whole sound ({reason})")

"""Sounds as log-mel spectra: against SciPy in float64, against real published ones, from files."""

import io
import os
from fractions import Fraction

import numpy as np
import pytest
import scipy.signal
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from mmjax.data.formats import MelOptions, log_mel, read
from mmjax.data.values import Lazy
from mmjax.errors import InvalidInput

SMALL = MelOptions(rate=8000, mels=10, window=0.02, hop=0.005, low=60.0)
RNG = np.random.default_rng(0)
SOUNDS = [RNG.uniform(-0.5, 0.5, n) for n in (801, 400, 100, 1600)]


def _mel(hz):
    return 1127.0 * np.log1p(np.asarray(hz) / 700.0)


def _scipys(sound, options):
    """The definition, by other means: scipy's transform, filters band by band and bin by bin."""
    window, hop = (int(round(s * options.rate)) for s in (options.window, options.hop))
    sound = np.concatenate([sound, np.zeros(max(0, window - len(sound)))])
    hz, _, spectrum = scipy.signal.stft(
        sound, options.rate, "hann", window, window - hop, boundary=None, padded=False
    )  # fmt: skip
    power = np.abs(spectrum * scipy.signal.get_window("hann", window).sum()) ** 2
    high = options.high or options.rate / 2
    edges = np.linspace(_mel(options.low), _mel(high), options.mels + 2)
    edges = 700 * np.expm1(edges / 1127.0)
    out = np.zeros((power.shape[1], options.mels))
    for m in range(options.mels):
        weights = np.interp(hz, edges[m : m + 3], [0, 1, 0], left=0, right=0)
        out[:, m] = (weights / weights.sum()) @ power
    return np.log(out + 1e-10)


@given(
    samples=st.integers(1, 900),
    mels=st.integers(1, 12),
    sizes=st.sampled_from([(0.02, 0.005), (0.016, 0.016), (0.0201, 0.03)]),
    scale=st.sampled_from([0.0, 1e-6, 1.0]),
)
@settings(max_examples=40, deadline=None)
def test_log_mel_is_scipys(samples, mels, sizes, scale):
    options = MelOptions(8000, mels, *sizes, low=60.0, high=3500.0)
    sound = scale * np.random.default_rng(samples).normal(size=samples)
    found = log_mel(sound, options)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, _scipys(sound, options), rtol=2e-5, atol=2e-5)


def test_a_tone_lies_in_its_band():
    options = MelOptions(8000, 20)
    edges = 700 * np.expm1(np.linspace(0, _mel(4000), 22) / 1127.0)
    for band in (5, 10, 15):
        tone = np.sin(2 * np.pi * edges[band + 1] * np.arange(8000) / 8000)
        assert (log_mel(tone, options).argmax(1) == band).all()


def test_published_spectra_of_real_speech():
    """Those of av_digits, which another program computed; its first window is centred on 0."""
    root = os.path.join(os.path.dirname(__file__), "../../shared/data/av_digits")
    if not os.path.isdir(root):
        pytest.skip("shared/data/av_digits is not here")
    with np.load(os.path.join(root, "fsdd_waveforms.npz")) as file:
        waves, offset = file["wave"], file["offset"]
    with np.load(os.path.join(root, "av_digits.npz")) as file:
        published = file["mel_fixedhop"]
    options = MelOptions(8000, 32, 256 / 8000, 200 / 8000, 50.0, 4000.0)
    for clip in range(0, 3000, 300):
        wave = np.pad(waves[offset[clip] : offset[clip + 1]] / 32768, (128, 0))
        found = log_mel(wave, options)[:32]
        wanted = published[clip, :, : len(found)].T.astype(np.float32)
        np.testing.assert_allclose(found, wanted, atol=0.01)  # float16


@pytest.mark.parametrize("name, value, word", [
    ("mels", 0, "mels"), ("mels", 300, "fewer"), ("rate", 0, "rate"), ("window", 0.0, "window"),
    ("hop", 0.0, "hop"), ("high", 9000.0, "half the rate"), ("low", -1.0, "low"),
    ("seconds", 0.0, "seconds"),
])  # fmt: skip
def test_options_out_of_range_are_refused(name, value, word):
    with pytest.raises(InvalidInput, match=word):
        log_mel(np.zeros(900), SMALL._replace(**{name: value}))


def _write(folder, ending="wav", rate=8000, **more):
    for k, sound in enumerate(SOUNDS):
        soundfile.write(folder / f"{k}.{ending}", sound, rate, **more)
    rows = [f"{k}.{ending},word {k}" for k in range(len(SOUNDS))] + [",no sound"]
    (folder / "list.csv").write_text("clip,text\n" + "\n".join(rows))
    return folder / "list.csv"


def _read(path, **options):
    return read(path, sound=options.pop("sound", SMALL), split=(1, 0, 0), **options)


def _spectra(data):
    column = data.columns["clip"]
    lazy = isinstance(column.values, Lazy)
    values = column.values.read(np.arange(data.num_rows)[::-1])[::-1] if lazy else column.values
    assert not values[~column.seen].any()
    return [row[seen] for row, seen in zip(values, column.seen, strict=True)]


@pytest.mark.parametrize("stream", [None, True], ids=["memory", "files"])
@pytest.mark.parametrize("ending", ["wav", "WAV", "flac", "ogg"])
def test_sounds_of_a_table(ending, stream, tmp_path):
    data = _read(_write(tmp_path, ending), stream=stream)
    assert data.columns["clip"].kind == "sequence"
    assert data.present["clip"].tolist() == [True] * 4 + [False]
    for k, found in enumerate(_spectra(data)[:4]):
        sound, _ = soundfile.read(tmp_path / f"{k}.{ending}")
        np.testing.assert_allclose(found, log_mel(sound, SMALL), atol=1e-6)
        if ending != "ogg":  # which loses what is not heard, and these are noise
            np.testing.assert_allclose(found, log_mel(SOUNDS[k], SMALL), atol=0.05)
    assert len(_spectra(data)[4]) == 0


@pytest.mark.parametrize("rate", [11025, 16000, 8000])
def test_sounds_are_brought_to_one_rate_and_one_channel(rate, tmp_path):
    for k, sound in enumerate(SOUNDS):
        soundfile.write(tmp_path / f"{k}.wav", np.stack([sound, 0 * sound], 1), rate, "FLOAT")
    data = _read(tmp_path).only("audio")
    ratio = Fraction(8000, rate)
    for sound, spectra, seen in zip(
        SOUNDS, data.columns["audio"].values, data.columns["audio"].seen, strict=True
    ):
        sound = sound.astype(np.float32).astype(float) / 2
        wanted = scipy.signal.resample_poly(sound, ratio.numerator, ratio.denominator)
        wanted = _scipys(wanted, SMALL)
        assert seen.sum() == len(wanted)
        np.testing.assert_allclose(spectra[seen], wanted, atol=1e-4)


def test_sounds_that_are_cut_are_counted(tmp_path):
    data = _read(_write(tmp_path), sound=SMALL._replace(seconds=0.05))
    assert "clip: 2 sounds cut to 0.05 seconds" in data.remarks
    whole = _spectra(_read(tmp_path / "list.csv"))
    for found, wanted in zip(_spectra(data), whole, strict=True):
        np.testing.assert_array_equal(found, wanted[:7])


def test_broken_sounds_are_named(tmp_path):
    path = _write(tmp_path)
    (tmp_path / "1.wav").write_bytes(b"RIFF, but no more")
    with pytest.raises(InvalidInput, match="1.wav: no whole sound") as error:
        _read(path)
    assert "\n" not in str(error.value)
    content = io.BytesIO()
    soundfile.write(content, RNG.uniform(-1, 1, 8000), 8000, format="FLAC")
    (tmp_path / "1.wav").write_bytes(content.getvalue()[:-4000])
    with pytest.raises(InvalidInput, match="1.wav: no whole sound"):
        _read(path)
    soundfile.write(tmp_path / "1.wav", np.array([0.1, np.nan] * 100), 8000, "FLOAT")
    with pytest.raises(InvalidInput, match="1.wav: has NaN or infinity"):
        _read(path)
    soundfile.write(tmp_path / "1.wav", np.zeros(0), 8000)
    with pytest.raises(InvalidInput, match="1.wav: holds no samples"):
        _read(path)

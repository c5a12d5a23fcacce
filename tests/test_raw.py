"""Raw values beside embeddings: what they are of each kind, and why where there are none."""

import jax
import numpy as np
import pytest

import mmjax as mm
from mmjax.models.raw import components_remark, raw_values, shortened, widths_remark

N, STEPS = 120, 8
KEY = jax.random.key(0)
HOW = dict(dim=4, steps=1, batch_size=16, validate_every=0, progress=False, parallel="single")


def bumps():
    """Sequences `[N, STEPS, 2]` that differ by the place of a bump alone, and that place."""
    place = np.arange(N) % 4
    values = 0.1 * np.random.default_rng(0).normal(size=(N, STEPS, 2))
    values[np.arange(N), 2 * place] += 3
    return (values - values.mean(1, keepdims=True)).astype(np.float32), place


def trained(rows, labels, nets=None, **options):
    data = mm.Dataset.from_arrays(rows, labels=labels, split=(0.6, 0.2, 0.2), **options)
    return mm.fit(data, key=KEY, nets=nets, **HOW), data


@pytest.fixture(scope="module")
def sequences():
    values, place = bumps()
    return trained({"a": values, "b": values[:, :, 0]}, {"place": place}, kinds={"a": "sequence"})


def test_sequences_of_one_length_are_all_their_steps(sequences):
    """Their means over steps are all alike: of these nothing could be read."""
    model, data = sequences
    found = mm.probe(model, data, "place")
    assert found.raw["a"] == 1.0 > 0.6 > found.chance
    assert "raw: of a all 8 steps side by side" in found.remarks
    values = raw_values(model, data).values
    assert values["a"].shape == (N, 2 * STEPS) and values["all"].shape == (N, 3 * STEPS)
    alone = mm.probe(model, data, "place", modalities=["b"])
    assert not [line for line in alone.remarks if line.startswith("raw: ")]


def test_sequences_of_several_lengths_are_means_and_deviations():
    rng = np.random.default_rng(1)
    loud = np.arange(N) % 2
    lengths = rng.integers(4, STEPS + 1, N)
    rows = [(1 + 3 * k) * rng.normal(size=(n, 4)) for k, n in zip(loud, lengths, strict=True)]
    rows = [(v - v.mean(0)).astype(np.float32) for v in rows]  # means tell nothing
    model, data = trained(
        {"a": rows, "b": rng.normal(size=(N, 3)).astype(np.float32)},
        {"loud": loud},
        nets={"a": mm.nets.transformer(8, 1, 1)},
    )
    found = mm.probe(model, data, "loud")
    assert found.raw["a"] > 0.9 > found.chance
    told = "raw: of a mean and standard deviation over its steps, not every step"
    assert told in found.remarks and told in mm.retrieval(model, data).remarks
    values = raw_values(model, data).values["a"]
    scaled = np.stack([rows[k] for k in range(N) if lengths[k] == STEPS])
    spread = scaled.std(1) / np.concatenate(rows[:1]).std() if len(scaled) else None
    ratio = values[lengths == STEPS][:, 4:] / spread
    assert np.ptp(ratio, 0).max() / ratio.mean() < 1e-3  # deviations, up to each column's scale


def test_what_is_not_there_is_said_to_be_missing(sequences):
    model, data = sequences
    asked = mm.probe(model, data, "place", raw=False)
    assert not asked.raw and "raw: none was asked for (raw=False)" in asked.remarks
    rng = np.random.default_rng(2)
    colour = np.arange(N) % 3
    text = np.array(["red", "green", "blue"])[colour]
    pair = {"a": rng.normal(size=(N, 4)).astype(np.float32), "text": text}
    model, data = trained(pair, {"colour": colour})
    told = "raw: none of text: text is no vector of numbers; all: fewer than two have raw values"
    assert told in str(mm.probe(model, data, "colour")).splitlines()
    assert told in mm.retrieval(model, data).remarks


def test_remarks_name_modalities_and_widths():
    raw = {"a": np.zeros((2, 5)), "b": np.zeros((2, 1200)), "all": np.zeros((2, 1205))}
    (line,) = components_remark(raw)
    told = "the probe reads a row's leading principal components, 256 at most"
    assert line == f"raw: of b (1,200), all (1,205) {told}"
    assert not components_remark({"a": raw["a"]})
    (line,) = widths_remark(raw, ["a", "b"])
    assert line.endswith("different numbers of values a row (a has 5, b has 1,200)")
    assert not widths_remark(raw, ["a"])


def test_wide_values_of_few_rows_are_no_noise():
    """A probe takes every column in its own unit: of components the last would drown the first."""
    rng = np.random.default_rng(0)
    level, rows = rng.normal(size=300), np.arange(300) < 240
    x = level[:, None] + rng.normal(size=(300, 5000))
    split = np.where(rows, "train", "test")
    wide = mm.Dataset.from_arrays(
        x=shortened(x.astype(np.float32), rows), labels={"level": level}, split=split
    )
    assert mm.probe(None, wide, "level").embedding["x"] > 0.95


def test_wide_values_are_shortened():
    x = np.random.default_rng(3).normal(size=(400, 300)).astype(np.float32)
    x[0, 0] = np.nan
    found = shortened(x, np.arange(400) < 350)
    assert found.shape == (400, 256) and np.isnan(found[0]).all() and np.isfinite(found[1:]).all()
    assert shortened(x[:, :200], np.ones(400, bool)).shape == (400, 200)

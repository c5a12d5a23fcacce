"""What is asked for and would do nothing, or is something else, is told in a line by its name."""

import jax
import numpy as np
import pytest

import mmjax as mm
from mmjax import Fusion
from mmjax.errors import InvalidInput
from mmjax.nets.tokens import train_bpe

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4))
ROWS = dict(x=X, t=X + 0.1)
DATA = mm.Dataset.from_arrays(ROWS, labels={"y": np.arange(60) % 3}, split=(0.6, 0.2, 0.2))
NONE_HELD = mm.Dataset.from_arrays(ROWS, split=(1, 0, 0))


def fit(data=DATA, **options):
    options = dict(dim=8, steps=2, batch_size=8, progress=False) | options
    return mm.fit(data, key=jax.random.key(0), **options)


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(fusion=1), "fusion: .*int .*a mm.Fusion"),
        (dict(augment={"x": 1}), "augment of x: .*int .*a function"),
        (dict(augment=["x"]), "augment: .*list .*a dict"),
        (dict(augment={"x": lambda key, seen: seen[:, :2]}), r"augment of x: shape: \(1, 2\)"),
        (dict(augment={"x": lambda key: key}), "augment of x fails: TypeError"),
        (dict(stop=3), "stop: .*int .*a function"),
        (dict(workdir=3), "workdir: .*int .*the path"),
        (dict(chunk=0), "chunk: 0 .*>= 1"),
        (dict(nets=5), "nets: .*int .*a dict"),
        (dict(loggers="wandb"), r"loggers: 'wandb' .*\['wandb'\]"),
        (dict(loggers=5), "loggers: 5 .*a list of names"),
        (dict(progress="no"), "progress: 'no' .*True or False"),
        (dict(head=["sphere"]), r"head: \['sphere'\]"),
        (dict(head="box", fusion=Fusion()), "head: 'box' .*here is a fusion"),
        (dict(tokenizer=3), "tokenizer: .*int .*a Tokenizer"),
        (dict(tokenizer=train_bpe(["a b"])), "tokenizer: .*no modality is text"),
        (dict(data=NONE_HELD, monitor=lambda model, rows: 1.0), "monitor: .*nothing is validated"),
        (dict(data=NONE_HELD, monitor="accuracy"), "monitor: 'accuracy'"),
        (dict(clip_norm="a"), "clip_norm: 'a' .*a number"),
        (dict(learning_rate=float("nan")), "learning_rate: nan .*a number"),
        (dict(fusion=Fusion(masking=-1)), "fusion: masking: -1"),
        (dict(fusion=Fusion(layers=1.5)), "fusion: layers: 1.5"),
    ],
)
def test_is_refused_by_its_name(options, message):
    with pytest.raises(InvalidInput, match=message):
        fit(**options)


OF = mm.Dataset.from_arrays
SEQUENCES = X[:16].reshape(4, 4, 4)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: OF(x=X[:2], t=X[:2], present={"x": [1, 2]}), "present x: 2 in row 1"),
        (lambda: OF(x=X[:2], t=X[:2], present={"x": ["1", "0"]}), "present x: '1' in row 0"),
        (lambda: OF(x=X[:2], t=X[:2], present={"x": [1, np.nan]}), "present x: nan in row 1"),
        (lambda: OF(x=SEQUENCES, lengths={"x": [1, 2, 9, 4]}), "lengths x: 9 in row 2"),
        (lambda: OF(x=SEQUENCES, lengths={"x": [1.0, 2.5, 3, 4]}), "lengths x: 2.5 in row 1"),
        (lambda: OF(x=SEQUENCES, lengths={"x": np.full((4, 4), 3)}), "lengths x: 3 in row 0"),
        (lambda: OF(w=[np.nan, "b", "c"]), "w: row 0 is nan, others are text; use None"),
        (lambda: OF(w=np.array([3, "b", "c"], object)), "w: row 0 is 3, others are text"),
        (lambda: OF(s=[[[1, 2], [3]], [[1, 2], [3, 4]]]), "s: row 0 is of lists of different"),
        (lambda: OF(x=X, split=None), "split: None .*three shares"),
        (lambda: OF(x=X, split="train"), "split: 'train' .*a list of train"),
        (lambda: OF(x=X, split={"train": 0.8, "test": 0.2}), "split: {.*three shares"),
        (lambda: OF(x=X, seed="a"), "seed: 'a'"),
        (lambda: OF(x=X, linked="no"), "linked: 'no' .*True or False"),
        (lambda: OF(x=X, t=X[:59]), "rows of t: 59 .*60, as many as x has"),
    ],
)
def test_a_value_is_shown_not_its_dtype(make, message):
    with pytest.raises(InvalidInput, match=message):
        make()


def test_values_count_not_how_they_are_stored():
    shares = OF(x=X, split=(0.8, 0.1, 0.1)).split
    for given in (np.array([0.8, 0.1, 0.1]), np.array([0.8, 0.1, 0.1], np.float32)):
        assert np.array_equal(OF(x=X, split=given).split, shares)
        assert np.array_equal(OF(x=X, split=list(given)).split, shares)
    present = OF(x=X, t=X, present={"x": np.r_[np.ones(59), 0.0]}).present["x"]
    assert present.dtype == bool and present.sum() == 59
    data = OF(x=SEQUENCES, lengths={"x": [1.0, 2.0, 3.0, 4.0]}, split=(1, 0, 0))
    assert data.columns["x"].seen.sum(1).tolist() == [1, 2, 3, 4]


def test_sequences_of_ints_and_floats_are_numbers():
    rows = [[[1, 2]], [[1.5, 2], [3, 4]], [[5, 6.25]]]
    column = OF(s=rows, split=(1, 0, 0)).columns["s"]
    assert column.values[1].tolist() == rows[1] and column.values[2, 0].tolist() == [5, 6.25]


def test_arrays_of_unequal_rows_are_not_left_out_in_silence(tmp_path):
    path = tmp_path / "pairs.npz"
    word = np.arange(60) % 3
    np.savez(path, x=X, t=X[:59], word=word)
    with pytest.raises(InvalidInput, match="word has 60 rows, t has 59"):
        mm.read(path, labels=["word"])
    with pytest.raises(InvalidInput, match="x has 60 rows, t has 59 rows"):
        mm.read(path, modalities={"x": "x", "t": "t"}, labels=["word"])
    np.savez(path, x=X, t=X, word=word[:59])
    with pytest.raises(InvalidInput, match="word has 59 rows, x has 60"):
        mm.read(path, labels=["word"])
    np.savez(path, x=X, t=X, word=word, means=X[:3])
    assert list(mm.read(path, labels=["word"]).columns) == ["x", "t"]

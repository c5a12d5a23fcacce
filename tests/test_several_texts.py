"""Several texts a row: training draws one of them a step, evaluation takes the first."""

import h5py
import jax
import numpy as np
import pytest

import mmjax as mm
from mmjax.data.columns import all_texts
from mmjax.errors import InvalidInput
from mmjax.models import trained_on
from mmjax.nets.prepare import fit_preparation, preparations_of
from mmjax.nets.tokens import train_bpe
from mmjax.train.rows import rows_of

KEY = jax.random.key(0)
TEXTS = [["a cat", "one cat", "the cat"], "a dog", ["a fox", "a dog"], ["an owl", "one owl"]]


def dataset(texts=TEXTS, **given):
    x = np.arange(len(texts), dtype=np.float32)[:, None] * np.ones(3, np.float32)
    return mm.Dataset.from_arrays(x=x, text=texts, **dict(split=["train"] * len(texts)) | given)


def rows_and_words(data):
    column, every = data.columns["text"], np.ones(data.num_rows, bool)
    words = train_bpe(all_texts(column, every))
    own = preparations_of(data.only("x"), unscaled=("x",))
    own["text"] = fit_preparation("text", column, every, words)
    return rows_of(data, own, {}, order=0), words


def test_rows_hold_their_texts():
    data = dataset()
    column = data.columns["text"]
    assert column.values.tolist() == ["a cat", "a dog", "a fox", "an owl"]
    assert column.others.tolist() == [("one cat", "the cat"), (), ("a dog",), ("one owl",)]
    assert "text, up to 3 a row" in str(data)
    part = data.take([2, 0])
    assert part.columns["text"].others.tolist() == [("a dog",), ("one cat", "the cat")]
    assert dataset(["a", ["b"]]).columns["text"].others is None
    assert dataset(np.array([["a", "b"]] * 2)).columns["text"].others.tolist() == [("b",)] * 2
    lacks = dataset([["a", "b"], None])
    assert lacks.present["text"].tolist() == [True, False]
    for bad in ([], 3, ["a", 3]):
        with pytest.raises(InvalidInput, match="text: row 1 is"):
            dataset([["a", "b"], bad])


def test_an_hdf5_file_may_hold_several_texts_a_row(tmp_path):
    texts = np.array([["a cat", "a dog"], ["an owl", ""], ["a fox", "foxes"]])
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["caption"], file["x"] = texts.astype("S"), np.eye(3, dtype=np.float32)
    where = {"text": "caption", "x": "x"}
    column = mm.read(str(tmp_path / "data.h5"), modalities=where).columns["text"]
    assert column.values.tolist() == ["a cat", "an owl", "a fox"]
    np.savez(tmp_path / "data.npz", caption=texts, x=np.eye(3, dtype=np.float32))
    same = mm.read(str(tmp_path / "data.npz"), modalities=where).columns["text"]
    assert column.others.tolist() == same.others.tolist()


def test_training_draws_each_text_of_a_row_by_the_key_of_the_step():
    rows, words = rows_and_words(dataset())
    batch, feed = 4 * 300, rows.feed(4 * 300, 2)
    fed = next(feed(0, KEY))
    draw = jax.jit(lambda key, fed: rows.source(rows.constants, key, fed))
    found = draw(KEY, fed)
    seen, own = np.asarray(found["values"]["text"]["values"]), fed["rows"][:, 0]
    known = {tuple(words.encode([text])[0].tolist()): text for text in sum(map(_list, TEXTS), [])}
    texts = np.array([known[tuple(tokens)] for tokens in seen.tolist()])
    for row, every in enumerate(map(_list, TEXTS)):
        counts = {text: int(np.sum(texts[own == row] == text)) for text in every}
        assert sum(counts.values()) == 300  # its own, no others
        expected = 300 / len(every)
        assert all(abs(count - expected) < 5 * expected**0.5 for count in counts.values())
    # Rows that drew the same text are no negatives of each other in this step.
    ids = np.asarray(found["ids"])
    assert ids.shape == (batch, 3)
    np.testing.assert_array_equal(ids[:, 2][:, None] == ids[:, 2], texts[:, None] == texts)
    again = np.asarray(draw(KEY, fed)["values"]["text"]["values"])
    np.testing.assert_array_equal(again, seen)  # a resumed step has its key
    other = np.asarray(draw(jax.random.key(1), fed)["values"]["text"]["values"])
    assert (other != seen).any()


def _list(texts):
    return [texts] if isinstance(texts, str) else texts


def test_evaluation_takes_the_first_and_trained_texts_are_known():
    data = dataset()
    nets = {"x": mm.nets.mlp((4,))}
    model = mm.fit(data, dim=2, key=KEY, nets=nets, steps=2, progress=False, parallel="single")
    first = dataset([_list(own)[0] for own in TEXTS])
    np.testing.assert_array_equal(model.embed(data)["text"], model.embed(first)["text"])
    later = dataset([_list(own)[-1] for own in TEXTS])
    assert trained_on(model, later).all()
    assert not trained_on(model, dataset(["a new one"] * 4)).any()

"""Tokenizers: texts come back from their tokens, a saved one is equal, broken ones are told."""

import json
import subprocess
import sys

import hypothesis
import hypothesis.strategies as st
import jax
import numpy as np
import pytest
import tokenizers

from mmjax import nets
from mmjax.data.files import optional
from mmjax.errors import InvalidInput
from mmjax.nets import Observed, clip_tokenizer, read_tokenizer, tokenizer_from_json, train_bpe
from tests.clip_folders import GOLDEN, TEXTS, copy_golden, write_openclip

CORPUS = [f"a {size} {hue} {form}" for size in ("small", "large") for hue in ("red", "blue")
          for form in ("cube", "ball", "cone")]  # fmt: skip


def _library(tokenizer):
    return tokenizers.Tokenizer.from_str(json.dumps(tokenizer.to_json()["tokenizers"]))


@hypothesis.settings(max_examples=60, deadline=None)
@hypothesis.given(st.lists(st.text(max_size=12), max_size=4))
def test_no_text_is_unknown(texts):
    """Bytes: any text comes back, composed, but for the space before its first word."""
    tokenizer = _SMALL
    tokens = tokenizer.encode(texts)
    assert tokens.shape == (len(texts), 40) and tokens.dtype == np.int32
    assert tokens.size == 0 or (tokens.min() >= 0 and tokens.max() < tokenizer.vocabulary_size)
    library = _library(tokenizer)
    whole = [clean.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for clean in texts]
    composed = [library.normalizer.normalize_str(text) for text in whole]
    for row, text in zip(tokens, composed, strict=True):
        found = library.decode([int(k) for k in row if k], skip_special_tokens=False)
        spaced = text if text[:1].isspace() or not text else " " + text
        if len(row[row > 0]) < 40:
            assert found in (spaced, " " + text)


_SMALL = train_bpe(CORPUS, length=40)


def test_pairs_that_stand_often_are_merged():
    assert 257 < _SMALL.vocabulary_size < 400  # of a tiny corpus: not 4096
    rows = _SMALL.encode(["a small red cube", "red", ""])
    lengths = (rows > 0).sum(1)
    assert lengths.tolist() == [4, 1, 0]
    assert (rows[:, -1] == 0).all() and rows[1, 0] == rows[0, 2]


@pytest.mark.parametrize("size", [257, 260, 300])
def test_a_vocabulary_has_at_most_its_size(size):
    tokenizer = train_bpe(CORPUS, size)
    assert tokenizer.vocabulary_size <= size
    assert (tokenizer.vocabulary_size == size) == (size < 300)
    assert tokenizer.length == max(len(row[row > 0]) for row in tokenizer.encode(CORPUS))


@pytest.mark.parametrize("corpus", [[], [""], ["", "é"], ["\ud800 half"]])
def test_corpora_of_almost_nothing(corpus):
    tokenizer = train_bpe(corpus)
    assert tokenizer.vocabulary_size >= 257 and tokenizer.length >= 1
    assert tokenizer.encode([*corpus, ""]).shape == (len(corpus) + 1, tokenizer.length)
    assert not tokenizer.encode([""]).any()


def test_what_is_cut_is_counted():
    tokenizer = train_bpe(CORPUS, length=3)
    texts = ["a red cube", "a small red cube", "", "a large blue ball", "cone"]
    assert tokenizer.count_cut(texts) == 2
    longer = train_bpe(CORPUS, length=9).encode(texts)
    np.testing.assert_array_equal(tokenizer.encode(texts), longer[:, :3])
    assert train_bpe(["word " * 1000]).length == 256


def test_the_same_texts_give_the_same_tokenizer():
    assert train_bpe(CORPUS * 40, 400).to_json() == train_bpe(CORPUS * 40, 400).to_json()


@pytest.mark.slow
def test_another_process_gives_the_same_tokenizer():
    """With other hashes of strings."""
    code = (
        "import json; from tests.test_tokens import CORPUS; from mmjax.nets import train_bpe;"
        "print(json.dumps(train_bpe(CORPUS * 40, 400).to_json()))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(run.stdout) == train_bpe(CORPUS * 40, 400).to_json()


def _saved(tmp_path, pad="<pad>", frame=False):
    """A file with its padding at 0 and, if framed, tokens around a text."""
    special = [pad, "<s>", "</s>"]
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(unk_token="<s>"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    trainer = tokenizers.trainers.WordLevelTrainer(special_tokens=special, show_progress=False)
    made.train_from_iterator(CORPUS, trainer)
    if frame:
        made.post_processor = tokenizers.processors.TemplateProcessing(
            "<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
        )
    made.enable_padding(pad_id=1, pad_token="<s>")  # what a file says of padding is not used
    path = tmp_path / "tokenizer.json"
    made.save(str(path))
    return str(path), made


@pytest.mark.parametrize("pad, shift", [("<pad>", 0), ("[PAD]", 0), ("zero", 1)])
def test_files_of_the_library(pad, shift, tmp_path):
    path, made = _saved(tmp_path, pad, frame=True)
    tokenizer = read_tokenizer(path, 6)
    rows = tokenizer.encode(["a red cube", "a small blue cone on it", ""])
    ids = made.encode("a red cube").ids
    assert rows[0].tolist() == [k + shift for k in ids] + [0]
    assert rows[1, [0, -1]].tolist() == [1 + shift, 2 + shift]  # the frame stays
    assert tokenizer.count_cut(["a red cube", "a small blue cone on it"]) == 1
    assert tokenizer.vocabulary_size == made.get_vocab_size() + shift
    with pytest.raises(InvalidInput, match="length: 2 is not allowed; use more than the 2 tokens"):
        read_tokenizer(path, 2)


def _every(tmp_path):
    yield train_bpe(CORPUS, length=7)
    yield read_tokenizer(_saved(tmp_path, "zero", frame=True)[0], 7)
    yield clip_tokenizer(str(GOLDEN), 7)
    yield clip_tokenizer(str(write_openclip(tmp_path / "openclip")), 7)


def test_a_saved_tokenizer_is_equal(tmp_path):
    texts = [*CORPUS, *TEXTS, "&amp; <|endoftext|> Ünı\ud800"]
    for tokenizer in _every(tmp_path):
        saved = json.dumps(tokenizer.to_json())
        again = tokenizer_from_json(json.loads(saved))
        assert json.dumps(again.to_json()) == saved
        np.testing.assert_array_equal(again.encode(texts), tokenizer.encode(texts))
        assert again.count_cut(texts) == tokenizer.count_cut(texts) > 0
        assert (again.vocabulary_size, again.length) == (tokenizer.vocabulary_size, 7)


def test_a_net_of_text_takes_what_a_tokenizer_gives():
    tokens = _SMALL.encode([*CORPUS[:2], ""])
    observed = Observed((_SMALL.length,), _SMALL.vocabulary_size)
    encoder = nets.text_transformer(8, 1, 2).make(3, observed)
    params, statistics = encoder.init(jax.random.key(0), observed.shape)
    out = encoder.apply(params, statistics, tokens)
    assert np.isfinite(out).all() and not np.allclose(out[0], out[1])
    np.testing.assert_allclose(out[2], params["Dense_0"]["bias"], atol=1e-6)  # an empty text


def test_broken_tokenizers_are_told(tmp_path, monkeypatch):
    broken = tmp_path / "broken.json"
    broken.write_text('{"model": 3}')
    saved = _SMALL.to_json()
    clip = clip_tokenizer(str(GOLDEN), 7).to_json()
    folder = copy_golden(tmp_path / "model")
    calls = (
        (lambda: train_bpe(CORPUS, 256), "vocabulary_size: 256 is not allowed"),
        (lambda: train_bpe(CORPUS, length=0), "length: 0"),
        (lambda: read_tokenizer(str(broken)), "broken.json: no file of the package tokenizers ("),
        (lambda: tokenizer_from_json({}), "tokenizer: [] is not allowed"),
        (lambda: tokenizer_from_json({**saved, "shift": 5}), "tokenizer: shift: 5"),
        (lambda: tokenizer_from_json({**saved, "tokenizers": 3}), "tokenizer: no file"),
        (lambda: tokenizer_from_json({**clip, "clip": {}}), "a CLIP's tokenizer: []"),
        (
            lambda: tokenizer_from_json({**clip, "clip": {**clip["clip"], "tokenizers": 1}}),
            "a CLIP's tokenizer: ",
        ),
    )
    for call, told in calls:
        with pytest.raises(InvalidInput) as error:
            call()
        assert told in str(error.value) and "\n" not in str(error.value)

    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(optional.importlib, "import_module", missing)
    for call in (lambda: train_bpe(CORPUS), lambda: clip_tokenizer(str(folder), 7)):
        with pytest.raises(InvalidInput, match="needs `pip install tokenizers`$"):
            call()

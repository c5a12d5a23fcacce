"""Captions, words and token ids: hand-checked, and equal on host and device."""

import hashlib
import itertools
import json

import jax
import numpy as np
import pytest

from mmjax.data.sets.captions import (
    TEMPLATES,
    build_vocabulary,
    caption,
    caption_encoder,
    encode,
    longest,
    scene_vocabulary,
    vocabulary_from_json,
    vocabulary_to_json,
    words,
)
from mmjax.errors import InvalidInput
from mmjax.generative.colours import colour_names, reachable_colours
from mmjax.generative.scenes import scene_model
from mmjax.types import TextFactors

RED = colour_names().index("tab:red")
# SHA-256 of the JSON of nltk.tokenize.NLTKWordTokenizer().tokenize, NLTK 3.8.1 and 3.10.4 alike.
DIGEST = "8ae8bd64b41778e24159f928e6df7e5106a91f1918416da2656227b6e4af9e20"


def _factors(shapes=range(7), xs=range(3), ys=range(3), colours=(RED,), phrasings=range(5)):
    columns = np.array(list(itertools.product(shapes, xs, ys, colours, phrasings)), np.int32).T
    shape, xpos, ypos, colour, phrasing = columns
    return TextFactors(shape, xpos, ypos, np.zeros(len(shape), np.float32), colour, phrasing)


@pytest.fixture(scope="module")
def reachable():
    return _factors(colours=reachable_colours())


def test_sentences_are_those_of_the_data_set():
    assert caption(_factors(shapes=[4], xs=[2], ys=[1])) == [
        'A armadillo of "tab:red" color is visible, positioned at the mid-right of the image.',
        'A "tab:red" armadillo is at the mid-right of the image.',
        'The mid-right of the image shows a "tab:red" colored armadillo.',
        'At the mid-right of the picture is a armadillo in "tab:red" color.',
        'At the mid-right of the image, there is a "tab:red" object in the form of a armadillo.',
    ]
    told = caption(_factors(phrasings=[1]))
    assert told[0] == 'A "tab:red" teapot is at the top-left of the image.'
    assert [text.split()[2] for text in told[::9]] == (
        "teapot hare dragon cow armadillo horse head".split()
    )
    places = [text.split()[6] for text in told[:9]]
    assert places == [
        f"{y}-{x}" for x in ("left", "center", "right") for y in ("top", "mid", "bottom")
    ]


@pytest.mark.parametrize(
    "text, expected",
    [
        (
            'A hare of "tab:red" color is visible, positioned at the top-left.',
            "A hare of `` tab : red '' color is visible , positioned at the top-left .",
        ),
        (
            'The mid-right of the image shows a "xkcd:blue/purple" colored cow.',
            "The mid-right of the image shows a `` xkcd : blue/purple '' colored cow .",
        ),
        (
            'A "xkcd:robin\'s egg" head is at the top-center of the image.',
            "A `` xkcd : robin 's egg '' head is at the top-center of the image .",
        ),
        ('"Isn\'t it," she said, "odd?"', "`` Is n't it , '' she said , `` odd ? ''"),
        ("They'll say we've won, I'd bet.", "They 'll say we 've won , I 'd bet ."),
        ("The dogs' bowls are 'good'.", "The dogs ' bowls are ' good ' ."),
        ("It cost $3,000.50 (50% off) at 10:30.", "It cost $ 3,000.50 ( 50 % off ) at 10:30 ."),
        ("Wait... what--no! O'Brien cannot.", "Wait ... what -- no ! O'Brien can not ."),
        (
            "A cow. Two hares. Dr. Smith's, e.g. this.",
            "A cow . Two hares . Dr. Smith 's , e.g. this .",
        ),
        ("'Twas gonna rain", "'T was gon na rain"),
        ("It ends (so it's said.)", "It ends ( so it 's said . )"),
        ("a  state-of-the-art\ttoken\n", "a state-of-the-art token"),
        ("", ""),
    ],
)
def test_words(text, expected):
    assert words(text) == expected.split()


def test_words_of_all_colours_are_those_of_nltk():
    """All names and phrasings, against the digest of what NLTK gives."""
    told = [
        words(template.format(SHAPE="hare", YPOS="mid", XPOS="left", COLOR=name))
        for name in colour_names()
        for template in TEMPLATES
    ]
    assert hashlib.sha256(json.dumps(told).encode()).hexdigest() == DIGEST


def test_captions_have_108_words_and_13_to_25_tokens(reachable):
    """Every colour that some hue has, in every phrasing, shape and position."""
    cut = [words(text) for text in caption(reachable)]
    assert (min(map(len, cut)), max(map(len, cut))) == (13, 25)
    found = {word for sentence in cut for word in sentence}
    assert len(found) == 108
    assert scene_vocabulary().words[:3] == ("{pad}", "{eos}", "{unk}")
    assert len(scene_vocabulary().words) == 111 and set(scene_vocabulary().words[3:]) == found


def test_vocabulary_numbers_words_in_order_of_appearance():
    vocabulary = build_vocabulary(["a cow.", "the cow, a hare."])
    assert vocabulary.words == ("{pad}", "{eos}", "{unk}", "a", "cow", ".", "the", ",", "hare")
    assert all(vocabulary.words[k] == word for word, k in vocabulary.ids.items())
    assert vocabulary == build_vocabulary(["a cow.", "the cow, a hare."])
    assert vocabulary != build_vocabulary(["the cow, a hare.", "a cow."])


def test_ids_end_and_are_padded():
    vocabulary = build_vocabulary(["a cow."])
    ids = encode(["a cow.", "a red cow.", "cow", "a cow."], vocabulary, 5)
    assert ids.dtype == np.int32
    assert longest(["a cow.", "a red cow."]) == 5
    assert ids.tolist() == [[3, 4, 5, 1, 0], [3, 2, 4, 5, 1], [4, 1, 0, 0, 0], [3, 4, 5, 1, 0]]
    with pytest.raises(InvalidInput, match="^length: 4 is not allowed; use 5 or more for 'a red"):
        encode(["a cow.", "a red cow."], vocabulary, 4)


def test_vocabulary_survives_its_file():
    vocabulary = scene_vocabulary()
    text = vocabulary_to_json(vocabulary)
    assert vocabulary_from_json(text, "v.json") == vocabulary
    assert json.loads(text)["i2w"]["0"] == "{pad}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"w2i": 3}',
        '{"w2i": {"{pad}": 0, "{eos}": 1, "{unk}": 2, "a": 4}}',
        '{"w2i": {"{pad}": 0, "{eos}": 1, "{unk}": 2, "a": "b"}}',
        '{"w2i": {"{eos}": 0, "{pad}": 1, "{unk}": 2}}',
        '{"w2i": {"{pad}": 0, "{eos}": 1, "{unk}": 2, "a": 3, "b": 3}}',
    ],
)
def test_a_bad_vocabulary_is_told_in_one_line(text):
    with pytest.raises(InvalidInput, match="^v.json: ") as told:
        vocabulary_from_json(text, "v.json")
    assert "\n" not in str(told.value)


def test_device_and_host_give_the_same_ids(reachable):
    vocabulary = scene_vocabulary()
    tokens, length = caption_encoder(vocabulary)
    found = np.asarray(jax.jit(tokens)(reachable))
    assert length == 26 and found.dtype == np.int32
    np.testing.assert_array_equal(found, encode(caption(reachable), vocabulary, length))
    assert not (found == vocabulary.ids["{unk}"]).any()


def test_device_and_host_agree_on_unknown_words_and_longer_rows():
    drawn = jax.jit(scene_model().sample, static_argnums=1)(jax.random.key(0), 500).text
    vocabulary = build_vocabulary(caption(_factors(shapes=[0, 3], xs=[0], phrasings=[0, 2])))
    tokens, length = caption_encoder(vocabulary, 40)
    found = np.asarray(jax.jit(tokens)(drawn))
    assert found.shape == (500, length) == (500, 40)
    np.testing.assert_array_equal(found, encode(caption(drawn), vocabulary, 40))
    with pytest.raises(InvalidInput, match="^length: 25 is not allowed"):
        caption_encoder(vocabulary, 25)


def test_a_colour_that_no_hue_has_is_unknown():
    colour = colour_names().index("xkcd:robin's egg")
    tokens, _ = caption_encoder(scene_vocabulary())
    assert (np.asarray(tokens(_factors([0], [0], [0], [colour], [1]))) == 2).all()

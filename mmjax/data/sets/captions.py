"""Captions of Multimodal3DIdent (Daunhawer et al. 2023): sentences, words, token ids.

Sentences are cut into words by the Penn Treebank's conventions, as NLTK's word_tokenize does:
double quotes become `` and '', the final period and n't, 's, 're stand alone, hyphens and slashes
stay.
"""

import functools
import json
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from mmjax.errors import InvalidInput, require
from mmjax.generative.colours import COLOURS, colour_names, reachable_colours
from mmjax.types import Array, TextFactors

XPOS = ("left", "center", "right")
YPOS = ("top", "mid", "bottom")
SHAPES = ("teapot", "hare", "dragon", "cow", "armadillo", "horse", "head")
TEMPLATES = (
    'A {SHAPE} of "{COLOR}" color is visible, positioned at the {YPOS}-{XPOS} of the image.',
    'A "{COLOR}" {SHAPE} is at the {YPOS}-{XPOS} of the image.',
    'The {YPOS}-{XPOS} of the image shows a "{COLOR}" colored {SHAPE}.',
    'At the {YPOS}-{XPOS} of the picture is a {SHAPE} in "{COLOR}" color.',
    'At the {YPOS}-{XPOS} of the image, there is a "{COLOR}" object in the form of a {SHAPE}.',
)
SPECIAL = ("{pad}", "{eos}", "{unk}")
PAD, EOS, UNK = range(3)


def caption(factors: TextFactors) -> list[str]:
    """The sentences that the factors describe; `[n]` whole numbers in range each."""
    columns = zip(
        *(
            np.asarray(column).tolist()
            for column in (
                factors.text_phrasing,
                factors.object_shape,
                factors.object_ypos,
                factors.object_xpos,
                factors.object_color_index,
            )
        ),
        strict=True,
    )
    names = colour_names()
    return [
        TEMPLATES[phrasing].format(
            SHAPE=SHAPES[shape], YPOS=YPOS[ypos], XPOS=XPOS[xpos], COLOR=names[colour]
        )
        for phrasing, shape, ypos, xpos, colour in columns
    ]


def caption_ids(factors: TextFactors) -> Array:
    """`[n]` int32, equal where captions are: all that `caption` depends on, as one number."""
    digits = (
        (factors.object_color_index, COLOURS),
        (factors.object_shape, len(SHAPES)),
        (factors.object_xpos, len(XPOS)),
        (factors.object_ypos, len(YPOS)),
        (factors.text_phrasing, len(TEMPLATES)),
    )
    ids = jnp.zeros(jnp.shape(factors.text_phrasing), jnp.int32)
    for digit, base in digits:
        ids = ids * base + jnp.asarray(digit, jnp.int32)
    return ids


# What may follow the period that ends a sentence.
_CLOSING = r"""[\])}>"'»”’\s]*"""
_TOKEN = re.compile(
    rf"""
    \.{{2,}} | -- | `+ | '' | \.(?={_CLOSING}\Z)
    | [][(){{}}<>?!;@\#$%&*"«»“”„‘’] | [:,](?!\d)
    | (?: [^][(){{}}<>?!;@\#$%&*"«»“”„‘’`\s:,.'-]
        | [:,](?=\d) | \.(?!\.|{_CLOSING}\Z) | '(?!') | -(?!-) )+
    """,
    re.VERBOSE,
)
_ENDING = re.compile(r"(.*[^'])('s|'m|'d|'|'ll|'re|'ve|n't)", re.IGNORECASE)
_OPENING = re.compile(r"'(?!(?:re|ve|ll|m|t|s|d|n)\b)\w", re.IGNORECASE)
_FUSED = {  # where the Treebank cuts words without an apostrophe, or before one
    **dict.fromkeys(("cannot", "gimme", "gonna", "gotta", "lemme", "wanna"), 3),
    **{"d'ye": 1, "more'n": 4, "'tis": 2, "'twas": 2},
}
_ABBREVIATIONS = frozenset(
    "mr mrs ms dr prof st jr sr vs etc e.g i.e cf fig no vol approx inc ltd co u.s u.k".split()
)
_BOUNDARY = re.compile(r"""(\S+?)[.?!]["')\]]*(\s+)(?=["'(\[]*[A-Z0-9])""")


def words(text: str) -> list[str]:
    """A text's words and marks, in order.

    Sentences end at . ? ! before a capital or a digit, except after initials and common
    abbreviations; only the last period of a sentence stands alone.
    """
    return [word for sentence in _sentences(text) for word in _sentence_words(sentence)]


def _sentences(text: str) -> list[str]:
    cuts = [0]
    for match in _BOUNDARY.finditer(text):
        before = match[1].lstrip("\"'([").lower()
        period = text[match.end(1)] == "."
        if not (period and (before in _ABBREVIATIONS or (len(before) == 1 and before.isalpha()))):
            cuts.append(match.start(2))
    return [text[a:b].strip() for a, b in zip(cuts, [*cuts[1:], len(text)], strict=True)]


def _sentence_words(sentence: str) -> list[str]:
    results = []
    for match in _TOKEN.finditer(sentence):
        token, start = match[0], match.start()
        if token in ('"', "''"):
            opens = start == 0 or sentence[start - 1].isspace() or sentence[start - 1] in "([{<"
            results.append("``" if opens else "''")
        else:
            results += _parts(token)
    return results


def _parts(word: str) -> list[str]:
    """A word without spaces, cut at its contraction and behind a quote that opens it."""
    if word.lower() in _FUSED:
        cut = _FUSED[word.lower()]
        return [word[:cut], word[cut:]]
    if _OPENING.match(word):
        return ["'", *_parts(word[1:])]
    match = _ENDING.fullmatch(word)
    return [match[1], match[2]] if match else [word]


class Vocabulary(NamedTuple):
    """Words and their ids.

    Attributes:
      words: the word of each id; {pad}, {eos}, {unk} first.
      ids: word -> id.
    """

    words: tuple[str, ...]
    ids: dict[str, int]


def _vocabulary(all_words: Sequence[str]) -> Vocabulary:
    return Vocabulary(tuple(all_words), {word: k for k, word in enumerate(all_words)})


def build_vocabulary(texts: Sequence[str]) -> Vocabulary:
    """All words of the texts, numbered from 3 in order of first appearance."""
    unique = dict.fromkeys(texts)
    return _vocabulary(
        list(dict.fromkeys([*SPECIAL, *(w for text in unique for w in words(text))]))
    )


@functools.cache
def scene_vocabulary() -> Vocabulary:
    """The 108 words that captions of sampled scenes can have, after the special ones."""
    colours = reachable_colours()
    phrasing, colour = np.divmod(np.arange(len(TEMPLATES) * len(colours)), len(colours))
    place = np.arange(len(colour))
    return build_vocabulary(
        caption(
            TextFactors(place % 7, place % 3, place // 3 % 3, 0 * place, colours[colour], phrasing)
        )
    )


def vocabulary_to_json(vocabulary: Vocabulary) -> str:
    """The vocabulary as the text of a file: words to ids and back, as the official loader does."""
    back = {str(k): word for k, word in enumerate(vocabulary.words)}
    return json.dumps({"w2i": vocabulary.ids, "i2w": back}, ensure_ascii=False) + "\n"


def vocabulary_from_json(text: str, name: str) -> Vocabulary:
    """The vocabulary in the text of such a file; name is the file's, for errors.

    Raises InvalidInput unless `w2i` numbers its words 0, 1, ... with {pad}, {eos}, {unk} first.
    """
    try:
        ids = json.loads(text)["w2i"]
        ordered = sorted(ids, key=ids.get)
        numbers = [ids[word] for word in ordered]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InvalidInput(f"{name}: no vocabulary; use JSON with word ids under 'w2i'") from error
    if numbers != list(range(len(numbers))) or tuple(ordered[:3]) != SPECIAL:
        raise InvalidInput(
            f"{name}: word ids must be 0, 1, 2, ... without gaps, {', '.join(SPECIAL)} first"
        )
    return _vocabulary(ordered)


def longest(texts: Sequence[str]) -> int:
    """The sequence length that holds every text and its {eos}."""
    return 1 + max(len(words(text)) for text in dict.fromkeys(texts))


def encode(texts: Sequence[str], vocabulary: Vocabulary, length: int) -> np.ndarray:
    """Texts as ids: words, then {eos}, then {pad}; words outside the vocabulary are {unk}.

    Returns:
      `[n, length]` int32.

    Raises InvalidInput where a text has no room for its {eos}.
    """
    rows = {text: row for row, text in enumerate(dict.fromkeys(texts))}
    table = np.full((len(rows), length), PAD, np.int32)
    for text, row in rows.items():
        ids = [vocabulary.ids.get(word, UNK) for word in words(text)]
        require(len(ids) < length, "length", length, f"{len(ids) + 1} or more for {text!r}")
        table[row, : len(ids) + 1] = [*ids, EOS]
    return table[[rows[text] for text in texts]].reshape(len(texts), length)


def caption_encoder(
    vocabulary: Vocabulary, length: int | None = None
) -> tuple[Callable[[TextFactors], Array], int]:
    """Captions as ids on the device: what encode gives for caption(factors), without strings.

    Args:
      vocabulary: its words outside are {unk}.
      length: of the sequences; default the longest caption and its {eos}, 26.

    Returns:
      `tokens(factors)`, a pure function to `[n, length]` int32, and the length. The colours must be
      reachable from a hue (those of scene_model are); all ids of another colour's row are {unk}.

    Raises InvalidInput for a length that the longest caption exceeds.
    """
    colours = reachable_colours()
    # The shape and the position are one word each, whatever the rest: slots to be filled in.
    names = colour_names()
    slots = [
        template.format(SHAPE="SHAPE", YPOS="YPOS", XPOS="XPOS", COLOR=names[colour])
        for colour in colours
        for template in TEMPLATES
    ]
    length = longest(slots) if length is None else length
    with_slots = _vocabulary([*vocabulary.words, "SHAPE", "YPOS-XPOS"])
    size = len(vocabulary.words)
    table = encode(slots, with_slots, length).reshape(len(colours), len(TEMPLATES), length)
    row = np.full(COLOURS, len(colours))
    row[colours] = np.arange(len(colours))
    table = np.concatenate([table, np.full((1, *table.shape[1:]), UNK, np.int32)])
    id_of = lambda word: vocabulary.ids.get(word, UNK)
    shape_ids = np.array([id_of(shape) for shape in SHAPES], np.int32)
    place_ids = np.array([[id_of(f"{y}-{x}") for x in XPOS] for y in YPOS], np.int32)

    def tokens(factors: TextFactors) -> Array:
        rows = jnp.asarray(row)[factors.object_color_index]
        ids = jnp.asarray(table)[rows, factors.text_phrasing]
        shape = jnp.asarray(shape_ids)[factors.object_shape]
        place = jnp.asarray(place_ids)[factors.object_ypos, factors.object_xpos]
        ids = jnp.where(ids == size, shape[:, None], ids)
        return jnp.where(ids == size + 1, place[:, None], ids)

    return tokens, length

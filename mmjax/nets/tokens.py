"""Tokenizers of texts: byte pairs learned from them, a file of `tokenizers`, or a CLIP's own."""

import json
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from mmjax.data.clip import tokens as clip_tokens
from mmjax.data.clip.tokens import ClipTokenizer, encodable
from mmjax.data.files.optional import needed
from mmjax.data.files.tables import read_text
from mmjax.errors import InvalidInput, require

BYTES = 256
_PAD = "<pad>"
_PADS = (_PAD, "[PAD]", "[pad]", "<PAD>", "<|pad|>")  # how files call padding
_LONGEST = 256  # tokens, where the texts alone decide


class Tokenizer(NamedTuple):
    """Texts as numbers.

    Attributes:
      encode: `n texts -> [n, length]` int32. What is too long is cut, what is short filled up with
        padding: 0, or of a CLIP its own.
      count_cut: `n texts -> ` how many of them encode cuts.
      vocabulary_size: number of tokens, padding included.
      length: of the longest text.
      to_json: what tokenizer_from_json makes it of again, of JSON's types.
    """

    encode: Callable[[Sequence[str]], np.ndarray]
    count_cut: Callable[[Sequence[str]], int]
    vocabulary_size: int
    length: int
    to_json: Callable[[], dict[str, Any]]


def train_bpe(
    texts: Sequence[str], vocabulary_size: int = 4096, length: int | None = None
) -> Tokenizer:
    """Byte pairs (Sennrich et al. 2016) over the bytes of texts: no text is unknown to it.

    Texts are composed (NFC) and split into words, numbers and other signs as GPT-2 does (Radford et
    al. 2019), with a space before the first. The same texts give the same tokenizer.

    Args:
      texts: to learn from; any number, of any length.
      vocabulary_size: most tokens, padding and the 256 bytes among them. Texts with fewer pairs
        that stand twice give fewer.
      length: tokens of the longest text; None for that of these texts, at most 256.

    Raises InvalidInput for a value out of range, and where the package `tokenizers` is missing.

    Example:
      >>> tokens = train_bpe(["a red cube", "a blue cube", "a red ball"])
      >>> tokens.encode(["a red ball", ""]).shape, tokens.vocabulary_size < 300
      ((2, 6), True)
    """
    least = BYTES + 1
    require(
        vocabulary_size >= least, "vocabulary_size", vocabulary_size, f"a whole number >= {least}"
    )
    require(length is None or length >= 1, "length", length, "a whole number >= 1")
    lib = _library()
    made = lib.Tokenizer(lib.models.BPE())
    made.normalizer = lib.normalizers.NFC()
    made.pre_tokenizer = lib.pre_tokenizers.ByteLevel(add_prefix_space=True)
    made.decoder = lib.decoders.ByteLevel()
    trainer = lib.trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        min_frequency=2,
        special_tokens=[_PAD],
        initial_alphabet=lib.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    whole = [encodable(text) for text in texts]
    made.train_from_iterator(whole, trainer)
    if length is None:
        result = made.encode_batch(whole, add_special_tokens=False)
        length = min(max([1, *(len(f.ids) for f in result)]), _LONGEST)
    return _of_library(made, length, shift=0)


def read_tokenizer(path: str, length: int = 77) -> Tokenizer:
    """A tokenizer from a JSON file of the package `tokenizers` (a model's `tokenizer.json`).

    Tokens that the file puts around a text stand, and stay where it is cut. Padding is 0: where 0
    is another token in the file, all are one larger here.

    Args:
      path: of the file.
      length: tokens of the longest text.

    Raises InvalidInput, in one line, for a missing or broken file.
    """
    require(length >= 1, "length", length, "a whole number >= 1")
    made = _from_text(read_text(path), path)
    first = made.id_to_token(0)
    padding = made.padding or {}
    pads = first in _PADS or (padding.get("pad_id") == 0 and padding.get("pad_token") == first)
    return _of_library(made, length, shift=0 if pads else 1)


def clip_tokenizer(folder: str, length: int = 77) -> Tokenizer:
    """The tokenizer of a CLIP's folder, see mmjax.data.read_tokenizer."""
    return _of_clip(clip_tokens.read_tokenizer(folder), length)


def tokenizer_from_json(saved: Mapping[str, Any]) -> Tokenizer:
    """The tokenizer that `to_json()` of one wrote down; equal to it.

    Raises InvalidInput where it is anything else.
    """
    kind, length = saved.get("kind"), saved.get("length", 0)
    good = kind in ("tokenizers", "clip") and type(length) is int and length >= 1
    require(good, "tokenizer", sorted(saved), "what its to_json() gives")
    if kind == "clip":
        return _of_clip(clip_tokens.tokenizer_from_json(saved.get("clip") or {}), length)
    shift = saved.get("shift", -1)
    require(shift in (0, 1), "tokenizer: shift", shift, "0 or 1")
    made = _from_text(json.dumps(saved.get("tokenizers")), "tokenizer")
    return _of_library(made, length, shift)


def _library() -> ModuleType:
    return needed("tokenizers", "text")


def _from_text(text: str, path: str) -> Any:
    lib = needed("tokenizers", path)
    try:
        return lib.Tokenizer.from_str(text)
    except Exception as error:  # the library raises no narrower one
        message = " ".join(str(error).split())
        raise InvalidInput(f"{path}: no file of the package tokenizers ({message})") from error


def _of_library(made: Any, length: int, shift: int) -> Tokenizer:
    """Of a `tokenizers.Tokenizer`, which is used up: its cut and padding are set here."""
    framed = made.num_special_tokens_to_add(is_pair=False)
    require(length > framed, "length", length, f"more than the {framed} tokens around a text")
    made.no_padding()
    made.no_truncation()
    saved = json.loads(made.to_str())
    made.enable_truncation(length)
    size = max(made.get_vocab(with_added_tokens=True).values(), default=0) + 1 + shift

    def found(texts: Sequence[str]) -> list:
        return made.encode_batch([encodable(text) for text in texts])

    def encode(texts: Sequence[str]) -> np.ndarray:
        tokens = np.zeros((len(texts), length), np.int32)
        for row, one in zip(tokens, found(texts), strict=True):
            row[: len(one.ids)] = np.asarray(one.ids, np.int32) + shift
        return tokens

    count_cut = lambda texts: sum(bool(one.overflowing) for one in found(texts))
    options = {"kind": "tokenizers", "length": length, "shift": shift, "tokenizers": saved}
    return Tokenizer(encode, count_cut, size, length, lambda: options)


def _of_clip(clip: ClipTokenizer, length: int) -> Tokenizer:
    return Tokenizer(
        lambda texts: clip.encode(texts, length),
        lambda texts: int(np.sum(clip.lengths(texts) > length)),
        clip.size,
        length,
        lambda: {"kind": "clip", "length": length, "clip": clip.to_json()},
    )

"""CLIP's tokens: byte pairs of lower-cased words, from a folder's own vocabulary.

The vocabulary is Sennrich et al.'s (2016) over bytes, as in Radford et al. 2021.
"""

import html
import os
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np

from mmjax.data.clip_config import clip_kind, read_json
from mmjax.data.tables import read_text
from mmjax.errors import InvalidInput, require

_START, _END = "<|startoftext|>", "<|endoftext|>"
_SEPARATORS = "\x1c\x1d\x1e\x1f"  # white space for Python, not for Unicode
_CONTRACTIONS = ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d")


class ClipTokenizer(NamedTuple):
    """A folder's tokenizer.

    Attributes:
      encode: `(texts, length) -> [texts, length]` int32: the start, a text's tokens, the end,
        padding; of a text too long the first tokens and the end.
      end: the token of the end.
      size: one more than the largest token.
    """

    encode: Callable[[Sequence[str], int], np.ndarray]
    end: int
    size: int


def read_tokenizer(folder: str) -> ClipTokenizer:
    """Reads `tokenizer.json`, or `vocab.json` with `merges.txt`, of a CLIP's folder.

    Texts are cleaned as the kind of folder has it. Both: Unicode's composed form (NFC), runs of
    white space as one space, lower case. OpenCLIP: HTML entities are resolved, twice. Not done is
    ftfy's repair of wrongly decoded text. In a folder of Hugging Face a special token that stands
    in a text is that token.

    Raises InvalidInput, in one line, where files are missing or broken, hold no byte-pair
    vocabulary with the suffix `</w>`, or lack the start, the end or a merged token.
    """
    kind = clip_kind(folder)
    if os.path.isfile(os.path.join(folder, "tokenizer.json")):
        path, ids, merges, special = _one_file(os.path.join(folder, "tokenizer.json"))
    else:
        path, ids, merges, special = _two_files(folder)
    names = _special_names(folder)
    for name in ("bos_token", "eos_token"):
        if names[name] not in {**ids, **special}:
            raise InvalidInput(f"{path}: no token {names[name]!r}, the {name}; it must hold it")
    token = {name: {**ids, **special}.get(text) for name, text in names.items()}
    if kind == "openclip":
        pad, special, clean = 0, {}, _clean_openclip
    else:
        special = {**special, **{names[n]: i for n, i in token.items() if i is not None}}
        pad, clean = token["pad_token"], _clean_huggingface
        pad = token["eos_token"] if pad is None else pad
    word = _byte_pairs(ids, merges, token["unk_token"], path)
    encode = _encoder(clean, word, special, token["bos_token"], token["eos_token"], pad)
    return ClipTokenizer(encode, token["eos_token"], max((*ids.values(), *special.values())) + 1)


_Found = tuple[str, dict[str, int], list[tuple[str, str]], dict[str, int]]


def _ids(path: str, found: Any) -> dict[str, int]:
    good = isinstance(found, dict) and found and all(type(i) is int for i in found.values())
    if not good or min(found.values()) < 0:
        raise InvalidInput(
            f"{path}: no vocabulary; use an object of tokens with whole numbers >= 0"
        )
    return found


def _one_file(path: str) -> _Found:
    found = read_json(path)
    model, added = found.get("model"), found.get("added_tokens") or []
    model = model if isinstance(model, dict) else {}
    kind = (model.get("type", "BPE"), model.get("end_of_word_suffix"))
    if kind != ("BPE", "</w>"):
        raise InvalidInput(
            f"{path}: model is {kind[0]} with suffix {kind[1]!r}; use CLIP's, BPE with '</w>'"
        )
    merges = model.get("merges")
    pairs = [m.split(" ") if isinstance(m, str) else m for m in merges or []]
    if not isinstance(merges, list) or not all(_is_pair(pair) for pair in pairs):
        raise InvalidInput(f"{path}: model.merges: use a list of pairs of tokens")
    try:
        special = {token["content"]: token["id"] for token in added}
    except (TypeError, KeyError) as error:
        raise InvalidInput(f"{path}: added_tokens: use objects with id and content") from error
    if not all(isinstance(token, str) and token for token in special):
        raise InvalidInput(f"{path}: added_tokens: use a string of some length as content")
    special = _ids(path, special) if special else {}
    return path, _ids(path, model.get("vocab")), [tuple(pair) for pair in pairs], special


def _is_pair(pair: Any) -> bool:
    return isinstance(pair, list) and len(pair) == 2 and all(isinstance(p, str) for p in pair)


def _two_files(folder: str) -> _Found:
    path, merges = (os.path.join(folder, name) for name in ("vocab.json", "merges.txt"))
    for file in (path, merges):
        if not os.path.isfile(file):
            raise InvalidInput(f"{file}: not there; texts need tokenizer.json, or it and its other")
    pairs = []
    for k, line in enumerate(read_text(merges).split("\n")):
        if (k == 0 and line.startswith("#version")) or not line.strip():
            continue
        pair = line.split()
        if len(pair) != 2:
            raise InvalidInput(f"{merges}: line {k + 1} is {line!r}; use two tokens and a space")
        pairs.append((pair[0], pair[1]))
    added = os.path.join(folder, "added_tokens.json")
    special = _ids(added, read_json(added)) if os.path.isfile(added) else {}
    return path, _ids(path, read_json(path)), pairs, special


def _special_names(folder: str) -> dict[str, str]:
    """How the start, the end, padding and the unknown are written."""
    names = dict(bos_token=_START, eos_token=_END, pad_token=_END, unk_token=_END)
    for file in ("tokenizer_config.json", "special_tokens_map.json"):
        path = os.path.join(folder, file)
        found = read_json(path) if os.path.isfile(path) else {}
        for name in names:
            text = found.get(name)
            text = text.get("content") if isinstance(text, dict) else text
            require(text is None or isinstance(text, str), f"{path}: {name}", text, "a string")
            names[name] = text or names[name]
    return names


def _clean_huggingface(text: str) -> str:
    text = re.sub(rf"[^\S{_SEPARATORS}]+", " ", unicodedata.normalize("NFC", text))
    return "".join(map(str.lower, text))  # letter by letter: a sigma at a word's end stays one


def _clean_openclip(text: str) -> str:
    text = unicodedata.normalize("NFC", html.unescape(html.unescape(text)))
    return " ".join(text.split()).lower()


@cache
def byte_letters() -> list[str]:
    """How vocabularies write the 256 bytes: visible letters of Latin-1, others from 256 on."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [b for b in range(256) if b not in shown]
    return [chr(b) if b in shown else chr(256 + hidden.index(b)) for b in range(256)]


@lru_cache(65_536)
def _class(letter: str) -> str:
    """L of letters, N of numbers, a space, or anything else."""
    kind = unicodedata.category(letter)[0]
    space = letter.isspace() and letter not in _SEPARATORS
    return kind if kind in "LN" else " " if space else "?"


def _words(text: str) -> list[str]:
    """Contractions' ends, runs of letters, single digits, runs of other signs."""
    words, start = [], 0
    while start < len(text):
        end, kind = start + 1, _class(text[start])
        contraction = next((c for c in _CONTRACTIONS if text.startswith(c, start)), "")
        if contraction:
            end = start + len(contraction)
        elif kind != "N":
            while end < len(text) and _class(text[end]) == kind:
                end += 1
        if kind != " ":
            words.append(text[start:end])
        start = end
    return words


def _byte_pairs(
    ids: Mapping[str, int], merges: Sequence[tuple[str, str]], unknown: int | None, path: str
) -> Callable[[str], list[int]]:
    """The function from a word to its tokens."""
    ranks: dict[tuple[str, str], int] = {}
    for first, second in merges:
        for token in (first, second, first + second):
            if token not in ids:
                raise InvalidInput(f"{path}: no token {token!r}, which the merges have")
        ranks.setdefault((first, second), len(ranks))
    letters = byte_letters()

    @lru_cache(65_536)
    def tokens(word: str) -> list[int]:
        parts = [letters[byte] for byte in word.encode("utf-8", "surrogatepass")]
        parts[-1] += "</w>"
        while len(parts) > 1:
            pairs = list(zip(parts, parts[1:], strict=False))
            best = min(pairs, key=lambda pair: ranks.get(pair, len(ranks)))
            if best not in ranks:
                break
            merged, k = [], 0
            while k < len(parts):
                both = k + 1 < len(parts) and (parts[k], parts[k + 1]) == best
                merged.append("".join(best) if both else parts[k])
                k += 2 if both else 1
            parts = merged
        found = [ids.get(part, unknown) for part in parts]
        if None in found:
            raise InvalidInput(f"{path}: no token {parts[found.index(None)]!r}, and no unknown one")
        return found

    return tokens


def _encoder(clean, word, special: Mapping[str, int], start: int, end: int, pad: int) -> Callable:
    longest_first = sorted(special, key=len, reverse=True)
    split = re.compile("(" + "|".join(map(re.escape, longest_first)) + ")") if special else None

    def ids(text: str) -> list[int]:
        found = []
        for k, part in enumerate(split.split(text) if split else [text]):
            if k % 2:
                found.append(special[part])
            else:
                found += [token for w in _words(clean(part)) for token in word(w)]
        return found

    def encode(texts: Sequence[str], length: int) -> np.ndarray:
        require(length >= 2, "length", length, "a whole number >= 2")
        tokens = np.full((len(texts), length), pad, np.int32)
        for row, text in zip(tokens, texts, strict=True):
            found = [start, *ids(text)[: length - 2], end]
            row[: len(found)] = found
        return tokens

    return encode

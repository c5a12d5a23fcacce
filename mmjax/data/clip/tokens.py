"""CLIP's tokens: byte pairs of lower-cased words, from a folder's own vocabulary.

The vocabulary is Sennrich et al.'s (2016) over bytes, as in Radford et al. 2021.
"""

import html
import json
import os
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mmjax.data.clip.config import clip_kind, read_json
from mmjax.data.files.optional import needed
from mmjax.data.files.tables import read_text
from mmjax.errors import InvalidInput, require

_START, _END = "<|startoftext|>", "<|endoftext|>"


class ClipTokenizer(NamedTuple):
    """A folder's tokenizer.

    Attributes:
      encode: `(texts, length) -> [texts, length]` int32: the start, a text's tokens, the end,
        padding; of a text too long the first tokens and the end.
      end: the token of the end.
      size: one more than the largest token.
      lengths: `texts -> [texts]` int64, how long each is with its start and end.
      to_json: what tokenizer_from_json makes it of again, of JSON's types.
    """

    encode: Callable[[Sequence[str], int], np.ndarray]
    end: int
    size: int
    lengths: Callable[[Sequence[str]], np.ndarray]
    to_json: Callable[[], dict[str, Any]]


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
    known = {**ids, **special}
    for name in ("bos_token", "eos_token"):
        if names[name] not in known:
            raise InvalidInput(f"{path}: no token {names[name]!r}, the {name}; it must hold it")
    token = {name: known[text] for name, text in names.items() if text in known}
    start, end = token["bos_token"], token["eos_token"]
    if kind == "openclip":
        pad, special = 0, {}
    else:
        special = {**special, **{names[n]: i for n, i in token.items()}}
        pad = token.get("pad_token", end)
    size = max((*ids.values(), *special.values())) + 1
    unknown = names["unk_token"] if "unk_token" in token else None
    if unknown is not None:
        ids = {unknown: token["unk_token"], **ids}
    made = _byte_pairs(ids, merges, special, unknown, kind, path)
    return _tokenizer(made, {"kind": kind, "start": start, "end": end, "pad": pad, "size": size})


_Read = tuple[str, dict[str, int], list[tuple[str, str]], dict[str, int]]


def _ids(path: str, stored: Any) -> dict[str, int]:
    good = isinstance(stored, dict) and stored and all(type(i) is int for i in stored.values())
    if not good or min(stored.values()) < 0:
        raise InvalidInput(
            f"{path}: no vocabulary; use an object of tokens with whole numbers >= 0"
        )
    return stored


def _one_file(path: str) -> _Read:
    result = read_json(path)
    model, added = result.get("model"), result.get("added_tokens") or []
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


def _two_files(folder: str) -> _Read:
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
        result = read_json(path) if os.path.isfile(path) else {}
        for name in names:
            text = result.get(name)
            text = text.get("content") if isinstance(text, dict) else text
            require(text is None or isinstance(text, str), f"{path}: {name}", text, "a string")
            names[name] = text or names[name]
    return names


def _clean_openclip(text: str) -> str:
    text = unicodedata.normalize("NFC", html.unescape(html.unescape(text)))
    return " ".join(text.split()).lower()


# Contractions' ends, runs of letters, single digits, runs of other signs.
_WORD = r"'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"


def _byte_pairs(
    ids: Mapping[str, int],
    merges: Sequence[tuple[str, str]],
    special: Mapping[str, int],
    unknown: str | None,
    kind: str,
    path: str,
) -> Any:
    """The library's tokenizer: `tokenizers.Tokenizer`."""
    lib = needed("tokenizers", path)
    for first, second in merges:
        for token in (first, second, first + second):
            if token not in ids:
                raise InvalidInput(f"{path}: no token {token!r}, which the merges have")
    letters = lib.pre_tokenizers.ByteLevel.alphabet()
    lacking = {token for c in letters for token in (c, c + "</w>")} - set(ids)
    if lacking and unknown is None:
        raise InvalidInput(f"{path}: no token {min(lacking)!r}, and no unknown one")
    pairs = list(dict.fromkeys(merges))  # of equal ones the first counts
    model = lib.models.BPE({**ids, **special}, pairs, unk_token=unknown, end_of_word_suffix="</w>")
    made = lib.Tokenizer(model)
    if kind == "huggingface":
        n = lib.normalizers
        spaces = n.Replace(lib.Regex(r"\s+"), " ")
        made.normalizer = n.Sequence([n.NFC(), spaces, n.Lowercase()])
    p = lib.pre_tokenizers
    words = p.Split(lib.Regex(_WORD), "removed", invert=True)
    made.pre_tokenizer = p.Sequence([words, p.ByteLevel(add_prefix_space=False, use_regex=False)])
    made.add_tokens([lib.AddedToken(token, normalized=False) for token in special])
    return made


def _tokenizer(made: Any, about: Mapping[str, Any]) -> ClipTokenizer:
    """Texts cleaned, in pieces of the library, framed and filled up.

    Args:
      made: `tokenizers.Tokenizer`.
      about: what ClipTokenizer.to_json gives, without it.
    """
    clean = _clean_openclip if about["kind"] == "openclip" else lambda text: text
    start, end, pad = (about[name] for name in ("start", "end", "pad"))

    def pieces(texts: Sequence[str]) -> list[list[int]]:
        whole = [clean(encodable(text)) for text in texts]
        return [result.ids for result in made.encode_batch(whole, add_special_tokens=False)]

    def encode(texts: Sequence[str], length: int) -> np.ndarray:
        require(length >= 2, "length", length, "a whole number >= 2")
        tokens = np.full((len(texts), length), pad, np.int32)
        for row, ids in zip(tokens, pieces(texts), strict=True):
            results = [start, *ids[: length - 2], end]
            row[: len(results)] = results
        return tokens

    def lengths(texts: Sequence[str]) -> np.ndarray:
        return np.array([len(ids) + 2 for ids in pieces(texts)], np.int64)

    to_json = lambda: {**about, "tokenizers": json.loads(made.to_str())}
    return ClipTokenizer(encode, end, about["size"], lengths, to_json)


def encodable(text: str) -> str:
    """The text with U+FFFD for halves of surrogate pairs, which no UTF-8 can hold."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def tokenizer_from_json(saved: Mapping[str, Any]) -> ClipTokenizer:
    """The tokenizer that `ClipTokenizer.to_json()` wrote down; InvalidInput where it is broken."""
    lib = needed("tokenizers", "a CLIP's tokenizer")
    about = {k: v for k, v in saved.items() if k != "tokenizers"}
    whole = all(type(about.get(name)) is int for name in ("start", "end", "pad", "size"))
    good = whole and about.get("kind") in ("huggingface", "openclip")
    require(good, "a CLIP's tokenizer", sorted(saved), "what its to_json() gives")
    try:
        made = lib.Tokenizer.from_str(json.dumps(saved.get("tokenizers")))
    except Exception as error:  # the library raises no narrower one
        raise InvalidInput(f"a CLIP's tokenizer: {' '.join(str(error).split())}") from error
    return _tokenizer(made, about)

"""Weights of a CLIP from its folder: Hugging Face's or OpenCLIP's safetensors as one tree."""

import importlib
import os
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from mmjax.data.clip.config import ClipConfig, ClipTower, clip_kind, read_clip_config, read_json
from mmjax.data.files.checks import check_finite
from mmjax.errors import InvalidInput
from mmjax.types import Tree


class ClipModel(NamedTuple):
    """What mmjax.encoders.clip_encoders needs.

    Attributes:
      config: the sizes.
      params: `{"image": tree, "text": tree}` of float32, the encoders' parameters.
      logit_scale: logarithm of what cosine similarities are multiplied by.
    """

    config: ClipConfig
    params: dict[str, Tree]
    logit_scale: float


def read_clip(folder: str) -> ClipModel:
    """Reads a CLIP's sizes and weights; nothing in the folder is ever executed.

    Args:
      folder: of Hugging Face (`config.json` with `model.safetensors`, in one file or in several
        named by `model.safetensors.index.json`) or of OpenCLIP (`open_clip_config.json` with
        `open_clip_model.safetensors` or `open_clip_pytorch_model.safetensors`). Weights of float16,
        bfloat16 and float64 become float32.

    Raises InvalidInput, in one line, where a file is missing or broken, a tensor is missing, has
    no place, another shape than the config makes it, or NaN or infinity.
    """
    kind, config = clip_kind(folder), read_clip_config(folder)
    files = _FILES[kind](folder)
    stored = {name: path for path in files for name in _names(path)}
    entries = list(_ENTRIES[kind](config, "text." if "text.ln_final.weight" in stored else ""))
    _check_names(files[0], stored, {name for entry in entries for name in entry.tensors})
    tree: dict = {}
    for entry in entries:
        *parents, last = entry.path
        branch = tree
        for name in parents:
            branch = branch.setdefault(name, {})
        tensors = [_tensor(stored[name], name, entry.shape) for name in entry.tensors]
        branch[last] = np.asarray(entry.make(*tensors), order="C")
    return ClipModel(config, {k: tree[k] for k in ("image", "text")}, float(tree["logit_scale"]))


def _missing(folder: str, name: str) -> InvalidInput:
    message = f"{os.path.join(folder, name)}: not there"
    pickles = [n for n in sorted(os.listdir(folder)) if n.endswith((".bin", ".pt", ".pth"))]
    if pickles:
        message += f"; {pickles[0]} is a pickle, which is never loaded: save it as safetensors"
    return InvalidInput(message)


def _huggingface_files(folder: str) -> list[str]:
    path = os.path.join(folder, "model.safetensors")
    index = f"{path}.index.json"
    if os.path.isfile(path):
        return [path]
    if not os.path.isfile(index):
        raise _missing(folder, "model.safetensors")
    shards = read_json(index).get("weight_map")
    named = list(shards.values()) if isinstance(shards, dict) else []
    if not named or not all(isinstance(n, str) and n == os.path.basename(n) for n in named):
        raise InvalidInput(f"{index}: weight_map: use names of tensors with names of files here")
    names = sorted(set(named))
    for name in names:
        if not os.path.isfile(os.path.join(folder, name)):
            raise _missing(folder, name)
    return [os.path.join(folder, name) for name in names]


def _openclip_files(folder: str) -> list[str]:
    names = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors")
    paths = [os.path.join(folder, name) for name in names]
    results = [path for path in paths if os.path.isfile(path)]
    if not results:
        raise _missing(folder, names[0])
    return results[:1]


_FILES = {"huggingface": _huggingface_files, "openclip": _openclip_files}


def _opened(path: str, framework: str = "numpy"):
    try:
        safetensors = importlib.import_module("safetensors")
    except ImportError:
        raise InvalidInput(f"{path}: reading it needs `pip install safetensors`") from None
    try:
        return safetensors.safe_open(path, framework=framework)
    except (safetensors.SafetensorError, OSError) as error:
        message = " ".join(str(error).split())
        raise InvalidInput(f"{path}: not a whole .safetensors file ({message})") from error


def _names(path: str) -> list[str]:
    # Numbers of the places, which older versions of transformers stored, are no weights.
    with _opened(path) as file:
        return [name for name in file.keys() if not name.endswith("position_ids")]


def _check_names(path: str, stored: dict[str, str], wanted: set[str]) -> None:
    missing, others = sorted(wanted - set(stored)), sorted(set(stored) - wanted)
    if missing:
        beside = f"; it has {others[0]!r}, which the config has no place for" if others else ""
        raise InvalidInput(f"{path}: {len(missing)} tensors missing, first {missing[0]!r}{beside}")
    if others:
        raise InvalidInput(
            f"{stored[others[0]]}: {len(others)} tensors that the config has no place for, first "
            f"{others[0]!r}"
        )


def _tensor(path: str, name: str, shape: tuple[int, ...]) -> np.ndarray:
    with _opened(path) as file:
        about = file.get_slice(name)
        result, dtype = tuple(about.get_shape()), about.get_dtype()
        if result != shape:
            raise InvalidInput(
                f"{path}: tensor {name!r} has shape {result}; the config makes it {shape}"
            )
        if dtype not in ("F16", "BF16", "F32", "F64"):
            raise InvalidInput(
                f"{path}: tensor {name!r} has dtype {dtype}; use floating-point numbers"
            )
        tensor = file.get_tensor(name) if dtype != "BF16" else None
    if tensor is None:  # NumPy itself has no bfloat16
        with _opened(path, "flax") as file:
            tensor = np.asarray(file.get_tensor(name)).astype(np.float32)
    tensor = np.asarray(tensor)
    check_finite(f"{path}: tensor {name!r}", tensor)
    return tensor.astype(np.float32, copy=False)


class _Entry(NamedTuple):
    """An array of the tree, and the tensors, all of one shape, that it is made of."""

    path: tuple[str, ...]
    tensors: tuple[str, ...]
    shape: tuple[int, ...]
    make: Callable[..., np.ndarray] = lambda tensor: tensor


def _norm(path: tuple[str, ...], name: str, width: int) -> Iterator[_Entry]:
    yield _Entry((*path, "scale"), (f"{name}weight",), (width,))
    yield _Entry((*path, "bias"), (f"{name}bias",), (width,))


def _linear(path, names: tuple[str, ...], into: int, out: int) -> Iterator[_Entry]:
    """Linear maps of one input side by side; files hold `[out, in]`, linen `[in, out]`."""
    weights, biases = (tuple(name + kind for name in names) for kind in ("weight", "bias"))
    beside = lambda *tensors: np.concatenate(tensors)
    yield _Entry((*path, "kernel"), weights, (out, into), lambda *t: beside(*t).T)
    yield _Entry((*path, "bias"), biases, (out,), beside)


class _LayerNames(NamedTuple):
    """How files call the parts of a layer, up to `weight` and `bias`."""

    attention_norm: str
    qkv: tuple[str, ...]
    attention_out: str
    mlp_norm: str
    mlp_hidden: str
    mlp_out: str


_HUGGINGFACE_LAYER = _LayerNames(
    "layer_norm1.",
    ("self_attn.q_proj.", "self_attn.k_proj.", "self_attn.v_proj."),
    "self_attn.out_proj.",
    "layer_norm2.",
    "mlp.fc1.",
    "mlp.fc2.",
)
_OPENCLIP_LAYER = _LayerNames(
    "ln_1.", ("attn.in_proj_",), "attn.out_proj.", "ln_2.", "mlp.c_fc.", "mlp.c_proj."
)


def _layers(side: str, tower: ClipTower, prefix: str, names: _LayerNames) -> Iterator[_Entry]:
    width = tower.width
    for k in range(tower.layers):
        path, at = (side, f"layer_{k}"), f"{prefix}{k}."
        qkv = tuple(at + name for name in names.qkv)
        yield from _norm((*path, "attention_norm"), at + names.attention_norm, width)
        yield from _linear((*path, "qkv"), qkv, width, 3 * width // len(qkv))
        yield from _linear((*path, "attention_out"), (at + names.attention_out,), width, width)
        yield from _norm((*path, "mlp_norm"), at + names.mlp_norm, width)
        yield from _linear((*path, "mlp_hidden"), (at + names.mlp_hidden,), width, tower.hidden)
        yield from _linear((*path, "mlp_out"), (at + names.mlp_out,), tower.hidden, width)


def _shared(config: ClipConfig, names: dict[str, str]) -> Iterator[_Entry]:
    """What both kinds hold in one shape, by the place in the tree."""
    image, text, patch = config.image.width, config.text.width, config.patch_size
    places = (config.image_size // patch) ** 2 + 1
    flat = lambda kernel: kernel.transpose(2, 3, 1, 0).reshape(
        -1, image
    )  # [out, in, rows, columns]
    yield _Entry(("image", "class_token"), (names["class_token"],), (image,))
    shape: tuple[int, ...] = (image, 3, patch, patch)
    yield _Entry(("image", "patches", "kernel"), (names["patches"],), shape, flat)
    yield _Entry(("image", "positions"), (names["image_positions"],), (places, image))
    shape = (config.vocabulary_size, text)
    yield _Entry(("text", "words", "embedding"), (names["words"],), shape)
    shape = (config.context_length, text)
    yield _Entry(("text", "positions"), (names["text_positions"],), shape)
    yield _Entry(("logit_scale",), ("logit_scale",), ())
    yield from _norm(("image", "before"), names["before"], image)
    yield from _norm(("image", "after"), names["image_after"], image)
    yield from _norm(("text", "after"), names["text_after"], text)


def _huggingface(config: ClipConfig, prefix: str) -> Iterator[_Entry]:
    vision, text = "vision_model.", "text_model."
    names = {
        "class_token": f"{vision}embeddings.class_embedding",
        "patches": f"{vision}embeddings.patch_embedding.weight",
        "image_positions": f"{vision}embeddings.position_embedding.weight",
        "before": f"{vision}pre_layrnorm.",  # spelled so
        "image_after": f"{vision}post_layernorm.",
        "words": f"{text}embeddings.token_embedding.weight",
        "text_positions": f"{text}embeddings.position_embedding.weight",
        "text_after": f"{text}final_layer_norm.",
    }
    yield from _shared(config, names)
    layer, out = _HUGGINGFACE_LAYER, config.embedding_dim
    yield from _layers("image", config.image, f"{vision}encoder.layers.", layer)
    yield from _layers("text", config.text, f"{text}encoder.layers.", layer)
    for side, name, tower in (("image", "visual", config.image), ("text", "text", config.text)):
        tensors, shape = (f"{name}_projection.weight",), (out, tower.width)
        yield _Entry((side, "projection", "kernel"), tensors, shape, np.transpose)


def _openclip(config: ClipConfig, prefix: str) -> Iterator[_Entry]:
    """Prefix: `text.` where the text's tensors stand in a room of their own (custom_text)."""
    names = {
        "class_token": "visual.class_embedding",
        "patches": "visual.conv1.weight",
        "image_positions": "visual.positional_embedding",
        "before": "visual.ln_pre.",
        "image_after": "visual.ln_post.",
        "words": f"{prefix}token_embedding.weight",
        "text_positions": f"{prefix}positional_embedding",
        "text_after": f"{prefix}ln_final.",
    }
    yield from _shared(config, names)
    layer, out = _OPENCLIP_LAYER, config.embedding_dim
    yield from _layers("image", config.image, "visual.transformer.resblocks.", layer)
    yield from _layers("text", config.text, f"{prefix}transformer.resblocks.", layer)
    projections = (
        ("image", "visual.proj", config.image),
        ("text", f"{prefix}text_projection", config.text),
    )
    for side, name, tower in projections:
        yield _Entry((side, "projection", "kernel"), (name,), (tower.width, out))


_ENTRIES = {"huggingface": _huggingface, "openclip": _openclip}

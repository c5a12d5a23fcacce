"""Sizes of a CLIP (Radford et al. 2021) from its folder's config, Hugging Face's or OpenCLIP's."""

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from mmjax.data.files import tables
from mmjax.errors import InvalidInput, require

_LARGEST = 2**24  # of any size; a file that says more is broken
ACTIVATIONS = ("quick_gelu", "gelu")


class ClipTower(NamedTuple):
    """A transformer.

    Attributes:
      width: of the vectors.
      layers: number of layers.
      heads: of the attention; they divide the width.
      hidden: width inside the MLPs.
      activation: of the MLPs: quick_gelu, x sigmoid(1.702 x), or gelu, the exact one.
      epsilon: of the layer norms.
    """

    width: int
    layers: int
    heads: int
    hidden: int
    activation: str
    epsilon: float


class ClipConfig(NamedTuple):
    """A vision transformer and a causal text transformer with one embedding.

    Attributes:
      image, text: the towers.
      embedding_dim: dimension of the features.
      image_size: side of the images in pixels.
      patch_size: side of a patch in pixels; it divides the image's.
      vocabulary_size: number of tokens.
      context_length: tokens of the longest text.
      eos: the token at whose first place a text is read; None: at its largest token's.
    """

    image: ClipTower
    text: ClipTower
    embedding_dim: int
    image_size: int
    patch_size: int
    vocabulary_size: int
    context_length: int
    eos: int | None


def clip_kind(folder: str) -> str:
    """`huggingface` or `openclip`; of a folder with the files of both, the former.

    Raises InvalidInput where there is no such folder, or neither config in it.
    """
    there = bool(folder) and os.path.isdir(folder)
    require(there, "--model", folder, "the path of an existing folder")
    has = lambda name: os.path.isfile(os.path.join(folder, name))
    weights = has("model.safetensors") or has("model.safetensors.index.json")
    if has("open_clip_config.json") and not (has("config.json") and weights):
        return "openclip"
    if has("config.json"):
        return "huggingface"
    raise InvalidInput(
        f"{folder}: no config.json (Hugging Face) and no open_clip_config.json (OpenCLIP) in it"
    )


def read_json(path: str) -> dict[str, Any]:
    """A JSON object from a file; InvalidInput where it is missing or anything else."""
    if not os.path.isfile(path):
        raise InvalidInput(f"{path}: not there")
    result = tables.read_json(path)
    if not isinstance(result, dict):
        raise InvalidInput(f"{path}: a JSON {type(result).__name__}; use an object, {{...}}")
    return result


def read_clip_config(folder: str) -> ClipConfig:
    """The sizes that `config.json` or `open_clip_config.json` tells.

    Fields that a config leaves out have the defaults of transformers and of open_clip.

    Raises InvalidInput, naming file and field, for a value out of range, a model that is no CLIP,
    or a part that is not built here (convolutions, timm's networks, attentional pooling, ...).
    """
    path, read = _CONFIGS[clip_kind(folder)]
    path = os.path.join(folder, path)
    config = read(path)
    size, patch = config.image_size, config.patch_size
    require(size % patch == 0, f"{path}: image_size", size, f"a multiple of patch_size {patch}")
    for tower in (config.image, config.text):
        allowed = f"a multiple of the {tower.heads} heads"
        require(tower.width % tower.heads == 0, f"{path}: width", tower.width, allowed)
    return config


def _part(where: str, fields: Mapping, name: str) -> tuple[str, Mapping]:
    """A field that is an object itself, and how its own fields are called in errors."""
    part = fields.get(name)
    part = {} if part is None else part
    require(isinstance(part, dict), f"{where}{name}", part, "an object, {...}")
    return f"{where}{name}.", part


def _whole(where: str, fields: Mapping, name: str, default: int | None = None) -> int:
    value: Any = fields.get(name)
    value = default if value is None else value
    good = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _LARGEST
    require(good, f"{where}{name}", value, f"a whole number from 1 to {_LARGEST}")
    return value


def _layers(where: str, fields: Mapping, name: str) -> int:
    layers = _whole(where, fields, name, 12)
    require(layers <= 1000, f"{where}{name}", layers, "at most 1000")
    return layers


def _side(where: str, fields: Mapping, name: str, default: int) -> int:
    """A number, or twice the same."""
    value = fields.get(name, default)
    if isinstance(value, list) and len(value) == 2 and value[0] == value[1]:
        value = value[0]
    return _whole(where, {name: value}, name, default)


def _positive(where: str, fields: Mapping, name: str, default: float) -> float:
    value = fields.get(name)
    value = default if value is None else value
    good = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e6
    require(good, f"{where}{name}", value, "a number > 0")
    return float(value)


def _huggingface(path: str) -> ClipConfig:
    fields, where = read_json(path), f"{path}: "
    model = fields.get("model_type", "clip")
    require(model == "clip", f"{where}model_type", model, "clip")
    towers = []
    for name, usual in (
        ("vision_config", ClipTower(768, 12, 12, 3072, "quick_gelu", 1e-5)),
        ("text_config", ClipTower(512, 12, 8, 2048, "quick_gelu", 1e-5)),
    ):
        # Older files hold the fields that were given in `..._config_dict`; they win there too.
        name = f"{name}_dict" if fields.get(f"{name}_dict") is not None else name
        inside, part = _part(where, fields, name)
        activation = part.get("hidden_act", usual.activation)
        require(
            activation in ACTIVATIONS, f"{inside}hidden_act", activation, " or ".join(ACTIVATIONS)
        )
        sizes = {
            "width": _whole(inside, part, "hidden_size", usual.width),
            "layers": _layers(inside, part, "num_hidden_layers"),
            "heads": _whole(inside, part, "num_attention_heads", usual.heads),
            "hidden": _whole(inside, part, "intermediate_size", usual.hidden),
        }
        epsilon = _positive(inside, part, "layer_norm_eps", usual.epsilon)
        towers.append((inside, part, ClipTower(**sizes, activation=activation, epsilon=epsilon)))
    (at_image, image, image_tower), (at_text, text, text_tower) = towers
    channels = image.get("num_channels", 3)
    require(channels == 3, f"{at_image}num_channels", channels, "3")
    size = _whole(at_text, text, "vocab_size", 49408)
    eos = _whole(at_text, text, "eos_token_id", 49407)
    require(eos < size, f"{at_text}eos_token_id", eos, f"a token of the {size}")
    return ClipConfig(
        image_tower,
        text_tower,
        embedding_dim=_whole(where, fields, "projection_dim", 512),
        image_size=_side(at_image, image, "image_size", 224),
        patch_size=_side(at_image, image, "patch_size", 32),
        vocabulary_size=size,
        context_length=_whole(at_text, text, "max_position_embeddings", 77),
        # 2 is what the first configs say, wrongly: transformers then takes the largest token.
        eos=None if eos == 2 else eos,
    )


# What an OpenCLIP config may say besides sizes: what matters in training alone (None), and what is
# built here. Any other field changes the network.
_OPENCLIP: dict[str, dict[str, tuple | None]] = {
    "model_cfg": {"custom_text": (True, False), "init_logit_scale": None, "output_dict": None},
    "vision_cfg": {
        "pool_type": ("tok",),
        "pos_embed_type": ("learnable",),
        "patch_dropout": None,
        "output_tokens": None,
        "attn_pooler_queries": None,
        "attn_pooler_heads": None,
        "timm_model_pretrained": None,
        "timm_pool": None,
        "timm_proj": None,
        "timm_drop": None,
    },
    "text_cfg": {
        "pool_type": ("argmax", "eos"),
        "proj_type": ("linear",),
        "pad_id": None,
        "eos_id": None,
        "output_tokens": None,
        "hf_model_pretrained": None,
        "hf_proj_type": None,
        "hf_pooler_type": None,
    },
}
_SIZES = {
    "model_cfg": ("embed_dim", "quick_gelu", "vision_cfg", "text_cfg"),
    "vision_cfg": ("layers", "width", "head_width", "mlp_ratio", "patch_size", "image_size"),
    "text_cfg": ("context_length", "vocab_size", "width", "heads", "layers", "mlp_ratio"),
}


def _check_known(where: str, part: Mapping, name: str) -> None:
    for field, value in part.items():
        if field in (*_SIZES[name], "norm_kwargs") or value is None or value is False:
            continue
        known = _OPENCLIP[name].get(field, ())
        if known is not None:
            allowed = " or ".join(map(str, known)) or "a CLIP of plain transformers, without it"
            require(value in known, f"{where}{field}", value, allowed)


def _openclip(path: str) -> ClipConfig:
    where, fields = _part(f"{path}: ", read_json(path), "model_cfg")
    at_image, image = _part(where, fields, "vision_cfg")
    at_text, text = _part(where, fields, "text_cfg")
    for at, part, name in (
        (where, fields, "model_cfg"),
        (at_image, image, "vision_cfg"),
        (at_text, text, "text_cfg"),
    ):
        _check_known(at, part, name)
    quick = fields.get("quick_gelu") or False
    require(isinstance(quick, bool), f"{where}quick_gelu", quick, "true or false")
    activation = "quick_gelu" if quick else "gelu"
    width = _whole(at_image, image, "width", 768)
    head = _whole(at_image, image, "head_width", 64)
    require(width % head == 0, f"{at_image}width", width, f"heads of {head}")

    def tower(at, part, width, heads):
        at_norm, norm = _part(at, part, "norm_kwargs")
        return ClipTower(
            width,
            _layers(at, part, "layers"),
            heads,
            int(width * _positive(at, part, "mlp_ratio", 4.0)),
            activation,
            _positive(at_norm, norm, "eps", 1e-5),
        )

    text_width, text_heads = _whole(at_text, text, "width", 512), _whole(at_text, text, "heads", 8)
    size = _whole(at_text, text, "vocab_size", 49408)
    eos = _whole(at_text, text, "eos_id", 2) if text.get("pool_type") == "eos" else None
    require(eos is None or eos < size, f"{at_text}eos_id", eos, f"a token of the {size}")
    return ClipConfig(
        tower(at_image, image, width, width // head),
        tower(at_text, text, text_width, text_heads),
        embedding_dim=_whole(where, fields, "embed_dim"),
        image_size=_side(at_image, image, "image_size", 224),
        patch_size=_side(at_image, image, "patch_size", 16),
        vocabulary_size=size,
        context_length=_whole(at_text, text, "context_length", 77),
        eos=eos,
    )


_CONFIGS = {
    "huggingface": ("config.json", _huggingface),
    "openclip": ("open_clip_config.json", _openclip),
}

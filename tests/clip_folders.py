"""A tiny CLIP for the tests: its vocabulary, its golden folder, the same weights as OpenCLIP's."""

import json
import shutil
from pathlib import Path

import numpy as np
import safetensors.numpy

GOLDEN = Path(__file__).parent / "golden" / "clip"
TEXTS = (
    "A photo of a cat.",
    "two dogs' photos: the cat's and 2024's!",
    "  The\tthird\n photo  ",
    "a very long photo of the cat and the dog and the cat and the dog and the cat",
    "naïve Ünïcode — ½ ² Ⅷ 漢字 🐈",
    "",
)
MERGED = ("photo", "photos", "cat", "dog", "dogs", "the", "and", "a", "of", "third", "very", "long")


def byte_letters() -> list[str]:
    """How vocabularies write the 256 bytes: visible letters of Latin-1, others from 256 on."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [b for b in range(256) if b not in shown]
    return [chr(b) if b in shown else chr(256 + hidden.index(b)) for b in range(256)]


def vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Tokens and merges: all bytes, within and at the end of words, and some words."""
    letters = byte_letters()
    tokens = [*letters, *(letter + "</w>" for letter in letters)]
    merges: list[tuple[str, str]] = []
    for word in MERGED:
        parts = [*word[:-1], word[-1] + "</w>"]
        while len(parts) > 1:
            pair = (parts[0], parts[1])
            if pair not in merges:
                merges.append(pair)
                tokens.append("".join(pair))
            parts = ["".join(pair), *parts[2:]]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    return {token: k for k, token in enumerate(tokens)}, merges


def write_vocabulary(folder: Path, tokens: dict, merges: list) -> None:
    """`vocab.json` and `merges.txt`."""
    (folder / "vocab.json").write_text(json.dumps(tokens, ensure_ascii=False), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def pictures() -> list[np.ndarray]:
    """Smooth pictures of several shapes, `[height, width, 3]` uint8."""
    rng = np.random.default_rng(0)
    found = []
    for height, width in ((20, 31), (29, 18), (12, 12), (9, 16)):
        y, x = np.meshgrid(np.linspace(0, 1, height), np.linspace(0, 1, width), indexing="ij")
        waves = [np.sin(a * x + b * y + c) for a, b, c in rng.uniform(-9, 9, (3, 3))]
        found.append((127.5 + 127 * np.stack(waves, 2)).astype(np.uint8))
    return found


def copy_golden(folder: Path, *, weights=None, config=None) -> Path:
    """The golden folder under another name; weights and config are changed by functions."""
    shutil.copytree(GOLDEN, folder)
    if config is not None:
        fields = json.loads((folder / "config.json").read_text())
        config(fields)
        (folder / "config.json").write_text(json.dumps(fields))
    if weights is not None:
        tensors = safetensors.numpy.load_file(folder / "model.safetensors")
        safetensors.numpy.save_file(weights(tensors), folder / "model.safetensors")
    return folder


def activation(name: str):
    """A change of config."""

    def change(fields):
        for tower in ("text_config", "vision_config"):
            fields[tower]["hidden_act"] = name

    return change


def openclip_tensors(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Hugging Face's tensors under OpenCLIP's names: queries, keys and values in one."""
    renamed = {
        "logit_scale": "logit_scale",
        "vision_model.embeddings.class_embedding": "visual.class_embedding",
        "vision_model.embeddings.patch_embedding.weight": "visual.conv1.weight",
        "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
        "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
        "text_model.embeddings.position_embedding.weight": "positional_embedding",
    }
    for kind in ("weight", "bias"):
        renamed[f"vision_model.pre_layrnorm.{kind}"] = f"visual.ln_pre.{kind}"
        renamed[f"vision_model.post_layernorm.{kind}"] = f"visual.ln_post.{kind}"
        renamed[f"text_model.final_layer_norm.{kind}"] = f"ln_final.{kind}"
    found = {new: tensors[old] for old, new in renamed.items()}
    found["visual.proj"] = tensors["visual_projection.weight"].T
    found["text_projection"] = tensors["text_projection.weight"].T
    parts = {
        "layer_norm1": "ln_1",
        "layer_norm2": "ln_2",
        "mlp.fc1": "mlp.c_fc",
        "mlp.fc2": "mlp.c_proj",
        "self_attn.out_proj": "attn.out_proj",
    }
    for old, new in (("vision_model", "visual.transformer"), ("text_model", "transformer")):
        layers = {n.split(".")[3] for n in tensors if n.startswith(f"{old}.encoder")}
        for k in layers:
            here, there = f"{old}.encoder.layers.{k}.", f"{new}.resblocks.{k}."
            for kind in ("weight", "bias"):
                for a, b in parts.items():
                    found[f"{there}{b}.{kind}"] = tensors[f"{here}{a}.{kind}"]
                qkv = [tensors[f"{here}self_attn.{p}_proj.{kind}"] for p in "qkv"]
                found[f"{there}attn.in_proj_{kind}"] = np.concatenate(qkv)
    return {name: np.array(tensor, order="C") for name, tensor in found.items()}


def write_openclip(folder: Path, *, quick_gelu: bool = True, prefix: str = "") -> Path:
    """The golden model as OpenCLIP has it; prefix `text.`: with a text room of its own."""
    fields = json.loads((GOLDEN / "config.json").read_text())
    image, text = fields["vision_config"], fields["text_config"]
    model = {
        "embed_dim": fields["projection_dim"],
        "quick_gelu": quick_gelu,
        "vision_cfg": {
            "image_size": image["image_size"],
            "layers": image["num_hidden_layers"],
            "width": image["hidden_size"],
            "head_width": image["hidden_size"] // image["num_attention_heads"],
            "mlp_ratio": image["intermediate_size"] / image["hidden_size"],
            "patch_size": image["patch_size"],
        },
        "text_cfg": {
            "context_length": text["max_position_embeddings"],
            "vocab_size": text["vocab_size"],
            "width": text["hidden_size"],
            "heads": text["num_attention_heads"],
            "layers": text["num_hidden_layers"],
            "mlp_ratio": text["intermediate_size"] / text["hidden_size"],
        },
    }
    folder.mkdir()
    preprocess = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4], "interpolation": "bilinear"}
    config = {"model_cfg": model, "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    found = openclip_tensors(safetensors.numpy.load_file(GOLDEN / "model.safetensors"))
    found = {
        n if n.startswith("visual") or n == "logit_scale" else prefix + n: t
        for n, t in found.items()
    }
    safetensors.numpy.save_file(found, folder / "open_clip_model.safetensors")
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(GOLDEN / name, folder)
    return folder

"""Nets: recipes of encoders that can be written down, and tokenizers of texts."""

from mmjax.nets.base import Net, Observed, all_trained, as_net, of_function
from mmjax.nets.clip import clip_image, clip_text
from mmjax.nets.kinds import as_is, convnet, linear, mlp, resnet, text_transformer, transformer
from mmjax.nets.table import NETS, default_net, net_from_json
from mmjax.nets.tokens import (
    Tokenizer,
    clip_tokenizer,
    read_tokenizer,
    tokenizer_from_json,
    train_bpe,
)

__all__ = [
    "NETS",
    "Net",
    "Observed",
    "Tokenizer",
    "all_trained",
    "as_is",
    "as_net",
    "clip_image",
    "clip_text",
    "clip_tokenizer",
    "convnet",
    "default_net",
    "linear",
    "mlp",
    "net_from_json",
    "of_function",
    "read_tokenizer",
    "resnet",
    "text_transformer",
    "tokenizer_from_json",
    "train_bpe",
    "transformer",
]

"""Encoders behind `Encoder(init, apply, forward)`. The only place that imports flax.linen."""

from mmjax.encoders.base import Encoder
from mmjax.encoders.clip import Clip, clip_encoders
from mmjax.encoders.heads import HEADS, Head, make_head
from mmjax.encoders.mlp import mlp
from mmjax.encoders.resnet import narrow_resnet, resnet18, small_convnet
from mmjax.encoders.text import text_convnet, text_transformer
from mmjax.encoders.towers import Towers, two_towers

__all__ = [
    "HEADS",
    "Clip",
    "Encoder",
    "Head",
    "Towers",
    "clip_encoders",
    "make_head",
    "mlp",
    "narrow_resnet",
    "resnet18",
    "small_convnet",
    "text_convnet",
    "text_transformer",
    "two_towers",
]

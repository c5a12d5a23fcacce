"""Encoders behind `Encoder(init, apply, forward)`. The only place that imports flax.linen."""

from mmjax.encoders.base import Encoder
from mmjax.encoders.clip import Clip, clip_encoders
from mmjax.encoders.fusion import (
    Fused,
    Fusion,
    Modality,
    Padded,
    as_is,
    fusion,
    single_and_joint_masks,
    subset_masks,
)
from mmjax.encoders.heads import HEADS, Head, make_head
from mmjax.encoders.mlp import mlp
from mmjax.encoders.resnet import narrow_resnet, resnet18, small_convnet
from mmjax.encoders.text import text_convnet, text_transformer
from mmjax.encoders.towers import Towers, two_towers

__all__ = [
    "HEADS",
    "Clip",
    "Encoder",
    "Fused",
    "Fusion",
    "Head",
    "Modality",
    "Padded",
    "Towers",
    "as_is",
    "clip_encoders",
    "fusion",
    "make_head",
    "mlp",
    "narrow_resnet",
    "resnet18",
    "single_and_joint_masks",
    "small_convnet",
    "subset_masks",
    "text_convnet",
    "text_transformer",
    "two_towers",
]

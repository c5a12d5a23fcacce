"""Encoders behind `Encoder(init, apply, forward)`. The only place that imports flax.linen."""

from mmjax.encoders.base import Encoder
from mmjax.encoders.clip import Clip, clip_encoders
from mmjax.encoders.compose import averaged, before, chained
from mmjax.encoders.critics import PairCritic, concatenated_critic
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
from mmjax.encoders.resnet import image_maps, narrow_resnet, resnet18, small_convnet
from mmjax.encoders.sequence import gru_sequence, transformer_sequence
from mmjax.encoders.sequence_conv import force_convnet, proprio_mlp
from mmjax.encoders.temperature import check_temperature, temperature_from
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
    "PairCritic",
    "Towers",
    "as_is",
    "averaged",
    "before",
    "chained",
    "check_temperature",
    "clip_encoders",
    "concatenated_critic",
    "force_convnet",
    "fusion",
    "image_maps",
    "gru_sequence",
    "make_head",
    "mlp",
    "narrow_resnet",
    "proprio_mlp",
    "resnet18",
    "single_and_joint_masks",
    "small_convnet",
    "subset_masks",
    "text_convnet",
    "temperature_from",
    "text_transformer",
    "transformer_sequence",
    "two_towers",
]

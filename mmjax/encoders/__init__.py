"""Encoders behind `Encoder(init, apply)`. The only place that imports flax.linen."""

from mmjax.encoders.base import Encoder
from mmjax.encoders.heads import HEADS, Head, make_head
from mmjax.encoders.mlp import mlp

__all__ = ["HEADS", "Encoder", "Head", "make_head", "mlp"]

"""Encoders behind `Encoder(init, apply)`. The only place that imports flax.linen."""

from mmjax.encoders.base import Encoder
from mmjax.encoders.heads import HEADS, Head, make_head
from mmjax.encoders.mlp import mlp
from mmjax.encoders.towers import Towers, two_towers

__all__ = ["HEADS", "Encoder", "Head", "Towers", "make_head", "mlp", "two_towers"]

"""Causal models of pairs. A new one is one file."""

from mmjax.generative.partial_causal import (
    EDGES,
    PartialCausalModel,
    partial_causal_model,
)

__all__ = ["EDGES", "PartialCausalModel", "partial_causal_model"]

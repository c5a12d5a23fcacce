"""Unmixing of embeddings: linear maps found from their statistics alone."""

from mmjax.disentangle.cca import Canonical, canonical_directions

__all__ = ["Canonical", "canonical_directions"]

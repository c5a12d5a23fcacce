"""Unmixing of embeddings: linear maps found from their statistics alone."""

from mmjax.disentangle.cca import Canonical, canonical_directions
from mmjax.disentangle.ica import ICA, fast_ica, inverse_transform, transform
from mmjax.disentangle.pca import PCA, pca
from mmjax.disentangle.rotations import ALGORITHMS, CONTRASTS, Contrast

__all__ = [
    "ALGORITHMS",
    "CONTRASTS",
    "ICA",
    "PCA",
    "Canonical",
    "Contrast",
    "canonical_directions",
    "fast_ica",
    "inverse_transform",
    "pca",
    "transform",
]

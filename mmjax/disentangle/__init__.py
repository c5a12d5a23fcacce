"""Unmixing of embeddings: linear maps found from their statistics alone.

`mmjax.disentangle(model, data, key=key)` is a function too: `help(mmjax.models.disentangle)`.
"""

from mmjax.disentangle import sae
from mmjax.disentangle.cca import Canonical, canonical_directions
from mmjax.disentangle.ica import ICA, fast_ica, inverse_transform, is_long, transform
from mmjax.disentangle.pca import PCA, pca
from mmjax.disentangle.rotations import ALGORITHMS, CONTRASTS, Contrast
from mmjax.disentangle.sae import SAE
from mmjax.disentangle.unmixings import (
    UNMIXINGS,
    Affine,
    Recipe,
    components,
    determined,
    features,
    recipes,
)
from mmjax.rooms import make_callable

make_callable(__name__)  # mmjax.disentangle(model, data)

__all__ = [
    "ALGORITHMS",
    "CONTRASTS",
    "UNMIXINGS",
    "Affine",
    "ICA",
    "PCA",
    "SAE",
    "Canonical",
    "Recipe",
    "Contrast",
    "canonical_directions",
    "components",
    "determined",
    "fast_ica",
    "features",
    "inverse_transform",
    "is_long",
    "pca",
    "recipes",
    "sae",
    "transform",
]

"""Estimators of scikit-learn: FastICA, PCA, CCA and contrastive embeddings by `fit / transform`.

They work in a `Pipeline`, in `GridSearchCV`, clone and pickle. FastICA, PCA and CCA compute float64
in float64, anything else in float32; fitted ones hold NumPy arrays alone. This room imports
scikit-learn; nothing else in mmjax imports this room.
"""

from mmjax.sklearn.embedding import ContrastiveEmbedding
from mmjax.sklearn.linear import CCA, PCA, FastICA

__all__ = ["CCA", "PCA", "ContrastiveEmbedding", "FastICA"]

"""Contrastive embeddings of blocks of columns: `mmjax.fit` as an estimator."""

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted
from sklearn.utils.validation import validate_data as validated

from mmjax.data.dataset import Dataset
from mmjax.encoders import Encoder
from mmjax.errors import InvalidInput, given, require
from mmjax.losses import Loss
from mmjax.models import fit, load
from mmjax.nets import Net
from mmjax.sklearn.inputs import FLOATS, RandomState, key_of

Block = slice | Sequence[int]


class ContrastiveEmbedding(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Embeddings by a contrastive loss between blocks of columns, see mmjax.fit.

    All rows given to fit are trained on: cross-validation holds rows out. What is pickled is what
    `Model.save` writes; a loss or net of one's own must then be picklable itself.

    Args:
      dim: of each block's embedding.
      blocks: name -> columns, a slice or numbers: `{"x": slice(0, 5), "t": slice(5, 9)}`. None: one
        block of all columns, whose random views are contrasted.
      loss: a name in mmjax.losses.LOSSES, or a Loss; None: info_nce of two blocks or more, nt_xent
        of the views of one, supcon with use_y.
      use_y: whether the loss sees y, as classes (supcon).
      nets: block -> a net, see mmjax.fit; None: multi-layer perceptrons.
      head: space of the embeddings: sphere, box or none.
      steps, batch_size, optimiser, learning_rate, weight_decay: of the training, see mmjax.fit.
      progress: whether a line shows how far it is.
      random_state: of weights, order and views.

    Attributes:
      model_: the mmjax Model.
      blocks_: name -> columns, `[columns]` int.

    Example:
      >>> rng = np.random.default_rng(0)
      >>> z = rng.normal(size=(64, 2))
      >>> X = np.hstack([z @ rng.normal(size=(2, 4)), z @ rng.normal(size=(2, 3))])
      >>> blocks = {"x": slice(0, 4), "t": slice(4, 7)}
      >>> ContrastiveEmbedding(2, blocks=blocks, steps=2, random_state=0).fit_transform(X).shape
      (64, 4)
    """

    def __init__(
        self,
        dim: int = 16,
        *,
        blocks: Mapping[str, Block] | None = None,
        loss: Loss | str | None = None,
        use_y: bool = False,
        nets: Mapping[str, Net | Encoder | Callable[..., Encoder]] | None = None,
        head: str = "sphere",
        steps: int = 1000,
        batch_size: int = 256,
        optimiser: str = "adamw",
        learning_rate: float = 3e-3,
        weight_decay: float = 1e-2,
        progress: bool = False,
        random_state: RandomState = None,
    ) -> None:
        self.dim = dim
        self.blocks = blocks
        self.loss = loss
        self.use_y = use_y
        self.nets = nets
        self.head = head
        self.steps = steps
        self.batch_size = batch_size
        self.optimiser = optimiser
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.progress = progress
        self.random_state = random_state

    def fit(self, X: np.ndarray, y: np.ndarray | None = None) -> Self:
        """Trains on rows `[n, f]`, n >= 2; y `[n]`, classes, only with use_y.

        Raises InvalidInput for blocks that X doesn't have, and what mmjax.fit raises.
        """
        X = validated(self, X, dtype=FLOATS, ensure_min_samples=2)
        self.blocks_ = _columns(self.blocks, X.shape[1])
        labels = {"y": given(y, "y", "classes, with use_y=True")} if self.use_y else None
        data = Dataset.from_arrays(self._parts(X), labels=labels, split=(1, 0, 0))
        self.model_ = fit(
            data,
            dim=self.dim,
            key=key_of(self.random_state),
            loss=self._loss(),
            nets=self.nets,
            head=self.head,
            label="y" if self.use_y else "",
            steps=self.steps,
            batch_size=self.batch_size,
            optimiser=self.optimiser,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            validate_every=0,  # a fold's held-out rows are scikit-learn's
            progress=self.progress,
        )
        return self

    def transform(self, X: np.ndarray) -> np.ndarray:
        """Embeddings of rows `[n, f]`: `[n, blocks * dim]` float32, block after block."""
        check_is_fitted(self)
        X = validated(self, X, reset=False, dtype=FLOATS)
        # Not by keyword: a block may be called as an argument of embed is.
        data = Dataset.from_arrays(self._parts(X), split=(0, 0, 1), ids=None, seed=0)
        result = self.model_.embed(data)
        every = result if isinstance(result, dict) else dict.fromkeys(self.blocks_, result)
        return np.hstack([every[name] for name in self.blocks_])

    def _loss(self) -> Loss | str:
        if self.loss is not None:
            return self.loss
        return "supcon" if self.use_y else "info_nce" if len(self.blocks_) > 1 else "nt_xent"

    def _parts(self, X: np.ndarray) -> dict[str, np.ndarray]:
        return {name: X[:, columns] for name, columns in self.blocks_.items()}

    @property
    def _n_features_out(self) -> int:
        return self.dim * len(self.blocks_)

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if "model_" in state:
            state["model_"] = _packed(state["model_"])
        return state

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        state = dict(state)
        if "model_" in state:
            state["model_"] = _unpacked(state["model_"], state["nets"])
        super().__setstate__(state)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = bool(self.use_y)
        tags.transformer_tags.preserves_dtype = []
        tags.non_deterministic = False
        return tags


def _columns(blocks: Mapping[str, Block] | None, f: int) -> dict[str, np.ndarray]:
    if blocks is None:
        return {"x": np.arange(f)}
    require(len(blocks) >= 1, "blocks", dict(blocks), "a name with columns, or None")
    results = {}
    for name, block in blocks.items():
        if isinstance(block, slice) and max(block.start or 0, block.stop or 0) > f:
            raise InvalidInput(f"blocks: {name}: {block} ends behind the last of {f} columns")
        try:
            results[name] = np.arange(f)[block if isinstance(block, slice) else list(block)]
        except (IndexError, TypeError) as error:
            raise InvalidInput(f"blocks: {name}: {error}; use columns from 0 to {f - 1}") from error
        require(results[name].size >= 1, f"blocks: {name}", block, f"columns from 0 to {f - 1}")
    return results


def _packed(model: Any) -> dict[str, bytes]:
    """The files of a saved model."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model")
        model.save(path)
        files = {}
        for name in sorted(os.listdir(path)):
            with open(os.path.join(path, name), "rb") as file:
                files[name] = file.read()
        return files


def _unpacked(files: Mapping[str, bytes], nets: Any) -> Any:
    with tempfile.TemporaryDirectory() as path:
        for name, content in files.items():
            with open(os.path.join(path, os.path.basename(name)), "wb") as file:
                file.write(content)
        return load(path, nets=nets)

"""FastICA, PCA and canonical correlations of mmjax.disentangle as estimators."""

import warnings
from numbers import Integral
from typing import Self, overload

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import Tags
from sklearn.utils.validation import check_array, check_consistent_length, check_is_fitted
from sklearn.utils.validation import validate_data as validated

from mmjax.disentangle import canonical_directions, fast_ica, pca
from mmjax.errors import require
from mmjax.sklearn.inputs import FLOATS, RandomState, key_of


def _precision(*arrays: np.ndarray):
    """A context in which jax has the precision of the arrays."""
    return jax.enable_x64(any(array.dtype == np.float64 for array in arrays))


def _numpy(tree):
    return jax.tree.map(np.asarray, tree)


def _components(given: int | None, most: int, why: str) -> int:
    """A number of components; most where none is given."""
    good = given is None or (
        isinstance(given, Integral) and not isinstance(given, bool) and 1 <= given <= most
    )
    require(good, "n_components", given, f"None, or a whole number from 1 to {most}, {why}")
    return most if given is None else int(given)


def _signs(components: np.ndarray) -> np.ndarray:
    """`[k, f] -> [k, 1]`: with them each row's largest entry is positive."""
    largest = np.argmax(np.abs(components), axis=1)
    return np.where(components[np.arange(len(components)), largest] < 0, -1, 1)[:, None]


class _Linear(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """`(x - mean_) @ _unmixing()`, and back by `_mixing()`."""

    def transform(self, X: np.ndarray) -> np.ndarray:
        """Components `[n, k]` of rows `[n, f]`."""
        check_is_fitted(self)
        X = validated(self, X, reset=False, dtype=FLOATS)
        return (X - self.mean_.astype(X.dtype)) @ self._unmixing().astype(X.dtype)

    def inverse_transform(self, X: np.ndarray) -> np.ndarray:
        """Rows `[n, f]` that have these components `[n, k]`; exact where k is f."""
        check_is_fitted(self)
        X = check_array(X, dtype=FLOATS)
        k = self._n_features_out
        require(X.shape[1] == k, "components", X.shape, f"[rows, {k}]")
        return X @ self._mixing().astype(X.dtype) + self.mean_.astype(X.dtype)

    @property
    def _n_features_out(self) -> int:
        return len(self.components_)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


class FastICA(_Linear):
    """Independent components, see mmjax.disentangle.fast_ica.

    Args:
      n_components: principal directions kept; None for as many as the rows determine.
      algorithm: picard, parallel or deflation.
      contrast: logcosh, exp or cube.
      max_iter: passes over the data, at most.
      tol: of the change, see fast_ica.
      restarts: random starts, of which the one of largest negentropy is kept.
      random_state: of the starts.

    Attributes:
      components_: `[k, f]` the unmixing; components have unit variance, are in order of negentropy
        and skewed to the right.
      mixing_: `[f, k]`; mean_: `[f]`; negentropy_: `[k]`; n_iter_: passes done.
      stability_: `[k]`, see mmjax.disentangle.ICA; None with one restart.

    Warns (ConvergenceWarning) where the passes ran out, and where the rows determine fewer
    directions than are asked for: there are then as many components as they do.

    Example:
      >>> sources = np.random.default_rng(0).laplace(size=(500, 2))
      >>> ica = FastICA(random_state=0).fit(sources @ np.array([[1.0, 0.5], [-0.3, 1.0]]))
      >>> ica.components_.shape, ica.get_feature_names_out().tolist()
      ((2, 2), ['fastica0', 'fastica1'])
    """

    def __init__(
        self,
        n_components: int | None = None,
        *,
        algorithm: str = "picard",
        contrast: str = "logcosh",
        max_iter: int = 200,
        tol: float = 1e-4,
        restarts: int = 1,
        random_state: RandomState = None,
    ) -> None:
        self.n_components = n_components
        self.algorithm = algorithm
        self.contrast = contrast
        self.max_iter = max_iter
        self.tol = tol
        self.restarts = restarts
        self.random_state = random_state

    def fit(self, X: np.ndarray, y: None = None) -> Self:
        """Finds components of `[n, f]`, n >= 2; y is ignored."""
        X = validated(self, X, dtype=FLOATS, ensure_min_samples=2)
        k = _components(self.n_components, min(X.shape), "rows and features")
        unit = _unit(X)
        X = X / unit
        with _precision(X):
            most = max(1, int(np.linalg.matrix_rank(X - X.mean(0))))
            if self.n_components is not None and k > most:
                message = f"n_components: {k} is more than the {most} directions that X has"
                warnings.warn(f"{message}; these are taken", UserWarning, stacklevel=2)
            k = min(k, most)
            result = _numpy(
                fast_ica(
                    jnp.asarray(X),
                    key_of(self.random_state),
                    num_components=k,
                    algorithm=self.algorithm,
                    contrast=self.contrast,
                    max_steps=self.max_iter,
                    tolerance=self.tol,
                    restarts=self.restarts,
                )
            )
        self.mean_, self.mixing_ = result.mean * unit, result.mixing * unit
        self.components_ = result.unmixing / unit
        self.negentropy_, self.stability_ = result.negentropy, result.stability
        self.n_iter_ = max(1, int(result.steps))
        if not result.converged:
            message = f"no convergence in {self.max_iter} passes: raise max_iter or tol"
            warnings.warn(message, ConvergenceWarning, stacklevel=2)
        return self

    def _unmixing(self) -> np.ndarray:
        return self.components_.T

    def _mixing(self) -> np.ndarray:
        return self.mixing_.T


def _unit(X: np.ndarray) -> np.floating:
    """A power of two, 1 but for values whose squares their type does not hold."""
    size, limits = np.abs(X).max(), np.finfo(X.dtype)
    if size == 0 or np.sqrt(limits.tiny) * 1e6 < size < np.sqrt(limits.max) / 1e6:
        return X.dtype.type(1)
    return X.dtype.type(2.0 ** np.floor(np.log2(size)))


class PCA(_Linear):
    """Principal components, see mmjax.disentangle.pca.

    Args:
      n_components: how many; None for all, min(n, f).
      whiten: whether components are scaled to unit variance (of the sample, divided by n - 1).

    Attributes:
      components_: `[k, f]` orthonormal rows, largest variance first; the largest entry of each is
        positive.
      explained_variance_: `[k]`, divided by n - 1; explained_variance_ratio_: `[k]` of the total.
      mean_: `[f]`; n_components_: k.
    """

    def __init__(self, n_components: int | None = None, *, whiten: bool = False) -> None:
        self.n_components = n_components
        self.whiten = whiten

    def fit(self, X: np.ndarray, y: None = None) -> Self:
        """Finds components of `[n, f]`, n >= 2; y is ignored."""
        X = validated(self, X, dtype=FLOATS, ensure_min_samples=2)
        k = _components(self.n_components, min(X.shape), "rows and features")
        unit = _unit(X)
        with _precision(X):
            result = _numpy(pca(jnp.asarray(X / unit), k))
        signs = _signs(result.directions.T)
        unbiased = len(X) / (len(X) - 1)
        self.mean_, self.components_ = result.mean * unit, result.directions.T * signs
        variances = result.variances * unbiased
        total = np.sum(np.var(X / unit, axis=0)) * unbiased
        ratio = variances / total if total > 0 else np.zeros(k)
        self.explained_variance_ratio_ = ratio.astype(X.dtype)
        with np.errstate(over="ignore", under="ignore"):
            self.explained_variance_ = variances * unit**2
        self.n_components_ = k
        self._whiten = result.whiten * signs.T / np.sqrt(unbiased) / unit
        self._colour = result.colour * signs * np.sqrt(unbiased) * unit
        return self

    def _unmixing(self) -> np.ndarray:
        return self._whiten if self.whiten else self.components_.T

    def _mixing(self) -> np.ndarray:
        return self._colour if self.whiten else self.components_


class CCA(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Canonical correlations of two blocks, see mmjax.disentangle.canonical_directions.

    `fit_transform` gives the scores of X alone, so that it can stand in a Pipeline;
    `transform(X, y)` gives both.

    Args:
      n_components: pairs of directions, at most rows and the features of either block.

    Attributes:
      x_rotations_: `[f, k]`, y_rotations_: `[g, k]`; scores of the sample are uncorrelated and have
        unit variance (divided by n). The largest entry of each of x is positive.
      x_loadings_: `[f, k]`, y_loadings_: `[g, k]`, covariances of columns with their scores.
      correlations_: `[k]`, descending.
      x_mean_: `[f]`, y_mean_: `[g]`.
    """

    def __init__(self, n_components: int = 2) -> None:
        self.n_components = n_components

    def fit(self, X: np.ndarray, y: np.ndarray) -> Self:
        """Finds directions of rows `[n, f]` and `[n, g]` (or `[n]`), n >= 2."""
        X, Y = validated(
            self, X, y, dtype=FLOATS, multi_output=True, y_numeric=True, ensure_min_samples=2
        )
        Y = _block(Y)
        require(self.n_components is not None, "n_components", None, "a whole number")
        most = min(*X.shape, Y.shape[1])
        k = _components(self.n_components, most, "rows and the features of both")
        of_x, of_y = _unit(X), _unit(Y)
        X, Y = X / of_x, Y / of_y
        with _precision(X, Y):
            result = _numpy(canonical_directions(jnp.asarray(X), jnp.asarray(Y)))
        signs = _signs(result.x.T[:k]).T
        means = X.mean(axis=0), Y.mean(axis=0)
        turns = result.x[:, :k] * signs, result.t[:, :k] * signs
        self.x_mean_, self.y_mean_ = means[0] * of_x, means[1] * of_y
        self.x_rotations_, self.y_rotations_ = turns[0] / of_x, turns[1] / of_y
        self.correlations_ = result.correlations[:k]
        self.x_loadings_ = _loadings(X - means[0], turns[0]) * of_x
        self.y_loadings_ = _loadings(Y - means[1], turns[1]) * of_y
        return self

    @overload
    def transform(self, X: np.ndarray, y: None = None) -> np.ndarray: ...
    @overload
    def transform(self, X: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]: ...
    def transform(
        self, X: np.ndarray, y: np.ndarray | None = None
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Scores `[n, k]` of X, or of both where y is given."""
        check_is_fitted(self)
        X = validated(self, X, reset=False, dtype=FLOATS)
        scores = (X - self.x_mean_.astype(X.dtype)) @ self.x_rotations_.astype(X.dtype)
        if y is None:
            return scores
        Y = _block(check_array(y, ensure_2d=False, dtype=FLOATS, input_name="y"))
        check_consistent_length(X, Y)
        g = len(self.y_mean_)
        require(Y.shape[1] == g, "y", Y.shape, f"[rows, {g}]")
        return scores, (Y - self.y_mean_) @ self.y_rotations_

    def fit_transform(self, X: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Scores `[n, k]` of X, after fit."""
        return self.fit(X, y).transform(X)

    @overload
    def inverse_transform(self, X: np.ndarray, y: None = None) -> np.ndarray: ...
    @overload
    def inverse_transform(self, X: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]: ...
    def inverse_transform(
        self, X: np.ndarray, y: np.ndarray | None = None
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Least squares: the rows `[n, f]` (and `[n, g]`) that scores `[n, k]` tell best."""
        check_is_fitted(self)
        back = check_array(X, dtype=FLOATS) @ self.x_loadings_.T + self.x_mean_
        if y is None:
            return back
        return back, check_array(y, dtype=FLOATS) @ self.y_loadings_.T + self.y_mean_

    @property
    def _n_features_out(self) -> int:
        return self.x_rotations_.shape[1]

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _block(y: np.ndarray) -> np.ndarray:
    y = y if y.dtype in FLOATS else y.astype(np.float64)
    return y[:, None] if y.ndim == 1 else y


def _loadings(centred: np.ndarray, rotations: np.ndarray) -> np.ndarray:
    return centred.T @ (centred @ rotations) / len(centred)

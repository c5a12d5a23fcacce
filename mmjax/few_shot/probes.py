"""Zero-shot, nearest mean and linear probes, of features as they are or unmixed."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.disentangle import Affine, pca
from mmjax.evaluate.few_shot import axes_of_rows, search_c
from mmjax.few_shot.base import (
    SCALE,
    Draws,
    Fitted,
    class_means,
    over_draws,
    repeated,
    repeats,
    without_choice,
)
from mmjax.numerics import normalise
from mmjax.types import AnyArray, Array, Tree

# Of L2 a small gradient is near enough (scikit-learn's default): the optimum moved no mean of three
# draws of Pets by more than .005, and took four times as long.
L2 = dict(coarse=(1e-6, 1e-4, 1e-2, 1.0, 1e2, 1e4, 1e6), max_steps=200, flatness=1e-4)
# Below, all weights are 0; above, the penalty is none. Each weight's own penalty is within a tenth
# of 1 / C, less than the search's last step (a 16th of a decade). A flatness, as above, would end
# the search's larger C after a step or two: not sparse, and better than any optimum.
L1 = dict(coarse=(1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3), max_steps=500, tolerance=0.1)
_SHOTS = 4, 8, 16  # a class, to which rows are repeated, so that few programs are compiled


def fit_texts(draws: Draws, num_classes: int) -> Fitted:
    """Zero-shot: the class of the nearest text. Nothing is fitted."""
    return without_choice({"texts": draws.texts}, draws)


def text_scores(params: Tree, x: Array, z: Array) -> Array:
    """`[m, classes]` cosines of images and texts, scaled as CLIP's."""
    return SCALE * x @ params["texts"].T


def fit_means(draws: Draws, num_classes: int) -> Fitted:
    """Nearest class mean by cosine."""
    return without_choice({"means": _means(draws.z, num_classes)}, draws)


@over_draws
def _means(z, num_classes):
    return normalise(class_means(z, num_classes))


def mean_scores(params: Tree, x: Array, z: Array) -> Array:
    """`[m, classes]` cosines of rows and class means."""
    return normalise(z) @ params["means"].T


def _fit_linear(penalty: str, draws: Draws, num_classes: int) -> Fitted:
    """C by the grid and bisection of search_c, weights of z."""
    # A program for each width takes some seconds to compile: more than L2 needs for all its fits,
    # less than L1 would lose on columns of 0.
    own = draws.z.shape[2]
    width = own if penalty == "l1" else max(own, draws.x.shape[2])
    copies = repeats(draws.z.shape[1], num_classes, *_SHOTS)
    z, val = (_widened(v, width) for v in (draws.z, draws.val_z))
    val_copies = repeats(val.shape[1], num_classes, *_SHOTS)
    z, labels = repeated(z, copies), repeated(draws.labels, copies)
    val, val_labels = repeated(val, val_copies), repeated(draws.val_labels, val_copies)
    mean, axes = jnp.zeros_like(z[:, 0]), None
    if penalty == "l2":
        mean, axes, z, val = _in_axes(z, val)
    # Of rows that are there so many times the loss is so many times larger.
    coarse = jnp.asarray((L2 if penalty == "l2" else L1)["coarse"]) / copies
    coarse = jnp.broadcast_to(coarse, (len(z), len(coarse)))
    result = _search(z, labels, val, val_labels, coarse, num_classes, penalty)
    weights, bias = result.model.weights, result.model.bias
    if penalty == "l2":
        weights, bias = _from_axes(weights, bias, mean, axes)
    weights = weights[:, :own]
    return Fitted({"weights": weights, "bias": bias}, {"C": result.c * copies}, result.accuracy)


def _widened(v: Array, width: int) -> AnyArray:
    """Columns of 0, to which no penalised probe gives a weight."""
    return np.pad(np.asarray(v), ((0, 0), (0, 0), (0, width - v.shape[2])))


@over_draws
def _in_axes(z, val):
    """Rows around their mean in their principal axes, where an L2-penalised probe lives.

    The intercept is free and the penalty knows no axes, so that neither changes the optimum; in
    these coordinates the solver's steps have the right length in every direction.
    """
    mean = jnp.mean(z, 0)
    axes = pca(z, min(z.shape)).directions
    # Rows that are repeated, and columns of 0, have fewer axes than that.
    axes = axes_of_rows(z - mean, axes)
    return mean, axes, (z - mean) @ axes, (val - mean) @ axes


@over_draws
def _from_axes(weights, bias, mean, axes):
    weights = axes @ weights
    return weights, bias - mean @ weights


@over_draws
def _search(z, labels, val, val_labels, coarse, num_classes, penalty):
    steps = {k: v for k, v in (L2 if penalty == "l2" else L1).items() if k != "coarse"}
    options = dict(penalty=penalty, coarse=coarse, **steps)
    return search_c(z, labels, val, val_labels, num_classes, **options)


def linear_scores(params: Tree, x: Array, z: Array) -> Array:
    """`[m, classes]` of a linear probe."""
    return z @ params["weights"] + params["bias"]


@jax.jit
def of_features(params: Tree, affine: Affine) -> Tree:
    """The probe `[draws, ...]` of the features that one of their affine map is."""
    weights = jnp.einsum("bdk,bkc->bdc", affine.matrix, params["weights"])
    bias = params["bias"] - jnp.einsum("bd,bdc->bc", affine.mean, weights)
    return {"weights": weights, "bias": bias}


# penalty -> `(draws, num_classes) -> Fitted`: C by the grid and bisection of search_c.
LINEAR = {penalty: partial(_fit_linear, penalty) for penalty in ("l2", "l1")}

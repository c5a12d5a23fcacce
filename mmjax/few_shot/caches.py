"""Adapters that keep the shots as they are and search two numbers: Tip-Adapter, CCA, APE, GDA."""

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.few_shot.base import SCALE, Draws, Fitted, by_class, class_means, filled, over_draws
from mmjax.few_shot.search import Point, search_line, search_plane
from mmjax.numerics import normalise
from mmjax.types import Array, Tree

# The published grids (Zhang et al. 2022) of ImageNet and Pets: `i (top - .1) / steps + .1`. Those
# of other sets go further (up to 50). One grid up to there, for all, chose worse points on the few
# validation rows (experiments/RESULTS.md).
# NumPy's: an array of JAX would look for devices when this is imported.
_F32 = np.float32
BETAS = _F32(0.1) + _F32(6.9 / 200) * np.arange(200, dtype=_F32)
ALPHAS = _F32(0.1) + _F32(2.9 / 20) * np.arange(20, dtype=_F32)
SHARES = np.linspace(0, 1, 100, dtype=_F32)  # gamma, eta of CCA
MIXES = np.r_[0, np.geomspace(1e-4, 1e4, 41)].astype(_F32)  # of GDA
FINENESS = np.stack(np.meshgrid(BETAS[::5], np.arange(20, dtype=_F32) / 20, indexing="ij"), -1)
KEPT = 0.78  # share of the columns that APE keeps: 800 of 1024
_ETA, _GAMMA = 0.1, 1e-6  # where CCA's search starts


def zero_shot(x: Array, texts: Array) -> Array:
    """`[m, classes]` scaled cosines."""
    return SCALE * x @ texts.T


def cached(affinity: Array, beta: Array, num_classes: int) -> Array:
    """`exp(-beta (1 - affinity)) V` of affinities `[m, classes * shots]`, class by class."""
    return by_class(jnp.exp(-beta * (1 - affinity)), num_classes)


def tip_scores(params: Tree, x: Array, z: Array) -> Array:
    """Tip-Adapter (Zhang et al. 2022): 100 f W' + alpha exp(-beta (1 - f K')) V."""
    texts, keys = params["texts"], params["keys"]
    added = cached(x @ keys.T, params["beta"], len(texts))
    return zero_shot(x, texts) + params["alpha"] * added


@over_draws
def search_tip(
    keys: Array,
    copies: Array,
    texts: Array,
    val: Array,
    val_labels: Array,
    num_classes: int,
) -> Point:
    """Point of the best beta and alpha on the validation rows."""
    base, affinity = zero_shot(val, texts), val @ keys.T
    terms = lambda beta: (base, cached(affinity, beta, num_classes) / copies)
    return search_plane(terms, val_labels, BETAS, ALPHAS)


def fit_tip(draws: Draws, num_classes: int, keys: Array | None = None) -> Fitted:
    """Tip-Adapter of the shots, or of keys `[draws, n, d]` that were trained."""
    if keys is not None:
        draws = draws._replace(x=keys)
    full, copies = filled(draws, num_classes)
    best = search_tip(full.x, copies, full.texts, full.val, full.val_labels, num_classes)
    chosen = {"beta": best.outer, "alpha": best.inner}
    params = chosen | {"alpha": best.inner / copies, "texts": full.texts, "keys": full.x}
    return Fitted(params, chosen, best.accuracy)


def cca_terms(
    x: Array, z: Array, keys: Array, z_keys: Array, texts: Array
) -> tuple[Array, Array, Array, Array]:
    """Of Causal CLIP Adapter (Jiang et al. 2025): text, cross-attended two, and the affinity.

    The affinity of unmixed rows is scaled to [0, 1] a row. A square unmixing's rotation cancels in
    it: whitening gives the same.
    """
    attended = keys.T @ jax.nn.softmax(keys @ texts.T, 0)
    of_texts = (jax.nn.softmax(x @ texts.T, 1) @ texts) @ texts.T
    affinity = z @ z_keys.T
    low, high = jnp.min(affinity, 1, keepdims=True), jnp.max(affinity, 1, keepdims=True)
    affinity = (affinity - low) / jnp.maximum(high - low, 1e-12)
    return zero_shot(x, texts), SCALE * x @ attended, SCALE * of_texts, affinity


def cca_scores(params: Tree, x: Array, z: Array) -> Array:
    """100 f W' + gamma 100 f (K' softmax(K W')) + eta 100 softmax(f W') W W' + alpha cache."""
    p = params
    base, attended, by_text, affinity = cca_terms(x, z, p["keys"], p["z_keys"], p["texts"])
    added = cached(affinity, p["beta"], len(p["texts"]))
    return base + p["gamma"] * attended + p["eta"] * by_text + p["alpha"] * added


@over_draws
def search_cca(
    keys: Array,
    z_keys: Array,
    copies: Array,
    texts: Array,
    val: Array,
    val_z: Array,
    val_labels: Array,
    num_classes: int,
) -> tuple[Point, Array, Array, Array]:
    """Beta and alpha first, then eta and gamma, as published."""
    base, attended, by_text, affinity = cca_terms(val, val_z, keys, z_keys, texts)
    start = base + _GAMMA * attended + _ETA * by_text
    cache = lambda beta: cached(affinity, beta, num_classes) / copies
    first = search_plane(lambda beta: (start, cache(beta)), val_labels, BETAS, ALPHAS)
    result = base + first.inner * cache(first.outer)
    second = search_plane(
        lambda eta: (result + eta * by_text, attended), val_labels, SHARES, SHARES
    )
    better = second.accuracy > first.accuracy
    pick = lambda new, old: jnp.where(better, new, old)
    shares = pick(second.outer, _ETA), pick(second.inner, _GAMMA)
    return first, *shares, jnp.maximum(first.accuracy, second.accuracy)


def fit_cca(draws: Draws, num_classes: int) -> Fitted:
    """Training-free CCA of the shots, whose z come from an unmixing."""
    full, copies = filled(draws, num_classes)
    given = full.x, full.z, copies, full.texts, full.val, full.val_z, full.val_labels
    first, eta, gamma, accuracy = search_cca(*given, num_classes)
    chosen = {"beta": first.outer, "alpha": first.inner, "eta": eta, "gamma": gamma}
    params = chosen | {"keys": full.x, "z_keys": full.z, "texts": full.texts}
    return Fitted(params | {"alpha": first.inner / copies}, chosen, accuracy)


def ape_columns(
    x: Array, texts: Array, num_classes: int, kept: int, copies: float | Array = 1.0
) -> Array:
    """`[kept]` columns that tell classes apart (Zhu et al. 2023): -.7 similarity + .3 variance."""
    shots = x.reshape(num_classes, -1, x.shape[1])
    sums = texts + jnp.sum(shots, 1) / copies
    pairs = num_classes * (num_classes - 1) * (1 + shots.shape[1] / copies) ** 2
    similarity = (jnp.sum(sums, 0) ** 2 - jnp.sum(sums**2, 0)) / pairs
    criterion = -0.7 * similarity + 0.3 * jnp.var(texts, 0, ddof=1)
    return jax.lax.top_k(criterion, kept)[1]


def _ape_cache(params, x):
    columns, keys, gamma = params["columns"], params["keys"], params["gamma"]
    affinity = normalise(x[:, columns]) @ keys.T
    weighed = jnp.exp(-params["beta"] * (1 - affinity)) * jnp.exp(params["divergence"] * gamma)
    return by_class(weighed, len(params["texts"]))


def ape_scores(params: Tree, x: Array, z: Array) -> Array:
    """APE (Zhu et al. 2023): a cache of chosen columns, shots weighed by how texts tell them."""
    return zero_shot(x, params["texts"]) + params["alpha"] * _ape_cache(params, x)


@over_draws
def _ape(x, copies, texts, val, val_labels, num_classes):
    columns = ape_columns(x, texts, num_classes, int(KEPT * x.shape[1]), copies)
    keys = normalise(x[:, columns])
    class_shares = jax.nn.softmax(keys @ normalise(texts[:, columns]).T, 1)
    labels = jnp.repeat(jnp.arange(num_classes), len(x) // num_classes)
    right = jnp.take_along_axis(class_shares, labels[:, None], 1)[:, 0]
    divergence = jnp.log2((1 + 1e-6) / (right + 1e-6))  # of the classes that are 0: below 1e-4
    params = {"columns": columns, "keys": keys, "divergence": divergence, "texts": texts}
    base = zero_shot(val, texts)

    def terms(pair):
        return base, _ape_cache(params | {"beta": pair[0], "gamma": pair[1]}, val) / copies

    best = search_plane(terms, val_labels, FINENESS.reshape(-1, 2), ALPHAS)
    return params, best


def fit_ape(draws: Draws, num_classes: int) -> Fitted:
    """APE without training."""
    full, copies = filled(draws, num_classes)
    given = full.x, copies, full.texts, full.val, full.val_labels
    params, best = _ape(*given, num_classes)
    chosen = {"beta": best.outer[:, 0], "gamma": best.outer[:, 1], "alpha": best.inner}
    return Fitted(params | chosen | {"alpha": best.inner / copies}, chosen, best.accuracy)


def gaussian_discriminant(
    x: Array, num_classes: int, copies: float | Array = 1.0
) -> tuple[Array, Array]:
    """Weights `[d, classes]` and bias of Gaussians of one covariance (Wang et al. 2024).

    Sigma^-1 = d ((n - 1) S + tr(S) I)^-1, w_c = Sigma^-1 mu_c, b_c = -1/2 mu_c' Sigma^-1 mu_c. Of
    one shot a class there is no S: Sigma is then the identity. Rows may stand there several times.
    """
    means, dim = class_means(x, num_classes), x.shape[1]
    apart = (x.reshape(num_classes, -1, dim) - means[:, None]).reshape(-1, dim)
    scatter = apart.T @ apart / copies
    trace = jnp.trace(scatter) / (len(x) / copies - 1)
    trace = jnp.where(trace > 1e-9, trace, dim)
    factor = jax.scipy.linalg.cho_factor(scatter + trace * jnp.eye(dim, dtype=x.dtype))
    weights = dim * jax.scipy.linalg.cho_solve(factor, means.T)
    return weights, -0.5 * jnp.sum(means.T * weights, 0)


@over_draws
def _gaussian(x, copies, num_classes):
    return gaussian_discriminant(x, num_classes, copies)


def fit_gaussian(draws: Draws, num_classes: int) -> Fitted:
    """The Gaussian classifier without texts, in the form of a linear probe of x."""
    full, copies = filled(draws, num_classes)
    weights, bias = _gaussian(full.x, copies, num_classes)
    none = jnp.full(len(weights), jnp.nan)
    return Fitted({"weights": weights, "bias": bias}, {}, none)


@over_draws
def _gda(x, copies, texts, val, val_labels, num_classes):
    weights, bias = gaussian_discriminant(x, num_classes, copies)
    best = search_line(zero_shot(val, texts), val @ weights + bias, val_labels, MIXES)
    return weights, bias, best


def fit_gda(draws: Draws, num_classes: int) -> Fitted:
    """100 f W' + alpha (f w' + b)."""
    full, copies = filled(draws, num_classes)
    given = full.x, copies, full.texts, full.val, full.val_labels
    weights, bias, best = _gda(*given, num_classes)
    params = {"weights": weights, "bias": bias, "texts": draws.texts, "alpha": best.inner}
    return Fitted(params, {"alpha": best.inner}, best.accuracy)


def gda_scores(params: Tree, x: Array, z: Array) -> Array:
    """See fit_gda."""
    gaussian = x @ params["weights"] + params["bias"]
    return zero_shot(x, params["texts"]) + params["alpha"] * gaussian

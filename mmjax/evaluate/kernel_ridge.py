"""How much of a target a smooth nonlinear map of the features explains: kernel ridge regression."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.errors import require
from mmjax.evaluate.regression import check_split, explained, standardise
from mmjax.evaluate.splits import halves, shuffled_rows
from mmjax.numerics import centred, floating, require_strength
from mmjax.types import Array, Key, Tree

# The published grid (Daunhawer et al. 2023, Appendix C).
ALPHAS = (1.0, 0.1, 0.01, 0.001)
GAMMAS = tuple(float(gamma) for gamma in np.logspace(-2, 2, 4))

_WIDE = 64  # columns, beyond which rows are so far apart that these widths see none beside itself
_ROWS_AT_ONCE = 1024
_REFINEMENTS = 2


class KernelScore(NamedTuple):
    """Kernel ridge regression of one block of targets; scalars.

    Attributes:
      r2: coefficient of determination on the scoring rows, averaged over the block's targets. At
        most 1; NaN for a block of no targets, of one scoring row, or where features are not finite.
      alpha: the chosen ridge.
      gamma: the chosen inverse width of the kernel.
      cv_r2: the cross-validated R2 they were chosen by, in which a fold of one row counts as 0; NaN
        where all folds are of one row, and the first alpha and gamma are taken.
    """

    r2: Array
    alpha: Array
    gamma: Array
    cv_r2: Array


def kernel_r2(features: Array, targets: Tree, split_key: Key | None = None, **options: Any) -> Tree:
    """R2 of kernel ridge regression, fitted on half of the rows, scored on the rest.

    Args:
      features: `[n, f]` of any real type, n >= 2 * folds.
      targets: `[n, k]`, or a tree of such blocks.
      split_key: of the halves, the folds and the subsets; None is key 0.
      **options: those of `kernel_r2_between`.

    Returns:
      KernelScore for every block, in the tree of the targets.

    Raises:
      InvalidInput: as `kernel_r2_between`.
    """
    # Halves come in random order, so that folds and subsets of them need no other key.
    (fit_x, fit_y), (score_x, score_y) = halves((features, targets), split_key)
    return _between(fit_x, fit_y, score_x, score_y, **options)


def kernel_r2_between(
    fit_x: Array,
    fit_y: Tree,
    score_x: Array,
    score_y: Tree,
    split_key: Key | None = None,
    **options: Any,
) -> Tree:
    """R2 of kernel ridge regression, fitted on some rows and scored on others.

    Prediction of a block Y at x: k(x, X) (k(X, X) + alpha I)^-1 Y with k(x, y) =
    exp(-gamma |x - y|^2), on features standardised by the fitting rows. Every block takes the alpha
    and gamma of the grid that predict it best (mean over random folds of the mean R2 over its
    targets), is refitted on all fitting rows with them, and scored. The choice, refit and score are
    those of scikit-learn's `GridSearchCV(KernelRidge(kernel="rbf"), cv=3)` on shuffled rows; the
    protocol is of Daunhawer et al. 2023. One eigendecomposition for every gamma and fold serves all
    alphas and all blocks, so that another block costs no more than its refit, a Cholesky
    decomposition.

    Exact fits take memory of 4 n^2 bytes, several times over, and time of n^3: see the last three
    options. Subsets are drawn by the key, as the folds are: files are sorted.

    Args:
      fit_x, score_x: `[n, f]`, `[m, f]` features of any real type, n >= folds, m >= 1.
      fit_y, score_y: `[n, k]`, `[m, k]` targets, or two trees of such blocks (for example
        dictionaries from name to block) of the same structure. A constant target counts as R2 0.
      split_key: of the folds and subsets of the fitting rows; None is key 0.
      alphas: ridges > 0, finite. In float32, those below about 1e-4 at n = 4096 are raised to the
        smallest that rounding leaves invertible: 10 sqrt(n) times the precision of the type.
      gammas: inverse squared widths > 0, finite; None: the published ones, for more than 64 columns
        divided by each 64 of these, since squared distances grow with the columns.
      folds: >= 2.
      centre: subtract the fitting rows' mean from the targets. The model has no intercept, so that
        without it the mean is shrunk too, as in the published protocol; it matters only for
        targets far from mean 0.
      max_samples: fit on so many of the fitting rows at most.
      search_samples: choose alpha and gamma on so many of the fitting rows at most.
      landmarks: replace the kernel by its projection on so many of the fitting rows (Nystroem):
        time of n landmarks^2. As many landmarks as rows is the exact fit. The folds share the
        landmarks, which see features only, not targets.

    Returns:
      KernelScore for every block, in the tree of the targets.

    Raises:
      InvalidInput: a value outside the ranges above.

    Example:
      >>> import jax
      >>> z = jax.random.uniform(jax.random.key(0), (200, 2), minval=-1)
      >>> other = jax.random.normal(jax.random.key(1), (200, 1))
      >>> found = kernel_r2(z, {"bent": z**2, "other": other})
      >>> bool(found["bent"].r2 > 0.99), bool(found["other"].r2 < 0.2)
      (True, True)
    """
    order = shuffled_rows(split_key, len(fit_x))
    # An array of the host stays there, in its own type.
    rows = order if isinstance(order, jax.core.Tracer) else np.asarray(order)
    take = lambda values: values[rows] if len(values) == len(rows) else values
    fit_x, fit_y = jax.tree.map(take, (fit_x, fit_y))
    return _between(fit_x, fit_y, score_x, score_y, **options)


def _between(
    fit_x: Array,
    fit_y: Tree,
    score_x: Array,
    score_y: Tree,
    *,
    alphas: Sequence[float] = ALPHAS,
    gammas: Sequence[float] | None = None,
    folds: int = 3,
    centre: bool = True,
    max_samples: int | None = None,
    search_samples: int | None = None,
    landmarks: int | None = None,
) -> Tree:
    """`kernel_r2_between` with fitting rows in the order that folds and subsets are taken by."""
    blocks, structure = jax.tree.flatten(fit_y)
    score_blocks, score_structure = jax.tree.flatten(score_y)
    require(len(blocks) > 0, "fit_y", fit_y, "one block of targets at least")
    same = structure == score_structure  # type: ignore[operator]  # in jax a name without a type
    require(same, "score_y", score_structure, f"as fit_y: {structure}")
    for block, score_block in zip(blocks, score_blocks, strict=True):
        require(block.ndim == 2, "fit_y", block.shape, "two axes, [rows, targets]")
        check_split(fit_x, block, score_x, score_block)
    if gammas is None:
        wide = max(1.0, fit_x.shape[1] / _WIDE)
        gammas = tuple(gamma / wide for gamma in GAMMAS)
    for name, grid in (("alphas", alphas), ("gammas", gammas)):
        require(len(grid) > 0, name, grid, "one or more numbers > 0")
        require_strength(name, grid, zero=False)
    require(folds >= 2, "folds", folds, "2 or more")
    for name, rows in (("max_samples", max_samples), ("search_samples", search_samples)):
        require(rows is None or rows >= folds, name, rows, f"None, or {folds} (the folds) or more")
    require(landmarks is None or landmarks >= 1, "landmarks", landmarks, "None, or 1 or more")
    require(len(fit_x) >= folds, "fit_x", fit_x.shape, f"{folds} (the folds) or more rows")
    kept = _spread(len(fit_x), max_samples)
    # With their mean where that counts; each in its own unit and, on the host, digits.
    scaled = centred if centre else lambda *pair: [floating(v) for v in pair]
    pairs = [scaled(*pair) for pair in zip(blocks, score_blocks, strict=True)]
    targets, score_targets = zip(*pairs, strict=True)
    fit_x, score_x = centred(fit_x, score_x)
    # Blocks side by side, so that the search sees one table of targets and compiles once.
    owners = np.repeat(np.arange(len(blocks)), [block.shape[1] for block in blocks])
    scores = _scores(
        fit_x[kept],
        jnp.concatenate(targets, axis=1)[kept],
        score_x,
        jnp.concatenate(score_targets, axis=1),
        owners == np.arange(len(blocks))[:, None],
        jnp.asarray(alphas),
        jnp.asarray(gammas),
        centre,
        folds=folds,
        search_samples=None if search_samples is None else min(search_samples, len(kept)),
        landmarks=None if landmarks is None else min(landmarks, len(kept)),
    )
    results = [KernelScore(*(field[i] for field in scores)) for i in range(len(blocks))]
    return jax.tree.unflatten(structure, results)


def _spread(rows: int, at_most: int | None) -> np.ndarray:
    """Indices of at most so many of the rows, at equal distances."""
    count = rows if at_most is None else min(rows, at_most)
    return np.arange(count) * rows // count


def _folds(rows: int, folds: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rows held out and rows left of contiguous folds, `[g, held]` and `[g, left]`.

    The first folds have the rows left over; those of one size are together, compiled once.
    """
    every = np.arange(rows)
    parts = np.array_split(every, folds)
    groups = [[p for p in parts if len(p) == size] for size in sorted({len(p) for p in parts})]
    return [(np.stack(g), np.stack([np.delete(every, held) for held in g])) for g in groups]


def _distances(x: Array, y: Array) -> Array:
    """`[n, f], [m, f] -> [n, m]` squared distances."""
    # Not |x|^2 + |y|^2 - 2 x.y: gamma multiplies its rounding error, and duplicates must be at 0.
    return jnp.sum((x[:, None, :] - y[None, :, :]) ** 2, axis=-1)


def _kernel(distances: Array, gamma: Array) -> Array:
    values = jnp.exp(-gamma * distances)
    # Far below rounding; their products are denormal, which processors compute ten times slower.
    return jnp.where(values < jnp.finfo(values.dtype).eps ** 2, 0, values)


def _ridge_path(gram: Array, moments: Array, alphas: Array) -> Array:
    """`[p, p], [p, k], [a] -> [p, a, k]`: (gram + alpha I)^-1 moments, by one factorisation."""
    values, vectors = jnp.linalg.eigh(gram)
    # Eigenvalues are right to this much only, which in float32 is near the smallest alpha. As a
    # floor it makes the refinement below a contraction.
    values = jnp.maximum(values, jnp.finfo(values.dtype).eps * values[-1])
    damped = values[:, None, None] + alphas[:, None]
    product = partial(jnp.tensordot, axes=1)
    solve = lambda right: product(vectors, product(vectors.T, right) / damped)
    right = jnp.broadcast_to(moments[:, None], (len(gram), len(alphas), moments.shape[1]))
    weights = solve(right)
    for _ in range(_REFINEMENTS):
        weights += solve(right - product(gram, weights) - alphas[:, None] * weights)
    return weights


def _landmark_basis(places: Array, gamma: Array) -> Array:
    """`[l, f] -> [l, l]` B such that k(x, places) B B' k(places, y) is the projected kernel."""
    values, vectors = jnp.linalg.eigh(_kernel(_distances(places, places), gamma))
    # What is left of the kernel in directions below rounding is noise; its inverse would count.
    kept = values > 4 * jnp.finfo(values.dtype).eps * values[-1]
    return vectors * jnp.where(kept, jax.lax.rsqrt(jnp.where(kept, values, 1)), 0)


def _grid_r2(x, y, alphas, gammas, folds, places) -> Array:
    """`[n, k] -> [alphas, gammas, k]` cross-validated R2 of every target."""
    distances = _distances(x, x if places is None else places)

    def of_fold(basis, held, left):
        if places is None:
            gram, moments, basis = basis[left][:, left], y[left], basis[held][:, left]
        else:
            gram, moments, basis = basis[left].T @ basis[left], basis[left].T @ y[left], basis[held]
        predicted = jnp.tensordot(basis, _ridge_path(gram, moments, alphas), 1).swapaxes(0, 1)
        missed = y[held] - predicted
        # A fold of one row tells nothing, of no alpha more than of another; NaN stays NaN.
        return explained(y[held], missed) if len(held) > 1 else 0 * missed[..., 0, :]

    def of_gamma(gamma):
        basis = _kernel(distances, gamma)
        if places is not None:
            basis = basis @ _landmark_basis(places, gamma)
        one = lambda rows: of_fold(basis, *rows)
        return sum(jax.lax.map(one, group).sum(0) for group in _folds(len(x), folds)) / folds

    # One after another, gammas as folds: the factorisations would not fit in memory at once.
    return jax.lax.map(of_gamma, gammas).swapaxes(0, 1)


def _refitted(x, y, score_x, alpha, gamma, places) -> Array:
    """`[m, k]` predictions for the scoring rows by a fit of all the others."""
    if places is None:
        # One alpha only: Cholesky's is a tenth of the work of an eigendecomposition.
        gram = _kernel(_distances(x, x), gamma) + alpha * jnp.eye(len(x), dtype=x.dtype)
        centres, factor = x, jax.scipy.linalg.cho_factor(gram, lower=True)
        weights = jax.scipy.linalg.cho_solve(factor, y)
        for _ in range(_REFINEMENTS):
            weights += jax.scipy.linalg.cho_solve(factor, y - gram @ weights)
    else:
        basis, centres = _landmark_basis(places, gamma), places
        features = _kernel(_distances(x, places), gamma) @ basis
        weights = basis @ _ridge_path(features.T @ features, features.T @ y, alpha[None])[:, 0]
    predict = lambda row: _kernel(_distances(row[None], centres), gamma)[0] @ weights
    return jax.lax.map(predict, score_x, batch_size=_ROWS_AT_ONCE)


@partial(jax.jit, static_argnames=("folds", "search_samples", "landmarks"))
def _scores(
    fit_x, fit_y, score_x, score_y, members, alphas, gammas, centre, *, folds, search_samples,
    landmarks,
) -> KernelScore:  # fmt: skip
    """KernelScore of arrays, `[blocks]` each; `members[i, j]` says that target j is of block i."""
    dtype = jnp.result_type(fit_x, fit_y)
    fit_x, fit_y, score_x, score_y, alphas, gammas = (
        values.astype(dtype) for values in (fit_x, fit_y, score_x, score_y, alphas, gammas)
    )
    fit_x, score_x = standardise(fit_x, score_x)
    mean = jnp.where(centre, fit_y.mean(0), 0)
    fit_y, score_y = fit_y - mean, score_y - mean
    alphas = jnp.maximum(alphas, 10 * len(fit_x) ** 0.5 * jnp.finfo(dtype).eps)
    places = None if landmarks is None else fit_x[_spread(len(fit_x), landmarks)]
    searched = _spread(len(fit_x), search_samples)
    # Not a product with 0 and 1: one block's NaN would be all blocks'.
    mean_over = lambda member, r2: jnp.where(member, r2, 0).sum(-1) / member.sum()

    def of_block(member):
        grid = mean_over(member, each)
        # Alphas before gammas, so that ties fall as in scikit-learn's grid.
        best = jnp.argmax(grid)
        alpha, gamma = alphas[best // len(gammas)], gammas[best % len(gammas)]
        predicted = _refitted(fit_x, fit_y, score_x, alpha, gamma, places)
        r2 = mean_over(member, explained(score_y, score_y - predicted))
        chosen_by = grid.ravel()[best] if len(searched) > folds else jnp.full_like(r2, jnp.nan)
        return KernelScore(r2, alpha, gamma, chosen_by)

    # TF32 products, the default on some devices, are not the positive definite matrices meant.
    with jax.default_matmul_precision("highest"):
        each = _grid_r2(fit_x[searched], fit_y[searched], alphas, gammas, folds, places)
        return jax.lax.map(of_block, members)

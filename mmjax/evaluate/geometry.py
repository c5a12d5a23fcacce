"""Which geometry fits paired features: a sphere or a convex body, by the coupling's shape."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mmjax.disentangle import fast_ica, pca, transform
from mmjax.errors import require
from mmjax.numerics import conditioned
from mmjax.types import AnyArray, Array, Key, Tracked, untracked

_TINY = 1e-8


class Geometry(NamedTuple):
    """What held-out pairs say of p(t | x).

    Attributes:
      exponent: alpha of the coupling exp(-sum_k w_k |x_k - t_k|^alpha) that fits best: 2 is round,
        as on the sphere (a von Mises-Fisher law is exp(-kappa |x - t|^2 / 2) there), 1 pointed, as
        the Laplace coupling in a convex body.
      exponent_error: standard error over folds.
      advantage: nats a held-out pair by which alpha 1 tells the partner better than alpha 2; above
        0 the convex body fits, below 0 the sphere.
      advantage_error: standard error over pairs, of folds fitted apart.
      entropies: `[3]` held-out cross-entropies with alpha 1, 2 and free, in nats; log of
        `candidates` where nothing is told.
      candidates: partners that each was told from.
    """

    exponent: Array
    exponent_error: Array
    advantage: Array
    advantage_error: Array
    entropies: Array
    candidates: int


def geometry_of(
    x: Array,
    t: Array,
    key: Key,
    *,
    dim: int | None = None,
    folds: int = 5,
    candidates: int = 256,
    steps: int = 400,
    tracked: Tracked = untracked,
) -> Geometry:
    """Fits a pointed, a round and a free coupling to paired features, and compares held-out pairs.

    Features of one space, as contrastive training leaves them. Both sides are centred; the space
    is cut to the principal directions of the pairs' means and turned to independent components
    (which are the body's axes in the one case and any axes in the other); then every coupling gets
    a width per component and says, among `candidates` pairs, which t belongs to which x. The axes
    and widths are fitted without the fold that is judged.

    Args:
      x, t: `[n, d]` of any real type, paired by row; n >= 4 folds. What is not finite makes all
        figures NaN.
      key: of the folds and of ICA.
      dim: components, 1 to d; None for d.
      folds: >= 2.
      candidates: >= 2; at most a fold's rows are used.
      steps: of Adam for each coupling.
      tracked: shows how many folds are judged.

    Raises InvalidInput for a value out of range.
    """
    require(x.ndim == 2 and x.shape == t.shape, "x, t", (x.shape, t.shape), "equal shapes [n, d]")
    n, d = x.shape
    require(folds >= 2 and n >= 4 * folds, "folds", folds, f"2 to {n // 4} for {n} pairs")
    k = d if dim is None else dim
    require(1 <= k <= d, "dim", k, f"1 to {d}")
    require(candidates >= 2, "candidates", candidates, "a whole number >= 2")
    x, t = _in_one_unit(x, t)
    size = n // folds
    candidates = min(candidates, size)
    fold_key, *keys = jax.random.split(key, folds + 1)
    order = jax.random.permutation(fold_key, n)[: size * folds].reshape(folds, size)
    told_of, exponent_of = [], []
    for fold in tracked(range(folds), "geometry, folds"):
        rest = jnp.concatenate([order[:fold], order[fold + 1 :]]).ravel()
        entropies, exponent = _fold(
            (x[rest], t[rest]), (x[order[fold]], t[order[fold]]), keys[fold], k, candidates, steps
        )
        told_of.append(entropies)
        exponent_of.append(exponent)
    nats, exponents = jnp.concatenate(told_of, 1), jnp.stack(exponent_of)
    gains = nats[1] - nats[0]
    error = lambda values: jnp.std(values, ddof=1) / len(values) ** 0.5
    return Geometry(
        jnp.mean(exponents),
        error(exponents),
        jnp.mean(gains),
        error(gains),
        jnp.mean(nats, 1),
        candidates,
    )


def _in_one_unit(x: AnyArray, t: AnyArray) -> list[Array]:
    """Both without their means and, so that they stay in one space, in the unit of the two."""
    sides = [np.asarray(v) if not isinstance(v, jax.Array) else v for v in (x, t)]
    known = [conditioned(v, together=True) for v in sides]
    (_, _, x_unit), (_, _, t_unit) = known
    return [side * (unit / jnp.maximum(x_unit, t_unit)) for (side,), _, unit in known]


@partial(jax.jit, static_argnums=(3, 4, 5))
def _fold(fit, score, key, dim, candidates, steps):
    """`[3, pairs]` held-out cross-entropies of alpha 1, 2 and free, and the free alpha."""
    ica_key, batch_key = jax.random.split(key)
    means = [jnp.mean(v, 0) for v in fit]
    fit, score = ([v - m for v, m in zip(side, means, strict=True)] for side in (fit, score))
    # What a pair shares stands out in its mean.
    directions = pca((fit[0] + fit[1]) / 2, dim).directions
    fit, score = ([v @ directions for v in side] for side in (fit, score))
    result = fast_ica(jnp.concatenate(fit), ica_key)
    fit, score = ([transform(result, v) for v in side] for side in (fit, score))

    def entropies(params, x, t):
        widths, alpha = jnp.exp(params["log_width"]), params["alpha"]
        apart = jnp.square((x[:, None] - t[None]) / widths) + _TINY
        scores = -jnp.sum(apart ** (alpha / 2), -1)
        pulls = jnp.diagonal(scores)
        forth = jax.nn.logsumexp(scores, 1) - pulls
        back = jax.nn.logsumexp(scores, 0) - pulls
        return (forth + back) / 2

    optimiser = optax.adam(optax.cosine_decay_schedule(0.05, steps))

    def fitted(alpha, free):
        def step(carry, key):
            params, state = carry
            rows = jax.random.choice(key, len(fit[0]), (candidates,), replace=False)
            loss = lambda p: jnp.mean(entropies(p, fit[0][rows], fit[1][rows]))
            grad = jax.grad(loss)(params)
            grad["alpha"] = jnp.where(free, grad["alpha"], 0)
            updates, state = optimiser.update(grad, state)
            params = optax.apply_updates(params, updates)
            params["alpha"] = jnp.clip(params["alpha"], 0.3, 6)
            return (params, state), None

        params = {"log_width": jnp.zeros(dim), "alpha": jnp.asarray(alpha)}
        carry = params, optimiser.init(params)
        return jax.lax.scan(step, carry, jax.random.split(batch_key, steps))[0][0]

    models = [fitted(1.0, False), fitted(2.0, False), fitted(1.5, True)]
    parts = len(score[0]) // candidates
    cut = [v[: parts * candidates].reshape(parts, candidates, dim) for v in score]
    remarks = [jax.lax.map(lambda xt, m=m: entropies(m, *xt), tuple(cut)).ravel() for m in models]
    return jnp.stack(remarks), models[2]["alpha"]

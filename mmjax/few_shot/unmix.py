"""Maps of frozen features fitted without labels, for many draws at once."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mmjax.disentangle import SAE, UNMIXINGS, Affine, components, fast_ica, sae
from mmjax.few_shot.base import Draws, over_draws
from mmjax.types import Array, Key, Tree

LATENTS = 2  # of the sparse dictionary: directions for each feature
ACTIVE = 32  # of them, what a row uses at most, of 512 features; of fewer a 16th of them
SPARSE_STEPS = 400  # more of them fit a few thousand rows better, and others worse
# FastICA ends where no entry of the gradient is larger. Of a few thousand rows 64 components are
# known to some hundredths; of 256 each start finds others, and going on changes no mean accuracy.
# With nearly as many directions as rows that takes hundreds of passes.
_FLAT, _PASSES = 1e-3, 500
FLOOR = 1e-6  # directions of less variance than this share of the largest are rounding


class Unmixing(NamedTuple):
    """A map of features.

    Attributes:
      name: as shown.
      fit: `(x [draws, n, d], keys [draws], k) -> params`, over draws.
      apply: `(params of one draw, x [m, d]) -> [m, components]`, pure.
      num_components: principal directions kept, or None for all that the rows determine.
    """

    name: str
    fit: Callable[[Array, Key, int], Tree]
    apply: Callable[[Tree, Array], Array]
    num_components: int | None = None


def _independent(x: Array, key: Key, k: int) -> Affine:
    result = fast_ica(x, key, num_components=k, floor=FLOOR, tolerance=_FLAT, max_steps=_PASSES)
    return Affine(result.mean, result.unmixing.T, result.mixing.T)


def _turned(x: Array, key: Key, k: int) -> Affine:
    """Whitening, then a rotation by chance: all that FastICA has beside the search for axes."""
    white = UNMIXINGS["whitening"](x, key, k)
    turn = jnp.linalg.qr(jax.random.normal(key, (k, k), white.matrix.dtype))[0]
    return Affine(white.mean, white.matrix @ turn, turn.T @ white.back)


def _sparse(x: Array, key: Key, k: int) -> SAE:
    """A sparse dictionary of all directions: k, the principal ones kept, is another matter."""
    latents = LATENTS * x.shape[1]
    steps = min(SPARSE_STEPS, 50 * -(-len(x) // 256))
    return sae.train(x, key, num_latents=latents, active=_active(latents), steps=steps).sae


def _active(latents: int) -> int:
    return min(ACTIVE, max(1, latents // 16))


def sparse_codes(dictionary: SAE, x: Array) -> Array:
    """`[m, d] -> [m, 2 d]` codes of a dictionary of KINDS."""
    return sae.encode(dictionary, x, active=_active(len(dictionary.bias)))


KINDS = {
    "none": over_draws(UNMIXINGS["none"]),
    "pca": over_draws(UNMIXINGS["pca"]),
    "whitening": over_draws(UNMIXINGS["whitening"]),
    "ica": over_draws(_independent),
    "turned": over_draws(_turned),
    "sparse": over_draws(_sparse),
}
SPARSE = Unmixing("sparse dictionary", KINDS["sparse"], sparse_codes)


def affine_unmixing(name: str, kind: str, num_components: int | None = None) -> Unmixing:
    """One of KINDS by its name."""
    return Unmixing(name, KINDS[kind], components, num_components)


def fit_unmixing(unmixing: Unmixing, draws: Draws, pool: Array | None = None) -> Tree:
    """Its params for each draw.

    Args:
      unmixing: what is fitted.
      draws: whose training and validation rows it is fitted on, unless there is a pool.
      pool: `[n, d]` unlabelled rows that it is fitted on for all draws at once.
    """
    count = draws.x.shape[0]
    rows = jnp.concatenate([draws.x, draws.val], 1) if pool is None else pool[None]
    most = min(rows.shape[1] - 1, rows.shape[2])
    k = min(most, unmixing.num_components or most)
    result = unmixing.fit(rows, draws.keys[: len(rows)], k)
    return jax.tree.map(lambda v: jnp.broadcast_to(v, (count, *v.shape[1:])), result)


def unmixed(unmixing: Unmixing, params: Tree, draws: Draws) -> Draws:
    """The draws with z and val_z after the map."""
    z, val_z = (_applied(unmixing.apply, params, v, 0) for v in (draws.x, draws.val))
    return draws._replace(z=z, val_z=val_z)


def unmixed_test(unmixing: Unmixing, params: Tree, x: Array, *, shared: bool) -> Array:
    """`[draws, m, k]` test rows after each draw's map; shared rows are `[m, d]`."""
    return _applied(unmixing.apply, params, x, None if shared else 0)


@partial(jax.jit, static_argnums=(0, 3))
def _applied(apply, params, x, axis):
    return jax.vmap(apply, in_axes=(0, axis))(params, x)

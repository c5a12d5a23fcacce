"""Bimodal Trifeature (Dufumier et al. 2025): a gallery of images, its split, and pairs of them.

Every triple of a shape, a texture and a colour is shown a few times; a fifth of the triples is
held out. A pair is two images of one shape. Unbiased pairs are uniform over those of a split. In
biased ones the colour of the second image is the one that a mapping M assigns to the texture of
the first: uniform over the pairs of which that holds. Published, 3 renderings of each of 800
triples train, in 10,000 pairs; one of each of the other 200 tests, in about 4,000 pairs, all that
share a shape.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from mmjax.errors import require
from mmjax.generative.trifactors import TriFactors
from mmjax.types import Array, Key

HELD_OUT = 0.2
TRAIN_PAIRS = 10_000


class Gallery(NamedTuple):
    """Images and what they show; row = ((shape, texture, colour), rendering), the last fastest.

    Attributes:
      images: `[n, size, size, 3]` uint8, NumPy.
      shape, texture, colour: `[n]` int32, NumPy; classes are numbered from 0.
      rendering: `[n]` int32, NumPy, which one of its triple.
    """

    images: np.ndarray
    shape: np.ndarray
    texture: np.ndarray
    colour: np.ndarray
    rendering: np.ndarray


class PairPool(NamedTuple):
    """Images among which pairs are drawn, ordered by shape, then colour.

    Attributes:
      rows: `[m]` int32, in the gallery.
      shape, texture, colour: `[m]` int32.
      start: `[classes, classes + 1]` int32; images of shape s and colour c are those from
        start[s, c] to before start[s, c + 1].
    """

    rows: Array
    shape: Array
    texture: Array
    colour: Array
    start: Array


def make_gallery(
    draw: Callable[[Key, Array, Array, Array], Array],
    key: Key,
    *,
    renderings: int = 3,
    classes: int = 10,
    progress: Callable[[int], None] = lambda done: None,
) -> Gallery:
    """Every triple of factors shown some times; a function of draw, key and the numbers alone.

    Args:
      draw: `(key, shape, texture, colour) -> [n, size, size, 3]` in [0, 1] with nuisances of its
        own, such as `draw_trifeature` at a size; is compiled.
      key: of all nuisances.
      renderings: of each triple, >= 1.
      classes: of each factor, 2 or more and no more than draw knows.
      progress: called with the number of images done, after every batch.

    Raises InvalidInput for renderings or classes out of range.
    """
    require(renderings >= 1, "renderings", renderings, "a whole number >= 1")
    require(classes >= 2, "classes", classes, "a whole number >= 2")
    labels = np.indices((classes, classes, classes, renderings), np.int32).reshape(4, -1)
    n = labels.shape[1]
    batch = n // classes**2  # one shape and texture at a time

    @jax.jit
    def rendered(key: Key, shown: Array) -> Array:
        return jnp.round(255 * jnp.clip(draw(key, *shown), 0, 1)).astype(jnp.uint8)

    like = jax.eval_shape(rendered, key, labels[:3, :batch])
    images = np.empty((n, *like.shape[1:]), np.uint8)
    for k, start in enumerate(range(0, n, batch)):
        some = np.asarray(rendered(jax.random.fold_in(key, k), labels[:3, start : start + batch]))
        images[start : start + batch] = some
        progress(start + batch)
    return Gallery(images, *labels)


def split_triples(
    gallery: Gallery, split_key: Key, *, held_out: float = HELD_OUT, test_renderings: int | None = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Rows that train, and rows of held-out triples that test: no triple is in both.

    Args:
      gallery: with n rows.
      split_key: of the choice of triples alone.
      held_out: share of the triples that test, in (0, 1); the published 0.2.
      test_renderings: of each held-out triple, >= 1; None keeps all. Published 1.

    Returns:
      Two increasing `[m]` int32 NumPy arrays.

    Raises InvalidInput for a value out of range, or where a side would be without a triple.
    """
    require(0 < held_out < 1, "held_out", held_out, "a number in (0, 1)")
    few = test_renderings is None or test_renderings >= 1
    require(few, "test_renderings", test_renderings, "a whole number >= 1, or None for all")
    renderings = int(gallery.rendering.max()) + 1
    triples = len(gallery.rendering) // renderings
    count = round(held_out * triples)
    require(0 < count < triples, "held_out", held_out, f"a share that divides {triples} triples")
    chosen = np.zeros(triples, bool)
    chosen[np.asarray(jax.random.permutation(split_key, triples))[:count]] = True
    tests = np.repeat(chosen, renderings)
    shown = gallery.rendering < (renderings if test_renderings is None else test_renderings)
    train, test = np.nonzero(~tests)[0], np.nonzero(tests & shown)[0]
    return train.astype(np.int32), test.astype(np.int32)


def redrawn(key: Key, rows: Array, renderings: int) -> Array:
    """Any rendering of what each row shows: a view with the same factors and another pose.

    Args:
      key: of all draws.
      rows: `[...]` int32 of a gallery.
      renderings: of each of its triples.

    Returns:
      Rows `[...]` int32, uniform over the renderings, the same one included.
    """
    return rows // renderings * renderings + jax.random.randint(key, rows.shape, 0, renderings)


def split_renderings(gallery: Gallery, tests: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Another split: all triples train, and the last renderings of each test.

    Args:
      gallery: with 2 or more renderings.
      tests: renderings that test, >= 1 and fewer than there are.

    Returns:
      Two increasing `[m]` int32 NumPy arrays of rows: train, test.

    Raises InvalidInput for tests out of range.
    """
    renderings = int(gallery.rendering.max()) + 1
    allowed = f"a whole number >= 1 and < {renderings}, the gallery's renderings"
    require(1 <= tests < renderings, "tests", tests, allowed)
    last = gallery.rendering >= renderings - tests
    train, test = (np.nonzero(side)[0].astype(np.int32) for side in (~last, last))
    return train, test


def pair_pool(gallery: Gallery, rows: np.ndarray) -> PairPool:
    """The rows of a split, ready for drawing pairs.

    Raises InvalidInput where there are none, or rows that the gallery does not have, or more pairs
    than int32 counts.
    """
    rows = np.asarray(rows)
    n = len(gallery.shape)
    within = rows.ndim == 1 and rows.size > 0 and rows.min() >= 0 and rows.max() < n
    require(within, "rows", f"array of shape {rows.shape}", f"one or more rows of 0 to {n - 1}")
    rows = rows[np.lexsort((gallery.colour[rows], gallery.shape[rows]))]
    shape, texture, colour = (x[rows] for x in (gallery.shape, gallery.texture, gallery.colour))
    classes = int(gallery.colour.max()) + 1
    pairs = int((np.bincount(shape).astype(np.int64) ** 2).sum())
    require(pairs < 2**31, "rows", len(rows), "fewer: they make 2^31 pairs or more")
    first, code = np.arange(classes)[:, None] * classes, shape * classes + colour
    start = np.searchsorted(code, first + np.arange(classes + 1))
    return PairPool(*(jnp.asarray(x, jnp.int32) for x in (rows, shape, texture, colour, start)))


@jax.jit
def _partners(pool: PairPool, mapping: Array | None) -> tuple[Array, Array]:
    """First partner of each image, and the number of pairs up to each; None asks for no mapping."""
    if mapping is None:
        first, stop = pool.start[pool.shape, 0], pool.start[pool.shape, -1]
    else:
        assigned = mapping[pool.texture]
        first, stop = pool.start[pool.shape, assigned], pool.start[pool.shape, assigned + 1]
    return first, jnp.cumsum(stop - first)


@jax.jit
def _pairs_at(partners: tuple[Array, Array], number: Array) -> Array:
    """`[n, 2]` places in the pool of the pairs of these numbers, which count image by image."""
    first, upto = partners
    one = jnp.searchsorted(upto, number, side="right")
    before = jnp.where(one > 0, upto[one - 1], 0)
    return jnp.stack([one, first[one] + number - before], 1)


@jax.jit
def _shown(pool: PairPool, mapping: Array, places: Array) -> tuple[TriFactors, Array]:
    """What the pairs show, and their rows."""
    texture, colour = pool.texture[places], pool.colour[places]
    synergy = (colour[:, 1] == mapping[texture[:, 0]]).astype(jnp.int32)
    factors = TriFactors(pool.shape[places[:, 0]], texture, colour, synergy[:, None])
    return factors, pool.rows[places]


@functools.partial(jax.jit, static_argnames="n")
def sample_pairs(
    pool: PairPool, mapping: Array, key: Key, n: int, bias: float
) -> tuple[TriFactors, Array]:
    """n pairs, with replacement; exact, and usable under jit and vmap.

    With probability bias a pair is uniform over those of one shape that respect M, otherwise over
    all of one shape, an image with itself included. In a pool of which no pair respects M, which
    only a tiny one is, all are of the second kind.

    Args:
      pool: of the split.
      mapping: `[classes]` int32: M, from textures of the first to colours of the second.
      key: of all draws.
      n: pairs, >= 1.
      bias: probability, 0 to 1. 1 is the published biased training, 0 the test.

    Returns:
      TriFactors of two modalities and one synergy, and `[n, 2]` int32 rows of the gallery.

    Raises AssertionError for a mapping of another length.
    """
    bias_key, free_key, bound_key = jax.random.split(key, 3)

    def drawn(own_key, partners):
        return _pairs_at(partners, jax.random.randint(own_key, (n,), 0, partners[1][-1]))

    chex.assert_shape(mapping, (pool.start.shape[0],))
    mapping = jnp.asarray(mapping, jnp.int32)
    free, bound = _partners(pool, None), _partners(pool, mapping)
    forced = jax.random.bernoulli(bias_key, bias, (n, 1)) & (bound[1][-1] > 0)
    places = jnp.where(forced, drawn(bound_key, bound), drawn(free_key, free))
    return _shown(pool, mapping, places)


def fixed_pairs(
    pool: PairPool, mapping: Array, key: Key, n: int | None = TRAIN_PAIRS, *, biased: bool
) -> tuple[TriFactors, Array]:
    """A data set of different pairs, as published: 10,000 to train, all (None) to test.

    Args:
      pool: of the split.
      mapping: `[classes]` int32.
      key: of the choice and the order.
      n: pairs, >= 1; None takes all that there are.
      biased: whether all respect M.

    Returns:
      As `sample_pairs`. Not for use under jit.

    Raises InvalidInput where there are fewer than n such pairs, or none; AssertionError as there.
    """
    chex.assert_shape(mapping, (pool.start.shape[0],))
    mapping = jnp.asarray(mapping, jnp.int32)
    partners = _partners(pool, mapping if biased else None)
    total = int(np.asarray(partners[1])[-1])
    allowed = f"a whole number from 1 to {total}, the pairs that there are"
    require(1 <= (total if n is None else n) <= total, "n", n, allowed)
    order = np.argsort(np.asarray(jax.random.bits(key, (total,))), kind="stable")
    every = _shown(pool, mapping, _pairs_at(partners, order.astype(np.int32)))
    return jax.tree.map(lambda v: v[:n], every)

"""Shared, unique and synergistic factors, known by construction: trifeature without images.

The task of Dufumier et al. 2025 (bimodal Trifeature) in numbers: every modality shows a shape, a
texture and a colour among nuisances. The shape is shared by all modalities; a texture is unique to
its modality; synergy is whether a colour of one modality is the one that a fixed mapping M assigns
to the textures of others, which no modality tells alone.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.errors import require
from mmjax.types import Array, Key


class TriFactors(NamedTuple):
    """What is shown, row by row; classes are numbered from 0.

    Attributes:
      shape: `[n]` int32, of all modalities.
      texture, colour: `[n, modalities]` int32.
      synergy: `[n, synergies]` int32, 1 where the colour is the one that the mapping assigns.
    """

    shape: Array
    texture: Array
    colour: Array
    synergy: Array


class TriWorld(NamedTuple):
    """Constants of one world.

    Attributes:
      codes: `[modalities, 3, classes, code_dim]`, of shapes, textures and colours.
      inner: `[modalities, 3 code_dim + nuisance_dim, hidden]`.
      outer: `[modalities, hidden, features]`.
      mapping: `[synergies, classes]` int32, a permutation of the classes each: M.
    """

    codes: Array
    inner: Array
    outer: Array
    mapping: Array


class TriModel(NamedTuple):
    """The task as pure functions.

    Attributes:
      init: `(world_key, mapping_key) -> TriWorld`; M has a key of its own, so that it is the same
        wherever that key is, whatever else is drawn.
      sample: `(world, key, n, bias) -> TriFactors`; with probability bias (0 to 1) a row's colour
        is the one that the mapping of a synergy assigns, for each synergy by itself: none tells of
        another. 1 is the published biased training, 0 has all factors independent.
      observe: `(world, factors, key) -> tuple of [n, features]` float32, one a modality, with
        nuisances drawn anew.
      view: the same augmented: nuisances drawn anew, noise added, features set to 0.
      modalities: how many.
      classes: of each factor.
      features: dimension of an observation.
    """

    init: Callable[[Key, Key], TriWorld]
    sample: Callable[[TriWorld, Key, int, float], TriFactors]
    observe: Callable[[TriWorld, TriFactors, Key], tuple[Array, ...]]
    view: Callable[[TriWorld, TriFactors, Key], tuple[Array, ...]]
    modalities: int
    classes: int
    features: int


def _check_synergies(synergies, modalities):
    allowed = f"tuples of two or more different modalities of 0 to {modalities - 1}"
    for members in synergies:
        within = all(0 <= member < modalities for member in members)
        good = len(members) >= 2 and len(set(members)) == len(members) and within
        require(good, "synergies", members, allowed)
    targets = [members[-1] for members in synergies]
    require(len(set(targets)) == len(targets), "synergies", synergies, "each last modality once")


def draw_mapping(mapping_key: Key, synergies: int = 1, classes: int = 10) -> Array:
    """M: `[synergies, classes]` int32, a permutation of the classes each, as in `TriModel.init`."""
    ranked = jax.random.uniform(mapping_key, (synergies, classes))
    return jnp.argsort(ranked, axis=1).astype(jnp.int32)


def _assigned(mapping: Array, texture: Array, synergies: Sequence, classes: int) -> Array:
    """The colours that the mappings assign, `[n, synergies]`."""
    sums = [sum(texture[:, k] for k in members[:-1]) % classes for members in synergies]
    return jnp.stack([m[s] for m, s in zip(mapping, sums, strict=True)], 1)


def trifactor_model(
    *,
    modalities: int = 2,
    synergies: Sequence[Sequence[int]] | None = None,
    classes: int = 10,
    code_dim: int = 8,
    nuisance_dim: int = 16,
    hidden: int = 64,
    features: int = 64,
    noise: float = 0.3,
    masked: float = 0.1,
) -> TriModel:
    """The numeric trifeature task.

    Modality k shows x_k = tanh(z_k W1_k) W2_k, where z_k are Gaussian codes of its shape, texture
    and colour beside Gaussian nuisances. Synergy s = (k_1, ..., k_m, l) is whether the colour of
    modality l is M_s((texture of k_1 + ... + texture of k_m) mod classes), M_s a permutation.
    Unbiased, any m of its modalities tell nothing of it. A modality's colour is l at most once.

    Args:
      modalities: >= 2.
      synergies: tuples of modalities from 0; None is one of all modalities: for two the published
        (0, 1), texture of the first and colour of the second. ((0, 1), (1, 2)) are two of pairs.
      classes: of shapes, textures and colours, >= 2.
      code_dim: dimension of each code, >= 1.
      nuisance_dim: >= 0.
      hidden, features: of the mixing, >= 1.
      noise: standard deviation of what a view adds, >= 0.
      masked: share of features that a view sets to 0, in [0, 1).

    Raises InvalidInput for a value out of range.

    Example:
      >>> import jax
      >>> model = trifactor_model()
      >>> world_key, mapping_key, factor_key, view_key = jax.random.split(jax.random.key(0), 4)
      >>> world = model.init(world_key, mapping_key)
      >>> factors = model.sample(world, factor_key, 5, 1.0)
      >>> factors.synergy[:, 0].tolist()
      [1, 1, 1, 1, 1]
      >>> [x.shape for x in model.view(world, factors, view_key)]
      [(5, 64), (5, 64)]
    """
    require(modalities >= 2, "modalities", modalities, "a whole number >= 2")
    require(classes >= 2, "classes", classes, "a whole number >= 2")
    sizes = {"code_dim": code_dim, "hidden": hidden, "features": features}
    for name, value in sizes.items():
        require(value >= 1, name, value, "a whole number >= 1")
    require(nuisance_dim >= 0, "nuisance_dim", nuisance_dim, "a whole number >= 0")
    require(noise >= 0, "noise", noise, "a number >= 0")
    require(0 <= masked < 1, "masked", masked, "a number in [0, 1)")
    chosen = (range(modalities),) if synergies is None else synergies
    chosen = tuple(tuple(members) for members in chosen)
    require(len(chosen) >= 1, "synergies", chosen, "one or more")
    _check_synergies(chosen, modalities)
    targets = np.array([members[-1] for members in chosen])
    latent_dim = 3 * code_dim + nuisance_dim

    def init(world_key: Key, mapping_key: Key) -> TriWorld:
        code_key, inner_key, outer_key = jax.random.split(world_key, 3)
        return TriWorld(
            codes=jax.random.normal(code_key, (modalities, 3, classes, code_dim)),
            inner=jax.random.normal(inner_key, (modalities, latent_dim, hidden)) / latent_dim**0.5,
            outer=jax.random.normal(outer_key, (modalities, hidden, features)) / hidden**0.5,
            mapping=draw_mapping(mapping_key, len(chosen), classes),
        )

    def sample(world: TriWorld, key: Key, n: int, bias: float) -> TriFactors:
        shape_key, texture_key, colour_key, bias_key = jax.random.split(key, 4)
        whole = lambda own_key, *shape: jax.random.randint(own_key, (n, *shape), 0, classes)
        texture, colour = whole(texture_key, modalities), whole(colour_key, modalities)
        assigned = _assigned(world.mapping, texture, chosen, classes)
        forced = jax.random.bernoulli(bias_key, bias, (n, len(chosen)))
        colour = colour.at[:, targets].set(jnp.where(forced, assigned, colour[:, targets]))
        synergy = (colour[:, targets] == assigned).astype(jnp.int32)
        return TriFactors(whole(shape_key), texture, colour, synergy)

    def observe(world: TriWorld, factors: TriFactors, key: Key) -> tuple[Array, ...]:
        n = factors.shape.shape[0]
        nuisance = jax.random.normal(key, (modalities, n, nuisance_dim))

        def one(k):
            shown = (factors.shape, factors.texture[:, k], factors.colour[:, k])
            codes = [table[code] for table, code in zip(world.codes[k], shown, strict=True)]
            z = jnp.concatenate([*codes, nuisance[k]], 1)
            return jnp.tanh(z @ world.inner[k]) @ world.outer[k]

        return tuple(one(k) for k in range(modalities))

    def view(world: TriWorld, factors: TriFactors, key: Key) -> tuple[Array, ...]:
        nuisance_key, noise_key, mask_key = jax.random.split(key, 3)
        clean = jnp.stack(observe(world, factors, nuisance_key))
        noisy = clean + noise * jax.random.normal(noise_key, clean.shape)
        kept = jax.random.bernoulli(mask_key, 1 - masked, clean.shape)
        return tuple(jnp.where(kept, noisy, 0))

    return TriModel(init, sample, observe, view, modalities, classes, features)

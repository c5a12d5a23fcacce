"""Fusion of any number of modalities, and of any subset of them (Dufumier et al. 2025).

Encoder -> adapter to tokens, for each modality; the tokens of all go through one transformer, whose
class token is the representation Z. A view is a subset of the modalities: what it doesn't see has
no influence on its Z, exactly.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from mmjax.encoders.attention import FusionTrunk
from mmjax.encoders.base import Encoder
from mmjax.encoders.norm import BatchNorm
from mmjax.errors import require
from mmjax.types import Array, Key, Tree

POOLS = ("class", "mean")
ATTENTIONS = ("joint", "cross")


class Padded(NamedTuple):
    """Sequences filled up to one length.

    Attributes:
      values: `[batch, length, features]` float; whatever is there where nothing is seen is ignored.
      seen: `[batch, length]` bool, False for padding. A row may be padding alone.
    """

    values: Array
    seen: Array


class Modality(NamedTuple):
    """One modality of a fusion.

    Attributes:
      encoder: observations -> features: vectors `[batch, features]`, maps or sequences
        `[batch, ..., features]`, or Padded sequences.
      tokens: how many tokens a vector becomes, by one linear map; a map or a sequence has a token a
        place.
      positions: most places of a map or sequence, each with a learned vector added to its token;
        0 adds none, and places are then a set.
    """

    encoder: Encoder
    tokens: int = 1
    positions: int = 0


class Fused(NamedTuple):
    """What training sees of a batch.

    Attributes:
      z: `[batch, views, width]`, the representations.
      projected: `[batch, views, out]`, after the head: what the loss takes.
    """

    z: Array
    projected: Array


class Fusion(NamedTuple):
    """A fusion as pure functions of its parameters.

    Observations are a tuple, one entry a modality, `[batch, ...]` arrays or Padded. Masks say what
    a view sees: `[views, modalities]` bool, or `[batch, views, modalities]` where modalities are
    missing from single observations. A view that sees nothing gives a constant.

    Attributes:
      init: `(key, observations) -> (parameters, statistics)`, both dicts; only the shapes and
        dtypes of the observations are used.
      apply: `(parameters, statistics, observations, masks) -> [batch, views, width]`, evaluation.
      forward: `(parameters, statistics, observations, masks, key, gather) -> (Fused, statistics)`,
        training; see Encoder.forward. Each view has batch moments of its own in the head.
      project: `(parameters, statistics, z) -> [batch, views, out]` of `[batch, views, width]`: the
        head in evaluation, with its running moments; all views of training share these.
      modalities: how many.
    """

    init: Callable[[Key, tuple], tuple[Tree, Tree]]
    apply: Callable[[Tree, Tree, tuple, Array], Array]
    forward: Callable[[Tree, Tree, tuple, Array, Key, Callable], tuple[Fused, Tree]]
    project: Callable[[Tree, Tree, Array], Array]
    modalities: int


def single_and_joint_masks(modalities: int) -> np.ndarray:
    """The views of CoMM, `[modalities + 1, modalities]` bool: each modality alone, then all."""
    return np.concatenate([np.eye(modalities, dtype=bool), np.ones((1, modalities), bool)])


def subset_masks(modalities: int) -> np.ndarray:
    """Every subset but the empty one, `[2^modalities - 1, modalities]` bool; the last has all."""
    numbers = np.arange(1, 2**modalities)
    return (numbers[:, None] >> np.arange(modalities)) % 2 == 1


def as_is() -> Encoder:
    """The encoder of what are features already, Padded sequences among them."""
    return Encoder(
        lambda key, shape: ({}, {}),
        lambda params, statistics, observations: observations,
        lambda params, statistics, observations, key, gather: (observations, statistics),
    )


class _Adapter(nn.Module):
    tokens: int
    positions: int
    width: int

    @nn.compact
    def __call__(self, features):
        """Tokens `[batch, n, width]` and whether they are there, `[batch, n]` bool."""
        if isinstance(features, Padded):
            values, seen = features
            values = jnp.where(seen[..., None], values, 0)  # or NaN in padding would spread
        else:
            values, seen = features, None
        if values.ndim == 2:
            tokens = nn.Dense(self.tokens * self.width, name="linear")(values)
            tokens = tokens.reshape(len(values), self.tokens, self.width)
        else:
            values = values.reshape(len(values), -1, values.shape[-1])
            tokens = nn.Dense(self.width, name="linear")(values)
            if self.positions:
                count = tokens.shape[1]
                allowed = f"at most {self.positions} places"
                require(count <= self.positions, "observations", values.shape, allowed)
                small = nn.initializers.normal(0.02)
                places = self.param("positions", small, (self.positions, self.width))
                tokens = tokens + places[:count]
        return tokens, jnp.ones(tokens.shape[:2], bool) if seen is None else seen


class _Fuse(nn.Module):
    adapters: Sequence[tuple[int, int]]
    width: int
    trunk: FusionTrunk

    @nn.compact
    def __call__(self, features, masks):
        parts = [
            _Adapter(*sizes, self.width, name=f"adapter_{k}")(tokens)
            for k, (sizes, tokens) in enumerate(zip(self.adapters, features, strict=True))
        ]
        tokens, seen = (jnp.concatenate(side, 1) for side in zip(*parts, strict=True))
        owner = np.repeat(np.arange(len(parts)), [part[0].shape[1] for part in parts])
        return self.trunk(tokens, seen, owner, masks)


class _Head(nn.Module):
    hidden: int
    out: int

    @nn.compact
    def __call__(self, z, *, train: bool, gather=None):
        for k in range(2):
            # No bias: the batch norm would take it away.
            z = nn.Dense(self.hidden, use_bias=False, name=f"linear_{k}")(z)
            norm = BatchNorm(name=f"norm_{k}")
            views = [norm(z[:, v], train=train, gather=gather) for v in range(z.shape[1])]
            z = nn.relu(jnp.stack(views, 1))
        return nn.Dense(self.out, name="linear_2")(z)


def _check_count(observations, modalities):
    allowed = f"one for each of the {modalities} modalities"
    require(len(observations) == modalities, "observations", len(observations), allowed)


def _checked(observations, masks, modalities):
    masks = jnp.asarray(masks)
    _check_count(observations, modalities)
    require(
        masks.ndim in (2, 3) and masks.shape[-1] == modalities and masks.dtype == bool,
        "masks",
        (masks.shape, str(masks.dtype)),
        f"[views, {modalities}] or [batch, views, {modalities}] bool",
    )
    return masks


def _check_options(modalities, width, layers, heads, pool, attention, sizes):
    require(len(modalities) >= 1, "modalities", len(modalities), "one or more")
    for number, modality in enumerate(modalities):
        require(modality.tokens >= 1, f"tokens of modality {number}", modality.tokens, "1 or more")
        allowed = "a whole number >= 0"
        require(
            modality.positions >= 0, f"positions of modality {number}", modality.positions, allowed
        )
    require(heads >= 1, "heads", heads, "a whole number >= 1")
    require(width >= 1 and width % heads == 0, "width", width, f"a multiple of {heads} heads")
    require(layers >= 1, "layers", layers, "a whole number >= 1")
    require(pool in POOLS, "pool", pool, ", ".join(POOLS))
    require(attention in ATTENTIONS, "attention", attention, ", ".join(ATTENTIONS))
    idle = attention == "cross" and pool == "class" and layers == 1
    require(not idle, "layers", layers, "2 or more: a class token sees one layer of both alike")
    for name, value in sizes.items():
        require(value >= 1, name, value, "a whole number >= 1")


def _shapes_of_one(observations: tuple) -> tuple:
    one = lambda leaf: jax.ShapeDtypeStruct((1, *leaf.shape[1:]), leaf.dtype)
    return jax.tree.map(one, tuple(observations))


def fusion(
    modalities: Sequence[Modality],
    *,
    width: int = 512,
    layers: int = 1,
    heads: int = 8,
    pool: str = "class",
    attention: str = "joint",
    head_hidden: int = 512,
    head_out: int = 256,
    shared: bool = True,
) -> Fusion:
    """The fusion of CoMM (Dufumier et al. 2025, Section 3): encoders, adapters, transformer, head.

    Tokens carry no place among the modalities: adapters alone tell them apart, so listing the
    modalities in another order, with their parameters, changes nothing. With one layer and a class
    token, K and V of every token depend on that token alone and only the class token's query is
    ever read: all views together then cost little more than one.

    The head of training is linear, batch norm, ReLU, twice, then linear; batch moments are those of
    one view over all devices, as if views were projected one by one.

    Args:
      modalities: one or more.
      width: of tokens and Z, a multiple of heads.
      layers: of the transformer, >= 1; pre-norm, QuickGELU MLPs of four times the width.
      heads: of the attention.
      pool: class, or mean over the tokens that a view sees.
      attention: joint, or cross (tokens see those of other modalities and the class token).
      head_hidden, head_out: widths of the projection head.
      shared: whether what views have in common is computed once. The results are the same; False
        is for comparison.

    Raises InvalidInput for a value out of range, and in use for observations or masks that don't
    fit.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from mmjax.encoders import mlp
      >>> net = fusion([Modality(mlp((8,), 4)), Modality(as_is(), tokens=2)], width=16, heads=2)
      >>> seen = (jnp.ones((3, 5)), jnp.ones((3, 7)))
      >>> make = lambda key: net.init(key, seen)
      >>> params, statistics = jax.eval_shape(make, jax.random.key(0))  # traced, not run
      >>> see = lambda p, s: net.apply(p, s, seen, single_and_joint_masks(2))
      >>> jax.eval_shape(see, params, statistics).shape
      (3, 3, 16)
    """
    modalities = tuple(modalities)
    sizes = {"head_hidden": head_hidden, "head_out": head_out}
    _check_options(modalities, width, layers, heads, pool, attention, sizes)
    encoders = [modality.encoder for modality in modalities]
    trunk = FusionTrunk(layers, heads, pool, attention, shared)
    fuse = _Fuse(tuple((m.tokens, m.positions) for m in modalities), width, trunk)
    head = _Head(head_hidden, head_out)

    def init(key, observations):
        _check_count(observations, len(encoders))
        encoder_key, fuse_key, head_key = jax.random.split(key, 3)
        examples = _shapes_of_one(observations)
        keys = jax.random.split(encoder_key, len(encoders))
        made = [
            encoder.init(own_key, jax.tree.leaves(example)[0].shape[1:])
            for encoder, own_key, example in zip(encoders, keys, examples, strict=True)
        ]
        features = tuple(
            jax.eval_shape(encoder.apply, *params, example)
            for encoder, params, example in zip(encoders, made, examples, strict=True)
        )
        features = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), features)
        everything = jnp.ones((1, len(encoders)), bool)
        head_made = head.init(head_key, jnp.zeros((1, 1, width)), train=False)
        params = {
            "encoders": tuple(params for params, _ in made),
            "fusion": fuse.init(fuse_key, features, everything)["params"],
            "head": head_made["params"],
        }
        kept = tuple(statistics for _, statistics in made)
        return params, {"encoders": kept, "head": head_made["batch_stats"]}

    def apply(params, statistics, observations, masks):
        masks = _checked(observations, masks, len(encoders))
        parts = zip(encoders, params["encoders"], statistics["encoders"], observations, strict=True)
        features = tuple(encoder.apply(*inputs) for encoder, *inputs in parts)
        return fuse.apply({"params": params["fusion"]}, features, masks)

    def forward(params, statistics, observations, masks, key, gather):
        masks = _checked(observations, masks, len(encoders))
        keys = jax.random.split(key, len(encoders))
        parts = zip(
            encoders, params["encoders"], statistics["encoders"], observations, keys, strict=True
        )
        seen = [encoder.forward(p, s, o, k, gather) for encoder, p, s, o, k in parts]
        features, changed = zip(*seen, strict=True)
        z: Any = fuse.apply({"params": params["fusion"]}, features, masks)
        applied: Any = head.apply(  # no type of Flax knows what mutable gives
            {"params": params["head"], "batch_stats": statistics["head"]},
            z,
            train=True,
            gather=gather,
            mutable=["batch_stats"],
        )
        projected, head_changed = applied
        statistics = {"encoders": changed, "head": head_changed["batch_stats"]}
        return Fused(z, projected), statistics

    def project(params, statistics, z):
        known = {"params": params["head"], "batch_stats": statistics["head"]}
        return head.apply(known, z, train=False)

    return Fusion(init, apply, forward, project, len(encoders))

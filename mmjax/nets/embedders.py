"""Networks of k modalities behind one interface: towers side by side, or a fusion."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mmjax.encoders import (
    Encoder,
    Head,
    Modality,
    fusion,
    single_and_joint_masks,
)
from mmjax.encoders import Fusion as Network
from mmjax.errors import whole
from mmjax.nets.prepare import Observation
from mmjax.types import Array, Key, Tree

ALL = "all"  # the name of the embeddings of all modalities side by side
JOINT = "joint"  # the name of what sees all modalities that a row has


class Fusion(NamedTuple):
    """A network that fuses modalities before they are contrasted (Dufumier et al. 2025).

    Attributes:
      tokens: that the vector of a modality becomes.
      layers: of the transformer.
      heads: of its attention.
      head_hidden: width of the projection head.
      head_out: dimension of what the loss compares; 0 for that of the representation.
      masking: 0 contrasts each modality alone and all together (CoMM); r > 0 draws r random subsets
        a row instead of the single ones (after InfMasking).
      noise: standard deviation of noise on standardised values, in views of features and sequences.
      drop: largest share of features or steps that such a view leaves out.
    """

    tokens: int = 4
    layers: int = 1
    heads: int = 4
    head_hidden: int = 96
    head_out: int = 0
    masking: int = 0
    noise: float = 0.1
    drop: float = 0.8


class Embedder(NamedTuple):
    """Pure functions of one tree of parameters {"nets", "statistics"}.

    Attributes:
      init: `(key, name -> shapes of one observation [1, ...]) -> params`.
      forward: `(params, observations, present, keys, gather) -> (z, present of z, statistics)`,
        training; z is name -> `[batch, loss_dim]`, what the loss compares. present: name ->
        `[batch]` bool. keys: of what the views of each row see, and of the networks' noise.
      compared: `(params, observations, present) -> z`, the same in evaluation.
      apply: `(params, observations, present) -> name -> [batch, dim]`, what is kept: of towers an
        entry a modality that is given, of a fusion `joint` of those that are.
      encoders: `params -> modality -> (parameters, statistics) of its encoder`.
      replaced: `(params, modality -> such a pair) -> params` with these in the encoders' places.
      loss_dim: dimension of z.
    """

    init: Callable[[Key, Mapping[str, Observation]], Tree]
    forward: Callable[..., tuple[dict[str, Array], dict[str, Array], Tree]]
    compared: Callable[..., dict[str, Array]]
    apply: Callable[..., dict[str, Array]]
    encoders: Callable[[Tree], dict[str, tuple[Tree, Tree]]]
    replaced: Callable[[Tree, Mapping[str, tuple[Tree, Tree]]], Tree]
    loss_dim: int


def towers(encoders: Mapping[str, Encoder], head: Head, dim: int) -> Embedder:
    """An encoder and a head for each modality, `[batch, dim]` each."""
    names = tuple(encoders)

    def init(key, examples):
        keys = jax.random.split(key, len(names))
        made = {
            name: encoders[name].init(k, jax.tree.leaves(examples[name])[0].shape[1:])
            for name, k in zip(names, keys, strict=True)
        }
        nets = {name: {"encoder": p, "head": head.init(dim)} for name, (p, _) in made.items()}
        return {"nets": nets, "statistics": {name: s for name, (_, s) in made.items()}}

    def forward(params, observations, present, keys, gather):
        z, statistics = {}, {}
        for name, k in zip(names, jax.random.split(keys[1], len(names)), strict=True):
            tower = params["nets"][name]
            out, statistics[name] = encoders[name].forward(
                tower["encoder"], params["statistics"][name], observations[name], k, gather
            )
            z[name] = head.apply(tower["head"], out)
        return z, dict(present), statistics

    def apply(params, observations, present):
        out = {}
        for name in (name for name in names if name in observations):
            tower, kept = params["nets"][name], params["statistics"][name]
            seen = encoders[name].apply(tower["encoder"], kept, observations[name])
            out[name] = head.apply(tower["head"], seen)
        return out

    def inner(params):
        nets, statistics = params["nets"], params["statistics"]
        return {name: (nets[name]["encoder"], statistics[name]) for name in names}

    def replaced(params, pairs):
        nets = {n: params["nets"][n] | {"encoder": encoder} for n, (encoder, _) in pairs.items()}
        return params | {"nets": nets, "statistics": {n: kept for n, (_, kept) in pairs.items()}}

    return Embedder(init, forward, apply, apply, inner, replaced, dim)


def fused(encoders: Mapping[str, Encoder], options: Fusion, dim: int) -> Embedder:
    """A fusion whose representation is `[batch, dim]`; the loss compares what its head makes of it.

    Encoders of vectors have `tokens * dim` outputs. Raises InvalidInput for options out of range.
    """
    o, names = options, tuple(encoders)
    for flag in ("tokens", "layers", "heads", "head_hidden"):
        whole(f"fusion: {flag}", getattr(o, flag))
    for flag in ("head_out", "masking"):
        whole(f"fusion: {flag}", getattr(o, flag), 0)
    modalities = [Modality(encoder, tokens=o.tokens) for encoder in encoders.values()]
    net = fusion(
        modalities,
        width=dim,
        layers=o.layers,
        heads=o.heads,
        head_hidden=o.head_hidden,
        head_out=o.head_out or dim,
    )

    def masks(key, rows, count):
        if not o.masking:
            return single_and_joint_masks(count)
        drawn = jax.random.bernoulli(key, 0.5, (rows, o.masking, count))
        one = jax.random.randint(key, (rows, o.masking), 0, count)
        drawn |= jax.nn.one_hot(one, count, dtype=bool)  # no view is empty
        return jnp.concatenate([drawn, jnp.ones((rows, 1, count), bool)], 1)

    alone = [f"view{k}" for k in range(o.masking)] if o.masking else list(names)
    return of_fusion(net, names, masks, lambda count: [*alone, JOINT], o.head_out or dim)


def of_fusion(
    net: Network,
    names: Sequence[str],
    masks: Callable[[Key, int, int], Array],
    view_names: Callable[[int], Sequence[str]],
    loss_dim: int,
    *,
    projects: bool = True,
) -> Embedder:
    """Views of a fusion as an Embedder: what the loss compares is named by view.

    Args:
      net: the fusion.
      names: of its modalities.
      masks: `(key, rows, modalities) -> [views, modalities]` or `[rows, views, modalities]` bool,
        what views see in training. What a row lacks is in none of its views. In evaluation they see
        each modality alone and, as `joint`, all of them.
      view_names: number of views -> their names; `joint` is what sees all that a row has.
      loss_dim: dimension of what the loss compares.
      projects: whether that is what the head makes of Z, or Z itself.
    """
    names, count = tuple(names), len(names)

    def tuple_of(observations):
        return tuple(observations[name] for name in names)

    def rows_of(observations):
        return jax.tree.leaves(observations)[0].shape[0]

    def here_of(present, rows):
        return jnp.stack([present.get(name, jnp.ones(rows, bool)) for name in names], 1)

    def shown(seen, present, rows):
        seen = jnp.asarray(seen)
        if not present:
            return seen
        seen = jnp.broadcast_to(seen, (rows, *seen.shape[-2:]))
        return seen & here_of(present, rows)[:, None, :]

    def named(views, view_names_of):
        return dict(zip(view_names_of, jnp.moveaxis(views, 1, 0), strict=True))

    def init(key, examples):
        params, statistics = net.init(key, tuple_of(examples))
        return {"nets": params, "statistics": statistics}

    def forward(params, observations, present, keys, gather):
        mask_key, key = keys
        rows = rows_of(observations)
        seen = shown(masks(mask_key, rows, count), present, rows)
        out, statistics = net.forward(
            params["nets"], params["statistics"], tuple_of(observations), seen, key, gather
        )
        compared = out.projected if projects else out.z
        names_of_views = view_names(compared.shape[1])
        here = {}
        if present:  # a view of what a row lacks altogether is none
            here = named(jnp.any(seen, -1), names_of_views)
            here.pop(JOINT, None)
        return named(compared, names_of_views), here, statistics

    def compared(params, observations, present):
        nets, statistics = params["nets"], params["statistics"]
        seen = shown(single_and_joint_masks(count), present, rows_of(observations))
        z = net.apply(nets, statistics, tuple_of(observations), seen)
        out = net.project(nets, statistics, z) if projects else z
        return named(out, (*names, JOINT))

    def apply(params, observations, present):
        seen = here_of(present, rows_of(observations))[:, None]
        z = net.apply(params["nets"], params["statistics"], tuple_of(observations), seen)
        return {JOINT: z[:, 0]}

    def inner(params):
        sides = params["nets"]["encoders"], params["statistics"]["encoders"]
        return dict(zip(names, zip(*sides, strict=True), strict=True))

    def replaced(params, pairs):
        nets, statistics = zip(*(pairs[name] for name in names), strict=True)
        return params | {
            "nets": params["nets"] | {"encoders": nets},
            "statistics": params["statistics"] | {"encoders": statistics},
        }

    return Embedder(init, forward, compared, apply, inner, replaced, loss_dim)

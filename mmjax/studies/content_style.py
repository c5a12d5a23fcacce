"""The content/style model, observed, encoded, trained and judged (Daunhawer et al. 2023).

`ContentStyleOptions` holds every choice; `make_content_style_study` turns them into pure functions.
"""

import dataclasses
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mmjax.config import option
from mmjax.encoders import Encoder, check_temperature, mlp
from mmjax.errors import InvalidInput, require
from mmjax.generative import (
    DEPENDENCES,
    Blocks,
    ContentStyleModel,
    content_style_model,
    joined,
    permute_content,
)
from mmjax.losses import SIMILARITIES, Context, Loss, info_nce, make_similarity, no_gather
from mmjax.losses.ids import Gather
from mmjax.observations import ACTIVATIONS, invertible_mlp, second_moment_whitening
from mmjax.studies.aligned import ALIGNING, aligning_loss
from mmjax.train import Aside, OptimiserOptions, Recipe, Stage, former, optimiser_of
from mmjax.types import Array, Key, Pair, Tree

_SAMPLES = 8192  # unlabelled observations that the whitening is fitted on
# Of official, negatives are the rows of a fresh batch. in_batch is info_nce by its older name.
LOSSES = (*ALIGNING, "official", "in_batch")
NEGATIVES = ("paper", "code")


@dataclasses.dataclass(frozen=True)
class ContentStyleOptions(OptimiserOptions):
    """Every choice of a study."""

    content_dim: int = option(2, "dimension of the shared content c")
    style_dim: int = option(2, "dimension of the style s that a pair of modalities shares")
    private_dim: int = option(2, "dimension of each private block m")
    modalities: int = option(2, "number of modalities; style belongs to a pair of them")
    dependence: str = option("independent", "how the latents depend on each other", DEPENDENCES)
    change_prob: float = option(1.0, "probability that a coordinate of style changes")
    shared_mixing: bool = option(False, "one mixing for all modalities (multi-view)")
    shared_encoder: bool = option(False, "one encoder for all modalities (multi-view)")
    mixing_depth: int = option(3, "layers of the mixing networks")
    mixing_activation: str = option("leaky_relu", "between those layers", tuple(ACTIVATIONS))
    mixing_candidates: int = option(25_000, "draws a layer; one of the best 0.1 % is taken")
    whiten: bool = option(True, "encoders see whitened observations (fitted on a first sample)")
    hidden: tuple[int, ...] = option(
        (128, 128, 128),
        "hidden widths of the encoders; 0 for the published ones, (10,50,50,50,50,10) times the "
        "size of an observation",
    )
    slope: float = option(0.2, "left slope of the encoders' leaky ReLU")
    embedding_dim: int | str = option("content", "dimension of the embeddings; content: that of c")
    loss: str = option(
        "info_nce",
        "what is minimised: negatives are the batch's other rows, in official a fresh batch's, as "
        "published; in_batch is info_nce's older name",
        LOSSES,
    )
    negatives: str = option(
        "paper",
        "the fresh batch's rows that an anchor meets in loss official: of the other modality, as "
        "the paper writes, or of its own, as the published code has it",
        NEGATIVES,
    )
    similarity: str = option("squared_l2", "in info_nce, official", tuple(SIMILARITIES))
    p: float = option(3.0, "exponent of similarity lp, >= 1")
    temperature: float = option(1.0, "of the loss, > 0")
    batch_size: int = option(512, "tuples a step, over all devices")
    steps: int = option(1500, "training steps")
    learning_rate: float = option(0.03, "peak of the learning rate")


# The recipe of the paper's simulation.
PUBLISHED_RECIPE = dict(
    content_dim=5,
    style_dim=5,
    private_dim=5,
    hidden=(0,),
    slope=0.01,
    whiten=False,
    loss="official",
    batch_size=6144,
    steps=300_000,
    optimiser="adam",
    learning_rate=1e-4,
    warmup=0,
    schedule="constant",
    clip_norm=2.0,
)


class World(NamedTuple):
    """What a seed's world is made of; training doesn't change it.

    Attributes:
      mechanisms: of the latents.
      mixings: weights of the mixing of every modality.
      whitenings: `[dim, dim]` a modality, applied before the encoders.
    """

    mechanisms: Tree
    mixings: tuple[Tree, ...]
    whitenings: tuple[Array, ...]


class Seen(NamedTuple):
    """Fresh samples seen through trained encoders, a tuple entry a modality.

    Attributes:
      latents: Blocks that the observations were made of.
      observed: `[n, dim]`.
      embedded: `[n, embedding_dim]`.
      original_content: `[n, content_dim]`, before it was permuted; that of the latents otherwise.
    """

    latents: tuple[Blocks, ...]
    observed: tuple[Array, ...]
    embedded: tuple[Array, ...]
    original_content: Array


class ContentStyleStudy(NamedTuple):
    """A study as pure functions; `constants` is a seed's World.

    Attributes:
      options: resolved.
      init_constants: `key -> constants`.
      init_params: `key -> params`.
      recipe: what `train` takes.
      look: `(params, constants, key, n, permuted) -> Seen`; permuted exchanges content between rows
        before mixing (permute_content).
    """

    options: ContentStyleOptions
    init_constants: Callable[[Key], World]
    init_params: Callable[[Key], Tree]
    recipe: Recipe
    look: Callable[[Tree, World, Key, int, bool], Seen]

    @property
    def plan(self) -> former.Plan:
        return former.Plan(*self.recipe)

    @property
    def init_env(self) -> Callable[[Key], World]:
        return self.init_constants


def _resolve(options: ContentStyleOptions, size: int) -> ContentStyleOptions:
    """Fills in what depends on other options, and checks what the parts don't check."""
    o = options
    require(o.batch_size >= 2, "batch_size", o.batch_size, "a whole number >= 2")
    check_temperature(o.temperature)
    moot = o.loss != "official" and o.negatives != "paper"
    require(not moot, "negatives", o.negatives, "it with loss=official, the others have no choice")
    embedding_dim = o.content_dim if o.embedding_dim == "content" else o.embedding_dim
    try:
        embedding_dim = int(embedding_dim)
    except ValueError:
        raise InvalidInput(
            f"embedding_dim: {embedding_dim!r} is not allowed; use content or a whole number >= 1"
        ) from None
    hidden = tuple(k * size for k in (10, 50, 50, 50, 50, 10)) if o.hidden == (0,) else o.hidden
    loss = "info_nce" if o.loss == "in_batch" else o.loss
    return dataclasses.replace(o, embedding_dim=embedding_dim, hidden=hidden, loss=loss)


def _init_encoders(encoder: Encoder, count: int, shared: bool, size: int, key: Key) -> tuple:
    keys = jax.random.split(key, 1 if shared else count)
    return tuple(encoder.init(k, (size,))[0] for k in keys)


def official_loss(
    embedded: Sequence[Array],
    fresh: Sequence[Array],
    *,
    options: ContentStyleOptions,
    gather: Gather = no_gather,
) -> Array:
    """The published loss, the mean over pairs of modalities.

    The candidates of an anchor are its positive and the rows of a second, independent batch;
    log-mean-exp. These rows are of the OTHER modality as the paper has it (Daunhawer et al. 2023),
    of the anchor's OWN in the code (LpSimCLRLoss, `loss(z1, z2, z1')`).

    Args:
      embedded, fresh: one `[batch, dim]` a modality, of either batch.
      options: for similarity, p, temperature and negatives.
      gather: see info_nce.
    """
    terms = []
    similarity = make_similarity(options.similarity, p=options.p)
    for a, b in combinations(range(len(embedded)), 2):
        # Negatives of anchors x (modality a) stand in place t, see info_nce.
        further = Pair(fresh[a], fresh[b])
        term = info_nce(
            embedded[a],
            embedded[b],
            similarity=similarity,
            temperature=options.temperature,
            gather=gather,
            negatives=further if options.negatives == "paper" else Pair(further.t, further.x),
            in_batch=False,
            log_mean=True,
        )
        terms.append(term)
    return sum(terms[1:], terms[0]) / len(terms)


class _Mixings(NamedTuple):
    """What makes observations of latents.

    Attributes:
      init: `key -> World`.
      observe: `(World, latents) -> (observed, whitened)`, an entry a modality.
    """

    init: Callable[[Key], World]
    observe: Callable[[World, tuple[Blocks, ...]], tuple[tuple[Array, ...], tuple[Array, ...]]]


def _mixings(o: ContentStyleOptions, model: ContentStyleModel) -> _Mixings:
    size, count = sum(model.dims), o.modalities
    mixing = invertible_mlp(
        size,
        depth=o.mixing_depth,
        activation=o.mixing_activation,
        candidates=o.mixing_candidates,
    )

    def observe(world, latents):
        pairs = zip(world.mixings, latents, strict=True)
        observed = tuple(mixing.apply(w, joined(b)) for w, b in pairs)
        whitened = tuple(v @ w for v, w in zip(observed, world.whitenings, strict=True))
        return observed, whitened

    def init(key):
        mechanism_key, mixing_key, sample_key = jax.random.split(key, 3)
        mechanisms = model.init(mechanism_key)
        keys = jax.random.split(mixing_key, count)
        weights = tuple(map(mixing.init, keys[:1] if o.shared_mixing else keys))
        weights *= count if o.shared_mixing else 1
        world = World(mechanisms, weights, (jnp.eye(size),) * count)
        if not o.whiten:
            return world
        seen = observe(world, model.sample(mechanisms, sample_key, _SAMPLES))[0]
        if o.shared_mixing:  # views stay views: one whitening for all
            one = second_moment_whitening(jnp.concatenate(seen))
            return world._replace(whitenings=(one,) * count)
        return world._replace(whitenings=tuple(map(second_moment_whitening, seen)))

    return _Mixings(init, observe)


def make_content_style_study(
    options: ContentStyleOptions,
    *,
    chunk_steps: int = 100,
    save_every: int = 500,
    loss: Loss | None = None,
) -> ContentStyleStudy:
    """The study of these options.

    Args:
      options: every choice.
      chunk_steps, save_every: see Recipe.
      loss: of embeddings x1, x2, ..., instead of the one that options name.

    Raises InvalidInput for a value out of range.

    Example:
      >>> import jax
      >>> study = make_content_style_study(ContentStyleOptions(mixing_candidates=100))
      >>> world_key, params_key, data_key = jax.random.split(jax.random.key(0), 3)
      >>> world, params = study.init_constants(world_key), study.init_params(params_key)
      >>> [e.shape for e in study.look(params, world, data_key, 10, False).embedded]
      [(10, 2), (10, 2)]
    """
    model = content_style_model(
        content_dim=options.content_dim,
        style_dim=options.style_dim,
        private_dim=options.private_dim,
        change_prob=options.change_prob,
        dependence=options.dependence,
        modalities=options.modalities,
    )
    size, count = sum(model.dims), options.modalities
    o = _resolve(options, size)
    mixings = _mixings(o, model)
    encoder = mlp(o.hidden, int(o.embedding_dim), slope=o.slope)
    names, official = [f"x{k + 1}" for k in range(count)], loss is None and o.loss == "official"
    make_similarity(o.similarity, p=o.p)  # checked
    chosen: Any = None if official else aligning_loss(o, loss)

    def init_params(key):
        encoders = _init_encoders(encoder, count, o.shared_encoder, size, key)
        loss_params = (
            chosen.init(jax.random.fold_in(key, 0), int(o.embedding_dim)) if chosen else {}
        )
        return {"encoders": encoders, "loss": loss_params}

    def encode(params, whitened):
        params_of = lambda k: params["encoders"][0 if o.shared_encoder else k]
        return tuple(encoder.apply(params_of(k), {}, v) for k, v in enumerate(whitened))

    def source(world, key):
        # Official: a second, independent batch of the same size.
        draw = lambda k: mixings.observe(world, model.sample(world.mechanisms, k, o.batch_size))[1]
        return tuple(map(draw, jax.random.split(key, 2 if official else 1)))

    def objective(params, batch, key, gather):
        embedded = [encode(params, part) for part in batch]
        if official:
            return official_loss(*embedded, options=o, gather=gather), {}
        z = dict(zip(names, embedded[0], strict=True))
        value, metrics = chosen.value(params["loss"], z, Context(gather, key=key))
        return value, Aside(metrics=metrics)

    def look(params, world, key, n, permuted=False):
        sample_key, permute_key = jax.random.split(key)
        drawn = model.sample(world.mechanisms, sample_key, n)
        latents = permute_content(drawn, permute_key) if permuted else drawn
        observed, whitened = mixings.observe(world, latents)
        return Seen(latents, observed, encode(params, whitened), drawn[0].content)

    optimiser = optimiser_of(o)
    recipe = Recipe(source, [Stage(objective, o.steps)], optimiser, chunk_steps, save_every)
    return ContentStyleStudy(o, mixings.init, init_params, recipe, look)


__all__ = [
    "LOSSES",
    "NEGATIVES",
    "PUBLISHED_RECIPE",
    "ContentStyleOptions",
    "ContentStyleStudy",
    "Seen",
    "World",
    "make_content_style_study",
]

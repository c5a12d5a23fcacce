"""The latent partial causal model, observed, encoded, trained and judged (Liu et al. 2026).

`Assumptions` holds every choice; `make_study` turns them into pure functions.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp

from mmjax.conditionals import CONDITIONALS, MARGINALS, make_conditional, make_marginal
from mmjax.config import option
from mmjax.disentangle import canonical_directions, fast_ica, transform
from mmjax.encoders import HEADS, check_temperature, make_head, mlp, two_towers
from mmjax.errors import InvalidInput, choose, require, told_if_slow
from mmjax.evaluate import geometry_of, linear_r2, mcc
from mmjax.generative import EDGES, partial_causal_model
from mmjax.losses import SIMILARITIES, Context, Loss, info_nce, make_similarity
from mmjax.observations import ACTIVATIONS, invertible_mlp, second_moment_whitening
from mmjax.spaces import SPACES, make_space
from mmjax.studies.aligned import aligning_loss, loss_option
from mmjax.train import (
    Aside,
    OptimiserOptions,
    Recipe,
    Stage,
    former,
    optimiser_of,
    train_one,
)
from mmjax.types import Array, Key, Latents, Pair, Tree

N = TypeVar("N", int, float)
_SAMPLES = 8192  # unlabelled pairs that whitening and selection are fitted on
_SPREAD = 12**-0.5  # standard deviation of U[0, 1], the scale that embeddings start from
_BY_THEORY = "as the theory of the geometry says"

# What Theorems 4.1 and 4.3 assume. An empty field of Assumptions takes its value from here.
THEORY = {
    "sphere": dict(
        space="sphere", marginal="uniform", conditional="vmf", similarity="cosine", head="sphere"
    ),
    "box": dict(
        space="box", marginal="uniform", conditional="laplace", similarity="l1", head="none"
    ),
}


@dataclasses.dataclass(frozen=True)
class Assumptions(OptimiserOptions):
    """Every choice of a study. Empty strings, `dim` and `matched` take the theory's value."""

    geometry: str = option("sphere", "whose theory is assumed", ("sphere", "box"))
    dim: int = option(3, "dimension of the coupled latents z_x, z_t")
    private_dim: int = option(2, "dimension of the private latents m_x, m_t; 0 for none")
    space: str = option("", f"space of the latents; empty: {_BY_THEORY}", ("", *SPACES))
    marginal: str = option("", f"p(z_x); empty: {_BY_THEORY}", ("", *MARGINALS))
    conditional: str = option("", f"p(z_t | z_x); empty: {_BY_THEORY}", ("", *CONDITIONALS))
    edge: str = option("x_to_t", "mechanism behind the undirected edge", tuple(EDGES))
    kappa: float = option(20.0, "concentration of the vMF, 0 to 1e4")
    scale: float = option(0.1, "width s of the conditional exp(-|dz / s|_p^p)")
    marginal_scale: float = option(0.5, "width of a Normal or Laplace marginal, likewise")
    p: float = option(3.0, "exponent of the generalised normal and of similarity lp, >= 1")
    mixing_depth: int = option(3, "layers of the mixing networks g_x, g_t")
    mixing_activation: str = option("leaky_relu", "between those layers", tuple(ACTIVATIONS))
    mixing_candidates: int = option(25_000, "draws a layer; one of the best 0.1 % is taken")
    whiten: bool = option(True, "encoders see whitened observations (fitted on a first sample)")
    hidden: tuple[int, ...] = option(
        (128, 128, 128),
        "hidden widths of the encoders; published: (10,50,50,50,50,10) times dim + private_dim",
    )
    slope: float = option(0.2, "left slope of the encoders' leaky ReLU")
    embedding_dim: int | str = option("dim", "dimension of the embeddings; dim: that of z")
    head: str = option("", f"space of the embeddings; empty: {_BY_THEORY}", ("", *HEADS))
    loss: str = loss_option()
    similarity: str = option("", f"in loss info_nce; empty: {_BY_THEORY}", ("", *SIMILARITIES))
    temperature: float | str = option(
        "matched", "of the loss, > 0; matched: 1 / kappa (sphere), scale (box)"
    )
    learn_temperature: bool = option(False, "train the temperature too, from that start")
    batch_size: int = option(512, "pairs a step, over all devices")
    steps: int = option(1200, "training steps")
    pre_steps: int = option(
        400, "first steps, without head and on the squared distance, against folded maps; or 0"
    )
    spare_dims: int = option(
        6, "embedding dimensions beyond embedding_dim in those steps, against lost coordinates"
    )


def _number(name: str, value: int | float | str, kind: Callable[[int | float | str], N]) -> N:
    """A number that may have come as a flag's text."""
    try:
        return kind(value)
    except ValueError:
        raise InvalidInput(f"{name}: {value!r} is not allowed; use a number") from None


def resolve(assumptions: Assumptions) -> Assumptions:
    """Fills in what the theory says, and checks what the parts don't check by themselves.

    Raises InvalidInput for a value out of range.
    """
    theory = choose(THEORY, "geometry", assumptions.geometry)
    a = dataclasses.replace(
        assumptions,
        space=assumptions.space or theory["space"],
        marginal=assumptions.marginal or theory["marginal"],
        conditional=assumptions.conditional or theory["conditional"],
        similarity=assumptions.similarity or theory["similarity"],
        head=assumptions.head or theory["head"],
    )
    require(a.dim >= 1, "dim", a.dim, "a whole number >= 1")
    require(a.batch_size >= 2, "batch_size", a.batch_size, "a whole number >= 2")
    require(a.steps >= 1, "steps", a.steps, "a whole number >= 1")
    require(a.spare_dims >= 0, "spare_dims", a.spare_dims, "a whole number >= 0")
    if not a.pre_steps:
        a = dataclasses.replace(a, spare_dims=0)  # nothing would ever choose among them
    fewer = f"0 to {a.steps - 1}, or more than {a.pre_steps} steps"
    require(0 <= a.pre_steps < a.steps, "pre_steps", a.pre_steps, fewer)
    require(a.warmup >= 0, "warmup", a.warmup, "a whole number >= 0")
    temperature, embedding_dim = a.temperature, a.embedding_dim
    if temperature == "matched":
        temperature = 1 / max(a.kappa, 1e-3) if a.geometry == "sphere" else a.scale
    if embedding_dim == "dim":
        embedding_dim = a.dim
    resolved = _number("temperature", temperature, float)
    size = _number("embedding_dim", embedding_dim, int)
    if a.scale > 0:  # else the conditional says what is wrong with it
        check_temperature(resolved, a.learn_temperature)
    require(size >= 1, "embedding_dim", size, "a whole number >= 1")
    return dataclasses.replace(a, temperature=resolved, embedding_dim=size)


class Embedded(NamedTuple):
    """A fresh sample seen through a trained model: what the metrics need.

    Attributes:
      latents: Latents of `[n, ...]`.
      observed: Pair of `[n, dim + private_dim]`.
      embedded: Pair of `[n, embedding_dim]`, heads applied.
    """

    latents: Latents
    observed: Pair
    embedded: Pair


class Environment(NamedTuple):
    """What a seed's world is made of; training doesn't change it.

    Attributes:
      mixing: Pair of mixing weights.
      whitening: Pair of `[dim + private_dim]` square matrices applied before the encoders.
    """

    mixing: Pair
    whitening: Pair


class Study(NamedTuple):
    """A study as pure functions; `constants` is a seed's Environment.

    Attributes:
      assumptions: resolved.
      init_constants: `key -> constants`.
      init_params: `key -> params`.
      recipe: what `train` takes.
      embed: `(params, constants, key, n) -> Embedded`.
      invert: `(constants, Pair of observations) -> Latents`, by the exact inverse of the mixings;
        z_x, m_x from x and z_t, m_t from t.
      losses: `(params, constants, key, batches) -> (trained, oracle)`: mean loss over fresh batches
        of the embeddings, and of the true latents put through the same loss on the same samples.
    """

    assumptions: Assumptions
    init_constants: Callable[[Key], Tree]
    init_params: Callable[[Key], Tree]
    recipe: Recipe
    embed: Callable[[Tree, Tree, Key, int], Embedded]
    invert: Callable[[Tree, Pair], Latents]
    losses: Callable[[Tree, Tree, Key, int], tuple[Array, Array]]

    @property
    def plan(self) -> former.Plan:
        return former.Plan(*self.recipe)

    @property
    def init_env(self) -> Callable[[Key], Tree]:
        return self.init_constants


class _World(NamedTuple):
    """What encoders look at.

    Attributes:
      init: `key -> Environment`.
      sample: `(constants, key, n) -> (Latents, Pair observed, Pair whitened)`.
      invert: see Study.
    """

    init: Callable[[Key], Environment]
    sample: Callable[[Environment, Key, int], tuple[Latents, Pair, Pair]]
    invert: Callable[[Environment, Pair], Latents]


def _world(a: Assumptions) -> _World:
    space = make_space(a.space, a.dim)
    marginal = make_marginal(a.marginal, space, scale=a.marginal_scale)
    conditional = make_conditional(a.conditional, space, kappa=a.kappa, scale=a.scale, p=a.p)
    model = partial_causal_model(
        marginal, conditional, dim=a.dim, private_dim=a.private_dim, edge=a.edge
    )
    mixing = invertible_mlp(
        a.dim + a.private_dim,
        depth=a.mixing_depth,
        activation=a.mixing_activation,
        candidates=a.mixing_candidates,
    )

    def observe(weights, latents):
        return Pair(
            mixing.apply(weights.x, jnp.concatenate([latents.z_x, latents.m_x], axis=-1)),
            mixing.apply(weights.t, jnp.concatenate([latents.z_t, latents.m_t], axis=-1)),
        )

    def init(key):
        x_key, t_key, sample_key = jax.random.split(key, 3)
        weights = Pair(mixing.init(x_key), mixing.init(t_key))
        seen = observe(weights, model.sample(sample_key, _SAMPLES))
        fit = second_moment_whitening if a.whiten else lambda o: jnp.eye(o.shape[1], dtype=o.dtype)
        return Environment(weights, Pair(*map(fit, seen)))

    def sample(constants, key, n):
        latents = model.sample(key, n)
        observed = observe(constants.mixing, latents)
        whitened = Pair(*(o @ w for o, w in zip(observed, constants.whitening, strict=True)))
        return latents, observed, whitened

    def invert(constants, pair):
        x, t = (mixing.inverse(w, o) for w, o in zip(constants.mixing, pair, strict=True))
        return Latents(x[:, : a.dim], t[:, : a.dim], x[:, a.dim :], t[:, a.dim :])

    return _World(init, sample, invert)


def _canonical_select(raw: Pair, dim: int) -> Pair:
    """Kernels and biases of the directions that the two encoders agree on most; spare ones go.

    With just `dim` dimensions the squared distance may keep a second function of an easy latent and
    lose a hard one for good; with spare ones it keeps both, and a latent correlates more across
    modalities than a function of another one.
    """
    result = canonical_directions(*raw)
    select = []
    for values, directions in zip(raw, (result.x, result.t), strict=True):
        kernel = _SPREAD * directions[:, :dim]
        select.append({"kernel": kernel, "bias": -values.mean(0) @ kernel})
    return Pair(*select)


def make_study(
    assumptions: Assumptions,
    *,
    chunk_steps: int = 100,
    save_every: int = 500,
    loss: Loss | None = None,
) -> Study:
    """The study of these assumptions.

    Args:
      assumptions: every choice.
      chunk_steps, save_every: see Recipe.
      loss: of embeddings x and t, instead of the one that assumptions name. The first pre_steps
        are on the squared distance all the same.

    Raises InvalidInput for a value out of range or parts that don't fit each other.

    Example:
      >>> import jax
      >>> study = make_study(Assumptions(mixing_candidates=100))
      >>> env_key, params_key, data_key = jax.random.split(jax.random.key(0), 3)
      >>> constants, params = study.init_constants(env_key), study.init_params(params_key)
      >>> study.embed(params, constants, data_key, 10).embedded.x.shape
      (10, 3)
    """
    a = resolve(assumptions)
    embedding_dim = int(a.embedding_dim)  # resolved
    world = _world(a)
    encoder = mlp(a.hidden, embedding_dim + a.spare_dims, slope=a.slope)
    towers, head = (encoder, encoder), make_head(a.head)
    nets = two_towers(towers, head, embedding_dim=embedding_dim, spare_dims=a.spare_dims)
    chosen = aligning_loss(a, loss)
    early, early_temperature = make_similarity("squared_l2"), 2 * float(a.temperature)

    def init_params(key):
        loss_params = chosen.init(jax.random.fold_in(key, 0), embedding_dim)
        shapes = Pair((a.dim + a.private_dim,), (a.dim + a.private_dim,))
        return nets.init(key, shapes) | {"loss": loss_params}

    def source(constants, key):
        return world.sample(constants, key, a.batch_size)[2]

    def early_objective(params, batch, key, gather):
        raw = nets.raw(params, batch)
        return info_nce(*raw, similarity=early, temperature=early_temperature, gather=gather), {}

    def select_canonical(params, constants, key):
        raw = nets.raw(params, world.sample(constants, key, _SAMPLES)[2])
        return params | {"select": _canonical_select(raw, embedding_dim)}

    def loss_of(params, pair, context):
        return chosen.value(params["loss"], pair._asdict(), context)

    def objective(params, batch, key, gather):
        value, metrics = loss_of(params, nets.embed(params, batch), Context(gather, key=key))
        return value, Aside(metrics=metrics)

    def embed(params, constants, key, n):
        latents, observed, whitened = world.sample(constants, key, n)
        return Embedded(latents, observed, nets.embed(params, whitened))

    def losses(params, constants, key, batches):
        def one(batch_key):
            seen = embed(params, constants, batch_key, a.batch_size)
            true = Pair(seen.latents.z_x, seen.latents.z_t)
            context = Context(key=jax.random.fold_in(batch_key, 0))
            return tuple(loss_of(params, pair, context)[0] for pair in (seen.embedded, true))

        trained, oracle = jax.lax.map(one, jax.random.split(key, batches))
        return jnp.mean(trained), jnp.mean(oracle)

    optimiser = optimiser_of(a)
    stages = [Stage(early_objective, a.pre_steps)] if a.pre_steps else []
    enter = select_canonical if a.pre_steps and a.spare_dims else None
    stages.append(Stage(objective, a.steps, enter))
    recipe = Recipe(source, stages, optimiser, chunk_steps, save_every)
    return Study(a, world.init, init_params, recipe, embed, world.invert, losses)


@told_if_slow("train_study: compiling, then training; on_chunk=print shows steps and losses")
def train_study(
    study: Study, key: Key, *, on_chunk: Callable[[int, Array], None] = lambda step, loss: None
) -> tuple[Tree, Environment]:
    """Trains one seed in memory: no folder, no checkpoints. For notebooks and tests.

    Args:
      study: from make_study.
      key: root of the seed's mixings, initial weights and data.
      on_chunk: called with (steps done, mean loss) after every chunk.

    Returns:
      (params, constants) for `study.embed` and `study.losses`.
    """
    env_key, train_key = jax.random.split(key)
    constants = jax.jit(study.init_constants)(env_key)
    return train_one(
        study.recipe, study.init_params, constants, train_key, on_chunk=on_chunk
    ), constants


def identification_metrics(
    seen: Embedded, split_key: Key | None = None
) -> dict[tuple[str, str, str], Array]:
    """The metrics of a seed that live on device: (modality, target, metric) -> scalar.

    Linear R2 of z from the embedding; leakage, the R2 of m from the embedding; and beside both what
    the same probe gets from the raw observations, all on the halves that split_key draws.
    """
    figures = {}
    for side in ("x", "t"):
        embedded, observed = getattr(seen.embedded, side), getattr(seen.observed, side)
        for target in ("z", "m"):
            truth = getattr(seen.latents, f"{target}_{side}")
            if truth.shape[1] == 0:
                continue
            figures[side, target, "r2_linear"] = linear_r2(embedded, truth, split_key)
            figures[side, target, "r2_linear_raw"] = linear_r2(observed, truth, split_key)
    return figures


def diagnosis(seen: Embedded, key: Key) -> dict[tuple[str, str, str], float]:
    """What unmixing makes of a seed's embeddings: (modality, target, metric) -> figure.

    MCC after FastICA of the embeddings and, as the most that it could reach, of the true z_x
    (Corollary to Theorem 4.1); the geometry that the embedded pairs tell (see geometry_of).
    """
    ica_key, geometry_key = jax.random.split(key)
    unmixed = lambda v: transform(fast_ica(v, ica_key, restarts=4), v)
    figures = {("joint", "z", "mcc_ica_truth"): mcc(seen.latents.z_x, unmixed(seen.latents.z_x))}
    for side in ("x", "t"):
        z, f = getattr(seen.latents, f"z_{side}"), getattr(seen.embedded, side)
        figures[side, "z", "mcc_ica"] = mcc(z, unmixed(f))
    result = geometry_of(*seen.embedded, geometry_key)
    for name in ("exponent", "exponent_error", "advantage", "advantage_error"):
        figures["joint", "geometry", name] = float(getattr(result, name))
    return figures

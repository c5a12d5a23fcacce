"""Images and captions with ground truth: trained encoders and what each tells of every factor.

The image/text experiment of Daunhawer et al. 2023 on rendered scenes, streamed or held in memory,
or on a data set in the layout of Multimodal3DIdent.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.config import option
from mmjax.encoders import (
    HEADS,
    Encoder,
    make_head,
    narrow_resnet,
    resnet18,
    small_convnet,
    text_convnet,
    text_transformer,
    two_towers,
)
from mmjax.errors import require
from mmjax.evaluate import (
    dci,
    kernel_r2_between,
    linear_probe_accuracy,
    linear_r2_between,
    mcc,
    mig,
    mlp_accuracy,
    sap,
    standardise,
)
from mmjax.losses import SIMILARITIES, Context, Loss
from mmjax.studies.aligned import aligning_loss, loss_option
from mmjax.studies.scene_data import AT_ONCE, SceneData, Source
from mmjax.train import Aside, OptimiserOptions, Recipe, Stage, former, optimiser_of
from mmjax.types import Array, Key, Pair, ScenePairs, Tree

IMAGE_ENCODERS = ("narrow", "convnet", "resnet18", "resnet18_small")
TEXT_ENCODERS = ("convnet", "transformer")
NEGATIVES = ("both", "across")


@dataclasses.dataclass(frozen=True)
class ImageTextOptions(OptimiserOptions):
    """How the two encoders are trained."""

    image_encoder: str = option(
        "convnet",
        "resnet18 is the published one; resnet18_small has a stem for 32 pixels",
        IMAGE_ENCODERS,
    )
    text_encoder: str = option("transformer", "convnet is the published one", TEXT_ENCODERS)
    text_width: int = option(64, "width of the token vectors; published: 128")
    text_layers: int = option(1, "layers of the transformer")
    hidden_size: int = option(100, "hidden units behind the image encoder's features")
    head: str = option("sphere", "space of the embeddings", tuple(HEADS))
    loss: str = loss_option()
    similarity: str = option("cosine", "in loss info_nce", tuple(SIMILARITIES))
    p: float = option(3.0, "exponent of similarity lp, >= 1")
    temperature: float = option(0.03, "of the loss, > 0; published: 1")
    learn_temperature: bool = option(True, "train the temperature too, from that start")
    negatives: str = option(
        "across",
        "rows of the other modality, or of both (published), where captions of one "
        "content are pushed apart and the text keeps a trace of its phrasing; in loss info_nce",
        NEGATIVES,
    )
    batch_size: int = option(256, "pairs a step, over all devices")
    steps: int = option(3500, "training steps")
    learning_rate: float = option(0.03, "peak of the learning rate")
    clip_norm: float = option(2.0, "largest norm of a gradient; 0 for none")


class ImageTextStudy(NamedTuple):
    """Encoders of images and captions as pure functions.

    Attributes:
      constants: of the source, on device, shared by all seeds.
      init_params: `key -> params`.
      recipe: what `train` takes.
      embed: `(params, Pair of images and tokens) -> Pair of [n, encoding_size]`, heads applied.
    """

    constants: Tree
    init_params: Callable[[Key], Tree]
    recipe: Recipe
    embed: Callable[[Tree, Pair], Pair]

    @property
    def plan(self) -> former.Plan:
        return former.Plan(*self.recipe)

    @property
    def env(self) -> Tree:
        return self.constants


def _image_encoder(options: ImageTextOptions, size: int, side: int) -> Encoder:
    hidden = options.hidden_size
    if options.image_encoder in ("narrow", "convnet"):
        # Patches grow with the image, so that about as many are left: 32 x 32 at 64 pixels.
        patch = 2 if side < 128 else 4 if side < 224 else 8
        require(side % patch == 0, "resolution", side, f"a multiple of {patch} with this encoder")
        if options.image_encoder == "narrow":
            return narrow_resnet(size, hidden=hidden, patch=2 * patch)
        widths = (32, 64, 128)
        return small_convnet(size, hidden=hidden, patch=patch, stem_width=16, widths=widths)
    stem = "small" if options.image_encoder == "resnet18_small" else "imagenet"
    return resnet18(size, hidden=hidden, stem=stem)


def _text_encoder(options: ImageTextOptions, size: int, source: Source) -> Encoder:
    if options.text_encoder == "transformer":
        return text_transformer(
            size,
            source.vocabulary_size,
            source.length,
            width=options.text_width,
            layers=options.text_layers,
        )
    return text_convnet(size, source.vocabulary_size, width=options.text_width)


def make_image_text_study(
    source: Source,
    options: ImageTextOptions,
    encoding_size: int,
    *,
    chunk_steps: int,
    save_every: int,
    loss: Loss | None = None,
) -> ImageTextStudy:
    """The study of this source with embeddings of that size.

    Args:
      source: of images and captions.
      options: of networks, loss and training.
      encoding_size: dimension of the embeddings.
      chunk_steps, save_every: see Recipe.
      loss: of embeddings image and text, instead of the one that options name.

    Raises InvalidInput for an option out of range.
    """
    o = options
    require(o.batch_size >= 2, "batch_size", o.batch_size, "a whole number >= 2")
    nets = two_towers(
        (
            _image_encoder(o, encoding_size, source.shape[0]),
            _text_encoder(o, encoding_size, source),
        ),
        make_head(o.head),
        embedding_dim=encoding_size,
    )
    chosen = aligning_loss(o, loss, within=o.negatives == "both")

    def draw(constants, key):
        rows, ids = source.draw(constants, key)
        return {"rows": rows, "ids": ids}

    def objective(params, batch, key, gather):
        embedded, changes = nets.forward(params, source.observe(batch["rows"]), key, gather)
        z = {"image": embedded.x, "text": embedded.t}
        context = Context(gather, batch["ids"], key=jax.random.fold_in(key, 0))
        value, metrics = chosen.value(params["loss"], z, context)
        return value, Aside(changes, metrics)

    optimiser = optimiser_of(o)
    recipe = Recipe(
        draw, [Stage(objective, o.steps)], optimiser, chunk_steps, save_every, True, True
    )

    def init_params(key):
        loss_params = chosen.init(jax.random.fold_in(key, 0), encoding_size)
        return nets.init(key, Pair(source.shape, (source.length,))) | {"loss": loss_params}

    return ImageTextStudy(source.constants, init_params, recipe, nets.embed)


def embedded(study: ImageTextStudy, params: Tree, data: SceneData) -> Pair:
    """Embeddings of all pairs, `[n, encoding_size]` each, a few at a time."""
    embed, parts = jax.jit(study.embed), []
    n = len(data.tokens)
    for start in range(0, n, AT_ONCE):
        rows = np.minimum(np.arange(start, start + AT_ONCE), n - 1)
        pair = Pair(jnp.asarray(data.images[rows]), jnp.asarray(data.tokens[rows]))
        parts.append(jax.tree.map(lambda v, k=n - start: v[:k], embed(params, pair)))
    return jax.tree.map(lambda *chunks: jnp.concatenate(chunks), *parts)


DISCRETE = (
    "object_shape",
    "object_xpos",
    "object_ypos",
    "object_color_index",
    "text_phrasing",
)
# What both modalities tell; all other factors are private to one of them.
SHARED = ("object_shape", "object_xpos", "object_ypos", "object_color")


def factors_of(*splits: ScenePairs) -> list[dict[str, np.ndarray]]:
    """Of every split, every factor that varies in the first, by name.

    Whole numbers for discrete factors, numbered without gaps and alike in all splits (a colour is
    one of 100 that captions name), float32 for continuous ones.
    """
    named = [{**pairs.image._asdict(), **pairs.text._asdict()} for pairs in splits]
    results: list[dict[str, np.ndarray]] = [{} for _ in splits]
    for name, first in named[0].items():
        columns = [np.asarray(split[name]) for split in named]
        if name in DISCRETE:
            codes = np.unique(np.concatenate(columns), return_inverse=True)[1].astype(np.int32)
            parts = np.split(codes, np.cumsum([len(c) for c in columns])[:-1])
        elif np.any(np.asarray(first) != np.asarray(first)[:1]):
            parts = [c.astype(np.float32) for c in columns]
        else:
            continue
        for factors, part in zip(results, parts, strict=True):
            factors[name] = part
    return results


def content_features(pairs: ScenePairs) -> Array:
    """What both modalities share, as features `[n, 16]`: one-hot shape and positions, the hue, and
    its place on the circle.

    What these predict of a private factor is what theory allows an encoder to tell of it.
    """
    one_hot = lambda codes, k: jax.nn.one_hot(jnp.asarray(codes), k)
    image = pairs.image
    hue = jnp.asarray(image.object_color)[:, None]
    angle = 2 * jnp.pi * hue
    whole = (image.object_shape, 7), (image.object_xpos, 3), (image.object_ypos, 3)
    codes = [one_hot(values, count) for values, count in whole]
    return jnp.concatenate([*codes, hue, jnp.cos(angle), jnp.sin(angle)], axis=1)


def factor_figures(
    fit: Array,
    score: Array,
    fit_factors: Mapping[str, np.ndarray],
    score_factors: Mapping[str, np.ndarray],
    key: Key,
    *,
    kernel_samples: int,
    probe_steps: int = 2000,
) -> dict[tuple[str, str], float]:
    """(factor, metric) -> what features tell of it, fitted on one split and scored on another.

    Continuous factors: r2_linear and r2_kernel. Discrete ones: accuracy of a linear and of a
    nonlinear classifier (accuracy, accuracy_mlp), and chance, the most frequent class.

    Args:
      fit, score: `[n, f]`, `[m, f]` features.
      fit_factors, score_factors: see factors_of.
      key: of the nonlinear classifiers, and of the kernel ridge's folds.
      kernel_samples: rows that the kernel ridge is fitted on, at most.
      probe_steps: training steps of a nonlinear classifier.
    """
    fit, score = standardise(fit, score)
    figures, column = {}, lambda values: jnp.asarray(values)[:, None]
    smooth = [name for name in fit_factors if name not in DISCRETE]
    kernel = kernel_r2_between(
        fit,
        {name: column(fit_factors[name]) for name in smooth},
        score,
        {name: column(score_factors[name]) for name in smooth},
        jax.random.fold_in(key, len(DISCRETE)),
        max_samples=kernel_samples,
        search_samples=max(16, kernel_samples // 2),
    )
    for name in smooth:
        truth = column(fit_factors[name]), column(score_factors[name])
        figures[name, "r2_linear"] = linear_r2_between(fit, truth[0], score, truth[1])
        figures[name, "r2_kernel"] = kernel[name].r2
    # As many classes for every factor: one compilation; those that never occur are never chosen.
    classes = max(
        2, *(int(np.max(f[name])) + 1 for f in (fit_factors, score_factors) for name in DISCRETE)
    )
    for number, name in enumerate(DISCRETE):
        given = fit, fit_factors[name], score, score_factors[name], classes
        own_key = jax.random.fold_in(key, number)
        figures[name, "accuracy"] = linear_probe_accuracy(*given)
        figures[name, "accuracy_mlp"] = mlp_accuracy(*given, own_key, steps=probe_steps)
        figures[name, "chance"] = np.bincount(given[3]).max() / len(given[3])
    return {name: float(value) for name, value in figures.items()}


def disentanglement_figures(
    features: Array,
    factors: Mapping[str, np.ndarray],
    *,
    seed: int,
    split_key: Key | None = None,
) -> dict[str, float]:
    """mcc, dci_*, mig and sap of features against the shared factors.

    MCC takes the shape's number for a quantity, which it is not; the others know it for a class.
    """
    shared = {name: factors[name] for name in SHARED}
    result = dci(features, shared, importance="forest", seed=seed, split_key=split_key)
    latents = jnp.stack([jnp.asarray(v, jnp.float32) for v in shared.values()], axis=1)
    return {
        "mcc": mcc(latents, features),
        "dci_disentanglement": result.disentanglement,
        "dci_completeness": result.completeness,
        "dci_informativeness": result.informativeness,
        "mig": mig(features, shared).mean,
        "sap": sap(features, shared, split_key=split_key).mean,
    }

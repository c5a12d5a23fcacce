"""Two encoders trained on paired recordings, and what can be read from their embeddings."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.config import option
from mmjax.data import (
    PairedData,
    content_ids,
    datasets_of_pairs,
    split_columns,
    with_datasets,
)
from mmjax.data.dataset import LABEL, Dataset, is_classes
from mmjax.data.exports import PAIR_LIST
from mmjax.data.pairs import matrix_of
from mmjax.encoders import HEADS, make_head, mlp
from mmjax.errors import require
from mmjax.evaluate import Labelled, linear_probe_accuracy, recall_at
from mmjax.evaluate import probe as linear_probe
from mmjax.losses import SIMILARITIES, Loss
from mmjax.nets.embedders import towers
from mmjax.nets.prepare import example_of, preparations_of, prepare
from mmjax.studies.aligned import aligning_loss, loss_option
from mmjax.studies.frozen import RANKS
from mmjax.train import (
    DECAY_HELP,
    OPTIMISER_HELP,
    OPTIMISERS,
    OptimiserOptions,
    Recipe,
    Stage,
    former,
    optimiser_of,
)
from mmjax.train.objective import objective_of
from mmjax.train.rows import rows_of
from mmjax.types import Array, Key, Tree


@dataclasses.dataclass(frozen=True)
class PairOptions(OptimiserOptions):
    """How the two encoders are trained."""

    hidden: tuple[int, ...] = option((512, 256), "hidden widths of both encoders")
    dropout: float = option(0.2, "share of hidden units dropped in training")
    input_noise: float = option(0.3, "standard deviation of noise on the standardised input")
    head: str = option("sphere", "space of the embeddings", tuple(HEADS))
    loss: str = loss_option()
    similarity: str = option("cosine", "in loss info_nce", tuple(SIMILARITIES))
    p: float = option(3.0, "exponent of similarity lp, >= 1")
    temperature: float = option(0.1, "of the loss, > 0")
    learn_temperature: bool = option(False, "train the temperature too, from that start")
    batch_size: int = option(256, "pairs a step, over all devices")
    optimiser: str = option("adamw", OPTIMISER_HELP, tuple(OPTIMISERS))
    learning_rate: float = option(3e-3, "peak of the learning rate")
    weight_decay: float = option(1e-2, DECAY_HELP)


class PairStudy(NamedTuple):
    """Encoders of paired data as pure functions.

    Attributes:
      constants: the training data, on device, shared by all seeds.
      init_params: `key -> params`.
      recipe: what `train` takes.
      embed: `(params, side, values [n, ...]) -> [n, embedding_dim]` float32, side x or t, heads
        applied; compiled. Values are those of a file: they are standardised, in float64.
    """

    constants: Tree
    init_params: Callable[[Key], Tree]
    recipe: Recipe
    embed: Callable[[Tree, str, Array], Array]

    @property
    def plan(self) -> former.Plan:
        return former.Plan(*self.recipe)

    @property
    def env(self) -> Tree:
        return self.constants


def make_pair_study(
    data: PairedData | Sequence[Dataset],
    options: PairOptions,
    embedding_dim: int,
    *,
    chunk_steps: int,
    save_every: int,
    loss: Loss | None = None,
) -> PairStudy:
    """The study of this data with embeddings of that dimension.

    Args:
      data: the pairs; or one Dataset of modalities x and t, or one of x and one of t whose rows
        pair by their `label` (see datasets_of_pairs). Rows of split train are trained on.
      options: of networks, loss and training.
      embedding_dim: of both encoders.
      chunk_steps, save_every: see Recipe.
      loss: of embeddings x and t, instead of the one that options name.

    Raises InvalidInput for an option out of range, and where pairs can't be drawn by label.
    """
    o = options
    require(o.batch_size >= 2, "batch_size", o.batch_size, "a whole number >= 2")
    if isinstance(data, PairedData):
        data = datasets_of_pairs(with_datasets(data))
    parts = [side.part("train") for side in data]
    preparations = {name: p for part in parts for name, p in preparations_of(part).items()}
    encoder = mlp(o.hidden, embedding_dim, dropout=o.dropout, input_noise=o.input_noise)
    embedder = towers(dict.fromkeys(preparations, encoder), make_head(o.head), embedding_dim)
    chosen = aligning_loss(o, loss)
    rows = rows_of(parts, preparations, {}, pairs=LABEL)
    examples = {name: example_of(p) for name, p in preparations.items()}

    def init_params(key):
        loss_params = chosen.init(jax.random.fold_in(key, 0), embedding_dim)
        return embedder.init(key, examples) | {"loss": loss_params}

    @partial(jax.jit, static_argnums=1)
    def embed_side(params, side, values):
        return embedder.apply(params, {side: values}, {})[side]

    def embed(params, side, values):
        flat = np.asarray(values).reshape(len(values), -1)
        return embed_side(params, side, prepare(preparations[side], flat, None)["values"])

    recipe = Recipe(
        rows.source,
        [Stage(objective_of(embedder, chosen, rows.look), o.steps)],
        optimiser_of(o),
        chunk_steps,
        save_every,
        shared_constants=True,
        feed=rows.feed(o.batch_size, o.steps),
    )
    return PairStudy(rows.constants, init_params, recipe, embed)


def check_probes(side: Dataset, *, limit: int) -> None:
    """Raises InvalidInput where probe_figures can fit no probe: before a training, not after it."""
    require(limit >= 1, "probe_samples", limit, "a whole number >= 1")
    rows = _probed_rows(side, limit)
    groups = len(np.unique(side.groups[rows]))
    for name, values in side.labels.items():
        message = f"{side.name}: label {name} is a quantity, groups of its {len(rows)} probed rows"
        allowed = "two or more, for a probe's penalty is chosen on one that it isn't fitted on"
        require(is_classes(values) or groups >= 2, message, groups, allowed)


def _probed_rows(side: Dataset, limit: int) -> np.ndarray:
    """Rows that probes are fitted on, in order."""
    train = np.flatnonzero(side.split == "train")
    return np.sort(np.random.default_rng(0).permutation(train)[:limit])


def probe_figures(
    side: Dataset, features: Callable[[np.ndarray], Array], *, limit: int
) -> dict[tuple[str, str], float]:
    """Linear probes of every label, on test rows: accuracy of classes, r2 of quantities.

    Args:
      side: one modality; probes are fitted on its training rows, at most `limit` of them.
      features: `values [n, f] -> [n, d]`.
      limit: rows that a probe is fitted on, drawn once with a fixed seed.

    Returns:
      (name of the label, accuracy or r2) -> figure; no r2 of one test row, which has none.

    Raises InvalidInput as check_probes does.
    """
    if not side.labels:
        return {}
    check_probes(side, limit=limit)
    train, test = _probed_rows(side, limit), np.flatnonzero(side.split == "test")
    fitted, scored = (features(matrix_of(side)[rows]) for rows in (train, test))
    chosen_on = _fifth(side.groups[train])
    results = {}
    for name, values in side.labels.items():
        fit, score = values[train], values[test]
        if is_classes(values):
            kinds = max(2, int(values.max()) + 1)
            of = linear_probe_accuracy(fitted, fit, scored, score, kinds)
            results[name, "accuracy"] = float(of)
        elif len(test) > 1:
            parts = ((fitted, fit, ~chosen_on), (fitted, fit, chosen_on), (scored, score, ...))
            rows = (Labelled(x[at], y[at][:, None]) for x, y, at in parts)
            results[name, "r2"] = float(linear_probe("regression", *rows)["r2"])
    return results


def _fifth(groups: np.ndarray) -> np.ndarray:
    """`[n]` bool: rows of a fifth of the groups, one at least, drawn once with a fixed seed."""
    kinds = np.unique(groups)
    return np.isin(groups, np.random.default_rng(1).permutation(kinds)[: -(-len(kinds) // 5)])


def probe_accuracies(
    side: Dataset, features: Callable[[np.ndarray], Array], *, limit: int
) -> dict[str, float]:
    """Those of probe_figures that are accuracies: name of the label -> accuracy."""
    figures = probe_figures(side, features, limit=limit)
    return {name: value for (name, metric), value in figures.items() if metric == "accuracy"}


def chance_levels(side: Dataset) -> dict[str, float]:
    """Share of the most frequent class among test rows, of every label that is classes."""
    tests = side.part("test")
    classes = {name: values for name, values in tests.labels.items() if is_classes(values)}
    return {k: float(np.bincount(v).max() / tests.num_rows) for k, v in classes.items()}


def retrieval(
    data: PairedData,
    embed_x: Callable[[Array], Array],
    embed_t: Callable[[Array], Array],
    similarity: Callable[[Array, Array], Array],
    *,
    limit: int,
) -> Mapping[tuple[str, str], float]:
    """Recall at 1, 5 and 10 on test rows, in both directions.

    Exact recall where rows pair by index: right is whatever is paired with the query's recording,
    any caption of the image (see answers). Class-aware recall (any row of the same label is right)
    where there are labels. A recording that is there twice is asked for, and found, once.

    Args:
      data: the pairs.
      embed_x, embed_t: `values -> [n, dim]`.
      similarity: `([n, dim], [m, dim]) -> [n, m]`.
      limit: test rows of x, the first ones of a fixed shuffle, with their partners; where pairs are
        drawn by label, of either side.

    Returns:
      (query side, metric) -> recall; metrics recall_at_k and class_recall_at_k, of k below the
      number of answers: among so many any k hold the right one.
    """
    data = with_datasets(data)
    rng, x, t = np.random.default_rng(0), data.x, data.t
    x_rows = rng.permutation(np.flatnonzero(x.split == "test"))[:limit]
    if data.partner is not None:
        t_rows = data.partner[x_rows]
    else:
        t_rows = rng.permutation(np.flatnonzero(t.split == "test"))[:limit]
    x_rows, t_rows = _once(x, x_rows), _once(t, t_rows)
    forth = similarity(embed_x(matrix_of(x)[x_rows]), embed_t(matrix_of(t)[t_rows]))
    right = {}
    if data.partner is not None:
        right["recall"] = answers(data, x_rows, t_rows)
    if all(LABEL in side.labels and is_classes(side.labels[LABEL]) for side in (x, t)):
        right["class_recall"] = x.labels[LABEL][x_rows][:, None] == t.labels[LABEL][t_rows][None]
    return {
        (side, f"{kind}_at_{k}"): float(recall_at(scores, k, right=correct))
        for kind, wanted in right.items()
        for side, scores, correct in (("x", forth, wanted), ("t", forth.T, wanted.T))
        for k in RANKS
        if k < correct.shape[1]
    }


def _once(side: Dataset, rows: np.ndarray) -> np.ndarray:
    """The first row of each content, in the given order."""
    _, first = np.unique(content_ids(matrix_of(side)[rows]), return_index=True)
    return rows[np.sort(first)]


def answers(data: PairedData, x_rows: np.ndarray, t_rows: np.ndarray) -> np.ndarray:
    """`[len(x_rows), len(t_rows)]` bool: whether any pair of the data joins a row of x with the one
    row's id and a row of t with the other's."""
    x_ids, t_ids = data.x.ids[:, 0], data.t.ids[:, 0]
    wide = np.int64(t_ids.max()) + 1
    pairs = np.unique(x_ids * wide + t_ids[data.partner])
    return np.isin(x_ids[x_rows][:, None] * wide + t_ids[t_rows][None], pairs)


def export_columns(side: Dataset) -> dict[str, np.ndarray]:
    """What an export of all rows of a side has beside their features: label_list, private factors,
    and where each row was: split, group, is_test (see split_columns).

    Raises InvalidInput for a private factor that is called as an array of the export.
    """
    check_export(side)
    private = {name: values for name, values in side.labels.items() if name != LABEL}
    columns = private | split_columns(side.split, side.groups)
    return columns | ({"label_list": side.labels[LABEL]} if LABEL in side.labels else {})


def check_export(side: Dataset) -> None:
    """Raises InvalidInput, which names private_x or private_t, as export_columns does."""
    taken = {"feature_list", PAIR_LIST, *split_columns(side.split, side.groups)}
    taken |= {"label_list"} if LABEL in side.labels else set()
    allowed = "names that no array of an export has: rename it in the file"
    for name in sorted(side.labels):
        require(name not in taken, f"private_{[*side.columns][0]}", name, allowed)


def raw_features(side: Dataset) -> Callable[[np.ndarray], Array]:
    """The standardised recordings themselves, `[n, features]`: what probes are compared with."""
    (scaling,) = preparations_of(side.part("train")).values()
    return lambda values: jnp.asarray(prepare(scaling, values, None)["values"])

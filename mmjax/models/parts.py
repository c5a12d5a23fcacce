"""What a training is made of: networks, what they see, the loss, the optimiser's share."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from mmjax.data.columns import all_texts
from mmjax.data.dataset import Dataset
from mmjax.data.values import Lazy
from mmjax.errors import require
from mmjax.losses import Loss
from mmjax.models.frozen import Shown, shown, whole
from mmjax.models.model import make_embedder
from mmjax.nets import Net, as_net, default_net
from mmjax.nets.embedders import Embedder, Fusion
from mmjax.nets.looks import Augment, augmentations
from mmjax.nets.prepare import Preparation, example_of, fit_preparation
from mmjax.nets.tokens import Tokenizer, train_bpe
from mmjax.train.rows import Rows, rows_of
from mmjax.types import Key, Tree

_FED_AT_ONCE = 2**26  # bytes read from files for one compiled call


class Design(NamedTuple):
    """What a model is to be, and to be trained on; see fit for each.

    Attributes:
      dim: of the embeddings.
      loss: what is minimised.
      nets: modality -> what the user gave.
      fusion: options of a fusion, or None for towers.
      head: space of the embeddings of towers.
      tokenizer: of text, or None.
      augment: modality -> a random view; None: by kind.
      label: column of classes that the loss sees, or empty.
    """

    dim: int
    loss: Loss
    nets: Mapping[str, Any]
    fusion: Fusion | None
    head: str
    tokenizer: Tokenizer | None
    augment: Mapping[str, Augment] | None
    label: str


class Parts(NamedTuple):
    """What a training is made of, before its first step.

    Attributes:
      nets, preparations: of the model.
      shown: what training sees of these, see mmjax.models.frozen.
      embedder: of what training sees.
      loss: what is minimised.
      rows: the training rows as a source.
      augment: random views by modality.
    """

    nets: Mapping[str, Net]
    preparations: Mapping[str, Preparation]
    shown: Shown
    embedder: Embedder
    loss: Loss
    rows: Rows
    augment: Mapping[str, Augment]


def make_parts(
    rows: Dataset,
    held: Dataset,
    design: Design,
    *,
    key: Key,
) -> Parts:
    """The parts of a training on these rows.

    Raises InvalidInput for options that don't fit the data.
    """
    d = design
    for name in d.nets:
        known = ", ".join(rows.columns)
        require(name in rows.columns, "nets", name, f"names of modalities: {known}")
    nets, preparations = {}, {}
    for name, column in rows.columns.items():
        default = default_net(column.kind, column.values.shape[1:])
        net = as_net(d.nets[name], name) if name in d.nets else default
        here = rows.present.get(name, np.ones(rows.num_rows, bool))
        words = None
        if column.kind == "text":
            words = d.tokenizer or net.tokenizer or train_bpe(all_texts(column, here))
        nets[name] = net
        preparations[name] = fit_preparation(name, column, here, words)
    body_key, order_key = jax.random.split(key)
    views = augmentations(preparations, d.fusion, d.augment)
    width = d.dim if d.fusion is None else d.dim * d.fusion.tokens
    seen = shown(rows, held, nets, preparations, width=width, augmented=views, key=body_key)
    embedder = make_embedder(seen.nets, seen.preparations, dim=d.dim, head=d.head, fusion=d.fusion)
    order = int(jax.random.bits(order_key))
    source = rows_of(seen.rows, seen.preparations, views, label=d.label, order=order)
    return Parts(nets, preparations, seen, embedder, d.loss, source, views)


def whole_params(parts: Parts, params: Tree) -> Tree:
    """The model's parameters, frozen towers among them, of those that were trained."""
    if not parts.shown.bodies:
        return params
    pairs = whole(parts.shown.bodies, parts.embedder.encoders(params))
    return parts.embedder.replaced(params, pairs)


def init_of(parts: Parts) -> Callable[[Key], Tree]:
    """`key -> parameters` of what is trained."""
    examples = {name: example_of(p) for name, p in parts.shown.preparations.items()}

    def init(key):
        net_key, loss_key = jax.random.split(key)
        params = parts.embedder.init(net_key, examples)
        return params | {"loss": parts.loss.init(loss_key, parts.embedder.loss_dim)}

    return init


def trained_only(
    parts: Parts, optimiser: optax.GradientTransformation
) -> optax.GradientTransformation:
    """The optimiser of what is trained: no statistics, and of nets what they say."""

    def labels(params):
        every = lambda tree, value: jax.tree.map(lambda _: value, tree)
        figures = every(params, "on") | {"statistics": every(params["statistics"], "off")}
        on = lambda tree: jax.tree.map(lambda flag: "on" if flag else "off", tree)
        towers, kept = parts.embedder.encoders(params), parts.embedder.encoders(figures)
        pairs = {
            name: (on(net.trained(towers[name][0])), kept[name][1])
            for name, net in parts.shown.nets.items()
        }
        return parts.embedder.replaced(figures, pairs)

    return optax.multi_transform({"on": optimiser, "off": optax.set_to_zero()}, labels)


def chunk_steps_of(parts: Parts, batch_size: int, steps: int, validate_every: int) -> int:
    """Steps a compiled call: a divisor of what lies between two looks."""
    most, rows = min(50, steps), parts.shown.rows
    lazy = [c.values for c in rows.columns.values() if isinstance(c.values, Lazy)]
    if lazy:
        size = sum(int(np.prod(v.shape[1:])) * np.dtype(v.dtype).itemsize for v in lazy)
        most = max(1, min(most, _FED_AT_ONCE // max(1, size * batch_size)))
    if not validate_every:
        return most
    return max(k for k in range(1, most + 1) if validate_every % k == 0)


def has_convolutions(parts: Parts) -> bool:
    """Whether a step convolves images: then a CPU compiles no loop around it, see Recipe."""
    convolves = lambda name: parts.shown.nets[name].name in ("", "convnet", "resnet")
    return any(
        p.kind == "image" and convolves(name) for name, p in parts.shown.preparations.items()
    )

"""The loss of a training: by name or by value, and tried on shapes before anything is written."""

import inspect
from collections.abc import Callable
from typing import Any

import jax

from mmjax.errors import InvalidInput, choose, note
from mmjax.losses import LOSSES, Context, Embeddings, Loss
from mmjax.losses.told import check_is_loss, loss_name, told
from mmjax.models.parts import Parts, init_of
from mmjax.nets.embedders import JOINT, Fusion
from mmjax.train.objective import objective_of
from mmjax.types import Array, Tree


def loss_of(loss: Loss | str | None, fusion: Fusion | None, classes: int = 0) -> Loss:
    """The loss that `fit` was asked for; classes: of the label that it sees, 0 for none."""
    if loss is None or isinstance(loss, str):
        options: dict[str, Any] = {"classes": classes} if classes else {}
        return loss_named(name_of(loss, fusion), **options)
    check_is_loss(loss, "a Loss, or one of " + ", ".join(sorted(LOSSES)))
    return loss


def loss_named(name: str, *, flag: str = "label", **options: Any) -> Loss:
    """The loss of that name, with those of the options that it has; flag: that gives classes.

    Raises InvalidInput for an unknown name, or without the classes that it can't do without.
    """
    make = choose(LOSSES, "loss", name)
    known = inspect.signature(make).parameters
    needs_label = "classes" in known and known["classes"].default is inspect.Parameter.empty
    if needs_label and "classes" not in options:
        raise InvalidInput(f"loss: {name} needs {flag}, a column of classes")
    return make(**{k: v for k, v in options.items() if k in known})


def name_of(loss: Loss | str | None, fusion: Fusion | None) -> str:
    """Its name: that in LOSSES, or that of the user's own function."""
    if loss is None:
        return "info_nce" if fusion is None else "comm"
    if isinstance(loss, str):
        return loss
    return loss_name(loss)


def try_loss(parts: Parts, batch_size: int, name: str) -> list[str]:
    """What should be known of the loss on these rows; nothing is computed.

    Raises InvalidInput where the loss can't have what there is, or fails (see told).
    """
    unread: set[str] = set()
    labels: list[bool] = []
    untrained: set[str] = set()
    checked = told(parts.loss, name)
    tried = checked._replace(value=_tried(checked, unread, labels, untrained))
    value = objective_of(parts.embedder, tried, parts.rows.look)
    key = jax.random.key(0)
    fed = next(parts.rows.feed(batch_size, 1)(0, key))
    params = jax.eval_shape(init_of(parts._replace(loss=checked)), key)
    batch = jax.eval_shape(parts.rows.source, parts.rows.constants, key, fed)
    jax.eval_shape(lambda p, b, k: value(p, b, k, lambda x: x), params, batch, key)
    messages = []
    if unread:
        lacking = ", ".join(sorted(unread))
        messages.append(
            f"loss {name} doesn't leave out rows that lack {lacking}: it reads what a network "
            "makes of zeros there; use context.present"
        )
    if untrained:
        of = ", ".join(sorted(untrained))
        also = "; mmjax.losses.in_pairs makes one of a fusion of it" if JOINT in untrained else ""
        messages.append(f"loss {name} reads no {of}: what becomes of it is not trained{also}")
    if labels and not any(labels):
        messages.append(f"loss {name} reads no labels: the label changes nothing")
    for message in messages:
        note(f"note: {message}")
    return messages


def _tried(loss: Loss, unread: set[str], labels: list[bool], untrained: set[str]) -> Any:
    """The loss's value; modalities that rows lack and whose `present` it doesn't read are added to
    unread, embeddings of which it reads neither z nor a view to untrained, whether it reads labels
    that it has to labels."""

    def value(params: Tree, z: Embeddings, context: Context) -> tuple[Array, dict[str, Any]]:
        result = loss.value(params, z, context)
        names = list(context.present)

        def by_present(columns):
            shown = dict(zip(names, columns, strict=True))
            return loss.value(params, z, context._replace(present=shown))

        columns = [context.present[name] for name in names]
        unread.update(n for n, r in zip(names, _reads(by_present, columns), strict=True) if not r)
        looks = [z, *context.views]
        by_looks = lambda looks: loss.value(params, looks[0], context._replace(views=looks[1:]))
        read = _reads(by_looks, looks)
        untrained.update(k for k in z if not any(look[k] for look in read if k in look))
        if context.labels is not None:
            by_labels = lambda leaves: loss.value(params, z, context._replace(labels=leaves[0]))
            labels.extend(_reads(by_labels, [context.labels]))
        return result

    return value


def _reads(function: Callable[[Any], Any], columns: Any) -> Any:
    """Of a tree of arrays, whether any operation of the function takes each."""
    if not columns:
        return []
    traced = jax.make_jaxpr(function)(columns).jaxpr
    taken = {id(v) for equation in traced.eqns for v in equation.invars}
    return jax.tree.unflatten(jax.tree.structure(columns), [id(v) in taken for v in traced.invars])

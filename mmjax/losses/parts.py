"""What Loss values are made of: names, presence and the context as the kernels want them."""

from collections.abc import Callable, Sequence

import jax.numpy as jnp

from mmjax.encoders.temperature import check_temperature, temperature_from
from mmjax.errors import choose, require
from mmjax.losses.loss import Context, Embeddings, Loss
from mmjax.types import Array

JOINT = "joint"


def modalities_of(z: Embeddings) -> list[str]:
    """Names of the modalities, in the order of z, without the joint one."""
    return [name for name in z if name != JOINT]


def present_in(context: Context, z: Embeddings, *names: str) -> Array | None:
    """Which rows have all of these, `[batch]` bool; None where all have. The joint one is there
    where any modality is."""
    result = None
    for name in names:
        here = context.present.get(name)
        if here is None and name == JOINT:
            each = [context.present.get(other) for other in modalities_of(z)]
            some = each and all(v is not None for v in each)
            here = jnp.any(jnp.stack([v for v in each if v is not None]), axis=0) if some else None
        if here is not None:
            here = jnp.asarray(here, bool)
            result = here if result is None else result & here
    return result


def asked(context: Context) -> dict:
    """What every kernel takes of the context."""
    return dict(gather=context.gather, ids=context.ids, chunk=context.chunk)


def two_or_more(z: Embeddings) -> list[str]:
    """The modalities. Raises InvalidInput for fewer than two."""
    names = modalities_of(z)
    require(len(names) >= 2, "modalities", ", ".join(names) or "none", "two or more for this loss")
    return names


def views_of(context: Context) -> Sequence[Embeddings]:
    """Two views or more. Raises InvalidInput where there are fewer."""
    message = "two augmented views of every row or more for this loss"
    require(len(context.views) >= 2, "views", len(context.views), message)
    return context.views


def one_of(z: Embeddings, name: str | None, flag: str) -> str:
    """That modality, or the first one. Raises InvalidInput for a name that z lacks."""
    names = modalities_of(z)
    if name is None and names:
        return names[0]
    choose(dict.fromkeys(names), flag, str(name))
    return str(name)


def loss_of(
    value: Callable[..., tuple[Array, dict]], temperature: float, learned: bool = False
) -> Loss:
    """The Loss of a function of the temperature, fixed or learned from there on.

    Args:
      value: `(temperature, z, context) -> (scalar, metrics)`.
      temperature: > 0.
      learned: whether the parameters are its logarithm (see temperature_from), and the metrics
        tell it.

    Raises InvalidInput for a temperature out of range.
    """
    check_temperature(temperature, learned)

    def init(key, dim):
        return {"log_temperature": jnp.log(jnp.float32(temperature))} if learned else {}

    def of(params, z, context):
        if not learned:
            return value(temperature, z, context)
        now = temperature_from(params["log_temperature"])
        loss, metrics = value(now, z, context)
        return loss, metrics | {"temperature": now}

    of.__qualname__ = value.__qualname__  # by which a model's description names the loss
    return Loss(init, of)

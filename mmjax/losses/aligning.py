"""Losses that align modalities or views, as Loss values of embeddings by name.

Every one leaves out what context.ids names alike, and rows that lack a modality: a row counts in a
pair of modalities if it has both, in two views of one if it has it. `joint`, what sees all
modalities of a row, is known by its name and no modality of its own. Where a modality is singled
out, name it: the first of z is the default, and what crosses jax.jit comes out sorted.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import combinations

import jax.numpy as jnp

from mmjax.encoders.temperature import check_temperature, temperature_from
from mmjax.errors import InvalidInput, require
from mmjax.losses import alignment, contrastive
from mmjax.losses.ids import id_columns
from mmjax.losses.loss import Context, Embeddings, Loss
from mmjax.losses.parts import (
    JOINT,
    asked,
    loss_of,
    modalities_of,
    one_of,
    present_in,
    two_or_more,
    views_of,
)
from mmjax.losses.similarity import Similarity, cosine, make_similarity
from mmjax.types import Array

PAIRS = ("all", "first")


def chosen_pairs(z: Embeddings, pairs: str = "all", first: str | None = None) -> list:
    """Names of the pairs: all, or those with the first modality."""
    names = two_or_more(z)
    if pairs == "all":
        return list(combinations(names, 2))
    head = one_of(z, first, "first")
    return [(head, name) for name in names if name != head]


def mean_over_pairs(
    of_pair: Callable[..., Array], z: Embeddings, context: Context, pairs: Sequence
) -> Array:
    """The mean of a loss of two modalities, which rows enter that have both."""
    terms = [
        of_pair(z[a], z[b], present=present_in(context, z, a, b), **asked(context))
        for a, b in pairs
    ]
    return jnp.asarray(sum(terms) / len(terms))


def info_nce(
    *,
    similarity: str | Similarity = "cosine",
    p: float = 3.0,
    temperature: float = 0.1,
    learn_temperature: bool = False,
    pairs: str = "all",
    first: str | None = None,
    within: bool = False,
) -> Loss:
    """Symmetric InfoNCE, the mean over pairs of modalities (Eq. 2, Liu et al. 2026, halved).

    Args:
      similarity: a name in SIMILARITIES, or a Similarity.
      p: exponent of similarity lp and lp_norm, >= 1.
      temperature: > 0; its start where it is learned, 0.01 to 1e4.
      learn_temperature: whether it is a parameter.
      pairs: all pairs of modalities, or those with the first.
      first: the name of that one; None: the first of z.
      within: whether the other rows of an anchor's own modality are negatives too.

    Raises InvalidInput for an option out of range; the Loss, for fewer than two modalities.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from mmjax.losses import Context
      >>> loss, e = info_nce(temperature=0.1), jnp.eye(4)
      >>> value, metrics = loss.value({}, {"image": e, "text": e}, Context())
      >>> bool(value < 1e-3)
      True
    """
    require(pairs in PAIRS, "pairs", pairs, ", ".join(PAIRS))
    if isinstance(similarity, str):
        similarity = make_similarity(similarity, p=p)

    def value(temperature, z, context):
        options = dict(similarity=similarity, temperature=temperature, within=within)
        of_pair = partial(contrastive.info_nce, **options)
        return mean_over_pairs(of_pair, z, context, chosen_pairs(z, pairs, first)), {}

    return loss_of(value, temperature, learn_temperature)


def cross(
    *,
    temperature: float = 0.1,
    learn_temperature: bool = False,
    pairs: str = "all",
    first: str | None = None,
) -> Loss:
    """CLIP's loss (Radford et al. 2021), the mean over pairs: info_nce of cosines.

    Arguments and errors are those of info_nce.
    """
    return info_nce(
        similarity=cosine(),
        temperature=temperature,
        learn_temperature=learn_temperature,
        pairs=pairs,
        first=first,
    )


def cmc(
    *,
    temperature: float = 0.1,
    learn_temperature: bool = False,
    pairs: str = "all",
    first: str | None = None,
) -> Loss:
    """Contrastive multiview coding (Tian et al. 2020): the sum over pairs and directions of cross.

    With pairs="first" it's the core view. Arguments and errors are those of info_nce.
    """
    crossed = cross(
        temperature=temperature, learn_temperature=learn_temperature, pairs=pairs, first=first
    )

    def value(params, z, context):
        mean, metrics = crossed.value(params, z, context)
        return 2 * len(chosen_pairs(z, pairs, first)) * mean, metrics

    return crossed._replace(value=value)


def siglip(*, temperature: float = 0.1, bias: float = -10.0) -> Loss:
    """The sigmoid loss (Zhai et al. 2023), the mean over pairs; temperature and bias are learned.

    Parameters are deviations of the bias and of the temperature's logarithm from the start: a decay
    of weights pulls towards it, not towards 0.

    Args:
      temperature: its start, 0.01 to 1e4.
      bias: its start.

    Raises InvalidInput for a temperature out of range; the Loss, for fewer than two modalities.
    """
    check_temperature(temperature, True)

    def init(key, dim):
        return {"bias": jnp.zeros(()), "log_temperature": jnp.zeros(())}

    def value(params, z, context):
        now = dict(
            temperature=temperature_from(jnp.log(temperature) + params["log_temperature"]),
            bias=bias + params["bias"],
        )
        of_pair = partial(alignment.siglip, **now)
        return mean_over_pairs(of_pair, z, context, chosen_pairs(z)), now

    return Loss(init, value)


def _within(z: Embeddings, context: Context, name: str, temperature: Array | float) -> Array:
    """NT-Xent of one modality, the mean over pairs of its views."""
    views = [view[name] for view in views_of(context)]
    options = asked(context) | dict(temperature=temperature, present=present_in(context, z, name))
    terms = [alignment.nt_xent(a, b, **options) for a, b in combinations(views, 2)]
    return jnp.asarray(sum(terms) / len(terms))


def nt_xent(*, temperature: float = 0.1, learn_temperature: bool = False) -> Loss:
    """NT-Xent (Chen et al. 2020) of two views of each row, the sum over modalities: SimCLR.

    Args:
      temperature: > 0; its start where it is learned, 0.01 to 1e4.
      learn_temperature: whether it is a parameter.

    Raises InvalidInput for a temperature out of range; the Loss, without two views.
    """

    def value(temperature, z, context):
        names = modalities_of(z)
        require(bool(names), "modalities", "none", "one or more")
        return sum(_within(z, context, name, temperature) for name in names), {}

    return loss_of(value, temperature, learn_temperature)


simclr = nt_xent


def cross_self(
    *,
    temperature: float = 0.1,
    learn_temperature: bool = False,
    self_temperature: float | None = None,
    self_weight: float = 1.0,
    pairs: str = "all",
    first: str | None = None,
    alone: Sequence[str] | None = None,
) -> Loss:
    """Cross+Self (Dufumier et al. 2025): cross of z, and NT-Xent of the views of each modality.

    Args:
      temperature, learn_temperature, pairs, first: of the part across, see info_nce.
      self_temperature: of the parts within; None takes the same.
      self_weight: of the parts within, >= 0.
      alone: names of the modalities that have a part within; None: all.

    Raises InvalidInput for an option out of range; the Loss, for fewer than two modalities or two
    views, or a name that z lacks.
    """
    require(self_weight >= 0, "self_weight", self_weight, "a number >= 0")
    if self_temperature is not None:
        check_temperature(self_temperature)
    require(pairs in PAIRS, "pairs", pairs, ", ".join(PAIRS))

    def value(temperature, z, context):
        within_temperature = temperature if self_temperature is None else self_temperature
        names = modalities_of(z) if alone is None else [one_of(z, n, "alone") for n in alone]
        of_pair = partial(contrastive.info_nce, similarity=cosine(), temperature=temperature)
        aligned = mean_over_pairs(of_pair, z, context, chosen_pairs(z, pairs, first))
        within = sum(_within(z, context, name, within_temperature) for name in names)
        return aligned + self_weight * within, {"cross": aligned, "self": within}

    return loss_of(value, temperature, learn_temperature)


def slip(
    *,
    temperature: float = 0.1,
    learn_temperature: bool = False,
    self_temperature: float | None = 0.1,
    self_weight: float = 1.0,
    modality: str | None = None,
) -> Loss:
    """SLIP (Mu et al. 2022): CLIP's loss plus SimCLR's of the views of the image.

    Args:
      temperature, learn_temperature, self_weight: see cross_self.
      self_temperature: of SimCLR's part, published 0.1; None takes that of CLIP's.
      modality: the name of the image; None: the first of z.

    Raises InvalidInput as cross_self does.
    """
    return cross_self(
        temperature=temperature,
        learn_temperature=learn_temperature,
        self_temperature=self_temperature,
        self_weight=self_weight,
        alone=(modality,),  # type: ignore[arg-type]  # None: the first
    )


def supcon(
    *, temperature: float = 0.1, learn_temperature: bool = False, modality: str | None = None
) -> Loss:
    """Supervised contrastive loss (Khosla et al. 2020) of context.labels.

    All views of the joint embedding are compared; where z has none, all views of all modalities,
    with each other.

    Args:
      temperature, learn_temperature: see info_nce.
      modality: the name of the only one to be compared.

    Raises InvalidInput for a temperature out of range; the Loss, without labels, or for a name that
    z lacks.
    """

    def value(temperature, z, context):
        if context.labels is None:
            raise InvalidInput("labels: None is not allowed; use one a row for supcon")
        names = modalities_of(z) if JOINT not in z else [JOINT]
        names = names if modality is None else [one_of(z, modality, "modality")]
        views = context.views or (z,)
        every = [present_in(context, z, name) for name in names]
        some = any(one is not None for one in every)
        whole = jnp.ones(context.labels.shape, bool)
        present = [whole if one is None else one for one in every] * len(views)
        count = len(present)
        options = asked(context)
        if context.ids is not None:  # of a row, and so of all that is made of it
            columns = id_columns(context.ids, len(whole), context.gather)
            options |= dict(ids=jnp.concatenate([columns] * count))
        loss = alignment.supcon(
            jnp.concatenate([view[name] for view in views for name in names]),
            jnp.tile(context.labels, count),
            temperature=temperature,
            present=jnp.concatenate(present) if some else None,
            **options,
        )
        return loss, {}

    return loss_of(value, temperature, learn_temperature)

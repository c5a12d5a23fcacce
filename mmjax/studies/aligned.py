"""What studies that align two or more modalities minimise: a Loss by name, or the caller's own."""

from typing import Any

from mmjax.config import Need, option
from mmjax.errors import choose
from mmjax.losses import LOSSES, Loss
from mmjax.losses.told import told

# Losses that ask for embeddings alone: no views, no labels. Their similarity is the cosine, but for
# info_nce's, which is a choice.
ALIGNING = ("info_nce", "cross", "cmc", "siglip")


def loss_option() -> Any:
    """The field of a config that names the loss."""
    message = "what is minimised; cross is CLIP's, with cosines; siglip learns temperature and bias"
    return option("info_nce", message, ALIGNING)


def aligning_loss(options: Any, loss: Loss | None = None, **of_info_nce: Any) -> Loss:
    """The Loss that options name, or the given one.

    Args:
      options: with fields loss and temperature and, of losses that heed them, similarity, p and
        learn_temperature.
      loss: a Loss by value; then all of these fields are moot.
      of_info_nce: further options of info_nce.

    Raises InvalidInput for a name not in ALIGNING, an option out of range, or what is no Loss; a
    Loss that fails is told in a line.
    """
    if loss is not None:
        return told(loss)
    o, learned = options, getattr(options, "learn_temperature", False)
    make = choose({name: LOSSES[name] for name in ALIGNING}, "loss", o.loss)
    if o.loss == "siglip":
        return make(temperature=o.temperature)
    given = dict(similarity=o.similarity, p=o.p) | of_info_nce if o.loss == "info_nce" else {}
    return make(temperature=o.temperature, learn_temperature=learned, **given)


_CHOOSES = Need("loss info_nce", lambda c: c.loss in ("info_nce", "in_batch", "official"))
NEEDS = {
    "similarity": _CHOOSES,
    "p": Need(
        "similarity lp or lp_norm in loss info_nce",
        lambda c: _CHOOSES.met(c) and "lp" in c.similarity,
    ),
    "learn_temperature": Need("a loss other than siglip", lambda c: c.loss != "siglip"),
}

"""Losses: one pairwise-contrastive kernel; everything else is a composition of it.

A name such as info_nce is both: of arrays it computes their loss, without arrays it makes a Loss,
what `fit` and studies take.

Example:
  >>> import jax.numpy as jnp
  >>> from mmjax import losses
  >>> e = jnp.eye(4)
  >>> of_arrays = losses.info_nce(e, e, similarity=losses.cosine(), temperature=0.1)
  >>> loss = losses.info_nce(temperature=0.1)
  >>> value, metrics = loss.value({}, {"image": e, "text": e}, losses.Context())
  >>> bool(value == of_arrays)
  True
"""

from mmjax.losses import aligning, alignment, contrastive, factorised, fused, fusing
from mmjax.losses.either import either
from mmjax.losses.factorised import (
    Critic,
    Factors,
    club_bound,
    critic_loss,
    infonce_bound,
    self_supervised_factors,
    supervised_factors,
)
from mmjax.losses.fused import comm_terms
from mmjax.losses.fusing import factor_cl_supervised
from mmjax.losses.ids import no_gather, row_ids
from mmjax.losses.kernel import log_partitions
from mmjax.losses.loss import Context, Embeddings, Loss
from mmjax.losses.pairs import in_pairs
from mmjax.losses.similarity import (
    SIMILARITIES,
    Similarity,
    cosine,
    dot,
    make_similarity,
    negative_distance,
    similarity_from,
)
from mmjax.losses.values import LOSSES

info_nce = either(contrastive.info_nce, aligning.info_nce)
cross = either(alignment.cross, aligning.cross)
cmc = either(alignment.cmc, aligning.cmc)
siglip = either(alignment.siglip, aligning.siglip)
nt_xent = either(alignment.nt_xent, aligning.nt_xent)
simclr = nt_xent
cross_self = either(alignment.cross_self, aligning.cross_self)
slip = either(alignment.slip, aligning.slip)
supcon = either(alignment.supcon, aligning.supcon)
comm = either(fused.comm, fusing.comm)
comm_of_paper = either(fused.comm_of_paper, fusing.comm_of_paper)
factor_cl = either(factorised.factor_cl, fusing.factor_cl)

__all__ = [
    "LOSSES",
    "SIMILARITIES",
    "Context",
    "Critic",
    "Embeddings",
    "Factors",
    "Loss",
    "Similarity",
    "club_bound",
    "cmc",
    "comm",
    "comm_of_paper",
    "comm_terms",
    "cosine",
    "critic_loss",
    "cross",
    "cross_self",
    "dot",
    "factor_cl",
    "factor_cl_supervised",
    "in_pairs",
    "info_nce",
    "infonce_bound",
    "log_partitions",
    "make_similarity",
    "negative_distance",
    "no_gather",
    "nt_xent",
    "row_ids",
    "self_supervised_factors",
    "siglip",
    "simclr",
    "similarity_from",
    "slip",
    "supcon",
    "supervised_factors",
]

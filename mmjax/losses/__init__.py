"""Losses: one pairwise-contrastive kernel; everything else is a composition of it."""

from mmjax.losses.alignment import (
    cmc,
    cross,
    cross_self,
    nt_xent,
    siglip,
    simclr,
    slip,
    supcon,
)
from mmjax.losses.contrastive import info_nce
from mmjax.losses.factorised import (
    Critic,
    Factors,
    club_bound,
    critic_loss,
    factor_cl,
    infonce_bound,
    self_supervised_factors,
    supervised_factors,
)
from mmjax.losses.fused import comm, comm_of_paper, comm_terms
from mmjax.losses.ids import no_gather, row_ids
from mmjax.losses.kernel import log_partitions
from mmjax.losses.similarity import (
    SIMILARITIES,
    Similarity,
    cosine,
    dot,
    make_similarity,
    negative_distance,
    similarity_from,
)

__all__ = [
    "SIMILARITIES",
    "Critic",
    "Factors",
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

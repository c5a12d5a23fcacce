"""Losses: one pairwise-contrastive kernel; everything else is a composition of it."""

from mmjax.losses.contrastive import info_nce, no_gather
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
    "Similarity",
    "cosine",
    "dot",
    "info_nce",
    "log_partitions",
    "make_similarity",
    "negative_distance",
    "no_gather",
    "similarity_from",
]

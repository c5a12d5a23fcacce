"""Metrics: pure functions of arrays. A new one is one function."""

from mmjax.evaluate.identification import correlations, match, mcc, spearman_ranks
from mmjax.evaluate.probes import linear_probe_accuracy
from mmjax.evaluate.regression import linear_r2
from mmjax.evaluate.retrieval import recall_at

__all__ = [
    "correlations",
    "linear_probe_accuracy",
    "linear_r2",
    "match",
    "mcc",
    "recall_at",
    "spearman_ranks",
]

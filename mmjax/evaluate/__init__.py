"""Metrics: pure functions of arrays. A new one is one function."""

from mmjax.evaluate.disentanglement import DCI, Gap, dci, mig, sap
from mmjax.evaluate.geometry import Geometry, geometry_of
from mmjax.evaluate.identification import correlations, match, mcc, spearman_ranks
from mmjax.evaluate.kernel_ridge import KernelScore, kernel_r2, kernel_r2_between
from mmjax.evaluate.logistic import (
    Choice,
    Logistic,
    check_shots,
    few_shot_rows,
    fit_logistic,
    knn_accuracy,
    logistic_accuracy,
    search_c,
    zero_shot_accuracy,
)
from mmjax.evaluate.mlp_probe import mlp_accuracy, mlp_r2, mlp_r2_between
from mmjax.evaluate.probes import linear_probe_accuracy
from mmjax.evaluate.regression import linear_r2, linear_r2_between, standardise
from mmjax.evaluate.retrieval import recall_at

__all__ = [
    "Choice",
    "DCI",
    "Gap",
    "Geometry",
    "KernelScore",
    "Logistic",
    "check_shots",
    "correlations",
    "dci",
    "few_shot_rows",
    "fit_logistic",
    "kernel_r2",
    "kernel_r2_between",
    "geometry_of",
    "knn_accuracy",
    "linear_probe_accuracy",
    "linear_r2",
    "linear_r2_between",
    "logistic_accuracy",
    "match",
    "mcc",
    "mig",
    "mlp_accuracy",
    "mlp_r2",
    "mlp_r2_between",
    "recall_at",
    "sap",
    "search_c",
    "spearman_ranks",
    "standardise",
    "zero_shot_accuracy",
]

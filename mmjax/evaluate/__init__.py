"""Metrics: pure functions of arrays. A new one is one function."""

from mmjax.evaluate.bootstrap import Interval, interval_of, paired_bootstrap, resampled_means
from mmjax.evaluate.components import excess_kurtosis, sparsity, top_rows
from mmjax.evaluate.decoded import Moves, decoded_moves
from mmjax.evaluate.disentanglement import DCI, Gap, dci, least_dci_rows, mig, sap
from mmjax.evaluate.few_shot import PROBES, Choice, check_shots, few_shot_rows, in_span, search_c
from mmjax.evaluate.geometry import Geometry, geometry_of
from mmjax.evaluate.identification import (
    correlations,
    least_mcc_rows,
    match,
    mcc,
    spearman_ranks,
)
from mmjax.evaluate.kernel_ridge import KernelScore, kernel_r2, kernel_r2_between
from mmjax.evaluate.linear_probes import (
    PROBE_TASKS,
    Labelled,
    Linear,
    ProbeTask,
    fit_multilabel,
    probe,
    ridge_fitter,
)
from mmjax.evaluate.logistic import (
    Logistic,
    fit_logistic,
    knn_accuracy,
    logistic_accuracy,
    zero_shot_accuracy,
)
from mmjax.evaluate.meaning import (
    half_waves,
    longer_side,
    monosemanticity,
    nearest_texts,
    top_classes,
)
from mmjax.evaluate.mlp_probe import mlp_accuracy, mlp_r2, mlp_r2_between
from mmjax.evaluate.probes import linear_probe_accuracy
from mmjax.evaluate.regression import linear_r2, linear_r2_between, standardise
from mmjax.evaluate.retrieval import recall_at
from mmjax.evaluate.scores import (
    F1Scores,
    accuracy,
    f1_scores,
    mean_recall,
    mean_squared_error,
)
from mmjax.evaluate.single import Single, fit_single, single_accuracies
from mmjax.evaluate.sparse_logistic import fit_sparse_logistic
from mmjax.evaluate.traversal import Response, attribute_response, nearest_rows, traversed

__all__ = [
    "Choice",
    "DCI",
    "F1Scores",
    "Gap",
    "Geometry",
    "Interval",
    "KernelScore",
    "Labelled",
    "Linear",
    "Logistic",
    "Moves",
    "PROBES",
    "PROBE_TASKS",
    "ProbeTask",
    "Response",
    "Single",
    "accuracy",
    "attribute_response",
    "check_shots",
    "correlations",
    "dci",
    "decoded_moves",
    "excess_kurtosis",
    "f1_scores",
    "few_shot_rows",
    "fit_logistic",
    "fit_multilabel",
    "fit_single",
    "fit_sparse_logistic",
    "geometry_of",
    "half_waves",
    "in_span",
    "interval_of",
    "kernel_r2",
    "kernel_r2_between",
    "knn_accuracy",
    "least_dci_rows",
    "least_mcc_rows",
    "linear_probe_accuracy",
    "linear_r2",
    "linear_r2_between",
    "logistic_accuracy",
    "longer_side",
    "match",
    "mcc",
    "mean_recall",
    "mean_squared_error",
    "mig",
    "mlp_accuracy",
    "mlp_r2",
    "mlp_r2_between",
    "monosemanticity",
    "nearest_rows",
    "nearest_texts",
    "paired_bootstrap",
    "probe",
    "recall_at",
    "resampled_means",
    "ridge_fitter",
    "sap",
    "search_c",
    "single_accuracies",
    "sparsity",
    "spearman_ranks",
    "standardise",
    "top_classes",
    "top_rows",
    "traversed",
    "zero_shot_accuracy",
]

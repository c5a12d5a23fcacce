"""Studies: a model, its observations, encoders, losses and metrics put together, for experiments
and notebooks alike."""

from mmjax.studies.paired import (
    PairOptions,
    PairStudy,
    chance_levels,
    make_pair_study,
    probe_accuracies,
    raw_features,
    retrieval,
)
from mmjax.studies.partial_causal import (
    Assumptions,
    Embedded,
    Study,
    identification_metrics,
    make_study,
    resolve,
    train_study,
)

__all__ = [
    "Assumptions",
    "Embedded",
    "PairOptions",
    "PairStudy",
    "Study",
    "chance_levels",
    "identification_metrics",
    "make_pair_study",
    "make_study",
    "probe_accuracies",
    "raw_features",
    "resolve",
    "retrieval",
    "train_study",
]

"""Studies: a model, its observations, encoders, losses and metrics put together, for experiments
and notebooks alike."""

from mmjax.studies.content_style import (
    PUBLISHED_RECIPE,
    ContentStyleOptions,
    ContentStyleStudy,
    make_content_style_study,
)
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
    "PUBLISHED_RECIPE",
    "Assumptions",
    "ContentStyleOptions",
    "ContentStyleStudy",
    "Embedded",
    "PairOptions",
    "PairStudy",
    "Study",
    "chance_levels",
    "identification_metrics",
    "make_content_style_study",
    "make_pair_study",
    "make_study",
    "probe_accuracies",
    "raw_features",
    "resolve",
    "retrieval",
    "train_study",
]

"""Studies: a model, its observations, encoders, losses and metrics put together, for experiments
and notebooks alike."""

from mmjax.studies.partial_causal import (
    Assumptions,
    Embedded,
    Study,
    identification_metrics,
    make_study,
    resolve,
)

__all__ = [
    "Assumptions",
    "Embedded",
    "Study",
    "identification_metrics",
    "make_study",
    "resolve",
]

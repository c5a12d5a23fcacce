"""Studies: a model, its observations, encoders, losses and metrics put together, for experiments
and notebooks alike."""

from mmjax.studies.content_style import (
    PUBLISHED_RECIPE,
    ContentStyleOptions,
    ContentStyleStudy,
    make_content_style_study,
)
from mmjax.studies.image_text import (
    SHARED,
    ImageTextOptions,
    ImageTextStudy,
    content_features,
    disentanglement_figures,
    embedded,
    factor_figures,
    factors_of,
    make_image_text_study,
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
from mmjax.studies.scene_data import (
    SceneData,
    held_source,
    loaded_scenes,
    rendered_scenes,
    sample_sheet,
    streamed_source,
)

__all__ = [
    "PUBLISHED_RECIPE",
    "SHARED",
    "Assumptions",
    "ContentStyleOptions",
    "ContentStyleStudy",
    "Embedded",
    "ImageTextOptions",
    "ImageTextStudy",
    "PairOptions",
    "PairStudy",
    "SceneData",
    "Study",
    "chance_levels",
    "content_features",
    "disentanglement_figures",
    "embedded",
    "factor_figures",
    "factors_of",
    "held_source",
    "identification_metrics",
    "loaded_scenes",
    "make_content_style_study",
    "make_image_text_study",
    "make_pair_study",
    "make_study",
    "probe_accuracies",
    "raw_features",
    "rendered_scenes",
    "sample_sheet",
    "resolve",
    "retrieval",
    "streamed_source",
    "train_study",
]

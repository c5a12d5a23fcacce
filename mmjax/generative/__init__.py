"""Causal models of pairs. A new one is one file."""

from mmjax.generative.content_style import (
    DEPENDENCES,
    Blocks,
    ContentStyleModel,
    Mechanisms,
    content_style_model,
    joined,
    permute_content,
)
from mmjax.generative.features import FeatureModel, FeaturePairs, feature_model
from mmjax.generative.partial_causal import (
    EDGES,
    PartialCausalModel,
    partial_causal_model,
)
from mmjax.generative.scenes import SceneModel, scene_model
from mmjax.generative.trifactors import (
    TriFactors,
    TriModel,
    TriWorld,
    draw_mapping,
    trifactor_model,
)

__all__ = [
    "DEPENDENCES",
    "EDGES",
    "Blocks",
    "ContentStyleModel",
    "FeatureModel",
    "FeaturePairs",
    "Mechanisms",
    "PartialCausalModel",
    "SceneModel",
    "TriFactors",
    "TriModel",
    "TriWorld",
    "content_style_model",
    "draw_mapping",
    "feature_model",
    "joined",
    "partial_causal_model",
    "permute_content",
    "scene_model",
    "trifactor_model",
]

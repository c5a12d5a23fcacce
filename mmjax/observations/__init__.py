"""How latents become observations. A new modality is one file."""

from mmjax.observations.augment import (
    IMAGE_AUGMENTATIONS,
    ImageAugmentation,
    SequenceAugmentation,
    augment_images,
    augment_sequences,
    augment_vectors,
)
from mmjax.observations.mixing import ACTIVATIONS, Mixing, invertible_mlp
from mmjax.observations.rendering import render, scene_mask
from mmjax.observations.trifeature import (
    TRIFEATURE_COLOURS,
    TrifeaturePose,
    draw_trifeature,
    render_trifeature,
)
from mmjax.observations.trifeature_masks import TRIFEATURE_SHAPES, TRIFEATURE_TEXTURES
from mmjax.observations.whitening import second_moment_whitening

__all__ = [
    "ACTIVATIONS",
    "IMAGE_AUGMENTATIONS",
    "ImageAugmentation",
    "Mixing",
    "SequenceAugmentation",
    "TRIFEATURE_COLOURS",
    "TRIFEATURE_SHAPES",
    "TRIFEATURE_TEXTURES",
    "TrifeaturePose",
    "augment_images",
    "augment_sequences",
    "augment_vectors",
    "draw_trifeature",
    "invertible_mlp",
    "render",
    "render_trifeature",
    "scene_mask",
    "second_moment_whitening",
]

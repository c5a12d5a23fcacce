"""Random views of observations, on the device. A new augmentation is one function of a key."""

from mmjax.observations.augment.colour import ColourFactors, apply_colours, colour_matrix
from mmjax.observations.augment.geometry import (
    Boxes,
    apply_matrices,
    blur_matrix,
    draw_boxes,
    resize_matrix,
)
from mmjax.observations.augment.images import (
    GENTLE,
    IMAGE_AUGMENTATIONS,
    SIMCLR,
    ImageAugmentation,
    augment_images,
)
from mmjax.observations.augment.sequences import (
    SequenceAugmentation,
    augment_sequences,
    augment_vectors,
)

__all__ = [
    "GENTLE",
    "IMAGE_AUGMENTATIONS",
    "SIMCLR",
    "Boxes",
    "ColourFactors",
    "ImageAugmentation",
    "SequenceAugmentation",
    "apply_colours",
    "apply_matrices",
    "augment_images",
    "augment_sequences",
    "augment_vectors",
    "blur_matrix",
    "colour_matrix",
    "draw_boxes",
    "resize_matrix",
]

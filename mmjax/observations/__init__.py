"""How latents become observations. A new modality is one file."""

from mmjax.observations.mixing import ACTIVATIONS, Mixing, invertible_mlp
from mmjax.observations.rendering import render, scene_mask
from mmjax.observations.whitening import second_moment_whitening

__all__ = [
    "ACTIVATIONS",
    "Mixing",
    "invertible_mlp",
    "render",
    "scene_mask",
    "second_moment_whitening",
]

"""How latents become observations. A new modality is one file."""

from mmjax.observations.mixing import ACTIVATIONS, Mixing, invertible_mlp

__all__ = ["ACTIVATIONS", "Mixing", "invertible_mlp"]

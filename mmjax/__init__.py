"""mmjax: the theory of multimodal contrastive learning, executable.

Layers, lowest first; a module imports only from lower ones (tests/test_layers.py):
types, numerics, errors -> spaces -> conditionals -> generative -> observations, data -> encoders ->
losses -> train -> evaluate -> report -> run.
"""

__version__ = "0.1.0"

"""Experiments: one file a published result. Run as `python -m experiments.NAME` from the root."""

import os

# LAPACK's threads wait for each other by spinning: beside other processes a small factorisation
# then takes seconds, not milliseconds. Products are JAX's own, and keep all cores.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

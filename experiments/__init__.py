"""Experiments: one file a published result. Run as `python -m experiments.NAME` from the root."""

"""Data on disk. A new data set is one file."""

from mmjax.data.npz import read_arrays
from mmjax.data.paired_files import SideNames, digit_halves, load_pairs
from mmjax.data.pairs import (
    Modality,
    PairedData,
    Scaling,
    encode_labels,
    fit_scaling,
    pair_source,
    standardised,
)

__all__ = [
    "Modality",
    "PairedData",
    "Scaling",
    "SideNames",
    "digit_halves",
    "encode_labels",
    "fit_scaling",
    "load_pairs",
    "pair_source",
    "read_arrays",
    "standardised",
]

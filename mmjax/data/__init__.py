"""Data on disk. A new data set is one file."""

from mmjax.data.captions import (
    Vocabulary,
    build_vocabulary,
    caption,
    caption_encoder,
    encode,
    scene_vocabulary,
    vocabulary_from_json,
    vocabulary_to_json,
)
from mmjax.data.export_3dident import write_split
from mmjax.data.features import Features, read_features
from mmjax.data.multimodal_3dident import SceneSplit, load_split
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
    "Features",
    "Modality",
    "PairedData",
    "Scaling",
    "SceneSplit",
    "SideNames",
    "Vocabulary",
    "build_vocabulary",
    "caption",
    "caption_encoder",
    "encode",
    "digit_halves",
    "encode_labels",
    "fit_scaling",
    "load_pairs",
    "load_split",
    "pair_source",
    "read_arrays",
    "read_features",
    "scene_vocabulary",
    "standardised",
    "vocabulary_from_json",
    "vocabulary_to_json",
    "write_split",
]

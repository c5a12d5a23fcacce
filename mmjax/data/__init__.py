"""Data: rows with what protects them. `files` are of one kind, `formats` any that a user has,
`sets` named ones, `clip` folders of a CLIP. A new format or data set is one file."""

from mmjax.data.clip.config import ClipConfig, ClipTower, read_clip_config
from mmjax.data.clip.folder import ClipModel, read_clip
from mmjax.data.clip.images import (
    ClipPixels,
    fit_image,
    image_batches,
    read_pixels,
    standardise_pixels,
)
from mmjax.data.clip.inputs import ClipInputs, read_inputs
from mmjax.data.clip.tokens import ClipTokenizer, read_tokenizer
from mmjax.data.exports import split_columns
from mmjax.data.feature_rows import FeatureSet, branch_size, feature_rows, joined_branches
from mmjax.data.feature_sets import (
    FeatureNames,
    branches_of,
    by_domain,
    class_codes,
    outside_groups,
    read_feature_set,
    remarks,
    repeats_in,
    stratified_split,
    unseen_rows,
    with_linked_rows,
)
from mmjax.data.features import read_column, read_features
from mmjax.data.few_shot_files import FewShotSet, read_few_shot, restricted, with_texts
from mmjax.data.few_shot_parts import LabelledRows, mean_texts
from mmjax.data.few_shot_shifts import read_domains, with_shifts
from mmjax.data.files.checks import finite, finite_float32, label_column, plain
from mmjax.data.files.npz import read_arrays
from mmjax.data.files.pickles import read_pickle
from mmjax.data.files.torch_files import read_torch
from mmjax.data.multimodal_npz import load_multimodal
from mmjax.data.pair_ids import content_ids, group_codes, linked_groups, random_split
from mmjax.data.paired_files import SideNames, digit_halves, load_pairs
from mmjax.data.pairs import (
    Modality,
    PairedData,
    datasets_of_pairs,
    paired,
    side_of,
    with_datasets,
)
from mmjax.data.scaling import Scaling
from mmjax.data.sets.av_mnist import load_av_mnist
from mmjax.data.sets.captions import (
    Vocabulary,
    build_vocabulary,
    caption,
    caption_encoder,
    caption_ids,
    encode,
    scene_vocabulary,
    vocabulary_from_json,
    vocabulary_to_json,
)
from mmjax.data.sets.export_3dident import write_split
from mmjax.data.sets.mimic import load_mimic
from mmjax.data.sets.mm_imdb import load_mm_imdb
from mmjax.data.sets.mm_imdb_hdf5 import load_mm_imdb_hdf5
from mmjax.data.sets.multibench_affect import load_affect
from mmjax.data.sets.multimodal_3dident import SceneSplit, load_split, remarks_on
from mmjax.data.sets.trifeature_gallery import (
    Gallery,
    PairPool,
    fixed_pairs,
    make_gallery,
    pair_pool,
    redrawn,
    sample_pairs,
    split_renderings,
    split_triples,
)
from mmjax.data.sets.vision_touch import load_vision_touch
from mmjax.data.values import Lazy, padded
from mmjax.labels import encode_labels

__all__ = [
    "ClipConfig",
    "ClipInputs",
    "ClipModel",
    "ClipPixels",
    "ClipTokenizer",
    "ClipTower",
    "FeatureNames",
    "FeatureSet",
    "FewShotSet",
    "Gallery",
    "LabelledRows",
    "Lazy",
    "PairPool",
    "Modality",
    "PairedData",
    "Scaling",
    "SceneSplit",
    "SideNames",
    "Vocabulary",
    "build_vocabulary",
    "branch_size",
    "branches_of",
    "by_domain",
    "caption",
    "caption_encoder",
    "caption_ids",
    "class_codes",
    "content_ids",
    "encode",
    "feature_rows",
    "digit_halves",
    "datasets_of_pairs",
    "encode_labels",
    "finite",
    "finite_float32",
    "fit_image",
    "fixed_pairs",
    "group_codes",
    "image_batches",
    "joined_branches",
    "label_column",
    "linked_groups",
    "mean_texts",
    "restricted",
    "with_shifts",
    "with_texts",
    "load_affect",
    "load_av_mnist",
    "load_mimic",
    "load_mm_imdb",
    "load_mm_imdb_hdf5",
    "load_multimodal",
    "load_pairs",
    "load_split",
    "load_vision_touch",
    "make_gallery",
    "padded",
    "outside_groups",
    "pair_pool",
    "paired",
    "random_split",
    "redrawn",
    "plain",
    "read_arrays",
    "read_column",
    "read_feature_set",
    "read_clip",
    "read_clip_config",
    "read_features",
    "read_domains",
    "read_few_shot",
    "read_inputs",
    "read_pickle",
    "read_torch",
    "read_pixels",
    "read_tokenizer",
    "remarks",
    "repeats_in",
    "remarks_on",
    "sample_pairs",
    "scene_vocabulary",
    "side_of",
    "with_datasets",
    "split_columns",
    "split_renderings",
    "split_triples",
    "standardise_pixels",
    "stratified_split",
    "unseen_rows",
    "vocabulary_from_json",
    "vocabulary_to_json",
    "with_linked_rows",
    "write_split",
]

"""What experiments on recorded modalities share: a data set fused by methods, its parts judged."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from mmjax.data import MultimodalData, split_size
from mmjax.encoders import single_and_joint_masks, subset_masks
from mmjax.errors import naming, require
from mmjax.run import Row, Run
from mmjax.studies.fused import FusedTask, make_fused_study
from mmjax.studies.multimodal_probes import (
    probe_splits,
    raw_features,
    raw_subset_features,
    split_subset_features,
)
from mmjax.tables.fused import Judge, control_rows, trained_rows

CONTROLS = ("raw", "untrained")
SUPERVISED = ("supcon", "factor_cl_supervised")
PARTS = ("train", "validation", "test")
STRENGTHS = tuple(10.0**k for k in range(3, -4, -1))  # 1 / C of probes, strong first


class Target(NamedTuple):
    """What is predicted.

    Attributes:
      kind: classification, multilabel or regression.
      classes: of classification.
      labels: part -> labels of the rows of a case, see Labelled.
    """

    kind: str
    classes: int
    labels: Mapping[str, np.ndarray]


def facts_of(data: MultimodalData) -> dict[str, Any]:
    """What a report tells of the data."""
    splits = {part: split for part in PARTS if (split := getattr(data, part)) is not None}
    rows = {f"{part} rows": split_size(split) for part, split in splits.items()}
    shapes = {
        f"modality {name}": str(tuple(values.shape[1:]))
        for name, values in data.train.modalities.items()
    }
    labels = {"labels": f"{data.kind}, {len(data.label_names)}"} if data.kind else {}
    return {"data set": data.name} | rows | shapes | labels


class Case(NamedTuple):
    """A data set to fuse and to judge.

    Attributes:
      name: of it in settings, behind the method and a /.
      task: what is trained on.
      data: the rows that are probed.
      targets: name -> Target.
      subsets: name -> `[modalities]` bool, what probes see; `joint` is all.
    """

    name: str
    task: FusedTask
    data: MultimodalData
    targets: Mapping[str, Target]
    subsets: Mapping[str, np.ndarray]


def target_of(data: MultimodalData) -> Target:
    """The data's own labels."""
    labels = {part: getattr(data, part).labels for part in PARTS if getattr(data, part)}
    return Target(data.kind, len(data.label_names), labels)


def named_subsets(names: Sequence[str], *, most: int = 3) -> dict[str, np.ndarray]:
    """Every subset of up to `most` modalities; of more, each alone and all of them: `joint`."""
    masks = subset_masks(len(names)) if len(names) <= most else single_and_joint_masks(len(names))
    masks = sorted(masks, key=lambda mask: mask.sum())  # stable
    found = {"+".join(np.array(names)[mask]): mask for mask in masks[:-1]}
    return found | {"joint": masks[-1]}


def judge_of(case: Case, limit: int) -> Judge:
    """Linear probes of every target from every subset; limit: training rows, at most."""

    def figures(place, constants, key, represent, read):
        masks, features, found = np.array(list(case.subsets.values())), {}, {}
        for part in PARTS:
            split = getattr(case.data, part)
            if split is not None and read is None:
                features[part] = raw_subset_features(split, masks)
            elif split is not None:
                features[part] = split_subset_features(read, split, masks)
        for number, subset in enumerate(case.subsets):
            own = {part: of_subsets[number] for part, of_subsets in features.items()}
            for name, target in case.targets.items():
                how = dict(num_classes=target.classes, limit=limit, strengths=STRENGTHS)
                told = probe_splits(target.kind, own, target.labels, **how)
                found |= {(subset, name, metric): value for metric, value in told.items()}
        return found

    return Judge(figures, raw_features)


def case_table(
    experiment: str,
    config: Any,
    case: Case,
    methods: Sequence[str],
    run: Run,
    *,
    limit: int,
    controls: Sequence[str] = CONTROLS,
    **network: Any,
) -> dict[str, Callable[..., list[Row]]]:
    """`method/case` -> what trains and judges it (see run_table); controls first.

    Args:
      experiment, config, run: see fused_runs.
      case: what is fused.
      methods: names in METHODS.
      limit: training rows that a probe sees.
      controls: raw, untrained.
      network: further arguments of make_fused_study.

    Raises InvalidInput for a method that needs classes where there are none, or another number of
    modalities; nothing has run then.
    """
    how = dict(chunk_steps=config.chunk_steps, save_every=config.save_every) | network
    studies = {"comm": make_fused_study(config, case.task, "comm", **how)}
    for method in methods:
        known = case.task.classes > 1 or method not in SUPERVISED
        require(known, "methods", method, "one that needs no classes with this data")
        with naming(f"methods: {method}"):
            studies[method] = make_fused_study(config, case.task, method, **how)
            jax.eval_shape(studies[method].init_params, jax.random.key(0))  # traced, not run

    judge = judge_of(case, limit)

    def control(name, setting, log):
        return control_rows(experiment, config, case.task, studies["comm"], judge, run, setting)

    def trained(method, setting, log):
        study = studies[method]
        return trained_rows(experiment, config, case.task, study, judge, run, log, setting=setting)

    table = {f"{c}/{case.name}": partial(control, c, f"{c}/{case.name}") for c in controls}
    for method in methods:
        table[f"{method}/{case.name}"] = partial(trained, method, f"{method}/{case.name}")
    return table

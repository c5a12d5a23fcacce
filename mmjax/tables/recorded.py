"""What experiments on recorded modalities share: a data set fused by methods, its parts judged."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from mmjax.data.dataset import LABEL, SPLITS, Dataset
from mmjax.data.scaling import lost_in_float32
from mmjax.encoders import single_and_joint_masks, subset_masks
from mmjax.errors import naming, require
from mmjax.nets.prepare import Preparation
from mmjax.run import Row, Run
from mmjax.studies.fused import FusedTask, make_fused_study
from mmjax.studies.multimodal_probes import (
    probe_splits,
    raw_features,
    raw_subset_features,
    subset_features_of,
)
from mmjax.tables.fused import Judge, control_rows, trained_rows

CONTROLS = ("raw", "untrained")
SUPERVISED = ("supcon", "factor_cl_supervised")
STRENGTHS = tuple(10.0**k for k in range(3, -4, -1))  # 1 / C of probes, strong first


class Target(NamedTuple):
    """What is predicted.

    Attributes:
      kind: classification, multilabel or regression.
      classes: of classification.
      columns: of the labels of a case's data: one, or one a label or target.
      offsets: what is taken off targets that float32 would round away, one a column; none: 0.
    """

    kind: str
    classes: int
    columns: Sequence[str] = (LABEL,)
    offsets: Sequence[float] = ()


class Case(NamedTuple):
    """A data set to fuse and to judge.

    Attributes:
      name: of it in settings, behind the method and a /.
      task: what is trained on.
      data: the rows that are probed.
      preparations: of its modalities, as in training.
      targets: name -> Target.
      subsets: name -> `[modalities]` bool, what probes see; `joint` is all.
    """

    name: str
    task: FusedTask
    data: Dataset
    preparations: Mapping[str, Preparation]
    targets: Mapping[str, Target]
    subsets: Mapping[str, np.ndarray]


def target_of(data: Dataset, kind: str) -> Target:
    """The data's own labels."""
    columns = tuple(data.labels)
    classes = int(data.labels[LABEL].max()) + 1 if kind == "classification" else len(columns)
    if kind != "regression":
        return Target(kind, classes, columns)
    values = [data.labels[name] for name in columns]
    offsets = tuple(float(v.mean()) if lost_in_float32(v).any() else 0.0 for v in values)
    return Target(kind, classes, columns, offsets)


def labels_of(data: Dataset, target: Target) -> np.ndarray:
    """`[n]` int32 codes of classes, `[n, labels]` int32 of 0 and 1, or `[n, targets]` float32."""
    dtype = np.float32 if target.kind == "regression" else np.int32
    offsets = target.offsets or [0] * len(target.columns)
    columns = [data.labels[name] for name in target.columns]
    columns = [
        column - off if off else column for column, off in zip(columns, offsets, strict=True)
    ]
    values = np.stack([column.astype(dtype) for column in columns], 1)
    return values[:, 0] if target.kind == "classification" else values


def most_frequent(case: Case, target: str) -> float:
    """Share of the most frequent class among test rows: what a guess reaches."""
    codes = labels_of(case.data.part("test"), case.targets[target])
    return float(np.bincount(codes).max() / len(codes))


def named_subsets(names: Sequence[str], *, most: int = 3) -> dict[str, np.ndarray]:
    """Every subset of up to `most` modalities; of more, each alone and all of them: `joint`.

    Raises InvalidInput where a modality is called as a subset of others is.
    """
    masks = subset_masks(len(names)) if len(names) <= most else single_and_joint_masks(len(names))
    ordered = sorted(masks, key=lambda mask: mask.sum())  # stable
    called = ["+".join(np.array(names)[mask]) for mask in ordered[:-1]] + ["joint"]
    for name in called:
        message = "a name of its own: a subset of modalities is called so in the tables"
        require(called.count(name) == 1, "modality", name, message)
    return dict(zip(called, ordered, strict=True))


def judge_of(case: Case, limit: int) -> Judge:
    """Linear probes of every target from every subset; limit: training rows, at most."""

    parts = {name: case.data.part(name) for name in SPLITS}
    parts = {name: part for name, part in parts.items() if part.num_rows}
    prepared = {name: case.preparations[name] for name in case.data.columns}

    def figures(place, constants, key, represent, read):
        masks, features = np.array(list(case.subsets.values())), {}
        results: dict[tuple[str, str, str], float] = {}
        for name, part in parts.items():
            if read is None:
                features[name] = raw_subset_features(part, prepared, masks)
            else:
                features[name] = subset_features_of(read, part, prepared, masks)
        for number, subset in enumerate(case.subsets):
            seen = {part: of_subsets[number] for part, of_subsets in features.items()}
            for name, target in case.targets.items():
                options: Any = dict(num_classes=target.classes, limit=limit, strengths=STRENGTHS)
                labels: Any = {k: labels_of(part, target) for k, part in parts.items()}
                scores = probe_splits(target.kind, seen, labels, **options)
                results |= {(subset, name, metric): value for metric, value in scores.items()}
        return results

    return Judge(figures, raw_features(prepared))


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
    options = dict(chunk_steps=config.chunk_steps, save_every=config.save_every) | network
    studies = {"comm": make_fused_study(config, case.task, "comm", **options)}
    for method in methods:
        known = case.task.classes > 1 or method not in SUPERVISED
        require(known, "methods", method, "one that needs no classes with this data")
        with naming(f"methods: {method}"):
            studies[method] = make_fused_study(config, case.task, method, **options)
            jax.eval_shape(studies[method].init_params, jax.random.key(0))  # traced, not run

    judge = judge_of(case, limit)

    def control(name, setting, log):
        return control_rows(experiment, config, case.task, studies["comm"], judge, run, setting)

    def trained(method, setting, log):
        study = studies[method]
        return trained_rows(experiment, config, case.task, study, judge, run, log, setting=setting)

    table: dict[str, Callable[..., list[Row]]] = {
        f"{c}/{case.name}": partial(control, c, f"{c}/{case.name}") for c in controls
    }
    for method in methods:
        table[f"{method}/{case.name}"] = partial(trained, method, f"{method}/{case.name}")
    return table

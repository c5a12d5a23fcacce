"""MIMIC-III as MultiBench prepares it (`im.pk`): five static features, 24 hours of 12 others.

    {"ep_tdata": [n, 24, 12], "adm_features_all": [n, 5], "adm_labels_all": [n, >= 6],
     "y_icd9": [n, 20]}

The file itself needs PhysioNet's credentials.
"""

import random
from collections.abc import Mapping
from typing import Any

import numpy as np

from mmjax.data.dataset import LABEL, SPLITS, Dataset
from mmjax.data.files.checks import check_finite
from mmjax.data.files.pickles import read_pickle
from mmjax.data.scaling import standardised_by
from mmjax.data.values import as_array
from mmjax.errors import InvalidInput, require

MORTALITY = -1
_SHAPES = {
    "adm_features_all": "[n, features]",
    "ep_tdata": "[n, steps, features]",
    "adm_labels_all": "[n, 6 or more]",
    "y_icd9": "[n, codes]",
}


def load_mimic(path: str, *, task: int = 7) -> Dataset:
    """Reads im.pk: modalities static `[n, 5]` and series `[n, 24, 12]`, float32.

    NaN and infinity become 0, then features are standardised with the training rows' statistics
    (MultiBench's own reader takes all rows'). A tenth of the rows each is validation and test.

    Args:
      path: the file; nothing in it is run (`read_pickle`).
      task: a column of y_icd9, two classes (CoMM: 7, diseases of the respiratory system by the
        groups of ICD-9); -1: mortality, the first k from 1 to 5 where adm_labels_all is positive,
        0 where none is.

    Raises InvalidInput, naming the file and array, for a missing or oddly shaped array, labels that
    are no 0 or 1, a task that is not there, or fewer than 10 rows.
    """
    result = read_pickle(path)
    arrays = _arrays(path, result, ("adm_features_all", "ep_tdata", _label_array(task)))
    n = len(arrays["ep_tdata"])
    labels = _labels(path, arrays[_label_array(task)], task)
    order = list(range(n))
    random.Random(10).shuffle(order)  # the same rows as in MultiBench
    tenth = n // 10
    rows = np.array([*order[2 * tenth :], *order[:tenth], *order[tenth : 2 * tenth]])
    split = np.repeat(SPLITS, [n - 2 * tenth, tenth, tenth])

    def prepared(values):
        clean = np.nan_to_num(values.astype(np.float64), nan=0, posinf=0, neginf=0)
        return standardised_by(clean[rows], split == "train")

    return Dataset.from_arrays(
        static=prepared(arrays["adm_features_all"]),
        series=prepared(arrays["ep_tdata"]),
        labels={LABEL: labels[rows]},
        split=split,
        name="MIMIC",
    ).also_by(rows)


def _label_array(task: int) -> str:
    return "adm_labels_all" if task == MORTALITY else "y_icd9"


def _arrays(path: str, stored: Any, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    missing = [name for name in names if not isinstance(stored, Mapping) or name not in stored]
    if missing:
        raise InvalidInput(f"{path}: no {', '.join(missing)}; use a dict of arrays")
    arrays = {name: as_array(f"{path}: {name}", stored[name]) for name in names}
    n = arrays["ep_tdata"].shape[:1]
    for name, array in arrays.items():
        axes = 3 if name == "ep_tdata" else 2
        if array.dtype.kind not in "biuf" or array.ndim != axes or 0 in array.shape:
            raise InvalidInput(
                f"{path}: {name} is {array.dtype} {array.shape}; use numbers {_SHAPES[name]}"
            )
        if array.shape[:1] != n:
            raise InvalidInput(f"{path}: {name} has {len(array)} rows, ep_tdata has {n[0]}")
    require(n[0] >= 10, path, f"{n[0]} rows", "10 or more, for a tenth is validation and test")
    return arrays


def _labels(path: str, array: np.ndarray, task: int) -> np.ndarray:
    if task == MORTALITY:
        if array.shape[1] < 6:
            raise InvalidInput(
                f"{path}: adm_labels_all has {array.shape[1]} columns; use 6 or more"
            )
        check_finite(f"{path}: adm_labels_all", array)
        positive = array[:, 1:6] > 0
        return np.where(positive.any(1), 1 + positive.argmax(1), 0).astype(np.int32)
    codes = array.shape[1]
    require(0 <= task < codes, "task", task, f"-1 for mortality, or 0 to {codes - 1}")
    if not np.isin(array[:, task], (0, 1)).all():
        row = int(np.argmin(np.isin(array[:, task], (0, 1))))
        raise InvalidInput(
            f"{path}: y_icd9 is {array[row, task]} in row {row}, column {task}; use 0 or 1"
        )
    return array[:, task].astype(np.int32)

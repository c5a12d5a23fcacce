"""What an export of features says of its rows, so that nobody tests on what was trained on."""

import numpy as np

from mmjax.errors import require

_SPLITS = ("train", "validation", "test")
# The row of t that a row of either side is paired with, or is; -1 where pairs are drawn by label.
PAIR_LIST = "pair_list"


def split_columns(split: str | np.ndarray, group: np.ndarray) -> dict[str, np.ndarray]:
    """The columns of provenance of exported rows, arrays of an .npz by name.

    Args:
      split: `[rows]` strings or one for all: train (the encoder saw it), validation (something was
        chosen by it) or test (nothing was fitted on it).
      group: `[rows]` int; rows of one group are the same recording, or belong to it.

    Returns:
      split `[rows]` strings, group `[rows]` int64, is_test `[rows]` bool.

    Raises InvalidInput for another name of a split.
    """
    group = np.asarray(group, np.int64)
    split = np.broadcast_to(np.asarray(split, np.str_), group.shape).copy()
    strange = np.setdiff1d(split, _SPLITS)
    require(not strange.size, "split", list(strange), ", ".join(_SPLITS))
    return dict(split=split, group=group, is_test=split == "test")

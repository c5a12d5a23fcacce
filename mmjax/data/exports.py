"""What an export of features says of its rows, so that nobody tests on what was trained on."""

import numpy as np

from mmjax.errors import require

SPLITS = ("train", "validation", "test")


def split_columns(split: str | np.ndarray, group: np.ndarray) -> dict[str, np.ndarray]:
    """The columns of provenance of exported rows, arrays of an .npz by name.

    Args:
      split: `[rows]` strings or one for all, of SPLITS: test rows are those that nothing was
        fitted on; the encoder saw train, and something was chosen by validation.
      group: `[rows]` int; rows of one group are the same recording, or belong to it.

    Returns:
      split `[rows]` strings, group `[rows]` int64, is_test `[rows]` bool.

    Raises InvalidInput for another name of a split.
    """
    group = np.asarray(group, np.int64)
    split = np.broadcast_to(np.asarray(split, np.str_), group.shape).copy()
    strange = np.setdiff1d(split, SPLITS)
    require(not strange.size, "split", list(strange), ", ".join(SPLITS))
    return dict(split=split, group=group, is_test=split == "test")

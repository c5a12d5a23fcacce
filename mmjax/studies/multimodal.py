"""Fusions of the rows of a Dataset: every epoch sees each of them, augmented twice.

Row i of all modalities belongs together, or data sets pair by label, each with rows of its own.
What is in memory lies on the device; what stays in files (Lazy) is read ahead by threads.
"""

from collections.abc import Mapping, Sequence

from mmjax.data.dataset import Dataset
from mmjax.errors import require
from mmjax.nets.prepare import Preparation, example_of, preparations_of
from mmjax.studies.fused import FusedTask
from mmjax.studies.recorded import Recorded
from mmjax.train.rows import rows_of


def multimodal_task(
    data: Dataset | Sequence[Dataset],
    recorded: Mapping[str, Recorded],
    preparations: Mapping[str, Preparation] | None = None,
    *,
    label: str = "",
    pairs: str = "",
) -> FusedTask:
    """The task of fusing rows of split train.

    Args:
      data: one data set, whose rows pair as they are; or several, which pair by label: to a row of
        the first one belong rows of the others that are drawn anew each time among all training
        rows of its label. In the order of the fusion.
      recorded: name of a modality -> what is done with it, of all modalities of all data sets.
      preparations: of all modalities; None: fitted on the training rows.
      label: column of int codes of classes, of the first data set, for supervised methods; empty:
        there are none.
      pairs: column that several data sets pair by.

    Returns:
      The task, of the same constants for all seeds. Only training rows are in it. What a row lacks
      is in none of its views, and the loss leaves it out.

    Raises InvalidInput where modalities are missing or doubled, and where data sets can't be paired
    by label.
    """
    sides = [data] if isinstance(data, Dataset) else list(data)
    names = [name for side in sides for name in side.columns]
    good = len(set(names)) == len(names) and set(names) == set(recorded)
    require(good, "modalities", tuple(recorded), "each of " + ", ".join(names) + " once")
    parts = [side.part("train") for side in sides]
    if preparations is None:
        preparations = {k: p for part in parts for k, p in preparations_of(part).items()}
    kept = {name: preparations[name] for name in names}
    augment = {name: recorded[name].augment for name in names}
    rows = rows_of(parts, kept, augment, label=label, pairs=pairs)

    def observe(batch):
        seen = rows.look(batch)
        views = tuple(tuple(view[name] for name in names) for view in seen.views)
        results = {"views": views, "ids": seen.ids, "present": seen.present}
        return results | ({"labels": seen.labels} if label else {})

    return FusedTask(
        [recorded[name].modality for name in names],
        tuple(example_of(kept[name]) for name in names),
        lambda key: rows.constants,
        lambda constants, key, n, fed: rows.source(constants, key, fed),
        int(sides[0].labels[label].max()) + 1 if label else 1,
        True,
        observe,
        names,
        rows.feed,
    )

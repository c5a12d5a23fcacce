"""Which rows may be judged, and their embeddings: of a model, or of a file that one has written."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mmjax.data.dataset import Dataset, parted
from mmjax.data.groups import PARTED
from mmjax.data.hashes import known_by_name
from mmjax.data.scaling import features_in_float32
from mmjax.errors import InvalidInput, choose, counted, require
from mmjax.models.asked import check_switch
from mmjax.models.model import Model, embedded, known_by
from mmjax.nets.embedders import ALL
from mmjax.nets.prepare import check_data, values_of


class Judged(NamedTuple):
    """Rows that a figure may be computed on.

    Attributes:
      fit: `[n]` bool, rows that a probe may be fitted on.
      score: `[n]` bool, rows that are judged.
      remarks: how they came about.
    """

    fit: np.ndarray
    score: np.ndarray
    remarks: tuple[str, ...]


def judged_rows(
    model: Model, data: Dataset, use_trained_rows: bool, names: Sequence[str] | None = None
) -> Judged:
    """Probes are fitted on the rows of split train, and judged on those of test. Test rows of which
    a modality was trained on (an image with another caption) are left out, and told.

    Args:
      model, data: those of a figure.
      use_trained_rows: judges also rows that were trained on.
      names: modalities that are judged; None: all of the model's.

    Raises InvalidInput where the model was trained on test rows, unless use_trained_rows, and where
    no rows are left.
    """
    check_switch("use_trained_rows", use_trained_rows)
    check_data(data, model.spec.preparations)
    score = data.split == "test"
    if not score.any():
        raise InvalidInput(f"{data.name}: no rows of split test; they are what is judged")
    known = known_by(model, data, score, names)
    trained, held = known.rows & score, known.by
    remarks: tuple[str, ...] = ()
    if known.refused and not use_trained_rows:
        raise InvalidInput(
            f"{data.name}: {int(trained.sum())} of {int(score.sum())} rows of split test are rows "
            "that the model was trained on; use rows that it has not seen, or use_trained_rows=True"
        )
    partly = score & np.any([*held.values(), trained], axis=0)
    if use_trained_rows and partly.any():
        remarks = (_trained_rows(partly, score),)
    elif partly.any():
        of = ", ".join(name for name, rows in held.items() if (rows & score).any())
        rows = f"{int(partly.sum())} of {counted(int(score.sum()), 'row')} of split test"
        if not (score & ~partly).any():
            raise InvalidInput(
                f"{data.name}: the model was trained on what all rows of split test hold in {of}; "
                "use rows that it has not seen, other modalities, or use_trained_rows=True"
            )
        remarks = (f"{rows} left out: the model was trained on what they hold in {of}",)
        score = score & ~partly
    fit = (data.split == "train") & ~np.isin(data.groups, data.groups[score])
    told = {line.split(":")[0] for line in known.remarks}
    split = [line for line in _of_split(data, score) if line.split(":")[0] not in told]
    return Judged(fit, score, (*remarks, *known.remarks, *_of_files(model, data), *split))


def _of_files(model: Model, data: Dataset) -> list[str]:
    """What can't be seen of files that were not read for it."""
    named = {*model.spec.about.get("by_name", ()), *known_by_name(data)}
    names = ", ".join(name for name in model.modalities if name in named & set(data.columns))
    said = "files are known by their names: a training file's copy, or its contents in memory"
    return [f"{names}: {said}, would be judged as new"] if names else []


def _of_split(data: Dataset, judged: np.ndarray) -> list[str]:
    """What is to be told of recordings that the split parts, and of those that it may."""
    return [line for line in data.remarks if PARTED in line] + parted(data, judged)


def _trained_rows(trained: np.ndarray, judged: np.ndarray) -> str:
    """The mark of figures that are partly of training rows."""
    return f"TRAINED ROWS: {int(trained.sum())} of {counted(int(judged.sum()), 'judged row')}"


def features_of(
    model: Model, data: Dataset, modalities: Sequence[str] | None = None
) -> dict[str, np.ndarray]:
    """Embeddings by name, `[n, dim]` each, and `all` side by side where there are several."""
    if model.is_fused:
        require(modalities is None, "modalities", modalities, "None for a fusion")
        return embedded(model, data.only(*(n for n in model.modalities if n in data.columns)))
    names = modalities_of(model, data, modalities)
    result = embedded(model, data.only(*names))
    return result | ({ALL: np.concatenate(list(result.values()), 1)} if len(names) > 1 else {})


def modalities_of(model: Model, data: Dataset, modalities: Sequence[str] | None) -> list[str]:
    """Names of the model's modalities that the data have, or those asked for."""
    names = [n for n in modalities or model.modalities if n in data.columns or modalities]
    for name in names:
        choose(dict(data.columns), "modality", name)
        choose(dict(model.spec.nets), "modality", name)
    form = ",".join(f"{name}:COLUMN" for name in model.modalities)
    allowed = f"those of the model, of which modalities={form} tells the columns"
    require(bool(names), "modalities", ", ".join(data.columns), allowed)
    return names


def embeddings_and_rows(
    model: Model | None, data: Dataset, modalities: Sequence[str] | None, use_trained_rows: bool
) -> tuple[dict[str, np.ndarray], Judged]:
    """What is judged, and on which rows; without a model, the data are embeddings themselves.

    Raises InvalidInput as judged_rows does.
    """
    if model is not None:
        rows = judged_rows(model, data, use_trained_rows, modalities)
        return features_of(model, data, modalities), rows
    return _exported(data, modalities), _rows_of_export(data, use_trained_rows)


def _rows_of_export(data: Dataset, use_trained_rows: bool) -> Judged:
    """As judged_rows. In an export split train is what its encoder was trained on."""
    check_switch("use_trained_rows", use_trained_rows)
    score = data.split == "test"
    if use_trained_rows:
        # What fits a probe is judged by none: half of the groups, whatever their split.
        half = _half(data.groups)
        return Judged(half, ~half, (_trained_rows(~score & ~half, ~half),))
    if not score.any():
        raise InvalidInput(f"{data.name}: no rows of split test; they are what is judged")
    fitted = (data.split == "train") & ~np.isin(data.groups, data.groups[score])
    return Judged(fitted, score, tuple(_of_split(data, score)))


def _half(groups: np.ndarray) -> np.ndarray:
    """`[n]` bool: rows of half of the groups, drawn at random once for all."""
    kinds = np.unique(groups)
    return np.isin(groups, np.random.default_rng(0).permutation(kinds)[: (len(kinds) + 1) // 2])


def _exported(data: Dataset, modalities: Sequence[str] | None) -> dict[str, np.ndarray]:
    results = {}
    for name in modalities or data.columns:
        column = choose(dict(data.columns), "modality", name)
        fits = column.kind == "features"
        require(
            fits,
            f"kind of {name}",
            column.kind,
            "embeddings, features [n, f] (of experiments.embed), or give the model (--model=)",
        )
        here = data.present.get(name, np.ones(data.num_rows, bool))
        values = features_in_float32(values_of(column, np.flatnonzero(here)))
        results[name] = np.full((data.num_rows, values.shape[1]), np.nan, np.float32)
        results[name][here] = values
    if len(results) > 1:
        results[ALL] = np.concatenate(list(results.values()), 1)
    return results

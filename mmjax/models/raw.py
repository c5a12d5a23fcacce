"""What the networks see as vectors: the baseline that figures of embeddings are set beside."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mmjax.data.dataset import Dataset
from mmjax.data.values import Lazy
from mmjax.models.model import Model
from mmjax.models.rows import modalities_of
from mmjax.nets.embedders import ALL, JOINT
from mmjax.nets.prepare import Preparation, prepared_rows

_MOST = 2**16  # values a row beyond which they are no baseline: their probe takes minutes
_KEPT = 256  # principal components that a probe reads, where there are more values


class Raw(NamedTuple):
    """Raw values of the rows of a data set.

    Attributes:
      values: modality, and `all` or `joint` of them side by side -> `[n, f]` float32; NaN for what
        rows lack.
      remarks: what these are of sequences, and why a modality has none.
    """

    values: Mapping[str, np.ndarray]
    remarks: tuple[str, ...]


def raw_values(model: Model, data: Dataset, modalities: Sequence[str] | None = None) -> Raw:
    """What the networks see as vectors, of modalities of numbers.

    Of sequences of one length these are all steps side by side; of several lengths, or too many
    values, mean and standard deviation over the steps that are there.
    """
    results, remarks, without = {}, [], []
    names = modalities_of(model, data, modalities)
    for name in names:
        p = model.spec.preparations[name]
        if why := _none_of(data, name, p):
            without.append(f"{name}: {why}")
            continue
        out, how = _vectors(data, name, p)
        remarks += [how] if how else []
        here = data.present.get(name)
        results[name] = out if here is None else np.where(here[:, None], out, np.nan)
    whole = JOINT if model.is_fused else ALL
    width = sum(x.shape[1] for x in results.values())
    if len(results) > 1 and width <= _MOST:
        results[whole] = np.concatenate(list(results.values()), 1)
    elif len(results) == 1 and model.is_fused:
        results[whole] = next(iter(results.values()))
    elif len(results) > 1:
        without.append(f"{whole}: {_too_many(width)}")
    elif len(names) > 1:
        without.append(f"{whole}: fewer than two have raw values")
    remarks += [f"raw: none of {'; '.join(without)}"] if without else []
    return Raw(results, tuple(remarks))


def _too_many(width: int) -> str:
    return f"{width:,} values a row, more than {_MOST:,}"


def _none_of(data: Dataset, name: str, p: Preparation) -> str:
    """Why a modality has no raw values; empty where it has."""
    column = data.columns[name]
    if p.kind == "text":
        return "text is no vector of numbers"
    if isinstance(column.values, Lazy):
        return "its rows stay in files"
    width = int(np.prod(column.values.shape[1:]))
    return _too_many(width) if width > _MOST and p.kind != "sequence" else ""


def _vectors(data: Dataset, name: str, p: Preparation) -> tuple[np.ndarray, str]:
    """`[n, f]` float32 of all rows, and how they came about where that is a choice."""
    prepared = prepared_rows(data.only(name), {name: p}, np.arange(data.num_rows))[name]
    out: Any = prepared["values"].astype(np.float32)
    out = out / 255 if prepared["values"].dtype == np.uint8 else out
    if p.kind != "sequence":
        return out.reshape(len(out), -1), ""
    if not p.padded and int(np.prod(out.shape[1:])) <= _MOST:
        return out.reshape(len(out), -1), f"raw: of {name} all {out.shape[1]} steps side by side"
    seen = prepared.get("seen", np.ones(out.shape[:2], bool))[..., None]
    count = np.maximum(seen.sum(1), 1)
    mean = (out * seen).sum(1) / count
    spread = np.sqrt((((out - mean[:, None]) * seen) ** 2).sum(1) / count)
    how = f"raw: of {name} mean and standard deviation over its steps, not every step"
    return np.concatenate([mean, spread], 1).astype(np.float32), how


def components_remark(raw: Mapping[str, np.ndarray]) -> list[str]:
    """What a probe reads of raw values where they are shortened (see shortened)."""
    wide = [f"{name} ({x.shape[1]:,})" for name, x in raw.items() if x.shape[1] > _KEPT]
    message = f"the probe reads a row's leading principal components, {_KEPT} at most"
    return [f"raw: of {', '.join(wide)} {message}"] if wide else []


def widths_remark(raw: Mapping[str, np.ndarray], names: Collection[str]) -> list[str]:
    """That retrieval has no raw lines between modalities of different widths."""
    widths = {name: x.shape[1] for name, x in raw.items() if name in names}
    if len(set(widths.values())) < 2:
        return []
    of = ", ".join(f"{name} has {width:,}" for name, width in widths.items())
    return [f"raw: no line between modalities with different numbers of values a row ({of})"]


def shortened(x: np.ndarray, fit: np.ndarray) -> np.ndarray:
    """`[n, f]` as its leading principal components of the fitting rows, if there are many columns:
    turned, in _KEPT columns that all vary alike.

    A probe sees no rotation, but takes every column in its own unit: of the components themselves
    the last ones, which are noise, would be as loud as the first.

    Args:
      x: raw values; rows with NaN stay so.
      fit: `[n]` bool, the fitting rows.
    """
    from scipy.linalg import hadamard
    from sklearn.decomposition import PCA  # heavy, and only needed here

    if x.shape[1] <= _KEPT:
        return x
    rows = x[fit & np.isfinite(x).all(1)]
    spread = rows.std(0)
    scale = np.maximum(spread, 0.1 * np.sqrt(np.mean(spread**2)) + 1e-12)
    rows, x = rows / scale, x / scale
    kept = max(1, min(_KEPT, len(rows) - 1))
    result = PCA(kept, svd_solver="randomized", random_state=0).fit(rows)
    out = np.full((len(x), _KEPT), np.nan, np.float32)
    whole = np.isfinite(x).all(1)
    turn = hadamard(_KEPT)[:kept] / np.sqrt(_KEPT)
    out[whole] = result.transform(x[whole]) @ turn
    return out

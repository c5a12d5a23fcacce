"""What can be read of embeddings: probes and retrieval, on rows that nothing has seen."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mmjax.data.dataset import Dataset, is_classes
from mmjax.data.scaling import features_in_float32
from mmjax.errors import InvalidInput, choose, counted, require, told_if_slow
from mmjax.evaluate import Labelled, recall_at
from mmjax.evaluate import probe as linear_probe
from mmjax.labels import encode_labels
from mmjax.models.asked import check_asked, check_names, check_numbers
from mmjax.models.model import Model, embedded
from mmjax.models.raw import Raw, components_remark, raw_values, shortened, widths_remark
from mmjax.models.rows import Judged, embeddings_and_rows, judged_rows
from mmjax.nets.embedders import JOINT

_CHOSEN_ON = 0.2  # share of the fitting rows that the penalty is chosen on
_STRENGTHS = (1e3, 1e2, 1e1, 1e0, 1e-1)  # of the probes' L2 penalty
_MAX_STEPS = 100  # of each fit


class ProbeFigures(NamedTuple):
    """What linear probes read of a label.

    Attributes:
      label: its name.
      metric: accuracy, or r2 of quantities.
      embedding: name (a modality, `all` of them side by side, or `joint`) -> figure in the
        embedding.
      raw: modality (or `all`) -> the same probe on what the network sees (see raw_values); of text,
        streamed rows and very large ones there is none, and a remark says so.
      chance: share of the most frequent class among the judged rows; 0 of r2, which one judged row
        does not have.
      fitted: rows the probes were fitted on.
      scored: rows that were judged: no encoder and no probe has seen them.
      remarks: sentences that belong beside the figures.
      partial: name -> (judged rows, chance among these), where some rows lack what it is made of:
        its figures are of the others.
    """

    label: str
    metric: str
    embedding: Mapping[str, float]
    raw: Mapping[str, float]
    chance: float
    fitted: int
    scored: int
    remarks: tuple[str, ...] = ()
    partial: Mapping[str, tuple[int, float]] = {}

    def __str__(self) -> str:
        fitted = counted(self.fitted, "row")
        title = f"{self.label}, {self.metric} of a linear probe ({fitted} fitted, "
        return table(f"{title}{self.scored} judged)", *lines_of(self), self.remarks)


class RetrievalFigures(NamedTuple):
    """How often the partner in another modality is among the nearest.

    Attributes:
      recall: `(query, candidates) -> {1: .., 5: .., 10: ..}` of held-out rows.
      raw: the same on what the networks see, where both sides have one width; else empty.
      chance: k -> recall of a guess, over all pairs of modalities.
      scored: rows.
      remarks: sentences that belong beside the figures.
    """

    recall: Mapping[tuple[str, str], Mapping[int, float]]
    raw: Mapping[tuple[str, str], Mapping[int, float]]
    chance: Mapping[int, float]
    scored: int
    remarks: tuple[str, ...] = ()

    def __str__(self) -> str:
        ks = tuple(self.chance)
        rows = [(f"{a} -> {b}", *(of[k] for k in ks)) for (a, b), of in self.recall.items()]
        rows += [(f"{a} -> {b}, raw", *(of[k] for k in ks)) for (a, b), of in self.raw.items()]
        rows.append(("chance", *(self.chance[k] for k in ks)))
        title = f"retrieval among {counted(self.scored, 'held-out row')}"
        return table(title, ("", *(f"recall@{k}" for k in ks)), rows, self.remarks)


def chance_of(figures: ProbeFigures, name: str) -> float:
    """Chance level of the rows that this name's figures are of."""
    return figures.partial.get(name, (0, figures.chance))[1]


def lines_of(figures: ProbeFigures) -> tuple[tuple[str, ...], list[tuple[str | float | None, ...]]]:
    """Header and lines of a probe as a table: a line a name, with its rows where they differ."""
    header: tuple[str, ...] = ("", "embedding", "raw", "chance")
    rows: list[tuple[str | float | None, ...]] = []
    for name, value in figures.embedding.items():
        judged = str(figures.partial.get(name, (figures.scored,))[0])
        results = (name, value, figures.raw.get(name), chance_of(figures, name))
        rows.append((*results, judged) if figures.partial else results)
    return (*header, "rows") if figures.partial else header, rows


def show(value: float | str | None) -> str:
    """A figure of a table: what is None or NaN, because nothing tells it, is a dash."""
    if isinstance(value, str):
        return value
    return "-" if value is None or value != value else f"{value:.3f}"


def table(
    title: str, header: Sequence[str], rows: Sequence[Sequence], remarks: Sequence[str]
) -> str:
    """Figures as aligned text, see show."""
    cells = [list(header), *([show(v) for v in row] for row in rows)]
    widths = [max(len(row[k]) for row in cells) for k in range(len(header))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in cells]
    return "\n".join([title, *(line.rstrip() for line in lines), *remarks])


WAIT = "{}: compiling, then judging; the first call of a process may take half a minute"


@told_if_slow(WAIT.format("probe"))
def probe(
    model: Model | None,
    data: Dataset,
    label: str,
    *,
    modalities: Sequence[str] | None = None,
    use_trained_rows: bool = False,
    raw: bool = True,
) -> ProbeFigures:
    """What a linear probe reads of a label from the embeddings, on held-out rows.

    The probe is fitted on rows of split train (a fifth of whose groups chooses its penalty) and
    judged on rows of split test, which neither the model nor the probe has seen.

    Args:
      model: see fit; None where the data are embeddings themselves, of `experiments.embed`.
      data: rows with that label; where all are test rows, half of their groups fit the probe.
      label: a column of classes or quantities.
      modalities: of towers, which to probe; None: each, and all side by side.
      use_trained_rows: judges also test rows that the model was trained on, and says so.
      raw: whether the same probe is fitted on what the networks see.

    Raises InvalidInput for an unknown label, or rows that the model was trained on.
    """
    check_asked(data, model=model, bare=True)
    choose(dict(data.labels), "label", label)
    options: Any = dict(modalities=modalities, use_trained_rows=use_trained_rows, raw=raw)
    return probing(model, data, **options)(label)


def probing(
    model: Model | None,
    data: Dataset,
    *,
    modalities: Sequence[str] | None = None,
    use_trained_rows: bool = False,
    raw: bool = True,
) -> Callable[[str], ProbeFigures]:
    """`probe` as a function of the label: rows are embedded once, whatever is read of them."""
    check_asked(data, model=model, bare=True)
    check_names("modalities", modalities)
    features, rows = embeddings_and_rows(model, data, modalities, use_trained_rows)
    if model is None:
        inputs = Raw({}, ("raw: none; these are embeddings, without what they were made of",))
    else:
        asked = "raw: none was asked for (raw=False)"
        inputs = raw_values(model, data, modalities) if raw else Raw({}, (asked,))
    rows = rows._replace(remarks=(*rows.remarks, *inputs.remarks))
    beside = inputs.values
    return lambda label: probe_features(features, beside, data.labels[label], data, label, rows)


def probe_features(
    features: Mapping[str, np.ndarray],
    raw: Mapping[str, np.ndarray],
    values: np.ndarray,
    data: Dataset,
    label: str,
    rows: Judged,
) -> ProbeFigures:
    """The figures of `probe` of any features `[n, f]`, by name; rows with NaN are left out."""
    classes = is_classes(values)
    targets = encode_labels(values)[0] if classes else features_in_float32(values[:, None])
    remarks = list(rows.remarks)
    fit, score = rows.fit, rows.score
    enough = fit.sum() >= 4
    names_groups = classes and enough and not np.isin(targets[score], targets[fit]).any()
    if not enough or names_groups:
        by = np.arange(int(score.sum())) if names_groups else data.groups[score]
        half, places = _by_groups(by, 0.5), np.flatnonzero(score)
        fit, score = np.zeros_like(fit), np.zeros_like(score)
        fit[places[half]], score[places[~half]] = True, True
        why = f"no training row has a class of {label}" if names_groups else "no training rows"
        remarks.append(f"{why}: half of the held-out rows fit the probe, the others are judged")
    kinds = len(np.unique(targets[fit]))
    if classes and kinds < 2:
        held = f"{counted(int(fit.sum()), 'fitting row')} of {counted(kinds, 'class', 'classes')}"
        raise InvalidInput(f"label {label}: {held}; use rows of two classes or more")
    if classes and (unseen := int((~np.isin(targets[score], targets[fit])).sum())):
        remarks.append(
            f"{unseen} of {int(score.sum())} judged rows are of classes without a fitted row"
        )
    choosing = np.zeros_like(fit)
    by = np.arange(int(fit.sum())) if names_groups else data.groups[fit]
    choosing[np.flatnonzero(fit)[_by_groups(by, _CHOSEN_ON)]] = True
    task = "classification" if classes else "regression"
    metric = "accuracy" if classes else "r2"

    base_of = {name: shortened(x, fit) for name, x in raw.items()}
    width = _width([*features.values(), *base_of.values()], len(data.split))

    def figure(x):
        whole = np.isfinite(x).all(1)
        of = lambda part: Labelled(_padded(x[part & whole], width), targets[part & whole])
        parts = of(fit & ~choosing), of(choosing), of(score)
        if min(len(part.labels) for part in parts) < 1:
            return float("nan")
        count = int(targets.max()) + 1 if classes else None
        count = count and max(2, count)
        options: Any = dict(num_classes=count, strengths=_STRENGTHS, max_steps=_MAX_STEPS)
        return float(linear_probe(task, *parts, **options)[metric])

    results = {name: figure(x) for name, x in features.items()}
    base = {name: figure(x) for name, x in base_of.items()}
    remarks += components_remark(raw)
    most = lambda rows: float(np.bincount(targets[rows], minlength=1).max() / max(1, rows.sum()))
    chance = lambda rows: most(rows) if classes else 0.0
    here = {name: score & np.isfinite(x).all(1) for name, x in features.items()}
    counts = {name: int(rows.sum()) for name, rows in here.items()}
    parts = {"fitting": fit & ~choosing, "choosing": choosing, "judged": score}
    remarks += [line for name, x in features.items() for line in _lacking(name, x, parts)]
    if not classes:
        said = "no figure; 1 judged row, r2 takes two or more"
        remarks += [f"{name}: {said}" for name, count in counts.items() if count == 1]
    fewer = any(count < score.sum() for count in counts.values())
    partial = {name: (counts[name], chance(here[name])) for name in here} if fewer else {}
    of = int(fit.sum()), int(score.sum()), tuple(remarks)
    return ProbeFigures(label, metric, results, base, chance(score), *of, partial)


def _lacking(name: str, x: np.ndarray, parts: Mapping[str, np.ndarray]) -> list[str]:
    """Why a name has no figure: parts of the rows that none is in."""
    whole = np.isfinite(x).all(1)
    empty = [what for what, rows in parts.items() if not (rows & whole).any()]
    whole_too = all(rows.any() for rows in parts.values())
    why = f"has {name}" if whole_too else "is left: they are of too few groups"
    return [f"{name}: no figure; no {' and no '.join(empty)} row {why}"] if empty else []


_SMALL = 2**19  # numbers whose probe takes less time than to compile another


def _width(tables: Sequence[np.ndarray], rows: int) -> int:
    """To which all are padded, so that one program is compiled; 0 where that costs more."""
    widest = max(x.shape[1] for x in tables)
    return widest if widest * rows <= _SMALL else 0


def _padded(x: np.ndarray, width: int) -> np.ndarray:
    """Columns of zeros, up to a power of two: they change no probe, and few shapes are compiled."""
    width = max(16, 1 << (max(width, x.shape[1]) - 1).bit_length())
    return np.pad(x, ((0, 0), (0, width - x.shape[1])))


def _by_groups(groups: np.ndarray, share: float) -> np.ndarray:
    """`[n]` bool: whole groups in a fixed order of their own until about a share of rows."""
    codes = np.unique(groups, return_inverse=True)[1].reshape(-1)
    order = np.random.default_rng(0).permutation(codes.max() + 1)
    ends = np.cumsum(np.bincount(codes)[order])
    taken = order[: max(1, int(np.searchsorted(ends, share * len(codes), side="right")))]
    if len(taken) == len(order):
        taken = taken[:-1]
    return np.isin(codes, taken)


def retrieval(
    model: Model, data: Dataset, *, use_trained_rows: bool = False, ks: Sequence[int] = (1, 5, 10)
) -> RetrievalFigures:
    """Recall of partners across modalities, on held-out rows, in all directions.

    Right is every row that shares an id with the query: any caption of the image. Of a fusion the
    representations of single modalities are compared.

    Args:
      model: see fit.
      data: rows with two or more of its modalities.
      use_trained_rows: judges also test rows that the model was trained on, and says so.
      ks: numbers of answers.

    Raises InvalidInput for fewer than two modalities, or rows that the model was trained on.
    """
    check_asked(data, model=model)
    ks = check_numbers("ks", ks)
    names = [name for name in model.modalities if name in data.columns]
    rows = judged_rows(model, data, use_trained_rows)
    few = counted(len(names), "modality", "modalities")
    require(len(names) > 1, "retrieval", few, "two or more of the model's")
    held = data.take(rows.score)
    if model.is_fused:
        results = {name: embedded(model, held.only(name))[JOINT] for name in names}
    else:
        results = embedded(model, held.only(*names))
    base, of_raw = raw_values(model, held)
    right = np.zeros((held.num_rows, held.num_rows), bool)
    for column in held.ids.T:
        right |= column[:, None] == column[None, :]
    here = {n: held.present.get(n, np.ones(held.num_rows, bool)) for n in names}
    recall, raw, sizes, remarks = {}, {}, [], [*rows.remarks, *of_raw]
    for a in names:
        for b in (b for b in names if b != a):
            rest = here[a] & here[b]
            correct = right[np.ix_(rest, rest)]
            if not rest.all() and names.index(a) < names.index(b):
                remarks.append(f"{a} and {b}: {counted(int(rest.sum()), 'row')} with both")
            if not rest.any():
                recall[a, b] = dict.fromkeys(ks, float("nan"))
                continue
            sizes.append([_chances(correct.sum(1), len(correct), k) for k in ks])
            score = lambda of, a=a, b=b, rest=rest: _unit(of[a][rest]) @ _unit(of[b][rest]).T
            one = lambda s, correct=correct: {k: float(recall_at(s, k, right=correct)) for k in ks}
            recall[a, b] = one(score(results))
            if a in base and b in base and base[a].shape[1] == base[b].shape[1]:
                raw[a, b] = one(score(base))
    remarks += widths_remark(base, names)
    if not sizes:
        raise InvalidInput(f"{data.name}: no row of split test has two of {', '.join(names)}")
    chance = {k: float(np.mean(np.concatenate(of))) for k, *of in zip(ks, *sizes, strict=True)}
    return RetrievalFigures(recall, raw, chance, held.num_rows, tuple(remarks))


def _chances(right: np.ndarray, rows: int, k: int) -> np.ndarray:
    """`[n]` share of rankings by chance with one of so many right rows among the first k."""
    drawn = np.arange(min(k, rows))
    return 1 - np.prod(np.maximum(rows - right[:, None] - drawn, 0) / (rows - drawn), axis=1)


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)

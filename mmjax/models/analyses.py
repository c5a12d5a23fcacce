"""Beyond a single probe: dimensions, components, and a page about a model."""

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from mmjax.data.dataset import Dataset, facts_of, is_classes
from mmjax.data.scaling import features_in_float32
from mmjax.disentangle import UNMIXINGS, components, determined
from mmjax.errors import choose, counted, require, say, told_if_slow, whole
from mmjax.evaluate import dci, excess_kurtosis, least_dci_rows, sap
from mmjax.labels import encode_labels
from mmjax.models.asked import check_asked, check_names, check_numbers, check_page
from mmjax.models.figures import (
    WAIT,
    ProbeFigures,
    RetrievalFigures,
    chance_of,
    lines_of,
    probing,
    retrieval,
    show,
    table,
)
from mmjax.models.fit import fit
from mmjax.models.model import Model
from mmjax.models.rows import embeddings_and_rows
from mmjax.report import Page, Section, Table, markdown_table, render
from mmjax.run.files import atomic_write
from mmjax.types import Key


class SweepFigures(NamedTuple):
    """Figures by dimension of the embeddings.

    Attributes:
      probes: dim -> label -> ProbeFigures.
      models: dim -> Model.
    """

    probes: Mapping[int, Mapping[str, ProbeFigures]]
    models: Mapping[int, Model]

    def __str__(self) -> str:
        dims = sorted(self.probes)
        rows = []
        for label, first in self.probes[dims[0]].items():
            for name in first.embedding:
                figures = [self.probes[d][label].embedding.get(name) for d in dims]
                rows.append((label, name, *figures, first.raw.get(name), chance_of(first, name)))
        header = ("label", "of", *(f"dim {d}" for d in dims), "raw", "chance")
        scored = {label: first.scored for label, first in self.probes[dims[0]].items()}
        several = len(set(scored.values())) > 1
        told = ", ".join(f"{label} {n}" for label, n in scored.items()) if several else ""
        told = told or counted(next(iter(scored.values())), "held-out row")
        by_line: dict[str, list[str]] = {}
        for label, first in self.probes[dims[0]].items():
            for line in first.remarks:
                by_line.setdefault(line, []).append(label)
        remarks = [
            line if len(labels) == len(scored) else f"{', '.join(labels)}: {line}"
            for line, labels in by_line.items()
        ]
        return table(f"linear probes by dimension ({told} judged)", header, rows, remarks)


def sweep(
    data: Dataset,
    *,
    dims: Sequence[int],
    key: Key,
    labels: Sequence[str] | None = None,
    workdir: str | None = None,
    **options: Any,
) -> SweepFigures:
    """Fits a model of every dimension, and probes it: what is kept, and what is dropped.

    A shared factor stays at any dimension; a private one is dropped by a small embedding.

    Args:
      data: see fit.
      dims: of the embeddings, each >= 1.
      key: root of all; every dimension has the same data order and seeds of its own weights.
      labels: to probe; None: all of the data.
      workdir: a folder a dimension is made in it; see fit.
      options: further ones of fit.

    Raises InvalidInput as fit and probe do, and for data without labels.
    """
    check_asked(data, key=key)
    check_names("labels", labels)
    names = tuple(data.labels) if labels is None else tuple(labels)
    require(bool(names), "labels", names, "one or more columns to probe")
    dims = check_numbers("dims", dims)
    for name in names:
        choose(dict(data.labels), "label", name)
    models, probes = {}, {}
    for dim in dims:
        if options.get("progress", True):
            say(f"sweep: dim={dim}")
        folder = workdir and os.path.join(workdir, f"dim={dim}")
        models[dim] = fit(data, dim=dim, key=key, workdir=folder, **options)
        read = probing(models[dim], data)
        probes[dim] = {name: read(name) for name in names}
    return SweepFigures(probes, models)


class DisentangleFigures(NamedTuple):
    """Components of embeddings after unmixing, on held-out rows.

    Attributes:
      figures: method (as they are, PCA, whitening, FastICA) -> metric -> value: `kurtosis`, the
        mean excess over components; with labels `dci`, `completeness` and `sap`: how far a factor
        is told by one component alone; None where too few rows are judged to tell.
      chance: the same of a random rotation of the whitened embeddings.
      of: whose embeddings.
      fitted: rows the maps were fitted on, without labels.
      scored: rows that were judged.
      remarks: sentences that belong beside the figures.
    """

    figures: Mapping[str, Mapping[str, float | None]]
    chance: Mapping[str, float | None]
    of: str
    fitted: int
    scored: int
    remarks: tuple[str, ...] = ()

    def __str__(self) -> str:
        metrics = list(self.chance)
        rows = [(name, *(of[m] for m in metrics)) for name, of in self.figures.items()]
        rows.append(("random rotation", *(self.chance[m] for m in metrics)))
        fitted = counted(self.fitted, "row")
        title = f"components of {self.of} ({fitted} fitted, {self.scored} judged)"
        return table(title, ("", *metrics), rows, self.remarks)


_METHODS = {
    "as they are": "none",
    "PCA": "pca",
    "whitening": "whitening",
    "FastICA": "ica",
}


@told_if_slow(WAIT.format("disentangle"))
def disentangle(
    model: Model | None,
    data: Dataset,
    *,
    key: Key,
    of: str | None = None,
    num_components: int | None = None,
    labels: Sequence[str] | None = None,
    use_trained_rows: bool = False,
) -> DisentangleFigures:
    """Unmixes embeddings by what their statistics tell, and judges single components.

    Maps are fitted on the embeddings of rows of split train, without labels, and judged on those of
    split test. Called by its room: `mmjax.disentangle(model, data, key=key)`.

    Args:
      model: see fit; None where the data are embeddings themselves, of `experiments.embed`.
      data: rows of its modalities.
      key: of FastICA's start and of the random rotation.
      of: a modality of towers, or all; `joint` of a fusion. None: the first.
      num_components: of the maps, 1 to what the rows determine; None: as many as that.
      labels: factors that components are judged by; None: all columns of classes and quantities.
      use_trained_rows: see probe.

    Raises InvalidInput for an unknown name, a number of components out of range, or rows that the
    model was trained on.
    """
    check_asked(data, model=model, bare=True, key=key)
    check_names("labels", labels)
    result, rows = embeddings_and_rows(model, data, None, use_trained_rows)
    of = next(iter(result)) if of is None else of
    x = choose(result, "of", of)
    here = np.isfinite(x).all(1)
    names = list(data.labels) if labels is None else labels
    names, judged, one_each = _one_a_group(data, names, rows.score & here)
    fit_x, score_x = x[rows.fit & here], x[judged]
    for few, least, what in ((fit_x, 4, "training"), (score_x, 1, "test")):
        said = counted(len(few), f"{what} row")
        require(len(few) >= least, "data", f"{said} with {of}", f"{least} or more")
    remarks = [*rows.remarks, *one_each]
    if len(result) > 1:
        others = ", ".join(name for name in result if name != of)
        remarks.append(f"of {of}; of= chooses another: {others}")
    factors = _factors(data, names, judged, remarks)
    k = determined(jax.numpy.asarray(fit_x))
    if num_components is not None:
        k = whole("num_components", num_components, most=k)
    asked = bool(data.labels) if labels is None else bool(labels)
    least, wide = (least_dci_rows(n, factors) if factors else 0 for n in (k, x.shape[1]))
    said = counted(len(score_x), "judged row")
    if len(score_x) < _LEAST:
        remarks.append(f"{said}: too few for kurtosis, use {_LEAST} or more")
    for wanted, what in ((least, ""), (wide, " of the embeddings as they are")):
        if len(score_x) < wanted:
            remarks.append(f"{said}: too few for dci{what}, use {wanted} or more")
            break
    if len(factors) == 1:
        remarks.append("one label: no component can hold two, so that dci would be 1 or 0")
    ica_key, turn_key, split_key = jax.random.split(key, 3)
    figures: dict[str, Mapping[str, float | None]] = {}
    white: Any = None
    for name, unmixing in _METHODS.items():
        affine = UNMIXINGS[unmixing](jax.numpy.asarray(fit_x), ica_key, k)
        y = components(affine, score_x)
        white = y if unmixing == "whitening" else white
        figures[name] = _figures(y, factors, split_key, asked)
    turn = jax.random.orthogonal(turn_key, white.shape[1])
    chance = _figures(white @ turn, factors, split_key, asked)
    random, enough = chance.get("dci") or 0, 4 * len(turn) * least
    if random > _NO_CHANCE and len(score_x) < enough:
        few = f"{counted(len(score_x), 'judged row')}; {enough} would compare better"
        remarks.append(f"a random rotation has a dci of {random:.2f} by {few}")
    return DisentangleFigures(figures, chance, of, len(fit_x), len(score_x), tuple(remarks))


_NO_CHANCE = 0.8  # dci of a random rotation: by few rows only the largest weights are seen
_LEAST = 4  # rows of a kurtosis: of two it is -2, of three -1.5, whatever they are
_HANDFUL = 5  # rows of each of two classes, or of a quantity, that components are judged by


def _one_a_group(
    data: Dataset, names: Sequence[str], rows: np.ndarray
) -> tuple[Sequence[str], np.ndarray, list[str]]:
    """Labels and judged rows `[n]` bool of which copies tell nothing new, and a line on it.

    Where a label is the same in all rows of a group, as of views of one recording, a row drawn of
    each group is judged. Where that costs most rows and other labels differ, these are judged.
    """
    drawn = np.random.default_rng(0).permutation(np.flatnonzero(rows))
    kinds, first, group = np.unique(data.groups[drawn], return_index=True, return_inverse=True)
    chosen, alike = drawn[first], []
    for name in names:
        codes = np.unique(choose(dict(data.labels), "label", name), return_inverse=True)[1]
        if (codes[drawn] == codes[chosen][group.reshape(-1)]).all():
            alike.append(name)
    if len(kinds) == len(drawn) or not alike:
        return names, rows, []
    of = f"{', '.join(alike)} {'is' if len(alike) == 1 else 'are'} the same in all rows of a group"
    rest = [name for name in names if name not in alike]
    if rest and 2 * len(kinds) < len(drawn):
        return rest, rows, [f"left out: {of}; labels={alike} judges a row of each"]
    judged = np.zeros_like(rows)
    judged[chosen] = True
    rows_of = f"{len(chosen)} of {counted(len(drawn), 'row')}"
    return names, judged, [f"{rows_of} judged, one a group: {of}"]


def _factors(
    data: Dataset, names: Any, rows: np.ndarray, remarks: list[str]
) -> dict[str, np.ndarray]:
    """The labels of the judged rows that tell something; those that don't are told."""
    results = {}
    for name in names:
        values = choose(dict(data.labels), "label", name)
        classes = is_classes(values)
        column = features_in_float32(values[:, None])[:, 0] if not classes else values
        judged = (encode_labels(column)[0] if classes else column)[rows]
        counts = np.sort(np.unique(judged, return_counts=True)[1])[::-1]
        enough = len(counts) > 1 and (counts[1] if classes else len(judged)) >= _HANDFUL
        if enough:
            results[name] = judged
        else:
            of = "of two classes" if classes else "of different values"
            remarks.append(f"label {name} is left out: it needs {_HANDFUL} judged rows {of}")
    return results


def _figures(
    y: jax.Array, factors: Mapping[str, Any], key: Key, asked: bool
) -> dict[str, float | None]:
    """Of components `[n, k]`; None for what can't be told of so few rows or labels."""
    tails = float(np.mean(excess_kurtosis(y))) if len(y) >= _LEAST else None
    figures: dict[str, float | None] = {"kurtosis": tails}
    if asked:
        figures |= dict.fromkeys(("dci", "completeness", "sap"))
    if factors and len(y) >= least_dci_rows(y.shape[1], factors):
        scores = dci(y, factors, split_key=key)
        figures["dci"] = float(scores.disentanglement) if len(factors) > 1 else None
        figures["completeness"] = float(scores.completeness)
    if factors:
        figures["sap"] = float(sap(y, factors, split_key=key).mean)
    return figures


class ReportFigures(NamedTuple):
    """All that is known of a model on a data set.

    Attributes:
      model: in a line.
      data: in a line.
      probes: label -> ProbeFigures.
      retrieval: RetrievalFigures, or None for a single modality.
      path: of the page that was written, or empty.
    """

    model: str
    data: str
    probes: Mapping[str, ProbeFigures]
    retrieval: RetrievalFigures | None
    path: str = ""

    def __str__(self) -> str:
        parts = [self.model, self.data, *map(str, self.probes.values())]
        parts += [str(self.retrieval)] if self.retrieval else []
        return "\n\n".join(parts + ([f"written to {self.path}"] if self.path else []))


@told_if_slow(WAIT.format("report"))
def report(
    model: Model,
    data: Dataset,
    path: str | os.PathLike[str] = "",
    *,
    use_trained_rows: bool = False,
) -> ReportFigures:
    """Probes of all labels and retrieval, on held-out rows, as figures and as a page.

    Called by its room: `mmjax.report(model, data)`.

    Args:
      model: see fit.
      data: rows of its modalities.
      path: a page to write: HTML where it ends in .html, one file that needs no network, else
        markdown; empty writes none.
      use_trained_rows: see probe.

    Raises InvalidInput as probe and retrieval do.
    """
    check_asked(data, model=model)
    path = check_page(path)
    several = sum(name in data.columns for name in model.modalities) > 1
    read = probing(model, data, use_trained_rows=use_trained_rows) if data.labels else None
    probes = {name: read(name) for name in data.labels} if read else {}
    result = retrieval(model, data, use_trained_rows=use_trained_rows) if several else None
    figures = ReportFigures(str(model), data.summary, probes, result, path)
    if path:
        html = path.lower().endswith((".html", ".htm"))
        atomic_write(path, render(_html(figures, model, data)) if html else _page(figures))
    return figures


def _html(figures: ReportFigures, model: Model, data: Dataset) -> Page:
    """The same as a page, with the model's training and the data."""
    about = model.spec.about
    facts = {name: str(about[name]) for name in ("loss", "steps") if name in about}
    hashed = {"hash of the training rows": about["data_hash"]} if about.get("data_hash") else {}
    remarks = [*about.get("remarks", ()), *data.remarks]
    lines = [[name, str(value)] for name, value in (facts_of(data) | hashed).items()]
    return Page(
        figures.data,
        "What do this model's embeddings keep?",
        {"model": figures.model} | facts,
        [],
        False,
        [
            Section("Results", text=_page(figures)),
            Section("Warnings", items=list(dict.fromkeys(map(str, remarks))) or ["None."]),
            Section("Data", tables=[Table(["", ""], lines)]),
        ],
    )


def _page(figures: ReportFigures) -> str:
    lines = [f"# {figures.data}", "", figures.model, ""]
    for label, p in figures.probes.items():
        judged = counted(p.scored, "row")
        lines += [f"## {label}", "", f"{p.metric} of linear probes, {judged} judged", ""]
        head, body = lines_of(p)
        rows = [tuple(map(show, line)) for line in body]
        lines += [markdown_table(head, rows), "", *p.remarks, ""]
    if r := figures.retrieval:
        results: list[tuple[str, ...]] = [
            (f"{a} to {b}", *(show(v) for v in of.values())) for (a, b), of in r.recall.items()
        ]
        results.append(("chance", *(show(v) for v in r.chance.values())))
        header = ("", *(f"recall@{k}" for k in r.chance))
        lines += [
            f"## retrieval, {counted(r.scored, 'row')}",
            "",
            markdown_table(header, results),
            "",
            *r.remarks,
        ]
    return "\n".join(lines).rstrip() + "\n"

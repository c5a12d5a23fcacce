"""Where frozen features come from, and what counts as source, validation, test and shift."""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.config import names_in, option
from mmjax.data import (
    FeatureNames,
    FeatureSet,
    by_domain,
    class_codes,
    joined_branches,
    read_feature_set,
    remarks,
    stratified_split,
)
from mmjax.errors import InvalidInput, require
from mmjax.generative import feature_model
from mmjax.numerics import normalise
from mmjax.studies.frozen import Rows, Source


@dataclasses.dataclass(frozen=True)
class FeatureOptions:
    """Files of features, and how their rows are divided."""

    features: str = option(
        "", "file of the first modality's features; empty: generated ones", file=True
    )
    generated: int = option(4000, "rows of generated features, and of each of their shifts")
    values: str = option("", "name of the features' array in it; empty: the usual names")
    labels: str = option("", "name of its labels; empty: the usual names")
    names: str = option("", "name of its rows' names; empty: the usual names")
    text: str = option(
        "", "file of the second modality, paired by row; empty: the same file", file=True
    )
    text_values: str = option("", "name of the second modality's array; empty: no second one")
    validation: str = option("", "file of validation rows; empty: a share of --features", file=True)
    test: str = option(
        "", "file of the source's test rows; empty: a share of --features", file=True
    )
    shifted: str = option("", "comma-separated files of shifted test sets", file=True)
    domains: str = option("", "name of an array of domains: other domains are shifted test sets")
    source: str = option("", "the domain to learn from; empty: each in turn")
    validation_share: float = option(0.2, "share of rows for validation, where no file is named")
    test_share: float = option(0.3, "share of rows for the source's test, where no file is named")
    normalise: bool = option(False, "features are scaled to unit length first")
    latents: str = option("", "name of an array of true latents [n, d], to be compared with")
    attributes: str = option("", "comma-separated names of arrays of attributes, for traversals")
    images: str = option("", "name of an array of the rows' images, uint8 [n, h, w, 3]")


class FeatureWorld(NamedTuple):
    """All that a run sees.

    Attributes:
      name: of the data, for titles.
      whole: all rows of the source file(s).
      sources: prefix of settings -> branch -> Source; empty where there are no labels.
      classes: their names, by code; None without labels.
      remarks: what is odd about the features.
    """

    name: str
    whole: FeatureSet
    sources: Mapping[str, Mapping[str, Source]]
    classes: np.ndarray | None
    remarks: list[str]


def _column_names(o: FeatureOptions) -> FeatureNames:
    extra = tuple(n for n in (o.domains, o.latents, *names_in(o.attributes), o.images) if n)
    return FeatureNames(o.values, o.labels, o.names, o.text_values, extra)


def _scaled(features: FeatureSet, unit: bool) -> FeatureSet:
    if not unit:
        return features
    sides = {k: np.asarray(normalise(jnp.asarray(v))) for k, v in features.branches.items()}
    return features._replace(branches=joined_branches(sides["x"], sides.get("t")))


def generated_features(seed: int, n: int) -> tuple[FeatureSet, dict[str, FeatureSet]]:
    """A source of features with known latents, and two domains where nuisances are larger."""
    # The seed's own key is folded with purposes elsewhere, and `split` gives what `fold_in` gives.
    data_key = jax.random.fold_in(jax.random.key(seed), 2**32 - 2)
    model_key, *keys = jax.random.split(data_key, 4)
    model = feature_model(model_key)

    def draw(key, nuisance):
        pairs = jax.tree.map(np.asarray, jax.jit(model.sample, static_argnums=1)(key, n, nuisance))
        names = np.array([f"row {k}, class {c}" for k, c in enumerate(pairs.label)])
        branches = joined_branches(pairs.image, pairs.text)
        return FeatureSet(branches, pairs.label, names, {"latents": pairs.latents})

    shifted = {f"nuisance x {s}": draw(k, s) for s, k in zip((2.0, 4.0), keys[1:], strict=True)}
    return draw(keys[0], 1.0), shifted


def read_world(options: FeatureOptions, seed: int) -> FeatureWorld:
    """Reads and divides what the options name.

    Raises InvalidInput for files or options that don't fit.
    """
    o = options
    for name in ("validation_share", "test_share"):
        require(0 < getattr(o, name) < 1, name, getattr(o, name), "a number in (0, 1)")
    total = o.validation_share + o.test_share
    require(total < 1, "validation_share, test_share", total, "a sum below 1")
    if not o.features:
        require(o.generated >= 64, "generated", o.generated, "a whole number >= 64")
        whole, shifted = generated_features(seed, o.generated)
        name = "generated features"
    else:
        names = _column_names(o)
        read = lambda path, extra=(): read_feature_set(path, names._replace(extra=extra))
        whole = read_feature_set(o.features, names, o.text)
        shifted = {path: read(path) for path in names_in(o.shifted)}
        name = o.features
    told = remarks(whole.branches["x"])
    whole = _scaled(whole, o.normalise)
    if whole.labels is None:
        return FeatureWorld(name, whole, {}, None, [*told, "no labels: nothing is classified"])
    classes = np.unique(whole.labels)
    require(len(classes) >= 2, "labels", str(classes[0]), "two or more classes")
    shifted = {path: _scaled(rows, o.normalise) for path, rows in shifted.items()}
    if o.domains:
        domains = by_domain(whole, o.domains)
        chosen = f"{o.domains}={o.source}"
        allowed = f"one of {', '.join(d.partition('=')[2] for d in domains)}"
        require(not o.source or chosen in domains, "source", o.source, allowed)
        parts = {d: whole.rows(rows) for d, rows in domains.items()}
        sources = {
            f"from {d}/": _sources(
                o, own, {**{k: v for k, v in parts.items() if k != d}, **shifted}
            )
            for d, own in parts.items()
            if not o.source or d == chosen
        }
    else:
        sources = {"": _sources(o, whole, shifted)}
    coded = {
        prefix: {branch: _coded(source, classes) for branch, source in branches.items()}
        for prefix, branches in sources.items()
    }
    return FeatureWorld(name, whole, coded, classes, told)


def _sources(o: FeatureOptions, own: FeatureSet, shifted: Mapping[str, FeatureSet]):
    """Branch -> Source with labels as in the files."""
    names = FeatureNames(o.values, o.labels, o.names, o.text_values)
    given = {
        part: _scaled(read_feature_set(path, names), o.normalise)
        for part, path in (("validation", o.validation), ("test", o.test))
        if path
    }
    free = [part for part in ("validation", "test") if part not in given]
    shares = [getattr(o, f"{part}_share") for part in free]
    *cut, rest = stratified_split(own.labels, shares, 0)
    parts = {part: own.rows(rows) for part, rows in zip(free, cut, strict=True)} | given
    parts["train"] = own.rows(rest)
    for path, rows in {**given, **shifted}.items():
        if rows.labels is None:
            raise InvalidInput(f"{path}: no labels; name their array with --labels")

    def source(branch):
        pick = lambda rows: Rows(rows.branches[branch], rows.labels)
        tests = {"source": pick(parts["test"])}
        tests |= {name: pick(rows) for name, rows in shifted.items()}
        widths = {v.x.shape[1] for v in (pick(parts["train"]), *tests.values())}
        if len(widths) > 1:
            raise InvalidInput(f"features: the files have {sorted(widths)} columns; use equal ones")
        return Source(pick(parts["train"]), pick(parts["validation"]), tests, 0)

    return {branch: source(branch) for branch in own.branches}


def _coded(source: Source, classes: np.ndarray) -> Source:
    def coded(rows: Rows, where: str) -> Rows:
        codes = class_codes(rows.labels, classes, where)
        return Rows(jnp.asarray(rows.x), jnp.asarray(codes))

    tests = {name: coded(rows, name) for name, rows in source.tests.items()}
    return Source(
        coded(source.train, "train"), coded(source.validation, "validation"), tests, len(classes)
    )

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
    branch_size,
    branches_of,
    by_domain,
    class_codes,
    feature_rows,
    outside_groups,
    read_feature_set,
    remarks,
    repeats_in,
    stratified_split,
    unseen_rows,
    with_linked_rows,
)
from mmjax.data.columns import Column
from mmjax.data.dataset import LABEL
from mmjax.data.pair_ids import alike
from mmjax.errors import InvalidInput, given, require
from mmjax.evaluate import check_shots
from mmjax.generative import feature_model
from mmjax.numerics import normalise
from mmjax.studies.frozen import Rows, Source

TRAINED = "trained rows/"  # before every setting where rows are taken that an encoder was fitted on


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
    split: str = option("", "name of its split, where train is what its encoder saw; empty: split")
    group: str = option("", "name of its groups' ids, which no split divides; empty: group")
    use_trained_rows: bool = option(False, "take rows that their encoder was trained on as well")
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
    test_share: float = option(
        0.3,
        "share of rows for the source's test, where no file is named, and "
        "of those that components are judged on",
    )
    normalise: bool = option(False, "features are scaled to unit length first")
    latents: str = option("", "name of an array of true latents [n, d], to be compared with")
    attributes: str = option("", "comma-separated names of arrays of attributes, for traversals")
    images: str = option(
        "", "name of an array of the rows' images, uint8 [n, h, w] or [n, h, w, 1, 3 or 4]"
    )


class FeatureWorld(NamedTuple):
    """All that a run sees.

    Attributes:
      name: of the data, for titles.
      whole: the rows of the source file(s) that no encoder was fitted on, labels as codes.
      fit, held: rows of whole that maps are fitted on, and those that they are judged on.
      sources: prefix of settings -> branch -> Source; empty where there are no labels.
      places: prefix -> part -> where its rows are from, for messages.
      classes: their names, by code; None without labels.
      mark: what every setting starts with: TRAINED where rows of training are taken, or nothing.
      remarks: what is odd about the features.
      counts: how many rows are used for what, a line each.
    """

    name: str
    whole: FeatureSet
    fit: np.ndarray
    held: np.ndarray
    sources: Mapping[str, Mapping[str, Source]]
    places: Mapping[str, Mapping[str, str]]
    classes: np.ndarray | None
    mark: str
    remarks: list[str]
    counts: list[str]


def _column_names(o: FeatureOptions) -> FeatureNames:
    extra = tuple(n for n in (o.domains, o.latents, *names_in(o.attributes), o.images) if n)
    return FeatureNames(o.values, o.labels, o.names, o.text_values, extra, o.split, o.group)


def _scaled(features: FeatureSet, unit: bool) -> FeatureSet:
    if not unit:
        return features
    columns = {
        side: Column(np.asarray(normalise(jnp.asarray(values))), "features")
        for side, values in features.sides().items()
    }
    return features._replace(rows=features.rows._replace(columns=columns))


def generated_features(seed: int, n: int) -> tuple[FeatureSet, dict[str, FeatureSet]]:
    """A source of features with known latents, and two domains where nuisances are larger."""
    # The seed's own key is folded with purposes elsewhere, and `split` gives what `fold_in` gives.
    data_key = jax.random.fold_in(jax.random.key(seed), 2**32 - 2)
    model_key, *keys = jax.random.split(data_key, 4)
    model = feature_model(model_key)

    def draw(name, key, nuisance, sizes=None):
        pairs = jax.tree.map(np.asarray, jax.jit(model.sample, static_argnums=1)(key, n, nuisance))
        names = np.array([f"row {k}, class {c}" for k, c in enumerate(pairs.label)])
        rows = feature_rows({"x": pairs.image, "t": pairs.text}, labels=pairs.label, name=name)
        return FeatureSet(rows, names, {"latents": pairs.latents}, sizes)

    source = draw("generated features", keys[0], 1.0)
    sizes = tuple(map(branch_size, source.sides().values()))
    shifted = {}
    for nuisance, key in zip((2.0, 4.0), keys[1:], strict=True):
        name = f"nuisance x {nuisance}"
        shifted[name] = draw(name, key, nuisance, sizes)
    return source._replace(sizes=sizes), shifted


def _other_file(o: FeatureOptions, path: str, whole: FeatureSet, flag: str) -> FeatureSet:
    """A file of validation, test or shifted rows. Raises InvalidInput where it doesn't fit."""
    names = _column_names(o)  # which beside its features may be there, and are none of them
    names = names._replace(extra=(), apart=names.extra)
    result = read_feature_set(path, names, flags=(flag, flag), beside=whole)
    given, beside = o.features, o.text or o.features
    if LABEL not in result.rows.labels:
        raise InvalidInput(f"{path}: no labels, {given} has them; name their array with --labels")
    sides = result.sides()
    for side, values in whole.sides().items():
        if side not in sides:
            raise InvalidInput(
                f"{path}: no second modality, {given} has one in {beside}; name their "
                "array with --text_values, or leave it out"
            )
        columns, wanted = sides[side].shape[1], values.shape[1]
        if columns != wanted:
            of = given if side == "x" else beside
            raise InvalidInput(
                f"{path}: {columns} columns, {of} has {wanted} columns; use equal ones"
            )
    return result


def _check_two(o: FeatureOptions, features: FeatureSet) -> None:
    """Raises InvalidInput for a second modality that is the first by another name."""
    sides = features.sides()
    if "t" in sides and alike(sides["x"], sides["t"]):
        of = f"{o.text} holds in every row what {o.features} does"
        message = of if o.text not in ("", o.features) else f"{o.features}: both sides are one"
        raise InvalidInput(f"{message}; name another by --text or --text_values, or none")


def _check_shares(o: FeatureOptions) -> None:
    for name in ("validation_share", "test_share"):
        require(0 < getattr(o, name) < 1, name, getattr(o, name), "a number in (0, 1)")
    total = o.validation_share + o.test_share
    require(total < 1, "validation_share, test_share", total, "a sum below 1")


def read_world(options: FeatureOptions, seed: int) -> FeatureWorld:
    """Reads and divides what the options name.

    Rows of a split train are left out of everything, and groups are on one side of every split.

    Raises InvalidInput for files or options that don't fit.
    """
    o, counts, trained = options, [], []
    _check_shares(o)
    if o.features:
        whole = read_feature_set(o.features, _column_names(o), o.text)
        named, listed = {"validation": o.validation, "test": o.test}, names_in(o.shifted)
        if LABEL not in whole.rows.labels:
            named, listed = {}, ()  # see _without_labels
        files = {part: _other_file(o, path, whole, part) for part, path in named.items() if path}
        shifted = {path: _other_file(o, path, whole, "shifted") for path in listed}
        _check_two(o, whole)
    else:
        require(o.generated >= 64, "generated", o.generated, "a whole number >= 64")
        (whole, shifted), files = generated_features(seed, o.generated), {}

    def unseen(features: FeatureSet) -> FeatureSet:
        result = unseen_rows(features, o.use_trained_rows)
        counts.extend([result.remark] if result.remark else [])
        trained.append(result.trained)
        return result.features

    whole, linked = with_linked_rows(unseen(whole))
    lines = remarks(whole.sides()["x"]) + linked
    whole, classes = _scaled(whole, o.normalise), None
    sources: dict[str, dict[str, Source]] = {}
    places: dict[str, dict[str, str]] = {}
    if LABEL not in whole.rows.labels:
        lines.append(_without_labels(o))
    else:
        classes = np.unique(whole.rows.labels[LABEL])
        require(len(classes) >= 2, "labels", str(classes[0]), "two or more classes")
        # Coded before rows are left out, so that messages count rows as the file does.
        other = lambda f: _scaled(unseen(_coded(f, classes)), o.normalise)
        whole = _coded(whole, classes)
        files = {part: other(features) for part, features in files.items()}
        shifted = {name: other(features) for name, features in shifted.items()}
    held, fit = _held(o, whole)
    if classes is not None:
        sources, places = _every_source(o, whole, files, shifted, len(classes), counts)
    what = "components, latents and examples"
    counts.append(f"{what}: maps fitted on {len(fit)} rows, judged on {len(held)} others")
    mark = TRAINED if any(trained) else ""
    marked = lambda table: {mark + prefix: value for prefix, value in table.items()}
    return FeatureWorld(
        o.features or "generated features",
        whole,
        fit,
        held,
        marked(sources),
        marked(places),
        classes,
        mark,
        lines,
        counts,
    )


def _without_labels(o: FeatureOptions) -> str:
    """What follows where features have no labels; it names the flags that are given in vain."""
    flags = ("validation", "test", "shifted", "domains", "source")
    unused = ", ".join(f"--{flag}" for flag in flags if getattr(o, flag))
    return "no labels: nothing is classified" + (unused and f", so that {unused} changes nothing")


def _coded(features: FeatureSet, classes: np.ndarray) -> FeatureSet:
    """The same with codes of these classes as labels."""
    codes = class_codes(features.rows.labels[LABEL], classes, features.rows.name)
    return features._replace(rows=features.rows._replace(labels={LABEL: codes}))


def _held(o: FeatureOptions, whole: FeatureSet) -> list[np.ndarray]:
    """Rows to judge maps on, and rows to fit them on."""
    rows = whole.rows
    strata = rows.labels.get(LABEL, np.zeros(rows.num_rows, int))
    parts = stratified_split(strata, [o.test_share], 0, rows.groups)
    if min(map(len, parts)) < 2:
        raise InvalidInput(
            f"{rows.name}: {rows.num_rows} rows can't be divided into rows to fit and "
            f"rows to judge, a share of {o.test_share}; use more rows or groups"
        )
    return parts


def _every_source(
    o: FeatureOptions,
    whole: FeatureSet,
    files: Mapping[str, FeatureSet],
    shifted: Mapping[str, FeatureSet],
    num_classes: int,
    counts: list[str],
) -> tuple[dict[str, dict[str, Source]], dict[str, dict[str, str]]]:
    """(prefix -> branch -> Source, prefix -> part -> where its rows are from)."""
    domains = {"": whole}
    if o.domains:
        result = by_domain(whole, o.domains)
        chosen = f"{o.domains}={o.source.strip()}"
        allowed = f"one of {', '.join(d.partition('=')[2] for d in result)}"
        require(not o.source or chosen in result, "source", o.source, allowed)
        domains = {d: whole.take(rows) for d, rows in result.items()}
    sources, places = {}, {}
    for name, domain in domains.items():
        if o.source and o.domains and name != chosen:
            continue
        prefix = f"from {name}/" if name else ""
        others = {k: v for k, v in domains.items() if k != name}
        sources[prefix], lines = _sources(o, domain, files, others, shifted, num_classes)
        counts += [f"{name}: {line}" if name else line for line in lines]
        of = lambda part, one=domain: files.get(part, one).rows.name
        within = f", {name}" if name else ""
        titles = {"train": "training", "validation": "validation"}
        places[prefix] = {p: f"the {t} rows of {of(p)}{within}" for p, t in titles.items()}
    return sources, places


def _sources(
    o: FeatureOptions,
    whole: FeatureSet,
    files: Mapping[str, FeatureSet],
    domains: Mapping[str, FeatureSet],
    shifted: Mapping[str, FeatureSet],
    num_classes: int,
) -> tuple[dict[str, Source], list[str]]:
    """Branch -> Source; and lines on its rows."""
    count = lambda features: features.rows.num_rows
    free = [part for part in ("validation", "test") if part not in files]
    shares = [getattr(o, f"{part}_share") for part in free]
    *cut, rest = stratified_split(whole.rows.labels[LABEL], shares, 0, whole.rows.groups)
    parts = {part: whole.take(rows) for part, rows in zip(free, cut, strict=True)}
    parts |= files
    parts["train"] = whole.take(rest)
    for part, chosen in parts.items():
        message = f"{whole.rows.name}: {part}"
        require(count(chosen) > 0, message, 0, "more rows or groups, for one of them at least")
    known = {part: parts[part] for part in ("train", "validation")}
    fitted = list(known.values())
    # Groups are numbered alike in rows of the same files alone.
    alike = [
        part
        for name, part in zip(("train", "validation"), fitted, strict=True)
        if name not in files or (o.text in ("", o.features) and part.rows.name == whole.rows.name)
    ]
    others = {name: outside_groups(rows, *alike) for name, rows in domains.items()}
    lines = [
        f"{name}: {count(rows) - kept} rows left out, whose groups the fit has seen"
        for name, rows in domains.items()
        if (kept := count(others[name])) < count(rows)
    ]
    tests = {"source": parts["test"], **others, **shifted}
    for name, rows in tests.items():
        require(count(rows) > 0, f"{whole.rows.name}: {name}", 0, "rows that no fit has seen")
    sizes = [
        branch_size(np.concatenate([part.sides()[side] for part in fitted]))
        for side in whole.sides()
    ]
    every = {**tests, **parts}
    joined = {name: branches_of(rows, sizes) for name, rows in every.items()}

    def source(branch):
        pick = lambda name: Rows(
            jnp.asarray(joined[name][branch]), jnp.asarray(every[name].rows.labels[LABEL])
        )
        seen = {name: pick(name) for name in tests}
        return Source(pick("train"), pick("validation"), seen, num_classes)

    lines += [
        f"{rows.rows.name}: {again} of {count(rows)} rows hold what a row of the fit holds: seen "
        "rows, though nothing was told of them"
        for name, rows in {**files, **shifted}.items()
        if (again := repeats_in(rows, *(p for part, p in known.items() if part != name)))
    ]
    sizes_told = ", ".join(f"{count(rows)} of {name}" for name, rows in tests.items())
    lines.append(
        f"{count(fitted[0])} rows to draw from, {count(fitted[1])} to choose C on, "
        f"tests: {sizes_told}"
    )
    return {branch: source(branch) for branch in joined["train"]}, lines


def read_control(
    options: FeatureOptions, world: FeatureWorld, path: str, values: str, text_values: str
) -> tuple[FeatureWorld, FeatureSet]:
    """A control's features, treated as the others are; what is said of its rows is in the world."""
    names = _column_names(options)
    apart = (*names.extra, *filter(None, (names.labels, names.names)))
    names = FeatureNames(values, "", "", text_values, (), options.split, options.group, apart)
    features = read_feature_set(path, names, flags=("twin", "twin"))
    result = unseen_rows(features, options.use_trained_rows)
    counts = world.counts + ([result.remark] if result.remark else [])
    world = world._replace(counts=counts, mark=TRAINED if result.trained else world.mark)
    return world, _scaled(result.features, options.normalise)


def check_draws(world: FeatureWorld, shots: int, val_shots: int) -> None:
    """Raises InvalidInput, which names the file, where a class has too few rows for a draw."""
    for prefix, branches in world.sources.items():
        for part, flag, count in (
            ("train", "shots", shots),
            ("validation", "validation_shots", min(shots, val_shots)),
        ):
            labels, where = getattr(branches["x"], part).labels, world.places[prefix][part]
            classes = given(world.classes, where, "features with labels")
            check_shots(labels, count, len(classes), flag=flag, where=where, names=classes)

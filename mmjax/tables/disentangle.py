"""Rows of what features of a frozen model give once they are unmixed."""

from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.config import names_in
from mmjax.data import FeatureSet, class_codes, read_features
from mmjax.data.dataset import LABEL
from mmjax.data.scaling import features_in_float32
from mmjax.disentangle import Affine, components, determined
from mmjax.errors import InvalidInput, given, require
from mmjax.evaluate import (
    PROBES,
    attribute_response,
    geometry_of,
    linear_r2_between,
    mcc,
    top_rows,
    zero_shot_accuracy,
)
from mmjax.run import MetricsLog, Piece, Row, Run, save_arrays, seed_keys
from mmjax.studies import (
    FeatureWorld,
    Method,
    check_draws,
    component_figures,
    draws_at_once,
    few_shot_accuracies,
    fit_unmixing,
    gaussian_twin,
    methods,
    read_control,
    retrieval_after,
    stability_of,
)
from mmjax.tables import disentangle_report as report
from mmjax.tables.disentangle_rows import (
    GEOMETRY_PAIRS,
    KURTOSIS_ROWS,
    check_images,
    has_pairs,
    latents_rows,
    one_a_group,
)
from mmjax.types import Array

EXPERIMENT = "disentangle"

Unmixed = Callable[[str, str, Method], Affine]  # of a prefix, branch and method
PURPOSES = ("draw", "unmix", "retrieval", "components", "split")


def unmix_key(config: Any) -> jax.Array:
    """The key of every map that all draws share."""
    return seed_keys(config, PURPOSES)["unmix"][0]


def probe_names(config: Any) -> tuple[str, ...]:
    """The probes that the flag names."""
    names = names_in(config.probes)
    for name in names or ("",):
        require(name in PROBES, "probes", name, f"one or more of {', '.join(PROBES)}")
    return names


def few_shot_pieces(
    config: Any,
    world: FeatureWorld,
    prefix: str,
    method: Method,
    shots: int,
    unmixed: Unmixed,
) -> list[Piece]:
    """Accuracy of every draw and test set: a piece a branch, probe and handful of draws."""
    keys, setting = seed_keys(config, PURPOSES)["draw"], f"{prefix}{method.name}/{shots}-shot"
    drawn = config.unmix == "draw"

    def judge(branch, probe, draws, log):
        result = few_shot_accuracies(
            world.sources[prefix][branch],
            method,
            keys[draws],
            shots=shots,
            val_shots=config.validation_shots,
            probe=probe,
            fitted=None if drawn else unmixed(prefix, branch, method),
        )
        metric = "accuracy" if probe == "l2" else f"accuracy_{probe}"
        return [
            Row(EXPERIMENT, setting, config.seed + int(k), branch, test, metric, float(value))
            for test, values in result.items()
            for k, value in zip(draws, values, strict=True)
        ]

    pieces = []
    for branch, source in world.sources[prefix].items():
        at_once = draws_at_once(source, method, shots, config.validation_shots, drawn)
        parts = np.array_split(np.arange(config.seeds), -(-config.seeds // at_once))
        for probe in probe_names(config):
            for draws in parts:
                piece = partial(judge, branch, probe, draws)
                pieces.append(Piece(f"{branch}/{probe}/{draws[0]}", piece))
    return pieces


def read_prompts(config: Any, world: FeatureWorld) -> tuple[jax.Array, np.ndarray]:
    """The classes' texts `[p, f]` and their codes `[p]`; a fault is told before anything runs."""
    texts = read_features(config.prompts, values=config.prompt_values, flag="prompts")
    if LABEL not in texts.rows.labels:
        raise InvalidInput(f"{config.prompts}: no labels; it needs the class of each text")
    x, width = texts.sides()["x"], world.whole.sides()["x"].shape[1]
    if x.shape[1] != width:
        raise InvalidInput(
            f"{config.prompts}: {x.shape[1]} features, the images have {width}; use "
            "texts of the same model"
        )
    classes = given(world.classes, "prompts", f"it with labels of {world.name}")
    codes = class_codes(texts.rows.labels[LABEL], classes, config.prompts)
    missing = [str(name) for name in np.delete(classes, np.unique(codes))]
    if missing:
        shown = ", ".join(missing[:8]) + (", ..." if len(missing) > 8 else "")
        raise InvalidInput(
            f"{config.prompts}: no text of class {shown}; it needs one or more of every class of "
            f"{world.name}"
        )
    if world.whole.stored is not None:  # what is taken off the images is taken off the texts
        x = features_in_float32(x, world.whole.stored.offsets["x"])
    return jnp.asarray(x, jnp.float32), codes


def zero_shot_rows(
    config: Any,
    world: FeatureWorld,
    prefix: str,
    prompts: tuple[Array, np.ndarray],
    log: MetricsLog,
) -> list[Row]:
    """The classes' texts against the images of every test set of a source."""
    scores = {
        test: float(zero_shot_accuracy(rows.x, rows.labels, *prompts))
        for test, rows in world.sources[prefix]["x"].tests.items()
    }
    name = f"{prefix}zero-shot"
    return [Row(EXPERIMENT, name, config.seed, "x", t, "accuracy", v) for t, v in scores.items()]


def retrieval_pieces(config: Any, world: FeatureWorld, count: int, run: Run) -> list[Piece]:
    """Recall among held-out pairs, a piece a split."""
    x, t = sides_of(world.whole).values()
    options: Any = dict(num_components=count, group=world.whole.rows.groups, tracked=run.tracked)
    setting = f"{world.mark}retrieval/{count}"

    def judge(k, key, log):
        return [
            Row(EXPERIMENT, setting, config.seed + k, side, name, metric, value)
            for (name, side, metric), value in retrieval_after(x, t, key, **options).items()
        ]

    keys = seed_keys(config, PURPOSES)["retrieval"]
    return [Piece(str(k), partial(judge, k, key)) for k, key in enumerate(keys)]


def geometry_rows(
    config: Any, world: FeatureWorld, count: int, run: Run, log: MetricsLog
) -> list[Row]:
    """Whether the pairs are coupled as on a sphere or as in a box, with its uncertainty."""
    rows = one_a_group(world)
    x, t = (side[rows] for side in sides_of(world.whole).values())
    dim = determined((x + t) / 2, count)
    result = geometry_of(x, t, unmix_key(config), dim=dim, tracked=run.tracked)
    names = ("exponent", "exponent_error", "advantage", "advantage_error")
    name = f"{world.mark}geometry/{count}"
    return [
        Row(EXPERIMENT, name, config.seed, "joint", "coupling", n, float(getattr(result, n)))
        for n in names
    ]


def with_controls(config: Any, world: FeatureWorld) -> tuple[FeatureWorld, dict[str, FeatureSet]]:
    """The features and, where a file is named, those of a control; its rows are told too."""
    results = {"features": world.whole}
    if config.twin:
        files = config.twin, config.twin_values, config.twin_text_values
        world, results["control"] = read_control(config, world, *files)
    return world, results


def sides_of(features: FeatureSet) -> dict[str, jax.Array]:
    """Modality -> its rows."""
    return {side: jnp.asarray(v) for side, v in features.sides().items()}


def component_pieces(
    config: Any, world: FeatureWorld, controls: Mapping[str, FeatureSet], count: int, run: Run
) -> list[Piece]:
    """Held-out kurtosis and sparsity: independent, principal, of the control, of Normal twins.

    A piece a split, then one a modality for the stability of components over restarts.
    """
    ways = {"FastICA": Method("", "ica", count), "PCA": Method("", "whitening", count)}
    setting, sides = f"{world.mark}components/{count}", sides_of(world.whole)
    few = world.whole.rows.num_rows < KURTOSIS_ROWS

    def looks(side, key):
        for name, features in controls.items():
            x, group = sides_of(features).get(side), features.rows.groups
            if x is not None:
                yield from ((f"{way} of {name}", x, method, group) for way, method in ways.items())
            if name == "features":
                twin = gaussian_twin(x, key)
                yield "FastICA of a Normal twin", twin, ways["FastICA"], None

    def judge(k, key, log):
        twin_key, fit_key = jax.random.split(key)
        rows, spectra = [], {}
        for side in sides:
            for look, x, method, group in looks(side, twin_key):
                result = component_figures(x, fit_key, method, group, run.tracked)
                spectra[f"{side}: {look}"] = np.asarray(result.kurtosis)
                for metric, each in zip(("kurtosis", "sparsity"), result, strict=True):
                    if metric == "kurtosis" and few:
                        continue
                    row = (config.seed + k, side, look, metric, float(jnp.mean(each)))
                    rows.append(Row(EXPERIMENT, setting, *row))
        save_arrays(report.spectra_path(run, count, config.seed + k), **spectra)
        return rows

    def stability(side, log):
        options = dict(num_components=count, restarts=config.restarts, tracked=run.tracked)
        figure = float(jnp.mean(stability_of(sides[side], unmix_key(config), **options)))
        return [Row(EXPERIMENT, setting, config.seed, side, "FastICA", "stability", figure)]

    keys = seed_keys(config, PURPOSES)["components"]
    splits = [Piece(str(k), partial(judge, k, key)) for k, key in enumerate(keys)]
    return splits + [Piece(f"stability of {side}", partial(stability, side)) for side in sides]


def latent_pieces(config: Any, world: FeatureWorld, count: int, run: Run) -> list[Piece]:
    """MCC and linear R2 against latents that are known, of rows that no map was fitted on."""
    truth = jnp.asarray(features_in_float32(world.whole.extra[config.latents or "latents"]))
    key, setting = unmix_key(config), f"{world.mark}latents/{count}"
    fit, held = world.fit, world.held

    def figures(x, method):
        affine = fit_unmixing(x[fit], key, method, run.tracked)
        seen, new = components(affine, x[fit]), components(affine, x[held])
        return mcc(truth[held], new), linear_r2_between(seen, truth[fit], new, truth[held])

    def judge(x, side, name, method, log):
        return [
            Row(EXPERIMENT, setting, config.seed, side, name, metric, float(value))
            for metric, value in zip(("mcc", "r2_linear"), figures(x, method), strict=True)
        ]

    pieces = []
    for side, x in sides_of(world.whole).items():
        ways = [Method("as they are", "none"), *methods((count,))[-3:]]
        looks = {method.name: (x, method) for method in ways}
        looks["FastICA of the true latents"] = truth, Method("", "ica")
        for name, (values, method) in looks.items():
            pieces.append(Piece(f"{side}: {name}", partial(judge, values, side, name, method)))
    return pieces


def example_pieces(config: Any, world: FeatureWorld, count: int, run: Run) -> list[Piece]:
    """The top rows of each component, written and drawn; a figure for each attribute's move.

    Maps and probes are fitted on some rows; others are shown and moved.
    """
    attributes = names_in(config.attributes)
    setting = f"{world.mark}examples/{count}"

    def judge(side, x, log):
        affine = fit_unmixing(
            x[world.fit], unmix_key(config), Method("", "ica", count), run.tracked
        )
        best = np.asarray(top_rows(components(affine, x[world.held]), config.top))
        report.write_examples(run, config, world, side, count, world.held[best])
        rows = [Row(EXPERIMENT, setting, config.seed, side, "all", "shown", config.top)]
        if attributes:
            values = {name: world.whole.extra[name] for name in attributes}
            rows += traversal_rows(config, world, count, run, side, affine, x, values)
        return rows

    return [Piece(side, partial(judge, side, x)) for side, x in sides_of(world.whole).items()]


def traversal_rows(
    config: Any,
    world: FeatureWorld,
    count: int,
    run: Run,
    side: str,
    affine: Affine,
    x: Array,
    attributes: Mapping[str, np.ndarray],
) -> list[Row]:
    """How far attributes move with independent and, beside them, principal components."""
    method = Method("", "whitening", count)
    principal = fit_unmixing(x[world.fit], unmix_key(config), method)
    look = partial(
        attribute_response,
        x=x,
        attributes=attributes,
        anchor_key=seed_keys(config, PURPOSES)["split"][0],
        held=world.held,
        tracked=run.tracked,
    )
    results = {"FastICA": look(affine), "PCA": look(principal)}
    report.draw_traversals(
        run, config, world, side, count, affine, results["FastICA"], list(attributes)
    )
    setting = f"{world.mark}examples/{count}"
    return [
        Row(EXPERIMENT, setting, config.seed, side, f"{way}: {name}", metric, value)
        for way, response in results.items()
        for metric, value_of in (("largest move", np.max), ("selectivity", report.selectivity))
        for name, value in zip(
            attributes, np.apply_along_axis(value_of, 0, response.probe), strict=True
        )
    ]


def make_unmixed(config: Any, world: FeatureWorld, run: Run) -> Unmixed:
    """Maps of the source's training and validation rows, each fitted once, when first asked for."""
    key = unmix_key(config)

    @cache
    def unmixed(prefix, branch, method):
        source = world.sources[prefix][branch]
        rows = jnp.concatenate([source.train.x, source.validation.x])
        return fit_unmixing(rows, key, method, run.tracked)

    return unmixed


def check_rows(config: Any, world: FeatureWorld) -> None:
    """Raises InvalidInput for options that the rows can't meet."""
    check_draws(world, max(config.shots), config.validation_shots)
    held = len(world.held)
    require(config.top <= held, "top", config.top, f"1 to {held}, the rows that are shown from")
    latents = world.whole.extra.get(config.latents)
    if latents is not None:
        good = latents.dtype.kind in "biuf" and latents.ndim == 2
        message = f"{config.latents}, {latents.dtype} {latents.shape}"
        require(good, "latents", message, "an array of numbers [rows, latents]")
    for name in names_in(config.attributes):
        shape = world.whole.extra[name].shape
        require(len(shape) == 1, "attributes", f"{name} {shape}", "an array of one axis")
    if config.images:
        check_images(config.images, world.whole.extra[config.images])


def settings(
    config: Any, world: FeatureWorld, controls: Mapping[str, FeatureSet], run: Run
) -> dict[str, Callable | list[Piece]]:
    """All rows of the run by name."""
    check_rows(config, world)
    unmixed = make_unmixed(config, world, run)
    table: dict[str, Callable | list[Piece]] = {}
    for prefix in world.sources:
        for method in methods(config.num_components):
            for shots in config.shots:
                made = few_shot_pieces(config, world, prefix, method, shots, unmixed)
                table[f"{prefix}{method.name}/{shots}-shot"] = made
    if config.prompts and world.sources:
        prompts = read_prompts(config, world)
        for prefix in world.sources:
            table[f"{prefix}zero-shot"] = partial(zero_shot_rows, config, world, prefix, prompts)
    mark = world.mark
    for count in config.num_components:
        if has_pairs(world):
            table[f"{mark}retrieval/{count}"] = retrieval_pieces(config, world, count, run)
            if len(one_a_group(world)) >= GEOMETRY_PAIRS:
                judge = partial(geometry_rows, config, world, count, run)
                table[f"{mark}geometry/{count}"] = judge
        if 0 < latents_rows(config, world, count) <= len(world.held):
            table[f"{mark}latents/{count}"] = latent_pieces(config, world, count, run)
        pieces = component_pieces(config, world, controls, count, run)
        table[f"{mark}components/{count}"] = pieces
        table[f"{mark}examples/{count}"] = example_pieces(config, world, count, run)
    return table

"""What do features of a frozen model give once they are unmixed? (Liu et al. 2026, Section 6.2)

  python -m experiments.disentangle                        # generated features, known latents
  python -m experiments.disentangle --features=train.npz --validation=val.npz --test=test.npz \\
      --shifted=sketch.npz,v2.npz --num_components=64,128 --normalise     # as published
  python -m experiments.disentangle --features=cub_img_text.npz --values=image \\
      --text_values=text --num_components=16,64            # both modalities of one file
  python -m experiments.disentangle --features=features.npz --domains=speaker   # a real shift

Few-shot probes of the features as they are, whitened, and turned to independent components, at home
and under shift; retrieval across modalities; kurtosis and sparsity of components beside Normal
twins; their top rows; attributes that move with them. Files: .npz, .npy, .safetensors, .parquet.

An L2-penalised probe, a k-NN vote and a cosine do not change when features are turned, so FastICA
can give them nothing that whitening does not: the table has whitening alone beside it. A probe with
an L1 penalty and an L1 distance see the axes.
"""

import dataclasses
import sys
from collections.abc import Callable
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np

from experiments import disentangle_report as report
from mmjax.config import names_in, option
from mmjax.data import class_codes, read_features
from mmjax.disentangle import Affine, components, determined
from mmjax.errors import InvalidInput, require
from mmjax.evaluate import (
    PROBES,
    attribute_response,
    check_shots,
    geometry_of,
    linear_r2,
    mcc,
    top_rows,
    zero_shot_accuracy,
)
from mmjax.run import Row, Run, SeedOptions, atomic_write, launch, run_table, seed_keys
from mmjax.studies import (
    FeatureOptions,
    FeatureWorld,
    Method,
    component_figures,
    few_shot_accuracies,
    fit_unmixing,
    gaussian_twin,
    methods,
    read_world,
    retrieval_after,
    stability_of,
)

EXPERIMENT = "disentangle"


@dataclasses.dataclass(frozen=True)
class Config(FeatureOptions, SeedOptions):
    """Which features, how they are unmixed, what is asked of them."""

    seeds: int = option(20, "few-shot draws, splits of retrieval and of components")
    shots: tuple[int, ...] = option((1, 2, 4, 8, 16), "labelled rows of each class")
    validation_shots: int = option(4, "validation rows of each class that C is chosen on, at most")
    num_components: tuple[int, ...] = option((24,), "principal directions that are kept")
    probes: str = option("l2,l1", f"comma-separated: {', '.join(PROBES)}", parts=PROBES)
    unmix: str = option(
        "source",
        "rows that unmixing is fitted on, without labels: all of the source's training and "
        "validation rows, or, as published, those of each few-shot draw",
        ("source", "draw"),
    )
    restarts: int = option(8, "of FastICA, for the stability of its components")
    top: int = option(8, "rows shown of each component")
    prompts: str = option("", "file of the classes' text features and labels, for zero-shot")
    prompt_values: str = option("", "name of its features' array; empty: the usual names")
    twin: str = option("", "file of a control's features, such as random weights")
    twin_values: str = option("", "name of the control's first modality in it")
    twin_text_values: str = option("", "name of the control's second modality")


PRESETS = {"quick": {}, "paper": dict(shots=(2,), unmix="draw", probes="l2")}

PURPOSES = ("draw", "unmix", "retrieval", "components")


def unmix_key(config: Config) -> jax.Array:
    """The key of every map that all draws share."""
    return seed_keys(config, PURPOSES)["unmix"][0]


def probe_names(config: Config) -> tuple[str, ...]:
    """The probes that the flag names."""
    names = names_in(config.probes)
    for name in names or ("",):
        require(name in PROBES, "probes", name, f"one or more of {', '.join(PROBES)}")
    return names


def few_shot_rows(config, world, prefix, method, shots, unmixed, log) -> list[Row]:
    """Accuracy of every draw, branch, probe and test set."""
    rows, setting = [], f"{prefix}{method.name}/{shots}-shot"
    for branch, source in world.sources[prefix].items():
        for probe in probe_names(config):
            found = few_shot_accuracies(
                source,
                method,
                seed_keys(config, PURPOSES)["draw"],
                shots=shots,
                val_shots=config.validation_shots,
                probe=probe,
                fitted=unmixed(prefix, branch, method) if config.unmix == "source" else None,
            )
            metric = "accuracy" if probe == "l2" else f"accuracy_{probe}"
            rows += [
                Row(EXPERIMENT, setting, config.seed + k, branch, test, metric, float(value))
                for test, values in found.items()
                for k, value in enumerate(values)
            ]
    return rows


def read_prompts(config: Config, world: FeatureWorld) -> tuple[jax.Array, np.ndarray]:
    """The classes' texts `[p, f]` and their codes `[p]`; a fault is told before anything runs."""
    texts = read_features(config.prompts, values=config.prompt_values)
    if texts.labels is None:
        raise InvalidInput(f"{config.prompts}: no labels; it needs the class of each text")
    width = world.whole.branches["x"].shape[1]
    if texts.values.shape[1] != width:
        raise InvalidInput(
            f"{config.prompts}: {texts.values.shape[1]} features, the images have {width}; use "
            "texts of the same model"
        )
    return jnp.asarray(texts.values), class_codes(texts.labels, world.classes, config.prompts)


def zero_shot_rows(config: Config, world: FeatureWorld, prefix: str, prompts, log) -> list[Row]:
    """The classes' texts against the images of every test set of a source."""
    scores = {
        test: float(zero_shot_accuracy(given.x, given.labels, *prompts))
        for test, given in world.sources[prefix]["x"].tests.items()
    }
    name = f"{prefix}zero-shot"
    return [Row(EXPERIMENT, name, config.seed, "x", t, "accuracy", v) for t, v in scores.items()]


def retrieval_rows(config: Config, world: FeatureWorld, count: int, log) -> list[Row]:
    """Recall among held-out pairs of every split."""
    x, t = (jnp.asarray(world.whole.branches[side]) for side in ("x", "t"))
    rows = []
    for k, key in enumerate(seed_keys(config, PURPOSES)["retrieval"]):
        found = retrieval_after(x, t, key, num_components=count)
        rows += [
            Row(EXPERIMENT, f"retrieval/{count}", config.seed + k, side, name, metric, value)
            for (name, side, metric), value in found.items()
        ]
    return rows


def geometry_rows(config: Config, world: FeatureWorld, count: int, log) -> list[Row]:
    """Whether the pairs are coupled as on a sphere or as in a box, with its uncertainty."""
    x, t = (jnp.asarray(world.whole.branches[side]) for side in ("x", "t"))
    key = unmix_key(config)
    found = geometry_of(x, t, key, dim=determined((x + t) / 2, count))
    names = ("exponent", "exponent_error", "advantage", "advantage_error")
    name = f"geometry/{count}"
    return [
        Row(EXPERIMENT, name, config.seed, "joint", "coupling", n, float(getattr(found, n)))
        for n in names
    ]


def controls(config: Config, world: FeatureWorld) -> dict[str, dict[str, np.ndarray]]:
    """The features and, where a file is named, those of a control: name -> side -> rows."""
    sides = {side: v for side, v in world.whole.branches.items() if side != "joint"}
    found = {"features": sides}
    if config.twin:
        named = {"x": config.twin_values, "t": config.twin_text_values}
        read = lambda name: read_features(config.twin, values=name).values.astype(np.float32)
        found["control"] = {side: read(named[side]) for side in sides if named[side] or side == "x"}
    return found


def component_rows(config: Config, world: FeatureWorld, count: int, run: Run, log) -> list[Row]:
    """Held-out kurtosis and sparsity: independent, principal, of the control, of Normal twins."""
    ways = {"FastICA": Method("", "ica", count), "PCA": Method("", "whitening", count)}
    rows, spectra = [], {}
    setting = f"components/{count}"
    for k, key in enumerate(seed_keys(config, PURPOSES)["components"]):
        twin_key, fit_key = jax.random.split(key)
        for name, sides in controls(config, world).items():
            for side, values in sides.items():
                x = jnp.asarray(values)
                looks = {f"{way} of {name}": (x, method) for way, method in ways.items()}
                if name == "features":
                    looks["FastICA of a Normal twin"] = (
                        gaussian_twin(x, twin_key),
                        ways["FastICA"],
                    )
                for look, (given, method) in looks.items():
                    found = component_figures(given, fit_key, method)
                    spectra.setdefault(side, {}).setdefault(look, []).append(
                        np.asarray(found.kurtosis)
                    )
                    for metric, each in zip(("kurtosis", "sparsity"), found, strict=True):
                        figure = float(jnp.mean(each))
                        row = (config.seed + k, side, look, metric, figure)
                        rows.append(Row(EXPERIMENT, setting, *row))
    report.draw_spectra(run, count, spectra)
    for side, values in controls(config, world)["features"].items():
        x, key = jnp.asarray(values), unmix_key(config)
        stable = stability_of(x, key, num_components=count, restarts=config.restarts)
        figure = float(jnp.mean(stable))
        rows.append(Row(EXPERIMENT, setting, config.seed, side, "FastICA", "stability", figure))
    return rows


def latent_rows(config: Config, world: FeatureWorld, count: int, log) -> list[Row]:
    """MCC and linear R2 against latents that are known, before and after each step."""
    truth = jnp.asarray(world.whole.extra[config.latents or "latents"], jnp.float32)
    rows = []
    for side, values in controls(config, world)["features"].items():
        x, key = jnp.asarray(values), unmix_key(config)
        ways = [Method("as they are", "none"), *methods((count,))[-3:]]
        figures = {}
        for method in ways:
            y = components(fit_unmixing(x, key, method), x)
            figures[method.name] = (mcc(truth, y), float(linear_r2(y, truth)))
        own = components(fit_unmixing(truth, key, Method("", "ica")), truth)
        figures["FastICA of the true latents"] = (mcc(truth, own), 1.0)
        rows += [
            Row(EXPERIMENT, f"latents/{count}", config.seed, side, name, metric, float(value))
            for name, pair in figures.items()
            for metric, value in zip(("mcc", "r2_linear"), pair, strict=True)
        ]
    return rows


def example_rows(config: Config, world: FeatureWorld, count: int, run: Run, log) -> list[Row]:
    """The top rows of each component, written and drawn; a figure for each attribute's move."""
    rows = []
    attributes = names_in(config.attributes)
    for side, values in controls(config, world)["features"].items():
        x, key = jnp.asarray(values), unmix_key(config)
        affine = fit_unmixing(x, key, Method("", "ica", count))
        best = np.asarray(top_rows(components(affine, x), config.top))
        report.write_examples(run, config, world, side, count, best)
        if attributes:
            given = {name: world.whole.extra[name] for name in attributes}
            rows += traversal_rows(config, world, count, run, side, affine, x, given)
    return rows or [Row(EXPERIMENT, f"examples/{count}", config.seed, "joint", "all", "shown", 1)]


def traversal_rows(config, world, count, run, side, affine: Affine, x, given) -> list[Row]:
    """How far attributes move with independent and, beside them, principal components."""
    key = unmix_key(config)
    principal = fit_unmixing(x, key, Method("", "whitening", count))
    found = {
        "FastICA": attribute_response(affine, x, given),
        "PCA": attribute_response(principal, x, given),
    }
    report.draw_traversals(run, config, world, side, count, affine, found["FastICA"], list(given))
    return [
        Row(EXPERIMENT, f"examples/{count}", config.seed, side, f"{way}: {name}", metric, value)
        for way, response in found.items()
        for metric, value_of in (("largest move", np.max), ("selectivity", report.selectivity))
        for name, value in zip(given, np.apply_along_axis(value_of, 0, response.probe), strict=True)
    ]


def make_unmixed(config: Config, world: FeatureWorld) -> Callable[[str, str, Method], Affine]:
    """Maps of the source's training and validation rows, each fitted once, when first asked for."""
    key = unmix_key(config)

    @cache
    def unmixed(prefix, branch, method):
        source = world.sources[prefix][branch]
        rows = jnp.concatenate([source.train.x, source.validation.x])
        return fit_unmixing(rows, key, method)

    return unmixed


def settings(config: Config, world: FeatureWorld, run: Run) -> dict[str, Callable]:
    """All rows of the run by name."""
    unmixed = make_unmixed(config, world)
    controls(config, world)  # a fault of its file is told before anything runs
    table = {}
    for branches in world.sources.values():
        check_shots(branches["x"].train.labels, max(config.shots), len(world.classes))
    for prefix in world.sources:
        for method in methods(config.num_components):
            for shots in config.shots:
                made = partial(few_shot_rows, config, world, prefix, method, shots, unmixed)
                table[f"{prefix}{method.name}/{shots}-shot"] = made
    if config.prompts and world.sources:
        prompts = read_prompts(config, world)
        for prefix in world.sources:
            table[f"{prefix}zero-shot"] = partial(zero_shot_rows, config, world, prefix, prompts)
    sides = world.whole.branches
    for count in config.num_components:
        if "t" in sides and sides["x"].shape == sides["t"].shape:
            table[f"retrieval/{count}"] = partial(retrieval_rows, config, world, count)
            table[f"geometry/{count}"] = partial(geometry_rows, config, world, count)
        if config.latents or not config.features:
            table[f"latents/{count}"] = partial(latent_rows, config, world, count)
        table[f"components/{count}"] = partial(component_rows, config, world, count, run)
        table[f"examples/{count}"] = partial(example_rows, config, world, count, run)
    return table


def main(config: Config, run: Run) -> None:
    """Runs or resumes all rows, writes results, figures and summary."""
    probe_names(config)
    for name in ("shots", "num_components"):
        values = getattr(config, name)
        good = values and min(values) >= 1 and len(set(values)) == len(values)
        require(good, name, values, "different whole numbers >= 1, comma-separated")
    for name in ("validation_shots", "top"):
        require(getattr(config, name) >= 1, name, getattr(config, name), "a whole number >= 1")
    require(config.restarts >= 2, "restarts", config.restarts, "a whole number >= 2")
    world = read_world(config, config.seed)
    for remark in world.remarks:
        print(f"note: {world.name}: {remark}", file=sys.stderr)
    table = settings(config, world, run)

    def summarise(rows, seconds):
        report.draw_shots(config, run, world, rows)
        text = report.summary(config, world, rows, seconds)
        atomic_write(run.path("summary.md"), text)
        return text

    run_table(EXPERIMENT, config, run, table, summarise)


if __name__ == "__main__":
    sys.exit(launch(main, Config, PRESETS, experiment=EXPERIMENT, doc=__doc__))

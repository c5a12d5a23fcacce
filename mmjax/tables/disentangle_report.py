"""Tables and figures of experiments.disentangle."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from mmjax.data import branches_of
from mmjax.disentangle import Affine, components
from mmjax.errors import counted
from mmjax.evaluate import Response, nearest_rows, traversed
from mmjax.report import (
    examples_figure,
    line_panels_figure,
    markdown_table,
    mean_and_deviation,
    response_figure,
    save_figure,
    spectrum_figure,
)
from mmjax.run import Row, Run, atomic_write, machine, seed_numbers
from mmjax.studies import MEASURES, FeatureWorld, methods

BRANCHES = {"x": "first modality", "t": "second modality", "joint": "both"}
LEVELS = 7  # of a traversal
SHOWN = 12  # components in figures and tables of examples


def marked(world: FeatureWorld, title: str) -> str:
    """The title of a table or figure; says so where an encoder was trained on rows of it."""
    return f"{title} (TRAINED ROWS)" if world.mark else title


def selectivity(moves: np.ndarray) -> float:
    """Share of an attribute's whole movement that is due to one component."""
    return float(moves.max() / moves.sum()) if moves.sum() > 0 else 0.0


def _accuracies(world, rows, branch, method, shots, metric, shifted: bool) -> list[float]:
    """Mean accuracy of each draw, over sources and test sets of the kind."""
    by_draw: dict[int, list[float]] = {}
    names = {f"{prefix}{method}/{shots}-shot" for prefix in world.sources}
    for row in rows:
        if row.setting in names and row.modality == branch and row.metric == metric:
            if (row.target != "source") == shifted:
                by_draw.setdefault(row.seed, []).append(row.value)
    return [float(np.mean(values)) for values in by_draw.values()]


def _metrics(rows: Sequence[Row]) -> list[str]:
    # What is before the last part is of the user: a domain may be called zero.
    last = lambda r: r.setting.rpartition("/")[2]
    probed = (r for r in rows if last(r).endswith("-shot") and last(r) != "zero-shot")
    return list(dict.fromkeys(r.metric for r in probed))


def _kinds(world: FeatureWorld) -> dict[str, bool]:
    """Title -> whether it is of shifted test sets."""
    source = next(iter(next(iter(world.sources.values())).values()))
    return {"source": False} | ({"shifted": True} if len(source.tests) > 1 else {})


def shot_tables(config: Any, world: FeatureWorld, rows: Sequence[Row]) -> list[str]:
    """A table a branch and kind of test set: methods and probes by shots."""
    if not world.sources:
        return []
    parts = []
    for branch in branches_of(world.whole):
        for title, shifted in _kinds(world).items():
            lines = []
            for method in methods(config.num_components):
                for metric in _metrics(rows):
                    look = lambda n, m=method, metric=metric, branch=branch, shifted=shifted: (
                        _accuracies(world, rows, branch, m.name, n, metric, shifted)
                    )
                    cells = [mean_and_deviation(look(n), digits=3) for n in config.shots]
                    probe = metric.removeprefix("accuracy_") if "_" in metric else "l2"
                    lines.append([method.name, probe, *cells])
            name = marked(world, f"{BRANCHES[branch]}, {title}")
            header = [name, "probe", *(f"{n}-shot" for n in config.shots)]
            parts.append(markdown_table(header, lines))
    zero = [r for r in rows if r.setting.rpartition("/")[2] == "zero-shot"]
    if zero:
        lines = [[r.setting, r.target, f"{r.value:.3f}"] for r in zero]
        header = [marked(world, "zero-shot"), "test set", "accuracy"]
        parts.append(markdown_table(header, lines))
    return parts


def draw_shots(config: Any, run: Run, world: FeatureWorld, rows: Sequence[Row]) -> None:
    """Accuracy by shots, a panel a branch, kind of test set and probe."""
    if not world.sources:
        return
    for metric in _metrics(rows):
        panels = {}
        for branch in branches_of(world.whole):
            for title, shifted in _kinds(world).items():
                panels[marked(world, f"{BRANCHES[branch]}, {title}")] = {
                    method.name.replace(" + ", ", "): {
                        n: _accuracies(world, rows, branch, method.name, n, metric, shifted)
                        for n in config.shots
                    }
                    for method in methods(config.num_components)
                }
        figure = line_panels_figure(panels, xlabel="shots", ylabel=metric)
        save_figure(figure, run.path("figures", f"{metric}_by_shots.png"))


def spectra_path(run: Run, count: int, seed: int) -> str:
    """Where the sorted kurtosis of a split's components is kept until it is drawn."""
    return run.path("spectra", f"{count}_seed{seed}.npz")


def draw_spectra(config: Any, run: Run, world: FeatureWorld, count: int) -> None:
    """Held-out kurtosis of sorted components."""
    panels: dict[str, dict[str, list[np.ndarray]]] = {}
    for seed in seed_numbers(config):
        with np.load(spectra_path(run, count, seed)) as file:
            for name in file.files:
                side, _, look = name.partition(": ")
                lines = panels.setdefault(marked(world, BRANCHES[side]), {})
                lines.setdefault(look, []).append(file[name])
    figure = spectrum_figure(panels, ylabel="excess kurtosis, held-out")
    save_figure(figure, run.path("figures", f"kurtosis_{count}.png"))


def write_examples(
    run: Run, config: Any, world: FeatureWorld, side: str, count: int, best: np.ndarray
) -> None:
    """`examples_<side>_<count>.csv`: the top rows of every component; images as a figure."""
    names = world.whole.names
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["component", *(f"top {k + 1}" for k in range(best.shape[1]))])
    for number, top in enumerate(best):
        shown = top.tolist() if names is None else [str(n) for n in names[top]]
        writer.writerow([number + 1, *shown])
    atomic_write(run.path(f"examples_{side}_{count}.csv"), text.getvalue())
    if config.images:
        images = world.whole.extra[config.images]
        titles = [marked(world, f"component {k + 1}") for k in range(len(best[:SHOWN]))]
        figure = examples_figure(images, best[:SHOWN], titles)
        save_figure(figure, run.path("figures", f"examples_{side}_{count}.png"))


def draw_traversals(
    run: Run,
    config: Any,
    world: FeatureWorld,
    side: str,
    count: int,
    affine: Affine,
    response: Response,
    attributes: Sequence[str],
) -> None:
    """Which attribute moves with which component; with images, the nearest held ones on the way."""
    panels = {"by probes": response.probe[:SHOWN], "by neighbours": response.neighbours[:SHOWN]}
    titles = [marked(world, f"component {k + 1}") for k in range(len(panels["by probes"]))]
    figure = response_figure(panels, titles, attributes)
    save_figure(figure, run.path("figures", f"response_{side}_{count}.png"))
    if not config.images:
        return
    x = jnp.asarray(world.whole.sides()[side][world.held])
    values = components(affine, x)
    rows = []
    for k in range(len(titles)):
        levels = jnp.quantile(values[:, k], jnp.linspace(0.02, 0.98, LEVELS))
        rows.append(np.asarray(nearest_rows(traversed(affine, x[:1], k, levels)[0], x)))
    likely = [attributes[j] for j in np.argmax(panels["by probes"], 1)]
    remarks = [f"{title}: {name}" for title, name in zip(titles, likely, strict=True)]
    images = world.whole.extra[config.images]
    figure = examples_figure(images, world.held[np.stack(rows)], remarks)
    save_figure(figure, run.path("figures", f"traversals_{side}_{count}.png"))


def _grouped(rows: Sequence[Row], setting: str) -> dict[tuple[str, str, str], list[float]]:
    results: dict[tuple[str, str, str], list[float]] = {}
    for row in rows:
        if row.setting == setting:
            results.setdefault((row.target, row.modality, row.metric), []).append(row.value)
    return results


def _table(rows, setting, title, names, columns) -> str:
    """Rows by target, columns by (modality, metric)."""
    result = _grouped(rows, setting)
    lines = [
        [name, *(mean_and_deviation(result.get((name, *c), []), digits=3) for c in columns)]
        for name in names
    ]
    return markdown_table([title, *(f"{BRANCHES[s]}: {m}" for s, m in columns)], lines)


def count_tables(config: Any, world: FeatureWorld, rows: Sequence[Row], count: int) -> list[str]:
    """Retrieval, components, known latents and traversals with that many components."""
    sides = list(world.whole.sides())
    parts = []
    for kind, title, metrics in (
        ("retrieval", f"retrieval, {count} components", ("recall_at_1", "recall_at_5")),
        ("latents", f"against the latents, {count} components", ("mcc", "r2_linear")),
        ("components", f"held-out, {count} components", ("kurtosis", "sparsity", "stability")),
        ("examples", f"attributes moved by {count} components", ("largest move", "selectivity")),
    ):
        setting = f"{world.mark}{kind}/{count}"
        result = _grouped(rows, setting)
        names = list(dict.fromkeys(key[0] for key in result if key[0] != "all"))
        if kind == "retrieval":
            names = [m.name for m in MEASURES if m.name in names]
        columns = [(s, m) for s in sides for m in metrics]
        if names:
            parts.append(_table(rows, setting, marked(world, title), names, columns))
    return parts


def geometry_text(world: FeatureWorld, rows: Sequence[Row], count: int) -> str:
    """Which theory's coupling the pairs have, in a sentence; empty where it was not asked."""
    results = {r.metric: r.value for r in rows if r.setting == f"{world.mark}geometry/{count}"}
    if not results:
        return ""
    gain, error = results["advantage"], results["advantage_error"]
    message = "a convex body" if gain > 0 else "a sphere"
    sure = "" if abs(gain) > 2 * error else ", within two standard errors of neither"
    pairs = marked(world, "Geometry of the pairs")
    return (
        f"{pairs} in {count} components: the coupling's exponent is "
        f"{results['exponent']:.2f} ± {results['exponent_error']:.2f} (2 on a sphere, 1 in a box); "
        f"a pointed coupling tells held-out partners by {gain:.3f} ± {error:.3f} nats better than "
        f"a round one: {message}{sure}."
    )


def examples_text(world: FeatureWorld, count: int) -> str:
    """Where the top rows are."""
    shown = "names" if world.whole.names is not None else "row numbers"
    return f"{marked(world, 'Top ' + shown)} of every component: `examples_x_{count}.csv`."


def summary(
    config: Any, world: FeatureWorld, rows: Sequence[Row], seconds: Mapping[str, float]
) -> str:
    """Few-shot tables, then what is known of the components."""
    shapes = ", ".join(f"{BRANCHES[b]} {v.shape}" for b, v in branches_of(world.whole).items())
    fitted = "each draw's rows" if config.unmix == "draw" else "the source's unlabelled rows"
    about = (
        f"{world.name}: {shapes}; {counted(config.seeds, 'draw')}, mean ± standard deviation; "
        "unmixing fitted "
        f"on {fitted}; {machine()}; {sum(seconds.values()):.0f} s."
    )
    parts = [marked(world, "# disentangle"), about]
    parts += [f"Note: {line}." for line in world.remarks]
    parts += [f"Rows: {line}." for line in world.counts]
    parts += shot_tables(config, world, rows)
    for count in config.num_components:
        parts += count_tables(config, world, rows, count)
        parts += [text for text in [geometry_text(world, rows, count)] if text]
        parts.append(examples_text(world, count))
    return "\n\n".join(parts) + "\n"

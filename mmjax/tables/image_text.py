"""Tables of what encoders of images and captions tell of every factor of a scene."""

import os
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from mmjax.data import load_split, remarks_on, scene_vocabulary, split_columns, vocabulary_to_json
from mmjax.data.sets.multimodal_3dident import SceneSplit
from mmjax.errors import counted, note
from mmjax.generative import scene_model
from mmjax.losses import make_similarity
from mmjax.report import (
    caption_grid_figure,
    line_panels_figure,
    markdown_table,
    mean_and_deviation,
    neighbours_figure,
    save_figure,
    sheet_figure,
)
from mmjax.run import (
    Fit,
    MetricsLog,
    Row,
    Run,
    atomic_write,
    fit_seeds,
    machine,
    progress_line,
    save_arrays,
    seed_keys,
    seed_numbers,
    slug,
    values,
)
from mmjax.studies import (
    SHARED,
    ImageTextStudy,
    content_features,
    disentanglement_figures,
    embedded,
    factor_figures,
    factors_of,
    held_source,
    loaded_scenes,
    make_image_text_study,
    rendered_scenes,
    sample_sheet,
    streamed_source,
)
from mmjax.studies.scene_data import SceneData, Source
from mmjax.types import Key, Pair, Tree

EXPERIMENT = "image_text"
# What is trained on, the pairs to fit and to score probes on, and the vocabulary's file.
World = tuple[Source, SceneData, SceneData, str]
PURPOSES = ("train", "probe", "split")
SIDES = {"x": "image", "t": "text"}


def _loaded(config: Any, run: Run) -> World:
    """(source, fit, score) of a data set on disk; its vocabulary goes beside the run."""
    options = dict(resolution=config.resolution, on_corrupt=config.on_corrupt, cache=config.cache)
    train = load_split(config.data, "train", **options)
    length = train.tokens.shape[1]
    options |= dict(vocabulary=train.vocabulary)
    parts = [load_split(config.data, split, **options) for split in ("val", "test")]
    for name, part in zip(("train", "val", "test"), (train, *parts), strict=True):
        for line in remarks_on(part, os.path.join(config.data, name)):
            note(line)
    length = max(part.tokens.shape[1] for part in (train, *parts))
    held, fit, score = (loaded_scenes(_padded(part, length)) for part in (train, *parts))
    source = held_source(held, len(train.vocabulary.words), config.batch_size)
    return source, fit, score, vocabulary_to_json(train.vocabulary)


def _padded(split: SceneSplit, length: int) -> SceneSplit:
    more = length - split.tokens.shape[1]
    return split._replace(tokens=np.pad(split.tokens, ((0, 0), (0, more))))


def _data_keys(config: Any) -> Key:
    """`[4]`: of pairs to train on, to fit and to score probes on, and of probes of the factors."""
    # The seeds' keys are folded with purposes, and `split` gives what `fold_in` gives.
    root = jax.random.fold_in(jax.random.key(config.data_seed), 2**32 - 2)
    return jax.random.split(root, 4)


def _rendered(config: Any) -> World:
    """(source, fit, score) of rendered scenes."""
    model = scene_model(position_dependent_color=config.position_dependent_color)
    keys = _data_keys(config)[:3]
    sizes = config.rendered, config.eval_pairs, config.eval_pairs
    show = progress_line("rendering", sum(sizes), unit="images")
    parts = [
        rendered_scenes(model, key, n, config.resolution, lambda d, k=k: show(sum(sizes[:k]) + d))
        for k, (key, n) in enumerate(zip(keys, sizes, strict=True))
        if n
    ]
    if config.rendered:
        words = len(scene_vocabulary().words)
        source = held_source(parts[0], words, config.batch_size)
    else:
        source = streamed_source(model, config.resolution, config.batch_size)
    fit, score = parts[-2:]
    return source, fit, score, vocabulary_to_json(scene_vocabulary())


def train_setting(
    config: Any, setting: str, study: ImageTextStudy, run: Run, log: MetricsLog
) -> Tree:
    """Trains all seeds at one encoding size."""
    outcome = fit_seeds(
        run,
        setting,
        study.recipe,
        study.init_params,
        constants=study.constants,
        keys=seed_keys(config, PURPOSES)["train"],
        seeds=seed_numbers(config),
        fit=Fit(config.parallel, config.batch_size),
        log=log,
    )
    return outcome.params


def produce(
    config: Any, run: Run, setting: str, size: int, world: Callable[[], World], log: MetricsLog
) -> list[Row]:
    """Trains and judges a row: every factor and disentanglement, from both encoders."""
    source, fit, score, _ = world()
    study = make_image_text_study(
        source, config, size, chunk_steps=config.chunk_steps, save_every=config.save_every
    )
    params = train_setting(config, setting, study, run, log)
    fit_factors, score_factors = factors_of(fit.factors, score.factors)
    keys, rows = seed_keys(config, PURPOSES), []
    for k, seed in enumerate(run.tracked(seed_numbers(config), f"{setting}, judging", "seeds")):
        seed_params = jax.tree.map(lambda v, k=k: v[k], params)
        seen = [embedded(study, seed_params, part) for part in (fit, score)]
        if k == 0:
            draw_pairs(config, run, setting, score, seen[1])
        if config.export_features:
            arrays = {side: np.asarray(getattr(seen[1], k)) for k, side in SIDES.items()}
            arrays["names"] = np.array(score.texts)
            path = run.path("features", f"{slug(setting)}_seed{seed}.npz")
            # Other pairs trained the encoders, and others again fitted the probes.
            arrays |= split_columns("test", np.arange(len(score.texts)))
            save_arrays(path, **arrays, images=score.images, **score_factors)
        for side in SIDES:
            features = [getattr(pair, side) for pair in seen]
            figures = factor_figures(
                features[0],
                features[1],
                fit_factors,
                score_factors,
                keys["probe"][k],
                kernel_samples=config.kernel_samples,
                probe_steps=config.probe_steps,
            )
            cells = disentanglement_figures(
                features[1], score_factors, seed=seed, split_key=keys["split"][k]
            )
            figures |= {("content", metric): value for metric, value in cells.items()}
            rows += [Row(EXPERIMENT, setting, seed, side, *n, v) for n, v in figures.items()]
    return rows


def content_rows(config: Any, run: Run, world: Callable[[], World], log: MetricsLog) -> list[Row]:
    """Setting `content`: every factor predicted from the shared ones, what theory allows."""
    _, fit, score, vocabulary = world()
    atomic_write(run.path("vocabulary.json"), vocabulary)
    figure = caption_grid_figure(score.images[:12], score.texts[:12])
    save_figure(figure, run.path("figures", "samples.png"))
    if not config.data:
        figure = sheet_figure(sample_sheet(config.resolution))
        save_figure(figure, run.path("figures", "sheet.png"))
    fit_factors, score_factors = factors_of(fit.factors, score.factors)
    figures = factor_figures(
        content_features(fit.factors),
        content_features(score.factors),
        fit_factors,
        score_factors,
        _data_keys(config)[3],
        kernel_samples=config.kernel_samples,
        probe_steps=config.probe_steps,
    )
    return [Row(EXPERIMENT, "content", config.seed, "joint", *n, v) for n, v in figures.items()]


def draw_pairs(config: Any, run: Run, setting: str, data: SceneData, seen: Pair) -> None:
    """Nearest neighbours across modalities, of the first seed."""
    similarity = make_similarity(config.similarity, p=config.p)
    x, t = (similarity.prepare(side[:500]) for side in seen)
    scores = np.asarray(similarity.pairwise(x, t))
    figure = neighbours_figure(data.images, data.texts, scores)
    save_figure(figure, run.path("figures", f"neighbours_{setting}.png"))


def summary(config: Any, rows: list[Row], seconds: Mapping) -> str:
    """A row a factor: from either encoder, from content alone; then disentanglement."""
    sizes = [f"size={size}" for size in config.encoding_sizes]
    factors = list(dict.fromkeys(r.target for r in rows if r.setting == "content"))
    metric = lambda factor: (
        ("accuracy", "accuracy_mlp")
        if _discrete(rows, factor)
        else (
            "r2_linear",
            "r2_kernel",
        )
    )

    def cell(setting, side, factor):
        return " / ".join(
            mean_and_deviation(values(rows, setting, side, factor, m), digits=3)
            for m in metric(factor)
        )

    header = ["factor", "metric"]
    header += [f"{SIDES[side]}, {size}" for size in sizes for side in SIDES]
    header += ["content alone", "chance"]
    lines = [
        [
            factor + (" (shared)" if factor in SHARED else ""),
            "accuracy: linear / MLP" if _discrete(rows, factor) else "R2: linear / kernel",
            *(cell(size, side, factor) for size in sizes for side in SIDES),
            cell("content", "joint", factor),
            mean_and_deviation(values(rows, "content", "joint", factor, "chance"), digits=3),
        ]
        for factor in factors
    ]
    names = ("mcc", "dci_disentanglement", "dci_completeness", "dci_informativeness", "mig", "sap")
    against = [
        [
            f"{SIDES[side]}, {size}",
            *(mean_and_deviation(values(rows, size, side, "content", m), digits=3) for m in names),
            f"{seconds[size] / config.seeds:.0f}" if size in seconds else "-",
        ]
        for size in sizes
        for side in SIDES
    ]
    pairs = config.data or f"{config.rendered or 'endless'} rendered pairs"
    about = (
        f"{pairs}, {config.resolution} x {config.resolution} pixels; "
        f"{counted(config.seeds, 'seed')}, mean ± "
        f"standard deviation; {machine()}. Probes are fitted on one split and scored on another."
    )
    tables = [
        markdown_table(header, lines),
        "Against the shared factors (DCI by random forests):",
        markdown_table(["encoder", *names, "s / model"], against),
    ]
    return "\n\n".join([f"# {EXPERIMENT}", about, *tables]) + "\n"


def _discrete(rows: list[Row], factor: str) -> bool:
    return any(r.target == factor and r.metric == "accuracy" for r in rows)


def draw(config: Any, run: Run, rows: list[Row]) -> None:
    """Every factor by encoding size, a panel an encoder."""
    panels: dict[str, dict[str, dict[float, list[float]]]] = {}
    for side, kind in SIDES.items():
        for row in rows:
            wanted = "accuracy_mlp" if _discrete(rows, row.target) else "r2_kernel"
            if row.modality == side and row.metric == wanted:
                lines = panels.setdefault(f"{kind} encoder", {})
                points = lines.setdefault(row.target, {})
                points.setdefault(int(row.setting.removeprefix("size=")), []).append(row.value)
    figure = line_panels_figure(
        panels, xlabel="encoding size", ylabel="accuracy (MLP) or R2 (kernel)", width=4.5
    )
    save_figure(figure, run.path("figures", "factors.png"))

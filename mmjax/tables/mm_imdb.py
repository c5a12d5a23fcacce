"""Films of MM-IMDb: features by a CLIP, kept in the workdir, and the table of F1."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmjax.data import ClipInputs, load_mm_imdb
from mmjax.data.dataset import Dataset
from mmjax.data.sets.mm_imdb import film_ids, poster_paths
from mmjax.errors import counted
from mmjax.report import Expected, grouped_bars_figure, save_figure
from mmjax.run import Row, Run, machine, save_arrays, values
from mmjax.studies.fusing_methods import METHODS
from mmjax.tables import clip_features
from mmjax.tables.fused import chosen_names, percent_table, seconds_a_model
from mmjax.tables.recorded import CONTROLS, Case, labels_of

EXPERIMENT = "comm_mmimdb"
METRICS = {"weighted F1": "f1_weighted", "macro F1": "f1_macro"}
# Weighted and macro F1, percent, of linear probes of CLIP's features (raw), of what is learned on
# top of them, and of SLIP (Dufumier et al. 2025).
PUBLISHED = {"raw": (58.9, 50.9), "comm": (61.48, 54.63), "slip": (56.54, 47.35)}


def embedded_films(config: Any, run: Run) -> Dataset:
    """Films with `[n, d]` features of posters and plots by the CLIP, from the workdir if there."""
    data = load_mm_imdb(config.data, workers=config.workers)
    names, texts = film_ids(config.data), list(data.columns["text"].values)
    inputs = ClipInputs(names, poster_paths(config.data, names), texts, None)
    folder = run.path("clip", clip_features.fingerprint(inputs, config.clip))
    inner, kept = run._replace(workdir=folder), os.path.join(folder, "features.npz")
    if not os.path.exists(kept):
        options = clip_features.EmbeddingOptions(
            model=config.clip, batch_size=config.embed_batch, workers=config.workers
        )
        encoders = clip_features.make_encoders(options, inputs)
        whole = clip_features.joined(clip_features.extract(options, inner, inputs, encoders))
        save_arrays(kept, image=whole.image, text=whole.text)
    with np.load(kept, allow_pickle=False) as file:
        features = {name: file[name] for name in ("image", "text")}
    films = Dataset.from_arrays(features, labels=data.labels, split=data.split, name=data.name)
    return films.also_by(names)


def expected(config: Any, settings: Sequence[str]) -> list[Expected]:
    """The published figures of CLIP's features, where the run has a CLIP."""
    return [
        Expected(setting, "joint", "genres", metric, value / 100, None, "Dufumier et al. 2025")
        for setting in settings
        for metric, value in zip(
            METRICS.values(), PUBLISHED.get(setting.split("/")[0], ()), strict=False
        )
        if config.clip
    ]


def summary(
    config: Any, run: Run, case: Case, rows: Sequence[Row], seconds: Mapping[str, float]
) -> str:
    """A row a method: F1 from both, then from each alone."""
    names = [*CONTROLS, *chosen_names("methods", config.methods, METHODS)]
    settings = {name: f"{name}/{case.name}" for name in names}
    cells = {
        f"{title}{'' if subset == 'joint' else f', {subset}'}": (subset, "genres", metric)
        for subset in reversed(list(case.subsets))
        for title, metric in METRICS.items()
    }
    everything = {"f1_weighted": 1.0, "f1_macro": 1.0}
    support = labels_of(case.data.part("test"), case.targets["genres"]).mean(0)
    always = 2 * support / (1 + support)  # F1 of saying yes to all
    everything["f1_macro"] = float(always.mean())
    everything["f1_weighted"] = float((always * support).sum() / max(support.sum(), 1e-12))
    levels = {title: everything[metric] for title, (_, _, metric) in cells.items()}
    groups = {
        title: {name: values(rows, s, *cell) for name, s in settings.items()}
        for title, cell in cells.items()
    }
    figure = grouped_bars_figure(groups, levels=levels, ylabel="F1 of a linear probe")
    save_figure(figure, run.path("figures", "f1.png"))

    def beside(setting):
        known = PUBLISHED.get(setting.split("/")[0]) if config.clip else None
        published = " / ".join(map(str, known)) if known else "-"
        return published, seconds_a_model(config, seconds, setting)

    table = percent_table(
        rows,
        list(settings.values()),
        cells,
        chance=list(levels.values()),
        beside=beside,
        beside_header=["published", "s / model"],
        header="F1, %",
    )
    train, test = (int(np.sum(case.data.split == part)) for part in ("train", "test"))
    about = (
        f"MM-IMDb, {' and '.join(case.data.columns)} features"
        f"{' of ' * bool(config.clip)}{config.clip}: {train} training and {test} test films, "
        f"{config.steps} steps, {counted(config.seeds, 'seed')}, mean ± standard deviation; "
        "chance: every "
        f"genre for every film; {machine()}."
    )
    return "\n\n".join([f"# {EXPERIMENT}", about, table]) + "\n"

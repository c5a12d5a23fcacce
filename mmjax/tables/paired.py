"""Tables of pairs from a file: probes and retrieval by embedding dimension."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.data import PairedData
from mmjax.data.exports import PAIR_LIST
from mmjax.data.pairs import matrix_of
from mmjax.errors import counted
from mmjax.losses import make_similarity
from mmjax.report import lines_figure, markdown_table, mean_and_deviation, save_figure
from mmjax.run import (
    Fit,
    MetricsLog,
    Row,
    Run,
    fit_seeds,
    machine,
    save_arrays,
    seed_numbers,
    slug,
    values,
)
from mmjax.studies import (
    RANKS,
    PairStudy,
    chance_levels,
    export_columns,
    probe_figures,
    raw_features,
    retrieval,
)
from mmjax.types import Tree

EXPERIMENT = "paired_data"
METRICS = "accuracy", "r2"  # of classes, of quantities
FEW = max(RANKS)  # test rows: of more every recall at k tells something


def raw_rows(config: Any, data: PairedData) -> list[Row]:
    """Setting `raw`: the same probes on the recordings, and chance."""
    rows = []
    for side in ("x", "t"):
        modality = getattr(data, side)
        figures = probe_figures(modality, raw_features(modality), limit=config.probe_samples)
        figures |= {(name, "chance"): v for name, v in chance_levels(modality).items()}
        rows += [Row(EXPERIMENT, "raw", config.seed, side, *n, v) for n, v in figures.items()]
    return rows


def export(run: Run, data: PairedData, see: Mapping[str, Callable], name: str) -> None:
    """Every row's embedding, label, private factors, split and group, a side a file:
    `features/<name>_<side>.npz`. Where their PAIR_LIST differs they are not paired by row."""
    partners = np.full(data.x.num_rows, -1) if data.partner is None else data.partner
    pairs = {"x": partners, "t": np.arange(data.t.num_rows)}
    for side in ("x", "t"):
        modality, embed = getattr(data, side), see[side]
        parts = [
            embed(v) for v in np.array_split(matrix_of(modality), -(-modality.num_rows // 8192))
        ]
        path = run.path("features", f"{slug(name)}_{side}.npz")
        columns = export_columns(modality) | {PAIR_LIST: pairs[side]}
        save_arrays(path, feature_list=np.concatenate(parts), **columns)


def trained_rows(
    config: Any, data: PairedData, study: PairStudy, setting: str, params: Tree, run: Run
) -> list[Row]:
    """Probes and retrieval of every seed."""
    similarity = make_similarity(config.similarity, p=config.p)
    compare = lambda a, b: similarity.pairwise(similarity.prepare(a), similarity.prepare(b))
    rows = []
    for k in run.tracked(range(config.seeds), f"{setting}, judging", "seeds"):
        seed_params = jax.tree.map(lambda leaf, k=k: leaf[k], params)
        see = {side: partial(study.embed, seed_params, side) for side in ("x", "t")}
        figures = {
            (side, *name): value
            for side in ("x", "t")
            for name, value in probe_figures(
                getattr(data, side), see[side], limit=config.probe_samples
            ).items()
        }
        if config.export_features:
            export(run, data, see, f"{setting}_seed{config.seed + k}")
        result = retrieval(data, see["x"], see["t"], compare, limit=config.retrieval_samples)
        figures |= {(side, "pair", metric): value for (side, metric), value in result.items()}
        rows += [Row(EXPERIMENT, setting, config.seed + k, *n, v) for n, v in figures.items()]
    return rows


def train_setting(config: Any, study: PairStudy, setting: str, run: Run, log: MetricsLog) -> Tree:
    """Trains all seeds at one embedding dimension; there is no oracle, so none restarts."""
    numbers = seed_numbers(config)
    outcome = fit_seeds(
        run,
        setting,
        study.recipe,
        study.init_params,
        constants=study.constants,
        keys=jax.vmap(jax.random.key)(jnp.asarray(numbers)),
        seeds=numbers,
        fit=Fit(config.parallel, config.batch_size),
        log=log,
    )
    return outcome.params


def cells(rows: list[Row], settings: list[str], metric: str) -> list[tuple[str, str]]:
    """(modality, target) of which these settings have the metric, in order of appearance."""
    return list(dict.fromkeys(r[3:5] for r in rows if r.setting in settings and r.metric == metric))


def probe_table(rows: list[Row], settings: list[str], seconds: dict, seeds: int) -> str:
    """A row a setting: accuracy of each probe, R2 of a quantity; the recordings themselves and
    chance below."""
    probes = [(*cell, metric) for metric in METRICS for cell in cells(rows, settings, metric)]
    line = lambda setting: [
        mean_and_deviation(values(rows, setting, *probe), digits=3) for probe in probes
    ]
    chance = lambda side, target, metric: (
        f"{values(rows, 'raw', side, target, 'chance')[0]:.3f}" if metric == "accuracy" else "0"
    )
    spent = lambda s: f"{seconds[s] / seeds:.0f}" if s in seconds else "-"
    lines = [[s, *line(s), spent(s)] for s in settings]
    lines.append(["raw recordings", *line("raw"), "-"])
    lines.append(["chance", *(chance(*probe) for probe in probes), "-"])
    told = {"accuracy": "", "r2": ", R2"}
    header = [f"{target} from {side}{told[metric]}" for side, target, metric in probes]
    header = ["probe accuracy", *header, "s / model"]
    return markdown_table(header, lines)


def retrieval_table(rows: list[Row], settings: list[str]) -> str:
    """A row a setting and direction: recall at 1, 5, 10, of the partner and of its class."""
    metrics = [f"{kind}recall_at_{k}" for kind in ("", "class_") for k in (1, 5, 10)]
    metrics = [m for m in metrics if cells(rows, settings, m)]
    lines = [
        [f"{s}, {side} to {other}"]
        + [mean_and_deviation(values(rows, s, side, "pair", m), digits=3) for m in metrics]
        for s in settings
        for side, other in ("xt", "tx")
    ]
    return markdown_table(["retrieval", *metrics], lines)


def summary(config: Any, data: PairedData, rows: list[Row], seconds: dict) -> str:
    """Probes, then retrieval."""
    settings = [f"dim={dim}" for dim in config.embedding_dims]
    about = (
        f"{data.name}: x is {data.x.name!r} {matrix_of(data.x).shape}, t is {data.t.name!r} "
        f"{matrix_of(data.t).shape}; pairs by {'label' if data.partner is None else 'index'}; "
        f"{counted(config.seeds, 'seed')}, mean ± standard deviation; {machine()}."
    )
    about = " ".join([about, *data.remarks])
    tables = [probe_table(rows, settings, seconds, config.seeds)]
    if any(cells(rows, settings, f"{kind}recall_at_1") for kind in ("", "class_")):
        tables.append(retrieval_table(rows, settings))
    return "\n\n".join([f"# {EXPERIMENT}", about, *tables]) + "\n"


def few_tests(config: Any, data: PairedData) -> list[str]:
    """A sentence on test rows so few that figures of them say little."""
    counts = {name: int((getattr(data, name).split == "test").sum()) for name in ("x", "t")}
    if min(*counts.values(), config.retrieval_samples) > FEW:
        return []
    rows = " and ".join(f"{counted(n, 'test row')} of {name}" for name, n in counts.items())
    asked = f", {config.retrieval_samples} of which in retrieval"
    asked = asked if config.retrieval_samples < max(counts.values()) else ""
    return [
        f"{rows}{asked}: figures of {FEW} or fewer are mostly chance; recall at k takes more "
        "than k rows, R2 two or more."
    ]


def facts_of(data: PairedData) -> dict[str, Any]:
    """What a report tells of the data."""
    facts: dict[str, Any] = {"pairs": "by label" if data.partner is None else "by index"}
    for name, side in (("x", data.x), ("t", data.t)):
        train, test = (int(np.sum(side.split == part)) for part in ("train", "test"))
        facts[f"{name}, {side.name}"] = (
            f"{train} training and {test} test rows of {matrix_of(side).shape[1:]}"
        )
    return facts | {"remark": list(data.remarks)}


def draw(config: Any, run: Run, rows: list[Row]) -> None:
    """Probe accuracy against embedding dimension; dotted: from the raw recordings."""
    settings = {f"dim={dim}": dim for dim in config.embedding_dims}
    lines, levels = {}, {}
    probes = [(*c, metric) for metric in METRICS for c in cells(rows, list(settings), metric)]
    for side, target, metric in probes:
        name = f"{target} from {side}" + (", R2" if metric == "r2" else "")
        lines[name] = {d: values(rows, s, side, target, metric) for s, d in settings.items()}
        levels[name] = values(rows, "raw", side, target, metric)[0]
    if not lines:
        return
    figure = lines_figure(
        lines,
        levels=levels,
        title="Linear probes of the embeddings (dotted: of the raw recordings)",
        xlabel="embedding dimension",
        ylabel="test accuracy" + (", R2" if any(m == "r2" for *_, m in probes) else ""),
    )
    save_figure(figure, run.path("figures", "probes.png"))

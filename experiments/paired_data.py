"""What do two encoders trained on YOUR paired recordings keep, and what do they drop?

  python -m experiments.paired_data                       # halves of scikit-learn's digits, seconds
  python -m experiments.paired_data --data=pairs.npz --x=audio --t=image \\
      --label_x=word --label_t=word --private_x=speaker   # your arrays, by name
  python -m experiments.paired_data --data=coco.npz --x=caption --t=image --ids_t=image_id
  python -m experiments.paired_data --data=av_digits.npz --x=mel --t=image --pairs=label \\
      --label_x=audio_digit --label_t=image_digit --private_x=audio_speaker \\
      --test_x=audio_is_test --test_t=image_is_test --embedding_dims=4,8,16,32,64

Rows that are one recording (equal ids, or equal contents) are no negatives of each other and lie on
one side of a random split; in retrieval any partner of a recording is a right answer.
Reports retrieval (recall at 1, 5, 10), and linear probes of labels (shared) and private factors
from the embeddings beside the raw recordings. Theory: the shared label stays readable, private
factors go; how completely depends on the embedding dimension, so several can be swept.
"""

import dataclasses
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from experiments.needs import NEEDS
from mmjax.config import names_in, option
from mmjax.data import PairedData, SideNames, digit_halves, load_pairs
from mmjax.errors import require
from mmjax.losses import make_similarity
from mmjax.report import lines_figure, markdown_table, mean_and_deviation, save_figure
from mmjax.run import (
    Fit,
    MetricsLog,
    Row,
    Run,
    RunOptions,
    fit_seeds,
    launch,
    machine,
    run_table,
    save_arrays,
    seed_numbers,
    slug,
    values,
)
from mmjax.studies import (
    PairOptions,
    PairStudy,
    chance_levels,
    export_columns,
    make_pair_study,
    probe_accuracies,
    raw_features,
    retrieval,
)
from mmjax.types import Pair

EXPERIMENT = "paired_data"


@dataclasses.dataclass(frozen=True)
class Config(PairOptions, RunOptions):
    """Where the pairs come from, what is trained on them, and how the run is carried out."""

    data: str = option("", "an .npz file; empty: halves of scikit-learn's digits", file=True)
    x: str = option("", "name of the first modality's array [n, ...]")
    t: str = option("", "name of the second modality's array [m, ...]")
    label_x: str = option("", "name of x's labels, what both sides share")
    label_t: str = option("", "name of t's labels")
    private_x: str = option("", "names of x's private factors, comma-separated")
    private_t: str = option("", "names of t's private factors, comma-separated")
    ids_x: str = option(
        "", "name of x's ids: equal where rows are one recording; empty: where contents are equal"
    )
    ids_t: str = option("", "name of t's ids")
    test_x: str = option("", "name of x's test mask (bool); empty: a random split by recordings")
    test_t: str = option("", "name of t's test mask")
    test_share: float = option(0.2, "share of test rows where no mask is named")
    pairs: str = option("index", "pairs by row index, or drawn by label", ("index", "label"))
    pair_index: str = option("", "name of the rows of t that belong to x's rows; empty: same row")
    embedding_dims: tuple[int, ...] = option((8,), "embedding dimensions, a row of the table each")
    export_features: bool = option(False, "write embeddings, labels and factors to features/")
    probe_samples: int = option(10_000, "training rows a probe is fitted on, at most")
    retrieval_samples: int = option(2000, "test rows in retrieval, at most")


PRESETS = {"quick": {}, "paper": {}}


def read_data(config: Config) -> PairedData:
    """The pairs that the flags describe."""
    if not config.data:
        return digit_halves(config.test_share)
    side = lambda values, label, private, *rest: SideNames(values, label, names_in(private), *rest)
    return load_pairs(
        config.data,
        side(config.x, config.label_x, config.private_x, config.test_x, config.ids_x),
        side(config.t, config.label_t, config.private_t, config.test_t, config.ids_t),
        pairs=config.pairs,
        pair_index=config.pair_index,
        test_share=config.test_share,
    )


def raw_rows(config: Config, data: PairedData) -> list[Row]:
    """Setting `raw`: the same probes on the recordings, and chance."""
    rows = []
    for side in ("x", "t"):
        modality = getattr(data, side)
        figures = {
            "accuracy": probe_accuracies(
                modality, raw_features(modality), limit=config.probe_samples
            ),
            "chance": chance_levels(modality),
        }
        rows += [
            Row(EXPERIMENT, "raw", config.seed, side, target, metric, value)
            for metric, values in figures.items()
            for target, value in values.items()
        ]
    return rows


def export(run: Run, data: PairedData, see: Pair, name: str) -> None:
    """Every row's embedding, label, private factors, split and group, a side a file:
    `features/<name>_<side>.npz`."""
    for side in ("x", "t"):
        rows, embed = getattr(data, side).values, getattr(see, side)
        parts = [embed(v) for v in np.array_split(rows, -(-len(rows) // 8192))]
        path = run.path("features", f"{slug(name)}_{side}.npz")
        save_arrays(path, feature_list=np.concatenate(parts), **export_columns(data, side))


def trained_rows(config: Config, data: PairedData, study: PairStudy, setting: str, params, run):
    """Probes and retrieval of every seed."""
    similarity = make_similarity(config.similarity, p=config.p)
    compare = lambda a, b: similarity.pairwise(similarity.prepare(a), similarity.prepare(b))
    rows = []
    for k in run.tracked(range(config.seeds), f"{setting}, judging", "seeds"):
        own = jax.tree.map(lambda leaf, k=k: leaf[k], params)
        see = Pair(*(lambda v, s=side, own=own: study.embed(own, s, v) for side in "xt"))
        figures = {
            (side, name, "accuracy"): value
            for side in ("x", "t")
            for name, value in probe_accuracies(
                getattr(data, side), getattr(see, side), limit=config.probe_samples
            ).items()
        }
        if config.export_features:
            export(run, data, see, f"{setting}_seed{config.seed + k}")
        found = retrieval(data, see.x, see.t, compare, limit=config.retrieval_samples)
        figures |= {(side, "pair", metric): value for (side, metric), value in found.items()}
        rows += [Row(EXPERIMENT, setting, config.seed + k, *n, v) for n, v in figures.items()]
    return rows


def train_setting(config, study: PairStudy, setting: str, run: Run, log: MetricsLog):
    """Trains all seeds at one embedding dimension; there is no oracle, so none restarts."""
    numbers = seed_numbers(config)
    outcome = fit_seeds(
        run,
        setting,
        study.plan,
        study.init_params,
        envs=study.env,
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
    """A row a setting: accuracy of each probe; the recordings themselves and chance below."""
    probes = cells(rows, settings, "accuracy")
    line = lambda setting, metric: [
        mean_and_deviation(values(rows, setting, *probe, metric), digits=3) for probe in probes
    ]
    spent = lambda s: f"{seconds[s] / seeds:.0f}" if s in seconds else "-"
    lines = [[s, *line(s, "accuracy"), spent(s)] for s in settings]
    lines.append(["raw recordings", *line("raw", "accuracy"), "-"])
    lines.append(["most frequent class", *line("raw", "chance"), "-"])
    header = ["probe accuracy", *(f"{target} from {side}" for side, target in probes), "s / model"]
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


def summary(config: Config, data: PairedData, rows: list[Row], seconds: dict) -> str:
    """Probes, then retrieval."""
    settings = [f"dim={dim}" for dim in config.embedding_dims]
    about = (
        f"{data.name}: x is {data.x.name!r} {data.x.values.shape}, t is {data.t.name!r} "
        f"{data.t.values.shape}; pairs by {'label' if data.partner is None else 'index'}; "
        f"{config.seeds} seeds, mean ± standard deviation; {machine()}."
    )
    about = " ".join([about, *data.remarks])
    tables = [probe_table(rows, settings, seconds, config.seeds), retrieval_table(rows, settings)]
    return "\n\n".join([f"# {EXPERIMENT}", about, *tables]) + "\n"


def draw(config: Config, run: Run, rows: list[Row]) -> None:
    """Probe accuracy against embedding dimension; dotted: from the raw recordings."""
    settings = {f"dim={dim}": dim for dim in config.embedding_dims}
    lines, levels = {}, {}
    for side, target in cells(rows, list(settings), "accuracy"):
        name = f"{target} from {side}"
        lines[name] = {d: values(rows, s, side, target, "accuracy") for s, d in settings.items()}
        levels[name] = values(rows, "raw", side, target, "accuracy")[0]
    if not lines:
        return
    figure = lines_figure(
        lines,
        levels=levels,
        title="Linear probes of the embeddings (dotted: of the raw recordings)",
        xlabel="embedding dimension",
        ylabel="test accuracy",
    )
    save_figure(figure, run.path("figures", "probes.png"))


def main(config: Config, run: Run) -> None:
    """Runs or resumes all embedding dimensions, writes results, figure and summary."""
    require(len(config.embedding_dims) > 0, "embedding_dims", config.embedding_dims, "one or more")
    data = read_data(config)

    def produce(setting, study, log):
        return trained_rows(
            config, data, study, setting, train_setting(config, study, setting, run, log), run
        )

    table = {"raw": lambda log: raw_rows(config, data)}
    for dim in config.embedding_dims:
        study = make_pair_study(
            data, config, dim, chunk_steps=config.chunk_steps, save_every=config.save_every
        )
        table[f"dim={dim}"] = partial(produce, f"dim={dim}", study)

    def summarise(rows, seconds):
        draw(config, run, rows)
        return summary(config, data, rows, seconds)

    run_table(EXPERIMENT, config, run, table, summarise)


if __name__ == "__main__":
    how = dict(experiment=EXPERIMENT, doc=__doc__, needs=NEEDS[EXPERIMENT])
    sys.exit(launch(main, Config, PRESETS, **how))

"""Commands of the front door: models of a user's own data, embeddings in files, probes of these."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from functools import cache, partial
from typing import Any

import jax
import numpy as np

from mmjax.config import names_in, option
from mmjax.data.dataset import Dataset
from mmjax.data.formats import parse_modalities, read
from mmjax.data.formats.beside import beside_of
from mmjax.data.formats.tables import is_table
from mmjax.data.seen import known_rows, seen_rows
from mmjax.data.values import Lazy
from mmjax.errors import InvalidInput, choose, counted, note, require, say, whole
from mmjax.models import Fusion, Model, fit, retrieval
from mmjax.models.figures import probing
from mmjax.models.losses import loss_named
from mmjax.models.model import known_by
from mmjax.models.rows import features_of
from mmjax.nets import Net, clip_image, clip_text
from mmjax.nets.embedders import ALL
from mmjax.report import markdown_table, mean_and_deviation
from mmjax.run import Row, Run, machine, save_arrays, values

EXPERIMENT = "fit"


@dataclasses.dataclass(frozen=True)
class DataOptions:
    """How a user's data are read; see mmjax.read."""

    data: str = option("", "file or folder of paired data, see mmjax.read", file=True)
    modalities: str = option("", "name:column,name:column+column; empty: what there is")
    labels: str = option("", "columns of labels, comma-separated: what probes read")
    groups: str = option("", "column of groups, which no split parts")
    ids: str = option("", "columns of ids: equal where rows are one recording")
    split: str = option("", "column of the split, or shares: 0.8,0.1,0.1; empty: see mmjax.read")
    index: str = option("", "column:rows pairs: a column whose rows are chosen by row numbers")
    kinds: str = option("", "name:kind pairs, where values don't say it: features, sequence, ...")
    image_size: int = option(0, "side of square pictures; 0: as stored")
    root: str = option("", "folder that paths in a table start from; empty: the table's")
    stream: bool = option(False, "leave pictures, sounds and arrays in their files")
    split_seed: int = option(0, "of a split by shares")


def read_data(options: DataOptions) -> Dataset:
    """The data that the flags describe.

    Raises InvalidInput as mmjax.read does, and for a flag that can't be understood.
    """
    o = options
    require(bool(o.data), "--data", o.data, "the path of a file or folder")
    split: str | list[float] | None = o.split or None
    if o.split and set(o.split) <= set("0123456789., "):
        try:
            split = [float(part) for part in names_in(o.split)]
        except ValueError:
            message = f"split: {o.split!r} is not allowed; use a column, or shares: 0.8,0.1,0.1"
            raise InvalidInput(message) from None
    data = read(
        o.data,
        modalities=parse_modalities(o.modalities) if o.modalities else None,
        labels=names_in(o.labels),
        groups=o.groups,
        ids=names_in(o.ids),
        split=split,
        index=_pairs("index", o.index),
        kinds=_pairs("kinds", o.kinds),
        seed=o.split_seed,
        image_size=o.image_size or None,
        root=o.root,
        stream=True if o.stream else None,
    )
    pictures = any(column.kind == "image" for column in data.columns.values())
    anew = not any(line.startswith("split by column") for line in data.remarks)
    lazy = any(isinstance(column.values, Lazy) for column in data.columns.values())
    moot = {
        "image_size": not pictures and o.image_size,
        "split_seed": not anew and o.split_seed,
        "root": not (is_table(o.data) and data.files is not None) and o.root,
        "stream": not lazy and o.stream,
    }
    why = {
        "image_size": "no modality is pictures",
        "split_seed": "the data say their split",
        "root": "no modality is paths in a table",
        "stream": "no modality can stay in its files",
    }
    notes = [
        f"--{flag}={value} changes nothing: {why[flag]}" for flag, value in moot.items() if value
    ]
    return data._replace(remarks=(*data.remarks, *notes))


def check_held_out(data: Dataset) -> None:
    """Raises InvalidInput where rows that are to be judged hold what training rows do: it is told
    before a training, not after it."""
    judged, seen = data.part("test"), data.part("train", "validation")
    if not judged.num_rows or not seen.num_rows:
        return
    known = known_rows(judged, seen_rows(data, True), np.ones(judged.num_rows, bool))
    partly = np.any([known.rows, *known.by.values()], axis=0)
    rows = f"of {counted(judged.num_rows, 'row')} of split test"
    advice = "use --groups, or drop the copies"
    if known.refused:
        message = f"{int(known.rows.sum())} {rows} equal training rows in every modality"
        raise InvalidInput(f"split: {message}; {advice}")
    if partly.all():
        of = " or ".join(name for name, holds in known.by.items() if holds.any())
        message = f"all {rows} hold what training rows hold in {of}"
        raise InvalidInput(f"split: {message}; {advice}")


def _pairs(flag: str, text: str) -> dict[str, str] | None:
    parts = [part.partition(":") for part in names_in(text)]
    for name, colon, value in parts:
        require(bool(name and colon and value), flag, text, "name:value,name:value")
    return {name.strip(): value.strip() for name, _, value in parts} or None


def clip_nets(data: Dataset, folder: str, tune: str) -> dict[str, Net]:
    """CLIP's towers for the images and the texts of a data set; none without a folder.

    Raises InvalidInput for data that have neither, or a broken folder.
    """
    if not folder:
        return {}
    make = {"image": clip_image, "text": clip_text}
    results = {
        n: make[c.kind](folder, tune=tune) for n, c in data.columns.items() if c.kind in make
    }
    require(bool(results), "clip", folder, "data that have images or texts")
    return results


def fusion_of(config: Any) -> Fusion | None:
    """The fusion that the flags ask for, or None for towers."""
    if not config.fusion:
        return None
    return Fusion(
        tokens=config.tokens,
        layers=config.layers,
        heads=config.heads,
        masking=config.masking,
        noise=config.noise,
        drop=config.drop,
    )


def trained_model(config: Any, data: Dataset, run: Run, dim: int, seed: int) -> Model:
    """Trains a model in the run's folder, or reads the one that is there."""
    whole("--dim", dim)
    whole("--steps", config.steps)
    say(f"dim={dim}_seed={seed}: networks and first weights are made")
    nets = clip_nets(data, config.clip, config.tune)
    options = dict(temperature=config.temperature, learn_temperature=config.learn_temperature)
    if config.train_label:
        label = choose(dict(data.labels), "train_label", config.train_label)
        options["classes"] = len(np.unique(label))
    return fit(
        data,
        dim=dim,
        key=jax.random.key(seed),
        loss=loss_named(config.loss, flag="--train_label", similarity=config.similarity, **options),
        nets=nets,
        fusion=fusion_of(config),
        head=config.head,
        label=config.train_label,
        steps=config.steps,
        batch_size=config.batch_size,
        optimiser=config.optimiser,
        learning_rate=config.learning_rate,
        warmup=config.warmup,
        schedule=config.schedule,
        weight_decay=config.weight_decay,
        clip_norm=config.clip_norm,
        validate_every=None if config.validate_every < 0 else config.validate_every,
        patience=config.patience or None,
        parallel=config.parallel,
        workdir=run.path("models", f"dim={dim}_seed={seed}"),
        stop=run.stop,
        loggers=run.loggers,
    )


def judged(model: Model, data: Dataset, run: Run, setting: str, seed: int) -> list[Row]:
    """Probes of all labels and retrieval, as rows of results.csv."""
    row = lambda *name: Row(EXPERIMENT, setting, seed, *name)
    embedded = cache(lambda: probing(model, data))

    said = set(data.remarks)

    def remarked(lines: Sequence[str]) -> None:
        for line in lines:
            # What raw figures are stands below the table; not why there are none.
            below = line.startswith("raw: ") and not line.startswith("raw: none of ")
            if line not in said and not below:
                note(f"note: {line}")
            said.add(line)

    def probed(label: str) -> list[Row]:
        result = embedded()(label)
        rows = [row(name, label, result.metric, v) for name, v in result.embedding.items()]
        rows += [row(name, label, f"{result.metric}_raw", v) for name, v in result.raw.items()]
        chances = {"all": result.chance} | {n: v for n, (_, v) in result.partial.items()}
        rows += [row(name, label, "chance", v) for name, v in chances.items()]
        remarked(result.remarks)
        counts = {"all": result.scored} | {n: k for n, (k, _) in result.partial.items()}
        return rows + [row(name, label, "judged_rows", k) for name, k in counts.items()]

    def retrieved() -> list[Row]:
        recalls, rows = retrieval(model, data), []
        remarked(recalls.remarks)
        for (query, candidates), recall in recalls.recall.items():
            rows += [row(query, candidates, f"recall_at_{k}", v) for k, v in recall.items()]
        return rows + [row("all", "pair", f"chance_at_{k}", v) for k, v in recalls.chance.items()]

    name = f"{setting}_seed={seed}: judged on held-out rows"
    several = sum(name in data.columns for name in model.modalities) > 1
    jobs = [*(partial(probed, label) for label in data.labels), *([retrieved] if several else [])]
    say(name)
    step = model.spec.about.get("kept_step")
    kept = [] if step is None else [row("all", "", "kept_step", step)]
    return kept + [line for job in run.tracked(jobs, name, "tables") for line in job()]


_BESIDE = (
    "raw: the same probe on what the networks see, values of a row side by side (of more than 256 "
    "their leading principal components, 256 at most; of sequences of several lengths their mean "
    "and deviation over steps; of text, of what stays in files and of too many values none). "
    "chance: always the most frequent class, or the mean."
)


def summary(
    config: Any, data: Dataset, rows: Sequence[Row], settings: Sequence[str], spent: Mapping
) -> str:
    """Tables of probes and of retrieval: mean and deviation over seeds."""
    show = lambda setting, *name: mean_and_deviation(values(rows, setting, *name), digits=3)
    remarks = [f"# {data.summary}", "", f"{counted(config.seeds, 'seed')}; {machine()}", ""]
    read_from = dict.fromkeys(
        (r.modality, r.target, r.metric) for r in rows if r.metric in ("accuracy", "r2")
    )
    lines = []
    for name, target, metric in read_from:
        counts = values(rows, settings[0], name, target, "judged_rows")
        every = values(rows, settings[0], "all", target, "judged_rows")
        judged = f", {[*counts, *every][0]:.0f} rows" if len(counts) + len(every) else ""
        figures = [show(s, name, target, metric) for s in settings]
        beside = [(name, f"{metric}_raw"), (name if len(counts) else "all", "chance")]
        figures += [show(settings[0], n, target, m) for n, m in beside]
        lines.append([f"{target} from {name} ({metric}{judged})", *figures])
    if lines:
        header = ["linear probes, held-out rows", *settings, "raw", "chance"]
        remarks += [markdown_table(header, lines), "", _BESIDE, ""]
    results = dict.fromkeys(
        (r.modality, r.target, r.metric) for r in rows if r.metric.startswith("recall")
    )
    lines = [
        [f"{a} to {b}, {metric}"]
        + [show(s, a, b, metric) for s in settings]
        + [show(settings[0], "all", "pair", metric.replace("recall", "chance"))]
        for a, b, metric in results
    ]
    if lines:
        remarks += [markdown_table(["retrieval, held-out rows", *settings, "chance"], lines), ""]
        remarks += ["chance: of any order; rows that hold the same are hits of each other.", ""]
    seconds = ", ".join(f"{s} {spent[s] / config.seeds:.0f} s" for s in settings if s in spent)
    remarks += [f"A model takes: {seconds}.", ""] if seconds else []
    steps = {s: values(rows, s, "all", "", "kept_step") for s in settings}
    kept = ", ".join(f"{s} {'/'.join(f'{k:.0f}' for k in v)}" for s, v in steps.items() if len(v))
    if kept:
        remarks += [f"Kept is the step that is best at the validation rows: {kept}.", ""]
    remarks += [f"- {line}" for line in data.remarks]
    return "\n".join(remarks).rstrip() + "\n"


def export_columns(model: Model, data: Dataset) -> dict[str, np.ndarray]:
    """Embeddings by modality, and what protects their rows: split, group, ids, labels.

    What the model would not judge, nor fit a probe of others on, is of split validation there:
    rows of split test that it saw, whole or in part, and training rows of a group with judged ones.

    Raises InvalidInput for a label that is called as another array is.
    """
    return _export(model, data)[0]


def _export(model: Model, data: Dataset) -> tuple[dict[str, np.ndarray], list[str]]:
    """See export_columns; and what is to be told of the rows."""
    known = known_by(model, data, data.split == "test")
    score = (data.split == "test") & ~np.any([known.rows, *known.by.values()], axis=0)
    fit = (data.split == "train") & ~np.isin(data.groups, data.groups[score])
    split = np.where(score, "test", np.where(fit, "train", "validation"))
    # What is left of a group in another part is a group of its own: a split parts none.
    group = np.unique(np.c_[data.groups, score, fit], axis=0, return_inverse=True)[1].reshape(-1)
    columns = features_of(model, data)
    if ALL not in model.modalities:
        columns.pop(ALL, None)
    masks = {f"{k}_present": v for k, v in data.present.items() if k in columns}
    columns = {k: np.nan_to_num(v) if v.dtype.kind == "f" else v for k, v in columns.items()}
    own = {"split", "group", "is_test", *(f"ids_{k}" for k in range(data.ids.shape[1]))}
    own |= set() if data.files is None else {"files"}
    message = (
        "names that no array of the export has, nor what is read beside one: rename its column"
    )
    for name in sorted(columns):
        require(name not in {*own, *masks} and not _is_id(name), "modality", name, message)
    for name in sorted(data.labels):
        taken = {*columns, *own, *beside_of(columns)}
        require(name not in taken and not _is_id(name), "labels", name, message)
    columns |= {
        **masks,
        **data.labels,
        "split": split.astype(np.str_),
        "group": group,
        "is_test": split == "test",
        **{f"ids_{k}": column for k, column in enumerate(data.ids.T)},
        **({} if data.files is None else {"files": data.files}),
    }
    return columns, [*known.remarks, *_left_out(split, data.split)]


def _is_id(name: str) -> bool:
    """Whether mmjax.read takes an array of that name for ids."""
    return name.lower() == "ids" or re.fullmatch(r"ids_\d+", name) is not None


def write_embeddings(model: Model, data: Dataset, out: str) -> str:
    """Writes an .npz; a line about it.

    Raises InvalidInput for another ending.
    """
    require(out.endswith(".npz"), "--out", out, "a path that ends in .npz")
    columns, remarks = _export(model, data)
    save_arrays(out, **columns)
    tell(remarks)
    counts = ", ".join(
        f"{int(np.sum(columns['split'] == s))} {s}" for s in np.unique(columns["split"])
    )
    return f"{out}: {counted(data.num_rows, 'row')} ({counts})"


def _left_out(split: np.ndarray, before: np.ndarray) -> list[str]:
    """A line on rows `[n]` that an export neither judges nor fits a probe on, where they were to
    be."""
    apart = (split != before) & (split == "validation")
    counts = {name: int((apart & (before == name)).sum()) for name in ("test", "train")}
    of = " and ".join(f"{counted(k, 'row')} of split {name}" for name, k in counts.items() if k)
    why = "of split validation in the export: the model saw what they hold, or they share a group"
    return [f"{of} {why} with rows that are judged"] if of else []


def tell(lines: Sequence[str]) -> None:
    """Remarks on how data were read, a line each."""
    for line in lines:
        say(f"note: {line}")

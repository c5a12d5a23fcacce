"""Training a model on a data set: the front door."""

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import optax

from mmjax.data.dataset import Dataset, is_classes
from mmjax.data.hashes import known_by_name
from mmjax.data.seen import seen_rows
from mmjax.encoders import Encoder
from mmjax.errors import (
    InvalidInput,
    choose,
    counted,
    note,
    require,
    told_of_arguments,
    whole,
)
from mmjax.labels import encode_labels
from mmjax.losses import Loss
from mmjax.losses.told import told
from mmjax.models.asked import check_asked, check_training
from mmjax.models.losses import loss_of, name_of, try_loss
from mmjax.models.marks import mark_of, rows_mark
from mmjax.models.model import Model, Spec, make_model
from mmjax.models.parts import (
    Design,
    Parts,
    chunk_steps_of,
    has_convolutions,
    init_of,
    make_parts,
    trained_only,
    whole_params,
)
from mmjax.models.record import Record, open_record
from mmjax.models.stopping import Watcher, restored_best, watch_validation
from mmjax.nets import Net
from mmjax.nets.embedders import ALL, JOINT, Fusion
from mmjax.nets.looks import Augment
from mmjax.nets.tokens import Tokenizer
from mmjax.run.loggers import parse_loggers
from mmjax.train import (
    Layout,
    Recipe,
    Stage,
    init_states,
    make_layout,
    make_optimiser,
    train,
)
from mmjax.train.objective import objective_of, validation_loss
from mmjax.types import Key, Tree

Monitor = Callable[[Model, Dataset], float]


@told_of_arguments
def fit(
    data: Dataset,
    *,
    dim: int,
    key: Key,
    loss: Loss | str | None = None,
    nets: Mapping[str, Net | Encoder | Callable[..., Encoder]] | None = None,
    fusion: Fusion | None = None,
    head: str = "sphere",
    tokenizer: Tokenizer | None = None,
    augment: Mapping[str, Augment] | None = None,
    label: str = "",
    steps: int = 2000,
    batch_size: int = 256,
    optimiser: str = "adamw",
    learning_rate: float = 3e-3,
    warmup: int = 100,
    schedule: str = "cosine",
    weight_decay: float = 1e-2,
    clip_norm: float = 0.0,
    validate_every: int | None = None,
    patience: int | None = None,
    monitor: Monitor | str = "loss",
    parallel: str = "auto",
    chunk: int | None = None,
    workdir: str | None = None,
    progress: bool = True,
    stop: Callable[[], int | None] | None = None,
    loggers: Sequence[str] = ("tensorboard",),
) -> Model:
    """Trains encoders of all modalities of a data set, on its rows of split train.

    Args:
      data: see Dataset. Rows of split validation choose the best step, those of test are not read.
      dim: of the embeddings, >= 1; of a fusion a multiple of its heads.
      key: root of initial weights, order of rows, noise and views.
      loss: a Loss (see mmjax.losses), or a name in mmjax.losses.LOSSES; None: InfoNCE of towers,
        CoMM of a fusion, at temperature 0.1.
      nets: modality -> a Net (mmjax.nets), an Encoder, or a function `out -> Encoder`. Others get
        one by their kind.
      fusion: options of a fusion; None embeds each modality by itself.
      head: space of the embeddings of towers: sphere (unit vectors), box or none.
      tokenizer: of text; None: that of the net, or byte pairs learned from the training texts.
      augment: modality -> `(key, observations) -> observations`, a random view; it sees what the
        network sees. None: where views are all that there is (a fusion, a single modality) by kind,
        else none, and views differ by the networks' noise.
      label: column of classes that the loss sees (SupCon, FactorCL).
      steps, batch_size: of the training; a batch is over all devices, and at most all rows.
      optimiser, learning_rate, warmup, schedule, weight_decay, clip_norm: see
        mmjax.train.make_optimiser. What a net leaves as it was read is not trained.
      validate_every: steps between two looks at the validation rows, 0 for none; None: 20 looks
        where there are such rows.
      patience: looks without a better figure after which training stops; None: it goes to the end.
      monitor: the figure: loss, or a function `(model, validation rows) -> number`, more is better.
        The parameters that are returned are the best by it.
      parallel: layout on devices, see mmjax.train.make_layout.
      chunk: see log_partitions.
      workdir: folder of checkpoints, metrics.csv, TensorBoard events and the model; the same call
        goes on where it stopped, exactly, and on a finished one loads the model. None keeps
        nothing.
      progress: whether a line shows how far it is.
      stop: returns a signal number when training should stop; None: with a workdir Ctrl-C and
        SIGTERM save first.
      loggers: where losses go beside the workdir's metrics.csv: tensorboard, wandb, mlflow.

    Returns:
      The model. `model.spec.about` tells how it was made.

    Raises InvalidInput for options and data that don't go together, NotFinite where the loss, a
    gradient or a parameter is not, Interrupted after saving on a signal.
    """
    check_asked(data, key=key)
    dim, steps = whole("dim", dim), whole("steps", steps)
    check_training(
        data,
        nets=nets,
        fusion=fusion,
        head=head,
        tokenizer=tokenizer,
        augment=augment,
        monitor=monitor,
        chunk=chunk,
        workdir=workdir,
        progress=progress,
        stop=stop,
        loggers=loggers,
    )
    workdir = os.fspath(workdir) if workdir else None
    parse_loggers(",".join(loggers))
    for reserved, of in ((JOINT, "fused embeddings"), (ALL, "all embeddings side by side")):
        free = reserved not in data.columns or len(data.columns) == 1
        require(free, "modality", reserved, f"another name: it is that of {of}")
    coded = _coded(data, label)
    rows, held = coded.part("train"), coded.part("validation")
    require(rows.num_rows >= 2, "data", f"{counted(rows.num_rows, 'training row')}", "two or more")
    batch_size, warmup = whole("batch_size", batch_size, 2), whole("warmup", warmup, 0)
    notes = cut_short(batch_size, rows.num_rows, warmup, steps)
    batch_size = min(batch_size, rows.num_rows)
    if validate_every is None and held.num_rows < 2:
        notes.append("no validation rows: the last step is kept, whether it overfits or not")
    validate_every = _looks(validate_every, steps, held, patience)
    allowed = "loss where nothing is validated: no figure chooses a step"
    require(validate_every > 0 or monitor == "loss", "monitor", "a function", allowed)
    classes = len(np.unique(coded.labels[label])) if label else 0
    chosen, loss_name = loss_of(loss, fusion, classes), name_of(loss, fusion)
    checked = told(chosen, loss_name)
    init_key, train_key, parts_key = jax.random.split(key, 3)
    design = Design(dim, checked, nets or {}, fusion, head, tokenizer, augment, label)
    parts = make_parts(rows, held, design, key=parts_key)
    remarks = try_loss(parts, batch_size, loss_name)
    for line in notes:
        note(f"note: {line}")
    seen = seen_rows(data, bool(validate_every))
    about = _about(data, bool(validate_every), loss_name, steps, remarks, seen.data_hash)
    kept = about | {key: getattr(seen, key) for key in ("recordings", "again", "often")}
    kept["by_name"] = known_by_name(rows)
    kept["remarks"] = [*about["remarks"], *notes]  # they follow from options that are compared
    spec = Spec(dim, parts.nets, parts.preparations, head, fusion, seen.known, kept)
    optimising: dict[str, Any] = dict(
        learning_rate=learning_rate,
        steps=steps,
        warmup=warmup,
        schedule=schedule,
        weight_decay=weight_decay,
        clip_norm=clip_norm,
    )
    rule = trained_only(parts, make_optimiser(optimiser, **optimising))
    options = dict(
        about=about,
        dim=dim,
        nets={name: [net.name, dict(net.options)] for name, net in parts.nets.items()},
        fusion=fusion and fusion._asdict(),
        head=head,
        label=label,
        batch_size=batch_size,
        optimiser=[optimiser, optimising],
        validation=[validate_every, patience, monitor if isinstance(monitor, str) else "own"],
        key=np.asarray(jax.random.key_data(key)).tolist(),
    )
    marks = {"loss": mark_of(chosen), "augment": mark_of(augment)}
    if workdir:  # contents of training rows are in about
        marks["ids or labels"] = rows_mark(rows, label)
        if validate_every:
            marks["validation rows"] = rows_mark(held, label, seen.validation)
    figure = _figure(monitor, parts, held, spec, label, batch_size) if validate_every else None
    with open_record(
        workdir, options, marks, steps=steps, progress=progress, stop=stop, loggers=loggers
    ) as record:
        if (done := record.finished(_own(nets, parts))) is not None:
            return done
        recipe = _recipe(parts, rule, batch_size, steps, validate_every, chunk)
        layout = make_layout(parallel, num_seeds=1, batch_size=batch_size, say=record.say)
        watcher = None
        if figure:
            watcher = watch_validation(
                figure,
                every=validate_every,
                patience=patience,
                folder=record.path("validation"),
                say=record.validated,
            )
        params, looks = _trained(recipe, parts, record, watcher, layout, init_key, train_key)
        params = whole_params(parts, params)
        model = make_model(params, spec._replace(about=kept | looks))
        record.finish(model)
        return model


_USUAL = {
    name: inspect.signature(fit).parameters[name].default for name in ("batch_size", "warmup")
}


def cut_short(batch_size: int, rows: int, warmup: int, steps: int) -> list[str]:
    """What was asked, other than by default, of a training too short or of too few rows for it."""
    lines = []
    if batch_size > rows and batch_size != _USUAL["batch_size"]:
        lines.append(f"a batch is all {rows} training rows: batch_size {batch_size} asks for more")
    if warmup > steps // 2 and warmup != _USUAL["warmup"]:
        half = counted(steps // 2, "step")
        lines.append(f"the warm-up takes half of the steps, {half}: warmup {warmup} asks for more")
    return lines


def _coded(data: Dataset, label: str) -> Dataset:
    """The data with the loss's label as int codes, which are of all rows: a class has one code in
    training and in validation, also where one of them lacks others."""
    if not label:
        return data
    values = choose(dict(data.labels), "label", label)
    require(is_classes(values), "label", label, "a column of classes; floats are quantities")
    return data._replace(labels={**data.labels, label: encode_labels(values)[0]})


def _about(
    data: Dataset, validated: bool, loss: str, steps: int, remarks: Sequence[str], hashed: str
) -> dict[str, Any]:
    """What a model tells of its training, of JSON's types."""
    counts = {name: data.part(name).num_rows for name in ("train", "validation")}
    return {
        "loss": loss,
        "steps": steps,
        "rows": counts if validated else counts | {"validation": 0},
        "data": data.name,
        "data_hash": hashed,
        "labels": {k: _names(v) for k, v in data.labels.items()},
        "remarks": [*data.remarks, *remarks],
    }


def _recipe(
    parts: Parts,
    rule: optax.GradientTransformation,
    batch_size: int,
    steps: int,
    validate_every: int,
    chunk: int | None,
) -> Recipe:
    chunk_steps = chunk_steps_of(parts, batch_size, steps, validate_every)
    objective = objective_of(parts.embedder, parts.loss, parts.rows.look, chunk)
    return Recipe(
        parts.rows.source,
        [Stage(objective, steps)],
        rule,
        chunk_steps,
        max(chunk_steps, steps // 10),
        shared_constants=True,
        unrolled=has_convolutions(parts),
        feed=parts.rows.feed(batch_size, steps),
    )


def _looks(every: int | None, steps: int, held: Dataset, patience: int | None) -> int:
    """Steps between two looks at the validation rows; 0 for none."""
    enough = held.num_rows >= 2
    if every is None:
        every = max(1, steps // 20) if enough else 0
    every = whole("validate_every", every, 0)
    require(enough or not every, "validate_every", every, "0: there are no validation rows")
    if patience is not None:
        whole("patience", patience)
    require(patience is None or every > 0, "patience", patience, "None where nothing is validated")
    return every


def _own(nets: Mapping[str, Any] | None, parts: Parts) -> dict[str, Any]:
    """The networks that are the user's own functions."""
    return {name: net for name, net in (nets or {}).items() if not parts.nets[name].name}


def _names(values: np.ndarray) -> list[str] | str:
    """Names of classes, in the order of their codes; or that it's a quantity."""
    if not is_classes(values):
        return "quantity"
    codes = encode_labels(values)[0]
    first = np.unique(codes, return_index=True)[1]
    return [str(values[k]) for k in first]


def _figure(
    monitor: Monitor | str, parts: Parts, held: Dataset, spec: Spec, label: str, batch_size: int
) -> Callable[[Tree], float]:
    """`params -> figure`, lower is better."""
    if callable(monitor):
        own = monitor
        return lambda params: -_number(own(make_model(whole_params(parts, params), spec), held))
    return validation_loss(
        parts.embedder,
        parts.loss,
        parts.shown.held,
        parts.shown.preparations,
        parts.augment,
        label,
        batch_size,
    )


def _number(value: Any) -> float:
    """What a monitor returned; raises InvalidInput where it is no number."""
    good = not isinstance(value, str | bytes)
    try:
        figure = float(value)
    except (TypeError, ValueError):
        good, figure = False, np.nan
    require(good, "monitor", value, "a function that returns one number, more is better")
    return figure


def _trained(
    recipe: Recipe,
    parts: Parts,
    record: Record,
    watcher: Watcher | None,
    layout: Layout,
    init_key: Key,
    train_key: Key,
) -> tuple[Tree, dict[str, Any]]:
    """Trains; the best parameters, and what was seen of the validation rows: `(step, figure)` at
    each look, and the step that is kept."""
    size = recipe.stages[-1].until

    def resumed(step):
        record.resume(step)
        if watcher:
            watcher.resume(step)

    first = init_states(recipe, init_of(parts), init_key[None])
    like = jax.tree.map(lambda leaf: np.zeros(leaf.shape[1:], leaf.dtype), first.params)
    states = train(
        recipe,
        first,
        parts.rows.constants,
        train_key[None],
        layout=layout,
        checkpoints=record.checkpoints,
        on_resume=resumed,
        on_chunk=lambda step, losses: record.show(step, float(losses[0])),
        on_metrics=lambda step, metrics: record.metrics(
            step, {name: float(value[0]) for name, value in metrics.items()}
        ),
        stop=record.stop,
        watch=watcher.watch if watcher else lambda step, states: False,
    )
    last = jax.tree.map(lambda leaf: np.asarray(leaf)[0], states.params)
    if watcher is None:
        return last, {"validation": []}
    folder = record.path("validation")
    best = restored_best(watcher, folder, like) if folder else watcher.best()
    if best is None:
        message = f"validation: no figure of {size} steps is finite"
        raise InvalidInput(message)
    history = [(step, float(figure)) for step, figure in watcher.history()]
    early = best[0] <= history[-1][0] / 4
    more = "; what came later fits the training rows alone: fewer steps will do" if early else ""
    record.say(f"validation: step {best[0]} is the best of {len(history)} looks, and is kept{more}")
    return jax.tree.map(np.asarray, best[1]), {"validation": history, "kept_step": int(best[0])}

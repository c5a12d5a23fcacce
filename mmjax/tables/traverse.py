"""Rows of experiments.traverse: one component moved, decoded, and read by a judge of factors."""

import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.config import names_in
from mmjax.data.dataset import Dataset
from mmjax.disentangle import Affine, components
from mmjax.errors import InvalidInput, counted, say
from mmjax.evaluate import (
    Moves,
    dci,
    decoded_moves,
    least_dci_rows,
    least_mcc_rows,
    mcc,
    traversed,
)
from mmjax.few_shot.unmix import KINDS
from mmjax.losses import info_nce
from mmjax.models import fit
from mmjax.report import markdown_table, mean_and_deviation, save_figure, traversal_figure
from mmjax.run import (
    MetricsLog,
    Piece,
    Row,
    Run,
    machine,
    save_arrays,
    seed_keys,
    seed_numbers,
    values,
)
from mmjax.studies.decoding import Reader, judge_skill, train_decoder, train_judge
from mmjax.studies.pictures import (
    Pictures,
    parted,
    partner_of,
    read_pictures,
    rendered_pictures,
    varying,
)
from mmjax.types import Array, Key

EXPERIMENT = "traverse"
PURPOSES = ("rows", "split", "partner", "features", "decoder", "judge", "unmix")
# Whitening and PCA have the same axes.
WAYS = {"FastICA": "ica", "PCA": "whitening", "random rotation": "turned"}
LEVELS = 7
LEAST = 20  # pictures
SHOWN = 6
METRICS = ("mcc", "disentanglement", "completeness", "informativeness", "own", "others")


def name_of(config: Any) -> str:
    """Of the pictures, as shown."""
    return os.path.splitext(os.path.basename(config.data))[0] if config.data else "scenes"


def pictures_of(config: Any, key: jax.Array) -> Pictures:
    """The run's pictures, read or rendered."""
    if not config.data:
        return rendered_pictures(key, config.rows or 6000)
    options = dict(images=config.images, labels=names_in(config.labels), index=config.index)
    return read_pictures(config.data, **options, features=config.values, rows=config.rows, key=key)


def first_pictures(config: Any) -> Pictures:
    """Those of the first seed."""
    return pictures_of(config, seed_keys(config, PURPOSES)["rows"][0])


def check_file(config: Any) -> int:
    """Reads the pictures once, so that a fault is told before anything is written; how many columns
    their features have or will have."""
    if not config.data:
        return config.dim
    result = first_pictures(config)
    if len(result.images) < LEAST:
        message = f"{config.data}: {counted(len(result.images), 'picture')}"
        raise InvalidInput(f"{message}; use {LEAST} or more: a decoder and a judge learn from them")
    return config.dim if result.features is None else result.features.shape[1]


def features_of(
    config: Any,
    run: Run,
    data: Pictures,
    fit_rows: np.ndarray,
    keys: Mapping[str, Key],
    seed: int,
) -> np.ndarray:
    """`[n, f]` given, or of an encoder trained on pairs of pictures and noisy factors."""
    if data.features is not None:
        return data.features
    partner = partner_of(data.factors, config.noise, keys["partner"])
    rows = Dataset.from_arrays(
        picture=data.images[fit_rows], partner=partner[fit_rows], split=(1.0, 0, 0), seed=0
    )
    model = fit(
        rows,
        dim=config.dim,
        key=keys["features"],
        loss=info_nce(temperature=config.temperature),
        steps=config.steps,
        batch_size=config.batch_size,
        validate_every=0,  # all rows are training rows
        workdir=run.path("models", f"seed{seed}"),
        stop=run.stop,
    )
    return np.asarray(model.embed(picture=data.images))


class Seen(NamedTuple):
    """What a seed's ways share.

    Attributes:
      x, new: `[n, f]`, `[m, f]` features that maps are fitted on, and held ones.
      truth: name -> `[m]` factors of the held pictures.
      decode: features -> pictures.
      read: features -> factors of their decoded pictures.
      figures: `(target, metric, value)` of the decoder and of the judge, on held pictures.
      left_out: factors that do not vary in the pictures drawn, fitted on or held.
    """

    x: jax.Array
    new: jax.Array
    truth: dict[str, np.ndarray]
    decode: Callable[[jax.Array], jax.Array]
    read: Reader
    figures: list[tuple[str, str, float]]
    left_out: list[str]


def seen_of(config: Any, run: Run, keys: dict[str, jax.Array], seed: int) -> Seen:
    """Features, a decoder, and a judge that has learned from pictures and from decoded ones."""
    data, given = pictures_of(config, keys["rows"]), name_of(config)
    fit_rows, held = parted(data.groups, keys["split"])
    data = varying(data, {"fitted on": fit_rows, "held": held}, config.data or given)
    for _, line in data.left_out:
        say(f"note: seed {seed}: {line}")
    result = features_of(config, run, data, fit_rows, keys, seed)
    x, new = jnp.asarray(result[fit_rows]), jnp.asarray(result[held])
    pixels = lambda rows: jnp.asarray(data.images[rows], jnp.float32) / 255
    factors = lambda rows: {name: v[rows] for name, v in data.factors.items()}
    options = dict(steps=config.decoder_steps)
    unit = bool(np.allclose(np.linalg.norm(result, axis=1), 1, atol=1e-3))
    decode = train_decoder(x, data.images[fit_rows], keys["decoder"], unit=unit, **options).decode
    painted = jnp.concatenate([decode(x[k : k + 512]) for k in range(0, len(x), 512)])
    real, actual, truth = pixels(fit_rows), pixels(held), factors(held)
    twice = factors(np.concatenate([fit_rows, fit_rows]))
    judge = train_judge(jnp.concatenate([painted, real]), twice, keys["judge"], **options)
    remarks = [
        ("decoder", "mse", float(jnp.mean((decode(new) - actual) ** 2))),
        ("mean picture", "mse", float(jnp.mean((real.mean(0) - actual) ** 2))),
    ]
    for title, shown in (("pictures", actual), ("decoded", decode(new))):
        for name, skill in judge_skill(judge, shown, truth).items():
            remarks.append((f"judge of {title}: {name}", "skill", skill))
    return Seen(
        x,
        new,
        truth,
        decode,
        lambda v: judge.read(decode(v)),
        remarks,
        [name for name, _ in data.left_out],
    )


def strips(affine: Affine, order: np.ndarray, seen: Seen) -> np.ndarray:
    """`[components, levels, h, w, c]` the first held picture, each component at seven levels."""
    shares = jnp.linspace(0.02, 0.98, LEVELS)
    levels = jnp.quantile(components(affine, seen.x), shares, axis=0)
    moved = [traversed(affine, seen.new[:1], int(k), levels[:, k])[0] for k in order]
    return np.stack([np.asarray(seen.decode(v)) for v in moved])


def judged(config: Any, run: Run, seed: int, log: MetricsLog) -> list[Row]:
    """Everything of one seed; keeps the traversals for the figure."""
    keys = {name: v[seed - config.seed] for name, v in seed_keys(config, PURPOSES).items()}
    seen = seen_of(config, run, keys, seed)
    kept: dict[str, np.ndarray] = {}
    remarks = list(seen.figures) + [(name, "left_out", 1.0) for name in seen.left_out]
    k = min(config.num_components, len(seen.x) - 1, seen.x.shape[1])
    for way, kind in WAYS.items():
        result = KINDS[kind](seen.x[None], keys["unmix"][None], k)
        affine: Affine = jax.tree.map(lambda v: v[0], result)
        moves = decoded_moves(affine, seen.new, seen.read)
        figures = ways_figures(affine, seen.new, seen.truth, moves)
        remarks += [(way, name, v) for name, v in figures.items()]
        names = np.array(moves.factors)
        remarks += [(f"{way}: {n}", "move", v) for n, v in zip(names, moves.matched, strict=True)]
        shown = np.flatnonzero(moves.component >= 0)[:SHOWN]
        of = moves.component[shown]
        kept |= {way: strips(affine, of, seen), f"{way}, factors": names[shown]}
    save_arrays(run.path("strips", f"seed{seed}.npz"), **kept)
    return [Row(EXPERIMENT, name_of(config), seed, "x", of, m, float(v)) for of, m, v in remarks]


def ways_figures(
    affine: Affine, x: Array, truth: Mapping[str, np.ndarray], moves: Moves
) -> dict[str, float]:
    """MCC with the quantities, DCI of all factors, and what the judge saw move: what the pictures
    and factors can tell, and no more."""
    y, amounts = components(affine, x), [v for v in truth.values() if v.dtype.kind == "f"]
    scores = dci(y, truth)
    told = amounts and len(x) >= least_mcc_rows(len(amounts), y.shape[1])
    results = {"mcc": mcc(jnp.stack(amounts, 1), y)} if told else {}
    enough = len(x) >= least_dci_rows(y.shape[1], truth)
    results |= {"informativeness": scores.informativeness} if enough else {}
    results |= {"own": moves.own}
    if len(truth) < 2:  # no component can hold two
        return results
    if enough:
        results["disentanglement"] = scores.disentanglement
        results["completeness"] = scores.completeness
    return results | {"others": moves.others}


def settings(config: Any, run: Run, name: str) -> dict[str, Callable | list[Piece]]:
    """One row, a piece a seed."""
    pieces = [
        Piece(f"seed={seed}", partial(judged, config, run, seed), shows=True)
        for seed in seed_numbers(config)
    ]
    return {name: pieces}


def _left_out(rows: list[Row]) -> list[str]:
    """A line about each factor that some seeds leave out, and which seeds these are."""
    seeds: dict[str, list[str]] = {}
    for row in rows:
        if row.metric == "left_out":
            seeds.setdefault(row.target, []).append(str(row.seed))
    said = "does not vary in the pictures drawn, fitted on or held, and is left out there"
    return [f"seed {', '.join(of)}: {name} {said}" for name, of in seeds.items()]


def _untold(config: Any, rows: list[Row]) -> list[str]:
    """Why there is no MCC, D, C or I: one factor, or fewer held pictures than they take."""
    metrics = {row.metric for row in rows}
    if "informativeness" in metrics:
        lone = "disentanglement" not in metrics
        return ["one factor: no component can hold two, so that D and C are not told"] * lone
    data = first_pictures(config)
    width = config.dim if data.features is None else data.features.shape[1]
    k = min(config.num_components, width)
    amounts = sum(v.dtype.kind == "f" for v in data.factors.values())
    lines = [f"D, C and I take {least_dci_rows(k, data.factors)} held pictures or more"]
    if amounts and "mcc" not in metrics:
        lines.append(f"MCC takes {least_mcc_rows(amounts, k)} held pictures or more")
    return lines


def summary(config: Any, name: str, rows: list[Row], seconds: Mapping[str, float]) -> str:
    """Scores of the ways, moves of the factors, and how far the judge can be trusted."""
    look = lambda of, m: mean_and_deviation(values(rows, name, "x", of, m), digits=3)
    lines = [[way, *(look(way, m) for m in METRICS)] for way in WAYS]
    head = ["components", "MCC", "D", "C", "I", "own factor moves", "share that others move"]
    factors = list(dict.fromkeys(r.target.partition(": ")[2] for r in rows if r.metric == "move"))
    moved = [[way, *(look(f"{way}: {f}", "move") for f in factors)] for way in WAYS]
    skill = [
        [f"judge of {of}", *(look(f"judge of {of}: {f}", "skill") for f in factors)]
        for of in ("pictures", "decoded")
    ]
    remarks = list(first_pictures(config).remarks if config.data else ())
    remarks += _left_out(rows) + _untold(config, rows)
    errors = ", ".join(f"{of} {look(of, 'mse')}" for of in ("decoder", "mean picture"))
    return (
        "\n\n".join(
            [
                "# traverse",
                f"{name}: one component moved from its 5th to its 95th percentile, decoded, and "
                f"read by a judge of factors; {counted(config.seeds, 'seed')}; {machine()}; "
                f"{sum(seconds.values()):.0f} s. Squared error of held pictures: {errors}.",
                markdown_table(head, lines),
                markdown_table(["largest matched move", *factors], moved),
                markdown_table(["accuracy or R2", *factors], skill),
                *(f"{line}." for line in remarks),
            ]
        )
        + "\n"
    )


def draw_strips(config: Any, run: Run) -> None:
    """Traversals of the first seed beside each other."""
    with np.load(run.path("strips", f"seed{config.seed}.npz")) as file:
        panels = {
            way: dict(zip(file[f"{way}, factors"].tolist(), file[way], strict=True)) for way in WAYS
        }
    save_figure(traversal_figure(panels), run.path("figures", "traversal.png"))

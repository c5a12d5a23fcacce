"""Rows of experiments.is_it_ica: each gain by itself, with an interval; components one by one."""

import csv
import io
import itertools
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.config import names_in
from mmjax.data import FewShotSet, read_features, read_few_shot, with_texts
from mmjax.disentangle import Affine
from mmjax.errors import InvalidInput, naming, require, say
from mmjax.evaluate import Interval, interval_of, paired_bootstrap, resampled_means
from mmjax.few_shot import Draws, HeldOut, make_draws, shots_with_rows, unlabelled
from mmjax.few_shot.by_class import ACROSS, CONTRASTS, MAPS, class_figures, fit_map, map_rows
from mmjax.run import MetricsLog, Piece, Row, Run, atomic_write, save_arrays, seed_keys, slug
from mmjax.studies.component_looks import (
    WAYS,
    chance_alike,
    fit_coder,
    halves_stability,
    meaning_figures,
    named_components,
    parts_of_set,
    twin_figures,
)
from mmjax.studies.zero_shot_maps import CENTRES, SIMILARITIES, mapped_zero_shot, pooled_accuracy
from mmjax.tables.few_shot import OF_EACH_DRAW, has_texts, main_texts, one_of_texts
from mmjax.tables.few_shot_options import check_sets, fewer_chosen_on

EXPERIMENT = "is_it_ica"
PURPOSES = ("draw", "bootstrap", "components")
ALL = "all directions"
EVERY = "all sets"
MEAN = "mean over shots"
ACROSS_NAME = "L1 of FastICA - L2 of plain"
Look = tuple[str, str]  # a probe and a map
Words = tuple[np.ndarray, np.ndarray]  # names and their vectors
SAME = 0.99  # cosine of training rows above which they are one picture


def read_sets(config: Any) -> list[FewShotSet]:
    """The data sets of the run, all of their classes."""
    results = [read_few_shot(path, same=SAME) for path in names_in(config.data)]
    own = lambda few: [OF_EACH_DRAW] if few.test is None else []
    own_texts = lambda few: one_of_texts(few) if with_texts(few) else []
    told = lambda few: (*few.remarks, *own(few), *fewer_of(config, few), *own_texts(few))
    results = [few._replace(remarks=told(few)) for few in results]
    return check_sets(config, results, EVERY)


def read_names(config: Any, sets: Sequence[FewShotSet]) -> Words | None:
    """Further texts that components are named by: names `[m]` and vectors `[m, d]`; or None."""
    if not config.texts:
        return None
    arrays = dict(values=config.text_values, names=config.text_names)
    result = read_features(config.texts, **arrays, flag="texts")
    if result.names is None:
        raise InvalidInput(f"{config.texts}: no names of its texts; use --text_names")
    x = result.sides()["x"]
    for few in sets:
        if x.shape[1] != few.pool.x.shape[1]:
            raise InvalidInput(
                f"{config.texts}: {x.shape[1]} features, {few.name} has "
                f"{few.pool.x.shape[1]}; use texts of the same model"
            )
    return np.asarray(result.names), np.asarray(x, np.float32)


def spans_of(config: Any) -> dict[str, int | None]:
    """Name -> principal directions kept, None for all."""
    spans: dict[str, int | None] = {f"PCA {k}": k for k in config.num_components}
    return spans | ({ALL: None} if config.whole else {})


def shots_of(config: Any, few: FewShotSet) -> list[int]:
    """The numbers of shots that a set has rows for; see shots_with_rows."""
    return shots_with_rows(few, config.shots, config.validation_shots)


def fewer_of(config: Any, few: FewShotSet) -> list[str]:
    """The line about fewer validation rows than asked for; see fewer_chosen_on."""
    return fewer_chosen_on(few, shots_of(config, few), config.validation_shots)


def gain_rows(config: Any, setting: str, of: str, interval: Interval) -> list[Row]:
    """A gain and the ends of its interval."""
    named = zip(("gain", "gain_low", "gain_high"), interval, strict=True)
    return [Row(EXPERIMENT, setting, config.seed, "x", of, m, float(v)) for m, v in named]


def kept_path(run: Run, setting: str, name: str) -> str:
    """Where the figures of each draw and class are kept for the intervals."""
    return run.path("classes", f"{slug(setting)}_{slug(name, of_user=True)}.npz")


def kept(run: Run, setting: str, name: str) -> np.ndarray:
    """`[draws, classes]` that were kept."""
    with np.load(kept_path(run, setting, name)) as file:
        return file["classes"]


def probe_setting(few: str, span: str, probe: str, shots: int | str) -> str:
    """Of a row of the table."""
    return f"{few}/{span}/{probe}/{shots}" + ("-shot" if isinstance(shots, int) else "")


class Drawn(NamedTuple):
    """What pieces share; the last ones asked for are remembered.

    Attributes:
      draws: `(set, shots) -> (Draws, test rows by name)`.
      fitted: `(set, span, map, shots) -> Affine` of every draw.
    """

    draws: Callable[[str, int], tuple[Draws, dict[str, HeldOut]]]
    fitted: Callable[[str, str, str, int], Affine]


def make_drawn(config: Any, sets: Sequence[FewShotSet]) -> Drawn:
    """Draws and maps of the sets. Maps never see a test row: where these are drawn from the pool,
    a map is of each draw's own rows, and elsewhere of the pool, so that all shots share it."""
    by_name, keys = {few.name: few for few in sets}, seed_keys(config, PURPOSES)["draw"]
    told: set[str] = set()

    @lru_cache(maxsize=1)
    def draws(name, shots):
        return make_draws(by_name[name], keys, shots=shots, validation=config.validation_shots)

    @lru_cache(maxsize=len(MAPS))
    def made(name, span, which, shots):
        few = by_name[name]
        drawn = draws(name, shots)[0]
        rows = map_rows(drawn, None if few.test is None else unlabelled(few))
        most = min(rows.shape[1] - 1, rows.shape[2])
        if most < (spans_of(config)[span] or 0):
            all_of = f"{span} is {most} directions, all of {rows.shape[1]} rows"
            line = f"note: {name}, {shots} shots: {all_of}"
            if line not in told:  # by the first of the maps
                say(line)
            told.add(line)
        return fit_map(which, spans_of(config)[span], rows, drawn.keys)

    def fitted(name, span, which, shots):
        few = by_name[name]
        return made(name, span, which, shots if few.test is None else shots_of(config, few)[0])

    return Drawn(draws, fitted)


def probe_pieces(
    config: Any, run: Run, drawn: Drawn, few: FewShotSet, span: str, probe: str, shots: int
) -> list[Piece]:
    """A piece a map, then one of all gains."""
    setting = probe_setting(few.name, span, probe, shots)
    metric = "balanced_accuracy" if probe == "one" else "accuracy"

    def judge(which: str, log: MetricsLog) -> list[Row]:
        affine = drawn.fitted(few.name, span, which, shots)
        draws, tests = drawn.draws(few.name, shots)
        rows: HeldOut = tests["test"]
        result = class_figures(probe, affine, draws, rows, len(few.classes))
        save_arrays(kept_path(run, setting, which), classes=result.classes)
        remarks = [(which, metric, np.mean(result.classes, 1))]
        remarks += [(f"{which}, validation", name, v) for name, v in result.choices.items()]
        return [
            Row(EXPERIMENT, setting, config.seed + k, "x", target, metric, float(value))
            for target, metric, values in remarks
            for k, value in enumerate(values)
        ]

    def gains(log: MetricsLog) -> list[Row]:
        return [
            row
            for name, (after, before) in CONTRASTS.items()
            for row in gain_rows(
                config,
                setting,
                name,
                paired_bootstrap(
                    kept(run, setting, after) - kept(run, setting, before),
                    bootstrap_key(config),
                    resamples=config.resamples,
                ),
            )
        ]

    pieces = [Piece(which, partial(judge, which)) for which in MAPS]
    return [*pieces, Piece("gains", gains)]


def bootstrap_key(config: Any) -> jax.Array:
    """The key of all resamples."""
    return seed_keys(config, PURPOSES)["bootstrap"][0]


def gains_of(run: Run, few: str, span: str, shots: int, after: Look, before: Look) -> np.ndarray:
    """`[draws, classes]` figures after less those before, a pair of probe and map each."""
    at = lambda look: kept(run, probe_setting(few, span, look[0], shots), look[1])
    return at(after) - at(before)


def across_rows(
    config: Any, run: Run, few: FewShotSet, setting: str, span: str, shots: int, log: MetricsLog
) -> list[Row]:
    """FastICA's axes with a probe that sees them, less plain features with an L2 probe."""
    gains = jnp.asarray(gains_of(run, few.name, span, shots, *ACROSS))
    result = paired_bootstrap(gains, bootstrap_key(config), resamples=config.resamples)
    return gain_rows(config, setting, ACROSS_NAME, result)


def pooled_rows(
    config: Any,
    run: Run,
    sets: Sequence[FewShotSet],
    setting: str,
    span: str,
    probe: str,
    log: MetricsLog,
) -> list[Row]:
    """Gains over all shots; of several sets the mean of theirs, each resampled by itself."""
    within = {name: ((probe, a), (probe, b)) for name, (a, b) in CONTRASTS.items()}
    rows = []
    for name, looks in ({ACROSS_NAME: ACROSS} if probe == "across" else within).items():
        of = lambda few, looks=looks: np.mean(
            [gains_of(run, few.name, span, n, *looks) for n in shots_of(config, few)], 0
        )
        gains = [jnp.asarray(of(few)) for few in sets]
        keys = jax.random.split(bootstrap_key(config), len(sets))
        samples = [
            resampled_means(gain, key, resamples=config.resamples)
            for gain, key in zip(gains, keys, strict=True)
        ]
        both = (jnp.mean(jnp.stack(v), 0) for v in (samples, [jnp.mean(gain) for gain in gains]))
        rows += gain_rows(config, setting, name, interval_of(*both))
    return rows


def component_pieces(
    config: Any, run: Run, few: FewShotSet, count: int, names: Words | None
) -> list[Piece]:
    """A piece a way and split, then one of names: see mmjax.studies.component_looks."""
    setting = f"{few.name}/components/{count}"
    known = with_texts(few)
    keys = seed_keys(config, PURPOSES)["components"]
    # Texts may cover some classes only; components are then named on the rows of these.
    own_texts = lambda some: some.texts[main_texts(some)]
    most = min(([len(known.classes)] if known else []) + ([len(names[0])] if names else []) or [99])
    require(
        config.names_shown <= most, "names_shown", config.names_shown, f"1 to {most}, the texts"
    )

    def judge(way, k, log):
        fit_key, half_key = jax.random.split(keys[k])
        parts = parts_of_set(few)
        if way == "Normal twin":
            results = twin_figures(parts, fit_key, count)
        else:
            coder = fit_coder(way, parts.unlabelled, fit_key, count)
            results = meaning_figures(coder, parts, len(few.classes), None)
            if known is not None:
                some = parts_of_set(known)._replace(unlabelled=parts.unlabelled)
                meanings = meaning_figures(coder, some, len(known.classes), own_texts(known))
                results |= {name: meanings[name] for name in ("named", "name cosine")}
            if way != "columns":
                options = jnp.asarray(parts.held.x), half_key, count
                results["stability"] = halves_stability(way, parts.unlabelled, *options)
        return [
            Row(EXPERIMENT, setting, config.seed + k, "x", way, m, v) for m, v in results.items()
        ]

    def write_names(log):
        parts = parts_of_set(few)
        coder = fit_coder("FastICA", parts.unlabelled, jax.random.split(keys[0])[0], count)
        texts = {} if names is None else {"nearest texts": names}
        if known is not None:
            texts = {"nearest classes": (known.classes, own_texts(known))} | texts
        with naming("names_shown"):
            lines = named_components(coder, parts, few, texts, config.names_shown)
        header = ["component", "monosemanticity", "class of its top rows", "purity", *texts]
        write_csv(run.path(f"names_{slug(few.name, of_user=True)}_{count}.csv"), [header, *lines])
        chance = chance_alike(parts.held.labels)
        return [Row(EXPERIMENT, setting, config.seed, "x", "chance", "monosemanticity", chance)]

    splits = range(min(config.seeds, config.splits))
    pieces = [
        Piece(f"{way}, {k}", partial(judge, way, k))
        for way in (*WAYS, "Normal twin")
        for k in splits
    ]
    return [*pieces, Piece("names", write_names)]


def write_csv(path: str, lines: Sequence[Sequence[str]]) -> None:
    """A table as it is."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    atomic_write(path, text.getvalue())


def zero_shot_rows(
    config: Any,
    setting: str,
    drawn: Drawn,
    whole: FewShotSet,
    few: FewShotSet,
    span: str,
    log: MetricsLog,
) -> list[Row]:
    """Zero-shot accuracy of images and texts mapped alike, and gains over classes.

    The classes of few have texts; maps are those of the whole set, as its probes have them.
    """
    parts = parts_of_set(few)
    texts = jnp.asarray(few.texts[main_texts(few)])
    rows = jnp.asarray(parts.held.x), jnp.asarray(parts.held.labels)
    figures = {
        ("as they are", "cosine"): mapped_zero_shot(None, *rows, texts, len(few.classes))[None]
    }
    for which in MAPS:
        if whole.test is None:  # probes have a map a draw, whose rows may be held ones here
            keys = seed_keys(config, PURPOSES)["draw"]
            affines = fit_map(which, spans_of(config)[span], parts.unlabelled[None], keys)
        else:
            affines = drawn.fitted(whole.name, span, which, shots_of(config, whole)[0])
        count = config.seeds if which == "random rotation" else 1  # the others are all one map
        for centre, similarity in itertools.product(CENTRES, SIMILARITIES):
            options = *rows, texts, len(few.classes), centre, similarity
            each = [jax.tree.map(lambda v, k=k: v[k], affines) for k in range(count)]
            result = jnp.stack([mapped_zero_shot(affine, *options) for affine in each])
            figures[f"{which}, {centre} centre", similarity] = result
    made = [
        Row(
            EXPERIMENT,
            setting,
            config.seed + k,
            "x",
            f"{name}, {similarity}",
            "accuracy",
            pooled_accuracy(scores, parts.held.labels),
        )
        for (name, similarity), classes in figures.items()
        for k, scores in enumerate(classes)
    ]
    for name, (after, before) in CONTRASTS.items():
        for similarity in SIMILARITIES:
            a, b = (figures[f"{which}, own centre", similarity] for which in (after, before))
            gain = paired_bootstrap(a - b, bootstrap_key(config), resamples=config.resamples)
            made += gain_rows(config, setting, f"{name}, {similarity}", gain)
    return made


def pooled_probes(config: Any) -> tuple[str, ...]:
    """The probes, and where both linear ones are there what is looked at across them."""
    asked = names_in(config.probes)
    return asked + (("across",) if {"l1", "l2"} <= set(asked) else ())


def settings(
    config: Any, run: Run, sets: Sequence[FewShotSet], names: Words | None
) -> dict[str, Callable | list[Piece]]:
    """All rows of the run by name."""
    drawn = make_drawn(config, sets)
    table: dict[str, Callable | list[Piece]] = {}
    asked = names_in(config.probes)
    pooled = pooled_probes(config)
    for few in sets:
        known = with_texts(few)
        for span in spans_of(config):
            for shots in shots_of(config, few):
                for probe in asked:
                    made = probe_pieces(config, run, drawn, few, span, probe, shots)
                    table[probe_setting(few.name, span, probe, shots)] = made
                if "across" in pooled:
                    setting = probe_setting(few.name, span, "across", shots)
                    given = config, run, few, setting, span, shots
                    table[setting] = partial(across_rows, *given)
            for probe in pooled:
                setting = probe_setting(few.name, span, probe, MEAN)
                table[setting] = partial(pooled_rows, config, run, [few], setting, span, probe)
            if known is not None and has_texts(known):  # here, where the span's maps are at hand
                setting = f"{few.name}/zero-shot/{span}"
                arguments = config, setting, drawn, few, known, span
                table[setting] = partial(zero_shot_rows, *arguments)
        count = config.num_components[0]
        made = component_pieces(config, run, few, count, names)
        table[f"{few.name}/components/{count}"] = made
    if len(sets) > 1:
        for span in spans_of(config):
            for probe in pooled:
                setting = probe_setting(EVERY, span, probe, MEAN)
                table[setting] = partial(pooled_rows, config, run, sets, setting, span, probe)
    return table

"""Rows of experiments.few_shot: methods by shots on data sets of cached features."""

from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.config import names_in
from mmjax.data import FewShotSet, read_domains, read_few_shot, with_shifts, with_texts
from mmjax.disentangle import Affine
from mmjax.errors import one_of, require
from mmjax.few_shot import (
    PLAIN,
    Draws,
    HeldOut,
    Method,
    Unmixing,
    accuracies,
    fit_unmixing,
    linear_scores,
    make_draws,
    methods,
    of_features,
    shots_with_rows,
    unlabelled,
    unmixed,
    unmixed_test,
    unmixings,
)
from mmjax.run import Piece, Row, seed_keys
from mmjax.tables.few_shot_options import check_sets, fewer_chosen_on

EXPERIMENT = "few_shot"
EVERY = "mean of the sets"
OF_EACH_DRAW = (
    "no test rows of its own: they are left of the training rows, so that maps are fitted on the "
    "rows of each draw"
)
_LONG = 2**31  # rows x features x classes of a fit from which each draw is a piece of its own


def read_sets(config: Any) -> list[FewShotSet]:
    """The data sets of the run; those whose texts cover some classes once more with these alone."""
    results, paths, shifts = [], names_in(config.data), names_in(config.shift)
    alone = not shifts or len(paths) == 1
    require(
        alone, "shift", config.shift, "files beside one file of --data, whose classes they have"
    )
    lost: dict[str, str] = {}
    for few in _read(config, paths, shifts):
        known = with_texts(few)
        if config.domains and config.classes != "all" and known and not known.shifts:
            (kind,) = few.shifts  # what the table is of: without its rows there is none
            lost[few.name] = f"no row of {kind} is of the classes with texts: no table of these"
            if config.classes == "texts":
                continue
            known = None
        if config.classes == "all" or known is None or known is few:
            results.append(few._replace(remarks=(*few.remarks, *_without_texts(config, few))))
        else:
            results += [few, known] if config.classes == "both" else [known]
    told = [few._replace(remarks=(*few.remarks, *_without_parts(config, few))) for few in results]
    told = check_sets(config, told, EVERY)
    names = [few.name for few in told]
    for name, line in lost.items():  # by the first where the set itself is left out
        at, of = (names.index(name), "") if name in names else (0, f"{name}: ")
        told[at] = told[at]._replace(remarks=(*told[at].remarks, of + line))
    return told


def _without_texts(config: Any, few: FewShotSet) -> list[str]:
    """What a set without a text of each class leaves out, or makes moot."""
    if has_texts(few):
        return []
    names = [method.name for method in chosen_methods(config) if method.texts]
    told = [f"no text of each class, so without {', '.join(names)}"] if names else []
    moot = config.classes == "texts"
    return told + (["fewer than two classes with texts: all classes are judged"] if moot else [])


def _without_parts(config: Any, few: FewShotSet) -> list[str]:
    """What a set makes moot that has no or few validation or test rows, or several texts."""
    told = []
    maps = {method.unmixing for method in chosen_methods(config)} - {None, PLAIN.name}
    if few.test is None and config.unmix == "source" and maps:
        told.append(f"{OF_EACH_DRAW}, as by --unmix=draw")
    if few.val is None and config.validation == "full":
        message = "no validation rows of its own: as many training rows of a class are chosen on as"
        told.append(f"{message} there are shots")
    told += fewer_of(config, few)
    used = has_texts(few) and any(method.texts for method in chosen_methods(config))
    return told + (one_of_texts(few) if used else [])


def _read(config: Any, paths: Sequence[str], shifts: Sequence[str]) -> Iterator[FewShotSet]:
    require(not (shifts and config.domains), "shift", config.shift, "either it or --domains")
    for path in paths:
        if config.domains:
            yield from read_domains(path, config.domains, same=config.same)
        else:
            yield with_shifts(read_few_shot(path, same=config.same), shifts, same=config.same)


def has_texts(few: FewShotSet) -> bool:
    """Whether every class has a text."""
    return bool(few.texts) and all(np.isfinite(v).all() for v in few.texts.values())


def main_texts(few: FewShotSet) -> str:
    """The texts that adapters use: an ensemble of prompts, where there is one."""
    return min(few.texts, key=lambda name: (not name.endswith("ensemble"), name), default="")


def one_of_texts(few: FewShotSet) -> list[str]:
    """The line about which of several texts is used."""
    if len(few.texts) < 2:
        return []
    name = main_texts(few)
    why = "an ensemble" if name.endswith("ensemble") else "first by name"
    return [f"of the texts {', '.join(sorted(few.texts))} only {name}, {why}, is used"]


def chosen_methods(config: Any) -> list[Method]:
    """Those that the flag names, by their name or by its part before a comma; empty: all.

    Raises InvalidInput for a name that is none.
    """
    every, asked = (
        methods(config.num_components),
        [n for n in config.methods.split(";") if n.strip()],
    )
    names = [m.name for m in every]
    some = bool(asked) or not config.methods
    require(some, "methods", config.methods, "names, separated by semicolons; nothing for all")
    for name in asked:
        allowed = one_of(names, name.strip(), between="; ", where="--help lists them")
        require(name.strip() in names, "methods", name.strip(), allowed)
    kept = {name.strip() for name in asked} or set(names)
    results = [m for m in every if m.name in kept and (config.tuned or not m.tuned)]
    require(bool(results), "methods", config.methods, "one that is not trained, or --tuned")
    return results


def judged(
    method: Method,
    unmixing: Unmixing | None,
    params: Any,
    draws: Draws,
    tests: dict[str, HeldOut],
    num_classes: int,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Accuracy of every draw on every test set, and what was chosen.

    Test rows, and their labels, are looked at once the method is fitted, and not before.
    """
    if unmixing is not None:
        draws = unmixed(unmixing, params, draws)
    fitted = method.fit(draws, num_classes)
    params_of, result = fitted.params, {}
    folded = isinstance(params, Affine) and method.scores is linear_scores
    if folded:  # of the features themselves: no test row is mapped once a draw
        params_of = of_features(params_of, params)
    for name, rows in tests.items():
        z = rows.x
        if unmixing is not None and not folded:
            z = unmixed_test(unmixing, params, rows.x, shared=rows.shared)
        given = rows.x, z, rows.labels
        right = accuracies(method, params_of, *given, shared=rows.shared, among=rows.among)
        result[name] = np.asarray(right)
    choices = {name: np.asarray(v) for name, v in fitted.choices.items()}
    if fitted.choices:
        choices["accuracy"] = np.asarray(fitted.validation)
    return result, choices


def setting_name(few: FewShotSet, method: str, shots: int) -> str:
    """Of a row of the table."""
    return f"{few.name}/{method}/{shots}-shot"


def shots_of(config: Any, few: FewShotSet) -> list[int]:
    """The numbers of shots that a set has rows for; see shots_with_rows."""
    return shots_with_rows(few, config.shots, _validation(config))


def fewer_of(config: Any, few: FewShotSet) -> list[str]:
    """The line about fewer validation rows than asked for; see fewer_chosen_on."""
    return fewer_chosen_on(few, shots_of(config, few), _validation(config))


def _validation(config: Any) -> int:
    return 0 if config.validation == "full" else config.validation_shots


def settings(config: Any, sets: list[FewShotSet]) -> dict[str, list[Piece]]:
    """All rows of the run by name: a piece for all draws, of long fits one for each."""
    keys = seed_keys(config, ("draw",))["draw"]
    maps = unmixings(config.num_components) | {PLAIN.name: PLAIN}

    # Rows of one set and number of shots follow each other, as do those of one map.
    @lru_cache(maxsize=2)
    def drawn(name: str, shots: int, start: int, stop: int):
        few = by_name[name]
        texts = main_texts(few) if has_texts(few) else ""
        draw_keys, validation = keys[start:stop], _validation(config)
        return make_draws(few, draw_keys, shots=shots, validation=validation, texts=texts)

    @lru_cache(maxsize=2)
    def fitted_map(name: str, shots: int, start: int, stop: int, unmixing: str):
        draws, _ = drawn(name, shots, start, stop)
        # Where test rows are drawn from the pool, a map of the pool would have seen them.
        if config.unmix == "draw" or by_name[name].test is None:
            return fit_unmixing(maps[unmixing], draws)
        params = of_source(name, unmixing)
        wide = lambda v: jnp.broadcast_to(v, (stop - start, *v.shape[1:]))
        return jax.tree.map(wide, params)

    # A set has few maps, which all its draws share.
    @lru_cache(maxsize=2 * len(maps))
    def of_source(name: str, unmixing: str):
        draws, _ = drawn(name, shots_of(config, by_name[name])[0], 0, 1)
        return fit_unmixing(maps[unmixing], draws, unlabelled(by_name[name]))

    def judge(few, method, shots, start, stop, log):
        given = few.name, shots, start, stop
        draws, tests = drawn(*given)
        unmixing = maps.get(method.unmixing) if method.unmixing is not None else None
        params = None if unmixing is None else fitted_map(*given, unmixing.name)
        result, choices = judged(method, unmixing, params, draws, tests, len(few.classes))
        remarks = [(target, "accuracy", values) for target, values in result.items()]
        remarks += [("validation", metric, values) for metric, values in choices.items()]
        name, seeds = setting_name(few, method.name, shots), range(start, stop)
        return [
            Row(EXPERIMENT, name, config.seed + k, "x", target, metric, float(value))
            for target, metric, values in remarks
            for k, value in zip(seeds, values, strict=True)
        ]

    by_name, table = {few.name: few for few in sets}, {}
    for few in sets:
        for shots in shots_of(config, few):
            rows = (shots + config.validation_shots) * len(few.classes)
            long = rows * few.pool.x.shape[1] * len(few.classes) > _LONG
            size = 1 if long else config.seeds
            for method in chosen_methods(config):
                if method.texts and not has_texts(few):
                    continue
                parts = [(k, min(k + size, config.seeds)) for k in range(0, config.seeds, size)]
                table[setting_name(few, method.name, shots)] = [
                    Piece(str(part[0]), partial(judge, few, method, shots, *part)) for part in parts
                ]
    allowed = "one that needs no texts, or files with a text of every class"
    require(bool(table), "methods", config.methods, allowed)
    return table

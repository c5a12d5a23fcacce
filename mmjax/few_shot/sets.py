"""Draws of a few-shot data set: which rows are trained on, chosen on and judged on."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.data import FewShotSet, LabelledRows
from mmjax.errors import InvalidInput, counted
from mmjax.evaluate import check_shots
from mmjax.few_shot.base import Draws
from mmjax.types import Array, Key


class HeldOut(NamedTuple):
    """Rows that are judged: `[m, d]`, `[m]`, or with a leading axis of draws unless shared; among:
    `[classes]` bool, those that an answer may be; None for all."""

    x: Array
    labels: Array
    shared: bool
    among: Array | None = None


def draw_sizes(few: FewShotSet, shots: int, validation: int) -> tuple[int, int]:
    """Validation rows a class and rows of the pool a class that a draw takes.

    Args:
      few: the set.
      shots: rows of each class.
      validation: as many validation rows of each class, at most; 0 for all of the validation rows.

    Raises InvalidInput where a class has too few rows.
    """
    counts = np.bincount(few.pool.labels, minlength=len(few.classes))
    least, kept = int(counts.min()), int(few.test is None)
    where = f"the training rows of {few.name}"
    where += f" without {counted(few.repeats, 'row')} that repeat another" if few.repeats else ""
    check_shots(few.pool.labels, shots, len(few.classes), where=where, names=few.classes)
    if few.val is not None:
        most = int(np.bincount(few.val.labels, minlength=len(few.classes)).min())
        val = min(shots, validation, most) if validation else 0
        taken = shots
        if shots + kept > least:
            raise InvalidInput(
                f"shots: {shots} of {least} rows a class of {few.name} leave none to judge on, for "
                "it has no test rows; use fewer"
            )
    else:
        val = min(shots, validation or shots, least - shots - kept)
        taken = shots + val
        if val < 1:
            raise InvalidInput(
                f"shots: {shots} of {least} rows a class of {few.name} leave too few to choose "
                "and judge on, for it has no validation rows; use fewer"
            )
    return val, taken if few.test is not None else least


def shots_with_rows(few: FewShotSet, shots: Sequence[int], validation: int) -> list[int]:
    """Those of the numbers of shots that the set has rows for; see draw_sizes.

    Raises InvalidInput where it has too few for any.
    """
    results, last = [], None
    for each in shots:
        try:
            draw_sizes(few, each, validation)
            results.append(each)
        except InvalidInput as error:
            last = error
    if not results and last is not None:
        raise last
    return results


def make_draws(
    few: FewShotSet, keys: Key, *, shots: int, validation: int, texts: str = ""
) -> tuple[Draws, dict[str, HeldOut]]:
    """Balanced draws and the rows that they are judged on, by name.

    Args:
      few: the set.
      keys: `[draws]`.
      shots, validation: see draw_sizes.
      texts: which of the set's texts.

    Raises InvalidInput where a class has too few rows.
    """
    count = len(few.classes)
    val, taken = draw_sizes(few, shots, validation)
    own_keys = jax.vmap(lambda k: jax.random.fold_in(k, 2))(keys)
    rows = _rows_of(keys, 0, few.pool.labels, count, taken)
    part = lambda of, where: LabelledRows(*(v[where.reshape(len(keys), -1)] for v in of))
    held = lambda rows, shared: HeldOut(jnp.asarray(rows.x), jnp.asarray(rows.labels), shared)
    x, labels = part(few.pool, rows[..., :shots])
    if few.val is None:
        chosen = part(few.pool, rows[..., shots : shots + val])
    elif val:
        chosen = part(few.val, _rows_of(keys, 1, few.val.labels, count, val))
    else:
        chosen = LabelledRows(*(np.broadcast_to(v, (len(keys), *v.shape)) for v in few.val))
    tests: dict[str, HeldOut] = {}
    for name, shifted in few.shifts.items():
        tests[name] = held(shifted, True)
        here = np.bincount(shifted.labels, minlength=count) > 0
        # ImageNet-R and -A have 200 of 1000 classes, and are told among these. Among one class
        # every answer is right.
        if 2 <= here.sum() < count:
            among = f"{name} among its {int(here.sum())} classes"
            tests[among] = tests[name]._replace(among=jnp.asarray(here))
    if few.test is not None:
        tests["test"] = held(few.test, True)
    else:
        start = shots + (val if few.val is None else 0)
        tests["test"] = held(part(few.pool, rows[..., start:]), False)
    given = few.texts[texts] if texts else np.zeros((0, x.shape[-1]), np.float32)
    given = np.broadcast_to(given, (len(keys), *given.shape))
    fit_x, val_x, of_texts = (jnp.asarray(v) for v in (x, chosen.x, given))
    codes, val_codes = jnp.asarray(labels), jnp.asarray(chosen.labels)
    return Draws(fit_x, codes, val_x, val_codes, fit_x, val_x, of_texts, own_keys), tests


def _rows_of(
    keys: Key, purpose: int, labels: np.ndarray, num_classes: int, each: int
) -> np.ndarray:
    """`[draws, classes, each]` rows without replacement; those of fewer shots are among them."""
    chance = jax.vmap(lambda k: jax.random.uniform(jax.random.fold_in(k, purpose), labels.shape))
    starts = np.searchsorted(np.sort(labels), np.arange(num_classes))[:, None] + np.arange(each)
    return np.stack([np.lexsort((draw, labels))[starts] for draw in np.asarray(chance(keys))])


def unlabelled(few: FewShotSet) -> Array:
    """`[n, d]` all training and validation rows, for maps that need no labels."""
    parts: list[LabelledRows] = [few.pool, *([few.val] if few.val is not None else [])]
    return jnp.asarray(np.concatenate([rows.x for rows in parts]))

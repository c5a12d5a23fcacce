"""Restarts of stuck seeds, decided by the loss, never by the score."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.types import Tree


class Outcome(NamedTuple):
    """What training with restarts came to.

    Attributes:
      params: `[seeds, ...]`, each seed's best attempt by loss gap.
      gap: `[seeds]` float, its loss gap to the reference in nats.
      attempts: `[seeds]` int, attempts made, from 1.
      stuck: `[seeds]` bool, still above the threshold after the last attempt.
    """

    params: Tree
    gap: np.ndarray
    attempts: np.ndarray
    stuck: np.ndarray


def train_with_restarts(
    attempt: Callable[[int, Sequence[int]], Tree],
    gap: Callable[[Tree, Sequence[int]], np.ndarray],
    *,
    num_seeds: int,
    threshold: float,
    max_restarts: int,
) -> Outcome:
    """Trains all seeds; those whose gap exceeds the threshold start afresh, with a new key.

    Args:
      attempt: `(number, seeds) -> params [len(seeds), ...]`: trains these seeds, number from 0.
      gap: `(params, seeds) -> [len(seeds)]` loss minus a reference, in nats. NaN counts as stuck.
        The reference may move with what it is shown (the lowest loss of any seed so far): after
        each round all kept attempts are measured again, so that all gaps have one reference.
      num_seeds: seeds are 0..num_seeds-1.
      threshold: gap above which a seed is stuck.
      max_restarts: further attempts a seed, >= 0.
    """
    seeds = list(range(num_seeds))
    best = attempt(0, seeds)
    gaps = np.array(gap(best, seeds), float)  # a copy: it is written to below
    attempts = np.ones(num_seeds, int)
    for number in range(1, max_restarts + 1):
        stuck = [s for s in seeds if not gaps[s] <= threshold]
        if not stuck:
            break
        fresh = attempt(number, stuck)
        fresh_gaps = np.asarray(gap(fresh, stuck), float)
        gaps = np.array(gap(best, seeds), float)  # against where the fresh ones moved it
        attempts[stuck] += 1
        for row, seed in enumerate(stuck):
            if np.isnan(gaps[seed]) or fresh_gaps[row] < gaps[seed]:
                gaps[seed] = fresh_gaps[row]
                best = jax.tree.map(
                    lambda old, new, r=row, s=seed: jnp.asarray(old).at[s].set(new[r]), best, fresh
                )
    return Outcome(best, gaps, attempts, ~(gaps <= threshold))

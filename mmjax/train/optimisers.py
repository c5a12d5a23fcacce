"""Optimisers by name: optax, with one choice of schedules for all."""

import dataclasses
import re
from math import isfinite
from numbers import Real

import jax
import optax

from mmjax.config import option
from mmjax.errors import choose, require
from mmjax.types import Tree

# Leaves of rank two and more that are no linear maps: biases of attention are [heads, size], tables
# of tokens and of positions are looked up. What lies under "select" is chosen, not trained.
_NO_MAP = re.compile("bias|scale|embed|position|token|temperature")
_FROZEN = "select"
_INTO_HEADS = ("query", "key", "value")


def _axes(path, value) -> optax.contrib.MuonDimensionNumbers | None:
    """Which axes of a weight that is a linear map it maps from and to; None for other leaves.

    Kernels are linen's: `[in, out]`; of convolutions in any number of dimensions, also grouped
    ones, `[..., in, out]`, which map a whole patch (as Muon's author flattens them); of attention
    `[in, heads, size]` under the names query, key and value, and back `[heads, size, out]`.
    """
    names = [str(getattr(key, "key", getattr(key, "name", ""))) for key in path]
    if value.ndim < 2 or _FROZEN in names or (names and _NO_MAP.search(names[-1])):
        return None
    into = 1 if names[-2:-1] and names[-2] in _INTO_HEADS else value.ndim - 1
    every = tuple(range(value.ndim))
    return optax.contrib.MuonDimensionNumbers(every[:into], every[into:])


def _matrices(params: Tree) -> Tree:
    return jax.tree_util.tree_map_with_path(_axes, params)


def decayed(params: Tree) -> Tree:
    """Which leaves weight decay touches: those that are linear maps, True; in params' structure.

    Decay means to keep maps small. It has no meaning for temperatures, scales of norms, biases,
    class tokens, tables of tokens or positions, and would wear away what is frozen.
    """
    return jax.tree_util.tree_map_with_path(
        lambda path, value: _axes(path, value) is not None, params
    )


def _muon(rate, weight_decay, b1):
    # Muon's update has unit spectral norm, so its rate is larger than what suits Adam.
    # Three Newton-Schulz steps train as well as the usual five here, and cost less.
    return optax.contrib.muon(
        rate,
        ns_steps=3,
        beta=b1,
        weight_decay=weight_decay,  # of what Muon moves: just what `decayed` names
        adam_learning_rate=lambda step: 0.1 * rate(step),
        muon_weight_dimension_numbers=_matrices,
    )


def _adam(rate, weight_decay, b1):
    require(weight_decay == 0, "weight_decay", weight_decay, "0 with adam; adamw decays weights")
    return optax.adam(rate, b1=b1)


def _adamw(rate, weight_decay, b1):
    return optax.adamw(rate, b1=b1, weight_decay=weight_decay, mask=decayed)


OPTIMISERS = {"muon": _muon, "adam": _adam, "adamw": _adamw}
OPTIMISER_HELP = (
    "of the weights; muon takes the kernels of linear maps (dense, attention, convolutions, the "
    "last layer too), and leaves the rest to Adam at a tenth of the rate: biases, norms, tables of "
    "tokens and positions, class tokens, temperatures"
)
DECAY_HELP = "decoupled, of kernels only: no bias, norm, table, token or temperature; 0 with adam"

SCHEDULES = ("cosine", "constant")


def make_optimiser(
    name: str,
    *,
    learning_rate: float,
    steps: int,
    warmup: int,
    weight_decay: float = 0.0,
    schedule: str = "cosine",
    clip_norm: float = 0.0,
) -> optax.GradientTransformation:
    """The optimiser of that name under a linear warm-up.

    Args:
      name: adam, adamw or muon (Jordan 2024). Muon is for matrices: it moves kernels, those of
        convolutions as maps of patches and those of attention as maps between width and heads x
        size; Adam at a tenth of the rate moves biases, norms, tables of tokens and positions, class
        tokens and temperatures. The last layer's kernel is Muon's too: a network that classifies
        would leave it to Adam, but here what it gives is compared by a similarity.
      learning_rate: its peak, > 0.
      steps: length of the schedule.
      warmup: steps of linear growth from zero, >= 0; cut to half of the steps.
      weight_decay: decoupled, times the rate; of linear maps only, see `decayed`; 0 with adam.
      schedule: after the warm-up, cosine decay to zero or constant.
      clip_norm: gradients of a larger global norm are scaled down to it; 0 for none.

    Raises InvalidInput for an unknown name, a value out of range, or adam with weight decay.
    """
    numbers = dict(learning_rate=learning_rate, weight_decay=weight_decay, clip_norm=clip_norm)
    for flag, value in numbers.items():
        require(isinstance(value, Real) and isfinite(value), flag, value, "a number")
    require(learning_rate > 0, "learning_rate", learning_rate, "a number > 0")
    require(steps >= 1, "steps", steps, "a whole number >= 1")
    require(warmup >= 0, "warmup", warmup, "a whole number >= 0")
    require(weight_decay >= 0, "weight_decay", weight_decay, "a number >= 0")
    require(schedule in SCHEDULES, "schedule", schedule, ", ".join(SCHEDULES))
    require(clip_norm >= 0, "clip_norm", clip_norm, "a number >= 0")
    warmup = min(warmup, steps // 2)  # a short smoke run still reaches its peak
    if schedule == "cosine":
        rate = optax.schedules.warmup_cosine_decay_schedule(
            0.0, learning_rate, warmup, max(steps, 2)
        )
    else:
        start = 0.0 if warmup else learning_rate
        rate = optax.schedules.linear_schedule(start, learning_rate, max(warmup, 1))
    b1 = 0.95 if name == "muon" else 0.9
    optimiser = choose(OPTIMISERS, "optimiser", name)(rate, weight_decay, b1)
    if clip_norm:
        return optax.chain(optax.clip_by_global_norm(clip_norm), optimiser)
    return optimiser


@dataclasses.dataclass(frozen=True)
class OptimiserOptions:
    """What every study lets a user choose; a study's own class may set other defaults."""

    steps: int = option(1000, "training steps")
    optimiser: str = option("muon", OPTIMISER_HELP, tuple(OPTIMISERS))
    learning_rate: float = option(0.02, "peak of the learning rate")
    warmup: int = option(100, "steps of linear warm-up")
    schedule: str = option("cosine", "of the learning rate, after its warmup", SCHEDULES)
    weight_decay: float = option(0.0, DECAY_HELP)
    clip_norm: float = option(0.0, "largest norm of a gradient; 0 for none")


def optimiser_of(options: OptimiserOptions) -> optax.GradientTransformation:
    """The optimiser that these options ask for. Raises InvalidInput for one out of range."""
    names = [f.name for f in dataclasses.fields(OptimiserOptions) if f.name != "optimiser"]
    return make_optimiser(options.optimiser, **{name: getattr(options, name) for name in names})

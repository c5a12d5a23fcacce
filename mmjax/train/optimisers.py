"""Optimisers by name: optax, with one choice of schedules for all."""

import dataclasses

import jax
import optax

from mmjax.config import option
from mmjax.errors import choose, require


def _matrices(params):
    """Of every kernel, which axes it maps from and to; None for what is no linear map.

    Kernels are linen's: `[in, out]`, `[height, width, in, out]` of convolutions, and of attention
    `[in, heads, size]`, back from there `[heads, size, out]` under the name `out`.
    """

    def axes(path, value):
        names = [getattr(key, "key", getattr(key, "name", None)) for key in path]
        if names[-1] != "kernel" or value.ndim < 2:
            return None
        into = 1 if value.ndim == 3 and names[-2] != "out" else value.ndim - 1
        every = tuple(range(value.ndim))
        return optax.contrib.MuonDimensionNumbers(every[:into], every[into:])

    return jax.tree_util.tree_map_with_path(axes, params)


def _muon(rate, weight_decay, b1):
    # Linear maps by orthogonalised momentum, the rest (biases, scales, tables) by Adam at a tenth
    # of the rate: Muon's update has unit spectral norm, so its rate is larger than what suits Adam.
    # Three Newton-Schulz steps train as well as the usual five here, and cost less.
    return optax.contrib.muon(
        rate,
        ns_steps=3,
        beta=b1,
        weight_decay=weight_decay,
        adam_learning_rate=lambda step: 0.1 * rate(step),
        muon_weight_dimension_numbers=_matrices,
    )


OPTIMISERS = {
    "muon": _muon,
    "adam": lambda rate, weight_decay, b1: optax.adam(rate, b1=b1),
    "adamw": lambda rate, weight_decay, b1: optax.adamw(rate, b1=b1, weight_decay=weight_decay),
}

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
      name: muon (linear maps, convolutions included; Adam for the rest), adam or adamw.
      learning_rate: its peak, > 0.
      steps: length of the schedule.
      warmup: steps of linear growth from zero, >= 0; cut to half of the steps.
      weight_decay: decoupled; adam ignores it.
      schedule: after the warm-up, cosine decay to zero or constant.
      clip_norm: gradients of a larger global norm are scaled down to it; 0 for none.

    Raises InvalidInput for an unknown name or a value out of range.
    """
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
    optimiser: str = option("muon", "for the weights", tuple(OPTIMISERS))
    learning_rate: float = option(0.02, "its peak")
    warmup: int = option(100, "steps of linear warm-up")
    schedule: str = option("cosine", "of the learning rate after that", SCHEDULES)
    weight_decay: float = option(0.0, "decoupled; adam ignores it")
    clip_norm: float = option(0.0, "largest norm of a gradient; 0 for none")


def optimiser_of(options: OptimiserOptions) -> optax.GradientTransformation:
    """The optimiser that these options ask for. Raises InvalidInput for one out of range."""
    names = [f.name for f in dataclasses.fields(OptimiserOptions) if f.name != "optimiser"]
    return make_optimiser(options.optimiser, **{name: getattr(options, name) for name in names})

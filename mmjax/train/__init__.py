"""Training: state, step, loop, optimisers, checkpoints, devices."""

from mmjax.train.checkpoints import Checkpoints, open_checkpoints
from mmjax.train.loop import Phase, Plan, init_states, train, train_one
from mmjax.train.optimisers import (
    OPTIMISERS,
    SCHEDULES,
    OptimiserOptions,
    make_optimiser,
    optimiser_of,
)
from mmjax.train.parallel import LAYOUTS, Layout, collectives, make_layout
from mmjax.train.restarts import Outcome, train_with_restarts
from mmjax.train.signals import Interrupted, noted_signals
from mmjax.train.step import Collectives, State, make_chunk

__all__ = [
    "LAYOUTS",
    "OPTIMISERS",
    "OptimiserOptions",
    "SCHEDULES",
    "Checkpoints",
    "Collectives",
    "Interrupted",
    "Layout",
    "Outcome",
    "Phase",
    "Plan",
    "State",
    "collectives",
    "init_states",
    "make_chunk",
    "make_layout",
    "make_optimiser",
    "optimiser_of",
    "noted_signals",
    "open_checkpoints",
    "train",
    "train_one",
    "train_with_restarts",
]

"""Training: state, step, loop, optimisers, checkpoints, devices."""

from mmjax.train.checkpoints import Checkpoints, open_checkpoints
from mmjax.train.fingerprint import fingerprint, same_fingerprint
from mmjax.train.former import Plan
from mmjax.train.loop import NotFinite, Recipe, Stage, init_states, train, train_one
from mmjax.train.optimisers import (
    DECAY_HELP,
    OPTIMISER_HELP,
    OPTIMISERS,
    SCHEDULES,
    OptimiserOptions,
    decayed,
    make_optimiser,
    optimiser_of,
)
from mmjax.train.parallel import LAYOUTS, Layout, collectives, make_layout, require_one_process
from mmjax.train.restarts import Outcome, train_with_restarts
from mmjax.train.signals import GRACE, Interrupted, noted_signals
from mmjax.train.step import Aside, Collectives, Progress, State, make_chunk

Phase = Stage  # its former name

__all__ = [
    "Aside",
    "DECAY_HELP",
    "GRACE",
    "LAYOUTS",
    "OPTIMISERS",
    "OPTIMISER_HELP",
    "OptimiserOptions",
    "SCHEDULES",
    "Checkpoints",
    "Collectives",
    "Interrupted",
    "Layout",
    "NotFinite",
    "Outcome",
    "Stage",
    "Recipe",
    "Phase",
    "Plan",
    "Progress",
    "State",
    "collectives",
    "decayed",
    "fingerprint",
    "init_states",
    "make_chunk",
    "make_layout",
    "make_optimiser",
    "optimiser_of",
    "noted_signals",
    "open_checkpoints",
    "require_one_process",
    "same_fingerprint",
    "train",
    "train_one",
    "train_with_restarts",
]

"""Few-shot classification of frozen features: pure functions of cached arrays."""

from mmjax.few_shot.base import Draws, Fitted, Method, accuracies
from mmjax.few_shot.methods import PLAIN, methods, unmixings
from mmjax.few_shot.probes import linear_scores, of_features
from mmjax.few_shot.search import Point, line_accuracies, search_line, search_plane
from mmjax.few_shot.sets import HeldOut, draw_sizes, make_draws, shots_with_rows, unlabelled
from mmjax.few_shot.unmix import Unmixing, fit_unmixing, unmixed, unmixed_test

__all__ = [
    "Draws",
    "Fitted",
    "Method",
    "PLAIN",
    "Point",
    "HeldOut",
    "Unmixing",
    "accuracies",
    "draw_sizes",
    "fit_unmixing",
    "line_accuracies",
    "linear_scores",
    "make_draws",
    "methods",
    "of_features",
    "search_line",
    "search_plane",
    "shots_with_rows",
    "unlabelled",
    "unmixed",
    "unmixed_test",
    "unmixings",
]

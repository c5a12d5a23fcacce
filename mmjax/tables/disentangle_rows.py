"""Which rows experiments.disentangle can judge, and what too few of them can't tell."""

from typing import Any

import numpy as np

from mmjax.errors import counted, require
from mmjax.evaluate import least_mcc_rows
from mmjax.studies import RANKS, FeatureWorld

GEOMETRY_PAIRS = 20  # its five folds want four each
KURTOSIS_ROWS = 8  # of which half are judged, see excess_kurtosis


def one_a_group(world: FeatureWorld) -> np.ndarray:
    """The first row of each group: a test that divides rows at random can't divide a group then."""
    return np.sort(np.unique(world.whole.rows.groups, return_index=True)[1])


def has_pairs(world: FeatureWorld) -> bool:
    """Whether there are two modalities of one width."""
    sides = world.whole.sides()
    return "t" in sides and sides["x"].shape == sides["t"].shape


def latents_rows(config: Any, world: FeatureWorld, count: int) -> int:
    """Held rows that MCC and R2 against known latents take; 0 where there are none."""
    if not config.latents and config.features:
        return 0
    return least_mcc_rows(world.whole.extra[config.latents or "latents"].shape[-1], count)


def check_images(name: str, images: np.ndarray) -> None:
    """Raises InvalidInput for an array that is no pictures, which figures show as it is."""
    drawn = images.ndim == 3 or images.ndim == 4 and images.shape[-1] in (1, 3, 4)
    good, held = drawn and images.dtype.kind in "buif" and images.size > 0, ""
    if good and images.dtype != np.uint8:
        low, high = images.min().item(), images.max().item()
        held = f", of {low:.6g} to {high:.6g}" if images.dtype.kind != "b" else ""
        good = low >= 0 and high <= (1 if images.dtype.kind == "f" else 255)
    allowed = "pictures uint8 [rows, h, w] or [rows, h, w, 1, 3 or 4], or floats of 0 to 1"
    require(good, "images", f"{name}, {images.dtype} {images.shape}{held}", allowed)


def too_few(config: Any, world: FeatureWorld) -> list[str]:
    """What is left out because so few rows would show chance, a line each."""
    pairs, held, lines = len(one_a_group(world)), len(world.held), []
    if has_pairs(world):
        if pairs < GEOMETRY_PAIRS:
            of = f"{counted(pairs, 'pair')}, one a group"
            lines.append(f"no geometry: {of}; it takes {GEOMETRY_PAIRS} or more")
        if (judged := -(-pairs // 2)) <= max(RANKS):
            lines.append(
                f"retrieval among about {counted(judged, 'held pair')}: a guess has a recall at 1 "
                f"of {1 / judged:.2f}; recall at k takes more than k held pairs"
            )
    least = max((latents_rows(config, world, count) for count in config.num_components), default=0)
    if held < least:
        said = f"no MCC and R2 against the latents: {counted(held, 'held row')}"
        lines.append(f"{said}; of fewer than {least} they are chance")
    if (rows := world.whole.rows.num_rows) < KURTOSIS_ROWS:
        said = f"no kurtosis: half of {counted(rows, 'row')} are judged"
        lines.append(f"{said}; it takes {KURTOSIS_ROWS} rows or more")
    return lines

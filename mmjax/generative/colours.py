"""Names of hues: the three palettes of Multimodal3DIdent (Daunhawer et al. 2023).

The nearest palette colour to `hsv(hue, 1, 1)` changes at a few dozen hues. They are found exactly,
once, in whole numbers; after that naming a hue is a look-up.
"""

import functools
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

COLOURS = 1107  # names in all palettes
PALETTES = ("TABLEAU", "CSS4", "XKCD")

# hsv(hue, 1, 1) walks along six edges of the RGB cube, from corner to corner.
_CORNERS = np.array(
    [[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 1, 1], [0, 0, 1], [1, 0, 1], [1, 0, 0]], np.int64
)


@functools.cache
def palettes() -> tuple[Mapping[str, Any], ...]:
    """Name -> `#rrggbb` of each of PALETTES, as matplotlib has them."""
    from matplotlib.colors import CSS4_COLORS, TABLEAU_COLORS, XKCD_COLORS

    return TABLEAU_COLORS, CSS4_COLORS, XKCD_COLORS


@functools.cache
def colour_names() -> tuple[str, ...]:
    """All names, sorted, prefixes included ("tab:blue", "xkcd:hot pink").

    Without the prefixes only 1048 differ.
    """
    return tuple(sorted({name for palette in palettes() for name in palette}))


class HueNames(NamedTuple):
    """Nearest colour names along the hue circle; piece k of a palette is `[start[k], start[k+1])`.

    Attributes:
      starts: `[3, pieces]` float32, increasing from 0; rows are filled up with infinity.
      names: `[3, pieces]` int32 in 0-1106, ranks in colour_names(); filled up with the last one.
    """

    starts: np.ndarray
    names: np.ndarray


@functools.cache
def hue_names() -> HueNames:
    """The names of all hues in the palettes TABLEAU, CSS4 and XKCD, in this order.

    Exact for every float32 hue; distances are Euclidean in RGB, and no float32 lies halfway between
    two colours. Where one colour has several names the last one counts (cyan, not aqua), as in the
    published data: its captions have 108 words.
    """
    rank = {name: k for k, name in enumerate(colour_names())}
    rows = []
    for palette in palettes():
        by_colour = {_levels(code): rank[name] for name, code in palette.items()}
        colours = np.array(list(by_colour), np.int64)
        ranks = np.array(list(by_colour.values()), np.int32)
        starts, nearest = _pieces(colours)
        rows.append((starts, ranks[nearest]))
    width = max(len(starts) for starts, _ in rows)
    fill = lambda row, value: np.pad(row, (0, width - len(row)), constant_values=value)
    return HueNames(
        np.stack([fill(starts, np.inf) for starts, _ in rows]),
        np.stack([fill(names, names[-1]) for _, names in rows]),
    )


def reachable_colours() -> np.ndarray:
    """Ranks in colour_names() of the colours that a hue is named after, `[100]` int32, sorted."""
    return np.unique(hue_names().names)


def _levels(code: str) -> tuple[int, int, int]:
    """`#rrggbb` as levels 0-255."""
    from matplotlib.colors import to_rgb

    red, green, blue = (round(255 * level) for level in to_rgb(code))
    return red, green, blue


def _lines(colours: np.ndarray, edge: int) -> tuple[np.ndarray, np.ndarray]:
    """Squared distances to the colours at share u of an edge, less what all have in common.

    |255 (a + u b) - c|^2 = value + slope u + (255 u)^2, since the edge b has unit length.

    Returns:
      value, slope: `[colours]` int64.
    """
    corner = 255 * _CORNERS[edge] - colours
    return (corner**2).sum(1), 510 * corner @ (_CORNERS[edge + 1] - _CORNERS[edge])


def _pieces(colours: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the nearest colour changes: the lower envelope of lines, edge by edge.

    Args:
      colours: `[colours, 3]` int64 levels 0-255, all different.

    Returns:
      starts `[pieces]` float32 and nearest `[pieces]` rows of colours.
    """
    starts, nearest = [np.float32(0)], [int(np.argmin(_lines(colours, 0)[0]))]
    for edge in range(6):
        value, slope = _lines(colours, edge)
        while True:
            here = nearest[-1]
            lower = np.flatnonzero(slope < slope[here])
            # Quotients of small whole numbers: equal fractions are equal floats.
            meets = (value[lower] - value[here]) / (slope[here] - slope[lower])
            if not lower.size or meets.min() >= 1:
                break
            tied = lower[meets == meets.min()]
            after = int(tied[np.argmin(slope[tied])])
            share = Fraction(int(value[after] - value[here]), int(slope[here] - slope[after]))
            starts.append(_float_from((edge + share) / 6))
            nearest.append(after)
    return np.array(starts, np.float32), np.array(nearest)


def _float_from(hue: Fraction) -> np.float32:
    """The smallest float32 that is not below the hue."""
    rounded = np.float32(float(hue))
    return np.nextafter(rounded, np.float32(1)) if Fraction(float(rounded)) < hue else rounded

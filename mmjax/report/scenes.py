"""Figures of images and captions."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from mmjax.report.canvas import blank_figure
from mmjax.report.text import figure_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def _show(ax, image: np.ndarray | None, text: str, width: int = 30) -> None:
    ax.axis("off")
    lines = [line for part in text.split("\n") for line in textwrap.wrap(part, width)]
    shown = figure_text("\n".join(lines))
    if image is not None:
        ax.imshow(image, interpolation="nearest")
        ax.set_title(shown, fontsize=5.5, pad=2)
    elif text:
        ax.text(0.5, 0.5, shown, ha="center", va="center", fontsize=6)


def caption_grid_figure(images: np.ndarray, texts: Sequence[str], *, columns: int = 6) -> "Figure":
    """Images `[n, r, r, 3]`, each under its caption."""
    rows = -(-len(images) // columns)
    figure = blank_figure(
        1.45 * columns, 1.75 * rows, reading="Pairs as the networks see them: an image, its text."
    )
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for k, ax in enumerate(axes):
        _show(ax, images[k] if k < len(images) else None, texts[k] if k < len(images) else "")
    return figure


def sheet_figure(rows: Mapping[str, np.ndarray]) -> "Figure":
    """A strip of images `[n, r, r, 3]` under its title, a row an entry."""
    figure = blank_figure(
        4.2, 0.78 * len(rows), reading="A strip a row: what its title names varies."
    )
    for ax, (title, images) in zip(figure.subplots(len(rows)), rows.items(), strict=True):
        ax.imshow(np.concatenate(list(images), axis=1), interpolation="nearest")
        ax.set_title(figure_text(title), fontsize=7, loc="left", pad=2)
        ax.set_anchor("W")
        ax.axis("off")
    return figure


def neighbours_figure(
    images: np.ndarray,
    texts: Sequence[str],
    scores: np.ndarray,
    *,
    queries: int = 4,
    nearest: int = 3,
) -> "Figure":
    """Nearest captions of images, and nearest images of captions.

    Args:
      images: `[n, r, r, 3]`.
      texts: n captions.
      scores: `[n, n]` similarity of image i and caption j.
      queries: how many rows of either kind; the first ones.
      nearest: neighbours shown of each.
    """
    reading = "Left what is asked for, beside it the nearest: the best match comes first."
    figure = blank_figure(1.5 * (nearest + 1), 1.5 * 2 * queries, reading=reading)
    axes = figure.subplots(2 * queries, nearest + 1, squeeze=False)
    for k in range(min(queries, len(images))):
        _show(axes[k, 0], images[k], "image, its nearest captions:")
        _show(axes[queries + k, 0], None, f"caption: {texts[k]} Its nearest images:", 26)
        for place, j in enumerate(np.argsort(-scores[k])[:nearest], 1):
            _show(axes[k, place], None, texts[j], 26)
        for place, j in enumerate(np.argsort(-scores[:, k])[:nearest], 1):
            _show(axes[queries + k, place], images[j], "")
    return figure


def traversal_figure(panels: Mapping[str, Mapping[str, np.ndarray]]) -> "Figure":
    """One component moved, a column of panels a way, a strip a component.

    Args:
      panels: way -> what the component is matched to -> pictures `[levels, h, w, c]` in [0, 1], one
        or three channels.
    """
    reading = "A strip that changes in what stands beside it, and in nothing else, is disentangled."
    height = max(len(strips) for strips in panels.values())
    figure = blank_figure(3.3 * len(panels), 0.55 * height + 0.4, reading=reading)
    axes = figure.subplots(height, len(panels), squeeze=False)
    for column, (way, strips) in zip(axes.T, panels.items(), strict=True):
        for ax in column:
            ax.set_xticks([])
            ax.set_yticks([])
            ax.set_frame_on(False)
        for ax, (title, images) in zip(column, strips.items(), strict=False):
            strip = np.concatenate(list(images), axis=1)
            if strip.shape[2] == 1:
                ax.imshow(strip[..., 0], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            else:
                ax.imshow(strip, interpolation="nearest")
            label = figure_text(textwrap.fill(title, 12))
            ax.set_ylabel(label, rotation=0, ha="right", va="center", fontsize=5.5)
        column[0].set_title(figure_text(way), fontsize=8)
    return figure

"""Draws the rooms of mmjax and who imports whom, from the imports themselves.

  python -m tests.draw_rooms        # writes docs/images/rooms.svg anew

A line goes from a room down to one that it uses; what follows from other lines is left out.
tests/test_layers.py checks that the picture is of today.
"""

from collections.abc import Mapping
from itertools import pairwise

from tests.test_layers import LAYERS, MODULES, ROOT, imported, room_of

PICTURE = ROOT / "docs/images/rooms.svg"
CORE = "core"  # the modules of the lowest layer, in one box
WIDTH, LEVEL_HEIGHT, BOX_HEIGHT = 720, 64, 30


def _box(room: str) -> str:
    return CORE if room in LAYERS[0] else room


def uses() -> dict[str, set[str]]:
    """Room -> the rooms that its modules import."""
    found: dict[str, set[str]] = {_box(room_of(path)): set() for path in MODULES}
    for path in MODULES:
        for name in imported(path):
            parts = name.split(".")
            if parts[0] == "mmjax" and len(parts) > 1:
                found[_box(room_of(path))].add(_box(parts[1]))
    return {room: others - {room} for room, others in found.items()}


def reached(room: str, arrows: Mapping[str, set[str]]) -> set[str]:
    """All rooms that arrows lead to, over others too."""
    found, todo = set(), list(arrows[room])
    while todo:
        if (other := todo.pop()) not in found:
            found.add(other)
            todo += arrows[other]
    return found


def needed(arrows: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """The arrows that don't follow from the others."""
    beyond = {room: set().union(*(reached(o, arrows) for o in arrows[room])) for room in arrows}
    return {room: arrows[room] - beyond[room] for room in arrows}


def levels(arrows: Mapping[str, set[str]]) -> dict[str, int]:
    """Room -> the longest way down from it."""
    depth: dict[str, int] = {}
    for room in sorted(arrows, key=lambda r: len(reached(r, arrows))):
        depth[room] = 1 + max((depth[other] for other in arrows[room]), default=-1)
    return depth


def places(arrows: Mapping[str, set[str]]) -> tuple[dict[tuple, tuple[float, float]], int]:
    """Where rooms `(room,)` and bends `(room, other, level)` of lines stand; the picture's height.

    A long line bends in every level that it crosses, so that it passes between boxes.
    """
    depth = levels(arrows)
    pairs = [(room, other) for room in sorted(arrows) for other in sorted(arrows[room])]
    below: dict[tuple, list[tuple]] = {(room,): [] for room in sorted(arrows)}
    for room, other in pairs:
        bends = [(room, other, level) for level in range(depth[other] + 1, depth[room])]
        way = [(other,), *bends, (room,)]
        for low, high in pairwise(way):
            below.setdefault(high, []).append(low)
    level_of = lambda item: depth[item[0]] if len(item) == 1 else item[2]
    count = max(depth.values()) + 1
    place: dict[tuple, tuple[float, float]] = {}
    for level in range(count):
        row = [item for item in below if level_of(item) == level]
        mean = lambda item: sum(place[o][0] for o in below[item]) / max(len(below[item]), 1)
        row.sort(key=lambda item: (mean(item), item))
        widths = [9 * len(item[0]) + 40 if len(item) == 1 else 30 for item in row]
        gap = (WIDTH - sum(widths)) / (len(row) + 1)
        left = gap
        for item, width in zip(row, widths, strict=True):
            place[item] = (left + width / 2, LEVEL_HEIGHT * (count - level - 0.5))
            left += width + gap
    return place, LEVEL_HEIGHT * count


def _line(points: list[tuple[float, float]]) -> str:
    """A line down these points, each the middle of a box or of a bend."""
    half = BOX_HEIGHT / 2
    (x, y), rest = points[0], points[1:]
    told = [f"M{x:.0f} {y + half:.0f}"]
    for u, v in rest:
        a, b = y + half, v - half
        middle = (a + b) / 2
        told.append(f"C{x:.0f} {middle:.0f} {u:.0f} {middle:.0f} {u:.0f} {b:.0f}")
        told.append(f"V{v + half:.0f}" if (u, v) != points[-1] else "")
        x, y = u, v
    return f'<path d="{"".join(told)}"/>'


def drawing() -> str:
    """The picture, as SVG; light on its own ground, so that it is read on any page."""
    arrows = needed(uses())
    place, height = places(arrows)
    depth = levels(arrows)
    lines, boxes = [], []
    for room in sorted(arrows):
        for other in sorted(arrows[room]):
            crossed = range(depth[room] - 1, depth[other], -1)
            way = [(room,), *((room, other, level) for level in crossed), (other,)]
            lines.append(_line([place[item] for item in way]))
        (x, y), w = place[(room,)], 9 * len(room) + 20
        boxes.append(
            f'<rect x="{x - w / 2:.0f}" y="{y - BOX_HEIGHT / 2:.0f}" width="{w}" '
            f'height="{BOX_HEIGHT}" rx="6"/><text fill="#12263a" stroke="none" '
            f'x="{x:.0f}" y="{y + 5:.0f}">{room}</text>'
        )
    told = "Rooms of mmjax: a line goes from a room down to one that it uses"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
            f"<title>{told}</title>",
            f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
            '<g fill="none" stroke="#5c6b7a" stroke-width="1.5">',
            *lines,
            '</g><g fill="#e8f0f8" stroke="#2f5d8a" font-family="monospace" font-size="15" '
            'text-anchor="middle">',
            *boxes,
            "</g></svg>",
            "",
        ]
    )


if __name__ == "__main__":
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    PICTURE.write_text(drawing(), encoding="utf-8")

"""Draws the rooms of mmjax and who imports whom, from the imports themselves.

  python -m tests.draw_rooms        # writes the diagram of README anew

An arrow goes from a room to one that it uses; what follows from other arrows is left out.
tests/test_layers.py checks that the diagram is of today.
"""

import re
from collections.abc import Mapping

from tests.test_layers import LAYERS, MODULES, ROOT, imported, room_of

README = ROOT / "README.md"
CORE = "core"  # the modules of the lowest layer, in one box
DIAGRAM = re.compile(r"```mermaid\n.*?```", re.S)


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


def drawing() -> str:
    """The diagram as a block of Mermaid, which GitHub draws."""
    arrows = needed(uses())
    lines = [f"  {room} --> {other}" for room in sorted(arrows) for other in sorted(arrows[room])]
    return "\n".join(["```mermaid", "flowchart TD", *lines, "```"])


if __name__ == "__main__":
    told = DIAGRAM.sub(lambda _: drawing(), README.read_text(encoding="utf-8"), count=1)
    README.write_text(told, encoding="utf-8")

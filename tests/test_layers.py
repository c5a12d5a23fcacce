"""Imports flow one way; flax.linen and pmap stay in their rooms; files stay readable."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# Lower layers first. A module imports only from its own layer's package or from lower layers.
LAYERS = [
    {"types", "errors", "numerics", "config", "labels", "rooms"},
    {"spaces"},
    {"conditionals"},
    {"generative"},
    {"observations", "data"},
    {"encoders"},
    {"nets"},
    {"losses"},
    {"train"},
    {"testing"},
    {"disentangle"},
    {"evaluate"},
    {"few_shot"},
    {"studies"},
    {"report"},
    {"run"},
    {"models"},
    {"tables"},
    {"sklearn"},
]
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}
MODULES = sorted(p for p in (ROOT / "mmjax").rglob("*.py") if p != ROOT / "mmjax/__init__.py")


def imported(path: Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names.append(node.module or "")
    return names


def room_of(path: Path) -> str:
    return path.relative_to(ROOT / "mmjax").parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_flow_one_way(path):
    room = room_of(path)
    assert room in LEVEL, f"{room} is in no layer: add it to LAYERS"
    for name in imported(path):
        parts = name.split(".")
        assert parts[0] != "experiments", f"{path} imports an experiment"
        if parts[0] == "mmjax" and len(parts) > 1 and parts[1] != room:
            assert LEVEL[parts[1]] <= LEVEL[room], f"{path} imports {name}, a higher layer"
            same_layer = LEVEL[parts[1]] == LEVEL[room] and LEVEL[room] > 0
            assert not same_layer, f"{path} imports {name}, beside it"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_rooms_keep_their_own(path):
    text = path.read_text()
    assert ("flax" not in " ".join(imported(path))) or room_of(path) == "encoders"
    assert "jax.pmap(" not in text or path.name == "parallel.py"


def test_top_level_is_the_design_card():
    """Only what the design card names, plus licence, CI and dotfiles."""
    rooms = {"mmjax", "experiments", "tests", "colabs", "docs"}
    papers = {"README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff"}
    allowed = {"pyproject.toml", "mkdocs.yml", *rooms, *papers}
    # By installing, running and building; git ignores them.
    made = {"build", "dist", "site", "runs", "mmjax.egg-info"}
    found = {p.name for p in ROOT.iterdir() if not p.name.startswith(".")}
    assert found - made <= allowed, f"unexpected at the top level: {found - made - allowed}"
    assert allowed <= found


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_modules_are_short(path):
    assert len(path.read_text().splitlines()) <= 400


EXPERIMENTS = [
    p
    for p in sorted((ROOT / "experiments").glob("*.py"))
    if p.stem not in ("__init__", "__main__", "compare")
]


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda p: p.stem)
def test_an_experiment_is_config_rows_and_main(path):
    text = path.read_text()
    tree = ast.parse(text)
    assert len(text.splitlines()) <= 150
    assert f"python -m experiments.{path.stem}" in ast.get_docstring(tree)
    defined = [n.name for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef)]
    assert {"Config", "main"} <= set(defined), "library code belongs to a room of mmjax"
    others = [name for name in imported(path) if name.split(".")[0] == "experiments"]
    assert not others, f"what two experiments share is library code: {others}"


@pytest.mark.parametrize("path", sorted((ROOT / "experiments/benchmarks").glob("*.py")))
def test_a_benchmark_is_short(path):
    assert len(path.read_text().splitlines()) <= 200


def test_the_map_of_the_rooms_is_of_today():
    from tests.draw_rooms import PICTURE, drawing, levels, needed, uses

    assert needed({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == {"a": {"b"}, "b": {"c"}, "c": set()}
    assert "losses" in uses()["studies"] and "studies" not in uses()["losses"]
    assert levels({"a": {"b"}, "b": {"c"}, "c": set()}) == {"a": 2, "b": 1, "c": 0}
    assert PICTURE.read_text() == drawing(), "draw it again: python -m tests.draw_rooms"

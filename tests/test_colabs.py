"""Notebooks run top to bottom with small settings, and define nothing."""

import ast
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parent.parent
# What the cell tagged `parameters` becomes in CI: a row a notebook.
SMALL = {
    "partial_causal": "steps, mixing_candidates, samples = 60, 50, 256",
    "disentangle": (
        'features, values, num_components, draws, shots, generated = "", "", 6, 2, (1, 2), 200'
    ),
    "synergy": 'methods, steps = ("comm",), 2\nbatch_size, width, probe_rows = 8, 8, 300',
    "image_text": (
        "steps, pairs, probe_pairs, resolution, encoding_size, probe_steps = 4, 300, 200, 32, 3, 20"
    ),
}


def test_every_notebook_has_small_settings():
    assert {path.stem for path in (ROOT / "colabs").glob("*.ipynb")} == set(SMALL)


@pytest.mark.parametrize("name", SMALL)
def test_notebook_runs_top_to_bottom(name, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    book = nbformat.read(ROOT / "colabs" / f"{name}.ipynb", as_version=4)
    (parameters,) = (c for c in book.cells if "parameters" in c.metadata.get("tags", []))
    parameters.source = SMALL[name]
    NotebookClient(book, timeout=300, kernel_name="python3").execute()
    pictures = [
        output
        for cell in book.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if "image/png" in output.get("data", {})
    ]
    assert len(pictures) >= 4, "figures are what a reader comes for"


@pytest.mark.parametrize("name", SMALL)
def test_notebook_defines_nothing_and_is_stored_clean(name):
    book = nbformat.read(ROOT / "colabs" / f"{name}.ipynb", as_version=4)
    for cell in (c for c in book.cells if c.cell_type == "code"):
        source = "\n".join(
            line for line in cell.source.splitlines() if not line.lstrip().startswith("%")
        )
        if "find_spec" in source:
            continue  # the installing cell's body is a magic
        kinds = (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)
        assert not [n for n in ast.walk(ast.parse(source)) if isinstance(n, kinds)]
        assert not cell.outputs and cell.execution_count is None

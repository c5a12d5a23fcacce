"""Notebooks define nothing, and call what exists; nightly they run top to bottom, small."""

import ast
import inspect
import json
import types
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# What the cell tagged `parameters` becomes in CI: a row a notebook.
SMALL = {
    "partial_causal": "steps, mixing_candidates, samples = 60, 50, 256",
    "disentangle": (
        'features, values, num_components, draws, shots, generated = "", "", 6, 2, (1, 2), 200'
    ),
    "own_pairs": 'path, steps, dims = "", 8, (2, 4)',
    "synergy": 'methods, steps = ("comm",), 2\nbatch_size, width, probe_rows = 8, 8, 300',
    "image_text": (
        "steps, pairs, probe_pairs, resolution, encoding_size, probe_steps = 4, 300, 200, 32, 3, 20"
    ),
}


def test_every_notebook_has_small_settings():
    assert {path.stem for path in (ROOT / "colabs").glob("*.ipynb")} == set(SMALL)


def _cells(name, kind="code"):
    """A notebook's cells; read as what they are, JSON, so that only who runs them needs Jupyter."""
    cells = json.loads((ROOT / "colabs" / f"{name}.ipynb").read_text())["cells"]
    joined = (cell | {"source": "".join(cell["source"])} for cell in cells)
    return [types.SimpleNamespace(**cell) for cell in joined if cell["cell_type"] == kind]


def _tree(name):
    """A notebook's code, without magics and the cell that installs."""
    cells = [c.source for c in _cells(name) if "find_spec" not in c.source]
    lines = [line for cell in cells for line in cell.splitlines()]
    return ast.parse("\n".join(line for line in lines if not line.lstrip().startswith("%")))


def _found(node, names):
    """What an expression `a.b.c` of imported names is; None for all others."""
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute):
        parent = _found(node.value, names)
        if isinstance(parent, types.ModuleType | type):
            return getattr(parent, node.attr)  # raises where the name is none of it
    return None


def _wrong_calls(tree):
    """Calls of imported functions with arguments that they don't take, in words."""
    imports = [n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)]
    names = {}
    exec(compile(ast.Module(imports, []), "imports", "exec"), names)
    wrong = []
    for node in ast.walk(tree):
        found = _found(node, names) if isinstance(node, ast.Attribute) else None
        found = _found(node.func, names) if isinstance(node, ast.Call) else found
        if not isinstance(node, ast.Call) or not callable(found):
            continue
        if not getattr(found, "__module__", "").startswith(("mmjax", "experiments")):
            continue
        spread = any(isinstance(a, ast.Starred) for a in node.args)
        keywords = {k.arg: None for k in node.keywords if k.arg}
        whole = not spread and len(keywords) == len(node.keywords)
        signature = inspect.signature(found)
        try:
            given = () if spread else node.args
            (signature.bind if whole else signature.bind_partial)(*given, **keywords)
        except TypeError as error:
            wrong.append(f"{ast.unparse(node.func)}: {error}")
    return wrong


@pytest.mark.parametrize("name", SMALL)
def test_notebook_calls_what_exists_with_arguments_it_takes(name):
    assert not _wrong_calls(_tree(name))


def test_a_wrong_call_is_found():
    code = "from mmjax.evaluate import mcc\nimport mmjax.evaluate as e\n"
    assert not _wrong_calls(ast.parse(code + "mcc(1, 2)"))
    assert len(_wrong_calls(ast.parse(code + "mcc(1, 2, colour=3)\ne.mcc()"))) == 2
    with pytest.raises(AttributeError):
        _wrong_calls(ast.parse(code + "e.no_such_metric(1)"))
    with pytest.raises(ImportError):
        _wrong_calls(ast.parse("from mmjax.evaluate import no_such_metric"))


@pytest.mark.parametrize("name", SMALL)
def test_small_settings_set_the_parameters_that_there_are(name):
    (cell,) = (c for c in _cells(name) if "parameters" in c.metadata.get("tags", []))
    names = lambda code: [n for n in ast.walk(ast.parse(code)) if isinstance(n, ast.Name)]
    stored = lambda code: {n.id for n in names(code) if isinstance(n.ctx, ast.Store)}
    assert stored(SMALL[name]) <= stored(cell.source)


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_notebook_runs_top_to_bottom(name, monkeypatch, tmp_path):
    """Needs the extra `colabs`, which the quick tests do without."""
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    book = nbformat.read(ROOT / "colabs" / f"{name}.ipynb", as_version=4)
    (parameters,) = (c for c in book.cells if "parameters" in c.metadata.get("tags", []))
    parameters.source = SMALL[name]
    where = {"metadata": {"path": str(tmp_path)}}  # what it writes stays there
    NotebookClient(book, timeout=300, kernel_name="python3", resources=where).execute()
    pictures = [
        output
        for cell in book.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if "image/png" in output.get("data", {})
    ]
    assert len(pictures) >= 4, "figures are what a reader comes for"


@pytest.mark.parametrize("name", SMALL)
def test_notebook_defines_nothing(name):
    for cell in _cells(name):
        source = "\n".join(
            line for line in cell.source.splitlines() if not line.lstrip().startswith("%")
        )
        if "find_spec" in source:
            continue  # the installing cell's body is a magic
        kinds = (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)
        assert not [n for n in ast.walk(ast.parse(source)) if isinstance(n, kinds)]


def test_all_install_in_the_same_way():
    first = {_cells(path.stem)[0].source for path in (ROOT / "colabs").glob("*.ipynb")}
    (cell,) = first
    assert "find_spec" in cell and "git+https://" in cell and "pip install" in cell


@pytest.mark.parametrize("name", SMALL)
def test_notebook_is_stored_with_its_figures_and_little_else(name):
    path = ROOT / "colabs" / f"{name}.ipynb"
    code = _cells(name)
    outputs = [output for cell in code for output in cell.outputs]
    assert [c.execution_count for c in code] == list(range(1, len(code) + 1)), "in one go, in order"
    assert not [o for o in outputs if o["output_type"] == "error" or o.get("name") == "stderr"]
    assert sum("image/png" in o.get("data", {}) for o in outputs) >= 4
    assert path.stat().st_size < 800_000
    assert str(Path.home()) not in path.read_text() and "/tmp/" not in path.read_text()

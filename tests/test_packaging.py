"""What a wheel is made of, told without building one."""

import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

import mmjax

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]
SETUP = PROJECT["tool"]["setuptools"]


def test_one_version_is_told_everywhere():
    assert re.fullmatch(r"\d+\.\d+\.\d+", mmjax.__version__)
    assert PROJECT["project"]["dynamic"] == ["version"]
    assert SETUP["dynamic"]["version"] == {"attr": "mmjax.__version__"}
    cited = re.search(r"^version: (.*)$", (ROOT / "CITATION.cff").read_text(), flags=re.M)
    assert cited[1] == mmjax.__version__
    changes = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), flags=re.M)
    assert changes[0] == mmjax.__version__


def test_every_extra_is_explained_and_former_names_stay():
    told = (ROOT / "docs/install.md").read_text()
    for name in set(EXTRAS) - {"text"}:
        assert f"| `{name}` |" in told, name
    assert EXTRAS["text"] == ["mmjax[clip]"]
    within = {n for own in EXTRAS.values() for d in own for n in re.findall(r"mmjax\[(.*)\]", d)}
    assert {n for names in within for n in names.split(",")} <= set(EXTRAS)


def test_a_wheel_has_every_module_and_what_lies_beside_it():
    find = SETUP["packages"]["find"]
    data = SETUP["package-data"]["mmjax"]
    for path in (p for p in (ROOT / "mmjax").rglob("*") if p.is_file()):
        inside = path.relative_to(ROOT / "mmjax")
        if "__pycache__" in inside.parts:
            continue
        if path.suffix == ".py":
            assert (path.parent / "__init__.py").exists(), f"{path.parent} is no package"
        else:
            assert any(fnmatch(str(inside), pattern) for pattern in data), inside
    for package in ("mmjax", "mmjax.data.formats", "experiments", "experiments.benchmarks"):
        assert any(fnmatch(package, pattern) for pattern in find["include"])


@pytest.mark.parametrize("name", ["LICENSE", "README.md", "CITATION.cff", "CHANGELOG.md"])
def test_what_goes_with_it_exists(name):
    assert (ROOT / name).stat().st_size > 100
    assert PROJECT["project"]["license-files"] == ["LICENSE"]

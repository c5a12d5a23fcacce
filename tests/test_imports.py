"""What is imported by whom: heavy packages by the first function that needs them, no sooner."""

import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import mmjax

ROOT = Path(__file__).parent.parent
# mmjax.sklearn is for whoever uses scikit-learn already.
ROOMS = [f"mmjax.{m.name}" for m in pkgutil.iter_modules(mmjax.__path__) if m.name != "sklearn"]
EXPERIMENTS = [f"experiments.{path.stem}" for path in sorted((ROOT / "experiments").glob("*.py"))]
HEAVY = "matplotlib sklearn scipy orbax tensorboardX pyarrow h5py pandas".split()


def heavy_after(names):
    """Which heavy packages a fresh process has once it has imported these."""
    code = f"import sys\nimport {', '.join(names)}\nprint(*set({HEAVY}) & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return set(ran.stdout.split())


@pytest.mark.parametrize("names", [["mmjax"], ROOMS, EXPERIMENTS], ids="front rooms runs".split())
def test_heavy_packages_wait_until_they_are_used(names):
    assert heavy_after(names) <= heavy_after(["jax"])  # which has scipy in some versions


def test_the_look_can_tell():
    assert heavy_after(["scipy.special"]) == {"scipy"}

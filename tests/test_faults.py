"""Faults made on purpose, each in a copy of the code: the quick tests named beside it turn red."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent


class Fault(NamedTuple):
    """What is written for what in which file, and the tests that must see it."""

    name: str
    file: str
    right: str
    wrong: str
    tests: str


FAULTS = [
    Fault(
        "sign",
        "mmjax/losses/contrastive.py",
        "jax.nn.softplus(negatives - positives)",
        "jax.nn.softplus(positives - negatives)",
        "test_losses.py",
    ),
    Fault(
        "gather",
        "mmjax/train/parallel.py",
        "gather=lambda x: jax.lax.all_gather(x, axis, tiled=True),",
        "gather=lambda x: x,",
        "test_sharding.py",
    ),
    Fault(
        "mask of ids",
        "mmjax/losses/ids.py",
        "apart &= a[:, None] != b[None, :]",
        "apart |= a[:, None] != b[None, :]",
        "test_ids.py",
    ),
    Fault(
        "split by position",
        "mmjax/data/feature_sets.py",
        "members = rng.permutation(np.flatnonzero(stratum == kind))",
        "members = np.flatnonzero(stratum == kind)",
        "test_splits.py test_feature_splits.py",
    ),
    Fault(
        "halves by position",
        "mmjax/evaluate/splits.py",
        "chance = jax.random.uniform(split_key, (rows,), jnp.float32)",
        "chance = jnp.arange(rows, dtype=jnp.float32)",
        "test_splits.py",
    ),
    Fault(
        "checksum",
        "mmjax/train/checkpoints.py",
        'if name in body["files"] and result[name] != body["files"][name]:',
        "if False:",
        "test_checkpoints.py",
    ),
    Fault(
        "checkpoint beyond the plan",
        "mmjax/train/checkpoints.py",
        "if until and step > until[-1]:",
        "if False:",
        "test_checkpoints.py",
    ),
    Fault(
        "decay of everything",
        "mmjax/train/optimisers.py",
        "lambda path, value: _axes(path, value) is not None, params",
        "lambda path, value: True, params",
        "test_restarts_and_optimisers.py",
    ),
    Fault(
        "trained rows judged",
        "mmjax/data/feature_sets.py",
        "return Unseen(features.take(~trained), message, False)",
        "return Unseen(features, message, False)",
        "test_feature_splits.py",
    ),
    Fault(
        "not finite",
        "mmjax/train/step.py",
        "results = [jnp.isfinite(x) for x in (loss, *squares)]",
        "results = [jnp.isfinite(x) | True for x in (loss, *squares)]",
        "test_checkpoints.py",
    ),
    Fault(
        "scaling of the judged",
        "mmjax/tables/multibench.py",
        'preparations_of(data.part("train"),',
        "preparations_of(data,",
        "test_multibench_scaling.py",
    ),
    Fault(
        "known positives as negatives",
        "mmjax/losses/contrastive.py",
        "known = mine = id_columns(ids, x.shape[0], gather)",
        "known = mine = id_columns(None, x.shape[0], gather)",
        "test_ids.py",
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name.replace(" ", "-"))
def test_the_quick_suite_sees(fault, tmp_path):
    for name in ("mmjax", "experiments", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, tmp_path)
    path = tmp_path / fault.file
    text = path.read_text(encoding="utf-8")
    assert text.count(fault.right) == 1, f"{fault.file} has changed: {fault.right!r}"
    path.write_text(text.replace(fault.right, fault.wrong), encoding="utf-8")
    tests = [f"tests/{name}" for name in fault.tests.split()]
    found = subprocess.run(
        [sys.executable, "-m", "pytest", "-n", "0", "-x", "-p", "no:cacheprovider", *tests],
        cwd=tmp_path,
        # Its own code, wherever the package is installed.
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    # 1: tests ran and some failed; 2 and more: they could not be run.
    assert found.returncode == 1, found.stdout[-3000:] + found.stderr[-1000:]
    print("\n" + next(line for line in found.stdout.splitlines() if line.startswith("FAILED")))

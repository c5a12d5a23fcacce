"""kill -9 at random moments, judging included: the results are the undisturbed run's."""

import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
KILLS = 20
# Training and judging take about as long as each other here.
PAIRED = (
    "paired_data --seeds=2 --steps=400 --chunk_steps=20 --save_every=40 --hidden=16 "
    "--embedding_dims=2,3 --batch_size=32 --parallel=single"
)
# Judging alone: eleven rows, each written at once.
FROZEN = (
    "disentangle --generated=400 --seeds=2 --shots=1 --num_components=4 --restarts=2 --probes=l2"
)
# Two models of a user's own pairs: training, and both kept and judged.
FIT = (
    "fit --data={folder}/pairs.npz --labels=word --dim=4,8 --steps=400 --batch_size=64 "
    "--parallel=single"
)


def _pairs(folder: Path) -> None:
    rng = np.random.default_rng(0)
    shared, word = rng.normal(size=(600, 3)), np.arange(600) % 3
    side = lambda: np.hstack([shared + word[:, None], rng.normal(size=(600, 3))])
    np.savez(folder / "pairs.npz", **{n: side().astype(np.float32) for n in "ab"}, word=word)


def _written(folder: Path) -> dict[str, bytes]:
    """Results, and the numbers of all models that a run leaves."""
    kept = [folder / "results.csv", *sorted(folder.glob("models/*/model/*.safetensors"))]
    return {str(path.relative_to(folder)): path.read_bytes() for path in kept}


def _start(flags: str, workdir: Path, cache: Path) -> subprocess.Popen:
    environment = {
        **os.environ,
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "XLA_FLAGS": "",
    }
    name, *rest = flags.format(folder=workdir.parent).split()
    return subprocess.Popen(
        [sys.executable, "-m", f"experiments.{name}", f"--workdir={workdir}", *rest],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def _claimed(process: subprocess.Popen, workdir: Path) -> None:
    while not (workdir / "config.json").exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)


def _where(workdir: Path) -> str:
    """What the kill cut short, by what is on disk."""
    if (workdir / "summary.md").exists():
        return "when done"
    trained = sorted(workdir.glob("checkpoints/*/attempt0/*[0-9]"))
    trained += sorted(workdir.glob("models/*/checkpoints/*[0-9]"))
    if not trained:
        return "judging" if (workdir / "results.csv").exists() else "before a checkpoint"
    last = max(trained, key=lambda path: path.stat().st_mtime)
    return "judging" if last.name == "400" else "training"


@pytest.mark.slow
@pytest.mark.parametrize("flags", [PAIRED, FROZEN, FIT], ids=lambda flags: flags.split()[0])
def test_twenty_kills_at_random_moments(flags, tmp_path):
    cache = tmp_path / "cache"
    _pairs(tmp_path)
    for name in ("first", "whole"):  # the second with all programs in the cache
        process, folder = _start(flags, tmp_path / name, cache), tmp_path / name
        _claimed(process, folder)
        start = time.monotonic()
        _, err = process.communicate(timeout=3600)
        assert process.returncode == 0, err
        seconds = time.monotonic() - start
    want = _written(tmp_path / "whole")
    assert _written(tmp_path / "first") == want
    assert len(want) == (3 if flags == FIT else 1)
    rng, found = np.random.default_rng(0), Counter()
    for number in range(KILLS):
        folder = tmp_path / str(number)
        process = _start(flags, folder, cache)
        _claimed(process, folder)
        time.sleep(rng.uniform(0, seconds))
        process.kill()
        process.communicate()
        found[_where(folder)] += 1
        process = _start(flags, folder, cache)
        _, err = process.communicate(timeout=3600)
        assert process.returncode == 0, err
        assert _written(folder) == want, (number, found)
    print(f"\n{KILLS} of {KILLS}: {dict(found)}, {seconds:.1f} s of work a run")

"""The contract of a run: flags, exit codes, resume, kill -9, SIGTERM."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from experiments import paired_data, partial_causal
from mmjax.run import Row, launch, progress_line, read_results, run_table

ROOT = Path(__file__).parent.parent
TINY = (
    "--dim=2 --private_dim=1 --hidden=16 --steps=80 --pre_steps=20 --batch_size=32 "
    "--chunk_steps=10 --save_every=20 --mixing_candidates=50 --seeds=2 --eval_samples=256 "
    "--max_restarts=1 "
    "--stuck_gap=0.5 --parallel=single"
).split()
EXPERIMENTS = {"partial_causal": partial_causal, "paired_data": paired_data}


def _launch(experiment: str, *argv: str) -> int:
    module = EXPERIMENTS[experiment]
    return launch(
        module.main,
        module.Config,
        module.PRESETS,
        experiment=module.EXPERIMENT,
        doc=module.__doc__,
        argv=[experiment, *argv],
    )


def _start(workdir: Path, cache: Path, *more: str) -> subprocess.Popen:
    environment = {
        **os.environ,
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    command = [sys.executable, "-m", "experiments.partial_causal", f"--workdir={workdir}", *TINY]
    return subprocess.Popen(
        [*command, *more], cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def _wait_for(condition, process, timeout=120.0):
    end = time.time() + timeout
    while not condition():
        assert process.poll() is None, process.stderr.read().decode()
        assert time.time() < end, "the moment never came"
        time.sleep(0.005)


def _steps(workdir: Path) -> list[int]:
    path = workdir / "metrics.csv"
    if not path.exists():
        return []
    lines = path.read_text().splitlines()[1:]
    return [int(line.split(",")[3]) for line in lines if line.count(",") == 5]


def _final_parameters(workdir: Path):
    found = {}
    for folder in sorted((workdir / "checkpoints").glob("*/*/80")):
        tree = ocp.StandardCheckpointer().restore(folder / "default")
        found[str(folder.relative_to(workdir))] = jax.tree.map(np.asarray, tree)
    return found


def _whole(folder: Path, *more: str) -> tuple[Path, Path]:
    """A whole run, and the compilation cache that makes the others start faster."""
    process = _start(folder / "run", folder / "cache", *more)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err.decode()
    return folder / "run", folder / "cache"


# Its training changes its stage; a restart is in the runs of both geometries.
BOX = "--geometry=box", "--max_restarts=0"


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return _whole(tmp_path_factory.mktemp("whole"), *BOX)


def test_a_run_writes_what_its_contract_says(uninterrupted):
    run, _ = uninterrupted
    rows = read_results(str(run / "results.csv"))
    assert {r.setting for r in rows} == {"box/laplace"}
    assert {(r.modality, r.target, r.metric) for r in rows} >= {
        (s, "z", m) for s in "xt" for m in ("r2_linear", "mcc", "mcc_spearman")
    } | {(s, "m", m) for s in "xt" for m in ("r2_linear", "r2_linear_raw")} | {
        ("joint", "loss", m) for m in ("oracle_gap", "stuck", "attempts")
    }
    assert {r.seed for r in rows} == {0, 1}
    assert all(np.isfinite(r.value) for r in rows)
    config = json.loads((run / "config.json").read_text())
    assert config["experiment"] == "partial_causal" and config["hidden"] == [16]
    summary = (run / "summary.md").read_text()
    assert "published" in summary and "MCC 0.991 ± 0.001" in summary
    for kind in ("loss", "correlation", "scatter"):
        png = (run / "figures" / f"{kind}_box_laplace.png").read_bytes()
        assert png[:4] == b"\x89PNG" and len(png) > 5000
    assert list((run / "tensorboard").rglob("events.out.tfevents.*"))
    with open(run / "metrics.csv", newline="") as file:
        steps = [int(row["step"]) for row in csv.DictReader(file) if row["attempt"] == "0"]
    assert sorted(set(steps)) == list(range(10, 81, 10))


def _terminated(process, run: Path, setting: str = "sphere_vmf") -> None:
    """SIGTERM saves: an exit status of its own, one line, and nothing that was logged is lost."""
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143, err.decode()
    assert b"Traceback" not in err and b"SIGTERM" in err
    saved = [int(p.name) for p in (run / "checkpoints" / setting / "attempt0").glob("*[0-9]")]
    assert max(saved) == max(_steps(run))


def _killed(process, run: Path) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def _same_as_whole(run: Path, whole: Path, cache: Path, *more: str) -> None:
    """Started once more, the run ends with the whole run's tables and parameters, bit by bit."""
    process = _start(run, cache, *more)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err.decode()
    for name in ("results.csv", "metrics.csv", "config.json"):
        assert (run / name).read_bytes() == (whole / name).read_bytes(), name
    ours, theirs = _final_parameters(run), _final_parameters(whole)
    assert ours.keys() == theirs.keys() and ours
    for name, tree in ours.items():
        for a, b in zip(jax.tree.leaves(tree), jax.tree.leaves(theirs[name]), strict=True):
            assert a.tobytes() == b.tobytes(), name


def test_terminated_between_checkpoints_it_ends_as_if_never_stopped(uninterrupted, tmp_path):
    whole, cache = uninterrupted
    run = tmp_path / "run"
    process = _start(run, cache, *BOX)
    _wait_for(lambda: len(_steps(run)) >= 2, process)
    _terminated(process, run, "box_laplace")
    _same_as_whole(run, whole, cache, *BOX)


@pytest.mark.slow
def test_stopped_six_times_it_ends_as_if_never_stopped(tmp_path):
    whole, cache = _whole(tmp_path / "both")
    run = tmp_path / "run"
    checkpoint = lambda setting: list((run / "checkpoints" / setting).glob("attempt0/*[0-9]"))
    moments = [
        (_killed, lambda: (run / "config.json").exists()),
        (_terminated, lambda: len(_steps(run)) >= 2),
        (_killed, lambda: len(_steps(run)) >= 6),  # between two checkpoints of the first setting
        (_killed, lambda: max(_steps(run), default=0) >= 60),
        (_killed, lambda: (run / "results.csv").exists()),  # the first setting is done
        (_killed, lambda: bool(checkpoint("box_laplace"))),
    ]
    for stopped, moment in moments:
        process = _start(run, cache)
        _wait_for(moment, process)
        stopped(process, run)
    _same_as_whole(run, whole, cache)


def test_a_finished_run_only_prints(uninterrupted, capsys):
    whole, _ = uninterrupted
    before = {p: p.stat().st_mtime_ns for p in (whole / "checkpoints").rglob("*")}
    metrics = (whole / "metrics.csv").read_bytes()
    assert _launch("partial_causal", f"--workdir={whole}", *TINY, *BOX) == 0
    assert "box/laplace" in capsys.readouterr().out
    assert (whole / "metrics.csv").read_bytes() == metrics
    after = {p: p.stat().st_mtime_ns for p in (whole / "checkpoints").rglob("*")}
    assert after == before


def test_another_config_in_the_same_folder_is_refused(uninterrupted, capsys):
    whole, _ = uninterrupted
    results = (whole / "results.csv").read_bytes()
    assert _launch("partial_causal", f"--workdir={whole}", *TINY, *BOX, "--kappa=7") == 2
    err = capsys.readouterr().err
    assert "kappa 20.0 there, 7.0 here" in err and len(err.splitlines()) == 1
    assert (whole / "results.csv").read_bytes() == results


def _npz(path: Path, **arrays) -> str:
    np.savez(path, **arrays)
    return f"--data={path}"


@pytest.fixture
def broken_files(tmp_path):
    """Name -> flags of files that are wrong in one way each."""
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(50, 4)).astype(np.float32), rng.normal(size=(50, 3)).astype(np.float32)
    hurt = x.copy()
    hurt[7, 2] = np.nan
    whole = tmp_path / "whole.npz"
    np.savez(whole, x=x, t=t)
    (tmp_path / "cut.npz").write_bytes(whole.read_bytes()[:300])
    (tmp_path / "text.npz").write_text("not an archive")
    label = np.arange(50) % 5
    return {
        "missing": f"--data={tmp_path}/nowhere.npz",
        "truncated": f"--data={tmp_path}/cut.npz",
        "text": f"--data={tmp_path}/text.npz",
        "objects": _npz(tmp_path / "objects.npz", x=np.array([{}, {}], object), t=t),
        "lengths": _npz(tmp_path / "lengths.npz", x=x, t=t[:40]),
        "nan": _npz(tmp_path / "nan.npz", x=hurt, t=t),
        "name": _npz(tmp_path / "name.npz", y=x, t=t),
        "labels": _npz(tmp_path / "labels.npz", x=x, t=t, l=label[:9]),
        "unpaired": _npz(tmp_path / "unpaired.npz", x=x, t=t, l=label, k=label + 7),
        "index": _npz(tmp_path / "index.npz", x=x, t=t, i=np.arange(50) + 1),
        "scalar": _npz(tmp_path / "scalar.npz", x=np.float32(3), t=t),
    }


BAD_FLAGS = [
    ("--temperature=0", "temperature: 0"),
    ("--temperature=-0.1", "temperature: -0.1"),
    ("--temperature=nan", "temperature: nan"),
    ("--temperature=warm", "temperature: 'warm'"),
    ("--embedding_dim=0", "embedding_dim: 0"),
    ("--learning_rate=inf", "learning_rate: 'inf'"),
    ("--p=0.5 --conditional=generalised_normal", "p: 0.5"),
    ("--p=0.5 --similarity=lp", "p: 0.5"),
    ("--dim=0", "dim: 0"),
    ("--dim=-3", "dim: -3"),
    ("--dim=1", "dim: 1"),  # no sphere in one dimension
    ("--private_dim=-1", "private_dim: -1"),
    ("--dim=three", "dim: 'three'"),
    ("--space=torus", "space"),
    ("--conditional=cauchy", "conditional"),
    ("--conditional=vmf --geometry=box", "conditional: 'vmf'"),
    ("--space=euclidean --geometry=box", "marginal: 'uniform'"),
    ("--kappa=-1", "kappa: -1"),
    ("--kappa=20000", "kappa: 20000"),
    ("--scale=0 --geometry=box", "scale: 0"),
    ("--seeds=0", "seeds: 0"),
    ("--steps=0", "steps: 0"),
    ("--pre_steps=80", "pre_steps: 80"),
    ("--batch_size=1", "batch_size: 1"),
    ("--batch_size=33 --parallel=data", "batch_size: 33"),
    ("--seeds=3 --parallel=seeds", "seeds: 3"),
    ("--learning_rate=0", "learning_rate: 0"),
    ("--hidden=16,x", "hidden: '16,x'"),
    ("--hidden=0", "hidden: (0,)"),
    ("--mixing_depth=0", "mixing_depth: 0"),
    ("--preset=huge", "preset"),
    ("--no_such_flag=1", "no_such_flag"),
    ("stray", "'stray'"),
]


@pytest.mark.parametrize("flags, told", BAD_FLAGS)
def test_a_bad_flag_is_one_clear_line(flags, told, tmp_path, capsys):
    run = tmp_path / "run"
    assert _launch("partial_causal", f"--workdir={run}", *TINY, *flags.split()) == 2
    err = capsys.readouterr().err.strip()
    assert told in err and len(err.splitlines()) == 1 and err.startswith("error: ")
    assert not run.exists(), "a refused run must leave nothing"


BAD_DATA = [
    ("missing", "", "nowhere.npz"),
    ("truncated", "", "cut.npz: not a whole .npz"),
    ("text", "", "text.npz"),
    ("objects", "", "array 'x' holds Python objects"),
    ("lengths", "", "'x' has 50 rows and 't' has 40"),
    ("nan", "", "array 'x' has NaN or infinity (nan), first in row 7, column 2"),
    ("name", "", "no array 'x'; it holds t, y"),
    ("labels", "--label_x=l --label_t=l", "array 'l' has shape (9,)"),
    ("unpaired", "--label_x=l --label_t=k --pairs=label", "can't be paired by label"),
    ("unpaired", "--pairs=label", "pairs: 'label'"),
    ("unpaired", "--label_x=l", "label_x, label_t"),
    ("index", "--pair_index=i", "array 'i' must hold rows of 't': 0 to 49"),
    ("scalar", "", "array 'x' has shape ()"),
    ("unpaired", "--temperature=0", "temperature: 0"),
    ("unpaired", "--embedding_dims=0", "embedding_dim: 0"),
    ("unpaired", "--embedding_dims=", "embedding_dims"),
    ("unpaired", "--test_share=1.5", "test_share: 1.5"),
    ("unpaired", "--dropout=1", "dropout: 1"),
    ("unpaired", "--x=", "x: ''"),
]


@pytest.mark.parametrize("file, flags, told", BAD_DATA)
def test_a_bad_file_is_one_clear_line(file, flags, told, broken_files, tmp_path, capsys):
    run = tmp_path / "run"
    argv = [broken_files[file], "--x=x", "--t=t", *flags.split(), f"--workdir={run}"]
    assert _launch("paired_data", *argv) == 2
    err = capsys.readouterr().err.strip()
    assert told in err and len(err.splitlines()) == 1
    assert not run.exists()


def test_who_has_read_enough_of_the_help_is_told_nothing(monkeypatch, capsys):
    def closed(*words, **how):
        raise BrokenPipeError

    monkeypatch.setattr("builtins.print", closed)
    monkeypatch.setattr("os.dup2", lambda there, here: None)
    monkeypatch.setattr("sys.stdout", SimpleNamespace(fileno=lambda: 1))
    assert _launch("partial_causal", "--help") == 128 + signal.SIGPIPE
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_help_names_every_flag_and_exits_0(experiment, capsys):
    assert _launch(experiment, "--help") == 0
    out = capsys.readouterr().out
    for name in EXPERIMENTS[experiment].Config.__dataclass_fields__:
        assert f"--{name}" in out
    assert "--workdir" in out and "--preset" in out


def test_without_workdir_a_fresh_one_is_made(tmp_path, monkeypatch, capsys):
    found = [Row("paired_data", "raw", 0, "x", "label", "accuracy", 0.5)]

    def main(config, run):  # the folder is what matters: nothing is trained
        run_table("paired_data", config, run, {"raw": lambda log: found}, lambda *told: "raw")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(paired_data, "main", main)
    assert _launch("paired_data") == 0
    (run,) = (tmp_path / "runs").iterdir()
    assert str(run.name) in capsys.readouterr().err.splitlines()[0]
    assert read_results(str(run / "results.csv")) == found


@pytest.mark.parametrize(
    "unit, losses, lines",
    [
        (
            "rows",
            [()] * 4,
            [
                "job  60/100 rows  5 rows/s  8 s left",
                "job  100/100 rows  8 rows/s",
            ],
        ),
        ("steps", [(0.5,)] * 4, ["job  60/100 steps  loss 0.5000  5 steps/s  8 s left", None]),
    ],
)
def test_progress_shows_rate_and_eta(unit, losses, lines):
    times = iter([0.0, 1.0, 2.0, 11.0, 12.0])  # made, then at each call
    out = io.StringIO()
    show = progress_line("job", 100, unit=unit, out=out, every=5.0, clock=lambda: next(times))
    for count, loss in zip((10, 20, 60, 100), losses, strict=True):
        show(count, *loss)
    shown = out.getvalue().splitlines()
    assert len(shown) == 2 and all(a == b for a, b in zip(shown, lines, strict=True) if b)


@pytest.mark.slow
def test_a_diagnosis_is_a_table_of_its_own(tmp_path, capsys):
    flags = ["--seeds=1", "--geometry=box", "--diagnose", "--max_restarts=0", "--pre_steps=0"]
    flags.append(f"--workdir={tmp_path}")
    assert _launch("partial_causal", *TINY, *flags) == 0
    told = {(r.modality, r.target, r.metric) for r in read_results(str(tmp_path / "results.csv"))}
    assert {("x", "z", "mcc_ica"), ("t", "z", "mcc_ica"), ("joint", "z", "mcc_ica_truth")} <= told
    assert ("joint", "geometry", "exponent") in told
    assert "FastICA of true z" in capsys.readouterr().out


@pytest.mark.slow
def test_batches_over_devices_go_through_the_change_of_phase(tmp_path):
    """The state that selection makes of one on several devices is placed where the next step is."""
    assert jax.local_device_count() > 1
    flags = ["--seeds=1", "--geometry=box", "--parallel=data", "--max_restarts=0"]
    assert _launch("partial_causal", *TINY, *flags, f"--workdir={tmp_path}") == 0


def test_rows_of_the_corollary_are_named_by_what_they_change():
    config = partial_causal.Config(table="corollary", mixing_candidates=50)
    names = [setting.name for setting in partial_causal.settings(config)]
    assert len(set(names)) == 5 and any("embedding_dim=4" in name for name in names)

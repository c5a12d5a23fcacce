"""A folder is one run's: its lock, its data, its code; what a signal and a failure leave."""

import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from experiments import (
    comm_mmimdb,
    disentangle,
    extract_features,
    few_shot,
    paired_data,
    partial_causal,
)
from experiments.__main__ import EXPERIMENTS
from mmjax.config import moot, option
from mmjax.errors import InvalidInput, note
from mmjax.run import (
    Row,
    Run,
    SeedOptions,
    claim_workdir,
    keep_facts,
    launch,
    read_results,
    run_table,
    write_results,
)
from mmjax.run.identity import contents_of
from mmjax.run.launch import fresh_workdir
from mmjax.tables.needs import NEEDS
from mmjax.train import NotFinite, make_layout, noted_signals

ROOT = Path(__file__).parent.parent
MODULES = [EXPERIMENTS[name] for name in NEEDS]


@dataclasses.dataclass(frozen=True)
class Config(SeedOptions):
    """What the test runs take."""

    data: str = option("", "files", file=True)
    size: int = option(1, "of something")


def _launch(main, *argv, **how):
    return launch(main, Config, {"quick": {}}, experiment="test", doc="", argv=["x", *argv], **how)


def _claims(config, run):
    claim_workdir(run, "test", config)


def test_a_folder_in_use_is_refused_and_a_finished_one_is_free(tmp_path, capsys):
    folder, codes = tmp_path / "run", []

    def outer(config, run):
        claim_workdir(run, "test", config)
        codes.append(_launch(_claims, f"--workdir={folder}"))

    assert _launch(outer, f"--workdir={folder}") == 0 and codes == [2]
    err = capsys.readouterr().err
    assert (
        err
        == f"error: --workdir: {str(folder)!r} is in use by another run (process {os.getpid()})\n"
    )
    assert _launch(_claims, f"--workdir={folder}") == 0


def test_a_lock_dies_with_its_process(tmp_path):
    hold = (
        "import sys, time; from mmjax.run.lock import locked; "
        "lock = locked(sys.argv[1]); print('held', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", hold, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    with pytest.raises(InvalidInput, match=f"in use by another run .process {process.pid}."):
        claim_workdir(Run("test", str(tmp_path), lambda: None), "test", Config())
    assert not (tmp_path / "config.json").exists()
    process.kill()
    process.wait()
    claim_workdir(Run("test", str(tmp_path), lambda: None), "test", Config())


def test_starts_in_one_second_get_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(time, "strftime", lambda *args: "20300101-000000")
    made, ready = [], threading.Barrier(8)

    def start():
        ready.wait()
        with fresh_workdir("test") as folder:
            made.append(folder)
            ready.wait()  # all are open at once
            Path(folder, "config.json").write_text("{}")

    threads = [threading.Thread(target=start) for _ in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len(set(made)) == 8 and all(Path(folder).is_dir() for folder in made)


def test_a_refused_run_leaves_no_fresh_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def refuses(config, run):
        raise InvalidInput("no")

    assert _launch(refuses) == 2 and not os.listdir(tmp_path)


def _refused_with(*made):
    """A run that is refused when its folder is claimed, and has made these."""

    def main(config, run):
        claim_workdir(run, "test", config)
        keep_facts(run.workdir, {"rows": 3})
        os.makedirs(run.path("figures"))
        for name in made:
            Path(run.path(name)).write_text("setting\n")
        note("note: something is odd")
        raise InvalidInput("size: -1 is not allowed; use a whole number")

    return main


def test_a_refused_run_leaves_its_folder_to_the_mended_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "run"
    assert _launch(_refused_with("metrics.csv"), f"--workdir={folder}", "--size=-1") == 2
    assert os.listdir(folder) == [".lock"]
    assert _launch(_claims, f"--workdir={folder}", "--size=1") == 0
    assert _launch(_refused_with()) == 2 and os.listdir(tmp_path) == ["run"]


@pytest.mark.parametrize("made", ["results.csv", "figures/a.png"])
def test_a_refused_run_keeps_what_it_has_made(made, tmp_path, capsys):
    folder = tmp_path / "run"
    assert _launch(_refused_with(made), f"--workdir={folder}", "--size=-1") == 2
    assert _launch(_claims, f"--workdir={folder}") == 2
    assert "size -1 there, 1 here" in capsys.readouterr().err


def test_a_run_that_is_refused_leaves_others_folders_alone(tmp_path, monkeypatch):
    folder = tmp_path / "run"
    claim_workdir(Run("test", str(folder), lambda: None), "test", Config())

    def main(config, run):
        (folder / ".lock").write_text("1")  # another process has claimed it meanwhile
        (folder / "config.json").write_text("{}")
        raise InvalidInput("in use")

    os.unlink(folder / "config.json")
    assert _launch(main, f"--workdir={folder}") == 2 and (folder / "config.json").exists()


def _fill(path: Path, seed: int, folder: bool):
    rng = np.random.default_rng(seed)
    if folder:
        (path / "train").mkdir(parents=True, exist_ok=True)
    for file in [path / "train" / "x.npy", path / "labels.csv"] if folder else [path]:
        file.write_bytes(rng.bytes(100))


@pytest.mark.parametrize("folder", [False, True])
def test_other_contents_under_the_same_path_are_refused_by_name(folder, tmp_path, capsys):
    data, run = tmp_path / "data", tmp_path / "run"
    other = tmp_path / "other"
    _fill(data, 0, folder)
    _fill(other, 1, False)
    flags = [f"--data={data},{other}", f"--workdir={run}"]
    assert _launch(_claims, *flags) == 0 == _launch(_claims, *flags)
    before = (run / "config.json").read_bytes()
    hurt = data / "train" / "x.npy" if folder else data
    held = hurt.read_bytes()
    hurt.write_bytes(held[:50] + bytes([held[50] ^ 1]) + held[51:])
    capsys.readouterr()
    assert _launch(_claims, *flags) == 2
    err = capsys.readouterr().err
    assert f"--data {hurt} had other contents then" in err and len(err.splitlines()) == 1
    assert str(other) not in err and (run / "config.json").read_bytes() == before
    hurt.write_bytes(held)
    os.utime(hurt, (0, 0))  # times don't count
    assert _launch(_claims, *flags) == 0


def test_large_files_are_sampled(tmp_path, monkeypatch):
    monkeypatch.setattr("mmjax.run.identity._WHOLE", 1000)
    monkeypatch.setattr("mmjax.run.identity._PIECE", 64)
    path = tmp_path / "data"
    held = np.random.default_rng(0).bytes(64 * 400)
    path.write_bytes(held)
    (told,) = contents_of(str(path)).values()
    assert told.startswith("sha256-of-a-sample:")
    for changed in (held[:-1] + b"x", b"x" + held[1:], held + b"x"):
        path.write_bytes(changed)
        assert contents_of(str(path)) != {str(path): told}


def test_many_files_have_one_hash(tmp_path):
    for k in range(60):
        (tmp_path / f"{k}.txt").write_text(str(k))
    found = contents_of(str(tmp_path))
    assert list(found) == [str(tmp_path)]
    (tmp_path / "59.txt").write_text("60")
    assert contents_of(str(tmp_path)) != found


def test_a_run_among_its_data_is_no_data(tmp_path):
    _fill(tmp_path / "data", 0, True)
    (tmp_path / "data" / "loop").symlink_to(tmp_path / "data")
    flags = [f"--data={tmp_path / 'data'}", f"--workdir={tmp_path / 'data' / 'run'}"]
    for _ in range(2):
        assert _launch(_claims, *flags) == 0
        (tmp_path / "data" / "run" / "results.csv").write_text("")


def test_what_a_kill_left_is_cleaned_up(tmp_path):
    (tmp_path / ".abc.tmp").write_text("half a fi")
    assert _launch(_claims, f"--workdir={tmp_path}") == 0
    assert set(os.listdir(tmp_path)) == {".lock", "config.json", "report.html"}


@pytest.mark.parametrize(
    "name, text",
    [
        ("results.csv", ",".join(Row._fields) + "\na,b,0,x,z,m,0.5.1\n"),
        ("results.csv", ",".join(Row._fields) + "\na,b,0\n"),
        ("pieces.json", '{"a": '),
        ("timings.json", "[1]"),
    ],
)
def test_a_damaged_table_is_one_clear_line(name, text, tmp_path, capsys):
    def main(config, run):
        run_table("test", config, run, {"a": lambda log: []}, lambda rows, seconds: "")

    assert _launch(main, f"--workdir={tmp_path}") == 0
    (tmp_path / name).write_text(text)
    capsys.readouterr()
    assert _launch(main, f"--workdir={tmp_path}") == 2
    (*_, err) = capsys.readouterr().err.splitlines()
    assert str(tmp_path / name) in err and "remove the folder to start over" in err


def test_other_code_is_told_and_old_folders_are_taken(tmp_path, capsys):
    flags, path = [f"--workdir={tmp_path}"], tmp_path / "config.json"
    assert _launch(_claims, *flags) == 0 and not capsys.readouterr().err
    held = json.loads(path.read_text())
    assert {"data_hash", "version", "sources", "packages"} <= set(held)
    assert {"jax", "flax", "optax"} <= set(held["packages"])
    path.write_text(json.dumps(held | {"packages": held["packages"] | {"optax": "0.0.1"}}))
    assert _launch(_claims, *flags) == 0
    err = capsys.readouterr().err
    assert "begun with other code: optax 0.0.1 there" in err and len(err.splitlines()) == 1
    for name in ("data_hash", "version", "sources", "packages"):
        del held[name]
    path.write_text(json.dumps(held))
    assert _launch(_claims, *flags) == 0
    err = capsys.readouterr().err
    assert "from before runs kept hashes" in err and len(err.splitlines()) == 1


def test_every_flag_that_names_a_file_is_hashed():
    """By what its help says; what is written is no input."""
    for module in EXPERIMENTS.values():
        for field in dataclasses.fields(module.Config):
            named = {"data", "features", "text", "validation", "test", "shifted", "prompts"}
            named |= {"twin", "clip", "model", "texts", "shift"}
            if module is extract_features:
                named.add("images")
            if module is few_shot:
                named.remove("validation")
            is_file = isinstance(field.default, str) and field.name in named
            assert field.metadata["file"] == is_file, (module, field.name)


def test_results_are_in_full_precision(tmp_path):
    values = [1 / 3, float(np.float32(0.1)), 1e-300, -0.0, float("nan"), float("inf"), 1.0]
    rows = [Row("test", "a", k, "x", "z", "m", v) for k, v in enumerate(values)]
    path = str(tmp_path / "results.csv")
    write_results(path, [row._replace(value=np.float64(row.value)) for row in rows])
    found = [row.value for row in read_results(path)]
    assert [repr(v) for v in found] == [repr(v) for v in values]


@pytest.mark.parametrize("fault", [jax.errors.JaxRuntimeError, OSError, MemoryError])
def test_a_failure_of_the_machine_keeps_its_cause_and_its_traceback(fault, tmp_path, capsys):
    def main(config, run):
        claim_workdir(run, "test", config)
        try:
            raise ValueError("the cause")
        except ValueError as error:
            raise fault("INTERNAL: what XLA\nsaid") from error

    assert _launch(main, f"--workdir={tmp_path}") == 1
    err = capsys.readouterr().err
    assert "INTERNAL: what XLA said" in err and len(err.splitlines()) == 1
    (path,) = tmp_path.glob("traceback-*.txt")
    text = path.read_text()
    assert str(path) in err and "the cause" in text and "in main" in text


def test_a_loss_that_is_not_finite_ends_with_1(tmp_path, capsys):
    def main(config, run):
        raise NotFinite(13, [0], "run/checkpoints/10", "sphere/vmf")

    assert _launch(main, f"--workdir={tmp_path}") == 1
    err = capsys.readouterr().err
    assert "sphere/vmf" in err and "step 13" in err and "run/checkpoints/10" in err
    assert len(err.splitlines()) == 1


_ENDLESS = (
    "jax.jit(lambda x: jax.lax.while_loop(lambda v: v < 2, lambda v: jax.numpy.cos(v), x))(1.0)"
)


def _judging(folder: Path) -> subprocess.Popen:
    """A run, as a program, whose judging is compiled code without end."""
    code = (
        "import sys, jax\n"
        "from mmjax.run import SeedOptions, claim_workdir, launch\n"
        "def main(config, run):\n"
        "    claim_workdir(run, 'test', config)\n"
        "    print('judging', flush=True)\n"
        f"    {_ENDLESS}.block_until_ready()\n"
        "sys.exit(launch(main, SeedOptions, {'quick': {}}, experiment='test', doc=''))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, f"--workdir={folder}"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "judging\n"
    return process


@pytest.mark.parametrize(
    "signum", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_a_signal_is_obeyed_while_judging(signum, tmp_path):
    """No handler of Python's runs in compiled code; it is obeyed within five seconds."""
    process, start = _judging(tmp_path), time.monotonic()
    process.send_signal(signum)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signum and time.monotonic() - start < 5, err
    assert signum.name in err and len(err.splitlines()) == 1
    # The folder is free again, and holds nothing half-written.
    assert _launch(_claims, f"--workdir={tmp_path}") == 2  # of another config: it was read


def test_within_the_grace_a_block_is_left_as_usual():
    with noted_signals(grace=60.0) as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        end = time.monotonic() + 10
        while stop() is None and time.monotonic() < end:
            time.sleep(0.01)
        assert stop() == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert signal.set_wakeup_fd(-1) == -1


_PROCESS = """
import sys, jax
jax.distributed.initialize(sys.argv[1], num_processes=2, process_id=int(sys.argv[2]))
from experiments import paired_data as m
from mmjax.errors import InvalidInput, note
from mmjax.run import launch
from mmjax.train import make_layout
argv = ["x", "--workdir=" + sys.argv[3], "--steps=20", "--seeds=1"]
code = launch(m.main, m.Config, m.PRESETS, experiment="paired_data", doc="", argv=argv)
try:
    make_layout("auto", num_seeds=1, batch_size=4)
except InvalidInput:
    code += 100
print(code, flush=True)
"""


def test_several_processes_are_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    assert _launch(_claims, f"--workdir={tmp_path / 'run'}") == 2
    err = capsys.readouterr().err
    assert "jax.distributed: '2 processes' is not allowed" in err and len(err.splitlines()) == 1
    with pytest.raises(InvalidInput):
        make_layout("single", num_seeds=1, batch_size=4)


@pytest.mark.slow
def test_two_processes_are_refused(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _PROCESS, address, str(k), str(tmp_path / "run")],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for k in range(2)
    ]
    for process in processes:
        out, err = process.communicate(timeout=120)
        assert out == "102\n", err
        (told,) = [line for line in err.splitlines() if line.startswith("error: ")]
        assert "jax.distributed: '2 processes' is not allowed" in told
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.EXPERIMENT)
def test_needs_are_of_flags_and_read_every_preset(module):
    needs = NEEDS[module.EXPERIMENT]
    names = {field.name for field in dataclasses.fields(module.Config)}
    assert set(needs) <= names
    for preset in module.PRESETS.values():
        for line in moot(module.Config(**preset), names, needs):
            assert line.startswith("note: --")


@pytest.mark.parametrize(
    "module, flags, told",
    [
        (partial_causal, {"p": 2.0}, "--p changes nothing here: it needs similarity lp"),
        (partial_causal, {"p": 2.0, "similarity": "lp"}, ""),
        (partial_causal, {"p": 2.0, "table": "violations"}, ""),
        (partial_causal, {"kappa": 5.0, "geometry": "box"}, "--kappa"),
        (partial_causal, {"spare_dims": 3, "pre_steps": 0}, "--spare_dims"),
        (paired_data, {"label_x": "l"}, "--label_x changes nothing here: it needs --data"),
        (disentangle, {"generated": 100, "features": "f.npz"}, "--generated"),
        (comm_mmimdb, {"epochs": 5, "steps": 10, "data": "f.hdf5"}, "--epochs"),
    ],
)
def test_a_moot_flag_is_told(module, flags, told):
    lines = moot(module.Config(**flags), list(flags), NEEDS[module.EXPERIMENT])
    assert len(lines) == bool(told) and told in "".join(lines)

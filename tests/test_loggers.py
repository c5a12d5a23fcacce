"""Loggers beside metrics.csv: the same figures at each, offline, and a line for what is missing."""

import importlib.util
import sys
import types

import pytest

from mmjax.errors import InvalidInput
from mmjax.run import MetricsLog, loggers, slug

SETTING = "a/$b$"


class _Wandb:
    """What is used of the package."""

    def __init__(self):
        self.told, self.logged, self.axes, self.finished = {}, [], [], 0

    def init(self, **told):
        self.told = told
        return types.SimpleNamespace(
            define_metric=lambda name, step_metric: self.axes.append((name, step_metric)),
            log=self.logged.append,
            finish=self._finish,
        )

    def _finish(self):
        self.finished += 1


class _Mlflow:
    """What is used of its client."""

    def __init__(self):
        self.params, self.logged, self.ended, self.made = {}, [], [], []

    def get_experiment_by_name(self, name):
        return None

    def create_experiment(self, name):
        return name

    def create_run(self, experiment, run_name):
        self.made.append((experiment, run_name))
        return types.SimpleNamespace(info=types.SimpleNamespace(run_id="7"))

    def log_param(self, run, key, value):
        self.params[key] = value

    def log_metric(self, run, key, value, step):
        self.logged.append((run, key, value, step))

    def set_terminated(self, run):
        self.ended.append(run)


def _train(folder, *names):
    for begin in (0, 2):  # killed after step 2, whose checkpoint was at step 1
        log = MetricsLog(str(folder), names, experiment="fit", config={"steps": 3})
        if begin:
            log.resume(SETTING, 0, 1)
        for step in range(begin or 1, 4 if begin else 3):
            log.add(SETTING, 0, step, "loss", {0: 1 / step, 1: 2 / step})
        log.close()
    return log


def test_wandb(tmp_path, monkeypatch):
    fake = _Wandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    assert loggers.parse_loggers("csv, wandb") == ("wandb",)
    _train(tmp_path, "wandb")
    name = f"{slug(SETTING)}/attempt0"
    assert fake.axes[0] == (f"{name}/*", f"{name}/step")
    assert fake.logged[1] == {f"{name}/step": 2, f"{name}/loss/seed0": 0.5, f"{name}/loss/seed1": 1}
    assert [own[f"{name}/step"] for own in fake.logged] == [1, 2, 2, 3]
    assert fake.told["id"] == (tmp_path / "wandb_run.txt").read_text().strip()
    assert fake.told["dir"] == str(tmp_path) and fake.told["config"] == {"steps": 3}
    assert fake.finished == 2


def test_mlflow(tmp_path, monkeypatch):
    fake, package = _Mlflow(), types.ModuleType("mlflow")
    tracking = types.ModuleType("mlflow.tracking")
    uris = []
    tracking.MlflowClient = lambda tracking_uri: uris.append(tracking_uri) or fake
    monkeypatch.setitem(sys.modules, "mlflow", package)
    monkeypatch.setitem(sys.modules, "mlflow.tracking", tracking)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    _train(tmp_path, "mlflow")
    assert fake.made == [("fit", tmp_path.name)], "the resumed run is the same one"
    assert fake.params == {"steps": "3"} and fake.ended == ["7", "7"]
    assert fake.logged[2] == ("7", f"{slug(SETTING)}/attempt0/loss/seed0", 0.5, 2)
    assert uris[0] == f"file://{tmp_path}/mlruns"


@pytest.mark.skipif(not importlib.util.find_spec("mlflow"), reason="needs mmjax[mlflow]")
def test_mlflow_itself_takes_them(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)
    _train(tmp_path, "mlflow")
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=f"file://{tmp_path}/mlruns")
    run = (tmp_path / "mlflow_run.txt").read_text().strip()
    found = client.get_metric_history(run, f"{slug(SETTING)}/attempt0/loss/seed1")
    assert {(m.step, round(m.value, 6)) for m in found} == {(1, 2.0), (2, 1.0), (3, 0.666667)}


@pytest.mark.skipif(not importlib.util.find_spec("wandb"), reason="needs mmjax[wandb]")
def test_wandb_itself_takes_them_offline(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    _train(tmp_path, "wandb")
    assert list((tmp_path / "wandb").glob("offline-run-*/*.wandb"))


def test_metrics_are_the_same_whatever_else_is_logged(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", _Wandb())
    texts = []
    for names in ((), ("tensorboard",), ("tensorboard", "wandb")):
        folder = tmp_path / "+".join(("f", *names))
        folder.mkdir()
        _train(folder, *names)
        texts.append((folder / "metrics.csv").read_bytes())
        assert (folder / "tensorboard").exists() == ("tensorboard" in names)
    assert len(set(texts)) == 1 and b",3,loss," in texts[0]


@pytest.mark.parametrize("name", loggers.EXTRAS)
def test_a_missing_package_is_one_line_with_the_extra(name, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InvalidInput, match=rf"--loggers: .*pip install 'mmjax\[{name}\]'"):
        loggers.parse_loggers(name)


def test_a_wrong_name_suggests_the_nearest():
    with pytest.raises(InvalidInput, match="did you mean 'wandb'"):
        loggers.parse_loggers("wandbb")
    assert loggers.parse_loggers("csv") == ()


def test_the_time_to_the_first_figures_is_kept(tmp_path):
    log = MetricsLog(str(tmp_path), ())
    assert log.compile_seconds() is None
    for seconds in (20.0, 50.0):
        log.compiled("a", 0, seconds)
    assert log.compile_seconds() == 20.0
    log.compiled("b", 0, 30.0)
    assert log.compile_seconds() == 30.0

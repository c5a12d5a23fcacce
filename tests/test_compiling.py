"""How XLA compiles: a flag that it knows, once, and not against the user's."""

import os
import subprocess
import sys

import pytest

from mmjax.run import compile_fast

FLAG = "--xla_cpu_use_fusion_emitters"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("", f"{FLAG}=false"),
        ("--xla_x=1", f"--xla_x=1 {FLAG}=false"),
        (f"{FLAG}=true", f"{FLAG}=true"),
    ],
)
def test_a_flag_is_added_once_and_not_against_the_users(monkeypatch, given, kept):
    monkeypatch.setenv("XLA_FLAGS", given)
    for _ in range(2):
        compile_fast()
        assert os.environ["XLA_FLAGS"] == kept


def test_this_xla_takes_it():
    code = (
        "from mmjax.run import compile_fast as f; f()\nimport jax; print(jax.numpy.ones(2).sum())"
    )
    environment = {**os.environ, "XLA_FLAGS": ""}
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert result.stdout.strip() == "2.0", result.stderr


def test_a_flag_that_xla_does_not_know_is_not_given(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "")
    monkeypatch.setattr("mmjax.run.compiling._FLAG", "xla_no_such_flag_" + "of_any_version")
    compile_fast()
    assert os.environ["XLA_FLAGS"] == ""


@pytest.mark.parametrize("name", ["few_shot", "is_it_ica", "benchmarks.few_shot"])
def test_it_comes_before_devices_are_looked_for(name):
    """An array of JAX in a module would have looked for them, and the flag would do nothing."""
    asked = "from jax._src import xla_bridge as x; print(x.backends_are_initialized())"
    code = f"import experiments.{name}\n{asked}"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "False", result.stderr

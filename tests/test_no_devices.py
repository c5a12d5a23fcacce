"""Imports look for no devices: a flag or platform that is set after them still counts."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("name", ["experiments.few_shot", "experiments.is_it_ica"])
def test_an_import_looks_for_no_devices(name):
    asked = "from jax._src import xla_bridge as x; print(x.backends_are_initialized())"
    command = [sys.executable, "-c", f"import {name}\n{asked}"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.stdout.strip() == "False", result.stderr

"""Runs: flags from a config, the workdir's contract, results, metrics, exit codes."""

from mmjax.run.files import atomic_write
from mmjax.run.fit import Fit, fit_seeds
from mmjax.run.launch import Run, claim_workdir, launch, slug
from mmjax.run.metrics import MetricsLog, progress_line
from mmjax.run.results import Row, read_results, write_results

__all__ = [
    "Fit",
    "MetricsLog",
    "Row",
    "Run",
    "atomic_write",
    "claim_workdir",
    "fit_seeds",
    "launch",
    "progress_line",
    "read_results",
    "slug",
    "write_results",
]

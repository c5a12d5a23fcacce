"""Runs: flags from a config, the workdir's contract, results, metrics, exit codes."""

from mmjax.config import Need
from mmjax.run.about import About
from mmjax.run.files import atomic_write, save_arrays, slug
from mmjax.run.fit import Fit, fit_seeds
from mmjax.run.launch import Run, claim_workdir, launch
from mmjax.run.metrics import MetricsLog
from mmjax.run.progress import progress_line, tracked
from mmjax.run.report import keep_facts
from mmjax.run.results import Row, read_results, write_results
from mmjax.run.table import (
    Piece,
    RunOptions,
    SeedOptions,
    machine,
    run_table,
    seed_keys,
    seed_numbers,
    values,
)

__all__ = [
    "About",
    "Fit",
    "MetricsLog",
    "Need",
    "Piece",
    "Row",
    "Run",
    "RunOptions",
    "SeedOptions",
    "atomic_write",
    "claim_workdir",
    "fit_seeds",
    "keep_facts",
    "launch",
    "machine",
    "progress_line",
    "read_results",
    "run_table",
    "save_arrays",
    "seed_keys",
    "seed_numbers",
    "slug",
    "tracked",
    "values",
    "write_results",
]

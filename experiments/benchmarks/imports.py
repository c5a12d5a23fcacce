"""Seconds until mmjax is there: imports and `--help`, as ratios to `import jax` alone.

  python -m experiments.benchmarks.imports
  python -m experiments.benchmarks.imports 9       # the least of nine starts each

Processor seconds (user and system) of fresh processes; the commands take turns, so that another job
on the machine slows all of them alike. jax itself is the floor: what else is heavy (matplotlib,
scikit-learn, scipy, orbax, TensorBoard) is imported by the first function that uses it.
"""

import os
import pkgutil
import subprocess
import sys

import experiments
from experiments.benchmarks import make_parser, positive, run_benchmark
from mmjax.report import markdown_table

FLOOR = "import jax"


def commands() -> dict[str, list[str]]:
    """Title -> arguments of Python."""
    imports = {f"import {name}": ["-c", f"import {name}"] for name in ("jax", "mmjax")}
    names = [m.name for m in pkgutil.iter_modules(experiments.__path__) if not m.ispkg]
    helps = {f"{name} --help": ["-m", f"experiments.{name}", "--help"] for name in names}
    return imports | helps


def seconds(arguments: list[str]) -> float:
    """Of the processor, of one start."""
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL)
    _, status, spent = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(arguments)} ended with {process.returncode}")
    return spent.ru_utime + spent.ru_stime


def main(repeats: int) -> None:
    """Prints the table."""
    results: dict[str, list[float]] = {title: [] for title in commands()}
    for _ in range(repeats):
        for title, arguments in commands().items():
            results[title].append(seconds(arguments))
    least = {title: min(spent) for title, spent in results.items()}
    lines = [[t, f"{s:.2f}", f"{s / least[FLOOR]:.1f}"] for t, s in least.items()]
    print(markdown_table(["", "s", f"x {FLOOR}"], lines))


if __name__ == "__main__":
    parser = make_parser("imports", __doc__, "6")
    message = "starts of each, of which the least counts"
    parser.add_argument("repeats", nargs="?", type=positive, default=5, help=message)
    sys.exit(run_benchmark(main, parser))

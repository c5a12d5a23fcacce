"""FastICA beside scikit-learn's: time and recovery on the same mixtures, in the same run.

  python -m experiments.benchmarks.ica
  python -m experiments.benchmarks.ica 64          # one size

20,000 rows of k independent Laplace sources, mixed into 512 columns with a little noise; float32
and one start on either side. Compilation is not counted (it is made once a shape and shown); the
least of three runs of ours, one of scikit-learn's. A figure is the mean over sources of the
correlation with the matched component (MCC). No fixed point converges at 300 of 20,000; the
quasi-Newton method is told twice, the second time stopped early.
"""

import sys
import time
import warnings

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.decomposition import FastICA

from experiments.benchmarks import make_parser, positive, run_benchmark
from mmjax.disentangle import fast_ica, transform
from mmjax.errors import whole
from mmjax.evaluate import mcc
from mmjax.report import markdown_table
from mmjax.run import machine

ROWS, COLUMNS = 20_000, 512
PASSES = 200  # the default of either side
FEW = 25


def mixture(key, count: int):
    """Sources `[ROWS, count]` and what is seen of them `[ROWS, COLUMNS]`."""
    source_key, mixing_key, noise_key = jax.random.split(key, 3)
    sources = jax.random.laplace(source_key, (ROWS, count))
    mixing = jax.random.normal(mixing_key, (count, COLUMNS)) / count**0.5
    return sources, sources @ mixing + 0.05 * jax.random.normal(noise_key, (ROWS, COLUMNS))


def ours(x, sources, algorithm: str, passes: int) -> list[str]:
    """A row of the table, with at most so many passes over the data."""
    count, key = sources.shape[1], jax.random.key(1)
    spent = []
    for _ in range(4):
        start = time.perf_counter()
        result = fast_ica(x, key, num_components=count, algorithm=algorithm, max_steps=passes)
        jax.block_until_ready(result)
        spent.append(time.perf_counter() - start)
    message = "yes" if result.converged else "no"
    seconds, first = min(spent[1:]), spent[0]
    score = mcc(sources, transform(result, x))
    return [seconds, f"{int(result.steps)}", message, f"{score:.4f}", f"{first:.1f}"]


def theirs(x, sources) -> list[str]:
    """The same for scikit-learn."""
    count = sources.shape[1]
    model = FastICA(count, whiten="unit-variance", random_state=0, max_iter=PASSES)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start = time.perf_counter()
        y = model.fit_transform(x)
        seconds = time.perf_counter() - start
    message = "yes" if model.n_iter_ < PASSES else "no"
    score = mcc(sources, jnp.asarray(y, jnp.float32))
    return [seconds, f"{model.n_iter_}", message, f"{score:.4f}", "-"]


def main(sizes: list[int]) -> None:
    """Prints the table.

    Raises InvalidInput for more sources than there are columns.
    """
    for count in sizes:
        whole("sizes", count, 1, COLUMNS)
    lines = []
    for count in sizes:
        sources, x = jax.block_until_ready(mixture(jax.random.key(0), count))
        base = theirs(np.asarray(x), sources)
        rows = {"scikit-learn": base}
        for algorithm, passes in (("parallel", PASSES), ("picard", PASSES), ("picard", FEW)):
            most = "" if passes == PASSES else f", {passes} passes at most"
            rows[f"ours, {algorithm}{most}"] = ours(x, sources, algorithm, passes)
        for name, (seconds, *rest) in rows.items():
            ratio = f"{base[0] / seconds:.1f}"
            lines.append([str(count), name, f"{seconds:.2f}", ratio, *rest])
            print(lines[-1], file=sys.stderr, flush=True)
    header = ["components", "", "s", "times faster", "passes", "converged", "MCC", "first call, s"]
    print(f"{machine()}; {ROWS} x {COLUMNS}, float32\n")
    print(markdown_table(header, lines))


if __name__ == "__main__":
    parser = make_parser("ica", __doc__, "7")
    message = f"numbers of sources, at most {COLUMNS} each"
    parser.add_argument("sizes", nargs="*", type=positive, default=[64, 300], help=message)
    sys.exit(run_benchmark(main, parser))

"""Speed and memory of the contrastive kernel beside a naive O(N^2) implementation.

  python -m experiments.benchmarks.kernel

Seen on 2 virtual Xeon cores shared with another job (float32, JAX
0.10.2; ratios of the least times, naive / ours):

  | forward + backward     | times faster | temporary MB, ours and naive |
  |---|---|---|
  | dot N=16384 d=64       |  2.7 - 3.1   | 6.2, 3222 |
  | l1 N=6144 d=10         | 15.7 - 19.2  | 3.3, 1812 |
  | squared_l2 N=6144 d=5  | 19.5         | 1.7, 1057 |
  | cosine N=512 d=3       |  0.8 - 0.9   | 1.1, 3.2  |
  | l1 N=512 d=10          |  1.7 - 2.3   | 2.2, 11.5 |
"""

import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks import make_parser, run_benchmark
from mmjax.losses import info_nce, make_similarity
from mmjax.types import Array


class Case(NamedTuple):
    """A size to measure.

    Attributes:
      similarity: its name.
      n: pairs in the batch.
      dim: of the embeddings.
      repeats: how often either implementation runs, in turns.
    """

    similarity: str
    n: int
    dim: int
    repeats: int


CASES = (
    Case("dot", 16384, 64, 3),
    Case("l1", 6144, 10, 5),
    Case("squared_l2", 6144, 5, 7),
    Case("cosine", 512, 3, 100),
    Case("l1", 512, 10, 100),
)


def _gaps(x: Array, t: Array) -> Array:
    return x[:, None] - t[None]


NAIVE_LOGITS = {
    "dot": lambda x, t: x @ t.T,
    "cosine": lambda x, t: (
        (x / jnp.linalg.norm(x, axis=1, keepdims=True))
        @ (t / jnp.linalg.norm(t, axis=1, keepdims=True)).T
    ),
    "l1": lambda x, t: -jnp.sum(jnp.abs(_gaps(x, t)), -1),
    "squared_l2": lambda x, t: -jnp.sum(_gaps(x, t) ** 2, -1),
}


def naive_loss(name: str) -> Callable[[Array, Array], Array]:
    """The loss as papers write it: all logits at once, gradients by jax."""

    def loss(x, t):
        logits = NAIVE_LOGITS[name](x, t)
        partitions = jax.nn.logsumexp(logits, 1) + jax.nn.logsumexp(logits, 0)
        return jnp.mean(0.5 * partitions - jnp.diag(logits))

    return loss


def our_loss(name: str) -> Callable[[Array, Array], Array]:
    """The same from the kernel."""
    similarity = make_similarity(name)
    return lambda x, t: info_nce(x, t, similarity=similarity, temperature=1.0)


def _compiled(loss, x, t):
    return jax.jit(jax.value_and_grad(loss, (0, 1))).lower(x, t).compile()


def _seconds(run, *args):
    start = time.perf_counter()
    jax.block_until_ready(run(*args))
    return time.perf_counter() - start


def measure(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Seconds `[repeats, 2]` and temporary bytes `[2]` of (ours, naive).

    They take turns, so that another job on the machine slows both.
    """
    x, t = jax.random.normal(jax.random.key(0), (2, case.n, case.dim))
    runs = [_compiled(make(case.similarity), x, t) for make in (our_loss, naive_loss)]
    for run in runs:
        _seconds(run, x, t)  # the first run pays for the allocation
    seconds = [[_seconds(run, x, t) for run in runs] for _ in range(case.repeats)]
    temporary = [run.memory_analysis().temp_size_in_bytes for run in runs]
    return np.array(seconds), np.array(temporary)


def row(case: Case) -> str:
    """A row of the table."""
    seconds, temporary = measure(case)
    least, median = seconds.min(0), np.median(seconds, 0)
    cells = (
        f"{case.similarity} N={case.n} d={case.dim}",
        *(f"{1e3 * v:.1f}" for v in (least[0], median[0], least[1], median[1])),
        *(f"{v[1] / v[0]:.1f}" for v in (least, median)),
        *(f"{v / 1e6:.1f}" for v in temporary),
        f"{temporary[1] / temporary[0]:.0f}",
    )
    return "| " + " | ".join(cells) + " |"


HEADER = (
    "| forward + backward | ours min ms | median | naive min ms | median "
    "| times faster (min) | (median) | ours MB | naive MB | times less |"
)


def main() -> None:
    """Prints the table, a row at a time."""
    print(HEADER)
    print("|---" * (HEADER.count("|") - 1) + "|")
    for case in CASES:
        print(row(case), flush=True)


if __name__ == "__main__":
    sys.exit(run_benchmark(main, make_parser("kernel", __doc__, "3")))

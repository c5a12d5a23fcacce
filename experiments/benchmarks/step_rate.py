"""Steps per second of the quick preset, and the share of the machine's matmul rate it reaches.

  python -m experiments.benchmarks.step_rate

The limit is a float32 matmul measured in the same run; floating-point operations of a step are
XLA's own count for the compiled step (matmuls, sampling, loss, Muon; exponentials not counted).
"""

import os
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks import make_parser, run_benchmark
from experiments.partial_causal import PRESETS, Config, settings
from mmjax.report import markdown_table
from mmjax.run import seed_keys
from mmjax.tables.partial_causal import PURPOSES
from mmjax.train import init_states, make_chunk, make_layout

_REPEATS = 5


def seconds(run) -> float:
    """Least wall seconds of several calls."""
    jax.block_until_ready(run())
    spent = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        jax.block_until_ready(run())
        spent.append(time.perf_counter() - start)
    return min(spent)


def matmul_rate() -> float:
    """Floating-point operations a second of the best square float32 matmul."""
    rates = []
    for size in (1024, 2048, 4096):
        a = jnp.ones((size, size))
        rates.append(2 * size**3 / seconds(lambda a=a: matmul(a)))
    return max(rates)


@jax.jit
def matmul(a):
    """One product of the limit."""
    return a @ a


def measure(setting, config):
    """(operations a step, steps a second) of all seeds together, on the last stage."""
    study, keys = setting.study, seed_keys(config, PURPOSES)
    constants = jax.jit(jax.vmap(study.init_constants))(keys["constants"])
    states = init_states(study.recipe, study.init_params, keys["train"])
    recipe = study.recipe
    chunk = lambda n: make_chunk(recipe.source, recipe.stages[-1].objective, recipe.optimiser, n)
    # XLA counts the body of a loop once: operations are counted without one over steps or seeds.
    one_step = jax.jit(jax.vmap(chunk(1), in_axes=(0, 0, 0, None)))
    first = np.int32(0)
    lowered = one_step.lower(states, constants, keys["train"], first)
    operations = lowered.compile().cost_analysis()["flops"]
    layout = make_layout("single", num_seeds=config.seeds, batch_size=config.batch_size)
    compiled = layout.compile(chunk(50), False)
    held = [states]  # each call takes over the states of the one before

    def run():
        held[0], losses = compiled(held[0], constants, keys["train"], first)
        return losses

    return operations, 50 / seconds(run)


def main() -> None:
    """Prints the table."""
    config = Config(**PRESETS["quick"])
    limit = matmul_rate()
    lines = []
    for setting in settings(config):
        operations, rate = measure(setting, config)
        reached = operations * rate
        lines.append(
            [
                setting.name,
                f"{rate:.0f}",
                f"{rate * config.seeds:.0f}",
                f"{operations / config.seeds / 1e6:.0f}",
                f"{reached / 1e9:.0f}",
                f"{reached / limit:.0%}",
            ]
        )
    device = jax.devices()[0]
    print(
        f"{device.platform} ({device.device_kind}), {os.cpu_count()} CPU cores, {config.seeds} "
        f"seeds at once, batch {config.batch_size}; float32 matmul: {limit / 1e9:.0f} GFLOP/s\n"
    )
    header = ["setting", "steps/s", "seed-steps/s", "MFLOP a seed-step", "GFLOP/s", "of matmul"]
    print(markdown_table(header, lines))


if __name__ == "__main__":
    sys.exit(run_benchmark(main, make_parser("step_rate", __doc__, "2")))

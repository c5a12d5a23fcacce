"""What `mmjax.fit` costs beside a hand-written step of the same sizes.

  python -m experiments.benchmarks.fit

Two towers of features, InfoNCE, AdamW, dropout. By hand: one jitted loop over steps that draws
rows, embeds, differentiates and updates. Both run 50 steps a compiled call, and each call is timed:
compilation and reading the data do not count.
"""

import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax

import mmjax as mm
from experiments.benchmarks import make_parser, run_benchmark
from mmjax.encoders import mlp
from mmjax.losses import cosine, info_nce
from mmjax.numerics import normalise
from mmjax.report import markdown_table
from mmjax.train import decayed

_ROWS, _STEPS, _CALL, _TURNS = 5000, 400, 50, 3
_HIDDEN, _DIM = (512, 256), 16


def arrays(width: int):
    """Two views of shared numbers, `[rows, width]` each."""
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(_ROWS, 8))
    view = lambda: (shared @ rng.normal(size=(8, width))).astype(np.float32)
    return {"x": view(), "t": view()}


def by_front_door(data, batch):
    """`() -> times` at which compiled calls of mmjax.fit were done."""
    kept = mm.Dataset.from_arrays(data, split=(1, 0, 0))
    options = dict(validate_every=0, progress=False, parallel="single", batch_size=batch)

    def run():
        times = []
        stop = lambda: times.append(time.perf_counter())  # asked after every call; None goes on
        mm.fit(kept, dim=_DIM, key=jax.random.key(0), steps=_STEPS, stop=stop, **options)
        return times

    return run


def by_hand(data, batch):
    """The same in the shortest code that does what fit does."""
    net = mlp(_HIDDEN, _DIM, dropout=0.2, input_noise=0.3)
    values = {k: jnp.asarray((v - v.mean(0)) / v.std(0)) for k, v in data.items()}

    def loss(params, rows, key):
        z = [
            normalise(net.forward(params[k], {}, v[rows], jax.random.fold_in(key, n), None)[0])
            for n, (k, v) in enumerate(values.items())
        ]
        return info_nce(*z, similarity=cosine(), temperature=0.1, ids=rows)

    def run():
        rate = optax.schedules.warmup_cosine_decay_schedule(0.0, 3e-3, 100, _STEPS)
        optimiser = optax.adamw(rate, weight_decay=1e-2, mask=decayed)

        @jax.jit
        def chunk(params, state, key):
            def step(carry, key):
                params, state = carry
                row_key, noise_key = jax.random.split(key)
                rows = jax.random.randint(row_key, (batch,), 0, _ROWS)
                value, grads = jax.value_and_grad(loss)(params, rows, noise_key)
                updates, state = optimiser.update(grads, state, params)
                return (optax.apply_updates(params, updates), state), value

            return jax.lax.scan(step, (params, state), jax.random.split(key, _CALL))

        params = {
            k: net.init(jax.random.key(n), v.shape[1:])[0]
            for n, (k, v) in enumerate(values.items())
        }
        state = optimiser.init(params)
        times = []
        for number in range(_STEPS // _CALL):
            (params, state), losses = chunk(params, state, jax.random.key(number))
            np.asarray(losses)  # the loss is looked at, as in any training
            times.append(time.perf_counter())
        return times

    return run


def main() -> None:
    """Measures and prints the table."""
    lines = []
    for width, batch in ((64, 256), (1024, 512)):
        data = arrays(width)
        runs = {"by hand": by_hand(data, batch), "mmjax.fit": by_front_door(data, batch)}
        spent = {name: [] for name in runs}
        for _ in range(_TURNS):
            for name, run in runs.items():
                spent[name].append(np.diff(run()) / _CALL)
        least = {name: np.min(values) for name, values in spent.items()}
        usual = {name: np.median(values) for name, values in spent.items()}
        ratio = lambda of: f"{of['mmjax.fit'] / of['by hand']:.3f}"
        milliseconds = (f"{1e3 * v:.2f}" for v in least.values())
        lines.append(
            [f"{width} features, batch {batch}", *milliseconds, ratio(least), ratio(usual)]
        )
    header = ["sizes", *(f"{name}, ms a step" for name in runs), "ratio of least", "median ratio"]
    print(markdown_table(header, lines))


if __name__ == "__main__":
    sys.exit(run_benchmark(main, make_parser("fit", __doc__, "7")))

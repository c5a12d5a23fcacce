"""CoMM's training step beside a straightforward one that encodes every mask by itself.

  python -m experiments.benchmarks.fusion

Both have the same parameters and give the same loss and gradient (the largest differences are
shown). Ours runs the modalities' encoders once, shares keys and values between masks, and with one
layer and a class token computes that token's query alone. The least of several times each.
"""

import sys
import time
from functools import partial

import jax
import jax.numpy as jnp

from experiments.benchmarks import make_parser, run_benchmark
from mmjax.encoders import Modality, fusion, image_maps, mlp, single_and_joint_masks
from mmjax.losses import comm, no_gather
from mmjax.report import markdown_table
from mmjax.run import machine

BATCH, FEATURES, REPEATS = 64, 64, 5


def numbers(modalities: int):
    """Modalities of 64 numbers each, and what is seen of them."""
    parts = [Modality(mlp((96,), 4 * 48), tokens=4)] * modalities
    keys = jax.random.split(jax.random.key(0), modalities)
    return parts, 48, tuple(jax.random.normal(key, (BATCH, FEATURES)) for key in keys)


def images(modalities: int):
    """Images of 32 pixels, 16 tokens each."""
    parts = [Modality(image_maps((16, 32, 64)), positions=16)] * modalities
    keys = jax.random.split(jax.random.key(0), modalities)
    return parts, 64, tuple(jax.random.uniform(key, (BATCH, 32, 32, 3)) for key in keys)


CASES = {
    "numbers, 2 modalities": (partial(numbers, 2), dict(layers=1)),
    "numbers, 6 modalities": (partial(numbers, 6), dict(layers=1)),
    "numbers, 2 modalities, 2 layers": (partial(numbers, 2), dict(layers=2)),
    "images of 32 pixels, 2 modalities": (partial(images, 2), dict(layers=1)),
}


def losses(parts, width: int, layers: int):
    """CoMM's loss of the two implementations: `(params, statistics, two views, key) -> scalar`."""
    options = dict(width=width, layers=layers, head_hidden=96, head_out=48)
    net, plain = fusion(parts, **options), fusion(parts, **options, shared=False)
    masks = jnp.asarray(single_and_joint_masks(len(parts)))

    def ours(params, statistics, views, key):
        see = lambda seen: net.forward(params, statistics, seen, masks, key, no_gather)[0]
        return comm(*(see(seen).projected for seen in views), temperature=0.1)

    def straightforward(params, statistics, views, key):
        def see(seen):
            alone = lambda mask: (
                plain.forward(params, statistics, seen, mask[None], key, no_gather)[0].projected
            )
            return jnp.concatenate([alone(mask) for mask in masks], 1)

        return comm(*map(see, views), temperature=0.1)

    return net, ours, straightforward


def least(call, *args) -> tuple[float, tuple]:
    """Seconds of the fastest of several calls, and what they give."""
    out = jax.block_until_ready(call(*args))
    spent = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        jax.block_until_ready(call(*args))
        spent.append(time.perf_counter() - start)
    return min(spent), out


def compared(make, layers: int) -> list[str]:
    """A row of the table."""
    parts, width, seen = make()
    net, ours, straightforward = losses(parts, width, layers)
    params, statistics = net.init(jax.random.key(1), seen)
    views = (seen, jax.tree.map(lambda v: v[::-1], seen))
    args = (params, statistics, views, jax.random.key(2))
    fast, result = least(jax.jit(jax.value_and_grad(ours)), *args)
    slow, want = least(jax.jit(jax.value_and_grad(straightforward)), *args)
    gaps = jax.tree.map(lambda a, b: jnp.max(jnp.abs(a - b)), result[1], want[1])
    apart = float(jnp.max(jnp.stack(jax.tree.leaves(gaps))))
    value = float(jnp.abs(result[0] - want[0]) / jnp.abs(want[0]))
    return [
        f"{1 / fast:.1f}",
        f"{1 / slow:.1f}",
        f"{slow / fast:.1f}",
        f"{value:.0e}",
        f"{apart:.0e}",
    ]


def main() -> None:
    """Prints the table."""
    lines = [[name, *compared(make, **options)] for name, (make, options) in CASES.items()]
    titles = ["steps/s", "each mask by itself", "times faster"]
    header = ["CoMM, batch 64", *titles, "loss apart (relative)", "gradient apart (largest entry)"]
    print(f"{machine()}; forward and backward, float32\n")
    print(markdown_table(header, lines))


if __name__ == "__main__":
    sys.exit(run_benchmark(main, make_parser("fusion", __doc__, "5")))

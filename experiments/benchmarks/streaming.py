"""Training from pictures on disk beside training from the same pictures in memory.

  python -m experiments.benchmarks.streaming                       # 200,000 JPEGs in 20 tar shards
  python -m experiments.benchmarks.streaming --files               # as many files in folders
  python -m experiments.benchmarks.streaming --pictures=20000 --steps=200

Pictures of 64 x 64 pixels (some 2 kB each), beside a vector of 16 numbers; a small convolutional
network and InfoNCE, batches of 64. Blocks of steps from memory and from disk take turns, so that
another job on the machine slows both alike. Memory is the resident set, looked at every 20 ms,
above that of the process once it has trained from memory.

On two cores with no other job, 200,000 pictures in shards: 140 MB; 19,300 pictures decoded a second
of one core; .89 of the step rate in memory is kept (quartiles .84 and .92; .88 by processor time).
It is bound by libjpeg: taken apart on another day, 35 of the 45 microseconds of a picture, beside
some 800 of its step; half of the rest finds and reads the member.
"""

import io
import os
import sys
import tarfile
import tempfile
import threading
import time

import jax
import numpy as np
import optax
from PIL import Image

from experiments.benchmarks import make_parser, positive, run_benchmark
from mmjax.data.dataset import Dataset
from mmjax.data.formats import read
from mmjax.data.stream import batches, epoch_rows, read_batch
from mmjax.encoders import small_convnet
from mmjax.losses import info_nce
from mmjax.losses.similarity import cosine
from mmjax.report import markdown_table

SIDE, BATCH, CODE, DISTINCT = 64, 64, 16, 2000
PER_SHARD, BLOCK, AHEAD = 10_000, 20, 4


def encoded(count: int) -> list[bytes]:
    """Distinct JPEGs."""
    rng, results = np.random.default_rng(0), []
    for _ in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (9, 9, 3), np.uint8))
        content = io.BytesIO()
        coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(content, "JPEG", quality=90)
        results.append(content.getvalue())
    return results


def write(root: str, pictures: int, files: bool) -> None:
    """Tar shards, or folders of files: the distinct pictures over and over."""
    contents = encoded(min(DISTINCT, pictures))
    for start in range(0, pictures, PER_SHARD):
        numbers = range(start, min(start + PER_SHARD, pictures))
        name = os.path.join(root, f"{start // PER_SHARD:05d}")
        if files:
            os.makedirs(name)
            for k in numbers:
                with open(os.path.join(name, f"{k:06d}.jpg"), "wb") as file:
                    file.write(contents[k % len(contents)])
            continue
        with tarfile.open(f"{name}.tar", "w") as shard:
            for k in numbers:
                member = tarfile.TarInfo(f"{k:06d}.jpg")
                member.size = len(contents[k % len(contents)])
                shard.addfile(member, io.BytesIO(contents[k % len(contents)]))


def resident() -> int:
    """Bytes of this process in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Peak(threading.Thread):
    """The largest resident set until it is stopped."""

    def __init__(self):
        super().__init__(daemon=True)
        self.bytes, self.done = resident(), threading.Event()
        self.start()

    def run(self):
        while not self.done.wait(0.02):
            self.bytes = max(self.bytes, resident())


def make_step():
    """(state, step): `step(state, pictures uint8, codes) -> state`."""
    encoder, optimiser = small_convnet(CODE), optax.adam(1e-3)
    params, statistics = encoder.init(jax.random.key(0), (SIDE, SIDE, 3))

    def loss(params, pictures, codes):
        z, _ = encoder.forward(params, statistics, pictures, jax.random.key(0), lambda x: x)
        return info_nce(z, codes, similarity=cosine(), temperature=0.1)

    @jax.jit
    def step(state, pictures, codes):
        params, moments = state
        grads = jax.grad(loss)(params, pictures, codes)
        updates, moments = optimiser.update(grads, moments)
        return optax.apply_updates(params, updates), moments

    return (params, optimiser.init(params)), step


def clocks() -> np.ndarray:
    """Seconds on the wall and of the processor, `[2]`."""
    return np.array([time.perf_counter(), time.process_time()])


def decoding_rate(data: Dataset) -> float:
    """Pictures a second of processor time."""
    rows = epoch_rows(data.num_rows, 1024, 1)
    start = time.process_time()
    for k in range(2):
        read_batch(data, rows(k))
    return 2 * 1024 / (time.process_time() - start)


def main(pictures: int, steps: int, files: bool, threads: int) -> None:
    """Prints the table."""
    codes = np.random.default_rng(1).normal(size=(pictures, CODE)).astype(np.float32)
    with tempfile.TemporaryDirectory() as root:
        write(root, pictures, files)
        state, step = make_step()
        one = lambda state, batch: step(state, batch.modalities[0], codes[batch.rows])
        part = os.path.join(root, "00000" + ("" if files else ".tar"))
        memory = read(part, stream=False, split=(1, 0, 0), image_size=SIDE)
        rows = epoch_rows(memory.num_rows, BATCH, 0)
        for k in range(BLOCK):
            state = one(state, read_batch(memory, rows(k)))
        jax.block_until_ready(state)
        peak, before, start = Peak(), resident(), time.perf_counter()
        disk = read(root, stream=True, split=(1, 0, 0), image_size=SIDE)
        opening, rate = time.perf_counter() - start, decoding_rate(disk)
        order = epoch_rows(pictures, BATCH, 0)
        stream = batches(disk, order, 0, 10**9, threads=threads, ahead=AHEAD)
        sources = {"memory": (read_batch(memory, rows(k)) for k in range(10**9)), "disk": stream}
        spent: dict[str, list[float]] = {name: [] for name in sources}
        for _ in range(max(1, steps // BLOCK)):
            for name, source in sources.items():
                for k in range(BLOCK + 2 * AHEAD):
                    if k == 2 * AHEAD:  # what was read while the other one's turn was is used up
                        jax.block_until_ready(state)
                        start = clocks()
                    state = one(state, next(source))
                jax.block_until_ready(state)
                spent[name].append((clocks() - start) / BLOCK)
        stream.close()
        peak.done.set()
    median = {name: np.median(times, axis=0)[0] for name, times in spent.items()}
    ratios, busy = (np.array(spent["memory"]) / np.array(spent["disk"])).T
    lines = [
        ["pictures on disk", f"{pictures:,} in {'files' if files else 'tar shards'}"],
        ["seconds to open them", f"{opening:.1f}"],
        ["MB above training from memory, at most", f"{(peak.bytes - before) / 2**20:.0f}"],
        ["pictures decoded a second of one core", f"{rate:.0f}"],
        ["steps a second from memory", f"{1 / median['memory']:.1f}"],
        ["steps a second from disk", f"{1 / median['disk']:.1f}"],
        ["share of the rate that is kept (median)", f"{np.median(ratios):.2f}"],
        ["quartiles of it", ", ".join(f"{q:.2f}" for q in np.quantile(ratios, (0.25, 0.75)))],
        ["share by processor time, were both cores busy", f"{np.median(busy):.2f}"],
    ]
    print(markdown_table(["", f"{os.cpu_count()} cores, {threads} threads that decode"], lines))


if __name__ == "__main__":
    parser = make_parser("streaming", __doc__, "3")
    add = parser.add_argument
    add("--pictures", type=positive, default=200_000, help="how many lie on disk")
    add("--steps", type=positive, default=1000, help="timed, from either place")
    add("--threads", type=positive, default=2, help="that decode")
    add("--files", action="store_true", help="a file a picture, in folders, instead of tar shards")
    sys.exit(run_benchmark(main, parser))

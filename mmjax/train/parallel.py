"""Devices. The only user of jax.pmap.

A layout says how seeds and batches lie on the devices:
  single  all seeds on one device, vmapped (on a CPU one by one, which is faster there);
  data    every device holds all seeds and a slice of each batch; negatives are global;
  seeds   every device trains its own seeds; nothing is exchanged.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from mmjax.errors import one_of, require, say
from mmjax.train.step import SINGLE, Chunk, Collectives
from mmjax.types import Tree

_AXIS = "devices"


class Layout(NamedTuple):
    """How a chunk runs on the devices at hand.

    Attributes:
      name: single, data or seeds.
      collectives: what the chunk is to be made with.
      compile: `(chunk of one seed, shared_constants, unrolled) -> run`, where
        `run(state, constants, keys, first, fed) -> (state, Progress of [seeds])` is compiled, over
        seeds; the state is in device form and donated. With shared_constants all seeds have the
        same (a data set), else constants are `[seeds, ...]`. What is fed, `[seeds, steps, ...]` or
        None, all devices of a seed see.
        Unrolled means no loop over seeds on a CPU, see Recipe.
      put: tree of `[seeds, ...]` -> device form.
      take: its inverse, on the first device alone: what is computed of it later runs there, not on
        all devices at once.
    """

    name: str
    collectives: Collectives
    compile: Callable[[Chunk, bool, bool], Callable]
    put: Callable[[Tree], Tree]
    take: Callable[[Tree], Tree]


def collectives(axis: str, count: int) -> Collectives:
    """The collectives of a mapped axis of `count` devices; good under pmap, vmap and shard_map."""

    def shard(batch):
        def rows(x):
            size = x.shape[0] // count
            return jax.lax.dynamic_slice_in_dim(x, jax.lax.axis_index(axis) * size, size)

        return jax.tree.map(rows, batch)

    return Collectives(
        shard=shard,
        gather=lambda x: jax.lax.all_gather(x, axis, tiled=True),
        mean=lambda tree: jax.lax.pmean(tree, axis),
        fold=lambda key: jax.random.fold_in(key, jax.lax.axis_index(axis)),
    )


def _over_seeds(chunk: Chunk, shared_constants: bool, unrolled: bool) -> Callable:
    if jax.default_backend() != "cpu":
        return jax.vmap(chunk, in_axes=(0, None if shared_constants else 0, 0, None, 0))

    def one_by_one(state, constants, keys, first, fed):
        # One seed's matmuls fill the cores of a CPU; batches of small ones run on a single core.
        seed_constants = None if shared_constants else constants
        each = lambda args: chunk(
            args[0], constants if shared_constants else args[1], args[2], first, args[3]
        )
        every = (state, seed_constants, keys, fed)
        if not unrolled:
            return jax.lax.map(each, every)
        seeds = [jax.tree.map(lambda v, k=k: v[k], every) for k in range(len(keys))]
        return jax.tree.map(lambda *done: jnp.stack(done), *map(each, seeds))

    return one_by_one


def _single() -> Layout:
    same = lambda tree: tree

    def compiled(chunk, shared_constants=False, unrolled=False):
        run = jax.jit(_over_seeds(chunk, shared_constants, unrolled), donate_argnums=0)
        return lambda state, constants, keys, first, fed=None: run(
            state, constants, keys, first, fed
        )

    return Layout("single", SINGLE, compiled, same, same)


def _placed(tree: Tree, count: int) -> Tree:
    """Leaves `[count, ...]`, each device with its own row: pmap takes no other placement of what
    was computed on several devices, and compiles once."""
    mesh = Mesh(np.array(jax.local_devices()[:count]), (_AXIS,))
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec(_AXIS)))


def _of_first(tree: Tree) -> Tree:
    """What the first device has of leaves `[count, ...]` that are alike on all."""

    def own(leaf):
        shard = next(s for s in leaf.addressable_shards if not s.index[0].start)
        return shard.data.reshape(leaf.shape[1:])

    return jax.tree.map(own, tree)


def _gathered(tree: Tree) -> Tree:
    """Leaves that lie on several devices, on the first."""
    return jax.device_put(tree, jax.local_devices()[0])


def _data(count: int) -> Layout:
    def compiled(chunk, shared_constants=False, unrolled=False):
        mapped = jax.pmap(
            _over_seeds(chunk, shared_constants, unrolled),
            _AXIS,
            in_axes=(0, None, None, None, None),
            donate_argnums=0,
        )

        def run(state, constants, keys, first, fed=None):
            state, progress = mapped(state, constants, keys, first, fed)
            return state, _of_first(progress)

        return run

    return Layout(
        "data",
        collectives(_AXIS, count),
        compiled,
        lambda tree: _placed(
            jax.tree.map(lambda x: jnp.broadcast_to(x, (count, *x.shape)), tree), count
        ),
        _of_first,
    )


def _seeds(count: int) -> Layout:
    def split(tree):
        cut = lambda x: x.reshape(count, x.shape[0] // count, *x.shape[1:])
        return _placed(jax.tree.map(cut, tree), count)

    def join(tree):
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), _gathered(tree))

    def compiled(chunk, shared_constants=False, unrolled=False):
        mapped = jax.pmap(
            _over_seeds(chunk, shared_constants, unrolled),
            _AXIS,
            in_axes=(0, None if shared_constants else 0, 0, None, 0),
            donate_argnums=0,
        )

        def run(state, constants, keys, first, fed=None):
            constants = constants if shared_constants else split(constants)
            state, progress = mapped(state, constants, split(keys), first, split(fed))
            return state, join(progress)

        return run

    return Layout("seeds", SINGLE, compiled, split, join)


def require_one_process() -> None:
    """Raises InvalidInput in a program of several processes (jax.distributed).

    Devices are counted per process here while collectives run over all of them, and every process
    would draw the same rows.
    """
    count = jax.process_count()
    require(count == 1, "jax.distributed", f"{count} processes", "one process; it has all devices")


LAYOUTS = ("auto", "single", "data", "seeds")


def make_layout(
    name: str, *, num_seeds: int, batch_size: int, say: Callable[[str], object] = say
) -> Layout:
    """The layout of that name on all local devices.

    `auto` spreads seeds where they fill the devices evenly (nothing is exchanged), else splits
    batches, else uses one device and says so in a line, which `say` takes.

    Raises InvalidInput for an unknown name, a batch or seeds that the devices can't share, or
    several processes.
    """
    require(name in LAYOUTS, "parallel", name, one_of(LAYOUTS, name))
    require_one_process()
    count = jax.local_device_count()
    if name == "auto":
        fits = (num_seeds % count == 0, batch_size % count == 0)
        name = "single" if count == 1 else "seeds" if fits[0] else "data" if fits[1] else "single"
        if name == "single" and count > 1:
            shared = f"{num_seeds} seeds or batches of {batch_size}"
            say(f"note: parallel auto: {count} devices can't share {shared}: {count - 1} are idle")
    if name == "data":
        allowed = f"a multiple of the {count} devices"
        require(batch_size % count == 0, "batch_size", batch_size, allowed)
        return _data(count)
    if name == "seeds":
        require(num_seeds % count == 0, "seeds", num_seeds, f"a multiple of the {count} devices")
        return _seeds(count)
    return _single()

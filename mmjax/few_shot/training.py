"""The one trainer of all adapters that are fine-tuned: AdamW, the best epoch by validation rows."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from mmjax.evaluate.logistic import cross_entropies
from mmjax.types import Array, Key, Tree

BATCH = 256


def train(
    scores: Callable[[Tree, Array], Array],
    params: Tree,
    rates: Tree,
    rows: tuple[Array, Array],
    val: tuple[Array, Array],
    key: Key,
    *,
    places: Array | None = None,
    count: float | Array | None = None,
    epochs: int = 20,
    penalty: Callable[[Tree], Array] = lambda params: jnp.zeros(()),
) -> tuple[Tree, Array]:
    """Params of the epoch that is best on the validation rows, the start among them.

    Args:
      scores: `(params, indices of rows or values) -> [m, classes]` of rows `[m, .]`.
      params: to start from.
      rates: tree of params with the learning rate of each, decayed by a cosine.
      rows, val: `([n, .], [n])` features and labels; val's are only scored.
      key: of the batches, of at most 256 rows.
      places, count: `[n]` int and a number: rows that are trained on are those at the first `count`
        places, so that the number of rows may be traced. None: all.
      epochs: passes over the rows.
      penalty: added to the loss.

    Returns:
      params and their validation accuracy; of equals the first.
    """
    x, labels = rows
    size = min(BATCH, len(x))
    places = jnp.arange(len(x)) if places is None else places
    count = jnp.asarray(len(x) if count is None else count, jnp.int32)
    steps = -(-count // size)
    decay = lambda done: 0.5 * (1 + jnp.cos(jnp.pi * done / (epochs * steps)))
    weights = (jnp.arange(size) < count).astype(x.dtype)
    weights = weights / jnp.sum(weights)
    solver = optax.adamw(decay, eps=1e-4, weight_decay=0.01)

    def loss(params, batch):
        losses = cross_entropies(scores(params, x[batch]), labels[batch])
        return jnp.sum(weights * losses) + penalty(params)

    def step(number, order, carry):
        params, state = carry
        # The last batch is filled up from the front.
        batch = order[(number * size + jnp.arange(size)) % count]
        updates, state = solver.update(jax.grad(loss)(params, batch), state, params)
        updates = jax.tree.map(jnp.multiply, updates, rates)
        return optax.apply_updates(params, updates), state

    def accuracy(params):
        return jnp.mean((jnp.argmax(scores(params, val[0]), 1) == val[1]).astype(jnp.float32))

    def epoch(carry, key):
        now, best, top = carry
        chance = jax.random.uniform(key, (len(x),))
        order = places[jnp.argsort(jnp.where(jnp.arange(len(x)) < count, chance, jnp.inf))]
        now = jax.lax.fori_loop(0, steps, lambda n, carry: step(n, order, carry), now)
        result = accuracy(now[0])
        best = jax.tree.map(lambda new, old: jnp.where(result > top, new, old), now[0], best)
        return (now, best, jnp.maximum(result, top)), None

    start = ((params, solver.init(params)), params, accuracy(params))
    (_, best, top), _ = jax.lax.scan(epoch, start, jax.random.split(key, epochs))
    return best, top

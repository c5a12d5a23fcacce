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
      epochs: passes over the rows.
      penalty: added to the loss.

    Returns:
      params and their validation accuracy; of equals the first.
    """
    x, labels = rows
    size = min(BATCH, len(x))
    steps = -(-len(x) // size)
    decay = optax.cosine_decay_schedule(1.0, epochs * steps)
    solver = optax.adamw(decay, eps=1e-4, weight_decay=0.01)

    def loss(params, batch):
        return jnp.mean(cross_entropies(scores(params, x[batch]), labels[batch])) + penalty(params)

    def step(carry, batch):
        params, state = carry
        updates, state = solver.update(jax.grad(loss)(params, batch), state, params)
        updates = jax.tree.map(jnp.multiply, updates, rates)
        return (optax.apply_updates(params, updates), state), None

    def accuracy(params):
        return jnp.mean((jnp.argmax(scores(params, val[0]), 1) == val[1]).astype(jnp.float32))

    def epoch(carry, key):
        now, best, top = carry
        # The last batch is filled up from the front.
        order = jnp.resize(jax.random.permutation(key, len(x)), (steps, size))
        now = jax.lax.scan(step, now, order)[0]
        found = accuracy(now[0])
        best = jax.tree.map(lambda new, old: jnp.where(found > top, new, old), now[0], best)
        return (now, best, jnp.maximum(found, top)), None

    start = ((params, solver.init(params)), params, accuracy(params))
    (_, best, top), _ = jax.lax.scan(epoch, start, jax.random.split(key, epochs))
    return best, top

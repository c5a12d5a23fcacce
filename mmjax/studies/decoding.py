"""From features to pictures and from pictures to factors: a decoder and a judge, trained here."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mmjax.data.scaling import Scaling, scaled, scaling_of
from mmjax.encoders import mlp
from mmjax.errors import require
from mmjax.evaluate.logistic import cross_entropies
from mmjax.numerics import normalise
from mmjax.types import Array, Key, Tree

Reader = Callable[[Array], dict[str, Array]]


class Decoder(NamedTuple):
    """A decoder of features.

    Attributes:
      decode: `[n, f] -> [n, h, w, c]` float32 in [0, 1].
      losses: `[steps]` mean squared error of each batch, pixels in [0, 1].
    """

    decode: Callable[[Array], Array]
    losses: Array


def train_decoder(
    x: Array,
    images: np.ndarray,
    key: Key,
    *,
    unit: bool,
    hidden: tuple[int, ...] = (512, 512),
    steps: int = 1500,
    batch: int = 128,
    rate: float = 1e-3,
) -> Decoder:
    """An MLP that paints the mean picture of a feature vector: least squared error of its pixels.

    What features do not tell, it paints as its mean.

    Args:
      x: `[n, f]` features.
      images: `[n, h, w, c]` uint8.
      key: of weights and batches.
      unit: whether features are unit vectors: those that come to be decoded are then made so.
      hidden: widths.
      steps, batch, rate: of Adam, whose rate falls to 0 by a cosine.

    Raises InvalidInput for rows that do not agree.
    """
    x, images = jnp.asarray(x, jnp.float32), np.asarray(images)
    fits = images.ndim == 4 and images.dtype == np.uint8 and len(images) == len(x)
    require(fits, "images", f"{images.dtype} {images.shape}", f"uint8 [{len(x)}, h, w, c]")
    shape, pixels = images.shape[1:], jnp.asarray(images.reshape(len(images), -1))
    net, centre, scale = mlp(hidden, pixels.shape[1]), jnp.mean(x, 0), _spread(x)
    ready = lambda v: ((normalise(v) if unit else v) - centre) / scale
    outputs = lambda params, v: net.apply(params, {}, ready(v))

    def loss(params, constants, rows):
        x, pixels = constants
        return jnp.mean((jax.nn.sigmoid(outputs(params, x[rows])) - pixels[rows] / 255) ** 2)

    start_key, batch_key = jax.random.split(key)
    params = net.init(start_key, x.shape[1:])[0]
    params, losses = _descended(loss, params, (x, pixels), batch_key, rate, steps, batch)
    decode = jax.jit(lambda v: jax.nn.sigmoid(outputs(params, v)).reshape(-1, *shape))
    return Decoder(decode, losses)


def _spread(x: Array) -> float:
    """Standard deviation of all numbers, whatever their unit; 1 where nothing varies."""
    # Squares of small units are 0 in float32.
    return float(jnp.std(x)) or float(np.std(np.asarray(x, np.float64))) or 1.0


class Judge(NamedTuple):
    """What tells the factors of a picture.

    Attributes:
      read: `[n, h, w, c] in [0, 1] -> name -> [n]` values of a quantity, `[n, classes]`
        probabilities of a class.
      classes: name -> names of a discrete factor, in order of their codes.
    """

    read: Reader
    classes: Mapping[str, np.ndarray]


def train_judge(
    images: Array,
    factors: Mapping[str, np.ndarray],
    key: Key,
    *,
    hidden: tuple[int, ...] = (256, 128),
    steps: int = 1500,
    batch: int = 128,
    rate: float = 1e-3,
) -> Judge:
    """One MLP of all factors: softmax of classes, least squares of quantities.

    Args:
      images: `[n, h, w, c]` float in [0, 1].
      factors: name -> `[n]`; integers, booleans or text are classes, floats are quantities.
      key: of weights and batches.
      hidden: widths.
      steps, batch, rate: of Adam, whose rate falls to 0 by a cosine.

    Raises InvalidInput for no factor or one of another length.
    """
    require(len(factors) > 0, "factors", dict(factors), "one or more")
    for name, values in factors.items():
        require(np.shape(values) == (len(images),), name, np.shape(values), f"[{len(images)}]")
    coded, classes, units, widths = {}, {}, {}, {}
    for name, values in factors.items():
        values = np.asarray(values)
        if values.dtype.kind in "biuSU":
            classes[name], coded[name] = np.unique(values, return_inverse=True)
            widths[name] = len(classes[name])
        else:
            units[name] = float(values.mean()), float(values.std()) or 1.0
            coded[name] = ((values - units[name][0]) / units[name][1]).astype(np.float32)
            widths[name] = 1
    flat = jnp.asarray(images).reshape(len(images), -1)
    net, centre = mlp(hidden, sum(widths.values())), jnp.mean(flat, 0)
    ends = np.cumsum(list(widths.values()))[:-1]

    def outputs(params, pixels):
        result = net.apply(params, {}, 2 * (pixels - centre))
        return dict(zip(widths, jnp.split(result, ends, axis=1), strict=True))

    def loss(params, constants, rows):
        pixels, targets = constants
        outcome = outputs(params, pixels[rows])
        losses = [
            jnp.mean(cross_entropies(outcome[name], targets[name][rows]))
            if name in classes
            else jnp.mean((outcome[name][:, 0] - targets[name][rows]) ** 2)
            for name in widths
        ]
        return sum(losses)

    start_key, batch_key = jax.random.split(key)
    params = net.init(start_key, flat.shape[1:])[0]
    given = flat, {name: jnp.asarray(v) for name, v in coded.items()}
    params, _ = _descended(loss, params, given, batch_key, rate, steps, batch)

    @jax.jit
    def read(images):
        solution = outputs(params, images.reshape(len(images), -1))
        return {
            name: jax.nn.softmax(v)
            if name in classes
            else v[:, 0] * units[name][1] + units[name][0]
            for name, v in solution.items()
        }

    return Judge(read, classes)


def _unit(values: np.ndarray) -> Scaling:
    """Mean and standard deviation of a quantity `[n]`, in float64."""
    return scaling_of(lambda: [np.asarray(values)[:, None]], 0.0)


def _descended(loss, params: Tree, constants: Tree, key: Key, rate: float, steps: int, batch: int):
    """Adam; the parameters at the end, and the loss of each batch."""
    require(steps >= 1 and batch >= 1, "steps, batch", (steps, batch), "1 or more each")
    solver = optax.adam(optax.cosine_decay_schedule(rate, steps))
    count = len(jax.tree.leaves(constants)[0])

    @partial(jax.jit, donate_argnums=0)
    def run(params, constants, keys):
        def step(carry, key):
            params, state = carry
            rows = jax.random.randint(key, (batch,), 0, count)
            value, slopes = jax.value_and_grad(loss)(params, constants, rows)
            updates, state = solver.update(slopes, state)
            return (optax.apply_updates(params, updates), state), value

        (params, _), losses = jax.lax.scan(step, (params, solver.init(params)), keys)
        return params, losses

    return run(params, constants, jax.random.split(key, steps))


def judge_skill(judge: Judge, images: Array, factors: Mapping[str, np.ndarray]) -> dict[str, float]:
    """name -> accuracy of a class, R2 of a quantity (0 where it is constant), of pictures
    `[n, h, w, c]`."""
    readings, result = judge.read(images), {}
    for name, values in factors.items():
        seen = np.asarray(readings[name])
        if name in judge.classes:
            result[name] = float(np.mean(judge.classes[name][seen.argmax(1)] == values))
        else:
            unit = _unit(values)
            truth, told = (scaled(np.asarray(v)[:, None], unit) for v in (values, seen))
            result[name] = float(1 - np.mean((told - truth) ** 2)) if truth.any() else 0.0
    return result

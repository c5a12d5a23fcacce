"""The exponent of a coupling is found from pairs alone, however they are turned."""

import jax
import jax.numpy as jnp
import pytest

from mmjax.errors import InvalidInput
from mmjax.evaluate import geometry_of

KEYS = jax.random.split(jax.random.key(0), 4)
SHAPE = (1600, 3)


def _sphere():
    unit = lambda v: v / jnp.linalg.norm(v, axis=1, keepdims=True)
    z = unit(jax.random.normal(KEYS[0], SHAPE))
    return z, unit(z + 0.2 * jax.random.normal(KEYS[1], SHAPE))


def _turned_box():
    z = jax.random.uniform(KEYS[0], SHAPE)
    t = jnp.clip(z + 0.1 * jax.random.laplace(KEYS[1], SHAPE), 0, 1)
    turn = jnp.linalg.qr(jax.random.normal(KEYS[2], (3, 3)))[0]
    return z @ turn, t @ turn


@pytest.mark.parametrize("pairs, exponent", [(_sphere, 2), (_turned_box, 1)])
def test_round_and_pointed_couplings_are_told_apart(pairs, exponent):
    found = geometry_of(*pairs(), KEYS[3], folds=2, candidates=128, steps=200)
    assert abs(float(found.exponent) - exponent) < 0.15
    sign = 1 if exponent == 1 else -1
    assert sign * float(found.advantage) > 3 * float(found.advantage_error) > 0


def test_bad_input_is_told():
    x = jnp.ones((40, 3))
    for options, told in (
        ({"folds": 1}, "folds"),
        ({"folds": 11}, "folds"),
        ({"dim": 4}, "dim"),
        ({"candidates": 1}, "candidates"),
    ):
        with pytest.raises(InvalidInput, match=told):
            geometry_of(x, x, KEYS[0], **options)
    with pytest.raises(InvalidInput, match="x, t"):
        geometry_of(x, x[:, :2], KEYS[0])

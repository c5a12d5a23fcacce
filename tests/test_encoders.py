"""Heads stay in their spaces; encoders are deterministic in evaluation and noisy with a key."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.encoders import HEADS, make_head, mlp
from mmjax.encoders.mlp import PUBLISHED_WIDTHS
from mmjax.losses import no_gather


def _embeddings(rows=64, dim=4):
    return jnp.asarray(5 * np.random.default_rng(0).normal(size=(rows, dim)), jnp.float32)


@pytest.mark.parametrize("name", HEADS)
def test_head_keeps_shape_and_precision(name):
    head, e = make_head(name), _embeddings()
    out = head.apply(head.init(4), e)
    assert out.shape == e.shape and out.dtype == jnp.float32
    with jax.enable_x64(True):
        wide = jax.ShapeDtypeStruct((8, 4), jnp.float64)
        traced = jax.eval_shape(lambda x: head.apply(head.init(4), x), wide)
        assert traced.dtype == jnp.float64


def test_no_head_is_the_identity():
    np.testing.assert_array_equal(make_head("none").apply((), _embeddings()), _embeddings())


def test_sphere_head_gives_unit_vectors_along_the_embedding():
    e = _embeddings()
    out = np.asarray(make_head("sphere").apply((), e))
    np.testing.assert_allclose(np.linalg.norm(out, axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(out * np.linalg.norm(e, axis=1, keepdims=True), e, rtol=1e-5)


def test_box_head_stays_within_its_sides():
    """Sides and centre are what is learned: the box is theirs, and it is filled."""
    head = make_head("box")
    centre, side = np.array([0.0, 1.0, -2.0, 5.0]), np.array([1.0, 0.1, 3.0, 10.0])
    params = {"centre": jnp.asarray(centre), "log_side": jnp.log(jnp.asarray(side))}
    assert jax.tree.structure(params) == jax.tree.structure(head.init(4))
    out = np.asarray(head.apply(params, 10 * _embeddings()))
    low, high = centre - side / 2, centre + side / 2
    slack = 1e-6 * (1 + side)
    assert np.all(out >= low - slack) and np.all(out <= high + slack)
    np.testing.assert_allclose(out.min(0), low, atol=0.02 * side.max())
    np.testing.assert_allclose(out.max(0), high, atol=0.02 * side.max())
    start = head.apply(head.init(4), jnp.zeros((1, 4)))
    np.testing.assert_array_equal(start, 0)


# (dropout, input noise, whether a key changes the output)
NOISY = [(0.0, 0.0, False), (0.5, 0.0, True), (0.0, 0.3, True), (0.2, 0.1, True)]


@pytest.mark.parametrize("dropout, input_noise, noisy", NOISY)
def test_noise_only_with_a_key(dropout, input_noise, noisy):
    encoder = mlp((16,), 3, dropout=dropout, input_noise=input_noise)
    params, statistics = encoder.init(jax.random.key(0), (4,))
    assert statistics == {}
    train = lambda k: encoder.forward(params, {}, _embeddings(), jax.random.key(k), no_gather)[0]
    one, two, still = train(1), train(2), encoder.apply(params, {}, _embeddings())
    np.testing.assert_array_equal(one, train(1))
    for other in (two, still):
        assert np.allclose(one, other, atol=1e-6) == (not noisy)


def test_dropout_drops_its_share_and_keeps_the_mean():
    """A linear readout of one wide layer: half of the units, twice as strong."""
    encoder = mlp((4096,), 1, dropout=0.5)
    params = jax.tree.map(jnp.ones_like, encoder.init(jax.random.key(0), (4,))[0])
    x = jnp.ones((8, 4))
    still = encoder.apply(params, {}, x)
    trained, _ = encoder.forward(params, {}, x, jax.random.key(1), no_gather)
    kept = (np.asarray(trained) - 1) / 2 / 5  # units of value 4 + 1, doubled; bias 1
    np.testing.assert_allclose(still, 4096 * 5 + 1)
    np.testing.assert_allclose(kept / 4096, 0.5, atol=5 * 0.5 / 4096**0.5)


def test_input_noise_has_its_standard_deviation():
    encoder = mlp((), 1, input_noise=0.3)
    params = {"Dense_0": {"kernel": jnp.ones((1, 1)), "bias": jnp.zeros(1)}}
    out, _ = encoder.forward(params, {}, jnp.zeros((4096, 1)), jax.random.key(0), no_gather)
    np.testing.assert_allclose(np.std(out), 0.3, rtol=0.06)


@pytest.mark.parametrize("hidden", [(), (7,), tuple(10 * w for w in PUBLISHED_WIDTHS)])
def test_parameter_shapes(hidden):
    encoder = mlp(hidden, 3)
    # Traced, not run: the published network is large.
    params, _ = jax.eval_shape(lambda key: encoder.init(key, (10,)), jax.random.key(0))
    widths = (10, *hidden, 3)
    assert len(params) == len(widths) - 1
    for k, (fan_in, fan_out) in enumerate(zip(widths, widths[1:], strict=False)):
        assert params[f"Dense_{k}"]["kernel"].shape == (fan_in, fan_out)
        assert params[f"Dense_{k}"]["bias"].shape == (fan_out,)


def test_published_widths():
    assert PUBLISHED_WIDTHS == (10, 50, 50, 50, 50, 10)


def test_mlp_is_the_formula():
    encoder = mlp((5,), 2, slope=0.1)
    params, _ = encoder.init(jax.random.key(3), (4,))
    first, last = (jax.tree.map(np.asarray, params[f"Dense_{k}"]) for k in (0, 1))
    hidden = np.asarray(_embeddings()) @ first["kernel"] + first["bias"]
    hidden = np.where(hidden > 0, hidden, 0.1 * hidden)
    want = hidden @ last["kernel"] + last["bias"]
    np.testing.assert_allclose(encoder.apply(params, {}, _embeddings()), want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("hidden, rows", [((130, 200), 7), ((150, 16, 131), 4700), ((), 3)])
def test_padded_rows_in_blocks_are_the_same_network(hidden, rows):
    """Value and gradient against plain layers in float64; parameters keep their own sizes."""
    encoder = mlp(hidden, 3, slope=0.1)
    params, _ = encoder.init(jax.random.key(0), (5,))
    widths = (5, *hidden, 3)
    shapes = [params[f"Dense_{k}"]["kernel"].shape for k in range(len(widths) - 1)]
    assert shapes == list(zip(widths[:-1], widths[1:], strict=True))
    x = np.random.default_rng(0).normal(size=(rows, 5))

    def plain(params, x):
        for k in range(len(hidden) + 1):
            layer = params[f"Dense_{k}"]
            x = x @ layer["kernel"] + layer["bias"]
            if k < len(hidden):
                x = jnp.where(x > 0, x, 0.1 * x)
        return x

    told = lambda apply, p, x: jnp.mean(jnp.sin(apply(p, x)))
    look = lambda apply: jax.jit(jax.value_and_grad(partial(told, apply)))
    ours = look(lambda p, x: encoder.apply(p, {}, x))(params, jnp.asarray(x, jnp.float32))
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda v: jnp.asarray(np.asarray(v, np.float64)), params)
        theirs = look(plain)(wide, jnp.asarray(x))
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)

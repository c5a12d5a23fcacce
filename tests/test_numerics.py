"""Numerics that stay finite; and the one error that users cause, every boundary in one table."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from mmjax.conditionals import make_conditional, make_marginal, make_noise
from mmjax.encoders import make_head, mlp
from mmjax.errors import InvalidInput, choose, counted, one_of, require
from mmjax.evaluate import mcc
from mmjax.generative import partial_causal_model
from mmjax.numerics import (
    columns_of,
    log_mean_exp,
    log_trapezoid,
    normalise,
    safe_norm,
    without,
)
from mmjax.observations import invertible_mlp
from mmjax.spaces import ball, box, euclidean, make_space, sphere
from mmjax.train import make_layout, make_optimiser

finite = st.floats(-1e3, 1e3, width=32)


@settings(max_examples=25, deadline=None)
@given(st.lists(finite, min_size=4, max_size=4))
def test_safe_norm_is_the_norm(values):
    x = np.array(values, np.float32)
    x[np.abs(x) < 1e-15] = 0  # squares below the smallest float32 count as zero
    np.testing.assert_allclose(safe_norm(jnp.asarray(x)), np.linalg.norm(x), rtol=1e-5)


FINITE_AT_ZERO = {
    "safe_norm": safe_norm,
    "normalise": normalise,
    "project_sphere": sphere(3).project,
    "project_ball": ball(3).project,
    "head_none": lambda x: make_head("none").apply((), x),
    "head_sphere": lambda x: make_head("sphere").apply((), x),
    "head_box": lambda x: make_head("box").apply(make_head("box").init(3), x),
}


@pytest.mark.parametrize("name", FINITE_AT_ZERO)
@pytest.mark.parametrize("x", [(0.0, 0.0, 0.0), (1e-30, 0.0, 0.0), (1e15, -1e15, 0.0)])
def test_finite_with_finite_gradient(name, x):
    value, pull = jax.vjp(FINITE_AT_ZERO[name], jnp.array([x, (1.0, 2.0, 2.0)]))
    assert np.all(np.isfinite(value))
    assert np.all(np.isfinite(pull(jnp.ones_like(value))[0]))


def test_gradients_at_zero_are_zero():
    x = jnp.array([(0.0, 0.0, 0.0), (0.0, 3.0, 4.0)])
    norm_gradient = jax.vjp(safe_norm, x)[1](jnp.ones(2))[0]
    np.testing.assert_allclose(norm_gradient, [(0, 0, 0), (0, 0.6, 0.8)], rtol=1e-6)
    np.testing.assert_array_equal(jax.vjp(normalise, x)[1](jnp.ones((2, 3)))[0][0], 0)


def test_norms_along_an_axis():
    x = jnp.arange(6.0).reshape(2, 3)
    np.testing.assert_allclose(safe_norm(x, axis=0), np.linalg.norm(x, axis=0), rtol=1e-6)
    assert safe_norm(x, keepdims=True).shape == (2, 1)
    np.testing.assert_allclose(np.linalg.norm(normalise(x, axis=0), axis=0), 1, rtol=1e-6)


@pytest.mark.parametrize("shift", [0.0, 1e4, -1e4])
def test_log_mean_exp_does_not_overflow(shift):
    x = np.random.default_rng(0).normal(size=(3, 50))
    want = special.logsumexp(x + shift, axis=1) - np.log(50)
    np.testing.assert_allclose(log_mean_exp(jnp.asarray(x + shift, jnp.float32)), want, rtol=2e-5)


@pytest.mark.parametrize("shift", [0.0, 1e5, -1e5])
def test_log_trapezoid_against_a_gaussian(shift):
    grid = np.linspace(-10, 10, 2001)
    want = 0.5 * np.log(2 * np.pi) + shift
    np.testing.assert_allclose(log_trapezoid(shift - grid**2 / 2, grid), want, rtol=1e-12)


def test_require_and_choose():
    require(True, "x", 1, "anything")
    assert choose({"a": 7}, "letter", "a") == 7
    with pytest.raises(InvalidInput, match=r"^letter: 'c' is not allowed; use one of a, b$"):
        choose({"b": 1, "a": 2}, "letter", "c")
    with pytest.raises(InvalidInput, match=r"^letter: 'aa' is not allowed; use a$"):
        choose({"a": 2}, "letter", "aa")
    with pytest.raises(InvalidInput, match=r"^letter: 'a' is not there, for there are none$"):
        choose({}, "letter", "a")
    for odd, shown in ((["a"], r"\['a'\]"), (np.ones((3, 2)), r"an array \(3, 2\)"), (0, "0")):
        with pytest.raises(InvalidInput, match=rf"^letter: {shown} is not allowed; use one of"):
            choose({"b": 1, "a": 2}, "letter", odd)


def test_a_refusal_is_a_line_however_long_the_names_and_the_value():
    names = [f"method {k}" for k in range(100)]
    with pytest.raises(InvalidInput, match="'METHOD 4' .* one of 100 names, nearest .*method 4,"):
        choose(dict.fromkeys(names), "method", "METHOD 4")
    with pytest.raises(InvalidInput) as error:
        choose(dict.fromkeys(names), "method", "x\ny" * 1000)
    assert len(str(error.value)) < 400 and "\n" not in str(error.value)
    of = [f"row;{k}" for k in range(50)]
    assert one_of(of, "q", where="--help lists them").startswith("one of 50 names (--help lists")


def _conditional(name="normal", space=None, **options):
    options = {"kappa": 1.0, "scale": 0.1, **options}
    return make_conditional(name, sphere(3) if space is None else space, **options)


_vmf = partial(_conditional, "vmf")
_general = partial(_conditional, "generalised_normal")
_optimiser = partial(make_optimiser, "adam", learning_rate=0.1, steps=10, warmup=1)
_layout = partial(make_layout, num_seeds=8, batch_size=8)
_NAN = float("nan")


def _model(**options):
    law = make_marginal("uniform", sphere(3), scale=1.0)
    return partial_causal_model(law, _vmf(), **{"dim": 3, "private_dim": 1, **options})


# (call, the name and the value that the message must tell)
BAD_INPUT = [
    (lambda: sphere(1), "dim: 1"),
    (lambda: sphere(0), "dim: 0"),
    (lambda: box(0), "dim: 0"),
    (lambda: box(-2), "dim: -2"),
    (lambda: box(2, low=1.0, high=1.0), "low: 1.0"),
    (lambda: ball(0), "dim: 0"),
    (lambda: ball(-1), "dim: -1"),
    (lambda: euclidean(0), "dim: 0"),
    (lambda: make_space("torus", 3), "space: 'torus'"),
    (lambda: _conditional("cauchy"), "conditional: 'cauchy'"),
    (lambda: _vmf(kappa=-1), "kappa: -1"),
    (lambda: _vmf(kappa=2e4), "kappa: 20000.0"),
    (lambda: _vmf(kappa=_NAN), "kappa: nan"),
    (lambda: _vmf(box(2)), "conditional: 'vmf'"),
    (lambda: _vmf(ball(2)), "conditional: 'vmf'"),
    (lambda: _vmf(euclidean(2)), "conditional: 'vmf'"),
    (lambda: _conditional(scale=0), "scale: 0"),
    (lambda: _conditional(scale=-0.5), "scale: -0.5"),
    (lambda: _conditional(scale=_NAN), "scale: nan"),
    (lambda: _general(p=0.5), "p: 0.5"),
    (lambda: _general(p=float("inf")), "p: inf"),
    (lambda: make_noise(p=_NAN, scale=1.0), "p: nan"),
    (lambda: make_marginal("cauchy", box(2), scale=1.0), "marginal: 'cauchy'"),
    (lambda: make_marginal("uniform", euclidean(2), scale=1.0), "marginal: 'uniform'"),
    (lambda: make_marginal("normal", box(2), scale=0.0), "scale: 0.0"),
    (lambda: _model(edge="sideways"), "edge: 'sideways'"),
    (lambda: _model(private_dim=-1), "private_dim: -1"),
    (lambda: _model(dim=0), "dim: 0"),
    (lambda: invertible_mlp(0), "dim: 0"),
    (lambda: invertible_mlp(3, depth=0), "mixing_depth: 0"),
    (lambda: invertible_mlp(3, slope=0), "slope: 0"),
    (lambda: invertible_mlp(3, slope=1.5), "slope: 1.5"),
    (lambda: invertible_mlp(3, candidates=0), "mixing_candidates: 0"),
    (lambda: invertible_mlp(3, keep=2.0), "keep: 2.0"),
    (lambda: invertible_mlp(3, activation="tanh"), "mixing_activation: 'tanh'"),
    (lambda: make_head("cone"), "head: 'cone'"),
    (lambda: mlp((4, 0), 2), r"hidden: \(4, 0\)"),
    (lambda: mlp((4,), 0), "embedding_dim: 0"),
    (lambda: mlp((4,), 2, dropout=1.0), "dropout: 1.0"),
    (lambda: mlp((4,), 2, input_noise=-0.1), "input_noise: -0.1"),
    (lambda: mcc(jnp.ones((4, 2)), jnp.ones((4, 2)), kind="kendall"), "kind: 'kendall'"),
    (lambda: make_optimiser("sgd", learning_rate=0.1, steps=9, warmup=1), "optimiser: 'sgd'"),
    (lambda: _optimiser(learning_rate=0.0), "learning_rate: 0.0"),
    (lambda: _optimiser(learning_rate=_NAN), "learning_rate: nan"),
    (lambda: _optimiser(steps=0), "steps: 0"),
    (lambda: _optimiser(warmup=-1), "warmup: -1"),
    (lambda: _optimiser(weight_decay=-1.0), "weight_decay: -1.0"),
    (lambda: _layout("rings"), "parallel: 'rings'"),
]


@pytest.mark.parametrize("call, told", BAD_INPUT, ids=[told for _, told in BAD_INPUT])
def test_bad_input_is_told_in_one_line(call, told):
    with pytest.raises(InvalidInput, match=rf"^{told} is not allowed; use .+$") as caught:
        call()
    assert "\n" not in str(caught.value)


def test_the_mean_of_a_large_offset_is_taken_off_to_the_last_digit():
    """At 1e7 neighbours in float32 are 1 apart: one pass would leave a rest of half of that."""
    x = np.asarray(jax.random.randint(jax.random.key(3), (999, 4), 0, 8), np.float64) + 1e7
    wanted = (x - x.mean(0)) / x.std(0)
    for values in (x.astype(np.float32), jnp.asarray(x, jnp.float32)):
        centred = np.asarray(without(columns_of(values), values), np.float64)
        np.testing.assert_allclose(centred / centred.std(0), wanted, atol=1e-5)


def test_one_is_told_in_the_singular():
    assert [counted(n, "row") for n in (0, 1, 2)] == ["0 rows", "1 row", "2 rows"]
    assert [counted(n, "class", "classes") for n in (1, 3)] == ["1 class", "3 classes"]

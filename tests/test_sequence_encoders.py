"""Encoders of sequences: padding has no influence, order none unless meant; the formulas."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.encoders import (
    Modality,
    Padded,
    force_convnet,
    fusion,
    gru_sequence,
    proprio_mlp,
    single_and_joint_masks,
    transformer_sequence,
)
from mmjax.errors import InvalidInput
from mmjax.losses import no_gather

LENGTH, FEATURES, HEADS = 5, 3, 2
SEEN = np.arange(LENGTH) < np.array([[0], [2], [4], [5]])  # the first row is padding alone
HOLES = np.array([[0, 1, 0, 1, 1], [1, 0, 0, 0, 1], [0, 0, 0, 0, 0], [0, 0, 1, 1, 1]], bool)


def _transformer(**options):
    return transformer_sequence(**(dict(width=4, layers=1, heads=HEADS, hidden=6) | options))


ENCODERS = {
    "pre": lambda dropout: _transformer(dropout=dropout),
    "post": lambda dropout: _transformer(dropout=dropout, layers=2, norm="post", positions=7),
    "gru": lambda dropout: gru_sequence(4),
    "gru-last": lambda dropout: gru_sequence(4, states="last"),
}
encoders = pytest.mark.parametrize("name", ENCODERS)


def _values(seed=0, batch=4, length=LENGTH, features=FEATURES):
    rng = np.random.default_rng(seed)
    return jnp.asarray(rng.normal(size=(batch, length, features)), jnp.float32)


def _drawn(encoder, shape=(LENGTH, FEATURES)):
    """Parameters at random, biases too: zeros would hide what they do."""
    params, statistics = jax.eval_shape(lambda k: encoder.init(k, shape), jax.random.key(0))
    rng = np.random.default_rng(2)
    draw = lambda v: jnp.asarray(0.6 * rng.normal(size=v.shape) + 0.2, v.dtype)
    assert not statistics
    return jax.tree.map(draw, params)


@cache
def _made(name, dropout=0.0):
    """Parameters, and `(params, values, seen, key) -> (embeddings, their seen)` in training."""
    encoder = ENCODERS[name](dropout)

    def run(params, values, seen, number=5):
        key = jax.random.key(number)
        out, statistics = encoder.forward(params, {}, Padded(values, seen), key, no_gather)
        assert not statistics
        return out if isinstance(out, Padded) else Padded(out, jnp.ones(len(out), bool))

    return _drawn(encoder), run


def _close(ours, theirs):
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * max(1, np.abs(b).max(initial=0)))


@encoders
def test_what_is_in_padding_has_no_influence(name):
    """In training: equal bits whatever is there, NaN too; gradients are 0 there, nowhere else."""
    # Random numbers are what compiling takes longest over.
    params, run = _made(name, 0.3 if name == "pre" else 0.0)

    @jax.jit
    def look(values, number):
        def total(params, values):
            out = run(params, values, SEEN, number)
            return jnp.sum(jnp.sin(3 * out.values)), out

        return jax.value_and_grad(total, argnums=(0, 1), has_aux=True)(params, values)

    values = _values()
    first = look(values, 5)
    (_, out), (slopes, at_values) = first
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(first))
    moved = np.any(np.asarray(at_values), -1)
    np.testing.assert_array_equal(moved & ~SEEN, False)
    assert np.mean(moved[SEEN]) > 0.9 and np.any(jax.tree.leaves(slopes)[0])
    assert not np.any(np.asarray(out.values)[0])  # the row that is padding alone
    for filling in (1e30, np.nan):
        again = look(jnp.where(SEEN[..., None], values, filling), 5)
        for a, b in zip(jax.tree.leaves(again), jax.tree.leaves(first), strict=True):
            np.testing.assert_array_equal(a, b)
    other = look(values, 6)[0][1].values
    assert (np.max(np.abs(other - out.values)) > 1e-2) == (name == "pre")
    if name == "pre":  # where both branches are dropped, the linear map is left: 0.3^2 of the time
        linear = np.asarray(values)[SEEN] @ np.asarray(params["linear"]["kernel"])
        left = np.isclose(np.asarray(out.values)[SEEN], linear, rtol=0, atol=1e-6)
        assert 0.01 < np.mean(left) < 0.25


@encoders
def test_how_much_padding_there_is_has_no_influence(name):
    params, run = _made(name)
    run, longer = jax.jit(run), np.pad(SEEN, ((0, 0), (0, 2)))
    more = jnp.pad(_values(), ((0, 0), (0, 2), (0, 0)), constant_values=3.0)
    tokens = run(params, more, longer).values
    tokens = tokens if name == "gru-last" else tokens[:, :LENGTH]
    _close(tokens, run(params, _values(), SEEN).values)


@pytest.mark.parametrize("name", ["pre", "gru", "gru-last"])
def test_padding_may_be_anywhere(name):
    """Before, between and behind the steps: the same as at the end."""
    params, run = _made(name)
    run, values = jax.jit(run), np.asarray(_values())
    order = np.argsort(~HOLES, axis=1, kind="stable")
    last = run(params, np.take_along_axis(values, order[..., None], 1), np.sort(~HOLES) == 0)
    spread = run(params, values, HOLES)
    if name == "gru-last":
        return _close(spread.values, last.values)
    np.testing.assert_array_equal(spread.seen, HOLES)
    _close(np.take_along_axis(np.asarray(spread.values), order[..., None], 1), last.values)


@pytest.mark.parametrize("name", ["pre", "post", "gru"])
def test_only_without_positions_steps_are_a_set(name):
    params, run = _made(name)
    run, order = jax.jit(run), np.array([3, 0, 4, 1, 2])
    out = run(params, _values(), SEEN).values[:, order]
    turned = run(params, _values()[:, order], SEEN[:, order]).values
    if name == "pre":
        _close(turned, out)
    else:
        assert np.max(np.abs(turned - out)) > 1e-2


@pytest.mark.parametrize("name", ENCODERS)
def test_arrays_are_sequences_without_padding_and_training_without_dropout_is_evaluation(name):
    params, run = _made(name)
    out = jax.jit(ENCODERS[name](0.5).apply)(params, {}, _values())
    padded = jax.jit(run)(params, _values(), np.ones_like(SEEN))
    _close(out.values if isinstance(out, Padded) else out, padded.values)


def _norm(x, p):
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * p["scale"] + p["bias"]


def _attention(x, p):
    """One row, a head and a token at a time."""
    at = lambda name, row, h: row @ p[name]["kernel"][:, h] + p[name]["bias"][h]
    out = np.tile(p["out"]["bias"], (len(x), 1))
    for i, head in np.ndindex(len(x), HEADS):
        query = at("query", x[i], head)
        weights = np.exp([query @ at("key", row, head) / np.sqrt(len(query)) for row in x])
        mixed = sum(w * at("value", row, head) for w, row in zip(weights, x, strict=True))
        out[i] += mixed / weights.sum() @ p["out"]["kernel"][head]
    return out


@pytest.mark.parametrize("name", ["pre", "post"])
def test_transformer_is_the_formula(name):
    """In float64 NumPy, with only the steps that are seen."""
    params, run = _made(name)
    out = jax.jit(run)(params, _values(), SEEN)
    wide = jax.tree.map(lambda v: np.asarray(v, np.float64), params)
    linear = lambda x, p: x @ p["kernel"] + p["bias"]
    for row in range(1, 4):
        x = np.asarray(_values()[row], np.float64)[SEEN[row]] @ wide["linear"]["kernel"]
        if name == "post":
            x = x + wide["positions"][: len(x)]
        for k in range({"pre": 1, "post": 2}[name]):
            p = wide[f"layer_{k}"]
            mlp = lambda x, p=p: linear(np.maximum(linear(x, p["mlp_0"]), 0), p["mlp_1"])
            attend = lambda x, p=p: _attention(x, p["attention"])
            for branch, norm in ((attend, p["attention_norm"]), (mlp, p["mlp_norm"])):
                x = x + branch(_norm(x, norm)) if name == "pre" else _norm(x + branch(x), norm)
        np.testing.assert_allclose(out.values[row][SEEN[row]], x, rtol=2e-5, atol=2e-5)


def test_gru_is_the_formula():
    """Cho et al. 2014 with PyTorch's order of the reset gate, in float64 NumPy."""
    params, run = _made("gru")
    out = np.asarray(jax.jit(run)(params, _values(), HOLES).values)
    p = jax.tree.map(lambda v: np.asarray(v, np.float64), params["cell"])
    sigmoid = lambda v: 1 / (1 + np.exp(-v))
    linear = lambda x, p: x @ p["kernel"] + p.get("bias", 0)
    for row, values in enumerate(np.asarray(_values(), np.float64)):
        h = np.zeros(4)
        for t in np.flatnonzero(HOLES[row]):
            x = values[t]
            reset = sigmoid(linear(x, p["ir"]) + linear(h, p["hr"]))
            keep = sigmoid(linear(x, p["iz"]) + linear(h, p["hz"]))
            new = np.tanh(linear(x, p["in"]) + reset * linear(h, p["hn"]))
            h = (1 - keep) * new + keep * h
            np.testing.assert_allclose(out[row, t], h, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("length", [8, 11, 5])
def test_force_sees_the_newest_readings_all_of_them_and_no_other(length):
    """Three layers see eight; in the published code, which looks back, they see the oldest one."""
    encoder = force_convnet(4, widths=(3, 5))
    params = _drawn(encoder, (length, 2))
    x = _values(length=length, features=2)
    both = lambda x: (jnp.sum(encoder.apply(params, {}, x)), encoder.apply(params, {}, x))
    slopes, out = jax.jit(jax.grad(both, has_aux=True))(x)
    moved = np.any(np.asarray(slopes), (0, 2))
    np.testing.assert_array_equal(moved, np.arange(length) >= length - 8)
    wide = jax.tree.map(lambda v: np.asarray(v, np.float64), params)
    x = np.asarray(x, np.float64)
    for k in range(3):
        x = np.pad(x, ((0, 0), (x.shape[1] % 2, 0), (0, 0)))
        kernel = wide[f"conv_{k}"]["kernel"][0]
        x = x[:, ::2] @ kernel[0] + x[:, 1::2] @ kernel[1] + wide[f"conv_{k}"]["bias"]
        x = np.where(x > 0, x, 0.1 * x)
    np.testing.assert_allclose(out, x[:, -1], rtol=1e-5, atol=1e-5)


def test_proprio_is_the_formula_in_training_too():
    encoder = proprio_mlp(4, hidden=(6, 5))
    params, x = _drawn(encoder, (8,)), _values(length=8)[..., 0]
    want = np.asarray(x, np.float64)
    for k in range(3):
        want = want @ params[f"Dense_{k}"]["kernel"] + params[f"Dense_{k}"]["bias"]
        want = np.where(want > 0, want, 0.1 * want)
    np.testing.assert_allclose(encoder.apply(params, {}, x), want, rtol=1e-4, atol=1e-5)
    trained, statistics = encoder.forward(params, {}, x, jax.random.key(0), no_gather)
    np.testing.assert_allclose(trained, want, rtol=1e-4, atol=1e-5)
    assert not statistics


def test_they_are_modalities_of_a_fusion():
    """Padding has no influence on Z either; what is seen of each has."""
    nets = [_transformer(), gru_sequence(4), gru_sequence(4, states="last"), force_convnet(4)]
    net = fusion([Modality(n) for n in nets], width=4, heads=2, head_hidden=4, head_out=3)
    given = (Padded(_values(), SEEN), Padded(_values(1), SEEN), _values(2), _values(3))
    shapes, statistics = jax.eval_shape(net.init, jax.random.key(0), given)
    kept = jax.tree.map(lambda v: np.ones(v.shape, v.dtype), statistics)
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda v: rng.normal(size=v.shape).astype(np.float32), shapes)

    @jax.jit
    def see(observations):
        return net.apply(params, kept, observations, single_and_joint_masks(4))

    z = see(given)
    filled = Padded(jnp.where(SEEN[..., None], _values(), jnp.nan), SEEN)
    np.testing.assert_array_equal(see((filled, *given[1:])), z)
    for k in range(4):
        other = list(given)
        values = lambda seed: _values(seed + 10)
        other[k] = given[k]._replace(values=values(k)) if k < 2 else values(k)
        moved = np.abs(np.asarray(see(tuple(other)) - z)).max((0, 2)) > 1e-3
        assert moved.tolist() == [v in (k, 4) for v in range(5)]


BAD = {
    "width": lambda: _transformer(width=5),
    "layers": lambda: _transformer(layers=-1),
    "heads": lambda: _transformer(heads=0),
    "hidden": lambda: _transformer(hidden=0),
    "positions": lambda: _transformer(positions=-1),
    "norm": lambda: _transformer(norm="middle"),
    "dropout": lambda: _transformer(dropout=1.0),
    "states": lambda: gru_sequence(4, states="first"),
    "state": lambda: gru_sequence(0),
    "force": lambda: force_convnet(0),
    "force widths": lambda: force_convnet(4, widths=(0,)),
    "proprio": lambda: proprio_mlp(0),
}


@pytest.mark.parametrize("make", BAD.values(), ids=BAD)
def test_bad_options(make):
    with pytest.raises(InvalidInput):
        make()


@pytest.mark.parametrize(
    ("name", "observations"),
    [
        ("gru", jnp.zeros((4, 3))),
        ("gru", Padded(_values(), SEEN[:, :4])),
        ("gru", Padded(_values(), SEEN.astype(int))),
        ("post", _values(length=8)),
        ("force", Padded(_values(), SEEN)),
        ("force", jnp.zeros((4, 3))),
    ],
)
def test_bad_observations(name, observations):
    encoder = force_convnet(4) if name == "force" else ENCODERS[name](0.0)
    with pytest.raises(InvalidInput, match="observations|seen"):
        jax.eval_shape(lambda o: encoder.apply(_drawn(encoder), {}, o), observations)

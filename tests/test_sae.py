"""Top-k sparse autoencoder: finds a planted dictionary, codes as sparse as asked, by key alone."""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.disentangle import sae
from mmjax.errors import InvalidInput

WIDTH, ATOMS, ACTIVE = 32, 48, 3
HOW = dict(num_latents=ATOMS, active=ACTIVE, steps=600, rate=1e-2)


@pytest.fixture(scope="module")
def planted():
    """Rows that are sums of 3 of 48 directions, more than there are features."""
    rng = np.random.default_rng(0)
    atoms = rng.normal(size=(ATOMS, WIDTH))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    codes = np.zeros((2000, ATOMS))
    for row in codes:
        row[rng.choice(ATOMS, ACTIVE, replace=False)] = rng.uniform(0.5, 1.5, ACTIVE)
    return atoms, jnp.asarray(3 * codes @ atoms, jnp.float32)


@pytest.fixture(scope="module")
def trained(planted):
    return sae.train(planted[1], jax.random.key(0), **HOW)


def share_left(found, x):
    again = sae.decode(found, sae.encode(found, x, active=ACTIVE))
    return float(jnp.sum((x - again) ** 2) / jnp.sum((x - x.mean(0)) ** 2))


def test_a_planted_dictionary_is_found(planted, trained):
    atoms, x = planted
    alike = (atoms @ np.asarray(trained.sae.decoder).T).max(1)
    assert alike.mean() > 0.97 and np.median(alike) > 0.98
    start = sae.init(x, jax.random.key(0), num_latents=ATOMS)
    assert (atoms @ np.asarray(start.decoder).T).max(1).mean() < 0.6


def test_rows_are_reconstructed(planted, trained):
    x = planted[1]
    assert share_left(trained.sae, x) < 0.06
    assert share_left(sae.init(x, jax.random.key(0), num_latents=ATOMS), x) > 0.5
    assert float(trained.losses[-20:].mean()) < 0.06 < 0.5 < float(trained.losses[0])


def test_directions_have_unit_length_and_live(trained):
    np.testing.assert_allclose(np.linalg.norm(trained.sae.decoder, axis=1), 1, rtol=1e-5)
    assert trained.dead.sum() <= 2


def test_dead_latents_come_back(planted):
    """Of latents that start below all others, auxiliary training revives most."""

    def dead_after(weight):
        start = sae.init(planted[1], jax.random.key(0), num_latents=ATOMS)
        start = start._replace(bias=start.bias.at[: ATOMS // 2].set(-3))
        numbers = jnp.array([1e-2, weight])
        return int(
            sae._train(planted[1], start, jax.random.key(1), numbers, ACTIVE, 400, 256).dead.sum()
        )

    alone, revived = dead_after(0.0), dead_after(1 / 32)
    assert alone >= ATOMS // 4 and revived <= alone // 2


def test_the_same_key_gives_the_same(planted, trained):
    again = sae.train(planted[1], jax.random.key(0), **HOW)
    other = sae.train(planted[1], jax.random.key(1), **HOW)
    for a, b in zip(jax.tree.leaves(trained), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.allclose(trained.sae.decoder, other.sae.decoder)


def test_unit_and_offset_of_rows_change_nothing(planted, trained):
    moved = sae.train(planted[1] * 64 + 3.0, jax.random.key(0), **(HOW | {"steps": 50}))
    plain = sae.train(planted[1], jax.random.key(0), **(HOW | {"steps": 50}))
    np.testing.assert_allclose(moved.losses, plain.losses, rtol=2e-2)


@hypothesis.settings(max_examples=15, deadline=None)
@hypothesis.given(st.integers(1, 9), st.integers(0, 2**16))
def test_codes_are_the_largest_of_numpy(active, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(5, 4))
    with jax.enable_x64(True):
        own = sae.init(jnp.asarray(x), jax.random.key(seed), num_latents=9)
        own = own._replace(bias=jnp.asarray(rng.normal(size=9)))
        codes = np.asarray(sae.encode(own, jnp.asarray(x), active=active))
        decoded = np.asarray(sae.decode(own, jnp.asarray(codes)))
    p = sae.SAE(*map(np.asarray, own))
    before = (x - x.mean(0)) / np.sqrt(np.mean((x - x.mean(0)) ** 2)) @ p.encoder + p.bias
    right = np.zeros_like(before)
    for row, values in zip(right, before, strict=True):
        for place in np.argsort(-values)[:active]:
            row[place] = max(values[place], 0)
    np.testing.assert_allclose(codes, right, atol=1e-12)
    assert ((codes > 0).sum(1) <= active).all() and (codes >= 0).all()
    np.testing.assert_allclose(decoded, right @ p.decoder * p.scale + p.centre, atol=1e-12)


def test_rows_that_are_all_alike_stay_finite():
    found = sae.train(jnp.ones((6, 4)), jax.random.key(0), num_latents=8, active=2, steps=60)
    assert all(bool(jnp.isfinite(v).all()) for v in jax.tree.leaves(found.sae))
    again = sae.decode(found.sae, sae.encode(found.sae, jnp.ones((6, 4)), active=2))
    np.testing.assert_allclose(again, 1, atol=0.1)


@pytest.mark.parametrize(
    "other, told",
    [
        (dict(active=0), "active: 0 is not allowed; use 1 to 8"),
        (dict(active=9), "active: 9 is not allowed; use 1 to 8"),
        (dict(num_latents=0), "0, the latents|num_latents"),
        (dict(steps=0), "steps: 0"),
        (dict(batch=0), "batch: 0"),
        (dict(auxiliary=-1.0), "auxiliary: -1.0"),
    ],
)
def test_values_out_of_range_are_told(other, told):
    how = dict(num_latents=8, active=2, steps=2) | other
    with pytest.raises(InvalidInput, match=told):
        sae.train(jnp.eye(4), jax.random.key(0), **how)

"""The latent partial causal model: what each edge implies for the joint law, and independence."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from mmjax.conditionals import Conditional, Marginal, make_conditional, make_marginal
from mmjax.generative import EDGES, partial_causal_model
from mmjax.spaces import sphere
from mmjax.types import Latents

N = 8192
KAPPA = 3.0
ALPHA = 1e-4
# Mean cosine between a point of S^2 and its vMF neighbour, and between two neighbours of one point.
DIRECT = 1 / np.tanh(KAPPA) - 1 / KAPPA
MEAN_COSINE = {
    "x_to_t": DIRECT,
    "t_to_x": DIRECT,
    "confounder": DIRECT**2,
    "mixture": (2 * DIRECT + DIRECT**2) / 3,
}


def _draw(edge, seed=0, private_dim=2):
    space = sphere(3)
    coupling = make_conditional("vmf", space, kappa=KAPPA, scale=1.0)
    prior = make_marginal("uniform", space, scale=1.0)
    model = partial_causal_model(prior, coupling, dim=3, private_dim=private_dim, edge=edge)
    return model.sample(jax.random.key(seed), N)


def _joint_features(latents):
    """Functions of the pair, asymmetric in its sides, whose laws differ if the joint laws do."""
    z_x, z_t = np.asarray(latents.z_x, np.float64), np.asarray(latents.z_t, np.float64)
    return {
        "cosine": np.sum(z_x * z_t, axis=1),
        "x": z_x[:, 0],
        "t": z_t[:, 0],
        "product": z_x[:, 0] * z_t[:, 1] ** 2,
        "difference": z_x[:, 0] - 2 * z_t[:, 0],
    }


@pytest.mark.parametrize("edge", EDGES)
def test_both_sides_have_the_marginal_law(edge):
    """Uniform on S^2: every coordinate is uniform on [-1, 1] (Archimedes)."""
    latents = _draw(edge)
    for z in (latents.z_x, latents.z_t):
        np.testing.assert_allclose(np.linalg.norm(z, axis=1), 1, atol=1e-5)
        for column in np.asarray(z).T:
            assert stats.kstest(column, stats.uniform(-1, 2).cdf).pvalue > ALPHA


@pytest.mark.parametrize("edge", EDGES)
def test_mean_cosine(edge):
    cosine = _joint_features(_draw(edge))["cosine"]
    assert abs(cosine.mean() - MEAN_COSINE[edge]) < 4 * cosine.std() / N**0.5


def test_direction_of_the_edge_is_invisible():
    """p(z) uniform and p(z_t | z_x) symmetric in its arguments: both directions, one joint law."""
    forth, back = (_joint_features(_draw(e, s)) for e, s in (("x_to_t", 1), ("t_to_x", 2)))
    for name in forth:
        assert stats.ks_2samp(forth[name], back[name]).pvalue > ALPHA, name


def test_confounded_pairs_have_another_law():
    """The two-sample test can fail: it sees the weaker coupling behind a confounder."""
    direct, confounded = (_joint_features(_draw(e)) for e in ("x_to_t", "confounder"))
    assert stats.ks_2samp(direct["cosine"], confounded["cosine"]).pvalue < 1e-12


# Causes are 0 and effects 1, so that the pair tells its mechanism.
ALL_ZERO = Marginal(lambda key, n: jnp.zeros((n, 1)), lambda z: jnp.zeros(len(z)))
PLUS_ONE = Conditional(lambda key, z: z + 1, lambda z_to, z: jnp.zeros(len(z)))
TELLS = {"x_to_t": (0, 1), "t_to_x": (1, 0), "confounder": (1, 1)}


def _told(edge):
    model = partial_causal_model(ALL_ZERO, PLUS_ONE, dim=1, private_dim=0, edge=edge)
    latents = model.sample(jax.random.key(3), N)
    return np.concatenate([latents.z_x, latents.z_t], axis=1)


@pytest.mark.parametrize("edge", TELLS)
def test_edge_is_its_mechanism(edge):
    assert np.all(_told(edge) == TELLS[edge])


def test_mixture_is_a_third_of_each():
    pairs = _told("mixture")
    counts = [int(np.all(pairs == told, axis=1).sum()) for told in TELLS.values()]
    assert sum(counts) == N
    assert stats.chisquare(counts).pvalue > ALPHA


@pytest.mark.parametrize("edge", EDGES)
def test_private_latents_are_standard_normal_and_independent(edge):
    latents = _draw(edge, seed=4)
    m_x, m_t = np.asarray(latents.m_x), np.asarray(latents.m_t)
    for column in np.concatenate([m_x, m_t], axis=1).T:
        assert stats.kstest(column, "norm").pvalue > ALPHA
    private = np.concatenate([m_x, m_t], axis=1)
    rest = np.concatenate([latents.z_x, latents.z_t], axis=1)
    # Values and squares: dependence through the scale has no correlation of its own.
    everything = np.concatenate([private, rest, private**2, rest**2], axis=1)
    correlation = np.corrcoef(everything.T)
    coupled = slice(4, 10), slice(14, 20)
    for own in [*range(4), *range(10, 14)]:
        others = [correlation[own, block] for block in coupled]
        others += [correlation[own, k] for k in range(4) if k != own % 10]
        assert np.max(np.abs(np.hstack(others))) < 4.5 / N**0.5


def test_shapes_and_precision():
    latents = _draw("mixture", private_dim=0)
    assert Latents(*(block.shape for block in latents)) == Latents((N, 3), (N, 3), (N, 0), (N, 0))
    assert all(block.dtype == jnp.float32 for block in latents)


def test_a_key_is_a_draw():
    one, same, other = (_draw("x_to_t", seed) for seed in (7, 7, 8))
    for a, b, c in zip(one, same, other, strict=True):
        np.testing.assert_array_equal(a, b)
        assert np.all(np.mean(a == c) < 0.01)

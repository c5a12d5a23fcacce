"""Samplers against their densities, densities against SciPy, one table for all of them.

Keys are fixed, so a test that passes once passes always; a wrong law is off by far more than ALPHA.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, special, stats

from mmjax.conditionals import make_conditional, make_marginal, make_noise
from mmjax.conditionals.vmf import log_normaliser
from mmjax.spaces import box, euclidean, make_space, sphere

DIMS = (2, 3, 5, 10)
KAPPAS = (0.0, 0.5, 10.0, 1e4)
SCALES = (1e-3, 0.1, 1.0, 100.0)
ALPHA = 1e-6  # for hundreds of tests: chance alone fails none of them
N = 4096


def _conditional(name, space, *, kappa=10.0, scale=0.1, p=3.0):
    return make_conditional(name, space, kappa=kappa, scale=scale, p=p)


def _log_normaliser(dim, kappa):
    """log C_d(kappa) by the Bessel function; the reciprocal of the area at 0."""
    if kappa == 0:
        return -sphere(dim).log_volume
    order = dim / 2 - 1
    log_bessel = np.log(special.ive(order, kappa)) + kappa
    return order * np.log(kappa) - dim / 2 * np.log(2 * np.pi) - log_bessel


def _angle_cdf(dim, kappa):
    reach = np.pi if kappa < 100 else 40 / kappa**0.5
    angle = np.linspace(0, reach, 20_001)
    equator = 2 * np.pi ** ((dim - 1) / 2) / special.gamma((dim - 1) / 2)
    density = np.exp(_log_normaliser(dim, kappa) + kappa * np.cos(angle)) * equator
    cdf = integrate.cumulative_simpson(density * np.sin(angle) ** (dim - 2), x=angle, initial=0)
    assert abs(cdf[-1] - 1) < 1e-6
    return lambda a: np.interp(a, angle, cdf)


def _to_first_axis(z, points):
    """The reflection that takes each z to the first axis, applied to each point."""
    mirror = z - np.eye(z.shape[1])[0]
    mirror = mirror / np.linalg.norm(mirror, axis=1, keepdims=True)
    return points - 2 * mirror * np.sum(mirror * points, axis=1, keepdims=True)


@pytest.mark.parametrize("kappa", KAPPAS)
@pytest.mark.parametrize("dim", DIMS)
def test_vmf_angle_and_direction(dim, kappa):
    """The angle to z has its law, and the direction around z prefers none."""
    z = sphere(dim).uniform(jax.random.key(0), N)
    z_to = _conditional("vmf", sphere(dim), kappa=kappa).sample(jax.random.key(1), z)
    assert np.all(sphere(dim).contains(z_to))
    z, z_to = np.asarray(z, np.float64), np.asarray(z_to, np.float64)
    # By the chord: the cosine of a small angle has lost it.
    angle = 2 * np.arcsin(np.clip(np.linalg.norm(z - z_to, axis=1) / 2, 0, 1))
    assert stats.kstest(angle, _angle_cdf(dim, kappa)).pvalue > ALPHA
    tangent = _to_first_axis(z, z_to)[:, 1:]
    if dim == 2:
        assert stats.binomtest(int((tangent > 0).sum()), N).pvalue > ALPHA
        return
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    law = stats.beta((dim - 2) / 2, (dim - 2) / 2, loc=-1, scale=2)
    for column in tangent.T:
        assert stats.kstest(column, law.cdf).pvalue > ALPHA


@pytest.mark.parametrize("kappa", (*KAPPAS, 1e-3, 300.0))
@pytest.mark.parametrize("dim", (*DIMS, 50))
def test_vmf_normaliser_is_the_bessel_function(dim, kappa):
    if special.ive(dim / 2 - 1, kappa) < 1e-290 and kappa > 0:
        pytest.skip("the Bessel function underflows")
    np.testing.assert_allclose(
        log_normaliser(dim, kappa), _log_normaliser(dim, kappa), rtol=1e-9, atol=1e-6
    )


@pytest.mark.parametrize("kappa", KAPPAS[1:])
@pytest.mark.parametrize("dim", DIMS)
def test_vmf_log_density_is_that_of_scipy(dim, kappa):
    z = np.asarray(sphere(dim).uniform(jax.random.key(0), 16))
    got = _conditional("vmf", sphere(dim), kappa=kappa).log_density(jnp.asarray(z[::-1]), z)
    want = [
        stats.vonmises_fisher(mu / np.linalg.norm(mu), kappa).logpdf(x / np.linalg.norm(x))
        for x, mu in zip(z[::-1].astype(float), z.astype(float), strict=True)
    ]
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-5 + 2e-6 * kappa)


def _orthogonal(seed, dim):
    return stats.ortho_group(dim, seed=seed).rvs().astype(np.float32)


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(DIMS), st.floats(0, 1e4), st.integers(0, 2**31))
def test_vmf_density_is_invariant(dim, kappa, seed):
    """Turning or mirroring both points leaves p(z_to | z) as it is."""
    vmf = _conditional("vmf", sphere(dim), kappa=kappa)
    z, z_to = np.asarray(sphere(dim).uniform(jax.random.key(seed), 16)).reshape(2, 8, dim)
    turn = _orthogonal(seed, dim)
    turned = vmf.log_density(jnp.asarray(z_to @ turn), jnp.asarray(z @ turn))
    kept = vmf.log_density(jnp.asarray(z_to), jnp.asarray(z))
    np.testing.assert_allclose(turned, kept, rtol=1e-6, atol=1e-5 + 2e-6 * kappa)


# name -> (conditional, exponent, law of one coordinate's noise)
NOISES = {
    "laplace": ("laplace", 1.0, lambda s: stats.laplace(scale=s)),
    "normal": ("normal", 2.0, lambda s: stats.norm(scale=s / 2**0.5)),
    "p1.5": ("generalised_normal", 1.5, lambda s: stats.gennorm(1.5, scale=s)),
    "p3": ("generalised_normal", 3.0, lambda s: stats.gennorm(3.0, scale=s)),
}


# A Latin square: every noise meets every dimension and every scale once.
LATIN = [
    (noise, DIMS[(row + column) % 4], scale)
    for row, noise in enumerate(NOISES)
    for column, scale in enumerate(SCALES)
]


def _noisy(noise, space, scale):
    name, p, law = NOISES[noise]
    return _conditional(name, space, scale=scale, p=p), law(scale)


def _check_coordinates(z_to, cdf):
    for k, column in enumerate(np.asarray(z_to, np.float64).T):
        assert stats.kstest(column, lambda x, k=k: cdf(x, k)).pvalue > ALPHA, f"coordinate {k}"


@pytest.mark.parametrize("noise, dim, scale", LATIN)
def test_truncated_to_the_box(noise, dim, scale):
    """Each coordinate has its truncated law, in the middle, near a face and on one."""
    conditional, law = _noisy(noise, box(dim), scale)
    z = np.resize([1.0, 0.5, 0.0, 0.97, 0.2, 0.003], dim).astype(np.float32)
    rows = jnp.broadcast_to(z, (N, dim))
    z_to = conditional.sample(jax.random.key(2), rows)
    assert z_to.min() >= 0 and z_to.max() <= 1
    below, above = law.cdf(-z.astype(float)), law.cdf(1 - z.astype(float))
    _check_coordinates(z_to, lambda x, k: (law.cdf(x - z[k]) - below[k]) / (above - below)[k])
    got = conditional.log_density(z_to[:64], rows[:64])
    dz = np.asarray(z_to[:64], np.float64) - z
    np.testing.assert_allclose(
        got, np.sum(law.logpdf(dz) - np.log(above - below), 1), rtol=1e-3, atol=2e-3
    )
    assert np.all(conditional.log_density(rows[:64] + 2, rows[:64]) == -np.inf)


@pytest.mark.parametrize("noise, dim, scale", LATIN)
def test_unbounded(noise, dim, scale):
    conditional, law = _noisy(noise, euclidean(dim), scale)
    z = jnp.zeros((N, dim))
    z_to = conditional.sample(jax.random.key(3), z)
    _check_coordinates(z_to, lambda x, k: law.cdf(x))
    assert np.max(np.abs(np.corrcoef(np.asarray(z_to).T) - np.eye(dim))) < 5 / N**0.5
    got = conditional.log_density(z_to[:64] + 1, z[:64] + 1)
    dz = np.asarray(z_to[:64] + 1, np.float64) - 1
    np.testing.assert_allclose(got, np.sum(law.logpdf(dz), 1), rtol=1e-4, atol=1e-4)


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(sorted(NOISES)), st.permutations(range(3)), st.integers(0, 7))
def test_product_noise_is_equivariant(noise, order, signs):
    """Distance-based noise does not know the names of the axes, nor their signs."""
    flips = np.array([1 - 2 * (signs >> k & 1) for k in range(3)], np.float32)
    points = np.random.default_rng(signs).normal(size=(2, 8, 3)).astype(np.float32)
    moved = flips * points[..., order]
    for space in (euclidean(3), box(3, low=-1, high=1)):
        conditional = _noisy(noise, space, 0.5)[0]
        turned = conditional.log_density(*space.project(moved))
        kept = conditional.log_density(*space.project(points))
        np.testing.assert_allclose(turned, kept, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("noise", NOISES)
def test_noise_functions(noise, scale):
    """The CDF is SciPy's, and its inverse inverts it, symmetrically."""
    _, p, law = NOISES[noise]
    made = make_noise(p=p, scale=scale)
    x = np.linspace(-3, 3, 61) * scale
    g = made.centred_cdf(jnp.asarray(x, jnp.float32))
    np.testing.assert_allclose(g, law(scale).cdf(x) - 0.5, atol=1e-6)
    g = jnp.linspace(-0.49, 0.49, 61)
    np.testing.assert_allclose(made.centred_cdf(made.centred_icdf(g)), g, atol=2e-6)
    np.testing.assert_allclose(made.centred_icdf(-g), -made.centred_icdf(g))


UNIT = {"centre": 0.0, "inside": 0.6, "on_border": 1.0}


def _numpy_uniform_ball(rng, n, dim):
    direction = rng.normal(size=(n, dim))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    return direction * rng.uniform(size=(n, 1)) ** (1 / dim)


def _weighted_ball_points(law, z, scale, n=40_000):
    """Points of the ball with weights whose mean is the mass, for importance sampling."""
    rng, dim = np.random.default_rng(0), len(z)
    if scale >= 1:
        points = _numpy_uniform_ball(rng, n, dim)
        volume = np.exp(make_space("ball", dim).log_volume)
        return points, np.exp(np.sum(law.logpdf(points - z), 1)) * volume
    points = z + law.rvs(size=(n, dim), random_state=rng)
    return points, (np.linalg.norm(points, axis=1) <= 1).astype(float)


def _point_of_ball(dim, where):
    """On an axis: there all other coordinates are 0, the hard case of the mass."""
    return (UNIT[where] * np.eye(dim)[0]).astype(np.float32)


# (noise, dim, scale, where z is): every dimension, noise and scale
BALL = [
    ("laplace", 2, 0.1, "inside"),
    ("normal", 3, 1.0, "on_border"),
    ("p1.5", 5, 0.1, "on_border"),
    ("p3", 10, 100.0, "inside"),
    ("laplace", 3, 1e-3, "on_border"),
]


@pytest.mark.parametrize("noise, dim, scale, where", BALL)
def test_truncated_to_the_ball(noise, dim, scale, where):
    """Draws stay inside; their moments and the mass are those that importance sampling finds."""
    conditional, law = _noisy(noise, make_space("ball", dim), scale)
    z = _point_of_ball(dim, where)
    points, weights = _weighted_ball_points(law, z.astype(float), scale)
    rows = 256 if dim == 10 else 2048
    z_to = conditional.sample(jax.random.key(4), jnp.broadcast_to(z, (rows, dim)))
    assert np.max(np.linalg.norm(z_to, axis=1)) <= 1 + 1e-6
    for power in (1, 2):
        drawn = np.asarray(z_to, np.float64) ** power
        mean = np.average(points**power, axis=0, weights=weights)
        error = (weights[:, None] * (points**power - mean)).std(0) / weights.mean()
        spread = np.hypot(drawn.std(0) / rows**0.5, error / len(points) ** 0.5)
        assert np.all(np.abs(drawn.mean(0) - mean) < 4.5 * spread)
    inside, outside = jax.jit(conditional.log_density)(jnp.stack([z, z + 1.5]), jnp.stack([z, z]))
    mass = np.exp(dim * law.logpdf(0) - float(inside))
    tolerance = 4.5 * weights.std() / len(weights) ** 0.5 + 0.03 * weights.mean()
    assert abs(mass - weights.mean()) < tolerance
    assert outside == -np.inf


@pytest.mark.parametrize("dim, scale", [(2, 1e-2), (3, 1.0), (10, 1e-2), (10, 1e4)])
def test_mass_in_the_ball_is_the_noncentral_chi_square(dim, scale):
    """Exact for the Normal: |z + noise|^2 in units of its variance."""
    conditional, law = _noisy("normal", make_space("ball", dim), scale)
    z = np.stack([_point_of_ball(dim, where) for where in UNIT])
    var = scale**2 / 2
    centrality = np.maximum(np.sum(z.astype(float) ** 2, axis=1) / var, 1e-9)
    want = dim * law.logpdf(0) - stats.ncx2.logcdf(1 / var, dim, centrality)
    got = jax.jit(conditional.log_density)(jnp.asarray(z), jnp.asarray(z))
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=4e-3)


@pytest.mark.parametrize("noise, scale", [("laplace", 0.1), ("p3", 100.0)])
def test_projected_to_the_circle(noise, scale):
    """A histogram of the angle against the density integrated over each bin, and its sum is 1."""
    conditional, _ = _noisy(noise, sphere(2), scale)
    z = np.array([np.cos(0.4), np.sin(0.4)], np.float32)
    z_to = np.asarray(conditional.sample(jax.random.key(5), jnp.broadcast_to(z, (N, 2))))
    bins, fine = 40, 16
    angle = (np.arange(bins * fine) + 0.5) * 2 * np.pi / (bins * fine) - np.pi
    points = jnp.asarray(np.stack([np.cos(angle), np.sin(angle)], axis=1), jnp.float32)
    log_density = jax.jit(conditional.log_density)(points, jnp.broadcast_to(z, points.shape))
    density = np.exp(np.asarray(log_density, np.float64))
    mass = density.reshape(bins, fine).sum(1) * 2 * np.pi / (bins * fine)
    np.testing.assert_allclose(mass.sum(), 1, atol=2e-3)
    counts = np.histogram(np.arctan2(z_to[:, 1], z_to[:, 0]), bins, range=(-np.pi, np.pi))[0]
    likely = mass * N > 5
    assert np.all(counts[~likely] < 25)
    expected = mass[likely] / mass[likely].sum() * counts[likely].sum()
    assert stats.chisquare(counts[likely], expected).pvalue > ALPHA


# (noise, dim, scale, concentration of a vMF narrower than the conditional)
SPHERE = [
    ("normal", 2, 1e-3, 3e6),
    ("laplace", 3, 1e-3, 1e6),
    ("p1.5", 5, 100.0, 0.0),
    ("normal", 10, 0.1, 230.0),
    ("laplace", 10, 1.0, 0.5),
]


@pytest.mark.parametrize("noise, dim, scale, kappa", SPHERE)
def test_projected_sampler_and_density_agree(noise, dim, scale, kappa):
    """E_p[q / p] = 1 for any density q: here one narrower than p, so that the ratio is bounded.

    It fails if the sampler and the density differ, or if the density's mass is not 1.
    """
    conditional, _ = _noisy(noise, sphere(dim), scale)
    z = np.asarray(sphere(dim).project(jnp.arange(1.0, dim + 1)), np.float32)
    rows = jnp.broadcast_to(z, (N, dim))
    z_to = conditional.sample(jax.random.key(6), rows)
    assert np.all(sphere(dim).contains(z_to))
    log_p = np.asarray(jax.jit(conditional.log_density)(z_to[:1024], rows[:1024]), np.float64)
    # kappa (cos - 1) by the chord, which keeps its digits at a small angle
    chord = np.sum((np.asarray(z_to, np.float64) - z)[:1024] ** 2, axis=1)
    ratio = np.exp(_log_normaliser(dim, kappa) + kappa - 0.5 * kappa * chord - log_p)
    assert ratio.std() < 5, "the narrow density is too far off for the test to see anything"
    assert abs(ratio.mean() - 1) < 4.5 * ratio.std() / 1024**0.5 + 2e-3


MARGINALS = [
    (name, kind)
    for kind in ("box", "ball", "sphere", "euclidean")
    for name in ("uniform", "normal", "laplace")
    if (name, kind) != ("uniform", "euclidean")
]


def _cells(kind):
    """Points of the space and their weights: a quadrature rule in one or two dimensions.

    Panels end where the Laplace density has a kink: in the middle, on the axes.
    """
    nodes, weights = np.polynomial.legendre.leggauss(16)
    if kind in ("box", "euclidean"):
        middle, reach = (0.5, 0.25) if kind == "box" else (0.0, 2.5)
        line = np.concatenate([middle + reach * (nodes - 1), middle + reach * (nodes + 1)])
        return line[:, None], reach * np.tile(weights, 2)
    turn = (np.arange(4)[:, None] + 0.5 * (nodes + 1)).ravel() * np.pi / 2
    circle = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    arc = np.tile(weights, 4) * np.pi / 4
    if kind == "sphere":
        return circle, arc
    radius = 0.5 * (nodes + 1)
    points = radius[:, None, None] * circle
    return points.reshape(-1, 2), np.outer(0.5 * weights * radius, arc).ravel()


@pytest.mark.parametrize("name, kind", MARGINALS)
def test_marginal_density_and_sampler(name, kind):
    """The density integrates to 1, and to the same moments as the draws have."""
    points, weights = _cells(kind)
    space = make_space(kind, points.shape[1])
    marginal = make_marginal(name, space, scale=0.4)
    log_density = jax.jit(marginal.log_density)(jnp.asarray(points, jnp.float32))
    mass = weights * np.exp(log_density)
    np.testing.assert_allclose(mass.sum(), 1, atol=4e-3)
    drawn = np.asarray(marginal.sample(jax.random.key(7), N), np.float64)
    assert np.all(space.contains(drawn))
    for moment in (lambda x: x, lambda x: x**2, lambda x: x**4):
        want = mass @ moment(points)
        spread = moment(drawn).std(0) / N**0.5
        assert np.all(np.abs(moment(drawn).mean(0) - want) < 4.5 * spread + 4e-3 * np.abs(want))


def test_uniform_marginal_has_no_mass_outside():
    marginal = make_marginal("uniform", sphere(3), scale=1.0)
    np.testing.assert_allclose(marginal.log_density(jnp.eye(3)), -np.log(4 * np.pi), rtol=1e-6)
    assert np.all(marginal.log_density(2 * jnp.eye(3)) == -np.inf)


_ALIKE = [
    (name, kind) for name in ("normal", "generalised_normal") for kind in ("euclidean", "sphere")
]
_ALIKE += [("normal", "ball"), ("generalised_normal", "ball")]
# The slow rows run the code of another row with another exponent.
EVERYWHERE = [("vmf", "sphere")] + [
    pytest.param(name, kind, marks=[pytest.mark.slow] if (name, kind) in _ALIKE else [])
    for kind in ("euclidean", "box", "ball", "sphere")
    for name in ("laplace", "normal", "generalised_normal")
]


def _rows(kind):
    """[2, 4, 2] points of the space: its middle or pole, and others."""
    space = make_space(kind, 2)
    spread = jnp.asarray([(0, 0), (0.3, 0.1), (1, 0), (0.6, 0.8)], jnp.float32)
    return space, jnp.stack([space.project(spread)] * 2)


@pytest.mark.parametrize("name, kind", EVERYWHERE)
def test_compiled_and_mapped_draws_are_the_same(name, kind):
    space, z = _rows(kind)
    conditional = _conditional(name, space)
    keys = jax.random.split(jax.random.key(8), 2)
    mapped = jax.jit(jax.vmap(conditional.sample))(keys, z)
    assert mapped.dtype == jnp.float32 and np.all(space.contains(mapped))
    one_by_one = [conditional.sample(key, rows) for key, rows in zip(keys, z, strict=True)]
    np.testing.assert_allclose(mapped, np.stack(one_by_one), atol=2e-6)
    assert not np.allclose(mapped[0], mapped[1])


# The extremes of the parameters; p = 1 has a kink at zero distance.
EXTREMES = [("vmf", "sphere", 0.0), ("vmf", "sphere", 1e4)] + [
    ("laplace", kind, 1e-3) for kind in ("euclidean", "box", "ball", "sphere")
]


@pytest.mark.parametrize("name, kind, extreme", EXTREMES)
def test_density_is_finite_with_finite_gradient(name, kind, extreme):
    """At z_to = z, where the distance is zero, and elsewhere."""
    space, z = _rows(kind)
    z, z_to = z[0], z[0].at[2:].set(z[0, :2])
    conditional = _conditional(name, space, kappa=extreme, scale=extreme or 1.0)

    @jax.jit
    def value_and_gradients(z_to, z):
        value, pull = jax.vjp(conditional.log_density, z_to, z)
        return value, *pull(jnp.ones_like(value))

    for part in value_and_gradients(z_to, z):
        assert np.all(np.isfinite(part))


@pytest.mark.parametrize("name, kind", EVERYWHERE)
def test_precision_follows_the_input(name, kind):
    space, z = _rows(kind)
    with jax.enable_x64(True):
        conditional = _conditional(name, space)
        wide = jax.ShapeDtypeStruct((4, 2), jnp.float64)
        # Traced, not run: the dtype costs no compilation.
        assert jax.eval_shape(conditional.sample, jax.random.key(0), wide).dtype == jnp.float64
        assert jax.eval_shape(conditional.log_density, wide, wide).dtype == jnp.float64
    narrow = jax.ShapeDtypeStruct((4, 2), jnp.float32)
    log_density = _conditional(name, space).log_density
    assert jax.eval_shape(log_density, narrow, narrow).dtype == jnp.float32

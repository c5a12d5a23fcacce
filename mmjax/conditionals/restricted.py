"""Product noise around a point, restricted to a space: the distance-based conditionals.

Euclidean space leaves it as it is; the box and the ball truncate it, exactly; the sphere projects
it along rays through the origin. Each function takes (space, noise) and returns a Conditional.
"""

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.conditionals.base import Conditional
from mmjax.conditionals.noise import Noise
from mmjax.errors import choose
from mmjax.spaces import Space
from mmjax.types import Array

_BALL_BINS = 1024
_BALL_QUANTILES = 256
_RADIAL_NODES = 400


def _unbounded(space: Space, noise: Noise) -> Conditional:
    def sample(key, z):
        return z + noise.sample(key, z.shape)

    def log_density(z_to, z):
        return jnp.sum(noise.log_pdf(z_to - z), axis=-1)

    return Conditional(sample, log_density)


def _sample_in_box(key, z, noise: Noise, low: float, high: float) -> Array:
    """Each coordinate truncated to [low, high] by inverting its CDF."""
    below, above = noise.centred_cdf(low - z), noise.centred_cdf(high - z)
    g = below + jax.random.uniform(key, z.shape, z.dtype) * (above - below)
    return jnp.clip(z + noise.centred_icdf(g), low, high)


def _log_box_mass(z, noise: Noise, low: float, high: float) -> Array:
    return jnp.log(noise.centred_cdf(high - z) - noise.centred_cdf(low - z))


def _truncated_to_box(space: Space, noise: Noise) -> Conditional:
    low, high = space.low, space.high

    def sample(key, z):
        return _sample_in_box(key, z, noise, low, high)

    def log_density(z_to, z):
        per_axis = noise.log_pdf(z_to - z) - _log_box_mass(z, noise, low, high)
        return jnp.where(space.contains(z_to), jnp.sum(per_axis, axis=-1), -jnp.inf)

    return Conditional(sample, log_density)


def _log_ball_mass(z, noise: Noise) -> Array:
    """log P(|z + noise|^2 <= 1) for one point `[dim]`: the law of a sum of independent squares.

    Each coordinate's square is binned on [0, 1] from the exact CDF; the sum's law is the product
    of Fourier transforms, long enough not to wrap around. Relative error below 4e-3 for noise at
    least 1e-2 wide (against the noncentral chi-square).
    """
    dim = z.shape[-1]
    edges = jnp.sqrt(jnp.linspace(0.0, 1.0, _BALL_BINS + 1))[:, None]
    inside = noise.centred_cdf(edges - z) - noise.centred_cdf(-edges - z)  # P(|z_i + n_i| <= edge)
    mass = jnp.diff(inside, axis=0)  # [bins, dim]
    in_box = jnp.sum(mass, axis=0)  # divided out: a product of wide densities would underflow
    length = 2 ** int(np.ceil(np.log2(dim * _BALL_BINS)))
    spectrum = jnp.prod(jnp.fft.rfft(mass / in_box, n=length, axis=0), axis=1)
    total = jnp.cumsum(jnp.fft.irfft(spectrum, n=length))
    # A sum of k-th bins stands at (k + offset) / bins. Each summand sits mid-bin where the noise is
    # wider than a bin, but near its bin's lower edge where narrow noise surrounds 0; so the places
    # of the quantiles of the noise are averaged. Half of the bin on the border lies inside.
    below, above = noise.centred_cdf(-1 - z), noise.centred_cdf(1 - z)
    levels = (jnp.arange(_BALL_QUANTILES) + 0.5)[:, None] / _BALL_QUANTILES
    places = _BALL_BINS * (z + noise.centred_icdf(below + levels * (above - below))) ** 2
    cut = _BALL_BINS - jnp.sum(jnp.mean(places - jnp.floor(places), axis=0))
    in_ball = jnp.interp(cut - 0.5, jnp.arange(length), total)
    return jnp.sum(jnp.log(in_box)) + jnp.log(jnp.maximum(in_ball, 1e-30))


def _truncated_to_ball(space: Space, noise: Noise) -> Conditional:
    """Rejection from the box around the ball: exact, and bounded effort however wide the noise."""

    def sample(key, z):
        def propose(state):
            key, z_to, done = state
            key, draw_key = jax.random.split(key)
            fresh = _sample_in_box(draw_key, z, noise, space.low, space.high)
            z_to = jnp.where(done[:, None], z_to, fresh)
            return key, z_to, done | ~(jnp.sum(fresh * fresh, axis=-1) > 1)  # NaN ends the loop too

        undone = jnp.zeros(z.shape[0], bool)
        return jax.lax.while_loop(lambda s: ~jnp.all(s[2]), propose, (key, z, undone))[1]

    def log_density(z_to, z):
        log_mass = jax.vmap(lambda point: _log_ball_mass(point, noise))(z)
        log_pdf = jnp.sum(noise.log_pdf(z_to - z), axis=-1) - log_mass
        return jnp.where(space.contains(z_to), log_pdf, -jnp.inf)

    return Conditional(sample, log_density)


def _projected_to_sphere(space: Space, noise: Noise) -> Conditional:
    """Noise in R^dim, then projection: p(u | z) = integral of r^(dim-1) f(r u - z) over r > 0."""
    dim = space.dim
    nodes, weights = np.polynomial.legendre.leggauss(_RADIAL_NODES)

    def log_integrand(r, u, z):
        return jnp.sum(noise.log_pdf(r[..., None] * u - z), axis=-1) + (dim - 1) * jnp.log(r)

    def log_density_one(u, z):
        # The noise term is concave in r, so its mode is where a bisection on the slope ends; the
        # integrand falls off from there at least like exp(-(|r - mode| |u| / scale)^p / ...).
        slope = jax.grad(lambda r: jnp.sum(noise.log_pdf(r * u - z)))

        def halve(_, bounds):
            low, high = bounds
            middle = 0.5 * (low + high)
            rising = slope(middle) > 0
            return jnp.where(rising, middle, low), jnp.where(rising, high, middle)

        start = (jnp.zeros((), u.dtype), jnp.asarray(float(np.sqrt(dim)) + 1.0, u.dtype))
        mode = jax.lax.fori_loop(0, 40, halve, start)[0]
        reach = noise.scale * (dim + 30.0) ** (1 / noise.p) * dim**0.5
        low = jnp.maximum(mode - reach, 0.0)

        # Two panels that meet at the mode, where the p = 1 integrand has a kink.
        def panel(a, b):
            r = a + 0.5 * (b - a) * (jnp.asarray(nodes, u.dtype) + 1)
            log_w = jnp.log(0.5 * jnp.maximum(b - a, 1e-30)) + jnp.log(
                jnp.asarray(weights, u.dtype)
            )
            return jax.nn.logsumexp(log_integrand(jnp.maximum(r, 1e-30), u, z) + log_w)

        return jnp.logaddexp(panel(low, mode), panel(mode, mode + reach))

    def sample(key, z):
        return space.project(z + noise.sample(key, z.shape))

    def log_density(z_to, z):
        return jax.vmap(log_density_one)(z_to, z)

    return Conditional(sample, log_density)


_RESTRICTIONS = {
    "euclidean": _unbounded,
    "box": _truncated_to_box,
    "ball": _truncated_to_ball,
    "sphere": _projected_to_sphere,
}


def restricted(space: Space, noise: Noise) -> Conditional:
    """Noise around z_from, restricted to the space (a new space adds one row to the table).

    Example:
      >>> import jax
      >>> from mmjax.conditionals.noise import make_noise
      >>> from mmjax.spaces import box
      >>> laplace = restricted(box(2), make_noise(p=1.0, scale=0.1))
      >>> z = jax.numpy.full((5, 2), 0.9)
      >>> bool(box(2).contains(laplace.sample(jax.random.key(0), z)).all())
      True
    """
    return choose(_RESTRICTIONS, "space", space.kind)(space, noise)

"""Conditionals p(z_to | z_from) and marginals p(z). A new coupling is one function and one row."""

import jax.numpy as jnp

from mmjax.conditionals.base import Conditional, Marginal
from mmjax.conditionals.noise import Noise, make_noise
from mmjax.conditionals.restricted import restricted
from mmjax.conditionals.vmf import von_mises_fisher
from mmjax.errors import choose, one_of, require
from mmjax.spaces import Space


def _vmf(space, kappa, scale, p):
    return von_mises_fisher(space, kappa=kappa)


def _laplace(space, kappa, scale, p):
    return restricted(space, make_noise(p=1.0, scale=scale))


def _normal(space, kappa, scale, p):
    return restricted(space, make_noise(p=2.0, scale=scale))


def _generalised_normal(space, kappa, scale, p):
    return restricted(space, make_noise(p=p, scale=scale))


CONDITIONALS = {
    "vmf": _vmf,
    "laplace": _laplace,
    "normal": _normal,
    "generalised_normal": _generalised_normal,
}


def make_conditional(
    name: str, space: Space, *, kappa: float, scale: float, p: float = 3.0
) -> Conditional:
    """The conditional of that name on the space.

    Args:
      name: vmf (sphere only), laplace, normal or generalised_normal.
      space: where both ends live; noise is truncated to a convex body, projected to the sphere.
      kappa: concentration of the vMF, 0 to 1e4; other conditionals ignore it.
      scale: width s of exp(-|dz / s|_p^p), > 0; for the Normal, sqrt(2) standard deviations.
      p: exponent of the generalised normal, >= 1; other conditionals ignore it.

    Raises InvalidInput for an unknown name, a parameter out of range or a space where it makes no
    sense.
    """
    return choose(CONDITIONALS, "conditional", name)(space, kappa, scale, p)


MARGINALS = ("uniform", "normal", "laplace")


def make_marginal(name: str, space: Space, *, scale: float) -> Marginal:
    """p(z): uniform, or Normal / Laplace noise around the centre of the space.

    Args:
      name: uniform, normal or laplace.
      space: noise is truncated to a convex body and projected to the sphere.
      scale: width of the noise, as in make_conditional; uniform ignores it.

    Raises InvalidInput for an unknown name, or uniform on unbounded space.
    """
    require(name in MARGINALS, "marginal", name, one_of(MARGINALS, name))
    if name == "uniform":
        uniform = space.uniform
        require(uniform is not None, "marginal", name, f"normal or laplace on {space.kind}")
        assert uniform is not None  # for type checkers

        def log_density(z):
            return jnp.where(space.contains(z), -space.log_volume, -jnp.inf)

        return Marginal(uniform, log_density)
    around = restricted(space, make_noise(p={"laplace": 1.0, "normal": 2.0}[name], scale=scale))

    def centre(n):
        return jnp.full((n, space.dim), space.centre)

    return Marginal(
        sample=lambda key, n: around.sample(key, centre(n)),
        log_density=lambda z: around.log_density(z, centre(z.shape[0])),
    )


__all__ = [
    "CONDITIONALS",
    "MARGINALS",
    "Conditional",
    "Marginal",
    "Noise",
    "make_conditional",
    "make_marginal",
    "make_noise",
    "restricted",
    "von_mises_fisher",
]

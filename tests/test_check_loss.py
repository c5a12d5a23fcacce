"""check_loss: our losses and a user's pass, broken ones are caught by the property they break."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax import losses
from mmjax.errors import InvalidInput
from mmjax.losses import LOSSES, Loss
from mmjax.testing import check_loss

FUSED = dict(modalities=("x", "t", "joint"))
VIEWS = dict(needs=("views", "ids"))
LABELS = dict(needs=("labels",))
STOPS = dict(stops_gradients=True)  # FactorCL's critics learn from a term of their own
# name -> (options of the loss, of the check); what singles a modality out names it.
CASES = {
    "info_nce": (dict(learn_temperature=True), dict(needs=("ids",))),
    "info_nce, box": (dict(similarity="l1"), {}),
    "info_nce, first": (dict(pairs="first", first="t"), dict(modalities=("x", "t", "y"))),
    "cross": ({}, dict(modalities=("x", "t", "y"))),
    "cmc": ({}, {}),
    "siglip": ({}, dict(needs=("ids",))),
    "nt_xent": (dict(learn_temperature=True), VIEWS),
    "simclr": ({}, VIEWS),
    "cross_self": ({}, VIEWS),
    "slip": (dict(modality="t"), VIEWS),
    "supcon": ({}, dict(needs=("labels", "ids"))),
    "comm": ({}, FUSED | VIEWS),
    "comm_of_paper": ({}, FUSED | VIEWS),
    "factor_cl": (dict(projected=2, hidden=4), VIEWS | STOPS),
    "factor_cl_supervised": (dict(classes=2, projected=2, hidden=4), LABELS | STOPS),
}
QUICK = ("info_nce",)


def test_every_loss_is_checked():
    assert {name.split(",")[0] for name in CASES} == set(LOSSES)


@pytest.mark.parametrize(
    "case", [c if c in QUICK else pytest.param(c, marks=pytest.mark.slow) for c in CASES]
)
def test_every_loss_passes(case):
    options, how = CASES[case]
    found = check_loss(LOSSES[case.split(",")[0]](**options), **how)
    assert found.absent_rows == "left out"
    assert found.devices == 8
    # FactorCL's critics score all pairs, as published.
    assert found.memory == ("O(N^2)" if "factor" in case else "O(N)")
    assert max(found.device_error, found.row_error) < 1e-4
    assert np.isnan(found.gradient_error) if "factor" in case else found.gradient_error < 1e-4
    first, *rest = str(found).splitlines()
    assert first.startswith("passes all checks; what was compared, and how far apart")
    assert len(rest) == 9 and "left out" in str(found)


def barlow_twins(params, z, context):
    """Zbontar et al. 2021, across modalities."""
    a, b = (context.gather(v.astype(jnp.float32)) for v in z.values())
    unit = lambda v: (v - v.mean(0)) / jnp.sqrt(v.var(0) + 1e-4)
    c = unit(a).T @ unit(b) / len(a)
    return jnp.sum(jnp.where(jnp.eye(len(c)), (1 - c) ** 2, 0.005 * c**2)), {}


def _own(value):
    return Loss(lambda key, dim: {}, value)


def test_a_loss_written_by_hand_passes():
    found = check_loss(_own(barlow_twins))
    assert found.absent_rows == "not left out" and found.memory == "O(N)"


def _pulls(z):
    return jnp.sum((z["x"] - z["t"]).astype(jnp.float32) ** 2, axis=1)


def _all_pairs(z, candidates):
    x, t = z["x"].astype(jnp.float32), candidates.astype(jnp.float32)
    return jax.nn.logsumexp(x @ t.T, axis=1) - jnp.sum(x * z["t"].astype(jnp.float32), axis=1)


def _rough(z):
    far = _pulls(z)
    return jnp.mean(far - jax.lax.stop_gradient(far) / 2)


def _named(z):
    return jnp.mean(_pulls(z)) + jnp.mean(next(iter(z.values())).astype(jnp.float32))


def _narrow(z):
    return jnp.mean(z["x"] * z["t"]) + jnp.mean(_pulls(z)).astype(z["x"].dtype)


def _drawn(z):
    return jnp.mean(_pulls(z)) * float(np.random.default_rng().random())


def _leaking(z, context):
    there = context.present.get("x", jnp.ones(len(z["x"]), bool))
    return jnp.sum(_pulls(z) * there) / len(there)


# name -> (property that catches it, told, loss)
BROKEN = {
    "forgets to gather": (
        "devices: .* context.gather",
        lambda p, z, c: (jnp.mean(_all_pairs(z, z["t"])), {}),
    ),
    "detaches other devices' rows": (
        "devices: .* gradients are .* apart",
        lambda p, z, c: (
            jnp.mean(_all_pairs(z, _detached_elsewhere(z["t"], c))),
            {},
        ),
    ),
    "sums over rows": (
        "devices: .* take the mean over rows",
        lambda p, z, c: (jnp.sum(_pulls(z)), {}),
    ),
    "depends on the order of rows": (
        "rows: .* in one order",
        lambda p, z, c: (jnp.mean(_pulls({"x": z["x"], "t": jnp.roll(z["t"], 1, 0)})), {}),
    ),
    "depends on the order of names": ("names: ", lambda p, z, c: (_named(z), {})),
    "NaN at identical rows": (
        "finite: at identical rows its gradient",
        lambda p, z, c: (jnp.mean(jnp.sqrt(_pulls(z))), {}),
    ),
    "wrong gradient": ("gradient: ", lambda p, z, c: (_rough(z), {})),
    "narrow sums": ("dtypes: .* bfloat16", lambda p, z, c: (_narrow(z), {})),
    "draws by itself": ("jit: .* no random numbers", lambda p, z, c: (_drawn(z), {})),
    "absent rows leak": ("absent rows: .*NaN", lambda p, z, c: (_leaking(z, c), {})),
    "reads nothing": ("gradient: it is 0 of every", lambda p, z, c: (jnp.float32(1.0), {})),
    "a scalar alone": ("value: it must return", lambda p, z, c: jnp.mean(_pulls(z))),
    "a vector": ("value: it must return", lambda p, z, c: (_pulls(z), {})),
}


def _detached_elsewhere(t, context):
    every = context.gather(t)
    place = losses.row_ids(len(t), context.gather)
    return jax.lax.stop_gradient(every).at[place].set(t)


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_loss_is_caught_by_what_it_breaks(name):
    told, value = BROKEN[name]
    with pytest.raises(AssertionError, match=f"^check_loss: {told}") as error:
        check_loss(_own(value), memory=False)
    lines = str(error.value).splitlines()
    assert all(re.match("check_loss: [a-z ]+: .+", line) for line in lines)


def test_all_that_a_loss_breaks_is_told_at_once():
    wrong = lambda p, z, c: (jnp.sum(jnp.sqrt(_pulls(z))), {})
    with pytest.raises(AssertionError) as error:
        check_loss(_own(wrong), memory=False)
    properties = [line.split(": ")[1] for line in str(error.value).splitlines()]
    assert properties == ["devices", "finite"]
    apart = lambda x: jnp.sqrt(jnp.sum((x[:, None] - x[None]) ** 2, axis=-1))
    nowhere = lambda p, z, c: (jnp.mean(apart(z["x"].astype(jnp.float32))), {})
    with pytest.raises(AssertionError) as error:
        check_loss(_own(nowhere), memory=False)
    lines = str(error.value).splitlines()
    assert lines[0].startswith(
        "check_loss: finite: of normal embeddings its gradient is not finite"
    )
    assert [line.split(": ")[1] for line in lines] == ["finite", "devices"]


def test_all_pairs_at_once_are_told_as_quadratic():
    found = check_loss(_own(lambda p, z, c: (jnp.mean(_all_pairs(z, c.gather(z["t"]))), {})))
    assert found.memory == "O(N^2)" and found.bytes[1] > 10 * found.bytes[0]


def test_without_devices_that_divide_the_rows_a_mapped_axis_stands_for_them():
    found = check_loss(_own(barlow_twins), batch=9, memory=False)
    assert found.devices == 3 and found.memory == "not measured"
    with pytest.raises(AssertionError, match="devices: "):
        check_loss(_own(BROKEN["forgets to gather"][1]), batch=9, memory=False)


def test_bad_use():
    with pytest.raises(InvalidInput, match="needs: "):
        check_loss(losses.cross(), needs=("view",))
    with pytest.raises(InvalidInput, match="batch: 2"):
        check_loss(losses.cross(), batch=2)
    with pytest.raises(InvalidInput, match="views: 0"):
        check_loss(losses.nt_xent())

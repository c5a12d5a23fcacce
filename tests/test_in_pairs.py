"""in_pairs: a loss of two embeddings goes wherever a Loss goes, a fusion among them."""

from functools import partial
from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mmjax as mm
from mmjax.errors import InvalidInput
from mmjax.losses import Context, Loss, alignment, comm, cross, in_pairs
from mmjax.losses.parts import present_in
from mmjax.testing import check_loss
from tests.test_check_loss import FUSED, VIEWS, barlow_twins

KEY, ROWS = jax.random.key(0), 12
BARLOW = Loss(lambda key, dim: {}, barlow_twins)


def _nt_xent(params, z, context):
    (a, x), (b, t) = z.items()
    there = present_in(context, z, a, b)
    options = dict(gather=context.gather, ids=context.ids, present=there, temperature=0.1)
    value = alignment.nt_xent(x, t, **options)
    return value, {"value": value}


NT_XENT = Loss(lambda key, dim: {}, _nt_xent)


def _views(*names, seed=0):
    rng = np.random.default_rng(seed)
    draw = lambda: {name: jnp.asarray(rng.normal(size=(ROWS, 4))) for name in names}
    return draw(), draw()


@pytest.mark.parametrize("lacking", [False, True])
def test_of_a_fusion_it_is_comm_with_that_loss_in_infonces_place(lacking):
    views = _views("a", "b", "joint")
    there = {"a": jnp.arange(ROWS) % 3 > 0, "b": jnp.arange(ROWS) % 4 > 0} if lacking else {}
    context = Context(ids=(jnp.arange(ROWS) // 2)[:, None], present=there, views=views)
    of = lambda loss, v: loss.value({}, v[0], context._replace(views=v))[0]
    both = lambda loss: jax.jit(jax.value_and_grad(partial(of, loss)))(views)
    (value, one), (want, two) = both(in_pairs(NT_XENT)), both(comm())
    assert value == pytest.approx(float(want), rel=1e-6)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-6), one, two)


def test_of_towers_it_is_the_mean_over_pairs():
    z = _views("a", "b", "c")[0]
    there = {"b": jnp.arange(ROWS) % 3 > 0}
    context = Context(present=there)
    want = float(cross().value({}, z, context)[0])
    assert in_pairs(cross()).value({}, z, context)[0] == pytest.approx(want, rel=1e-6)
    pairs = [{k: z[k] for k in pair} for pair in combinations(z, 2)]
    want = np.mean([barlow_twins({}, pair, Context())[0] for pair in pairs])
    assert in_pairs(BARLOW).value({}, z, Context())[0] == pytest.approx(want, rel=1e-6)


def test_of_two_towers_it_is_the_loss():
    z = _views("a", "b")[0]
    value, metrics = in_pairs(NT_XENT).value({}, z, Context())
    assert value == NT_XENT.value({}, z, Context())[0] == metrics["value"]


def test_a_loss_by_hand_passes_check_loss_as_that_of_a_fusion():
    check_loss(in_pairs(BARLOW), memory=False)
    check_loss(in_pairs(BARLOW), memory=False, **FUSED | VIEWS)
    with pytest.raises(InvalidInput, match=r"barlow_twins fails .*use mmjax.losses.in_pairs"):
        check_loss(BARLOW, memory=False, **FUSED | VIEWS)
    with pytest.raises(InvalidInput, match="loss: 'function' is not allowed"):
        in_pairs(barlow_twins)


@pytest.mark.parametrize("masking", [0, 2])
def test_a_loss_by_hand_trains_a_fusion(masking):
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(80, 2))
    sides = {n: (shared @ rng.normal(size=(2, 5))).astype(np.float32) for n in ("left", "right")}
    data = mm.Dataset.from_arrays(sides, split=(0.6, 0.2, 0.2))
    fusion = mm.Fusion(tokens=2, heads=2, masking=masking)
    model = mm.fit(
        data, dim=4, key=KEY, loss=in_pairs(BARLOW), fusion=fusion, steps=3, progress=False
    )
    z = model.embed(left=sides["left"][:3], right=sides["right"][:3])
    assert z.shape == (3, 4) and np.isfinite(z).all()
    assert model.spec.about["loss"] == "barlow_twins"

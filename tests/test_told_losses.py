"""A user's loss that fails is told in one line that names it, wherever it is given."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mmjax as mm
from mmjax.errors import InvalidInput
from mmjax.losses import Context, Loss
from mmjax.losses.told import fault_of, told
from mmjax.studies import Assumptions, make_study, train_study
from mmjax.studies.fused import make_fused_study
from mmjax.studies.trifactors import TriFactorOptions, trifactor_task
from mmjax.testing import check_loss
from mmjax.train import train_one

KEY = jax.random.key(0)
NONE = lambda key, dim: {}


def own(result, init=NONE):
    def ours(params, z, context):
        return result(params, list(z.values())[0], context)

    return Loss(init, ours)


def _breaks(params, z, context):
    raise RuntimeError("no such luck\nand more")


good = lambda params, z, context: (jnp.mean(z**2), {})
# what is wrong -> (the loss, what is told, whether another error is the cause)
FAULTS = {
    "raises": (own(_breaks), r"own fails on z of .*: RuntimeError: no such luck", True),
    "shapes": (own(lambda p, z, c: (z @ z, {})), r"own fails on z of .* \[", True),
    "branches": (own(lambda p, z, c: good(p, z, c) if z.sum() > 0 else 0), "boolean conv", True),
    "context": (own(lambda p, z, c: (c.gahter(z).mean(), {})), "did you mean 'gather'", True),
    "unknown": (own(lambda p, z, c: (c.zzz, {})), "use gather, ids, present, views", True),
    "vector": (own(lambda p, z, c: (z.mean(1), {})), r"own returns float32 of shape \[", False),
    "alone": (own(lambda p, z, c: z.mean()), r"own returns float32 of shape \[\]", False),
    "nothing": (own(lambda p, z, c: None), "own returns NoneType", False),
    "whole": (own(lambda p, z, c: (jnp.int32(1), {})), "own returns int32", False),
    "metric": (own(lambda p, z, c: (z.mean(), {"wide": z})), "metric 'wide'", False),
    "init": (own(good, lambda key: {}), r"init of own fails on \(key, \d+\): TypeError", True),
    "names": (own(good, lambda k, d: {"a": "b"}), "init of own returns str; use a tree", False),
    "counts": (
        own(good, lambda k, d: {"a": jnp.ones(3, int)}),
        "init of own returns int32",
        False,
    ),
    "no loss": (good, "loss: 'function' is not allowed; use a Loss", False),
    "no functions": (Loss({}, good), "loss: init: {} is not allowed; use a function", False),
}


def fitted(loss, fusion=None):
    rng = np.random.default_rng(0)
    rows = {name: rng.normal(size=(40, 3)).astype(np.float32) for name in "ab"}
    data = mm.Dataset.from_arrays(rows, split=(0.6, 0.2, 0.2))
    return mm.fit(data, dim=4, key=KEY, loss=loss, steps=2, progress=False, fusion=fusion)


def studied(loss):
    small = dict(mixing_candidates=10, hidden=(4,), batch_size=8, steps=2, pre_steps=0)
    return train_study(make_study(Assumptions(**small), loss=loss), KEY)[0]


def fused(loss):
    options = TriFactorOptions(hidden=(4,), tokens=2, width=8, heads=2, batch_size=8, steps=1)
    task = trifactor_task(options, 1.0)[1]
    study = make_fused_study(options, task, loss, chunk_steps=1, save_every=1)
    train_one(study.recipe, study.init_params, jax.jit(task.init_constants)(KEY), KEY)


def checked(loss):
    check_loss(loss, memory=False)


PLACES = {
    "check": checked,
    "towers": fitted,
    "fusion": lambda loss: fitted(loss, mm.Fusion(tokens=2, heads=2)),
    "study": studied,
    "fused study": fused,
}


# All faults in one place, one of each kind in the others.
SOME = ("raises", "context", "vector", "init", "names", "no loss")
CASES = [(p, f) for p in PLACES for f in FAULTS if p == "check" or f in SOME]


@pytest.mark.parametrize("place, fault", CASES)
def test_a_fault_is_one_line_that_names_the_loss(place, fault):
    loss, line, caused = FAULTS[fault]
    if place == "fused study" and fault == "no loss":
        line = "method: <function"
    with pytest.raises((InvalidInput, AssertionError), match=line) as error:
        PLACES[place](loss)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(("loss: ", "check_loss: value: ", "method: "))
    if caused:
        assert not isinstance(error.value.__cause__, InvalidInput | None)


def test_what_is_told_changes_no_number():
    loss = mm.losses.siglip()
    z = {"a": jnp.eye(3), "b": jnp.ones((3, 3))}
    params = loss.init(KEY, 3)
    want = jax.make_jaxpr(lambda p: loss.value(p, z, Context()))(params)
    assert str(jax.make_jaxpr(lambda p: told(loss).value(p, z, Context()))(params)) == str(want)
    assert jax.tree.all(jax.tree.map(jnp.array_equal, told(loss).init(KEY, 3), params))


def test_an_unknown_field_is_not_guessed_at():
    assert fault_of((0.5, {"scale": 2})) == ""
    assert fault_of((np.zeros(2), {})) == "float32 of shape [2] as the scalar"


@pytest.mark.parametrize("start", [0.2, np.float64(0.2), jnp.float32(0.2)], ids="abc")
def test_a_number_is_a_parameter(start):
    loss = own(lambda p, z, c: (p["a"] * jnp.mean(z**2), {}), lambda key, dim: {"a": start})
    for params in (fitted(loss).params, studied(loss)):
        assert 0 < abs(float(params["loss"]["a"]) - 0.2) < 0.1  # it is trained

"""Losses as values: what they are made of, rows that lack a modality, bad use."""

from functools import partial
from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax import losses
from mmjax.errors import InvalidInput
from mmjax.losses import LOSSES, Context, Factors, comm_terms, cosine, info_nce, nt_xent
from mmjax.losses.factorised import club_bound, infonce_bound
from mmjax.train import collectives
from mmjax.types import Pair

ROWS, DIM, CLASSES, AXIS = 16, 3, 3, "devices"
OPTIONS = {"slip": {"modality": "x"}, "factor_cl_supervised": {"classes": CLASSES}}
SMALL = {name: {"projected": 2, "hidden": 4} for name in ("factor_cl", "factor_cl_supervised")}
every_loss = pytest.mark.parametrize("name", LOSSES)


def _loss(name):
    return LOSSES[name](**OPTIONS.get(name, {}), **SMALL.get(name, {}))


def _batch(rows=ROWS, names=("x", "t", "joint"), seed=0):
    """Two views, labels and ids, of which some agree."""
    rng = np.random.default_rng(seed)
    draw = lambda: {n: jnp.asarray(rng.normal(size=(rows, DIM)), jnp.float32) for n in names}
    ids = np.stack([np.arange(rows), 100 + np.arange(rows) // 2], 1).astype(np.int32)
    views = draw(), draw()
    return {"views": views, "labels": jnp.arange(rows) % CLASSES, "ids": jnp.asarray(ids)}


def _value(loss, params, batch, gather=lambda v: v):
    views = batch["views"]
    context = Context(
        gather, batch["ids"], batch.get("present", {}), views, batch["labels"], chunk=5
    )
    return loss.value(params, views[0], context)


def _with_slopes(loss, gather=lambda v: v):
    """`(params, batch) -> (value, gradients of the parameters and the views)`."""

    def of(params, views, batch):
        return _value(loss, params, batch | {"views": views}, gather)[0]

    return lambda params, batch: jax.value_and_grad(of, (0, 1))(params, batch["views"], batch)


def _sharded(loss):
    across = collectives(AXIS, 8)

    def one(_, params, batch):
        return _with_slopes(loss, across.gather)(params, across.shard(batch))

    def run(params, batch):
        value, (own, views) = jax.pmap(one, AXIS, in_axes=(0, None, None))(
            jnp.arange(8), params, batch
        )
        # A row's slope of the devices' mean is that of its own device's share.
        whole = lambda v: v.reshape(-1, *v.shape[2:]) / 8
        mean = lambda v: v.mean(0)
        return mean(value), (jax.tree.map(mean, own), jax.tree.map(whole, views))

    return run


def _close(ours, theirs, tolerance=2e-5):
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def _lacking(batch, present):
    """The batch with NaN wherever a row lacks the modality."""
    fill = lambda n, v: jnp.where(present[n][:, None], v, jnp.nan) if n in present else v
    views = tuple({n: fill(n, v) for n, v in view.items()} for view in batch["views"])
    return batch | {"views": views, "present": present}


# Of the eight devices' rows by two: the first and last devices have none.
THERE = np.array([0, 0, 1, 1, 0, 1, 1, 0, 1, 1, 1, 1, 1, 0, 0, 0], bool)


@every_loss
def test_absent_rows_are_as_if_they_were_not_in_the_batch(name):
    """Value and gradient, on one device and on eight, where two devices hold no row that counts."""
    loss, batch = _loss(name), _batch()
    params = loss.init(jax.random.key(0), DIM)
    kept = jax.tree.map(lambda v: v[THERE], batch)
    value, (own, views) = jax.jit(_with_slopes(loss))(params, kept)
    back = lambda v: jnp.zeros((ROWS, DIM)).at[np.flatnonzero(THERE)].set(v)
    want = value, (own, jax.tree.map(back, views))
    lacking = _lacking(batch, {"x": jnp.asarray(THERE), "t": jnp.asarray(THERE)})
    lacking["views"] = tuple(
        view | {"joint": jnp.where(THERE[:, None], view["joint"], jnp.inf)}
        for view in lacking["views"]
    )
    _close(jax.jit(_with_slopes(loss))(params, lacking), want)
    _close(_sharded(loss)(params, lacking), want)


@every_loss
def test_where_no_row_counts_there_is_no_loss_and_no_gradient(name):
    loss, nobody = _loss(name), jnp.zeros(ROWS, bool)
    params = loss.init(jax.random.key(0), DIM)
    lacking = _lacking(_batch(), dict.fromkeys(("x", "t", "joint"), nobody))
    found = jax.jit(_with_slopes(loss))(params, lacking)
    for leaf in jax.tree.leaves(found):
        np.testing.assert_array_equal(leaf, 0)


def _masks(*names, seed=1):
    rng = np.random.default_rng(seed)
    return {name: jnp.asarray(rng.random(ROWS) < 0.7) for name in names}


@pytest.mark.parametrize("name", ["info_nce", "cmc", "siglip"])
def test_a_row_counts_in_the_pairs_that_it_has_both_sides_of(name):
    loss, names = _loss(name), ("a", "b", "c")
    params, batch, present = loss.init(None, DIM), _batch(names=names), _masks(*names)
    terms = []
    for pair in combinations(names, 2):
        both = np.asarray(present[pair[0]] & present[pair[1]])
        rows = jax.tree.map(lambda v, both=both: v[both], batch)
        rows["views"] = tuple({n: view[n] for n in pair} for view in rows["views"])
        terms.append(_value(loss, params, rows)[0])
    found, _ = _value(loss, params, _lacking(batch, present))
    total = sum(terms) if name == "cmc" else sum(terms) / 3
    np.testing.assert_allclose(found, total, rtol=2e-6)


def test_a_row_counts_within_the_modalities_that_it_has():
    batch, present = _batch(), _masks("x", "t")
    lacking = _lacking(batch, present)
    (z, other), ids = batch["views"], batch["ids"]
    both = np.asarray(present["x"] & present["t"])
    of = lambda n, m: nt_xent(z[n][m], other[n][m], temperature=0.1, ids=ids[m])
    within = sum(of(n, np.asarray(present[n])) for n in ("x", "t"))
    found, _ = _value(losses.nt_xent(), {}, lacking)
    np.testing.assert_allclose(found, within, rtol=2e-6)
    how = dict(similarity=cosine(), temperature=0.1, ids=ids[both])
    aligned = info_nce(z["x"][both], z["t"][both], **how)
    found, terms = _value(losses.cross_self(self_weight=0.5), {}, lacking)
    np.testing.assert_allclose(found, aligned + 0.5 * within, rtol=2e-6)
    np.testing.assert_allclose(terms["cross"], aligned, rtol=2e-6)
    found, _ = _value(losses.slip(modality="t", self_temperature=None), {}, lacking)
    np.testing.assert_allclose(found, aligned + of("t", np.asarray(present["t"])), rtol=2e-6)


def test_a_row_counts_in_the_terms_of_comm_whose_views_it_has():
    batch, present = _batch(), _masks("x", "t")
    want = []
    for term, mask in enumerate((present["x"], present["t"], present["x"] | present["t"])):
        rows = np.asarray(mask)
        stack = lambda view, r=rows: jnp.stack([view[n][r] for n in ("x", "t", "joint")], 1)
        first, second = map(stack, batch["views"])
        terms = comm_terms(first, second, temperature=0.1, ids=batch["ids"][rows])
        want.append(terms[term])
    found, told = _value(losses.comm(joint=3.0, alone=0.5), {}, _lacking(batch, present))
    np.testing.assert_allclose(found, (0.5 * want[0] + 0.5 * want[1] + 3 * want[2]) / 3, rtol=2e-6)
    np.testing.assert_allclose(told["joint"], want[2], rtol=2e-6)


def test_a_row_counts_in_the_bounds_of_factor_cl_that_it_has_the_sides_of():
    batch, present, loss = _batch(), _masks("x", "t"), _loss("factor_cl_supervised")
    params = loss.init(jax.random.key(0), DIM)
    _, told = _value(loss, params, _lacking(batch, present))
    z, ids = batch["views"][0], batch["ids"]
    critic = losses.fusing.concatenated_critic(hidden=4)
    labels = jax.nn.one_hot(batch["labels"], CLASSES)
    total, both = 0.0, present["x"] & present["t"]
    order = "t", "x"  # by name
    for k, name in enumerate(Factors._fields):
        x, t = (z[n] @ params["heads"][side, k] for side, n in enumerate(order))
        given = Pair(*(jnp.concatenate([side, labels], 1) for side in (x, t)))
        alone = {"unique_first": ("t", Pair(x, labels)), "unique_second": ("x", Pair(t, labels))}
        rows, pair = both, given if name.endswith("given") else Pair(x, t)
        if name in alone:
            rows, pair = present[alone[name][0]], alone[name][1]
        rows = np.asarray(rows)
        bound = club_bound if name in ("shared_given", "not_shared") else infonce_bound
        score = partial(critic.score, getattr(params["critics"], name))
        value = bound(score, Pair(pair.x[rows], pair.t[rows]), ids=ids[rows])
        total += value if bound is club_bound else -value
    np.testing.assert_allclose(told["bounds"], total, rtol=1e-5)


@every_loss
def test_nothing_absent_is_no_mask(name):
    """All rows there, said or not: the same value; and the same of arrays and of names."""
    loss, batch = _loss(name), _batch()
    params, whole = loss.init(jax.random.key(0), DIM), jnp.ones(ROWS, bool)
    plain = _value(loss, params, batch)[0]
    said = _value(loss, params, batch | {"present": {"x": whole, "t": whole}})[0]
    np.testing.assert_allclose(said, plain, rtol=1e-6)


def test_with_arrays_a_name_computes_and_without_it_makes_a_loss():
    batch = _batch()
    z, other = batch["views"]
    how = dict(temperature=0.2, ids=batch["ids"], chunk=5)
    x, t = z["x"], z["t"]
    alone = lambda view: [view["x"], view["t"]]
    pairs = {
        "info_nce": losses.info_nce(x=x, t=t, similarity=cosine(), **how),
        "cross": losses.cross([x, t], **how),
        "cmc": losses.cmc(alone(z), **how),
        "siglip": losses.siglip(x, t, bias=-10.0, **how),
        "cross_self": losses.cross_self(alone(z), alone(z), alone(other), **how),
        "slip": losses.slip(x, t, z["x"], other["x"], **how),
        "nt_xent": sum(losses.nt_xent(z[n], other[n], **how) for n in ("x", "t")),
        "comm": losses.comm(
            *(jnp.stack([*alone(v), v["joint"]], 1) for v in batch["views"]), **how
        ),
        "comm_of_paper": losses.comm_of_paper(
            z["joint"], other["joint"], jnp.stack(alone(z), 1), **how
        ),
        "supcon": losses.supcon(
            jnp.concatenate([z["joint"], other["joint"]]),
            jnp.tile(batch["labels"], 2),
            **how | dict(ids=jnp.tile(batch["ids"], (2, 1))),
        ),
    }
    for name, want in pairs.items():
        loss = getattr(losses, name)(temperature=0.2, **OPTIONS.get(name, {}))
        found, _ = _value(loss, loss.init(jax.random.key(0), DIM), batch)
        np.testing.assert_allclose(found, want, rtol=1e-6, err_msg=name)


def test_a_learned_temperature_is_a_parameter_and_told():
    batch = _batch()
    for name in ("info_nce", "nt_xent", "supcon"):
        fixed = LOSSES[name](temperature=0.3)
        learned = LOSSES[name](temperature=0.3, learn_temperature=True)
        params = learned.init(jax.random.key(0), DIM)
        assert fixed.init(jax.random.key(0), DIM) == {}
        value, told = _value(learned, params, batch)
        np.testing.assert_allclose(told["temperature"], 0.3, rtol=1e-6)
        np.testing.assert_allclose(value, _value(fixed, {}, batch)[0], rtol=1e-5)
        other = {"log_temperature": jnp.log(0.6)}
        np.testing.assert_allclose(
            _value(learned, other, batch)[0],
            _value(LOSSES[name](temperature=0.6), {}, batch)[0],
            rtol=1e-5,
        )


def _pair(loss, context=None, names=("x", "t")):
    z = {name: jnp.ones((4, DIM)) for name in names}
    return loss.value(loss.init(jax.random.key(0), DIM), z, context or Context())


BAD = {
    "labels: None": lambda: _pair(losses.supcon()),
    "labels: None is": lambda: _pair(losses.factor_cl_supervised(classes=2)),
    "views: 0": lambda: _pair(losses.nt_xent()),
    "views: 0 is": lambda: _pair(losses.slip()),
    "modalities: 'x'": lambda: _pair(losses.cross(), names=("x",)),
    "modalities: 'none'": lambda: _pair(losses.info_nce(), names=("joint",)),
    "modalities: 3 ": lambda: _pair(losses.factor_cl(), names=("x", "t", "y")),
    "embeddings: 'x, t'": lambda: _pair(losses.comm()),
    "temperature: 0.001": lambda: losses.cross(temperature=0.001, learn_temperature=True),
    "temperature: 0.002": lambda: losses.siglip(temperature=0.002),
    "temperature: 0": lambda: losses.info_nce(temperature=0),
    "pairs: 'last'": lambda: losses.cmc(pairs="last"),
    "first: 'z'": lambda: _pair(losses.info_nce(pairs="first", first="z")),
    "modality: 'z'": lambda: _pair(
        losses.supcon(modality="z"), Context(labels=jnp.zeros(4, jnp.int32))
    ),
    "similarity: 'l3'": lambda: losses.info_nce(similarity="l3"),
    "self_weight: -1": lambda: losses.slip(self_weight=-1),
    "classes: 0": lambda: losses.factor_cl(classes=0),
}


@pytest.mark.parametrize("told", BAD)
def test_bad_use_is_told_in_a_line(told):
    with pytest.raises(InvalidInput, match=told) as error:
        BAD[told]()
    assert "\n" not in str(error.value)

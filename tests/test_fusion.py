"""Fusion: what isn't seen has no influence, order doesn't matter, savings are exact."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.encoders import mlp
from mmjax.encoders.fusion import (
    Modality,
    Padded,
    as_is,
    fusion,
    single_and_joint_masks,
    subset_masks,
)
from mmjax.errors import InvalidInput
from mmjax.losses import no_gather
from mmjax.train import collectives

BATCH, WIDTH, HEADS = 4, 8, 2
# (layers, pool, attention): the class token of one layer is where savings are largest.
KINDS = [
    (1, "class", "joint"),
    (2, "class", "joint"),
    (1, "mean", "joint"),
    (2, "class", "cross"),
    (1, "mean", "cross"),
]
kinds = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(map(str, kind)))
# Where the way of attending doesn't matter: compilations are what tests cost.
few_kinds = pytest.mark.parametrize("kind", [KINDS[0], KINDS[4]], ids=["class", "mean"])
MODALITIES = (Modality(mlp((5,), 6), tokens=3), Modality(as_is()), Modality(as_is(), positions=7))


def _make(kind, modalities=MODALITIES, **options):
    layers, pool, attention = kind
    sizes = dict(width=WIDTH, heads=HEADS, head_hidden=6, head_out=5) | options
    return fusion(modalities, layers=layers, pool=pool, attention=attention, **sizes)


def _observations(seed=0, length=5):
    """A vector, a map of 2 x 3 places, sequences of which the first is padding alone."""
    rng = np.random.default_rng(seed)
    draw = lambda *shape: jnp.asarray(rng.normal(size=(BATCH, *shape)), jnp.float32)
    seen = jnp.arange(length) < jnp.array([0, 2, 4, 5])[:, None]
    return draw(4), draw(2, 3, 3), Padded(draw(length, 2), seen)


@cache
def _made(kind):
    net = _make(kind)
    return net, *_drawn(net, _observations())


def _drawn(net, observations):
    """Parameters at random, biases too: zeros would hide what they do; moments as they start."""
    params, statistics = jax.eval_shape(net.init, jax.random.key(1), observations)
    rng = np.random.default_rng(2)
    draw = lambda v: jnp.asarray(0.4 * rng.normal(size=v.shape) + 0.2, v.dtype)
    return jax.tree.map(draw, params), jax.tree.map(lambda v: jnp.ones(v.shape), statistics)


def _see(net):
    return jax.jit(net.apply)


def _close(ours, theirs, tolerance=1e-5):
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(1, np.abs(b).max()))


def _differ(a, b):
    return np.max(np.abs(np.asarray(a) - np.asarray(b))) > 1e-3


def test_masks():
    assert single_and_joint_masks(2).tolist() == [[True, False], [False, True], [True, True]]
    subsets = subset_masks(3)
    assert len(set(map(tuple, subsets))) == 7 and subsets.any(1).all() and subsets[-1].all()


@kinds
def test_what_a_view_does_not_see_has_no_influence(kind):
    """Exactly: equal bits, and gradients that are zero; what it sees has some."""
    net, params, statistics = _made(kind)
    masks, observations = subset_masks(3), _observations()
    values = lambda o: (*o[:2], o[2].values)
    # One cotangent a view, random, so that nothing cancels.
    aim = np.random.default_rng(3).normal(size=(BATCH, WIDTH)).astype(np.float32)
    aims = jnp.eye(len(masks))[:, None, :, None] * aim[:, None]

    @jax.jit
    def run(v):
        see = lambda v: net.apply(
            params, statistics, (*v[:2], Padded(v[2], observations[2].seen)), masks
        )
        out, pull = jax.vjp(see, v)
        return out, jax.vmap(pull)(aims)[0]

    out, slopes = run(values(observations))
    for k in range(3):
        other = list(values(observations))
        other[k] = other[k] + 1
        changed, _ = run(tuple(other))
        for view, mask in enumerate(masks):
            if mask[k]:
                assert _differ(changed[:, view], out[:, view]) and np.any(slopes[k][view])
            else:
                np.testing.assert_array_equal(changed[:, view], out[:, view])
                assert not np.any(slopes[k][view])


@few_kinds
def test_one_set_of_parameters_is_the_fusion_of_every_subset(kind):
    net, params, statistics = _made(kind)
    observations, masks = _observations(), subset_masks(3)
    out = _see(net)(params, statistics, observations, masks)
    for view in (3, 5):
        chosen = np.flatnonzero(masks[view])
        part = _make(kind, [MODALITIES[k] for k in chosen])
        pick = lambda whole, chosen=chosen: tuple(whole[k] for k in chosen)
        fused = {"trunk": params["fusion"]["trunk"]}
        fused |= {f"adapter_{i}": params["fusion"][f"adapter_{k}"] for i, k in enumerate(chosen)}
        own = {"encoders": pick(params["encoders"]), "fusion": fused, "head": params["head"]}
        kept = statistics | {"encoders": pick(statistics["encoders"])}
        everything = np.ones((1, len(chosen)), bool)
        alone = _see(part)(own, kept, pick(observations), everything)
        _close(out[:, view], alone[:, 0])


@few_kinds
def test_the_order_of_modalities_does_not_matter(kind):
    net, params, statistics = _made(kind)
    observations, masks, order = _observations(), subset_masks(3), (2, 0, 1)
    pick = lambda whole: tuple(whole[k] for k in order)
    fused = {f"adapter_{i}": params["fusion"][f"adapter_{k}"] for i, k in enumerate(order)}
    own = params | {"encoders": pick(params["encoders"])}
    own["fusion"] = fused | {"trunk": params["fusion"]["trunk"]}
    kept = statistics | {"encoders": pick(statistics["encoders"])}
    other = _see(_make(kind, pick(MODALITIES)))
    again = other(own, kept, pick(observations), masks[:, order])
    _close(again, _see(net)(params, statistics, observations, masks))


def test_places_are_a_set_without_positions():
    net, params, statistics = _made(KINDS[0])
    vector, image, words = _observations()
    masks = np.ones((1, 3), bool)
    out = _see(net)(params, statistics, (vector, image, words), masks)
    turned = _see(net)(params, statistics, (vector, image[:, ::-1, ::-1], words), masks)
    _close(out, turned)
    backwards = Padded(*(side[:, ::-1] for side in words))
    assert _differ(_see(net)(params, statistics, (vector, image, backwards), masks), out)


@few_kinds
def test_further_padding_and_what_is_in_it_change_nothing(kind):
    """In evaluation and in training, values and gradients."""
    net, params, statistics = _made(kind)
    vector, image, words = _observations()
    more = jnp.pad(words.values, ((0, 0), (0, 2), (0, 0)), constant_values=np.nan)
    seen = jnp.pad(words.seen, ((0, 0), (0, 2)))
    more = jnp.where(seen[..., None], more, jnp.nan)
    masks = single_and_joint_masks(3)

    def run(params, words):
        fused, _ = net.forward(
            params, statistics, (vector, image, words), masks, jax.random.key(0), no_gather
        )
        # Not the projections: behind batch norm rounding is large for near-constant views.
        return jnp.sum(jnp.sin(3 * fused.z)), fused.z

    run = jax.jit(jax.value_and_grad(run, has_aux=True))
    (_, z), slopes = run(params, words)
    (_, z_more), slopes_more = run(params, Padded(more, seen))
    _close(z_more, z)
    _close(slopes_more, slopes)
    _close(_see(net)(params, statistics, (vector, image, Padded(more, seen)), masks), z)


@kinds
def test_savings_are_exact(kind):
    """Views encoded apart, with all their queries, give the same values and gradients."""
    net, params, statistics = _made(kind)
    apart = _make(kind, shared=False)
    observations, masks = _observations(), subset_masks(3)

    def loss(net):
        def total(params):
            z = net.apply(params, statistics, observations, masks)
            return jnp.sum(jnp.sin(3 * z)), z

        return jax.jit(jax.value_and_grad(total, has_aux=True))

    (value, z), slopes = loss(net)(params)
    (value_apart, z_apart), slopes_apart = loss(apart)(params)
    _close((value, z, slopes), (value_apart, z_apart, slopes_apart))
    moved = [np.any(v) for v in jax.tree.leaves(slopes["fusion"])]
    assert np.mean(moved) > 0.9  # of one head's key bias the softmax takes no notice


def test_savings_save():
    """The class token of one layer: floating-point operations of all views, beside one."""
    observations = (jnp.zeros((BATCH, 64)), jnp.zeros((BATCH, 64)))
    modalities = [Modality(as_is(), tokens=16)] * 2

    def work(masks, **options):
        net = _make(KINDS[0], modalities, width=32, **options)
        made = jax.eval_shape(net.init, jax.random.key(0), observations)
        apply = jax.jit(lambda p, s: net.apply(p, s, observations, masks))
        return apply.lower(*made).compile().cost_analysis()["flops"]

    masks = single_and_joint_masks(2)
    assert work(masks) < 1.3 * work(masks[-1:])
    assert work(masks, shared=False) > 3 * work(masks)


def test_missing_modalities_of_single_rows():
    net, params, statistics = _made(KINDS[0])
    observations, masks = _observations(), subset_masks(3)
    own = np.random.default_rng(0).integers(0, len(masks), (BATCH, 2))
    out = _see(net)(params, statistics, observations, masks[own])
    every = _see(net)(params, statistics, observations, masks)
    _close(out, np.take_along_axis(np.asarray(every), own[..., None], 1))


@few_kinds
def test_a_view_of_nothing_is_a_constant(kind):
    net, params, statistics = _made(kind)
    masks = np.zeros((1, 3), bool)

    def run(params, observations):
        z = net.apply(params, statistics, observations, masks)
        return jnp.sum(jnp.sin(z)), z

    run = jax.jit(jax.value_and_grad(run, has_aux=True))
    (_, out), slopes = run(params, _observations())
    np.testing.assert_array_equal(out, run(params, _observations(seed=1))[0][1])
    assert np.ptp(np.asarray(out), axis=0).max() == 0
    assert all(np.all(np.isfinite(v)) for v in jax.tree.leaves(slopes))


def _norm(x, p):
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * p["scale"] + p["bias"]


def _layer(x, allowed, p):
    """One row, one view: a token at a time. x [n, width], allowed [n, n]."""
    h, out = _norm(x, p["attention_norm"]), np.zeros_like(x)
    for i in range(len(x)):
        mixed = np.zeros((HEADS, WIDTH // HEADS))
        for head in range(HEADS):
            at = lambda name, row, head=head: (
                row @ p[name]["kernel"][:, head] + p[name]["bias"][head]
            )
            keys = [j for j in range(len(x)) if allowed[i, j]]
            scores = np.array([at("query", h[i]) @ at("key", h[j]) for j in keys])
            weights = np.exp(scores / np.sqrt(WIDTH // HEADS))
            for weight, j in zip(weights / weights.sum(), keys, strict=True):
                mixed[head] += weight * at("value", h[j])
        out[i] = x[i] + np.einsum("hd,hdw->w", mixed, p["out"]["kernel"]) + p["out"]["bias"]
    h = _norm(out, p["mlp_norm"]) @ p["mlp_in"]["kernel"] + p["mlp_in"]["bias"]
    h = h / (1 + np.exp(-1.702 * h))
    return out + h @ p["mlp_out"]["kernel"] + p["mlp_out"]["bias"]


@pytest.mark.parametrize("kind", [KINDS[0], KINDS[3], (2, "mean", "joint")], ids=str)
def test_equals_the_reference(kind):
    """Written out token by token in float64 NumPy, with only the tokens that a view sees."""
    net, params, statistics = _made(kind)
    observations, masks = _observations(), subset_masks(3)
    out = _see(net)(params, statistics, observations, masks)
    wide = jax.tree.map(lambda v: np.asarray(v, np.float64), params["fusion"])
    vector = MODALITIES[0].encoder.apply(params["encoders"][0], {}, observations[0])
    parts = [np.asarray(vector, np.float64), np.asarray(observations[1]).reshape(BATCH, -1, 3)]
    parts.append(np.asarray(observations[2].values, np.float64))
    linear = [wide[f"adapter_{k}"]["linear"] for k in range(3)]
    tokens = [x @ p["kernel"] + p["bias"] for x, p in zip(parts, linear, strict=True)]
    tokens[0] = tokens[0].reshape(BATCH, 3, WIDTH)
    tokens[2] = tokens[2] + wide["adapter_2"]["positions"][:5]
    p, (layers, pool, attention) = wide["trunk"], kind
    for row, view in [(0, 6), (1, 6), (2, 4), (3, 2), (3, 5)]:
        kept = [t[row] for t in tokens]
        kept[2] = kept[2][np.asarray(observations[2].seen[row])]
        kept = [t for t, is_seen in zip(kept, masks[view], strict=True) if is_seen]
        owner = np.concatenate([np.full(len(t), k) for k, t in enumerate(kept)])
        x = np.concatenate(kept)
        if pool == "class":
            x, owner = np.concatenate([p["class_token"][None], x]), np.concatenate([[-1], owner])
        allowed = np.ones((len(x), len(x)), bool)
        if attention == "cross":
            allowed = (owner[:, None] != owner) | (owner == -1)
        for k in range(layers):
            x = _layer(x, allowed, p[f"layer_{k}"])
        x = _norm(x, p["norm"])
        want = x[0] if pool == "class" else x.mean(0)
        np.testing.assert_allclose(out[row, view], want, rtol=2e-5, atol=2e-5)


def test_the_head_is_the_formula_view_by_view():
    net, params, statistics = _made(KINDS[0])
    fused, changed = jax.jit(net.forward, static_argnums=5)(
        params, statistics, _observations(), subset_masks(3)[4:], jax.random.key(0), no_gather
    )
    p = jax.tree.map(lambda v: np.asarray(v, np.float64), params["head"])
    mean = np.ones(6)
    x = np.asarray(fused.z, np.float64)
    for k in range(2):
        x = x @ p[f"linear_{k}"]["kernel"]
        if k == 0:
            for view in range(3):
                mean = 0.9 * mean + 0.1 * x[:, view].mean(0)
        x = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)
        x = np.maximum(x * p[f"norm_{k}"]["scale"] + p[f"norm_{k}"]["bias"], 0)
    want = x @ p["linear_2"]["kernel"] + p["linear_2"]["bias"]
    np.testing.assert_allclose(fused.projected, want, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(changed["head"]["norm_0"]["mean"], mean, rtol=1e-4, atol=1e-5)
    # In evaluation: with the running moments, whatever else is in the batch.
    x, kept = np.asarray(fused.z, np.float64), jax.tree.map(np.asarray, changed["head"])
    for k in range(2):
        moments = kept[f"norm_{k}"]
        x = (x @ p[f"linear_{k}"]["kernel"] - moments["mean"]) / np.sqrt(moments["var"] + 1e-5)
        x = np.maximum(x * p[f"norm_{k}"]["scale"] + p[f"norm_{k}"]["bias"], 0)
    want = x @ p["linear_2"]["kernel"] + p["linear_2"]["bias"]
    np.testing.assert_allclose(net.project(params, changed, fused.z), want, rtol=1e-3, atol=1e-3)


def test_training_on_eight_devices_equals_one():
    """Moments of the head's batch norm are those of all devices: values, statistics, gradients."""
    modalities = [Modality(mlp((5,), 6)), Modality(as_is(), tokens=2)]
    net = _make(KINDS[0], modalities)
    rng = np.random.default_rng(0)
    observations = tuple(jnp.asarray(rng.normal(size=(16, d)), jnp.float32) for d in (4, 3))
    params, statistics = _drawn(net, observations)
    across, masks = collectives("devices", 8), single_and_joint_masks(2)

    def loss(params, observations, gather):
        fused, changed = net.forward(
            params, statistics, observations, masks, jax.random.key(0), gather
        )
        return jnp.mean(jnp.sin(3 * fused.projected)), changed

    def part(_, params):
        run = jax.value_and_grad(loss, has_aux=True)
        return across.mean(run(params, across.shard(observations), across.gather))

    sharded = jax.pmap(part, "devices", in_axes=(0, None))(jnp.arange(8), params)
    alone = jax.jit(jax.value_and_grad(lambda p: loss(p, observations, no_gather), has_aux=True))
    _close(jax.tree.map(lambda v: v[0], sharded), alone(params))


def test_noise_of_the_encoders_only_in_training():
    noisy = [Modality(mlp((5,), 6, dropout=0.5)), MODALITIES[1]]
    net = _make(KINDS[0], noisy)
    observations, masks = _observations()[:2], single_and_joint_masks(2)
    made = _drawn(net, observations)

    @jax.jit
    def run(k):
        return net.forward(*made, observations, masks, jax.random.key(k), no_gather)[0].z

    one, two = np.asarray(run(0)), np.asarray(run(1))
    np.testing.assert_array_equal(one, run(0))
    assert _differ(one[:, 0], two[:, 0]) and _differ(
        one[:, 0], _see(net)(*made, observations, masks)[:, 0]
    )
    np.testing.assert_array_equal(one[:, 1], two[:, 1])


BAD = {
    "no modality": dict(modalities=[]),
    "no token": dict(modalities=[Modality(as_is(), tokens=0)]),
    "width": dict(width=9),
    "heads": dict(heads=0),
    "layers": dict(kind=(0, "class", "joint")),
    "pool": dict(kind=(1, "last", "joint")),
    "attention": dict(kind=(1, "mean", "none")),
    "cross of one layer": dict(kind=(1, "class", "cross")),
    "head": dict(head_out=0),
}


@pytest.mark.parametrize("row", BAD.values(), ids=BAD)
def test_bad_options(row):
    with pytest.raises(InvalidInput):
        _make(**({"kind": KINDS[0]} | row))


def test_bad_observations_and_masks():
    net, params, statistics = _made(KINDS[0])
    good, masks = _observations(), np.ones((1, 3), bool)
    for observations, mask in [
        (good[:2], masks),
        (good, masks[:, :2]),
        (good, masks[0]),
        (good, masks.astype(int)),
        (_observations(length=8), masks),
    ]:
        with pytest.raises(InvalidInput):
            net.apply(params, statistics, observations, mask)
    with pytest.raises(InvalidInput):
        net.init(jax.random.key(0), good[:2])

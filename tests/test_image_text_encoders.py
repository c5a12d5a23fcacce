"""Networks of images and sentences are the published ones, and see one batch on all devices."""

from functools import cache

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mmjax.encoders import (
    make_head,
    narrow_resnet,
    resnet18,
    small_convnet,
    text_convnet,
    text_transformer,
    two_towers,
)
from mmjax.encoders.convolution import convolved
from mmjax.encoders.norm import BatchNorm
from mmjax.encoders.resnet import PIXEL_MEAN, PIXEL_STD, _standardised
from mmjax.errors import InvalidInput
from mmjax.losses import info_nce, make_similarity, no_gather
from mmjax.train import State, collectives, make_chunk
from mmjax.train.step import SINGLE
from mmjax.types import Pair

DEVICES, AXIS = 8, "devices"
SIDE, LENGTH, VOCABULARY = 16, 9, 11

IMAGES = {
    "narrow": lambda out: narrow_resnet(out, stem_width=3, widths=(4, 5)),
    "plain": lambda out: small_convnet(out, stem_width=3, widths=(4,)),
    "resnet18": lambda out: resnet18(out, width=2, hidden=5),
    "resnet18, small images": lambda out: resnet18(out, width=2, hidden=5, stem="small"),
}
SENTENCES = {
    "convolutions": lambda out: text_convnet(out, VOCABULARY, width=8, channels=2),
    "transformer": lambda out: text_transformer(out, VOCABULARY, 12, width=8, heads=2),
}
ENCODERS = IMAGES | SENTENCES
SMALL = [name for name in ENCODERS if "resnet18" not in name]


def _images(rows, seed=0):
    rng = np.random.default_rng(seed)
    return jnp.asarray(rng.integers(0, 256, (rows, SIDE, SIDE, 3)), jnp.uint8)


def _sentences(rows, seed=0):
    """Of 3 to LENGTH words each, padding behind."""
    rng = np.random.default_rng(seed)
    words = rng.integers(1, VOCABULARY, (rows, LENGTH))
    last = rng.integers(3, LENGTH + 1, (rows, 1))
    return jnp.asarray(np.where(np.arange(LENGTH) < last, words, 0), jnp.int32)


def _observations(name, rows, seed=0):
    return (_images if name in IMAGES else _sentences)(rows, seed)


def _filled(shapes):
    """Random arrays of those shapes; statistics and scales of norms are positive."""
    rng = np.random.default_rng(1)

    def fill(path, v):
        if path[-1].key in ("var", "scale"):
            return jnp.asarray(rng.uniform(0.5, 2, v.shape), jnp.float32)
        fan_in = max(1, np.prod(v.shape[:-1]))
        return jnp.asarray(rng.normal(0, fan_in**-0.5, v.shape), jnp.float32)

    return jax.tree_util.tree_map_with_path(fill, shapes)


@cache
def _made(name, out=4):
    """(encoder, parameters, statistics), far from a start; its own draws take long to compile."""
    encoder = ENCODERS[name](out)
    shape = (SIDE, SIDE, 3) if name in IMAGES else (LENGTH,)
    start = lambda key: encoder.init(key, shape)
    return encoder, *_filled(jax.eval_shape(start, jax.random.key(0)))


def _train(encoder, params, statistics, x, key=0):
    run = jax.jit(encoder.forward, static_argnums=4)
    return run(params, statistics, x, jax.random.key(key), no_gather)


def _close(ours, theirs, tolerance=1e-4):
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * np.max(np.abs(b)))


@pytest.mark.parametrize("size, stride, padding", [(2, 2, 0), (3, 2, 1), (4, 2, 1), (3, 1, 1)])
@pytest.mark.parametrize("side, channels", [(2, 5), (9, 1), (16, 3)])
def test_convolutions_are_those_of_xla(size, stride, padding, side, channels):
    """Value and both gradients, whichever way the convolution takes."""
    rng = np.random.default_rng(size + side)
    x = jnp.asarray(rng.normal(size=(3, side, side, channels)), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(size, size, channels, 4)), jnp.float32)
    how = (stride, stride), ((padding, padding),) * 2
    names = {"dimension_numbers": ("NHWC", "HWIO", "NHWC")}
    weights = jnp.cos(jnp.arange(convolved(x, kernel, *how, **names).size, dtype=jnp.float32))

    def run(f):
        loss = lambda x, kernel: jnp.vdot(weights, f(x, kernel, *how, **names).ravel())
        return jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))(x, kernel)

    _close(run(convolved), run(jax.lax.conv_general_dilated))


# ---- batch norm


def _norm(x, steps=1, **options):
    """Output and statistics after some steps on the same batch."""
    net = BatchNorm(**options)
    params = {"scale": jnp.linspace(0.5, 2, x.shape[-1]), "bias": jnp.linspace(-1, 1, x.shape[-1])}
    kept = net.init(jax.random.key(0), x, train=False)["batch_stats"]
    given = lambda kept: {"params": params, "batch_stats": kept}
    step = jax.jit(lambda kept: net.apply(given(kept), x, train=True, mutable=["batch_stats"]))
    for _ in range(steps):
        out, changed = step(kept)
        kept = changed["batch_stats"]
    still = net.apply(given(kept), x, train=False)
    return params, out, kept, still


def test_batch_norm_is_that_of_pytorch():
    """Biased variance in the output, unbiased in the running one."""
    x = np.random.default_rng(1).normal(3, 2, (5, 4, 3, 6))
    params, out, kept, still = _norm(jnp.asarray(x, jnp.float32), momentum=0.7, epsilon=0.1)
    flat, scale, bias = x.reshape(-1, 6), np.asarray(params["scale"]), np.asarray(params["bias"])
    mean, var = flat.mean(0), flat.var(0)
    _close(out, (x - mean) / np.sqrt(var + 0.1) * scale + bias, 1e-5)
    want = {"mean": 0.3 * mean, "var": 0.7 + 0.3 * flat.var(0, ddof=1)}
    _close(kept, want, 1e-5)
    _close(still, (x - want["mean"]) / np.sqrt(want["var"] + 0.1) * scale + bias, 1e-5)


def test_batch_norm_is_that_of_flax():
    x = jnp.asarray(np.random.default_rng(2).normal(1, 2, (6, 3, 3, 4)), jnp.float32)
    weights = jnp.asarray(np.random.default_rng(3).normal(size=x.shape), jnp.float32)
    variables = nn.BatchNorm(use_running_average=True).init(jax.random.key(0), x)

    def loss(net, options, params, x):
        given = variables | {"params": params}
        out, changed = net.apply(given, x, **options, mutable=["batch_stats"])
        return jnp.sum(out * weights), (out, changed["batch_stats"]["mean"])

    def run(*net):
        loss_of = lambda params, x: loss(*net, params, x)
        step = jax.value_and_grad(loss_of, argnums=(0, 1), has_aux=True)
        return jax.jit(step)(variables["params"], x)

    theirs = run(nn.BatchNorm(momentum=0.9), {"use_running_average": False})
    _close(run(BatchNorm(), {"train": True}), theirs)


def test_statistics_converge_to_the_moments_of_the_data():
    x = jnp.asarray(np.random.default_rng(4).normal([-3, 5], [0.1, 4], (50, 2)), jnp.float32)
    params, out, kept, still = _norm(x, steps=150)
    _close(kept, {"mean": np.mean(x, 0), "var": np.var(x, 0, ddof=1)})
    np.testing.assert_allclose(still, out, rtol=0.03, atol=0.01)  # 50 / 49 in the variance


def test_variance_survives_a_large_mean():
    x = 1e4 + np.linspace(-1, 1, 4096, dtype=np.float64)[:, None]
    x = x.astype(np.float32)
    *_, kept, _ = _norm(jnp.asarray(x), momentum=0.0)
    np.testing.assert_allclose(kept["var"], np.var(x.astype(np.float64), 0, ddof=1), rtol=1e-3)


def test_a_single_value_gives_the_bias():
    params, out, kept, _ = _norm(jnp.full((1, 3), 7.0), momentum=0.5)
    np.testing.assert_array_equal(out[0], params["bias"])
    np.testing.assert_array_equal(kept["var"], 0.5)


# ---- networks as published


def _conv(x, w, stride, padding):
    """Cross-correlation of `[n, h, w, c]` with `[size, size, c, d]`, the sum written out."""
    size = w.shape[0]
    x = np.pad(x, [(0, 0), (padding, padding), (padding, padding), (0, 0)])
    sides = [(n - size) // stride + 1 for n in x.shape[1:3]]
    out = np.zeros((len(x), *sides, w.shape[-1]))
    for i in range(sides[0]):
        for j in range(sides[1]):
            window = x[:, i * stride : i * stride + size, j * stride : j * stride + size]
            out[:, i, j] = np.tensordot(window, w, 3)
    return out


def _bn(x, params, kept):
    scaled = (x - kept["mean"]) / np.sqrt(kept["var"] + 1e-5)
    return scaled * params["scale"] + params["bias"]


def _reference_image(x, params, kept, *, stem, pool, stages, flat):
    """A residual network in evaluation; stages are (stride, blocks), 0 for a plain convolution."""
    relu = lambda v: np.maximum(v, 0)
    step = lambda x, p, k, n, stride, padding: _bn(
        _conv(x, p[f"Conv_{n}"]["kernel"], stride, padding),
        p[f"BatchNorm_{n}"],
        k[f"BatchNorm_{n}"],
    )
    x = (x / 255 - np.array(PIXEL_MEAN)) / np.array(PIXEL_STD)
    x, count, plain = relu(step(x, params, kept, 0, *stem)), 0, 1
    if pool:
        # Behind a ReLU zeros at the border are as good as nothing there.
        x = np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])
        parts = [x[:, i : i + x.shape[1] - 2 : 2, j : j + x.shape[2] - 2 : 2] for i, j in NINE]
        x = np.max(parts, 0)
    for stride, blocks in stages:
        if blocks == 0:
            x, plain = relu(step(x, params, kept, plain, stride, 1)), plain + 1
        for b in range(blocks):
            p, k = params[f"_Block_{count}"], kept[f"_Block_{count}"]
            s, count = stride if b == 0 else 1, count + 1
            y = step(relu(step(x, p, k, 0, s, 1)), p, k, 1, 1, 1)
            x = relu(y + (step(x, p, k, 2, s, 0) if "Conv_2" in p else x))
    x = x.reshape(len(x), -1) if flat else x.mean((1, 2))
    dense = lambda x, n: x @ params[f"Dense_{n}"]["kernel"] + params[f"Dense_{n}"]["bias"]
    x = dense(x, 0)
    return dense(np.where(x > 0, x, 0.01 * x), 1)


NINE = [(i, j) for i in range(3) for j in range(3)]
_TWO = [(1, 2), (2, 2), (2, 2), (2, 2)]
ARCHITECTURES = {
    "narrow": dict(stem=(4, 0), pool=False, stages=[(2, 1), (2, 1)], flat=False),
    "plain": dict(stem=(4, 0), pool=False, stages=[(2, 0)], flat=True),
    "resnet18": dict(stem=(2, 3), pool=True, stages=_TWO, flat=False),
    "resnet18, small images": dict(stem=(1, 1), pool=False, stages=_TWO, flat=False),
}


@pytest.mark.parametrize("name", IMAGES)
def test_image_networks_are_their_formulas(name):
    encoder, params, statistics = _made(name)
    x = _images(2)
    ours = jax.jit(encoder.apply)(params, statistics, x)
    assert ours.shape == (2, 4) and ours.dtype == jnp.float32
    params, statistics = jax.tree.map(np.asarray, (params, statistics))
    _close(ours, _reference_image(np.asarray(x), params, statistics, **ARCHITECTURES[name]), 1e-3)


def test_text_convolutions_are_their_formula():
    """Over one-hot tokens, which the network never builds."""
    encoder, params, statistics = _made("convolutions")
    tokens = _sentences(5)
    ours = jax.jit(encoder.apply)(params, statistics, tokens)
    params, statistics = jax.tree.map(np.asarray, (params, statistics))
    x = (np.eye(VOCABULARY)[np.asarray(tokens)] @ params["Embed_0"]["embedding"])[..., None]
    for k in range(3):
        x = _conv(x, params[f"Conv_{k}"]["kernel"], 2, 1)
        x = np.maximum(_bn(x, params[f"BatchNorm_{k}"], statistics[f"BatchNorm_{k}"]), 0)
    want = x.reshape(5, -1) @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"]
    _close(ours, want)


def _attention(x, p, seen):
    """Softmax of scaled products over the seen words, head by head."""
    of = lambda name: np.einsum("nlw,whd->nhld", x, p[name]["kernel"]) + p[name]["bias"][:, None]
    q, k, v = of("query"), of("key"), of("value")
    weights = np.exp(q @ k.swapaxes(2, 3) / np.sqrt(q.shape[-1])) * seen[:, None, None, :]
    heads = weights / weights.sum(-1, keepdims=True) @ v
    return np.einsum("nhld,hdw->nlw", heads, p["out"]["kernel"]) + p["out"]["bias"]


def test_the_transformer_is_its_formula():
    encoder, params, _ = _made("transformer")
    tokens = _sentences(5)
    ours = jax.jit(encoder.apply)(params, {}, tokens)
    params, tokens = jax.tree.map(np.asarray, (params, tokens))
    seen = tokens != 0
    dense = lambda x, p: x @ p["kernel"] + p["bias"]

    def norm(x, p):
        moved = x - x.mean(-1, keepdims=True)
        return moved / np.sqrt(x.var(-1, keepdims=True) + 1e-6) * p["scale"] + p["bias"]

    x = params["Embed_0"]["embedding"][tokens] + params["positions"][:LENGTH]
    for k in range(2):
        p = params[f"_Layer_{k}"]
        x = x + _attention(norm(x, p["LayerNorm_0"]), p["MultiHeadDotProductAttention_0"], seen)
        y = dense(norm(x, p["LayerNorm_1"]), p["Dense_0"])
        y = 0.5 * y * (1 + np.tanh(np.sqrt(2 / np.pi) * (y + 0.044715 * y**3)))  # GELU
        x = x + dense(y, p["Dense_1"])
    x = norm(x, params["LayerNorm_0"])
    want = [dense(row[some].mean(0), params["Dense_0"]) for row, some in zip(x, seen, strict=True)]
    _close(ours, np.array(want))


def test_a_start_is_that_of_he():
    """Scales of one, statistics of unit Gaussians, kernels of variance 2 / outputs."""
    encoder = small_convnet(4, stem_width=64, widths=())
    init = jax.jit(encoder.init, static_argnums=1)
    params, statistics = init(jax.random.key(0), (SIDE, SIDE, 3))
    kernel = params["Conv_0"]["kernel"]
    assert kernel.shape == (4, 4, 3, 64)
    np.testing.assert_allclose(np.var(kernel), 2 / (16 * 64), rtol=0.1)
    norms = {"scale": np.ones(64), "bias": np.zeros(64)}
    _close(
        (params["BatchNorm_0"], statistics),
        (norms, {"BatchNorm_0": {"mean": np.zeros(64), "var": np.ones(64)}}),
    )


def _sizes(tree):
    return sum(v.size for v in jax.tree.leaves(tree))


def test_resnet18_has_the_known_number_of_parameters():
    """That of torchvision's resnet18 without its last layer."""
    encoder = resnet18(8)
    start = lambda key: encoder.init(key, (224, 224, 3))
    params, statistics = jax.eval_shape(start, jax.random.key(0))
    head = {name: params.pop(name) for name in ("Dense_0", "Dense_1")}
    assert _sizes(params) == 11_176_512
    assert _sizes(statistics) == 2 * 4800
    assert _sizes(head) == 513 * 100 + 101 * 8


def test_text_convolutions_have_the_published_sizes():
    encoder = text_convnet(8, 111)
    start = lambda key: encoder.init(key, (26,))
    params, _ = jax.eval_shape(start, jax.random.key(0))
    assert params["Embed_0"]["embedding"].shape == (111, 128)
    kernels = [params[f"Conv_{k}"]["kernel"].shape for k in range(3)]
    assert kernels == [(4, 4, 1, 25), (4, 4, 25, 50), (4, 4, 50, 100)]
    assert params["Dense_0"]["kernel"].shape == (100 * 3 * 16, 8)


# ---- what a batch does


@pytest.mark.parametrize("name", SMALL)
def test_evaluation_sees_rows_and_training_the_batch(name):
    encoder, params, statistics = _made(name)
    x = _observations(name, 6)
    apply = jax.jit(encoder.apply)
    alone = np.concatenate([apply(params, statistics, x[i : i + 2]) for i in (0, 2, 4)])
    _close(apply(params, statistics, x), alone)
    trained, changed = _train(encoder, params, statistics, x)
    assert jax.tree.structure(changed) == jax.tree.structure(statistics)
    part, _ = _train(encoder, params, statistics, x[:2])
    batched = name != "transformer"
    assert np.allclose(trained[:2], part, rtol=1e-3, atol=1e-3) == (not batched)
    moved = jax.tree.leaves(jax.tree.map(lambda a, b: not np.allclose(a, b), changed, statistics))
    assert all(moved) and bool(moved) == batched


@pytest.mark.parametrize("name, rows", [(name, 1) for name in SMALL] + [("plain", 2)])
def test_gradients_of_tiny_batches_are_finite(name, rows):
    encoder, params, statistics = _made(name)

    def loss(params, x):
        out, changed = encoder.forward(params, statistics, x, jax.random.key(0), no_gather)
        return jnp.sum(out**2), changed

    out = jax.jit(jax.value_and_grad(loss, has_aux=True))(params, _observations(name, rows))
    assert all(np.all(np.isfinite(v)) for v in jax.tree.leaves(out))


# ---- images


@pytest.mark.parametrize("name", ["narrow", "resnet18"])
def test_bytes_are_floats_times_255(name):
    encoder, params, statistics = _made(name)
    x, apply = _images(3), jax.jit(encoder.apply)
    _close(apply(params, statistics, x), apply(params, statistics, x / jnp.float32(255)), 1e-5)


def test_images_are_standardised_by_the_given_moments():
    encoder, params, statistics = _made("plain")
    mean, std = np.array([0.1, 0.2, 0.3], np.float32), np.array([0.5, 0.4, 2.0], np.float32)
    other = small_convnet(4, stem_width=3, widths=(4,), mean=tuple(mean), std=tuple(std))
    x = np.asarray(_images(3)) / np.float32(255)
    same = (x - np.array(PIXEL_MEAN)) / np.array(PIXEL_STD) * std + mean
    want = jax.jit(encoder.apply)(params, statistics, jnp.asarray(x))
    _close(jax.jit(other.apply)(params, statistics, jnp.asarray(same, jnp.float32)), want)


# ---- sentences


def test_padding_changes_nothing():
    """More of it, less of it, and what its vector is."""
    encoder, params, statistics = _made("transformer")
    tokens = _sentences(5).at[:, 6:].set(0)
    apply = jax.jit(encoder.apply)
    want = apply(params, statistics, tokens)
    for columns in (tokens[:, :6], jnp.pad(tokens, ((0, 0), (0, 3)))):
        _close(apply(params, statistics, columns), want, 1e-5)
    table = params["Embed_0"]["embedding"]
    moved = params | {"Embed_0": {"embedding": table.at[0].add(10)}}
    _close(apply(moved, statistics, tokens), want, 1e-5)
    assert not np.allclose(apply(params, statistics, tokens.at[:, 6].set(3)), want, atol=1e-3)


def test_a_sentence_of_padding_is_the_bias():
    encoder, params, _ = _made("transformer")
    out = jax.jit(encoder.apply)(params, {}, jnp.zeros((2, 4), jnp.int32))
    _close(out, np.tile(params["Dense_0"]["bias"], (2, 1)), 1e-6)


@pytest.mark.parametrize("name", SENTENCES)
def test_the_order_of_words_matters(name):
    encoder, params, statistics = _made(name)
    tokens = jnp.asarray(np.random.default_rng(5).permutation(np.arange(1, LENGTH + 1)), jnp.int32)[
        None
    ]
    apply = jax.jit(encoder.apply)
    one, other = apply(params, statistics, tokens), apply(params, statistics, tokens[:, ::-1])
    assert np.max(np.abs(one - other)) > 1e-2


@pytest.mark.parametrize("name", SENTENCES)
def test_unknown_tokens_give_nan(name):
    encoder, params, statistics = _made(name)
    tokens = _sentences(2).at[0, 0].set(VOCABULARY)
    out = jax.jit(encoder.apply)(params, statistics, tokens)
    assert np.all(np.isnan(out[0])) and np.all(np.isfinite(out[1]))


# Each part alone: no layers behind the embedded tokens, nothing embedded before the layers.
@pytest.mark.parametrize("layers", [0, 1])
def test_dropout_only_in_training(layers):
    make = lambda share: text_transformer(
        4, VOCABULARY, LENGTH, width=8, heads=2, layers=layers, dropout=share
    )
    start = lambda key: make(0.5).init(key, (LENGTH,))
    params, _ = _filled(jax.eval_shape(start, jax.random.key(0)))
    if layers:
        params |= jax.tree.map(jnp.zeros_like, {k: params[k] for k in ("Embed_0", "positions")})
    tokens = _sentences(3)
    still = jax.jit(make(0.5).apply)(params, {}, tokens)
    run = jax.jit(make(0.5).forward, static_argnums=4)
    outs = [run(params, {}, tokens, jax.random.key(k), no_gather)[0] for k in (1, 1, 2)]
    np.testing.assert_array_equal(outs[0], outs[1])
    assert not np.allclose(outs[0], outs[2], atol=1e-3)
    assert not np.allclose(outs[0], still, atol=1e-3)
    _close(_train(make(0.0), params, {}, tokens)[0], still, 1e-5)


# ---- bad input

BAD = {
    "images without channels": lambda: _made("plain")[0].init(jax.random.key(0), (16, 16)),
    "grey images": lambda: _made("plain")[0].init(jax.random.key(0), (16, 16, 1)),
    "images of int32": lambda: _made("plain")[0].apply(
        *_made("plain")[1:], _images(1).astype(jnp.int32)
    ),
    "odd sides": lambda: _made("plain")[0].init(jax.random.key(0), (18, 16, 3)),
    "std of zero": lambda: small_convnet(3, std=(1, 0, 1)),
    "two means": lambda: resnet18(3, mean=(1, 0)),
    "stem": lambda: resnet18(3, stem="tiny"),
    "no blocks": lambda: narrow_resnet(3, blocks=0),
    "no widths": lambda: narrow_resnet(3, widths=(0,)),
    "no output": lambda: resnet18(0),
    "float tokens": lambda: _made("transformer")[0].apply(
        *_made("transformer")[1:], jnp.ones((2, 3))
    ),
    "one-hot tokens": lambda: _made("convolutions")[0].init(jax.random.key(0), (9, 11)),
    "long sentences": lambda: _made("transformer")[0].init(jax.random.key(0), (13,)),
    "short sentences": lambda: _made("convolutions")[0].init(jax.random.key(0), (7,)),
    "heads": lambda: text_transformer(3, 10, 5, width=6, heads=4),
    "dropout": lambda: text_transformer(3, 10, 5, dropout=1.0),
    "vocabulary": lambda: text_convnet(3, 0),
}


@pytest.mark.parametrize("make", BAD.values(), ids=BAD)
def test_bad_input(make):
    with pytest.raises(InvalidInput):
        make()


# ---- eight devices


def _on_devices(body, *args):
    """What the devices agree on, their parameters and statistics included."""
    run = jax.pmap(lambda _, *args: body(*args), AXIS, in_axes=(0, *[None] * len(args)))
    out = run(jnp.arange(DEVICES), *args)  # pmap wants something to map over
    for leaf in jax.tree.leaves(out):
        np.testing.assert_array_equal(leaf, np.broadcast_to(leaf[:1], leaf.shape))
    return jax.tree.map(lambda v: v[0], out)


def test_eight_devices_give_the_gradient_of_one():
    """Of a contrastive loss of images and sentences; value and statistics too."""
    encoders = Pair(*(_made(name)[0] for name in ("plain", "convolutions")))
    towers = two_towers(encoders, make_head("sphere"), embedding_dim=4)
    shapes = Pair((SIDE, SIDE, 3), (LENGTH,))
    params = _filled(jax.eval_shape(lambda key: towers.init(key, shapes), jax.random.key(0)))
    batch = Pair(_images(16), _sentences(16))

    def objective(params, batch, key, gather):
        e, changes = towers.forward(params, batch, key, gather)
        similarity = make_similarity("dot")
        return info_nce(*e, similarity=similarity, temperature=0.5, gather=gather), changes

    def first_step(across):
        def body(params, batch):
            run = jax.value_and_grad(objective, has_aux=True)
            return across.mean(run(params, across.shard(batch), jax.random.key(0), across.gather))

        return body

    ours, grads = _on_devices(first_step(collectives(AXIS, DEVICES)), params, batch)
    alone, want = jax.jit(first_step(SINGLE))(params, batch)
    _close(ours, alone)
    _close(grads, want, 1e-3)
    largest = [np.max(np.abs(v)) for v in jax.tree.leaves(want["encoders"])]
    assert min(largest) > 1e-4


def test_eight_devices_train_as_one():
    encoder, network, statistics = _made("narrow")

    def objective(params, batch, key, gather):
        e, changed = encoder.forward(params["network"], params["statistics"], batch.x, key, gather)
        return jnp.mean(jnp.sum((e - batch.t) ** 2, 1)), {"statistics": changed}

    optimiser, params = optax.sgd(0.01), {"network": network, "statistics": statistics}
    state = State(params, optimiser.init(params))
    targets = jnp.asarray(np.random.default_rng(6).normal(size=(16, 4)), jnp.float32)

    def trained(across):
        chunk = make_chunk(lambda constants, key: constants, objective, optimiser, 3, across)
        return lambda state, constants: chunk(state, constants, jax.random.key(1), 0)

    args = state, Pair(_images(16), targets)
    ours, loss = _on_devices(trained(collectives(AXIS, DEVICES)), *args)
    theirs, want = jax.jit(trained(SINGLE))(*args)
    _close(loss, want)
    _close(ours.params, theirs.params, 1e-3)
    moved = jax.tree.map(lambda a, b: not np.allclose(a, b, atol=1e-6), ours.params, params)
    assert all(jax.tree.leaves(moved))


def test_the_published_moments():
    pixels = jnp.array([[[[0, 0, 0], [255, 255, 255]]]], jnp.uint8)
    expected = [[-3.6028, -1.8456, -2.6238], [4.7236, 5.0178, 6.6183]]
    seen = _standardised(pixels, PIXEL_MEAN, PIXEL_STD)
    np.testing.assert_allclose(seen[0, 0], expected, atol=2e-4)

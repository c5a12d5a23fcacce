"""Nets survive being written down; towers of a CLIP are trained as far as told, and no further."""

import copy
import json
import pickle
import shutil
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import mmjax as mm
from mmjax import nets
from mmjax.data import clip_images, fit_image, read_clip, read_pixels, standardise_pixels
from mmjax.encoders import Encoder, Padded, clip_encoders
from mmjax.encoders import mlp as mlp_encoder
from mmjax.errors import InvalidInput
from mmjax.losses import no_gather
from mmjax.nets import Net, Observed, as_net, default_net, net_from_json, of_function
from mmjax.nets.clip import clip_pixels
from tests.clip_folders import GOLDEN, copy_golden, pictures

CLIP, DIM, SIZE = str(GOLDEN), 8, 12
LETTERS = Observed((6,), 540)

# (net, what it sees)
CASES = {
    "mlp": (nets.mlp((5,), 0.1, 0.2), Observed((4,))),
    "mlp of images": (nets.mlp((5,)), Observed((2, 3, 1))),
    "linear": (nets.linear(), Observed((4,))),
    "as_is": (nets.as_is(), Observed((3,))),
    "transformer": (nets.transformer(8, 1, 2), Observed((5, 3))),
    "set transformer": (nets.transformer(8, 1, 2, 0.1, positions=False), Observed((5, 3))),
    "convnet": (nets.convnet(4, (4,), 5), Observed((8, 8, 1))),
    "convnet of odd sides": (nets.convnet(4, (4,), 5), Observed((25, 30, 4))),
    "resnet": (nets.resnet(hidden=5), Observed((24, 26, 3))),
    "text": (nets.text_transformer(8, 1, 2), LETTERS),
    "clip image": (nets.clip_image(CLIP), Observed((SIZE, SIZE, 3))),
    "clip image, all": (nets.clip_image(CLIP, "all", (4,)), Observed((10, 9, 1))),
    "clip text": (nets.clip_text(CLIP, "head", (4,)), LETTERS),
}


def _seen(observed, rows=2):
    rng = np.random.default_rng(0)
    if observed.vocabulary_size:
        return jnp.asarray(rng.integers(1, observed.vocabulary_size, (rows, *observed.shape)))
    return jnp.asarray(rng.uniform(size=(rows, *observed.shape)), jnp.float32)


@pytest.mark.parametrize("name", CASES)
def test_a_net_from_json_is_the_same(name):
    net, observed = CASES[name]
    again = net_from_json(net.name, json.loads(json.dumps(net.options)))
    assert again.options == net.options
    one, two = (_traced(n, observed) for n in (net, again))
    assert one == two  # the same program, of the same parameters


def _traced(net, observed):
    """Shapes of the parameters, what is trained of them, and the program of an evaluation."""
    encoder = net.make(3, observed)
    params, statistics = jax.eval_shape(lambda key: encoder.init(key, observed.shape), _key())
    trained = net.trained(params)
    assert jax.tree.structure(trained) == jax.tree.structure(params)
    assert {type(leaf) for leaf in jax.tree.leaves(trained)} <= {bool}
    program = jax.make_jaxpr(encoder.apply)(params, statistics, _seen(observed))
    assert [v.aval.shape for v in program.jaxpr.outvars] == [(2, 3)]
    return jax.tree.map(jnp.shape, params), trained, str(program)


def _outputs(encoder, observed):
    params, statistics = encoder.init(jax.random.key(1), observed.shape)
    return params, np.asarray(jax.jit(encoder.apply)(params, statistics, _seen(observed)))


def test_resnet18_has_a_stem_by_size():
    net = nets.resnet("18", 7)
    kernel = {}
    for side in (32, 96):
        encoder = net.make(3, Observed((side, side, 3)))
        params, _ = jax.eval_shape(lambda k, e=encoder, s=side: e.init(k, (s, s, 3)), _key())
        kernel[side] = params["Conv_0"]["kernel"].shape[:2]
    assert kernel == {32: (3, 3), 96: (7, 7)}
    assert net_from_json("resnet", net.options).options == {"kind": "18", "hidden": 7}


def _key():
    return jax.random.key(0)


def test_padding_of_a_sequence_is_not_seen():
    encoder = nets.transformer(8, 1, 2).make(3, Observed((6, 2)))
    params, statistics = encoder.init(_key(), (6, 2))
    values = np.random.default_rng(0).normal(size=(2, 6, 2)).astype("f")
    seen = np.arange(6) < np.array([[4], [0]])
    spoiled = np.where(seen[..., None], values, np.nan)
    run = lambda v, s: encoder.apply(params, statistics, Padded(jnp.asarray(v), jnp.asarray(s)))
    np.testing.assert_array_equal(run(values, seen), run(spoiled, seen))
    np.testing.assert_allclose(run(values, seen)[:1], run(values[:, :4], seen[:, :4])[:1], 1e-5)
    # Nothing seen: the bias of the last map.
    np.testing.assert_allclose(run(values, seen)[1], params["head"]["Dense_0"]["bias"])
    whole = encoder.apply(params, statistics, jnp.asarray(values))
    np.testing.assert_allclose(whole, run(values, np.ones((2, 6), bool)), rtol=1e-5)


@pytest.mark.parametrize(
    "kind, shape, name",
    [
        ("features", (7,), "mlp"),
        ("sequence", (9, 2), "transformer"),
        ("image", (40, 40, 1), "convnet"),
        ("image", (40, 41, 3), "resnet"),
        ("text", (12,), "text_transformer"),
    ],
)
def test_nets_by_kind(kind, shape, name):
    assert default_net(kind, shape).name == name


def test_what_is_no_net_is_told():
    for call, told in (
        (lambda: default_net("sound", (3,)), "kind: 'sound' is not allowed; use one of features"),
        (lambda: net_from_json("perceptron", {}), "net: 'perceptron' is not allowed; use one of "),
        (lambda: net_from_json("mlp", {"width": 3}), r'net mlp: its options {"width": 3} are not'),
        (lambda: net_from_json("mlp", {"hidden": "ab"}), "net mlp: its options"),
        (lambda: net_from_json("mlp", {"hidden": [0]}), "net mlp: hidden: "),
        (lambda: net_from_json("resnet", {"kind": "50"}), "net resnet: kind: '50'"),
        (lambda: net_from_json("clip_image", {"config": {}}), "net clip_image: its options"),
        (lambda: nets.clip_image(CLIP, "some"), "tune: 'some' is not allowed; use none, head, all"),
        (lambda: nets.clip_image(CLIP, "none", (3,)), "hidden: "),
        (lambda: nets.clip_image(CLIP, "none").make(3, Observed((12, 12, 3))), "dim: 3 is not"),
        (lambda: nets.as_is().make(3, Observed((4,))), "shape of the features: "),
        (lambda: nets.text_transformer().make(3, Observed((4,))), "a vocabulary of: 0"),
        (lambda: as_net(3, "sound"), "net of sound: int is not allowed; use a Net, an Encoder or"),
        (lambda: as_net(lambda out: 3, "x").make(2, Observed((4,))), "use a function that returns"),
    ):
        with pytest.raises(InvalidInput) as error:
            call()
        assert told in str(error.value) and "\n" not in str(error.value)


def _own(out):
    return mlp_encoder((3,), out)


def test_nets_of_users():
    observed = Observed((4,))
    for given, name in (
        (_own, "_own"),
        (partial(mlp_encoder, (3,)), "mlp"),
        (mlp_encoder((3,), 2), "init"),
        (lambda out, observed: mlp_encoder((observed.shape[0],), out), "<lambda>"),
        (lambda out, width=3: mlp_encoder((width,), out), "<lambda>"),
        (of_function(_own), "_own"),
        (nets.mlp((3,)), None),
    ):
        net = as_net(given, "x")
        assert isinstance(net.make(2, observed), Encoder)
        if name:
            assert net.name == "" and net.options["function"].endswith(name)
        assert _outputs(net.make(2, observed), observed)[1].shape == (2, 2)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_nets_are_pickled_and_copied_as_recipes(copied):
    for net, observed in (CASES["mlp"], CASES["clip text"]):
        again = copied(net)
        assert (again.name, again.options) == (net.name, net.options)
        assert _traced(again, observed) == _traced(net, observed)
    texts = ["a cat", "two dogs"]
    np.testing.assert_array_equal(again.tokenizer.encode(texts), net.tokenizer.encode(texts))
    given = copied(Net("", {"function": "own"}, _with_observed))
    assert given.make is _with_observed and given.options == {"function": "own"}


def _with_observed(out, observed):
    return _own(out)


# CLIP.


def _slopes(encoder, params, statistics, seen):
    run = lambda p: jnp.sum(encoder.forward(p, statistics, seen, _key(), no_gather)[0] ** 2)
    return jax.tree.map(lambda g: bool(np.any(g != 0)), jax.jit(jax.grad(run))(params))


@pytest.mark.parametrize("tune, dim", [("none", 8), ("head", 3), ("all", 3)])
def test_only_what_is_trained_has_gradients(tune, dim):
    net, observed = nets.clip_image(CLIP, tune), Observed((SIZE, SIZE, 3))
    encoder = net.make(dim, observed)
    params, statistics = encoder.init(_key(), observed.shape)
    slopes = _slopes(encoder, params, statistics, _seen(observed))
    told = net.trained(params)
    off = [a for a, b in zip(*map(jax.tree.leaves, (slopes, told)), strict=True) if a and not b]
    assert not off and any(jax.tree.leaves(slopes)) == (tune != "none")
    moved = np.mean(jax.tree.leaves(slopes))
    assert moved > 0.95 if tune == "all" else moved < 0.1


def test_towers_are_those_of_the_folder():
    """No tuning: CLIP's own features; tuned in its own dimension: they are where it starts."""
    model, pixels = read_clip(CLIP), read_pixels(CLIP, SIZE)
    images = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3), np.uint8)
    clip = clip_encoders(model.config)
    tokens = nets.clip_text(CLIP).tokenizer.encode(["a cat", "two dogs' photos"])
    seen = {"image": jnp.asarray(images / 255, jnp.float32), "text": tokens}
    own = {
        "image": clip.image.apply(model.params["image"], {}, clip_pixels(seen["image"], pixels)),
        "text": clip.text.apply(model.params["text"], {}, tokens),
    }
    for side, make in (("image", nets.clip_image), ("text", nets.clip_text)):
        for tune in ("none", "all"):
            encoder = make(CLIP, tune).make(8, Observed(seen[side].shape[1:], 540))
            params, statistics = encoder.init(_key(), seen[side].shape[1:])
            out = encoder.apply(params, statistics, seen[side])
            np.testing.assert_allclose(out, own[side], rtol=1e-4, atol=1e-5)
        frozen, head = make(CLIP, "head").parts(3, None)
        chain = make(CLIP, "head").make(3, None)
        params, statistics = chain.init(_key(), seen[side].shape[1:])
        features = frozen.apply(params["body"], statistics["body"], seen[side])
        np.testing.assert_allclose(features, own[side], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(
            head.apply(params["head"], statistics["head"], features),
            chain.apply(params, statistics, seen[side]),
            rtol=1e-5,
            atol=1e-6,
        )


def test_a_saved_net_needs_its_folder_only_to_start_anew(tmp_path):
    folder = str(copy_golden(tmp_path / "clip"))
    net, observed = nets.clip_image(folder), Observed((SIZE, SIZE, 3))
    options = json.loads(json.dumps(net.options))
    made = net.make(3, observed)
    start = lambda e: partial(e.init, shape=observed.shape)
    params, statistics = start(made)(_key())
    compiled = jax.jit(start(made))(_key())  # reads them too
    jax.tree.map(np.testing.assert_allclose, compiled[0], params)
    shutil.rmtree(folder)
    again = net_from_json("clip_image", options).make(3, observed)
    template = jax.eval_shape(start(again), _key())[0]
    assert jax.tree.map(jnp.shape, template) == jax.tree.map(jnp.shape, params)
    seen = _seen(observed)
    np.testing.assert_array_equal(
        again.apply(params, statistics, seen), made.apply(params, statistics, seen)
    )
    with pytest.raises(InvalidInput, match="clip_image: training anew needs its weights: "):
        start(again)(_key())


@pytest.mark.parametrize("even", [True, False])
@pytest.mark.parametrize("shortest, size", [(12, 12), (13, 10), (None, 12), (7, 12)])
def test_pixels_are_those_of_files(even, shortest, size):
    """But for rounding: Pillow rounds to 8 bits after each of two passes."""
    for filter in (Image.Resampling.BICUBIC, Image.Resampling.BILINEAR):
        how = clip_images.ClipPixels(
            shortest, size, filter, even, 1 / 255, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
        )
        for picture in pictures():
            theirs = standardise_pixels(fit_image(Image.fromarray(picture), how), how)
            ours = clip_pixels(jnp.asarray(picture[None] / 255, jnp.float32), how)[0]
            np.testing.assert_allclose(ours, theirs, atol=2.5 / 255 / 0.2)


def test_a_model_of_towers_tunes_their_heads_and_needs_no_folder(tmp_path):
    """Weight decay and the optimiser leave the frozen towers as they were read."""
    folder = str(copy_golden(tmp_path / "clip"))
    images = np.random.default_rng(0).integers(0, 256, (16, 14, 14, 3), np.uint8)
    words = np.random.default_rng(1).normal(size=(16, 3)).astype(np.float32)
    data = mm.Dataset.from_arrays(image=images, words=words, split=(1, 0, 0))
    own = {"image": nets.clip_image(folder), "words": nets.linear()}
    model = mm.fit(data, dim=3, key=_key(), nets=own, steps=2, batch_size=8, progress=False)
    tower = model.params["nets"]["image"]["encoder"]["body"]
    jax.tree.map(np.testing.assert_array_equal, tower, read_clip(folder).params["image"])
    model.save(str(tmp_path / "model"))
    shutil.rmtree(folder)
    again = mm.load(str(tmp_path / "model"))
    one, two = (m.embed(image=images) for m in (model, again))
    np.testing.assert_array_equal(one, two)

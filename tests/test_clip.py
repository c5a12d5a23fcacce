"""CLIP without PyTorch: what must change its features and what must not, and its golden folder.

tests/test_clip_parity.py compares with PyTorch and writes tests/golden/clip.
"""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.flax
import safetensors.numpy
from PIL import Image

from mmjax.data import (
    ClipConfig,
    fit_image,
    read_clip,
    read_clip_config,
    read_pixels,
    read_tokenizer,
    standardise_pixels,
)
from mmjax.data.clip.config import ACTIVATIONS as NAMES
from mmjax.encoders import Clip, clip_encoders
from mmjax.encoders.clip import ACTIVATIONS
from mmjax.errors import InvalidInput
from tests.clip_folders import (
    GOLDEN,
    TEXTS,
    activation,
    copy_golden,
    pictures,
    write_openclip,
)


@functools.cache
def _compiled(config: ClipConfig, side: str):
    return jax.jit(getattr(clip_encoders(config), side).apply)


def _image(model, pixels, params=None):
    encode = _compiled(model.config._replace(eos=None), "image")  # which has no end
    return np.asarray(encode(params or model.params["image"], {}, jnp.asarray(pixels)))


def _text(model, tokens):
    encode = _compiled(model.config, "text")
    return np.asarray(encode(model.params["text"], {}, jnp.asarray(tokens)))


def _features(model, pixels, tokens):
    return _image(model, pixels), _text(model, tokens)


@pytest.fixture(scope="module")
def model():
    return read_clip(str(GOLDEN))


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN / "expected.npz") as file:
        return dict(file)


def test_padding_further_changes_nothing(model, golden):
    tokens = golden["tokens"]
    short = tokens[[0, 2, 5]][:, :9]
    assert (short[:, -1] == 539).all()
    whole = _text(model, tokens[[0, 2, 5]])
    np.testing.assert_allclose(_text(model, short), whole, atol=1e-5)


def test_nothing_behind_the_end_is_seen_and_all_before_it_is(model, golden):
    tokens = golden["tokens"][:1].repeat(4, axis=0)
    end = int(np.argmax(tokens[0] == 539))
    tokens[1, end + 1 :] = 7
    tokens[2, 1] = tokens[3, end - 1] = 7
    features = _text(model, tokens)
    np.testing.assert_allclose(features[1], features[0], atol=1e-5)
    assert np.abs(features[2:] - features[0]).max(axis=1).min() > 0.1


def test_rows_do_not_see_each_other(model, golden):
    order = np.array([2, 0, 3, 1])
    image, text = _features(model, golden["pixels"], golden["tokens"][:4])
    again = _features(model, golden["pixels"][order], golden["tokens"][:4][order])
    np.testing.assert_allclose(again[0], image[order], atol=1e-5)
    np.testing.assert_allclose(again[1], text[order], atol=1e-5)


def test_patches_are_a_set_with_places(model, golden):
    """Patches that change places together with their positions give the same features."""
    side, n = model.config.patch_size, model.config.image_size // model.config.patch_size
    order = np.random.default_rng(0).permutation(n * n)
    pixels = golden["pixels"]
    patches = (
        pixels.reshape(-1, n, side, n, side, 3).swapaxes(2, 3).reshape(-1, n * n, side, side, 3)
    )
    mixed = patches[:, order].reshape(-1, n, n, side, side, 3).swapaxes(2, 3).reshape(pixels.shape)
    places = model.params["image"]["positions"]
    params = model.params["image"] | {"positions": places[np.r_[0, 1 + order]]}
    expected = _image(model, pixels)
    np.testing.assert_allclose(_image(model, mixed, params), expected, atol=1e-5)
    assert np.abs(_image(model, mixed) - expected).max() > 0.1


@pytest.mark.parametrize("eos", [539, 2])
@pytest.mark.parametrize("act", sorted(ACTIVATIONS))
def test_golden_features(act, eos, golden, tmp_path):
    """From files to features, as PyTorch has them; 2 is the first configs' eos (read at argmax)."""

    def change(fields):
        activation(act)(fields)
        fields["text_config"]["eos_token_id"] = eos

    folder = str(copy_golden(tmp_path / "model", config=change))
    model, how = read_clip(folder), read_pixels(folder, 12)
    assert model.config.eos == (None if eos == 2 else eos)
    images = np.stack([fit_image(Image.fromarray(picture), how) for picture in pictures()])
    pixels = standardise_pixels(jnp.asarray(images), how)
    np.testing.assert_allclose(pixels, golden["pixels"], atol=1e-5)
    tokens = read_tokenizer(folder).encode(TEXTS, model.config.context_length)
    np.testing.assert_array_equal(tokens, golden["tokens"])
    for name, found in zip(("image", "text"), _features(model, pixels, tokens), strict=True):
        assert found.dtype == jnp.float32
        np.testing.assert_allclose(found, golden[f"{name}_{act}"], atol=1e-4)
    assert np.abs(golden["image_gelu"] - golden["image_quick_gelu"]).max() > 1e-3


def test_eos_rules_differ_where_a_token_is_larger(model, golden):
    """First place of the eos, or place of the largest token."""
    tokens = golden["tokens"][:2].copy()
    tokens[tokens == 539] = 100
    tokens[:, 1] = 530
    first, largest = (
        _text(model._replace(config=model.config._replace(eos=eos)), tokens) for eos in (100, None)
    )
    assert np.abs(first - largest).max() > 0.1
    shortened = np.where(np.arange(16) < 2, tokens, 0)  # the largest is the last that counts
    config = model.config._replace(eos=None)
    again = _text(model._replace(config=config), shortened)
    np.testing.assert_allclose(again, largest, atol=1e-5)


def test_float32_is_close_to_float64(model, golden):
    with jax.enable_x64(True):
        params = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), model.params)
        clip = clip_encoders(model.config)
        image = jax.jit(clip.image.apply)(params["image"], {}, golden["pixels"].astype(np.float64))
        text = jax.jit(clip.text.apply)(params["text"], {}, golden["tokens"])
        assert image.dtype == text.dtype == jnp.float64
        image, text = np.asarray(image), np.asarray(text)
    for exact, found in zip(
        (image, text), _features(model, golden["pixels"], golden["tokens"]), strict=True
    ):
        np.testing.assert_allclose(found, exact, atol=2e-5)


@pytest.mark.parametrize("prefix", ["", "text."])
def test_an_openclip_folder_holds_the_same(prefix, model, golden, tmp_path):
    folder = str(write_openclip(tmp_path / "model", prefix=prefix))
    found = read_clip(folder)
    assert found.config == model.config._replace(eos=None)
    jax.tree.map(np.testing.assert_array_equal, found.params, model.params)
    assert found.logit_scale == model.logit_scale
    tokens = read_tokenizer(folder).encode(TEXTS, 16)
    ends = np.argmax(tokens, axis=1)
    assert (tokens[np.arange(16) > ends[:, None]] == 0).all()  # its padding
    text = _text(found, tokens)
    np.testing.assert_allclose(text, golden["text_quick_gelu"], atol=1e-4)
    how = read_pixels(folder, 12)
    assert how.mean == (0.5, 0.4, 0.3) and how.filter == Image.Resampling.BILINEAR


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_weights_of_every_width(dtype, model, tmp_path):
    folder = copy_golden(tmp_path / "model")
    tensors = safetensors.numpy.load_file(GOLDEN / "model.safetensors")
    if dtype == "bfloat16":  # which NumPy alone has not
        tensors = {name: jnp.asarray(tensor, dtype) for name, tensor in tensors.items()}
        safetensors.flax.save_file(tensors, folder / "model.safetensors")
    else:
        tensors = {name: tensor.astype(dtype) for name, tensor in tensors.items()}
        safetensors.numpy.save_file(tensors, folder / "model.safetensors")
    found = read_clip(str(folder))
    leaves = jax.tree.leaves(found.params)
    assert all(leaf.dtype == np.float32 for leaf in leaves)
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=2**-8)
    jax.tree.map(close, found.params, model.params)


def test_weights_in_several_files(model, tmp_path):
    folder = copy_golden(tmp_path / "model")
    tensors = safetensors.numpy.load_file(folder / "model.safetensors")
    tensors["text_model.embeddings.position_ids"] = np.arange(16)  # of older files
    (folder / "model.safetensors").unlink()
    places = {name: f"part-{len(name) % 2}.safetensors" for name in tensors}
    for file in set(places.values()):
        part = {name: t for name, t in tensors.items() if places[name] == file}
        safetensors.numpy.save_file(part, folder / file)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": places}))
    jax.tree.map(np.testing.assert_array_equal, read_clip(str(folder)).params, model.params)


def test_read_parameters_are_those_that_init_makes(model):
    clip = clip_encoders(model.config)
    assert isinstance(clip, Clip)
    for side, shape in (("image", (12, 12, 3)), ("text", (16,))):
        encoder = getattr(clip, side)
        make = lambda key, e=encoder, s=shape: e.init(key, s)
        params, statistics = jax.eval_shape(make, jax.random.key(0))
        described = lambda tree: jax.tree.map(lambda x: (x.shape, str(x.dtype)), tree)
        assert described(params) == described(model.params[side]) and statistics == {}


def test_gradients_reach_all_parameters(model, golden):
    """Finite ones: the encoders can be trained further. One layer each, for the compilation."""
    towers = {side: getattr(model.config, side)._replace(layers=1) for side in ("image", "text")}
    clip = clip_encoders(model.config._replace(**towers))
    for side, x in (("image", golden["pixels"]), ("text", golden["tokens"])):
        params = {name: tree for name, tree in model.params[side].items() if name != "layer_1"}
        forward = getattr(clip, side).forward
        total = lambda p, f=forward, x=x: jnp.sum(f(p, {}, x, jax.random.key(0), None)[0] ** 2)
        for path, leaf in jax.tree_util.tree_leaves_with_path(jax.jit(jax.grad(total))(params)):
            assert np.isfinite(leaf).all() and np.abs(leaf).max() > 0, path


def test_encoders_refuse_other_inputs(model):
    assert sorted(ACTIVATIONS) == sorted(NAMES)
    clip, image, text = clip_encoders(model.config), *(model.params[k] for k in ("image", "text"))
    zeros = np.zeros
    for encoder, params, x, told in (
        (clip.image, image, zeros((1, 12, 13, 3), np.float32), "images: (1, 12, 13, 3)"),
        (clip.image, image, zeros((1, 12, 12, 3), np.uint8), "standardised"),
        (clip.text, text, zeros((1, 17), np.int32), "[batch, 1 to 16]"),
        (clip.text, text, zeros((1, 16), np.float32), "whole numbers"),
    ):
        with pytest.raises(InvalidInput) as error:
            encoder.apply(params, {}, x)
        assert told in str(error.value)
    for change, told in (
        (dict(image_size=13), "a multiple of patch_size 4"),
        (dict(text=model.config.text._replace(activation="relu")), "gelu, quick_gelu"),
        (dict(text=model.config.text._replace(heads=5)), "a multiple of 5 heads"),
    ):
        with pytest.raises(InvalidInput, match=told):
            clip_encoders(model.config._replace(**change))


def test_defaults_of_configs(tmp_path):
    """ViT-B/32 in transformers, ViT-B/16 in OpenCLIP; a `_dict` of older files wins."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"model_type": "clip"}))
    found = read_clip_config(str(tmp_path))
    assert found.image == (768, 12, 12, 3072, "quick_gelu", 1e-5)
    assert found.text == (512, 12, 8, 2048, "quick_gelu", 1e-5)
    assert found[2:] == (512, 224, 32, 49408, 77, 49407)
    older = {"hidden_size": 64}, {"hidden_size": 32, "hidden_act": "gelu", "eos_token_id": 2}
    path.write_text(json.dumps({"text_config": older[0], "text_config_dict": older[1]}))
    found = read_clip_config(str(tmp_path))
    assert found.text == (32, 12, 8, 2048, "gelu", 1e-5) and found.eos is None
    path.unlink()
    text = {"pool_type": "eos", "eos_id": 49407, "norm_kwargs": {"eps": 1e-6}}
    config = {"model_cfg": {"embed_dim": 640, "vision_cfg": {}, "text_cfg": text}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    found = read_clip_config(str(tmp_path))
    assert found.image == (768, 12, 12, 3072, "gelu", 1e-5)
    assert found.text == (512, 12, 8, 2048, "gelu", 1e-6)
    assert found[2:] == (640, 224, 16, 49408, 77, 49407)

"""A CLIP's tokens, images and folders: what is read, and what is told of those that are broken."""

import json
import shutil
import sys

import numpy as np
import pytest
import safetensors.flax
import safetensors.numpy
from PIL import Image

from mmjax.data import (
    ClipPixels,
    fit_image,
    image_batches,
    read_clip,
    read_pixels,
    read_tokenizer,
    standardise_pixels,
)
from mmjax.errors import InvalidInput
from tests.clip_folders import (
    GOLDEN,
    TEXTS,
    copy_golden,
    pictures,
    write_openclip,
)

# Tokens.


def test_texts_are_cut_before_their_end():
    encode = read_tokenizer(str(GOLDEN)).encode
    for length in (2, 5, 40):
        tokens = encode(TEXTS, length)
        assert tokens.shape == (len(TEXTS), length) and tokens.dtype == np.int32
        ends = np.argmax(tokens == 539, axis=1)
        assert (tokens[:, 0] == 538).all() and (tokens[:, 0] < tokens.max(axis=1)).all()
        longer = encode(TEXTS, 80)
        for row, whole, end in zip(tokens, longer, ends, strict=True):
            assert row[:end].tolist() == whole[:end].tolist()
    assert encode([], 5).shape == (0, 5)
    with pytest.raises(InvalidInput, match="length: 1"):
        encode(TEXTS, 1)


def _written(tokens, row):
    """Tokens as they are written, without the ends and the padding."""
    shown = {k: token for token, k in tokens.items()}
    return [shown[k] for k in row if k < 538]


@pytest.mark.parametrize(
    "text,written",
    [
        ("Photo PHOTOS", "photo</w> photos</w>"),
        ("cat's", "cat</w> ' s</w>"),
        ("42!?", "4</w> 2</w> ! ?</w>"),
        ("a\u00a0 \n cat", "a</w> cat</w>"),
        ("e\u0301", "Ã ©</w>"),  # composed: the two bytes of é
        ("½a", "Â ½</w> a</w>"),  # a number, no letter
        ("catdog", "ca t dog</w>"),
        ("&amp;", "&</w> a m p</w> ;</w>"),
    ],
)
def test_words_and_their_bytes(text, written):
    tokens = json.loads((GOLDEN / "vocab.json").read_text())
    row = read_tokenizer(str(GOLDEN)).encode([text], 20)[0]
    assert " ".join(_written(tokens, row)) == written


def test_special_tokens_in_texts_and_entities(tmp_path):
    """Hugging Face: a special token is that token. OpenCLIP: entities are resolved, no token is."""
    folder = str(write_openclip(tmp_path / "model"))
    tokens = json.loads((GOLDEN / "vocab.json").read_text())
    text = "a<|endoftext|>&amp;amp;"
    ours = read_tokenizer(str(GOLDEN)).encode([text], 30)[0]
    assert ours[:4].tolist() == [538, tokens["a</w>"], 539, tokens["&</w>"]]
    theirs = read_tokenizer(folder).encode([text], 30)[0].tolist()
    assert _written(tokens, theirs[: theirs.index(539)])[-3:] == ["|", ">", "&</w>"]


def test_one_file_is_the_same_vocabulary(tmp_path):
    folder = copy_golden(tmp_path / "model")
    expected = read_tokenizer(str(folder)).encode(TEXTS, 30)
    lines = (folder / "merges.txt").read_text().splitlines()[1:]
    vocabulary = json.loads((folder / "vocab.json").read_text())
    special = {token: vocabulary.pop(token) for token in ("<|startoftext|>", "<|endoftext|>")}
    added = [{"id": k, "content": token, "special": True} for token, k in special.items()]
    for merges in (lines, [line.split() for line in lines]):  # two ways of writing them
        model = dict(type="BPE", end_of_word_suffix="</w>", vocab=vocabulary, merges=merges)
        written = json.dumps({"model": model, "added_tokens": added})
        (folder / "tokenizer.json").write_text(written)
        (folder / "vocab.json").unlink(missing_ok=True)
        found = read_tokenizer(str(folder))
        np.testing.assert_array_equal(found.encode(TEXTS, 30), expected)
        assert found.end == 539 and found.size == 540


# Images.


def _how(**changes):
    return read_pixels(str(GOLDEN), 12)._replace(**changes)


def test_images_are_cut_out_of_the_middle():
    column = np.repeat(np.arange(17, dtype=np.uint8)[None], 12, axis=0)
    image = Image.fromarray(np.stack([column] * 3, 2))
    for even, first in ((False, 2), (True, 2)):  # half of 5, down and to even
        found = fit_image(image, _how(shortest=12, even=even))
        assert found.shape == (12, 12, 3) and found.dtype == np.uint8
        np.testing.assert_array_equal(found[0, :, 0], np.arange(first, first + 12))
    wide = image.crop((0, 0, 15, 12))
    assert [fit_image(wide, _how(shortest=12, even=e))[0, 0, 0] for e in (False, True)] == [1, 2]


def test_a_fitting_image_stays_as_it_is():
    picture = pictures()[2]
    assert picture.shape == (12, 12, 3)
    how = _how(shortest=12)
    np.testing.assert_array_equal(fit_image(Image.fromarray(picture), how), picture)
    found = standardise_pixels(picture[None], how)
    np.testing.assert_allclose(found[0] * how.std + how.mean, picture / 255, atol=1e-6)


def test_modes_of_images():
    """Grey is grey in all channels, transparent is white, an opaque alpha changes nothing."""
    how, image = _how(shortest=12), Image.fromarray(pictures()[2])
    grey = fit_image(image.convert("L"), how)
    assert (grey == grey[..., :1]).all()
    opaque, clear = image.convert("RGBA"), image.convert("RGBA")
    clear.putalpha(0)
    np.testing.assert_array_equal(fit_image(opaque, how), fit_image(image, how))
    assert (fit_image(clear, how) == 255).all()
    with pytest.raises(ValueError, match="unequal"):
        fit_image(Image.new("L", (1, 6_000_000)), _how(shortest=12))


def test_batches_hold_all_files_in_order(tmp_path):
    paths = []
    for k in range(11):
        path = tmp_path / f"{k}.png"
        Image.new("RGB", (12, 12), (k, k, k)).save(path)
        paths.append(str(path))
    (tmp_path / "4.png").write_bytes(b"no image")
    whole = (tmp_path / "5.png").read_bytes()
    (tmp_path / "5.png").write_bytes(whole[:60])
    found = list(image_batches(paths, _how(shortest=12), batch_size=4, workers=3))
    assert [len(batch) for batch in found] == [4, 4, 3]
    flat = [image for batch in found for image in batch]
    for k, image in enumerate(flat):
        assert isinstance(image, str) if k in (4, 5) else (image == k).all()


# Folders that can't be used, each told in one line that names the file.


def _json(name, change):
    def write(folder):
        fields = json.loads((folder / name).read_text())
        change(fields)
        (folder / name).write_text(json.dumps(fields))

    return write


def _tower(tower, **fields):
    return _json("config.json", lambda c: c[tower].update(fields))


def _tensors(change):
    def write(folder):
        tensors = safetensors.numpy.load_file(folder / "model.safetensors")
        change(tensors)
        safetensors.numpy.save_file(tensors, folder / "model.safetensors")

    return write


def _cut(name, size):
    return lambda f: (f / name).write_bytes((f / name).read_bytes()[:size])


def _say(name, text):
    return lambda f: (f / name).write_text(text)


def _no(name):
    return lambda f: (f / name).unlink()


def _index(weight_map):
    def write(folder):
        (folder / "model.safetensors").unlink()
        index = folder / "model.safetensors.index.json"
        index.write_text(json.dumps({"weight_map": weight_map}))

    return write


def _pickled(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


_BIAS = "vision_model.post_layernorm.bias"
BAD_MODELS = {
    "no config": (_no("config.json"), "no config.json (Hugging Face) and no open_clip_config.json"),
    "no weights": (_no("model.safetensors"), "model.safetensors: not there"),
    "pickle": (_pickled, "pytorch_model.bin is a pickle, which is never loaded"),
    "cut weights": (_cut("model.safetensors", 30_000), "not a whole .safetensors file"),
    "empty weights": (_cut("model.safetensors", 0), "not a whole .safetensors file"),
    "cut config": (_cut("config.json", 90), "config.json: no JSON file"),
    "binary config": (lambda f: (f / "config.json").write_bytes(b"\xff\xfe"), "no JSON file"),
    "list config": (_say("config.json", "[]"), "config.json: a JSON list"),
    "other model": (_json("config.json", lambda c: c.update(model_type="bert")), "model_type: 'b"),
    "no object": (_json("config.json", lambda c: c.update(text_config=3)), "text_config: 3"),
    "zero layers": (_tower("vision_config", num_hidden_layers=0), "num_hidden_layers: 0"),
    "endless": (_tower("text_config", num_hidden_layers=10**7), "use at most 1000"),
    "words": (_tower("text_config", hidden_size="24"), "text_config.hidden_size: '24'"),
    "heads": (_tower("text_config", num_attention_heads=5), "a multiple of the 5 heads"),
    "patches": (_tower("vision_config", patch_size=5), "a multiple of patch_size 5"),
    "activation": (_tower("text_config", hidden_act="relu"), "use quick_gelu or gelu"),
    "channels": (_tower("vision_config", num_channels=1), "num_channels: 1"),
    "epsilon": (_tower("text_config", layer_norm_eps=0), "layer_norm_eps: 0"),
    "eos": (_tower("text_config", eos_token_id=540), "eos_token_id: 540"),
    "more layers": (_tower("text_config", num_hidden_layers=3), "16 tensors missing, first 'text"),
    "fewer layers": (_tower("text_config", num_hidden_layers=1), "16 tensors that the config has"),
    "other shape": (_tower("text_config", vocab_size=600), "token_embedding.weight' has shape"),
    "missing": (_tensors(lambda t: t.pop(_BIAS)), f"1 tensors missing, first '{_BIAS}'"),
    "more": (_tensors(lambda t: t.update(extra=t[_BIAS])), "no place for, first 'extra'"),
    "NaN": (_tensors(lambda t: t.update({_BIAS: t[_BIAS] * np.nan})), "has NaN or infinity"),
    "whole": (_tensors(lambda t: t.update({_BIAS: t[_BIAS].astype(np.int8)})), "has dtype I8"),
    "no part": (_index({"a": "part.safetensors"}), "part.safetensors: not there"),
    "part above": (_index({"a": "../part.safetensors"}), "weight_map: use names"),
    "no map": (_index(None), "weight_map: use names"),
    "lists": (_index({"a": ["part.safetensors"]}), "weight_map: use names"),
}  # fmt: skip


def _told(function, folder) -> str:
    with pytest.raises(InvalidInput) as error:
        function(str(folder))
    told = str(error.value)
    assert "\n" not in told and str(folder) in told and len(told) < 400 + len(str(folder))
    return told


@pytest.mark.parametrize("name", BAD_MODELS)
def test_bad_models_are_told(name, tmp_path):
    spoil, expected = BAD_MODELS[name]
    spoil(copy_golden(tmp_path / "model"))
    assert expected in _told(read_clip, tmp_path / "model")


def _openclip(part, **fields):
    change = lambda c: (c["model_cfg"][part] if part else c["model_cfg"]).update(fields)
    return _json("open_clip_config.json", change)


BAD_OPENCLIP = {
    "no weights": (_no("open_clip_model.safetensors"), "open_clip_model.safetensors: not there"),
    "resnet": (_openclip("vision_cfg", layers=[3, 4, 6, 3]), "vision_cfg.layers: [3, 4, 6, 3]"),
    "timm": (_openclip("vision_cfg", timm_model_name="vit"), "vision_cfg.timm_model_name: 'vit'"),
    "pool": (_openclip("text_cfg", pool_type="last"), "text_cfg.pool_type: 'last'"),
    "bert": (_openclip("text_cfg", hf_tokenizer_name="bert"), "text_cfg.hf_tokenizer_name: 'bert'"),
    "coca": (_openclip("", multimodal_cfg={"width": 3}), "model_cfg.multimodal_cfg: {'width': 3}"),
    "no embedding": (_openclip("", embed_dim=None), "model_cfg.embed_dim: None"),
    "gelu": (_openclip("", quick_gelu="yes"), "model_cfg.quick_gelu: 'yes'"),
    "heads": (_openclip("vision_cfg", head_width=5), "vision_cfg.width: 16"),
    "eos": (_openclip("text_cfg", pool_type="eos", eos_id=999), "text_cfg.eos_id: 999"),
}


@pytest.mark.parametrize("name", BAD_OPENCLIP)
def test_bad_openclip_models_are_told(name, tmp_path):
    spoil, expected = BAD_OPENCLIP[name]
    spoil(write_openclip(tmp_path / "model"))
    assert expected in _told(read_clip, tmp_path / "model")


BAD_TOKENIZERS = {
    "no vocabulary": (_no("vocab.json"), "vocab.json: not there"),
    "no merges": (_no("merges.txt"), "merges.txt: not there"),
    "cut vocabulary": (_cut("vocab.json", 300), "vocab.json: no JSON file"),
    "words": (_say("vocab.json", '{"a": "b"}'), "vocab.json: no vocabulary"),
    "no end": (_json("vocab.json", lambda v: v.pop("<|endoftext|>")), "no token '<|endoftext|>'"),
    "three": (_say("merges.txt", "#version\na b\na b c\n"), "merges.txt: line 3 is 'a b c'"),
    "unknown pair": (_say("merges.txt", "a q\n"), "vocab.json: no token 'aq', which the merges"),
    "binary": (lambda f: (f / "merges.txt").write_bytes(b"\xff\xff"), "no UTF-8 text"),
    "cut tokenizer": (_say("tokenizer.json", '{"model":'), "tokenizer.json: no JSON file"),
    "word pieces": (_say("tokenizer.json", '{"model": {"type": "WordPiece"}}'), "WordPiece"),
    "other suffix": (_say("tokenizer.json", '{"model": {"type": "BPE"}}'), "use CLIP's, BPE with"),
    "added": (_say("tokenizer.json", '{"model": {"type": "BPE", "end_of_word_suffix": "</w>", '
                   '"vocab": {"a": 1}, "merges": []}, "added_tokens": [3]}'), "objects with id"),
    "special": (_say("special_tokens_map.json", '{"eos_token": 3}'), "eos_token: 3"),
    "a byte less": (lambda f: (_say("special_tokens_map.json", '{"unk_token": "?!?"}')(f),
                    _json("vocab.json", lambda v: v.pop("~"))(f)), "no token '~', and no unknown"),
}  # fmt: skip


def test_a_byte_without_a_token_is_unknown(tmp_path):
    folder = copy_golden(tmp_path / "model")
    _json("vocab.json", lambda v: v.pop("~"))(folder)
    rows = [read_tokenizer(str(f)).encode(["a ~! cat"], 8)[0].tolist() for f in (folder, GOLDEN)]
    known = json.loads((GOLDEN / "vocab.json").read_text())["~"]
    assert rows[0] == [539 if k == known else k for k in rows[1]] != rows[1]


def test_halves_of_surrogate_pairs_are_replaced():
    encode = read_tokenizer(str(GOLDEN)).encode
    assert (encode(["a \ud800 cat", "\ufeffa"], 9) == encode(["a \ufffd cat", "\ufeffa"], 9)).all()


@pytest.mark.parametrize("name", BAD_TOKENIZERS)
def test_bad_tokenizers_are_told(name, tmp_path):
    spoil, expected = BAD_TOKENIZERS[name]
    spoil(copy_golden(tmp_path / "model"))
    assert expected in _told(read_tokenizer, tmp_path / "model")


def _processor(**fields):
    return _json("preprocessor_config.json", lambda c: c.update(fields))


BAD_PROCESSORS = {
    "cut": (_cut("preprocessor_config.json", 40), "no JSON file"),
    "filter": (_processor(resample=9), "resample: 9"),
    "size": (_processor(size={"longest_edge": 3}), "size: {'longest_edge': 3}"),
    "crop": (_processor(crop_size=224), "crop_size: 224 is not allowed; use 12, the image_size"),
    "no crop": (_processor(do_center_crop=False), "do_center_crop: False"),
    "flag": (_processor(do_resize="no"), "do_resize: 'no'"),
    "mean": (_processor(image_mean=[0, 0]), "image_mean: [0, 0]"),
    "deviation": (_processor(image_std=[0, 1, 1]), "image_std: [0, 1, 1]"),
    "scale": (_processor(rescale_factor=-1), "rescale_factor: -1"),
}


@pytest.mark.parametrize("name", BAD_PROCESSORS)
def test_bad_processors_are_told(name, tmp_path):
    spoil, expected = BAD_PROCESSORS[name]
    spoil(copy_golden(tmp_path / "model"))
    assert expected in _told(lambda folder: read_pixels(folder, 12), tmp_path / "model")


def test_bad_openclip_processors_are_told(tmp_path):
    folder = write_openclip(tmp_path / "model")
    for fields, told in (
        (dict(resize_mode="longest"), "preprocess_cfg.resize_mode: 'longest'"),
        (dict(interpolation=["bicubic"]), "preprocess_cfg.interpolation: ['bicubic']"),
    ):
        _json("open_clip_config.json", lambda c, f=fields: c["preprocess_cfg"].update(f))(folder)
        assert told in _told(lambda f: read_pixels(f, 12), folder)
        _json("open_clip_config.json", lambda c: c.pop("preprocess_cfg"))(folder)
        _json("open_clip_config.json", lambda c: c.update(preprocess_cfg={}))(folder)


def test_processors_left_out_or_nested(tmp_path):
    """OpenAI's where there is no file; transformers 5 also writes it into another one."""
    folder = copy_golden(tmp_path / "model")
    expected = read_pixels(str(folder), 12)
    written = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").unlink()
    usual = read_pixels(str(folder), 12)
    assert isinstance(usual, ClipPixels) and usual == expected._replace(shortest=12)
    nested = {"image_processor": written}
    (folder / "processor_config.json").write_text(json.dumps(nested))
    assert read_pixels(str(folder), 12) == expected


def test_safetensors_is_asked_for(monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    assert "pip install safetensors" in _told(read_clip, GOLDEN)


def test_missing_folders_are_told(tmp_path):
    for function in (read_clip, read_tokenizer, lambda f: read_pixels(f, 12)):
        assert "--model" in _told(function, tmp_path / "nowhere")
        shutil.rmtree(tmp_path / "nowhere", ignore_errors=True)

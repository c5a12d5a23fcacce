"""CLIP beside PyTorch: transformers and, where it is installed, open_clip.

The golden folder that tests/test_clip.py reads is written by `python -m tests.test_clip_parity`.
"""

import gzip
import json
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import jax
import numpy as np
import pytest
from PIL import Image

from mmjax.data import fit_image, read_clip, read_pixels, read_tokenizer, standardise_pixels
from mmjax.encoders import clip_encoders
from tests.clip_folders import (
    GOLDEN,
    TEXTS,
    activation,
    byte_letters,
    copy_golden,
    pictures,
    vocabulary,
    write_openclip,
    write_vocabulary,
)

_REASON = "parity with PyTorch needs `pip install torch transformers`"
torch = pytest.importorskip("torch", reason=_REASON)
transformers = pytest.importorskip("transformers", reason=_REASON)

STRINGS = (
    *TEXTS,
    "HELLO World!!! it's we'll they'd I'M you've 're''s",
    "'sunny 'day don't!'s 12345 3.14 1,000",
    "İstanbul ΣΑΣ ΌΣΟΣ ß ﬁ Å (A\u030a) e\u0301",
    "tabs\tand\nnew\r\nlines\u00a0nbsp\u2003em\u3000wide\x85next\x1cfile",
    "x² ½ ٣ Ⅻ ㊿ ①②③ ১২৩ _under_score_ a_b",
    "emoji 🐈‍⬛👩‍👩‍👧 flags 🇩🇪 漢字かなカナ한국어",
    "<|startoftext|>inside<|endoftext|> and after <|ENDOFTEXT|>",
    "!!! ... --- a!b?c ###",
    "&amp; &lt;b&gt; &#39;s",
    "control \x00\x01 \u200b zero \ufeff bom \u0301 alone",
)


def _model(tmp: Path, act="quick_gelu", eos=None, **sizes):
    """A Hugging Face model with random weights, biases and norms too, saved to a folder."""
    ids, _ = vocabulary()
    end = ids["<|endoftext|>"]
    shared = dict(hidden_act=act, num_hidden_layers=2, attn_implementation="eager")
    text = dict(vocab_size=end + 1, hidden_size=24, intermediate_size=48, num_attention_heads=3)
    text |= dict(max_position_embeddings=16, bos_token_id=end - 1, pad_token_id=end) | shared
    text["eos_token_id"] = end if eos is None else eos
    image = dict(hidden_size=16, intermediate_size=40, num_attention_heads=2) | shared
    image |= dict(image_size=12, patch_size=4)
    config = transformers.CLIPConfig(
        **(sizes or dict(text_config=text, vision_config=image, projection_dim=8))
    )
    torch.manual_seed(0)
    model = transformers.CLIPModel(config).eval()
    if not sizes:
        with torch.no_grad():
            for weights in model.parameters():
                weights += 0.3 * torch.randn(weights.shape)
            # What stands in a file of 16 bits: the golden one is small.
            for weights in model.parameters():
                weights.copy_(weights.half().float())
    model.save_pretrained(tmp)
    return model


def _theirs(model, pixels: np.ndarray, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    bare = lambda out: getattr(out, "pooler_output", out).numpy()
    with torch.no_grad():
        image = model.get_image_features(torch.tensor(pixels.transpose(0, 3, 1, 2)))
        return bare(image), bare(model.get_text_features(torch.tensor(tokens)))


def _ours(folder: Path, pixels: np.ndarray, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    found = read_clip(str(folder))
    clip = clip_encoders(found.config)
    image = jax.jit(clip.image.apply)(found.params["image"], {}, pixels)
    return image, jax.jit(clip.text.apply)(found.params["text"], {}, tokens)


def _check(name: str, ours, theirs, tolerance: float) -> None:
    for side, a, b in zip(("image", "text"), ours, theirs, strict=True):
        print(f"{name} {side}: {np.abs(a - b).max():.2e} of {np.abs(b).max():.2f}")
        assert a.shape == b.shape and np.std(b) > 0.1
        np.testing.assert_allclose(a, b, atol=tolerance, rtol=0)


def _inputs(size: int, tokens: int, length: int, start: int, end: int):
    """Pixels, and texts that end early, late, and are padded by their end."""
    rng = np.random.default_rng(0)
    pixels = rng.normal(size=(3, size, size, 3)).astype(np.float32)
    found = rng.integers(0, tokens - 2, (4, length)).astype(np.int32)
    found[:, 0] = start
    for row, stop in zip(found, (2, length // 2, length - 1, 5), strict=True):
        row[stop:] = end
    found[3, 6:] = 0  # OpenCLIP's padding
    return pixels, found


@pytest.mark.parametrize("eos", [None, 2])
@pytest.mark.parametrize("act", ["quick_gelu", "gelu"])
def test_features_are_those_of_transformers(act, eos, tmp_path):
    model = _model(tmp_path, act, eos)
    assert (read_clip(str(tmp_path)).config.eos is None) == (eos == 2)
    n = len(vocabulary()[0])
    inputs = _inputs(12, n, 16, n - 2, n - 1)
    _check(f"tiny {act} {eos}", _ours(tmp_path, *inputs), _theirs(model, *inputs), 1e-5)


def test_eos_rules_differ_where_a_token_is_larger(tmp_path):
    """The largest token is not the end, as with tokens that are added later."""
    n = len(vocabulary()[0])
    pixels, tokens = _inputs(12, n, 16, n - 2, n - 3)
    for eos in (n - 3, 2):
        model = _model(tmp_path / str(eos), eos=eos)
        tokens[:, 1] = n - 1
        ours, theirs = (f(m, pixels, tokens) for f, m in
                        ((_ours, tmp_path / str(eos)), (_theirs, model)))  # fmt: skip
        _check(f"eos {eos}", ours, theirs, 1e-5)


def test_padding_mask_changes_nothing(tmp_path):
    """transformers masks what pads; behind the end it can't be seen anyhow."""
    model = _model(tmp_path)
    n = len(vocabulary()[0])
    _, tokens = _inputs(12, n, 16, n - 2, n - 1)
    tokens = tokens[:3]
    mask = np.cumsum(tokens == n - 1, axis=1) <= 1
    with torch.no_grad():
        out = model.get_text_features(torch.tensor(tokens), torch.tensor(mask.astype(int)))
    out = getattr(out, "pooler_output", out).numpy()
    ours = _ours(tmp_path, np.zeros((1, 12, 12, 3), np.float32), tokens)[1]
    np.testing.assert_allclose(ours, out, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("act,eos", [("quick_gelu", 2), ("gelu", 49407)])
def test_features_of_a_model_of_the_published_size(act, eos, tmp_path):
    """ViT-B/32 by its defaults, 150 M random weights."""
    sizes = dict(text_config=dict(hidden_act=act, eos_token_id=eos), projection_dim=512)
    model = _model(tmp_path, **sizes, vision_config=dict(hidden_act=act))
    inputs = _inputs(224, 49408, 77, 49406, 49407)
    _check(f"B/32 {act} {eos}", _ours(tmp_path, *inputs), _theirs(model, *inputs), 1e-4)


@pytest.mark.parametrize("prefix", ["", "text."])
@pytest.mark.parametrize("quick", [True, False])
def test_features_are_those_of_openclip(quick, prefix, tmp_path):
    reason = "parity with OpenCLIP needs `pip install open_clip_torch`"
    open_clip = pytest.importorskip("open_clip", reason=reason)
    import safetensors.torch

    folder = write_openclip(tmp_path / "model", quick_gelu=quick, prefix=prefix)
    config = json.loads((folder / "open_clip_config.json").read_text())["model_cfg"]
    make = open_clip.model.CustomTextCLIP if prefix else open_clip.model.CLIP
    model = make(**config).eval()
    state = safetensors.torch.load_file(folder / "open_clip_model.safetensors")
    model.load_state_dict(state, strict=True)
    n = len(vocabulary()[0])
    pixels, tokens = _inputs(12, n, 16, n - 2, n - 1)
    with torch.no_grad():
        image = model.encode_image(torch.tensor(pixels.transpose(0, 3, 1, 2))).numpy()
        text = model.encode_text(torch.tensor(tokens)).numpy()
    _check(f"OpenCLIP {quick} {prefix}", _ours(folder, pixels, tokens), (image, text), 1e-5)


def _their_tokenizer(folder: Path):
    return transformers.CLIPTokenizerFast.from_pretrained(folder)


def _their_tokens(tokenizer, texts, length: int) -> np.ndarray:
    how = dict(padding="max_length", truncation=True, max_length=length, return_tensors="np")
    return tokenizer(list(texts), **how)["input_ids"]


def _published_vocabulary():
    """The 49408 tokens, which the package open_clip brings."""
    open_clip = pytest.importorskip("open_clip", reason="its package holds CLIP's vocabulary")
    file = Path(open_clip.__file__).parent / "bpe_simple_vocab_16e6.txt.gz"
    lines = gzip.decompress(file.read_bytes()).decode().split("\n")[1 : 49152 - 256 - 2 + 1]
    merges = [tuple(line.split()) for line in lines]
    # In the published order of bytes.
    letters = sorted(byte_letters(), key=lambda c: (ord(c) > 255, ord(c)))
    tokens = [*letters, *(c + "</w>" for c in letters), *("".join(m) for m in merges)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    return {token: k for k, token in enumerate(tokens)}, merges


def _tokenizer_folder(folder: Path, words, **special) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text('{"model_type": "clip"}')
    write_vocabulary(folder, *words)
    if special:
        (folder / "special_tokens_map.json").write_text(json.dumps(special))
        (folder / "tokenizer_config.json").write_text(
            json.dumps({"tokenizer_class": "CLIPTokenizer", **special})
        )
    return folder


@pytest.mark.parametrize("pad", ["<|endoftext|>", "!"])
def test_tokens_are_those_of_transformers(pad, tmp_path):
    folder = _tokenizer_folder(tmp_path / "a", vocabulary(), pad_token=pad)
    theirs = _their_tokenizer(folder)
    expected = _their_tokens(theirs, STRINGS, 40)
    found = read_tokenizer(str(folder)).encode(STRINGS, 40)
    for text, a, b in zip(STRINGS, found, expected, strict=True):
        assert a.tolist() == b.tolist(), text
    theirs.save_pretrained(tmp_path / "b")  # the same as a single file
    (tmp_path / "b" / "config.json").write_text('{"model_type": "clip"}')
    assert (tmp_path / "b" / "tokenizer.json").exists()
    np.testing.assert_array_equal(read_tokenizer(str(tmp_path / "b")).encode(STRINGS, 40), expected)


def test_tokens_of_the_published_vocabulary(tmp_path):
    folder = _tokenizer_folder(tmp_path / "a", _published_vocabulary())
    theirs, ours = _their_tokenizer(folder), read_tokenizer(str(folder))
    assert ours.size == 49408 and ours.end == 49407
    # README's words too: text as people write it.
    readme = (Path(__file__).parent.parent / "README.md").read_text().splitlines()
    strings = [*STRINGS, *(line for line in readme if line.strip())]
    found, expected = ours.encode(strings, 77), _their_tokens(theirs, strings, 77)
    for text, a, b in zip(strings, found, expected, strict=True):
        assert a.tolist() == b.tolist(), text

    letters = st.characters(codec="utf-8", exclude_categories=["Cn"])  # newer than Python
    text = st.text(letters, max_size=30)

    @hypothesis.settings(max_examples=500, deadline=None)
    @hypothesis.given(text | st.text("aàsdt'0²! _\n", max_size=30))
    def check(text):
        assert ours.encode([text], 77).tolist() == _their_tokens(theirs, [text], 77).tolist()

    check()


def test_tokens_are_those_of_openclip(tmp_path):
    words = _published_vocabulary()
    import open_clip

    folder = _tokenizer_folder(tmp_path, words)
    (folder / "config.json").rename(folder / "open_clip_config.json")
    ours = read_tokenizer(str(folder))
    # But for ftfy's repairs: ligatures, wide letters, control signs.
    strings = [s for s in STRINGS if not set(s) & set("ﬁ\x00\x1c\x85\ufeff\u3000²½Ⅷ㊿")]
    expected = open_clip.tokenizer.SimpleTokenizer()(strings).numpy()
    for text, a, b in zip(strings, ours.encode(strings, 77), expected, strict=True):
        assert a.tolist() == b.tolist(), text


def _processor(**fields):
    name = "CLIPImageProcessorPil"
    kind = getattr(transformers, name, None) or transformers.CLIPImageProcessor
    return kind(**fields)


PROCESSORS = {
    "published": (224, {}),
    "small": (12, dict(size={"shortest_edge": 12}, crop_size={"height": 12, "width": 12})),
    "larger": (12, dict(size={"shortest_edge": 15}, crop_size={"height": 12, "width": 12})),
    "padded": (15, dict(size={"shortest_edge": 12}, crop_size={"height": 15, "width": 15})),
    "bilinear": (12, dict(size={"height": 12, "width": 12}, resample=2, do_center_crop=False)),
    "plain": (12, dict(size={"shortest_edge": 12}, crop_size={"height": 12, "width": 12},
                       do_normalize=False)),
    "scaled": (12, dict(size={"shortest_edge": 12}, crop_size={"height": 12, "width": 12},
                        rescale_factor=1 / 127.5, image_mean=[1, 1, 1], image_std=[1, 2, 1])),
}  # fmt: skip


@pytest.mark.parametrize("name", PROCESSORS)
def test_pixels_are_those_of_transformers(name, tmp_path):
    size, fields = PROCESSORS[name]
    processor = _processor(**fields)
    processor.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "clip"}')
    how = read_pixels(str(tmp_path), size)
    large = np.random.default_rng(0).integers(0, 256, (301, 233, 3), np.uint8)
    images = [Image.fromarray(p) for p in (*pictures(), large)]
    images += [images[0].convert("L"), images[0].convert("P"), images[1].convert("CMYK")]
    clear = images[0].convert("RGBA")
    clear.putalpha(images[0].convert("L"))
    images.append(clear)
    expected = processor(images, return_tensors="np")["pixel_values"].transpose(0, 2, 3, 1)
    found = standardise_pixels(np.stack([fit_image(image, how) for image in images]), how)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("mode", ["shortest", "squash"])
def test_pixels_are_those_of_openclip(mode, tmp_path):
    open_clip = pytest.importorskip("open_clip", reason="parity with OpenCLIP needs its package")
    folder = write_openclip(tmp_path / "model")
    config = json.loads((folder / "open_clip_config.json").read_text())
    config["preprocess_cfg"]["resize_mode"] = mode
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    how = read_pixels(str(folder), 12)
    cfg = open_clip.transform.PreprocessCfg(**config["preprocess_cfg"] | {"size": 12})
    theirs = open_clip.transform.image_transform_v2(cfg, is_train=False)
    large = np.random.default_rng(0).integers(0, 256, (301, 233, 3), np.uint8)
    for picture in (*pictures(), large):
        image = Image.fromarray(picture)
        found = standardise_pixels(fit_image(image, how)[None], how)[0]
        expected = theirs(image).numpy().transpose(1, 2, 0)
        np.testing.assert_allclose(found, expected, atol=1e-5)


def _expected(folder: Path) -> dict[str, np.ndarray]:
    """What PyTorch makes of the golden folder's pictures and texts."""
    tokens = _their_tokens(_their_tokenizer(folder), TEXTS, 16)
    images = [Image.fromarray(p) for p in pictures()]
    processor = type(_processor()).from_pretrained(folder)
    pixels = processor(images, return_tensors="np")["pixel_values"].transpose(0, 2, 3, 1)
    found = {"tokens": tokens.astype(np.int32), "pixels": pixels.astype(np.float32)}
    for act in ("quick_gelu", "gelu"):
        kept = json.loads((folder / "config.json").read_text())
        changed = json.loads((folder / "config.json").read_text())
        activation(act)(changed)
        (folder / "config.json").write_text(json.dumps(changed))
        model = transformers.CLIPModel.from_pretrained(folder).float().eval()
        (folder / "config.json").write_text(json.dumps(kept, indent=1) + "\n")
        found[f"image_{act}"], found[f"text_{act}"] = _theirs(model, found["pixels"], tokens)
    return found


def write_golden(folder: Path) -> None:
    """Writes the folder that needs no PyTorch to be read: weights of 16 bits, and features."""
    import safetensors.numpy

    folder.mkdir(parents=True, exist_ok=True)
    _model(folder)
    write_vocabulary(folder, *vocabulary())
    fields = dict(size={"shortest_edge": 14}, crop_size={"height": 12, "width": 12})
    _processor(**fields).save_pretrained(folder)
    weights = safetensors.numpy.load_file(folder / "model.safetensors")
    weights = {name: tensor.astype(np.float16) for name, tensor in weights.items()}
    safetensors.numpy.save_file(weights, folder / "model.safetensors", {"format": "pt"})
    np.savez_compressed(folder / "expected.npz", **_expected(folder))


def test_the_golden_file_is_what_pytorch_says(tmp_path):
    found = _expected(copy_golden(tmp_path / "golden"))
    with np.load(GOLDEN / "expected.npz") as golden:
        assert set(golden.files) == set(found)
        for name in golden.files:
            np.testing.assert_allclose(found[name], golden[name], atol=1e-5, err_msg=name)


if __name__ == "__main__":
    write_golden(GOLDEN)

"""Worlds of feature files: rows of files that lie side by side are moved alike, or refused."""

from types import SimpleNamespace

import jax
import ml_dtypes
import numpy as np
import pytest

import mmjax as mm
from experiments.disentangle import Config
from mmjax.data import load_multimodal, read_features
from mmjax.errors import InvalidInput
from mmjax.studies import few_shot_accuracies, read_control, read_world
from mmjax.studies.frozen import Method
from mmjax.tables.disentangle import check_rows, latent_pieces, read_prompts
from mmjax.tables.recorded import labels_of, target_of

N = 60
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 3))
Y = np.arange(N) % 2
RUN = SimpleNamespace(tracked=lambda items, *args, **options: items)


def _saved(folder, name, **columns):
    path = str(folder / f"{name}.npz")
    np.savez(path, **columns)
    return path


def _config(path, **options):
    return Config(**{"features": path, "seeds": 1, "shots": (1,), "num_components": (2,)} | options)


def _rows(n, share, shift=0.0):
    y = (RNG.random(n) < share).astype(int)
    return np.c_[4.0 * y + RNG.normal(size=n) + shift, RNG.normal(size=(n, 2))], y


FILES = {
    "train": _rows(200, 0.5),
    "val": _rows(60, 0.5),
    "test": _rows(100, 0.9),
    "moved": _rows(100, 0.5, shift=4.0),
}


def _world(folder, change):
    paths = {
        name: _saved(folder, name, features=change(x), labels=y) for name, (x, y) in FILES.items()
    }
    parts = dict(validation=paths["val"], test=paths["test"], shifted=paths["moved"])
    return read_world(_config(paths["train"], **parts), 0)


@pytest.mark.parametrize("offset, unit", [(1e9, 1.0), (0.0, 1e-40), (-1e7, 1e-2)])
def test_files_beside_the_source_have_its_offset_and_its_unit(tmp_path, offset, unit):
    results = []
    for change in (lambda x: x, lambda x: x * unit + offset):
        source = _world(tmp_path, change).sources[""]["x"]
        figures = few_shot_accuracies(
            source,
            Method("linear probe", "none"),
            jax.random.split(jax.random.key(0), 4),
            shots=8,
            val_shots=4,
            probe="l2",
            fitted=None,
        )
        results.append([float(values.mean()) for values in figures.values()])
    assert results[0][0] > 0.9 > 0.7 > results[0][1]
    assert results[1] == pytest.approx(results[0], abs=0.03)


def test_a_column_is_centred_in_all_files_or_in_none(tmp_path):
    # In float32 the first column's rounding is small beside the training rows' range alone.
    x, few = X + [1e3, 0, 0], X[:8] * [1e-3, 1, 1] + [1e3, 0, 0]
    path = _saved(tmp_path, "train", features=x, labels=Y)
    test = _saved(tmp_path, "test", features=few, labels=Y[:8])
    source = read_world(_config(path, test=test), 0).sources[""]["x"]
    assert np.array_equal(source.tests["source"].x, few.astype(np.float32))
    parts = [source.train.x, source.validation.x]
    assert {row.tobytes() for part in parts for row in np.asarray(part)} == {
        row.tobytes() for row in x.astype(np.float32)
    }


def test_prompts_have_the_offset_of_the_pictures(tmp_path):
    path = _saved(tmp_path, "train", features=X + 1e9, labels=Y)
    prompts = _saved(tmp_path, "prompts", features=X[:2] + 1e9, labels=Y[:2])
    config = _config(path, prompts=prompts)
    world = read_world(config, 0)
    texts = np.asarray(read_prompts(config, world)[0])
    assert np.array_equal(texts, world.whole.sides()["x"][:2])
    assert np.ptp(texts) > 0.1


def test_a_control_of_another_encoder_has_its_own_offset(tmp_path):
    path = _saved(tmp_path, "train", features=X + 1e9, labels=Y)
    twin = _saved(tmp_path, "twin", values=X)
    world = read_world(_config(path), 0)
    control = read_control(_config(path), world, twin, "values", "")[1]
    assert np.array_equal(control.sides()["x"], X.astype(np.float32))


def test_values_beyond_the_sources_unit_are_refused(tmp_path):
    path = _saved(tmp_path, "train", features=X * 1e-40, labels=Y)
    test = _saved(tmp_path, "test", features=X, labels=Y)
    with pytest.raises(InvalidInput, match="test.npz: features are beyond float32 .*train.npz"):
        read_world(_config(path, test=test), 0)


@pytest.mark.parametrize("unit", [False, True])
@pytest.mark.parametrize("offset", [0.0, 1e9])
def test_copies_are_told_whatever_the_offset(tmp_path, offset, unit):
    path = _saved(tmp_path, "train", features=X[:40] + offset, labels=Y[:40])
    test = _saved(tmp_path, "test", features=X[30:50] + offset, labels=Y[30:50])
    counts = read_world(_config(path, test=test, normalise=unit), 0).counts
    assert any("test.npz: 10 of 20 rows hold what a row of the fit holds" in c for c in counts)


@pytest.mark.parametrize("unit", [False, True])
@pytest.mark.parametrize(
    "known, given",
    [("f4", "f2"), ("f2", "f4"), ("f8", "f2"), ("f8", "f4"), ("f4", ml_dtypes.bfloat16)],
)
def test_copies_in_another_precision_are_told(tmp_path, known, given, unit):
    x = X.astype(np.float32)
    path = _saved(tmp_path, "train", features=x[:40].astype(known), labels=Y[:40])
    test = _saved(tmp_path, "test", features=x[30:50].astype(given), labels=Y[30:50])
    counts = read_world(_config(path, test=test, normalise=unit), 0).counts
    assert any("test.npz: 10 of 20 rows hold what a row of the fit holds" in c for c in counts)


def test_whole_numbers_are_no_coarse_copies(tmp_path):
    x = RNG.normal(size=(N, 1)).astype(np.float32) + np.float32(1e-3)
    path = _saved(tmp_path, "train", features=x, labels=Y)
    test = _saved(tmp_path, "test", features=np.round(x), labels=Y)
    assert not any("hold what" in c for c in read_world(_config(path, test=test), 0).counts)


@pytest.mark.slow
@pytest.mark.parametrize("offset, unit", [(1e9, 1.0), (0.0, 1e-40), (0.0, 1e-30)])
def test_latents_have_no_offset_and_no_unit(tmp_path, offset, unit):
    latents = RNG.laplace(size=(200, 3))
    x = (latents @ RNG.normal(size=(3, 6))).astype(np.float32)
    y = (latents[:, 0] > 0).astype(int)
    figures = []
    for truth in (latents, latents * unit + offset):
        path = _saved(tmp_path, "latents", features=x, labels=y, latents=truth)
        config = _config(path, latents="latents", num_components=(3,))
        pieces = latent_pieces(config, read_world(config, 0), 3, RUN)
        figures.append([row.value for p in pieces if "as they" in p.name for row in p.judge(None)])
    assert min(figures[0]) > 0.6 and figures[1] == pytest.approx(figures[0], abs=0.01)


PIXELS = RNG.integers(0, 256, (N, 8, 8, 4)).astype(np.uint8)
PICTURES = {
    "grey": PIXELS[..., 0],
    "one": PIXELS[..., :1],
    "colour": PIXELS[..., :3],
    "alpha": PIXELS,
    "float": PIXELS[..., :3] / 255,
    "int64": PIXELS[..., :3].astype(np.int64),
    "mask": PIXELS[..., 0] > 99,
}
NO_PICTURES = {
    "names": np.array(["a.png"] * N),
    "numbers": np.arange(N),
    "rows": PIXELS[:, 0, :, 0],
    "channels": np.moveaxis(PIXELS[..., :3], -1, 1),
    "uint16": PIXELS[..., :3].astype(np.uint16) * 257,
    "signed": PIXELS[..., :3] - 128.0,
}


@pytest.mark.parametrize("what", [*PICTURES, *NO_PICTURES])
def test_an_array_that_is_no_pictures_is_refused_before_anything_runs(tmp_path, what):
    path = _saved(tmp_path, "p", features=X, labels=Y, img=(PICTURES | NO_PICTURES)[what])
    config = _config(path, images="img")
    world = read_world(config, 0)
    if what in PICTURES:
        check_rows(config, world)
    else:
        with pytest.raises(InvalidInput, match="images: 'img, .*use pictures uint8"):
            check_rows(config, world)


@pytest.mark.slow
def test_a_modality_that_is_chosen_is_what_is_told():
    split = np.where(np.arange(N) % 2, "test", "train")
    data = mm.Dataset.from_arrays(image=X, text=X[::-1], labels={"y": Y}, split=split)
    found = mm.disentangle(None, data, key=jax.random.key(0), of="text")
    assert found.of == "text" and "of text" in str(found)


def test_names_of_splits_and_domains_are_read_as_everywhere(tmp_path):
    domains = np.array(["photo", "photo ", "art"])[np.arange(N) % 3]
    split = np.array(["Train", " VAL", "Test "])[np.arange(N) // 20]
    path = _saved(tmp_path, "d", features=X, labels=Y, dom=domains, split=split)
    rows = read_features(path).rows
    assert [(rows.split == part).sum() for part in ("train", "validation", "test")] == [20] * 3
    options = dict(domains="dom", use_trained_rows=True)
    names = sorted(
        name.split("from ")[1] for name in read_world(_config(path, **options), 0).sources
    )
    assert names == ["dom=art/", "dom=photo/"]
    assert len(read_world(_config(path, **options, source="photo "), 0).sources) == 1
    strange = _saved(tmp_path, "s", features=X, split=np.where(np.arange(N) == 7, "Trian", "Train"))
    with pytest.raises(InvalidInput, match="has 'Trian' in row 7"):
        read_features(strange)


@pytest.mark.parametrize("values", [X + 1e9, X * 1e-40, X[:, :, None] + [0, 1e9]])
def test_floats_that_float32_cannot_tell_apart_are_refused(tmp_path, values):
    path = _saved(tmp_path, "m", a=values, b=X, y=Y)
    with pytest.raises(InvalidInput, match="m.npz: array 'a' .* which float32 can't tell apart"):
        load_multimodal(path, ["a", "b"], labels="y")
    data = load_multimodal(path, ["a", "b"], labels="y", standardise=("a",))
    assert np.ptp(data.columns["a"].values) > 1
    for good in (X + 1e3, X * 1e-30, X.astype(np.float32) + np.float32(1e9), np.ones((N, 2)) * 0.1):
        path = _saved(tmp_path, "g", a=good, b=X, y=Y)
        stored = load_multimodal(path, ["a", "b"], labels="y").columns["a"].values
        assert np.array_equal(stored, good.astype(np.float32))


def test_targets_of_a_large_offset_keep_their_differences():
    of = lambda y: mm.Dataset.from_arrays(x=X, labels={"y": y, "z": X[:, 1]})
    far, near = of(X[:, 0] + 1e9), of(X[:, 0])
    targets = [
        labels_of(data.take(np.arange(9)), target_of(data, "regression")) for data in (far, near)
    ]
    apart = [values[:, 0] - values[0, 0] for values in targets]
    np.testing.assert_allclose(*apart, atol=1e-5)
    assert np.array_equal(targets[1], X[:9, :2].astype(np.float32))


def test_the_second_modality_has_its_own_offset_of_the_source(tmp_path):
    columns = lambda rows: dict(features=X[rows], text=X[rows, :2] + 1e9, labels=Y[rows])
    path = _saved(tmp_path, "train", **columns(slice(40)))
    test = _saved(tmp_path, "test", **columns(slice(30, 50)))
    world = read_world(_config(path, test=test, text_values="text"), 0)
    seen = world.sources[""]["t"].tests["source"].x
    assert np.array_equal(seen[:10], world.whole.sides()["t"][30:])

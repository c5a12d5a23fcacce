"""Offsets, units and storage of values change no figure; what names nothing is refused."""

import json

import jax
import numpy as np
import pytest

import mmjax as mm
from mmjax.data.feature_sets import features_in_float32
from mmjax.data.hashes import hashes_of
from mmjax.data.scaling import lost_in_float32, narrowed
from mmjax.errors import InvalidInput
from mmjax.nets.prepare import check_data, preparations_of

N = 120
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 3))
SPLIT = np.where(np.arange(N) % 3, "train", "test")
QUANTITY = X[:, 0] + 0.1 * RNG.normal(size=N)
CLASSES = (X[:, 0] > 0).astype(int)


def rows(x=X, label=QUANTITY, **options):
    options = {"split": SPLIT} | options
    return mm.Dataset.from_arrays(x=x, labels={"y": label}, **options)


def figure(**options) -> float:
    return mm.probe(None, rows(**options), "y").embedding["x"]


@pytest.mark.parametrize("offset, unit", [(1e9, 1.0), (0.0, 1e-50), (0.0, 1e30), (-1e12, 1e3)])
def test_a_quantity_has_no_offset_and_no_unit(offset, unit):
    assert figure(label=QUANTITY * unit + offset) == pytest.approx(figure(), abs=0.01)
    found = mm.disentangle(None, rows(label=QUANTITY * unit + offset), key=jax.random.key(0))
    assert found.figures["as they are"]["sap"] > 0.5


@pytest.mark.parametrize(
    "x",
    [X + 1e9, X * 1e-42, np.round(X * 100).astype(np.int64) + 2**40],
    ids=["far", "tiny", "int"],
)
def test_embeddings_have_no_offset_and_no_unit(x):
    assert figure(x=x) == pytest.approx(figure(), abs=0.02)


def test_digits_that_float32_loses_are_seen_by_column():
    x = np.stack([X[:, 0], X[:, 0] + 1e9, np.full(N, 0.1)], 1)
    assert lost_in_float32(x).tolist() == [False, True, False]
    assert not lost_in_float32(x.astype(np.float32)).any()
    assert narrowed(x[:, :1]).dtype == np.float32 and narrowed(x).dtype == np.float64
    out = features_in_float32(x)
    assert np.corrcoef(out[:, 0], out[:, 1])[0, 1] > 0.999999 and np.ptp(out[:, 2]) == 0


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_time_stamps_in_a_table_stay_apart(tmp_path, ending):
    path, stamps = tmp_path / f"t.{ending}", 1700000000 + np.arange(12)
    lines = [f"{s},{k % 3}" for k, s in enumerate(stamps)]
    records = [json.dumps({"t": int(s), "v": k % 3}) for k, s in enumerate(stamps)]
    path.write_text("\n".join(["t,v", *lines] if ending == "csv" else records) + "\n")
    for chosen, width in (("t", 1), (["t", "v"], 2)):
        data = mm.read(path, modalities={"x": chosen})
        assert data.columns["x"].values.shape == (12, width)
        assert np.array_equal(data.columns["x"].values[:, 0], stamps)
        assert len(np.unique(data.ids)) == 12 and not data.remarks[1:]


def test_rows_of_a_large_offset_are_not_all_the_same_row():
    far, near = hashes_of(rows(x=X + 1e9))["x"], hashes_of(rows())["x"]
    assert len(np.unique(far)) == N
    assert np.array_equal(near, hashes_of(rows(x=X.astype(np.float32)))["x"])


def test_a_modality_that_no_judged_row_has_gets_a_dash_and_a_reason():
    here = {"t": SPLIT == "train"}
    data = mm.Dataset.from_arrays(x=X, t=X, labels={"y": CLASSES}, split=SPLIT, present=here)
    found = mm.probe(None, data, "y")
    assert np.isnan(found.embedding["t"]) and found.embedding["x"] > 0.8
    assert "t: no figure; no judged row has t" in found.remarks
    alone = mm.probe(None, rows(label=CLASSES, groups=SPLIT), "y")
    assert "x: no figure; no choosing row is left: they are of too few groups" in alone.remarks


def test_a_probe_of_trained_rows_judges_none_that_it_was_fitted_on():
    noise = RNG.normal(size=(200, 120))
    label = RNG.integers(0, 2, 200)
    data = mm.Dataset.from_arrays(x=noise, labels={"y": label}, groups=np.arange(200) // 2)
    found = mm.probe(None, data, "y", use_trained_rows=True)
    assert found.fitted + found.scored == 200 and "TRAINED ROWS" in str(found)
    assert abs(found.embedding["x"] - 0.5) < 0.15


@pytest.mark.parametrize(
    "trained, given",
    [
        (lambda u: u, lambda u: u / 255.0),
        (lambda u: u / 255.0, lambda u: u),
        (lambda u: u, lambda u: u > 127),
    ],
)
def test_pixels_to_255_and_to_1_are_not_taken_for_each_other(trained, given):
    pixels = RNG.integers(0, 256, (8, 4, 4, 3)).astype(np.uint8)
    pixels[0, 0, 0] = 0, 255, 255
    of = lambda values: mm.Dataset.from_arrays(image=values, kinds={"image": "image"})
    known = preparations_of(of(trained(pixels)))
    check_data(of(trained(pixels)), known)
    with pytest.raises(InvalidInput, match="dtype of image: .* as in training"):
        check_data(of(given(pixels)), known)


def test_whole_numbers_to_255_are_pixels_in_any_width():
    pixels = RNG.integers(0, 256, (8, 4, 4, 3))
    of = lambda dtype: mm.Dataset.from_arrays(image=pixels.astype(dtype))
    for one, other in ((np.uint8, np.int64), (np.int64, np.uint8), (np.uint16, np.uint8)):
        check_data(of(other), preparations_of(of(one)))


@pytest.mark.parametrize(
    "options, told",
    [
        (dict(labels={"y": ["a", float("nan"), "b"]}), "labels y: row 1 has nan"),
        (dict(ids=["a", float("nan"), "b"]), "ids: row 1 has nan"),
        (dict(groups=["a", None, "b"]), "groups: row 1 has None"),
        (dict(ids=[0.5, float("nan"), 1.5]), "ids: nan in row 1"),
        (dict(ids={"w": [0.5, float("inf"), 1.5]}), "ids w: inf in row 1"),
        (dict(groups=np.eye(3)), "groups: float64 of shape"),
        (dict(labels=[1, 2, 3]), "labels: 'list' .*a dict"),
        (dict(x=X[:3]), "modalities: .*x.*each name once"),
        (dict(w=np.zeros((3, 0))), "shape of w: .*one or more columns"),
        (dict(w=list(np.ma.masked_array(X[:3], mask=np.eye(3)))), "w: 1 values are masked"),
    ],
)
def test_what_names_nothing_is_refused_by_its_name(options, told):
    with pytest.raises(InvalidInput, match=told):
        mm.Dataset.from_arrays({"x": X[:3]}, **options)


@pytest.mark.parametrize(
    "options, told",
    [
        (dict(learning_rate="1e-3"), "learning_rate: '1e-3' .*a number"),
        (dict(weight_decay=None), "weight_decay: None .*a number"),
        (dict(validate_every=2.5), "validate_every: 2.5 .*a whole number"),
        (dict(patience=1.5), "patience: 1.5 .*a whole number"),
    ],
)
def test_numbers_of_a_training_are_numbers(options, told):
    data = mm.Dataset.from_arrays(x=X, t=X, split=(0.6, 0.2, 0.2))
    with pytest.raises(InvalidInput, match=told):
        mm.fit(data, dim=2, key=jax.random.key(0), steps=4, batch_size=8, **options)


def test_cells_of_a_table(tmp_path):
    body = [f"{k}.5,{k},{'train' if k % 2 else 'test'},c{k % 2}{' ' * (k == 3)}" for k in range(8)]
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["a,b,Split,y", *body]) + "\n")
    data = mm.read(path, modalities={"x": ["a", "b"]}, labels=["y"])
    assert np.unique(data.labels["y"]).tolist() == ["c0", "c1"]
    assert (data.split == "test").sum() == 4 and "split by column 'Split'" in data.remarks
    path.write_text("\n".join(["a,b,Split,y", *body]).replace(".5,4,", ".5,NA,") + "\n")
    with pytest.raises(InvalidInput, match=r"column 'b' .*'NA' in row 4 \(line 6\)"):
        mm.read(path, modalities={"x": ["a", "b"]}, labels=["y"])


def test_classes_are_equal_whatever_space_is_around_their_names():
    names = np.array(["a", "b"])[CLASSES]
    padded = np.char.add(names, np.where(np.arange(N) % 2, "  ", ""))
    for stored in (padded, padded.astype("S"), padded.tolist()):
        data = rows(label=stored)
        assert np.array_equal(data.labels["y"], names)
    assert figure(label=padded) == figure(label=names)


@pytest.mark.filterwarnings("error")
def test_half_precision_labels_are_classes():
    assert rows(label=CLASSES.astype(np.float16)).labels["y"].dtype == np.int64


def test_judged_rows_of_classes_that_nothing_was_fitted_on_are_counted():
    rare = np.where(np.flatnonzero(SPLIT == "test")[:7, None] == np.arange(N), 1, 0).any(0)
    results = mm.probe(None, rows(label=np.where(rare, 9, CLASSES)), "y")
    total = int((SPLIT == "test").sum())
    assert f"7 of {total} judged rows are of classes without a fitted row" in results.remarks
    clean = mm.probe(None, rows(label=CLASSES), "y").remarks
    assert not any("judged rows" in line for line in clean)

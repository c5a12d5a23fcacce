"""What rows are called and hold: names that numbers would merge, padding, answers, copies."""

import jax
import numpy as np
import pytest

import mmjax as mm
from mmjax.data.groups import sort_of
from mmjax.data.scaling import standardised_by
from mmjax.data.values import Lazy
from mmjax.errors import InvalidInput
from mmjax.models import trained_on
from mmjax.models.rows import judged_rows

N = 600
SHARES = (0.6, 0.2, 0.2)


def rng():
    return np.random.default_rng(0)


def groups(**given):
    return len(np.unique(mm.Dataset.from_arrays(split=SHARES, **given).groups))


@pytest.mark.parametrize("several", [1, 2])
def test_of_codes_alone_equal_rows_are_classes(several):
    c = rng().integers(0, 10, N)
    made = {f"x{k}": np.eye(10)[(c + k) % 10] for k in range(several)}
    data = mm.Dataset.from_arrays(made, labels={"odd": c % 2}, split=SHARES)
    assert len(np.unique(data.groups)) == N
    assert mm.probe(None, data, "odd", raw=False).embedding["x0"] == 1.0


def test_copies_of_rows_of_numbers_are_one():
    a, b = rng().normal(size=(2, 200))
    copies = np.repeat(np.arange(200), 3)
    assert groups(a=a[copies, None], b=b[copies, None]) == 200


@pytest.mark.parametrize("items", [3, 5])
def test_answers_of_a_questionnaire_are_no_recordings(items):
    """They depend on each other, and are alike far more often than if they did not."""
    mood = rng().normal(size=(200, 1))
    answers = np.clip(np.rint(3 + mood + 0.5 * rng().normal(size=(200, items))), 1, 5)
    assert sort_of("features", answers) in ("steps", "codes")
    assert sort_of("features", rng().normal(size=(100, 8))[np.repeat(np.arange(100), 3)]) == (
        "vectors"
    )


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_what_is_behind_the_end_of_a_sequence_is_no_content(dtype):
    recording = np.repeat(np.arange(100), 3)
    values = rng().integers(0, 99, (100, 10, 2))[recording]
    lengths = rng().integers(3, 8, 100)[recording]
    behind = np.arange(10) >= lengths[:, None]
    values[behind] = rng().integers(0, 99, (int(behind.sum()), 2))
    data = mm.Dataset.from_arrays(a=values.astype(dtype), lengths={"a": lengths}, split=SHARES)
    assert len(np.unique(data.groups)) == 100 and data.ids.max() == 99


def test_behind_the_end_nothing_is_read_of_files_either(tmp_path):
    recording = np.repeat(np.arange(20), 3)
    values = rng().integers(0, 99, (20, 10, 2))[recording].astype(np.int16)
    lengths = np.full(60, 6)
    values[:, 6:] = rng().integers(0, 99, (60, 4, 2))
    np.savez(tmp_path / "s.npz", a=values, a_lengths=lengths)
    data = mm.read(tmp_path / "s.npz", modalities={"a": "a"}, stream=True, split=SHARES)
    assert isinstance(data.columns["a"].values, Lazy) and len(np.unique(data.groups)) == 20


def test_groups_have_no_space_around_them_and_may_be_dates():
    x = rng().normal(size=(40, 3))
    names = [f"s{k % 20}" + " " * (k // 20) for k in range(40)]
    assert groups(x=x, groups=names) == 20
    days = np.datetime64("2026-01-01") + np.arange(40) % 10
    assert groups(x=x, groups=days) == 10


def test_ids_and_groups_of_a_table_are_names(tmp_path):
    rows = [f"{a}.{b},{a}.{b},{a + b / 7:.3f}" for a in (1, 2, 3) for b in range(1, 21)]
    (tmp_path / "t.csv").write_text("\n".join(["ids,group,x", *rows]))
    data = mm.read(tmp_path / "t.csv", modalities={"x": "x"}, split=SHARES)
    assert len(np.unique(data.groups)) == len(np.unique(data.ids)) == 60


def test_bytes_that_are_no_text_are_not_merged():
    x, c = rng().normal(size=(60, 3)), np.arange(60) % 2
    names = np.array([b"M\xe4rz", b"M\xe5rz"], object)[c]
    with pytest.raises(InvalidInput, match="holds bytes"):
        mm.Dataset.from_arrays(x=x, labels={"m": names})
    assert groups(x=x, groups=np.array([b"g\xe4%d" % (k % 30) for k in range(60)], object)) == 30


@pytest.mark.parametrize("made", [list, lambda v: np.array(v, object)], ids=["list", "objects"])
def test_whole_numbers_that_no_dtype_holds_are_not_merged(made):
    wide = [2**63 + 1, 2**63 + 2, -1] * 20
    data = mm.Dataset.from_arrays(x=rng().normal(size=(60, 3)), labels={"k": made(wide)})
    assert len(np.unique(data.labels["k"])) == 3
    assert groups(x=rng().normal(size=(60, 3)), groups=made(wide)) == 3


@pytest.mark.parametrize("unit", [1e-165, 1e-300])
def test_a_unit_whose_squares_vanish_is_none(unit):
    x = rng().normal(size=(400, 3))
    every = np.ones(400, bool)
    np.testing.assert_allclose(standardised_by(x * unit, every), standardised_by(x, every), 1e-5)
    y = 2 * x[:, 0] + 1
    data = mm.Dataset.from_arrays(x=x, labels={"y": y * unit}, split=SHARES)
    assert mm.probe(None, data, "y", raw=False).embedding["x"] == pytest.approx(1, abs=1e-3)


def test_a_picture_of_each_subject_is_a_recording_whatever_a_label_says():
    pictures = rng().integers(0, 255, (100, 4, 4, 3)).astype(np.uint8)
    who = np.repeat(np.arange(100), 3)
    given = dict(a=pictures[who], t=rng().normal(size=(300, 3)), labels={"subject": who})
    assert groups(**given) == 100


def test_rows_of_a_known_code_alone_are_new():
    x, c = rng().normal(size=(200, 4)), rng().integers(0, 10, 200)
    here = {"x": rng().random(200) > 0.2}
    given = dict(x=x, t=c.astype(float), present=here, labels={"a": c % 2}, split=SHARES)
    data, nets = mm.Dataset.from_arrays(**given), {k: mm.nets.linear() for k in "xt"}
    options = dict(dim=2, steps=2, nets=nets, progress=False, validate_every=0)
    model = mm.fit(data, key=jax.random.key(0), **options)
    assert not trained_on(model, data.part("test")).any()
    assert trained_on(model, data.part("train"))[here["x"][data.split == "train"]].all()


def test_rows_of_a_quantity_alone_are_known_again():
    x, age = rng().normal(size=(200, 6)), 40 + 10 * rng().normal(size=200)
    half = {"x": np.arange(200) % 2 == 0}
    split = ["train"] * 150 + ["test"] * 50
    given = dict(age=age, labels={"y": np.arange(200) % 3 % 2}, split=split)
    data, nets = mm.Dataset.from_arrays(x=x, present=half, **given), {"x": mm.nets.linear()}
    options = dict(dim=2, steps=2, nets=nets | {"age": mm.nets.linear()}, progress=False)
    model = mm.fit(data, key=jax.random.key(0), validate_every=0, **options)
    test = lambda d: d._replace(split=np.array(["test"] * d.num_rows))
    assert trained_on(model, test(data)).sum() == 150  # those without x among them
    assert trained_on(model, test(data.only("age"))).sum() == 150
    assert trained_on(model, test(data.take(~half["x"]))).sum() == 75


@pytest.mark.parametrize("made", ["bits", "grid", "tokens", "pictures"])
def test_copies_of_few_combinations_are_recordings(made):
    which = np.repeat(np.arange(250), 4)
    draw = lambda kinds, *shape: rng().integers(0, kinds, (250, *shape))[which]
    x = {
        "bits": lambda: draw(2, 12).astype(float),
        "grid": lambda: draw(20, 3).astype(float),
        "tokens": lambda: draw(4, 6, 1).astype(float),
        "pictures": lambda: 255 * draw(2, 4, 4, 1).astype(np.uint8),
    }[made]()
    data = mm.Dataset.from_arrays(x=x, t=rng().normal(size=(1000, 4)), split=SHARES)
    assert 225 <= len(np.unique(data.groups)) <= 250


def test_a_label_of_groups_costs_others_no_figure():
    who = np.repeat(np.arange(20), 30)
    x = rng().normal(size=(600, 3))
    labels = {"sex": who % 2, "gesture": (x[:, 0] > 0).astype(int)}
    data = mm.Dataset.from_arrays(x=x, labels=labels, groups=who, split=SHARES)
    found = mm.disentangle(None, data, key=jax.random.key(0))
    assert found.scored == 120 and found.figures["as they are"]["sap"] > 0.5
    assert any("left out: sex is the same in all rows of a group" in r for r in found.remarks)


def test_a_picture_a_class_is_told():
    icons = rng().integers(0, 255, (10, 4, 4, 3)).astype(np.uint8)[np.arange(600) % 10]
    given = dict(icon=icons, x=rng().normal(size=(600, 4)), labels={"c": np.arange(600) % 10})
    data = mm.Dataset.from_arrays(**given, split=SHARES)
    assert any("each class of a label has one icon" in line for line in data.remarks)
    alone = mm.Dataset.from_arrays(**given, ids=np.arange(600), split=SHARES)
    assert len(np.unique(alone.groups)) == 600


def test_a_tiny_column_beside_others_keeps_its_digits():
    x = rng().normal(size=(400, 3))
    every = np.ones(400, bool)
    units = np.array([1, 1e-200, 1e200])
    np.testing.assert_allclose(standardised_by(x * units, every), standardised_by(x, every), 1e-5)


def test_names_of_bytes_have_no_space_around_them_and_wide_numbers_are_no_floats():
    x = rng().normal(size=(20, 3))
    ids = lambda v: mm.Dataset.from_arrays(x=x, ids=v, split=["train"] * 20).ids
    assert len(np.unique(ids([b"7"] * 10 + [b"7 "] * 10))) == 1
    wide = [2**53 + 1] * 10 + [float(2**53)] * 10
    assert len(np.unique(ids(wide))) == 2
    with pytest.raises(InvalidInput):
        ids([2**60 + 1] * 19 + [np.nan])


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("near", [0.0, 1e-3])
def test_copies_make_no_component_disentangled(seed, near):
    draw = np.random.default_rng(seed)
    recording = np.repeat(np.arange(200), 6)
    x = draw.normal(size=(200, 4))[recording]
    x = x + near * draw.normal(size=x.shape)
    labels = {"a": draw.integers(0, 3, 200)[recording], "b": draw.normal(size=200)[recording]}
    data = mm.Dataset.from_arrays(x=x, labels=labels, groups=recording, split=SHARES)
    found = mm.disentangle(None, data, key=jax.random.key(seed))
    assert found.scored == 40 and any("one a group" in line for line in found.remarks)
    assert all((of["dci"] or 0) == 0 for of in found.figures.values())


def test_what_is_known_by_its_name_alone_is_told(tmp_path):
    from PIL import Image

    pixels = rng().integers(0, 255, (40, 8, 8, 3)).astype(np.uint8)
    for row, picture in enumerate(pixels):
        Image.fromarray(picture).save(tmp_path / f"{row}.png")
    lines = [f"{row}.png,word {row},{row % 2}" for row in range(40)]
    (tmp_path / "t.csv").write_text("\n".join(["photo,text,y", *lines]))
    columns = {"image": "photo", "text": "text"}
    of = lambda **o: mm.read(tmp_path / "t.csv", modalities=columns, labels=["y"], **o)
    nets = {"image": mm.nets.linear(), "text": mm.nets.text_transformer(8, 1, 1)}
    options = dict(dim=2, steps=1, nets=nets, progress=False, validate_every=0, batch_size=8)
    told = "image: files are known by their names"
    model = mm.fit(of(stream=True, split=SHARES), key=jax.random.key(0), **options)
    rows = judged_rows(model, of(stream=False, split=SHARES), False, ["image"])
    assert any(line.startswith(told) for line in rows.remarks)
    in_memory = model._replace(spec=model.spec._replace(about={}))
    rows = judged_rows(in_memory, of(stream=False, split=SHARES), False, ["image"])
    assert not any(line.startswith(told) for line in rows.remarks)


def test_captions_in_another_order_are_the_same():
    x = rng().normal(size=(60, 3))
    said = [[f"{k} {word}" for word in "abc"] for k in range(20)]
    texts = [said[k % 20][k // 20 :] + said[k % 20][: k // 20] for k in range(60)]
    data = mm.Dataset.from_arrays(x=x, text=texts, split=SHARES)
    assert len(np.unique(data.groups)) == 20
    assert len(np.unique(data.ids[:, 1])) == 60  # each first caption is another


def test_a_rotation_that_seems_disentangled_is_told():
    def remarks(n):
        draw = rng()
        z = draw.normal(size=(n, 4))
        labels = {"y": (z[:, 0] > 0).astype(int), "q": z[:, 1] + 0.5 * draw.normal(size=n)}
        turned = z @ np.linalg.qr(draw.normal(size=(4, 4)))[0]
        data = mm.Dataset.from_arrays(x=turned, labels=labels, split=(0.5, 0, 0.5))
        return mm.disentangle(None, data, key=jax.random.key(0)).remarks

    assert any("compare better" in line for line in remarks(200))
    assert not any("compare" in line for line in remarks(8000))

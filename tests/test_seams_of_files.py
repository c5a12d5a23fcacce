"""Where a name or a file might be taken for two things: nothing is lost, and nothing leaks."""

import json
import os
import tarfile

import jax
import numpy as np
import PIL.Image
import pyarrow
import pyarrow.parquet
import pytest

import mmjax as mm
from experiments import paired_data
from mmjax.data import (
    FeatureNames,
    SideNames,
    load_multimodal,
    load_pairs,
    read_feature_set,
    read_features,
    read_few_shot,
)
from mmjax.data.few_shot_shifts import read_domains
from mmjax.errors import InvalidInput
from mmjax.run import launch, save_arrays
from mmjax.studies.feature_worlds import FeatureOptions, read_world
from mmjax.tables.models import export_columns, write_embeddings

RNG = np.random.default_rng(0)
N = 24
CLASSES = np.arange(N) % 3
X = RNG.normal(size=(N, 4)).astype(np.float32)


def _table(path, **more):
    columns = {f"f{k}": column for k, column in enumerate(X.T)} | more
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    return str(path)


@pytest.mark.parametrize("name", ["class", "y", "labels", "values"])
def test_a_label_beside_columns_of_floats_is_no_feature(tmp_path, name):
    path = _table(tmp_path / "a.parquet", **{name: CLASSES.astype(float)})
    found = read_features(path, labels="" if name in ("y", "labels") else name)
    np.testing.assert_array_equal(found.sides()["x"], X)
    np.testing.assert_array_equal(found.labels, CLASSES)


def test_what_else_a_user_names_beside_floats_is_no_feature(tmp_path):
    floats = CLASSES.astype(float)
    path = _table(tmp_path / "a.parquet", is_test=floats % 2, take=floats, age=floats)
    found = read_features(path, group="take", apart=["age"])
    np.testing.assert_array_equal(found.sides()["x"], X)
    names = FeatureNames(labels="age", extra=("take",), split="is_test")
    beside = _table(tmp_path / "b.parquet", is_test=floats % 2, take=floats, age=floats)
    pair = read_feature_set(path, names, beside)
    for side in pair.sides().values():
        np.testing.assert_array_equal(side, X)
    np.testing.assert_array_equal(pair.extra["take"], floats)


def test_few_shot_labels_and_domains_in_columns_are_no_features(tmp_path):
    floats = CLASSES.astype(float)
    path = _table(tmp_path / "a.parquet", labels=floats, splits=["train", "test"] * (N // 2))
    assert read_few_shot(path).pool.x.shape[1] == 4
    path = _table(tmp_path / "b.parquet", labels=floats, domain=np.arange(N) // 12 * 1.0)
    assert read_domains(path, "domain")[0].pool.x.shape[1] == 4


def test_a_table_of_labels_alone_has_no_features(tmp_path):
    path = str(tmp_path / "a.parquet")
    pyarrow.parquet.write_table(pyarrow.table({"y": CLASSES.astype(float)}), path)
    with pytest.raises(InvalidInput, match="which array has the features"):
        read_features(path)


def _saved(path, /, **arrays):
    np.savez(path, **arrays)
    return str(path)


def _torn(groups, ids):
    """How many ids lie in two groups."""
    return sum(len(np.unique(groups[ids == one])) > 1 for one in np.unique(ids))


@pytest.mark.parametrize("how", [dict(ids="ids_0", groups="g"), dict(groups="g"), {}])
def test_ids_of_a_user_link_whatever_their_column_is_called(tmp_path, how):
    ids, g = np.arange(N) // 2, np.arange(N)
    arrays = dict(a=X, b=X[::-1], ids_0=ids, **{how.get("groups", "group"): g})
    data = mm.read(_saved(tmp_path / "a.npz", **arrays), **how)
    assert _torn(data.groups, ids) == 0


def test_what_is_named_as_another_is_no_id(tmp_path):
    path = _saved(tmp_path / "a.npz", a=X, b=X[::-1], ids_0=CLASSES, ids_1=np.arange(N) // 2)
    data = mm.read(path, labels=["ids_0"])
    assert data.ids.shape == (N, 1) and len(np.unique(data.ids)) == N // 2
    path = _saved(tmp_path / "b.npz", a=X, b=X[::-1], ids_0=np.arange(N) // 2, ids_1=np.arange(N))
    data = mm.read(path, groups="ids_0")
    assert data.ids.shape == (N, 1) and len(np.unique(data.ids)) == N


def test_groups_of_an_export_hold_what_ids_link(tmp_path):
    ids, split = np.zeros(N, int), np.array(["train", "test"] * (N // 2))
    columns = dict(split=split, group=np.arange(N), is_test=split == "test", ids_0=ids)
    path = _saved(tmp_path / "a.npz", a=X, b=X[::-1], **columns)
    assert len(np.unique(mm.read(path).groups)) == N


HERE = np.arange(N) % 4 > 0


@pytest.mark.parametrize("name", ["x_present", "present_x", "x_mask"])
@pytest.mark.parametrize("how", ["labels", "groups", "ids"])
def test_a_mask_is_nothing_else(tmp_path, name, how):
    arrays = {"x": X[:, :, None], "t": X[::-1], name: HERE}
    path = _saved(tmp_path / "a.npz", **arrays)
    with pytest.raises(InvalidInput, match=f"'{name}' is read as .* named as something else"):
        mm.read(path, **{how: [name] if how != "groups" else name})


def test_lengths_may_be_a_label_too(tmp_path):
    steps = 1 + np.arange(N) % 4
    data = mm.read(_saved(tmp_path / "a.npz", x=X[:, :, None], x_lengths=steps), labels="x_lengths")
    np.testing.assert_array_equal(data.labels["x_lengths"], steps)
    np.testing.assert_array_equal(data.columns["x"].seen.sum(1), steps)


def test_lengths_of_what_is_no_sequence_may_be_a_label(tmp_path):
    data = mm.read(
        _saved(tmp_path / "a.npz", x=X, t=X[::-1], x_lengths=CLASSES), labels="x_lengths"
    )
    assert data.columns["x"].seen is None
    np.testing.assert_array_equal(data.labels["x_lengths"], CLASSES)


@pytest.mark.parametrize("mask", ["x_present", "person_present"])
def test_joined_columns_lack_what_their_masks_say(tmp_path, mask):
    x = np.where(HERE, X[:, 0], 0)
    masks = {mask: HERE} | ({"y_present": HERE} if mask == "x_present" else {})
    path = _saved(tmp_path / "a.npz", x=x, y=X[:, 1], t=X, **masks)
    data = mm.read(path, modalities={"person": ["x", "y"], "t": "t"})
    np.testing.assert_array_equal(data.present["person"], HERE)


def test_joined_columns_lack_all_or_nothing(tmp_path):
    path = _saved(tmp_path / "a.npz", x=X[:, 0], y=X[:, 1], t=X, x_present=HERE)
    with pytest.raises(InvalidInput, match="column 'x' of person is not present in row 0"):
        mm.read(path, modalities={"person": ["x", "y"], "t": "t"})


def test_presence_of_files_is_true_or_false(tmp_path):
    PIL.Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    lines = [f"a.png,word {k},no" for k in range(8)]
    (tmp_path / "a.csv").write_text("\n".join(["photo,text,photo_present", *lines]))
    with pytest.raises(InvalidInput, match="present photo: 'no' in row 0"):
        mm.read(tmp_path / "a.csv", modalities={"photo": "photo", "text": "text"})


PICTURES = RNG.integers(0, 255, (N, 6, 5, 3), np.uint8)


def test_masks_of_pictures_are_no_lengths(tmp_path):
    masks = RNG.integers(0, 2, (N, 6, 5)).astype(np.uint8)
    path = _saved(tmp_path / "a.npz", image=PICTURES, t=X, image_mask=masks)
    data = mm.read(path)
    assert [*data.columns] == ["image", "t"] and data.columns["image"].kind == "image"
    assert any("image_mask" in line for line in data.remarks)
    data = mm.read(path, modalities={"image": "image", "mask": "image_mask"})
    np.testing.assert_array_equal(data.columns["mask"].values[..., 0], masks)


def test_masks_of_tables_are_modalities_where_a_user_names_them(tmp_path):
    path = _saved(tmp_path / "a.npz", x=X, x_mask=(X > 0).astype(np.float32))
    data = mm.read(path, modalities={"x": "x", "x_mask": "x_mask"})
    assert {name: column.kind for name, column in data.columns.items()} == {
        "x": "features",
        "x_mask": "features",
    }
    with pytest.raises(InvalidInput, match="'x_mask' is read as where sequences of x end.*rename"):
        mm.read(path)


@pytest.mark.parametrize("lengths", [np.ones((N, 4, 1)), np.ones((N, 4, 4))])
def test_lengths_of_three_axes_are_refused(lengths):
    with pytest.raises(InvalidInput, match="lengths x: .* use .24. or .24, 4."):
        mm.Dataset.from_arrays(x=X[:, :, None], lengths={"x": lengths})
    with pytest.raises(InvalidInput, match="shape of x"):
        mm.Dataset.from_arrays(x=X[:, 0], lengths={"x": np.ones(N)})


def _model(data):
    nets = dict.fromkeys(data.columns, mm.nets.linear())
    options = dict(steps=1, validate_every=0, batch_size=8, nets=nets)
    return mm.fit(data, dim=2, key=jax.random.key(0), **options)


@pytest.fixture(scope="module")
def model():
    return _model(mm.Dataset.from_arrays(x=X, t=X[::-1]))


def test_an_export_keeps_labels_of_any_name(model, tmp_path):
    names = ["path", "file", "allow_pickle", "args", "self", "arrays"]
    data = mm.Dataset.from_arrays(x=X, t=X[::-1], labels=dict.fromkeys(names, CLASSES))
    out = str(tmp_path / "out.npz")
    write_embeddings(model, data, out)
    with np.load(out) as file:
        for name in names:
            np.testing.assert_array_equal(file[name], CLASSES)
        assert file["x"].shape == (N, 2)
    assert mm.read(out, labels=names).labels["allow_pickle"].tolist() == CLASSES.tolist()


def test_saved_arrays_are_those_of_numpy(tmp_path):
    arrays = dict(a=X, b=np.array(["é", "bb"]), c=np.asfortranarray(X), d=np.array(1))
    save_arrays(str(tmp_path / "a.npz"), **arrays)
    np.savez(tmp_path / "b.npz", **arrays)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with pytest.raises(ValueError, match="allow_pickle"):
        save_arrays(str(tmp_path / "c.npz"), a=np.array([None]))
    assert sorted(os.listdir(tmp_path)) == ["a.npz", "b.npz"]


def test_no_mask_of_an_export_replaces_a_modality():
    present = {"x": HERE}
    data = mm.Dataset.from_arrays(x=X, x_present=X[::-1], split=(1, 0, 0), present=present)
    with pytest.raises(InvalidInput, match="modality: 'x_present'"):
        export_columns(_model(data), data)


@pytest.mark.parametrize("name", ["ids_7", "ids", "IDS"])
def test_an_export_has_no_label_that_is_read_as_ids(model, name):
    data = mm.Dataset.from_arrays(x=X, t=X[::-1], split=(1, 0, 0), labels={name: CLASSES})
    with pytest.raises(InvalidInput, match=f"labels: '{name}'"):
        export_columns(model, data)


def _run(module, *argv, capsys):
    options = dict(experiment=module.EXPERIMENT, doc="", argv=["x", *argv])
    code = launch(module.main, module.Config, module.PRESETS, **options)
    return code, capsys.readouterr().err


@pytest.mark.parametrize(
    "name", ["split", "group", "is_test", "label_list", "feature_list", "pair_list"]
)
def test_an_export_of_pairs_loses_no_factor(tmp_path, name, capsys):
    y = np.tile([0, 1], N // 2)
    path = _saved(tmp_path / "a.npz", a=X, b=X[::-1], c=CLASSES, **{name: y})
    flags = [f"--data={path}", "--x=a", "--t=b", "--label_x=c", "--label_t=c", "--steps=1"]
    flags += [f"--private_t={name}", "--export_features", "--embedding_dims=2", "--batch_size=8"]
    flags += ["--seeds=1", f"--workdir={tmp_path / 'w'}"]
    code, said = _run(paired_data, *flags, capsys=capsys)
    assert code == 2 and f"private_t: '{name}' is not allowed" in said


def _folder(root, field, value=lambda k: k % 3):
    root.mkdir()
    for k in range(12):
        PIL.Image.new("RGB", (4, 4), (20 * k, 3, 3)).save(root / f"{k:02d}.png")
        (root / f"{k:02d}.txt").write_text(f"picture {k}")
        (root / f"{k:02d}.cls").write_text(str(k % 3))
        (root / f"{k:02d}.json").write_text(json.dumps({field: value(k)}))
    return root


@pytest.mark.parametrize("shards", [False, True])
@pytest.mark.parametrize("field", ["text", "image", "txt", "json"])
def test_a_field_called_as_files_are_is_kept_apart(tmp_path, field, shards):
    path = _folder(tmp_path / "a", field)
    if shards:
        with tarfile.open(tmp_path / "a.tar", "w") as file:
            for name in sorted(os.listdir(path)):
                file.add(path / name, name)
        path = tmp_path / "a.tar"
    with pytest.raises(InvalidInput, match=f"column '{field}' may be two, .* 'json.{field}'"):
        mm.read(path, labels=[field])
    data = mm.read(path, labels=[f"json.{field}"])
    np.testing.assert_array_equal(data.labels[f"json.{field}"], np.arange(12) % 3)
    assert data.columns["text"].values[0] == "picture 0" and data.columns["image"].kind == "image"
    assert any(f"is column 'json.{field}'" in line for line in data.remarks)


def test_a_field_that_says_what_a_file_does_is_no_second(tmp_path):
    data = mm.read(_folder(tmp_path / "a", "cls"), labels=["cls"])
    np.testing.assert_array_equal(data.labels["cls"], np.arange(12) % 3)
    with pytest.raises(InvalidInput, match="column 'cls' may be two"):
        mm.read(_folder(tmp_path / "b", "cls", lambda k: k % 2), labels=["cls"])


def test_files_of_an_ending_called_as_a_modality_are_kept_apart(tmp_path):
    path = _folder(tmp_path / "a", "other")
    with tarfile.open(tmp_path / "a.tar", "w") as file:
        for name in sorted(os.listdir(path)):
            file.add(path / name, name.replace(".cls", ".image"))
    data = mm.read(tmp_path / "a.tar", labels=[".image"])
    assert data.labels[".image"].tolist() == [str(k % 3) for k in range(12)]
    with pytest.raises(InvalidInput, match="column 'image' may be two"):
        mm.read(tmp_path / "a.tar", labels=["image"])


@pytest.mark.parametrize("flags", [dict(is_test="odd"), dict(is_validation="odd")])
def test_no_split_of_k_modalities_parts_an_id(tmp_path, flags):
    takes, odd = np.arange(N) // 2, np.arange(N) % 2
    path = _saved(tmp_path / "a.npz", a=X, odd=odd, take=takes, whole=takes % 2)
    with pytest.raises(InvalidInput, match=r"12 times: 'take' is '0' in row 0 .* and row 1"):
        load_multimodal(path, ["a"], ids="take", **flags)
    (flag,) = flags
    data = load_multimodal(path, ["a"], ids="take", **{flag: "whole"})
    assert _torn(data.split, takes) == 0


@pytest.mark.slow
def test_two_sides_that_are_one_are_told_or_refused(tmp_path, capsys):
    path = _saved(tmp_path / "a.npz", a=X, b=X.copy(), labels=CLASSES, back=np.arange(N)[::-1])
    for t in "ab":
        flags = [f"--data={path}", "--x=a", f"--t={t}", "--steps=1", f"--workdir={tmp_path / t}"]
        code, said = _run(paired_data, *flags, capsys=capsys)
        assert code == 0 and f"note: 'a' and '{t}' hold the same in every pair of rows" in said
    options = dict(pairs="index", pair_index="back", test_share=0.2)
    data = load_pairs(path, SideNames("a"), SideNames("b"), **options)
    assert data.partner.tolist() == list(range(N))[::-1]
    assert not any("hold the same" in line for line in data.remarks)
    other = _saved(tmp_path / "b.npz", features=X)
    for t in (dict(text_values="a"), dict(text_values="b"), dict(text=path, text_values="a")):
        with pytest.raises(InvalidInput, match="both sides are one; name another by --text"):
            read_world(FeatureOptions(features=path, values="a", **t), 0)
    with pytest.raises(InvalidInput, match="b.npz holds in every row what .*a.npz does"):
        read_world(FeatureOptions(features=path, values="a", text=other), 0)


def test_two_modalities_of_one_column_are_told(tmp_path):
    path = _saved(tmp_path / "a.npz", a=X, b=X[:, 0], c=X[:, 1], back=np.arange(N)[::-1])
    told = lambda **how: [line for line in mm.read(path, **how).remarks if "alike in all" in line]
    assert told(modalities=dict(x="a", y="a")) == [
        "x and y are both column 'a': two modalities, alike in all"
    ]
    assert len(told(modalities=dict(x=["b", "c"], y=["b", "c"]))) == 1
    assert not told(modalities=dict(x="a", y="a"), index={"y": "back"})
    assert not told(modalities=dict(x="a", y=["b", "c"]))


def test_a_modality_may_be_called_data():
    data = mm.Dataset.from_arrays(data=X, self=X[::-1], cls=2 * X)
    model = _model(data)
    every = model.embed(data)
    np.testing.assert_array_equal(model.embed(data=X), every["data"])
    np.testing.assert_array_equal(model.embed(self=X[::-1], data=X)["self"], every["self"])
    np.testing.assert_array_equal(model.embed(data=data)["cls"], every["cls"])


def test_arrays_beside_a_dataset_are_refused(model):
    data = mm.Dataset.from_arrays(x=X, t=X[::-1])
    np.testing.assert_array_equal(model.embed(data=data)["x"], model.embed(data)["x"])
    for how in (lambda: model.embed(data, x=X), lambda: model.embed(data=data, x=X)):
        with pytest.raises(InvalidInput, match="embed: 'a Dataset and x' is not allowed"):
            how()
    with pytest.raises(InvalidInput, match="use rows by name: embed.x=..., t="):
        model.embed(data=X)

"""The front door: fit, embed, save, load; what is trained is what is said."""

import dataclasses
import json
import os
import subprocess
import sys
import time

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import experiments.probe
import mmjax as mm
from mmjax import nets
from mmjax.data.values import Lazy
from mmjax.encoders import mlp
from mmjax.errors import InvalidInput, told_if_slow
from mmjax.models import figures, trained_on
from mmjax.models.fit import cut_short as cut
from mmjax.models.model import embedded
from mmjax.run import Row, launch
from mmjax.tables.models import check_held_out, export_columns, summary, write_embeddings
from mmjax.train import Interrupted
from tests.test_page import read_page

N = 60
SMALL = {name: nets.mlp((8,), dropout=0.1, input_noise=0.1) for name in ("a", "b")}
HOW = dict(dim=4, steps=12, batch_size=16, validate_every=4, progress=False, parallel="single")
KEY = jax.random.key(3)


def arrays(n=N, seed=0):
    rng = np.random.default_rng(seed)
    kind = np.arange(n) % 3
    shared = np.eye(3)[kind] * 3
    a = np.concatenate([shared, rng.normal(size=(n, 3))], 1).astype(np.float32)
    b = (np.concatenate([rng.normal(size=(n, 2)), shared], 1) * 100 + 7).astype(np.float32)
    return dict(a=a, b=b), kind


def dataset(**changes):
    rows, kind = arrays()
    given = dict(labels={"kind": kind, "size": rows["a"][:, 4]}, split=(0.6, 0.2, 0.2)) | changes
    return mm.Dataset.from_arrays(rows | given.pop("rows", {}), **given)


def fit(data, **changes):
    return mm.fit(data, **(dict(key=KEY, nets=SMALL) | HOW | changes))


@pytest.fixture(scope="module")
def data():
    return dataset()


@pytest.fixture(scope="module")
def model(data):
    return fit(data)


def in_file(values):
    values = np.asarray(values)
    return Lazy(values.shape, values.dtype, lambda rows: values[rows], str)


def test_embeddings_are_unit_vectors_whatever_is_beside_a_row(data, model):
    rows, _ = arrays(40, seed=5)
    z = model.embed(a=rows["a"])
    assert z.shape == (40, 4) and z.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(z, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(model.embed(a=rows["a"][::-1]), z[::-1])
    both = model.embed(**rows)
    assert list(both) == ["a", "b"]
    np.testing.assert_array_equal(both["a"], z)


def test_units_of_a_modality_change_nothing(data, model):
    other = dataset(rows={"b": arrays()[0]["b"].astype(np.float64) * 1e-3 - 5})
    again = fit(other)
    np.testing.assert_allclose(again.embed(other)["a"], model.embed(data)["a"], atol=1e-3)


def test_rows_that_are_held_out_do_not_scale(data, model):
    far = {
        name: np.where((data.split == "train")[:, None], v, 1e4) for name, v in arrays()[0].items()
    }
    other = fit(dataset(rows=far), steps=1, validate_every=0)
    for name, own in model.spec.preparations.items():
        chex.assert_trees_all_equal(other.spec.preparations[name].scaling, own.scaling)


def test_a_loaded_model_is_the_saved_one(tmp_path, data, model):
    model.save(str(tmp_path / "mine"))
    same = mm.load(str(tmp_path / "mine"))
    chex.assert_trees_all_equal(same.params, jax.tree.map(jnp.asarray, model.params))
    for name, z in model.embed(data).items():
        np.testing.assert_array_equal(same.embed(data)[name], z)
    assert str(same) == str(model)
    with pytest.raises(InvalidInput, match="exists"):
        model.save(str(tmp_path / "mine"))
    model.save(str(tmp_path / "mine"), overwrite=True)


@pytest.mark.slow
def test_a_loaded_model_is_the_saved_one_in_another_process(tmp_path, data, model):
    model.save(str(tmp_path / "mine"))
    rows, _ = arrays(20, seed=9)
    np.savez(tmp_path / "rows.npz", **rows)
    code = (
        "import sys, numpy as np, mmjax as mm\n"
        "rows = dict(np.load(sys.argv[2]))\n"
        "np.savez(sys.argv[3], **mm.load(sys.argv[1]).embed(**rows))\n"
    )
    for devices in (1, 8):
        out = tmp_path / f"z{devices}.npz"
        flags = os.environ["XLA_FLAGS"].replace("device_count=8", f"device_count={devices}")
        subprocess.run(
            [sys.executable, "-c", code, tmp_path / "mine", tmp_path / "rows.npz", out],
            check=True,
            env=os.environ | {"XLA_FLAGS": flags},
        )
        for name, z in model.embed(**rows).items():
            np.testing.assert_array_equal(np.load(out)[name], z)


def damaged(path, change):
    with open(path, "rb") as file:
        content = bytearray(file.read())
    change(content)
    with open(path, "wb") as file:
        file.write(bytes(content))


def flip(content):
    content[len(content) // 2] ^= 1


def test_a_damaged_folder_is_told_in_a_line(tmp_path, model):
    for name in ("model.json", "params.safetensors"):
        folder = tmp_path / name
        model.save(str(folder))
        damaged(folder / name, flip)
        with pytest.raises(InvalidInput, match=name) as error:
            mm.load(str(folder))
        assert "\n" not in str(error.value)
        os.unlink(folder / name)
        with pytest.raises(InvalidInput, match=name):
            mm.load(str(folder))
    with pytest.raises(InvalidInput, match=r"can't be read"):
        mm.load(str(tmp_path / "nothing"))
    run = tmp_path / "run"
    model.save(str(run / "models" / "dim=8_seed=0" / "model"))
    with pytest.raises(InvalidInput, match=r"use a model of this run: .*dim=8_seed=0/model"):
        mm.load(str(run))
    nearer = run / "models" / "dim=8_seed=0"
    for near in (nearer, nearer / "model" / "model.json"):
        with pytest.raises(InvalidInput, match=r"; use .*dim=8_seed=0/model$"):
            mm.load(str(near))
    other = tmp_path / "later"
    model.save(str(other))
    body = json.loads((other / "model.json").read_text())
    (other / "model.json").write_text(json.dumps(body | {"format": 2}))
    with pytest.raises(InvalidInput, match="format is 2"):
        mm.load(str(other))


def own(out):
    return mlp((8,), out)


def test_a_network_of_ones_own_is_given_again(tmp_path, data):
    made = fit(data, nets=SMALL | {"b": own}, steps=4)
    made.save(str(tmp_path / "mine"))
    with pytest.raises(InvalidInput, match=r"net of b .*own.*nets=\{'b'"):
        mm.load(str(tmp_path / "mine"))
    same = mm.load(str(tmp_path / "mine"), nets={"b": own})
    np.testing.assert_array_equal(same.embed(data)["b"], made.embed(data)["b"])
    with pytest.raises(InvalidInput, match="don't fit"):
        mm.load(str(tmp_path / "mine"), nets={"b": lambda out: mlp((9,), out)})


def stopping(after):
    """Says SIGTERM once, after so many chunks."""
    count = [0]

    def stop():
        count[0] += 1
        return 15 if count[0] == after else None

    return stop


@pytest.mark.parametrize("stream", [False, True], ids=["arrays", "streams"])
def test_a_stopped_training_goes_on_exactly(tmp_path, data, model, stream):
    rows = {k: in_file(v) for k, v in arrays()[0].items()} if stream else {}
    same = dataset(rows=rows, ids=np.arange(N), split=data.split)
    whole = fit(dataset(ids=np.arange(N), split=data.split))
    with pytest.raises(Interrupted):
        fit(same, workdir=str(tmp_path), stop=stopping(2))
    resumed = fit(same, workdir=str(tmp_path))
    chex.assert_trees_all_equal(resumed.params, whole.params)
    again = fit(same, workdir=str(tmp_path))  # reads what is there
    chex.assert_trees_all_equal(again.params, jax.tree.map(jnp.asarray, whole.params))
    metrics = (tmp_path / "metrics.csv").read_text().splitlines()
    assert [line.split(",")[3] for line in metrics if ",loss," in line] == ["4", "8", "12"]
    with pytest.raises(InvalidInput, match="holds another training: dim 4 there, 5 here"):
        fit(same, workdir=str(tmp_path), dim=5)


def test_rows_without_a_modality_train_with_what_they_have(data):
    rows, kind = arrays()
    lacks = np.zeros(N, bool)
    lacks[::4] = True
    rows["b"][lacks] = np.nan
    some = mm.Dataset.from_arrays(
        rows, present={"b": ~lacks}, labels={"kind": kind}, split=data.split
    )
    made = fit(some)
    found = made.embed(some)
    assert np.isnan(found["b"][lacks]).all() and np.isfinite(found["a"]).all()
    # InfoNCE of whole batches is that of the rows that have both.
    whole = some.take(~lacks)
    loss = mm.losses.info_nce(temperature=0.1)
    z = {k: jnp.asarray(np.nan_to_num(v)) for k, v in found.items()}
    context = mm.Context(ids=some.ids, present={"b": jnp.asarray(~lacks)})
    value, _ = loss.value({}, z, context)
    left, _ = loss.value({}, {k: v[~lacks] for k, v in z.items()}, mm.Context(ids=whole.ids))
    np.testing.assert_allclose(value, left, rtol=1e-6)
    assert made.spec.about["rows"]["train"] == 36


def test_the_best_step_is_chosen_and_training_stops(data):
    worse = iter(range(100))

    def monitor(model, rows):
        assert set(rows.split) == {"validation"}
        return -next(worse)  # best at the first look

    made = fit(data, monitor=monitor, patience=1, steps=40)
    assert [step for step, _ in made.spec.about["validation"]] == [4, 8]
    first = fit(data, validate_every=0, steps=40, schedule="constant", warmup=0)
    assert "validation" in first.spec.about and not first.spec.about["validation"]


def test_trained_rows_are_known_and_refused(data, model):
    np.testing.assert_array_equal(trained_on(model, data), data.split != "test")
    swapped = data._replace(split=np.where(data.split == "test", "train", "test"))
    with pytest.raises(InvalidInput, match="48 of 48 rows of split test"):
        mm.probe(model, swapped, "kind")
    with pytest.raises(InvalidInput, match="use_trained_rows"):
        mm.retrieval(model, swapped)
    marked = mm.retrieval(model, swapped, use_trained_rows=True)
    assert "TRAINED ROWS" in str(marked)


def test_figures_stand_beside_chance_and_raw(data, model, tmp_path):
    found = mm.probe(model, data, "kind")
    assert found.raw["a"] == 1.0 and abs(found.chance - 1 / 3) < 0.2
    assert set(found.embedding) == {"a", "b", "all"} and found.scored == 12
    assert mm.probe(model, data, "size").metric == "r2"
    recall = mm.retrieval(model, data)
    assert set(recall.recall) == {("a", "b"), ("b", "a")}
    assert 0 < recall.chance[1] < recall.chance[5] <= 1
    report = mm.report(model, data)
    assert "kind" in str(report) and "retrieval" in str(report)
    for name in ("page.md", "page.html"):
        mm.report(model, data, str(tmp_path / name))
        text = (tmp_path / name).read_text()
        assert "retrieval" in text and text.startswith("<!doctype html>") == name.endswith("html")
    assert "modality a" in read_page(text).text
    parts = mm.disentangle(model, data, key=KEY, num_components=2)
    assert set(parts.figures) == {"as they are", "PCA", "whitening", "FastICA"}


def test_a_label_that_names_the_groups_is_probed_within_them(model):
    rows, _ = arrays(seed=4)
    who = np.array(["u", "v", "w", "x"])[np.arange(N) // 15]
    split = np.where(np.isin(who, ["u", "v"]), "train", "test")
    held = mm.Dataset.from_arrays(rows, labels={"who": who}, groups=who, split=split)
    found = mm.probe(model, held, "who", raw=False)
    assert (found.fitted, found.scored) == (15, 15) and "no training row" in str(found)
    assert max(found.embedding.values()) > 0


def data_of_four(model):
    rows = {name: v[:4] for name, v in arrays(seed=9)[0].items()}
    return mm.Dataset.from_arrays(rows, split=(0, 0, 1))


def test_perfect_embeddings_find_any_caption_of_an_image(model):
    rows, _ = arrays(seed=7)
    image = np.repeat(np.arange(N // 5), 5)
    many = mm.Dataset.from_arrays(
        a=rows["a"][image], b=rows["b"], ids={"image": image}, split=(0, 0, 1)
    )
    right = many.ids[:, :1] == many.ids[:, 0]
    assert right.sum() == 5 * N
    found = mm.retrieval(model, many)
    assert found.chance[1] == pytest.approx(5 / N)
    few = data_of_four(model)
    assert mm.retrieval(model, few).chance == pytest.approx({1: 1 / 4, 5: 1.0, 10: 1.0})


def test_eight_devices_train_as_one(data):
    still = {name: nets.mlp((8,), dropout=0.0, input_noise=0.0) for name in ("a", "b")}
    one = fit(data, nets=still, steps=4)
    eight = fit(data, nets=still, steps=4, parallel="data")
    chex.assert_trees_all_close(eight.params["nets"], one.params["nets"], atol=2e-5)


def test_a_fusion_embeds_what_it_is_given(data, tmp_path):
    options = mm.Fusion(tokens=1, heads=2, head_hidden=8)
    made = fit(data, fusion=options, loss="comm", dim=4, steps=2, validate_every=0)
    rows, _ = arrays(6, seed=1)
    joint, alone = made.embed(**rows), made.embed(a=rows["a"])
    assert joint.shape == alone.shape == (6, 4)
    assert np.abs(joint - alone).max() > 1e-4
    made.save(str(tmp_path / "mine"))
    np.testing.assert_array_equal(mm.load(str(tmp_path / "mine")).embed(**rows), joint)


def test_a_class_has_one_code_in_training_and_in_validation():
    seen = []

    def value(params, z, context):
        jax.debug.callback(lambda v: seen.append(set(np.asarray(v).tolist())), context.labels)
        return jnp.mean(z["a"] ** 2), {}

    rows, _ = arrays()
    names = np.array(["x", "y", "z"])[np.arange(N) % 3]
    split = np.where(names == "z", "validation", "train")  # x and y are 0 and 1 in training
    data = mm.Dataset.from_arrays(a=rows["a"], labels={"k": names}, split=split)
    fit(data, nets={"a": SMALL["a"]}, loss=mm.Loss(lambda k, d: {}, value), label="k", steps=4)
    jax.effects_barrier()
    assert {0, 1} in seen and {2} in seen and set().union(*seen) == {0, 1, 2}


def barlow_twins():
    def value(params, z, context):
        a, b = (context.gather(v) for v in z.values())
        a, b = ((v - v.mean(0)) / (v.std(0) + 1e-3) for v in (a, b))
        c = a.T @ b / len(a)
        off = jnp.sum(c**2) - jnp.sum(jnp.diag(c) ** 2)
        loss = jnp.sum((1 - jnp.diag(c)) ** 2) + 0.005 * off
        return loss, {"off": off, "loss": loss}

    return mm.Loss(lambda key, dim: {}, value)


def test_a_loss_of_ones_own_trains_and_is_logged(data, tmp_path):
    made = fit(data, loss=barlow_twins(), head="none", steps=4, workdir=str(tmp_path))
    assert made.spec.about["loss"] == "barlow_twins"
    lines = (tmp_path / "metrics.csv").read_text().splitlines()[1:]
    told = {metric: float(value) for *_, metric, value in (line.split(",") for line in lines)}
    assert set(told) == {"loss", "off", "own loss", "validation"} and told["off"] > 0
    assert told["own loss"] == told["loss"]


@pytest.mark.parametrize(
    "changes, told",
    [
        (dict(dim=0), "dim: 0"),
        (dict(loss="info"), "loss: 'info'.*info_nce"),
        (dict(loss=3), "loss: 'int'"),
        (dict(nets={"c": own}), "nets: 'c'.*a, b"),
        (dict(head="ball"), "head: 'ball'"),
        (dict(label="name"), "label: 'name'.*kind"),
        (dict(label="size"), "label: 'size'.*classes"),
        (dict(patience=0), "patience: 0"),
        (dict(steps=0), "steps: 0"),
        (dict(augment={"c": None}), "augment: 'c'"),
        (dict(monitor="accuracy"), "monitor: 'accuracy'"),
    ],
)
def test_bad_options_are_told_in_a_line(data, changes, told):
    with pytest.raises(InvalidInput, match=told) as error:
        fit(data, **changes)
    assert "\n" not in str(error.value)


def test_bad_rows_are_told_in_a_line(data, model):
    rows, _ = arrays(3)
    with pytest.raises(InvalidInput, match=r"shape of a: \[5\].*\[6\]"):
        model.embed(a=rows["a"][:, :5])
    with pytest.raises(InvalidInput, match="modality: 'c'"):
        model.embed(c=rows["a"])
    with pytest.raises(InvalidInput, match="kind of a: 'text'"):
        model.embed(a=["x", "y"])
    with pytest.raises(InvalidInput, match="label"):
        mm.probe(model, data, "colour")
    with pytest.raises(InvalidInput, match="a has NaN"):
        model.embed(a=np.full((3, 6), np.nan))


@pytest.mark.parametrize(
    "rows, told",
    [
        (lambda a: {"a": a[:, :5]}, "shape of a: \\[5\\].*\\[6\\], as trained"),
        (lambda a: {"a": a[:, None]}, "kind of a: 'sequence'"),
        (lambda a: {"c": a}, "modalities: 'c'.*some of a, b"),
    ],
)
def test_data_that_does_not_fit_a_model_is_told_in_a_line(model, rows, told):
    own, kind = arrays(seed=5)
    beside = {} if "c" in rows(own["a"]) else {"b": own["b"]}
    other = mm.Dataset.from_arrays(
        rows(own["a"]) | beside, labels={"kind": kind}, split=(0.6, 0.2, 0.2)
    )
    judges = [
        lambda: mm.probe(model, other, "kind"),
        lambda: mm.retrieval(model, other),
        lambda: mm.disentangle(model, other, key=KEY),
        lambda: mm.report(model, other),
        lambda: embedded(model, other),
    ]
    for judge in judges:
        with pytest.raises(InvalidInput, match=told) as error:
            judge()
        assert "\n" not in str(error.value)


def test_the_front_door_is_light():
    code = "import sys, mmjax; print(sorted({'matplotlib', 'sklearn', 'orbax'} & set(sys.modules)))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
    assert set(mm.__all__) <= set(dir(mm))
    with pytest.raises(AttributeError, match="fitt"):
        mm.fitt  # noqa: B018


def test_an_export_keeps_split_groups_and_ids_and_is_probed_alike(tmp_path, data, model):
    named = data._replace(files=np.array([f"{k}.png" for k in range(data.num_rows)]))
    told = write_embeddings(model, named, str(tmp_path / "z.npz"))
    assert "36 train" in told and "12 test" in told
    with np.load(tmp_path / "z.npz") as arrays:
        np.testing.assert_array_equal(arrays["files"], named.files)
    assert named.take([3, 1]).files.tolist() == ["3.png", "1.png"]
    back = mm.read(str(tmp_path / "z.npz"), modalities={"a": "a", "b": "b"}, labels=["kind"])
    assert not any(name in line for line in back.remarks for name in ("is_test", "files"))
    np.testing.assert_array_equal(back.split, data.split)
    np.testing.assert_array_equal(back.ids, data.ids)
    np.testing.assert_array_equal(back.files, named.files)
    np.testing.assert_array_equal(back.groups, data.groups)
    assert mm.probe(None, back, "kind").embedding == mm.probe(model, data, "kind").embedding
    how = dict(key=KEY, labels=["kind"], num_components=2)
    of_file, of_model = (mm.disentangle(*m, **how) for m in ((None, back), (model, data)))
    assert str(of_file) == str(of_model) and of_file.scored == 12
    with pytest.raises(InvalidInput, match="no rows of split test"):
        mm.disentangle(None, back._replace(split=np.full(len(back.split), "train")), **how)
    swapped = data._replace(split=np.where(data.split == "test", "train", "test"))
    assert "test" not in export_columns(model, swapped)["split"]
    with pytest.raises(InvalidInput, match="out"):
        write_embeddings(model, data, str(tmp_path / "z.csv"))


@pytest.mark.parametrize("split, code", [("0.8,0.1,0.1", 2), ("split", 0), ("", 0)])
def test_an_export_is_judged_on_no_other_split_than_its_own(
    tmp_path, data, model, split, code, capsys
):
    """Rows of its split train are those that the encoder was trained on."""
    path = str(tmp_path / "z.npz")
    write_embeddings(model, data, path)
    flags = [f"--data={path}", "--modalities=a:a", "--labels=kind", f"--workdir={tmp_path}/run"]
    argv = ["probe", *flags, f"--split={split}"]
    how = dict(experiment="probe", doc="", about=experiments.probe.ABOUT, argv=argv)
    made = experiments.probe
    assert launch(made.main, made.Config, made.PRESETS, **how) == code
    said = capsys.readouterr().err
    assert code == 0 or "says which rows the encoder was trained on (--split: " in said
    assert (tmp_path / "run").exists() == (code == 0)
    anew = mm.read(path, modalities={"a": "a"}, split=(0.8, 0.1, 0.1))
    assert "split anew: column 'split' says another" in anew.remarks


@pytest.mark.slow
def test_pictures_and_captions_in_five_lines(tmp_path):
    rng = np.random.default_rng(0)
    y = np.arange(48) % 3
    pictures = rng.integers(0, 80, (48, 16, 16, 3)).astype(np.uint8)
    pictures[np.arange(48), :, :, y] += 150
    colour = np.array(["red", "green", "blue"])[y]
    captions = [f"a {c} square, number {k}" for k, c in enumerate(colour)]
    author = np.arange(48) // 2

    split = (0.8, 0.1, 0.1)
    data = mm.Dataset.from_arrays(
        image=pictures, text=captions, labels={"class": y}, groups=author, split=split
    )
    loss = mm.losses.info_nce(temperature=0.1)
    model = mm.fit(data, dim=16, loss=loss, steps=8, key=KEY, progress=False)
    z = model.embed(image=pictures[:5])
    assert z.shape == (5, 16)
    assert "class" in str(mm.probe(model, data, "class")) and str(mm.retrieval(model, data))
    model.save(str(tmp_path / "mine"))
    np.testing.assert_array_equal(mm.load(str(tmp_path / "mine")).embed(image=pictures[:5]), z)
    many = mm.sweep(data, dims=(2, 4), key=KEY, steps=2, progress=False, validate_every=0)
    assert set(many.models) == {2, 4} and "dim 2" in str(many)


def enough_rows(n=240):
    """Rows that no model has seen, enough to judge components by."""
    rows, kind = arrays(n, seed=11)
    label = np.array(list("abc"))[kind]
    return mm.Dataset.from_arrays(rows, labels={"kind": label}, split=(0.5, 0, 0.5))


def test_components_are_told_by_enough_rows_alone(model):
    data = enough_rows()
    found = mm.disentangle(model, data, key=KEY)
    told = {m: v for of in found.figures.values() for m, v in of.items() if m != "dci"}
    assert all(v is not None for v in told.values())  # of one label there is no dci
    assert any("of= chooses another: b, all" in line for line in found.remarks)
    kept = (data.split == "train") | (np.cumsum(data.split == "test") < 21)
    found = mm.disentangle(model, data.take(np.flatnonzero(kept)), key=KEY, of="b")
    assert found.chance["dci"] is None and found.chance["sap"] is not None
    assert "20 judged rows: too few for dci, use 22 or more" in str(found)
    assert str(found).splitlines()[2].split()[-3:-1] == ["-", "-"]
    rare = np.where(np.arange(data.num_rows) < 200, "often", "rarely")
    rare = data._replace(labels={"kind": np.where(data.split == "test", "often", rare)})
    found = mm.disentangle(model, rare, key=KEY)
    assert found.figures["PCA"]["sap"] is None and "label kind is left out" in str(found)
    assert "dci" not in mm.disentangle(model, data._replace(labels={}), key=KEY).chance


@pytest.mark.parametrize("number", [0, -1, 99, 2.5, True, "2", np.ones(2)])
def test_components_are_as_many_as_rows_determine(model, number):
    with pytest.raises(InvalidInput, match="^num_components: .*use a whole number, 1 to 4$"):
        mm.disentangle(model, enough_rows(60), key=KEY, num_components=number)


ODD_DATA = {"list": [1, 2], "ndarray": np.ones((3, 4)), "str": "rows.npz", "NoneType": None}
CALLS = {
    "probe": lambda model, data, key: mm.probe(model, data, "kind"),
    "retrieval": lambda model, data, key: mm.retrieval(model, data),
    "disentangle": lambda model, data, key: mm.disentangle(model, data, key=key),
    "sweep": lambda model, data, key: mm.sweep(data, dims=[2], key=key, **HOW | {"nets": SMALL}),
    "report": lambda model, data, key: mm.report(model, data),
    "fit": lambda model, data, key: mm.fit(data, dim=2, key=key),
}


@pytest.mark.parametrize("call", CALLS)
def test_other_types_are_told_in_a_line(call, data, model):
    judge = CALLS[call]
    for kind, odd in ODD_DATA.items():
        with pytest.raises(InvalidInput, match=f"^data: a value of type {kind}.*use a mm.Dataset"):
            judge(model, odd, KEY)
    if call not in ("sweep", "fit"):
        for odd in ("folder", 3, data):
            with pytest.raises(InvalidInput, match="^model: a value of type .*mm.fit or mm.load"):
                judge(odd, data, KEY)
    if call in ("retrieval", "report"):
        with pytest.raises(InvalidInput, match="^model: a value of type NoneType"):
            judge(None, data, KEY)
    if call in ("sweep", "fit", "disentangle"):
        for odd in (0, None, np.arange(2), jnp.arange(2), jax.random.split(KEY, 2)):
            with pytest.raises(InvalidInput, match="^key: .*use a key, as jax.random.key"):
                judge(model, data, odd)


def lone(n):
    """The only rows, all of them to judge."""
    rows, kind = arrays(n, seed=12)
    return mm.Dataset.from_arrays(rows, labels={"kind": kind}, split=["test"] * n)


def parted(data, both):
    """The rows have one modality each, but for some of the judged ones."""
    first = np.arange(data.num_rows) % 2 == 0
    kept = np.cumsum(data.split == "test") <= both
    return data._replace(present={"a": first | kept, "b": ~first | kept})


def test_rows_with_both_modalities_are_counted(data, model):
    told = mm.retrieval(model, parted(data, 5))
    assert told.remarks[0] == "a and b: 5 rows with both"
    assert told.chance[1] == pytest.approx(1 / 5)


@pytest.mark.parametrize(
    "call, told",
    [
        (lambda m, d: mm.probe(m, d, ["kind"]), r"label: \['kind'\] is not allowed; use one of"),
        (lambda m, d: mm.probe(m, d, "kind", modalities="a"), r"modalities: 'a'.*use .*\['a'\]"),
        (lambda m, d: mm.probe(m, d, "kind", modalities=[0]), r"modalities: \[0\] .*list of names"),
        (lambda m, d: mm.probe(m, d._replace(labels={}), "kind"), "label: 'kind' is not there"),
        (lambda m, d: mm.disentangle(m, d, key=KEY, labels="kind"), r"labels: 'kind'.*\['kind'\]"),
        (lambda m, d: mm.disentangle(m, d, key=KEY, of=0), "of: 0 is not allowed; use one of a"),
        (lambda m, d: mm.retrieval(m, d, ks=5), "ks: 5 .*a list of whole numbers >= 1"),
        (lambda m, d: mm.retrieval(m, d, ks=[0]), "ks: 0 .*whole number >= 1"),
        (lambda m, d: mm.sweep(d, dims=4, key=KEY), "dims: 4 .*a list of whole numbers >= 1"),
        (lambda m, d: mm.sweep(d, dims=[], key=KEY), r"dims: \[\] .*a list of whole numbers"),
        (lambda m, d: mm.sweep(d, dims=[2, 0.5], key=KEY), "dims: 0.5 .*whole number >= 1"),
        (lambda m, d: mm.sweep(d, dims=[2], key=KEY, labels="kind"), r"labels: 'kind'"),
        (
            lambda m, d: mm.probe(m, d, "kind", modalities=["a", "a"]),
            "modalities: .* name once",
        ),
        (
            lambda m, d: mm.probe(m, d, "kind", use_trained_rows="no"),
            "use_trained_rows: 'no' .*",
        ),
        (lambda m, d: mm.retrieval(m, d, use_trained_rows=0), "use_trained_rows: 0 .*use True or"),
        (lambda m, d: mm.report(m, d, os.getcwd()), "path: .* ends in .html or .md"),
        (lambda m, d: mm.report(m, d, "page.pdf"), "path: 'page.pdf' .* ends in .html or .md"),
        (lambda m, d: mm.probe(m, lone(1), "kind"), "label kind: 0 fitting rows of 0 classes; use"),
        (lambda m, d: mm.probe(m, lone(2), "kind"), "label kind: 1 fitting row of 1 class; use"),
        (lambda m, d: mm.retrieval(m, parted(d, 0)), "data: no row of split test has two of a, b"),
        (lambda m, d: mm.report(m, d, 3), "path: 3 is not allowed; use the path of a page"),
        (lambda m, d: mm.fit(d, dim=2.5, key=KEY), "dim: 2.5 .*whole number >= 1"),
        (lambda m, d: mm.fit(d, dim=2, key=KEY, steps="9"), "steps: '9' .*whole number >= 1"),
        (lambda m, d: mm.fit(d, dim=2, key=KEY, batch_size=1), "batch_size: 1 .*whole number >= 2"),
    ],
)
def test_other_options_are_told_in_a_line(call, told, data, model):
    with pytest.raises(InvalidInput, match=f"^{told}") as error:
        call(model, data)
    assert "\n" not in str(error.value) and len(str(error.value)) < 200


@pytest.mark.parametrize("name", ["disentangle", "report", "probe", "retrieval", "sweep"])
def test_a_wrong_keyword_is_told_of_the_function_that_was_called(name):
    with pytest.raises(TypeError, match=rf"^{name}\(\) "):
        getattr(mm, name)(colour=3)


def test_figures_that_nothing_tells_are_a_dash():
    shown = [figures.show(v) for v in (None, float("nan"), 0.0, "as it is")]
    assert shown == ["-", "-", "0.000", "as it is"]


def test_rows_that_lack_a_modality_have_their_own_chance_and_number(model, data):
    """A line's figures are of the rows that have what it is made of, and so are those beside it."""
    kind = data.labels["kind"]
    here = (kind > 0) | (np.arange(N) % 9 == 0)
    found = mm.probe(model, data._replace(present={"b": here}), "kind")
    held = data.split == "test"
    for name, rows in (("a", held), ("b", held & here), ("all", held & here)):
        counts = np.bincount(kind[rows])
        assert found.partial[name] == (rows.sum(), pytest.approx(counts.max() / rows.sum()))
    told = [line.split() for line in str(found).splitlines()]
    assert told[1][-1] == "rows" and told[3][-1] == str((held & here).sum())
    assert mm.probe(model, data, "kind").partial == {}


def test_copies_of_training_rows_are_told_before_a_training(data):
    check_held_out(data)
    copied = data.take(np.r_[np.arange(N), np.flatnonzero(data.split == "train")[:2]])
    copied.split[-2:] = "test"
    with pytest.raises(InvalidInput, match="split: 2 of 14 rows of split test equal training rows"):
        check_held_out(copied)


def test_rows_are_embedded_by_name(model):
    with pytest.raises(InvalidInput, match=r"embed: 'ndarray' .*rows by name: embed\(a=..., b="):
        model.embed(arrays()[0]["a"])
    one = r"shape of a: \[6\] is not allowed; use a\[None\] for one row: the first axis is that of"
    with pytest.raises(InvalidInput, match=one):
        model.embed(a=arrays()[0]["a"][0])


def test_a_run_and_a_model_share_no_folder(model, tmp_path):
    model.save(tmp_path / "mine")
    before = sorted(os.listdir(tmp_path / "mine"))
    with pytest.raises(InvalidInput, match="mine' holds a saved model; use another workdir"):
        fit(dataset(), workdir=tmp_path / "mine")
    assert sorted(os.listdir(tmp_path / "mine")) == before
    (tmp_path / "run").mkdir()
    with pytest.raises(
        InvalidInput, match="run' exists; use another path: it is no model's folder"
    ):
        model.save(tmp_path / "run", overwrite=True)


def test_what_a_short_training_cuts_is_told(model):
    assert not any("warm-up" in line for line in model.spec.about["remarks"])  # nobody asked
    assert cut(64, 36, 6, 12) == ["a batch is all 36 training rows: batch_size 64 asks for more"]
    half = "the warm-up takes half of the steps, 6 steps: warmup 50 asks for more"
    assert cut(16, 36, 50, 12) == [half] and cut(256, 36, 100, 12) == []
    with pytest.raises(InvalidInput, match="warmup: -1"):
        fit(dataset(), warmup=-1)


def test_where_nothing_is_validated_the_last_step_is_said_to_be_kept(model, capsys):
    line = "no validation rows: the last step is kept, whether it overfits or not"
    assert line not in model.spec.about["remarks"]
    looks = dict(model.spec.about["validation"])
    assert model.spec.about["kept_step"] == min(looks, key=looks.get)
    asked = fit(dataset(split=(0.7, 0, 0.3)), validate_every=0, steps=1)
    assert line not in asked.spec.about["remarks"]  # who asks for none knows
    none = fit(dataset(split=(0.7, 0, 0.3)), validate_every=None, steps=1)
    assert line in none.spec.about["remarks"]
    assert capsys.readouterr().err.count(f"note: {line}") == 1


def test_a_summary_tells_how_many_rows_were_judged(data):
    row = lambda name, metric, value: Row("fit", "dim=4", 0, name, "kind", metric, value)
    rows = [row("a", "accuracy", 0.5), row("b", "accuracy", 0.75), row("b", "judged_rows", 7)]
    every = [row("all", "judged_rows", 12), row("all", "chance", 0.25)]
    config = dataclasses.make_dataclass("Config", ["seeds"])(1)
    every.append(Row("fit", "dim=4", 0, "all", "", "kept_step", 8))
    text = summary(config, data, rows + every, ["dim=4"], {})
    assert "Kept is the step that is best at the validation rows: dim=4 8." in text
    assert "kind from a (accuracy, 12 rows)" in text and "kind from b (accuracy, 7 rows)" in text


def test_what_takes_long_says_so(capsys):
    with told_if_slow("still here", after=0.01):
        time.sleep(0.2)
    with told_if_slow("never said", after=60):
        pass
    assert capsys.readouterr().err == "still here\n"


def test_an_argument_that_fit_lacks_is_told_with_what_is_near():
    with pytest.raises(InvalidInput, match="an argument of fit: 'lr' .*learning_rate"):
        mm.fit(None, dim=1, lr=1e-3)


def test_channels_that_come_first_are_told():
    pictures = np.zeros((8, 3, 12, 12), np.uint8)
    with pytest.raises(InvalidInput, match="channels of face: 12 .*moveaxis"):
        mm.Dataset.from_arrays(face=pictures, a=np.eye(8), split=(1, 0, 0))

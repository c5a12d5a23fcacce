"""What a run is told of its flags, and what its tables and figures must not lose."""

import importlib
from types import SimpleNamespace

import jax
import numpy as np
import pytest

import mmjax as mm
from experiments import paired_data
from mmjax import report
from mmjax.config import moot
from mmjax.errors import InvalidInput
from mmjax.models.figures import ProbeFigures
from mmjax.run import Row
from mmjax.studies.feature_worlds import FeatureOptions, read_world
from mmjax.studies.paired import check_probes, probe_figures
from mmjax.studies.pictures import read_pictures
from mmjax.tables import disentangle_report, few_shot, is_it_ica
from mmjax.tables import models as tables_of_models
from mmjax.tables.few_shot_report import domain_tables
from mmjax.tables.models import DataOptions, judged, read_data, summary
from mmjax.tables.needs import NEEDS
from mmjax.tables.recorded import named_subsets
from mmjax.tables.traverse import summary as traverse_summary
from mmjax.train.signals import checked_signal

RNG = np.random.default_rng(0)
KEY = jax.random.key(0)
PLACE = np.array(["p", "q"])[np.arange(48) // 24]


fitting = importlib.import_module("mmjax.models.fit")


def config_of(name, **flags):
    return importlib.import_module(f"experiments.{name}").Config(**flags)


@pytest.mark.parametrize(
    "name, flags, told",
    [
        ("disentangle", dict(split="part"), {"split"}),
        ("disentangle", dict(group="tree", use_trained_rows=True), {"group", "use_trained_rows"}),
        ("disentangle", dict(split="part", features="f.npz"), set()),
        ("disentangle", dict(split="part", twin="f.npz"), set()),
        # It says how many rows components are judged on, too.
        ("disentangle", dict(test_share=0.4, test="t.npz", features="f.npz"), set()),
        ("paired_data", dict(ids_x="i", ids_t="i"), {"ids_x", "ids_t"}),
        ("paired_data", dict(ids_x="i", ids_t="i", data="f.npz"), set()),
        # Of pairs by index a mask of one side is one of the other.
        ("paired_data", dict(test_share=0.3, data="f", test_t="m"), {"test_share"}),
        ("paired_data", dict(test_share=0.3, data="f", test_t="m", pairs="label"), set()),
        ("fit", dict(loss="factor_cl", temperature=0.2), {"temperature"}),
        ("fit", dict(loss="factor_cl_supervised", temperature=0.2), {"temperature"}),
        ("fit", dict(loss="siglip", temperature=0.2), set()),
        # A label makes FactorCL supervised: that flag does something.
        ("fit", dict(loss="factor_cl", train_label="y"), set()),
        ("fit", dict(loss="info_nce", train_label="y"), {"train_label"}),
        ("comm_trifactors", dict(methods="factor_cl", temperature=0.2), {"temperature"}),
        ("comm_trifeature", dict(methods="factor_cl,comm", temperature=0.2), set()),
        ("comm_digits", dict(methods="factor_cl_supervised", temperature=0.2), {"temperature"}),
        ("comm_digits", dict(probe_samples=100), set()),
        ("comm_digits", dict(image_rows=100), {"image_rows"}),
    ],
)
def test_flags_that_change_nothing_are_told_and_no_others(name, flags, told):
    lines = moot(config_of(name, **flags), list(flags), NEEDS.get(name, {}))
    assert {line.split()[1].strip("-") for line in lines} == told


def test_root_and_stream_without_files_are_told(tmp_path):
    x, word = RNG.normal(size=(40, 3)), np.arange(40) % 2
    np.savez(tmp_path / "pairs.npz", x=x, t=x + 1, word=word)
    (tmp_path / "t.csv").write_text("a,b\n" + "".join(f"{k}.5,{k % 7}.25\n" for k in range(40)))
    options = dict(labels="word", root=str(tmp_path))
    of_arrays = DataOptions(data=str(tmp_path / "pairs.npz"), **options, stream=True)
    told = read_data(of_arrays).remarks
    assert any(line.startswith("--root=") and "changes nothing" in line for line in told)
    assert not any(line.startswith("--stream") for line in told)
    of_cells = dict(data=str(tmp_path / "t.csv"), modalities="x:a,t:b", root="r", stream=True)
    told = read_data(DataOptions(**of_cells)).remarks
    assert sum("changes nothing" in line for line in told) == 2


def test_root_of_a_table_of_pictures_is_not_told(tmp_path):
    from PIL import Image

    (tmp_path / "in").mkdir()
    for k in range(20):
        pixels = RNG.integers(0, 255, (4, 4, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "in" / f"{k}.png")
    rows = "".join(f"{k}.png,some words {k}\n" for k in range(20))
    (tmp_path / "t.csv").write_text("photo,caption\n" + rows)
    options = DataOptions(data=str(tmp_path / "t.csv"), root=str(tmp_path / "in"))
    assert not any("changes nothing" in line for line in read_data(options).remarks)


@pytest.mark.parametrize("labelled", [False, True])
def test_files_beside_features_without_labels_are_said_to_be_unused(tmp_path, labelled):
    site = np.arange(60) % 2
    paths = {name: str(tmp_path / f"{name}.npz") for name in ("f", "v", "s")}
    for name, path in paths.items():
        labels = dict(labels=np.arange(60) % 3) if labelled and name != "f" else {}
        np.savez(path, features=RNG.normal(size=(60, 4)), site=site, **labels)
    flags = dict(validation=paths["v"], test=paths["v"], shifted=paths["s"], domains="site")
    world = read_world(FeatureOptions(features=paths["f"], **flags), 0)
    assert not world.sources
    said = "no labels: nothing is classified, so that --validation, --test, --shifted, --domains"
    assert world.remarks[-1].startswith(said)
    plain = read_world(FeatureOptions(features=paths["f"]), 0)
    assert plain.remarks[-1] == "no labels: nothing is classified"


def test_prompts_of_features_without_labels_are_said_to_be_unused(tmp_path, monkeypatch):
    from experiments import disentangle

    said = []
    monkeypatch.setattr(disentangle, "say", said.append)
    monkeypatch.setattr(disentangle, "run_table", lambda *args: None)
    np.save(tmp_path / "f.npy", RNG.normal(size=(60, 4)))
    np.save(tmp_path / "p.npy", RNG.normal(size=(3, 4)))
    files = dict(features=str(tmp_path / "f.npy"), prompts=str(tmp_path / "p.npy"))
    disentangle.main(config_of("disentangle", **files), None)
    assert any("--prompts changes nothing" in line for line in said)


def test_why_there_are_no_raw_figures_is_told(capsys, monkeypatch):
    why, below = "raw: none of x: its rows stay in files", "raw: of x (300) the probe reads"
    figures = ProbeFigures("word", "accuracy", {"x": 0.5}, {}, 0.25, 40, 20, remarks=(below, why))
    monkeypatch.setattr(tables_of_models, "probing", lambda model, data: lambda label: figures)
    x, word = RNG.normal(size=(30, 4)), np.arange(30) % 3
    data = mm.Dataset.from_arrays(x=x, labels={"word": word})
    model = SimpleNamespace(modalities=["x"], spec=SimpleNamespace(about={}))
    run = SimpleNamespace(tracked=lambda jobs, *args: jobs)
    rows = judged(model, data, run, "dim=2", 0)
    told = capsys.readouterr().err
    assert told.count(f"note: {why}") == 1 and below not in told
    text = summary(config_of("fit"), data, rows, ["dim=2"], {})
    assert "of what stays in files" in text


# What can be known before a training


def test_a_quantity_of_one_training_group_is_refused_before_anything_runs(tmp_path):
    n, path = 60, str(tmp_path / "p.npz")
    arrays = dict(x=RNG.normal(size=(n, 3)), t=RNG.normal(size=(n, 3)), f=RNG.normal(size=n))
    ids = np.maximum(np.arange(n), 39)
    np.savez(path, **arrays, ids=ids, test=ids > 39, word=np.arange(n) % 3)
    flags = dict(data=path, x="x", t="t", ids_x="ids", ids_t="ids", test_x="test", test_t="test")
    run = SimpleNamespace(workdir=str(tmp_path / "run"))  # nothing of it is read before
    for more, told in (
        (dict(private_x="f"), "x: label f is a quantity, groups of its 40 probed rows: 1 is not"),
        (dict(private_t="f"), "t: label f is a quantity"),
        (dict(private_x="word", probe_samples=0), "probe_samples: 0 is not allowed"),
        (dict(private_x="word", retrieval_samples=0), "retrieval_samples: 0 is not allowed"),
    ):
        with pytest.raises(InvalidInput, match=told):
            paired_data.main(config_of("paired_data", **flags, **more), run)
    data = paired_data.read_data(config_of("paired_data", **flags, private_x="word"))
    check_probes(data.x, limit=10)  # classes need no group to choose on
    quantity = paired_data.read_data(config_of("paired_data", **flags, private_x="f"))
    with pytest.raises(InvalidInput, match="label f is a quantity"):
        probe_figures(quantity.x, lambda values: values, limit=10)


# Names that are a user's, beside those of ours


def test_labels_of_the_file_are_not_replaced_by_measured_factors(tmp_path):
    ink, slant = np.arange(30) % 3, RNG.normal(size=30)
    images = RNG.integers(0, 255, (30, 6, 6), np.uint8)
    np.savez(tmp_path / "p.npz", images=images, ink=ink, slant=slant, flat=images[:1].repeat(30, 0))
    read = lambda **how: read_pictures(str(tmp_path / "p.npz"), **dict(images="images") | how)
    data = read(labels=["ink"], rows=30, key=KEY)
    order = np.asarray(jax.random.permutation(KEY, 30))
    np.testing.assert_array_equal(data.factors["ink"], ink[order])
    assert list(data.factors) == ["ink", "slant"]
    assert [line for line in data.remarks if "ink" in line and "not measured" in line]
    both = read(labels=["slant", "ink"], key=KEY).factors
    of = np.corrcoef(both["slant"], slant[order])[0, 1]
    assert of == pytest.approx(1, abs=1e-5) and len(both) == 2


def test_a_factor_whose_name_has_a_colon_keeps_its_moves():
    config = SimpleNamespace(data="", seeds=1, seed=0)
    named = [("FastICA: a: b", "move", 0.7125), ("judge of pictures: a: b", "skill", 0.9375)]
    named.append(("FastICA", "informativeness", 0.5))
    rows = [Row("traverse", "scenes", 0, "x", *one) for one in named]
    text = traverse_summary(config, "scenes", rows, {})
    assert "| a: b" in text and "0.71" in text and "0.93" in text


@pytest.mark.parametrize("domain", ["zero", "zero-shot", "paper-shot"])
def test_a_domain_may_be_called_as_a_part_of_a_setting(tmp_path, domain):
    n = 240
    site = np.array([domain, "other"])[np.arange(n) % 2]
    path = str(tmp_path / "f.npz")
    np.savez(path, image=RNG.normal(size=(n, 4)), labels=np.arange(n) // 2 % 3, site=site)
    options = FeatureOptions(features=path, values="image", domains="site", source=domain)
    world = read_world(options, 0)
    (prefix,) = world.sources
    rows = [
        Row("disentangle", f"{prefix}{name}/1-shot", 0, "x", test, metric, 0.625)
        for name in ("linear probe", "whitening")
        for test in ("source", "site=other")
        for metric in ("accuracy", "accuracy_l1")
    ]
    rows.append(Row("disentangle", f"{prefix}zero-shot", 0, "x", "source", "accuracy", 0.375))
    assert disentangle_report._metrics(rows) == ["accuracy", "accuracy_l1"]
    config = SimpleNamespace(num_components=(2,), shots=(1,))
    *tables, zero = disentangle_report.shot_tables(config, world, rows)
    assert all(table.split().count("l1") == table.split().count("l2") == 6 for table in tables)
    assert "0.375" in zero and "0.625" not in zero


def test_a_modality_is_not_called_as_a_subset_is():
    assert list(named_subsets(["a", "b"])) == ["a", "b", "joint"]
    assert list(named_subsets(["joint"])) == ["joint"]
    assert list(named_subsets(list("abcd"))) == [*"abcd", "joint"]
    for names, told in ((["a", "joint"], "joint"), (["a", "b", "a+b"], r"a\+b")):
        with pytest.raises(InvalidInput, match=f"modality: '{told}' is not allowed"):
            named_subsets(names)


def test_a_fused_modality_is_not_called_joint():
    from mmjax.studies.fused import FusedOptions, FusedTask, make_fused_study

    task = FusedTask((None, None), (), None, None, 1, names=("image", "joint"))
    with pytest.raises(InvalidInput, match="modality: 'joint' is not allowed"):
        make_fused_study(FusedOptions(), task, "comm", chunk_steps=1, save_every=1)


def few_shot_file(path, **more):
    label = np.tile(np.arange(3), 16)
    x = np.eye(8)[label] + 0.3 * RNG.normal(size=(48, 8))
    np.savez(path, features=x, labels=label, **more)
    return str(path)


def test_no_set_is_called_as_all_sets_are(tmp_path):
    for table, name in ((is_it_ica, "all sets"), (few_shot, "mean of the sets")):
        split = np.repeat(["train", "val", "test"], 16)
        paths = [few_shot_file(tmp_path / f"{n}.npz", split=split) for n in (name, "other")]
        config = config_of(table.EXPERIMENT, data=",".join(paths))
        with pytest.raises(InvalidInput, match=f"data: '{name}' is not allowed"):
            table.read_sets(config)
        alone = config_of(table.EXPERIMENT, data=paths[0])
        assert [few.name for few in table.read_sets(alone)] == [name]


def test_a_file_of_domains_may_have_our_word_in_its_name(tmp_path):
    path = few_shot_file(
        tmp_path / "a-without-b.npz", place=np.array(["p", "q"])[np.arange(48) // 24]
    )
    config = config_of("few_shot", data=path, domains="place", methods="linear probe", shots=(1,))
    sets = few_shot.read_sets(config)
    rows = [
        Row("few_shot", few_shot.setting_name(few, "linear probe", 1), 0, "x", t, "accuracy", 0.5)
        for few in sets
        for t in few.shifts
    ]
    (table,) = domain_tables(config, sets, rows)
    assert "a-without-b, 3 classes" in table


# What a monitor returns


def test_a_monitor_returns_a_number():
    x = RNG.normal(size=(30, 3))
    data = mm.Dataset.from_arrays(x=x, t=x + 1, split=(0.6, 0.2, 0.2))
    options = dict(dim=2, key=KEY, steps=1, batch_size=8, validate_every=1, progress=False)
    told = "monitor: {} is not allowed; use a function that returns one number"
    with pytest.raises(InvalidInput, match=told.format("None")):
        mm.fit(data, monitor=lambda model, rows: None, **options)
    for value in ("good", "0.5", [1.0, 2.0], 1j):
        with pytest.raises(InvalidInput, match=told.format(".*")):
            fitting._number(value)
    assert [fitting._number(v) for v in (1, np.float32(0.5), jax.numpy.ones(()))] == [1, 0.5, 1]


# Legends


def legend(figure):
    (found,) = [*figure.legends, *(ax.get_legend() for ax in figure.axes if ax.get_legend())]
    return [text.get_text() for text in found.get_texts()]


def test_a_legend_has_what_later_panels_alone_have():
    line = {1: [0.5, 0.6], 2: [0.7, 0.8]}
    panels = {"p": {"a": line}, "q": {"a": line, "b": line}, "r": {"c": line, "a": line}}
    kept = dict(xlabel="x", ylabel="y")
    assert legend(report.line_panels_figure(panels, **kept)) == ["a", "b", "c"]
    gain = report.Difference(0.1, 0.0, 0.2, "paired")
    gains = {t: {name: {1: gain, 2: gain} for name in lines} for t, lines in panels.items()}
    assert legend(report.gain_panels_figure(gains, columns=2, **kept)) == ["a", "b", "c"]
    bars = {t: {name: [0.5, 0.6] for name in lines} for t, lines in panels.items()}
    figure = report.grouped_bars_figure(bars, levels=dict.fromkeys(bars, 0.1), ylabel="y")
    assert legend(figure) == ["a", "b", "c"]
    curves = {t: {name: ([1, 2], [3.0, 2.0]) for name in lines} for t, lines in panels.items()}
    assert legend(report.loss_panels_figure(curves)) == ["a", "b", "c"]


def test_a_legend_has_what_earlier_panels_alone_have():
    line = [np.arange(3.0), np.arange(3.0)]
    panels = {"x": {"a": line, "c": line, "b": line}, "t": {"a": line, "b": line}}
    figure = report.spectrum_figure(panels, ylabel="y")
    assert legend(figure) == ["a", "c", "b"]
    colours = [{n.get_label(): n.get_color() for n in ax.lines} for ax in figure.axes]
    assert all(colours[0][name] == colours[1][name] for name in "ab")


def test_the_oracle_is_in_the_legend_whichever_seed_has_one():
    curves = {0: ([1, 2], [3.0, 2.0]), 1: ([1, 2], [3.0, 2.0]), 2: ([1, 2], [3.0, 2.0])}
    figure = report.curves_figure(curves, {1: 1.0, 2: 1.0}, title="t")
    assert legend(figure).count("oracle (true latents)") == 1


def test_a_stop_returns_a_signal():
    x = RNG.normal(size=(30, 3))
    data = mm.Dataset.from_arrays(x=x, t=x + 1, split=(1, 0, 0))
    told = "stop: .* is not allowed; use a function that returns the number of a signal"
    with pytest.raises(InvalidInput, match=told):
        mm.fit(data, dim=2, key=KEY, steps=1, batch_size=8, progress=False, stop=lambda: "yes")
    for value in (999, 2.5, [2]):
        with pytest.raises(InvalidInput, match=told):
            checked_signal(value)
    assert [checked_signal(v) for v in (None, False, 0, 2, np.int64(15))] == [
        None,
        None,
        None,
        2,
        15,
    ]
